//! How long the stages take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::ThreadTime;

use crate::Result;
use crate::device::{BusyClock, Device, Event};

/// Time spent per stage since the session was made: on the CPU, CPU time summed over its threads; on devices, the device's time, from event to
/// event, and the CPU time of `parse`. Batches that overlap on a device share its time, so that stages may add up to more than has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Headers: markers, tables, geometry.
    pub parse: Duration,
    /// Copying to the device.
    pub upload: Duration,
    /// Entropy-coded segments to coefficients.
    pub entropy: Duration,
    /// Coefficients to the network's input.
    pub resample: Duration,
    /// The network.
    pub network: Duration,
    /// Copying from the device.
    pub download: Duration,
}

impl StageTimes {
    /// The time between two readings.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            parse: self.parse.saturating_sub(earlier.parse),
            upload: self.upload.saturating_sub(earlier.upload),
            entropy: self.entropy.saturating_sub(earlier.entropy),
            resample: self.resample.saturating_sub(earlier.resample),
            network: self.network.saturating_sub(earlier.network),
            download: self.download.saturating_sub(earlier.download),
        }
    }

    /// The times of two that work side by side.
    #[must_use]
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            parse: self.parse + other.parse,
            upload: self.upload + other.upload,
            entropy: self.entropy + other.entropy,
            resample: self.resample + other.resample,
            network: self.network + other.network,
            download: self.download + other.download,
        }
    }

    /// All stages, by name, in the order in which an image meets them.
    pub fn named(&self) -> [(&'static str, Duration); 6] {
        [
            ("parse", self.parse),
            ("upload", self.upload),
            ("entropy", self.entropy),
            ("resample", self.resample),
            ("network", self.network),
            ("download", self.download),
        ]
    }
}

/// A clock that many threads add to.
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

    fn add(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// One clock per stage that single threads work at. The rest of what the threads do is the network.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    pub(super) parse: Clock,
    pub(super) entropy: Clock,
    pub(super) resample: Clock,
    /// CPU time of the threads before the first batch.
    before: Clock,
}

impl Clocks {
    /// Batches come from now on; the threads have taken `pool_time` so far.
    pub(super) fn begin(&self, pool_time: Duration) {
        self.before.add(pool_time);
    }

    /// Times so far, of threads that have taken `pool_time` in all.
    pub(super) fn read(&self, pool_time: Duration) -> StageTimes {
        let (parse, entropy, resample) = (self.parse.read(), self.entropy.read(), self.resample.read());
        let network = pool_time.saturating_sub(self.before.read() + parse + entropy + resample);
        StageTimes { parse, entropy, resample, network, ..StageTimes::default() }
    }
}

/// Clocks of a device's batches.
#[derive(Debug)]
pub(super) struct DeviceClocks {
    pub(super) parse: Clock,
    upload: Clock,
    entropy: Clock,
    resample: Clock,
    network: Clock,
    download: Clock,
    busy: BusyClock,
}

impl DeviceClocks {
    /// Clocks at zero. Waits for the device.
    pub(super) fn new(device: &Arc<dyn Device>) -> Result<Self> {
        let clock = Clock::default;
        Ok(Self {
            parse: clock(),
            upload: clock(),
            entropy: clock(),
            resample: clock(),
            network: clock(),
            download: clock(),
            busy: BusyClock::new(device)?,
        })
    }

    /// Adds a batch that is done. `begun` and `uploaded` are those of its decoding.
    pub(super) fn add(&self, begun: &Event, uploaded: &Event, events: &StageEvents) -> Result<()> {
        let StageEvents { decoded, input_begun, input_made, network_begun, classified, end } = events;
        let stages = [
            (&self.upload, begun, uploaded),
            (&self.entropy, uploaded, decoded),
            (&self.resample, input_begun, input_made),
            (&self.network, network_begun, classified),
            (&self.download, classified, end),
        ];
        for (clock, from, to) in stages {
            clock.add(from.elapsed(to)?);
        }
        // Between these the stream may have waited, for the host or for the caller's stream.
        for (from, to) in [(begun, decoded), (input_begun, input_made), (network_begun, end)] {
            self.busy.add(from, to)?;
        }
        Ok(())
    }

    pub(super) fn read(&self) -> StageTimes {
        StageTimes {
            parse: self.parse.read(),
            upload: self.upload.read(),
            entropy: self.entropy.read(),
            resample: self.resample.read(),
            network: self.network.read(),
            download: self.download.read(),
        }
    }

    /// Time at which the device had at least one batch to work on.
    pub(super) fn busy(&self) -> Duration {
        self.busy.total()
    }
}

/// When a batch's stages behind its upload began and ended on the device.
#[derive(Debug)]
pub(super) struct StageEvents {
    pub(super) decoded: Event,
    pub(super) input_begun: Event,
    pub(super) input_made: Event,
    pub(super) network_begun: Event,
    pub(super) classified: Event,
    pub(super) end: Event,
}

impl StageEvents {
    pub(super) fn new(device: &Arc<dyn Device>) -> Result<Self> {
        let event = || Event::new(device);
        Ok(Self {
            decoded: event()?,
            input_begun: event()?,
            input_made: event()?,
            network_begun: event()?,
            classified: event()?,
            end: event()?,
        })
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
    fn what_the_threads_did_besides_is_the_network() {
        let clocks = Clocks::default();
        clocks.begin(Duration::from_secs(5));
        clocks.entropy.add(Duration::from_secs(2));
        let times = clocks.read(Duration::from_secs(10));
        assert_eq!((times.entropy, times.network), (Duration::from_secs(2), Duration::from_secs(3)));
    }
}
