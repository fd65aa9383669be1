//! One file: whether the device decodes it, and where the data of its scans lie.

use std::ops::Range;

use crate::ImageError;
use crate::jpeg::{EntropyCoding, Frame, Header, Limits, Natural, Process, Progression, Scan, entropy_coded_end};

/// The longest data of one scan that the device takes: bit positions have 32 bits there.
const MAX_SCAN_BYTES: usize = 1 << 28;

/// Cycles that one thread may take for all AC refinement scans of an image. Its batch waits for it, and what an ordinary batch takes is measure: 1024
/// photos of 110 KB are uploaded and decoded in about 4 ms, of which this is 15 times as much, at 1.7 GHz.
const MAX_REFINEMENT_CYCLES: u64 = 100_000_000;

/// What `refine_segments` takes at most, by a model: cycles for a block with data (its marks come from the second-level cache, and its place
/// goes back there), for a word of 32 blocks that are passed over, and for a bit of the data (symbols of two bits, 100 cycles each).
const BLOCK_CYCLES: u64 = 600;
const WORD_CYCLES: u64 = 300;
const BIT_CYCLES: u64 = 50;

/// Cycles that one thread takes at most for a scan: for a restart interval into which all of its data go.
fn refinement_cycles(frame: &Frame, scan: &Scan, data_bytes: usize) -> u64 {
    if frame.process != Process::Progressive || scan.ss == 0 || scan.ah == 0 {
        return 0;
    }
    let num_mcus = u64::from(scan.num_mcus(frame));
    let num_blocks = match scan.restart_interval_mcus {
        0 => num_mcus,
        interval_mcus => num_mcus.min(interval_mcus.into()),
    };
    let num_bits = 8 * data_bytes as u64;
    num_blocks.min(num_bits) * BLOCK_CYCLES
        + num_blocks.div_ceil(32) * WORD_CYCLES
        + num_bits.min(num_blocks * MAX_BLOCK_BITS) * BIT_CYCLES
}

/// Bits of a block in an AC refinement scan, at most: a code of 16 bits and a sign for each coefficient, and a run of EOB.
const MAX_BLOCK_BITS: u64 = 63 * 17 + 30;

/// Why the CPU decodes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CpuReason {
    /// The header cannot be read or is over a limit: nothing is decoded at all.
    Header,
    /// Arithmetic coding has no parallel method.
    Arithmetic,
    /// Scans that break a rule, or that depend on each other in a way that no sound file has.
    OddScans,
    /// A scan of more than 256 MiB.
    Size,
    /// Refinement scans that one thread of the device would take too long for.
    SerialRefinement,
    /// The device gave up: bytes that no sound file holds between the data, or too much work that cannot be shared out.
    Unresolved,
}

impl CpuReason {
    /// A few words for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "unreadable header",
            Self::Arithmetic => "arithmetic coding",
            Self::OddScans => "unusual scans",
            Self::Size => "size",
            Self::SerialRefinement => "long refinement scans",
            Self::Unresolved => "no parallel way",
        }
    }
}

/// A scan for the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedScan {
    /// The scan.
    pub scan: Scan,
    /// Its entropy-coded data in the file: to their end or, where nothing after them matters, to the end of the file.
    pub data: Range<usize>,
}

/// A file for the device.
#[derive(Clone, Debug)]
pub struct PlannedImage<'a> {
    /// The file.
    pub bytes: &'a [u8],
    /// What stands before the first scan's data.
    pub header: Header,
    /// In the file's order.
    pub scans: Vec<PlannedScan>,
    /// Every bit of every coefficient is sent.
    pub is_complete: bool,
    /// Offset of the end of what was read.
    pub end: usize,
}

impl<'a> PlannedImage<'a> {
    /// Reads headers and scan headers. In a file of a single scan nothing behind its scan header is looked at.
    pub fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self, CpuReason> {
        let header = Header::parse(bytes, limits).map_err(|_: ImageError| CpuReason::Header)?;
        if header.frame.coding == EntropyCoding::Arithmetic {
            return Err(CpuReason::Arithmetic);
        }
        let mut rules = ScanRules::new(&header.frame, limits.max_visited_bytes(bytes.len()));
        let mut scans = Vec::new();
        let mut refinement_cycles_left = MAX_REFINEMENT_CYCLES;
        let mut iter = header.scans(bytes);
        while let Some(scan) = iter.next() {
            let scan = scan.map_err(|_| CpuReason::OddScans)?;
            rules.check(&scan)?;
            let end = if header.is_single_scan() {
                bytes.len()
            } else {
                let end = entropy_coded_end(bytes, scan.ecs_offset);
                iter.set_entropy_coded_end(end);
                end
            };
            if end - scan.ecs_offset > MAX_SCAN_BYTES {
                return Err(CpuReason::Size);
            }
            refinement_cycles_left = refinement_cycles_left
                .checked_sub(refinement_cycles(&header.frame, &scan, end - scan.ecs_offset))
                .ok_or(CpuReason::SerialRefinement)?;
            scans.push(PlannedScan { data: scan.ecs_offset..end, scan });
        }
        Ok(Self { bytes, scans, is_complete: rules.progression.is_complete(), end: iter.position(), header })
    }

    /// The quantisation table in force at a component's first scan; `None` if it has none.
    pub fn quant_table(&self, component_idx: usize) -> Option<Natural<u16>> {
        let sends = |scan: &&PlannedScan| scan.scan.components.iter().any(|c| c.component_idx == component_idx);
        let tables = &self.scans.iter().find(sends)?.scan.tables;
        let quant_idx = self.header.frame.components[component_idx].quant_idx;
        let table = tables.quant.get(usize::from(quant_idx)).and_then(Option::as_ref);
        Some(table.map_or(Natural([0; 64]), |table| table.values))
    }
}

/// What the scans of a file must keep to, so that the device can decode them side by side.
struct ScanRules<'a> {
    frame: &'a Frame,
    progression: Progression,
    is_sent: [bool; 4],
    visits_left: u64,
}

impl<'a> ScanRules<'a> {
    fn new(frame: &'a Frame, max_visited_bytes: u64) -> Self {
        Self { frame, progression: Progression::new(frame), is_sent: [false; 4], visits_left: max_visited_bytes }
    }

    fn check(&mut self, scan: &Scan) -> Result<(), CpuReason> {
        let frame = self.frame;
        let is_repeated = scan.components.iter().any(|c| std::mem::replace(&mut self.is_sent[c.component_idx], true));
        let is_sound = scan.check(frame).is_ok()
            && has_sound_tables(frame, scan)
            && self.progression.note(scan)
            && (frame.process == Process::Progressive || !is_repeated);
        let visits_left = self.visits_left.checked_sub(scan.visited_bytes(frame));
        self.visits_left = visits_left.filter(|_| is_sound).ok_or(CpuReason::OddScans)?;
        Ok(())
    }
}

/// Whether the tables that a scan uses are prefix codes, those for DC with categories up to 15.
fn has_sound_tables(frame: &Frame, scan: &Scan) -> bool {
    let table = |slots: &[Option<std::sync::Arc<crate::jpeg::HuffmanTable>>; 4], idx: u8| {
        slots.get(usize::from(idx)).cloned().flatten()
    };
    scan.components.iter().all(|component| {
        let is_dc_sound = || {
            let dc = table(&scan.tables.dc, component.dc_table_idx);
            dc.is_some_and(|dc| dc.codes().is_some() && dc.used_values().iter().all(|&category| category <= 15))
        };
        let is_ac_sound = || table(&scan.tables.ac, component.ac_table_idx).is_some_and(|ac| ac.codes().is_some());
        (!scan.needs_dc_table(frame) || is_dc_sound()) && (!scan.needs_ac_table(frame) || is_ac_sound())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_left_to_the_cpu() {
        assert_eq!(PlannedImage::read(b"GIF89a", &Limits::default()).err(), Some(CpuReason::Header));
    }
}
