//! Spreads the CTAs of a launch over OS threads.

use super::ffi;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// More stacks between guard pages than the system maps at a time would be needed by more threads than these.
const MAX_OS_THREADS: usize = 16;

/// One launch, shared by the threads that run it.
struct Job {
    launch: ffi::Launch,
    /// The CTAs in the order in which they begin.
    cta_order: Vec<u64>,
    next: AtomicU64,
    outcome: Mutex<Outcome>,
}

// SAFETY: the only pointer inside is to the parameters, which the launching thread keeps until all workers are done with the job.
unsafe impl Send for Job {}
// SAFETY: as above; what changes is behind atomics and a mutex.
unsafe impl Sync for Job {}

/// What came of the CTAs that ran.
#[derive(Default)]
pub(super) struct Outcome {
    pub counts: [ffi::Count; ffi::MAX_COUNTERS],
    /// Of the first CTA in `cta_order` that failed.
    pub failure: Option<(u64, Failure)>,
}

/// Why a CTA failed.
pub(super) struct Failure {
    pub message: String,
    pub fault_address: Option<u64>,
}

impl Job {
    /// Runs CTAs until none is left or one failed.
    fn work(&self) {
        let mut counts = [ffi::Count::default(); ffi::MAX_COUNTERS];
        let mut failure = ffi::Failure::new();
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&cta_idx) = self.cta_order.get(place as usize) else { break };
            // SAFETY: the kernel's index and parameters were checked at the launch; the rest are valid pointers.
            if unsafe { ffi::emulator_run_cta(&self.launch, cta_idx, counts.as_mut_ptr(), &mut failure) } != 0 {
                self.next.store(u64::MAX / 2, Ordering::Relaxed);
                self.note_failure(place, &failure);
                break;
            }
        }
        let mut outcome = self.outcome.lock().unwrap_or_else(|e| e.into_inner());
        for (sum, count) in outcome.counts.iter_mut().zip(counts) {
            sum.total += count.total;
            sum.warp_max += count.warp_max;
        }
    }

    fn note_failure(&self, place: u64, failure: &ffi::Failure) {
        let mut outcome = self.outcome.lock().unwrap_or_else(|e| e.into_inner());
        if outcome.failure.as_ref().is_none_or(|(first, _)| place < *first) {
            let fault_address = (!failure.fault_address.is_null()).then_some(failure.fault_address as u64);
            outcome.failure = Some((place, Failure { message: failure.message(), fault_address }));
        }
    }
}

/// Threads that wait for launches. Not rayon's: a thread that waits there may be given other work, which may wait for this device in turn.
pub(super) struct Workers {
    threads: Vec<(Sender<Arc<Job>>, JoinHandle<()>)>,
    done: Receiver<()>,
}

impl Workers {
    /// `num_threads` of them in all, the launching one included.
    pub fn new(num_threads: usize) -> std::io::Result<Self> {
        let (done_sender, done) = channel();
        let threads = (1..num_threads.min(MAX_OS_THREADS))
            .map(|idx| {
                let (sender, jobs) = channel::<Arc<Job>>();
                let done = done_sender.clone();
                let thread = std::thread::Builder::new().name(format!("emulator-{idx}")).spawn(move || {
                    for job in jobs {
                        job.work();
                        drop(job);
                        // The device may be gone; then nobody waits.
                        let _ = done.send(());
                    }
                })?;
                Ok((sender, thread))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { threads, done })
    }

    /// Runs a launch to its end.
    pub fn run(&self, launch: ffi::Launch, cta_order: Vec<u64>) -> Outcome {
        let num_helpers = self.threads.len().min(cta_order.len().saturating_sub(1));
        let job = Arc::new(Job { launch, cta_order, next: AtomicU64::new(0), outcome: Mutex::default() });
        let num_started =
            self.threads[..num_helpers].iter().filter(|(sender, _)| sender.send(Arc::clone(&job)).is_ok()).count();
        job.work();
        for _ in 0..num_started {
            // An error would mean that all workers are gone, and then none has the job.
            let _ = self.done.recv();
        }
        std::mem::take(&mut *job.outcome.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (sender, thread) in self.threads.drain(..) {
            drop(sender);
            // A worker cannot panic; if it did, there is nothing left to do about it.
            let _ = thread.join();
        }
    }
}
