//! One scan (T.81 B.2.3): its header, the tables in force, and where its entropy-coded data begin.

use std::sync::Arc;

use super::frame::{EntropyCoding, Frame, Process};
use super::tables::Tables;
use crate::ImageError;

/// One component of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanComponent {
    /// Index into [`Frame::components`].
    pub component_idx: usize,
    /// Td(j): which DC table.
    pub dc_table_idx: u8,
    /// Ta(j): which AC table.
    pub ac_table_idx: u8,
    /// No earlier scan of the file sent this component: its quantisation table is taken from this scan's [`Tables`].
    pub is_first: bool,
}

/// A scan: plain data, enough to decode it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Offset of the SOS marker.
    pub sos_at: usize,
    /// One to four; more than one: interleaved.
    pub components: Vec<ScanComponent>,
    /// Ss: first coefficient of the band (progressive; sequential scans send all, whatever is written here).
    pub ss: u8,
    /// Se: last coefficient of the band.
    pub se: u8,
    /// Ah: the previous point transform, 0 in a first scan.
    pub ah: u8,
    /// Al: the point transform.
    pub al: u8,
    /// MCUs between restart markers; 0: none.
    pub restart_interval_mcus: u32,
    /// The tables as they stand when the scan begins.
    pub tables: Arc<Tables>,
    /// Offset of the first byte of entropy-coded data; [`split_entropy_coded`](super::split_entropy_coded) finds the end.
    pub ecs_offset: usize,
}

impl Scan {
    /// Whether MCUs hold blocks of several components (T.81 A.2).
    pub fn is_interleaved(&self) -> bool {
        self.components.len() > 1
    }

    /// MCUs in a row and rows of MCUs of this scan: the frame's, or the component's own blocks where there is one component (A.2.2).
    pub fn size_mcus(&self, frame: &Frame) -> (u32, u32) {
        match self.components.as_slice() {
            [one] => {
                let component = &frame.components[one.component_idx];
                (component.blocks_wide, component.blocks_high)
            }
            _ => (frame.mcus_wide(), frame.mcus_high()),
        }
    }

    /// Number of MCUs of this scan.
    pub fn num_mcus(&self, frame: &Frame) -> u32 {
        let (wide, high) = self.size_mcus(frame);
        wide * high
    }

    /// Number of restart intervals of this scan, at least one.
    pub fn num_intervals(&self, frame: &Frame) -> u32 {
        match self.restart_interval_mcus {
            0 => 1,
            interval => self.num_mcus(frame).div_ceil(interval),
        }
    }

    /// Bytes of coefficients of the scan's components: what decoding it may visit.
    pub fn visited_bytes(&self, frame: &Frame) -> u64 {
        let blocks = |c: &super::Component| u64::from(c.padded_blocks_wide) * u64::from(c.padded_blocks_high);
        self.components.iter().map(|c| blocks(&frame.components[c.component_idx])).sum::<u64>() * 128
    }

    /// Whether the scan can be decoded at all: the rules whose breach libjpeg takes for an error. Whether its Huffman tables are
    /// prefix codes shows when they are built ([`HuffmanTable::codes`](super::HuffmanTable::codes)).
    pub fn check(&self, frame: &Frame) -> Result<(), ImageError> {
        let malformed = |what| Err(ImageError::Malformed { at_bytes: self.sos_at as u64, what });
        let components = || self.components.iter().map(|c| &frame.components[c.component_idx]);
        if self.is_interleaved() && components().map(|c| c.h * c.v).sum::<u8>() > 10 {
            return malformed("more than ten blocks in an MCU");
        }
        if frame.process == Process::Progressive && !self.is_legal_progression() {
            return malformed("no legal spectral selection or successive approximation");
        }
        for (scan_component, component) in self.components.iter().zip(components()) {
            let quant = self.tables.quant.get(usize::from(component.quant_idx)).is_some_and(Option::is_some);
            if scan_component.is_first && !quant {
                return malformed("a component's quantisation table was never defined");
            }
            if !self.has_tables(frame, scan_component) {
                return malformed("an entropy-coding table that the scan names was never defined");
            }
        }
        Ok(())
    }

    /// Whether a sequential scan, or this progressive scan, reads DC codes.
    pub fn needs_dc_table(&self, frame: &Frame) -> bool {
        frame.process != Process::Progressive || (self.ss == 0 && self.ah == 0)
    }

    /// Whether a sequential scan, or this progressive scan, reads AC codes.
    pub fn needs_ac_table(&self, frame: &Frame) -> bool {
        frame.process != Process::Progressive || self.ss != 0
    }

    fn has_tables(&self, frame: &Frame, component: &ScanComponent) -> bool {
        let (dc_idx, ac_idx) = (usize::from(component.dc_table_idx), usize::from(component.ac_table_idx));
        if frame.coding == EntropyCoding::Arithmetic {
            return true; // all sixteen have defaults
        }
        let dc = self.tables.dc.get(dc_idx).is_some_and(Option::is_some);
        let ac = self.tables.ac.get(ac_idx).is_some_and(Option::is_some);
        (dc || !self.needs_dc_table(frame)) && (ac || !self.needs_ac_table(frame))
    }

    /// T.81 G.1.1.1, as far as libjpeg insists on it.
    fn is_legal_progression(&self) -> bool {
        let band =
            if self.ss == 0 { self.se == 0 } else { self.ss <= self.se && self.se < 64 && !self.is_interleaved() };
        band && (self.ah == 0 || self.al + 1 == self.ah) && self.al <= 13
    }
}
