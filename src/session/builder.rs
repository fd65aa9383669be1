//! The settings of a session.

use std::sync::Arc;

use super::cpu::{self, Cpu};
use super::gpu::{self, ForgottenWait, Joined};
use super::pinned::PinnedPool;
use super::slots::{DeviceSlots, Slots};
use super::{Device, DeviceChoice, Engine, OpsChoice, Session};
use crate::device::{self, Ops, Stream};
use crate::error::{Error, ErrorKind, Result};
use crate::jpeg::{Limits, Policy};
use crate::network::Weights;

/// The devices of a session.
#[derive(Debug)]
enum Devices {
    Chosen(Vec<DeviceChoice>),
    Open(Vec<Device>),
}

impl Devices {
    fn open(&self) -> Result<Vec<Device>> {
        match self {
            Self::Chosen(choices) => choices.iter().map(|choice| choice.resolve()).collect(),
            Self::Open(devices) => Ok(devices.clone()),
        }
    }
}

/// What carries out convolutions on devices.
#[derive(Debug)]
enum Operations {
    Chosen(OpsChoice),
    Given(Arc<dyn Ops>),
}

/// Settings of a session, all with a default but the weights.
#[derive(Debug)]
#[must_use]
pub struct SessionBuilder<'a> {
    pub(super) weights: &'a Weights,
    devices: Devices,
    pub(super) joined: Option<Joined>,
    ops: Operations,
    pub(super) use_graphs: bool,
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
            devices: Devices::Chosen(vec![DeviceChoice::Auto]),
            joined: None,
            ops: Operations::Chosen(OpsChoice::Kernels),
            use_graphs: true,
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
        Self { devices: Devices::Chosen(devices.to_vec()), ..self }
    }

    /// Devices that are open already: those that [`DeviceChoice::resolve`] gives, or of one's own.
    pub fn on(self, devices: &[Device]) -> Self {
        Self { devices: Devices::Open(devices.to_vec()), ..self }
    }

    /// Joins a stream of the caller's, on the session's only device: a batch writes to memory of the caller's
    /// ([`Batch::write_logits_to`](super::Batch::write_logits_to)) after everything that was on the stream when it was submitted, and
    /// whatever is put there after [`Session::submit`] has returned comes after the batch. For this, `submit` waits until the batch is on the
    /// device's queues, but not until it is done: until its headers are read and, where logits are written to the caller's memory, until it
    /// is decoded. [`Session::try_submit`] waits for neither: what is to come after its batch is put on the stream once
    /// [`Ticket::is_on_its_way`](super::Ticket::is_on_its_way) says so.
    ///
    /// A stream of another library's is joined by its handle: [`Stream::from_raw`] on the device that
    /// [`DeviceChoice::resolve`] has opened and [`on`](Self::on) is given. The legacy default stream (0) can be joined; the default stream of a
    /// thread (`CU_STREAM_PER_THREAD`, and 0 in programs that are compiled for it) cannot, since it is another one in each thread.
    pub fn stream(self, stream: Arc<Stream>) -> Self {
        Self { joined: Some(Joined { stream, forgotten: None }), ..self }
    }

    /// What carries out convolutions on devices; default: this library's own kernels.
    pub fn ops(self, ops: Arc<dyn Ops>) -> Self {
        Self { ops: Operations::Given(ops), ..self }
    }

    /// As [`ops`](Self::ops), by name: each device gets its own.
    pub fn ops_choice(self, choice: OpsChoice) -> Self {
        Self { ops: Operations::Chosen(choice), ..self }
    }

    /// Whether the network of a batch like one before is put on a GPU as a graph, by one launch instead of one a layer; default: yes.
    ///
    /// A graph is recorded from the stream once for each size of batch. For that short time (a millisecond or so) the driver refuses all waits
    /// for the whole device (`cudaDeviceSynchronize`, `cuCtxSynchronize`, freeing memory) by any thread of the process, with
    /// `cudaErrorStreamCaptureUnsupported`, whatever the mode of recording. This library keeps its own waits off. A program that waits
    /// for the whole device itself, and takes this error for a fatal one, says no here.
    pub fn graphs(self, use_graphs: bool) -> Self {
        Self { use_graphs, ..self }
    }

    /// Leaves one of a joined stream's waits out: for the test that shows that it would be noticed.
    #[doc(hidden)]
    pub fn forgetting(mut self, wait: ForgottenWait) -> Self {
        if let Some(joined) = &mut self.joined {
            joined.forgotten = Some(wait);
        }
        self
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
    /// [`ErrorKind::Usage`] for no devices, no slots or a largest batch of 0, and for a stream that cannot be joined; what
    /// [`DeviceChoice::resolve`] and [`OpsChoice::open`] say; [`ErrorKind::OutOfMemory`], [`ErrorKind::Device`].
    pub fn build(self) -> Result<Session> {
        let devices = self.devices.open()?;
        if self.max_batch == 0 || self.slots == 0 || devices.is_empty() {
            let message = "a session needs a device, a slot, and room for an image in its batches: each at least 1";
            return Err(Error::new(ErrorKind::Usage, message));
        }
        if self.joined.is_some() && (devices.len() > 1 || devices[0].handle.is_none()) {
            return Err(Error::new(ErrorKind::Usage, "a stream is joined by a session on its device, and no other"));
        }
        let mut session_devices = Vec::new();
        let mut device_slots = Vec::new();
        // `max_batch_bytes` is the session's, not a device's.
        let coefficient_bytes = self.limits.max_batch_bytes / devices.len() as u64;
        for Device { kind, handle, .. } in devices {
            let (engine, slots) = self.engine(handle, coefficient_bytes)?;
            device_slots.push(slots);
            session_devices.push((kind, engine));
        }
        let slots = Slots::start(device_slots, self.max_batch)?;
        let handle = session_devices.iter().find_map(|(_, engine)| engine.device());
        let num_kept = slots.num_slots() + 1;
        let pinned = handle.map(|device| Arc::new(PinnedPool::new(device, num_kept)));
        let is_joined = self.joined.is_some();
        Ok(Session { slots, devices: session_devices, max_batch: self.max_batch, is_joined, pinned })
    }

    /// What carries out convolutions on `device`.
    pub(super) fn ops_on(&self, device: &Arc<dyn device::Device>) -> Result<Arc<dyn Ops>> {
        match &self.ops {
            Operations::Chosen(choice) => choice.open(device),
            Operations::Given(ops) => Ok(Arc::clone(ops)),
        }
    }

    /// `coefficient_bytes`: what may be decoded on the device at one time.
    fn engine(&self, handle: Option<Arc<dyn device::Device>>, coefficient_bytes: u64) -> Result<(Engine, DeviceSlots)> {
        Ok(match handle {
            Some(device) => {
                let (shared, slots) = gpu::slots(self, &device, coefficient_bytes)?;
                (Engine::Gpu(shared), DeviceSlots::new(slots))
            }
            None => {
                if matches!(self.ops, Operations::Chosen(OpsChoice::Libraries)) {
                    let message = "libraries for convolutions are a GPU's, and this session would run on the CPU";
                    return Err(Error::new(ErrorKind::Usage, message));
                }
                let shared = cpu::Shared::new(self, coefficient_bytes)?;
                let slots = DeviceSlots::new((0..self.slots).map(|_| Cpu::new(Arc::clone(&shared))));
                (Engine::Cpu(shared), slots)
            }
        })
    }
}
