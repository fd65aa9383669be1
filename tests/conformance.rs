//! The decoder against libjpeg's `jpeg_read_coefficients`: bit for bit wherever libjpeg reports neither error nor warning.

mod common;

use common::{compare, matrix, oracle};
use rayon::prelude::*;

/// The encoder of the tests is right: libjpeg reads back the coefficients that were written.
#[test]
fn libjpeg_reads_what_the_encoder_wrote() {
    let points = matrix::points();
    eprintln!("{} files", points.len());
    points.par_iter().filter(|point| point.precision_bits == 8 && !point.has_damaged_restarts()).for_each(|point| {
        let (image, file) = point.build();
        let reading = oracle::read(&file.to_bytes()).unwrap_or_else(|error| panic!("{}: {error}", point.name));
        assert_eq!(reading.num_warnings, 0, "{}", point.name);
        if let Some(difference) = compare::first_difference(&reading.planes, &image.planes) {
            panic!("{}: {difference}", point.name);
        }
    });
}
