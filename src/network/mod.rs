//! The eight networks as data: layers, weights, batch-norm folding, and the folded form that engines run.

#[cfg(feature = "builtin-model")]
mod builtin;
mod check;
mod config;
mod fold;
mod inference;
mod init;
mod interpret;
mod layers;
#[cfg(feature = "onnx")]
mod onnx;
mod torchvision;
mod variants;
mod weights;

pub use config::{Config, Variant};
pub use fold::InputNorm;
pub use inference::{Activation, ChannelScaling, ConvStep, Inference, InputKind, Slice, Step, ValueId, ValueShape};
pub use interpret::interpret;
pub use layers::{Layer, Network, Op, TensorSpec};
pub use weights::{Metadata, Precision, Weights};
