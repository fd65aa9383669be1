//! The blocks of progressive AC scans, of either coding, with masks of what is not zero in them.

use std::ops::Range;

use super::layout::{BlockPlace, ScanLayout};
use crate::jpeg::{Frame, NATURAL_FROM_ZIGZAG, Plane};

/// Which AC coefficients of a frame are not zero so far: `[plane][block]`, bit k for ZZ(k). Refinement scans walk along these bits, and
/// pass over blocks without touching them.
#[derive(Default)]
pub struct NonzeroMasks {
    planes: Vec<Vec<u64>>,
}

impl NonzeroMasks {
    /// All coefficients are zero.
    pub fn reset(&mut self, frame: &Frame) {
        self.planes.resize_with(frame.components.len(), Vec::new);
        for (masks, component) in self.planes.iter_mut().zip(&frame.components) {
            masks.clear();
            masks.resize(component.padded_blocks_wide as usize * component.padded_blocks_high as usize, 0);
        }
    }
}

/// The bits from `first` to `last`, at most 63.
#[inline(always)]
pub fn bits(first: usize, last: usize) -> u64 {
    u64::MAX << first & u64::MAX >> (63 - last)
}

/// The blocks of a scan of one component, with their masks.
pub struct BandBlocks<'a> {
    layout: &'a ScanLayout,
    place: BlockPlace,
    plane: &'a mut [i16],
    masks: &'a mut [u64],
}

impl<'a> BandBlocks<'a> {
    /// Of the scan's only component.
    pub fn new(layout: &'a ScanLayout, planes: &'a mut [Plane], nonzero: &'a mut NonzeroMasks) -> Self {
        let place = layout.blocks[0];
        Self { layout, place, plane: &mut planes[place.plane_idx].data, masks: &mut nonzero.planes[place.plane_idx] }
    }

    /// The block that is this MCU.
    #[inline(always)]
    pub fn block(&mut self, mcu_idx: u32) -> BandBlock<'_> {
        let (mcu_x, mcu_y) = self.layout.position(mcu_idx);
        self.block_at(mcu_x, mcu_y)
    }

    /// The same by column and row.
    #[inline(always)]
    pub fn block_at(&mut self, mcu_x: usize, mcu_y: usize) -> BandBlock<'_> {
        let block_idx = self.place.offset(mcu_x, mcu_y) / 64;
        let (blocks, _) = self.plane.as_chunks_mut::<64>();
        BandBlock { coefficients: &mut blocks[block_idx], nonzero: &mut self.masks[block_idx] }
    }

    /// How many of these MCUs, from the first on, have nothing in the band. Row by row, since this is all that some scans ask for.
    #[inline(always)]
    pub fn count_empty(&self, mcus: Range<u32>, band: u64) -> u32 {
        let mut mcu_idx = mcus.start;
        while mcu_idx < mcus.end {
            let (mcu_x, mcu_y) = self.layout.position(mcu_idx);
            let num_in_row = (self.layout.mcus_wide - mcu_x as u32).min(mcus.end - mcu_idx);
            let block_idx = self.place.offset(mcu_x, mcu_y) / 64;
            let row = &self.masks[block_idx..block_idx + num_in_row as usize];
            match row.iter().position(|mask| mask & band != 0) {
                Some(num_empty) => return mcu_idx + num_empty as u32 - mcus.start,
                None => mcu_idx += num_in_row,
            }
        }
        mcu_idx - mcus.start
    }
}

/// A block and the mask of its AC coefficients that are not zero.
pub struct BandBlock<'a> {
    coefficients: &'a mut [i16; 64],
    /// Bit k for ZZ(k).
    pub nonzero: &'a mut u64,
}

impl BandBlock<'_> {
    /// What it holds, to be restored should it turn out not to be received.
    pub fn save(&self) -> ([i16; 64], u64) {
        (*self.coefficients, *self.nonzero)
    }

    /// Undoes everything since [`save`](Self::save).
    pub fn restore(&mut self, (coefficients, nonzero): ([i16; 64], u64)) {
        *self.coefficients = coefficients;
        *self.nonzero = nonzero;
    }

    /// Clears ZZ(first) to ZZ(last).
    #[cold]
    pub fn clear(&mut self, first: usize, last: usize) {
        NATURAL_FROM_ZIGZAG[first..=last]
            .iter()
            .for_each(|&natural_idx| self.coefficients[usize::from(natural_idx)] = 0);
        *self.nonzero &= !bits(first, last);
    }

    /// ZZ(k).
    #[inline(always)]
    pub fn get(&self, k: usize) -> i16 {
        self.coefficients[usize::from(NATURAL_FROM_ZIGZAG[k])]
    }

    /// Sets ZZ(k); beyond the block, its last coefficient.
    #[inline(always)]
    pub fn set(&mut self, k: usize, value: i16) {
        let k = k.min(63);
        self.coefficients[usize::from(NATURAL_FROM_ZIGZAG[k])] = value;
        *self.nonzero = *self.nonzero & !(1 << k) | u64::from(value != 0) << k;
    }

    /// Moves coefficients away from zero by `bit`: those of which `corrections` has a 1, the last coefficient's in its lowest bit. A
    /// bit that is already there comes from scans out of order; libjpeg leaves it alone.
    #[inline(always)]
    pub fn correct(&mut self, coefficients: u64, mut corrections: u64, bit: i16) {
        let mut left = coefficients;
        while left != 0 {
            let k = 63 - left.leading_zeros();
            let coefficient = &mut self.coefficients[usize::from(NATURAL_FROM_ZIGZAG[k as usize & 63])];
            let step = if *coefficient >= 0 { bit } else { -bit };
            let is_due = corrections & 1 == 1 && *coefficient & bit == 0;
            *coefficient = coefficient.wrapping_add(if is_due { step } else { 0 });
            corrections >>= 1;
            left ^= 1 << k;
        }
    }
}
