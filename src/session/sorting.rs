//! Who decodes a file, and where its coefficients lie. The device's own files come first in a batch's coefficients; behind them is room for
//! what the CPU decodes, while the device is at work.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::ImageError;
use crate::cpu::Decoded;
use crate::jpeg::{Frame, Header, Limits};
use crate::plan::{CpuReason, PlannedImage};

/// A file whose headers were read.
#[derive(Debug)]
pub(super) enum SortedFile<'a> {
    ForDevice(Box<PlannedImage<'a>>),
    /// `frame`: what room its coefficients need; `None` if the header is unreadable, and nothing will be decoded.
    ForCpu {
        reason: CpuReason,
        frame: Option<Frame>,
    },
}

impl<'a> SortedFile<'a> {
    /// Reads the headers only. Never panics: a mistake of this library costs this file and no other.
    pub(super) fn read(bytes: &'a [u8], limits: &Limits) -> Self {
        let read = || match PlannedImage::read(bytes, limits) {
            Ok(image) => Self::ForDevice(Box::new(image)),
            Err(reason) => Self::ForCpu { reason, frame: Header::parse(bytes, limits).ok().map(|header| header.frame) },
        };
        catch_unwind(AssertUnwindSafe(read)).unwrap_or(Self::ForCpu { reason: CpuReason::Header, frame: None })
    }

    /// The size of all its coefficients, padding included.
    pub(super) fn coefficient_bytes(&self) -> u64 {
        match self {
            Self::ForDevice(image) => image.header.frame.coefficient_bytes(),
            Self::ForCpu { frame, .. } => frame.as_ref().map_or(0, Frame::coefficient_bytes),
        }
    }
}

/// Decodes a file for which there is room for `frame`'s coefficients. Never fails and never panics: what is wrong with the file is its
/// report's reason.
pub(super) fn decode_into_room(frame: Option<&Frame>, decode: impl FnOnce() -> Decoded) -> Decoded {
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    let fits = |decoded: &Decoded| decoded.coefficients.as_ref().is_none_or(|c| Some(&c.frame) == frame);
    decoded.ok().filter(fits).unwrap_or_else(|| Decoded::failed(ImageError::Internal, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;
    use crate::synth::photo;

    #[test]
    fn what_has_no_room_or_panics_is_a_failure_of_its_own() {
        let file = photo(0, 0);
        let decode = || cpu::decode(&file, &Limits::default());
        let frame = Header::parse(&file, &Limits::default()).unwrap().frame;
        assert!(decode_into_room(Some(&frame), decode) == decode());
        let internal = Decoded::failed(ImageError::Internal, 0);
        assert!(decode_into_room(None, decode) == internal);
        assert!(decode_into_room(Some(&frame), || panic!("a test's")) == internal);
    }

    #[test]
    fn unreadable_files_are_the_cpu_s_and_need_no_room() {
        let sorted = SortedFile::read(b"text", &Limits::default());
        assert!(matches!(&sorted, SortedFile::ForCpu { reason: CpuReason::Header, frame: None }));
        assert_eq!(sorted.coefficient_bytes(), 0);
    }
}
