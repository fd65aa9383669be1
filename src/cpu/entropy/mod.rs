//! The entropy decoder: scans of T.81's DCT processes into planes of coefficients.
//!
//! # What it promises
//!
//! Where libjpeg-turbo's `jpeg_read_coefficients` reports neither an error nor a warning, the coefficients are the same, bit for bit.
//! Hence the rules that T.81 does not have:
//!
//! - A coefficient beyond k = 63 is written to natural index 63 and ends its block; in a progressive band, one beyond Se is written
//!   where it falls.
//! - In sequential scans an AC code with SSSS = 0 and RRRR < 15 is EOB.
//! - DC predictions and point transforms wrap to 16 bits.
//! - In sequential scans a pattern that is no code takes 17 bits and counts as the symbol 0 (libjpeg's fast path does not even warn).
//! - A Huffman table is checked when a scan uses it.
//!
//! Exceptions, where T.81 is followed instead: the height may come from DNL, and a second sequential scan of a component replaces the
//! first one's blocks. And `FF FF 00` in sequential data is a byte FF and nothing else: libjpeg's fast path gives up on it, and the
//! slower one that takes over leaves in the block what the first attempt wrote there.
//!
//! # What a corrupt file gives
//!
//! Defined, so that every backend gives the same. [`segments`](crate::jpeg::split_entropy_coded) has the rules by which data are cut
//! into pieces and pieces become restart intervals. Within an interval, decoding in order:
//!
//! 1. **Truncated**: a block is received when every bit that it takes lies within the piece. The first block that is not received
//!    ends the interval: neither it nor any later block of the interval holds anything of this scan (sequential scans: they
//!    are zero). In the block that a first scan of AC breaks off in, its band is zero, even where the last coefficient of a lower
//!    band had reached into it. The fault lies at the end of the piece.
//! 2. **BadCode**: a pattern that is no code, all 17 bits of it within the piece. In a sequential scan decoding goes on as above. In a
//!    progressive scan it ends the interval as in rule 1; so does a new coefficient of a refinement scan whose category is not 1.
//!    The fault lies at the byte that holds the first bit of the pattern.
//! 3. **BadRun** (arithmetic coding): a run of zeros or a magnitude that is too long ends the interval as in rule 1.
//! 4. **RestartMarker**: RSTm is not the one that follows on the last one. The fault lies at the marker. Where intervals are lost,
//!    none of their blocks is received.
//! 5. **Excess**: a whole byte or more of a piece is left when its interval is complete, or a piece with data belongs to no interval.
//!    The fault lies at the first such byte.
//! 6. Intervals of which no piece was found after the last one are truncated at the end of the data.
//!
//! An MCU of the frame is untrusted if a block of it was not received, or comes in its interval at or after the MCU of a bad code, or if
//! its interval began with a marker of the wrong number. The reason of a partial result is the fault with the smallest offset, among
//! those at one offset the first in the order of [`CorruptKind`].

mod band;
mod bitops;
pub mod bits;
mod destuff;
mod layout;
pub mod lookup;
mod progressive;
mod scan;
mod sequential;

pub use band::{BandBlock, BandBlocks, NonzeroMasks, bits as band_bits};
pub use bitops::Instructions;
pub use destuff::Destuffed;
pub use layout::{BlockPlace, ScanLayout};
pub use scan::{Fault, FaultLog, ScanDecoder};

use crate::CorruptKind;

/// What came of one restart interval. MCUs are the scan's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntervalOutcome {
    /// Offset of the next bit that was not read, in bits from the beginning of the destuffed data.
    pub end_bits: u64,
    /// The first bad code or run: its MCU, its kind, and its offset in bits from the beginning of the destuffed data.
    pub bad: Option<(u32, CorruptKind, u64)>,
    /// The MCU of the first block that the data do not reach.
    pub truncated_mcu: Option<u32>,
}

impl IntervalOutcome {
    /// The first MCU that cannot be trusted.
    pub fn first_untrusted_mcu(&self) -> Option<u32> {
        let bad_mcu = self.bad.map(|(mcu, ..)| mcu);
        bad_mcu.into_iter().chain(self.truncated_mcu).min()
    }
}
