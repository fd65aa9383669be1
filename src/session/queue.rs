//! Submitted batches on their way to the slots that run them. All slots, of all devices, take from one queue, so that work goes to
//! whoever is free.

use std::collections::VecDeque;
use std::sync::OnceLock;

use super::Batch;
use super::ticket::{Promise, Ticket, promise};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The session cannot take a batch now; here it is again.
#[derive(Debug)]
pub struct Busy(pub Batch);

/// A submitted batch, and the promise to whoever waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) promise: Promise,
    /// A device was lost while it ran. Since it may be the cause, it moves to another device once and not again.
    pub(super) has_moved: bool,
}

/// Whether a device still works. Shared by its slots.
#[derive(Debug, Default)]
pub(super) struct Health(OnceLock<String>);

impl Health {
    /// What went wrong, if anything did.
    pub(super) fn failure(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// The first failure is the cause of all later ones.
    pub(super) fn fail(&self, error: &Error) {
        self.0.get_or_init(|| error.to_string());
    }
}

/// Batches in flight: those that wait for a slot and those that run.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something that slots wait for: a batch, a trim, the end, the loss of a device.
    changed: Condvar,
    place_freed: Condvar,
    trimmed: Condvar,
}

/// What a slot is to do next.
#[derive(Debug)]
pub(super) enum Task {
    Run(Job),
    /// Give memory back. The number is to be told to [`Queue::trimmed`], and to [`Queue::take`] from then on.
    Trim(u64),
}

#[derive(Debug)]
struct State {
    jobs: VecDeque<Job>,
    num_in_flight: usize,
    num_slots: usize,
    is_closed: bool,
    failure: String,
    /// How often memory was asked back, the slots that have not given theirs since the last time, and what one of them failed with.
    num_trims: u64,
    num_untrimmed: usize,
    trim_error: Option<Error>,
}

impl State {
    fn is_full(&self) -> bool {
        self.num_slots > 0 && self.num_in_flight >= self.num_slots
    }
}

impl Queue {
    /// As many batches may be in flight as there are slots.
    pub(super) fn new(num_slots: usize) -> Self {
        let state = State {
            jobs: VecDeque::new(),
            num_in_flight: 0,
            num_slots,
            is_closed: false,
            failure: String::new(),
            num_trims: 0,
            num_untrimmed: 0,
            trim_error: None,
        };
        let [changed, place_freed, trimmed] = [(); 3].map(|()| Condvar::new());
        Self { state: Mutex::new(state), changed, place_freed, trimmed }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a free place, not for the batch.
    pub(super) fn submit(&self, batch: Batch) -> Ticket {
        let mut state = self.lock();
        while state.is_full() {
            state = self.place_freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.push(state, batch)
    }

    /// Never waits.
    pub(super) fn try_submit(&self, batch: Batch) -> std::result::Result<Ticket, Busy> {
        let state = self.lock();
        if state.is_full() { Err(Busy(batch)) } else { Ok(self.push(state, batch)) }
    }

    fn push(&self, mut state: MutexGuard<'_, State>, batch: Batch) -> Ticket {
        let (promise, ticket) = promise();
        if state.num_slots == 0 {
            let error = all_lost(&state.failure);
            drop(state);
            promise.answer(Err(error));
            return ticket;
        }
        state.num_in_flight += 1;
        state.jobs.push_back(Job { batch, promise, has_moved: false });
        drop(state);
        self.changed.notify_one();
        ticket
    }

    /// The next task for a slot of a device that has trimmed so often; waits for one. `None` when there will be none.
    pub(super) fn take(&self, health: &Health, num_trims: u64) -> Option<Task> {
        let mut state = self.lock();
        while health.failure().is_none() {
            if state.num_trims > num_trims {
                return Some(Task::Trim(state.num_trims));
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(Task::Run(job));
            }
            // What is still in flight may come back from a device that is lost.
            if state.is_closed && state.num_in_flight == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// A batch that was taken is done: its place is free.
    pub(super) fn release(&self) {
        self.lock().num_in_flight -= 1;
        self.place_freed.notify_one();
    }

    /// A batch that was taken is for another slot. The slot that gives it back must end: that wakes the others.
    pub(super) fn put_back(&self, job: Job) {
        self.lock().jobs.push_front(job);
    }

    /// Has every slot give its memory back, between two batches; waits for that, and says what one of them failed with.
    pub(super) fn trim(&self) -> Result<()> {
        let mut state = self.lock();
        state.num_trims += 1;
        state.num_untrimmed = state.num_slots;
        self.changed.notify_all();
        while state.num_untrimmed > 0 {
            state = self.trimmed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.trim_error.take().map_or(Ok(()), Err)
    }

    /// A slot has given its memory back, as it was asked for the `num_trims`th time.
    pub(super) fn trimmed(&self, num_trims: u64, result: Result<()>) {
        let mut state = self.lock();
        if state.num_trims == num_trims {
            state.num_untrimmed -= 1;
        }
        state.trim_error = result.err().or(state.trim_error.take());
        drop(state);
        self.trimmed.notify_all();
    }

    /// A slot ends. The last one to go answers all that is left. Wakes all others: those of a lost device end too, one of another takes
    /// what was put back, and after the end none waits for more.
    pub(super) fn retire(&self, failure: Option<&str>, num_trims: u64) {
        let mut state = self.lock();
        state.num_slots -= 1;
        if state.num_trims > num_trims {
            // Whoever waits for its memory need not any more: it goes with the slot.
            state.num_untrimmed -= 1;
        }
        if let Some(failure) = failure {
            state.failure = failure.to_owned();
        }
        let mut left = VecDeque::new();
        if state.num_slots == 0 {
            left = std::mem::take(&mut state.jobs);
            state.num_in_flight -= left.len();
        }
        let error = || all_lost(&state.failure);
        let errors: Vec<Error> = left.iter().map(|_| error()).collect();
        drop(state);
        self.changed.notify_all();
        self.place_freed.notify_all();
        self.trimmed.notify_all();
        for (job, error) in left.into_iter().zip(errors) {
            job.promise.answer(Err(error));
        }
    }

    /// No more batches come. What is in flight is finished.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }
}

fn all_lost(failure: &str) -> Error {
    let message = format!("no device of this session works any more, start a new one; the last to fail: {failure}");
    Error::new(ErrorKind::Device, message)
}
