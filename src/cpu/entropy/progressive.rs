//! Progressive scans with Huffman coding (T.81 G.2; the procedures are those of G.1.2 run backwards).

use std::ops::Range;
use std::sync::Arc;

use super::IntervalOutcome;
use super::bits::{BitReader, REFILLED_BITS};
use super::layout::{BlockPlace, ScanLayout};
use super::lookup::{BAD_CODE_BITS, Lookup};
use crate::CorruptKind;
use crate::jpeg::{Frame, NATURAL_FROM_ZIGZAG, Plane, Scan};

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
        for mcu_idx in self.mcus.clone() {
            let mut block = blocks.block(mcu_idx);
            if eob_run > 0 && *block.nonzero & band == 0 {
                eob_run -= 1; // nothing to correct
                continue;
            }
            let before = block.save();
            let result = self.refine_block(table, &mut block, &mut eob_run);
            if result.is_err() || self.is_past_end() {
                block.restore(before);
                return self.fails(mcu_idx, result);
            }
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

/// The bits from `first` to `last`, at most 63.
#[inline(always)]
fn bits(first: usize, last: usize) -> u64 {
    u64::MAX << first & u64::MAX >> (63 - last)
}

/// The blocks of a scan of one component, with their masks.
struct BandBlocks<'a> {
    layout: &'a ScanLayout,
    place: BlockPlace,
    plane: &'a mut [i16],
    masks: &'a mut [u64],
}

impl<'a> BandBlocks<'a> {
    fn new(layout: &'a ScanLayout, planes: &'a mut [Plane], nonzero: &'a mut NonzeroMasks) -> Self {
        let place = layout.blocks[0];
        Self { layout, place, plane: &mut planes[place.plane_idx].data, masks: &mut nonzero.planes[place.plane_idx] }
    }

    #[inline(always)]
    fn block(&mut self, mcu_idx: u32) -> BandBlock<'_> {
        let (mcu_x, mcu_y) = self.layout.position(mcu_idx);
        let block_idx = self.place.offset(mcu_x, mcu_y) / 64;
        let (blocks, _) = self.plane.as_chunks_mut::<64>();
        BandBlock { coefficients: &mut blocks[block_idx], nonzero: &mut self.masks[block_idx] }
    }
}

/// A block and the mask of its AC coefficients that are not zero.
struct BandBlock<'a> {
    coefficients: &'a mut [i16; 64],
    nonzero: &'a mut u64,
}

impl BandBlock<'_> {
    fn save(&self) -> ([i16; 64], u64) {
        (*self.coefficients, *self.nonzero)
    }

    fn restore(&mut self, (coefficients, nonzero): ([i16; 64], u64)) {
        *self.coefficients = coefficients;
        *self.nonzero = nonzero;
    }

    /// Clears ZZ(first) to ZZ(last).
    #[cold]
    fn clear(&mut self, first: usize, last: usize) {
        NATURAL_FROM_ZIGZAG[first..=last]
            .iter()
            .for_each(|&natural_idx| self.coefficients[usize::from(natural_idx)] = 0);
        *self.nonzero &= !bits(first, last);
    }

    /// Sets ZZ(k); beyond the block, its last coefficient.
    #[inline(always)]
    fn set(&mut self, k: usize, value: i16) {
        let k = k.min(63);
        self.coefficients[usize::from(NATURAL_FROM_ZIGZAG[k])] = value;
        *self.nonzero = *self.nonzero & !(1 << k) | u64::from(value != 0) << k;
    }

    /// Moves coefficients away from zero by `bit`: those of which `corrections` has a 1, the last coefficient's in its lowest bit. A
    /// bit that is already there comes from scans out of order; libjpeg leaves it alone.
    #[inline(always)]
    fn correct(&mut self, coefficients: u64, mut corrections: u64, bit: i16) {
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
