//! One scan: its data are cut and destuffed, its restart intervals decoded, and what was wrong is noted.

use std::ops::Range;
use std::sync::Arc;

use super::IntervalOutcome;
use super::band::NonzeroMasks;
use super::bitops::Instructions;
use super::bits::PADDING_BYTES;
use super::destuff::Destuffed;
use super::layout::ScanLayout;
use super::lookup::{Lookup, LookupCache};
use super::progressive::ProgressiveInterval;
use super::sequential::{ComponentTables, SequentialInterval};
use crate::cpu::arithmetic::{self, PieceData, PlanesMut};
use crate::jpeg::{EntropyCoded, EntropyCoding, Frame, Piece, Plane, Process, Scan, assign_intervals};
use crate::{CorruptKind, ImageError};

/// A fault in entropy-coded data. The order is that of the contract: by offset, then by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Offset in the file.
    pub at_bytes: u64,
    /// What is wrong there.
    pub kind: CorruptKind,
}

impl From<Fault> for ImageError {
    fn from(fault: Fault) -> Self {
        ImageError::Corrupt { at_bytes: fault.at_bytes, what: fault.kind }
    }
}

/// What is wrong with an image, over all its scans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultLog {
    /// The first fault.
    pub first: Option<Fault>,
    /// How many were noted.
    pub num_faults: u64,
    /// One bit per MCU of the frame; empty while none is untrusted.
    untrusted: Vec<u64>,
    /// How many are set.
    pub untrusted_mcus: u32,
}

impl FaultLog {
    /// Forgets everything, for the next image.
    pub fn clear(&mut self) {
        self.untrusted.clear();
        *self = Self { untrusted: std::mem::take(&mut self.untrusted), ..Self::default() };
    }

    /// Keeps the first fault.
    pub fn note(&mut self, kind: CorruptKind, at_bytes: usize) {
        self.num_faults += 1;
        let fault = Fault { at_bytes: at_bytes as u64, kind };
        self.first = Some(self.first.map_or(fault, |first| first.min(fault)));
    }

    /// The frame's MCUs that hold these MCUs of a scan are not to be trusted. `frame_mcus`: how many the frame has.
    pub fn distrust(&mut self, layout: &ScanLayout, mcus: Range<u32>, frame_mcus: u32) {
        if self.untrusted_mcus == frame_mcus {
            return;
        }
        self.untrusted.resize(frame_mcus.div_ceil(64) as usize, 0);
        for mcu_idx in mcus {
            let mcu_idx = layout.frame_mcu(mcu_idx);
            let (word, bit) = (&mut self.untrusted[mcu_idx as usize / 64], 1u64 << (mcu_idx % 64));
            self.untrusted_mcus += u32::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// The first MCU that is not to be trusted.
    pub fn first_untrusted_mcu(&self) -> Option<u32> {
        let word_idx = self.untrusted.iter().position(|&word| word != 0)?;
        Some(word_idx as u32 * 64 + self.untrusted[word_idx].trailing_zeros())
    }
}

/// The tables of a scan, made ready.
enum Coding {
    Sequential(Vec<ComponentTables>),
    Progressive(Vec<Arc<Lookup>>),
    Arithmetic,
}

/// Decodes scans; its memory and its tables are used again for the next one.
#[derive(Default)]
pub struct ScanDecoder {
    /// What it is to use: by default the fastest.
    pub instructions: Instructions,
    destuffed: Destuffed,
    lookups: LookupCache,
    nonzero: NonzeroMasks,
    /// Of arithmetic coding, for all scans; `None` once there were more.
    decisions_left: Option<u64>,
}

impl ScanDecoder {
    /// Makes ready for a new frame, whose planes are zero if it is progressive. `max_decisions`: what arithmetic coding may decode.
    pub fn begin_frame(&mut self, frame: &Frame, max_decisions: u64) {
        self.decisions_left = Some(max_decisions);
        if frame.process == Process::Progressive {
            self.nonzero.reset(frame);
        }
    }

    /// Decodes a scan into the frame's planes and notes its faults. Gives the offset of the end of its data.
    ///
    /// Fails, with the planes untouched, if the scan cannot be decoded at all ([`Scan::check`], or a Huffman table that is no prefix
    /// code).
    pub fn decode(
        &mut self,
        bytes: &[u8],
        frame: &Frame,
        scan: &Scan,
        planes: &mut [Plane],
        log: &mut FaultLog,
    ) -> Result<usize, ImageError> {
        scan.check(frame)?;
        let coding = self.prepare(frame, scan)?;
        let num_intervals = scan.num_intervals(frame);
        let coded = self.destuffed.read(bytes, scan.ecs_offset, num_intervals);
        let mut run = ScanRun {
            instructions: self.instructions,
            bytes,
            frame,
            scan,
            layout: ScanLayout::new(frame, scan),
            coding,
            destuffed: &self.destuffed,
            coded: &coded,
            nonzero: &mut self.nonzero,
            decisions_left: &mut self.decisions_left,
            planes,
            log,
        };
        run.decode_intervals(num_intervals);
        Ok(coded.end)
    }

    /// Whether there were more decisions than the frame may have: then nothing more of it is decoded.
    pub fn is_out_of_decisions(&self) -> bool {
        self.decisions_left.is_none()
    }

    /// Memory held for the next scan, in bytes.
    #[cfg(test)]
    pub fn working_bytes(&self) -> usize {
        self.destuffed.data.capacity()
    }

    fn prepare(&mut self, frame: &Frame, scan: &Scan) -> Result<Coding, ImageError> {
        let lookups = &mut self.lookups;
        let mut ready = |table: Option<&Option<Arc<_>>>, is_dc: bool| {
            let lookup = table.and_then(Option::as_ref).and_then(|table| lookups.get(table));
            lookup.filter(|lookup| !is_dc || lookup.is_valid_for_dc()).ok_or(ImageError::Malformed {
                at_bytes: scan.sos_at as u64,
                what: "the scan uses a Huffman table that is no prefix code, or has impossible categories",
            })
        };
        let dc_tables = scan.components.iter().map(|c| scan.tables.dc.get(usize::from(c.dc_table_idx)));
        let ac_tables = scan.components.iter().map(|c| scan.tables.ac.get(usize::from(c.ac_table_idx)));
        match (frame.coding, frame.process) {
            (EntropyCoding::Arithmetic, _) => Ok(Coding::Arithmetic),
            (EntropyCoding::Huffman, Process::Progressive) => {
                let mut tables = Vec::new();
                if scan.needs_dc_table(frame) {
                    tables = dc_tables.map(|table| ready(table, true)).collect::<Result<Vec<_>, ImageError>>()?;
                } else if scan.needs_ac_table(frame) {
                    tables = ac_tables.map(|table| ready(table, false)).collect::<Result<Vec<_>, ImageError>>()?;
                }
                Ok(Coding::Progressive(tables))
            }
            (EntropyCoding::Huffman, _) => {
                let both = dc_tables.zip(ac_tables);
                let both = both.map(|(dc, ac)| Ok(ComponentTables::new(ready(dc, true)?, ready(ac, false)?)));
                Ok(Coding::Sequential(both.collect::<Result<Vec<_>, ImageError>>()?))
            }
        }
    }
}

/// One scan while it is decoded.
struct ScanRun<'a> {
    instructions: Instructions,
    bytes: &'a [u8],
    frame: &'a Frame,
    scan: &'a Scan,
    layout: ScanLayout,
    coding: Coding,
    destuffed: &'a Destuffed,
    coded: &'a EntropyCoded,
    nonzero: &'a mut NonzeroMasks,
    decisions_left: &'a mut Option<u64>,
    planes: &'a mut [Plane],
    log: &'a mut FaultLog,
}

impl ScanRun<'_> {
    fn decode_intervals(&mut self, num_intervals: u32) {
        let marker_numbers: Vec<u8> = self.coded.pieces[1..].iter().map(|piece| piece.marker_number).collect();
        let intervals = assign_intervals(&marker_numbers, num_intervals);
        let mut next_interval = 0;
        for (piece_idx, interval) in intervals.into_iter().enumerate() {
            match interval {
                Some(interval) => {
                    self.lose_intervals(next_interval..interval);
                    self.check_marker(piece_idx, interval, interval == next_interval);
                    self.decode_interval(piece_idx, interval);
                    next_interval = interval + 1;
                }
                None => self.drop_piece(piece_idx, next_interval == num_intervals),
            }
        }
        if next_interval < num_intervals {
            self.log.note(CorruptKind::Truncated, self.coded.end);
            self.lose_intervals(next_interval..num_intervals);
        }
    }

    /// The MCUs of an interval.
    fn mcus(&self, interval: u32) -> Range<u32> {
        let num_mcus = u64::from(self.layout.num_mcus);
        let length = match self.scan.restart_interval_mcus {
            0 => num_mcus,
            length => u64::from(length),
        };
        let clip = |interval: u64| (interval * length).min(num_mcus) as u32;
        clip(u64::from(interval))..clip(u64::from(interval) + 1)
    }

    fn distrust(&mut self, mcus: Range<u32>) {
        self.log.distrust(&self.layout, mcus, self.frame.mcus());
    }

    /// Rule 4: nothing of these intervals was received.
    fn lose_intervals(&mut self, intervals: Range<u32>) {
        if intervals.is_empty() {
            return;
        }
        let mcus = self.mcus(intervals.start).start..self.mcus(intervals.end - 1).end;
        self.zero_if_sequential(mcus.clone());
        self.distrust(mcus);
    }

    fn zero_if_sequential(&mut self, mcus: Range<u32>) {
        if self.frame.process != Process::Progressive {
            self.layout.zero_mcus(self.planes, mcus);
        }
    }

    /// Rule 4: the marker before a piece should have the number that follows on the last one.
    fn check_marker(&mut self, piece_idx: usize, interval: u32, follows: bool) {
        let piece = &self.coded.pieces[piece_idx];
        let Some(marker_at) = piece.marker_at else { return };
        let is_expected = u32::from(piece.marker_number) == (interval - 1) & 7;
        if !follows || !is_expected {
            self.log.note(CorruptKind::RestartMarker, marker_at);
        }
        if !is_expected {
            self.distrust(self.mcus(interval));
        }
    }

    /// Rules 4 and 5: a piece that belongs to no interval.
    fn drop_piece(&mut self, piece_idx: usize, is_after_last: bool) {
        let piece = &self.coded.pieces[piece_idx];
        match piece.marker_at {
            Some(marker_at) if !is_after_last => self.log.note(CorruptKind::RestartMarker, marker_at),
            _ if !piece.bytes.is_empty() || piece.is_cut => self.log.note(CorruptKind::Excess, piece.bytes.start),
            _ => {}
        }
    }

    fn decode_interval(&mut self, piece_idx: usize, interval: u32) {
        let mcus = self.mcus(interval);
        let data_range = self.destuffed.ranges[piece_idx].clone();
        let outcome = self.decode_data(mcus.clone(), data_range.clone());
        let piece = &self.coded.pieces[piece_idx];
        if let Some((_, kind, at_bits)) = outcome.bad {
            self.log.note(kind, self.file_offset(piece, (at_bits / 8) as usize, &data_range));
        }
        if let Some(mcu_idx) = outcome.truncated_mcu {
            self.log.note(CorruptKind::Truncated, piece.bytes.end);
            self.zero_if_sequential(mcu_idx + 1..mcus.end);
        } else {
            let end_byte = outcome.end_bits.div_ceil(8) as usize;
            if end_byte < data_range.end || piece.is_cut {
                self.log.note(CorruptKind::Excess, self.file_offset(piece, end_byte, &data_range));
            }
        }
        if let Some(mcu_idx) = outcome.first_untrusted_mcu() {
            self.distrust(mcu_idx..mcus.end);
        }
    }

    fn file_offset(&self, piece: &Piece, data_offset: usize, data_range: &Range<usize>) -> usize {
        self.destuffed.file_offset(self.bytes, piece, data_offset, data_range.start)
    }

    fn decode_data(&mut self, mcus: Range<u32>, piece: Range<usize>) -> IntervalOutcome {
        let Self { layout, nonzero, planes, scan, .. } = self;
        let data = &self.destuffed.data[..];
        match &self.coding {
            Coding::Sequential(tables) => {
                self.instructions.run(SequentialInterval { layout, tables, planes, mcus, data, piece })
            }
            Coding::Progressive(tables) => {
                self.instructions.run(ProgressiveInterval { scan, layout, tables, planes, nonzero, mcus, data, piece })
            }
            Coding::Arithmetic => {
                let is_progressive = self.frame.process == Process::Progressive;
                let is_last = piece.end + PADDING_BYTES == data.len();
                let piece = PieceData {
                    bytes: &data[piece.clone()],
                    start_byte: piece.start,
                    is_unterminated: self.coded.is_unterminated && is_last,
                };
                let blocks = PlanesMut { layout, planes, nonzero };
                arithmetic::decode_interval(is_progressive, scan, blocks, mcus, piece, self.decisions_left)
            }
        }
    }
}
