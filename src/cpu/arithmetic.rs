//! Arithmetic coding (T.81 Annex D, F.2.4; progressive scans: G.1.3 run backwards).

use std::ops::Range;

use super::entropy::{BandBlock, BandBlocks, IntervalOutcome, NonzeroMasks, ScanLayout, band_bits};
use crate::CorruptKind;
use crate::jpeg::{ESTIMATES, FIXED_HALF, NATURAL_FROM_ZIGZAG, Plane, Scan};

/// One piece of destuffed data.
#[derive(Clone, Copy)]
pub struct PieceData<'a> {
    /// Without stuffed zeros. Beyond the end, zeros are read (T.81 D.2.6): encoders leave trailing zeros out.
    pub bytes: &'a [u8],
    /// Where `bytes` begin in the scan's destuffed data.
    pub start_byte: usize,
    /// The file ends without a marker behind the piece: then what lies beyond the end is missing, not zero.
    pub is_unterminated: bool,
}

/// Where a scan's coefficients go.
pub struct PlanesMut<'a> {
    /// Where its blocks lie.
    pub layout: &'a ScanLayout,
    /// The frame's.
    pub planes: &'a mut [Plane],
    /// What is not zero in them; kept in progressive scans only.
    pub nonzero: &'a mut NonzeroMasks,
}

/// Decodes the MCUs of one restart interval from one piece of data.
///
/// The rules are those of [`entropy`](super::entropy): blocks that are not received are zero in sequential scans, and keep what they
/// had in progressive ones. In a sequential scan, the MCUs after the first one that the data do not reach are left for the caller to
/// set to zero.
///
/// `decisions_left` counts down the decisions that the file may still make, and is `None` once there were more: decoding ends there as if
/// the data did. Decisions need a limit of their own, since those that turn out as expected take next to no data, hundreds of them a
/// block.
pub fn decode_interval(
    is_progressive: bool,
    scan: &Scan,
    PlanesMut { layout, planes, nonzero }: PlanesMut,
    mcus: Range<u32>,
    piece: PieceData,
    decisions_left: &mut Option<u64>,
) -> IntervalOutcome {
    let mut decoder = IntervalDecoder::new(is_progressive, scan, piece, decisions_left.unwrap_or(0));
    let outcome = match (is_progressive, scan.ss) {
        (false, _) => decoder.decode_sequential(layout, planes, mcus),
        (true, 0) => decoder.decode_dc_scan(layout, planes, mcus),
        (true, _) => decoder.decode_ac_scan(BandBlocks::new(layout, planes, nonzero, mcus.start), mcus),
    };
    *decisions_left = decisions_left.and_then(|left| left.checked_sub(decoder.reader.num_decisions));
    outcome
}

/// A run of zeros passes the end of the band, or a magnitude has too many bits.
struct BadRun;

/// A statistics bin (T.81 D.1.5): index into [`ESTIMATES`] and the more probable symbol.
#[derive(Clone, Copy, Default)]
struct Bin {
    estimate_idx: u8,
    mps: bool,
}

/// Bins of a DC table (T.81 Table F.4): S0, SS, SP, SN for each of five conditions, then X1.. and M2...
const NUM_DC_BINS: usize = 49;
const DC_X1: usize = 20;
/// Bins of an AC table (T.81 Table F.5): SE, S0, SP for k = 1 to 63, then X2.. and M2.. up to Kx, and the same above.
const NUM_AC_BINS: usize = 245;
const AC_X2_LOW: usize = 189;
const AC_X2_HIGH: usize = 217;
/// From the bin of a magnitude's category to the bin of its bits.
const X_TO_M: usize = 14;
/// Magnitudes have at most fifteen bits.
const MAGNITUDE_END: u32 = 0x8000;

/// The bins of one table of each class.
#[derive(Clone)]
struct Statistics {
    dc: [Bin; NUM_DC_BINS],
    ac: [Bin; NUM_AC_BINS],
}

/// One component of the scan within one restart interval.
#[derive(Clone, Copy)]
struct ComponentState {
    /// Components that name the same table share its statistics: index of the first one that does.
    dc_statistics: usize,
    ac_statistics: usize,
    /// L and U.
    dc_bounds: (u8, u8),
    /// Kx.
    ac_kx: usize,
    /// PRED.
    prediction: i32,
    /// The condition that the last DIFF sets: index of its first bin.
    dc_context: usize,
}

/// What a block of a progressive scan had, until it is known to be received: far less than the block.
struct Changes {
    len: usize,
    earlier: [(usize, i16); 64],
}

impl Changes {
    /// Sets ZZ(k); each k at most once.
    fn set(&mut self, block: &mut BandBlock, k: usize, value: i16) {
        if let Some(earlier) = self.earlier.get_mut(self.len) {
            *earlier = (k, block.get(k));
            self.len += 1;
        }
        block.set(k, value);
    }

    fn undo(&mut self, block: &mut BandBlock) {
        self.earlier[..self.len].iter().for_each(|&(k, value)| block.set(k, value));
    }
}

struct IntervalDecoder<'a> {
    piece: PieceData<'a>,
    max_decisions: u64,
    ss: usize,
    se: usize,
    ah: u8,
    al: u32,
    components: Vec<ComponentState>,
    statistics: Vec<Statistics>,
    reader: DecisionReader<'a>,
}

impl<'a> IntervalDecoder<'a> {
    fn new(is_progressive: bool, scan: &Scan, piece: PieceData<'a>, max_decisions: u64) -> Self {
        let conditioning = &scan.tables.conditioning;
        let first_with = |same: &dyn Fn(usize) -> bool| (0..scan.components.len()).find(|&i| same(i)).unwrap_or(0);
        let component = |component: &crate::jpeg::ScanComponent| {
            let (dc_idx, ac_idx) = (component.dc_table_idx, component.ac_table_idx);
            let dc_slot = usize::from(dc_idx & 15);
            ComponentState {
                dc_statistics: first_with(&|i| scan.components[i].dc_table_idx == dc_idx),
                ac_statistics: first_with(&|i| scan.components[i].ac_table_idx == ac_idx),
                dc_bounds: (conditioning.dc_lower[dc_slot], conditioning.dc_upper[dc_slot]),
                ac_kx: usize::from(conditioning.ac_kx[usize::from(ac_idx & 15)]),
                prediction: 0,
                dc_context: 0,
            }
        };
        let statistics = Statistics { dc: [Bin::default(); NUM_DC_BINS], ac: [Bin::default(); NUM_AC_BINS] };
        let (ss, se) = if is_progressive { (scan.ss, scan.se) } else { (0, 63) };
        let (ah, al) = if is_progressive { (scan.ah, scan.al) } else { (0, 0) };
        Self {
            piece,
            max_decisions,
            ss: usize::from(ss),
            se: usize::from(se),
            ah,
            al: u32::from(al),
            components: scan.components.iter().map(component).collect(),
            statistics: vec![statistics; scan.components.len()],
            reader: DecisionReader::new(piece.bytes),
        }
    }

    fn decode_sequential(&mut self, layout: &ScanLayout, planes: &mut [Plane], mcus: Range<u32>) -> IntervalOutcome {
        for (mcu_idx, mcu_x, mcu_y) in layout.positions(mcus.clone()) {
            for (block_idx, place) in layout.blocks.iter().enumerate() {
                let rest = planes[place.plane_idx].data.get_mut(place.offset(mcu_x, mcu_y)..);
                let Some(block) = rest.and_then(|rest| rest.first_chunk_mut::<64>()) else { continue };
                let result = self.decode_block(place.scan_component_idx, block);
                if result.is_err() || self.is_out_of_data() {
                    layout.zero_blocks_from(block_idx, planes, mcu_x, mcu_y);
                    if !self.is_out_of_data() {
                        layout.zero_mcus(planes, mcu_idx + 1..mcus.end);
                    }
                    return self.fails(mcu_idx);
                }
            }
        }
        self.ends()
    }

    fn decode_block(&mut self, component_idx: usize, block: &mut [i16; 64]) -> Result<(), BadRun> {
        block.fill(0);
        block[0] = self.decode_dc(component_idx)?;
        self.decode_ac(component_idx, 1, |k, value| block[usize::from(NATURAL_FROM_ZIGZAG[k])] = value)
    }

    /// DC, its first bits or one more.
    fn decode_dc_scan(&mut self, layout: &ScanLayout, planes: &mut [Plane], mcus: Range<u32>) -> IntervalOutcome {
        for (mcu_idx, mcu_x, mcu_y) in layout.positions(mcus) {
            for place in &layout.blocks {
                let Some(dc) = planes[place.plane_idx].data.get_mut(place.offset(mcu_x, mcu_y)) else { continue };
                let value = match self.ah {
                    0 => self.decode_dc(place.scan_component_idx),
                    _ => Ok(*dc | i16::from(self.reader.decode_fixed()) << self.al),
                };
                match value {
                    Ok(value) if !self.is_out_of_data() => *dc = value,
                    _ => return self.fails(mcu_idx),
                }
            }
        }
        self.ends()
    }

    /// A band of AC. Blocks without anything new are not touched, nor searched for what they have: that would be work which no decision pays for.
    fn decode_ac_scan(&mut self, mut blocks: BandBlocks, mcus: Range<u32>) -> IntervalOutcome {
        let mut changes = Changes { len: 0, earlier: [(0, 0); 64] };
        for mcu_idx in mcus {
            let mut block = blocks.block();
            changes.len = 0;
            let result = match self.ah {
                0 => self.decode_ac(0, self.ss, |k, value| changes.set(&mut block, k, value)),
                _ => self.refine_ac(&mut block, &mut changes),
            };
            if result.is_err() || self.is_out_of_data() {
                changes.undo(&mut block);
                return self.fails(mcu_idx);
            }
            blocks.advance(1);
        }
        self.ends()
    }

    fn is_out_of_data(&self) -> bool {
        (self.piece.is_unterminated && self.reader.is_past_end()) || self.reader.num_decisions > self.max_decisions
    }

    /// The interval ends in an MCU: data that end come before a bad run that reaches beyond them.
    #[cold]
    fn fails(&self, mcu_idx: u32) -> IntervalOutcome {
        let end_bits = (self.piece.start_byte + self.piece.bytes.len()) as u64 * 8;
        if self.is_out_of_data() {
            return IntervalOutcome { end_bits, bad: None, truncated_mcu: Some(mcu_idx) };
        }
        let bad = Some((mcu_idx, CorruptKind::BadRun, self.position_bits().min(end_bits)));
        IntervalOutcome { end_bits, bad, truncated_mcu: None }
    }

    fn ends(&self) -> IntervalOutcome {
        IntervalOutcome { end_bits: self.position_bits(), bad: None, truncated_mcu: None }
    }

    /// Offset of the next byte, in bits from the beginning of the scan's destuffed data.
    fn position_bits(&self) -> u64 {
        (self.piece.start_byte + self.reader.next_byte) as u64 * 8
    }

    /// The DC coefficient (T.81 F.2.4.1, with the procedures of F.1.4.1).
    fn decode_dc(&mut self, component_idx: usize) -> Result<i16, BadRun> {
        let Self { components, statistics, reader, .. } = self;
        let component = &mut components[component_idx];
        let bins = &mut statistics[component.dc_statistics].dc;
        let s0 = component.dc_context;
        component.dc_context = 0;
        if reader.decode(&mut bins[s0]) {
            let is_negative = reader.decode(&mut bins[s0 + 1]);
            let is_above_one = reader.decode(&mut bins[s0 + 2 + usize::from(is_negative)]);
            let (leading_bit, magnitude) = match is_above_one {
                true => reader.decode_magnitude(bins, DC_X1, 1)?,
                false => (0, 0),
            };
            component.dc_context = dc_context(leading_bit, is_negative, component.dc_bounds);
            component.prediction = component.prediction.wrapping_add(signed(magnitude + 1, is_negative));
        }
        Ok((component.prediction << self.al) as i16)
    }

    /// AC coefficients from `k` to the band's end (T.81 F.2.4.2, with the procedures of F.1.4.2): `set` takes ZZ(k).
    fn decode_ac(&mut self, component_idx: usize, mut k: usize, mut set: impl FnMut(usize, i16)) -> Result<(), BadRun> {
        let Self { components, statistics, reader, .. } = self;
        let component = &components[component_idx];
        let bins = &mut statistics[component.ac_statistics].ac;
        while k <= self.se {
            if reader.decode(&mut bins[3 * (k - 1)]) {
                break; // EOB
            }
            while !reader.decode(&mut bins[3 * (k - 1) + 1]) {
                k += 1;
                if k > self.se {
                    return Err(BadRun);
                }
            }
            let is_negative = reader.decode_fixed();
            let shared_bin = 3 * (k - 1) + 2;
            let magnitude = match reader.decode(&mut bins[shared_bin]) {
                false => 0,
                true if !reader.decode(&mut bins[shared_bin]) => 1,
                true => {
                    let x2 = if k <= component.ac_kx { AC_X2_LOW } else { AC_X2_HIGH };
                    reader.decode_magnitude(bins, x2, 2)?.1
                }
            };
            set(k, (signed(magnitude + 1, is_negative) << self.al) as i16);
            k += 1;
        }
        Ok(())
    }

    /// One more bit of the band's coefficients (T.81 G.1.3.3).
    fn refine_ac(&mut self, block: &mut BandBlock, changes: &mut Changes) -> Result<(), BadRun> {
        let Self { components, statistics, reader, .. } = self;
        let bins = &mut statistics[components[0].ac_statistics].ac;
        let bit = 1i16 << self.al;
        let nonzero = *block.nonzero;
        let previous_eob = 64 - (nonzero & band_bits(self.ss, self.se)).leading_zeros() as usize;
        let mut k = self.ss;
        while k <= self.se {
            if k >= previous_eob && reader.decode(&mut bins[3 * (k - 1)]) {
                break; // EOB
            }
            loop {
                if nonzero >> k & 1 == 1 {
                    if reader.decode(&mut bins[3 * (k - 1) + 2]) {
                        let coefficient = block.get(k);
                        let step = if coefficient < 0 { -bit } else { bit };
                        changes.set(block, k, coefficient.wrapping_add(step));
                    }
                    break;
                }
                if reader.decode(&mut bins[3 * (k - 1) + 1]) {
                    changes.set(block, k, if reader.decode_fixed() { -bit } else { bit });
                    break;
                }
                k += 1;
                if k > self.se {
                    return Err(BadRun);
                }
            }
            k += 1;
        }
        Ok(())
    }
}

fn signed(magnitude: u32, is_negative: bool) -> i32 {
    if is_negative { -(magnitude as i32) } else { magnitude as i32 }
}

/// The condition that a DIFF sets for the next one (T.81 F.1.4.4.1.2): `leading_bit` is that of |DIFF| - 1.
fn dc_context(leading_bit: u32, is_negative: bool, (lower, upper): (u8, u8)) -> usize {
    if leading_bit < (1 << lower) >> 1 {
        return 0;
    }
    let is_large = leading_bit > (1 << upper) >> 1;
    4 + if is_negative { 4 } else { 0 } + if is_large { 8 } else { 0 }
}

/// The decoder of binary decisions (T.81 D.2).
struct DecisionReader<'a> {
    bytes: &'a [u8],
    next_byte: usize,
    /// Cx in the upper 16 bits.
    c: u32,
    a: u32,
    /// Shifts until the next byte is needed.
    ct: u32,
    num_decisions: u64,
}

impl<'a> DecisionReader<'a> {
    /// T.81 D.2.7.
    fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Self { bytes, next_byte: 0, c: 0, a: 0x1_0000, ct: 0, num_decisions: 0 };
        reader.c = reader.byte() << 24;
        reader.c |= reader.byte() << 16;
        reader
    }

    /// T.81 D.2.6.
    fn byte(&mut self) -> u32 {
        let byte = self.bytes.get(self.next_byte).map_or(0, |&byte| u32::from(byte));
        self.next_byte += 1;
        byte
    }

    /// Whether bytes were read that are not there.
    fn is_past_end(&self) -> bool {
        self.next_byte > self.bytes.len()
    }

    /// One decision (T.81 D.2.4, D.2.5). Renormalises before it rather than after, so that no byte is read before it is needed.
    #[inline]
    fn decode(&mut self, bin: &mut Bin) -> bool {
        self.num_decisions += 1;
        while self.a < 0x8000 {
            if self.ct == 0 {
                self.c |= self.byte() << 8;
                self.ct = 8;
            }
            self.a <<= 1;
            self.c <<= 1;
            self.ct -= 1;
        }
        let estimate = ESTIMATES[usize::from(bin.estimate_idx)];
        let qe = u32::from(estimate.qe);
        self.a -= qe;
        let is_upper = self.c >> 16 >= self.a;
        if !is_upper && self.a >= 0x8000 {
            return bin.mps;
        }
        // The upper sub-interval is the less probable symbol's unless it is the larger one (conditional exchange).
        let is_lps = is_upper == (self.a >= qe);
        if is_upper {
            self.c -= self.a << 16;
            self.a = qe;
        }
        let decision = bin.mps ^ is_lps;
        if is_lps {
            bin.mps ^= estimate.switch_mps;
            bin.estimate_idx = estimate.next_lps;
        } else {
            bin.estimate_idx = estimate.next_mps;
        }
        decision
    }

    /// A decision at probability one half: signs and refinement bits.
    fn decode_fixed(&mut self) -> bool {
        self.decode(&mut Bin { estimate_idx: FIXED_HALF, mps: false })
    }

    /// The leading bit in unary from bin `x` on, beginning at `leading_bit`, then the bits below it (T.81 Figures F.23, F.24).
    fn decode_magnitude(&mut self, bins: &mut [Bin], x: usize, mut leading_bit: u32) -> Result<(u32, u32), BadRun> {
        let mut category_bin = x;
        while self.decode(&mut bins[category_bin]) {
            leading_bit <<= 1;
            if leading_bit == MAGNITUDE_END {
                return Err(BadRun);
            }
            category_bin += 1;
        }
        let mut magnitude = leading_bit;
        let mut bit = leading_bit >> 1;
        while bit > 0 {
            if self.decode(&mut bins[category_bin + X_TO_M]) {
                magnitude |= bit;
            }
            bit >>= 1;
        }
        Ok((leading_bit, magnitude))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test sequence of T.81 K.4.1: 256 decisions of one bin, and the bytes that they are coded as.
    const DECISIONS: [u8; 32] = [
        0x00, 0x02, 0x00, 0x51, 0x00, 0x00, 0x00, 0xC0, 0x03, 0x52, 0x87, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA, 0x82, 0xC0,
        0x20, 0x00, 0xFC, 0xD7, 0x9E, 0xF6, 0x74, 0xEA, 0xAB, 0xF7, 0x69, 0x7E, 0xE7, 0x4C,
    ];
    const CODED: [u8; 30] = [
        0x65, 0x5B, 0x51, 0x44, 0xF7, 0x96, 0x9D, 0x51, 0x78, 0x55, 0xBF, 0xFF, 0x00, 0xFC, 0x51, 0x84, 0xC7, 0xCE,
        0xF9, 0x39, 0x00, 0x28, 0x7D, 0x46, 0x70, 0x8E, 0xCB, 0xC0, 0xF6, 0xFF,
    ];

    #[test]
    fn decodes_the_test_sequence_of_the_standard() {
        let mut destuffed = CODED.to_vec();
        destuffed.remove(12);
        let mut reader = DecisionReader::new(&destuffed[..28]);
        let mut bin = Bin::default();
        for (byte_idx, &byte) in DECISIONS.iter().enumerate() {
            let decoded = (0..8).fold(0, |bits, _| bits << 1 | u8::from(reader.decode(&mut bin)));
            assert_eq!(decoded, byte, "byte {byte_idx}");
        }
    }

    #[test]
    fn conditions_follow_the_bounds() {
        assert_eq!(dc_context(0, false, (0, 1)), 4);
        assert_eq!(dc_context(2, true, (0, 1)), 16);
        assert_eq!(dc_context(1, true, (2, 3)), 0);
        assert_eq!(dc_context(4, false, (2, 3)), 4);
        assert_eq!(dc_context(8, false, (2, 3)), 12);
    }
}
