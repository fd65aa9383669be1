//! Writes what a network reads of one JPEG file, `y` `[28, 28, 64]` and `c` `[14, 14, 128]`, as a safetensors file: for networks of
//! your own, and for tests/reference/pillow_distance.py.
//!
//! `cargo run --release --example network_input -- IMAGE OUT [TRANSFORM]`, TRANSFORM as `short=256,crop=224`.

use std::error::Error;

use dctflow::ImageError;
use dctflow::cpu::input::input_tensors;
use dctflow::jpeg::Limits;
use dctflow::resample::{InputPlan, Normalization, Transform};
use dctflow::tensor::InputKind;
use safetensors::{Dtype, tensor::TensorView};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, out, transform @ ..] = arguments.as_slice() else {
        return Err("usage: network_input IMAGE OUT [TRANSFORM]".into());
    };
    let transform: Transform = transform.first().map_or("", String::as_str).parse()?;
    let decoded = dctflow::cpu::decode(&std::fs::read(image)?, &Limits::default());
    let Some(coefficients) = decoded.coefficients else {
        return Err(decoded.report.reason.map_or("no coefficients".into(), Box::from));
    };
    let tensors = network_input(&coefficients, &transform)?;
    let views = ["y", "c"].into_iter().zip(&tensors).map(|(name, tensor)| {
        let view = TensorView::new(Dtype::F32, tensor.shape[1..].to_vec(), bytemuck::cast_slice(&tensor.data));
        view.map(|view| (name, view))
    });
    safetensors::serialize_to_file(views.collect::<Result<Vec<_>, _>>()?, None, out.as_ref())?;
    Ok(())
}

fn network_input(
    coefficients: &dctflow::jpeg::Coefficients,
    transform: &Transform,
) -> Result<Vec<dctflow::tensor::Tensor>, ImageError> {
    let (frame, color) = (&coefficients.frame, coefficients.color);
    let plan = InputPlan::new(frame, color, coefficients.orientation, transform, InputKind::Blocks)?;
    Ok(input_tensors(&plan, coefficients, &Normalization::default()).0)
}
