//! Recording a stream and waiting for a whole context, kept apart: while a stream of a context is recorded, by whatever thread, the driver
//! refuses to wait for the context, and the attempt spoils the recording (CUDA C++ Programming Guide, "Prohibited and Unhandled Operations" of
//! stream capture).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// Those of this process: a GPU's primary context may be opened more than once.
pub(super) static RECORDINGS: Recordings = Recordings::new();

/// Which threads record, and how many wait for a context.
pub(super) struct Recordings {
    state: Mutex<State>,
    has_changed: Condvar,
}

struct State {
    recorders: Vec<ThreadId>,
    num_waits: usize,
}

impl Recordings {
    const fn new() -> Self {
        let state = State { recorders: Vec::new(), num_waits: 0 };
        Self { state: Mutex::new(state), has_changed: Condvar::new() }
    }

    /// This thread records a stream from now on. Blocks while others wait for a context.
    pub fn begin(&self) {
        let mut state = self.lock_when(|state| state.num_waits == 0);
        state.recorders.push(thread::current().id());
    }

    /// This thread's latest recording has ended.
    pub fn end(&self) {
        let mut state = self.lock();
        if let Some(place) = state.recorders.iter().rposition(|&recorder| recorder == thread::current().id()) {
            state.recorders.swap_remove(place);
        }
        self.has_changed.notify_all();
    }

    /// This thread waits for a context until the result is dropped. Blocks while others record. (A thread that records does not wait for itself:
    /// the driver tells it that it may not.)
    pub fn keep_off(&self) -> KeptOff<'_> {
        let own = thread::current().id();
        self.lock_when(|state| state.recorders.iter().all(|&recorder| recorder == own)).num_waits += 1;
        KeptOff(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_when(&self, holds: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.has_changed.wait_while(self.lock(), |state| !holds(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

/// No recording begins while this lives.
#[must_use]
pub(super) struct KeptOff<'a>(&'a Recordings);

impl Drop for KeptOff<'_> {
    fn drop(&mut self) {
        self.0.lock().num_waits -= 1;
        self.0.has_changed.notify_all();
    }
}
