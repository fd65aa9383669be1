//! Running the stages on one stream, and recording those that are profiled.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dctflow::Result;
use dctflow::abi::KernelId;
use dctflow::device::{Backend, Device, DeviceInfo, KernelCounts, Stream, StreamOperation};
use dctflow::network::Weights;
use dctflow::plan::{DecodePlan, InputBatchPlan, InputImage, PlanOptions, PlannedImage};
use dctflow::session::DeviceChoice;
use dctflow::stages::DecodeStage;

use super::gpu::{Gpu, Prediction, Work};
use super::recorder::{Clock, Recorded, Recorder};
use super::work::{self, BatchWork};
use crate::cli::device_network::DeviceNetwork;
use crate::cli::output::say;

/// A part of the way from bytes to logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Decode,
    Input,
    Network,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Decode, Self::Input, Self::Network];

    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Input => "input",
            Self::Network => "network",
        }
    }
}

/// Which stages are profiled. Those before them run too.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    stages: RangeInclusive<Stage>,
}

impl Scenario {
    pub const DECODE: Self = Self { name: "decode", stages: Stage::Decode..=Stage::Decode };
    pub const INPUT: Self = Self { name: "input", stages: Stage::Input..=Stage::Input };
    pub const NETWORK: Self = Self { name: "network", stages: Stage::Network..=Stage::Network };
    pub const E2E: Self = Self { name: "e2e", stages: Stage::Decode..=Stage::Network };
}

/// Something that the host did. Moments are counted from the profile's start.
#[derive(Clone, Debug)]
pub struct HostSpan {
    pub name: &'static str,
    pub stage: Stage,
    pub began: Duration,
    pub time: Duration,
}

/// Something that the device did.
#[derive(Clone, Debug)]
pub struct DeviceSpan {
    pub recorded: Recorded,
    pub stage: Stage,
    pub work: Work,
    /// What the model says; `None` without a GPU that it knows.
    pub prediction: Option<Prediction>,
}

/// What kernels counted.
type Counts = BTreeMap<KernelId, KernelCounts>;

/// What was recorded.
#[derive(Debug)]
pub struct Profile {
    pub scenario: Scenario,
    pub device: DeviceInfo,
    pub clock: Clock,
    pub batch: usize,
    pub num_batches: usize,
    /// Of the files of all batches.
    pub num_bytes: u64,
    pub num_unresolved: usize,
    pub host: Vec<HostSpan>,
    pub spans: Vec<DeviceSpan>,
    /// What the kernels counted on the emulator, in as many batches of the same images; empty where there is none.
    pub counts: Counts,
}

impl Profile {
    /// Whether times are the device's own: the emulator's say nothing about a GPU.
    pub fn is_measured(&self) -> bool {
        self.device.backend == Backend::Cuda
    }

    /// The time of a span: measured, or on the emulator predicted.
    pub fn seconds(&self, span: &DeviceSpan) -> f64 {
        if self.is_measured() {
            span.recorded.time.as_secs_f64()
        } else {
            span.prediction.map_or(0.0, |prediction| prediction.seconds)
        }
    }
}

/// Runs batches through the stages.
pub struct Runner {
    device: Arc<dyn Device>,
    scenario: Scenario,
    batch: usize,
    options: PlanOptions,
    decode: DecodeStage,
    network: Option<DeviceNetwork>,
}

/// What the host does, on a clock of its own.
#[derive(Default)]
struct HostLog {
    spans: Vec<(&'static str, Stage, Instant, Instant)>,
}

impl HostLog {
    fn time<R>(&mut self, name: &'static str, stage: Stage, work: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let result = work();
        self.spans.push((name, stage, began, Instant::now()));
        result
    }

    /// Counted from `offset` before `start`.
    fn spans_since(self, start: Instant, offset: Duration) -> Vec<HostSpan> {
        let span = |(name, stage, began, end): (_, _, Instant, Instant)| HostSpan {
            name,
            stage,
            began: offset + began.saturating_duration_since(start),
            time: end - began,
        };
        self.spans.into_iter().map(span).collect()
    }
}

/// A batch that ran: what is known of its work.
#[derive(Default)]
struct Planned {
    decode: DecodePlan,
    input: Option<InputBatchPlan>,
}

impl Runner {
    /// `weights` for every scenario but decoding.
    pub fn new(device: &Arc<dyn Device>, scenario: Scenario, weights: Option<&Weights>, batch: usize) -> Result<Self> {
        // Graphs would be launches of which nothing is known but their time.
        Ok(Self {
            options: PlanOptions { redzone_bytes: device.redzone_bytes(), ..PlanOptions::default() },
            decode: DecodeStage::new(device)?,
            network: weights.map(|weights| DeviceNetwork::new(device, weights, batch, false)).transpose()?,
            device: Arc::clone(device),
            scenario,
            batch,
        })
    }

    /// The next batch of files that are taken again and again.
    fn next_batch<'a>(&self, images: &[PlannedImage<'a>], batch_idx: usize) -> Vec<PlannedImage<'a>> {
        images.iter().cycle().skip(batch_idx * self.batch % images.len()).take(self.batch).cloned().collect()
    }

    /// One batch between the start and the stop of a profiler outside, after one that is not profiled.
    pub fn run_once(&mut self, images: &[PlannedImage<'_>]) -> Result<()> {
        let images = self.next_batch(images, 0);
        self.run(&images, &mut HostLog::default(), |_| Ok(()))?;
        let device = Arc::clone(&self.device);
        self.run(&images, &mut HostLog::default(), |_| device.start_profiler())?;
        self.decode.stream().synchronize()?;
        self.device.stop_profiler()
    }

    /// Records `num_batches` batches.
    pub fn profile(
        &mut self,
        images: &[PlannedImage<'_>],
        num_batches: usize,
        mut recorder: Recorder,
        gpu: Option<&Gpu>,
    ) -> Result<Profile> {
        let device = Arc::clone(&self.device);
        let mut profile = Profile {
            scenario: self.scenario.clone(),
            device: device.info().clone(),
            clock: recorder.clock(),
            batch: self.batch,
            num_batches,
            num_bytes: 0,
            num_unresolved: 0,
            host: Vec::new(),
            spans: Vec::new(),
            counts: BTreeMap::new(),
        };
        if profile.is_measured() {
            // The first batch takes memory.
            self.run(&self.next_batch(images, 0), &mut HostLog::default(), |_| Ok(()))?;
        }
        let mut counting = Counting::of(&device, &self.scenario)?;
        let mut zero = None;
        for batch_idx in 0..num_batches {
            let images = self.next_batch(images, batch_idx);
            profile.num_bytes += images.iter().map(|image| image.bytes.len() as u64).sum::<u64>();
            let mut host = HostLog::default();
            let mut start = Instant::now();
            let planned = self.run(&images, &mut host, |stream| {
                // Of the stages before.
                device.take_counts();
                start = recorder.start(stream)?;
                Ok(())
            })?;
            let last = *self.scenario.stages.end();
            let operations = host.time("wait", last, || recorder.finish(self.decode.stream()))?;
            let counts = counting.counts(&device, &images)?;
            let offset = start.saturating_duration_since(*zero.get_or_insert(start));
            let reports = self.decode.fetch_reports(&images, &planned.decode)?;
            profile.num_unresolved += reports.iter().filter(|report| report.report.is_none()).count();
            let work = self.work(&planned, &operations, &counts);
            profile.add(Batch { host, start, offset, operations, work, counts }, gpu);
        }
        Ok(profile)
    }

    /// Puts all stages of a batch on the stream, as far as the scenario goes. `mark` is called before the first stage that is profiled, when
    /// those before it are done.
    fn run(
        &mut self,
        images: &[PlannedImage<'_>],
        host: &mut HostLog,
        mut mark: impl FnMut(&Stream) -> Result<()>,
    ) -> Result<Planned> {
        let mut unseen = HostLog::default();
        let mut planned = Planned::default();
        let Self { scenario, options, decode, network, .. } = self;
        for stage in Stage::ALL.into_iter().filter(|stage| stage <= scenario.stages.end()) {
            if stage == *scenario.stages.start() {
                decode.stream().synchronize()?;
                mark(decode.stream())?;
            }
            let log = if scenario.stages.contains(&stage) { &mut *host } else { &mut unseen };
            match (stage, network.as_mut()) {
                (Stage::Decode, _) => {
                    planned.decode = log.time("plan", stage, || DecodePlan::new(images, options));
                    log.time("submit", stage, || decode.submit(images, &planned.decode))?;
                }
                (Stage::Input, Some(network)) => {
                    let plan = log.time("plan", stage, || {
                        let inputs = images.iter().zip(&planned.decode.planes).map(|(image, planes)| {
                            InputImage::decoded(image, planes, &network.transform, network.form.kind()).ok()
                        });
                        network.plan_input(&inputs.collect::<Vec<_>>())
                    })?;
                    log.time("submit", stage, || network.submit_input(decode.stream(), &plan, decode.coefficients()))?;
                    planned.input = Some(plan);
                }
                (Stage::Network, Some(network)) => {
                    log.time("submit", stage, || network.submit_network(decode.stream(), images.len()))?
                }
                (_, None) => {}
            }
        }
        Ok(planned)
    }

    fn work(&self, planned: &Planned, operations: &[Recorded], counts: &Counts) -> BatchWork {
        let mut work = BatchWork::default();
        work.add(work::of_decoding(&planned.decode, counts));
        if let Some(plan) = &planned.input {
            work.add(work::of_input(plan));
        }
        if let Some(network) = &self.network {
            let stage = network.network();
            work.add_network(work::of_network(stage.plan(), stage.images_per_turn(), self.batch as u32));
        }
        work.share_among(operations.iter().map(|recorded| &recorded.operation));
        work
    }
}

/// A batch that was recorded.
struct Batch {
    host: HostLog,
    /// From when the operations' moments count, and how long that is after the profile's start.
    start: Instant,
    offset: Duration,
    operations: Vec<Recorded>,
    work: BatchWork,
    counts: Counts,
}

impl Profile {
    fn add(&mut self, batch: Batch, gpu: Option<&Gpu>) {
        let Batch { host, start, offset, operations, mut work, counts } = batch;
        let host: Vec<HostSpan> = host.spans_since(start, offset);
        for mut recorded in operations {
            recorded.submitted += offset;
            recorded.began += offset;
            // What is downloaded belongs to the stage that put it on the stream.
            let stage = stage_at(&host, recorded.submitted).unwrap_or(*self.scenario.stages.start());
            let work = work.of(&recorded.operation);
            let prediction = gpu.map(|gpu| predict(gpu, &recorded.operation, &work));
            self.spans.push(DeviceSpan { recorded, stage, work, prediction });
        }
        self.host.extend(host);
        for (kernel, counts) in counts {
            self.counts.entry(kernel).or_default().add(&counts);
        }
    }
}

/// The stage that the host was at when it submitted something.
fn stage_at(host: &[HostSpan], at: Duration) -> Option<Stage> {
    host.iter().find(|span| (span.began..=span.began + span.time).contains(&at)).map(|span| span.stage)
}

fn predict(gpu: &Gpu, operation: &StreamOperation, work: &Work) -> Prediction {
    match operation {
        StreamOperation::Upload { .. } | StreamOperation::Download { .. } => gpu.predict_transfer(work.bytes),
        StreamOperation::Launch { grid, .. } => gpu.predict_launch(work, grid.num_ctas()),
        StreamOperation::Copy { .. } | StreamOperation::Fill { .. } | StreamOperation::Graph => {
            gpu.predict_memory(work.bytes)
        }
    }
}

/// Where kernels count.
enum Counting {
    /// On the device itself, which is the emulator.
    Itself,
    /// On an emulator beside the GPU, which decodes the same batches by the same plan.
    Beside(Arc<dyn Device>, Box<DecodeStage>),
    Nowhere,
}

impl Counting {
    fn of(device: &Arc<dyn Device>, scenario: &Scenario) -> Result<Self> {
        if device.info().backend == Backend::Emulator {
            return Ok(Self::Itself);
        }
        match DeviceChoice::Emulator.resolve().ok().and_then(|emulator| emulator.handle) {
            Some(emulator) if scenario.stages.contains(&Stage::Decode) => {
                let stage = DecodeStage::new(&emulator)?;
                Ok(Self::Beside(emulator, Box::new(stage)))
            }
            Some(_) => Ok(Self::Nowhere),
            None => {
                say("symbols are not counted: that takes the emulator (build with --features emulator)");
                Ok(Self::Nowhere)
            }
        }
    }

    /// Of the batch that has just run.
    fn counts(&mut self, device: &Arc<dyn Device>, images: &[PlannedImage<'_>]) -> Result<Counts> {
        match self {
            Self::Itself => Ok(device.take_counts()),
            Self::Beside(emulator, stage) => {
                let options = PlanOptions { redzone_bytes: emulator.redzone_bytes(), ..PlanOptions::default() };
                let plan = DecodePlan::new(images, &options);
                stage.submit(images, &plan)?;
                stage.fetch_reports(images, &plan)?;
                Ok(emulator.take_counts())
            }
            Self::Nowhere => Ok(Counts::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dctflow::abi::{Counter, Kernel, WriteSubsequences};
    use dctflow::jpeg::Limits;
    use dctflow::network::{Config, Variant};
    use dctflow::synth::photo_set;

    fn profile_of(scenario: Scenario) -> Profile {
        let device = DeviceChoice::Emulator.resolve().unwrap().handle.unwrap();
        let files = photo_set(0, 3);
        let images: Vec<_> = files.iter().map(|file| PlannedImage::read(file, &Limits::default()).unwrap()).collect();
        let config = Config { width: 0.1, classes: 10, ..Config::new(Variant::LateConcatRfaThinner) };
        let weights = Weights::random(config, 1).unwrap().with_transform("short=72,crop=64".parse().unwrap()).unwrap();
        let mut runner = Runner::new(&device, scenario, Some(&weights), 2).unwrap();
        runner.profile(&images, 2, Recorder::of_events(), Some(Gpu::DEFAULT)).unwrap()
    }

    fn stages(profile: &Profile) -> Vec<Stage> {
        let mut stages: Vec<Stage> = profile.spans.iter().map(|span| span.stage).collect();
        stages.dedup();
        stages
    }

    #[test]
    fn each_scenario_records_its_own_stages() {
        use Stage::{Decode, Input, Network};
        for (scenario, expected) in [
            (Scenario::DECODE, vec![Decode]),
            (Scenario::INPUT, vec![Input]),
            (Scenario::NETWORK, vec![Network]),
            (Scenario::E2E, vec![Decode, Input, Network, Decode, Input, Network]),
        ] {
            let profile = profile_of(scenario);
            assert_eq!(stages(&profile), expected);
            assert!(profile.host.iter().all(|span| expected.contains(&span.stage)));
            assert_eq!(profile.num_unresolved, 0);
        }
    }

    #[test]
    fn every_launch_has_its_work_and_a_prediction() {
        let profile = profile_of(Scenario::E2E);
        for span in &profile.spans {
            assert!(span.work.bytes >= 0.0, "{:?}", span.recorded.operation);
            assert!(span.prediction.unwrap().seconds > 0.0);
            assert_eq!(profile.seconds(span), span.prediction.unwrap().seconds, "the emulator's time is no GPU's");
        }
        let write = &profile.counts[&WriteSubsequences::ID];
        assert!(write.count(Counter::Symbols).total > 0 && write.num_launches == 2);
        assert!(profile.spans.iter().any(|span| span.work.is_on_tensor_cores));
        // The device begins what was submitted, on the same clock.
        assert!(profile.spans.iter().all(|span| span.recorded.began >= span.recorded.submitted));
    }
}
