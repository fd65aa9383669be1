//! Slots: threads that take batches from the queue to their backends. Each slot has one batch at a time, so that as many batches are in
//! flight as there are slots, and what one waits for (the decoder, an upload) overlaps with the work of another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::batch::{Batch, Image};
use super::outcome::Outcome;
use super::queue::{Busy, Health, Job, Queue, Task};
use super::ticket::{Promise, Ticket};
use crate::device::{DeviceBuffer, PinnedBuffer};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::thread::{self, JoinHandle};

/// What runs the batches of one slot: on the CPU, or on a device.
///
/// An error means that no image of the part has an outcome. One of kind [`ErrorKind::Device`] means that the device is lost for all its
/// slots. After a panic or another error, `run` is called again for the next batch.
pub(super) trait Backend: Send + 'static {
    /// Says what became of the images: one outcome for each, in order.
    fn run(&mut self, part: &Part<'_>) -> Result<Vec<Outcome>>;

    /// Gives memory back that the next batch can take anew.
    fn trim(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Images of a batch that run together.
pub(super) struct Part<'a> {
    pub(super) images: &'a [Image],
    /// Which of the batch's images is the first.
    pub(super) first_row: usize,
    /// Where the logits of the whole batch go besides.
    pub(super) logits: Option<&'a DeviceBuffer>,
    /// What the images' bytes lie in, if it is pinned.
    pub(super) pinned: Option<&'a Arc<PinnedBuffer>>,
    /// Only the last part has it.
    promise: Option<&'a Promise>,
}

impl Part<'_> {
    /// Everything is on the device's streams.
    pub(super) fn is_on_its_way(&self) {
        if let Some(promise) = self.promise {
            promise.is_on_its_way();
        }
    }
}

/// A device and the backends of its slots.
pub(super) struct DeviceSlots {
    pub(super) health: Arc<Health>,
    pub(super) backends: Vec<Box<dyn Backend>>,
}

impl DeviceSlots {
    /// Slots of one kind.
    pub(super) fn new(backends: impl IntoIterator<Item = impl Backend>) -> Self {
        let backends = backends.into_iter().map(|backend| Box::new(backend) as Box<dyn Backend>);
        Self { health: Arc::default(), backends: backends.collect() }
    }
}

/// The threads, and the queue that they take from.
#[derive(Debug)]
pub(super) struct Slots {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
    num_slots: usize,
}

impl Slots {
    /// Starts the threads. A batch runs in parts of at most `max_batch` images.
    pub(super) fn start(devices: Vec<DeviceSlots>, max_batch: usize) -> Result<Self> {
        let num_slots = devices.iter().map(|device| device.backends.len()).sum();
        let mut slots = Self { queue: Arc::new(Queue::new(num_slots)), threads: Vec::new(), num_slots };
        for DeviceSlots { health, backends } in devices {
            for backend in backends {
                let slot = Slot { backend, queue: Arc::clone(&slots.queue), health: Arc::clone(&health), max_batch };
                slots.threads.push(slot.start()?);
            }
        }
        Ok(slots)
    }

    /// How many batches can be in flight.
    pub(super) fn num_slots(&self) -> usize {
        self.num_slots
    }

    /// Waits for a free slot, not for the batch.
    pub(super) fn submit(&self, batch: Batch) -> Ticket {
        self.queue.submit(batch)
    }

    /// Never waits.
    pub(super) fn try_submit(&self, batch: Batch) -> std::result::Result<Ticket, Busy> {
        self.queue.try_submit(batch)
    }

    /// Has every slot give its memory back, and waits for that.
    pub(super) fn trim(&self) -> Result<()> {
        self.queue.trim()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.queue.close();
        let this_thread = thread::current().id();
        // A waker that runs on a slot's thread may be the one that drops the session.
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != this_thread) {
            // It catches panics, so that there is none to pass on.
            let _ = thread.join();
        }
    }
}

struct Slot {
    backend: Box<dyn Backend>,
    queue: Arc<Queue>,
    health: Arc<Health>,
    max_batch: usize,
}

impl Slot {
    fn start(self) -> Result<JoinHandle<()>> {
        let thread = thread::Builder::new().name("dctflow-slot".into());
        thread
            .spawn(move || self.work())
            .map_err(|e| Error::new(ErrorKind::OutOfMemory, "cannot start a thread: raise its limit").with_source(e))
    }

    fn work(mut self) {
        let mut num_trims = 0;
        while let Some(task) = self.queue.take(&self.health, num_trims) {
            match task {
                Task::Run(job) => self.answer(job),
                Task::Trim(wanted) => {
                    num_trims = wanted;
                    self.trim(wanted);
                }
            }
        }
        self.queue.retire(self.health.failure(), num_trims);
    }

    fn trim(&mut self, num_trims: u64) {
        let trim = AssertUnwindSafe(|| self.backend.trim());
        let result = catch_unwind(trim).unwrap_or_else(|_| Err(internal()));
        if let Err(error) = &result
            && error.kind() == ErrorKind::Device
        {
            self.health.fail(error);
        }
        self.queue.trimmed(num_trims, result);
    }

    fn answer(&mut self, mut job: Job) {
        let run = AssertUnwindSafe(|| self.run(&job));
        let answer = catch_unwind(run).unwrap_or_else(|_| Err(internal()));
        if let Err(error) = &answer
            && error.kind() == ErrorKind::Device
        {
            self.health.fail(error);
            if !job.has_moved {
                job.has_moved = true;
                return self.queue.put_back(job);
            }
        }
        // Memory and place first: who is woken by the answer may submit at once.
        let Job { batch, promise, .. } = job;
        drop(batch);
        self.queue.release();
        promise.answer(answer);
    }

    fn run(&mut self, job: &Job) -> Result<Vec<Outcome>> {
        let images = &job.batch.images;
        let mut outcomes = Vec::with_capacity(images.len());
        for images in images.chunks(self.max_batch) {
            let first_row = outcomes.len();
            let is_last = first_row + images.len() == job.batch.images.len();
            let promise = is_last.then_some(&job.promise);
            let (logits, pinned) = (job.batch.logits.as_deref(), job.batch.pinned.as_ref());
            outcomes.extend(self.backend.run(&Part { images, first_row, logits, pinned, promise })?);
        }
        Ok(outcomes)
    }
}

fn internal() -> Error {
    Error::new(ErrorKind::Internal, "a mistake of this library was met in a batch; please report it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ImageError;
    use std::sync::mpsc;

    /// Answers with the tags, once per message of its gate; panics at the tag 13, and is lost at the tag 14.
    struct Gated(mpsc::Receiver<()>);

    impl Backend for Gated {
        fn run(&mut self, part: &Part<'_>) -> Result<Vec<Outcome>> {
            self.0.recv().unwrap();
            assert!(part.images.iter().all(|image| image.tag != 13));
            if part.images.iter().any(|image| image.tag == 14) {
                return Err(Error::new(ErrorKind::Device, "lost"));
            }
            Ok(part.images.iter().map(|image| Outcome::failed(image.tag, ImageError::Internal)).collect())
        }
    }

    /// Devices with one slot each, and their gates.
    fn gated_devices<const N: usize>(max_batch: usize) -> ([mpsc::Sender<()>; N], Slots) {
        let mut devices = Vec::new();
        let gates = [(); N].map(|()| {
            let (gate, gated) = mpsc::channel();
            devices.push(DeviceSlots::new([Gated(gated)]));
            gate
        });
        (gates, Slots::start(devices, max_batch).unwrap())
    }

    fn batch(tags: &[u64]) -> Batch {
        let mut batch = Batch::new();
        tags.iter().for_each(|&tag| batch.push(Vec::new(), None, tag));
        batch
    }

    fn tags(ticket: Ticket) -> Vec<u64> {
        ticket.wait().unwrap().iter().map(|outcome| outcome.tag).collect()
    }

    #[test]
    fn a_batch_over_the_largest_is_split_behind_one_ticket() {
        let ([gate], slots) = gated_devices(2);
        (0..3).for_each(|_| gate.send(()).unwrap());
        assert_eq!(tags(slots.submit(batch(&[5, 4, 3, 2, 1]))), [5, 4, 3, 2, 1]);
        assert!(tags(slots.submit(batch(&[]))).is_empty());
    }

    #[test]
    fn try_submit_gives_the_batch_back_when_all_slots_are_taken() {
        let ([first, second], slots) = gated_devices(8);
        let tickets = [1, 2].map(|tag| slots.try_submit(batch(&[tag])).unwrap());
        assert_eq!(slots.try_submit(batch(&[3, 3])).unwrap_err().0.len(), 2);
        // Whichever slot is free takes a batch: one may take them all.
        [&first, &second].iter().for_each(|gate| (0..3).for_each(|_| gate.send(()).unwrap()));
        assert_eq!(tickets.map(tags), [[1], [2]]);
        assert_eq!(tags(slots.try_submit(batch(&[3])).unwrap()), [3]);
    }

    #[test]
    fn a_panic_costs_its_batch_and_nothing_else() {
        let ([gate], slots) = gated_devices(8);
        (0..2).for_each(|_| gate.send(()).unwrap());
        let (bad, good) = (slots.submit(batch(&[13])), slots.submit(batch(&[1])));
        assert_eq!(bad.wait().unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(tags(good), [1]);
    }

    #[test]
    fn tickets_outlive_the_session() {
        let ([gate], slots) = gated_devices(8);
        gate.send(()).unwrap();
        let ticket = slots.submit(batch(&[7]));
        drop(slots);
        assert_eq!(tags(ticket), [7]);
    }

    #[test]
    fn a_lost_device_s_batch_moves_to_the_others() {
        /// Lost at its first batch.
        struct Lost;

        impl Backend for Lost {
            fn run(&mut self, _: &Part<'_>) -> Result<Vec<Outcome>> {
                Err(Error::new(ErrorKind::Device, "lost"))
            }
        }

        let (gate, gated) = mpsc::channel();
        let devices = vec![DeviceSlots::new([Lost, Lost]), DeviceSlots::new([Gated(gated)])];
        let slots = Slots::start(devices, 8).unwrap();
        (0..20).for_each(|_| gate.send(()).unwrap());
        let tickets: Vec<Ticket> = (0..20).map(|tag| slots.submit(batch(&[tag + 100]))).collect();
        let answers: Vec<_> = tickets.into_iter().map(tags).collect();
        assert_eq!(answers, (100..120).map(|tag| vec![tag]).collect::<Vec<_>>());
    }

    #[test]
    fn a_batch_that_costs_a_device_costs_two_at_most() {
        let (gates, slots) = gated_devices::<3>(8);
        gates.iter().for_each(|gate| (0..3).for_each(|_| gate.send(()).unwrap()));
        assert_eq!(slots.submit(batch(&[14])).wait().unwrap_err().kind(), ErrorKind::Device);
        assert_eq!(tags(slots.submit(batch(&[1]))), [1]);
    }

    #[test]
    fn without_a_device_every_batch_is_answered() {
        let ([gate], slots) = gated_devices(8);
        (0..2).for_each(|_| gate.send(()).unwrap());
        let error = slots.submit(batch(&[14])).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Device);
        assert!(error.to_string().contains("lost"), "{error}");
        for _ in 0..3 {
            assert_eq!(slots.submit(batch(&[1])).wait().unwrap_err().kind(), ErrorKind::Device);
            assert_eq!(slots.try_submit(batch(&[1])).unwrap().wait().unwrap_err().kind(), ErrorKind::Device);
        }
    }
}
