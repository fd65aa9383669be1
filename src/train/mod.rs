//! Training (feature `torch`): from JPEG bytes to weights, and never a pixel here either.
//!
//! The decoder gives coefficients; the DCT-domain operator cuts, resizes and mirrors them ([`Augmentation`] draws how), brightness, contrast and
//! colour are sums and products on them, and libtorch learns from what comes out. [`Trainer`] holds all that changes while it learns; everything
//! random is a function of the seed, the epoch and the image, so that on a CPU an interrupted run goes on exactly where it stopped.

mod augment;
mod checkpoint;
mod data;
mod optimizer;
mod schedule;
mod settings;
mod trainer;

pub use augment::{Augmentation, ColorJitter, View};
pub use data::{Example, Examples, Rejected};
pub use optimizer::{Averages, Sgd};
pub use schedule::Schedule;
pub use settings::Settings;
pub use trainer::{Accuracy, EpochReport, Trainer};
