//! The kernels as the build embedded them: machine code for some GPUs, PTX for all others.

use super::driver::Driver;
use crate::abi::{KernelArch, KernelId};
use crate::{Error, ErrorKind, Result};
use cudarc::driver::sys::{CUfunction, CUfunction_attribute, CUmodule};
use std::ffi::CString;

/// What an image is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "a build without a CUDA compiler embeds none")]
enum Target {
    /// Machine code that every GPU of compute capability 8.x runs.
    Sm80,
    /// Machine code for 9.0 alone, with the kernels of `KernelArch::Sm90a`.
    Sm90a,
    /// PTX, which the driver compiles for 8.0 and anything newer.
    Ptx,
}

impl Target {
    fn best_for(compute_capability: (u32, u32)) -> Self {
        match compute_capability {
            (8, _) => Self::Sm80,
            (9, 0) => Self::Sm90a,
            _ => Self::Ptx,
        }
    }
}

struct Image {
    target: Target,
    bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The version of CUDA that built the kernels: 13000 is 13.0; 0 where none were built.
pub(super) fn cuda_version() -> i32 {
    CUDA_VERSION
}

/// Whether this build holds kernels at all.
pub(super) fn is_built() -> bool {
    !IMAGES.is_empty()
}

/// A kernel, ready to be launched.
#[derive(Clone, Copy)]
pub(super) struct Function {
    pub handle: CUfunction,
    pub threads: u32,
    /// Size of its own struct in shared memory.
    pub smem_bytes: u32,
}

/// The module of one GPU.
pub(super) struct Module {
    handle: CUmodule,
    /// By `KernelId::index`. What this GPU has no machine code for is its twin's.
    functions: Vec<Function>,
}

impl Module {
    /// Loads the image that fits best. The device's context is current.
    pub fn load(driver: &Driver, compute_capability: (u32, u32), max_smem_bytes: u32) -> Result<Self> {
        let best = Target::best_for(compute_capability);
        let image = IMAGES.iter().find(|image| image.target == best).ok_or_else(not_built)?;
        // The driver reads PTX up to a zero.
        let mut bytes = image.bytes.to_vec();
        bytes.push(0);
        let mut handle = std::ptr::null_mut();
        // SAFETY: a whole image, ended by a zero.
        let code = unsafe { (driver.cuModuleLoadData)(&mut handle, bytes.as_ptr().cast()) };
        driver.check(code, "loading the kernels")?;
        let mut module = Self { handle, functions: Vec::new() };
        for kernel in KernelId::all() {
            let source = match kernel.info().arch {
                KernelArch::Sm90a { twin } if best != Target::Sm90a => twin,
                _ => kernel,
            };
            match module.function(driver, source, max_smem_bytes) {
                Ok(function) => module.functions.push(function),
                Err(error) => {
                    module.unload(driver);
                    return Err(error);
                }
            }
        }
        Ok(module)
    }

    pub fn unload(&self, driver: &Driver) {
        // SAFETY: loaded once, unloaded once. An error here would be an older one's echo.
        unsafe { (driver.cuModuleUnload)(self.handle) };
    }

    pub fn get(&self, kernel: KernelId) -> Function {
        self.functions[kernel.index()]
    }

    fn function(&self, driver: &Driver, kernel: KernelId, max_smem_bytes: u32) -> Result<Function> {
        let name = kernel.name();
        let size = SMEM_BYTES.iter().find(|(of, _)| *of == name);
        let (_, smem_bytes) = *size.ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("the build knows no size of the shared memory of kernel `{name}`"))
        })?;
        let entry = CString::new(format!("{name}_entry")).unwrap_or_default();
        let mut handle = std::ptr::null_mut();
        // SAFETY: the name ends with a zero, and the call writes what it is given a pointer to.
        unsafe {
            let code = (driver.cuModuleGetFunction)(&mut handle, self.handle, entry.as_ptr());
            driver.check(code, &format!("looking for kernel `{name}`"))?;
            // Above 48 KB a kernel must ask; all do, so that a launch's tail may have any size that the device has.
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let code = (driver.cuFuncSetAttribute)(handle, attribute, max_smem_bytes as i32);
            driver.check(code, &format!("raising the shared memory of kernel `{name}`"))?;
        }
        Ok(Function { handle, threads: kernel.info().threads, smem_bytes })
    }
}

/// The error of a build without kernels.
pub(super) fn not_built() -> Error {
    Error::new(
        ErrorKind::KernelsNotBuilt,
        "this build holds no kernels for GPUs: no CUDA compiler was found when it was built (ci/cuda-toolchain.sh fetches one; \
         DCTFLOW_NVCC names one)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gpu_has_its_image() {
        assert_eq!(Target::best_for((8, 0)), Target::Sm80);
        assert_eq!(Target::best_for((8, 9)), Target::Sm80);
        assert_eq!(Target::best_for((9, 0)), Target::Sm90a);
        assert_eq!(Target::best_for((10, 0)), Target::Ptx);
        assert_eq!(Target::best_for((12, 1)), Target::Ptx);
    }

    #[test]
    fn a_build_has_all_images_or_none() {
        let targets: Vec<_> = IMAGES.iter().map(|image| image.target).collect();
        assert!(targets.is_empty() || targets == [Target::Sm80, Target::Sm90a, Target::Ptx], "{targets:?}");
        assert_eq!(is_built(), cuda_version() != 0);
        assert!(IMAGES.iter().all(|image| image.bytes.len() > 1000));
        let has_size = |kernel: KernelId| SMEM_BYTES.iter().any(|(name, _)| *name == kernel.name());
        assert!(!is_built() || KernelId::all().all(has_size), "{SMEM_BYTES:?}");
    }
}
