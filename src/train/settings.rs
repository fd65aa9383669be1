//! What a run is to do.

use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use crate::error::{Error, ErrorKind, Result};
use crate::network::{Config, Metadata};
use crate::resample::Transform;
use crate::torch::Arithmetic;

/// What a run is to do. A run can go on with the settings that it began with; only [`epochs`](Self::epochs), which the schedule follows,
/// [`is_mixed`](Self::is_mixed), and [`transform`](Self::transform), which nothing is learned with, may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The network; its input size is the side of the last epochs' images.
    pub config: Config,
    /// How images are prepared when the network is asked: goes into the weights.
    pub transform: Transform,
    /// Names of the classes, or none.
    pub class_names: Vec<String>,
    /// Everything random follows from it.
    pub seed: u64,
    /// How often every image is shown.
    pub epochs: u32,
    /// Images in a step.
    pub batch_size: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Epochs in which it rises to that.
    pub warmup_epochs: f64,
    /// Of stochastic gradient descent.
    pub momentum: f64,
    /// Of convolutions and the classifier.
    pub weight_decay: f64,
    /// Share of the truth that is spread over all classes.
    pub label_smoothing: f64,
    /// Decay of the averages, per step.
    pub average_decay: f64,
    /// Side of the first epochs' images.
    pub first_side: u32,
    /// Smallest share of an image that is shown.
    pub min_area: f64,
    /// Largest change of brightness, contrast and colour.
    pub jitter: f32,
    /// Convolutions in bfloat16.
    pub is_mixed: bool,
}

impl Settings {
    /// A recipe for small sets of images.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            transform: Metadata::new(&config).transform,
            class_names: Vec::new(),
            seed: 0,
            epochs: 30,
            batch_size: 64,
            learning_rate: 0.1,
            warmup_epochs: 2.0,
            momentum: 0.9,
            weight_decay: 2e-4,
            label_smoothing: 0.1,
            average_decay: 0.998,
            first_side: config.input_size.0,
            min_area: 0.25,
            jitter: 0.2,
            is_mixed: false,
        }
    }

    pub(super) fn arithmetic(&self) -> Arithmetic {
        if self.is_mixed { Arithmetic::Bf16 } else { Arithmetic::F32 }
    }

    pub(super) fn check(&self) -> Result<()> {
        let usage = |message: &str| Err(Error::new(ErrorKind::Usage, message));
        self.config.check()?;
        self.transform.validate()?;
        // The network that is validated and written has the transform's input size.
        Config { input_size: self.transform.crop, ..self.config }.check()?;
        let side = self.config.input_size.0;
        if self.config.input_size.1 != side {
            return usage("training wants square images");
        }
        if self.transform.crop.0 != self.transform.crop.1 {
            return usage("training wants a transform with a square crop");
        }
        if self.first_side > side || self.first_side < 32 || !self.first_side.is_multiple_of(16) {
            return usage("the first images' side must be a multiple of 16, from 32 to the side of the last ones");
        }
        if self.batch_size < 2 || self.epochs == 0 {
            return usage("training wants batches of two images or more, and an epoch");
        }
        let is_view_possible = self.min_area > 0.0 && self.min_area <= 1.0 && (0.0..1.0).contains(&self.jitter);
        if !is_view_possible {
            return usage("views show a share of an image in (0, 1], and jitter is in [0, 1)");
        }
        let shares = [self.momentum, self.average_decay, self.label_smoothing];
        if !shares.iter().all(|share| (0.0..1.0).contains(share)) {
            return usage("momentum, the averages' decay and label smoothing are in [0, 1)");
        }
        let rates = [self.learning_rate, self.warmup_epochs, self.weight_decay];
        if !rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0) {
            return usage("learning rate, warm-up and weight decay are numbers from 0 on");
        }
        Ok(())
    }

    pub(super) fn schedule(&self, steps_per_epoch: u64) -> Schedule {
        Schedule {
            peak: self.learning_rate,
            warmup_steps: (self.warmup_epochs * steps_per_epoch as f64) as u64,
            total_steps: steps_per_epoch * u64::from(self.epochs),
        }
    }
}
