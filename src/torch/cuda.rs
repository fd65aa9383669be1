//! libtorch's part for NVIDIA GPUs: a library of its own, which programs are not linked with, so that they start where it is missing.

use std::sync::OnceLock;

use tch::Device;

use crate::error::{Error, ErrorKind, Result};

const LIBRARY: &str = "libtorch_cuda.so";

/// Makes libtorch ready for a device: for a GPU it loads the GPU's part, once.
pub(super) fn prepare(device: Device) -> Result<()> {
    let Device::Cuda(number) = device else { return Ok(()) };
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load).as_ref().map_err(|what| {
        let message =
            format!("{LIBRARY} cannot be loaded ({what}): put PyTorch 2.11's for CUDA where the loader looks");
        Error::new(ErrorKind::NoLibrary, message)
    })?;
    let num_gpus = tch::Cuda::device_count();
    if i64::try_from(number).is_ok_and(|number| number < num_gpus) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NoDevice, format!("libtorch sees {num_gpus} GPUs: there is no cuda:{number}")))
}

/// It makes itself known to libtorch when it is loaded, for good.
#[cfg(unix)]
fn load() -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: PyTorch's own library, of the version that we are linked with; what runs when it is loaded is its registration.
    let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_GLOBAL) }.map_err(|e| e.to_string())?;
    std::mem::forget(library);
    Ok(())
}

#[cfg(not(unix))]
fn load() -> Result<(), String> {
    Err("only on Unix".into())
}
