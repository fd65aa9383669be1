//! What a hostile file may ask for: every limit is met by a file, what a file costs is bounded by its length, and honest files pass.

mod common;

use common::hostile;
use dctflow::ImageError;
use dctflow::cpu;
use dctflow::jpeg::marker::code;
use dctflow::jpeg::{Header, Limits, Status};
use dctflow::synth::{JpegFile, Layout, Part, Picture, photo};

/// A sound file with these parts before its frame.
fn with_parts(parts: impl IntoIterator<Item = Part>) -> Vec<u8> {
    let sound = photo(1, 0);
    let mut file = JpegFile::default();
    file.push_marker(code::SOI);
    file.parts.extend(parts);
    file.parts.push(Part::Raw(sound[2..].to_vec()));
    file.to_bytes()
}

fn segment(marker: u8, payload: Vec<u8>) -> Part {
    Part::Segment { marker, payload }
}

/// A header of a frame of these dimensions and components, 1 x 1, and nothing behind it.
fn frame_only(width: u16, height: u16, num_components: u8) -> Vec<u8> {
    let ([y1, y0], [x1, x0]) = (height.to_be_bytes(), width.to_be_bytes());
    let mut payload = vec![8, y1, y0, x1, x0, num_components];
    (1..=num_components).for_each(|id| payload.extend([id, 0x11, 0]));
    let mut file = JpegFile::default();
    file.push_marker(code::SOI);
    file.push_segment(code::SOF2, payload);
    let selectors = (1..=num_components).flat_map(|id| [id, 0]);
    file.push_segment(code::SOS, [num_components].into_iter().chain(selectors).chain([0, 0, 0]).collect::<Vec<u8>>());
    file.to_bytes()
}

/// Which default limit refuses the file, or ends its decoding.
fn limit_met(bytes: &[u8]) -> Option<&'static str> {
    match cpu::decode(bytes, &Limits::default()).report.reason {
        Some(ImageError::OverLimit { name, value, limit, .. }) => {
            assert!(value > limit);
            Some(name)
        }
        _ => None,
    }
}

#[test]
fn every_limit_is_met_by_a_file() {
    let limits = Limits::default();
    let comments = (0..=limits.max_segments).map(|_| segment(code::COM, vec![]));
    let empty_tables = |count: u64| segment(code::DHT, [&[0][..], &[0; 16]].concat().repeat(count as usize));
    let tables = [empty_tables(limits.max_tables / 2), empty_tables(limits.max_tables / 2)];
    let over = [
        ("max_file_bytes", vec![0xFF; limits.max_file_bytes as usize + 1]),
        ("max_pixels", frame_only(65_535, 5_000, 1)),
        ("max_pixels", frame_only(65_500, 65_500, 3)),
        ("max_scans", hostile::many_scans((1, 1), limits.max_scans as usize)),
        ("max_segments", with_parts(comments)),
        ("max_tables", with_parts(tables)),
        ("max_coefficient_bytes", frame_only(16_000, 16_000, 4)),
        ("max_expansion", frame_only(10_000, 8_000, 1)),
        ("max_expansion", hostile::arithmetic_decisions(8191)),
        ("max_expansion", hostile::many_scans(hostile::most_blocks(0), 2 * Limits::PASSES as usize + 1)),
    ];
    for (name, bytes) in over {
        assert_eq!(limit_met(&bytes), Some(name), "{} bytes", bytes.len());
    }
    // A side of 16 bits is within the default; a lower limit is met.
    let small = Limits { max_side: 100, ..limits };
    let reason = cpu::decode(&frame_only(8, 101, 1), &small).report.reason;
    assert!(matches!(reason, Some(ImageError::OverLimit { name: "max_side", value: 101, .. })), "{reason:?}");
}

/// The limit itself is allowed; one more is not.
#[test]
fn limits_are_the_last_value_that_passes() {
    let limits = Limits { max_segments: 20, max_scans: 3, ..Limits::default() };
    let status = |bytes: &[u8]| cpu::decode(bytes, &limits).report.status;
    assert_eq!(status(&hostile::many_scans((1, 1), 2)), Status::Partial, "some scans were never sent");
    let report = cpu::decode(&hostile::many_scans((1, 1), 3), &limits).report;
    assert_eq!((report.status, report.scans), (Status::Partial, 3));
    let with_comments = |count: usize| with_parts((0..count).map(|_| segment(code::COM, vec![])));
    let most = (0..20).rev().find(|&count| status(&with_comments(count)) == Status::Complete).unwrap();
    assert_eq!(status(&with_comments(most + 1)), Status::Failed);
}

/// The message says which limit it was, and how it is raised.
#[test]
fn the_reason_names_the_limit_and_the_option() {
    let reason = cpu::decode(&frame_only(10_000, 8_000, 1), &Limits::default()).report.reason.unwrap();
    let message = reason.to_string();
    assert!(message.contains("`Limits::max_expansion`") && message.contains("--limit max_expansion=N"), "{message}");
}

/// Bytes of coefficients that the scans of a file pass over, as far as they are decoded.
fn visited_bytes(bytes: &[u8], num_scans: u32) -> u64 {
    let header = Header::parse(bytes, &Limits::default()).unwrap();
    let scans = header.scans(bytes).take(num_scans as usize);
    scans.map(|scan| scan.unwrap().visited_bytes(&header.frame)).sum()
}

/// What the work on any file is bounded by, whatever kind it is: memory for coefficients, and passes over them.
#[test]
fn the_cost_of_hostile_files_is_bounded_by_their_length() {
    let limits = Limits::default();
    for (name, bytes) in hostile::files(20_000) {
        let decoded = cpu::decode(&bytes, &limits);
        let coefficient_bytes = decoded.coefficients.map_or(0, |c| c.frame.coefficient_bytes());
        let visited = visited_bytes(&bytes, decoded.report.scans);
        eprintln!(
            "{name}: {} bytes, {coefficient_bytes} of coefficients, {visited} visited: {:?}",
            bytes.len(),
            decoded.report.reason
        );
        // They are as expensive as they say: they meet a limit, or have as many scans as a file may.
        let is_at_limit = matches!(decoded.report.reason, Some(ImageError::OverLimit { .. }));
        let is_expensive = is_at_limit || u64::from(decoded.report.scans) == Limits::PASSES;
        assert!(!name.contains("refinements") || is_expensive, "{name}");
        assert!(
            coefficient_bytes <= limits.max_expansion * bytes.len() as u64 + limits.free_coefficient_bytes,
            "{name}"
        );
        assert!(visited <= Limits::PASSES * limits.coefficient_bytes_for(bytes.len()), "{name}");
        assert!(u64::from(decoded.report.scans) <= limits.max_scans, "{name}");
    }
}

#[test]
fn honest_files_pass() {
    let limits = Limits::default();
    let parses = |bytes: &[u8]| Header::parse(bytes, &limits).map(|header| header.frame.coefficient_bytes());
    // Photos of 12, 108 and 200 megapixels in full colour, of a hundredth of their usual length.
    for (width, height, num_bytes) in [(4000, 3000, 40_000), (12_000, 9_000, 1_000_000), (14_000, 12_000, 1_500_000)] {
        let file = [frame_only(width, height, 3), vec![0; num_bytes]].concat();
        parses(&file).unwrap();
    }
    // A gray scan as wide as can be, flat: two bits a block.
    let scan = cpu::decode(&hostile::flat_page((8_191, 125)), &limits);
    assert_eq!(scan.report.status, Status::Complete, "{:?}", scan.report.reason);
    // Flat progressive pages with as many scans as encoders write.
    let page = cpu::decode(&hostile::zero_length_runs((1_024, 512), 12), &limits);
    assert!(!matches!(page.report.reason, Some(ImageError::OverLimit { .. })), "{:?}", page.report.reason);
    // Text and line art.
    let page = Picture::page(3, (1700, 2200), 1, 10).coefficients(&Layout::baseline(&[(1, 1)], 75));
    assert!(page.frame.coefficient_bytes() < limits.free_coefficient_bytes);
}
