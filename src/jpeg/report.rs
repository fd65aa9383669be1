//! What decoding one file gave, and what a partial result is worth.

use std::fmt;
use std::str::FromStr;

use crate::ImageError;

/// How much of a file could be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Everything that the frame promises was received.
    Complete,
    /// Something is missing or wrong; what was decoded is kept and the rest is zero.
    Partial,
    /// Nothing could be decoded.
    Failed,
}

impl Status {
    /// `complete`, `partial` or `failed`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Complete => "complete",
            Status::Partial => "partial",
            Status::Failed => "failed",
        }
    }
}

/// What decoding one file gave. MCUs are the frame's interleaved ones in raster order, for every type of scan. An MCU is untrusted if
/// any block of it was not fully received in a scan that exists in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeReport {
    /// How much was decoded.
    pub status: Status,
    /// Why not everything: a limit that was met, else the fault with the smallest byte offset. `None` if complete.
    pub reason: Option<ImageError>,
    /// The first MCU not to be trusted, if there is one: a file whose last scans are missing is partial without any.
    pub first_untrusted_mcu: Option<u32>,
    /// How many are not to be trusted.
    pub untrusted_mcus: u32,
    /// How many the frame has; 0 if it is unknown.
    pub mcus: u32,
    /// Scans met in the file.
    pub scans: u32,
    /// Scans received without a fault.
    pub scans_complete: u32,
}

impl DecodeReport {
    /// Nothing could be decoded.
    pub fn failed(reason: ImageError, mcus: u32) -> Self {
        Self {
            status: Status::Failed,
            reason: Some(reason),
            first_untrusted_mcu: (mcus > 0).then_some(0),
            untrusted_mcus: mcus,
            mcus,
            scans: 0,
            scans_complete: 0,
        }
    }

    /// The part of the image that can be trusted, 0 to 1.
    pub fn trusted_fraction(&self) -> f64 {
        match (self.status, self.mcus) {
            (Status::Failed, _) | (_, 0) => 0.0,
            (_, mcus) => 1.0 - f64::from(self.untrusted_mcus) / f64::from(mcus),
        }
    }
}

/// What is done with partial images. Written `strict`, `lenient`, `lenient:0.9` (the fraction that must be trusted) or `skip`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// They are errors.
    Strict,
    /// They are used if at least this fraction of their MCUs can be trusted, else they are errors.
    Lenient {
        /// 0 to 1.
        min_fraction: f64,
    },
    /// They are left out, without being errors.
    Skip,
}

/// What a [`Policy`] says about one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Use the coefficients.
    Use,
    /// An error, with the report's reason.
    Refuse,
    /// No result, and no error.
    Skip,
}

impl Default for Policy {
    /// Lenient: half of the MCUs must be trusted.
    fn default() -> Self {
        Self::Lenient { min_fraction: Self::DEFAULT_MIN_FRACTION }
    }
}

impl Policy {
    /// The fraction of `lenient` without a number.
    pub const DEFAULT_MIN_FRACTION: f64 = 0.5;

    /// What to do with an image. Complete images are always used, failed ones never.
    pub fn judge(self, report: &DecodeReport) -> Verdict {
        match (report.status, self) {
            (Status::Complete, _) => Verdict::Use,
            (Status::Failed, _) | (Status::Partial, Policy::Strict) => Verdict::Refuse,
            (Status::Partial, Policy::Skip) => Verdict::Skip,
            (Status::Partial, Policy::Lenient { min_fraction }) if report.trusted_fraction() >= min_fraction => {
                Verdict::Use
            }
            (Status::Partial, Policy::Lenient { .. }) => Verdict::Refuse,
        }
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "strict" => Ok(Policy::Strict),
            None if text == "skip" => Ok(Policy::Skip),
            None if text == "lenient" => Ok(Policy::Lenient { min_fraction: Self::DEFAULT_MIN_FRACTION }),
            Some(("lenient", number)) => match number.parse() {
                Ok(min_fraction) if (0.0..=1.0).contains(&min_fraction) => Ok(Policy::Lenient { min_fraction }),
                _ => Err(format!("`{number}` is no fraction from 0 to 1")),
            },
            _ => Err(format!("`{text}` is no policy: say strict, lenient, lenient:FRACTION or skip")),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Policy::Strict => f.write_str("strict"),
            Policy::Lenient { min_fraction } => write!(f, "lenient:{min_fraction}"),
            Policy::Skip => f.write_str("skip"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(status: Status, untrusted_mcus: u32) -> DecodeReport {
        DecodeReport {
            status,
            reason: None,
            first_untrusted_mcu: None,
            untrusted_mcus,
            mcus: 10,
            scans: 1,
            scans_complete: 1,
        }
    }

    #[test]
    fn policies_judge_partial_images_only() {
        let lenient = Policy::Lenient { min_fraction: 0.7 };
        for policy in [Policy::Strict, lenient, Policy::Skip] {
            assert_eq!(policy.judge(&report(Status::Complete, 0)), Verdict::Use);
            assert_eq!(policy.judge(&report(Status::Failed, 0)), Verdict::Refuse);
        }
        let partial = report(Status::Partial, 3);
        assert_eq!(Policy::Strict.judge(&partial), Verdict::Refuse);
        assert_eq!(Policy::Skip.judge(&partial), Verdict::Skip);
        assert_eq!(lenient.judge(&partial), Verdict::Use);
        assert_eq!(lenient.judge(&report(Status::Partial, 4)), Verdict::Refuse);
    }

    #[test]
    fn policies_are_read_and_written() {
        for text in ["strict", "lenient:0.25", "skip"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        assert_eq!("lenient".parse(), Ok(Policy::Lenient { min_fraction: Policy::DEFAULT_MIN_FRACTION }));
        for text in ["", "Strict", "lenient:2", "lenient:x", "skip:1"] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }
}
