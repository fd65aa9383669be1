//! Where the blocks of a scan's MCUs lie in the planes (T.81 A.2).

use crate::jpeg::{Frame, Plane, Scan};

/// One block of an MCU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// Which of the scan's components.
    pub scan_component_idx: usize,
    /// Which plane.
    pub plane_idx: usize,
    /// Offset of the block in the first MCU, in coefficients.
    first: usize,
    /// From one MCU to the next one in its row, in coefficients.
    mcu_step: usize,
    /// From one row of MCUs to the next, in coefficients.
    mcu_row_step: usize,
}

impl BlockPlace {
    /// Offset of the block's 64 coefficients in its plane.
    #[inline(always)]
    pub fn offset(&self, mcu_x: usize, mcu_y: usize) -> usize {
        self.first + mcu_y * self.mcu_row_step + mcu_x * self.mcu_step
    }
}

/// The blocks of an MCU in the order in which they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanLayout {
    /// MCUs in a row.
    pub mcus_wide: u32,
    /// MCUs in the scan.
    pub num_mcus: u32,
    /// One to ten.
    pub blocks: Vec<BlockPlace>,
    /// Blocks of the frame's MCU that one MCU of this scan stands for, across and down: 1 x 1, unless the scan has one component of
    /// larger sampling factors.
    frame_mcu_blocks: (u32, u32),
    frame_mcus_wide: u32,
}

impl ScanLayout {
    /// The layout of a scan that passed [`Scan::check`].
    pub fn new(frame: &Frame, scan: &Scan) -> Self {
        let (mcus_wide, mcus_high) = scan.size_mcus(frame);
        let mut blocks = Vec::with_capacity(10);
        for (scan_component_idx, scan_component) in scan.components.iter().enumerate() {
            let component = &frame.components[scan_component.component_idx];
            let (h, v) = if scan.is_interleaved() { (component.h, component.v) } else { (1, 1) };
            let (h, v) = (usize::from(h), usize::from(v));
            let row_coefficients = component.padded_blocks_wide as usize * 64;
            for y in 0..v {
                blocks.extend((0..h).map(|x| BlockPlace {
                    scan_component_idx,
                    plane_idx: scan_component.component_idx,
                    first: y * row_coefficients + x * 64,
                    mcu_step: h * 64,
                    mcu_row_step: v * row_coefficients,
                }));
            }
        }
        let frame_mcu_blocks = match scan.components.as_slice() {
            [one] => {
                let component = &frame.components[one.component_idx];
                (u32::from(component.h), u32::from(component.v))
            }
            _ => (1, 1),
        };
        Self {
            mcus_wide,
            num_mcus: mcus_wide * mcus_high,
            blocks,
            frame_mcu_blocks,
            frame_mcus_wide: frame.mcus_wide(),
        }
    }

    /// Column and row of an MCU.
    #[inline(always)]
    pub fn position(&self, mcu_idx: u32) -> (usize, usize) {
        ((mcu_idx % self.mcus_wide) as usize, (mcu_idx / self.mcus_wide) as usize)
    }

    /// These MCUs, each with its column and row, which are counted rather than divided for: in scans of next to no data that is the work.
    #[inline(always)]
    pub fn positions(&self, mcus: std::ops::Range<u32>) -> impl Iterator<Item = (u32, usize, usize)> + use<> {
        let (mut x, mut y) = self.position(mcus.start);
        let mcus_wide = self.mcus_wide as usize;
        mcus.map(move |mcu_idx| {
            let at = (mcu_idx, x, y);
            x += 1;
            if x == mcus_wide {
                (x, y) = (0, y + 1);
            }
            at
        })
    }

    /// The frame's MCU that an MCU of this scan lies in.
    pub fn frame_mcu(&self, mcu_idx: u32) -> u32 {
        let (x, y) = (mcu_idx % self.mcus_wide, mcu_idx / self.mcus_wide);
        let (h, v) = self.frame_mcu_blocks;
        y / v * self.frame_mcus_wide + x / h
    }

    /// Sets the blocks of one MCU to zero, from the one with this index on.
    pub fn zero_blocks_from(&self, block_idx: usize, planes: &mut [Plane], mcu_x: usize, mcu_y: usize) {
        for place in &self.blocks[block_idx..] {
            let offset = place.offset(mcu_x, mcu_y);
            planes[place.plane_idx].data[offset..offset + 64].fill(0);
        }
    }

    /// Sets all coefficients of some MCUs to zero.
    pub fn zero_mcus(&self, planes: &mut [Plane], mcus: std::ops::Range<u32>) {
        for mcu_idx in mcus {
            let (mcu_x, mcu_y) = self.position(mcu_idx);
            self.zero_blocks_from(0, planes, mcu_x, mcu_y);
        }
    }
}
