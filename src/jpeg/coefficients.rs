//! Decoded coefficients of one image in host memory.

use super::frame::{ColorModel, Component, Frame, Orientation};
use super::order::Natural;

/// One component's quantised coefficients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plane {
    /// The component's own blocks in a row (libjpeg's `width_in_blocks`); what digests and resizing read.
    pub blocks_wide: u32,
    /// The component's own rows of blocks.
    pub blocks_high: u32,
    /// Blocks between the starts of two rows: padded to whole MCUs.
    pub pitch_blocks: u32,
    /// Rows of blocks in memory: padded to whole MCUs.
    pub padded_blocks_high: u32,
    /// `[padded_blocks_high][pitch_blocks][64]`: raster order of blocks, natural order within a block, as sent (quantised, DC
    /// absolute). Padding blocks hold what the file sends for them and are outside digests.
    pub data: Vec<i16>,
    /// The quantisation table that was in force at the component's first scan; `None` if no scan of it was ever sent.
    pub quant: Option<Natural<u16>>,
}

impl Plane {
    /// The plane of a component. `data`: `[component.padded_blocks_high][component.padded_blocks_wide][64]`.
    pub fn new(component: &Component, data: Vec<i16>, quant: Option<Natural<u16>>) -> Self {
        Self {
            blocks_wide: component.blocks_wide,
            blocks_high: component.blocks_high,
            pitch_blocks: component.padded_blocks_wide,
            padded_blocks_high: component.padded_blocks_high,
            data,
            quant,
        }
    }

    /// The 64 coefficients of one block, natural order. Panics outside the padded plane.
    pub fn block(&self, bx: u32, by: u32) -> &[i16] {
        let start = (by as usize * self.pitch_blocks as usize + bx as usize) * 64;
        &self.data[start..start + 64]
    }
}

/// All that resizing and the networks need of one decoded image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coefficients {
    /// The frame, height known.
    pub frame: Frame,
    /// What the components mean.
    pub color: ColorModel,
    /// From EXIF; upright where absent.
    pub orientation: Orientation,
    /// One per component, frame order.
    pub planes: Vec<Plane>,
}
