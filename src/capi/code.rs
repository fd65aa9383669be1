//! Answers of the C interface: codes, and a message for the last one that was an error.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, ErrorKind, Result};

/// What a call came to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DctflowCode {
    /// Done.
    Ok = 0,
    /// Not now: every slot is taken, or the batch is not done. Not an error.
    Busy = 1,
    /// A file could not be read.
    Io = 2,
    /// A weights file is missing, broken, or belongs to another network.
    Weights = 3,
    /// An argument makes no sense.
    Usage = 4,
    /// No driver for the device, or one too old.
    NoDriver = 5,
    /// No such device.
    NoDevice = 6,
    /// This build holds no kernels for the device.
    KernelsNotBuilt = 7,
    /// Too little memory.
    OutOfMemory = 8,
    /// The device reported an error; the session is unusable afterwards.
    Device = 9,
    /// A mistake of this library; please report it.
    Internal = 10,
    /// A library that was asked for is not on this machine, or is another version.
    NoLibrary = 11,
}

impl From<ErrorKind> for DctflowCode {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Io => Self::Io,
            ErrorKind::Weights => Self::Weights,
            ErrorKind::Usage => Self::Usage,
            ErrorKind::NoDriver => Self::NoDriver,
            ErrorKind::NoDevice => Self::NoDevice,
            ErrorKind::KernelsNotBuilt => Self::KernelsNotBuilt,
            ErrorKind::OutOfMemory => Self::OutOfMemory,
            ErrorKind::Device => Self::Device,
            ErrorKind::Internal => Self::Internal,
            ErrorKind::NoLibrary => Self::NoLibrary,
        }
    }
}

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// What was wrong in this thread's last call that failed: one sentence, UTF-8. Empty if none did. Valid until the next call that fails in
/// this thread.
#[unsafe(no_mangle)]
pub extern "C" fn dctflow_message() -> *const c_char {
    MESSAGE.with_borrow(|message| message.as_ptr())
}

/// Runs a call; whatever it fails with, a panic too, becomes a code and a message.
pub(super) fn answer(call: impl FnOnce() -> Result<DctflowCode>) -> DctflowCode {
    let internal = |_| Err(Error::new(ErrorKind::Internal, "a mistake of this library was met; please report it"));
    let error = match catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(internal) {
        Ok(code) => return code,
        Err(error) => error,
    };
    MESSAGE.with_borrow_mut(|message| *message = c_string(&error.to_string()));
    error.kind().into()
}

/// The text up to its first zero byte.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn message() -> String {
        // SAFETY: valid until the next failure in this thread.
        unsafe { CStr::from_ptr(dctflow_message()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn errors_and_panics_become_codes_with_a_message() {
        assert_eq!(answer(|| Ok(DctflowCode::Busy)), DctflowCode::Busy);
        assert_eq!(message(), "");
        assert_eq!(answer(|| Err(usage("no\0such"))), DctflowCode::Usage);
        assert_eq!(message(), "no");
        assert_eq!(answer(|| panic!("a panic for a test")), DctflowCode::Internal);
        assert!(message().contains("mistake"));
    }
}
