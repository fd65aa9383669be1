//! The eight networks as data: layers, weights, batch-norm folding, and the folded form that engines run.

mod config;
mod inference;
mod layers;
mod variants;

pub use config::{Config, Variant};
pub use inference::{Activation, ConvStep, Inference, InputKind, Slice, Step, ValueId, ValueShape};
pub use layers::{Layer, Network, Op, TensorSpec};
