//! How long the stages take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time spent per stage since the session was made, summed over threads. On an idle machine these are CPU-seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Headers: markers, tables, geometry.
    pub parse: Duration,
    /// Entropy-coded segments to coefficients.
    pub entropy: Duration,
    /// Coefficients to the network's input.
    pub resample: Duration,
    /// The network. All of the session's threads work on it together: elapsed time x threads.
    pub network: Duration,
}

impl StageTimes {
    /// The time between two readings.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            parse: self.parse.saturating_sub(earlier.parse),
            entropy: self.entropy.saturating_sub(earlier.entropy),
            resample: self.resample.saturating_sub(earlier.resample),
            network: self.network.saturating_sub(earlier.network),
        }
    }

    /// All stages, by name, in the order in which an image meets them.
    pub fn named(&self) -> [(&'static str, Duration); 4] {
        [("parse", self.parse), ("entropy", self.entropy), ("resample", self.resample), ("network", self.network)]
    }
}

/// A clock that many threads add to.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    /// Runs `work` and adds what it took, `threads` times.
    pub(super) fn time<R>(&self, threads: u32, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        self.add(start.elapsed() * threads);
        result
    }

    pub(super) fn add(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// One clock per stage.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    pub(super) parse: Clock,
    pub(super) entropy: Clock,
    pub(super) resample: Clock,
    pub(super) network: Clock,
}

impl Clocks {
    pub(super) fn read(&self) -> StageTimes {
        StageTimes {
            parse: self.parse.read(),
            entropy: self.entropy.read(),
            resample: self.resample.read(),
            network: self.network.read(),
        }
    }
}
