//! What must hold for any bytes. The fuzz targets and the replay of their findings (`tests/fuzz_replay.rs`) share these functions; a check
//! that fails panics.
#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use dctflow::ImageError;
use dctflow::cpu::{self, Decoded, Decoder, entropy::Instructions};
use dctflow::device::Device;
use dctflow::device::emulator::{Emulator, EmulatorOptions, Schedule};
use dctflow::jpeg::{DecodeReport, Header, Limits, Status};
use dctflow::network::{InputNorm, Weights};
use dctflow::session::{BatchDecoder, DecoderStats};
use dctflow::synth::{Encoding, Interleaving, Layout, Picture, Random, sequential_scans};

#[cfg(feature = "sources")]
#[path = "checks/archives.rs"]
pub mod archives;
#[path = "../tests/common/compare.rs"]
mod compare;
#[path = "checks/interface.rs"]
pub mod interface;
#[path = "../tests/common/oracle.rs"]
mod oracle;

/// Takes any bytes; panics if something does not hold.
pub type Check = fn(&[u8]);

/// Every check, with the name of its fuzz target.
pub const ALL: &[(&str, Check)] = &[
    ("parse", parse),
    ("decode", decode),
    ("decode_against_libjpeg", decode_against_libjpeg),
    ("decode_on_emulator", decode_on_emulator),
    ("weights", weights),
    ("capi", interface::capi),
    #[cfg(feature = "sources")]
    ("tar", archives::tar),
    #[cfg(feature = "parquet")]
    ("parquet", archives::parquet),
];

/// Where files can be written: cargo's place for tests, where there is one.
fn scratch_folder() -> PathBuf {
    option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Small enough that no input takes long: mostly 256 x 256 samples, so that thousands of mutants are tried where few large ones would be; one
/// input of sixteen may be as large as a photo.
fn limits(bytes: &[u8]) -> Limits {
    let max_pixels = if hash(bytes).is_multiple_of(16) { 1 << 20 } else { 1 << 16 };
    Limits { max_pixels, max_scans: 64, ..Limits::default() }
}

/// The parser gives a header or a reason, and every entropy-coded segment lies within the file.
pub fn parse(bytes: &[u8]) {
    let Ok(header) = Header::parse(bytes, &limits(bytes)) else { return };
    let frame = &header.frame;
    assert!(frame.width > 0 && frame.height > 0 && (1..=4).contains(&frame.components.len()), "{frame:?}");
    for scan in header.scans(bytes).map_while(Result::ok) {
        assert!(scan.sos_at < scan.ecs_offset && scan.ecs_offset <= bytes.len(), "{scan:?}");
    }
}

/// The decoder answers; a used one answers as a new one, and with other instructions the same; and the report does not contradict itself.
pub fn decode(bytes: &[u8]) {
    let limits = limits(bytes);
    let first = cpu::decode(bytes, &limits);
    check_report(&first.report);
    assert_eq!(first.coefficients.is_none(), first.report.status == Status::Failed);

    let mut decoder = Decoder::default();
    let again = decoder.decode(bytes, &limits);
    if let Some(coefficients) = again.coefficients {
        decoder.recycle(coefficients);
    }
    assert_same(&decoder.decode(bytes, &limits), &first, "a used decoder");
    for instructions in Instructions::supported() {
        let decoded = Decoder::default().with_instructions(instructions).decode(bytes, &limits);
        assert_same(&decoded, &first, instructions.name());
    }
}

fn check_report(report: &DecodeReport) {
    assert_eq!(report.reason.is_none(), report.status == Status::Complete, "{report:?}");
    assert!(report.untrusted_mcus <= report.mcus, "{report:?}");
    assert_eq!(report.first_untrusted_mcu.is_some(), report.untrusted_mcus > 0, "{report:?}");
    assert!(report.first_untrusted_mcu.is_none_or(|mcu| mcu < report.mcus), "{report:?}");
    assert!(report.scans_complete <= report.scans, "{report:?}");
}

/// What libjpeg reads without a warning is read the same here, or refused for what it asks for.
pub fn decode_against_libjpeg(bytes: &[u8]) {
    let limits = limits(bytes);
    if Header::parse(bytes, &limits).is_ok_and(|header| header.frame.precision_bits != 8) {
        return;
    }
    let decoded = cpu::decode(bytes, &limits);
    let reason = &decoded.report.reason;
    if decoded.coefficients.is_none()
        && matches!(reason, Some(ImageError::OverLimit { .. } | ImageError::Unsupported { .. }))
    {
        return;
    }
    let Some(reading) = oracle::read(bytes).ok().filter(|reading| reading.num_warnings == 0) else { return };
    let coefficients = decoded.coefficients.unwrap_or_else(|| panic!("libjpeg reads it: {reason:?}"));
    assert_eq!(compare::first_difference(&coefficients.planes, &reading.planes), None, "{reason:?}");
}

/// The kernels give what the CPU gives, report, coefficients and padding, in a schedule and with a subsequence size that depend on the input;
/// and so they do for the files before and behind it in the batch.
pub fn decode_on_emulator(bytes: &[u8]) {
    emulate(bytes);
}

/// As [`decode_on_emulator`]; says where the batch was decoded: two neighbours on the device, and the input, if it is one for the device.
pub fn emulate(bytes: &[u8]) -> DecoderStats {
    let limits = Limits { max_pixels: 1 << 16, ..limits(bytes) };
    let mut random = Random::new(hash(bytes));
    let schedules = [Schedule::Forward, Schedule::Reverse, Schedule::Random(random.bits())];
    let schedule = *random.pick(&schedules);
    let options = EmulatorOptions { schedule, num_os_threads: 1, ..EmulatorOptions::default() };
    let device: Arc<dyn Device> = Emulator::new(options).expect("an emulator");
    let mut decoder = BatchDecoder::new(&device).expect("a decoder");
    decoder.limits = limits.clone();
    decoder.options.subsequence_bytes = match random.below(4) {
        0 => None,
        1 => Some(64),
        _ => Some(64 + random.below(1000)),
    };
    let manner = (schedule, decoder.options.subsequence_bytes);

    let neighbour = &*NEIGHBOUR;
    let batch = decoder.decode(&[neighbour, bytes, neighbour]).unwrap_or_else(|error| panic!("{manner:?}: {error}"));
    let [before, decoded, behind] = batch.as_slice() else { panic!("{} outcomes of three files", batch.len()) };
    assert_same(decoded, &cpu::decode(bytes, &limits), &format!("{manner:?}"));
    let sound = cpu::decode(neighbour, &limits);
    assert_same(before, &sound, &format!("{manner:?}, the file before"));
    assert_same(behind, &sound, &format!("{manner:?}, the file behind"));
    decoder.stats().clone()
}

fn assert_same(decoded: &Decoded, by_cpu: &Decoded, what: &str) {
    assert_eq!(decoded.report, by_cpu.report, "{what}");
    if let (Some(a), Some(b)) = (&decoded.coefficients, &by_cpu.coefficients) {
        assert_eq!(compare::first_difference(&a.planes, &b.planes), None, "{what}");
    }
    assert!(decoded == by_cpu, "{what}: padding, tables or metadata differ");
}

/// A small sound file of three MCUs.
static NEIGHBOUR: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let layout = Layout::baseline(&[(2, 2), (1, 1), (1, 1)], 60);
    let image = Picture::photo(5, 41, 12, 3).coefficients(&layout);
    Encoding::new(sequential_scans(&image.frame, Interleaving::Interleaved)).encode(&image).to_bytes()
});

/// FNV-1a: the same everywhere, so that a finding stays one.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A weights file is read or refused; what is read can be folded for an engine.
pub fn weights(bytes: &[u8]) {
    let Ok(weights) = Weights::from_bytes(bytes) else { return };
    for input_norm in [InputNorm::Fold, InputNorm::Apply] {
        let _ = weights.inference(input_norm);
    }
}
