//! What the device has to do, worked out before it begins: pure functions from headers to descriptors, work lists and the layout of
//! memory. The same input gives the same plan, whatever machine or device it is for.
//!
//! [`PlannedImage::read`] says whether a file is for the device at all; [`DecodePlan::new`] lays a batch of such files out;
//! [`InputBatchPlan::new`] does so with what a network's input is made of.

mod decode;
mod image;
mod input;
mod layout;
mod network;

pub use decode::{Array, DecodePlan, PlanOptions, Wave};
pub use image::{CpuReason, PlannedImage, PlannedScan};
pub use input::{InputBatchPlan, InputForm, InputImage, InputValue, SourcePlane};
pub use layout::{Layout, Region};
pub use network::{Arena, Convolution, NetworkPlan, NetworkStep, Operation, Output};
