//! Progressive scans with Huffman coding (T.81 G.2; the procedures are those of G.1.2 run backwards).

use std::ops::Range;
use std::sync::Arc;

use super::IntervalOutcome;
use super::bits::BitReader;
use super::layout::ScanLayout;
use super::lookup::{BAD_CODE_BITS, Lookup};
use super::sequential::NATURAL_OR_LAST;
use crate::CorruptKind;
use crate::jpeg::{Plane, Scan};

/// A pattern that is no code, or no legal symbol: its offset in bits.
struct BadCode(u64);

/// Decodes the MCUs of one restart interval from one piece of destuffed data. `tables`: one per component of the scan; none for
/// refinement of DC. Blocks that are not received keep what they had.
pub fn decode_interval(
    scan: &Scan,
    layout: &ScanLayout,
    tables: &[Arc<Lookup>],
    planes: &mut [Plane],
    mcus: Range<u32>,
    data: &[u8],
    piece: Range<usize>,
) -> IntervalOutcome {
    let interval = Interval {
        layout,
        reader: BitReader::new(data, piece.start),
        end_bits: piece.end as u64 * 8,
        mcus,
        ss: usize::from(scan.ss),
        se: usize::from(scan.se),
        al: u32::from(scan.al),
    };
    match (scan.ss, scan.ah, tables) {
        (0, 0, _) => interval.decode_dc_first(tables, planes),
        (0, _, _) => interval.decode_dc_refinement(planes),
        (_, 0, [table, ..]) => interval.decode_ac_first(table, planes),
        (_, _, [table, ..]) => interval.decode_ac_refinement(table, planes),
        (_, _, []) => interval.ends(),
    }
}

struct Interval<'a> {
    layout: &'a ScanLayout,
    reader: BitReader<'a>,
    end_bits: u64,
    mcus: Range<u32>,
    ss: usize,
    se: usize,
    al: u32,
}

impl Interval<'_> {
    fn ends(&self) -> IntervalOutcome {
        IntervalOutcome { end_bits: self.reader.position_bits(), bad: None, truncated_mcu: None }
    }

    fn is_past_end(&self) -> bool {
        self.reader.position_bits() > self.end_bits
    }

    /// The interval ends at a block that was not received: data that end come before a bad code that reaches beyond them.
    fn fails(&self, mcu_idx: u32, result: Result<(), BadCode>) -> IntervalOutcome {
        match result {
            Err(BadCode(at_bits)) if !self.is_past_end() => IntervalOutcome {
                bad: Some((mcu_idx, CorruptKind::BadCode, at_bits)),
                truncated_mcu: None,
                end_bits: self.end_bits,
            },
            _ => IntervalOutcome { bad: None, truncated_mcu: Some(mcu_idx), end_bits: self.end_bits },
        }
    }

    /// First scan of DC (G.1.2.1).
    fn decode_dc_first(mut self, tables: &[Arc<Lookup>], planes: &mut [Plane]) -> IntervalOutcome {
        let mut predictions = [0i32; 4];
        for mcu_idx in self.mcus.clone() {
            let (mcu_x, mcu_y) = self.layout.position(mcu_idx);
            for place in &self.layout.blocks {
                let diff = self.decode_diff(&tables[place.scan_component_idx]);
                if diff.is_err() || self.is_past_end() {
                    return self.fails(mcu_idx, diff.map(|_| ()));
                }
                let prediction = &mut predictions[place.scan_component_idx];
                *prediction = prediction.wrapping_add(diff.unwrap_or(0));
                planes[place.plane_idx].data[place.offset(mcu_x, mcu_y)] = (*prediction << self.al) as i16;
            }
        }
        self.ends()
    }

    fn decode_diff(&mut self, table: &Lookup) -> Result<i32, BadCode> {
        self.reader.refill();
        let category = self.decode_symbol(table)?;
        Ok(self.take_value(category))
    }

    /// DECODE (T.81 F.2.2.3): consumes a code, but not the value after it.
    fn decode_symbol(&mut self, table: &Lookup) -> Result<u8, BadCode> {
        let entry = table.look(&self.reader);
        let (code_bits, symbol) = if entry.is_long() {
            let at_bits = self.reader.position_bits();
            match table.find_long(self.reader.peek(16) as u32) {
                Some(long) => long,
                None => {
                    self.reader.consume(BAD_CODE_BITS);
                    return Err(BadCode(at_bits));
                }
            }
        } else {
            (entry.code_bits(), entry.symbol())
        };
        self.reader.consume(code_bits);
        Ok(symbol)
    }

    /// The value of the category in a symbol's low four bits (RECEIVE and EXTEND).
    fn take_value(&mut self, symbol: u8) -> i32 {
        let value_bits = u32::from(symbol & 15);
        self.reader.take_value(value_bits, value_bits)
    }

    /// Refinement of DC (G.1.2.1): one bit per block.
    fn decode_dc_refinement(mut self, planes: &mut [Plane]) -> IntervalOutcome {
        for mcu_idx in self.mcus.clone() {
            let (mcu_x, mcu_y) = self.layout.position(mcu_idx);
            self.reader.refill();
            for place in &self.layout.blocks {
                let bit = self.reader.take(1) as i16;
                if self.is_past_end() {
                    return self.fails(mcu_idx, Ok(()));
                }
                planes[place.plane_idx].data[place.offset(mcu_x, mcu_y)] |= bit << self.al;
            }
        }
        self.ends()
    }

    /// The block of a scan of one component.
    fn block<'p>(&self, planes: &'p mut [Plane], mcu_idx: u32) -> Option<&'p mut [i16; 64]> {
        let place = self.layout.blocks.first()?;
        let (mcu_x, mcu_y) = self.layout.position(mcu_idx);
        planes[place.plane_idx].data.get_mut(place.offset(mcu_x, mcu_y)..)?.first_chunk_mut()
    }

    /// First scan of an AC band (G.1.2.2).
    fn decode_ac_first(mut self, table: &Lookup, planes: &mut [Plane]) -> IntervalOutcome {
        let mut mcu_idx = self.mcus.start;
        while mcu_idx < self.mcus.end {
            let Some(block) = self.block(planes, mcu_idx) else { break };
            let before = *block;
            let eob_run = self.decode_ac_first_block(table, block);
            if eob_run.is_err() || self.is_past_end() {
                *block = before;
                return self.fails(mcu_idx, eob_run.map(|_| ()));
            }
            mcu_idx = mcu_idx.saturating_add(1).saturating_add(eob_run.unwrap_or(0));
        }
        self.ends()
    }

    /// Gives the number of blocks after this one whose bands are empty.
    fn decode_ac_first_block(&mut self, table: &Lookup, block: &mut [i16; 64]) -> Result<u32, BadCode> {
        let mut k = self.ss;
        while k <= self.se {
            self.reader.refill();
            let symbol = self.decode_symbol(table)?;
            let run = usize::from(symbol >> 4);
            if symbol & 15 != 0 {
                k += run;
                block[usize::from(NATURAL_OR_LAST[k])] = (self.take_value(symbol) << self.al) as i16;
                k += 1;
            } else if run == 15 {
                k += 16;
            } else {
                return Ok(self.decode_eob_run(run as u32) - 1);
            }
        }
        Ok(0)
    }

    /// EOBn: 2^n and n more bits (T.81 Table G.1), this block included.
    fn decode_eob_run(&mut self, n: u32) -> u32 {
        let extra = if n == 0 { 0 } else { self.reader.take(n) as u32 };
        (1 << n) + extra
    }

    /// Refinement of an AC band (G.1.2.3).
    fn decode_ac_refinement(mut self, table: &Lookup, planes: &mut [Plane]) -> IntervalOutcome {
        let mut eob_run = 0;
        for mcu_idx in self.mcus.clone() {
            let Some(block) = self.block(planes, mcu_idx) else { break };
            if eob_run > 0 && block[1..] == [0; 63] {
                eob_run -= 1; // nothing to correct
                continue;
            }
            let before = *block;
            let result = self.refine_block(table, block, &mut eob_run);
            if result.is_err() || self.is_past_end() {
                *block = before;
                return self.fails(mcu_idx, result);
            }
        }
        self.ends()
    }

    fn refine_block(&mut self, table: &Lookup, block: &mut [i16; 64], eob_run: &mut u32) -> Result<(), BadCode> {
        let mut k = self.ss;
        while *eob_run == 0 && k <= self.se {
            self.reader.refill();
            let at_bits = self.reader.position_bits();
            let symbol = self.decode_symbol(table)?;
            let (run, category) = (usize::from(symbol >> 4), symbol & 15);
            let new_value = match (category, run) {
                (0, 15) => 0, // ZRL: fifteen zeros and one more
                (0, _) => {
                    *eob_run = self.decode_eob_run(run as u32);
                    break;
                }
                (1, _) => {
                    let sign: i16 = if self.reader.take(1) == 1 { 1 } else { -1 };
                    sign << self.al
                }
                _ => return Err(BadCode(at_bits)),
            };
            k = self.correct_and_skip(block, k, run);
            if new_value != 0 {
                block[usize::from(NATURAL_OR_LAST[k])] = new_value;
            }
            k += 1;
        }
        if *eob_run > 0 {
            self.correct_and_skip(block, k, usize::MAX);
            *eob_run -= 1;
        }
        Ok(())
    }

    /// Corrects the coefficients that are not zero from k on, until `zeros` zeros are passed and another one, or the band's end, is
    /// reached. Gives that place.
    fn correct_and_skip(&mut self, block: &mut [i16; 64], mut k: usize, mut zeros: usize) -> usize {
        let bit = 1i16 << self.al;
        while k <= self.se {
            let coefficient = &mut block[usize::from(NATURAL_OR_LAST[k])];
            if *coefficient == 0 {
                if zeros == 0 {
                    break;
                }
                zeros -= 1;
            } else {
                self.reader.refill();
                // A bit that is already there comes from a scan out of order; libjpeg leaves it alone.
                if self.reader.take(1) == 1 && *coefficient & bit == 0 {
                    *coefficient = coefficient.wrapping_add(if *coefficient >= 0 { bit } else { -bit });
                }
            }
            k += 1;
        }
        k
    }
}
