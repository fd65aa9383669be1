//! The record of a benchmark: what `--json` prints and what `report` and `compare` read.

use std::collections::BTreeMap;
use std::path::Path;

use dctflow::jpeg::Policy;
use dctflow::resample::Transform;
use dctflow::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Value of [`Record::format`]; it changes when a field changes its meaning.
pub const FORMAT: u32 = 2;

/// One run of `dctflow bench`: where, with what, and what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub format: u32,
    /// `dctflow` and its version.
    pub program: String,
    /// The commit that the program was built from, with `-dirty` where tracked files differed.
    pub commit: String,
    /// `release` or `debug`.
    pub build: String,
    /// Seconds since 1970, UTC.
    pub started_unix_s: u64,
    /// The command line.
    pub command: Vec<String>,
    pub machine: Machine,
    pub gpu: Option<Gpu>,
    pub data: DataSet,
    pub results: Vec<Measurement>,
    /// Why a field is null, by the field's name.
    pub absent: BTreeMap<String, String>,
    /// What ended the run before all was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// The host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    pub memory_bytes: Option<u64>,
    pub os: String,
    /// Average number of runnable threads over the minute before the run.
    pub load_average: Option<f64>,
}

/// The GPU, as `nvidia-smi` describes it after the run, while its clocks are still up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gpu {
    pub name: String,
    pub driver: String,
    pub sm_clock_mhz: Option<f64>,
    pub max_sm_clock_mhz: Option<f64>,
    pub memory_clock_mhz: Option<f64>,
    pub power_limit_watts: Option<f64>,
    pub power_draw_watts: Option<f64>,
    pub temperature_celsius: Option<f64>,
}

/// What was measured on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataSet {
    pub source: String,
    /// SHA-256 over the SHA-256 of every file, in order.
    pub sha256: String,
    pub files: u64,
    pub bytes: u64,
    pub pixels: u64,
    pub file_bytes_p5: u64,
    pub file_bytes_p50: u64,
    pub file_bytes_p95: u64,
    /// Sizes by powers of two, smallest first; without those that no file has.
    pub file_bytes_histogram: Vec<SizeClass>,
    /// Number of files by process, entropy coding and sampling.
    pub kinds: BTreeMap<String, u64>,
}

/// Files of about one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeClass {
    pub from_bytes: u64,
    /// Exclusive.
    pub to_bytes: u64,
    pub files: u64,
}

/// What is measured, under which settings. Two measurements can be compared if these are the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub scenario: Scenario,
    pub device: String,
    /// Null where no network runs.
    pub model: Option<String>,
    /// Images in a batch; the most, where batches form by themselves.
    pub batch: usize,
    /// Batches that are under way at the same time.
    pub in_flight: usize,
    /// Threads of the CPU.
    pub threads: usize,
    /// Of `latency`: how images arrive.
    pub arrivals: Option<Arrivals>,
    /// How images are resized and cropped; null where they are not.
    pub transform: Option<String>,
    /// What partial images are worth; null where nobody asks.
    pub policy: Option<String>,
    /// Of random arrivals: how long an image waits for others to make a batch, at most.
    pub max_wait_ms: Option<u32>,
}

/// The part of the way that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Bytes to quantised coefficients.
    Decode,
    /// Bytes to the network's input.
    Input,
    /// The network's input to logits.
    Network,
    /// Bytes to logits.
    E2e,
    /// Bytes to logits, image by image.
    Latency,
}

impl Scenario {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Input => "input",
            Self::Network => "network",
            Self::E2e => "e2e",
            Self::Latency => "latency",
        }
    }
}

/// How images arrive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// The next image is sent when the last one's answer is here.
    OneAtATime,
    /// A Poisson process at this share of the highest rate, in per cent.
    LoadPercent(u32),
    /// A Poisson process at this rate, in images per second.
    PerSecond(f64),
}

/// One measured point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    pub settings: Settings,
    pub warm_up: WarmUp,
    pub seconds: f64,
    /// That were answered in this time.
    pub images: u64,
    pub images_per_s: f64,
    /// Pixels of the files, in millions. Null where no file is read.
    pub mpixels_per_s: Option<f64>,
    /// Bytes of the files, in millions. Null where no file is read.
    pub mb_in_per_s: Option<f64>,
    /// Images per batch, as batches came to be.
    pub mean_batch: f64,
    /// Of random arrivals: images sent per second; the rate at which they were answered is `images_per_s`.
    pub offered_per_s: Option<f64>,
    /// Standard deviation of the windows' rates over their mean.
    pub rate_cv: f64,
    /// The measured time in equal parts.
    pub windows: Vec<Window>,
    /// Of random arrivals: of every image that arrived in the measured time, however late its answer; what never had one counts until then.
    pub latency: Latency,
    /// Time by stage: of the CPU, summed over its threads, or of the device, from event to event.
    pub stages: Vec<Stage>,
    pub cpu_s_per_1000_images: f64,
    pub uploaded_bytes_per_image: Option<f64>,
    /// The most memory that the process held during the measurement, the data set included.
    pub peak_memory_bytes: Option<u64>,
    /// Of `seconds`, how much of it devices had work in, by events; the rest they waited for the host. Where the host is slower than the device (small
    /// batches), waits between two operations of a batch are in it too: then it is the most that it can be. Null on the CPU.
    pub device_busy_share: Option<f64>,
    /// How many images were for a device, and the CPU decoded: arithmetic coding, unusual scans, what the device gave up. Counted where they are
    /// decoded: batches under way at either end count where this is. Null on the CPU, and where no file is read.
    pub images_left_to_cpu: Option<u64>,
    /// CPU time that decoding these took, summed over threads, per 1000 images of all; it is in `cpu_s_per_1000_images` too.
    pub left_to_cpu_s_per_1000_images: Option<f64>,
    /// The most device memory that was held, network and warm-up included.
    pub peak_device_memory_bytes: Option<u64>,
    /// The same of pinned host memory.
    pub peak_pinned_memory_bytes: Option<u64>,
    /// The GPU meanwhile; null where none is used or nothing is known of it.
    pub gpu: Option<GpuUse>,
    /// Number of images by what became of them; of random arrivals, of all that arrived.
    pub outcomes: BTreeMap<String, u64>,
    /// Whether nothing was found that makes the numbers doubtful.
    pub valid: bool,
    /// Why not.
    pub reasons: Vec<Reason>,
}

/// What `nvidia-smi` saw during a measurement, twice a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GpuUse {
    pub samples: u64,
    pub sm_clock_mhz_min: Option<f64>,
    pub sm_clock_mhz_mean: Option<f64>,
    pub memory_clock_mhz_mean: Option<f64>,
    pub power_watts_mean: Option<f64>,
    pub power_watts_max: Option<f64>,
    pub temperature_celsius_max: Option<f64>,
    /// What held its clocks down at some time, by NVIDIA's names.
    pub throttle_reasons: Vec<String>,
}

/// How long it ran before the clock counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WarmUp {
    pub seconds: f64,
    pub windows: u64,
    /// Whether the last three windows agreed within 5 %.
    pub steady: bool,
}

/// An equal part of the measured time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Window {
    pub seconds: f64,
    pub images: u64,
    /// Median latency of what was answered in this window; of random arrivals, of what arrived in it. Null if that is nothing.
    pub latency_ms_p50: Option<f64>,
}

impl Window {
    pub fn images_per_s(&self) -> f64 {
        self.images as f64 / self.seconds
    }
}

/// Times from sending to the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// What is sent and answered: `batch` or `image`.
    pub of: String,
    pub count: u64,
    pub ms_mean: f64,
    pub ms_p50: f64,
    pub ms_p90: f64,
    pub ms_p95: f64,
    pub ms_p99: f64,
    pub ms_max: f64,
    /// Standard deviation over the mean.
    pub cv: f64,
}

/// One stage's share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    pub name: String,
    pub seconds: f64,
    pub ms_per_image: f64,
}

/// Why a measurement is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// For programs: `too-short`, `short-warm-up`, `not-steady`, `too-noisy`, `failed-images`, `busy-machine`, `stolen-cpu`, `throttled-cpu`,
    /// `throttled-gpu`, `debug-build`, `overloaded`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Reason {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl Settings {
    /// Of a scenario, with one image at a time on one thread of the CPU.
    pub fn of(scenario: Scenario) -> Self {
        Self {
            scenario,
            device: "cpu".into(),
            model: None,
            batch: 1,
            in_flight: 1,
            threads: 1,
            arrivals: None,
            transform: None,
            policy: None,
            max_wait_ms: None,
        }
    }

    /// Scenario and settings in one line, for tables and charts.
    pub fn name(&self) -> String {
        let mut parts = vec![self.scenario.name().to_string()];
        parts.extend(self.model.clone());
        if self.device != "cpu" {
            parts.push(self.device.clone());
        }
        parts.push(format!("batch {}", self.batch));
        if self.in_flight > 1 {
            parts.push(format!("{} in flight", self.in_flight));
        }
        parts.push(format!("{} threads", self.threads));
        parts.extend(self.arrivals.map(|arrivals| arrivals.to_string()));
        parts.extend(self.max_wait_ms.map(|ms| format!("waits {ms} ms")));
        // What is not the default.
        let transform = self.transform.iter().filter(|transform| **transform != Transform::default().to_string());
        parts.extend(transform.map(|transform| transform.trim_end_matches(",orientation=apply,flip=no").to_string()));
        let policy = self.policy.iter().filter(|policy| **policy != Policy::default().to_string());
        parts.extend(policy.map(|policy| format!("policy {policy}")));
        parts.join(", ")
    }
}

impl Arrivals {
    /// Whether they are random.
    pub fn is_random(self) -> bool {
        self != Self::OneAtATime
    }
}

impl std::fmt::Display for Arrivals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OneAtATime => f.write_str("one at a time"),
            Self::LoadPercent(percent) => write!(f, "{percent} % load"),
            Self::PerSecond(rate) => write!(f, "{rate} images/s offered"),
        }
    }
}

impl Record {
    /// Reads the records of a file: one or more JSON objects, one after the other.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; [`ErrorKind::Usage`] if the file holds something else.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let not_a_record = |what: String| {
            let message = format!("no record of `dctflow bench --json`: {what}; make one with `dctflow bench --json`");
            Error::new(ErrorKind::Usage, message).with_path(path)
        };
        let text = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let records: Vec<Self> = serde_json::Deserializer::from_slice(&text)
            .into_iter()
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| not_a_record(e.to_string()))?;
        match records.iter().find(|record| record.format != FORMAT) {
            Some(record) => Err(not_a_record(format!("format {}, not {FORMAT}", record.format))),
            None if records.is_empty() => Err(not_a_record("the file is empty".into())),
            None => Ok(records),
        }
    }
}
