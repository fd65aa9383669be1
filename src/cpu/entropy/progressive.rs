//! Progressive scans with Huffman coding (T.81 G.2; the procedures are those of G.1.2 run backwards).

use std::ops::Range;
use std::sync::Arc;

use super::IntervalOutcome;
use super::band::{BandBlock, BandBlocks, NonzeroMasks, bits};
use super::bitops::{BitOps, Work};
use super::bits::{BitReader, REFILLED_BITS};
use super::layout::ScanLayout;
use super::lookup::{BAD_CODE_BITS, Entry, Lookup};
use crate::CorruptKind;
use crate::jpeg::{Plane, Scan};

/// The MCUs of one restart interval, to be decoded from one piece of destuffed data. Blocks that are not received keep what they had.
pub struct ProgressiveInterval<'a> {
    /// The scan's header.
    pub scan: &'a Scan,
    /// Where its blocks lie.
    pub layout: &'a ScanLayout,
    /// One per component; none for refinement of DC.
    pub tables: &'a [Arc<Lookup>],
    /// The frame's.
    pub planes: &'a mut [Plane],
    /// What is not zero in them.
    pub nonzero: &'a mut NonzeroMasks,
    /// The interval's.
    pub mcus: Range<u32>,
    /// Of all pieces.
    pub data: &'a [u8],
    /// The piece's bytes.
    pub piece: Range<usize>,
}

impl Work for ProgressiveInterval<'_> {
    type Output = IntervalOutcome;

    #[inline(always)]
    fn run<B: BitOps>(self, ops: B) -> IntervalOutcome {
        let Self { scan, layout, tables, planes, nonzero, mcus, data, piece } = self;
        let interval = Interval {
            ops,
            layout,
            reader: BitReader::new(data, piece.start),
            end_bits: piece.end as u64 * 8,
            mcus,
            ss: usize::from(scan.ss),
            se: usize::from(scan.se),
            al: u32::from(scan.al),
        };
        match (scan.ss, scan.ah, tables) {
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

/// A coefficient beyond the band that a run led to: k, and what it was.
type Overwritten = Option<(usize, i16)>;

struct Interval<'a, B> {
    ops: B,
    layout: &'a ScanLayout,
    reader: BitReader<'a>,
    end_bits: u64,
    mcus: Range<u32>,
    ss: usize,
    se: usize,
    al: u32,
}

impl<B: BitOps> Interval<'_, B> {
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
    #[inline(always)]
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
        let entry = self.look(table)?;
        Ok(self.reader.take_value(entry.total_bits(), entry.value_bits()))
    }

    /// DECODE (T.81 F.2.2.3): finds the next code, and consumes nothing unless there is none.
    #[inline(always)]
    fn look(&mut self, table: &Lookup) -> Result<Entry, BadCode> {
        let entry = table.look(&self.reader);
        if !entry.is_long() {
            return Ok(entry);
        }
        table.find_long(self.reader.peek(16) as u32).ok_or_else(|| {
            let at_bits = self.reader.position_bits();
            self.reader.consume(BAD_CODE_BITS);
            BadCode(at_bits)
        })
    }

    /// Refinement of DC (G.1.2.1): one bit per block.
    #[inline(always)]
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
    #[inline(always)]
    fn decode_ac_first(mut self, table: &Lookup, planes: &mut [Plane], nonzero: &mut NonzeroMasks) -> IntervalOutcome {
        let mut blocks = BandBlocks::new(self.layout, planes, nonzero, self.mcus.start);
        let mut mcu_idx = self.mcus.start;
        while mcu_idx < self.mcus.end {
            let mut block = blocks.block();
            let mut beyond = None;
            let result = self.decode_ac_first_block(table, &mut block, &mut beyond);
            if result.is_err() || self.is_past_end() {
                beyond.into_iter().for_each(|(k, value)| block.set(k, value));
                block.clear(self.ss, self.se);
                return self.fails(mcu_idx, result.map(|_| ()));
            }
            let num_blocks = result.unwrap_or(0).saturating_add(1).min(self.mcus.end - mcu_idx);
            blocks.advance(num_blocks);
            mcu_idx += num_blocks;
        }
        self.ends()
    }

    /// Gives the number of blocks after this one whose bands are empty. `beyond`: what was overwritten beyond the band, if anything.
    #[inline(always)]
    fn decode_ac_first_block(
        &mut self,
        table: &Lookup,
        block: &mut BandBlock,
        beyond: &mut Overwritten,
    ) -> Result<u32, BadCode> {
        let mut k = self.ss;
        while k <= self.se {
            self.reader.refill();
            let entry = self.look(table)?;
            let run = entry.run();
            if entry.value_bits() != 0 {
                k += run;
                if k > self.se {
                    *beyond = Some(block.overwritten(k));
                }
                let value = self.reader.take_value(entry.total_bits(), entry.value_bits());
                block.set(k, (value << self.al) as i16);
                k += 1;
            } else {
                self.reader.consume(entry.code_bits());
                if run < 15 {
                    return Ok(self.take_eob_run(run as u32) - 1);
                }
                k += 16;
            }
        }
        Ok(0)
    }

    /// EOBn: 2^n and n more bits (T.81 Table G.1), this block included.
    #[inline(always)]
    fn take_eob_run(&mut self, n: u32) -> u32 {
        let extra = self.reader.peek_any(n) as u32;
        self.reader.consume(n);
        (1 << n) + extra
    }

    /// Refinement of an AC band (G.1.2.3).
    #[inline(always)]
    fn decode_ac_refinement(
        mut self,
        table: &Lookup,
        planes: &mut [Plane],
        nonzero: &mut NonzeroMasks,
    ) -> IntervalOutcome {
        let mut blocks = BandBlocks::new(self.layout, planes, nonzero, self.mcus.start);
        let band = bits(self.ss, self.se);
        let mut eob_run = 0;
        let mut mcu_idx = self.mcus.start;
        while mcu_idx < self.mcus.end {
            if eob_run > 0 {
                let num_empty = blocks.pass_empty(eob_run.min(self.mcus.end - mcu_idx), band);
                (mcu_idx, eob_run) = (mcu_idx + num_empty, eob_run - num_empty);
                if mcu_idx == self.mcus.end {
                    break;
                }
            }
            let mut block = blocks.block();
            let before = *block.nonzero;
            let to_correct = before & band;
            let (mut corrections, mut beyond) = (0, None);
            let result = self.refine_block(table, &mut block, &mut eob_run, &mut corrections, &mut beyond);
            if result.is_err() || self.is_past_end() {
                block.clear_new(before);
                beyond.into_iter().for_each(|(k, value)| block.set(k, value));
                return self.fails(mcu_idx, result);
            }
            self.ops.correct(block.coefficients, to_correct, corrections, 1 << self.al);
            blocks.advance(1);
            mcu_idx += 1;
        }
        self.ends()
    }

    /// Sets what is new in the block, and collects the corrections of what is not.
    #[inline(always)]
    fn refine_block(
        &mut self,
        table: &Lookup,
        block: &mut BandBlock,
        eob_run: &mut u32,
        corrections: &mut u64,
        beyond: &mut Overwritten,
    ) -> Result<(), BadCode> {
        let before = *block.nonzero;
        let band = bits(self.ss, self.se);
        let (to_correct, zeros) = (before & band, !before & band);
        let mut k = self.ss;
        if *eob_run == 0 {
            loop {
                self.reader.refill();
                let entry = self.look(table)?;
                let run = entry.run();
                let new_value = match entry.value_bits() {
                    1 => (self.reader.take_value(entry.total_bits(), 1) << self.al) as i16,
                    0 => {
                        self.reader.consume(entry.code_bits());
                        if run < 15 {
                            *eob_run = self.take_eob_run(run as u32);
                            break;
                        }
                        0 // ZRL: fifteen zeros and one more
                    }
                    _ => {
                        let at_bits = self.reader.position_bits();
                        self.reader.consume(entry.code_bits());
                        return Err(BadCode(at_bits));
                    }
                };
                let place = self.ops.nth_bit(zeros & u64::MAX << k, run);
                if place > self.se {
                    self.take_corrections((to_correct & bits(k, self.se)).count_ones(), corrections);
                    if new_value != 0 {
                        *beyond = Some(block.overwritten(self.se + 1));
                        block.set(self.se + 1, new_value);
                    }
                    return Ok(());
                }
                // What lies before it, but for the zeros of the run.
                self.take_corrections((place - k - run) as u32, corrections);
                if new_value != 0 {
                    block.set(place, new_value);
                }
                k = place + 1;
                if k > self.se {
                    return Ok(());
                }
            }
        }
        self.reader.refill();
        self.take_corrections((to_correct & bits(k, self.se)).count_ones(), corrections);
        *eob_run -= 1;
        Ok(())
    }

    /// One bit for each coefficient, appended to those that were taken before.
    #[inline(always)]
    fn take_corrections(&mut self, mut num_bits: u32, corrections: &mut u64) {
        if num_bits > REFILLED_BITS - 17 {
            self.reader.refill();
        }
        if num_bits > REFILLED_BITS {
            *corrections = *corrections << REFILLED_BITS | self.reader.take(REFILLED_BITS);
            self.reader.refill();
            num_bits -= REFILLED_BITS;
        }
        *corrections = *corrections << num_bits | self.reader.peek_any(num_bits);
        self.reader.consume(num_bits);
    }
}
