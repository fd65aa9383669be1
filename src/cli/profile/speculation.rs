//! `dctflow profile speculation`: the symbols that decoding takes, kernel by kernel, as the emulator counts them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args as ClapArgs;
use dctflow::abi::{
    Counter, Kernel, KernelId, RefineBlocks, SynchronizeSubsequences, WriteSegments, WriteSubsequences,
};
use dctflow::device::{Count, Device, KernelCounts};
use dctflow::jpeg::Limits;
use dctflow::plan::{DecodePlan, PlanOptions, PlannedImage};
use dctflow::session::DeviceChoice;
use dctflow::stages::{DecodeStage, DeviceReport};
use dctflow::synth::{Codes, Encoding, Interleaving, Layout, Picture, photo_set, sequential_scans};
use dctflow::{Error, ErrorKind, Result};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};

use crate::cli::Done;
use crate::cli::held::{command, commit, read_files};
use crate::cli::output::{Output, say};
use crate::cli::progress;

/// Count the symbols that decoding takes, by sampling and batch size
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// JPEG files, folders, tar shards, and @LIST files [default: photo-like images and flat pages made on the spot].
    #[arg(value_name = "FILES")]
    paths: Vec<PathBuf>,
    /// What counts: the emulator.
    #[arg(long, value_name = "DEVICE", default_value = "emulator")]
    device: DeviceChoice,
    /// Images in a batch: one row for each of these.
    #[arg(long, value_name = "B,...", value_delimiter = ',', default_value = "1,8,64")]
    batch: Vec<NonZeroUsize>,
    /// How many different photos are made, without FILES.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    images: u32,
    /// One JSON object per row, with every kernel's counts.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Threads decode speculatively, from guessed states, before they know where each of them has to write.
Of all kernels before the write pass, and of the write pass, the table shows:
  symbols   symbols decoded, for each symbol of the files
  warp max  the same, where each lane of a warp costs as much as the warp's slowest
Rounds of decoding again are per CTA. Serial subsequences had to be decoded one after the other.
Batches are filled by taking files again where there are too few.

Examples:
  dctflow profile speculation --device emulator
  dctflow profile speculation --device emulator --batch 1,64,1024 --json photos/ > record.jsonl";

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    let mut profiler = Profiler::new(args.device)?;
    let (photos, pages) = match args.paths.as_slice() {
        [] => (photo_set(0, args.images as usize), flat_pages()),
        paths => (read_files(paths)?, Vec::new()),
    };
    let sets = Set::all_of(&photos, &pages);
    let batches = || sets.iter().flat_map(|set| args.batch.iter().map(move |batch| (set, batch.get())));
    let bar = progress::share_of(batches().map(|(set, batch)| set.num_runs(batch) * batch as u64).sum());
    let mut out = Output::new();
    if !args.json {
        out.line(TABLE_HEAD)?;
    }
    for (set, batch) in batches() {
        bar.set_message(format!("{} x {batch}", set.name));
        let row = profiler.run(set, batch, &bar)?;
        if args.json {
            out.json(row.object(args.device))?
        } else {
            row.write_table(&mut out)?
        }
        out.flush()?;
    }
    bar.finish_and_clear();
    Ok(Done::Everything)
}

/// White pages, which hold nothing that a decoder could fall into step with: gray and 4:2:0, with the standard tables.
fn flat_pages() -> Vec<Vec<u8>> {
    let page = |sampling: &[(u8, u8)]| {
        let image = Picture::page(0, (1240, 1754), sampling.len(), 0).coefficients(&Layout::baseline(sampling, 75));
        let mut scans = sequential_scans(&image.frame, Interleaving::Interleaved);
        scans.iter_mut().for_each(|scan| scan.codes = Codes::Standard);
        Encoding::new(scans).encode(&image).to_bytes()
    };
    vec![page(&[(1, 1)]), page(&[(2, 2), (1, 1), (1, 1)])]
}

/// Files of one kind.
struct Set<'a> {
    name: &'static str,
    images: Vec<PlannedImage<'a>>,
}

impl<'a> Set<'a> {
    /// All photos, then those of each sampling, then the pages. What the CPU would decode is left out.
    fn all_of(photos: &'a [Vec<u8>], pages: &'a [Vec<u8>]) -> Vec<Self> {
        let photos = planned(photos);
        let of_sampling = |name: &'static str| {
            let images = photos.iter().filter(|image| sampling_class(image) == name).cloned();
            Self { name, images: images.collect() }
        };
        let mut sets = vec![Self { name: "all", images: photos.clone() }];
        sets.extend(SAMPLING_CLASSES.map(of_sampling));
        sets.push(Self { name: "flat", images: planned(pages) });
        sets.retain(|set| !set.images.is_empty());
        sets
    }

    /// How many batches it takes until every image was in one.
    fn num_runs(&self, batch: usize) -> u64 {
        self.images.len().div_ceil(batch) as u64
    }
}

const SAMPLING_CLASSES: [&str; 4] = ["4:4:4", "4:2:0", "gray", "other"];

fn sampling_class(image: &PlannedImage<'_>) -> &'static str {
    let name = image.header.frame.sampling_name();
    SAMPLING_CLASSES.into_iter().find(|class| *class == name).unwrap_or("other")
}

fn planned(files: &[Vec<u8>]) -> Vec<PlannedImage<'_>> {
    let limits = Limits::default();
    let planned: Vec<_> = files.iter().filter_map(|file| PlannedImage::read(file, &limits).ok()).collect();
    if planned.len() < files.len() {
        say(format_args!("{} files are left out: the CPU decodes them", files.len() - planned.len()));
    }
    planned
}

/// A device that counts.
struct Profiler {
    device: Arc<dyn Device>,
    stage: DecodeStage,
}

impl Profiler {
    fn new(choice: DeviceChoice) -> Result<Self> {
        let counting = (choice == DeviceChoice::Emulator).then(|| choice.resolve()).transpose()?;
        let device = counting.and_then(|device| device.handle).ok_or_else(|| {
            let message = format!("kernels do not count on the device {choice}: use --device emulator");
            Error::new(ErrorKind::Usage, message)
        })?;
        Ok(Self { stage: DecodeStage::new(&device)?, device })
    }

    /// Decodes batches of a set until every image was in one.
    fn run(&mut self, set: &Set<'_>, batch: usize, bar: &ProgressBar) -> Result<Row> {
        let mut row = Row::new(set.name, batch);
        let mut images = set.images.iter().cycle();
        let options = PlanOptions { redzone_bytes: self.device.redzone_bytes(), ..PlanOptions::default() };
        self.device.take_counts();
        for _ in 0..set.num_runs(batch) {
            let images: Vec<PlannedImage<'_>> = images.by_ref().take(batch).cloned().collect();
            let plan = DecodePlan::new(&images, &options);
            self.stage.submit(&images, &plan)?;
            row.add_reports(&self.stage.fetch_reports(&images, &plan)?);
            row.num_bytes += images.iter().map(|image| image.bytes.len() as u64).sum::<u64>();
            bar.inc(batch as u64);
        }
        row.kernels = self.device.take_counts();
        Ok(row)
    }
}

/// What decoding one set in batches of one size came to.
struct Row {
    set: &'static str,
    batch: usize,
    num_images: u64,
    num_bytes: u64,
    num_unresolved: u64,
    serial_subsequences: u64,
    kernels: BTreeMap<KernelId, KernelCounts>,
}

impl Row {
    fn new(set: &'static str, batch: usize) -> Self {
        let kernels = BTreeMap::new();
        Self { set, batch, num_images: 0, num_bytes: 0, num_unresolved: 0, serial_subsequences: 0, kernels }
    }

    fn add_reports(&mut self, reports: &[DeviceReport]) {
        for report in reports {
            self.num_images += 1;
            self.num_unresolved += u64::from(report.report.is_none());
            self.serial_subsequences += u64::from(report.serial_subsequences);
        }
    }

    /// Symbols decoded by the kernels of the write pass, or by all others.
    fn symbols(&self, is_write_pass: bool) -> Count {
        let mut sum = Count::default();
        for (kernel, counts) in &self.kernels {
            if WRITE_PASS.contains(kernel) == is_write_pass {
                sum += counts.count(Counter::Symbols);
            }
        }
        sum
    }

    /// For each symbol of the files; the write pass decodes every one of them once. `None`: there were none.
    fn per_symbol(&self, num_symbols: u64) -> Option<f64> {
        let in_files = self.symbols(true).total;
        (in_files > 0).then(|| num_symbols as f64 / in_files as f64)
    }

    /// Rounds of decoding again, for each CTA.
    fn rounds_per_cta(&self) -> f64 {
        let kernel = self.kernels.get(&SynchronizeSubsequences::ID).copied().unwrap_or_default();
        kernel.count(Counter::Rounds).total as f64 / kernel.num_ctas.max(1) as f64
    }

    fn object(&self, device: DeviceChoice) -> Map<String, Value> {
        let entries = [
            ("program", json!(format!("dctflow {}", env!("CARGO_PKG_VERSION")))),
            ("commit", json!(commit())),
            ("command", json!(command().join(" "))),
            ("device", json!(device.to_string())),
            ("stage", json!("decode")),
            ("set", json!(self.set)),
            ("batch", json!(self.batch)),
            ("images", json!(self.num_images)),
            ("bytes", json!(self.num_bytes)),
            ("symbols", json!(self.symbols(true).total)),
            ("before_write_pass", self.pass_object(self.symbols(false))),
            ("write_pass", self.pass_object(self.symbols(true))),
            ("rounds_per_cta", json!(self.rounds_per_cta())),
            ("serial_subsequences", json!(self.serial_subsequences)),
            ("unresolved_images", json!(self.num_unresolved)),
            ("kernels", self.kernels.iter().map(|(kernel, counts)| kernel_object(*kernel, counts)).collect()),
        ];
        entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }

    fn pass_object(&self, symbols: Count) -> Value {
        json!({
            "symbols": symbols.total,
            "warp_max": symbols.warp_max,
            "symbols_per_symbol": self.per_symbol(symbols.total),
            "warp_max_per_symbol": self.per_symbol(symbols.warp_max),
        })
    }

    fn write_table(&self, out: &mut Output) -> Result<()> {
        let ratio = |num_symbols| self.per_symbol(num_symbols).map_or("-".into(), |ratio| format!("{ratio:.3}"));
        let (before, write) = (self.symbols(false), self.symbols(true));
        out.line(format!(
            "{:<26} {:>5} {:>6} {:>8.2} {:>9} {:>8} {:>11} {:>7.2} {:>7} {:>10}",
            self.set,
            self.batch,
            self.num_images,
            write.total as f64 / 1e6,
            ratio(before.total),
            ratio(before.warp_max),
            ratio(write.warp_max),
            self.rounds_per_cta(),
            self.serial_subsequences,
            self.num_unresolved,
        ))?;
        for (kernel, counts) in &self.kernels {
            let Count { total, warp_max } = counts.count(Counter::Symbols);
            if total > 0 {
                let name = format!("  {}", kernel.name());
                out.line(format!("{name:<48} {:>9} {:>8}", ratio(total), ratio(warp_max)))?;
            }
        }
        Ok(())
    }
}

/// The kernels that write coefficients.
const WRITE_PASS: [KernelId; 3] = [WriteSubsequences::ID, WriteSegments::ID, RefineBlocks::ID];

const TABLE_HEAD: &str = "\
set                        batch images Msymbols before the write pass    write  rounds  serial unresolved
                                                  symbols warp max    warp max per CTA subseq.     images";

fn kernel_object(kernel: KernelId, counts: &KernelCounts) -> Value {
    let counters = Counter::ALL.iter().map(|&counter| {
        let Count { total, warp_max } = counts.count(counter);
        (counter.name().to_string(), json!({ "total": total, "warp_max": warp_max }))
    });
    json!({
        "kernel": kernel.name(),
        "launches": counts.num_launches,
        "ctas": counts.num_ctas,
        "counters": counters.collect::<Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_sorted_by_sampling_and_the_rest_is_left_out() {
        let mut files = photo_set(1, 8);
        files.push(b"no JPEG".to_vec());
        let sets = Set::all_of(&files, &[]);
        assert_eq!((sets[0].name, sets[0].images.len()), ("all", 8));
        let in_classes: usize = sets[1..].iter().map(|set| set.images.len()).sum();
        assert_eq!(in_classes, 8);
        for set in &sets[1..] {
            assert!(set.images.iter().all(|image| sampling_class(image) == set.name));
        }
    }

    #[test]
    fn only_the_emulator_counts() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(0)] {
            assert_eq!(Profiler::new(choice).err().map(|error| error.kind()), Some(ErrorKind::Usage));
        }
    }
}
