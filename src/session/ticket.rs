//! The receipt for a submitted batch.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::Outcome;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Stands for the outcomes of one submitted batch. It owns what it needs: it can be sent to another thread, forgotten, or outlive its
/// session. Wait for it, ask it, or `.await` it.
#[derive(Debug)]
#[must_use = "the outcomes come through the ticket"]
pub struct Ticket {
    slot: Arc<Slot>,
}

/// The other end of a [`Ticket`]. Dropped without an answer, it answers with an error, so that nobody waits for ever.
#[derive(Debug)]
pub(super) struct Promise {
    slot: Arc<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
    /// The batch has been answered, or is on its way.
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    answer: Option<Result<Vec<Outcome>>>,
    is_answered: bool,
    is_on_its_way: bool,
    waker: Option<Waker>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A ticket whose answer is known.
pub(super) fn answered(answer: Result<Vec<Outcome>>) -> Ticket {
    let (promise, ticket) = promise();
    promise.answer(answer);
    ticket
}

/// A promise and the ticket that it answers.
pub(super) fn promise() -> (Promise, Ticket) {
    let slot = Arc::new(Slot::default());
    (Promise { slot: Arc::clone(&slot) }, Ticket { slot })
}

impl Promise {
    pub(super) fn answer(self, answer: Result<Vec<Outcome>>) {
        self.put(answer);
    }

    /// Everything is on the device's streams.
    pub(super) fn is_on_its_way(&self) {
        self.slot.lock().is_on_its_way = true;
        self.slot.answered.notify_all();
    }

    fn put(&self, answer: Result<Vec<Outcome>>) {
        let mut state = self.slot.lock();
        if std::mem::replace(&mut state.is_answered, true) {
            return;
        }
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        self.slot.answered.notify_all();
        if let Some(waker) = waker {
            // The caller's code: should it panic, the thread that answers goes on with the next batch.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.put(Err(Error::new(ErrorKind::Internal, "the session ended before it answered this batch")));
    }
}

impl Ticket {
    /// Waits for the outcomes: one per image, in the order in which they were pushed.
    ///
    /// # Errors
    /// What made the whole batch fail. A bad image never does.
    pub fn wait(self) -> Result<Vec<Outcome>> {
        let mut state = self.slot.lock();
        loop {
            if let Some(answer) = state.answer.take() {
                return answer;
            }
            state = self.slot.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the whole batch is on the device's queues, but not until it is done: what is put on a joined stream
    /// ([`SessionBuilder::stream`](super::SessionBuilder::stream)) from then on comes after the batch. [`Session::submit`](super::Session::submit)
    /// waits for it where a stream is joined, [`try_submit`](super::Session::try_submit) leaves it to its caller.
    pub fn wait_until_on_its_way(&self) {
        let mut state = self.slot.lock();
        while !state.is_on_its_way && !state.is_answered {
            state = self.slot.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the whole batch is on the device's queues, or answered. Never blocks.
    pub fn is_on_its_way(&self) -> bool {
        let state = self.slot.lock();
        state.is_on_its_way || state.is_answered
    }

    /// The outcomes if they are there; the ticket itself if not. Never blocks.
    ///
    /// # Errors
    /// The ticket, to be asked again.
    pub fn try_wait(self) -> std::result::Result<Result<Vec<Outcome>>, Self> {
        let answer = self.slot.lock().answer.take();
        answer.ok_or(self)
    }
}

impl Future for Ticket {
    type Output = Result<Vec<Outcome>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.lock();
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct CountWakes(AtomicUsize);

    impl Wake for CountWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_ticket_can_be_asked_and_waited_for() {
        let (promise, ticket) = promise();
        let ticket = ticket.try_wait().unwrap_err();
        assert!(!ticket.is_on_its_way());
        promise.is_on_its_way();
        assert!(ticket.is_on_its_way());
        let waiter = std::thread::spawn(|| ticket.wait());
        promise.answer(Ok(Vec::new()));
        assert_eq!(waiter.join().unwrap().unwrap(), []);
    }

    #[test]
    fn a_ticket_is_a_future_that_is_woken_once() {
        let (promise, mut ticket) = promise();
        let wakes = Arc::new(CountWakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
        promise.answer(Ok(Vec::new()));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(Pin::new(&mut ticket).poll(&mut context).is_ready());
    }

    #[test]
    fn a_broken_promise_is_an_error_not_a_hang() {
        let (promise, ticket) = promise();
        drop(promise);
        assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Internal);
    }
}
