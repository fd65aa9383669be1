//! How fast, and at which image size, a network learns at each step.

use std::f64::consts::PI;

/// The learning rate over a run: it rises linearly while the first steps warm up, then falls as half a cosine to zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The largest learning rate.
    pub peak: f64,
    /// Steps until it is reached.
    pub warmup_steps: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
}

impl Schedule {
    /// The learning rate of a step, counted from 0.
    pub fn learning_rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let num_cosine_steps = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let done = ((step - self.warmup_steps) as f64 / num_cosine_steps as f64).min(1.0);
        self.peak * 0.5 * (1.0 + (PI * done).cos())
    }
}

/// The side of the images of an epoch: it grows from `start` to `end`, in steps of 16 samples, over the first three quarters of the epochs, since
/// small images are cheap while there is most to learn (Howard 2018; Touvron et al. 2019 on why the last ones must be large).
pub(super) fn side_of_epoch(start: u32, end: u32, epoch: u32, num_epochs: u32) -> u32 {
    let grown = f64::from(epoch) / (0.75 * f64::from(num_epochs)).max(1.0);
    let side = f64::from(start) + f64::from(end.saturating_sub(start)) * grown.min(1.0);
    (side / 16.0) as u32 * 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_warms_up_then_falls_to_zero() {
        let schedule = Schedule { peak: 0.4, warmup_steps: 4, total_steps: 24 };
        let rates: Vec<f64> = (0..24).map(|step| schedule.learning_rate(step)).collect();
        assert_eq!(rates[..4], [0.1, 0.2, 0.30000000000000004, 0.4]);
        assert_eq!(rates[4], 0.4);
        assert!((rates[14] - 0.2).abs() < 1e-12, "half of the cosine is half of the peak");
        assert!(rates[4..].windows(2).all(|pair| pair[1] < pair[0]) && rates[23] > 0.0);
        assert_eq!(schedule.learning_rate(24), 0.0);
        assert_eq!(schedule.learning_rate(1000), 0.0);
    }

    #[test]
    fn a_run_without_warm_up_begins_at_the_peak() {
        assert_eq!(Schedule { peak: 1.0, warmup_steps: 0, total_steps: 10 }.learning_rate(0), 1.0);
    }

    #[test]
    fn images_grow_to_their_full_size() {
        let sides: Vec<u32> = (0..8).map(|epoch| side_of_epoch(96, 160, epoch, 8)).collect();
        assert_eq!(sides, [96, 96, 112, 128, 128, 144, 160, 160]);
        assert_eq!(side_of_epoch(128, 128, 0, 1), 128);
    }
}
