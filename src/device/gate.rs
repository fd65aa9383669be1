//! What a stream can be made to wait for.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shut when it is made; opened once.
#[derive(Debug, Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Who waits goes on after this time in any case: should the host wait for the stream before it opens the gate, it loses time and no more.
    pub const MAX_WAIT: Duration = Duration::from_millis(250);

    /// Lets everyone through, from now on.
    pub fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is open, or for [`Self::MAX_WAIT`]. Says whether it is.
    pub fn wait(&self) -> bool {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.opened.wait_timeout_while(is_open, Self::MAX_WAIT, |is_open| !*is_open);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn a_gate_lets_through_who_waits_and_who_comes_later() {
        let gate = Arc::new(Gate::default());
        let other = Arc::clone(&gate);
        let waiting = std::thread::spawn(move || other.wait());
        gate.open();
        assert!(waiting.join().unwrap() && gate.wait());
    }

    #[test]
    fn nobody_waits_for_ever() {
        let began = Instant::now();
        assert!(!Gate::default().wait());
        assert!(began.elapsed() >= Gate::MAX_WAIT);
    }
}
