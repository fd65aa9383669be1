//! What the clock and the device's events see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dctflow::Result;
use dctflow::cpu::Decoder;
use dctflow::device::{Backend, Device, DeviceBuffer, PinnedBuffer, Stream, TraceDetail, TraceSpan};
use dctflow::jpeg::Limits;
use dctflow::plan::{DecodePlan, PlanOptions, PlannedImage};
use dctflow::stages::{DecodeStage, DeviceReport};
use rayon::prelude::*;

use super::File;

/// Seconds of one batch; medians over many.
pub struct Measured {
    pub num_batches: u64,
    /// From files in memory to reports, nothing overlapped.
    pub wall_s: f64,
    /// Headers and plan, on the host's one thread.
    pub plan_s: f64,
    /// By events on the stream; none on the CPU.
    pub phases: Option<Phases>,
    /// By kernel, copy and fill, in order, each summed over its launches.
    pub operations: Vec<(&'static str, f64)>,
    /// Images that the device left to the CPU.
    pub num_unresolved: usize,
    /// What the plan says that the device must move, at the least: see [`least_dram_bytes`].
    pub least_dram_bytes: u64,
}

/// Seconds on the stream.
pub struct Phases {
    pub upload_s: f64,
    pub decode_s: f64,
    pub download_s: f64,
}

/// Decodes a batch, and says what came of it.
pub fn decode_once(
    stage: &mut DecodeStage,
    images: &[PlannedImage<'_>],
    options: &PlanOptions,
) -> Result<Vec<DeviceReport>> {
    let plan = DecodePlan::new(images, options);
    stage.submit(images, &plan)?;
    stage.fetch_reports(images, &plan)
}

/// Decodes the batch again and again on a device.
pub fn on_device(device: &Arc<dyn Device>, batch: &[&File], time: Duration) -> Result<Measured> {
    let options = PlanOptions { redzone_bytes: device.redzone_bytes(), ..PlanOptions::default() };
    let mut stage = DecodeStage::new(device)?;
    let limits = Limits::default();
    let images: Vec<PlannedImage<'_>> =
        batch.iter().filter_map(|file| PlannedImage::read(&file.bytes, &limits).ok()).collect();
    let reports = decode_once(&mut stage, &images, &options)?;

    let mut samples: [Vec<f64>; 5] = Default::default();
    repeat(time.mul_f64(0.5), || {
        let began = Instant::now();
        let images: Vec<PlannedImage<'_>> =
            batch.iter().filter_map(|file| PlannedImage::read(&file.bytes, &limits).ok()).collect();
        let plan = DecodePlan::new(&images, &options);
        let planned = Instant::now();
        stage.submit(&images, &plan)?;
        stage.fetch_reports(&images, &plan)?;
        samples[0].push(began.elapsed().as_secs_f64());
        samples[1].push((planned - began).as_secs_f64());
        Ok(())
    })?;
    // Held until all of a batch is on the stream, so that the host's pace is not in the times: not to be mixed with the times above.
    repeat(time.mul_f64(0.25), || {
        let spans = traced(&mut stage, &images, &options, TraceDetail::Phases)?;
        let phase = |name| spans.iter().filter(|span| span.name == name).map(|span| span.time.as_secs_f64()).sum();
        let seconds = ["upload", "device", "download"].map(phase);
        samples[2..].iter_mut().zip(seconds).for_each(|(samples, seconds)| samples.push(seconds));
        Ok(())
    })?;
    let mut operations: Vec<(&'static str, Vec<f64>)> = Vec::new();
    repeat(time.mul_f64(0.25), || {
        add_operations(&mut operations, &traced(&mut stage, &images, &options, TraceDetail::Operations)?);
        Ok(())
    })?;

    let num_batches = samples[0].len() as u64;
    let [wall_s, plan_s, upload_s, decode_s, download_s] = samples.map(median);
    Ok(Measured {
        num_batches,
        wall_s,
        plan_s,
        phases: Some(Phases { upload_s, decode_s, download_s }),
        operations: operations.into_iter().map(|(name, seconds)| (name, median(seconds))).collect(),
        num_unresolved: reports.iter().filter(|report| report.report.is_none()).count(),
        least_dram_bytes: least_dram_bytes(&DecodePlan::new(&images, &options)),
    })
}

/// Decodes a batch, and says what took how long on the device.
fn traced(
    stage: &mut DecodeStage,
    images: &[PlannedImage<'_>],
    options: &PlanOptions,
    detail: TraceDetail,
) -> Result<Vec<TraceSpan>> {
    let plan = DecodePlan::new(images, options);
    stage.stream().start_trace(detail)?;
    stage.submit(images, &plan)?;
    let spans = stage.stream().finish_trace()?;
    stage.fetch_reports(images, &plan)?;
    Ok(spans)
}

/// Data are read twice (counted, destuffed), written once, and read twice as words (synchronised, written); coefficients are cleared and written.
fn least_dram_bytes(plan: &DecodePlan) -> u64 {
    5 * plan.data_bytes as u64 + 2 * plan.num_coefficients * size_of::<i16>() as u64
}

/// Runs it once, and again until the time is over.
fn repeat(time: Duration, mut run: impl FnMut() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    loop {
        run()?;
        if began.elapsed() >= time {
            return Ok(());
        }
    }
}

/// Adds the times of one batch, those of one name together.
fn add_operations(operations: &mut Vec<(&'static str, Vec<f64>)>, spans: &[TraceSpan]) {
    let mut sums: Vec<(&'static str, f64)> = Vec::new();
    for span in spans {
        match sums.iter_mut().find(|(name, _)| *name == span.name) {
            Some((_, sum)) => *sum += span.time.as_secs_f64(),
            None => sums.push((span.name, span.time.as_secs_f64())),
        }
    }
    for (name, sum) in sums {
        match operations.iter_mut().find(|(n, _)| *n == name) {
            Some((_, seconds)) => seconds.push(sum),
            None => operations.push((name, vec![sum])),
        }
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Decodes the batch again and again on the CPU's threads.
pub fn on_cpu(batch: &[&File], time: Duration) -> Measured {
    let limits = Limits::default();
    let mut samples = Vec::new();
    let began = Instant::now();
    while samples.is_empty() || began.elapsed() < time {
        let began = Instant::now();
        batch.par_iter().for_each_init(Decoder::default, |decoder, file| {
            if let Some(coefficients) = decoder.decode(&file.bytes, &limits).coefficients {
                decoder.recycle(coefficients);
            }
        });
        samples.push(began.elapsed().as_secs_f64());
    }
    Measured {
        num_batches: samples.len() as u64,
        wall_s: median(samples),
        plan_s: 0.0,
        phases: None,
        operations: Vec::new(),
        num_unresolved: 0,
        least_dram_bytes: 0,
    }
}

/// What the device can copy, in bytes per second: the best of several copies.
pub struct CopyRates {
    /// From pinned memory.
    pub upload: f64,
    /// To pinned memory.
    pub download: f64,
    /// Read and written within the device's memory.
    pub dram: f64,
}

impl CopyRates {
    pub fn of(device: &Arc<dyn Device>) -> Result<Self> {
        let len_bytes = if device.info().backend == Backend::Emulator { 1 << 20 } else { 256 << 20 };
        let stream = Stream::new(device)?;
        let (from, to) = (DeviceBuffer::new(device, len_bytes)?, DeviceBuffer::new(device, len_bytes)?);
        let mut host = PinnedBuffer::new(device, len_bytes)?;
        let mut best = [0f64; 3];
        for _ in 0..5 {
            stream.start_trace(TraceDetail::Operations)?;
            // SAFETY: the buffers outlive the trace, whose end is waited for, and nobody looks at the host's in between.
            unsafe {
                stream.upload(from.all(), host.as_slice())?;
                stream.copy(to.all(), from.all())?;
                stream.download(host.as_mut_slice(), to.all())?;
            }
            for (best, span) in best.iter_mut().zip(stream.finish_trace()?) {
                *best = best.max(len_bytes as f64 / span.time.as_secs_f64());
            }
        }
        Ok(Self { upload: best[0], download: best[2], dram: 2.0 * best[1] })
    }
}
