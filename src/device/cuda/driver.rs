//! The functions of NVIDIA's driver that this crate calls, found at run time.
//!
//! cudarc finds the library and gives the types. Its own wrappers are not used: they panic when a function is missing, and take the result for a
//! Rust enum, which a newer driver's codes would not be values of.

use crate::{Error, ErrorKind, Result};
use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUevent, CUfunction, CUfunction_attribute, CUgraph,
    CUgraphExec, CUmodule, CUstream,
};
use std::ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_ulonglong, c_void};
use std::sync::OnceLock;

/// Codes of the driver that mean something to us.
mod code {
    use std::ffi::c_int;
    pub const SUCCESS: c_int = 0;
    pub const OUT_OF_MEMORY: c_int = 2;
    pub const STUB_LIBRARY: c_int = 34;
    pub const NO_DEVICE: c_int = 100;
    pub const NO_BINARY_FOR_GPU: c_int = 209;
    pub const UNSUPPORTED_PTX_VERSION: c_int = 222;
    pub const NOT_READY: c_int = 600;
    pub const CAPTURE_UNSUPPORTED: c_int = 900;
    pub const CAPTURE_WRONG_THREAD: c_int = 908;
    pub const SYSTEM_DRIVER_MISMATCH: c_int = 803;
}

macro_rules! driver {
    ($($name:ident($($type:ty),*);)*) => {
        /// The driver's functions; each returns a code, 0 for success.
        #[allow(non_snake_case)]
        pub(super) struct Driver {
            $(pub $name: unsafe extern "C" fn($($type),*) -> c_int,)*
        }

        impl Driver {
            fn load() -> Result<Self> {
                // SAFETY: loading the driver runs its initialisers, as every CUDA program does.
                if !unsafe { sys::is_culib_present() } {
                    return Err(Error::new(
                        ErrorKind::NoDriver,
                        "no NVIDIA driver: its library (libcuda.so.1) is not on this machine",
                    ));
                }
                // SAFETY: it was found a moment ago, so this does not panic.
                let library = unsafe { sys::culib() };
                Ok(Self {
                    $($name: {
                        let name = concat!(stringify!($name), "\0");
                        // SAFETY: the type is the function's, from cuda.h.
                        *unsafe { library.get(name.as_bytes()) }.map_err(|e| {
                            let message = concat!("the NVIDIA driver is too old: it has no ", stringify!($name));
                            Error::new(ErrorKind::NoDriver, message).with_source(e)
                        })?
                    },)*
                })
            }
        }
    };
}

driver! {
    cuInit(c_uint);
    cuDriverGetVersion(*mut c_int);
    cuGetErrorName(c_int, *mut *const c_char);
    cuDeviceGetCount(*mut c_int);
    cuDeviceGet(*mut CUdevice, c_int);
    cuDeviceGetName(*mut c_char, c_int, CUdevice);
    cuDeviceTotalMem_v2(*mut usize, CUdevice);
    cuDeviceGetAttribute(*mut c_int, CUdevice_attribute, CUdevice);
    cuDevicePrimaryCtxRetain(*mut CUcontext, CUdevice);
    cuDevicePrimaryCtxRelease_v2(CUdevice);
    cuCtxSetCurrent(CUcontext);
    cuCtxSynchronize();
    cuModuleLoadData(*mut CUmodule, *const c_void);
    cuModuleUnload(CUmodule);
    cuModuleGetFunction(*mut CUfunction, CUmodule, *const c_char);
    cuFuncSetAttribute(CUfunction, CUfunction_attribute, c_int);
    cuMemAlloc_v2(*mut CUdeviceptr, usize);
    cuMemFree_v2(CUdeviceptr);
    cuMemHostAlloc(*mut *mut c_void, usize, c_uint);
    cuMemFreeHost(*mut c_void);
    cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream);
    cuMemcpyDtoHAsync_v2(*mut c_void, CUdeviceptr, usize, CUstream);
    cuMemcpyDtoDAsync_v2(CUdeviceptr, CUdeviceptr, usize, CUstream);
    cuMemsetD8Async(CUdeviceptr, c_uchar, usize, CUstream);
    cuStreamCreate(*mut CUstream, c_uint);
    cuStreamDestroy_v2(CUstream);
    cuStreamGetCtx(CUstream, *mut CUcontext);
    cuStreamIsCapturing(CUstream, *mut c_int);
    cuStreamQuery(CUstream);
    cuStreamWaitEvent(CUstream, CUevent, c_uint);
    cuLaunchHostFunc(CUstream, unsafe extern "C" fn(*mut c_void), *mut c_void);
    cuEventCreate(*mut CUevent, c_uint);
    cuEventDestroy_v2(CUevent);
    cuEventRecord(CUevent, CUstream);
    cuEventQuery(CUevent);
    cuEventSynchronize(CUevent);
    cuEventElapsedTime(*mut f32, CUevent, CUevent);
    cuStreamBeginCapture_v2(CUstream, c_uint);
    cuStreamEndCapture(CUstream, *mut CUgraph);
    cuGraphInstantiateWithFlags(*mut CUgraphExec, CUgraph, c_ulonglong);
    cuGraphLaunch(CUgraphExec, CUstream);
    cuGraphExecDestroy(CUgraphExec);
    cuGraphDestroy(CUgraph);
    cuProfilerStart();
    cuProfilerStop();
    cuLaunchKernel(
        CUfunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, CUstream, *mut *mut c_void,
        *mut *mut c_void
    );
}

impl Driver {
    /// The driver, found and started, and new enough for kernels built by the given version of CUDA (13000 is 13.0; 0 where there are none).
    ///
    /// # Errors
    /// `NoDriver`, `NoDevice`: the message says what is missing.
    pub fn get(kernels_version: i32) -> Result<&'static Self> {
        static DRIVER: OnceLock<Driver> = OnceLock::new();
        let driver = match DRIVER.get() {
            Some(driver) => driver,
            None => {
                let driver = Self::load()?;
                driver.start()?;
                DRIVER.get_or_init(|| driver)
            }
        };
        driver.check_version(kernels_version)?;
        Ok(driver)
    }

    fn start(&self) -> Result<()> {
        // SAFETY: called with the flags that exist (none).
        let started = unsafe { (self.cuInit)(0) };
        let (kind, what) = match started {
            code::SUCCESS => return Ok(()),
            code::NO_DEVICE => (ErrorKind::NoDevice, "the NVIDIA driver is here, but finds no GPU"),
            code::STUB_LIBRARY => {
                (ErrorKind::NoDriver, "no NVIDIA driver: the libcuda found is the toolkit's stub, for linking only")
            }
            code::SYSTEM_DRIVER_MISMATCH => (
                ErrorKind::NoDriver,
                "libcuda and the kernel module are of different driver versions (restart the machine)",
            ),
            _ => (ErrorKind::NoDriver, "the NVIDIA driver does not start"),
        };
        Err(Error::new(kind, format!("{what}: {}", self.describe(started))))
    }

    fn check_version(&self, kernels_version: i32) -> Result<()> {
        let mut version = 0;
        // SAFETY: writes one integer.
        self.check(unsafe { (self.cuDriverGetVersion)(&mut version) }, "asking for the driver's version")?;
        if version >= kernels_version {
            return Ok(());
        }
        let number = |version: i32| format!("{}.{}", version / 1000, version % 1000 / 10);
        let (has, needs) = (number(version), number(kernels_version));
        let hint = if kernels_version / 1000 == 13 { " (driver 580 or newer)" } else { "" };
        Err(Error::new(
            ErrorKind::NoDriver,
            format!(
                "the NVIDIA driver is too old: it supports CUDA {has}, and this build's kernels need {needs}{hint}"
            ),
        ))
    }

    /// A code as a result. `doing` completes "while ...".
    pub fn check(&self, code: c_int, doing: &str) -> Result<()> {
        let kind = match code {
            code::SUCCESS => return Ok(()),
            code::OUT_OF_MEMORY => ErrorKind::OutOfMemory,
            code::NO_BINARY_FOR_GPU | code::UNSUPPORTED_PTX_VERSION => ErrorKind::KernelsNotBuilt,
            code::CAPTURE_UNSUPPORTED..=code::CAPTURE_WRONG_THREAD => ErrorKind::Usage,
            _ => ErrorKind::Device,
        };
        Err(Error::new(kind, format!("{} while {doing}", self.describe(code))))
    }

    /// As [`Self::check`], for questions that may be answered with "not yet".
    pub fn check_ready(&self, code: c_int, doing: &str) -> Result<bool> {
        if code == code::NOT_READY { Ok(false) } else { self.check(code, doing).map(|()| true) }
    }

    fn describe(&self, code: c_int) -> String {
        let mut name = std::ptr::null();
        // SAFETY: writes one pointer, to a constant string or null.
        let name = unsafe {
            (self.cuGetErrorName)(code, &mut name);
            if name.is_null() { None } else { CStr::from_ptr(name).to_str().ok() }
        };
        format!("CUDA error {code} ({})", name.unwrap_or("of a name that the driver does not know"))
    }
}
