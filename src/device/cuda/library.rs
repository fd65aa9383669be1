//! Libraries of NVIDIA that are looked for at run time: cuBLASLt, cuDNN and CUPTI. As with the driver, functions are called with integer codes.

use crate::{Error, ErrorKind, Result};
use libloading::Library;
use std::ffi::c_int;
use std::fmt;

/// What to look for, and what to say where it is not found.
pub(super) struct Wanted {
    /// For messages.
    pub name: &'static str,
    /// File names, the best first; looked for where the system's loader looks.
    pub files: &'static [&'static str],
    /// How to get it, as half a sentence.
    pub remedy: &'static str,
    /// What goes on without it, as half a sentence.
    pub otherwise: &'static str,
}

impl Wanted {
    /// Loads the library, once for all: it stays loaded until the process ends.
    ///
    /// # Errors
    /// `NoLibrary`, with what is missing and how to get it.
    pub fn load(&self) -> Result<&'static Library> {
        for file in self.files {
            // SAFETY: loading NVIDIA's library runs its initialisers, as every program that uses it does.
            if let Ok(library) = unsafe { Library::new(*file) } {
                return Ok(Box::leak(Box::new(library)));
            }
        }
        let Self { name, files, remedy, otherwise } = self;
        let file = files[0];
        let message = format!("{name} ({file}) is not on this machine: {remedy}; {otherwise}");
        Err(Error::new(ErrorKind::NoLibrary, message))
    }
}

/// A call of a library that failed. Whether the device is lost with it, its stream says ([`super::Cuda::stream_state`]), not the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LibraryError {
    pub library: &'static str,
    pub code: c_int,
    /// Completes "while ...".
    pub doing: &'static str,
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { library, code, doing } = self;
        write!(f, "{library} error {code} while {doing}")
    }
}

impl LibraryError {
    /// As the answer to whoever asks for the library: it does not start.
    pub fn not_started(self, is_out_of_memory: bool) -> Error {
        let kind = if is_out_of_memory { ErrorKind::OutOfMemory } else { ErrorKind::NoLibrary };
        Error::new(kind, format!("{self}: it does not start; without it, dctflow's own kernels do the work"))
    }
}

/// Defines a struct of function pointers that a library is asked for by name.
macro_rules! functions {
    ($(#[$doc:meta])* $table:ident { $($name:ident($($type:ty),* $(,)?) -> $result:ty;)* }) => {
        $(#[$doc])*
        #[allow(non_snake_case)]
        struct $table {
            $($name: unsafe extern "C" fn($($type),*) -> $result,)*
        }

        impl $table {
            fn of(library: &'static libloading::Library) -> crate::Result<Self> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the type is the function's, from the library's header.
                        *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }.map_err(|e| {
                            let message = concat!("the library found is too old or too new: it has no ", stringify!($name));
                            crate::Error::new(crate::ErrorKind::NoLibrary, message).with_source(e)
                        })?
                    },)*
                })
            }
        }
    };
}
pub(super) use functions;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_an_error_that_says_how_to_get_it() {
        let wanted = Wanted {
            name: "cuNothing",
            files: &["libcunothing.so.1"],
            remedy: "nobody makes it",
            otherwise: "nobody needs it",
        };
        let error = wanted.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoLibrary);
        assert!(
            error
                .to_string()
                .starts_with("cuNothing (libcunothing.so.1) is not on this machine: nobody makes it; nobody needs it")
        );
    }
}
