//! Huffman tables made ready for decoding: one look at the next [`LOOKUP_BITS`] bits gives a symbol, or two coefficients at once; longer
//! codes take the canonical way (T.81 F.2.2.3, Figure F.16).

use std::sync::{Arc, OnceLock};

use super::bits::{BitReader, extend};
use crate::jpeg::{HuffmanCode, HuffmanTable};

/// Bits that one look sees. More would find more pairs, but take longer to fill in and leave less of the fast cache.
pub const LOOKUP_BITS: u32 = 11;

/// Patterns of [`LOOKUP_BITS`].
const NUM_PATTERNS: usize = 1 << LOOKUP_BITS;

/// Bits that a pattern which is no code takes: libjpeg gives up on the seventeenth.
pub const BAD_CODE_BITS: u32 = 17;

/// A symbol (RRRRSSSS, or the category of DIFF) and the bits that it takes with its value: 8 bits each. Zero bits: the code is
/// longer than what was looked at, or there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(u16);

impl Entry {
    const LONG: Entry = Entry(0);

    /// What a pattern that is no code counts as in sequential scans.
    pub const BAD: Entry = Entry(BAD_CODE_BITS as u16);

    fn new(code: HuffmanCode) -> Self {
        let value_bits = code.value & 15;
        Self(u16::from(code.length_bits + value_bits) | u16::from(code.value) << 8)
    }

    /// Whether the code is longer than what was looked at, or none.
    #[inline(always)]
    pub fn is_long(self) -> bool {
        self == Self::LONG
    }

    /// Bits of the code and of the SSSS bits after it.
    #[inline(always)]
    pub fn total_bits(self) -> u32 {
        u32::from(self.0 & 0xFF)
    }

    /// RRRRSSSS, or the category of DIFF.
    #[inline(always)]
    pub fn symbol(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Bits of the code.
    #[inline(always)]
    pub fn code_bits(self) -> u32 {
        self.total_bits() - self.value_bits()
    }

    /// SSSS: bits of the value.
    #[inline(always)]
    pub fn value_bits(self) -> u32 {
        u32::from(self.0 >> 8 & 15)
    }

    /// RRRR.
    #[inline(always)]
    pub fn run(self) -> usize {
        usize::from(self.0 >> 12)
    }
}

/// What one look gives of a sequential scan's AC codes: one or two coefficients, EOB or ZRL or both, as far as codes and values fit in
/// [`LOOKUP_BITS`] together. Two coefficients are written in any case: the same one twice if there is only one, for ZRL the last of its
/// zeros, and for EOB a zero in the next place, which is zero.
///
/// Bits 0-7: how many bits to consume; 8-15 and 16-23: zeros to pass from k to the first and to the second coefficient; 24-31: how far k
/// moves in all; 32-47 and 48-63: the values. Where not even one symbol fits, the first coefficient lies beyond the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(u64);

/// A [`Pair`] for each pattern of [`LOOKUP_BITS`].
pub type PairTable = [Pair; NUM_PATTERNS];

impl Pair {
    const NONE: Pair = Pair(64 << 8);

    /// How far EOB moves k: out of any block.
    const END_OF_BLOCK: u64 = 64;

    /// One symbol and its value.
    fn one(total_bits: u32, symbol: u8, value: i32) -> Self {
        let (zeros, advance) = match (symbol >> 4, symbol & 15) {
            (15, 0) => (15, 16),
            (_, 0) => (0, Self::END_OF_BLOCK),
            (run, _) => (u64::from(run), u64::from(run) + 1),
        };
        let value = u64::from(value as u16);
        Self(u64::from(total_bits) | zeros << 8 | zeros << 16 | advance << 24 | value << 32 | value << 48)
    }

    /// Two symbols, one after the other.
    fn two(first: Pair, second: Pair) -> Self {
        const OF_FIRST: u64 = 0x0000_FFFF_0000_FF00;
        const OF_SECOND: u64 = 0xFFFF_0000_FFFF_00FF;
        let advance = first.advance() as u64;
        Self(
            (first.0 & OF_FIRST)
                + (second.0 & OF_SECOND)
                + u64::from(first.consumed_bits())
                + (advance << 16)
                + (advance << 24),
        )
    }

    /// How many bits to consume.
    #[inline(always)]
    pub fn consumed_bits(self) -> u32 {
        u32::from(self.0 as u8)
    }

    /// The place of the first coefficient if the next one is ZZ(k), and its value.
    #[inline(always)]
    pub fn first(self, k: usize) -> (usize, i16) {
        (k + usize::from((self.0 >> 8) as u8), (self.0 >> 32) as i16)
    }

    /// The place of the second coefficient, and its value.
    #[inline(always)]
    pub fn second(self, k: usize) -> (usize, i16) {
        (k + usize::from((self.0 >> 16) as u8), (self.0 >> 48) as i16)
    }

    /// How far k moves.
    #[inline(always)]
    pub fn advance(self) -> usize {
        usize::from((self.0 >> 24) as u8)
    }
}

/// A Huffman table made ready for decoding.
pub struct Lookup {
    /// What it was made of.
    table: Arc<HuffmanTable>,
    codes: Vec<HuffmanCode>,
    entries: Box<[Entry; NUM_PATTERNS]>,
    /// Made when first asked for.
    pairs: OnceLock<Arc<PairTable>>,
    /// Per code length: one more than the largest code, left-justified in 16 bits; 0 where there is none.
    code_end: [u32; 17],
    /// Per code length: index of a code's value, less the code.
    value_offset: [i32; 17],
}

impl Lookup {
    /// `None` if the codes are no prefix code ([`HuffmanTable::codes`]).
    pub fn new(table: &Arc<HuffmanTable>) -> Option<Self> {
        let codes = table.codes()?;
        let mut entries = Box::new([Entry::LONG; NUM_PATTERNS]);
        let mut code_end = [0; 17];
        let mut value_offset = [0; 17];
        for (value_idx, &code) in codes.iter().enumerate() {
            let code_bits = usize::from(code.length_bits);
            code_end[code_bits] = (u32::from(code.code) + 1) << (16 - code_bits);
            value_offset[code_bits] = value_idx as i32 - i32::from(code.code);
            if let Some(patterns) = patterns_of(code) {
                entries[patterns].fill(Entry::new(code));
            }
        }
        Some(Self { table: Arc::clone(table), codes, entries, pairs: OnceLock::new(), code_end, value_offset })
    }

    /// Whether it was made of this table.
    pub fn is_of(&self, table: &Arc<HuffmanTable>) -> bool {
        Arc::ptr_eq(&self.table, table) || self.table == *table
    }

    /// Whether all symbols are categories of DIFF that libjpeg accepts: at most 15.
    pub fn is_valid_for_dc(&self) -> bool {
        self.codes.iter().all(|code| code.value <= 15)
    }

    /// Looks at the next bits; the reader must have been refilled.
    #[inline(always)]
    pub fn look(&self, reader: &BitReader) -> Entry {
        self.entries[reader.peek(LOOKUP_BITS) as usize]
    }

    /// The table of a sequential scan's AC codes.
    pub fn pairs(&self) -> &Arc<PairTable> {
        self.pairs.get_or_init(|| Arc::new(pair_table(&self.codes)))
    }

    /// A code longer than [`LOOKUP_BITS`] at the beginning of 16 bits. `None`: no code matches.
    #[cold]
    pub fn find_long(&self, pattern: u32) -> Option<Entry> {
        let length_bits = (LOOKUP_BITS + 1..=16).find(|&length_bits| pattern < self.code_end[length_bits as usize])?;
        let code = (pattern >> (16 - length_bits)) as i32;
        let value_idx = code + self.value_offset[length_bits as usize];
        let value = self.table.values[value_idx as usize & 255];
        Some(Entry::new(HuffmanCode { code: code as u16, length_bits: length_bits as u8, value }))
    }
}

/// The patterns that begin with a code, if it is short enough.
fn patterns_of(code: HuffmanCode) -> Option<std::ops::Range<usize>> {
    let free_bits = LOOKUP_BITS.checked_sub(u32::from(code.length_bits))?;
    let first = usize::from(code.code) << free_bits;
    Some(first..first + (1 << free_bits))
}

fn pair_table(codes: &[HuffmanCode]) -> PairTable {
    let singles = single_table(codes);
    std::array::from_fn(|pattern| {
        let first = singles[pattern];
        let first_bits = first.consumed_bits();
        let second = singles[pattern << first_bits & (NUM_PATTERNS - 1)];
        let fits = second != Pair::NONE && first_bits + second.consumed_bits() <= LOOKUP_BITS;
        let goes_on = first != Pair::NONE && first.advance() < Pair::END_OF_BLOCK as usize;
        if fits && goes_on { Pair::two(first, second) } else { first }
    })
}

fn single_table(codes: &[HuffmanCode]) -> PairTable {
    let mut singles = [Pair::NONE; NUM_PATTERNS];
    for &code in codes {
        let value_bits = u32::from(code.value & 15);
        let total_bits = u32::from(code.length_bits) + value_bits;
        let (Some(rest_bits), Some(patterns)) = (LOOKUP_BITS.checked_sub(total_bits), patterns_of(code)) else {
            continue;
        };
        for (bits, same_value) in (0..).zip(singles[patterns].chunks_exact_mut(1 << rest_bits)) {
            let value = if value_bits == 0 { 0 } else { extend(bits, value_bits) };
            same_value.fill(Pair::one(total_bits, code.value, value));
        }
    }
    singles
}

/// The tables of the last images, for most encoders use the same ones again and again.
#[derive(Default)]
pub struct LookupCache {
    /// Latest first.
    lookups: Vec<Arc<Lookup>>,
}

impl LookupCache {
    const CAPACITY: usize = 8;

    /// The table made ready, new or from an earlier scan; `None` if its codes are no prefix code.
    pub fn get(&mut self, table: &Arc<HuffmanTable>) -> Option<Arc<Lookup>> {
        let found = self.lookups.iter().position(|lookup| lookup.is_of(table));
        let lookup = match found {
            Some(idx) => self.lookups.remove(idx),
            None => Arc::new(Lookup::new(table)?),
        };
        self.lookups.truncate(Self::CAPACITY - 1);
        self.lookups.insert(0, Arc::clone(&lookup));
        Some(lookup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::tables;

    fn ac_luma() -> Arc<HuffmanTable> {
        Arc::new(HuffmanTable::new(tables::TYPICAL_AC_LUMA_BITS, &tables::TYPICAL_AC_LUMA_VALUES))
    }

    /// All codes of the table, each followed by ones.
    #[test]
    fn every_code_gives_its_symbol() {
        let table = ac_luma();
        let lookup = Lookup::new(&table).unwrap();
        for code in table.codes().unwrap() {
            let length_bits = u32::from(code.length_bits);
            let pattern = (u64::from(code.code) << (64 - length_bits)) | (u64::MAX >> length_bits);
            let data = pattern.to_be_bytes();
            let mut reader = BitReader::new(&data, 0);
            reader.refill();
            let entry = lookup.look(&reader);
            if length_bits <= LOOKUP_BITS {
                assert_eq!((entry.code_bits(), entry.symbol()), (length_bits, code.value));
                assert_eq!(entry.total_bits(), length_bits + u32::from(code.value & 15));
            } else {
                assert!(entry.is_long());
                assert_eq!(lookup.find_long((pattern >> 48) as u32), Some(Entry::new(code)));
            }
        }
    }

    #[test]
    fn what_is_no_code_is_not_found() {
        for table in [ac_luma(), Arc::new(HuffmanTable::new([0; 16], &[]))] {
            assert_eq!(Lookup::new(&table).unwrap().find_long(0xFFFF), None);
        }
    }

    /// A pair is what two single looks give.
    #[test]
    fn pairs_agree_with_single_symbols() {
        let lookup = Lookup::new(&ac_luma()).unwrap();
        let single = |pattern: usize| {
            let entry = lookup.entries[pattern];
            let (bits, category) = (entry.total_bits(), u32::from(entry.symbol() & 15));
            (!entry.is_long() && bits <= LOOKUP_BITS).then(|| {
                let value = (pattern >> (LOOKUP_BITS - bits)) as u64 & ((1 << category) - 1);
                (bits, entry.symbol(), if category == 0 { 0 } else { extend(value, category) as i16 })
            })
        };
        let step = |symbol: u8| match (symbol >> 4, symbol & 15) {
            (15, 0) => (15, 16),
            (_, 0) => (0, 64),
            (run, _) => (usize::from(run), usize::from(run) + 1),
        };
        let mut num_pairs = 0;
        for (pattern, pair) in lookup.pairs().iter().enumerate() {
            let Some((bits, symbol, value)) = single(pattern) else {
                assert!(pair.first(1).0 > 63);
                continue;
            };
            let (zeros, advance) = step(symbol);
            assert_eq!(pair.first(1), (1 + zeros, value));
            let next = single(pattern << bits & (NUM_PATTERNS - 1))
                .filter(|next| bits + next.0 <= LOOKUP_BITS && advance < 64);
            let Some((next_bits, next_symbol, next_value)) = next else {
                assert_eq!((pair.second(1), pair.consumed_bits(), pair.advance()), (pair.first(1), bits, advance));
                continue;
            };
            let (next_zeros, next_advance) = step(next_symbol);
            assert_eq!(pair.second(1), (1 + advance + next_zeros, next_value));
            assert_eq!((pair.consumed_bits(), pair.advance()), (bits + next_bits, advance + next_advance));
            num_pairs += 1;
        }
        assert!(num_pairs > NUM_PATTERNS / 2);
    }

    #[test]
    fn the_cache_gives_equal_tables_once() {
        let mut cache = LookupCache::default();
        let table =
            |first: u8| Arc::new(HuffmanTable::new([0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[first, 1]));
        let first = cache.get(&table(0)).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.get(&table(0)).unwrap()));
        for other in 2..20 {
            cache.get(&table(other)).unwrap();
        }
        assert!(!Arc::ptr_eq(&first, &cache.get(&table(0)).unwrap()));
        assert!(cache.lookups.len() <= LookupCache::CAPACITY);
    }
}
