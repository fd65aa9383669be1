//! Reading bits from data without stuffed zeros (T.81 F.2.2.5, NEXTBIT), 56 and more at a time.

/// Bytes that must stand behind the last segment so that reads need no check: a block takes at most 64 codes of 16 + 15 bits, and
/// eight bytes are loaded at once.
pub const PADDING_BYTES: usize = 64 * 31 / 8 + 16;

/// Bits that are in the window after [`BitReader::refill`].
pub const REFILLED_BITS: u32 = 56;

/// A window of 64 bits over destuffed data. Reading beyond the data gives whatever stands there; whoever reads compares
/// [`position_bits`](Self::position_bits) with the segment's end after each block, and a block that crossed it does not count.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    data: &'a [u8],
    /// The next byte to load; the `available_bits` before it are in the window.
    next_byte: usize,
    /// The next bit is the topmost one.
    window: u64,
    /// How many bits of the window count; those below may already be right or zero.
    available_bits: u32,
}

impl<'a> BitReader<'a> {
    /// Begins at a byte. The window is empty until [`refill`](Self::refill).
    pub fn new(data: &'a [u8], start_byte: usize) -> Self {
        Self { data, next_byte: start_byte, window: 0, available_bits: 0 }
    }

    /// Fills the window to 56 bits or more.
    #[inline(always)]
    pub fn refill(&mut self) {
        let chunk = match self.data.get(self.next_byte..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(chunk) => u64::from_be_bytes(*chunk),
            None => beyond_the_data(),
        };
        self.window |= chunk >> self.available_bits;
        self.next_byte += ((63 - self.available_bits) >> 3) as usize;
        self.available_bits |= REFILLED_BITS;
    }

    /// The next `num_bits` (1 to 56), not consumed.
    #[inline(always)]
    pub fn peek(&self, num_bits: u32) -> u64 {
        self.window >> (64 - num_bits)
    }

    /// The next `num_bits` (0 to 56), not consumed.
    #[inline(always)]
    pub fn peek_any(&self, num_bits: u32) -> u64 {
        self.window >> 1 >> (63 - num_bits)
    }

    /// Consumes bits; no more than were filled in.
    #[inline(always)]
    pub fn consume(&mut self, num_bits: u32) {
        self.window <<= num_bits;
        self.available_bits -= num_bits;
    }

    /// The next `num_bits` (1 to 56), consumed.
    #[inline(always)]
    pub fn take(&mut self, num_bits: u32) -> u64 {
        let bits = self.peek(num_bits);
        self.consume(num_bits);
        bits
    }

    /// Consumes `total_bits`, of which the last `value_bits` (0 to 15) are a value, and gives that (RECEIVE and EXTEND, T.81 F.2.2.1).
    #[inline(always)]
    pub fn take_value(&mut self, total_bits: u32, value_bits: u32) -> i32 {
        let window = self.window << (total_bits - value_bits);
        let bits = (window >> 1 >> (63 - value_bits)) as i32;
        let is_negative = !(window as i64 >> 63) as i32; // the first bit is 0: all ones
        self.consume(total_bits);
        bits + (is_negative & (1 - (1 << value_bits)))
    }

    /// Bits from the beginning of the data up to the next bit.
    #[inline(always)]
    pub fn position_bits(&self) -> u64 {
        self.next_byte as u64 * 8 - u64::from(self.available_bits)
    }
}

#[cold]
fn beyond_the_data() -> u64 {
    0
}

/// EXTEND (T.81 Figure F.12): the value of category `num_bits` (1 to 16) that `bits` stand for.
#[inline(always)]
pub fn extend(bits: u64, num_bits: u32) -> i32 {
    let bits = bits as i32;
    if bits >> (num_bits - 1) == 0 { bits - (1 << num_bits) + 1 } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_the_position_is_exact() {
        let data: Vec<u8> = (0..64u8).map(|i| i.wrapping_mul(73)).collect();
        let bit_at = |i: u64| u64::from(data[i as usize / 8] >> (7 - i % 8) & 1);
        let mut reader = BitReader::new(&data, 1);
        let mut position = 8;
        for num_bits in [1, 7, 16, 3, 31, 11, 2, 16, 29, 5] {
            reader.refill();
            let expected = (position..position + u64::from(num_bits)).fold(0, |value, i| value << 1 | bit_at(i));
            assert_eq!(reader.take(num_bits), expected);
            position += u64::from(num_bits);
            assert_eq!(reader.position_bits(), position);
        }
    }

    #[test]
    fn reading_past_the_data_gives_zeros() {
        let mut reader = BitReader::new(&[0xFF], 0);
        for _ in 0..10 {
            reader.refill();
            reader.consume(30);
        }
        assert_eq!(reader.position_bits(), 300);
    }

    #[test]
    fn extend_follows_the_figure() {
        assert_eq!((extend(0, 1), extend(1, 1)), (-1, 1));
        assert_eq!((extend(0, 3), extend(3, 3), extend(4, 3), extend(7, 3)), (-7, -4, 4, 7));
        assert_eq!((extend(0, 15), extend(0x7FFF, 15)), (-0x7FFF, 0x7FFF));
    }
}
