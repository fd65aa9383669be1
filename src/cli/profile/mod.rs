//! `dctflow profile`: what every kernel does and how long it takes. On a GPU times are measured, by CUPTI or by events; on the emulator they are
//! predicted for a named GPU, and say so.

mod compiled;
mod gpu;
mod perfetto;
mod recorder;
mod roofline;
mod run;
mod speculation;
mod table;
mod work;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args as ClapArgs, Subcommand};
use dctflow::device::{Backend, Device};
use dctflow::jpeg::Limits;
use dctflow::plan::PlannedImage;
use dctflow::session::DeviceChoice;
use dctflow::synth::photo_set;
use dctflow::{Error, ErrorKind, Result};

use super::Done;
use super::args::ModelArgs;
use super::held::read_files;
use super::output::{Output, say};
use gpu::Gpu;
use recorder::Recorder;
use run::{Runner, Scenario};
use table::Report;

/// Show what every kernel does and how long it takes
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
On a GPU, times are those that CUPTI records or, without it, events between the launches. On the
emulator they are predictions for the GPU of --gpu: for each launch, what takes longest of issuing
its instructions (counted), moving its bytes (planned) and its matrix products. A prediction leaves
out latencies, so that it is a bound.

Examples:
  dctflow profile e2e --batch 64 --trace trace.json --chart roofline.svg
  dctflow profile decode --device emulator --gpu a100-sxm --json photos/ > profile.json
  ncu --profile-from-start off --set full dctflow profile e2e --once
  nsys profile --capture-range=cudaProfilerApi dctflow profile e2e --once";

#[derive(Debug, Subcommand)]
enum Command {
    /// The kernels from bytes to coefficients
    Decode(DecodeArgs),
    /// The kernels from coefficients to the network's input
    Input(NetworkArgs),
    /// The kernels from the network's input to logits
    Network(NetworkArgs),
    /// All kernels, from bytes to logits
    E2e(NetworkArgs),
    Speculation(speculation::Args),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
struct DecodeArgs {
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
struct NetworkArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Debug, ClapArgs)]
struct CommonArgs {
    /// JPEG files, folders, tar shards, and @LIST files [default: photo-like images made on the spot].
    #[arg(value_name = "PATHS")]
    paths: Vec<PathBuf>,
    /// What runs the kernels: auto (a GPU, else the emulator), cuda, cuda:N or emulator.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// Images in a batch.
    #[arg(long, value_name = "B", default_value = "16")]
    batch: NonZeroUsize,
    /// Batches that are profiled [default: 10 on a GPU, after a second of others; 1 on the emulator].
    #[arg(long, value_name = "N")]
    batches: Option<NonZeroUsize>,
    /// The GPU that predictions and shares of a peak are for [default: the device's own; h100-sxm on the emulator].
    #[arg(long, value_name = "GPU", value_parser = Gpu::named)]
    gpu: Option<&'static Gpu>,
    /// Take a GPU's times from events even where CUPTI is there.
    #[arg(long)]
    events: bool,
    /// Write a trace of host and device for ui.perfetto.dev or chrome://tracing.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write the rooflines of the kernels, as SVG.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Run one batch between the profiler's start and stop, and print nothing: for ncu and nsys.
    #[arg(long, conflicts_with_all = ["trace", "chart", "json", "record", "batches"])]
    once: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Write the JSON object to a file too.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    match &args.command {
        Command::Decode(args) => profile(&args.common, Scenario::DECODE, None),
        Command::Input(args) => profile(&args.common, Scenario::INPUT, Some(&args.model)),
        Command::Network(args) => profile(&args.common, Scenario::NETWORK, Some(&args.model)),
        Command::E2e(args) => profile(&args.common, Scenario::E2E, Some(&args.model)),
        Command::Speculation(args) => speculation::run(args),
    }
}

fn profile(args: &CommonArgs, scenario: Scenario, model: Option<&ModelArgs>) -> Result<Done> {
    let (device, recorder) = open(args)?;
    let is_emulator = device.info().backend == Backend::Emulator;
    let gpu = args.gpu.or_else(|| Gpu::of_device(&device.info().name)).or(is_emulator.then_some(Gpu::DEFAULT));
    let files = if args.paths.is_empty() { photo_set(0, args.batch.get()) } else { read_files(&args.paths)? };
    let images = planned(&files)?;
    let model = model.map(ModelArgs::load).transpose()?;
    let mut runner = Runner::new(&device, scenario, model.as_ref().map(|model| &model.weights), args.batch.get())?;
    if args.once {
        runner.run_once(&images)?;
        return Ok(Done::Everything);
    }
    let default_batches = if is_emulator { 1 } else { 10 };
    let num_batches = args.batches.map_or(default_batches, NonZeroUsize::get);
    let profile = runner.profile(&images, num_batches, recorder, gpu)?;
    let report = Report::new(&profile, gpu, model.as_ref().map(|model| model.name.as_str()));
    // First of all: what fails below must not cost it.
    let mut out = Output::new();
    if args.json {
        out.object(&report.to_json())?
    } else {
        out.line(report.to_text().trim_end())?
    }
    out.flush()?;
    if let Some(path) = &args.record {
        write(path, format!("{}\n", report.to_json()))?;
    }
    if let Some(path) = &args.trace {
        write(path, perfetto::trace(&profile).to_string())?;
    }
    if let Some(path) = &args.chart {
        write(path, roofline::svg(&report)?)?;
    }
    Ok(Done::Everything)
}

/// A device with kernels, and what records on it. What `auto` took goes to standard error.
fn open(args: &CommonArgs) -> Result<(Arc<dyn Device>, Recorder)> {
    let choice = match args.device {
        DeviceChoice::Auto => match DeviceChoice::Cuda(0).resolve() {
            Ok(_) => DeviceChoice::Cuda(0),
            Err(no_gpu) => {
                say(format_args!("device emulator: {no_gpu}"));
                DeviceChoice::Emulator
            }
        },
        choice => choice,
    };
    match choice {
        DeviceChoice::Emulator => Ok((open_emulator(args.gpu.unwrap_or(Gpu::DEFAULT))?, Recorder::of_events())),
        DeviceChoice::Cuda(_) => {
            // Before the device is opened, so that CUPTI sees all of it; and never beside another profiler.
            let without_cupti = args.events || args.once;
            let recorder = if without_cupti { Recorder::of_events() } else { Recorder::of_gpu() };
            let handle = choice.resolve()?.handle;
            handle.map(|device| (device, recorder)).ok_or_else(|| no_kernels(choice))
        }
        DeviceChoice::Auto | DeviceChoice::Cpu => Err(no_kernels(choice)),
    }
}

fn no_kernels(choice: DeviceChoice) -> Error {
    let message = format!("no kernels run on the device {choice}: use --device emulator, or cuda where there is a GPU");
    Error::new(ErrorKind::Usage, message)
}

/// An emulator that is asked for the launches that the GPU would be.
#[cfg(feature = "emulator")]
fn open_emulator(gpu: &Gpu) -> Result<Arc<dyn Device>> {
    use dctflow::device::emulator::{Emulator, EmulatorOptions};
    let options = EmulatorOptions { num_sms: Some(gpu.num_sms), l2_bytes: gpu.l2_bytes, ..EmulatorOptions::default() };
    Ok(Emulator::new(options)?)
}

#[cfg(not(feature = "emulator"))]
fn open_emulator(_gpu: &Gpu) -> Result<Arc<dyn Device>> {
    // The error says how to get one.
    DeviceChoice::Emulator.resolve()?.handle.ok_or_else(|| no_kernels(DeviceChoice::Emulator))
}

/// The files that the device decodes. The others are left out, and standard error says so.
fn planned(files: &[Vec<u8>]) -> Result<Vec<PlannedImage<'_>>> {
    let limits = Limits::default();
    let planned: Vec<_> = files.iter().filter_map(|file| PlannedImage::read(file, &limits).ok()).collect();
    if planned.len() < files.len() {
        say(format_args!("{} files are left out: the CPU decodes them", files.len() - planned.len()));
    }
    if planned.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "none of the files is decoded on a device: nothing to profile"));
    }
    Ok(planned)
}

fn write(path: &Path, text: String) -> Result<()> {
    std::fs::write(path, text).map_err(|e| Error::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_for_the_cpu_are_no_error_unless_all_are() {
        let mut files = photo_set(1, 2);
        files.push(b"no JPEG".to_vec());
        assert_eq!(planned(&files).unwrap().len(), 2);
        assert_eq!(planned(&files[2..]).unwrap_err().kind(), ErrorKind::Usage);
    }
}
