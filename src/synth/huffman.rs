//! Huffman tables for writing (T.81 Annexes C and K), good ones and deliberately odd ones, and the writer of bits.

use crate::jpeg::HuffmanTable;
use crate::jpeg::tables::*;

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

/// The table of `codes` for symbols used `counts` times. `is_ac` and `is_luma` choose among the typical tables.
pub(super) fn choose_table(codes: Codes, counts: &Counts, is_ac: bool, is_luma: bool) -> HuffmanTable {
    match codes {
        Codes::Standard => standard(is_ac, is_luma),
        Codes::Optimised => optimised(counts),
        Codes::Long => long(counts),
        Codes::FixedLength => fixed_length(counts),
    }
}

fn standard(is_ac: bool, is_luma: bool) -> HuffmanTable {
    let (bits, values): (_, &[u8]) = match (is_ac, is_luma) {
        (false, true) => (TYPICAL_DC_LUMA_BITS, &TYPICAL_DC_VALUES),
        (false, false) => (TYPICAL_DC_CHROMA_BITS, &TYPICAL_DC_VALUES),
        (true, true) => (TYPICAL_AC_LUMA_BITS, &TYPICAL_AC_LUMA_VALUES),
        (true, false) => (TYPICAL_AC_CHROMA_BITS, &TYPICAL_AC_CHROMA_VALUES),
    };
    HuffmanTable::new(bits, values)
}

/// T.81 K.2: the optimal code of at most 16 bits that leaves the code of all ones free.
fn optimised(counts: &Counts) -> HuffmanTable {
    let mut bits = [0; 16];
    limited_lengths(counts).iter().for_each(|&length| bits[length - 1] += 1);
    HuffmanTable::new(bits, &by_frequency(counts))
}

fn long(counts: &Counts) -> HuffmanTable {
    let values = by_frequency(counts);
    let num_short = values.len().saturating_sub(1).min(7);
    let mut bits = [0; 16];
    bits[..num_short].fill(1);
    bits[15] = (values.len() - num_short) as u8;
    HuffmanTable::new(bits, &values)
}

fn fixed_length(counts: &Counts) -> HuffmanTable {
    let values = by_frequency(counts);
    let length = (1..16).find(|length| values.len() < 1 << length).unwrap_or(16);
    let mut bits = [0; 16];
    bits[length - 1] = values.len() as u8;
    HuffmanTable::new(bits, &values)
}

/// Code and its length per symbol; length 0 where the symbol has none.
pub(super) type CodesBySymbol = [(u16, u8); 256];

/// The codes of a table by their symbols (T.81 C.2).
pub(super) fn codes_by_symbol(table: &HuffmanTable) -> CodesBySymbol {
    let mut codes = [(0, 0); 256];
    for code in table.codes().unwrap_or_default() {
        codes[usize::from(code.value)] = (code.code, code.length_bits);
    }
    codes
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Sum of 2^-length, in units of 2^-16.
    fn kraft(table: &HuffmanTable) -> u32 {
        table.bits.iter().zip(1..).map(|(&n, length)| u32::from(n) << (16 - length)).sum()
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
                let table = choose_table(codes, &counts, true, true);
                assert_eq!(table.num_codes(), num_symbols.max(1));
                assert!(kraft(&table) < 1 << 16, "{codes:?} of {num_symbols} symbols");
                assert!(table.codes().is_some());
            }
        }
    }

    #[test]
    fn optimised_codes_are_limited_to_16_bits() {
        // Fibonacci counts make the deepest of trees.
        let table = optimised(&fibonacci_counts(40));
        assert_eq!(kraft(&table), (1 << 16) - 1);
        assert_eq!(table.values[0], 39);
    }

    #[test]
    fn optimised_codes_are_optimal() {
        let mut counts = [0; 256];
        counts[..4].copy_from_slice(&[10, 1, 5, 2]);
        let table = optimised(&counts);
        assert_eq!(table.used_values(), [0, 2, 3, 1]);
        assert_eq!(table.bits[..4], [1, 1, 1, 1]);
    }

    #[test]
    fn canonical_codes_follow_annex_c() {
        let codes = codes_by_symbol(&standard(false, true));
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
