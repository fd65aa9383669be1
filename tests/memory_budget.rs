//! What `max_batch_bytes` bounds, by the memory that is really held: on the CPU by the heap's bytes, on devices by their meters. Each session is
//! run beside one without the limit, which must hold more: else nothing would be shown. This is the program's only test, so that nothing else
//! is counted.

#[path = "common/counting.rs"]
mod counting;
#[path = "common/hostile.rs"]
#[allow(dead_code)]
mod hostile;

use std::sync::atomic::Ordering::Relaxed;

use counting::{CountingAllocator, MAX_BYTES, NUM_BYTES};
use dctflow::device::emulator::{Emulator, EmulatorOptions};
use dctflow::jpeg::{Limits, Status};
use dctflow::network::{Config, Variant, Weights};
use dctflow::session::{Batch, Device, DeviceChoice, Session};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn weights() -> Weights {
    let config = Config { width: 0.05, classes: 3, input_size: (32, 32), ..Config::new(Variant::LateConcatRfaThinner) };
    Weights::random(config, 1).unwrap().with_transform("short=40,crop=32".parse().unwrap()).unwrap()
}

/// Runs batches of a flat page of `side_blocks` x `side_blocks` blocks.
fn run(session: &Session, side_blocks: u32, num_images: u64) {
    let file = hostile::flat_page((side_blocks, side_blocks));
    let mut batch = Batch::new();
    (0..num_images).for_each(|tag| batch.push(file.clone(), None, tag));
    let outcomes = session.submit(batch).wait().unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Complete), "{outcomes:?}");
}

fn limits(max_batch_bytes: u64) -> Limits {
    Limits { max_batch_bytes, ..Limits::default() }
}

const MIB: u64 = 1 << 20;

/// The heap's bytes that four threads take for images of 8 MiB of coefficients.
fn heap_bytes(max_batch_bytes: u64, num_devices: usize) -> u64 {
    let devices = vec![DeviceChoice::Cpu; num_devices];
    let weights = weights();
    let builder = Session::builder(&weights).devices(&devices).threads(4).slots(1);
    let session = builder.limits(limits(max_batch_bytes)).build().unwrap();
    // What the network and the matrices take is taken beforehand.
    (0..2).for_each(|_| run(&session, 16, 8));
    let before = NUM_BYTES.load(Relaxed);
    MAX_BYTES.store(before, Relaxed);
    for _ in 0..4 {
        run(&session, 256, 8);
    }
    MAX_BYTES.load(Relaxed) - before
}

/// The most bytes that each device holds for images of half a MiB of coefficients, beside what it has when it is new.
fn device_bytes(max_batch_bytes: u64, num_devices: usize) -> Vec<u64> {
    let devices: Vec<Device> = (0..num_devices)
        .map(|_| {
            let options = EmulatorOptions { num_os_threads: 1, ..EmulatorOptions::default() };
            Device { kind: DeviceChoice::Emulator, why: String::new(), handle: Some(Emulator::new(options).unwrap()) }
        })
        .collect();
    let weights = weights();
    let builder = Session::builder(&weights).on(&devices).threads(1).slots(1).max_batch(8);
    let session = builder.limits(limits(max_batch_bytes)).build().unwrap();
    let new: Vec<u64> = session.device_stats().iter().map(|stats| stats.memory.device_bytes).collect();
    run(&session, 64, 8 * num_devices as u64);
    let stats = session.device_stats();
    stats.iter().zip(new).map(|(stats, new)| stats.memory.peak_device_bytes - new).collect()
}

#[test]
fn sessions_hold_no_more_coefficients_than_they_may() {
    // One image at a time, and something for the rest.
    let (limited, unlimited) = (heap_bytes(8 * MIB, 1), heap_bytes(4096 * MIB, 1));
    eprintln!("heap: {limited} bytes, without the limit {unlimited}");
    assert!(limited < 12 * MIB, "{limited}");
    assert!(unlimited > 15 * MIB, "{unlimited}: the limit was not what kept the other session small");

    // The limit is the session's, not that of each of its devices.
    let of_two = heap_bytes(16 * MIB, 2);
    eprintln!("heap of two: {of_two} bytes");
    assert!(of_two < 20 * MIB, "{of_two}");

    // A quarter more is taken than is needed.
    let (limited, unlimited) = (device_bytes(MIB, 1)[0], device_bytes(4096 * MIB, 1)[0]);
    eprintln!("device: {limited} bytes, without the limit {unlimited}");
    assert!(unlimited > limited + 3 * MIB, "{limited}, without the limit {unlimited}");
    let halves = device_bytes(2 * MIB, 2);
    eprintln!("two devices: {halves:?} bytes");
    assert!(halves.iter().all(|&bytes| bytes <= limited), "{halves:?}, one device alone with the same part {limited}");
}
