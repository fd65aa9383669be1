//! The public API: JPEG files in, logits out, on any backend.
//!
//! A [`Session`] owns a network and the threads (or the device) that run it. [`Session::submit`] takes a [`Batch`] and returns a
//! [`Ticket`] at once; [`Session::stream`] takes any number of images and gives their outcomes back in order. One bad image never harms
//! another: each has an [`Outcome`] of its own, with a reason where it is not complete.
//!
//! ```
//! use dctflow::network::{Config, Variant, Weights};
//! use dctflow::session::{Batch, Session};
//!
//! let config = Config { width: 0.05, classes: 10, ..Config::new(Variant::LateConcatRfaThinner) };
//! let session = Session::builder(&Weights::random(config, 0)?).topk(3).build()?;
//! let mut batch = Batch::new();
//! batch.push(b"not a JPEG".as_slice(), None, 7);
//! let outcomes = session.submit(batch).wait()?;
//! assert_eq!(outcomes[0].tag, 7);
//! assert_eq!(outcomes[0].reason.as_ref().map(|reason| reason.code()), Some("not-a-jpeg"));
//! # Ok::<(), dctflow::Error>(())
//! ```
//!
//! **Threads.** A session may be shared by threads: `&Session` is `Send`. [`Session::submit`] waits for a free slot (with a joined stream, also
//! until the batch is on the device's queues), [`Session::try_submit`] for nothing; a batch owns its bytes, so that nothing of the caller's is borrowed while it runs. A [`Ticket`] may be waited for in any thread,
//! awaited, or dropped: its batch runs all the same. Dropped, a session finishes what was submitted; tickets stay valid.
//!
//! **Devices.** Each device has [`SessionBuilder::slots`] slots, each slot a thread, and on a GPU a stream with everything that a batch needs:
//! upload, decoder, input, network, download. Batches of different slots overlap. Memory grows to what the largest batch needs and is kept
//! until [`Session::trim`]. Bytes that are read into a [`PinnedBatch`] are not copied again on the host.
//! A device that fails is lost to its session, which says so with [`ErrorKind::Device`] when it has no other;
//! other sessions, on other devices, are not touched. [`SessionBuilder::stream`] orders batches with what else is on a stream of the
//! caller's. On a GPU, a session in a program that waits for the whole device itself should know of [`SessionBuilder::graphs`].

mod batch;
mod budget;
mod builder;
mod cpu;
mod decoder;
mod device;
mod device_coefficients;
mod device_input;
mod evaluation;
mod gpu;
mod outcome;
mod pinned;
mod queue;
mod slots;
mod sorting;
mod stream;
mod ticket;
mod times;

use std::sync::Arc;

pub use crate::device::OpsChoice;
pub use batch::Batch;
pub use builder::SessionBuilder;
pub use decoder::{BatchDecoder, CoefficientsInFlight, DecoderStats};
pub use device::{Device, DeviceChoice};
pub use device_coefficients::{DecodedOnDevice, DeviceCoefficients, DeviceImage, DevicePlane};
pub use device_input::DeviceInput;
pub use evaluation::{Evaluation, Share};
pub use gpu::DeviceStats;
#[doc(hidden)]
pub use gpu::ForgottenWait;
pub use outcome::{Outcome, Prediction};
pub use pinned::PinnedBatch;
pub use queue::Busy;
pub use stream::{Feeder, Outcomes};
pub use ticket::Ticket;
pub use times::StageTimes;

use crate::error::{Error, ErrorKind, Result};
use crate::network::Weights;
use pinned::PinnedPool;
use slots::Slots;

/// What the slots of one device share.
#[derive(Debug)]
enum Engine {
    Cpu(Arc<cpu::Shared>),
    Gpu(Arc<gpu::Shared>),
}

/// A network on a backend, ready for batches.
#[derive(Debug)]
pub struct Session {
    slots: Slots,
    devices: Vec<(DeviceChoice, Engine)>,
    max_batch: usize,
    is_joined: bool,
    /// Of its first device that is not the CPU.
    pinned: Option<Arc<PinnedPool>>,
}

impl Engine {
    fn device(&self) -> Option<&Arc<dyn crate::device::Device>> {
        match self {
            Self::Cpu(_) => None,
            Self::Gpu(shared) => Some(shared.device()),
        }
    }
}

impl Session {
    /// Begins a session that runs the network of `weights`. They are copied into the backend's form and not kept.
    pub fn builder(weights: &Weights) -> SessionBuilder<'_> {
        SessionBuilder::new(weights)
    }

    /// Submits a batch. Waits, if it must, for a free slot, never until the batch is done; where a stream is joined, until the batch is on the
    /// device's queues ([`SessionBuilder::stream`]). What makes a whole batch fail is the ticket's answer.
    pub fn submit(&self, batch: Batch) -> Ticket {
        if let Some(error) = self.refusal(&batch) {
            return ticket::answered(Err(error));
        }
        let ticket = self.slots.submit(batch);
        if self.is_joined {
            ticket.wait_until_on_its_way();
        }
        ticket
    }

    /// Submits a batch without ever waiting. Where a stream is joined, only what is put there after [`Ticket::is_on_its_way`] has become true
    /// comes after the batch.
    ///
    /// # Errors
    /// [`Busy`] gives the batch back when every slot is taken.
    pub fn try_submit(&self, batch: Batch) -> std::result::Result<Ticket, Busy> {
        match self.refusal(&batch) {
            Some(error) => Ok(ticket::answered(Err(error))),
            None => self.slots.try_submit(batch),
        }
    }

    /// Why a batch cannot be run at all.
    fn refusal(&self, batch: &Batch) -> Option<Error> {
        let message =
            "logits are written to device memory by a session of one device: of several, any may take the batch";
        (batch.logits.is_some() && self.devices.len() > 1).then(|| Error::new(ErrorKind::Usage, message))
    }

    /// An empty batch with `len_bytes` of pinned memory for its files, which then go to the device without being copied by the host. Takes
    /// memory only if none of an earlier batch's is free.
    ///
    /// With several devices it is the first one's memory; a batch that another one runs is copied after all.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] on the CPU, which has no use for it; [`ErrorKind::OutOfMemory`], [`ErrorKind::Device`].
    pub fn pinned_batch(&self, len_bytes: usize) -> Result<PinnedBatch> {
        let no_device =
            || Error::new(ErrorKind::Usage, "memory is pinned for a device, and this session runs on the CPU");
        self.pinned.as_ref().ok_or_else(no_device)?.batch(len_bytes)
    }

    /// Gives memory back: what batches have had the slots take for files, coefficients and working memory, on the devices, pinned and on the heap,
    /// and pinned batches' that is idle. The next batch takes it anew. The weights stay, and the activations, which were planned for the largest
    /// batch. Each slot finishes the batch that it has first; this call waits for that.
    ///
    /// # Errors
    /// [`ErrorKind::Device`]: a device fails at it, and is lost.
    pub fn trim(&self) -> Result<()> {
        let trimmed = self.slots.trim();
        if let Some(pinned) = &self.pinned {
            pinned.trim();
        }
        trimmed
    }

    /// The largest number of images that are run at once; larger batches are run in parts.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// The largest number of batches that can be in flight.
    pub fn num_slots(&self) -> usize {
        self.slots.num_slots()
    }

    /// What it runs on; the first, if there are several. Never `Auto`.
    pub fn device(&self) -> DeviceChoice {
        self.devices[0].0
    }

    /// All that it runs on, in the builder's order. Never `Auto`.
    pub fn devices(&self) -> impl Iterator<Item = DeviceChoice> {
        self.devices.iter().map(|(kind, _)| *kind)
    }

    /// The device that it runs on, open; the first, if there are several. The CPU is none.
    pub fn device_handle(&self) -> Option<&Arc<dyn crate::device::Device>> {
        self.devices[0].1.device()
    }

    /// Threads of the CPU that work on its batches.
    pub fn num_threads(&self) -> usize {
        let num_threads = |(_, engine): &(_, Engine)| match engine {
            Engine::Cpu(shared) => shared.num_threads(),
            Engine::Gpu(shared) => shared.num_threads(),
        };
        self.devices.iter().map(num_threads).sum()
    }

    /// Time spent per stage so far, all devices together. Read it when no batch is on its way.
    pub fn stage_times(&self) -> StageTimes {
        let stage_times = |(_, engine): &(_, Engine)| match engine {
            Engine::Cpu(shared) => shared.stage_times(),
            Engine::Gpu(shared) => shared.stage_times(),
        };
        self.devices.iter().map(stage_times).fold(StageTimes::default(), |sum, times| sum.plus(&times))
    }

    /// Who decoded how many images so far, and how often memory was taken: for each device but the CPU, in the order of
    /// [`devices`](Self::devices).
    pub fn device_stats(&self) -> Vec<DeviceStats> {
        let stats = |(_, engine): &(_, Engine)| match engine {
            Engine::Cpu(_) => None,
            Engine::Gpu(shared) => Some(shared.stats()),
        };
        self.devices.iter().filter_map(stats).collect()
    }
}
