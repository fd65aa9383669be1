//! Huffman tables made ready for decoding: one look at the next [`LOOKUP_BITS`] bits gives the symbol, and its value if code and value
//! fit together; longer codes take the canonical way (T.81 F.2.2.3, Figure F.16).

use std::sync::{Arc, OnceLock};

use super::bits::{BitReader, extend};
use crate::jpeg::HuffmanTable;

/// Bits that one look sees. Nearly all codes, and codes with their values, are shorter (see `decode_long`).
pub const LOOKUP_BITS: u32 = 11;

/// Bits that a pattern which is no code takes: libjpeg gives up on the seventeenth.
pub const BAD_CODE_BITS: u32 = 17;

/// What one look gives, packed so that the hot loop needs few operations:
/// bits 0-3 how many bits to consume, 4-7 how many of them are the code, 8-15 the symbol, 16-31 the value (EXTENDed).
///
/// A value of zero marks what is not yet complete: a symbol without a value (EOB, ZRL, DIFF of zero), a symbol whose value does not
/// fit (only the code is to be consumed), or, with zero bits to consume, a longer code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(u32);

impl Entry {
    const LONG: Entry = Entry(0);

    fn new(code_bits: u32, symbol: u8, value: Option<i32>) -> Self {
        let consumed_bits = code_bits + if value.is_some() { u32::from(symbol & 15) } else { 0 };
        Self(consumed_bits | code_bits << 4 | u32::from(symbol) << 8 | (value.unwrap_or(0) as u32) << 16)
    }

    /// How many bits to consume.
    #[inline(always)]
    pub fn consumed_bits(self) -> u32 {
        self.0 & 15
    }

    /// How many of them are the code.
    #[inline(always)]
    pub fn code_bits(self) -> u32 {
        self.0 >> 4 & 15
    }

    /// RRRRSSSS, or the category of DIFF.
    #[inline(always)]
    pub fn symbol(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// RRRR: the zeros before the coefficient.
    #[inline(always)]
    pub fn run(self) -> usize {
        (self.0 >> 12 & 15) as usize
    }

    /// The value, or zero.
    #[inline(always)]
    pub fn value(self) -> i16 {
        (self.0 >> 16) as i16
    }

    /// If this is all of an AC symbol of a sequential scan: its bits, the zeros before its coefficient, and how far it moves k.
    fn whole_symbol(self) -> Option<(u32, usize, u64)> {
        match (self, self.symbol() & 15, self.run()) {
            (Self::LONG, ..) => None,
            (_, 0, 15) => Some((self.code_bits(), 0, 16)),
            (_, 0, _) => Some((self.code_bits(), 0, Pair::END_OF_BLOCK)),
            _ if self.value() == 0 => None,
            (_, _, run) => Some((self.consumed_bits(), run, run as u64 + 1)),
        }
    }
}

/// What one look gives of a sequential scan's AC codes: up to two coefficients, or one and EOB, of codes and values that fit together
/// in [`LOOKUP_BITS`]. Both coefficients are always written: where there is only one, it is written twice, and where there is none (EOB,
/// ZRL), a zero is written to a place that is zero.
///
/// Bits 0-7: how many bits to consume; 8-15 and 16-23: zeros to pass from k to the first and to the second coefficient; 24-31: how far k
/// moves in all; 32-47 and 48-63: the values. Zero: none of this fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(u64);

impl Pair {
    const NONE: Pair = Pair(0);

    /// How far EOB moves k: out of any block.
    const END_OF_BLOCK: u64 = 64;

    fn new(consumed_bits: u32, first: (usize, i16), second: (usize, i16), advance: u64) -> Self {
        let value = |value: i16| u64::from(value as u16);
        Self(
            u64::from(consumed_bits)
                | (first.0 as u64) << 8
                | (second.0 as u64) << 16
                | advance << 24
                | value(first.1) << 32
                | value(second.1) << 48,
        )
    }

    /// From the entries of one pattern and of what follows the first symbol in it, of which `left_bits` are known.
    fn of(first: Entry, second: Entry, left_bits: u32) -> Self {
        let Some((first_bits, first_run, first_advance)) = first.whole_symbol() else { return Self::NONE };
        let one = (first_run, first.value());
        match second.whole_symbol() {
            Some((second_bits, second_run, second_advance))
                if second_bits <= left_bits && first_advance < Self::END_OF_BLOCK =>
            {
                let two = match second.value() {
                    0 => one,
                    value => (first_advance as usize + second_run, value),
                };
                Self::new(first_bits + second_bits, one, two, first_advance + second_advance)
            }
            _ => Self::new(first_bits, one, one, first_advance),
        }
    }

    /// Whether nothing fits.
    #[inline(always)]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// How many bits to consume.
    #[inline(always)]
    pub fn consumed_bits(self) -> u32 {
        u32::from(self.0 as u8)
    }

    /// Where the first coefficient lies after k, and its value.
    #[inline(always)]
    pub fn first(self) -> (usize, i16) {
        (usize::from((self.0 >> 8) as u8), (self.0 >> 32) as i16)
    }

    /// Where the second coefficient lies after k, and its value.
    #[inline(always)]
    pub fn second(self) -> (usize, i16) {
        (usize::from((self.0 >> 16) as u8), (self.0 >> 48) as i16)
    }

    /// How far k moves.
    #[inline(always)]
    pub fn advance(self) -> usize {
        usize::from((self.0 >> 24) as u8)
    }
}

/// A symbol, and whether it was made up because no code matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// RRRRSSSS, or the category of DIFF; 0 where no code matches.
    pub value: u8,
    /// No code of the table matches.
    pub is_bad: bool,
}

/// A Huffman table made ready for decoding.
pub struct Lookup {
    /// What it was made of.
    table: Arc<HuffmanTable>,
    entries: Box<[Entry; 1 << LOOKUP_BITS]>,
    /// Made when first asked for.
    pairs: OnceLock<Box<[Pair; 1 << LOOKUP_BITS]>>,
    /// Per code length: one more than the largest code, left-justified in 16 bits; 0 where there is none.
    code_end: [u32; 17],
    /// Per code length: index of a code's value, less the code.
    value_offset: [i32; 17],
}

impl Lookup {
    /// `None` if the codes are no prefix code ([`HuffmanTable::codes`]).
    pub fn new(table: &Arc<HuffmanTable>) -> Option<Self> {
        let codes = table.codes()?;
        let mut entries = Box::new([Entry::LONG; 1 << LOOKUP_BITS]);
        let mut code_end = [0; 17];
        let mut value_offset = [0; 17];
        for (value_idx, code) in codes.iter().enumerate() {
            let code_bits = u32::from(code.length_bits);
            code_end[code_bits as usize] = (u32::from(code.code) + 1) << (16 - code_bits);
            value_offset[code_bits as usize] = value_idx as i32 - i32::from(code.code);
            let Some(free_bits) = LOOKUP_BITS.checked_sub(code_bits) else { continue };
            let first = usize::from(code.code) << free_bits;
            let patterns = &mut entries[first..first + (1 << free_bits)];
            fill_in(patterns, code_bits, code.value, free_bits);
        }
        Some(Self { table: Arc::clone(table), entries, pairs: OnceLock::new(), code_end, value_offset })
    }

    /// Whether it was made of this table.
    pub fn is_of(&self, table: &Arc<HuffmanTable>) -> bool {
        Arc::ptr_eq(&self.table, table) || self.table == *table
    }

    /// Whether all symbols are categories of DIFF that libjpeg accepts: at most 15.
    pub fn is_valid_for_dc(&self) -> bool {
        self.table.used_values().iter().all(|&category| category <= 15)
    }

    /// Looks at the next bits; the reader must have been refilled.
    #[inline(always)]
    pub fn look(&self, reader: &BitReader) -> Entry {
        self.entries[reader.peek(LOOKUP_BITS) as usize]
    }

    /// The table of a sequential scan's AC codes, by the next [`LOOKUP_BITS`] bits.
    pub fn pairs(&self) -> &[Pair; 1 << LOOKUP_BITS] {
        self.pairs.get_or_init(|| {
            let mut pairs = Box::new([Pair::NONE; 1 << LOOKUP_BITS]);
            for (pattern, pair) in pairs.iter_mut().enumerate() {
                let first = self.entries[pattern];
                let first_bits = first.consumed_bits();
                let second = self.entries[pattern << first_bits & ((1 << LOOKUP_BITS) - 1)];
                *pair = Pair::of(first, second, LOOKUP_BITS - first_bits);
            }
            pairs
        })
    }

    /// DECODE (T.81 F.2.2.3): consumes one code, nothing of its value; the reader must hold 17 bits.
    #[inline(always)]
    pub fn decode(&self, reader: &mut BitReader) -> Symbol {
        let entry = self.look(reader);
        if entry == Entry::LONG {
            let (symbol, code_bits) = self.decode_long(reader.peek(16) as u32);
            reader.consume(code_bits);
            return symbol;
        }
        reader.consume(entry.code_bits());
        Symbol { value: entry.symbol(), is_bad: false }
    }

    /// The symbol at the beginning of 16 bits, if its code is longer than [`LOOKUP_BITS`] or there is none, and the bits that it takes.
    #[cold]
    fn decode_long(&self, pattern: u32) -> (Symbol, u32) {
        for length_bits in LOOKUP_BITS + 1..=16 {
            if pattern < self.code_end[length_bits as usize] {
                let code = (pattern >> (16 - length_bits)) as i32;
                let value_idx = code + self.value_offset[length_bits as usize];
                return (Symbol { value: self.table.values[value_idx as usize & 255], is_bad: false }, length_bits);
            }
        }
        (Symbol { value: 0, is_bad: true }, BAD_CODE_BITS)
    }
}

/// Sets the entries of all patterns that begin with one code; `free_bits` follow it.
fn fill_in(patterns: &mut [Entry], code_bits: u32, symbol: u8, free_bits: u32) {
    let value_bits = u32::from(symbol & 15);
    match free_bits.checked_sub(value_bits) {
        Some(rest_bits) if value_bits > 0 => {
            for (bits, same_value) in (0u64..).zip(patterns.chunks_exact_mut(1 << rest_bits)) {
                same_value.fill(Entry::new(code_bits, symbol, Some(extend(bits, value_bits))));
            }
        }
        _ => patterns.fill(Entry::new(code_bits, symbol, None)),
    }
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

    /// All codes of the table, each followed by ones.
    #[test]
    fn every_code_gives_its_symbol() {
        let table = Arc::new(HuffmanTable::new(tables::TYPICAL_AC_LUMA_BITS, &tables::TYPICAL_AC_LUMA_VALUES));
        let lookup = Lookup::new(&table).unwrap();
        for code in table.codes().unwrap() {
            let length_bits = u32::from(code.length_bits);
            let pattern = (u64::from(code.code) << (64 - length_bits)) | (u64::MAX >> length_bits);
            let data = pattern.to_be_bytes();
            let mut reader = BitReader::new(&data, 0);
            reader.refill();
            assert_eq!(lookup.decode(&mut reader), Symbol { value: code.value, is_bad: false });
            assert_eq!(reader.position_bits(), u64::from(length_bits));
            let entry = {
                let mut again = BitReader::new(&data, 0);
                again.refill();
                lookup.look(&again)
            };
            let value_bits = u32::from(code.value & 15);
            if value_bits > 0 && length_bits + value_bits <= LOOKUP_BITS {
                assert_eq!(i32::from(entry.value()), (1 << value_bits) - 1);
                assert_eq!(entry.consumed_bits(), length_bits + value_bits);
                assert_eq!(entry.run(), usize::from(code.value >> 4));
            } else {
                assert_eq!(entry.value(), 0);
            }
        }
    }

    #[test]
    fn no_code_takes_seventeen_bits() {
        let table = Arc::new(HuffmanTable::new(tables::TYPICAL_DC_LUMA_BITS, &tables::TYPICAL_DC_VALUES));
        for table in [table, Arc::new(HuffmanTable::new([0; 16], &[]))] {
            let mut reader = BitReader::new(&[0xFF; 8], 0);
            reader.refill();
            let symbol = Lookup::new(&table).unwrap().decode(&mut reader);
            assert_eq!((symbol, reader.position_bits()), (Symbol { value: 0, is_bad: true }, 17));
        }
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
