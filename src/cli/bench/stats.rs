//! What is said of samples: quantiles, spread, and whether two samples differ.

/// Samples in ascending order.
#[derive(Clone, Debug, Default)]
pub struct Sorted(Vec<f64>);

impl Sorted {
    pub fn new(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }

    /// The smallest sample that at least this share of all samples does not exceed (nearest rank); 0 if there are none.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).or(self.0.last()).copied().unwrap_or(0.0)
    }

    /// The median; `None` if there are no samples.
    pub fn median(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.quantile(0.5))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn mean(&self) -> f64 {
        mean(&self.0)
    }

    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// Coefficient of variation.
    pub fn cv(&self) -> f64 {
        cv(&self.0)
    }
}

/// The mean; 0 of no samples.
pub fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len().max(1) as f64
}

/// The unbiased variance; 0 of fewer than two samples.
fn variance(samples: &[f64]) -> f64 {
    let mean = mean(samples);
    samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / samples.len().saturating_sub(1).max(1) as f64
}

/// Coefficient of variation: standard deviation over mean; 0 of fewer than two samples.
pub fn cv(samples: &[f64]) -> f64 {
    let mean = mean(samples);
    if mean == 0.0 { 0.0 } else { variance(samples).sqrt() / mean }
}

/// A ratio of two means with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
}

/// How many times `a` is `b`, by Welch's t-test on logarithms: geometric means, unequal variances. `None` if a side has fewer than three
/// samples or one that is not positive.
pub fn welch_ratio(b: &[f64], a: &[f64]) -> Option<Ratio> {
    if a.len() < 3 || b.len() < 3 || a.iter().chain(b).any(|sample| !sample.is_finite() || *sample <= 0.0) {
        return None;
    }
    let logs = |samples: &[f64]| samples.iter().map(|sample| sample.ln()).collect::<Vec<f64>>();
    let (a, b) = (logs(a), logs(b));
    let difference = mean(&b) - mean(&a);
    let (a_part, b_part) = (variance(&a) / a.len() as f64, variance(&b) / b.len() as f64);
    let squared_error = a_part + b_part;
    let half_width = if squared_error == 0.0 {
        0.0
    } else {
        // Welch-Satterthwaite.
        let denominator = a_part.powi(2) / (a.len() - 1) as f64 + b_part.powi(2) / (b.len() - 1) as f64;
        student_t_975(squared_error.powi(2) / denominator) * squared_error.sqrt()
    };
    Some(Ratio { ratio: difference.exp(), low: (difference - half_width).exp(), high: (difference + half_width).exp() })
}

/// The 97.5 % quantile of Student's t: a table, linear in the inverse of the degrees of freedom.
fn student_t_975(degrees: f64) -> f64 {
    const TABLE: [(f64, f64); 15] = [
        (1.0, 12.706),
        (2.0, 4.303),
        (3.0, 3.182),
        (4.0, 2.776),
        (5.0, 2.571),
        (6.0, 2.447),
        (7.0, 2.365),
        (8.0, 2.306),
        (9.0, 2.262),
        (10.0, 2.228),
        (12.0, 2.179),
        (15.0, 2.131),
        (20.0, 2.086),
        (30.0, 2.042),
        (60.0, 2.000),
    ];
    const NORMAL: f64 = 1.960;
    let degrees = degrees.max(1.0);
    let Some(above) = TABLE.iter().position(|(d, _)| *d >= degrees) else {
        let (last_degrees, last) = TABLE[TABLE.len() - 1];
        return NORMAL + (last - NORMAL) * last_degrees / degrees;
    };
    let (d1, t1) = TABLE[above];
    let (d0, t0) = TABLE[above.saturating_sub(1)];
    if d0 == d1 { t1 } else { t0 + (t1 - t0) * (1.0 / d0 - 1.0 / degrees) / (1.0 / d0 - 1.0 / d1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let sorted = Sorted::new((1..=100).rev().map(f64::from).collect());
        assert_eq!([0.0, 0.5, 0.9, 0.99, 1.0].map(|q| sorted.quantile(q)), [1.0, 50.0, 90.0, 99.0, 100.0]);
        assert_eq!((sorted.max(), sorted.mean(), sorted.len()), (100.0, 50.5, 100));
        assert_eq!(Sorted::default().quantile(0.5), 0.0);
        assert_eq!(Sorted::default().median(), None);
        assert_eq!(Sorted::new(vec![7.0]).quantile(0.99), 7.0);
    }

    #[test]
    fn spread_is_relative_to_the_mean() {
        assert!((cv(&[9.0, 10.0, 11.0]) - 0.1).abs() < 1e-12);
        assert_eq!(cv(&[5.0]), 0.0);
        assert_eq!(cv(&[]), 0.0);
    }

    #[test]
    fn student_s_t_is_that_of_the_tables() {
        for (degrees, t) in [(1.0, 12.706), (2.0, 4.303), (11.0, 2.201), (25.0, 2.060), (40.0, 2.021), (120.0, 1.980)] {
            assert!((student_t_975(degrees) - t).abs() < 0.004, "{degrees}: {}", student_t_975(degrees));
        }
    }

    /// Of logarithms 1, 2, 3 and 3, 4, 5: difference 2, standard error sqrt(2/3), 4 degrees of freedom.
    #[test]
    fn welch_gives_the_interval_by_hand() {
        let [a, b] = [[1.0f64, 2.0, 3.0], [3.0, 4.0, 5.0]].map(|logs| logs.map(f64::exp));
        let Ratio { ratio, low, high } = welch_ratio(&b, &a).unwrap();
        let half_width = 2.776 * (2.0f64 / 3.0).sqrt();
        for (is, should_be) in [(ratio.ln(), 2.0), (low.ln(), 2.0 - half_width), (high.ln(), 2.0 + half_width)] {
            assert!((is - should_be).abs() < 1e-9, "{is} {should_be}");
        }
    }

    #[test]
    fn samples_that_say_nothing_give_no_ratio() {
        assert_eq!(welch_ratio(&[1.0, 1.0], &[1.0, 1.0, 1.0]), None);
        assert_eq!(welch_ratio(&[1.0, 1.0, 0.0], &[1.0, 1.0, 1.0]), None);
        assert_eq!(welch_ratio(&[2.0; 3], &[1.0; 3]).map(|r| (r.low, r.high)), Some((2.0, 2.0)));
    }
}
