//! A network of one's own on coefficients: everything up to the network's input is this library's, what comes after is not. The network
//! here has one layer that weighs frequencies, and says how sharp an image is; put your own in its place.
//!
//! `cargo run --release --example own_network -- IMAGE...`

use std::error::Error;

use dctflow::ImageError;
use dctflow::cpu::input::input_tensors;
use dctflow::jpeg::{Coefficients, Limits};
use dctflow::resample::{InputPlan, Normalization, Transform};
use dctflow::tensor::{InputKind, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let transform: Transform = "short=256,crop=224".parse()?;
    for path in std::env::args().skip(1) {
        // One bad image does not end the program: without coefficients there is a reason, with them there may be one.
        let decoded = dctflow::cpu::decode(&std::fs::read(&path)?, &Limits::default());
        let answer = match (&decoded.coefficients, decoded.report.reason) {
            (Some(coefficients), None) => luma_blocks(coefficients, &transform).map(|luma| sharpness(&luma)),
            (_, reason) => Err(reason.unwrap_or(ImageError::Internal)),
        };
        match answer {
            Ok(sharpness) => println!("{path}: {sharpness:.4}"),
            Err(reason) => println!("{path}: {reason}"),
        }
    }
    Ok(())
}

/// What networks read of the luma: `[1, 28, 28, 64]` for a crop of 224, natural order, dequantised. Resized and cropped as coefficients.
fn luma_blocks(coefficients: &Coefficients, transform: &Transform) -> Result<Tensor, ImageError> {
    let Coefficients { frame, color, orientation, .. } = coefficients;
    let plan = InputPlan::new(frame, *color, *orientation, transform, InputKind::Blocks)?;
    let (mut tensors, _saturated) = input_tensors(&plan, coefficients, &Normalization::default());
    Ok(tensors.swap_remove(0))
}

/// The share of high frequencies in the energy of all but DC, over all blocks.
fn sharpness(luma: &Tensor) -> f32 {
    let (mut high, mut all) = (0.0, f32::MIN_POSITIVE);
    for block in luma.data.chunks_exact(64) {
        for (k, coefficient) in block.iter().enumerate().skip(1) {
            let (v, u) = (k / 8, k % 8);
            let energy = coefficient * coefficient;
            all += energy;
            if u + v >= 4 {
                high += energy;
            }
        }
    }
    high / all
}
