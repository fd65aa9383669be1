//! What a session on a device takes of memory once it has seen the largest batch: on the device nothing, pinned nothing, and of the host's heap a few
//! small pieces for each image, its header and its outcome, whatever its size. Everything is counted; this is the program's only test, so that
//! nothing else is.

#[path = "common/wrapped.rs"]
mod wrapped;

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dctflow::device::emulator::EmulatorOptions;
use dctflow::jpeg::Status;
use dctflow::network::{Config, Variant, Weights};
use dctflow::session::{Batch, Device, DeviceChoice, Session};
use dctflow::synth::{Encoding, Interleaving, Layout, Picture, sequential_scans};
use wrapped::{Call, Hooks, Wrapped};

/// Counts what is taken from the heap, but for what the emulator takes: a GPU takes nothing there.
struct CountingAllocator;

static NUM_TAKEN: AtomicU64 = AtomicU64::new(0);
static BYTES_TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_EMULATING: Cell<bool> = const { Cell::new(false) };
}

fn add(counter: &AtomicU64, amount: usize) {
    // A thread that ends has nothing left to count.
    if !IS_EMULATING.try_with(Cell::get).unwrap_or(true) {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        add(&NUM_TAKEN, 1);
        add(&BYTES_TAKEN, layout.size());
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: MemoryLayout) {
        // SAFETY: memory of the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Sets the emulator apart, and counts copies to it.
#[derive(Default)]
struct Apart {
    uploaded_bytes: AtomicU64,
}

impl Hooks for Apart {
    fn around<R>(&self, call: Call, work: impl FnOnce() -> R) -> R {
        if let Call::Upload { len_bytes, .. } = call {
            self.uploaded_bytes.fetch_add(len_bytes as u64, Ordering::Relaxed);
        }
        IS_EMULATING.set(true);
        let result = work();
        IS_EMULATING.set(false);
        result
    }
}

fn picture(seed: u64, width: u32, height: u32) -> Vec<u8> {
    let layout = Layout::baseline(&[(2, 2), (1, 1), (1, 1)], 80);
    let image = Picture::photo(seed, width, height, 3).coefficients(&layout);
    Encoding::new(sequential_scans(&image.frame, Interleaving::Interleaved)).encode(&image).to_bytes()
}

/// What one batch takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    pieces: u64,
    bytes: u64,
}

fn run(session: &Session, files: &[Vec<u8>]) -> Taken {
    let mut batch = Batch::new();
    // The files are the caller's.
    files.iter().for_each(|file| batch.push(file.as_slice(), None, 0));
    let read = || [&NUM_TAKEN, &BYTES_TAKEN].map(|counter| counter.load(Ordering::SeqCst));
    let before = read();
    let outcomes = session.submit(batch).wait().unwrap();
    let after = read();
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Complete));
    Taken { pieces: after[0] - before[0], bytes: after[1] - before[1] }
}

#[test]
fn after_the_largest_batch_memory_is_taken_for_headers_and_outcomes_alone() {
    let options = EmulatorOptions { num_os_threads: 1, ..EmulatorOptions::default() };
    let device = Wrapped::new(options, Apart::default());
    let handle: Arc<dyn dctflow::device::Device> = device.clone();
    let opened = Device { kind: DeviceChoice::Emulator, why: String::new(), handle: Some(handle.clone()) };
    let transform = "short=40,crop=32".parse().unwrap();
    let config = Config { width: 0.05, classes: 7, input_size: (32, 32), ..Config::new(Variant::LateConcatRfaThinner) };
    let weights = Weights::random(config, 1).unwrap().with_transform(transform).unwrap();
    let uploaded_before = device.hooks.uploaded_bytes.load(Ordering::Relaxed);
    let session = Session::builder(&weights).on(&[opened]).threads(1).slots(1).build().unwrap();
    let weight_bytes = device.hooks.uploaded_bytes.load(Ordering::Relaxed) - uploaded_before;
    let small: Vec<Vec<u8>> = (0..4).map(|seed| picture(seed, 40 + 8 * seed as u32, 48)).collect();
    let large: Vec<Vec<u8>> = (0..4).map(|seed| picture(seed, 200 + 40 * seed as u32, 240)).collect();
    for batch in [&large, &small, &large[..2].to_vec(), &small, &large] {
        run(&session, batch);
    }
    let memory = handle.memory_meter().read();
    for batch in [&large[..], &small, &large[..2], &small[..1], &large] {
        let taken = run(&session, batch);
        eprintln!("{} images, {} bytes: {taken:?}", batch.len(), batch.iter().map(Vec::len).sum::<usize>());
        // Of an image: frame, scan and Huffman tables of its header; logits and best classes of its outcome.
        let num_images = batch.len() as u64;
        assert!(taken.pieces <= 16 + 32 * num_images, "{num_images} images: {taken:?}");
        assert!(taken.bytes <= 2048 + 6144 * num_images, "{num_images} images: {taken:?}");
    }
    assert_eq!(handle.memory_meter().read(), memory, "on the device, and pinned");
    // Whatever was copied to the device was counted.
    let stats = &session.device_stats()[0];
    assert_eq!(device.hooks.uploaded_bytes.load(Ordering::Relaxed), weight_bytes + stats.uploaded_bytes);
}
