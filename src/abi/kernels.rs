//! The kernels by name and number. The table itself is written by build.rs from `kernels/kernels.def`.

use super::bindings;

/// A kernel, known by its type: `stream.launch::<ChecksumWords>(grid, 0, &params)` cannot be given another kernel's parameters.
///
/// # Safety
/// `Params` is what the entry point of `ID` takes.
pub unsafe trait Kernel {
    /// The struct of abi.h that the kernel takes.
    type Params: Copy + 'static;
    /// Its number.
    const ID: KernelId;
}

/// A kernel's number: its line in kernels.def.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelId(u16);

/// What kernels.def says about a kernel.
#[derive(Debug)]
pub struct KernelInfo {
    /// `verb_object`.
    pub name: &'static str,
    /// Threads of a CTA.
    pub threads: u32,
    /// Size of its parameters.
    pub params_bytes: usize,
    /// Which GPUs it is for.
    pub arch: KernelArch,
}

/// Which GPUs a kernel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelArch {
    /// Compute capability 8.0 and newer, and the emulator.
    Portable,
    /// Compute capability 9.0 only.
    Sm90a {
        /// The portable kernel that runs everywhere else, with the same parameters and grid.
        twin: KernelId,
    },
}

impl KernelId {
    /// All kernels, in the order of kernels.def.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..KERNELS.len() as u16).map(Self)
    }

    /// What kernels.def says about it.
    pub fn info(self) -> &'static KernelInfo {
        &KERNELS[usize::from(self.0)]
    }

    /// `verb_object`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Its place among all kernels.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl std::fmt::Debug for KernelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Defines a type per kernel, and the table.
macro_rules! kernels {
    ($($idx:literal $kernel:ident $name:literal $params:ident $threads:literal $arch:ident $({ twin: $twin:ident })?;)*) => {
        $(
            #[doc = concat!("The kernel `", $name, "`.")]
            #[derive(Debug)]
            pub struct $kernel;

            // SAFETY: both come from the kernel's line in kernels.def, which the entry point is made from too.
            unsafe impl Kernel for $kernel {
                type Params = bindings::$params;
                const ID: KernelId = KernelId($idx);
            }
        )*

        static KERNELS: &[KernelInfo] = &[$(KernelInfo {
            name: $name,
            threads: $threads,
            params_bytes: size_of::<bindings::$params>(),
            arch: KernelArch::$arch $({ twin: <$twin as Kernel>::ID })?,
        }),*];
    };
}

/// Defines [`Counter`].
macro_rules! counters {
    ($($counter:ident $name:literal $text:literal;)*) => {
        /// What kernels count where they run on the emulator (`kernels/counters.def`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Counter {
            $(#[doc = $text] $counter,)*
        }

        impl Counter {
            /// All counters, in the order of counters.def.
            pub const ALL: &[Self] = &[$(Self::$counter),*];

            /// Its name in kernels' sources.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$counter => $name,)*
                }
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_have_their_own_names_and_numbers() {
        let names: std::collections::BTreeSet<_> = KernelId::all().map(KernelId::name).collect();
        assert_eq!(names.len(), KernelId::all().count());
        assert_eq!(ChecksumWords::ID.name(), "checksum_words");
        assert_eq!(ChecksumWords::ID.info().params_bytes, size_of::<bindings::ChecksumWordsParams>());
    }

    #[test]
    fn a_twin_is_portable_and_takes_the_same_parameters() {
        for kernel in KernelId::all() {
            if let KernelArch::Sm90a { twin } = kernel.info().arch {
                assert_eq!(twin.info().arch, KernelArch::Portable, "{kernel:?}");
                assert_eq!(twin.info().params_bytes, kernel.info().params_bytes, "{kernel:?}");
            }
        }
    }
}
