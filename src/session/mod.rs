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
//! **Threads.** A session may be shared by threads: `&Session` is `Send`. [`Session::submit`] waits for a free slot only, `try_submit` for
//! nothing; a batch owns its bytes, so that nothing of the caller's is borrowed while it runs. A [`Ticket`] may be waited for in any thread,
//! awaited, or dropped: its batch runs all the same. Dropped, a session finishes what was submitted; tickets stay valid.
//!
//! **Devices.** Each device has [`SessionBuilder::slots`] slots, each slot a thread, and on a GPU a stream with everything that a batch needs:
//! upload, decoder, input, network, download. Batches of different slots overlap. Memory grows to what the largest batch needs and is kept.
//! A device that fails is lost to its session, which says so with [`ErrorKind::Device`](crate::ErrorKind::Device) when it has no other;
//! other sessions, on other devices, are not touched. [`SessionBuilder::stream`] orders batches with what else is on a stream of the
//! caller's.

mod batch;
mod budget;
mod builder;
mod cpu;
mod decoder;
mod device;
mod device_coefficients;
mod evaluation;
mod gpu;
mod outcome;
mod queue;
mod slots;
mod sorting;
mod stream;
mod ticket;
mod times;

use std::sync::Arc;

pub use batch::Batch;
pub use builder::SessionBuilder;
pub use decoder::{BatchDecoder, DecoderStats};
pub use device::{Device, DeviceChoice};
pub use device_coefficients::{DecodedOnDevice, DeviceCoefficients, DeviceImage, DevicePlane};
pub use evaluation::{Evaluation, Share};
pub use gpu::DeviceStats;
#[doc(hidden)]
pub use gpu::ForgottenWait;
pub use outcome::{Outcome, Prediction};
pub use queue::Busy;
pub use stream::{Feeder, Outcomes};
pub use ticket::Ticket;
pub use times::StageTimes;

use crate::network::Weights;
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
}

impl Session {
    /// Begins a session that runs the network of `weights`. They are copied into the backend's form and not kept.
    pub fn builder(weights: &Weights) -> SessionBuilder<'_> {
        SessionBuilder::new(weights)
    }

    /// Submits a batch. Waits, if it must, for a free slot, never for the batch itself. What makes a whole batch fail is the
    /// ticket's answer.
    pub fn submit(&self, batch: Batch) -> Ticket {
        let ticket = self.slots.submit(batch);
        if self.is_joined {
            ticket.wait_until_on_its_way();
        }
        ticket
    }

    /// Submits a batch without ever waiting.
    ///
    /// # Errors
    /// [`Busy`] gives the batch back when every slot is taken.
    pub fn try_submit(&self, batch: Batch) -> std::result::Result<Ticket, Busy> {
        let ticket = self.slots.try_submit(batch)?;
        if self.is_joined {
            ticket.wait_until_on_its_way();
        }
        Ok(ticket)
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
        match &self.devices[0].1 {
            Engine::Cpu(_) => None,
            Engine::Gpu(shared) => Some(shared.device()),
        }
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
