//! The settings of a session.

use std::sync::Arc;

use super::cpu::Cpu;
use super::times::Clocks;
use super::worker::Worker;
use super::{DeviceChoice, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::jpeg::{Limits, Policy};
use crate::network::Weights;

/// Settings of a session, all with a default but the weights.
#[derive(Debug)]
#[must_use]
pub struct SessionBuilder<'a> {
    pub(super) weights: &'a Weights,
    pub(super) device: DeviceChoice,
    pub(super) limits: Limits,
    pub(super) policy: Policy,
    pub(super) topk: usize,
    pub(super) max_batch: usize,
    pub(super) threads: usize,
}

impl<'a> SessionBuilder<'a> {
    pub(super) fn new(weights: &'a Weights) -> Self {
        Self {
            weights,
            device: DeviceChoice::Auto,
            limits: Limits::default(),
            policy: Policy::default(),
            topk: 5,
            max_batch: 16,
            threads: 0,
        }
    }

    /// What to run on; default: a GPU where one can be used, else the CPU.
    pub fn device(self, device: DeviceChoice) -> Self {
        Self { device, ..self }
    }

    /// What an image may ask for.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What becomes of partial images; default: lenient, from half of the image on.
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// How many classes [`Outcome::top`](super::Outcome::top) holds; default 5.
    pub fn topk(self, topk: usize) -> Self {
        Self { topk, ..self }
    }

    /// How many images are run at once; default 16. Memory for the network's activations grows with it.
    pub fn max_batch(self, max_batch: usize) -> Self {
        Self { max_batch, ..self }
    }

    /// Threads of the CPU; default (0): one per core.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Starts the session.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a largest batch of 0; what [`DeviceChoice::resolve`] says; [`ErrorKind::OutOfMemory`].
    pub fn build(self) -> Result<Session> {
        if self.max_batch == 0 {
            return Err(Error::new(ErrorKind::Usage, "the largest batch must hold at least one image"));
        }
        let device = self.device.resolve(super::Task::Classify)?.kind;
        let clocks = Arc::new(Clocks::default());
        let cpu = Cpu::new(&self, Arc::clone(&clocks))?;
        let num_threads = cpu.num_threads();
        let worker = Worker::start(cpu, self.max_batch)?;
        Ok(Session { worker, clocks, device, max_batch: self.max_batch, num_threads })
    }
}
