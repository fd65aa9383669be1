//! Memory that stays from one batch to the next.

use std::sync::Arc;

use crate::Result;
use crate::device::{Device, DeviceBuffer, PinnedBuffer};

/// A buffer that grows, by a quarter more than was asked for, so that batches of about one size soon take no more. It never shrinks by
/// itself.
#[derive(Debug)]
pub(super) struct Arena<B> {
    device: Arc<dyn Device>,
    /// At least as long as was asked for.
    pub(super) buffer: B,
    /// An empty buffer, for while the other one is away.
    stand_in: Option<B>,
    take: fn(&Arc<dyn Device>, usize) -> Result<B>,
    /// How often memory was taken.
    pub(super) num_allocations: u64,
}

/// Memory with a length.
pub(super) trait Memory {
    fn len_bytes(&self) -> usize;
}

impl Memory for DeviceBuffer {
    fn len_bytes(&self) -> usize {
        self.len_bytes()
    }
}

impl Memory for PinnedBuffer {
    fn len_bytes(&self) -> usize {
        self.len_bytes()
    }
}

impl<B: Memory> Arena<B> {
    /// One without memory.
    pub(super) fn new(device: &Arc<dyn Device>, take: fn(&Arc<dyn Device>, usize) -> Result<B>) -> Result<Self> {
        Ok(Self { device: Arc::clone(device), buffer: take(device, 0)?, stand_in: None, take, num_allocations: 1 })
    }

    /// Makes room; what the buffer held is lost where it has to grow.
    pub(super) fn reserve(&mut self, len_bytes: usize) -> Result<()> {
        if len_bytes > self.buffer.len_bytes() {
            // The old one goes first: the two need not fit side by side.
            self.trim()?;
            self.buffer = (self.take)(&self.device, len_bytes + len_bytes / 4)?;
            self.num_allocations += 1;
        }
        Ok(())
    }

    /// Gives the memory back.
    pub(super) fn trim(&mut self) -> Result<()> {
        self.take().map(drop)
    }

    /// Takes the buffer out, and leaves an empty one.
    pub(super) fn take(&mut self) -> Result<B> {
        let stand_in = self.stand_in.take().map_or_else(|| (self.take)(&self.device, 0), Ok)?;
        Ok(std::mem::replace(&mut self.buffer, stand_in))
    }

    /// Puts a buffer in, unless the present one is larger.
    pub(super) fn put(&mut self, buffer: B) {
        if buffer.len_bytes() > self.buffer.len_bytes() {
            let smaller = std::mem::replace(&mut self.buffer, buffer);
            self.stand_in = (smaller.len_bytes() == 0).then_some(smaller);
        }
    }
}
