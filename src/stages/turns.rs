//! How many images of a batch run through the network at a time: many, and every launch fills the device; few, and what one step writes
//! the next one finds in the second-level cache. Settled by an estimate of the time, which has yet to be held against measurements.

use crate::device::{ConvolveTile, DeviceInfo};
use crate::network::ValueId;
use crate::plan::{NetworkPlan, NetworkStep, Operation};

/// Multiply-adds of one multiprocessor in a clock: compute capability 8.0; newer ones have the same or twice as many.
const MACS_PER_CLOCK: u64 = 1024;
/// Bytes of device memory in a clock, for each multiprocessor: A100 and H100 have 13 to 15.
const MEMORY_BYTES_PER_CLOCK: u64 = 13;
/// Bytes of the second-level cache in a clock, for each multiprocessor.
const L2_BYTES_PER_CLOCK: u64 = 40;
/// From the end of one launch to the start of the next.
const LAUNCH_CLOCKS: u64 = 2000;
/// Memory is dear and the estimate is coarse: so much worse than the best is good enough, in percent.
const SLACK_PERCENT: u64 = 2;

/// The fewest images, a power of two or `max_images`, whose estimated time per image is within the slack of the best.
pub(super) fn images_per_turn(plan: &NetworkPlan, info: &DeviceInfo, max_images: u32) -> u32 {
    let max_images = max_images.max(1);
    let powers = (0..31).map(|exponent| 1 << exponent).take_while(|&images| images < max_images);
    let candidates: Vec<(u32, u64)> =
        powers.chain([max_images]).map(|images| (images, clocks(plan, info, images) / u64::from(images))).collect();
    let best = candidates.iter().map(|&(_, clocks)| clocks).min().unwrap_or(0);
    let is_good = |&&(_, clocks): &&(u32, u64)| clocks <= best + best * SLACK_PERCENT / 100;
    candidates.iter().find(is_good).map_or(max_images, |&(images, _)| images)
}

/// The estimated clocks of one turn: for each step the longer of its arithmetic and its memory.
fn clocks(plan: &NetworkPlan, info: &DeviceInfo, images: u32) -> u64 {
    let num_sms = u64::from(info.num_sms.max(1));
    let mut cache = Cache { l2_bytes: info.l2_bytes, touched_bytes: 0, last_touched: vec![None; plan.values.len()] };
    let mut clocks = 0;
    for step in &plan.steps {
        let bytes = |value: ValueId| {
            let shape = plan.values[value.0];
            (shape.height * shape.width * shape.channels * 2) as u64 * u64::from(images)
        };
        let mut memory_bytes = weight_bytes(step);
        for value in [Some(step.input.value), step.residual].into_iter().flatten() {
            memory_bytes += cache.read(value, bytes(value));
        }
        let mut l2_bytes = memory_bytes;
        for output in &step.outputs {
            l2_bytes += bytes(output.slice.value);
            cache.write(output.slice.value, bytes(output.slice.value));
        }
        let memory = memory_bytes / (MEMORY_BYTES_PER_CLOCK * num_sms) + l2_bytes / (L2_BYTES_PER_CLOCK * num_sms);
        clocks += LAUNCH_CLOCKS + memory.max(arithmetic_clocks(step, info, images));
    }
    clocks
}

fn weight_bytes(step: &NetworkStep) -> u64 {
    match &step.operation {
        Operation::Convolve(convolution) => convolution.weights.len_bytes as u64,
        _ => 0,
    }
}

fn arithmetic_clocks(step: &NetworkStep, info: &DeviceInfo, images: u32) -> u64 {
    let Operation::Convolve(convolution) = &step.operation else { return 0 };
    let rows = images.saturating_mul(convolution.windows.0 * convolution.windows.1);
    let (columns, phases) = (convolution.num_columns, convolution.num_phases());
    let tile = ConvolveTile::choose(rows, columns, phases, info.num_sms);
    tile.time(rows, columns, phases, info.num_sms) * u64::from(convolution.depth) / MACS_PER_CLOCK
}

/// What the second-level cache still holds: a value, if everything touched since, itself included, fits.
struct Cache {
    l2_bytes: u64,
    touched_bytes: u64,
    /// Per value, the bytes touched before it was.
    last_touched: Vec<Option<u64>>,
}

impl Cache {
    /// The bytes that must come from device memory.
    fn read(&mut self, value: ValueId, bytes: u64) -> u64 {
        let is_held = self.last_touched[value.0].is_some_and(|at| self.touched_bytes - at <= self.l2_bytes);
        self.write(value, bytes);
        if is_held { 0 } else { bytes }
    }

    fn write(&mut self, value: ValueId, bytes: u64) {
        self.last_touched[value.0] = Some(self.touched_bytes);
        self.touched_bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Backend;
    use crate::network::{Config, InputNorm, Variant, Weights};

    fn gpu(num_sms: u32, l2_bytes: u64) -> DeviceInfo {
        DeviceInfo {
            backend: Backend::Cuda,
            name: "a GPU".to_owned(),
            compute_capability: (9, 0),
            num_sms,
            sm_clock_mhz: None,
            max_smem_bytes: 227 << 10,
            l2_bytes,
            memory_bytes: 80 << 30,
            pci_bus_id: None,
        }
    }

    fn plan() -> NetworkPlan {
        let config = Config { width: 0.5, ..Config::new(Variant::LateConcatRfaThinner) };
        NetworkPlan::new(&Weights::random(config, 1).unwrap().inference(InputNorm::Fold)).unwrap()
    }

    #[test]
    fn a_large_device_takes_more_images_and_a_small_batch_all_of_its_own() {
        let plan = plan();
        let on_large = images_per_turn(&plan, &gpu(132, 50 << 20), 256);
        let on_small = images_per_turn(&plan, &gpu(1, 50 << 20), 256);
        assert!(on_small < on_large && on_large >= 16, "{on_small} and {on_large}");
        assert_eq!(images_per_turn(&plan, &gpu(132, 50 << 20), 1), 1);
        assert_eq!(images_per_turn(&plan, &gpu(132, 50 << 20), 3), 3);
    }

    #[test]
    fn what_fits_the_cache_is_read_from_it() {
        let mut cache = Cache { l2_bytes: 100, touched_bytes: 0, last_touched: vec![None; 3] };
        cache.write(ValueId(0), 60);
        assert_eq!(cache.read(ValueId(0), 60), 0);
        cache.write(ValueId(1), 50);
        assert_eq!(cache.read(ValueId(0), 60), 60, "the other one has taken its place");
        assert_eq!(cache.read(ValueId(2), 10), 10, "nobody has written it here");
    }
}
