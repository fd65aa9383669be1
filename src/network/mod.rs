//! The eight networks as data: layers, weights, batch-norm folding, and the folded form that engines run.

mod inference;

pub use inference::{Activation, ConvStep, Inference, InputKind, Slice, Step, ValueId, ValueShape};
