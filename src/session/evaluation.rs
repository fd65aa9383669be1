//! How often a network is right.

use super::Outcome;

/// Counts of right and wrong answers, class by class. An image without an answer counts as a wrong one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    num_classes: usize,
    /// `[num_classes][num_classes]`: by true class, then by answer.
    confusion: Vec<u64>,
    /// `[num_classes]`: images without an answer.
    unanswered: Vec<u64>,
    num_top5: u64,
}

/// A share of images, and between which shares the true one lies with 95 % confidence (Wilson 1927), were the images drawn at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Images that count.
    pub count: u64,
    /// All images.
    pub total: u64,
    /// `count / total`; 0 of no images.
    pub share: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Share {
    /// `count` of `total`.
    pub fn new(count: u64, total: u64) -> Self {
        const Z: f64 = 1.959_964; // the normal distribution's 97.5 % quantile
        if total == 0 {
            return Self { count, total, share: 0.0, low: 0.0, high: 1.0 };
        }
        let n = total as f64;
        let share = count as f64 / n;
        let scale = 1.0 / (1.0 + Z * Z / n);
        let centre = scale * (share + Z * Z / (2.0 * n));
        let half_width = scale * Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        Self { count, total, share, low: (centre - half_width).max(0.0), high: (centre + half_width).min(1.0) }
    }
}

impl Evaluation {
    /// Of no images yet.
    pub fn new(num_classes: usize) -> Self {
        let zeros = |len| vec![0; len];
        Self { num_classes, confusion: zeros(num_classes * num_classes), unanswered: zeros(num_classes), num_top5: 0 }
    }

    /// Counts one image of the class `label`. False, and nothing is counted, if there is no such class.
    pub fn add(&mut self, label: usize, outcome: &Outcome) -> bool {
        if label >= self.num_classes {
            return false;
        }
        match answer(&outcome.logits) {
            Some(class) if class < self.num_classes => {
                self.confusion[label * self.num_classes + class] += 1;
                self.num_top5 += u64::from(rank(&outcome.logits, label) < 5);
            }
            _ => self.unanswered[label] += 1,
        }
        true
    }

    /// Classes.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// Images of the class `label`.
    pub fn num_images_of(&self, label: usize) -> u64 {
        let answers = &self.confusion[label * self.num_classes..][..self.num_classes];
        answers.iter().sum::<u64>() + self.unanswered[label]
    }

    /// All images.
    pub fn num_images(&self) -> u64 {
        self.confusion.iter().sum::<u64>() + self.num_unanswered()
    }

    /// Images without an answer.
    pub fn num_unanswered(&self) -> u64 {
        self.unanswered.iter().sum()
    }

    /// Images of the class `label` that were taken for `class`.
    pub fn confusion(&self, label: usize, class: usize) -> u64 {
        self.confusion[label * self.num_classes + class]
    }

    /// Images whose most likely class is the true one.
    pub fn top1(&self) -> Share {
        let num_right = (0..self.num_classes).map(|class| self.confusion(class, class)).sum();
        Share::new(num_right, self.num_images())
    }

    /// Images whose true class is among the five most likely ones.
    pub fn top5(&self) -> Share {
        Share::new(self.num_top5, self.num_images())
    }

    /// As [`top1`](Self::top1), of one class's images.
    pub fn top1_of(&self, label: usize) -> Share {
        Share::new(self.confusion(label, label), self.num_images_of(label))
    }

    /// The class that images of the class `label` are most often taken for, wrongly, and how often.
    pub fn most_confused(&self, label: usize) -> Option<(usize, u64)> {
        let wrong = (0..self.num_classes).filter(|&class| class != label);
        let counted = wrong.map(|class| (class, self.confusion(label, class))).filter(|&(_, count)| count > 0);
        counted.min_by_key(|&(class, count)| (std::cmp::Reverse(count), class))
    }
}

/// The most likely class, of equals the lowest; none without logits.
fn answer(logits: &[f32]) -> Option<usize> {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    best.map(|(class, _)| class)
}

/// How many classes come before this one.
fn rank(logits: &[f32], class: usize) -> usize {
    let Some(&own) = logits.get(class) else { return usize::MAX };
    let is_before = |other: usize, logit: f32| logit > own || (logit == own && other < class);
    logits.iter().enumerate().filter(|&(other, &logit)| is_before(other, logit)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ImageError;

    fn answered(logits: &[f32]) -> Outcome {
        Outcome { logits: logits.to_vec(), ..Outcome::failed(0, ImageError::Internal) }
    }

    #[test]
    fn answers_are_counted_by_class() {
        let mut evaluation = Evaluation::new(7);
        assert!(evaluation.add(0, &answered(&[7., 6., 5., 4., 3., 2., 1.])));
        assert!(evaluation.add(4, &answered(&[7., 6., 5., 4., 3., 2., 1.])), "fifth");
        assert!(evaluation.add(5, &answered(&[7., 6., 5., 4., 3., 2., 1.])), "sixth");
        assert!(evaluation.add(5, &answered(&[0., 1., 0., 0., 0., 1., 0.])), "of equals the lowest");
        assert!(evaluation.add(5, &Outcome::failed(0, ImageError::Internal)));
        assert!(!evaluation.add(7, &answered(&[0.; 7])));
        assert_eq!(evaluation.num_images(), 5);
        assert_eq!((evaluation.top1().count, evaluation.top5().count), (1, 3));
        assert_eq!((evaluation.num_images_of(5), evaluation.top1_of(5).count, evaluation.num_unanswered()), (3, 0, 1));
        assert_eq!((evaluation.confusion(5, 1), evaluation.confusion(5, 0)), (1, 1));
        assert_eq!((evaluation.most_confused(5), evaluation.most_confused(0)), (Some((0, 1)), None));
    }

    #[test]
    fn intervals_are_wilsons() {
        let share = Share::new(8, 10);
        assert!((share.low - 0.4902).abs() < 1e-4 && (share.high - 0.9433).abs() < 1e-4, "{share:?}");
        assert!(Share::new(0, 10).low < 1e-12 && Share::new(10, 10).high > 1.0 - 1e-12);
        assert_eq!((Share::new(0, 0).low, Share::new(0, 0).high), (0.0, 1.0));
    }
}
