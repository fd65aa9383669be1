//! The thread that takes batches, one after the other, to a backend.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::batch::{Batch, Image};
use super::outcome::Outcome;
use super::ticket::{Promise, Ticket, promise};
use crate::error::{Error, ErrorKind, Result};

/// What runs a batch: the CPU, or a device.
pub(super) trait Backend: Send + 'static {
    /// One outcome per image, in order. An error means that the whole batch has none.
    fn run(&mut self, images: &[Image]) -> Result<Vec<Outcome>>;
}

/// The session cannot take a batch now; here it is again.
#[derive(Debug)]
pub struct Busy(pub Batch);

struct Job {
    batch: Batch,
    promise: Promise,
}

/// Batches on their way to a backend: one that runs, and one that waits for it.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread. A batch runs in parts of at most `max_batch` images.
    pub(super) fn start(backend: impl Backend, max_batch: usize) -> Result<Self> {
        let (sender, receiver) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("dctflow-session".into())
            .spawn(move || work(backend, max_batch, &receiver))
            .map_err(|e| Error::new(ErrorKind::OutOfMemory, "cannot start a thread: raise its limit").with_source(e))?;
        Ok(Self { jobs: Some(sender), thread: Some(thread) })
    }

    /// Waits for a free place, not for the batch.
    pub(super) fn submit(&self, batch: Batch) -> Ticket {
        let (promise, ticket) = promise();
        if let Some(jobs) = &self.jobs {
            // Should the thread be gone, the dropped promise answers.
            let _ = jobs.send(Job { batch, promise });
        }
        ticket
    }

    /// Never waits.
    pub(super) fn try_submit(&self, batch: Batch) -> std::result::Result<Ticket, Busy> {
        let (promise, ticket) = promise();
        match self.jobs.as_ref().map(|jobs| jobs.try_send(Job { batch, promise })) {
            Some(Err(TrySendError::Full(job))) => Err(Busy(job.batch)),
            _ => Ok(ticket),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It catches panics, so that there is none to pass on.
            let _ = thread.join();
        }
    }
}

fn work(mut backend: impl Backend, max_batch: usize, jobs: &Receiver<Job>) {
    for Job { batch, promise } in jobs {
        let run = AssertUnwindSafe(|| run_in_parts(&mut backend, &batch.images, max_batch));
        promise.answer(catch_unwind(run).unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Internal, "a mistake of this library was met in a batch; please report it"))
        }));
    }
}

fn run_in_parts(backend: &mut impl Backend, images: &[Image], max_batch: usize) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(images.len());
    for part in images.chunks(max_batch) {
        outcomes.extend(backend.run(part)?);
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ImageError;
    use std::sync::mpsc;

    /// Answers with the tags, once per message of its gate; panics at the tag 13.
    struct Gated(mpsc::Receiver<()>);

    impl Backend for Gated {
        fn run(&mut self, images: &[Image]) -> Result<Vec<Outcome>> {
            self.0.recv().unwrap();
            assert!(images.iter().all(|image| image.tag != 13));
            Ok(images.iter().map(|image| Outcome::failed(image.tag, ImageError::Internal)).collect())
        }
    }

    fn gated(max_batch: usize) -> (mpsc::Sender<()>, Worker) {
        let (gate, gated) = mpsc::channel();
        (gate, Worker::start(Gated(gated), max_batch).unwrap())
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
        let (gate, worker) = gated(2);
        (0..3).for_each(|_| gate.send(()).unwrap());
        assert_eq!(tags(worker.submit(batch(&[5, 4, 3, 2, 1]))), [5, 4, 3, 2, 1]);
        assert!(tags(worker.submit(batch(&[]))).is_empty());
    }

    #[test]
    fn try_submit_gives_the_batch_back_when_all_places_are_taken() {
        let (gate, worker) = gated(8);
        let mut tickets = Vec::new();
        let busy = loop {
            match worker.try_submit(batch(&[tickets.len() as u64])) {
                Ok(ticket) => tickets.push(ticket),
                Err(busy) => break busy,
            }
        };
        assert!((1..=2).contains(&tickets.len()));
        assert_eq!(busy.0.len(), 1);
        tickets.iter().for_each(|_| gate.send(()).unwrap());
        let answers: Vec<_> = tickets.into_iter().map(tags).collect();
        assert_eq!(answers, (0..answers.len() as u64).map(|tag| vec![tag]).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_costs_its_batch_and_nothing_else() {
        let (gate, worker) = gated(8);
        (0..2).for_each(|_| gate.send(()).unwrap());
        let (bad, good) = (worker.submit(batch(&[13])), worker.submit(batch(&[1])));
        assert_eq!(bad.wait().unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(tags(good), [1]);
    }

    #[test]
    fn tickets_outlive_the_session() {
        let (gate, worker) = gated(8);
        gate.send(()).unwrap();
        let ticket = worker.submit(batch(&[7]));
        drop(worker);
        assert_eq!(tags(ticket), [7]);
    }
}
