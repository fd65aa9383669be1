//! How much memory is taken through a device, and how much was at most.

use std::sync::atomic::{AtomicU64, Ordering};

/// Memory that [`DeviceBuffer`](super::DeviceBuffer)s and [`PinnedBuffer`](super::PinnedBuffer)s hold of one open device. What a driver
/// or a library takes for itself is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Device memory at present.
    pub device_bytes: u64,
    /// The most device memory at one time, since the device was opened or the peaks were reset.
    pub peak_device_bytes: u64,
    /// Pinned host memory at present.
    pub pinned_bytes: u64,
    /// The most pinned host memory at one time.
    pub peak_pinned_bytes: u64,
}

/// Counts what is taken and given back; every open device has one.
#[derive(Debug, Default)]
pub struct MemoryMeter {
    pub(super) device: Level,
    pub(super) pinned: Level,
}

impl MemoryMeter {
    /// What it has counted.
    pub fn read(&self) -> MemoryUse {
        let Self { device, pinned } = self;
        MemoryUse {
            device_bytes: device.bytes.load(Ordering::Relaxed),
            peak_device_bytes: device.peak_bytes.load(Ordering::Relaxed),
            pinned_bytes: pinned.bytes.load(Ordering::Relaxed),
            peak_pinned_bytes: pinned.peak_bytes.load(Ordering::Relaxed),
        }
    }

    /// Peaks count from what is taken now.
    pub fn reset_peaks(&self) {
        for level in [&self.device, &self.pinned] {
            level.peak_bytes.store(level.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Memory of one kind.
#[derive(Debug, Default)]
pub(super) struct Level {
    bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

impl Level {
    pub(super) fn take(&self, len_bytes: usize) {
        let bytes = self.bytes.fetch_add(len_bytes as u64, Ordering::Relaxed) + len_bytes as u64;
        self.peak_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, len_bytes: usize) {
        self.bytes.fetch_sub(len_bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_stays_until_it_is_reset() {
        let meter = MemoryMeter::default();
        meter.device.take(100);
        meter.device.give_back(40);
        meter.device.take(30);
        meter.pinned.take(7);
        let peaks = |meter: &MemoryMeter| (meter.read().peak_device_bytes, meter.read().peak_pinned_bytes);
        assert_eq!((meter.read().device_bytes, peaks(&meter)), (90, (100, 7)));
        meter.reset_peaks();
        assert_eq!(peaks(&meter), (90, 7));
        meter.device.take(1);
        assert_eq!(peaks(&meter), (91, 7));
    }
}
