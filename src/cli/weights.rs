//! `dctflow weights`: make, show and export the weights of a network.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use dctflow::network::{Config, Precision, Variant, Weights};
use dctflow::resample::{Normalization, Transform};
use dctflow::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use super::Done;
use super::output::{Output, float};
use super::progress;

/// Make, show and export the weights of a network
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(InitArgs),
    Show(ShowArgs),
    Onnx(OnnxArgs),
}

/// Write seeded random weights
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  dctflow weights init --out random.safetensors
  dctflow weights init --network late-concat --width 0.25 --classes 10 --class-names names.txt --out small.safetensors")]
struct InitArgs {
    /// The network.
    #[arg(long, value_name = "NAME", default_value_t = super::args::DEFAULT_NETWORK)]
    network: Variant,
    /// Width factor: scales the channels of every layer.
    #[arg(long, value_name = "W", default_value_t = 1.0)]
    width: f64,
    /// Number of classes [default: as many as class names, else 1000].
    #[arg(long, value_name = "K")]
    classes: Option<usize>,
    /// A text file with one class name per line.
    #[arg(long, value_name = "FILE")]
    class_names: Option<PathBuf>,
    /// How images are resized and cropped; the crop is the network's input size.
    #[arg(long, value_name = "T", default_value_t)]
    transform: Transform,
    /// The seed: the same weights on every machine.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Store convolutions as 16-bit floats.
    #[arg(long)]
    f16: bool,
    /// The file to write (safetensors); an older one is replaced.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Say what was written as a JSON object.
    #[arg(long)]
    json: bool,
}

/// Show what a weights file holds
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  dctflow weights show net.safetensors\n  dctflow weights show --tensors --json net.safetensors"
)]
struct ShowArgs {
    /// Weights (safetensors).
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// List every tensor and its shape.
    #[arg(long)]
    tensors: bool,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// Export a network with its weights to ONNX
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The inputs are y [N, 64, H/8, W/8], cb and cr [N, 64, H/16, W/16]: dequantised coefficients,
natural order. The RGB networks have one input, rgb [N, 3, H, W]: samples divided by 255.

Example:
  dctflow weights onnx net.safetensors --out net.onnx")]
struct OnnxArgs {
    /// Weights (safetensors).
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The file to write; an older one is replaced.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Say what was written as a JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    let mut out = Output::new();
    match &args.command {
        Command::Init(args) => init(args, &mut out)?,
        Command::Show(args) => show(args, &mut out)?,
        Command::Onnx(args) => onnx(args, &mut out)?,
    }
    out.flush()?;
    Ok(Done::Everything)
}

fn init(args: &InitArgs, out: &mut Output) -> Result<()> {
    let class_names = args.class_names.as_ref().map(read_class_names).transpose()?.unwrap_or_default();
    let classes = args.classes.unwrap_or(if class_names.is_empty() { 1000 } else { class_names.len() });
    let config = Config { width: args.width, classes, input_size: args.transform.crop, ..Config::new(args.network) };
    let spinner = progress::message("making random weights");
    let weights = Weights::random(config, args.seed)?.with_transform(args.transform)?.with_class_names(class_names)?;
    weights.save(&args.out, if args.f16 { Precision::F16 } else { Precision::F32 })?;
    spinner.finish_and_clear();
    written(&args.out, args.json, out)
}

fn read_class_names(path: &PathBuf) -> Result<Vec<String>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Error::new(ErrorKind::Usage, "not UTF-8: class names are a text file with one name per line")
            .with_path(path)
            .with_source(e)
    })?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn written(path: &PathBuf, json: bool, out: &mut Output) -> Result<()> {
    let num_bytes = std::fs::metadata(path).map_err(|e| Error::io(path, e))?.len();
    if json {
        return out.json(object([("written", json!(path.to_string_lossy())), ("bytes", json!(num_bytes))]));
    }
    out.line(format!("{}: {num_bytes} bytes written", path.display()))
}

fn show(args: &ShowArgs, out: &mut Output) -> Result<()> {
    let weights = Weights::load(&args.file)?;
    if args.json {
        return out.json(description(&weights, args));
    }
    for (key, value) in description(&weights, args) {
        match value {
            Value::Object(_) if key == "tensors" => {}
            Value::Array(names) if key == "class_names" => out.line(format!("{key:<16}{}", names.len()))?,
            Value::String(text) => out.line(format!("{key:<16}{text}"))?,
            value => out.line(format!("{key:<16}{value}"))?,
        }
    }
    if args.tensors {
        for (name, tensor) in weights.tensors() {
            out.line(format!("{name:<40}{:?}", tensor.shape))?;
        }
    }
    Ok(())
}

fn description(weights: &Weights, args: &ShowArgs) -> Map<String, Value> {
    let (config, metadata, network) = (weights.config(), weights.metadata(), weights.network());
    let Normalization { mean, std } = metadata.normalization;
    let mut description = object([
        ("path", json!(args.file.to_string_lossy())),
        ("network", json!(config.variant.name())),
        ("width", json!(config.width)),
        ("classes", json!(config.classes)),
        ("eps", float(config.eps)),
        ("input_size", json!([config.input_size.0, config.input_size.1])),
        ("transform", json!(metadata.transform.to_string())),
        ("normalization", json!({ "mean": mean.map(float), "std": std.map(float) })),
        ("provenance", json!(metadata.provenance)),
        ("parameters", json!(network.parameters())),
        ("macs", json!(network.macs())),
        ("class_names", json!(metadata.class_names)),
    ]);
    if args.tensors {
        let tensors = weights.tensors().iter().map(|(name, tensor)| (name.clone(), json!(tensor.shape)));
        description.insert("tensors".into(), Value::Object(tensors.collect()));
    }
    description
}

fn onnx(args: &OnnxArgs, out: &mut Output) -> Result<()> {
    let weights = Weights::load(&args.file)?;
    weights.save_onnx(&args.out)?;
    written(&args.out, args.json, out)
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}
