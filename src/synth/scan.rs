//! Scans (T.81 B.2.3): which blocks they send, in which order, and the usual scripts of scans.

use super::huffman::Codes;
use crate::jpeg::{Coefficients, Frame, NATURAL_FROM_ZIGZAG};

/// One scan to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Indices into the frame's components, ascending. One: non-interleaved.
    pub components: Vec<usize>,
    /// Ss: first k sent.
    pub ss: u8,
    /// Se: last k sent, inclusive.
    pub se: u8,
    /// Ah: the previous scan's point transform for this band; 0 in a first scan.
    pub ah: u8,
    /// Al: the point transform.
    pub al: u8,
    /// Restart interval; DRI is written where it changes.
    pub restart: Restart,
    /// Huffman codes; without meaning in arithmetic coding.
    pub codes: Codes,
    /// Longest run of EOB in progressive AC scans, 1 to 32,767.
    pub max_eob_run: u16,
}

/// When a scan restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Restart {
    /// Never.
    Never,
    /// After so many MCUs.
    EveryMcus(u16),
    /// After each row of MCUs of this scan.
    EveryRow,
}

/// The most MCU blocks of an interleaved scan (T.81 B.2.3).
const MAX_BLOCKS_PER_MCU: u32 = 10;

impl Scan {
    /// A sequential scan of `components`: all 64 coefficients, no restarts, optimised codes.
    pub fn sequential(components: impl Into<Vec<usize>>) -> Self {
        Self::progressive(components, (0, 63), (0, 0))
    }

    /// A progressive scan of the band `ss..=se` with successive approximation `ah`, `al`.
    pub fn progressive(components: impl Into<Vec<usize>>, (ss, se): (u8, u8), (ah, al): (u8, u8)) -> Self {
        let components = components.into();
        let (restart, codes, max_eob_run) = (Restart::Never, Codes::Optimised, 0x7FFF);
        Self { components, ss, se, ah, al, restart, codes, max_eob_run }
    }

    /// The restart interval in MCUs; 0 for none.
    pub fn restart_interval_mcus(&self, frame: &Frame) -> u16 {
        match self.restart {
            Restart::Never => 0,
            Restart::EveryMcus(mcus) => mcus,
            Restart::EveryRow => self.mcus_wide(frame) as u16,
        }
    }

    fn mcus_wide(&self, frame: &Frame) -> u32 {
        match self.components.as_slice() {
            [only] => frame.components[*only].blocks_wide,
            _ => frame.mcus_wide(),
        }
    }

    /// Calls `visit` for each MCU in order (T.81 A.2) with its blocks: index into `self.components`, column, row.
    pub(super) fn for_each_mcu(&self, frame: &Frame, mut visit: impl FnMut(usize, &[ScanBlock])) {
        if let [only] = self.components.as_slice() {
            let component = &frame.components[*only];
            let rows = 0..component.blocks_high;
            let blocks = rows.flat_map(|by| (0..component.blocks_wide).map(move |bx| ScanBlock { member: 0, bx, by }));
            blocks.enumerate().for_each(|(mcu_idx, block)| visit(mcu_idx, &[block]));
            return;
        }
        let mut mcu = Vec::new();
        for mcu_idx in 0..frame.mcus() {
            let (mcu_x, mcu_y) = (mcu_idx % frame.mcus_wide(), mcu_idx / frame.mcus_wide());
            mcu.clear();
            for (member, &component_idx) in self.components.iter().enumerate() {
                let (h, v) = factors(frame, component_idx);
                for i in 0..h * v {
                    mcu.push(ScanBlock { member, bx: mcu_x * h + i % h, by: mcu_y * v + i / h });
                }
            }
            visit(mcu_idx as usize, &mcu);
        }
    }
}

/// One data unit of a scan.
#[derive(Clone, Copy)]
pub(super) struct ScanBlock {
    /// Index into the scan's components.
    pub(super) member: usize,
    /// Column in the component's padded plane.
    pub(super) bx: u32,
    /// Row in the component's padded plane.
    pub(super) by: u32,
}

fn factors(frame: &Frame, component_idx: usize) -> (u32, u32) {
    let component = &frame.components[component_idx];
    (u32::from(component.h), u32::from(component.v))
}

/// One block in zig-zag order.
pub(super) fn zigzag_block(image: &Coefficients, component_idx: usize, block: ScanBlock) -> [i32; 64] {
    let natural = image.planes[component_idx].block(block.bx, block.by);
    NATURAL_FROM_ZIGZAG.map(|i| i32::from(natural[usize::from(i)]))
}

/// The point transform of AC coefficients (T.81 G.1.2.1): division by 2^Al towards zero.
pub(super) fn divide_towards_zero(value: i32, al: u8) -> i32 {
    if value < 0 { -(-value >> al) } else { value >> al }
}

/// How a file's components are spread over scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interleaving {
    /// As many components as fit (T.81 allows ten blocks per MCU) in each scan.
    Interleaved,
    /// One component per scan.
    NonInterleaved,
    /// The first component alone, then the others interleaved.
    Mixed,
}

/// The groups of components that share scans.
pub fn component_groups(frame: &Frame, interleaving: Interleaving) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for component_idx in 0..frame.components.len() {
        let joins = match interleaving {
            Interleaving::Interleaved => true,
            Interleaving::NonInterleaved => false,
            Interleaving::Mixed => component_idx != 1,
        };
        match groups.last_mut() {
            Some(group) if joins && fits(frame, group, component_idx) => group.push(component_idx),
            _ => groups.push(vec![component_idx]),
        }
    }
    groups
}

fn fits(frame: &Frame, group: &[usize], component_idx: usize) -> bool {
    let num_blocks = |component_idx: usize| {
        let (h, v) = factors(frame, component_idx);
        h * v
    };
    group.iter().map(|&member| num_blocks(member)).sum::<u32>() + num_blocks(component_idx) <= MAX_BLOCKS_PER_MCU
}

/// How a progressive file is cut into scans (T.81 G.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// Spectral selection alone: DC, then three bands of AC.
    SpectralSelection,
    /// Successive approximation of the whole spectrum in three steps.
    SuccessiveApproximation,
    /// Both, as libjpeg's default script mixes them: low bands early, least significant bits last.
    Mixed,
}

/// The scans of a sequential file.
pub fn sequential_scans(frame: &Frame, interleaving: Interleaving) -> Vec<Scan> {
    component_groups(frame, interleaving).into_iter().map(Scan::sequential).collect()
}

/// The scans of a progressive file.
pub fn progressive_scans(frame: &Frame, interleaving: Interleaving, script: Script) -> Vec<Scan> {
    let mut scans = Vec::new();
    let groups = component_groups(frame, interleaving);
    let dc = |al_from: u8, al: u8| {
        groups.clone().into_iter().map(move |group| Scan::progressive(group, (0, 0), (al_from, al)))
    };
    let ac = |band: (u8, u8), al_from: u8, al: u8| {
        (0..frame.components.len()).map(move |component_idx| Scan::progressive([component_idx], band, (al_from, al)))
    };
    match script {
        Script::SpectralSelection => {
            scans.extend(dc(0, 0));
            [(1, 5), (6, 20), (21, 63)].into_iter().for_each(|band| scans.extend(ac(band, 0, 0)));
        }
        Script::SuccessiveApproximation => {
            scans.extend(dc(0, 2).chain(ac((1, 63), 0, 2)));
            scans.extend(dc(2, 1).chain(ac((1, 63), 2, 1)));
            scans.extend(dc(1, 0).chain(ac((1, 63), 1, 0)));
        }
        Script::Mixed => {
            scans.extend(dc(0, 1).chain(ac((1, 5), 0, 2)).chain(ac((6, 63), 0, 2)));
            scans.extend(ac((1, 63), 2, 1).chain(dc(1, 0)).chain(ac((1, 63), 1, 0)));
        }
    }
    scans
}
