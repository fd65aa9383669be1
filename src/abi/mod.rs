//! What crosses between Rust and the kernels: the structs of `kernels/abi.h` and the list of `kernels/kernels.def`.

mod kernels;
mod plain;

/// The structs and constants of `kernels/abi.h`, written by `ci/abi.sh`.
#[allow(missing_docs, rustdoc::broken_intra_doc_links, clippy::undocumented_unsafe_blocks)]
mod bindings;

pub use bindings::*;
pub use kernels::*;
