//! `dctflow bench`: how fast this machine takes JPEG files to logits, and each part of the way.

mod compare;
mod device;
mod images;
mod latency;
mod machine;
mod measure;
mod record;
mod report;
mod stats;
mod table;
mod workload;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args as ClapArgs, Subcommand};
use dctflow::jpeg::Policy;
use dctflow::network::Variant;
use dctflow::resample::Transform;
use dctflow::session::{Device, DeviceChoice, OpsChoice, Session};
use dctflow::{Error, ErrorKind, Result};

use super::Done;
use super::args::{Model, ModelArgs, resolve, thread_pool, threads_parser};
use super::held::{command, commit};
use super::output::{Output, say};
use device::DeviceScenario;
use images::Images;
use latency::OpenLoop;
use machine::GpuWatch;
use measure::{MIN_WARM_UP, Timing, measure};
use record::{Arrivals, Measurement, Record, Scenario, Settings};
use workload::{EndToEnd, Front, Network, Workload};

/// Measure images per second, from JPEG bytes to logits or on a part of the way
#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    e2e: E2eArgs,
}

const EXAMPLES: &str = "\
Without a scenario: e2e. Files are in memory before the clock starts; those made without PATHS have
the sizes, sampling, quality and tables of ImageNet's. Several values of --batch, --threads,
--network ... give a measurement each. It warms up until three windows agree within 5 %, and for 5
seconds at the least.

Examples:
  dctflow bench
  dctflow bench --network resnet50-rgb,late-concat-rfa --batch 1,8,32 --json photos/ > record.json
  dctflow bench decode --threads 1,2 photos/
  dctflow bench latency --load 20,50,80 --json > latency.json
  dctflow bench report --format svg latency.json > latency.svg
  dctflow bench compare before.json after.json";

#[derive(Debug, Subcommand)]
enum Command {
    /// JPEG bytes to quantised coefficients, in the device's memory
    Decode(DecodeArgs),
    /// JPEG bytes to the network's input
    Input(InputArgs),
    /// The network's input to logits
    Network(InputArgs),
    /// JPEG bytes to logits, in batches
    E2e(E2eArgs),
    /// JPEG bytes to logits, image by image: one at a time, then random arrivals at rising rates
    Latency(LatencyArgs),
    Report(report::Args),
    Compare(compare::Args),
}

/// What every scenario takes.
#[derive(Debug, ClapArgs)]
struct CommonArgs {
    /// JPEG files, folders, tar shards, and @LIST files [default: photo-like images made on the spot].
    #[arg(value_name = "PATHS")]
    paths: Vec<PathBuf>,
    /// How many different images are made, without PATHS.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    images: u32,
    /// What runs it: auto, cpu, cuda, cuda:N or emulator.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// What carries out convolutions on a GPU: kernels (our own) or libraries (cuBLASLt and cuDNN).
    #[arg(long, value_name = "OPS", default_value_t)]
    ops: OpsChoice,
    /// Images in a batch.
    #[arg(long, value_name = "B", default_value = "16", value_delimiter = ',')]
    batch: Vec<NonZeroUsize>,
    /// Threads of the CPU [default: one per core].
    #[arg(long, value_name = "N", value_parser = threads_parser(), value_delimiter = ',')]
    threads: Vec<u16>,
    /// Seconds that are measured, after the warm-up; less than 5 give no valid result.
    #[arg(long, value_name = "S", default_value = "10", value_parser = parse_seconds)]
    duration: Duration,
    /// Seconds of warm-up, at the least; less than 5 give no valid result [default: 5, or --duration if that is less].
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    warm_up: Option<Duration>,
    /// Write the record to a file too, after every measurement: whatever ends the run later costs none of them.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print the record, one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct DecodeArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    device: StageArgs,
}

/// How a part of the way runs on a device.
#[derive(Debug, ClapArgs)]
struct StageArgs {
    /// Batches under way at the same time, each on a stream of its own; for devices.
    #[arg(long, value_name = "N", default_value = "1", value_delimiter = ',')]
    in_flight: Vec<NonZeroUsize>,
}

#[derive(Debug, ClapArgs)]
struct InputArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    networks: NetworkArgs,
    #[command(flatten)]
    device: StageArgs,
}

#[derive(Debug, ClapArgs)]
struct E2eArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    networks: NetworkArgs,
    #[command(flatten)]
    session: SessionArgs,
}

#[derive(Debug, ClapArgs)]
struct LatencyArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    networks: NetworkArgs,
    #[command(flatten)]
    session: SessionArgs,
    /// Rates of arrival, in per cent of the highest rate that full batches reach.
    #[arg(long, value_name = "PERCENT", default_value = "10,30,50,70,80,90", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    load: Vec<u32>,
    /// Rates of arrival, in images per second, instead of --load.
    #[arg(long, value_name = "R", value_delimiter = ',', value_parser = parse_rate)]
    rate: Vec<f64>,
    /// How long an image waits for others to make a batch, at most.
    #[arg(long, value_name = "MS", default_value_t = 5)]
    max_wait_ms: u32,
}

/// Which networks, with which weights.
#[derive(Debug, ClapArgs)]
struct NetworkArgs {
    /// The network [default: that of the weights, else late-concat-rfa-thinner].
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    network: Vec<Variant>,
    /// Weights (safetensors). Without them the network's weights are random.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Seed of random weights.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "weights")]
    seed: u64,
    /// How images are resized and cropped [default: as the weights say, else short=256,crop=224].
    #[arg(long, value_name = "T")]
    transform: Option<Transform>,
}

/// How sessions run.
#[derive(Debug, ClapArgs)]
struct SessionArgs {
    /// Batches under way at the same time.
    #[arg(long, value_name = "N", default_value = "2", value_delimiter = ',')]
    in_flight: Vec<NonZeroUsize>,
    /// Partial images: strict (they fail), lenient, lenient:F (used from the fraction F on), skip (not classified).
    #[arg(long, value_name = "P", default_value = "lenient")]
    policy: Policy,
}

fn parse_seconds(text: &str) -> std::result::Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be a number of seconds, from 0 to 86400".into()),
    }
}

fn parse_rate(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e7).contains(&rate) => Ok(rate),
        _ => Err("must be a number of images per second, from 0.001 to 10000000".into()),
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    match &args.command {
        None => Bench::prepare(&args.e2e.common)?.e2e(&args.e2e),
        Some(Command::E2e(args)) => Bench::prepare(&args.common)?.e2e(args),
        Some(Command::Decode(args)) => Bench::prepare(&args.common)?.decode(args),
        Some(Command::Input(args)) => Bench::prepare(&args.common)?.parts(args, Scenario::Input),
        Some(Command::Network(args)) => Bench::prepare(&args.common)?.parts(args, Scenario::Network),
        Some(Command::Latency(args)) => Bench::prepare(&args.common)?.latency(args),
        Some(Command::Report(args)) => report::run(args),
        Some(Command::Compare(args)) => compare::run(args),
    }
}

/// One run of a scenario over all its settings.
struct Bench<'a> {
    common: &'a CommonArgs,
    device: Device,
    images: Images,
    started_unix_s: u64,
    machine: record::Machine,
    gpu: Option<GpuWatch>,
    results: Vec<Measurement>,
}

impl<'a> Bench<'a> {
    fn prepare(common: &'a CommonArgs) -> Result<Self> {
        let device = resolve(common.device)?;
        if device.handle.is_none() && common.ops != OpsChoice::Kernels {
            let message = format!("--ops {} is for GPUs; this is the device {}", common.ops, device.kind);
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let machine = machine::machine();
        let images = if common.paths.is_empty() { Images::made(common.images) } else { Images::read(&common.paths)? };
        let started_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let gpu = GpuWatch::start(&device);
        Ok(Self { common, device, images, started_unix_s, machine, gpu, results: Vec::new() })
    }

    fn decode(mut self, args: &DecodeArgs) -> Result<Done> {
        let ran = self.for_each_stage_setting(&args.device, |bench, pool, settings| {
            let settings = Settings { scenario: Scenario::Decode, ..settings };
            let mut workload: Box<dyn Workload> = match &bench.device.handle {
                Some(device) => Box::new(bench.scenario(pool, device, &settings).decode()?),
                None => Box::new(Front::decode(pool)),
            };
            bench.measure(workload.as_mut(), settings)
        });
        self.finish(ran)
    }

    /// `input` or `network`.
    fn parts(mut self, args: &InputArgs, which: Scenario) -> Result<Done> {
        let ran = args.networks.models().try_for_each(|model| {
            let model = model?;
            let (weights, transform) = (&model.weights, model.weights.metadata().transform);
            self.for_each_stage_setting(&args.device, |bench, pool, settings| {
                let settings = Settings {
                    scenario: which,
                    model: Some(model.name.clone()),
                    transform: Some(transform.to_string()),
                    ..settings
                };
                let (files, batch) = (&bench.images.files, settings.batch);
                let mut workload: Box<dyn Workload> = match (which, &bench.device.handle) {
                    (Scenario::Network, None) => Box::new(Network::new(pool, weights, files, batch)?),
                    (Scenario::Network, Some(device)) => {
                        Box::new(bench.scenario(pool, device, &settings).network(weights, files)?)
                    }
                    (_, None) => Box::new(Front::input(pool, weights)),
                    (_, Some(device)) => Box::new(bench.scenario(pool, device, &settings).input(weights)?),
                };
                bench.measure(workload.as_mut(), settings)
            })
        });
        self.finish(ran)
    }

    fn e2e(mut self, args: &E2eArgs) -> Result<Done> {
        let ran = self.for_each_session(&args.networks, &args.session, |bench, session, settings| {
            let mut workload = EndToEnd::new(session, settings.in_flight);
            bench.measure(&mut workload, settings)
        });
        self.finish(ran)
    }

    fn latency(mut self, args: &LatencyArgs) -> Result<Done> {
        let ran = self.for_each_session(&args.networks, &args.session, |bench, session, settings| {
            let mut workload = EndToEnd::new(session, settings.in_flight);
            bench.measure(&mut workload, settings.clone())?;
            let capacity_per_s = bench.results.last().map_or(1.0, |full| full.images_per_s);
            let warm_up = bench.results.last().map(|full| full.warm_up.clone());
            let mut workload = EndToEnd::new(workload.into_idle_session()?, 1);
            let settings = Settings { scenario: Scenario::Latency, ..settings };
            let alone = Settings { batch: 1, in_flight: 1, arrivals: Some(Arrivals::OneAtATime), ..settings.clone() };
            bench.measure(&mut workload, alone)?;
            let session = workload.into_idle_session()?;
            args.arrivals(capacity_per_s).into_iter().try_for_each(|(arrivals, rate_per_s)| {
                let settings =
                    Settings { arrivals: Some(arrivals), max_wait_ms: Some(args.max_wait_ms), ..settings.clone() };
                let open_loop = OpenLoop {
                    session: &session,
                    files: &bench.images.files,
                    rate_per_s,
                    duration: bench.common.duration,
                    max_wait: Duration::from_millis(args.max_wait_ms.into()),
                    in_flight: settings.in_flight,
                    seed: 0,
                };
                let warm_up = warm_up.clone().unwrap_or_default();
                let result = open_loop.measure(settings, warm_up, bench.gpu.as_ref())?;
                bench.add(result)
            })
        });
        self.finish(ran)
    }

    /// Calls `run` for each number of threads, batch, and number of batches in flight. The settings are those of no scenario yet.
    fn for_each_stage_setting(
        &mut self,
        args: &StageArgs,
        mut run: impl FnMut(&mut Self, rayon::ThreadPool, Settings) -> Result<()>,
    ) -> Result<()> {
        if self.device.handle.is_none() && args.in_flight.iter().any(|number| number.get() > 1) {
            let message = "--in-flight is for devices: the CPU's threads take one batch at a time";
            return Err(Error::new(ErrorKind::Usage, message));
        }
        for threads in self.thread_counts() {
            for batch in &self.common.batch {
                for in_flight in &args.in_flight {
                    let pool = thread_pool(threads)?;
                    let settings = self.settings(Scenario::Decode, batch.get(), pool.current_num_threads());
                    run(self, pool, Settings { in_flight: in_flight.get(), ..settings })?;
                }
            }
        }
        Ok(())
    }

    /// What runs on a device, of these settings.
    fn scenario<'d>(
        &self,
        pool: rayon::ThreadPool,
        device: &'d Arc<dyn dctflow::device::Device>,
        settings: &Settings,
    ) -> DeviceScenario<'d> {
        DeviceScenario { pool, device, batch: settings.batch, in_flight: settings.in_flight, ops: self.common.ops }
    }

    /// Calls `run` with a session for each network, number of threads, batch, and number of batches in flight.
    fn for_each_session(
        &mut self,
        networks: &NetworkArgs,
        args: &SessionArgs,
        mut run: impl FnMut(&mut Self, Session, Settings) -> Result<()>,
    ) -> Result<()> {
        for model in networks.models() {
            let model = model?;
            for threads in self.thread_counts() {
                for batch in &self.common.batch {
                    for in_flight in &args.in_flight {
                        let session = Session::builder(&model.weights)
                            .device(self.device.kind)
                            .ops_choice(self.common.ops)
                            .max_batch(batch.get())
                            .policy(args.policy)
                            .topk(1)
                            .slots(in_flight.get())
                            .threads(threads.map_or(0, usize::from))
                            .build()?;
                        let settings = Settings {
                            model: Some(model.name.clone()),
                            in_flight: in_flight.get(),
                            transform: Some(model.weights.metadata().transform.to_string()),
                            policy: Some(args.policy.to_string()),
                            ..self.settings(Scenario::E2e, batch.get(), session.num_threads())
                        };
                        run(self, session, settings)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn thread_counts(&self) -> Vec<Option<u16>> {
        let given: Vec<Option<u16>> = self.common.threads.iter().copied().map(Some).collect();
        if given.is_empty() { vec![None] } else { given }
    }

    fn settings(&self, scenario: Scenario, batch: usize, threads: usize) -> Settings {
        let device = match self.common.ops {
            OpsChoice::Kernels => self.device.kind.to_string(),
            OpsChoice::Libraries => format!("{}+{}", self.device.kind, self.common.ops),
        };
        Settings { device, batch, threads, ..Settings::of(scenario) }
    }

    fn measure(&mut self, workload: &mut dyn Workload, settings: Settings) -> Result<()> {
        let duration = self.common.duration;
        let min_warm_up = self.common.warm_up.unwrap_or(MIN_WARM_UP.min(duration));
        let timing = Timing { duration, min_warm_up };
        let result = measure(workload, &self.images.files, settings, timing, self.gpu.as_ref())?;
        self.add(result)
    }

    fn add(&mut self, result: Measurement) -> Result<()> {
        say(format_args!("{}: {:.1} images/s", result.settings.name(), result.images_per_s));
        self.results.push(result);
        self.write_record(None).map(drop)
    }

    /// The record so far, in its file too, if it shall have one.
    fn write_record(&self, stopped: Option<&Error>) -> Result<Record> {
        let mut absent = BTreeMap::new();
        let gpu = machine::gpu(&self.device, &mut absent);
        note_absent_fields(&self.results, &self.machine, &mut absent);
        let record = Record {
            format: record::FORMAT,
            program: format!("dctflow {}", env!("CARGO_PKG_VERSION")),
            commit: commit().into(),
            build: machine::build().into(),
            started_unix_s: self.started_unix_s,
            command: command(),
            machine: self.machine.clone(),
            gpu,
            data: self.images.about.clone(),
            results: self.results.clone(),
            absent,
            stopped: stopped.map(ToString::to_string),
        };
        if let Some(path) = &self.common.record {
            let line = serde_json::to_string(&record).map_err(|e| {
                Error::new(ErrorKind::Internal, "a record that JSON cannot hold; please report it").with_source(e)
            })?;
            std::fs::write(path, line + "\n").map_err(|e| Error::io(path, e))?;
        }
        Ok(record)
    }

    /// Prints the record or its tables: what was measured, also if something ended the run before its end, which is the result then.
    fn finish(self, ran: Result<()>) -> Result<Done> {
        if self.results.is_empty() {
            ran?;
            return Ok(Done::Everything);
        }
        let record = self.write_record(ran.as_ref().err())?;
        let mut out = Output::new();
        if self.common.json {
            out.object(&record)?
        } else {
            out.line(table::tables(&record).trim_end())?
        }
        out.flush()?;
        ran?;
        let outcomes = record.results.iter().flat_map(|result| result.outcomes.keys());
        let any_failed = outcomes.into_iter().any(|outcome| outcome.starts_with("failed"));
        Ok(if any_failed { Done::NotEverything } else { Done::Everything })
    }
}

/// A number that a GPU may not tell.
type Field = fn(&record::GpuUse) -> Option<f64>;

/// Says why fields are null.
fn note_absent_fields(results: &[Measurement], machine: &record::Machine, absent: &mut BTreeMap<String, String>) {
    let mut note = |is_null: bool, field: &str, reason: &str| {
        if is_null {
            absent.insert(field.into(), reason.into());
        }
    };
    let not_linux = "only Linux tells";
    note(machine.memory_bytes.is_none(), "machine.memory_bytes", not_linux);
    note(machine.load_average.is_none(), "machine.load_average", not_linux);
    note(results.iter().any(|r| r.peak_memory_bytes.is_none()), "results.peak_memory_bytes", not_linux);
    let no_upload = results.iter().any(|r| r.uploaded_bytes_per_image.is_none());
    let on_device_fields =
        "results.uploaded_bytes_per_image, results.peak_device_memory_bytes, results.peak_pinned_memory_bytes";
    note(no_upload, on_device_fields, "nothing is copied to a CPU");
    note(results.iter().any(|r| r.device_busy_share.is_none()), "results.device_busy_share", "the CPU is no device");
    let none_left = results.iter().any(|r| r.images_left_to_cpu.is_none());
    let left_fields = "results.images_left_to_cpu, results.left_to_cpu_s_per_1000_images";
    note(none_left, left_fields, "nothing was for a device to decode");
    let no_files = results.iter().any(|r| r.mb_in_per_s.is_none());
    note(no_files, "results.mb_in_per_s, results.mpixels_per_s", "the network alone reads no files");
    note(results.iter().any(|r| r.settings.model.is_none()), "results.settings.model", "no network runs");
    note(results.iter().any(|r| r.settings.transform.is_none()), "results.settings.transform", "nothing is resized");
    let no_session = "only whole sessions have a policy";
    note(results.iter().any(|r| r.settings.policy.is_none()), "results.settings.policy", no_session);
    note(results.iter().any(|r| r.gpu.is_none()), "results.gpu", "no GPU is used, or nvidia-smi did not tell of it");
    let not_told = |value: Field| results.iter().any(|r| r.gpu.as_ref().is_some_and(|used| value(used).is_none()));
    let fields: [(&str, Field); 6] = [
        ("results.gpu.sm_clock_mhz_min", |used| used.sm_clock_mhz_min),
        ("results.gpu.sm_clock_mhz_mean", |used| used.sm_clock_mhz_mean),
        ("results.gpu.memory_clock_mhz_mean", |used| used.memory_clock_mhz_mean),
        ("results.gpu.power_watts_mean", |used| used.power_watts_mean),
        ("results.gpu.power_watts_max", |used| used.power_watts_max),
        ("results.gpu.temperature_celsius_max", |used| used.temperature_celsius_max),
    ];
    fields.into_iter().for_each(|(field, value)| note(not_told(value), field, "the GPU does not tell"));
    let not_random = results.iter().any(|r| r.offered_per_s.is_none());
    note(
        not_random,
        "results.offered_per_s, results.settings.max_wait_ms",
        "the next batch is sent when there is room for it",
    );
}

impl NetworkArgs {
    /// The networks, one after the other: each is made when its turn comes.
    fn models(&self) -> impl Iterator<Item = Result<Model>> {
        let named: Vec<Option<Variant>> = self.network.iter().copied().map(Some).collect();
        let networks = if named.is_empty() { vec![None] } else { named };
        networks.into_iter().map(|network| {
            let (weights, seed, transform) = (self.weights.clone(), Some(self.seed), self.transform);
            ModelArgs { network, weights, seed, transform }.load()
        })
    }
}

impl LatencyArgs {
    /// The rates of arrival, in images per second.
    fn arrivals(&self, capacity_per_s: f64) -> Vec<(Arrivals, f64)> {
        if self.rate.is_empty() {
            let share = |&percent: &u32| f64::from(percent) / 100.0 * capacity_per_s;
            return self.load.iter().map(|percent| (Arrivals::LoadPercent(*percent), share(percent))).collect();
        }
        self.rate.iter().map(|rate| (Arrivals::PerSecond(*rate), *rate)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_rates_are_sensible_numbers() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_rate("2.5"), Ok(2.5));
        for text in ["", "-1", "nan", "inf", "1e9"] {
            assert!(parse_seconds(text).is_err() && parse_rate(text).is_err(), "{text}");
        }
    }
}
