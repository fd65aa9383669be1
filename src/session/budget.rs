//! Memory that the images of a session share while they are decoded.

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// So many bytes, taken in shares that are given back when they are dropped.
#[derive(Debug)]
pub(super) struct Budget {
    limit_bytes: u64,
    used_bytes: Mutex<u64>,
    given_back: Condvar,
}

/// A part of a [`Budget`].
#[derive(Debug)]
pub(super) struct Share<'a> {
    budget: &'a Budget,
    num_bytes: u64,
}

impl Budget {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: Mutex::new(0), given_back: Condvar::new() }
    }

    /// Waits until `num_bytes` are free. More than there are at all are taken when nobody else has any.
    ///
    /// Who holds a share must not wait for another: nothing that is done with one may depend on another image.
    pub(super) fn take(&self, num_bytes: u64) -> Share<'_> {
        let must_wait = |used: &mut u64| *used > 0 && used.saturating_add(num_bytes) > self.limit_bytes;
        let used = self.given_back.wait_while(self.lock(), must_wait);
        *used.unwrap_or_else(PoisonError::into_inner) += num_bytes;
        Share { budget: self, num_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.used_bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.lock() -= self.num_bytes;
        self.budget.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn shares_never_exceed_the_budget_unless_one_does_alone() {
        let budget = Budget::new(10);
        let (in_use, peak) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread_idx in 0..6 {
                let (budget, in_use, peak) = (&budget, &in_use, &peak);
                scope.spawn(move || {
                    for round in 0..50 {
                        let num_bytes = 1 + (thread_idx + round) % 7;
                        let _share = budget.take(num_bytes);
                        peak.fetch_max(in_use.fetch_add(num_bytes, Ordering::SeqCst) + num_bytes, Ordering::SeqCst);
                        std::thread::yield_now();
                        in_use.fetch_sub(num_bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        let peak = peak.into_inner();
        assert!((7..=10).contains(&peak), "{peak}");
        assert_eq!(*budget.lock(), 0);
        let large = budget.take(1000); // alone
        drop(large);
        let _all = (budget.take(5), budget.take(5));
    }

    #[test]
    fn a_panic_gives_its_share_back() {
        let budget = Budget::new(10);
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _share = budget.take(10);
            panic!("on purpose");
        }));
        assert!(panic.is_err());
        let _all = budget.take(10);
    }
}
