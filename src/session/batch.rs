//! Images on their way into a session.

use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::device::{DeviceBuffer, PinnedBuffer};
use crate::resample::Transform;

/// One image of a batch.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) bytes: FileBytes,
    pub(super) transform: Option<Transform>,
    pub(super) tag: u64,
}

/// A file's bytes.
#[derive(Clone, Debug)]
pub(super) enum FileBytes {
    Own(Vec<u8>),
    Pinned(Arc<PinnedBuffer>, Range<usize>),
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Pinned(memory, range) => &memory.as_slice()[range.clone()],
        }
    }
}

/// An image of a pinned batch: its bytes' place.
#[derive(Clone, Debug)]
pub(super) struct PinnedImage {
    pub(super) range: Range<usize>,
    pub(super) transform: Option<Transform>,
    pub(super) tag: u64,
}

/// Images that are submitted together. Each has options of its own, and none depends on its batch mates.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) images: Vec<Image>,
    pub(super) logits: Option<Arc<DeviceBuffer>>,
    /// What all bytes lie in, unless they are the images' own.
    pub(super) pinned: Option<Arc<PinnedBuffer>>,
    num_bytes: u64,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a JPEG file, in memory of its own, also where other files lie in a [`PinnedBatch`](super::PinnedBatch)'s. A `Vec` is moved, a slice copied. `transform` overrides the session's; `tag` comes back in the outcome.
    pub fn push(&mut self, bytes: impl Into<Vec<u8>>, transform: Option<Transform>, tag: u64) {
        let bytes = bytes.into();
        self.num_bytes += bytes.len() as u64;
        self.images.push(Image { bytes: FileBytes::Own(bytes), transform, tag });
    }

    /// Has the logits written to device memory besides, f32 `[images, classes]`, for what comes next on the device. Rows of images
    /// without logits mean nothing. Join the stream that uses them ([`SessionBuilder::stream`](super::SessionBuilder::stream)), or wait
    /// for the ticket first. On the CPU, with memory of another device, and in a session of several devices, which takes a batch to
    /// whichever is free, the batch fails with [`ErrorKind::Usage`](crate::ErrorKind::Usage).
    pub fn write_logits_to(&mut self, buffer: Arc<DeviceBuffer>) {
        self.logits = Some(buffer);
    }

    /// A batch of images whose bytes lie in `memory`, at these places.
    pub(super) fn of_pinned(memory: Arc<PinnedBuffer>, images: Vec<PinnedImage>) -> Self {
        let num_bytes = images.iter().map(|image| image.range.len() as u64).sum();
        let images = images.into_iter().map(|PinnedImage { range, transform, tag }| {
            let bytes = FileBytes::Pinned(Arc::clone(&memory), range);
            Image { bytes, transform, tag }
        });
        Self { images: images.collect(), logits: None, num_bytes, pinned: Some(memory) }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Bytes of all files together.
    pub fn num_bytes(&self) -> u64 {
        self.num_bytes
    }
}
