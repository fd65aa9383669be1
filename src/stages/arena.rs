//! Memory that stays from one batch to the next.

use std::sync::Arc;

use crate::Result;
use crate::device::Device;

/// A buffer that grows and never shrinks: by a quarter more than was asked for, so that batches of about one size soon take no more.
#[derive(Debug)]
pub(super) struct Arena<B> {
    device: Arc<dyn Device>,
    /// At least as long as was asked for.
    pub(super) buffer: B,
    take: fn(&Arc<dyn Device>, usize) -> Result<B>,
    len_bytes: usize,
    /// How often memory was taken.
    pub(super) num_allocations: u64,
}

impl<B> Arena<B> {
    /// One without memory.
    pub(super) fn new(device: &Arc<dyn Device>, take: fn(&Arc<dyn Device>, usize) -> Result<B>) -> Result<Self> {
        Ok(Self { device: Arc::clone(device), buffer: take(device, 0)?, take, len_bytes: 0, num_allocations: 1 })
    }

    /// Makes room; what the buffer held is lost where it has to grow.
    pub(super) fn reserve(&mut self, len_bytes: usize) -> Result<()> {
        if len_bytes > self.len_bytes {
            let wanted = len_bytes + len_bytes / 4;
            // The old one goes first: the two need not fit side by side.
            self.buffer = (self.take)(&self.device, 0)?;
            self.len_bytes = 0;
            self.buffer = (self.take)(&self.device, wanted)?;
            self.len_bytes = wanted;
            self.num_allocations += 1;
        }
        Ok(())
    }
}
