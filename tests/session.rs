//! Sessions on the CPU: outcomes, tickets and streams.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dctflow::ImageError;
use dctflow::jpeg::{Limits, Policy, Status};
use dctflow::network::{Config, Variant, Weights};
use dctflow::resample::Transform;
use dctflow::session::{Batch, DeviceChoice, Outcome, Session, SessionBuilder};
use dctflow::synth::photo;

/// A network that is small in every way: 64 x 64 samples, 7 classes.
fn weights(variant: Variant) -> Weights {
    let transform: Transform = "short=72,crop=64".parse().unwrap();
    let config = Config { width: 0.05, classes: 7, input_size: (64, 64), ..Config::new(variant) };
    Weights::random(config, 1).unwrap().with_transform(transform).unwrap()
}

fn session(change: impl FnOnce(SessionBuilder) -> SessionBuilder) -> Session {
    let weights = weights(Variant::LateConcatRfaThinner);
    change(Session::builder(&weights).device(DeviceChoice::Cpu).threads(2)).build().unwrap()
}

fn outcomes(session: &Session, files: &[Vec<u8>]) -> Vec<Outcome> {
    let mut batch = Batch::new();
    for (tag, file) in files.iter().enumerate() {
        batch.push(file.as_slice(), None, tag as u64);
    }
    session.submit(batch).wait().unwrap()
}

/// Largest difference over largest magnitude.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0f32, |max, value| max.max(value.abs()));
    a.iter().zip(b).fold(0f32, |max, (a, b)| max.max((a - b).abs())) / largest
}

#[test]
fn a_bad_image_harms_nobody() {
    let session = session(|builder| builder.max_batch(8));
    let good: Vec<Vec<u8>> = (0..4).map(|idx| photo(5, idx)).collect();
    let bad = [Vec::new(), b"text".to_vec(), good[0][..200].to_vec()];
    let mixed: Vec<Vec<u8>> =
        [&bad[0], &good[0], &good[1], &bad[1], &good[2], &bad[2], &good[3]].into_iter().cloned().collect();
    let expected = outcomes(&session, &good);
    let seen = outcomes(&session, &mixed);
    assert_eq!(seen.iter().map(|o| o.tag).collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
    let codes: Vec<_> = seen.iter().map(|o| o.reason.as_ref().map(ImageError::code)).collect();
    let (jpeg, malformed) = (Some("not-a-jpeg"), Some("malformed"));
    assert_eq!(codes, [jpeg, None, None, jpeg, None, malformed, None]);
    for (seen, expected) in seen.iter().filter(|o| o.reason.is_none()).zip(&expected) {
        assert_eq!((seen.status, seen.logits.len(), seen.top.len()), (Status::Complete, 7, 5));
        assert!(distance(&seen.logits, &expected.logits) < 1e-5);
    }
    assert!(seen.iter().filter(|o| o.reason.is_some()).all(|o| o.logits.is_empty() && o.top.is_empty()));
}

#[test]
fn every_network_runs() {
    let files = [photo(6, 0), photo(6, 1)];
    for variant in Variant::ALL {
        let session = Session::builder(&weights(variant)).threads(2).topk(7).build().unwrap();
        for outcome in outcomes(&session, &files) {
            assert_eq!(outcome.status, Status::Complete, "{variant}: {outcome:?}");
            let sum: f32 = outcome.top.iter().map(|prediction| prediction.score).sum();
            assert!((sum - 1.0).abs() < 1e-4, "{variant}: {sum}");
        }
        // Nothing is copied to the CPU or from it.
        let idle = |name| ["upload", "download"].contains(&name);
        let times = session.stage_times().named();
        assert!(times.iter().all(|&(name, time)| idle(name) == time.is_zero()), "{variant}: {times:?}");
    }
}

#[test]
fn transforms_are_per_image() {
    let session = session(|builder| builder);
    let file = photo(5, 0);
    let mut batch = Batch::new();
    for transform in ["short=72,crop=64", "short=72,crop=64,flip=yes", "short=72,crop=32"] {
        batch.push(file.as_slice(), Some(transform.parse().unwrap()), 0);
    }
    batch.push(file.as_slice(), None, 0);
    let [plain, flipped, other_size, default] = session.submit(batch).wait().unwrap().try_into().unwrap();
    assert!(distance(&plain.logits, &default.logits) < 1e-5);
    assert!(distance(&flipped.logits, &default.logits) > 1e-3);
    assert_eq!(other_size.reason.map(|reason| reason.code()), Some("no-input"));
}

#[test]
fn limits_and_policies_are_the_sessions() {
    let whole = photo(1, 0);
    let cut = whole[..whole.len() / 2].to_vec();
    let files = [whole, cut];
    let limited = session(|b| b.limits(Limits { max_side: 8, ..Limits::default() }));
    assert!(outcomes(&limited, &files).iter().all(|o| o.reason.as_ref().map(ImageError::code) == Some("over-limit")));
    let any = session(|b| b.policy(Policy::Lenient { min_fraction: 0.0 }));
    let [complete, partial] = outcomes(&any, &files).try_into().unwrap();
    assert_eq!((complete.status, complete.untrusted_mcus), (Status::Complete, 0));
    assert_eq!((partial.status, partial.logits.len()), (Status::Partial, 7));
    assert!(partial.untrusted_mcus > 0 && partial.first_untrusted_mcu.is_some());
    let strict = session(|b| b.policy(Policy::Strict));
    assert_eq!(outcomes(&strict, &files)[1].status, Status::Failed);
    let skip = session(|b| b.policy(Policy::Skip));
    let skipped = &outcomes(&skip, &files)[1];
    assert_eq!((skipped.status, skipped.logits.len()), (Status::Partial, 0));
}

/// Feeds 20 images, every fifth of which has failed before, and holds their order.
fn check_stream(session: &Session) {
    let files: Vec<Vec<u8>> = (0..3).map(|idx| photo(5, idx)).collect();
    let (mut feeder, outcomes) = session.stream();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for key in 0..20 {
                let flow = match key % 5 {
                    4 => feeder.push_failed(key, ImageError::Internal),
                    _ => feeder.push(key, files[key % 3].as_slice()),
                };
                assert_eq!(flow, ControlFlow::Continue(()));
            }
        });
        let seen: Vec<(usize, Status)> =
            outcomes.map(|outcome| outcome.unwrap()).map(|(key, outcome)| (key, outcome.status)).collect();
        let status = |key| if key % 5 == 4 { Status::Failed } else { Status::Complete };
        assert_eq!(seen, (0..20).map(|key| (key, status(key))).collect::<Vec<_>>());
    });
}

#[test]
fn a_stream_keeps_order_and_takes_any_number() {
    check_stream(&session(|builder| builder.max_batch(3)));
}

#[test]
fn a_stream_over_several_devices_keeps_order() {
    let session = session(|builder| builder.max_batch(2).devices(&[DeviceChoice::Cpu; 2]).threads(1));
    assert_eq!((session.devices().count(), session.num_slots(), session.num_threads()), (2, 4, 2));
    check_stream(&session);
}

#[test]
fn a_stream_waits_for_its_reader_and_ends_without_one() {
    let session = session(|builder| builder.max_batch(2));
    let num_pushed = AtomicUsize::new(0);
    let (mut feeder, outcomes) = session.stream();
    std::thread::scope(|scope| {
        let fed = scope.spawn(|| {
            while feeder.push((), b"text".as_slice()).is_continue() {
                num_pushed.fetch_add(1, Ordering::Relaxed);
            }
        });
        // However long nobody reads, only a few batches are taken in.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            std::thread::sleep(Duration::from_millis(10));
            assert!(num_pushed.load(Ordering::Relaxed) <= 12);
        }
        assert!(num_pushed.load(Ordering::Relaxed) >= 2);
        drop(outcomes);
        fed.join().unwrap();
    });
}

#[test]
fn a_session_says_what_it_cannot_do() {
    let weights = weights(Variant::LateConcat);
    let builder = || Session::builder(&weights);
    for builder in [builder().max_batch(0), builder().slots(0), builder().devices(&[])] {
        assert_eq!(builder.build().unwrap_err().kind(), dctflow::ErrorKind::Usage);
    }
}
