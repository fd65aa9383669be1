//! `oracle12 FILES...`: for each file one line, tab separated: the SHA-256 of its coefficients as libjpeg-turbo 3 reads them (the
//! definition is that of `Coefficients::digest`), the number of warnings, the path. In place of the digest `-` on an error, and
//! its message behind the path.

use std::ffi::{CStr, c_char, c_int, c_void};

use sha2::{Digest, Sha256};
// Links libjpeg-turbo.
use turbojpeg_sys as _;

type Sink = extern "C" fn(*mut c_void, *const u8, usize);

unsafe extern "C" {
    fn oracle12_read(file: *const u8, num_bytes: usize, sink: Sink, context: *mut c_void, message: *mut c_char) -> c_int;
}

extern "C" fn update(hasher: *mut c_void, bytes: *const u8, num_bytes: usize) {
    // SAFETY: `digest` passes its hasher, and read.c passes memory of that size.
    unsafe { (*hasher.cast::<Sha256>()).update(std::slice::from_raw_parts(bytes, num_bytes)) };
}

/// Digest in hexadecimal, and the number of warnings; or libjpeg's message.
fn digest(file: &[u8]) -> Result<(String, i32), String> {
    let mut hasher = Sha256::new();
    let mut message = [0 as c_char; 200];
    let context = (&raw mut hasher).cast();
    // SAFETY: the buffers live through the call; the message has JMSG_LENGTH_MAX bytes.
    let num_warnings = unsafe { oracle12_read(file.as_ptr(), file.len(), update, context, message.as_mut_ptr()) };
    if num_warnings < 0 {
        // SAFETY: libjpeg ends its message with a zero.
        return Err(unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned());
    }
    Ok((hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), num_warnings))
}

fn main() -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        let file = std::fs::read(&path)?;
        let path = path.to_string_lossy();
        match digest(&file) {
            Ok((digest, num_warnings)) => println!("{digest}\t{num_warnings}\t{path}"),
            Err(message) => println!("-\t0\t{path}\t{message}"),
        }
    }
    Ok(())
}
