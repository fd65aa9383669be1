//! What became of an image.

use crate::error::ImageError;
use crate::jpeg::{DecodeReport, Status};

/// One class and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Index of the class, from 0.
    pub class: usize,
    /// Softmax of the logits at `class`.
    pub score: f32,
}

/// What became of one image. Images that failed before their frame was known have no MCUs.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// As given to [`Batch::push`](super::Batch::push).
    pub tag: u64,
    /// Whether it could be used.
    pub status: Status,
    /// Why it is not complete.
    pub reason: Option<ImageError>,
    /// The first MCU (of the frame, raster order) that is not to be trusted.
    pub first_untrusted_mcu: Option<u32>,
    /// How many MCUs are not to be trusted.
    pub untrusted_mcus: u32,
    /// MCUs of the frame.
    pub mcus: u32,
    /// Scans that were received to their end.
    pub scans_complete: u32,
    /// Dequantised coefficients that were limited to +-4096 on their way to the network.
    pub saturated: u64,
    /// One per class; empty where the network did not run.
    pub logits: Vec<f32>,
    /// The most likely classes, best first; empty where the network did not run.
    pub top: Vec<Prediction>,
}

impl Outcome {
    /// What decoding gave, before the network has run.
    pub(super) fn decoded(tag: u64, report: &DecodeReport) -> Self {
        Self {
            tag,
            status: report.status,
            reason: report.reason.clone(),
            first_untrusted_mcu: report.first_untrusted_mcu,
            untrusted_mcus: report.untrusted_mcus,
            mcus: report.mcus,
            scans_complete: report.scans_complete,
            saturated: 0,
            logits: Vec::new(),
            top: Vec::new(),
        }
    }

    /// The outcome of an image that gave nothing at all.
    pub fn failed(tag: u64, reason: ImageError) -> Self {
        Self::decoded(tag, &DecodeReport::failed(reason, 0))
    }

    /// Takes the network's answer; one that is not finite is a failure, never a score.
    pub(super) fn set_logits(&mut self, logits: &[f32], topk: usize) {
        if logits.iter().any(|logit| !logit.is_finite()) {
            self.status = Status::Failed;
            self.reason = Some(ImageError::NonFiniteLogit);
            return;
        }
        self.logits = logits.to_vec();
        self.top = top_predictions(logits, topk);
    }
}

/// The `topk` most likely classes, best first; of equals the lower class first.
fn top_predictions(logits: &[f32], topk: usize) -> Vec<Prediction> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |logit: f32| f64::from(logit - max).exp();
    let sum: f64 = logits.iter().map(|&logit| exp(logit)).sum();
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    classes.truncate(topk);
    classes.into_iter().map(|class| Prediction { class, score: (exp(logits[class]) / sum) as f32 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_the_softmax_best_first() {
        let top = top_predictions(&[0.0, 2f32.ln(), 0.0, 100f32.ln() - 100f32.ln()], 2);
        assert_eq!(top[0].class, 1);
        assert!((top[0].score - 0.4).abs() < 1e-6 && (top[1].score - 0.2).abs() < 1e-6, "{top:?}");
        assert_eq!(top[1].class, 0);
        assert_eq!(top_predictions(&[1000.0, 0.0], 5).len(), 2);
        assert_eq!(top_predictions(&[1000.0, 0.0], 1)[0].score, 1.0);
    }

    #[test]
    fn an_answer_that_is_not_finite_is_a_reason() {
        let mut outcome =
            Outcome { status: Status::Complete, reason: None, ..Outcome::failed(0, ImageError::Internal) };
        outcome.set_logits(&[0.0, f32::NAN], 5);
        assert_eq!((outcome.status, &outcome.reason), (Status::Failed, &Some(ImageError::NonFiniteLogit)));
        assert!(outcome.logits.is_empty() && outcome.top.is_empty());
    }
}
