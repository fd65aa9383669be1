//! Arithmetic coding (T.81 Annex D, F.1.4, G.1.3), for writing.

use super::scan::{Scan, divide_towards_zero, zigzag_block};
use super::symbols::table_destination;
use crate::jpeg::{ArithmeticConditioning, Coefficients, ESTIMATES, FIXED_HALF};

/// The entropy-coded segments of a scan.
pub(super) fn scan_segments(image: &Coefficients, scan: &Scan, conditioning: &ArithmeticConditioning) -> Vec<Vec<u8>> {
    let interval_mcus = usize::from(scan.restart_interval_mcus(&image.frame));
    let mut model = Model::new(scan, conditioning);
    let mut segments = Vec::new();
    scan.for_each_mcu(&image.frame, |mcu_idx, blocks| {
        if interval_mcus != 0 && mcu_idx != 0 && mcu_idx % interval_mcus == 0 {
            segments.push(std::mem::replace(&mut model, Model::new(scan, conditioning)).coder.finish());
        }
        for &block in blocks {
            let component_idx = scan.components[block.member];
            let dest = usize::from(table_destination(image, component_idx));
            model.code_block(block.member, dest, &zigzag_block(image, component_idx, block));
        }
    });
    segments.push(model.coder.finish());
    segments
}

/// A statistics bin: index into [`ESTIMATES`] and the more probable symbol.
#[derive(Clone, Copy, Default)]
struct Bin {
    estimate_idx: u8,
    mps: bool,
}

/// Bins of one DC table: five conditions of four bins, then X1.. and M2.. (T.81 Table F.4).
const NUM_DC_BINS: usize = 49;
const DC_X1: usize = 20;
/// Bins of one AC table: three for each k, then X2.. and M2.. below and above Kx (T.81 Table F.5).
const NUM_AC_BINS: usize = 245;
const AC_X2_LOW: usize = 189;
const AC_X2_HIGH: usize = 217;
/// From a magnitude category's bin to the bin of its bits.
const X_TO_M: usize = 14;

/// Which bins code what.
struct Model<'a> {
    scan: &'a Scan,
    conditioning: &'a ArithmeticConditioning,
    coder: Coder,
    dc_bins: [[Bin; NUM_DC_BINS]; 4],
    ac_bins: [[Bin; NUM_AC_BINS]; 4],
    /// PRED per component of the scan.
    predictions: [i32; 4],
    /// First bin of the condition, per component of the scan: 0, 4, 8, 12 or 16.
    dc_contexts: [usize; 4],
}

impl<'a> Model<'a> {
    fn new(scan: &'a Scan, conditioning: &'a ArithmeticConditioning) -> Self {
        Self {
            scan,
            conditioning,
            coder: Coder::new(),
            dc_bins: [[Bin::default(); NUM_DC_BINS]; 4],
            ac_bins: [[Bin::default(); NUM_AC_BINS]; 4],
            predictions: [0; 4],
            dc_contexts: [0; 4],
        }
    }

    fn code_block(&mut self, member: usize, dest: usize, zz: &[i32; 64]) {
        match (self.scan.ss, self.scan.ah) {
            (0, 0) => self.dc_first(member, dest, zz[0]),
            (0, _) => self.coder.code_fixed((zz[0] >> self.scan.al) & 1 == 1),
            (_, 0) => self.ac_band(dest, zz, self.scan.ss),
            (_, _) => self.ac_refine(dest, zz),
        }
        if self.scan.ss == 0 && self.scan.se > 0 {
            self.ac_band(dest, zz, 1);
        }
    }

    /// T.81 F.1.4.1.
    fn dc_first(&mut self, member: usize, dest: usize, dc: i32) {
        let dc = dc >> self.scan.al;
        let diff = dc - self.predictions[member];
        self.predictions[member] = dc;
        let context = self.dc_contexts[member];
        let bins = &mut self.dc_bins[dest];
        self.coder.code(&mut bins[context], diff != 0);
        if diff == 0 {
            self.dc_contexts[member] = 0;
            return;
        }
        self.coder.code(&mut bins[context + 1], diff < 0);
        let magnitude = diff.unsigned_abs() - 1;
        let sign_bin = context + if diff < 0 { 3 } else { 2 };
        self.coder.code(&mut bins[sign_bin], magnitude > 0);
        if magnitude > 0 {
            self.coder.code_magnitude(bins, DC_X1, magnitude, magnitude.ilog2());
        }
        self.dc_contexts[member] =
            dc_context(diff, (self.conditioning.dc_lower[dest], self.conditioning.dc_upper[dest]));
    }

    /// T.81 F.1.4.2.
    fn ac_band(&mut self, dest: usize, zz: &[i32; 64], ss: u8) {
        let (ss, se) = (usize::from(ss), usize::from(self.scan.se));
        let values = zz.map(|c| divide_towards_zero(c, self.scan.al));
        let eob = (ss..=se).rev().find(|&k| values[k] != 0).map_or(ss, |last| last + 1);
        let mut after_zero = false;
        for (k, &value) in values.iter().enumerate().take(eob).skip(ss) {
            let bins = &mut self.ac_bins[dest];
            let bin = 3 * (k - 1);
            if !after_zero {
                self.coder.code(&mut bins[bin], false);
            }
            after_zero = value == 0;
            self.coder.code(&mut bins[bin + 1], !after_zero);
            if !after_zero {
                self.ac_value(dest, k, value);
            }
        }
        if eob <= se {
            self.coder.code(&mut self.ac_bins[dest][3 * (eob - 1)], true);
        }
    }

    /// Sign and magnitude of a non-zero coefficient; the first two magnitude decisions share a bin.
    fn ac_value(&mut self, dest: usize, k: usize, value: i32) {
        let bins = &mut self.ac_bins[dest];
        let shared_bin = 3 * (k - 1) + 2;
        self.coder.code_fixed(value < 0);
        let magnitude = value.unsigned_abs() - 1;
        self.coder.code(&mut bins[shared_bin], magnitude > 0);
        match magnitude {
            0 => {}
            1 => self.coder.code(&mut bins[shared_bin], false),
            _ => {
                self.coder.code(&mut bins[shared_bin], true);
                let is_low = k <= usize::from(self.conditioning.ac_kx[dest]);
                let x2 = if is_low { AC_X2_LOW } else { AC_X2_HIGH };
                self.coder.code_magnitude(bins, x2, magnitude, magnitude.ilog2() - 1);
            }
        }
    }

    /// T.81 G.1.3.3.
    fn ac_refine(&mut self, dest: usize, zz: &[i32; 64]) {
        let (ss, se) = (usize::from(self.scan.ss), usize::from(self.scan.se));
        let magnitudes = zz.map(|c| c.unsigned_abs() >> self.scan.al);
        let eob = (ss..=se).rev().find(|&k| magnitudes[k] != 0).map_or(ss, |last| last + 1);
        let previous_eob = (ss..=se).rev().find(|&k| magnitudes[k] > 1).map_or(ss, |last| last + 1);
        let mut after_zero = false;
        for k in ss..eob {
            let bins = &mut self.ac_bins[dest];
            let bin = 3 * (k - 1);
            if !after_zero && k >= previous_eob {
                self.coder.code(&mut bins[bin], false);
            }
            after_zero = magnitudes[k] == 0;
            match magnitudes[k] {
                0 => self.coder.code(&mut bins[bin + 1], false),
                1 => {
                    self.coder.code(&mut bins[bin + 1], true);
                    self.coder.code_fixed(zz[k] < 0);
                }
                magnitude => self.coder.code(&mut bins[bin + 2], magnitude & 1 == 1),
            }
        }
        if eob <= se {
            self.coder.code(&mut self.ac_bins[dest][3 * (eob - 1)], true);
        }
    }
}

/// The condition that a difference sets for the next one (T.81 F.1.4.4.1.2), as the index of its first bin.
fn dc_context(diff: i32, (lower, upper): (u8, u8)) -> usize {
    // The bounds are compared with the leading bit of |DIFF| - 1.
    let leading_bit = (diff.unsigned_abs() - 1).checked_ilog2().map_or(0, |bit| 1u32 << bit);
    if leading_bit < (1 << lower) >> 1 {
        return 0;
    }
    let is_large = leading_bit > (1 << upper) >> 1;
    (if diff > 0 { 4 } else { 8 }) + if is_large { 8 } else { 0 }
}

/// The encoder of binary decisions (T.81 D.1).
struct Coder {
    bytes: Vec<u8>,
    /// Bytes FF held back until it is known whether a carry goes through them.
    num_stacked: usize,
    /// The byte that a carry can still reach; `None` before the first.
    pending: Option<u8>,
    c: u32,
    a: u32,
    /// Shifts until the next byte is complete.
    ct: u32,
}

impl Coder {
    /// T.81 D.1.7.
    fn new() -> Self {
        Self { bytes: Vec::new(), num_stacked: 0, pending: None, c: 0, a: 0x1_0000, ct: 11 }
    }

    /// Codes one decision and adapts its bin (T.81 D.1.4, D.1.5).
    fn code(&mut self, bin: &mut Bin, bit: bool) {
        let estimate = ESTIMATES[usize::from(bin.estimate_idx)];
        let qe = u32::from(estimate.qe);
        self.a -= qe;
        let is_lps = bit != bin.mps;
        if !is_lps && self.a >= 0x8000 {
            return;
        }
        // The lower sub-interval is the larger of the two for the more probable symbol, after conditional exchange.
        if is_lps == (self.a >= qe) {
            self.c += self.a;
            self.a = qe;
        }
        if is_lps {
            bin.mps ^= estimate.switch_mps;
            bin.estimate_idx = estimate.next_lps;
        } else {
            bin.estimate_idx = estimate.next_mps;
        }
        self.renormalise();
    }

    /// Codes one decision at probability one half (T.81 F.1.4.4.2, G.1.3.2).
    fn code_fixed(&mut self, bit: bool) {
        self.code(&mut Bin { estimate_idx: FIXED_HALF, mps: false }, bit);
    }

    /// Leading-bit position above the first decisions in unary from bin `x`, then the bits below it (T.81 Figures F.8, F.9).
    fn code_magnitude(&mut self, bins: &mut [Bin], x: usize, magnitude: u32, num_steps: u32) {
        let category_bin = x + num_steps as usize;
        bins[x..category_bin].iter_mut().for_each(|bin| self.code(bin, true));
        self.code(&mut bins[category_bin], false);
        for bit in (0..magnitude.ilog2()).rev() {
            self.code(&mut bins[category_bin + X_TO_M], (magnitude >> bit) & 1 == 1);
        }
    }

    /// T.81 Figure D.7.
    fn renormalise(&mut self) {
        while self.a < 0x8000 {
            self.a <<= 1;
            self.c <<= 1;
            self.ct -= 1;
            if self.ct == 0 {
                self.byte_out();
                self.ct = 8;
            }
        }
    }

    /// T.81 Figure D.8.
    fn byte_out(&mut self) {
        let byte = self.c >> 19;
        self.c &= 0x7_FFFF;
        if byte == 0xFF {
            self.num_stacked += 1;
            return;
        }
        let carry = byte > 0xFF;
        if let Some(pending) = self.pending {
            self.push(pending + u8::from(carry));
        }
        for _ in 0..std::mem::take(&mut self.num_stacked) {
            self.push(if carry { 0x00 } else { 0xFF });
        }
        self.pending = Some(byte as u8);
    }

    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
        if byte == 0xFF {
            self.bytes.push(0);
        }
    }

    /// T.81 D.1.8: the shortest ending inside the final interval; trailing zero bytes are not written.
    fn finish(mut self) -> Vec<u8> {
        let end = self.c + self.a - 1;
        let rounded = end & 0xFFFF_0000;
        self.c = if rounded < self.c { rounded + 0x8000 } else { rounded };
        self.c <<= self.ct;
        self.byte_out();
        self.c <<= 8;
        self.byte_out();
        if let Some(pending) = self.pending.take() {
            self.push(pending);
        }
        for _ in 0..std::mem::take(&mut self.num_stacked) {
            self.push(0xFF);
        }
        while self.bytes.last() == Some(&0) && self.bytes.iter().rev().nth(1) != Some(&0xFF) {
            self.bytes.pop();
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_the_test_sequence_of_the_standard() {
        // T.81 K.4.1: 256 decisions of one bin.
        let decisions = [
            0x00u8, 0x02, 0x00, 0x51, 0x00, 0x00, 0x00, 0xC0, 0x03, 0x52, 0x87, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA, 0x82,
            0xC0, 0x20, 0x00, 0xFC, 0xD7, 0x9E, 0xF6, 0x74, 0xEA, 0xAB, 0xF7, 0x69, 0x7E, 0xE7, 0x4C,
        ];
        let mut coder = Coder::new();
        let mut bin = Bin::default();
        for bit_idx in 0..256 {
            coder.code(&mut bin, decisions[bit_idx / 8] & (0x80 >> (bit_idx % 8)) != 0);
        }
        let expected = [
            0x65, 0x5B, 0x51, 0x44, 0xF7, 0x96, 0x9D, 0x51, 0x78, 0x55, 0xBF, 0xFF, 0x00, 0xFC, 0x51, 0x84, 0xC7, 0xCE,
            0xF9, 0x39, 0x00, 0x28, 0x7D, 0x46, 0x70, 0x8E, 0xCB, 0xC0, 0xF6,
        ];
        assert_eq!(coder.finish()[..expected.len()], expected);
    }
}
