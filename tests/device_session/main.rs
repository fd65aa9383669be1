//! Sessions on a device (an emulator, or a GPU if only that is wanted): the answers of the CPU, batches in flight, joined streams, lost devices.

#[path = "../common/devices.rs"]
mod devices;
mod memory;
mod overlap;
mod races;
#[path = "../common/say.rs"]
mod say;
mod waits;
#[path = "../common/wrapped.rs"]
mod wrapped;

use std::sync::Arc;

use dctflow::abi::{BreakRule, MISTAKE_BARRIER_IN_BRANCH, SelftestParams};
use dctflow::device::emulator::{Emulator, EmulatorOptions, Schedule};
use dctflow::device::{self, DeviceBuffer, Grid, Stream};
use dctflow::jpeg::{EntropyCoding, Policy, Status};
use dctflow::network::{Config, Variant, Weights};
use dctflow::plan::CpuReason;
use dctflow::session::{Batch, Device, DeviceChoice, OpsChoice, Outcome, Session, SessionBuilder, Ticket};
use dctflow::synth::{Encoding, Interleaving, Layout, Picture, Script, progressive_scans, sequential_scans};
use dctflow::{ErrorKind, ImageError};

/// Of max|a - b| / max|b|.
const TOLERANCE: f32 = 2e-2;

const CLASSES: usize = 7;

/// A narrow network for small images.
fn weights(variant: Variant, side: u32) -> Weights {
    let transform = format!("short={},crop={side}", side + 8).parse().unwrap();
    let config = Config { width: 0.125, classes: CLASSES, input_size: (side, side), ..Config::new(variant) };
    Weights::random(config, 1).unwrap().with_transform(transform).unwrap()
}

/// An emulator under a schedule; the GPU, if only that is wanted.
fn device(schedule: Schedule) -> Device {
    match is_gpu() {
        true => Device { kind: DeviceChoice::Cuda(0), why: String::new(), handle: Some(devices::cuda().unwrap()) },
        false => emulator(EmulatorOptions { schedule, num_os_threads: 2, ..EmulatorOptions::default() }),
    }
}

fn is_gpu() -> bool {
    !devices::is_chosen("emulator")
}

fn emulator(options: EmulatorOptions) -> Device {
    Device { kind: DeviceChoice::Emulator, why: String::new(), handle: Some(Emulator::new(options).unwrap()) }
}

fn two_emulators() -> [Device; 2] {
    [(); 2].map(|()| emulator(EmulatorOptions { num_os_threads: 2, ..EmulatorOptions::default() }))
}

fn handle(device: &Device) -> &Arc<dyn device::Device> {
    device.handle.as_ref().unwrap()
}

fn small_session(device: &Device, change: impl FnOnce(SessionBuilder) -> SessionBuilder) -> Session {
    let weights = weights(Variant::LateConcatRfaThinner, 32);
    change(Session::builder(&weights).on(std::slice::from_ref(device)).threads(1)).build().unwrap()
}

fn small_builder<'a>(weights: &'a Weights, device: &Device) -> SessionBuilder<'a> {
    Session::builder(weights).on(std::slice::from_ref(device)).threads(1)
}

/// What kind of file a picture becomes.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Baseline,
    Progressive,
    Arithmetic,
}

fn picture(seed: u64, (width, height): (u32, u32), kind: Kind) -> Vec<u8> {
    let mut layout = Layout::baseline(&[(2, 2), (1, 1), (1, 1)], 80);
    if kind == Kind::Progressive {
        layout.process = dctflow::jpeg::Process::Progressive;
    }
    if kind == Kind::Arithmetic {
        layout.process = dctflow::jpeg::Process::ExtendedSequential;
        layout.coding = EntropyCoding::Arithmetic;
    }
    let image = Picture::photo(seed, width, height, 3).coefficients(&layout);
    let scans = match kind {
        Kind::Progressive => progressive_scans(&image.frame, Interleaving::Interleaved, Script::Mixed),
        _ => sequential_scans(&image.frame, Interleaving::Interleaved),
    };
    Encoding::new(scans).encode(&image).to_bytes()
}

/// Sound and damaged files, for the device and for the CPU.
fn mixed_files() -> Vec<Vec<u8>> {
    let whole = picture(1, (90, 70), Kind::Baseline);
    vec![
        whole.clone(),
        picture(2, (70, 90), Kind::Progressive),
        b"text".to_vec(),
        whole[..whole.len() * 8 / 10].to_vec(),
        picture(3, (64, 64), Kind::Arithmetic),
        whole[..whole.len() * 3 / 10].to_vec(),
        Vec::new(),
        picture(4, (48, 48), Kind::Baseline),
    ]
}

fn batch(files: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::new();
    for (tag, file) in files.iter().enumerate() {
        batch.push(file.as_slice(), None, tag as u64);
    }
    batch
}

/// All that must be the same, and logits within the tolerance; where the margin says more than that, the same best class.
#[track_caller]
fn assert_same(seen: &[Outcome], expected: &[Outcome], what: &str) {
    assert_eq!(seen.len(), expected.len(), "{what}");
    let largest = expected.iter().flat_map(|outcome| &outcome.logits).fold(0f32, |max, logit| max.max(logit.abs()));
    let mut difference = 0f32;
    for (seen, expected) in seen.iter().zip(expected) {
        let without_answer = |outcome: &Outcome| Outcome { logits: Vec::new(), top: Vec::new(), ..outcome.clone() };
        assert_eq!(without_answer(seen), without_answer(expected), "{what}");
        assert_eq!(seen.logits.len(), expected.logits.len(), "{what}");
        difference = seen.logits.iter().zip(&expected.logits).fold(difference, |max, (a, b)| max.max((a - b).abs()));
        if let [first, second, ..] = &expected.top[..] {
            let margin = expected.logits[first.class] - expected.logits[second.class];
            assert!(margin <= 2.0 * TOLERANCE * largest || seen.top[0].class == first.class, "{what}");
        }
    }
    eprintln!("{what}: off by {:.1e}", difference / largest);
    assert!(difference <= TOLERANCE * largest, "{what}: off by {difference} of {largest}");
}

#[test]
fn every_network_answers_as_on_the_cpu() {
    let device = device(Schedule::Random(1));
    let files = mixed_files();
    for variant in Variant::ALL {
        let weights = weights(variant, 64);
        let on_cpu = Session::builder(&weights).device(DeviceChoice::Cpu).threads(1).build().unwrap();
        let session = Session::builder(&weights).on(std::slice::from_ref(&device)).threads(1).build().unwrap();
        let expected = on_cpu.submit(batch(&files)).wait().unwrap();
        let seen = session.submit(batch(&files)).wait().unwrap();
        assert_same(&seen, &expected, &variant.to_string());
        let stats = &session.device_stats()[0];
        assert_eq!(stats.decoder.on_device, 5);
        assert_eq!(stats.decoder.on_cpu[&CpuReason::Arithmetic], 1);
        assert_eq!(stats.decoder.on_cpu[&CpuReason::Header], 2);
        assert!(!stats.decoder.cpu_time.is_zero());
        let file_bytes: usize = files.iter().map(Vec::len).sum();
        assert!(stats.uploaded_bytes > file_bytes as u64 / 2 && stats.downloaded_bytes >= 5 * 4 * CLASSES as u64);
        assert!(stats.memory.peak_device_bytes > stats.uploaded_bytes && stats.memory.peak_pinned_bytes > 0);
        assert!(!stats.busy.is_zero());
        assert!(session.stage_times().named().iter().all(|(_, time)| !time.is_zero()), "{:?}", session.stage_times());
    }
}

#[test]
fn policies_and_transforms_are_those_of_the_cpu() {
    let device = device(Schedule::Forward);
    let files = mixed_files();
    let weights = weights(Variant::LateConcatRfaThinner, 32);
    for policy in [Policy::Strict, Policy::Skip, Policy::Lenient { min_fraction: 0.0 }] {
        let outcomes = |builder: SessionBuilder| {
            let mut batch = batch(&files);
            for transform in ["short=40,crop=32,flip=yes", "short=56,crop=48"] {
                batch.push(files[0].as_slice(), Some(transform.parse().unwrap()), 100);
            }
            builder.threads(1).policy(policy).build().unwrap().submit(batch).wait().unwrap()
        };
        let expected = outcomes(Session::builder(&weights).device(DeviceChoice::Cpu));
        let seen = outcomes(Session::builder(&weights).on(std::slice::from_ref(&device)));
        assert_same(&seen, &expected, &format!("{policy:?}"));
        assert_eq!(seen[9].reason.as_ref().map(ImageError::code), Some("no-input"));
    }
}

#[test]
fn batches_in_flight_do_not_disturb_each_other() {
    let files = mixed_files();
    for schedule in [Schedule::Reverse, Schedule::Random(7)] {
        let session = small_session(&device(schedule), |builder| builder.max_batch(3).slots(3));
        let expected = session.submit(batch(&files)).wait().unwrap();
        let tickets: Vec<Ticket> = (0..6)
            .map(|shift| {
                let mut rotated = files.clone();
                rotated.rotate_left(shift);
                session.submit(batch(&rotated))
            })
            .collect();
        for (shift, ticket) in tickets.into_iter().enumerate() {
            let mut outcomes = ticket.wait().unwrap();
            outcomes.rotate_right(shift);
            for (tag, outcome) in outcomes.iter_mut().enumerate() {
                outcome.tag = tag as u64;
            }
            assert_same(&outcomes, &expected, &format!("{schedule:?}, shifted by {shift}"));
        }
    }
}

#[test]
fn batches_of_one_size_take_memory_once() {
    let session = small_session(&device(Schedule::Forward), |builder| builder.slots(1));
    let files = mixed_files();
    let mut num_allocations = Vec::new();
    for _ in 0..4 {
        let _ = session.submit(batch(&files)).wait().unwrap();
        num_allocations.push(session.device_stats()[0].num_allocations);
    }
    assert!(num_allocations[0] > 0);
    assert_eq!(num_allocations[1..], [num_allocations[0]; 3]);
}

#[test]
fn an_image_that_memory_cannot_hold_harms_nobody() {
    let tight = EmulatorOptions { memory_bytes: 24 << 20, num_os_threads: 2, ..EmulatorOptions::default() };
    let session = small_session(&emulator(tight), |builder| builder.slots(1));
    let good = picture(1, (90, 70), Kind::Baseline);
    let mut large = good.clone();
    // The frame header's height and width, behind its marker, length and precision.
    let frame_header = large.windows(2).position(|bytes| bytes == [0xFF, 0xC0]).unwrap();
    large[frame_header + 5..frame_header + 9].copy_from_slice(&[0x10, 0x00, 0x10, 0x00]);
    let outcomes = session.submit(batch(&[good.clone(), large.clone(), good.clone()])).wait().unwrap();
    let statuses: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [Status::Complete, Status::Failed, Status::Complete], "{outcomes:?}");
    assert_eq!(outcomes[1].reason.as_ref().map(ImageError::code), Some("no-input"));
    assert_eq!(outcomes[0].logits, outcomes[2].logits);
    // The session goes on: another such batch, and one that fits.
    let again = session.submit(batch(&[good.clone(), large, good.clone()])).wait().unwrap();
    assert_eq!(again, outcomes);
    let fitting = session.submit(batch(&[good.clone(), good])).wait().unwrap();
    assert!(fitting.iter().all(|outcome| outcome.status == Status::Complete && outcome.logits == outcomes[0].logits));
}

/// What the device gives up is known only after the batch was run: it is decoded by the CPU then. Where the logits go to the caller's memory, it
/// is in time for them.
#[test]
fn what_the_device_gives_up_is_decoded_by_the_cpu() {
    let device = device(Schedule::Forward);
    let good = picture(1, (90, 70), Kind::Baseline);
    let mut odd = picture(2, (90, 70), Kind::Baseline);
    // No marker, and no data: no sound file has such bytes there.
    let place = (odd.len() / 2..).find(|&place| odd[place - 1] != 0xFF).unwrap();
    odd.splice(place..place, [0xFF, 0x01]);
    let files = [good.clone(), odd.clone(), picture(3, (64, 64), Kind::Arithmetic), odd, good];
    let weights = weights(Variant::LateConcatRfaThinner, 32);
    let any = Policy::Lenient { min_fraction: 0.0 };
    let on_cpu = Session::builder(&weights).device(DeviceChoice::Cpu).threads(1).policy(any).build().unwrap();
    let session = small_session(&device, |builder| builder.slots(1).policy(any));
    let expected = on_cpu.submit(batch(&files)).wait().unwrap();
    assert_same(&session.submit(batch(&files)).wait().unwrap(), &expected, "given up");

    let logits = Arc::new(DeviceBuffer::new(handle(&device), files.len() * CLASSES * size_of::<f32>()).unwrap());
    let mut batch = batch(&files);
    batch.write_logits_to(Arc::clone(&logits));
    let outcomes = session.submit(batch).wait().unwrap();
    assert_same(&outcomes, &expected, "given up, logits on the device");
    let mut copied = vec![0f32; files.len() * CLASSES];
    let stream = Stream::new(handle(&device)).unwrap();
    stream.download_now(bytemuck::cast_slice_mut(&mut copied), logits.all()).unwrap();
    assert!(outcomes.iter().zip(copied.chunks(CLASSES)).all(|(outcome, copy)| outcome.logits == copy));
    assert_eq!(session.device_stats()[0].decoder.on_cpu[&CpuReason::Unresolved], 4);
}

#[test]
fn what_cannot_be_joined_or_written_to_is_refused() {
    let [device, other] = two_emulators();
    let stream = Arc::new(Stream::new(handle(&other)).unwrap());
    let weights = weights(Variant::LateConcatRfaThinner, 32);
    let builder = || Session::builder(&weights).threads(1).stream(Arc::clone(&stream));
    for builder in [
        builder().device(DeviceChoice::Cpu),
        builder().on(std::slice::from_ref(&device)),
        builder().on(&[other.clone(), device.clone()]),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Usage);
    }
    // SAFETY: what is no stream of the emulator is refused.
    let unknown = unsafe { Stream::from_raw(handle(&device), 0xBAD) };
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::Usage);
    let session = small_session(&device, |builder| builder.slots(1));
    let files = [picture(1, (24, 24), Kind::Baseline)];
    for buffer in [DeviceBuffer::new(handle(&device), 4).unwrap(), DeviceBuffer::new(handle(&other), 1000).unwrap()] {
        let mut batch = batch(&files);
        batch.write_logits_to(Arc::new(buffer));
        assert_eq!(session.submit(batch).wait().unwrap_err().kind(), ErrorKind::Usage);
    }
    assert_eq!(session.submit(batch(&files)).wait().unwrap()[0].status, Status::Complete);
    let no_libraries = small_builder(&weights, &device).ops_choice(OpsChoice::Libraries).build().unwrap_err();
    assert!(no_libraries.kind() == ErrorKind::Usage && no_libraries.to_string().contains("no libraries"));
}

/// Whichever device is free takes a batch: memory of one of them is refused at once, not now and then.
#[test]
fn logits_on_one_of_several_devices_are_refused_every_time() {
    let devices = two_emulators();
    let weights = weights(Variant::LateConcatRfaThinner, 32);
    let session = Session::builder(&weights).on(&devices).threads(1).build().unwrap();
    let files = [picture(1, (24, 24), Kind::Baseline)];
    for device in &devices {
        let logits = Arc::new(DeviceBuffer::new(handle(device), CLASSES * size_of::<f32>()).unwrap());
        let with_logits = || {
            let mut batch = batch(&files);
            batch.write_logits_to(Arc::clone(&logits));
            batch
        };
        for ticket in [session.submit(with_logits()), session.try_submit(with_logits()).unwrap()] {
            assert!(ticket.is_on_its_way(), "nobody waits for what will not come");
            let error = ticket.wait().unwrap_err();
            assert!(error.kind() == ErrorKind::Usage && error.to_string().contains("one device"), "{error}");
        }
    }
    assert_eq!(session.device_stats().iter().map(|stats| stats.decoder.on_device).sum::<u64>(), 0);
    assert_eq!(session.submit(batch(&files)).wait().unwrap()[0].status, Status::Complete);
}

#[test]
fn without_graphs_the_answers_are_the_same() {
    let files = mixed_files();
    let device = device(Schedule::Random(5));
    let outcomes = [true, false].map(|use_graphs| {
        let session = small_session(&device, |builder| builder.slots(1).graphs(use_graphs));
        [(); 3].map(|()| session.submit(batch(&files)).wait().unwrap())
    });
    assert_eq!(outcomes[0], outcomes[1]);
}

/// Runs a kernel that breaks a rule: the device answers nothing but errors from now on.
fn poison(device: &Device) {
    let handle = handle(device);
    let stream = Stream::new(handle).unwrap();
    let out = DeviceBuffer::new(handle, 64 * 4).unwrap();
    let scratch = DeviceBuffer::new(handle, 300 * 4).unwrap();
    let params = SelftestParams {
        out: out.ptr(0),
        scratch: scratch.ptr(0),
        num_out: 64,
        num_scratch: 300,
        which: MISTAKE_BARRIER_IN_BRANCH,
        reserved: 0,
    };
    // SAFETY: both buffers live until the stream is done, and are as long as the parameters say.
    let launched = unsafe { stream.launch::<BreakRule>(Grid::x(1), 256, &params) };
    launched.and_then(|()| stream.synchronize()).unwrap_err();
}

#[test]
fn a_lost_device_loses_no_image() {
    let devices = two_emulators();
    let weights = weights(Variant::LateConcatRfaThinner, 32);
    let session = Session::builder(&weights).on(&devices).threads(1).max_batch(2).build().unwrap();
    assert_eq!((session.devices().count(), session.num_slots()), (2, 4));
    let file = picture(1, (24, 24), Kind::Baseline);
    let (mut feeder, outcomes) = session.stream();
    std::thread::scope(|scope| {
        scope.spawn(move || (0..24).for_each(|key| assert!(feeder.push(key, file.as_slice()).is_continue())));
        for (expected_key, outcome) in outcomes.enumerate() {
            let (key, outcome) = outcome.unwrap();
            assert_eq!((key, outcome.status), (expected_key, Status::Complete));
            if key == 5 {
                poison(&devices[0]);
            }
        }
    });
    // Who has decoded how many is a matter of time; none was left out.
    assert!(session.device_stats().iter().map(|stats| stats.decoder.on_device).sum::<u64>() >= 24);
    poison(&devices[1]);
    for _ in 0..2 {
        let error = session.submit(batch(&mixed_files())).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Device);
        assert!(error.to_string().contains("divergent barrier"), "{error}");
    }
}

/// A device breaks while it has batches of one session: they get a typed error, and so does what comes later. A session on another device,
/// with batches in flight at the same time, notices nothing.
#[test]
fn a_broken_device_harms_no_other_session() {
    let devices = two_emulators();
    let [broken, sound] = [&devices[0], &devices[1]].map(|device| small_session(device, |builder| builder.slots(1)));
    let files = mixed_files();
    let expected = sound.submit(batch(&files)).wait().unwrap();
    let tickets: Vec<[Ticket; 2]> = std::thread::scope(|scope| {
        let poisoner = scope.spawn(|| poison(&devices[0]));
        let tickets = (0..6).map(|_| [&broken, &sound].map(|session| session.submit(batch(&files)))).collect();
        poisoner.join().unwrap();
        tickets
    });
    for [of_broken, of_sound] in tickets {
        match of_broken.wait() {
            Ok(outcomes) => assert_eq!(outcomes, expected),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Device),
        }
        assert_eq!(of_sound.wait().unwrap(), expected);
    }
    for _ in 0..2 {
        assert_eq!(broken.submit(batch(&files)).wait().unwrap_err().kind(), ErrorKind::Device);
        assert_eq!(sound.submit(batch(&files)).wait().unwrap(), expected);
    }
}

#[test]
fn a_session_can_be_dropped_with_work_in_flight() {
    let files = mixed_files();
    let session = small_session(&device(Schedule::Random(3)), |builder| builder.slots(2));
    let _forgotten = session.submit(batch(&files));
    let ticket = session.submit(batch(&files));
    drop(session);
    assert_eq!(ticket.wait().unwrap().len(), files.len());
}
