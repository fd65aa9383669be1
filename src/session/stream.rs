//! Any number of images in, their outcomes out, in order, in bounded memory.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::{Batch, Outcome, Session, Ticket};
use crate::error::{ImageError, Result};
use crate::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// A batch is closed when its files reach this size, however few they are.
const MAX_BATCH_BYTES: u64 = 64 << 20;

/// What came before the network for one image: its key, and why it was not even submitted.
type Entry<K> = (K, Option<ImageError>);

/// The way in of a stream: forms batches and submits them. Dropped, it submits what is left.
#[derive(Debug)]
pub struct Feeder<'a, K> {
    session: &'a Session,
    batch: Batch,
    entries: Vec<Entry<K>>,
    batches: SyncSender<(Vec<Entry<K>>, Ticket)>,
}

/// The way out of a stream: an iterator over keys and outcomes in the order in which the images were fed. It ends after the feeder is
/// dropped, or after the first error of the session.
#[derive(Debug)]
pub struct Outcomes<K> {
    batches: Receiver<(Vec<Entry<K>>, Ticket)>,
    ready: VecDeque<(K, Outcome)>,
    has_failed: bool,
}

impl Session {
    /// Opens a stream. Feed it in one thread and read it in another: the feeder waits while the outcomes are not read, so that never
    /// more than a few batches are in memory.
    pub fn stream<K>(&self) -> (Feeder<'_, K>, Outcomes<K>) {
        let (sender, receiver) = sync_channel(self.num_slots());
        let feeder = Feeder { session: self, batch: Batch::new(), entries: Vec::new(), batches: sender };
        (feeder, Outcomes { batches: receiver, ready: VecDeque::new(), has_failed: false })
    }
}

impl<K> Feeder<'_, K> {
    /// Feeds a file. `Break` says that nobody reads the outcomes any more.
    pub fn push(&mut self, key: K, bytes: impl Into<Vec<u8>>) -> ControlFlow<()> {
        self.batch.push(bytes, None, 0);
        self.entries.push((key, None));
        self.submit_if_full()
    }

    /// Feeds an image that has failed already: its outcome comes in its place.
    pub fn push_failed(&mut self, key: K, reason: ImageError) -> ControlFlow<()> {
        self.entries.push((key, Some(reason)));
        self.submit_if_full()
    }

    fn submit_if_full(&mut self) -> ControlFlow<()> {
        if self.entries.len() >= self.session.max_batch() || self.batch.num_bytes() >= MAX_BATCH_BYTES {
            return self.submit();
        }
        ControlFlow::Continue(())
    }

    fn submit(&mut self) -> ControlFlow<()> {
        let ticket = self.session.submit(std::mem::take(&mut self.batch));
        match self.batches.send((std::mem::take(&mut self.entries), ticket)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

impl<K> Drop for Feeder<'_, K> {
    fn drop(&mut self) {
        if !self.entries.is_empty() {
            // Break says that nobody listens: there is nobody to tell.
            let _ = self.submit();
        }
    }
}

impl<K> Iterator for Outcomes<K> {
    type Item = Result<(K, Outcome)>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            if self.has_failed {
                return None;
            }
            let (entries, ticket) = self.batches.recv().ok()?;
            match ticket.wait() {
                Ok(outcomes) => self.ready = merge(entries, outcomes),
                Err(error) => {
                    self.has_failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// Puts the outcomes of what was submitted between those of what was not.
fn merge<K>(entries: Vec<Entry<K>>, outcomes: Vec<Outcome>) -> VecDeque<(K, Outcome)> {
    let mut outcomes = outcomes.into_iter();
    let merged = entries.into_iter().map(|(key, reason)| {
        let outcome = match reason {
            Some(reason) => Outcome::failed(0, reason),
            None => outcomes.next().unwrap_or_else(|| Outcome::failed(0, ImageError::Internal)),
        };
        (key, outcome)
    });
    merged.collect()
}
