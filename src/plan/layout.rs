//! Several arrays in one buffer.

use std::ops::Range;

/// A part of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Region {
    /// Where it begins.
    pub offset_bytes: usize,
    /// Its size.
    pub len_bytes: usize,
}

impl Region {
    /// As a range.
    pub fn range_bytes(self) -> Range<usize> {
        self.offset_bytes..self.offset_bytes + self.len_bytes
    }
}

/// Places arrays one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    len_bytes: usize,
    redzone_bytes: usize,
    redzones: Vec<Region>,
}

impl Layout {
    /// What every array is aligned to: coalesced accesses begin at such addresses.
    pub const ALIGNMENT_BYTES: usize = 256;

    /// An empty buffer. `redzone_bytes` (a multiple of 8) stay unused behind each array.
    pub fn new(redzone_bytes: usize) -> Self {
        Self { redzone_bytes, ..Self::default() }
    }

    /// Becomes an empty buffer, in the memory that it has.
    pub fn clear(&mut self, redzone_bytes: usize) {
        (self.len_bytes, self.redzone_bytes) = (0, redzone_bytes);
        self.redzones.clear();
    }

    /// A place for `len_bytes`.
    pub fn place(&mut self, len_bytes: usize) -> Region {
        let region = Region { offset_bytes: self.len_bytes, len_bytes };
        let used_bytes = self.len_bytes + len_bytes.next_multiple_of(8);
        self.len_bytes = (used_bytes + self.redzone_bytes).next_multiple_of(Self::ALIGNMENT_BYTES);
        if self.redzone_bytes > 0 {
            self.redzones.push(Region { offset_bytes: used_bytes, len_bytes: self.len_bytes - used_bytes });
        }
        region
    }

    /// A place for `len` values of `T`.
    pub fn place_array<T>(&mut self, len: usize) -> Region {
        self.place(len * size_of::<T>())
    }

    /// The size of the buffer.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// What lies between the arrays and must not be touched.
    pub fn redzones(&self) -> &[Region] {
        &self.redzones
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_aligned_and_apart() {
        let mut layout = Layout::new(64);
        let first = layout.place_array::<u32>(3);
        let second = layout.place(1);
        assert_eq!(first, Region { offset_bytes: 0, len_bytes: 12 });
        assert_eq!(second.offset_bytes % Layout::ALIGNMENT_BYTES, 0);
        assert!(layout.redzones()[0].offset_bytes >= first.range_bytes().end);
        assert_eq!(layout.redzones()[0].range_bytes().end, second.offset_bytes);
        assert_eq!(layout.len_bytes() % Layout::ALIGNMENT_BYTES, 0);
    }
}
