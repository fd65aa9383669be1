//! Good and bad files through a stream, on and on: every input is answered exactly once, in order, and memory stays flat. A few seconds
//! here; `DCTFLOW_SOAK_SECONDS` says how long (ci/long.sh: an hour).

use std::time::{Duration, Instant};

use dctflow::ImageError;
use dctflow::jpeg::Status;
use dctflow::network::{Config, Variant, Weights};
use dctflow::session::{DeviceChoice, Session};
use dctflow::synth::{Random, flip_bit, mutate, photo};

/// Files by turns: sound, cut off, with a wrong bit, mutated, empty, text, unreadable.
fn file(idx: u64, photos: &[Vec<u8>]) -> Result<Vec<u8>, ImageError> {
    let mut random = Random::new(idx);
    let whole = &photos[idx as usize % photos.len()];
    match idx % 11 {
        1 => Ok(whole[..random.below(whole.len() as u32) as usize].to_vec()),
        3 => Ok(flip_bit(whole, random.below(whole.len() as u32 * 8) as usize)),
        5 => Ok(mutate(whole, &mut random)),
        7 => Ok(Vec::new()),
        8 => Ok(b"no JPEG at all".to_vec()),
        9 => Err(ImageError::Source { code: "io", message: "not there".into() }),
        _ => Ok(whole.clone()),
    }
}

/// Resident memory of this process in bytes, where the system tells.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

#[test]
fn every_input_is_answered_once_and_memory_stays_flat() {
    let seconds = std::env::var("DCTFLOW_SOAK_SECONDS").map_or(8, |text| text.parse().expect("a number of seconds"));
    let time = Duration::from_secs(seconds);
    let config = Config { width: 0.05, classes: 5, input_size: (64, 64), ..Config::new(Variant::LateConcatRfaThinner) };
    let weights = Weights::random(config, 1).unwrap().with_transform("short=72,crop=64".parse().unwrap()).unwrap();
    let session = Session::builder(&weights).device(DeviceChoice::Cpu).threads(2).max_batch(8).build().unwrap();
    let photos: Vec<Vec<u8>> = (0..16).map(|idx| photo(5, idx)).collect();

    let start = Instant::now();
    let (mut feeder, outcomes) = session.stream();
    let mut num_answered = 0;
    let mut num_complete = 0;
    // The largest seen in the second quarter of the time, when all buffers have grown, and in the last.
    let mut largest = [0; 4];
    let num_fed = std::thread::scope(|scope| {
        let photos = &photos;
        let fed = scope.spawn(move || {
            let mut idx = 0;
            while start.elapsed() < time {
                let flow = match file(idx, photos) {
                    Ok(bytes) => feeder.push(idx, bytes),
                    Err(reason) => feeder.push_failed(idx, reason),
                };
                assert!(flow.is_continue());
                idx += 1;
            }
            idx
        });
        for outcome in outcomes {
            let (idx, outcome) = outcome.unwrap();
            assert_eq!(idx, num_answered, "answers come in order, each once");
            let is_sound = matches!(idx % 11, 0 | 2 | 4 | 6 | 10);
            assert!(!is_sound || outcome.status == Status::Complete, "{idx}: {outcome:?}");
            assert_eq!(outcome.reason.is_none(), outcome.status == Status::Complete, "{idx}: {outcome:?}");
            num_complete += u64::from(outcome.status == Status::Complete);
            num_answered += 1;
            if num_answered % 16 == 0 {
                let quarter = (start.elapsed().as_secs_f64() / time.as_secs_f64() * 4.0) as usize;
                let largest = &mut largest[quarter.min(3)];
                *largest = resident_bytes().unwrap_or(0).max(*largest);
            }
        }
        fed.join().unwrap()
    });
    assert_eq!(num_answered, num_fed);
    let mib = largest.map(|bytes| bytes >> 20);
    eprintln!(
        "{num_answered} images in {seconds} s, {num_complete} complete; resident memory by quarters: {mib:?} MiB"
    );
    assert!(num_answered > 100 && num_complete * 3 > num_answered, "{num_complete} of {num_answered}");
    if resident_bytes().is_none() {
        eprintln!("skipped: this system does not tell how much memory is used");
    }
    // One large image may be in the middle of decoding when memory is looked at.
    assert!(mib[3] <= mib[1] + mib[1] / 4 + 64, "memory grows: {mib:?} MiB by quarters of the time");
}
