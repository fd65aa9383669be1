//! Coefficients that stay in device memory, for other networks than this library's.

use std::sync::Arc;

use crate::device::{Address, DeviceBuffer};
use crate::jpeg::{ColorModel, Component, DecodeReport, Frame, Natural, Orientation};

/// A component's coefficients in device memory: i16, quantised, DC absolute, natural order within a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePlane {
    /// Where they begin: a `CUdeviceptr` on a GPU, aligned to 128 bytes.
    pub address: Address,
    /// The component's own blocks in a row.
    pub blocks_wide: u32,
    /// The component's own rows of blocks.
    pub blocks_high: u32,
    /// Blocks between the starts of two rows: padded to whole MCUs.
    pub pitch_blocks: u32,
    /// Rows of blocks in memory: padded to whole MCUs.
    pub padded_blocks_high: u32,
    /// The quantisation table in force at the component's first scan; `None` if no scan of it was sent.
    pub quant: Option<Natural<u16>>,
}

impl DevicePlane {
    pub(super) fn new(component: &Component, address: Address, quant: Option<Natural<u16>>) -> Self {
        Self {
            address,
            blocks_wide: component.blocks_wide,
            blocks_high: component.blocks_high,
            pitch_blocks: component.padded_blocks_wide,
            padded_blocks_high: component.padded_blocks_high,
            quant,
        }
    }

    /// Bytes from the start of the batch's memory to the plane.
    pub fn offset_bytes(&self, buffer: &DeviceBuffer) -> usize {
        self.address.saturating_sub(buffer.address()) as usize
    }

    /// `[blocks_high, blocks_wide, 64]`: the component's own blocks.
    pub fn shape(&self) -> [u64; 3] {
        [self.blocks_high.into(), self.blocks_wide.into(), 64]
    }

    /// Coefficients (not bytes) between neighbours along each axis of [`shape`](Self::shape), as DLPack counts them.
    pub fn strides(&self) -> [u64; 3] {
        [u64::from(self.pitch_blocks) * 64, 64, 1]
    }
}

/// One image's coefficients in device memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceImage {
    /// The frame, height known.
    pub frame: Frame,
    /// What the components mean.
    pub color: ColorModel,
    /// From EXIF; upright where absent.
    pub orientation: Orientation,
    /// One per component, frame order.
    pub planes: Vec<DevicePlane>,
}

/// What decoding one file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedOnDevice {
    /// The coefficients; `None` if the status is failed.
    pub image: Option<DeviceImage>,
    /// How it went.
    pub report: DecodeReport,
}

/// A batch's coefficients, and the device memory that they lie in: it is freed with its last owner, so the planes' addresses are good as long as
/// this value lives, or a clone of its [`buffer`](Self::buffer). (A GPU's memory is freed after all work on it.)
#[derive(Debug)]
pub struct DeviceCoefficients {
    pub(super) buffer: Arc<DeviceBuffer>,
    pub(super) images: Vec<DecodedOnDevice>,
    pub(super) late: Vec<usize>,
}

impl DeviceCoefficients {
    /// What came of each file, in order.
    pub fn images(&self) -> &[DecodedOnDevice] {
        &self.images
    }

    /// The memory that all planes lie in: for copies, for kernels of one's own, and for
    /// [`Exported::from_device_strided`](crate::dlpack::Exported::from_device_strided), which shares it.
    pub fn buffer(&self) -> &Arc<DeviceBuffer> {
        &self.buffer
    }

    /// Where each file's coefficients lie, in order; `None` where there are none.
    pub fn places(&self) -> Vec<Option<&DeviceImage>> {
        self.images.iter().map(|decoded| decoded.image.as_ref()).collect()
    }

    /// Files, by their place in the batch, that the device gave up and the CPU has decoded after all: what was put on a stream after
    /// [`CoefficientsInFlight::join`](super::CoefficientsInFlight::join) has read other coefficients of them.
    pub fn late(&self) -> &[usize] {
        &self.late
    }
}
