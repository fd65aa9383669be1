//! The scenarios as pieces of work: each takes batches of files, and says what became of them and how long its stages took.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cpu_time::{ProcessTime, ThreadTime};
use dctflow::cpu::input::{InputMut, write_input};
use dctflow::cpu::network::{Engine, Scratch};
use dctflow::cpu::{Decoded, Decoder};
use dctflow::jpeg::{Coefficients, Header, Limits, Status};
use dctflow::network::{InputKind, InputNorm, Weights};
use dctflow::plan::CpuReason;
use dctflow::resample::{AxisCache, InputPlan, Normalization, Transform};
use dctflow::session::{Batch, DeviceStats, Outcome, Session, Ticket};
use dctflow::{Error, ErrorKind, ImageError, Result};
use rayon::prelude::*;

use super::images::File;
use crate::cli::output::status_word;

/// One scenario, ready to run.
pub trait Workload {
    /// Takes a batch, and gives a batch that is finished: this one, or an earlier one where several are under way.
    fn submit(&mut self, files: &[&File]) -> Result<Option<Finished>>;

    /// What was counted so far.
    fn reading(&self) -> Reading;

    /// The time by which it is measured: a test's workload has its own.
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// What a workload has counted since it was made.
pub struct Reading {
    /// Time of each stage: of the CPU, or of the device.
    pub stages: Vec<(&'static str, Duration)>,
    /// Of devices, where they are used.
    pub devices: Option<DeviceReading>,
}

/// What was for a device, and the CPU decoded.
#[derive(Clone, Copy, Default)]
pub struct LeftToCpu {
    pub images: u64,
    /// Summed over threads.
    pub cpu_time: Duration,
}

impl AddAssign for LeftToCpu {
    fn add_assign(&mut self, other: Self) {
        self.images += other.images;
        self.cpu_time += other.cpu_time;
    }
}

/// What devices have counted, all together.
#[derive(Clone, Copy)]
pub struct DeviceReading {
    /// Bytes copied to them.
    pub uploaded_bytes: u64,
    pub left_to_cpu: LeftToCpu,
    /// Time at which a device had work, by events, summed; and how many devices.
    pub busy: (Duration, usize),
    /// The most memory that they held, their own and pinned memory of the host.
    pub peak_device_bytes: u64,
    pub peak_pinned_bytes: u64,
}

impl Reading {
    fn of_stages(stages: Vec<(&'static str, Duration)>) -> Self {
        Self { stages, devices: None }
    }

    /// What a session has counted. Nothing is copied to a CPU or from it.
    pub fn of(session: &Session) -> Self {
        let stats = session.device_stats();
        let is_copied = !stats.is_empty();
        let sum = |field: fn(&DeviceStats) -> u64| stats.iter().map(field).sum();
        let devices = is_copied.then(|| DeviceReading {
            uploaded_bytes: sum(|device| device.uploaded_bytes),
            left_to_cpu: LeftToCpu {
                images: sum(|device| {
                    let on_cpu = device.decoder.on_cpu.iter();
                    // Of these nothing is decoded.
                    on_cpu.filter(|(reason, _)| **reason != CpuReason::Header).map(|(_, count)| count).sum()
                }),
                cpu_time: stats.iter().map(|device| device.decoder.cpu_time).sum(),
            },
            busy: (stats.iter().map(|device| device.busy).sum(), stats.len()),
            peak_device_bytes: sum(|device| device.memory.peak_device_bytes),
            peak_pinned_bytes: sum(|device| device.memory.peak_pinned_bytes),
        });
        let stages = session.stage_times().named().into_iter();
        let stages = stages.filter(|(name, _)| is_copied || !["upload", "download"].contains(name)).collect();
        Self { stages, devices }
    }
}

/// A batch that was answered.
pub struct Finished {
    /// From sending to the answer.
    pub latency: Duration,
    /// What became of each image, as one word.
    pub outcomes: Vec<String>,
    pub num_bytes: u64,
    pub num_pixels: u64,
}

impl Finished {
    pub fn new(sent: Sent, outcomes: Vec<String>) -> Self {
        let Sent { at, num_bytes, num_pixels } = sent;
        Self { latency: at.elapsed(), outcomes, num_bytes, num_pixels }
    }
}

/// A batch on its way.
pub struct Sent {
    at: Instant,
    num_bytes: u64,
    num_pixels: u64,
}

impl Sent {
    pub fn now(files: &[&File]) -> Self {
        Self {
            at: Instant::now(),
            num_bytes: files.iter().map(|file| file.bytes.len() as u64).sum(),
            num_pixels: files.iter().map(|file| file.num_pixels).sum(),
        }
    }
}

/// The word for an outcome of a session.
pub fn outcome_word(outcome: &Outcome) -> String {
    status_word(outcome.status, outcome.reason.as_ref())
}

/// The word for what a network gave of one image.
pub fn logits_word(logits: &[f32]) -> String {
    let reason = (!logits.iter().all(|logit| logit.is_finite())).then_some(ImageError::NonFiniteLogit);
    let status = if reason.is_some() { Status::Failed } else { Status::Complete };
    status_word(status, reason.as_ref())
}

/// Bytes to logits.
pub struct EndToEnd {
    session: Session,
    in_flight: usize,
    under_way: VecDeque<(Ticket, Sent)>,
}

impl EndToEnd {
    /// With up to `in_flight` batches under way.
    pub fn new(session: Session, in_flight: usize) -> Self {
        Self { session, in_flight, under_way: VecDeque::new() }
    }

    /// Waits for what is under way, and gives the session back.
    pub fn into_idle_session(self) -> Result<Session> {
        self.under_way.into_iter().try_for_each(|(ticket, _)| ticket.wait().map(drop))?;
        Ok(self.session)
    }
}

impl Workload for EndToEnd {
    fn submit(&mut self, files: &[&File]) -> Result<Option<Finished>> {
        let sent = Sent::now(files);
        let mut batch = Batch::new();
        files.iter().for_each(|file| batch.push(file.bytes.as_slice(), None, 0));
        self.under_way.push_back((self.session.submit(batch), sent));
        if self.under_way.len() < self.in_flight {
            return Ok(None);
        }
        let Some((ticket, sent)) = self.under_way.pop_front() else { return Ok(None) };
        let outcomes = ticket.wait()?;
        Ok(Some(Finished::new(sent, outcomes.iter().map(outcome_word).collect())))
    }

    fn reading(&self) -> Reading {
        Reading::of(&self.session)
    }
}

/// Bytes to coefficients and, where there is a target, to the network's input; on the CPU.
pub struct Front {
    pool: rayon::ThreadPool,
    limits: Limits,
    decoders: Mutex<Vec<Decoder>>,
    target: Option<Target>,
    times: FrontTimes,
}

/// The network's input that is made, and memory for a batch of it.
struct Target {
    kind: InputKind,
    transform: Transform,
    normalization: Normalization,
    axes: Mutex<AxisCache>,
    /// Lengths of an image's input values.
    lens: Vec<usize>,
    /// For each image of a batch.
    inputs: Vec<Vec<Vec<f32>>>,
}

/// CPU time by stage.
#[derive(Clone, Copy, Default)]
struct FrontTimes {
    parse: Duration,
    entropy: Duration,
    resample: Duration,
}

fn cpu_timed<R>(time: &mut Duration, work: impl FnOnce() -> R) -> R {
    let start = ThreadTime::now();
    let result = work();
    *time += start.elapsed();
    result
}

impl Front {
    /// Bytes to coefficients.
    pub fn decode(pool: rayon::ThreadPool) -> Self {
        let (limits, decoders) = (Limits::default(), Mutex::default());
        Self { pool, limits, decoders, target: None, times: FrontTimes::default() }
    }

    /// Bytes to the input of the network of `weights`.
    pub fn input(pool: rayon::ThreadPool, weights: &Weights) -> Self {
        Self { target: Some(Target::new(weights)), ..Self::decode(pool) }
    }

    /// Takes one image all the way. Whatever is wrong with it is its outcome.
    fn run_image(&self, file: &File, input: Option<&mut Vec<Vec<f32>>>) -> (FrontTimes, String) {
        let mut times = FrontTimes::default();
        let header = match cpu_timed(&mut times.parse, || Header::parse(&file.bytes, &self.limits)) {
            Ok(header) => header,
            Err(reason) => return (times, status_word(Status::Failed, Some(&reason))),
        };
        let lock = || self.decoders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut decoder = lock().pop().unwrap_or_default();
        let Decoded { coefficients, report } =
            cpu_timed(&mut times.entropy, || decoder.decode_scans(&file.bytes, header, &self.limits));
        let mut word = status_word(report.status, report.reason.as_ref());
        if let Some(coefficients) = coefficients {
            if let (Some(target), Some(input)) = (&self.target, input)
                && let Err(reason) = cpu_timed(&mut times.resample, || target.write(&coefficients, input))
            {
                word = status_word(Status::Failed, Some(&reason));
            }
            decoder.recycle(coefficients);
        }
        lock().push(decoder);
        (times, word)
    }

    /// The inputs of a batch of images that can be used, one after the other: `[batch, H, W, C]` for each value.
    fn inputs(&mut self, files: &[File], batch: usize) -> Result<Vec<Vec<f32>>> {
        let mut joined: Vec<Vec<f32>> = Vec::new();
        let mut num_images = 0;
        for file in files.iter().cycle().take(files.len().max(batch)) {
            let mut input = self.target.as_ref().map(Target::buffers).unwrap_or_default();
            let (_, word) = self.run_image(file, Some(&mut input));
            if word.starts_with("failed") {
                continue;
            }
            joined.resize(input.len(), Vec::new());
            joined.iter_mut().zip(input).for_each(|(joined, input)| joined.extend(input));
            num_images += 1;
            if num_images == batch {
                return Ok(joined);
            }
        }
        let message = format!("only {num_images} of the files can be used, and a batch needs {batch}");
        Err(Error::new(ErrorKind::Usage, message))
    }
}

impl Target {
    fn new(weights: &Weights) -> Self {
        let inference = weights.inference(InputNorm::Fold);
        let num_inputs = if inference.input == InputKind::Rgb { 1 } else { 2 };
        let metadata = weights.metadata();
        Self {
            kind: inference.input,
            transform: metadata.transform,
            normalization: metadata.normalization,
            axes: Mutex::default(),
            lens: inference.values[..num_inputs].iter().map(|s| s.height * s.width * s.channels).collect(),
            inputs: Vec::new(),
        }
    }

    fn buffers(&self) -> Vec<Vec<f32>> {
        self.lens.iter().map(|&len| vec![0.0; len]).collect()
    }

    fn write(&self, coefficients: &Coefficients, input: &mut [Vec<f32>]) -> std::result::Result<(), ImageError> {
        let Coefficients { frame, color, orientation, .. } = coefficients;
        let plan = {
            let mut axes = self.axes.lock().unwrap_or_else(PoisonError::into_inner);
            InputPlan::cached(&mut axes, frame, *color, *orientation, &self.transform, self.kind)?
        };
        let out = match input {
            [y, c] => InputMut::Blocks { y, c },
            [rgb] => InputMut::Rgb { rgb, normalization: &self.normalization },
            _ => return Err(ImageError::Internal),
        };
        write_input(&plan, coefficients, out);
        Ok(())
    }
}

impl Workload for Front {
    fn submit(&mut self, files: &[&File]) -> Result<Option<Finished>> {
        let sent = Sent::now(files);
        let mut inputs = self.target.as_mut().map(|target| std::mem::take(&mut target.inputs)).unwrap_or_default();
        if let Some(target) = &self.target {
            inputs.resize_with(files.len().max(inputs.len()), || target.buffers());
        } else {
            inputs.resize_with(files.len(), Vec::new);
        }
        let front = &*self;
        let done: Vec<(FrontTimes, String)> = front.pool.install(|| {
            let images = files.par_iter().zip(inputs.par_iter_mut()).with_max_len(1);
            images.map(|(file, input)| front.run_image(file, Some(input))).collect()
        });
        if let Some(target) = &mut self.target {
            target.inputs = inputs;
        }
        for (times, _) in &done {
            self.times.parse += times.parse;
            self.times.entropy += times.entropy;
            self.times.resample += times.resample;
        }
        Ok(Some(Finished::new(sent, done.into_iter().map(|(_, word)| word).collect())))
    }

    fn reading(&self) -> Reading {
        let mut stages = vec![("parse", self.times.parse), ("entropy", self.times.entropy)];
        stages.extend(self.target.is_some().then_some(("resample", self.times.resample)));
        Reading::of_stages(stages)
    }
}

/// The network's input to logits, on the CPU: the same batch again and again.
pub struct Network {
    pool: rayon::ThreadPool,
    engine: Engine,
    scratch: Scratch,
    inputs: Vec<Vec<f32>>,
    batch: usize,
    logits: Vec<f32>,
    time: Duration,
}

impl Network {
    /// A batch made of `files`.
    pub fn new(pool: rayon::ThreadPool, weights: &Weights, files: &[File], batch: usize) -> Result<Self> {
        let mut front = Front::input(pool, weights);
        let inputs = front.inputs(files, batch)?;
        let pool = front.pool;
        let engine = pool.install(|| Engine::new(weights.inference(InputNorm::Fold)))?;
        let logits = vec![0.0; batch * engine.num_classes()];
        Ok(Self { pool, engine, scratch: Scratch::new(), inputs, batch, logits, time: Duration::ZERO })
    }
}

impl Workload for Network {
    fn submit(&mut self, _: &[&File]) -> Result<Option<Finished>> {
        let Self { pool, engine, scratch, inputs, batch, logits, time } = self;
        let sent = Sent::now(&[]);
        let cpu = ProcessTime::now();
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        pool.install(|| engine.run(&inputs, *batch, logits, scratch))?;
        *time += cpu.elapsed();
        let words = logits.chunks_exact(engine.num_classes()).map(logits_word);
        Ok(Some(Finished::new(sent, words.collect())))
    }

    fn reading(&self) -> Reading {
        Reading::of_stages(vec![("network", self.time)])
    }
}
