//! Entropy-coded data without stuffed zeros (T.81 B.1.1.5), so that bits can be read without looking for markers.

use std::ops::Range;

use super::bits::PADDING_BYTES;
use crate::jpeg::{EntropyCoded, Piece, Step, walk_entropy_coded};

/// The destuffed pieces of one scan, in memory that is used again for the next one.
#[derive(Default)]
pub struct Destuffed {
    /// All pieces, one after the other, then [`PADDING_BYTES`] zeros.
    pub data: Vec<u8>,
    /// Where each piece lies in `data`.
    pub ranges: Vec<Range<usize>>,
}

impl Destuffed {
    /// Cuts and destuffs the data of a scan.
    pub fn read(&mut self, bytes: &[u8], ecs_offset: usize, num_intervals: u32) -> EntropyCoded {
        self.data.clear();
        self.ranges.clear();
        let mut start = 0;
        let coded = walk_entropy_coded(bytes, ecs_offset, num_intervals, |step| match step {
            Step::Data(data) => self.data.extend_from_slice(data),
            Step::Stuffed => self.data.push(0xFF),
            Step::PieceEnd => {
                self.ranges.push(start..self.data.len());
                start = self.data.len();
            }
        });
        self.data.resize(self.data.len() + PADDING_BYTES, 0);
        coded
    }

    /// The offset in the file of a destuffed byte of a piece; beyond its last byte, the end of the piece.
    pub fn file_offset(&self, bytes: &[u8], piece: &Piece, data_offset: usize, piece_start: usize) -> usize {
        piece.file_offset(bytes, data_offset - piece_start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_zeros_vanish_and_offsets_are_found_again() {
        let bytes = [7, 7, 1, 0xFF, 0, 0xFF, 0xFF, 0, 2, 0xFF, 0xD3, 3, 0xFF, 0, 0xFF, 0xD9];
        let mut destuffed = Destuffed::default();
        let coded = destuffed.read(&bytes, 2, 2);
        let pieces: Vec<&[u8]> = destuffed.ranges.iter().map(|r| &destuffed.data[r.clone()]).collect();
        assert_eq!(pieces, [&[1, 0xFF, 0xFF, 2][..], &[3, 0xFF]]);
        assert_eq!(coded.end, 14);
        let offsets = |piece: usize| -> Vec<usize> {
            let range = destuffed.ranges[piece].clone();
            let find = |at| destuffed.file_offset(&bytes, &coded.pieces[piece], at, range.start);
            (range.start..=range.end).map(find).collect()
        };
        assert_eq!(offsets(0), [2, 3, 5, 8, 9]);
        assert_eq!(offsets(1), [11, 12, 14]);
    }
}
