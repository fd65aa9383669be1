//! In place of the library's `sync`: shuttle's, and condition variables that can be made to forget who waits.

use std::collections::BTreeSet;
use std::panic::Location;

pub use shuttle::sync::{Mutex, MutexGuard, mpsc};
pub use shuttle::thread;
pub use std::sync::{LockResult, PoisonError};

/// A line of the sources that wakes someone.
pub type Site = (&'static str, u32);

static SITES: std::sync::Mutex<BTreeSet<Site>> = std::sync::Mutex::new(BTreeSet::new());
static FORGOTTEN: std::sync::Mutex<Option<Site>> = std::sync::Mutex::new(None);

/// The lines that were met so far.
pub fn sites() -> BTreeSet<Site> {
    SITES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// From now on the line `site` wakes nobody.
pub fn forget(site: Option<Site>) {
    *FORGOTTEN.lock().unwrap_or_else(PoisonError::into_inner) = site;
}

#[derive(Debug, Default)]
pub struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub const fn new() -> Self {
        Self(shuttle::sync::Condvar::new())
    }

    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub fn wait_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait_while(guard, condition)
    }

    #[track_caller]
    pub fn notify_one(&self) {
        if is_remembered(Location::caller()) {
            self.0.notify_one();
        }
    }

    #[track_caller]
    pub fn notify_all(&self) {
        if is_remembered(Location::caller()) {
            self.0.notify_all();
        }
    }
}

fn is_remembered(location: &'static Location<'static>) -> bool {
    let site = (location.file(), location.line());
    SITES.lock().unwrap_or_else(PoisonError::into_inner).insert(site);
    *FORGOTTEN.lock().unwrap_or_else(PoisonError::into_inner) != Some(site)
}
