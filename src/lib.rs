//! **JPEG bytes in, logits out, and never a pixel.**
//!
//! dctflow decodes the entropy-coded part of JPEG files into DCT blocks, resizes and crops those blocks
//! *as coefficients*, and feeds them to residual networks that read DCT blocks
//! (Gueguen, Sergeev, Kadlec, Liu, Yosinski, "Faster Neural Networks Straight from JPEG", NeurIPS 2018).
//! No decoded image exists at any point.
//!
//! The vocabulary is that of ITU-T T.81 (JPEG) and of the residual-network literature; see ARCHITECTURE.md.

pub mod abi;
#[cfg(feature = "capi")]
pub mod capi;
pub mod cpu;
pub mod device;
pub mod dlpack;
pub mod error;
pub mod files;
pub mod jpeg;
pub mod network;
pub mod plan;
pub mod resample;
pub mod session;
#[cfg(feature = "sources")]
pub mod sources;
pub mod stages;
mod sync;
pub mod synth;
pub mod tensor;
#[cfg(feature = "torch")]
pub mod torch;
#[cfg(feature = "torch")]
pub mod train;

pub use error::{CorruptKind, Error, ErrorKind, ImageError, Result};

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
