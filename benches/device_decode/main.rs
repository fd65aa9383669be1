//! How fast a device decodes: upload, decoding and download apart, kernel by kernel, by batch size; beside what the device itself can copy.
//!
//! `cargo bench --bench device_decode -- --device cuda --record record.json photos/`

mod measure;
mod report;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use dctflow::device::Device;
use dctflow::device::emulator::{Emulator, EmulatorOptions, Schedule};
use dctflow::jpeg::Limits;
use dctflow::plan::{PlanOptions, PlannedImage};
use dctflow::session::DeviceChoice;
use dctflow::sources::Sources;
use dctflow::stages::DecodeStage;
use dctflow::synth::photo_set;
use rayon::prelude::*;

use report::Record;

/// Measures the decoder on a device.
#[derive(Debug, Parser)]
struct Args {
    /// JPEG files and folders to measure on, besides photos made on the spot.
    paths: Vec<PathBuf>,
    /// cuda, cuda:N, emulator (to try the program) or cpu (the decoder of the CPU, all threads).
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Images in a batch.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,256,1024")]
    batch: Vec<usize>,
    /// How many different photos are made.
    #[arg(long, default_value_t = 128)]
    images: usize,
    /// Seconds for each batch size of each set.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Clock of the multiprocessors while measuring, in MHz [default: the highest that the device names].
    #[arg(long)]
    sm_clock_mhz: Option<u32>,
    /// Where the record goes, as JSON.
    #[arg(long)]
    record: Option<PathBuf>,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Files of one kind, those that the device decodes.
struct Set {
    name: &'static str,
    files: Vec<File>,
}

struct File {
    bytes: Vec<u8>,
    /// In its entropy-coded data.
    num_symbols: u64,
}

impl Set {
    fn new(name: &'static str, files: Vec<Vec<u8>>) -> Self {
        let counted = |bytes: Vec<u8>| count_symbols(&bytes).map(|num_symbols| File { bytes, num_symbols });
        Self { name, files: files.into_par_iter().filter_map(counted).collect() }
    }
}

/// The symbols of a file, as the kernels count them on the emulator. `None`: no file for the device.
fn count_symbols(bytes: &[u8]) -> Option<u64> {
    let image = [PlannedImage::read(bytes, &Limits::default()).ok()?];
    let options = EmulatorOptions { schedule: Schedule::Forward, num_os_threads: 1, ..EmulatorOptions::default() };
    let device: Arc<dyn Device> = Emulator::new(options).ok()?;
    // One thread per segment: nothing is decoded twice.
    let options = PlanOptions { redzone_bytes: device.redzone_bytes(), subsequence_bytes: Some(1 << 30) };
    measure::decode_once(&mut DecodeStage::new(&device).ok()?, &image, &options).ok()?;
    Some(device.take_counts().values().map(|counts| counts.count(dctflow::abi::Counter::Symbols).total).sum())
}

/// All files that can be read.
fn read_files(paths: &[PathBuf]) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    Sources::new(paths, Limits::default().max_file_bytes).for_each(|item| {
        files.extend(item.bytes);
        std::ops::ControlFlow::Continue(())
    });
    files
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let choice = args.device.resolve()?;
    eprintln!("device {}: {}", choice.kind, choice.why);
    let mut sets = vec![Set::new("photos made on the spot", photo_set(0, args.images))];
    if !args.paths.is_empty() {
        sets.push(Set::new("given files", read_files(&args.paths)));
    }
    sets.retain(|set| !set.files.is_empty());
    let time = Duration::from_secs_f64(args.seconds);
    let mut record = Record::new(choice.kind, choice.handle.as_ref(), args.sm_clock_mhz)?;
    for set in &sets {
        for &batch in args.batch.iter().filter(|&&batch| batch > 0) {
            let batch: Vec<&File> = set.files.iter().cycle().take(batch).collect();
            let result = match &choice.handle {
                Some(device) => measure::on_device(device, &batch, time)?,
                None => measure::on_cpu(&batch, time),
            };
            eprintln!("{}", record.add(set.name, &batch, result));
            // Each time: whatever ends this later costs no result.
            if let Some(path) = &args.record {
                std::fs::write(path, record.to_json()?)?;
            }
        }
    }
    print!("{}", record.table());
    Ok(())
}
