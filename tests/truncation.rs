//! Files that end too soon: never a silent success. Every engine, beside libjpeg, at every 64 bytes.

mod common;

use common::engines::engines;
use common::{odd, oracle};
use dctflow::jpeg::{Coefficients, EntropyCoding, Header, Limits, Process, Status};
use dctflow::synth::truncations;

/// A file of each process, and where its last scan's data begin.
fn files() -> Vec<(String, Vec<u8>)> {
    let processes = [
        (Process::Baseline, EntropyCoding::Huffman),
        (Process::ExtendedSequential, EntropyCoding::Arithmetic),
        (Process::Progressive, EntropyCoding::Huffman),
        (Process::Progressive, EntropyCoding::Arithmetic),
    ];
    let file = |(process, coding)| {
        let image = odd::photo_as(process, coding);
        (format!("{process:?} {coding:?}"), odd::encoding(&image).encode(&image).to_bytes())
    };
    processes.into_iter().map(file).collect()
}

/// Offset behind the last byte of entropy-coded data: cuts after it lose no coefficient.
fn data_end(bytes: &[u8]) -> usize {
    let header = Header::parse(bytes, &Limits::default()).unwrap();
    let last = header.scans(bytes).map_while(Result::ok).last().unwrap();
    dctflow::jpeg::entropy_coded_end(bytes, last.ecs_offset)
}

/// Whether libjpeg has doubts: it fails, or warns.
fn libjpeg_doubts(bytes: &[u8]) -> bool {
    oracle::read(bytes).map_or(true, |reading| reading.num_warnings > 0)
}

fn differs(a: &Coefficients, b: &Coefficients) -> bool {
    a.planes.iter().zip(&b.planes).any(|(a, b)| a.data != b.data)
}

#[test]
fn a_truncated_file_is_never_a_silent_success() {
    let engines = engines();
    let mut num_cut = 0;
    let mut num_libjpeg_silent = 0;
    for (name, bytes) in files() {
        let data_end = data_end(&bytes);
        for engine in &engines {
            let whole = engine.decode(&bytes);
            assert_eq!(whole.report.status, Status::Complete, "{}: {name}", engine.name());
            let whole = whole.coefficients.unwrap();
            for cut in truncations(&bytes, 64).filter(|cut| cut.len() < data_end) {
                let context = format!("{}: {name}, {} of {} bytes", engine.name(), cut.len(), bytes.len());
                let decoded = engine.decode(cut);
                let report = &decoded.report;
                assert_ne!(report.status, Status::Complete, "{context}");
                let reason = report.reason.as_ref().unwrap_or_else(|| panic!("{context}: no reason"));
                // It says where: at which byte, and which MCU is the first not to be trusted. Only a cut between scans leaves every MCU
                // as it was sent so far.
                let is_failed = report.status == Status::Failed;
                assert!(
                    is_failed || reason.at_bytes().is_some_and(|at| at <= cut.len() as u64),
                    "{context}: {report:?}"
                );
                let is_between_scans = report.scans_complete == report.scans;
                let names_mcu = report.first_untrusted_mcu.is_some();
                assert!(names_mcu || is_between_scans || is_failed, "{context}: {report:?}");
                // A sequential file that lost a coefficient has an MCU that is not to be trusted.
                let is_changed = decoded.coefficients.as_ref().is_some_and(|cut| differs(cut, &whole));
                assert!(!is_changed || names_mcu || name.starts_with("Progressive"), "{context}: {report:?}");
                num_cut += 1;
                num_libjpeg_silent += usize::from(!libjpeg_doubts(cut));
            }
        }
    }
    eprintln!("{num_cut} cuts on {} engines; libjpeg has no doubt about {num_libjpeg_silent} of them", engines.len());
    assert!(num_cut >= 100 * engines.len() / 2, "only {num_cut} cuts");
}

/// Without its EOI, a file whose data are all there is complete for libjpeg but for a warning; for us it is complete, or says why not.
#[test]
fn a_missing_end_marker_loses_nothing() {
    for (name, bytes) in files() {
        let data_end = data_end(&bytes);
        for engine in engines() {
            let whole = engine.decode(&bytes).coefficients.unwrap();
            let cut = engine.decode(&bytes[..data_end]);
            let context = format!("{}: {name}: {:?}", engine.name(), cut.report);
            let coefficients = cut.coefficients.unwrap_or_else(|| panic!("{context}"));
            let is_honest = cut.report.status != Status::Complete || !differs(&coefficients, &whole);
            assert!(is_honest, "{context}");
        }
    }
}
