//! Once the largest batch was seen, decoding takes no memory: counted on the device, and on the host while a batch is planned.

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::cell::Cell;
use std::sync::Arc;

use dctflow::cpu;
use dctflow::device::Device;
use dctflow::device::emulator::{Emulator, EmulatorOptions};
use dctflow::jpeg::{EntropyCoding, Limits, Process};
use dctflow::plan::{DecodePlan, PlanOptions, PlannedImage};
use dctflow::session::BatchDecoder;
use dctflow::synth::{Encoding, Interleaving, Layout, Picture, Script, photo_set, progressive_scans, sequential_scans};

/// Counts how often a thread takes memory.
struct CountingAllocator;

thread_local! {
    static NUM_ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        // A thread that ends has nothing left to count.
        let _ = NUM_ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
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

/// How often this thread takes memory in `work`.
fn count_allocations(work: impl FnOnce()) -> u64 {
    let before = NUM_ALLOCATIONS.get();
    work();
    NUM_ALLOCATIONS.get() - before
}

fn emulator() -> Arc<Emulator> {
    Emulator::new(EmulatorOptions { num_os_threads: 1, ..EmulatorOptions::default() }).expect("an emulator")
}

/// Photos, a progressive file, and one that the CPU decodes.
fn files() -> Vec<Vec<u8>> {
    let encode = |process, coding| {
        let layout = Layout { process, coding, ..Layout::baseline(&[(2, 2), (1, 1), (1, 1)], 80) };
        let image = Picture::photo(3, 160, 120, 3).coefficients(&layout);
        let scans = match process {
            Process::Progressive => progressive_scans(&image.frame, Interleaving::Interleaved, Script::Mixed),
            _ => sequential_scans(&image.frame, Interleaving::Interleaved),
        };
        Encoding::new(scans).encode(&image).to_bytes()
    };
    let mut files = photo_set(4, 4);
    files.push(encode(Process::Progressive, EntropyCoding::Huffman));
    files.push(encode(Process::ExtendedSequential, EntropyCoding::Arithmetic));
    files.push(b"not a JPEG".to_vec());
    files
}

#[test]
fn batches_no_larger_than_the_first_take_no_memory_on_the_device() {
    let emulator = emulator();
    let device: Arc<dyn Device> = emulator.clone();
    let files = files();
    let mut decoder = BatchDecoder::new(&device).expect("a decoder");
    let decode = |decoder: &mut BatchDecoder, order: &[usize]| {
        let batch: Vec<&[u8]> = order.iter().map(|&idx| files[idx].as_slice()).collect();
        let decoded = decoder.decode(&batch).expect("no error of the device");
        for (file, decoded) in batch.iter().zip(decoded) {
            assert!(decoded == cpu::decode(file, &Limits::default()));
        }
    };
    decode(&mut decoder, &[0, 1, 2, 3, 4, 5, 6]);
    let num_allocations = emulator.num_allocations();
    for order in [&[0, 1, 2, 3, 4, 5, 6][..], &[6, 4, 3, 2, 5, 1, 0], &[4, 1], &[], &[5, 6], &[2, 0, 4]] {
        decode(&mut decoder, order);
        assert_eq!(emulator.num_allocations(), num_allocations, "files {order:?}");
    }
    decode(&mut decoder, &[0, 1, 2, 3, 0, 1, 2, 3]);
    assert!(emulator.num_allocations() > num_allocations, "a larger batch takes more");
}

#[test]
fn planning_takes_no_memory_of_the_host() {
    let files = files();
    let images: Vec<PlannedImage<'_>> =
        files.iter().filter_map(|file| PlannedImage::read(file, &Limits::default()).ok()).collect();
    let mut plan = DecodePlan::default();
    let options = PlanOptions { subsequence_bytes: None, redzone_bytes: 64 };
    assert!(count_allocations(|| plan.replace(&images, &options)) > 0);
    for batch in [&images[..], &images[1..3], &images[4..], &[], &images[..]] {
        assert_eq!(count_allocations(|| plan.replace(batch, &options)), 0, "{} images", batch.len());
        let fresh = DecodePlan::new(batch, &options);
        assert_eq!(format!("{:?}", plan.waves), format!("{:?}", fresh.waves));
        assert_eq!((plan.scratch.len_bytes(), plan.lookup_bytes), (fresh.scratch.len_bytes(), fresh.lookup_bytes));
        assert_eq!((&plan.planes, &plan.data), (&fresh.planes, &fresh.data));
    }
}
