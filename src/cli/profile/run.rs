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

/// How long a GPU works before anything is recorded.
const WARM_UP: Duration = Duration::from_secs(1);

/// No more images are counted after this time, and so many at a time.
const MAX_COUNTING: Duration = Duration::from_secs(10);
const MAX_COUNTED_AT_ONCE: usize = 64;

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
    /// What the kernels count in these batches; empty without an emulator.
    pub counts: Counts,
    /// Images that were really counted, where that was done for a part, and taken for all.
    pub num_counted_images: Option<usize>,
    /// Launches that the plans do not know, or that they know and were not seen: nothing but a mistake of this library makes any.
    pub num_unmatched: usize,
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
            // Without the emulator's zones between planes, so that what is counted there are a GPU's operations: one fill for all planes.
            options: PlanOptions::default(),
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

    /// Records `num_batches` batches, on a GPU after about a second of others.
    pub fn profile(
        &mut self,
        images: &[PlannedImage<'_>],
        num_batches: usize,
        mut recorder: Recorder,
        gpu: Option<&Gpu>,
    ) -> Result<Profile> {
        let mut profile = Profile {
            scenario: self.scenario.clone(),
            device: self.device.info().clone(),
            clock: recorder.clock(),
            batch: self.batch,
            num_batches,
            num_bytes: 0,
            num_unresolved: 0,
            host: Vec::new(),
            spans: Vec::new(),
            counts: BTreeMap::new(),
            num_counted_images: None,
            num_unmatched: 0,
        };
        if profile.is_measured() {
            self.warm_up(images)?;
        }
        let mut batches = loop {
            if let Some(batches) = self.record(images, num_batches, &mut recorder)? {
                break batches;
            }
        };
        profile.clock = recorder.clock();
        // Only now: the device would be idle meanwhile, and the next batch slow.
        if profile.is_measured() && self.scenario.stages.contains(&Stage::Decode) {
            profile.num_counted_images = self.count_beside(images, &mut batches)?;
        }
        for batch in batches {
            let work = self.work(&batch);
            profile.add(batch, work, gpu);
        }
        Ok(profile)
    }

    /// Takes memory, and lets clocks rise.
    fn warm_up(&mut self, images: &[PlannedImage<'_>]) -> Result<()> {
        let began = Instant::now();
        let mut batch_idx = 0;
        while batch_idx == 0 || began.elapsed() < WARM_UP {
            self.run(&self.next_batch(images, batch_idx), &mut HostLog::default(), |_| Ok(()))?;
            self.decode.stream().synchronize()?;
            batch_idx += 1;
        }
        Ok(())
    }

    /// The batches, one after the other. `None` if the recorder has to begin anew.
    fn record(
        &mut self,
        images: &[PlannedImage<'_>],
        num_batches: usize,
        recorder: &mut Recorder,
    ) -> Result<Option<Vec<Batch>>> {
        let device = Arc::clone(&self.device);
        let mut zero = None;
        let mut batches = Vec::with_capacity(num_batches);
        for batch_idx in 0..num_batches {
            let images = self.next_batch(images, batch_idx);
            let mut host = HostLog::default();
            let mut start = Instant::now();
            let planned = self.run(&images, &mut host, |stream| {
                // Of the stages before.
                device.take_counts();
                start = recorder.start(stream)?;
                Ok(())
            })?;
            let last = *self.scenario.stages.end();
            let Some(operations) = host.time("wait", last, || recorder.finish(self.decode.stream()))? else {
                return Ok(None);
            };
            let offset = start.saturating_duration_since(*zero.get_or_insert(start));
            let reports = self.decode.fetch_reports(&images, &planned.decode)?;
            batches.push(Batch {
                num_bytes: images.iter().map(|image| image.bytes.len() as u64).sum(),
                num_unresolved: reports.iter().filter(|report| report.report.is_none()).count(),
                counts: device.take_counts(),
                host,
                start,
                offset,
                operations,
                planned,
            });
        }
        Ok(Some(batches))
    }

    /// Counts on an emulator beside the GPU what the kernels do with these images, as many as there is time for, and gives each batch its share,
    /// by bytes. The result is how many were counted, unless all were.
    fn count_beside(&self, images: &[PlannedImage<'_>], batches: &mut [Batch]) -> Result<Option<usize>> {
        let Some(emulator) = DeviceChoice::Emulator.resolve().ok().and_then(|emulator| emulator.handle) else {
            say("symbols are not counted: that takes the emulator (build with --features emulator)");
            return Ok(None);
        };
        let mut stage = DecodeStage::new(&emulator)?;
        let num_images = images.len().min(self.batch * batches.len());
        let (began, mut num_counted) = (Instant::now(), 0);
        while num_counted < num_images && (num_counted == 0 || began.elapsed() < MAX_COUNTING) {
            let end = (num_counted + self.batch.min(MAX_COUNTED_AT_ONCE)).min(num_images);
            let plan = DecodePlan::new(&images[num_counted..end], &self.options);
            stage.submit(&images[num_counted..end], &plan)?;
            stage.fetch_reports(&images[num_counted..end], &plan)?;
            num_counted = end;
        }
        let counts = emulator.take_counts();
        let counted_bytes: u64 = images[..num_counted].iter().map(|image| image.bytes.len() as u64).sum();
        for batch in batches {
            let factor = batch.num_bytes as f64 / counted_bytes.max(1) as f64;
            batch.counts = counts.iter().map(|(kernel, counts)| (*kernel, counts.times(factor))).collect();
        }
        Ok((num_counted < num_images).then_some(num_counted))
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
                (Stage::Network, Some(network)) => log.time("submit", stage, || {
                    network.submit_network(decode.stream(), images.len())?;
                    network.submit_download(decode.stream(), images.len())
                })?,
                (_, None) => {}
            }
        }
        Ok(planned)
    }

    fn work(&self, batch: &Batch) -> BatchWork {
        let Batch { planned, operations, counts, .. } = batch;
        let mut work = BatchWork::default();
        work.add(work::of_decoding(&planned.decode, counts));
        if let Some(plan) = &planned.input {
            work.add(work::of_input(plan));
        }
        if let Some(network) = self.network.as_ref().filter(|_| self.scenario.stages.contains(&Stage::Network)) {
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
    planned: Planned,
    counts: Counts,
    /// Of the files.
    num_bytes: u64,
    num_unresolved: usize,
}

impl Profile {
    fn add(&mut self, batch: Batch, mut work: BatchWork, gpu: Option<&Gpu>) {
        let Batch { host, start, offset, operations, counts, .. } = batch;
        self.num_bytes += batch.num_bytes;
        self.num_unresolved += batch.num_unresolved;
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
        self.num_unmatched += work.num_unmatched();
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
    fn symbols_counted_beside_a_gpu_are_those_of_the_device_itself() {
        let device = DeviceChoice::Emulator.resolve().unwrap().handle.unwrap();
        let files = photo_set(0, 3);
        let images: Vec<_> = files.iter().map(|file| PlannedImage::read(file, &Limits::default()).unwrap()).collect();
        let mut runner = Runner::new(&device, Scenario::DECODE, None, 3).unwrap();
        let mut batches = runner.record(&images, 2, &mut Recorder::of_events()).unwrap().unwrap();
        let itself: Vec<Counts> = batches.iter_mut().map(|batch| std::mem::take(&mut batch.counts)).collect();
        assert_eq!(runner.count_beside(&images, &mut batches).unwrap(), None, "all were counted");
        let symbols = |counts: &Counts| counts[&WriteSubsequences::ID].count(Counter::Symbols);
        for (batch, itself) in batches.iter().zip(&itself) {
            assert_eq!(symbols(&batch.counts), symbols(itself));
        }
    }

    #[test]
    fn every_launch_has_its_work_and_a_prediction() {
        let profile = profile_of(Scenario::E2E);
        assert_eq!(profile.num_unmatched, 0, "each launch of the network is the plan's next, and none is left");
        for span in &profile.spans {
            // Those that write coefficients share the bytes by symbols, of which some have none.
            let is_shared = ["write_segments", "refine_segments"].contains(&span.recorded.operation.name());
            assert!(span.work.bytes > 0.0 || is_shared, "{:?}", span.recorded.operation);
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
