//! The entropy-coded data of a scan: where they end, how restart markers cut them, and which restart interval each piece is.
//!
//! The rules for data that are not as they should be; every backend follows them, so that corrupt files give the same result on
//! each. They are stated on bytes and marker numbers alone, without decoding.
//!
//! 1. `FF 00` is one byte FF. So is `FF FF 00`: repeated FF count as one.
//! 2. The data end at the first marker that is neither RSTm nor one of FF01 to FFBF, or at the end of the file.
//! 3. RSTm cuts the data into pieces.
//! 4. FF01 to FFBF stand in no legal file; most often they are a stuffed zero with a flipped bit. Such a pair ends its piece, and what
//!    follows up to the next RSTm is lost.
//! 5. At most [`EXTRA_PIECES`] more pieces than the scan has restart intervals are taken into account; what follows is excess.
//! 6. The first piece is interval 0. If there are exactly as many pieces as intervals, the rest follow in order, whatever their
//!    numbers are. Otherwise, with `e` the interval after the last one found and `d = (m - (e - 1)) mod 8`: up to `d = 3`, RSTm
//!    begins interval `e + d` (d intervals are lost); from `d = 4` on its piece is taken for a repetition and dropped.
//!    What falls beyond the last interval is excess.

use std::ops::Range;

use super::marker::{code, next_ff};

/// Rule 5: pieces taken into account beyond the number of intervals.
pub const EXTRA_PIECES: usize = 8;

/// What stands between two restart markers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Offset of the RSTm marker before it; none before the first piece.
    pub marker_at: Option<usize>,
    /// m of that marker.
    pub marker_number: u8,
    /// The bytes, stuffed zeros included, up to the next marker or rule 4's pair.
    pub bytes: Range<usize>,
    /// Rule 4: data follow that cannot be read.
    pub is_cut: bool,
}

impl Piece {
    /// The offset in the file of a destuffed byte of the piece; beyond its last byte, the end of the piece.
    pub fn file_offset(&self, bytes: &[u8], data_offset: usize) -> usize {
        let mut file_offset = self.bytes.start;
        let mut left = data_offset;
        let piece_bytes = &bytes[..self.bytes.end];
        while let Some(pair) = next_ff(piece_bytes, file_offset) {
            let plain = pair.at - file_offset;
            if left <= plain {
                break;
            }
            left -= plain + 1;
            file_offset = pair.end;
        }
        (file_offset + left).min(self.bytes.end)
    }
}

/// A scan's entropy-coded data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntropyCoded {
    /// In file order, at least one.
    pub pieces: Vec<Piece>,
    /// Offset of the marker that ends the scan, or of the end of the file.
    pub end: usize,
    /// The file ends without a marker after the data.
    pub is_unterminated: bool,
}

/// What a pair `FF xx` in entropy-coded data means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// A data byte FF.
    Stuffed,
    /// RSTm, with m.
    Restart(u8),
    /// Rule 4.
    Invalid,
    /// The end of the scan.
    End,
}

/// Rules 1 to 4 for the second byte of a pair.
pub fn classify_pair(second: u8) -> Pair {
    match second {
        0 => Pair::Stuffed,
        code::RST0..=code::RST7 => Pair::Restart(second - code::RST0),
        1..=0xBF => Pair::Invalid,
        _ => Pair::End,
    }
}

/// Cuts the data that begin at `ecs_offset` into pieces (rules 1 to 5).
pub fn split_entropy_coded(bytes: &[u8], ecs_offset: usize, num_intervals: u32) -> EntropyCoded {
    walk_entropy_coded(bytes, ecs_offset, num_intervals, |_| {})
}

/// What [`walk_entropy_coded`] meets on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Bytes of data without FF.
    Data(&'a [u8]),
    /// One byte FF of data, however it is written (rule 1).
    Stuffed,
    /// The piece ends.
    PieceEnd,
}

/// Like [`split_entropy_coded`], and shows the data of the pieces on the way.
pub fn walk_entropy_coded<'a>(
    bytes: &'a [u8],
    ecs_offset: usize,
    num_intervals: u32,
    mut visit: impl FnMut(Step<'a>),
) -> EntropyCoded {
    let max_pieces = (num_intervals as usize).saturating_add(EXTRA_PIECES);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut piece = Piece { marker_at: None, marker_number: 0, bytes: ecs_offset..ecs_offset, is_cut: false };
    let mut from = ecs_offset;
    loop {
        let pair = next_ff(bytes, from);
        let at = pair.map_or_else(|| end_of_data(bytes, from), |pair| pair.at);
        let meaning = pair.map_or(Pair::End, |pair| classify_pair(pair.code));
        let is_wanted = !piece.is_cut && pieces.len() < max_pieces;
        if is_wanted {
            visit(Step::Data(&bytes[from..at]));
        }
        if is_wanted && meaning == Pair::Stuffed {
            visit(Step::Stuffed);
        } else if !piece.is_cut {
            piece.bytes.end = at;
        }
        match (meaning, pair) {
            (Pair::End, _) | (_, None) => {
                if pieces.len() < max_pieces {
                    visit(Step::PieceEnd);
                    pieces.push(piece);
                }
                return EntropyCoded { pieces, end: at, is_unterminated: pair.is_none() };
            }
            (Pair::Restart(marker_number), Some(pair)) => {
                let next = Piece { marker_at: Some(at), marker_number, bytes: pair.end..pair.end, is_cut: false };
                let done = std::mem::replace(&mut piece, next);
                if pieces.len() < max_pieces {
                    visit(Step::PieceEnd);
                    pieces.push(done);
                }
            }
            (Pair::Invalid, _) => piece.is_cut = true,
            (Pair::Stuffed, _) => {}
        }
        from = pair.map_or(at, |pair| pair.end);
    }
}

/// Offset of the marker that ends the data, or of their end in a file without one (rule 2); does not cut them.
pub fn entropy_coded_end(bytes: &[u8], ecs_offset: usize) -> usize {
    let mut from = ecs_offset;
    while let Some(pair) = next_ff(bytes, from) {
        if classify_pair(pair.code) == Pair::End {
            return pair.at;
        }
        from = pair.end;
    }
    end_of_data(bytes, from)
}

/// The end of a file without a marker after `from`: a last FF is no data.
fn end_of_data(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().rposition(|&byte| byte != 0xFF).map_or(from, |last| from + last + 1)
}

/// Rule 6: the interval of each piece, given the numbers of the markers before the second and all later ones; `None`: dropped or
/// beyond the last interval.
pub fn assign_intervals(marker_numbers: &[u8], num_intervals: u32) -> Vec<Option<u32>> {
    let num_pieces = marker_numbers.len() as u64 + 1;
    if num_pieces == u64::from(num_intervals) {
        return (0..num_intervals).map(Some).collect();
    }
    let mut next = 1u32;
    let later = marker_numbers.iter().map(|&m| {
        let lost = u32::from(m.wrapping_sub(next as u8).wrapping_add(1) & 7);
        let interval = next.checked_add(lost).filter(|&interval| lost < 4 && interval < num_intervals)?;
        next = interval + 1;
        Some(interval)
    });
    std::iter::once(Some(0)).chain(later).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(bytes: &[u8]) -> (Vec<Range<usize>>, usize) {
        let coded = split_entropy_coded(bytes, 0, 100);
        (coded.pieces.iter().map(|p| p.bytes.clone()).collect(), coded.end)
    }

    #[test]
    fn restart_markers_cut_and_other_markers_end() {
        let bytes = [1, 0xFF, 0, 2, 0xFF, 0xD0, 3, 0xFF, 0xFF, 0xD1, 0xFF, 0xD9, 9];
        assert_eq!(ranges(&bytes), (vec![0..4, 6..7, 10..10], 10));
        assert!(!split_entropy_coded(&bytes, 0, 3).is_unterminated);
    }

    #[test]
    fn an_invalid_pair_loses_the_rest_of_its_piece() {
        let bytes = [1, 0xFF, 0x40, 2, 0xFF, 0, 3, 0xFF, 0xD0, 4, 0xFF];
        let coded = split_entropy_coded(&bytes, 0, 2);
        assert_eq!(coded.pieces[0].bytes, 0..1);
        assert!(coded.pieces[0].is_cut && !coded.pieces[1].is_cut);
        assert_eq!((coded.pieces[1].bytes.clone(), coded.end), (9..10, 10));
        assert!(coded.is_unterminated);
    }

    #[test]
    fn pieces_are_bounded_by_the_intervals() {
        let bytes: Vec<u8> = std::iter::repeat_n([0xFF, 0xD0], 1000).flatten().collect();
        assert_eq!(split_entropy_coded(&bytes, 0, 3).pieces.len(), 3 + EXTRA_PIECES);
    }

    #[test]
    fn intervals_follow_the_numbers_unless_the_count_is_right() {
        let some = |list: &[u32]| list.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(assign_intervals(&[0, 1, 2], 4), some(&[0, 1, 2, 3]));
        assert_eq!(assign_intervals(&[0, 5, 2], 4), some(&[0, 1, 2, 3])); // the count is right
        assert_eq!(assign_intervals(&[0, 2], 4), some(&[0, 1, 3])); // RST1 is lost
        assert_eq!(assign_intervals(&[], 9), some(&[0])); // all are lost
        assert_eq!(assign_intervals(&[0, 0, 1], 5), [Some(0), Some(1), None, Some(2)]); // one twice
        assert_eq!(assign_intervals(&[0, 1, 2], 2), [Some(0), Some(1), None, None]); // more than the scan has
        assert_eq!(assign_intervals(&[0], 1), [Some(0), None]);
        let many: Vec<u8> = (0..20).map(|i| i % 8).collect();
        assert_eq!(assign_intervals(&many, 22), some(&(0..21).collect::<Vec<_>>()));
    }
}
