//! How long the stages take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::ThreadTime;

/// CPU time spent per stage since the session was made, summed over its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Headers: markers, tables, geometry.
    pub parse: Duration,
    /// Entropy-coded segments to coefficients.
    pub entropy: Duration,
    /// Coefficients to the network's input.
    pub resample: Duration,
    /// The network.
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

/// A clock of CPU time that many threads add to.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    /// Runs `work` and adds the CPU time that this thread took for it.
    pub(super) fn time<R>(&self, work: impl FnOnce() -> R) -> R {
        let start = ThreadTime::now();
        let result = work();
        self.add(start.elapsed());
        result
    }

    /// Runs `work`, which spreads over all threads of the current pool and has it for itself, and adds the CPU time of them all.
    pub(super) fn time_pool<R>(&self, work: impl FnOnce() -> R) -> R {
        let thread_times = || rayon::broadcast(|_| ThreadTime::now().as_duration());
        let start = thread_times();
        let result = work();
        self.add(thread_times().iter().zip(&start).map(|(end, start)| end.saturating_sub(*start)).sum());
        result
    }

    fn add(&self, time: Duration) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the CPU busy until this thread has used `time` of it.
    fn burn(time: Duration) {
        let start = ThreadTime::now();
        while start.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn clocks_count_work_and_not_waiting() {
        let clock = Clock::default();
        clock.time(|| burn(Duration::from_millis(20)));
        clock.time(|| std::thread::sleep(Duration::from_millis(200)));
        assert!((20..150).contains(&clock.read().as_millis()), "{:?}", clock.read());
    }

    #[test]
    fn a_pool_s_time_is_that_of_all_its_threads() {
        let clock = Clock::default();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        pool.install(|| clock.time_pool(|| rayon::broadcast(|_| burn(Duration::from_millis(20)))));
        assert!(clock.read() >= Duration::from_millis(60), "{:?}", clock.read());
    }
}
