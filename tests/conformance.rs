//! The decoders against libjpeg's `jpeg_read_coefficients`: bit for bit wherever libjpeg reports neither error nor warning.

mod common;

use std::collections::BTreeMap;

use common::cases::{Case, Expected, matrix_case};
use common::engines::engines;
use common::suite::check_all;
use common::{compare, library, matrix, odd, oracle, oracle12};
use dctflow::synth::{Random, flip_bit};
use rayon::prelude::*;

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
        common::say::skipped("DCTFLOW_ORACLE12 does not name the program that ci/oracle12.sh builds");
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
