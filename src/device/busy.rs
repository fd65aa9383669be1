//! How long a device had work, whatever streams it was on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Device, Event, Stream};
use crate::Result;

/// The time in which a device had something to do: that from event to event, on any number of streams, where what is side by side counts once. An idle
/// device begins with an operation as soon as it is there, so time between two operations of one span in which it waited for the host is in it.
#[derive(Debug)]
pub struct BusyClock {
    /// Happened before everything that is counted.
    epoch: Event,
    covered: Mutex<CoveredTime>,
}

impl BusyClock {
    /// A clock at zero. Waits for the device.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(device: &Arc<dyn Device>) -> Result<Self> {
        let (stream, epoch) = (Stream::new(device)?, Event::new(device)?);
        stream.record(&epoch)?;
        epoch.synchronize()?;
        Ok(Self { epoch, covered: Mutex::default() })
    }

    /// Adds the time between two events, both of which have happened since the clock was made.
    ///
    /// # Errors
    /// Those of the device.
    pub fn add(&self, from: &Event, to: &Event) -> Result<()> {
        let begin = self.epoch.elapsed(from)?;
        self.lock().add(begin, begin + from.elapsed(to)?);
        Ok(())
    }

    /// All of it so far.
    pub fn total(&self) -> Duration {
        self.lock().total()
    }

    fn lock(&self) -> MutexGuard<'_, CoveredTime> {
        self.covered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time that is covered by at least one of many intervals, which come in about the order of their ends.
#[derive(Debug)]
struct CoveredTime {
    /// Of intervals that none to come can touch.
    settled: Duration,
    /// Begin and end, in order, apart from each other.
    recent: Vec<(Duration, Duration)>,
}

impl Default for CoveredTime {
    fn default() -> Self {
        Self { settled: Duration::ZERO, recent: Vec::with_capacity(Self::MAX_RECENT + 1) }
    }
}

impl CoveredTime {
    /// Many more than can be under way at a time.
    const MAX_RECENT: usize = 256;

    fn add(&mut self, begin: Duration, end: Duration) {
        let first = self.recent.partition_point(|&(_, other_end)| other_end < begin);
        let touched_end = self.recent.partition_point(|&(other_begin, _)| other_begin <= end);
        let touched = &self.recent[first..touched_end.max(first)];
        let merged = touched.iter().fold((begin, end), |(begin, end), other| (begin.min(other.0), end.max(other.1)));
        self.recent.splice(first..touched_end.max(first), [merged]);
        if self.recent.len() > Self::MAX_RECENT {
            let (begin, end) = self.recent.remove(0);
            self.settled += end - begin;
        }
    }

    fn total(&self) -> Duration {
        self.recent.iter().fold(self.settled, |total, (begin, end)| total + (*end - *begin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_intervals_cover_counts_once() {
        let covered = |intervals: &[(u64, u64)]| {
            let mut time = CoveredTime::default();
            intervals.iter().for_each(|&(begin, end)| time.add(Duration::from_secs(begin), Duration::from_secs(end)));
            time.total().as_secs()
        };
        assert_eq!(covered(&[]), 0);
        assert_eq!(covered(&[(1, 3), (5, 6), (2, 4)]), 4);
        assert_eq!(covered(&[(5, 6), (1, 2), (0, 9), (3, 4)]), 9);
        assert_eq!(covered(&[(1, 2), (2, 3)]), 2);
        let many: Vec<(u64, u64)> = (0..1000).map(|i| (3 * i, 3 * i + 2)).collect();
        assert_eq!(covered(&many), 2000);
    }
}
