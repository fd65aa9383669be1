//! Broken files and what must be said of each.

use dctflow::jpeg::marker::code;
use dctflow::jpeg::{EntropyCoding, Process, Status};
use dctflow::synth::{Encoding, JpegFile, Layout, Part, Picture, Restart, Scan};

use super::odd::{encoding, photo, photo_as};

/// A broken file and its outcome.
pub struct Malformed {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub status: Status,
    /// [`dctflow::ImageError::code`] of the reason.
    pub reason: Option<&'static str>,
    pub first_untrusted_mcu: Option<u32>,
    pub untrusted_mcus: u32,
}

/// All of them. Most are made of a 4:2:0 file of 6 x 4 MCUs that restarts after each row.
pub fn table() -> Vec<Malformed> {
    [no_image(), headers(), tables(), entropy_coded(), arithmetic(), progressive()].into_iter().flatten().collect()
}

const MCUS: u32 = 24;
const MCUS_WIDE: u32 = 6;

fn failed(name: &'static str, bytes: Vec<u8>, reason: &'static str) -> Malformed {
    let status = Status::Failed;
    Malformed { name, bytes, status, reason: Some(reason), first_untrusted_mcu: None, untrusted_mcus: 0 }
}

/// The frame is known, but no scan can be decoded.
fn undecodable(name: &'static str, bytes: Vec<u8>) -> Malformed {
    Malformed { first_untrusted_mcu: Some(0), untrusted_mcus: MCUS, ..failed(name, bytes, "malformed") }
}

fn partial(name: &'static str, file: JpegFile, reason: &'static str, untrusted: std::ops::Range<u32>) -> Malformed {
    Malformed {
        name,
        bytes: file.to_bytes(),
        status: Status::Partial,
        reason: Some(reason),
        first_untrusted_mcu: (!untrusted.is_empty()).then_some(untrusted.start),
        untrusted_mcus: untrusted.len() as u32,
    }
}

fn sound_file() -> JpegFile {
    let image = photo(&[(2, 2), (1, 1), (1, 1)], 80);
    let mut encoding = encoding(&image);
    encoding.scans.iter_mut().for_each(|scan| scan.restart = Restart::EveryRow);
    encoding.encode(&image)
}

fn edited(edit: impl FnOnce(&mut JpegFile)) -> JpegFile {
    let mut file = sound_file();
    edit(&mut file);
    file
}

/// The sound file with a change to the payload of its first segment of a kind.
fn with_payload(marker: u8, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    edited(|file| file.payload_mut(marker, 0).map_or((), edit)).to_bytes()
}

fn with_frame_marker(marker: u8) -> Vec<u8> {
    let change = |part: &mut Part| {
        if let Part::Segment { marker: code @ code::SOF0, .. } = part {
            *code = marker;
        }
    };
    edited(|file| file.parts.iter_mut().for_each(change)).to_bytes()
}

fn no_image() -> Vec<Malformed> {
    vec![
        failed("an empty file", Vec::new(), "not-a-jpeg"),
        failed("another format", b"GIF89a............".to_vec(), "not-a-jpeg"),
        failed("one byte", vec![0xFF], "not-a-jpeg"),
        failed("SOI alone", vec![0xFF, 0xD8], "malformed"),
        failed("SOI and EOI", vec![0xFF, 0xD8, 0xFF, 0xD9], "malformed"),
        failed("tables without an image", edited(|file| file.parts.truncate(4)).to_bytes(), "malformed"),
    ]
}

fn headers() -> Vec<Malformed> {
    let giant = with_payload(code::SOF0, |header| header[1..5].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]));
    vec![
        failed("lossless", with_frame_marker(0xC3), "unsupported"),
        failed("differential sequential", with_frame_marker(0xC5), "unsupported"),
        failed("lossless, arithmetic", with_frame_marker(0xCB), "unsupported"),
        failed(
            "hierarchical",
            edited(|file| {
                file.parts.insert(1, Part::Segment { marker: code::DHP, payload: vec![8, 0, 9, 0, 9, 1, 1, 0x11, 0] })
            })
            .to_bytes(),
            "unsupported",
        ),
        failed("65,500 x 65,500 in a few kilobytes", giant, "over-limit"),
        failed("no width", with_payload(code::SOF0, |header| header[3..5].fill(0)), "malformed"),
        failed("no height and no DNL", with_payload(code::SOF0, |header| header[1..3].fill(0)), "malformed"),
        failed("a sampling factor of zero", with_payload(code::SOF0, |header| header[7] = 0x02), "malformed"),
        failed("a sampling factor of five", with_payload(code::SOF0, |header| header[7] = 0x25), "malformed"),
        failed(
            "a frame header too short for its components",
            with_payload(code::SOF0, |header| header.truncate(12)),
            "malformed",
        ),
        failed(
            "no components",
            with_payload(code::SOF0, |header| {
                header[5] = 0;
                header.truncate(6)
            }),
            "malformed",
        ),
        failed("16-bit samples", with_payload(code::SOF0, |header| header[0] = 16), "unsupported"),
        failed("a scan of an unknown component", with_payload(code::SOS, |header| header[1] = 77), "malformed"),
        failed("a scan of no components", with_payload(code::SOS, |header| header[0] = 0), "malformed"),
        failed(
            "a scan before the frame",
            edited(|file| {
                let frame_idx = file.find(code::SOF0)[0];
                drop(file.parts.remove(frame_idx));
            })
            .to_bytes(),
            "malformed",
        ),
        failed(
            "two frames",
            edited(|file| {
                let frame_idx = file.find(code::SOF0)[0];
                file.parts.insert(frame_idx, file.parts[frame_idx].clone());
            })
            .to_bytes(),
            "malformed",
        ),
    ]
}

fn tables() -> Vec<Malformed> {
    let without = |marker: u8| {
        edited(|file| file.parts.retain(|part| !matches!(part, Part::Segment { marker: code, .. } if *code == marker)))
    };
    vec![
        undecodable("an over-subscribed table in use", with_payload(code::DHT, over_subscribe)),
        failed("more than 256 codes", with_payload(code::DHT, |table| table[1..17].fill(17)), "malformed"),
        failed("a table cut short", with_payload(code::DHT, |table| table.truncate(10)), "malformed"),
        failed("a table for an impossible destination", with_payload(code::DHT, |table| table[0] = 9), "malformed"),
        undecodable("no quantisation table", without(code::DQT).to_bytes()),
    ]
}

/// Three codes of one bit.
fn over_subscribe(table: &mut Vec<u8>) {
    table.truncate(1);
    table.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
}

fn entropy_coded() -> Vec<Malformed> {
    let rows = |rows: std::ops::Range<u32>| rows.start * MCUS_WIDE..rows.end * MCUS_WIDE;
    let without_eoi = edited(|file| drop(file.parts.pop()));
    vec![
        partial(
            "cut after two rows",
            edited(|file| {
                let cut = file.restarts()[1];
                file.parts.truncate(cut);
            }),
            "truncated",
            rows(2..4),
        ),
        partial(
            "a marker instead of the last two rows",
            edited(|file| {
                let cut = file.restarts()[1];
                file.parts.truncate(cut);
                file.push_marker(code::EOI);
            }),
            "truncated",
            rows(2..4),
        ),
        partial(
            "an empty row",
            edited(|file| {
                let row = file.restarts()[0] + 1;
                file.parts[row] = Part::Entropy(Vec::new());
            }),
            "truncated",
            rows(1..2),
        ),
        partial(
            "two restart markers swapped",
            edited(|file| {
                let restarts = file.restarts();
                file.parts.swap(restarts[0], restarts[1]);
            }),
            "restart-marker",
            rows(1..3),
        ),
        partial(
            "a row and its restart marker missing",
            edited(|file| {
                let restart = file.restarts()[1];
                file.parts.drain(restart..restart + 2);
            }),
            "restart-marker",
            rows(2..3),
        ),
        // The second row takes the data of the third for excess, and the third is lost.
        partial(
            "a restart marker missing",
            edited(|file| {
                let restart = file.restarts()[1];
                file.parts.remove(restart);
            }),
            "excess-data",
            rows(2..3),
        ),
        partial(
            "bytes after the last row",
            edited(|file| {
                let end = file.parts.len() - 1;
                file.parts.insert(end, Part::Entropy(vec![0x55; 9]));
            }),
            "excess-data",
            0..0,
        ),
        Malformed {
            name: "no EOI",
            bytes: without_eoi.to_bytes(),
            status: Status::Complete,
            reason: None,
            first_untrusted_mcu: None,
            untrusted_mcus: 0,
        },
        partial("a pattern that is no code", bad_code(), "bad-code", 0..1),
    ]
}

/// One block whose tables have the code 0 alone, and data that are all ones after the first bit.
fn bad_code() -> JpegFile {
    let gray = Picture { width: 8, height: 8, planes: vec![vec![0.0; 64]] };
    let image = gray.coefficients(&Layout::baseline(&[(1, 1)], 50));
    let mut file = encoding(&image).encode(&image);
    for part in &mut file.parts {
        if let Part::Entropy(data) = part {
            *data = vec![0x7F, 0xFF, 0x00, 0xFF, 0x00];
        }
    }
    file
}

/// The scan header says that the band ends at k = 5, while the first block's run of zeros goes on.
fn arithmetic() -> Vec<Malformed> {
    let mut image = photo_as(Process::Progressive, EntropyCoding::Arithmetic);
    image.planes[0].data[..63].fill(0);
    image.planes[0].data[63] = 1;
    let dc = Scan::progressive([0, 1, 2], (0, 0), (0, 0));
    let luma = Scan::progressive([0], (1, 63), (0, 0));
    let mut file = Encoding::new(vec![dc, luma]).encode(&image);
    if let Some(header) = file.payload_mut(code::SOS, 1) {
        header[4] = 5;
    }
    vec![partial("a run of zeros beyond the band", file, "bad-run", 0..MCUS)]
}

fn progressive() -> Vec<Malformed> {
    let image = photo_as(Process::Progressive, EntropyCoding::Huffman);
    let scans = encoding(&image).scans;
    let lacking = Encoding::new(scans[..scans.len() - 1].to_vec()).encode(&image);
    let mut cut = encoding(&image).encode(&image);
    let last_data = cut.parts.len() - 2;
    cut.parts[last_data] = Part::Entropy(Vec::new());
    vec![
        partial("a progressive file without its last scan", lacking, "missing-scans", 0..0),
        partial("a progressive file whose last scan is empty", cut, "truncated", 0..MCUS),
    ]
}
