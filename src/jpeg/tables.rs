//! The tables that scans refer to (T.81 B.2.4), as they stand in the file: Huffman, quantisation, arithmetic conditioning.

use std::sync::Arc;

use super::order::Natural;

/// A Huffman table as DHT sends it (T.81 B.2.4.2). It is checked only when a scan uses it, as libjpeg does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HuffmanTable {
    /// BITS: `bits[i]` codes have `i + 1` bits.
    pub bits: [u8; 16],
    /// HUFFVAL: one value per code in order of code length; zero beyond [`num_codes`](Self::num_codes).
    pub values: [u8; 256],
}

/// One code of a Huffman table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HuffmanCode {
    /// The code, right-justified.
    pub code: u16,
    /// 1 to 16.
    pub length_bits: u8,
    /// The value it stands for: a category (DC) or run and category (AC).
    pub value: u8,
}

impl HuffmanTable {
    /// From BITS and at most 256 values.
    pub fn new(bits: [u8; 16], values: &[u8]) -> Self {
        let mut padded = [0; 256];
        padded[..values.len()].copy_from_slice(values);
        Self { bits, values: padded }
    }

    /// Number of codes: the sum over BITS.
    pub fn num_codes(&self) -> usize {
        self.bits.iter().map(|&n| usize::from(n)).sum()
    }

    /// The values that have codes.
    pub fn used_values(&self) -> &[u8] {
        &self.values[..self.num_codes().min(256)]
    }

    /// The codes in order (T.81 C.2, Figures C.1 and C.2); `None` if they are no prefix code or use the one of all ones, which T.81
    /// keeps free. A table without any code is legal: no pattern matches.
    pub fn codes(&self) -> Option<Vec<HuffmanCode>> {
        if self.num_codes() > 256 {
            return None;
        }
        let mut codes = Vec::with_capacity(self.num_codes());
        let mut code = 0u32;
        for (length_bits, &count) in (1..=16u8).zip(&self.bits) {
            for _ in 0..count {
                codes.push(HuffmanCode { code: code as u16, length_bits, value: self.values[codes.len()] });
                code += 1;
                if code >= 1 << length_bits {
                    return None;
                }
            }
            code <<= 1;
        }
        Some(codes)
    }
}

impl std::fmt::Debug for HuffmanTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HuffmanTable").field("bits", &self.bits).field("values", &self.used_values()).finish()
    }
}

/// A quantisation table as DQT sends it (T.81 B.2.4.1), already in natural order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantTable {
    /// Q(k), natural order.
    pub values: Natural<u16>,
    /// Pq: 8 or 16 bits per element in the file.
    pub precision_bits: u8,
}

/// Conditioning of the arithmetic decoder (T.81 B.2.4.3), with the defaults of F.1.4.4.1.4 and F.1.4.4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArithmeticConditioning {
    /// L of the DC tables. T.81 has four; libjpeg reads sixteen.
    pub dc_lower: [u8; 16],
    /// U of the DC tables.
    pub dc_upper: [u8; 16],
    /// Kx of the AC tables.
    pub ac_kx: [u8; 16],
}

impl Default for ArithmeticConditioning {
    fn default() -> Self {
        Self { dc_lower: [0; 16], dc_upper: [1; 16], ac_kx: [5; 16] }
    }
}

/// The four slots of each kind, as they stand when a scan begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// DC Huffman tables.
    pub dc: [Option<Arc<HuffmanTable>>; 4],
    /// AC Huffman tables.
    pub ac: [Option<Arc<HuffmanTable>>; 4],
    /// Quantisation tables.
    pub quant: [Option<Arc<QuantTable>>; 4],
    /// For arithmetic coding.
    pub conditioning: ArithmeticConditioning,
}

impl Tables {
    /// Fills the empty ones of the Huffman slots 0 and 1 with the typical tables of T.81 K.3: files cut out of Motion JPEG streams
    /// do not carry them, and libjpeg reads such files.
    pub fn fill_in_typical(&mut self) {
        let typical = |slot: &mut Option<Arc<HuffmanTable>>, bits, values: &[u8]| {
            slot.get_or_insert_with(|| Arc::new(HuffmanTable::new(bits, values)));
        };
        typical(&mut self.dc[0], TYPICAL_DC_LUMA_BITS, &TYPICAL_DC_VALUES);
        typical(&mut self.dc[1], TYPICAL_DC_CHROMA_BITS, &TYPICAL_DC_VALUES);
        typical(&mut self.ac[0], TYPICAL_AC_LUMA_BITS, &TYPICAL_AC_LUMA_VALUES);
        typical(&mut self.ac[1], TYPICAL_AC_CHROMA_BITS, &TYPICAL_AC_CHROMA_VALUES);
    }
}

/// T.81 Table K.3: BITS.
pub const TYPICAL_DC_LUMA_BITS: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
/// T.81 Table K.4: BITS.
pub const TYPICAL_DC_CHROMA_BITS: [u8; 16] = [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0];
/// T.81 Tables K.3 and K.4: HUFFVAL.
pub const TYPICAL_DC_VALUES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
/// T.81 Table K.5: BITS.
pub const TYPICAL_AC_LUMA_BITS: [u8; 16] = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D];
/// T.81 Table K.6: BITS.
pub const TYPICAL_AC_CHROMA_BITS: [u8; 16] = [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77];
/// T.81 Table K.5: HUFFVAL.
#[rustfmt::skip]
pub const TYPICAL_AC_LUMA_VALUES: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3,
    0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3,
    0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2,
    0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];
/// T.81 Table K.6: HUFFVAL.
#[rustfmt::skip]
pub const TYPICAL_AC_CHROMA_VALUES: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1,
    0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A,
    0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA,
    0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA,
    0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typical_tables_are_complete_but_for_the_code_of_all_ones() {
        for (bits, values) in [
            (TYPICAL_DC_LUMA_BITS, TYPICAL_DC_VALUES.as_slice()),
            (TYPICAL_DC_CHROMA_BITS, &TYPICAL_DC_VALUES),
            (TYPICAL_AC_LUMA_BITS, &TYPICAL_AC_LUMA_VALUES),
            (TYPICAL_AC_CHROMA_BITS, &TYPICAL_AC_CHROMA_VALUES),
        ] {
            let table = HuffmanTable::new(bits, values);
            assert_eq!(table.num_codes(), values.len());
            let codes = table.codes().expect("a prefix code");
            let mut sorted = values.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), values.len(), "each value has one code");
            assert!(codes.windows(2).all(|w| w[0].length_bits <= w[1].length_bits));
        }
    }

    #[test]
    fn the_code_of_all_ones_is_refused() {
        let mut bits = [0; 16];
        bits[0] = 2;
        assert_eq!(HuffmanTable::new(bits, &[0, 1]).codes(), None);
        bits[0] = 1;
        let codes = HuffmanTable::new(bits, &[9]).codes().unwrap();
        assert_eq!(codes, [HuffmanCode { code: 0, length_bits: 1, value: 9 }]);
        assert_eq!(HuffmanTable::new([0; 16], &[]).codes(), Some(vec![]));
    }
}
