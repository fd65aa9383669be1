//! The CPU backend: entropy decoder, DCT-domain operator and network on the host. The default without a GPU, and the oracle of
//! the tests. One image is decoded sequentially; images run in parallel.

pub mod arithmetic;
mod decoder;
pub mod entropy;
pub mod input;
pub mod network;

pub use decoder::{Decoded, Decoder, decode};
