//! The settings of a session.

use super::cpu::{self, Cpu};
use super::slots::{DeviceSlots, Slots};
use super::{DeviceChoice, Session, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::jpeg::{Limits, Policy};
use crate::network::Weights;

/// Settings of a session, all with a default but the weights.
#[derive(Debug)]
#[must_use]
pub struct SessionBuilder<'a> {
    pub(super) weights: &'a Weights,
    pub(super) devices: Vec<DeviceChoice>,
    pub(super) limits: Limits,
    pub(super) policy: Policy,
    pub(super) topk: usize,
    pub(super) max_batch: usize,
    pub(super) threads: usize,
    pub(super) slots: usize,
}

impl<'a> SessionBuilder<'a> {
    pub(super) fn new(weights: &'a Weights) -> Self {
        Self {
            weights,
            devices: vec![DeviceChoice::Auto],
            limits: Limits::default(),
            policy: Policy::default(),
            topk: 5,
            max_batch: 16,
            threads: 0,
            slots: 2,
        }
    }

    /// What to run on; default: a GPU where one can be used, else the CPU.
    pub fn device(self, device: DeviceChoice) -> Self {
        self.devices(&[device])
    }

    /// Several devices behind one front: whichever is free takes the next batch. A device that fails is lost; its batches move to the
    /// others.
    pub fn devices(self, devices: &[DeviceChoice]) -> Self {
        Self { devices: devices.to_vec(), ..self }
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

    /// Threads of the CPU, for each device that is one; default (0): one per core.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Batches in flight on each device; default 2: while the network runs on one, the other is decoded. Memory grows with it.
    pub fn slots(self, slots: usize) -> Self {
        Self { slots, ..self }
    }

    /// Starts the session.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for no devices, no slots or a largest batch of 0; what [`DeviceChoice::resolve`] says;
    /// [`ErrorKind::OutOfMemory`].
    pub fn build(self) -> Result<Session> {
        if self.max_batch == 0 || self.slots == 0 || self.devices.is_empty() {
            let message = "a session needs a device, a slot, and room for an image in its batches: each at least 1";
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let mut session_devices = Vec::new();
        let mut device_slots = Vec::new();
        for choice in &self.devices {
            let kind = choice.resolve(Task::Classify)?.kind;
            let shared = cpu::Shared::new(&self)?;
            device_slots.push(DeviceSlots::new((0..self.slots).map(|_| Cpu::new(shared.clone()))));
            session_devices.push((kind, shared));
        }
        let slots = Slots::start(device_slots, self.max_batch)?;
        Ok(Session { slots, devices: session_devices, max_batch: self.max_batch })
    }
}
