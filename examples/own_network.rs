//! A network of one's own on coefficients: everything up to the network's input is this library's, what comes after is not. The network
//! here has one layer that weighs frequencies, and says how sharp an image is; put your own in its place.
//!
//! On a device, files become the network's input in its memory: pointer, shape and stream are what your network needs, or a DLPack tensor. Without
//! one, the CPU makes the same input.
//!
//! `cargo run --release --example own_network -- [--device DEVICE] IMAGE...`

use std::sync::Arc;

use dctflow::cpu::input::input_tensors;
use dctflow::device::{Device, Stream};
use dctflow::dlpack::{DataType, Exported};
use dctflow::jpeg::{Coefficients, Limits};
use dctflow::plan::{InputForm, InputValue};
use dctflow::resample::{InputPlan, Normalization, Transform};
use dctflow::session::{BatchDecoder, DeviceChoice, DeviceInput};
use dctflow::tensor::InputKind;
use dctflow::{Error, ErrorKind, ImageError, Result};
use half::f16;

/// What networks read of the luma: `[28, 28, 64]` for a crop of 224, natural order, dequantised.
const TRANSFORM: &str = "short=256,crop=224";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut choice = DeviceChoice::Auto;
    if arguments.next_if(|argument| argument == "--device").is_some() {
        choice = arguments.next().unwrap_or_default().parse()?;
    }
    let device = choice.resolve()?;
    eprintln!("device {}: {}", device.kind, device.why);
    let paths: Vec<String> = arguments.collect();
    let files: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| std::fs::read(path).map_err(|e| Error::new(ErrorKind::Io, path.clone()).with_source(e)))
        .collect::<Result<_>>()?;
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let answers = match &device.handle {
        Some(device) => on_device(device, &files)?,
        None => on_cpu(&files)?,
    };
    for (path, answer) in paths.iter().zip(answers) {
        match answer {
            Ok(sharpness) => println!("{path}: {sharpness:.4}"),
            // One bad image does not end the program.
            Err(reason) => println!("{path}: {reason}"),
        }
    }
    Ok(())
}

/// How sharp each file is, or why that is not known.
pub fn on_device(device: &Arc<dyn Device>, files: &[&[u8]]) -> Result<Vec<Result<f32, ImageError>>> {
    let transform: Transform = TRANSFORM.parse()?;
    let form = InputForm::blocks(transform.crop.0, transform.crop.1, InputValue::F16);
    let mut decoder = BatchDecoder::new(device)?;
    let mut input = DeviceInput::new(device, form, transform, files.len().max(1))?;
    // Your network's.
    let stream = Stream::new(device)?;
    let in_flight = decoder.submit_to_device(files)?;
    in_flight.join(&stream)?;
    let refused = input.submit(&stream, in_flight.buffer(), &in_flight.places())?;

    // Here your network goes on `stream`, on f16 at this address; other programs take the tensor.
    let (luma, shape) = (&input.tensors()[0], input.shapes()[0]);
    let exported = Exported::from_device(Arc::clone(luma), 0, 0, DataType::F16, &shape)?;
    eprintln!("luma {:#x}, {:?}", luma.address(), exported.shape());
    let mut values = vec![f16::ZERO; shape.iter().product()];
    stream.download_now(bytemuck::cast_slice_mut(&mut values), luma.all())?;

    // What came of the files is known last. What the device has given up the CPU has decoded by now, too late for the input above.
    let decoded = in_flight.finish()?;
    let mut answers = Vec::with_capacity(files.len());
    let images = values.chunks_exact(shape[1] * shape[2] * shape[3]);
    for (file_idx, ((luma, image), refused)) in images.zip(decoded.images()).zip(refused).enumerate() {
        answers.push(match image.report.reason.clone().or(refused) {
            Some(reason) => Err(reason),
            None if decoded.late().contains(&file_idx) => on_cpu(&files[file_idx..=file_idx])?.remove(0),
            None => Ok(sharpness(luma.iter().map(|value| value.to_f32()))),
        });
    }
    Ok(answers)
}

/// The same without a device.
pub fn on_cpu(files: &[&[u8]]) -> Result<Vec<Result<f32, ImageError>>> {
    let transform: Transform = TRANSFORM.parse()?;
    let answer = |file: &&[u8]| {
        let decoded = dctflow::cpu::decode(file, &Limits::default());
        let Coefficients { frame, color, orientation, .. } = match (&decoded.coefficients, decoded.report.reason) {
            (Some(coefficients), None) => coefficients,
            (_, reason) => return Err(reason.unwrap_or(ImageError::Internal)),
        };
        let plan = InputPlan::new(frame, *color, *orientation, &transform, InputKind::Blocks)?;
        let coefficients = decoded.coefficients.as_ref().ok_or(ImageError::Internal)?;
        let (tensors, _saturated) = input_tensors(&plan, coefficients, &Normalization::default());
        Ok(sharpness(tensors[0].data.iter().copied()))
    };
    Ok(files.iter().map(answer).collect())
}

/// The share of high frequencies in the energy of all but DC, over all blocks.
fn sharpness(luma: impl Iterator<Item = f32>) -> f32 {
    let (mut high, mut all) = (0.0, f32::MIN_POSITIVE);
    for (idx, coefficient) in luma.enumerate() {
        let (v, u) = (idx % 64 / 8, idx % 8);
        if (u, v) == (0, 0) {
            continue;
        }
        let energy = coefficient * coefficient;
        all += energy;
        if u + v >= 4 {
            high += energy;
        }
    }
    high / all
}
