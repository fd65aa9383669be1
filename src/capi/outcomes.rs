//! Outcomes in C: plain structs whose pointers live as long as the outcomes of their batch.

use std::ffi::{CString, c_char};
use std::ptr::null;

use super::code::{DctflowCode, answer, c_string, usage};
use super::{free, handle};
use crate::jpeg::Status;
use crate::session::{Outcome, Prediction};

/// What became of the images of a batch, in the order in which they were pushed.
pub struct DctflowOutcomes(Vec<Owned>);

/// What became of one image.
#[repr(C)]
pub struct DctflowOutcome {
    /// As given to `dctflow_batch_push`.
    pub tag: u64,
    /// 0: complete; 1: partial; 2: failed.
    pub status: u32,
    /// MCUs of the frame; 0 if the image failed before it was known.
    pub mcus: u32,
    /// MCUs that are not to be trusted.
    pub untrusted_mcus: u32,
    /// Scans that were received to their end.
    pub scans_complete: u32,
    /// Why the image is not complete, as an identifier that stays the same, such as `truncated`; else NULL.
    pub reason: *const c_char,
    /// The same as a sentence; else NULL.
    pub message: *const c_char,
    /// One per class; NULL where the network did not run.
    pub logits: *const f32,
    /// The number of classes; 0 where the network did not run.
    pub num_logits: usize,
    /// The most likely classes, best first.
    pub top_classes: *const u32,
    /// Their probabilities.
    pub top_scores: *const f32,
    /// How many they are.
    pub num_top: usize,
}

/// An outcome, and what its C form points to.
struct Owned {
    outcome: Outcome,
    reason: Option<(CString, CString)>,
    classes: Vec<u32>,
    scores: Vec<f32>,
}

impl Owned {
    fn new(outcome: Outcome) -> Self {
        let reason = outcome.reason.as_ref().map(|reason| (c_string(reason.code()), c_string(&reason.to_string())));
        let (classes, scores) = outcome.top.iter().map(|&Prediction { class, score }| (class as u32, score)).unzip();
        Self { outcome, reason, classes, scores }
    }

    fn as_c(&self) -> DctflowOutcome {
        let Self { outcome, reason, classes, scores } = self;
        let logits = &outcome.logits;
        DctflowOutcome {
            tag: outcome.tag,
            status: match outcome.status {
                Status::Complete => 0,
                Status::Partial => 1,
                Status::Failed => 2,
            },
            mcus: outcome.mcus,
            untrusted_mcus: outcome.untrusted_mcus,
            scans_complete: outcome.scans_complete,
            reason: reason.as_ref().map_or(null(), |(code, _)| code.as_ptr()),
            message: reason.as_ref().map_or(null(), |(_, message)| message.as_ptr()),
            logits: if logits.is_empty() { null() } else { logits.as_ptr() },
            num_logits: logits.len(),
            top_classes: if classes.is_empty() { null() } else { classes.as_ptr() },
            top_scores: if scores.is_empty() { null() } else { scores.as_ptr() },
            num_top: classes.len(),
        }
    }
}

impl DctflowOutcomes {
    pub(super) fn into_handle(outcomes: Vec<Outcome>) -> *mut Self {
        Box::into_raw(Box::new(Self(outcomes.into_iter().map(Owned::new).collect())))
    }
}

/// How many images they are about; 0 for NULL.
///
/// # Safety
/// `outcomes` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_outcomes_len(outcomes: *const DctflowOutcomes) -> usize {
    // SAFETY: the caller's.
    unsafe { outcomes.as_ref() }.map_or(0, |outcomes| outcomes.0.len())
}

/// What became of the image `image_idx`. The pointers in it are valid until the outcomes are freed.
///
/// # Safety
/// `outcomes` is a handle; `outcome` points to a place for the struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_outcome(
    outcomes: *const DctflowOutcomes,
    image_idx: usize,
    outcome: *mut DctflowOutcome,
) -> DctflowCode {
    answer(|| {
        // SAFETY: the caller's.
        let outcomes = unsafe { handle(outcomes, "outcomes")? };
        let owned = outcomes
            .0
            .get(image_idx)
            .ok_or_else(|| usage(format!("there is no image {image_idx} in a batch of {}", outcomes.0.len())))?;
        if outcome.is_null() {
            return Err(usage("outcome is NULL"));
        }
        // SAFETY: the caller's.
        unsafe { outcome.write(owned.as_c()) };
        Ok(DctflowCode::Ok)
    })
}

/// Frees the outcomes of a batch.
///
/// # Safety
/// `outcomes` is NULL or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_outcomes_free(outcomes: *mut DctflowOutcomes) {
    // SAFETY: the caller's.
    unsafe { free(outcomes) }
}
