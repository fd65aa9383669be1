//! What the integration tests share. Each test program uses a part of it.
#![allow(dead_code)]

pub mod cases;
pub mod compare;
pub mod devices;
pub mod engines;
pub mod hostile;
pub mod library;
pub mod malformed;
pub mod matrix;
pub mod odd;
pub mod oracle;
pub mod oracle12;
pub mod say;
pub mod suite;

/// The repository's root, or what stands in for it: cargo names it at run time too, and so does ci/gpu.sh where there is no repository.
pub fn root() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}
