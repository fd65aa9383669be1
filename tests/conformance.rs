//! The decoders against libjpeg's `jpeg_read_coefficients`: bit for bit wherever libjpeg reports neither error nor warning.

mod common;

use common::cases::{Case, Expected, Verdict, matrix_case};
use common::engines::engines;
use common::{compare, library, malformed, matrix, odd, oracle, oracle12};
use dctflow::ImageError;
use dctflow::cpu::{self, Decoder};
use dctflow::jpeg::{EntropyCoding, Limits, Process, Status};
use dctflow::synth::{Codes, Encoding, Interleaving, Random, Restart, flip_bit, mutate, sequential_scans, truncations};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// The encoder of the tests is right: libjpeg reads back the coefficients that were written.
#[test]
fn libjpeg_reads_what_the_encoder_wrote() {
    let points = matrix::points();
    points.par_iter().filter(|point| point.precision_bits == 8 && !point.has_damaged_restarts()).for_each(|point| {
        let (image, file) = point.build();
        let reading = oracle::read(&file.to_bytes()).unwrap_or_else(|error| panic!("{}: {error}", point.name));
        assert_eq!(reading.num_warnings, 0, "{}", point.name);
        if let Some(difference) = compare::first_difference(&reading.planes, &image.planes) {
            panic!("{}: {difference}", point.name);
        }
    });
}

/// What came of many cases.
#[derive(Default)]
struct Tally {
    num_right: usize,
    num_unjudged: usize,
    faults: Vec<String>,
}

impl Tally {
    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Right => Self { num_right: 1, ..Self::default() },
            Verdict::Unjudged => Self { num_unjudged: 1, ..Self::default() },
            Verdict::Wrong(fault) => Self { faults: vec![fault], ..Self::default() },
        }
    }

    fn plus(mut self, other: Self) -> Self {
        self.faults.extend(other.faults);
        Self {
            num_right: self.num_right + other.num_right,
            num_unjudged: self.num_unjudged + other.num_unjudged,
            ..self
        }
    }
}

/// Every engine on every case; all failures are reported, not only the first. At least `min_judged` cases must have had something
/// to be compared with.
fn check_all(cases: impl ParallelIterator<Item = Case>, min_judged: usize) {
    let engines = engines();
    let verdicts = cases.flat_map_iter(|case| engines.iter().map(move |engine| case.check(engine.as_ref())));
    let tally = verdicts.map(Tally::of).reduce(Tally::default, Tally::plus);
    eprintln!("{} right, {} not judged by libjpeg, {} wrong", tally.num_right, tally.num_unjudged, tally.faults.len());
    let shown = &tally.faults[..tally.faults.len().min(40)];
    assert!(tally.faults.is_empty(), "{} wrong:\n{}", tally.faults.len(), shown.join("\n"));
    assert!(tally.num_right >= min_judged, "only {} cases could be judged", tally.num_right);
}

#[test]
fn the_matrix() {
    check_all(matrix::points().into_par_iter().map(|point| matrix_case(&point)), 100);
}

#[test]
fn odd_files() {
    check_all(odd::cases().into_par_iter(), 50);
}

#[test]
fn files_that_libjpeg_wrote() {
    check_all(library::cases().into_par_iter(), 50);
}

/// Real files, where they are present.
#[test]
fn files_of_the_data_folder() {
    let paths = library::data_files();
    let case = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Case::new(path.display().to_string(), bytes, Expected::AsLibjpegIfClean)
    };
    check_all(paths.par_iter().map(case), paths.len() / 2);
}

/// Small sound files of every process, to be damaged.
fn victims() -> Vec<(String, Vec<u8>)> {
    let processes = [
        (Process::Baseline, EntropyCoding::Huffman),
        (Process::ExtendedSequential, EntropyCoding::Arithmetic),
        (Process::Progressive, EntropyCoding::Huffman),
        (Process::Progressive, EntropyCoding::Arithmetic),
    ];
    let mut victims = Vec::new();
    for (process, coding) in processes {
        let image = odd::photo_as(process, coding);
        let plain = odd::encoding(&image);
        let mut restarting = plain.clone();
        restarting.scans.iter_mut().for_each(|scan| scan.restart = Restart::EveryRow);
        victims.push((format!("{process:?} {coding:?}"), plain.encode(&image).to_bytes()));
        victims.push((format!("{process:?} {coding:?} with restarts"), restarting.encode(&image).to_bytes()));
    }
    for codes in [Codes::Standard, Codes::Long, Codes::FixedLength] {
        let image = odd::photo(&[(1, 1), (1, 1), (1, 1)], 70);
        let mut encoding = Encoding::new(sequential_scans(&image.frame, Interleaving::Mixed));
        encoding.scans.iter_mut().for_each(|scan| scan.codes = codes);
        victims.push((format!("4:4:4, two scans, {codes:?} codes"), encoding.encode(&image).to_bytes()));
    }
    victims
}

/// How many times the usual number of damaged files are tried: `DCTFLOW_TEST_EFFORT`, 1 by default.
fn effort() -> u64 {
    std::env::var("DCTFLOW_TEST_EFFORT").map_or(1, |effort| effort.parse().expect("DCTFLOW_TEST_EFFORT is a number"))
}

/// `num_variants` damaged files of each victim, and more with more effort. Where libjpeg reads one without a warning, so must we, and see the same.
fn check_damaged(num_variants: u64, min_judged: usize, damage: impl Fn(&[u8], &mut Random) -> Vec<u8> + Sync) {
    let victims = victims();
    let variants = victims
        .par_iter()
        .flat_map(|victim| (0..num_variants * effort()).into_par_iter().map(move |seed| (victim, seed)));
    let case = |((name, bytes), seed): (&(String, Vec<u8>), u64)| {
        let damaged = damage(bytes, &mut Random::new(seed));
        Case::new(format!("{name}, damaged with seed {seed}"), damaged, Expected::AsLibjpegIfClean)
    };
    check_all(variants.map(case), min_judged);
}

#[test]
fn flipped_bits() {
    check_damaged(3000, 10_000, |bytes, random| flip_bit(bytes, random.below(bytes.len() as u32 * 8) as usize));
}

#[test]
fn mutated_files() {
    check_damaged(2500, 3000, |bytes, random| {
        let num_changes = 1 + random.below(3);
        (0..num_changes).fold(bytes.to_vec(), |bytes, _| mutate(&bytes, random))
    });
}

#[test]
fn truncated_files() {
    let victims = victims();
    let cuts = victims.iter().flat_map(|(name, bytes)| {
        let case = move |(i, cut): (usize, &[u8])| {
            // An EOI behind the cut lets libjpeg judge progressive files that lack scans.
            let with_eoi = [cut, &[0xFF, 0xD9]].concat();
            let name = format!("{name}, cut after {} bytes", 64 * i);
            [(name.clone(), cut.to_vec()), (name + ", with EOI", with_eoi)]
        };
        truncations(bytes, 64).enumerate().flat_map(case)
    });
    let cases: Vec<Case> = cuts.map(|(name, bytes)| Case::new(name, bytes, Expected::AsLibjpegIfClean)).collect();
    check_all(cases.into_par_iter(), 0);
}

/// Broken files have the outcome that the contract defines.
#[test]
fn malformed_files() {
    let mut faults = Vec::new();
    for engine in engines() {
        for case in malformed::table() {
            let decoded = engine.decode(&case.bytes);
            let report = &decoded.report;
            let actual = (
                report.status,
                report.reason.as_ref().map(ImageError::code),
                report.first_untrusted_mcu,
                report.untrusted_mcus,
            );
            let expected = (case.status, case.reason, case.first_untrusted_mcu, case.untrusted_mcus);
            if actual != expected || decoded.coefficients.is_none() != (report.status == Status::Failed) {
                faults.push(format!(
                    "{}: {}: {actual:?} is not {expected:?}; {:?}",
                    engine.name(),
                    case.name,
                    report.reason
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Memory that is used again never shows in the coefficients, damaged files included.
#[test]
fn a_used_decoder_gives_what_a_new_one_gives() {
    let limits = Limits::default();
    let mut used = Decoder::default();
    for (name, bytes) in victims() {
        for seed in 0..300 {
            let damaged = mutate(&bytes, &mut Random::new(seed));
            let decoded = used.decode(&damaged, &limits);
            assert!(decoded == cpu::decode(&damaged, &limits), "{name}, damaged with seed {seed}");
            decoded.coefficients.into_iter().for_each(|coefficients| used.recycle(coefficients));
        }
    }
}

/// The sound 12-bit files of the matrix.
fn twelve_bit_points() -> Vec<matrix::Point> {
    let mut points = matrix::points();
    points.retain(|point| point.precision_bits == 12 && !point.has_damaged_restarts());
    points
}

fn hexadecimal(digest: [u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 12-bit coefficients are those that libjpeg-turbo 3 reads: against committed digests, and the program itself where it is there.
#[test]
fn twelve_bit_files() {
    let points = twelve_bit_points();
    let files: Vec<Vec<u8>> = points.par_iter().map(|point| point.build().1.to_bytes()).collect();
    if let Some(program) = oracle12::program() {
        let answers = oracle12::ask(&program, &files);
        let named = points.iter().zip(&answers).map(|(point, answer)| {
            assert_eq!(answer.num_warnings, 0, "{}", point.name);
            (point.name.clone(), answer.digest.clone())
        });
        let digests: BTreeMap<String, String> = named.collect();
        if oracle12::is_remake() {
            oracle12::commit(&digests);
        }
        assert_eq!(digests, oracle12::committed());
    }
    for engine in engines() {
        let digest = |(point, file): (&matrix::Point, &Vec<u8>)| {
            let coefficients = engine.decode(file).coefficients.unwrap_or_else(|| panic!("{} fails", point.name));
            (point.name.clone(), hexadecimal(coefficients.digest()))
        };
        let digests: BTreeMap<String, String> = points.par_iter().zip(&files).map(digest).collect();
        assert_eq!(digests, oracle12::committed(), "{}", engine.name());
    }
}

/// Damaged 12-bit files, where the program is there: what it reads without a warning, we read as it does.
#[test]
fn damaged_twelve_bit_files() {
    let Some(program) = oracle12::program() else {
        eprintln!("skipped: DCTFLOW_ORACLE12 does not name the program that ci/oracle12.sh builds");
        return;
    };
    let small = twelve_bit_points().into_iter().filter(|point| point.size.0 < 200);
    let sound: Vec<(String, Vec<u8>)> = small.map(|point| (point.name.clone(), point.build().1.to_bytes())).collect();
    let damaged = |(_, bytes): &(String, Vec<u8>)| {
        let flip = |seed| flip_bit(bytes, Random::new(seed).below(bytes.len() as u32 * 8) as usize);
        (0..40).map(flip).collect::<Vec<_>>()
    };
    let files: Vec<Vec<u8>> = sound.iter().flat_map(damaged).collect();
    let engines = engines();
    let mut num_judged = 0;
    for (file, answer) in files.iter().zip(oracle12::ask(&program, &files)) {
        if answer.num_warnings > 0 || answer.digest == "-" {
            continue;
        }
        num_judged += 1;
        for engine in &engines {
            let digest = engine.decode(file).coefficients.map(|coefficients| hexadecimal(coefficients.digest()));
            assert_eq!(digest, Some(answer.digest.clone()), "{}: {} bytes", engine.name(), file.len());
        }
    }
    assert!(num_judged > files.len() / 5, "only {num_judged} of {} could be judged", files.len());
}
