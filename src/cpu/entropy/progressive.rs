//! Progressive scans with Huffman coding (T.81 G.2; the procedures are those of G.1.2 run backwards).

use std::ops::Range;
use std::sync::Arc;

use super::IntervalOutcome;
use super::band::{BandBlock, BandBlocks, NonzeroMasks, bits};
use super::bits::{BitReader, REFILLED_BITS};
use super::layout::ScanLayout;
use super::lookup::{BAD_CODE_BITS, Lookup};
use crate::CorruptKind;
use crate::jpeg::{Plane, Scan};

/// A scan, ready to be decoded.
pub struct ProgressiveScan<'a> {
    /// Its header.
    pub scan: &'a Scan,
    /// Where its blocks lie.
    pub layout: &'a ScanLayout,
    /// One per component; none for refinement of DC.
    pub tables: &'a [Arc<Lookup>],
}

impl ProgressiveScan<'_> {
    /// Decodes the MCUs of one restart interval from one piece of destuffed data. Blocks that are not received keep what they had.
    pub fn decode_interval(
        &self,
        planes: &mut [Plane],
        nonzero: &mut NonzeroMasks,
        mcus: Range<u32>,
        data: &[u8],
        piece: Range<usize>,
    ) -> IntervalOutcome {
        let interval = Interval {
            layout: self.layout,
            reader: BitReader::new(data, piece.start),
            end_bits: piece.end as u64 * 8,
            mcus,
            ss: usize::from(self.scan.ss),
            se: usize::from(self.scan.se),
            al: u32::from(self.scan.al),
        };
        match (self.scan.ss, self.scan.ah, self.tables) {
            (0, 0, tables) => interval.decode_dc_first(tables, planes),
            (0, _, _) => interval.decode_dc_refinement(planes),
            (_, 0, [table, ..]) => interval.decode_ac_first(table, planes, nonzero),
            (_, _, [table, ..]) => interval.decode_ac_refinement(table, planes, nonzero),
            (_, _, []) => interval.ends(),
        }
    }
}

/// A pattern that is no code, or no legal symbol: its offset in bits.
struct BadCode(u64);

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

    #[inline(always)]
    fn is_past_end(&self) -> bool {
        self.reader.position_bits() > self.end_bits
    }

    /// The interval ends at a block that was not received: data that end come before a bad code that reaches beyond them.
    #[cold]
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
        for (mcu_idx, mcu_x, mcu_y) in self.layout.positions(self.mcus.clone()) {
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

    #[inline(always)]
    fn decode_diff(&mut self, table: &Lookup) -> Result<i32, BadCode> {
        self.reader.refill();
        let category = self.decode_symbol(table)?;
        Ok(self.take_value(category))
    }

    /// DECODE (T.81 F.2.2.3): consumes a code, but not the value after it.
    #[inline(always)]
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
    #[inline(always)]
    fn take_value(&mut self, symbol: u8) -> i32 {
        let value_bits = u32::from(symbol & 15);
        self.reader.take_value(value_bits, value_bits)
    }

    /// Refinement of DC (G.1.2.1): one bit per block.
    fn decode_dc_refinement(mut self, planes: &mut [Plane]) -> IntervalOutcome {
        for (mcu_idx, mcu_x, mcu_y) in self.layout.positions(self.mcus.clone()) {
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

    /// First scan of an AC band (G.1.2.2).
    fn decode_ac_first(mut self, table: &Lookup, planes: &mut [Plane], nonzero: &mut NonzeroMasks) -> IntervalOutcome {
        let mut blocks = BandBlocks::new(self.layout, planes, nonzero);
        let mut mcu_idx = self.mcus.start;
        while mcu_idx < self.mcus.end {
            let mut block = blocks.block(mcu_idx);
            let before = block.save();
            let result = self.decode_ac_first_block(table, &mut block);
            if result.is_err() || self.is_past_end() {
                block.restore(before);
                block.clear(self.ss, self.se);
                return self.fails(mcu_idx, result.map(|_| ()));
            }
            mcu_idx = mcu_idx.saturating_add(1).saturating_add(result.unwrap_or(0));
        }
        self.ends()
    }

    /// Gives the number of blocks after this one whose bands are empty.
    #[inline(always)]
    fn decode_ac_first_block(&mut self, table: &Lookup, block: &mut BandBlock) -> Result<u32, BadCode> {
        let mut k = self.ss;
        while k <= self.se {
            self.reader.refill();
            let symbol = self.decode_symbol(table)?;
            let run = usize::from(symbol >> 4);
            if symbol & 15 != 0 {
                k += run;
                block.set(k, (self.take_value(symbol) << self.al) as i16);
                k += 1;
            } else if run == 15 {
                k += 16;
            } else {
                return Ok(self.take_eob_run(run as u32) - 1);
            }
        }
        Ok(0)
    }

    /// EOBn: 2^n and n more bits (T.81 Table G.1), this block included.
    #[inline(always)]
    fn take_eob_run(&mut self, n: u32) -> u32 {
        let extra = if n == 0 { 0 } else { self.reader.take(n) as u32 };
        (1 << n) + extra
    }

    /// Refinement of an AC band (G.1.2.3).
    fn decode_ac_refinement(
        mut self,
        table: &Lookup,
        planes: &mut [Plane],
        nonzero: &mut NonzeroMasks,
    ) -> IntervalOutcome {
        let mut blocks = BandBlocks::new(self.layout, planes, nonzero);
        let band = bits(self.ss, self.se);
        let mut eob_run = 0;
        let mut mcu_idx = self.mcus.start;
        while mcu_idx < self.mcus.end {
            // Of a run of EOB, blocks that have nothing to correct.
            let num_empty = blocks.count_empty(mcu_idx..self.mcus.end.min(mcu_idx.saturating_add(eob_run)), band);
            (mcu_idx, eob_run) = (mcu_idx + num_empty, eob_run - num_empty);
            if mcu_idx == self.mcus.end {
                break;
            }
            let mut block = blocks.block(mcu_idx);
            let before = block.save();
            let result = self.refine_block(table, &mut block, &mut eob_run);
            if result.is_err() || self.is_past_end() {
                block.restore(before);
                return self.fails(mcu_idx, result);
            }
            mcu_idx += 1;
        }
        self.ends()
    }

    #[inline(always)]
    fn refine_block(&mut self, table: &Lookup, block: &mut BandBlock, eob_run: &mut u32) -> Result<(), BadCode> {
        let to_correct = *block.nonzero & bits(self.ss, self.se);
        let mut corrections = 0;
        let mut k = self.ss;
        while *eob_run == 0 && k <= self.se {
            self.reader.refill();
            let at_bits = self.reader.position_bits();
            let symbol = self.decode_symbol(table)?;
            let (run, category) = (usize::from(symbol >> 4), symbol & 15);
            let new_value = match (category, run) {
                (0, 15) => 0, // ZRL: fifteen zeros and one more
                (0, _) => {
                    *eob_run = self.take_eob_run(run as u32);
                    break;
                }
                (1, _) => (self.reader.take(1) as i16 * 2 - 1) << self.al,
                _ => return Err(BadCode(at_bits)),
            };
            let rest = bits(k, self.se);
            let place = nth_bit(!*block.nonzero & rest, run).unwrap_or(self.se + 1);
            self.take_corrections(to_correct & rest & !(u64::MAX << 1 << (place - 1)), &mut corrections);
            if new_value != 0 {
                block.set(place, new_value);
            }
            k = place + 1;
        }
        if *eob_run > 0 {
            self.take_corrections(to_correct & bits(k, self.se), &mut corrections);
            *eob_run -= 1;
        }
        block.correct(to_correct, corrections, 1 << self.al);
        Ok(())
    }

    /// One bit for each of these coefficients, appended to those that were taken before.
    #[inline(always)]
    fn take_corrections(&mut self, coefficients: u64, corrections: &mut u64) {
        let mut num_bits = coefficients.count_ones();
        self.reader.refill();
        if num_bits > REFILLED_BITS {
            *corrections = *corrections << REFILLED_BITS | self.reader.take(REFILLED_BITS);
            self.reader.refill();
            num_bits -= REFILLED_BITS;
        }
        *corrections = *corrections << num_bits | self.reader.peek_any(num_bits);
        self.reader.consume(num_bits);
    }
}

/// The index of the bit of `mask` that has `n` (at most 15) set bits below it.
#[inline(always)]
fn nth_bit(mask: u64, n: usize) -> Option<usize> {
    let without_lowest = |mask: u64| mask & mask.wrapping_sub(1);
    let mut mask = mask;
    for _ in 0..n / 4 {
        mask = without_lowest(without_lowest(without_lowest(without_lowest(mask))));
    }
    // Short runs are the rule: all of them without a branch.
    let one = without_lowest(mask);
    let two = without_lowest(one);
    let mask = [mask, one, two, without_lowest(two)][n % 4];
    (mask != 0).then_some(mask.trailing_zeros() as usize)
}
