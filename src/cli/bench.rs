//! `dctflow bench`: how fast this machine takes JPEG files to logits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use cpu_time::ProcessTime;
use dctflow::jpeg::{Header, Limits};
use dctflow::session::{Batch, Outcome, Session, StageTimes};
use dctflow::{Error, ErrorKind, Result};
use hdrhistogram::Histogram;
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::Done;
use super::args::{ModelArgs, RunArgs};
use super::held::{commit, read_files};
use super::output::{Output, status_word};
use super::progress;

/// Measure images per second from JPEG bytes to logits
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// JPEG files, folders, tar shards, and @LIST files [default: photo-like images made on the spot].
    #[arg(value_name = "PATHS")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
    /// How long is measured, after a warm-up.
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = parse_seconds)]
    seconds: f64,
    /// How many different images are made, without PATHS.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    images: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
The images made without PATHS have the sizes, sampling, quality and tables of ImageNet's files.
Batches are submitted one after the other; files are in memory before the clock starts.

Examples:
  dctflow bench
  dctflow bench --network resnet50-rgb --batch 32 --seconds 30
  dctflow bench --json photos/ > record.json";

fn parse_seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be a number of seconds, from 0 to 86400".into()),
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    let images = if args.paths.is_empty() { Images::made(args.images) } else { Images::read(&args.paths)? };
    let model = args.model.load()?;
    let session = args.run.session(&model)?.topk(1).build()?;
    let measured = measure(&session, &images, Duration::from_secs_f64(args.seconds))?;
    let report = Report { images: &images, measured: &measured, session: &session, model: &model.name };
    let mut out = Output::new();
    if args.json {
        out.json(report.object())?
    } else {
        report.write_table(&mut out)?
    }
    out.flush()?;
    Ok(if measured.outcomes.keys().any(|status| status.starts_with("failed")) {
        Done::NotEverything
    } else {
        Done::Everything
    })
}

/// What is measured on.
struct Images {
    files: Vec<File>,
    source: String,
}

struct File {
    bytes: Vec<u8>,
    num_pixels: u64,
}

impl Images {
    fn made(count: u32) -> Self {
        let spinner = progress::message("making images");
        let files = dctflow::synth::photo_set(0, count as usize);
        spinner.finish_and_clear();
        Self { files: with_pixels(files), source: format!("{count} synthetic photos, seed 0") }
    }

    fn read(paths: &[PathBuf]) -> Result<Self> {
        let files = read_files(paths)?;
        let source = format!("{} files", files.len());
        Ok(Self { files: with_pixels(files), source })
    }
}

fn with_pixels(files: Vec<Vec<u8>>) -> Vec<File> {
    let limits = Limits::default();
    let with_pixels = |bytes: Vec<u8>| {
        let header = Header::parse(&bytes, &limits);
        let num_pixels = header.map_or(0, |h| u64::from(h.frame.width) * u64::from(h.frame.height));
        File { bytes, num_pixels }
    };
    files.into_par_iter().map(with_pixels).collect()
}

/// What the clock saw.
struct Measured {
    wall: Duration,
    cpu: Duration,
    stages: StageTimes,
    num_images: u64,
    num_bytes: u64,
    num_pixels: u64,
    batch_micros: Histogram<u64>,
    outcomes: BTreeMap<String, u64>,
}

/// Warms up, then runs whole batches, one after the other, until the time is over.
fn measure(session: &Session, images: &Images, time: Duration) -> Result<Measured> {
    let mut files = images.files.iter().cycle();
    run_for(session, &mut files, time.min(Duration::from_secs(1)), "warming up")?;
    run_for(session, &mut files, time, "measuring")
}

fn run_for<'a>(
    session: &Session,
    files: &mut impl Iterator<Item = &'a File>,
    time: Duration,
    what: &'static str,
) -> Result<Measured> {
    let bar = progress::seconds(time.as_secs_f64()).with_message(what);
    let batch_micros = Histogram::new(3).map_err(|e| {
        Error::new(ErrorKind::Internal, "a histogram without precision; please report it").with_source(e)
    })?;
    let mut measured = Measured {
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        stages: StageTimes::default(),
        num_images: 0,
        num_bytes: 0,
        num_pixels: 0,
        batch_micros,
        outcomes: BTreeMap::new(),
    };
    let stages = session.stage_times();
    let cpu = ProcessTime::now();
    let start = Instant::now();
    while measured.num_images == 0 || start.elapsed() < time {
        measured.run_batch(session, files)?;
        bar.set_position(start.elapsed().as_millis() as u64);
    }
    measured.wall = start.elapsed();
    measured.cpu = cpu.elapsed();
    measured.stages = session.stage_times().since(&stages);
    bar.finish_and_clear();
    Ok(measured)
}

impl Measured {
    fn run_batch<'a>(&mut self, session: &Session, files: &mut impl Iterator<Item = &'a File>) -> Result<()> {
        let mut batch = Batch::new();
        for file in files.take(session.max_batch()) {
            self.num_pixels += file.num_pixels;
            batch.push(file.bytes.as_slice(), None, 0);
        }
        self.num_images += batch.len() as u64;
        self.num_bytes += batch.num_bytes();
        let submitted = Instant::now();
        let outcomes = session.submit(batch).wait()?;
        // It grows as it must: no time is too long for it.
        self.batch_micros += submitted.elapsed().as_micros() as u64;
        for Outcome { status, reason, .. } in outcomes {
            *self.outcomes.entry(status_word(status, reason.as_ref())).or_default() += 1;
        }
        Ok(())
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.wall.as_secs_f64()
    }

    fn batch_ms(&self, quantile: f64) -> f64 {
        self.batch_micros.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Milliseconds of CPU per image.
    fn ms_per_image(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1000.0 / self.num_images as f64
    }
}

/// What is printed.
struct Report<'a> {
    images: &'a Images,
    measured: &'a Measured,
    session: &'a Session,
    model: &'a str,
}

impl Report<'_> {
    fn object(&self) -> Map<String, Value> {
        let Self { images, measured, session, model } = self;
        let stages: Map<String, Value> = measured
            .stages
            .named()
            .into_iter()
            .map(|(name, time)| {
                (name.into(), json!({ "cpu_seconds": time.as_secs_f64(), "ms_per_image": measured.ms_per_image(time) }))
            })
            .collect();
        let entries = [
            ("program", json!(format!("dctflow {}", env!("CARGO_PKG_VERSION")))),
            ("commit", json!(commit())),
            ("cpu", json!(cpu_name())),
            ("device", json!(session.device().to_string())),
            ("threads", json!(session.num_threads())),
            ("model", json!(model)),
            ("batch", json!(session.max_batch())),
            ("source", json!(images.source)),
            ("seconds", json!(measured.wall.as_secs_f64())),
            ("images", json!(measured.num_images)),
            ("images_per_second", json!(measured.per_second(measured.num_images))),
            ("mb_per_second", json!(measured.per_second(measured.num_bytes) / 1e6)),
            ("mpixels_per_second", json!(measured.per_second(measured.num_pixels) / 1e6)),
            ("batch_ms_p50", json!(measured.batch_ms(0.5))),
            ("batch_ms_p99", json!(measured.batch_ms(0.99))),
            ("stages", Value::Object(stages)),
            ("cpu_seconds_per_1000_images", json!(measured.ms_per_image(measured.cpu))),
            ("outcomes", json!(measured.outcomes)),
        ];
        entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }

    fn write_table(&self, out: &mut Output) -> Result<()> {
        let Self { images, measured, session, model } = self;
        let outcomes: Vec<String> =
            measured.outcomes.iter().map(|(status, count)| format!("{count} {status}")).collect();
        let mut row = |name: &str, value: String| out.line(format!("{name:<22}{value}"));
        row("program", format!("dctflow {}, commit {}", env!("CARGO_PKG_VERSION"), commit()))?;
        row("machine", format!("{}, {} threads", cpu_name(), session.num_threads()))?;
        row("model", format!("{model}, on {}, batches of {}", session.device(), session.max_batch()))?;
        row(
            "input",
            format!("{}; {} run in {:.1} s", images.source, measured.num_images, measured.wall.as_secs_f64()),
        )?;
        row("images/s", format!("{:.1}", measured.per_second(measured.num_images)))?;
        row("MB/s in", format!("{:.2}", measured.per_second(measured.num_bytes) / 1e6))?;
        row("Mpixel/s", format!("{:.2}", measured.per_second(measured.num_pixels) / 1e6))?;
        row("ms per batch", format!("p50 {:.1}, p99 {:.1}", measured.batch_ms(0.5), measured.batch_ms(0.99)))?;
        row("CPU-s per 1000 images", format!("{:.2}", measured.ms_per_image(measured.cpu)))?;
        let total: f64 = measured.stages.named().iter().map(|(_, time)| time.as_secs_f64()).sum();
        for (name, time) in measured.stages.named() {
            let share = 100.0 * time.as_secs_f64() / total.max(f64::MIN_POSITIVE);
            row(&format!("  {name}"), format!("{:.2} ({share:.1} %)", measured.ms_per_image(time)))?;
        }
        row("outcomes", outcomes.join(", "))
    }
}

/// The CPU's name as Linux tells it; elsewhere its architecture.
fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or(std::env::consts::ARCH.into(), |(_, name)| name.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_sensible_number() {
        assert_eq!(parse_seconds("0.5"), Ok(0.5));
        for text in ["", "-1", "nan", "inf", "1e9"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
