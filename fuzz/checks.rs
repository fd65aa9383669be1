//! What must hold for any bytes. The fuzz targets and the replay of their findings (`tests/fuzz_replay.rs`) share these functions; a check
//! that fails panics.
#![allow(dead_code)]

use dctflow::cpu::{self, Decoder};
use dctflow::jpeg::{DecodeReport, Header, Limits, Status};
use dctflow::network::Weights;

#[path = "../tests/common/compare.rs"]
mod compare;
#[path = "../tests/common/oracle.rs"]
mod oracle;

/// Takes any bytes; panics if something does not hold.
pub type Check = fn(&[u8]);

/// Every check, with the name of its fuzz target.
pub const ALL: [(&str, Check); 4] =
    [("parse", parse), ("decode", decode), ("decode_against_libjpeg", decode_against_libjpeg), ("weights", weights)];

/// Small enough that no input takes long.
fn limits() -> Limits {
    Limits { max_pixels: 1 << 20, max_scans: 64, ..Limits::default() }
}

/// The parser gives a header or a reason, and every entropy-coded segment lies within the file.
pub fn parse(bytes: &[u8]) {
    let Ok(header) = Header::parse(bytes, &limits()) else { return };
    let frame = &header.frame;
    assert!(frame.width > 0 && frame.height > 0 && (1..=4).contains(&frame.components.len()), "{frame:?}");
    for scan in header.scans(bytes).map_while(Result::ok) {
        assert!(scan.sos_at < scan.ecs_offset && scan.ecs_offset <= bytes.len(), "{scan:?}");
    }
}

/// The decoder answers; a used one answers as a new one; and the report does not contradict itself.
pub fn decode(bytes: &[u8]) {
    let limits = limits();
    let first = cpu::decode(bytes, &limits);
    check_report(&first.report);
    assert_eq!(first.coefficients.is_none(), first.report.status == Status::Failed);

    let mut decoder = Decoder::default();
    let again = decoder.decode(bytes, &limits);
    if let Some(coefficients) = again.coefficients {
        decoder.recycle(coefficients);
    }
    let reused = decoder.decode(bytes, &limits);
    assert_eq!(reused.report, first.report);
    if let (Some(a), Some(b)) = (&reused.coefficients, &first.coefficients) {
        assert_eq!(compare::first_difference(&a.planes, &b.planes), None);
    }
}

fn check_report(report: &DecodeReport) {
    assert_eq!(report.reason.is_none(), report.status == Status::Complete, "{report:?}");
    assert!(report.untrusted_mcus <= report.mcus, "{report:?}");
    assert_eq!(report.first_untrusted_mcu.is_some(), report.untrusted_mcus > 0, "{report:?}");
    assert!(report.first_untrusted_mcu.is_none_or(|mcu| mcu < report.mcus), "{report:?}");
    assert!(report.scans_complete <= report.scans, "{report:?}");
}

/// What libjpeg reads without a warning is read the same here.
pub fn decode_against_libjpeg(bytes: &[u8]) {
    let limits = limits();
    if Header::parse(bytes, &limits).is_ok_and(|header| header.frame.precision_bits != 8) {
        return;
    }
    let decoded = cpu::decode(bytes, &limits);
    let Some(coefficients) = decoded.coefficients else { return };
    let Ok(reading) = oracle::read(bytes) else { return };
    if reading.num_warnings == 0 {
        assert_eq!(compare::first_difference(&coefficients.planes, &reading.planes), None, "{:?}", decoded.report);
    }
}

/// A weights file is read or refused.
pub fn weights(bytes: &[u8]) {
    let _ = Weights::from_bytes(bytes);
}
