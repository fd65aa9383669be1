//! Runs a workload: warms up until its rate is steady, measures in windows of equal length, and judges what came of it.

use std::collections::BTreeMap;
use std::iter::Cycle;
use std::slice::Iter;
use std::time::{Duration, Instant};

use dctflow::Result;

use super::images::File;
use super::machine::{self, CpuUse, GpuWatch};
use super::record::{Latency, Measurement, Reason, Scenario, Settings, Stage, WarmUp, Window};
use super::stats::{Sorted, cv};
use super::workload::{Finished, Reading, Workload};
use crate::cli::progress;

/// The measured time is cut into so many windows.
const NUM_WINDOWS: u32 = 10;

/// The warm-up ends when the rates of so many windows ...
const STEADY_WINDOWS: usize = 3;

/// ... differ by no more than this.
const STEADY_SPREAD: f64 = 0.05;

/// The warm-up ends anyway after so many times the measured time.
const MAX_WARM_UP: u32 = 3;

/// Less measured time is too short for a valid result.
const MIN_VALID_SECONDS: f64 = 5.0;

/// So is less warm-up: three windows may agree before caches are full and clocks are up.
pub const MIN_WARM_UP: Duration = Duration::from_secs(5);

/// Fewer windows are too few for a valid result.
const MIN_VALID_WINDOWS: usize = 5;

/// A larger coefficient of variation of the windows' rates is too noisy for a valid result.
const MAX_VALID_CV: f64 = 0.05;

/// What was counted in a span of time.
#[derive(Default)]
pub struct Tally {
    pub seconds: f64,
    pub images: u64,
    pub bytes: u64,
    pub pixels: u64,
    pub batches: u64,
    pub latencies_ms: Vec<f64>,
    pub outcomes: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, finished: Finished) {
        self.images += finished.outcomes.len() as u64;
        self.bytes += finished.num_bytes;
        self.pixels += finished.num_pixels;
        self.batches += 1;
        self.latencies_ms.push(finished.latency.as_secs_f64() * 1000.0);
        for outcome in finished.outcomes {
            *self.outcomes.entry(outcome).or_default() += 1;
        }
    }

    fn images_per_s(&self) -> f64 {
        self.images as f64 / self.seconds
    }

    fn window(&self) -> Window {
        let latency_ms_p50 = Sorted::new(self.latencies_ms.clone()).median();
        Window { seconds: self.seconds, images: self.images, latency_ms_p50 }
    }

    fn join(tallies: Vec<Self>) -> Self {
        let mut all = Self::default();
        for tally in tallies {
            all.seconds += tally.seconds;
            all.images += tally.images;
            all.bytes += tally.bytes;
            all.pixels += tally.pixels;
            all.batches += tally.batches;
            all.latencies_ms.extend(tally.latencies_ms);
            for (outcome, count) in tally.outcomes {
                *all.outcomes.entry(outcome).or_default() += count;
            }
        }
        all
    }
}

/// Files in batches, again and again.
struct Batches<'a> {
    files: Cycle<Iter<'a, File>>,
    batch: usize,
}

impl<'a> Batches<'a> {
    fn next(&mut self) -> Vec<&'a File> {
        self.files.by_ref().take(self.batch).collect()
    }
}

/// How long it takes.
#[derive(Clone, Copy)]
pub struct Timing {
    /// That are measured.
    pub duration: Duration,
    /// Before them, at the least.
    pub min_warm_up: Duration,
}

/// A clock that counts from the end of the warm-up.
pub struct Meter<'a> {
    warm_up: WarmUp,
    start: Instant,
    gpu: Option<&'a GpuWatch>,
    cpu: CpuUse,
    reading: Reading,
}

impl<'a> Meter<'a> {
    /// Starts to count, from what the workload has counted so far.
    pub fn start(warm_up: WarmUp, reading: Reading, gpu: Option<&'a GpuWatch>) -> Self {
        machine::reset_peak_memory();
        Self { warm_up, start: Instant::now(), gpu, cpu: CpuUse::now(), reading }
    }

    /// Ends the counting: what was tallied, window by window, becomes a measurement. `num_worked`: images that work was done for until now, where
    /// they are others than those that were answered in the measured time.
    pub fn stop(
        self,
        settings: Settings,
        tallies: Vec<Tally>,
        reading: Reading,
        num_worked: Option<u64>,
    ) -> Measurement {
        let gpu = self.gpu.and_then(|gpu| gpu.since(self.start));
        let windows: Vec<Window> = tallies.iter().map(Tally::window).collect();
        let all = Tally::join(tallies);
        // Few arrivals in a short time may be none.
        let (images, seconds) = (num_worked.unwrap_or(all.images).max(1) as f64, all.seconds);
        let stages = reading.stages.into_iter().zip(&self.reading.stages).map(|((name, end), (_, start))| {
            let seconds = end.saturating_sub(*start).as_secs_f64();
            Stage { name: name.into(), seconds, ms_per_image: seconds * 1000.0 / images }
        });
        let devices = reading.devices.zip(self.reading.devices);
        let reads_files = settings.scenario != Scenario::Network;
        let left_to_cpu = devices.filter(|_| reads_files).map(|(end, start)| (end.left_to_cpu, start.left_to_cpu));
        let rates: Vec<f64> = windows.iter().map(Window::images_per_s).collect();
        let mut measurement = Measurement {
            seconds,
            images: all.images,
            images_per_s: all.images as f64 / seconds,
            mpixels_per_s: reads_files.then(|| all.pixels as f64 / seconds / 1e6),
            mb_in_per_s: reads_files.then(|| all.bytes as f64 / seconds / 1e6),
            mean_batch: all.images as f64 / all.batches.max(1) as f64,
            offered_per_s: None,
            rate_cv: cv(&rates),
            windows,
            latency: latency(if settings.scenario == Scenario::Latency { "image" } else { "batch" }, all.latencies_ms),
            stages: stages.collect(),
            cpu_s_per_1000_images: self.cpu.own_time().as_secs_f64() * 1000.0 / images,
            uploaded_bytes_per_image: devices
                .map(|(end, start)| (end.uploaded_bytes - start.uploaded_bytes) as f64 / images),
            peak_memory_bytes: machine::peak_memory_bytes(),
            // Batches that were under way at either end count where they end.
            device_busy_share: devices.map(|(end, start)| {
                let ((end, num_devices), (start, _)) = (end.busy, start.busy);
                ((end - start).as_secs_f64() / seconds / num_devices as f64).min(1.0)
            }),
            images_left_to_cpu: left_to_cpu.map(|(end, start)| end.images - start.images),
            left_to_cpu_s_per_1000_images: left_to_cpu
                .map(|(end, start)| (end.cpu_time - start.cpu_time).as_secs_f64() * 1000.0 / images),
            peak_device_memory_bytes: devices.map(|(end, _)| end.peak_device_bytes),
            peak_pinned_memory_bytes: devices.map(|(end, _)| end.peak_pinned_bytes),
            outcomes: all.outcomes,
            valid: false,
            reasons: self.cpu.disturbances().into_iter().chain(gpu.as_ref().and_then(machine::gpu_doubt)).collect(),
            gpu,
            warm_up: self.warm_up,
            settings,
        };
        let reasons = doubts(&measurement);
        measurement.reasons.extend(reasons);
        measurement.valid = measurement.reasons.is_empty();
        measurement
    }
}

fn latency(of: &str, latencies_ms: Vec<f64>) -> Latency {
    let sorted = Sorted::new(latencies_ms);
    Latency {
        of: of.into(),
        count: sorted.len() as u64,
        ms_mean: sorted.mean(),
        ms_p50: sorted.quantile(0.5),
        ms_p90: sorted.quantile(0.9),
        ms_p95: sorted.quantile(0.95),
        ms_p99: sorted.quantile(0.99),
        ms_max: sorted.max(),
        cv: sorted.cv(),
    }
}

/// What of the measurement itself makes it doubtful.
fn doubts(measurement: &Measurement) -> Vec<Reason> {
    let Measurement { settings, warm_up, seconds, windows, rate_cv, outcomes, .. } = measurement;
    let mut reasons = Vec::new();
    let mut doubt = |is_so: bool, code: &str, message: String| {
        if is_so {
            reasons.push(Reason::new(code, message));
        }
    };
    let is_short = *seconds < MIN_VALID_SECONDS || windows.len() < MIN_VALID_WINDOWS;
    let message = format!("{seconds:.1} s in {} windows; measure for longer (--duration)", windows.len());
    doubt(is_short, "too-short", message);
    let message = format!("{:.1} s of warm-up; {} s are the least (--warm-up)", warm_up.seconds, MIN_WARM_UP.as_secs());
    doubt(warm_up.seconds < MIN_WARM_UP.as_secs_f64(), "short-warm-up", message);
    doubt(!warm_up.steady, "not-steady", "the rate was not steady when the warm-up was over".into());
    // Random arrivals vary by themselves.
    let is_random = settings.arrivals.is_some_and(|arrivals| arrivals.is_random());
    let message = format!("the windows' rates vary by {:.1} %", 100.0 * rate_cv);
    doubt(!is_random && *rate_cv > MAX_VALID_CV, "too-noisy", message);
    let num_failed: u64 = outcomes.iter().filter(|(word, _)| word.starts_with("failed")).map(|(_, count)| count).sum();
    doubt(num_failed > 0, "failed-images", format!("{num_failed} images failed"));
    doubt(machine::build() != "release", "debug-build", "not a release build".into());
    reasons
}

/// Warms up, then measures for about the time that is asked for; at least one batch.
pub fn measure(
    workload: &mut dyn Workload,
    files: &[File],
    settings: Settings,
    timing: Timing,
    gpu: Option<&GpuWatch>,
) -> Result<Measurement> {
    let duration = timing.duration;
    let mut batches = Batches { files: files.iter().cycle(), batch: settings.batch };
    let warm_up = warm_up(workload, &mut batches, timing)?;
    let meter = Meter::start(warm_up, workload.reading(), gpu);
    let bar = progress::seconds(duration.as_secs_f64()).with_message("measuring");
    let start = workload.now();
    let mut tallies = Vec::new();
    while tallies.is_empty() || (workload.now() - start) < duration {
        tallies.push(run_window(workload, &mut batches, duration / NUM_WINDOWS)?);
        bar.set_position((workload.now() - start).as_millis() as u64);
    }
    bar.finish_and_clear();
    Ok(meter.stop(settings, tallies, workload.reading(), None))
}

/// Runs windows until the last three agree and the least time is over, or for too long.
fn warm_up(workload: &mut dyn Workload, batches: &mut Batches<'_>, timing: Timing) -> Result<WarmUp> {
    let Timing { duration, min_warm_up } = timing;
    let max_warm_up = (MAX_WARM_UP * duration).max(min_warm_up);
    let spinner = progress::message("warming up");
    let start = workload.now();
    let mut rates = Vec::new();
    let mut steady = false;
    let passed = |workload: &dyn Workload| workload.now() - start;
    while rates.is_empty() || passed(workload) < min_warm_up || (!steady && passed(workload) < max_warm_up) {
        rates.push(run_window(workload, batches, duration / NUM_WINDOWS)?.images_per_s());
        steady = is_steady(&rates);
    }
    spinner.finish_and_clear();
    Ok(WarmUp { seconds: (workload.now() - start).as_secs_f64(), windows: rates.len() as u64, steady })
}

fn is_steady(rates: &[f64]) -> bool {
    let Some(last) = rates.last_chunk::<STEADY_WINDOWS>() else { return false };
    let (min, max) = last.iter().fold((f64::INFINITY, 0.0f64), |(min, max), rate| (min.min(*rate), max.max(*rate)));
    max <= min * (1.0 + STEADY_SPREAD)
}

/// Runs whole batches until `time` is over; at least one.
fn run_window(workload: &mut dyn Workload, batches: &mut Batches<'_>, time: Duration) -> Result<Tally> {
    let start = workload.now();
    let mut tally = Tally::default();
    while tally.images == 0 || (workload.now() - start) < time {
        if let Some(finished) = workload.submit(&batches.next())? {
            tally.add(finished);
        }
    }
    tally.seconds = (workload.now() - start).as_secs_f64();
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::super::workload::{DeviceReading, LeftToCpu};
    use super::*;

    /// Takes 1 ms per image, and ten times as much for the first batch, then less and less, until the tenth; every
    /// `fails_every`th image fails. Its time passes at once.
    struct Sleeper {
        now: Instant,
        num_batches: u32,
        fails_every: usize,
    }

    impl Workload for Sleeper {
        fn submit(&mut self, files: &[&File]) -> Result<Option<Finished>> {
            let slowness = 10u32.saturating_sub(self.num_batches).max(1);
            self.num_batches += 1;
            let latency = slowness * Duration::from_millis(files.len() as u64);
            self.now += latency;
            let word = |idx: usize| if (idx + 1).is_multiple_of(self.fails_every) { "failed:x" } else { "complete" };
            let outcomes = (0..files.len()).map(|idx| word(idx).to_string()).collect();
            Ok(Some(Finished { latency, outcomes, num_bytes: 1000, num_pixels: 2000 }))
        }

        fn reading(&self) -> Reading {
            let stages = vec![("sleep", Duration::from_millis(u64::from(self.num_batches)))];
            let devices = DeviceReading {
                uploaded_bytes: u64::from(self.num_batches) * 100,
                left_to_cpu: LeftToCpu {
                    images: u64::from(self.num_batches),
                    cpu_time: Duration::from_millis(4 * u64::from(self.num_batches)),
                },
                busy: (Duration::from_millis(u64::from(self.num_batches)), 2),
                peak_device_bytes: 30,
                peak_pinned_bytes: 20,
            };
            Reading { stages, devices: Some(devices) }
        }

        fn now(&self) -> Instant {
            self.now
        }
    }

    fn sleep(fails_every: usize) -> Measurement {
        sleep_after(Duration::ZERO, fails_every)
    }

    fn sleep_after(min_warm_up: Duration, fails_every: usize) -> Measurement {
        let settings = Settings { batch: 2, ..Settings::of(Scenario::Decode) };
        let files = [File { bytes: vec![1].into(), num_pixels: 1 }];
        let mut sleeper = Sleeper { now: Instant::now(), num_batches: 0, fails_every };
        let timing = Timing { duration: Duration::from_millis(300), min_warm_up };
        measure(&mut sleeper, &files, settings, timing, None).unwrap()
    }

    fn codes(measurement: &Measurement) -> Vec<&str> {
        measurement.reasons.iter().map(|reason| reason.code.as_str()).collect()
    }

    #[test]
    fn the_numbers_fit_together_and_the_warm_up_is_left_out() {
        let measured = sleep(1000);
        assert!(measured.warm_up.steady && measured.warm_up.windows > 3, "{measured:?}");
        assert!((measured.seconds - 0.3).abs() < 1e-9 && measured.rate_cv < 1e-9, "{measured:?}");
        assert_eq!(measured.images, measured.windows.iter().map(|window| window.images).sum::<u64>());
        assert_eq!((measured.mean_batch, measured.latency.count * 2), (2.0, measured.images));
        assert_eq!((measured.latency.ms_p50, measured.latency.ms_max, measured.latency.cv), (2.0, 2.0, 0.0));
        assert!((measured.images_per_s - measured.images as f64 / measured.seconds).abs() < 1e-9);
        assert!((measured.mpixels_per_s.unwrap() / measured.mb_in_per_s.unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(measured.stages[0].name, "sleep");
        assert!((measured.stages[0].ms_per_image - 0.5).abs() < 1e-9);
        assert_eq!(measured.uploaded_bytes_per_image, Some(50.0));
        // A batch takes 2 ms; two devices work for 1 ms of it, both together.
        assert!((measured.device_busy_share.unwrap() - 0.25).abs() < 1e-9, "{measured:?}");
        // One image of two, for 4 ms.
        assert_eq!(measured.images_left_to_cpu, Some(measured.images / 2));
        assert!((measured.left_to_cpu_s_per_1000_images.unwrap() - 2.0).abs() < 1e-9, "{measured:?}");
        assert_eq!((measured.peak_device_memory_bytes, measured.peak_pinned_memory_bytes), (Some(30), Some(20)));
        assert_eq!(measured.outcomes["complete"], measured.images);
    }

    #[test]
    fn doubtful_measurements_say_so() {
        let measured = sleep(2);
        assert!(!measured.valid);
        for code in ["too-short", "short-warm-up", "failed-images"] {
            assert!(codes(&measured).contains(&code), "{measured:?}");
        }
        assert_eq!(codes(&measured).contains(&"debug-build"), cfg!(debug_assertions));
    }

    #[test]
    fn noise_is_a_doubt_unless_arrivals_are_random() {
        use super::super::record::Arrivals;
        let mut measured = sleep(1000);
        let noisy = |measured: &Measurement| doubts(measured).iter().any(|reason| reason.code == "too-noisy");
        measured.rate_cv = 0.01;
        assert!(!noisy(&measured));
        measured.rate_cv = 0.06;
        assert!(noisy(&measured));
        measured.settings.arrivals = Some(Arrivals::LoadPercent(50));
        assert!(!noisy(&measured));
        measured.settings.arrivals = Some(Arrivals::OneAtATime);
        assert!(noisy(&measured));
    }

    #[test]
    fn the_warm_up_goes_on_for_the_least_time_though_windows_agree() {
        let measured = sleep_after(MIN_WARM_UP, 1000);
        assert!(measured.warm_up.steady && measured.warm_up.seconds >= 5.0, "{:?}", measured.warm_up);
        assert!(!codes(&measured).contains(&"short-warm-up"));
    }

    #[test]
    fn three_windows_that_agree_are_steady() {
        assert!(!is_steady(&[1.0, 1.0]));
        assert!(!is_steady(&[1.0, 1.0, 1.06]));
        assert!(is_steady(&[9.0, 1.0, 1.0, 1.05]));
    }
}
