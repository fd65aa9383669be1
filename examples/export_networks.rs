//! Writes every network, narrow and with random weights, into a folder: `NAME.safetensors`, `NAME.onnx`, inputs
//! `NAME.inputs.safetensors`, and in the same order of images this library's logits on them, `NAME.logits.json`. For other programs to
//! compare with.
//!
//! `cargo run --example export_networks -- FOLDER`

#[path = "../tests/reference/cases.rs"]
mod cases;

use std::path::Path;

use dctflow::cpu::network::{Engine, Scratch};
use dctflow::network::{InputNorm, Precision, Variant, Weights};
use dctflow::{Error, ErrorKind, Result};
use safetensors::tensor::{Dtype, TensorView};

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).ok_or_else(|| Error::new(ErrorKind::Usage, "name a folder to write to"))?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    Variant::ALL.into_iter().try_for_each(|variant| export(variant, folder))
}

fn export(variant: Variant, folder: &Path) -> Result<()> {
    let weights = cases::weights(variant)?;
    weights.save(folder.join(format!("{variant}.safetensors")), Precision::F32)?;
    weights.save_onnx(folder.join(format!("{variant}.onnx")))?;
    write(&folder.join(format!("{variant}.inputs.safetensors")), &inputs_file(&weights)?)?;
    let logits = logits(&weights)?;
    let rows: Vec<&[f32]> = logits.chunks_exact(weights.config().classes).collect();
    write(&folder.join(format!("{variant}.logits.json")), serde_json::json!(rows).to_string().as_bytes())
}

/// What the CPU backend answers, `[N, classes]`.
fn logits(weights: &Weights) -> Result<Vec<f32>> {
    let inputs = cases::engine_inputs(weights);
    let batch = inputs[0].shape[0];
    let inputs: Vec<&[f32]> = inputs.iter().map(|input| &input.data[..]).collect();
    let engine = Engine::new(weights.inference(InputNorm::Fold))?;
    let mut logits = vec![0.0; batch * engine.num_classes()];
    engine.run(&inputs, batch, &mut logits, &mut Scratch::new())?;
    Ok(logits)
}

/// The inputs under their names, NHWC.
fn inputs_file(weights: &Weights) -> Result<Vec<u8>> {
    let internal = |e| Error::new(ErrorKind::Internal, "the inputs cannot be stored").with_source(e);
    let tensors = cases::inputs(weights);
    let mut views = Vec::new();
    for (name, tensor) in weights.network().input_names().iter().zip(&tensors) {
        let bytes = bytemuck::cast_slice(&tensor.data);
        views.push((*name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(internal)?));
    }
    safetensors::serialize(views, None).map_err(internal)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|e| Error::io(path, e))
}
