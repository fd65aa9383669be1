//! Sequential scans with Huffman coding (T.81 F.2.2).

use std::ops::Range;
use std::sync::Arc;

use super::IntervalOutcome;
use super::bits::{BitReader, REFILLED_BITS, extend};
use super::layout::ScanLayout;
use super::lookup::{BAD_CODE_BITS, LOOKUP_BITS, Lookup};
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
    /// For DIFF.
    pub dc: Arc<Lookup>,
    /// For AC coefficients.
    pub ac: Arc<Lookup>,
}

/// Decodes the MCUs of one restart interval from one piece of destuffed data. Blocks that are not received are zero, those of
/// the MCUs after the first one that lacks a block are left for the caller to set to zero.
pub fn decode_interval(
    layout: &ScanLayout,
    tables: &[ComponentTables],
    planes: &mut [Plane],
    mcus: Range<u32>,
    data: &[u8],
    piece: Range<usize>,
) -> IntervalOutcome {
    let mut reader = BitReader::new(data, piece.start);
    let mut outcome = IntervalOutcome { end_bits: 0, bad: None, truncated_mcu: None };
    let end_bits = piece.end as u64 * 8;
    let mut predictions = [0i32; 4];
    let (mut mcu_x, mut mcu_y) = layout.position(mcus.start);
    for mcu_idx in mcus {
        for (block_idx, place) in layout.blocks.iter().enumerate() {
            let offset = place.offset(mcu_x, mcu_y);
            let plane = &mut planes[place.plane_idx].data;
            let Some(block) = plane.get_mut(offset..).and_then(|rest| rest.first_chunk_mut::<64>()) else { break };
            let component_tables = &tables[place.scan_component_idx];
            let bad_at = decode_block(&mut reader, component_tables, &mut predictions[place.scan_component_idx], block);
            if let (Some(at_bits), None) = (bad_at, outcome.bad)
                && at_bits + u64::from(BAD_CODE_BITS) <= end_bits
            {
                outcome.bad = Some((mcu_idx, CorruptKind::BadCode, at_bits));
            }
            if reader.position_bits() > end_bits {
                zero_blocks_from(block_idx, layout, planes, mcu_x, mcu_y);
                outcome.truncated_mcu = Some(mcu_idx);
                outcome.end_bits = end_bits;
                return outcome;
            }
        }
        mcu_x += 1;
        if mcu_x == layout.mcus_wide as usize {
            (mcu_x, mcu_y) = (0, mcu_y + 1);
        }
    }
    outcome.end_bits = reader.position_bits();
    outcome
}

#[cold]
fn zero_blocks_from(block_idx: usize, layout: &ScanLayout, planes: &mut [Plane], mcu_x: usize, mcu_y: usize) {
    for place in &layout.blocks[block_idx..] {
        let offset = place.offset(mcu_x, mcu_y);
        planes[place.plane_idx].data[offset..offset + 64].fill(0);
    }
}

/// One block (T.81 F.2.2.1, F.2.2.2). Gives the offset in bits of the first pattern that is no code.
#[inline(always)]
fn decode_block(
    reader: &mut BitReader,
    tables: &ComponentTables,
    prediction: &mut i32,
    block: &mut [i16; 64],
) -> Option<u64> {
    let mut bad_at = None;
    block.fill(0);
    reader.refill();
    *prediction = prediction.wrapping_add(decode_diff(reader, &tables.dc, &mut bad_at));
    block[0] = *prediction as i16;
    let k = decode_most_coefficients(reader, &tables.ac, block, &mut bad_at);
    decode_last_coefficients(reader, &tables.ac, block, k, &mut bad_at);
    bad_at
}

/// Two coefficients at a look, as long as the first of them cannot be the block's last one. Gives the next k.
#[inline(always)]
fn decode_most_coefficients(
    reader: &mut BitReader,
    table: &Lookup,
    block: &mut [i16; 64],
    bad_at: &mut Option<u64>,
) -> usize {
    const LOOKS_PER_REFILL: u32 = REFILLED_BITS / LOOKUP_BITS;
    const END: usize = 48; // a run of 15 from 47 leads to 62
    let pairs = table.pairs();
    let mut k = 1;
    'refill: loop {
        reader.refill();
        for _ in 0..LOOKS_PER_REFILL {
            let pair = pairs[reader.peek(LOOKUP_BITS) as usize];
            if pair.is_none() {
                k = decode_coefficient(reader, table, block, k, bad_at);
                if k >= END {
                    return k;
                }
                continue 'refill;
            }
            for (run, value) in [pair.first(), pair.second()] {
                block[usize::from(NATURAL_OR_LAST[(k + run) & 127] & 63)] = value;
            }
            reader.consume(pair.consumed_bits());
            k += pair.advance();
            if k >= END {
                return k;
            }
        }
    }
}

/// The coefficients from k on, one by one.
#[inline(always)]
fn decode_last_coefficients(
    reader: &mut BitReader,
    table: &Lookup,
    block: &mut [i16; 64],
    mut k: usize,
    bad_at: &mut Option<u64>,
) {
    while k < 64 {
        k = decode_coefficient(reader, table, block, k, bad_at);
    }
}

/// One AC symbol at k (T.81 F.2.2.2, Figure F.13). Gives the next k, beyond 63 after EOB.
#[inline(always)]
fn decode_coefficient(
    reader: &mut BitReader,
    table: &Lookup,
    block: &mut [i16; 64],
    k: usize,
    bad_at: &mut Option<u64>,
) -> usize {
    reader.refill();
    let symbol = decode_symbol(reader, table, bad_at);
    let (run, category) = (usize::from(symbol >> 4), u32::from(symbol & 15));
    if category != 0 {
        let k = k + run;
        block[usize::from(NATURAL_OR_LAST[k & 127] & 63)] = extend(reader.take(category), category) as i16;
        k + 1
    } else if run == 15 {
        k + 16
    } else {
        64 // EOB
    }
}

/// DIFF (T.81 F.2.2.1).
#[inline(always)]
fn decode_diff(reader: &mut BitReader, table: &Lookup, bad_at: &mut Option<u64>) -> i32 {
    let entry = table.look(reader);
    if entry.value() != 0 {
        reader.consume(entry.consumed_bits());
        return i32::from(entry.value());
    }
    match u32::from(decode_symbol(reader, table, bad_at)) {
        0 => 0,
        category => extend(reader.take(category), category),
    }
}

/// DECODE; a pattern that is no code counts as the symbol 0.
#[inline(always)]
fn decode_symbol(reader: &mut BitReader, table: &Lookup, bad_at: &mut Option<u64>) -> u8 {
    let at_bits = reader.position_bits();
    let symbol = table.decode(reader);
    if symbol.is_bad && bad_at.is_none() {
        *bad_at = Some(at_bits);
    }
    symbol.value
}
