//! Images on their way into a session.

use std::sync::Arc;

use crate::device::DeviceBuffer;
use crate::resample::Transform;

/// One image of a batch.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    pub(super) transform: Option<Transform>,
    pub(super) tag: u64,
}

/// Images that are submitted together. Each has options of its own, and none depends on its batch mates.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) images: Vec<Image>,
    pub(super) logits: Option<Arc<DeviceBuffer>>,
    num_bytes: u64,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a JPEG file. A `Vec` is moved, a slice copied. `transform` overrides the session's; `tag` comes back in the outcome.
    pub fn push(&mut self, bytes: impl Into<Vec<u8>>, transform: Option<Transform>, tag: u64) {
        let bytes = bytes.into();
        self.num_bytes += bytes.len() as u64;
        self.images.push(Image { bytes, transform, tag });
    }

    /// Has the logits written to device memory besides, f32 `[images, classes]`, for what comes next on the device. Rows of images
    /// without logits mean nothing. Join the stream that uses them ([`SessionBuilder::stream`](super::SessionBuilder::stream)), or wait
    /// for the ticket first. On the CPU, or with memory of another device, the batch fails.
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

    /// Bytes of all files together.
    pub fn num_bytes(&self) -> u64 {
        self.num_bytes
    }
}
