//! Batches whose bytes are pinned from the start: readers write files where a GPU copies them from, and no byte is moved by the host in between.

use std::fmt;
use std::sync::Arc;

use super::Batch;
use super::batch::PinnedImage;
use crate::device::{Device, DeviceBuffer, PinnedBuffer};
use crate::error::{Error, ErrorKind, Result};
use crate::resample::Transform;
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// A batch on its way to being one: files are written into its memory, which is pinned and which it owns. [`Session::pinned_batch`] has it.
/// `submit(batch.into())` gives it to the session, and the memory serves a later batch when this one is done.
///
/// ```
/// # fn main() -> dctflow::Result<()> {
/// # #[cfg(feature = "emulator")] {
/// use dctflow::network::{Config, Variant, Weights};
/// use dctflow::session::{DeviceChoice, Session};
///
/// let config = Config { width: 0.05, classes: 10, ..Config::new(Variant::LateConcatRfaThinner) };
/// let weights = Weights::random(config, 0)?;
/// let session = Session::builder(&weights).device(DeviceChoice::Emulator).build()?;
/// let photo = dctflow::synth::photo(0, 0);
/// let mut batch = session.pinned_batch(1 << 20)?;
/// batch.free()[..photo.len()].copy_from_slice(&photo); // Or `file.read(batch.free())`, or a socket's bytes.
/// batch.push(photo.len(), None, 7)?;
/// let outcomes = session.submit(batch.into()).wait()?;
/// assert_eq!(outcomes[0].tag, 7);
/// # }
/// # Ok(()) }
/// ```
///
/// [`Session::pinned_batch`]: super::Session::pinned_batch
#[derive(Debug)]
pub struct PinnedBatch {
    memory: PinnedBuffer,
    /// The bytes that belong to images.
    num_bytes: usize,
    images: Vec<PinnedImage>,
    logits: Option<Arc<DeviceBuffer>>,
    pool: Arc<PinnedPool>,
}

impl PinnedBatch {
    /// The memory that is not any image's yet. The next file is written to its beginning.
    pub fn free(&mut self) -> &mut [u8] {
        &mut self.memory.as_mut_slice()[self.num_bytes..]
    }

    /// Adds a JPEG file: the first `len_bytes` of what was free. `transform` and `tag` as for [`Batch::push`].
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if so many are not free; the batch is as it was.
    pub fn push(&mut self, len_bytes: usize, transform: Option<Transform>, tag: u64) -> Result<()> {
        let num_free = self.memory.len_bytes() - self.num_bytes;
        if len_bytes > num_free {
            let message = format!(
                "a file of {len_bytes} bytes in a pinned batch with {num_free} left: submit it, or make a larger one"
            );
            return Err(Error::new(ErrorKind::Usage, message));
        }
        self.images.push(PinnedImage { range: self.num_bytes..self.num_bytes + len_bytes, transform, tag });
        self.num_bytes += len_bytes;
        Ok(())
    }

    /// As [`Batch::write_logits_to`].
    pub fn write_logits_to(&mut self, buffer: Arc<DeviceBuffer>) {
        self.logits = Some(buffer);
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }
}

impl From<PinnedBatch> for Batch {
    fn from(pinned: PinnedBatch) -> Self {
        let PinnedBatch { memory, images, logits, pool, .. } = pinned;
        let mut batch = Self::of_pinned(pool.lend(memory), images);
        batch.logits = logits;
        batch
    }
}

/// Pinned memory of batches, lent to them and used again.
pub(super) struct PinnedPool {
    device: Arc<dyn Device>,
    /// Whatever is lent has another owner besides.
    buffers: Mutex<Vec<Arc<PinnedBuffer>>>,
    /// Idle buffers are given back beyond so many.
    num_kept: usize,
}

impl PinnedPool {
    pub(super) fn new(device: &Arc<dyn Device>, num_kept: usize) -> Self {
        Self { device: Arc::clone(device), buffers: Mutex::new(Vec::new()), num_kept }
    }

    /// An empty batch with room for so many bytes.
    pub(super) fn batch(self: &Arc<Self>, len_bytes: usize) -> Result<PinnedBatch> {
        let memory = self.take(len_bytes)?;
        Ok(PinnedBatch { memory, num_bytes: 0, images: Vec::new(), logits: None, pool: Arc::clone(self) })
    }

    /// Gives back what is idle.
    pub(super) fn trim(&self) {
        self.lock().retain(is_lent);
    }

    fn take(&self, len_bytes: usize) -> Result<PinnedBuffer> {
        let mut buffers = self.lock();
        let is_fitting = |buffer: &Arc<PinnedBuffer>| !is_lent(buffer) && buffer.len_bytes() >= len_bytes;
        if let Some(place) = buffers.iter().position(is_fitting)
            && let Ok(buffer) = Arc::try_unwrap(buffers.swap_remove(place))
        {
            return Ok(buffer);
        }
        drop(buffers);
        PinnedBuffer::new(&self.device, len_bytes)
    }

    fn lend(&self, buffer: PinnedBuffer) -> Arc<PinnedBuffer> {
        let lent = Arc::new(buffer);
        let mut buffers = self.lock();
        if buffers.len() >= self.num_kept {
            buffers.retain(is_lent);
        }
        buffers.push(Arc::clone(&lent));
        lent
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<PinnedBuffer>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody but the pool can make a second owner, and only under its lock: what is not lent stays so.
fn is_lent(buffer: &Arc<PinnedBuffer>) -> bool {
    Arc::strong_count(buffer) > 1
}

impl fmt::Debug for PinnedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedPool").finish_non_exhaustive()
    }
}
