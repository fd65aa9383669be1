//! The decoders against libjpeg's `jpeg_read_coefficients`: bit for bit wherever libjpeg reports neither error nor warning.

mod common;

use common::cases::{Case, matrix_case};
use common::engines::engines;
use common::{compare, matrix, oracle};
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

/// Every engine on every case; all failures are reported, not only the first.
fn check_all(cases: impl ParallelIterator<Item = Case>) {
    let engines = engines();
    let (num_cases, faults) = cases
        .map(|case| (1, engines.iter().filter_map(|engine| case.check(engine.as_ref())).collect::<Vec<_>>()))
        .reduce(|| (0, Vec::new()), |(n, faults), (m, more)| (n + m, [faults, more].concat()));
    eprintln!("{num_cases} cases");
    assert!(num_cases > 0);
    assert!(faults.is_empty(), "{} of {num_cases} cases fail:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_matrix() {
    check_all(matrix::points().into_par_iter().map(|point| matrix_case(&point)));
}
