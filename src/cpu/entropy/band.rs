//! The blocks of progressive AC scans, of either coding, with masks of what is not zero in them.

use super::layout::ScanLayout;
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

/// The blocks of a scan of one component, with their masks, and which of them comes next.
pub struct BandBlocks<'a> {
    mcus_wide: usize,
    /// From one row to the next, in blocks of the plane.
    row_step: usize,
    plane: &'a mut [i16],
    masks: &'a mut [u64],
    /// The next block's column in the scan, and its index in the plane.
    next_x: usize,
    next_idx: usize,
}

impl<'a> BandBlocks<'a> {
    /// Of the scan's only component, beginning with the block that is this MCU.
    pub fn new(layout: &'a ScanLayout, planes: &'a mut [Plane], nonzero: &'a mut NonzeroMasks, first_mcu: u32) -> Self {
        let place = layout.blocks[0];
        let (next_x, y) = layout.position(first_mcu);
        Self {
            mcus_wide: layout.mcus_wide as usize,
            row_step: (place.offset(0, 1) - place.offset(0, 0)) / 64,
            plane: &mut planes[place.plane_idx].data,
            masks: &mut nonzero.planes[place.plane_idx],
            next_x,
            next_idx: place.offset(next_x, y) / 64,
        }
    }

    /// The next block.
    #[inline(always)]
    pub fn block(&mut self) -> BandBlock<'_> {
        let (blocks, _) = self.plane.as_chunks_mut::<64>();
        BandBlock { coefficients: &mut blocks[self.next_idx], nonzero: &mut self.masks[self.next_idx] }
    }

    /// Passes over blocks. Rows are counted through rather than divided for, unless several are passed.
    #[inline(always)]
    pub fn advance(&mut self, num_blocks: u32) {
        self.next_x += num_blocks as usize;
        self.next_idx += num_blocks as usize;
        if self.next_x >= self.mcus_wide {
            let num_rows = if self.next_x < 2 * self.mcus_wide { 1 } else { self.next_x / self.mcus_wide };
            self.next_x -= num_rows * self.mcus_wide;
            self.next_idx += num_rows * (self.row_step - self.mcus_wide);
        }
    }

    /// Passes over blocks that have nothing in the band, at most this many. Gives how many they were.
    #[inline(always)]
    pub fn pass_empty(&mut self, max_blocks: u32, band: u64) -> u32 {
        let mut num_left = max_blocks;
        while num_left > 0 {
            let num_in_row = ((self.mcus_wide - self.next_x) as u32).min(num_left);
            let row = &self.masks[self.next_idx..self.next_idx + num_in_row as usize];
            let num_empty = row.iter().position(|mask| mask & band != 0).unwrap_or(row.len()) as u32;
            self.advance(num_empty);
            num_left -= num_empty;
            if num_empty < num_in_row {
                break;
            }
        }
        max_blocks - num_left
    }
}

/// A block and the mask of its AC coefficients that are not zero.
pub struct BandBlock<'a> {
    /// In natural order.
    pub coefficients: &'a mut [i16; 64],
    /// Bit k for ZZ(k).
    pub nonzero: &'a mut u64,
}

impl BandBlock<'_> {
    /// Clears ZZ(first) to ZZ(last).
    #[cold]
    pub fn clear(&mut self, first: usize, last: usize) {
        NATURAL_FROM_ZIGZAG[first..=last]
            .iter()
            .for_each(|&natural_idx| self.coefficients[usize::from(natural_idx)] = 0);
        *self.nonzero &= !bits(first, last);
    }

    /// Sets what was zero before to zero again. `before`: what was not.
    #[cold]
    pub fn clear_new(&mut self, before: u64) {
        let new = *self.nonzero & !before;
        (0..64).filter(|k| new >> k & 1 == 1).for_each(|k| self.set(k, 0));
    }

    /// ZZ(k) before it is set; beyond the block, its last coefficient.
    #[cold]
    pub fn overwritten(&self, k: usize) -> (usize, i16) {
        (k.min(63), self.get(k.min(63)))
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
}
