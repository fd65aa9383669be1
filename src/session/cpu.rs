//! The CPU backend of a session: images are decoded and resized in parallel, then the network runs on all of them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cpu_time::ThreadTime;
use rayon::prelude::*;

use super::batch::Image;
use super::budget::Budget;
use super::builder::SessionBuilder;
use super::outcome::Outcome;
use super::slots::{Backend, Part};
use super::times::{Clocks, StageTimes};
use crate::cpu::input::{InputMut, write_input};
use crate::cpu::network::{Engine, Scratch};
use crate::cpu::{Decoded, Decoder};
use crate::error::{Error, ErrorKind, ImageError, Result};
use crate::jpeg::{Coefficients, DecodeReport, Header, Limits, Policy, Status, Verdict};
use crate::network::{InputKind, InputNorm};
use crate::resample::{AxisCache, InputPlan, Normalization, Transform};

/// One batch on the CPU. While one slot runs the network, another decodes; all share the threads.
pub(super) struct Cpu {
    shared: Arc<Shared>,
    /// Inputs of the network, one per input value: `[max_batch, H, W, C]`.
    inputs: Vec<Vec<f32>>,
}

/// What all slots use.
pub(super) struct Shared {
    pool: rayon::ThreadPool,
    front: Front,
    engine: Engine,
    /// One network runs at a time. Locked outside of the pool: a thread of the pool that waits may be the one that is waited for.
    scratch: Mutex<Scratch>,
    topk: usize,
}

/// Threads for the CPU's part of the work; 0: one per core.
pub(super) fn thread_pool(num_threads: usize) -> Result<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(num_threads);
    let pool = pool.thread_name(|thread_idx| format!("dctflow-cpu-{thread_idx}"));
    pool.build()
        .map_err(|e| Error::new(ErrorKind::OutOfMemory, "cannot start the threads: ask for fewer").with_source(e))
}

/// Decoders with their working memory: as many as images were ever decoded at once.
pub(super) struct Decoders {
    idle: Mutex<Vec<Decoder>>,
    /// What each of them may keep from one image to the next.
    spare_bytes: u64,
}

impl Decoders {
    /// For the threads of a pool, which together keep at most so many bytes of coefficients.
    pub(super) fn new(coefficient_bytes: u64, pool: &rayon::ThreadPool) -> Self {
        Self { idle: Mutex::default(), spare_bytes: coefficient_bytes / pool.current_num_threads() as u64 }
    }

    pub(super) fn take(&self) -> Decoder {
        self.lock().pop().unwrap_or_else(|| Decoder::keeping(self.spare_bytes))
    }

    pub(super) fn put_back(&self, decoder: Decoder) {
        self.lock().push(decoder);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Decoder>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What takes one image from bytes to the network's input.
struct Front {
    limits: Limits,
    policy: Policy,
    transform: Transform,
    normalization: Normalization,
    kind: InputKind,
    axes: Mutex<AxisCache>,
    decoders: Decoders,
    /// For the coefficients of images that are being decoded.
    memory: Budget,
    clocks: Clocks,
}

/// An image after decoding: its outcome so far, and whether its row of the inputs is filled.
struct Prepared {
    outcome: Outcome,
    has_input: bool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cpu").field("threads", &self.num_threads()).finish_non_exhaustive()
    }
}

impl Shared {
    /// `coefficient_bytes`: what may be decoded at one time.
    pub(super) fn new(settings: &SessionBuilder<'_>, coefficient_bytes: u64) -> Result<Arc<Self>> {
        let pool = thread_pool(settings.threads)?;
        let inference = settings.weights.inference(InputNorm::Fold);
        let metadata = settings.weights.metadata();
        let front = Front {
            limits: settings.limits.clone(),
            policy: settings.policy,
            transform: metadata.transform,
            normalization: metadata.normalization,
            kind: inference.input,
            axes: Mutex::default(),
            decoders: Decoders::new(coefficient_bytes, &pool),
            memory: Budget::new(coefficient_bytes),
            clocks: Clocks::default(),
        };
        let engine = pool.install(|| Engine::new(inference))?;
        let scratch = Mutex::new(Scratch::new());
        let shared = Self { pool, front, engine, scratch, topk: settings.topk };
        shared.front.clocks.begin(shared.pool_time());
        Ok(Arc::new(shared))
    }

    pub(super) fn num_threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// CPU time of all threads so far.
    fn pool_time(&self) -> Duration {
        self.pool.broadcast(|_| ThreadTime::now().as_duration()).iter().sum()
    }

    pub(super) fn stage_times(&self) -> StageTimes {
        self.front.clocks.read(self.pool_time())
    }

    /// Runs the network on the first rows of the inputs.
    fn run_network(&self, inputs: &[&[f32]], num_images: usize) -> Result<Vec<f32>> {
        let mut logits = vec![0.0; num_images * self.engine.num_classes()];
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch: &mut Scratch = &mut scratch;
        self.pool.install(|| self.engine.run(inputs, num_images, &mut logits, scratch))?;
        Ok(logits)
    }
}

impl Cpu {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let inputs = vec![Vec::new(); shared.engine.input_shapes().len()];
        Self { shared, inputs }
    }

    /// Values of one image, by input.
    fn row_lens(&self) -> Vec<usize> {
        self.shared.engine.input_shapes().iter().map(|s| s.height * s.width * s.channels).collect()
    }
}

impl Backend for Cpu {
    fn run(&mut self, part: &Part<'_>) -> Result<Vec<Outcome>> {
        if part.logits.is_some() {
            let message = "the CPU cannot write a batch's logits to a device's memory: run the session on that device";
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let lens = self.row_lens();
        let Self { shared, inputs } = self;
        let mut prepared = shared.pool.install(|| prepare(&shared.front, part.images, inputs, &lens));
        let num_ready = compact(&prepared, inputs, &lens);
        if num_ready > 0 {
            let filled: Vec<&[f32]> = inputs.iter().zip(&lens).map(|(input, len)| &input[..num_ready * len]).collect();
            let logits = shared.run_network(&filled, num_ready)?;
            let ready = prepared.iter_mut().filter(|image| image.has_input);
            for (image, logits) in ready.zip(logits.chunks_exact(shared.engine.num_classes())) {
                image.outcome.set_logits(logits, shared.topk);
            }
        }
        Ok(prepared.into_iter().map(|image| image.outcome).collect())
    }

    fn trim(&mut self) -> Result<()> {
        self.inputs.iter_mut().for_each(|input| *input = Vec::new());
        *self.shared.scratch.lock().unwrap_or_else(PoisonError::into_inner) = Scratch::new();
        Ok(())
    }
}

/// Decodes and resizes the images in parallel, each into its own row of the inputs.
fn prepare(front: &Front, images: &[Image], inputs: &mut [Vec<f32>], lens: &[usize]) -> Vec<Prepared> {
    let mut rows: Vec<Vec<&mut [f32]>> = images.iter().map(|_| Vec::with_capacity(lens.len())).collect();
    for (input, &len) in inputs.iter_mut().zip(lens) {
        if input.len() < images.len() * len {
            input.resize(images.len() * len, 0.0);
        }
        for (row, values) in rows.iter_mut().zip(input.chunks_exact_mut(len)) {
            row.push(values);
        }
    }
    images.par_iter().zip(rows).with_max_len(1).map(|(image, row)| front.prepare(image, row)).collect()
}

/// Moves the filled rows to the front, in order. Returns how many they are.
fn compact(prepared: &[Prepared], inputs: &mut [Vec<f32>], lens: &[usize]) -> usize {
    let mut num_ready = 0;
    for (image_idx, _) in prepared.iter().enumerate().filter(|(_, image)| image.has_input) {
        if image_idx != num_ready {
            for (input, &len) in inputs.iter_mut().zip(lens) {
                input.copy_within(image_idx * len..(image_idx + 1) * len, num_ready * len);
            }
        }
        num_ready += 1;
    }
    num_ready
}

impl Front {
    /// Never fails and never panics: what is wrong with the image is its outcome's reason.
    fn prepare(&self, image: &Image, row: Vec<&mut [f32]>) -> Prepared {
        catch_unwind(AssertUnwindSafe(|| self.try_prepare(image, row)))
            .unwrap_or_else(|_| failed(image, ImageError::Internal))
    }

    fn try_prepare(&self, image: &Image, row: Vec<&mut [f32]>) -> Prepared {
        let header = match self.clocks.parse.time(|| Header::parse(&image.bytes, &self.limits)) {
            Ok(header) => header,
            Err(reason) => return failed(image, reason),
        };
        let _share = self.memory.take(header.frame.coefficient_bytes());
        let mut decoder = self.decoders.take();
        let Decoded { coefficients, report } =
            self.clocks.entropy.time(|| decoder.decode_scans(&image.bytes, header, &self.limits));
        let mut outcome = Outcome::decoded(image.tag, &report);
        let has_input = coefficients.is_some_and(|coefficients| {
            let has_input = self.fill(image, &report, &coefficients, row, &mut outcome);
            decoder.recycle(coefficients);
            has_input
        });
        self.decoders.put_back(decoder);
        Prepared { outcome, has_input }
    }

    /// Whether the row was filled; if not, the outcome says why.
    fn fill(
        &self,
        image: &Image,
        report: &DecodeReport,
        coefficients: &Coefficients,
        row: Vec<&mut [f32]>,
        outcome: &mut Outcome,
    ) -> bool {
        match self.policy.judge(report) {
            Verdict::Use => {}
            Verdict::Skip => return false,
            Verdict::Refuse => {
                outcome.status = Status::Failed;
                return false;
            }
        }
        let transform = image.transform.unwrap_or(self.transform);
        match self.clocks.resample.time(|| self.write_input(coefficients, &transform, row)) {
            Ok(saturated) => {
                outcome.saturated = saturated;
                true
            }
            Err(reason) => {
                outcome.status = Status::Failed;
                outcome.reason = Some(reason);
                false
            }
        }
    }

    /// Returns how many coefficients were saturated.
    fn write_input(
        &self,
        coefficients: &Coefficients,
        transform: &Transform,
        row: Vec<&mut [f32]>,
    ) -> std::result::Result<u64, ImageError> {
        if transform.crop != self.transform.crop {
            return Err(ImageError::NoInput { what: "the transform's crop is not the network's input size" });
        }
        let plan = {
            let mut axes = self.axes.lock().unwrap_or_else(PoisonError::into_inner);
            let Coefficients { frame, color, orientation, .. } = coefficients;
            InputPlan::cached(&mut axes, frame, *color, *orientation, transform, self.kind)?
        };
        let out = match <[&mut [f32]; 2]>::try_from(row) {
            Ok([y, c]) => InputMut::Blocks { y, c },
            Err(mut row) => match row.pop() {
                Some(rgb) => InputMut::Rgb { rgb, normalization: &self.normalization },
                None => return Err(ImageError::Internal),
            },
        };
        Ok(write_input(&plan, coefficients, out))
    }
}

fn failed(image: &Image, reason: ImageError) -> Prepared {
    Prepared { outcome: Outcome::failed(image.tag, reason), has_input: false }
}
