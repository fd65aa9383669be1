//! Huffman tables for writing (T.81 Annexes C and K), good ones and deliberately odd ones, and the writer of bits.

/// A table as DHT carries it (T.81 B.2.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HuffmanSpec {
    /// BITS: how many codes have 1, 2 ... 16 bits.
    pub bits: [u8; 16],
    /// HUFFVAL: the symbols, in order of increasing code length.
    pub values: Vec<u8>,
}

/// How a scan's codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codes {
    /// The typical tables of T.81 Annex K.3: 8-bit samples, sequential or progressive without runs of EOB.
    Standard,
    /// The shortest for this scan (T.81 K.2).
    Optimised,
    /// One code each of 1 to 7 bits, all others of 16: what lookup tables must leave to a slower path.
    Long,
    /// All codes of one length: decoders that start at a wrong bit may never fall into step.
    FixedLength,
}

/// How often each symbol is used.
pub(super) type Counts = [u32; 256];

impl HuffmanSpec {
    /// The table of `codes` for symbols used `counts` times. `is_ac` and `is_luma` choose among the typical tables.
    pub(super) fn choose(codes: Codes, counts: &Counts, is_ac: bool, is_luma: bool) -> Self {
        match codes {
            Codes::Standard => Self::standard(is_ac, is_luma),
            Codes::Optimised => Self::optimised(counts),
            Codes::Long => Self::long(counts),
            Codes::FixedLength => Self::fixed_length(counts),
        }
    }

    /// Tables K.3 to K.6.
    pub fn standard(is_ac: bool, is_luma: bool) -> Self {
        let (bits, values): ([u8; 16], &[u8]) = match (is_ac, is_luma) {
            (false, true) => ([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &DC_VALUES),
            (false, false) => ([0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &DC_VALUES),
            (true, true) => ([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125], &AC_LUMA_VALUES),
            (true, false) => ([0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119], &AC_CHROMA_VALUES),
        };
        Self { bits, values: values.to_vec() }
    }

    /// T.81 K.2: the optimal code of at most 16 bits that leaves the code of all ones free.
    fn optimised(counts: &Counts) -> Self {
        let lengths = limited_lengths(counts);
        let mut bits = [0u8; 16];
        lengths.iter().for_each(|&length| bits[length - 1] += 1);
        Self { bits, values: by_frequency(counts) }
    }

    fn long(counts: &Counts) -> Self {
        let values = by_frequency(counts);
        let num_short = values.len().saturating_sub(1).min(7);
        let mut bits = [0u8; 16];
        bits[..num_short].fill(1);
        bits[15] = (values.len() - num_short) as u8;
        Self { bits, values }
    }

    fn fixed_length(counts: &Counts) -> Self {
        let values = by_frequency(counts);
        let length = (1..16).find(|length| values.len() < 1 << length).unwrap_or(16);
        let mut bits = [0u8; 16];
        bits[length - 1] = values.len() as u8;
        Self { bits, values }
    }

    /// Code and length per symbol (T.81 C.2); length 0 where the symbol has none.
    pub(super) fn codes(&self) -> [(u16, u8); 256] {
        let mut codes = [(0, 0); 256];
        let mut values = self.values.iter();
        let mut code = 0u32;
        for (num_codes, length) in self.bits.iter().zip(1..) {
            for &value in values.by_ref().take(usize::from(*num_codes)) {
                codes[usize::from(value)] = (code as u16, length);
                code += 1;
            }
            code <<= 1;
        }
        codes
    }
}

/// The symbols in use, most frequent first; one made-up symbol if there are none, since a table may not be empty.
fn by_frequency(counts: &Counts) -> Vec<u8> {
    let mut values: Vec<u8> = (0..=255).filter(|&value| counts[usize::from(value)] > 0).collect();
    values.sort_by_key(|&value| std::cmp::Reverse(counts[usize::from(value)]));
    if values.is_empty() {
        values.push(0);
    }
    values
}

/// Code lengths, ascending, one per symbol in use.
fn limited_lengths(counts: &Counts) -> Vec<usize> {
    // One more symbol, the rarest, takes the code of all ones and is dropped at the end.
    let mut weights: Vec<u64> = counts.iter().filter(|&&count| count > 0).map(|&count| u64::from(count) << 9).collect();
    if weights.is_empty() {
        weights.push(1 << 9);
    }
    weights.push(1);
    let mut num_of_length = count_lengths(&tree_depths(&weights));
    shorten_to_16(&mut num_of_length);
    let mut lengths: Vec<usize> =
        num_of_length.iter().enumerate().flat_map(|(length, &n)| std::iter::repeat_n(length, n)).collect();
    lengths.pop();
    lengths
}

/// The depth of each leaf of the Huffman tree over `weights`.
fn tree_depths(weights: &[u64]) -> Vec<usize> {
    use std::cmp::Reverse;
    let mut heap: std::collections::BinaryHeap<Reverse<(u64, usize)>> =
        weights.iter().enumerate().map(|(i, &weight)| Reverse((weight, i))).collect();
    let mut parents = vec![usize::MAX; weights.len()];
    while let (Some(Reverse((a, a_idx))), Some(Reverse((b, b_idx)))) = (heap.pop(), heap.pop()) {
        let parent_idx = parents.len();
        parents.push(usize::MAX);
        (parents[a_idx], parents[b_idx]) = (parent_idx, parent_idx);
        heap.push(Reverse((a + b, parent_idx)));
        if heap.len() == 1 {
            break;
        }
    }
    let mut depths = vec![0; parents.len()];
    for i in (0..parents.len() - 1).rev() {
        depths[i] = depths[parents[i]] + 1;
    }
    depths.truncate(weights.len());
    depths
}

fn count_lengths(lengths: &[usize]) -> Vec<usize> {
    let mut counts = vec![0; 17.max(lengths.iter().max().map_or(0, |longest| longest + 1))];
    lengths.iter().for_each(|&length| counts[length] += 1);
    counts
}

/// T.81 Figure K.3: moves pairs of too long codes below a shorter one.
fn shorten_to_16(num_of_length: &mut [usize]) {
    for length in (17..num_of_length.len()).rev() {
        while num_of_length[length] > 0 {
            let shorter = (1..length - 1).rev().find(|&j| num_of_length[j] > 0).unwrap_or(1);
            num_of_length[length] -= 2;
            num_of_length[length - 1] += 1;
            num_of_length[shorter + 1] += 2;
            num_of_length[shorter] -= 1;
        }
    }
}

/// Writes bits, most significant first, with a zero byte stuffed after every FF (T.81 F.1.2.3).
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    window: u64,
    num_bits: u32,
}

impl BitWriter {
    /// Appends the low `num_bits` (at most 32) of `value`.
    pub(super) fn put(&mut self, value: u32, num_bits: u32) {
        let mask = (1u64 << num_bits) - 1;
        self.window = (self.window << num_bits) | (u64::from(value) & mask);
        self.num_bits += num_bits;
        while self.num_bits >= 8 {
            self.num_bits -= 8;
            let byte = (self.window >> self.num_bits) as u8;
            self.bytes.push(byte);
            if byte == 0xFF {
                self.bytes.push(0);
            }
        }
    }

    /// Pads the last byte with ones.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.num_bits > 0 {
            self.put(0xFF, 8 - self.num_bits);
        }
        self.bytes
    }
}

const DC_VALUES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

#[rustfmt::skip]
const AC_LUMA_VALUES: [u8; 162] = [
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

#[rustfmt::skip]
const AC_CHROMA_VALUES: [u8; 162] = [
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

    /// Sum of 2^-length, in units of 2^-16.
    fn kraft(spec: &HuffmanSpec) -> u32 {
        spec.bits.iter().zip(1..).map(|(&n, length)| u32::from(n) << (16 - length)).sum()
    }

    fn fibonacci_counts(num_symbols: usize) -> Counts {
        let mut counts = [0; 256];
        let (mut a, mut b) = (1u32, 1u32);
        for count in counts.iter_mut().take(num_symbols) {
            *count = a;
            (a, b) = (b, a.saturating_add(b));
        }
        counts
    }

    #[test]
    fn every_table_is_complete_and_leaves_the_code_of_all_ones_free() {
        for num_symbols in [0, 1, 2, 3, 12, 40, 162, 255] {
            let mut counts = [0; 256];
            (0..num_symbols).for_each(|i| counts[i] = 1 + (i as u32 * 7919) % 1000);
            for codes in [Codes::Optimised, Codes::Long, Codes::FixedLength] {
                let spec = HuffmanSpec::choose(codes, &counts, true, true);
                assert_eq!(spec.values.len(), num_symbols.max(1));
                assert_eq!(spec.bits.iter().map(|&n| usize::from(n)).sum::<usize>(), spec.values.len());
                assert!(kraft(&spec) < 1 << 16, "{codes:?} of {num_symbols} symbols");
            }
        }
    }

    #[test]
    fn optimised_codes_are_limited_to_16_bits() {
        // Fibonacci counts make the deepest of trees.
        let spec = HuffmanSpec::optimised(&fibonacci_counts(40));
        assert_eq!(kraft(&spec), (1 << 16) - 1);
        assert_eq!(spec.values[0], 39);
    }

    #[test]
    fn optimised_codes_are_optimal() {
        let mut counts = [0; 256];
        counts[..4].copy_from_slice(&[10, 1, 5, 2]);
        let spec = HuffmanSpec::optimised(&counts);
        assert_eq!(spec.values, [0, 2, 3, 1]);
        assert_eq!(spec.bits[..4], [1, 1, 1, 1]);
    }

    #[test]
    fn canonical_codes_follow_annex_c() {
        let codes = HuffmanSpec::standard(false, true).codes();
        assert_eq!(codes[0], (0b00, 2));
        assert_eq!(codes[1], (0b010, 3));
        assert_eq!(codes[11], (0b1_1111_1110, 9));
    }

    #[test]
    fn bits_are_stuffed_and_padded_with_ones() {
        let mut writer = BitWriter::default();
        writer.put(0xFF, 8);
        writer.put(0, 3);
        assert_eq!(writer.finish(), [0xFF, 0, 0x1F]);
    }
}
