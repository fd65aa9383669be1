//! Good and bad files through a stream, on and on: every input is answered exactly once, in order, and memory stays within what the limits
//! say. Some laps here; `DCTFLOW_SOAK_SECONDS` says how long it goes on (ci/long.sh: an hour).

#[path = "common/counting.rs"]
mod counting;

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use counting::{CountingAllocator, MAX_BYTES, NUM_BYTES};
use dctflow::ImageError;
use dctflow::jpeg::{Limits, Status};
use dctflow::network::{Config, Variant, Weights};
use dctflow::resample::AxisCache;
use dctflow::session::{DeviceChoice, Session};
use dctflow::synth::{Random, flip_bit, mutate, photo};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const NUM_THREADS: usize = 2;
const MAX_BATCH: usize = 8;
/// What may be left of a session, however many files it had.
const MAX_LEFT_BYTES: u64 = 64 << 10;
/// A lap has every kind of file, and every photo as each of them.
const NUM_KINDS: u64 = 11;
const NUM_PHOTOS: usize = 16;

/// An image may have more coefficients than a batch, so that some are decoded alone.
fn limits() -> Limits {
    Limits { max_side: 4096, max_coefficient_bytes: 8 << 20, max_batch_bytes: 4 << 20, ..Limits::default() }
}

/// Laps after which the files come again. By then all sizes of images have been seen, and memory must be flat: what is kept at the end is what
/// was kept then, but for planes of the last images, of which now this thread has the larger ones, now that.
const PERIOD_LAPS: u64 = 10;
const MAX_GROWTH_BYTES: u64 = 128 << 10;

/// What a session may keep from one batch to the next, beside what it has when it is new.
fn max_kept_bytes() -> u64 {
    // Coefficients for the next images, with positions of restart intervals and masks; matrices.
    limits().max_batch_bytes * 5 / 3 + AxisCache::MAX_BYTES as u64
}

/// What it may take besides while it works.
fn max_working_bytes(photos: &[Vec<u8>]) -> u64 {
    let limits = limits();
    let coefficient_bytes = limits.max_coefficient_bytes.max(limits.max_batch_bytes) * 5 / 3;
    // Of an image on each thread: two matrices of 256 bytes for a block, on both axes of two planes.
    let matrix_bytes = NUM_THREADS as u64 * 4 * (limits.max_side / 8 * 2 * 256);
    // Batches: two in the slots, two behind them, one that is formed and one that is read.
    let largest_file = photos.iter().map(Vec::len).max().unwrap_or(0) as u64 + 64;
    coefficient_bytes + matrix_bytes + 6 * MAX_BATCH as u64 * largest_file
}

/// Sixteen photos of up to 120 KB.
fn photos() -> Vec<Vec<u8>> {
    (0..).map(|idx| photo(5, idx)).filter(|photo| photo.len() < 120_000).take(NUM_PHOTOS).collect()
}

/// Files by turns: sound, cut off, with a wrong bit, mutated, empty, text, unreadable.
fn file(idx: u64, photos: &[Vec<u8>]) -> Result<Vec<u8>, ImageError> {
    let lap_len = NUM_KINDS * NUM_PHOTOS as u64;
    let mut random = Random::new(idx % (lap_len * PERIOD_LAPS));
    let whole = &photos[idx as usize % photos.len()];
    match idx % NUM_KINDS {
        1 => Ok(whole[..random.below(whole.len() as u32) as usize].to_vec()),
        3 => Ok(flip_bit(whole, random.below(whole.len() as u32 * 8) as usize)),
        5 => Ok(mutate(whole, &mut random)),
        7 => Ok(Vec::new()),
        8 => Ok(b"no JPEG at all".to_vec()),
        9 => Err(ImageError::Source { code: "io", message: "not there".into() }),
        _ => Ok(whole.clone()),
    }
}

/// Feeds the files of these numbers, and checks their outcomes. Returns how many are complete.
fn run_lap(session: &Session, photos: &[Vec<u8>], numbers: &Range<u64>) -> u64 {
    let (mut feeder, outcomes) = session.stream();
    let mut num_complete = 0;
    let mut num_answered = 0;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for idx in numbers.clone() {
                let flow = match file(idx, photos) {
                    Ok(bytes) => feeder.push(idx, bytes),
                    Err(reason) => feeder.push_failed(idx, reason),
                };
                assert!(flow.is_continue());
            }
        });
        for outcome in outcomes {
            let (idx, outcome) = outcome.unwrap();
            assert_eq!(idx, numbers.start + num_answered, "answers come in order, each once");
            let is_sound = matches!(idx % NUM_KINDS, 0 | 2 | 4 | 6 | 10);
            assert!(!is_sound || outcome.status == Status::Complete, "{idx}: {outcome:?}");
            assert_eq!(outcome.reason.is_none(), outcome.status == Status::Complete, "{idx}: {outcome:?}");
            num_complete += u64::from(outcome.status == Status::Complete);
            num_answered += 1;
        }
    });
    assert_eq!(num_answered, numbers.end - numbers.start);
    num_complete
}

/// Resident memory of this process, where the system tells.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
}

/// A session that works for so many laps, or longer: until the time is over.
fn work(min_laps: u64, min_seconds: u64, weights: &Weights, photos: &[Vec<u8>]) {
    let builder = Session::builder(weights).device(DeviceChoice::Cpu).threads(NUM_THREADS).limits(limits());
    let session = builder.max_batch(MAX_BATCH).build().unwrap();
    let kept_allowed = NUM_BYTES.load(Relaxed) + max_kept_bytes();
    let allowed = kept_allowed + max_working_bytes(photos);
    let lap_len = NUM_KINDS * NUM_PHOTOS as u64;
    let (start, mut num_laps, mut num_complete) = (Instant::now(), 0, 0);
    let mut next_report_seconds = 0;
    let mut kept_early = None;
    while num_laps < min_laps || start.elapsed().as_secs() < min_seconds {
        num_complete += run_lap(&session, photos, &(num_laps * lap_len..(num_laps + 1) * lap_len));
        num_laps += 1;
        let (kept, largest) = (NUM_BYTES.load(Relaxed), MAX_BYTES.load(Relaxed));
        assert!(kept <= kept_allowed, "{kept} bytes are kept, {kept_allowed} at most");
        assert!(largest <= allowed, "{largest} bytes were taken, {allowed} at most");
        if num_laps >= PERIOD_LAPS {
            let kept_early = *kept_early.get_or_insert(kept);
            assert!(
                kept <= kept_early + MAX_GROWTH_BYTES,
                "{kept} bytes are kept, {kept_early} were after the first files"
            );
        }
        let seconds = start.elapsed().as_secs();
        if seconds >= next_report_seconds {
            next_report_seconds = seconds + (min_seconds / 12).max(1);
            let resident = resident_kib().map_or("unknown".into(), |kib| kib.to_string());
            eprintln!(
                "{seconds:5} s: {} files, {num_complete} complete; KiB: {} kept of {} allowed, {} at most of {} allowed, {resident} resident",
                num_laps * lap_len,
                kept >> 10,
                kept_allowed >> 10,
                largest >> 10,
                allowed >> 10,
            );
        }
    }
    let num_files = num_laps * lap_len;
    let (kept, kept_early) = (NUM_BYTES.load(Relaxed), kept_early.unwrap_or(0));
    eprintln!("{num_files} files in {} s, {num_complete} complete", start.elapsed().as_secs());
    eprintln!("bytes kept: {kept_early} after {PERIOD_LAPS} laps, {kept} at the end");
    assert!(num_complete * 3 > num_files, "{num_complete} of {num_files}");
}

#[test]
fn every_input_is_answered_once_and_memory_stays_within_the_limits() {
    let seconds = std::env::var("DCTFLOW_SOAK_SECONDS").map_or(0, |text| text.parse().expect("a number of seconds"));
    let config = Config { width: 0.05, classes: 5, input_size: (64, 64), ..Config::new(Variant::LateConcatRfaThinner) };
    let weights = Weights::random(config, 1).unwrap().with_transform("short=72,crop=64".parse().unwrap()).unwrap();
    let photos = photos();
    // What is made once and for all is made here.
    work(2, 0, &weights, &photos);
    let before = NUM_BYTES.load(Relaxed);
    work(20, seconds, &weights, &photos);
    // The threads of a pool are not waited for by whoever drops it.
    let deadline = Instant::now() + Duration::from_secs(60);
    let num_left_bytes = || NUM_BYTES.load(Relaxed).saturating_sub(before);
    while num_left_bytes() > MAX_LEFT_BYTES && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(num_left_bytes() <= MAX_LEFT_BYTES, "{} bytes of memory were not given back", num_left_bytes());
    eprintln!("{} bytes were not given back", num_left_bytes());
}
