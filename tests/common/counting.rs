//! An allocator that counts, byte by byte, so that what a test says of memory depends neither on time nor on what the system's allocator keeps.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts the bytes that are in use, and the most that ever were.
pub struct CountingAllocator;

/// In use at present.
pub static NUM_BYTES: AtomicU64 = AtomicU64::new(0);
/// The most that ever were.
pub static MAX_BYTES: AtomicU64 = AtomicU64::new(0);

fn count(taken_bytes: usize, given_back_bytes: usize) {
    let before = NUM_BYTES.fetch_add(taken_bytes as u64, Relaxed);
    MAX_BYTES.fetch_max(before + taken_bytes as u64, Relaxed);
    NUM_BYTES.fetch_sub(given_back_bytes as u64, Relaxed);
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's layout.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: memory of the system's allocator, and the caller's layout.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: memory of the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}
