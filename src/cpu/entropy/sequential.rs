//! Sequential scans with Huffman coding (T.81 F.2.2).

use std::ops::Range;
use std::sync::Arc;

use super::IntervalOutcome;
use super::bitops::{BitOps, Work};
use super::bits::{BitReader, REFILLED_BITS};
use super::layout::ScanLayout;
use super::lookup::{BAD_CODE_BITS, Entry, LOOKUP_BITS, Lookup, PairTable};
use crate::CorruptKind;
use crate::jpeg::{NATURAL_FROM_ZIGZAG, Plane};

/// Natural index of ZZ(k); a run may lead up to 15 beyond the block, and what lies beyond is index 63.
pub(super) static NATURAL_OR_LAST: [u8; 128] = {
    let mut natural = [63; 128];
    let mut k = 0;
    while k < 64 {
        natural[k] = NATURAL_FROM_ZIGZAG[k];
        k += 1;
    }
    natural
};

/// The tables of one component of a scan.
#[derive(Clone)]
pub struct ComponentTables {
    dc: Arc<Lookup>,
    ac: Arc<Lookup>,
    ac_pairs: Arc<PairTable>,
}

impl ComponentTables {
    /// For DIFF and for AC coefficients.
    pub fn new(dc: Arc<Lookup>, ac: Arc<Lookup>) -> Self {
        let ac_pairs = Arc::clone(ac.pairs());
        Self { dc, ac, ac_pairs }
    }
}

/// The MCUs of one restart interval, to be decoded from one piece of destuffed data. Blocks that are not received are zero, those of the
/// MCUs after the first one that lacks a block are left for the caller to set to zero.
pub struct SequentialInterval<'a> {
    /// Where the scan's blocks lie.
    pub layout: &'a ScanLayout,
    /// One per component.
    pub tables: &'a [ComponentTables],
    /// The frame's.
    pub planes: &'a mut [Plane],
    /// The interval's.
    pub mcus: Range<u32>,
    /// Of all pieces.
    pub data: &'a [u8],
    /// The piece's bytes.
    pub piece: Range<usize>,
}

impl Work for SequentialInterval<'_> {
    type Output = IntervalOutcome;

    #[inline(always)]
    fn run<B: BitOps>(self, _ops: B) -> IntervalOutcome {
        let Self { layout, tables, planes, mcus, data, piece } = self;
        let end_bits = piece.end as u64 * 8;
        let mut bad_codes = BadCodes { mcu_idx: mcus.start, end_bits, first: None };
        let mut decoder = BlockDecoder { reader: BitReader::new(data, piece.start), bad_codes: &mut bad_codes };
        let mut predictions = [0i32; 4];
        let (mut mcu_x, mut mcu_y) = layout.position(mcus.start);
        for mcu_idx in mcus {
            decoder.bad_codes.mcu_idx = mcu_idx;
            for (block_idx, place) in layout.blocks.iter().enumerate() {
                let offset = place.offset(mcu_x, mcu_y);
                let plane = &mut planes[place.plane_idx].data;
                let Some(block) = plane.get_mut(offset..).and_then(|rest| rest.first_chunk_mut::<64>()) else { break };
                let prediction = &mut predictions[place.scan_component_idx & 3];
                decoder.decode(&tables[place.scan_component_idx], prediction, block);
                if decoder.reader.position_bits() > end_bits {
                    layout.zero_blocks_from(block_idx, planes, mcu_x, mcu_y);
                    return IntervalOutcome { end_bits, bad: bad_codes.first, truncated_mcu: Some(mcu_idx) };
                }
            }
            mcu_x += 1;
            if mcu_x == layout.mcus_wide as usize {
                (mcu_x, mcu_y) = (0, mcu_y + 1);
            }
        }
        let end_bits = decoder.reader.position_bits();
        IntervalOutcome { end_bits, bad: bad_codes.first, truncated_mcu: None }
    }
}

/// The patterns met that are no codes.
struct BadCodes {
    /// The MCU that is being decoded.
    mcu_idx: u32,
    /// The end of the piece.
    end_bits: u64,
    /// The first one that lies within the piece, as in [`IntervalOutcome::bad`].
    first: Option<(u32, CorruptKind, u64)>,
}

impl BadCodes {
    /// A long code; a pattern that is no code counts as the symbol 0.
    #[cold]
    #[inline(never)]
    fn find_long(&mut self, table: &Lookup, pattern: u32, at_bits: u64) -> Entry {
        table.find_long(pattern).unwrap_or_else(|| {
            if at_bits + u64::from(BAD_CODE_BITS) <= self.end_bits {
                self.first.get_or_insert((self.mcu_idx, CorruptKind::BadCode, at_bits));
            }
            Entry::BAD
        })
    }
}

struct BlockDecoder<'a> {
    reader: BitReader<'a>,
    bad_codes: &'a mut BadCodes,
}

impl BlockDecoder<'_> {
    /// One block (T.81 F.2.2.1, F.2.2.2).
    #[inline(always)]
    fn decode(&mut self, tables: &ComponentTables, prediction: &mut i32, block: &mut [i16; 64]) {
        block.fill(0);
        let (_, diff) = self.decode_symbol_and_value(&tables.dc);
        *prediction = prediction.wrapping_add(diff);
        block[0] = *prediction as i16;
        self.decode_coefficients(tables, block);
    }

    /// The AC coefficients (T.81 F.2.2.2): two at a look where that is possible.
    #[inline(always)]
    fn decode_coefficients(&mut self, tables: &ComponentTables, block: &mut [i16; 64]) {
        const LOOKS_PER_REFILL: u32 = REFILLED_BITS / LOOKUP_BITS;
        let mut k = 1;
        'refill: while k < 64 {
            self.reader.refill();
            for _ in 0..LOOKS_PER_REFILL {
                let pair = tables.ac_pairs[self.reader.peek(LOOKUP_BITS) as usize];
                let (first_k, first_value) = pair.first(k);
                let (second_k, second_value) = pair.second(k);
                // No pair, or the first coefficient is the block's last one, so that the second is none.
                if first_k > 62 {
                    k = self.decode_coefficient(&tables.ac, block, k);
                    continue 'refill;
                }
                *coefficient(block, first_k) = first_value;
                *coefficient(block, second_k) = second_value;
                self.reader.consume(pair.consumed_bits());
                k += pair.advance();
                if k >= 64 {
                    return;
                }
            }
        }
    }

    /// One AC symbol at k (T.81 Figure F.13). Gives the next k, beyond 63 after EOB.
    #[inline(always)]
    fn decode_coefficient(&mut self, table: &Lookup, block: &mut [i16; 64], k: usize) -> usize {
        let (symbol, value) = self.decode_symbol_and_value(table);
        match (symbol >> 4, symbol & 15) {
            (15, 0) => k + 16,
            (_, 0) => 64, // EOB
            (run, _) => {
                let k = k + usize::from(run);
                *coefficient(block, k) = value as i16;
                k + 1
            }
        }
    }

    /// DECODE, RECEIVE and EXTEND (T.81 F.2.2).
    #[inline(always)]
    fn decode_symbol_and_value(&mut self, table: &Lookup) -> (u8, i32) {
        self.reader.refill();
        let entry = table.look(&self.reader);
        let entry = if entry.is_long() {
            let at_bits = self.reader.position_bits();
            self.bad_codes.find_long(table, self.reader.peek(16) as u32, at_bits)
        } else {
            entry
        };
        (entry.symbol(), self.reader.take_value(entry.total_bits(), entry.value_bits()))
    }
}

/// ZZ(k) of a block; beyond it, the last coefficient.
#[inline(always)]
fn coefficient(block: &mut [i16; 64], k: usize) -> &mut i16 {
    &mut block[usize::from(NATURAL_OR_LAST[k & 127] & 63)]
}
