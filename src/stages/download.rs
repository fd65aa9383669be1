//! Results on their way to the host.

use std::sync::Arc;

use crate::device::{Device, DeviceSlice, Event, PinnedBuffer, Stream};
use crate::{Error, ErrorKind, Result};

/// A copy of device memory in pinned host memory, which is looked at only once it is there.
#[derive(Debug)]
pub struct Download {
    memory: PinnedBuffer,
    len_bytes: usize,
    is_there: Event,
}

impl Download {
    /// With room for `max_bytes`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(device: &Arc<dyn Device>, max_bytes: usize) -> Result<Self> {
        Ok(Self { memory: PinnedBuffer::new(device, max_bytes)?, len_bytes: 0, is_there: Event::new(device)? })
    }

    /// Puts the copy on the stream. Waits for the one before, if it is still under way.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no room for it; those of the device.
    pub fn submit(&mut self, stream: &Stream, from: DeviceSlice<'_>) -> Result<()> {
        let (wanted, room) = (from.len_bytes(), self.memory.len_bytes());
        if wanted > room {
            return Err(Error::new(ErrorKind::Usage, format!("{wanted} bytes do not fit into {room}")));
        }
        self.is_there.synchronize()?;
        self.len_bytes = wanted;
        // SAFETY: the memory is this copy's own, and `bytes` looks at it only after the copy has happened.
        unsafe { stream.download(&mut self.memory.as_mut_slice()[..wanted], from)? };
        stream.record(&self.is_there)
    }

    /// Waits for the copy.
    ///
    /// # Errors
    /// Those of the device.
    pub fn bytes(&self) -> Result<&[u8]> {
        self.is_there.synchronize()?;
        Ok(&self.memory.as_slice()[..self.len_bytes])
    }
}
