//! Labelled images in memory, and batches of views made from them while the network learns.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::augment::{Augmentation, Row, View, shown_size, write_view};
use crate::cpu::{Decoder, decode};
use crate::error::{Error, ErrorKind, Result};
use crate::jpeg::{Limits, Status};
use crate::resample::{Normalization, Transform};
use crate::synth::Random;
use crate::tensor::InputKind;

/// Batches that are made ahead.
const NUM_AHEAD: usize = 3;

/// A file and its class.
#[derive(Clone, Debug)]
pub struct Example {
    /// The whole JPEG file.
    pub bytes: Vec<u8>,
    /// Its class, from 0.
    pub label: usize,
}

/// Why an image cannot be learned from.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Its place among the images that were offered.
    pub idx: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Images to learn from: every one has been decoded once, completely. They stay compressed, and are decoded again for each view.
#[derive(Debug, Default)]
pub struct Examples(Vec<Example>);

impl Examples {
    /// Tries every image; what cannot be decoded completely is left out and told. On the threads of the caller's rayon pool.
    pub fn new(offered: Vec<Example>, num_classes: usize, limits: &Limits) -> (Self, Vec<Rejected>) {
        let reasons: Vec<Option<String>> =
            offered.par_iter().map(|example| reason_against(example, num_classes, limits)).collect();
        let mut rejected = Vec::new();
        let mut accepted = Vec::new();
        for (idx, (example, reason)) in offered.into_iter().zip(reasons).enumerate() {
            match reason {
                Some(reason) => rejected.push(Rejected { idx, reason }),
                None => accepted.push(example),
            }
        }
        (Self(accepted), rejected)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a share of them aside, by chance but the same ones for the same seed: the rest, and those put aside.
    pub fn split(self, share: f64, seed: u64) -> (Self, Self) {
        let num_aside = (self.len() as f64 * share.clamp(0.0, 1.0)).round() as usize;
        let mut is_aside = vec![false; self.len()];
        for idx in permutation(self.len(), &mut Random::new(seed)).into_iter().take(num_aside) {
            is_aside[idx] = true;
        }
        let (mut rest, mut aside) = (Vec::new(), Vec::new());
        for (example, is_aside) in self.0.into_iter().zip(is_aside) {
            if is_aside { aside.push(example) } else { rest.push(example) }
        }
        (Self(rest), Self(aside))
    }
}

fn reason_against(example: &Example, num_classes: usize, limits: &Limits) -> Option<String> {
    if example.label >= num_classes {
        return Some(format!("its class is {}, and there are {num_classes}", example.label));
    }
    let decoded = decode(&example.bytes, limits);
    match (decoded.report.status, decoded.report.reason) {
        (Status::Complete, _) => None,
        (_, Some(reason)) => Some(reason.to_string()),
        (_, None) => Some("it is not complete".into()),
    }
}

/// 0 to `len - 1` in random order (Fisher and Yates).
pub(super) fn permutation(len: usize, random: &mut Random) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for end in (2..=len).rev() {
        order.swap(end - 1, random.below(end as u32) as usize);
    }
    order
}

/// A batch as the network reads it.
pub(super) struct Batch {
    /// One per input: `[N, H, W, C]`.
    pub(super) inputs: Vec<(Vec<f32>, [i64; 4])>,
    pub(super) labels: Vec<i64>,
}

/// How the images of one epoch are shown.
pub(super) struct Showing<'a> {
    pub(super) examples: &'a Examples,
    /// Indices of the examples, in the order they are shown.
    pub(super) order: Vec<usize>,
    pub(super) batch_size: usize,
    pub(super) side: u32,
    pub(super) kind: InputKind,
    pub(super) normalization: Normalization,
    pub(super) views: Views,
    pub(super) limits: Limits,
}

/// Which view of an image is shown.
pub(super) enum Views {
    /// Drawn by chance; the chance is that of the image in this epoch.
    Drawn { augmentation: Augmentation, epoch_seed: u64 },
    /// As when the network is asked.
    Plain(Transform),
}

impl Showing<'_> {
    fn batch(&self, range: Range<usize>) -> Result<Batch> {
        let side = self.side as usize;
        let (first, second) = match self.kind {
            InputKind::Blocks => ([side / 8, side / 8, 64], [side / 16, side / 16, 128]),
            InputKind::Rgb => ([side, side, 3], [0, 0, 0]),
        };
        let indices = &self.order[range];
        let len = |shape: [usize; 3]| shape.iter().product::<usize>();
        let mut first_rows = vec![0.0; indices.len() * len(first)];
        let mut second_rows = vec![0.0; indices.len() * len(second)];
        // Slices of nothing where there is no second input.
        let mut seconds: Vec<&mut [f32]> = match len(second) {
            0 => indices.iter().map(|_| Default::default()).collect(),
            len => second_rows.chunks_exact_mut(len).collect(),
        };
        let rows = first_rows.par_chunks_exact_mut(len(first)).zip(seconds.par_iter_mut());
        rows.zip(indices).try_for_each_init(Decoder::default, |decoder, ((first, second), &idx)| {
            self.write_row(decoder, idx, Row { first, second })
        })?;
        drop(seconds);
        let shape = |[h, w, c]: [usize; 3]| [indices.len() as i64, h as i64, w as i64, c as i64];
        let mut inputs = vec![(first_rows, shape(first))];
        if self.kind == InputKind::Blocks {
            inputs.push((second_rows, shape(second)));
        }
        Ok(Batch { inputs, labels: indices.iter().map(|&idx| self.examples.0[idx].label as i64).collect() })
    }

    fn write_row(&self, decoder: &mut Decoder, idx: usize, row: Row<'_>) -> Result<()> {
        let decoded = decoder.decode(&self.examples.0[idx].bytes, &self.limits);
        let Some(coefficients) = decoded.coefficients else {
            return Err(Error::new(ErrorKind::Internal, "an image that was decoded before cannot be decoded again"));
        };
        let view = match &self.views {
            Views::Plain(transform) => View::plain(*transform),
            Views::Drawn { augmentation, epoch_seed } => {
                let mut random = Random::new(Random::new(epoch_seed ^ idx as u64).bits());
                augmentation.draw(&mut random, shown_size(&coefficients), self.side)
            }
        };
        let written = write_view(&view, &coefficients, self.kind, &self.normalization, row);
        decoder.recycle(coefficients);
        written.map_err(|reason| Error::new(ErrorKind::Usage, format!("image {idx}: {reason}")))
    }

    fn send_all(&self, to: &SyncSender<Result<Batch>>) {
        for start in (0..self.order.len()).step_by(self.batch_size) {
            let batch = self.batch(start..(start + self.batch_size).min(self.order.len()));
            let has_failed = batch.is_err();
            // A receiver that has gone wants no more.
            if to.send(batch).is_err() || has_failed {
                return;
            }
        }
    }

    /// Calls `take` with every batch, in order, while the next ones are made on the threads of `pool`. Returns how long it waited for them.
    pub(super) fn for_each_batch(
        &self,
        pool: &rayon::ThreadPool,
        mut take: impl FnMut(Batch) -> Result<()>,
    ) -> Result<Duration> {
        let (sender, receiver) = sync_channel(NUM_AHEAD);
        std::thread::scope(|scope| {
            scope.spawn(move || pool.install(|| self.send_all(&sender)));
            let mut waited = Duration::ZERO;
            while let Some(batch) = receive(&receiver, &mut waited) {
                take(batch?)?;
            }
            Ok(waited)
        })
    }
}

fn receive(from: &Receiver<Result<Batch>>, waited: &mut Duration) -> Option<Result<Batch>> {
    let start = Instant::now();
    let received = from.recv().ok();
    *waited += start.elapsed();
    received
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::photo;

    #[test]
    fn what_cannot_be_decoded_completely_is_left_out() {
        let sound = photo(1, 0);
        let cut = sound[..sound.len() / 2].to_vec();
        let offered = [(sound.clone(), 0), (cut, 0), (b"no JPEG".to_vec(), 0), (sound, 2)];
        let offered = offered.map(|(bytes, label)| Example { bytes, label }).to_vec();
        let (examples, rejected) = Examples::new(offered, 2, &Limits::default());
        assert_eq!(examples.len(), 1);
        assert_eq!(rejected.iter().map(|rejected| rejected.idx).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(rejected[2].reason.contains("class is 2"), "{rejected:?}");
    }

    #[test]
    fn a_split_is_complete_and_depends_on_the_seed_alone() {
        let examples = || Examples((0..20).map(|label| Example { bytes: Vec::new(), label }).collect());
        let labels = |examples: &Examples| examples.0.iter().map(|example| example.label).collect::<Vec<_>>();
        let (rest, aside) = examples().split(0.25, 1);
        assert_eq!((rest.len(), aside.len()), (15, 5));
        assert_eq!(labels(&examples().split(0.25, 1).1), labels(&aside));
        assert_ne!(labels(&examples().split(0.25, 2).1), labels(&aside));
        let mut all = [labels(&rest), labels(&aside)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn permutations_hold_everything_once() {
        for len in [0, 1, 2, 50] {
            let mut order = permutation(len, &mut Random::new(9));
            order.sort_unstable();
            assert_eq!(order, (0..len).collect::<Vec<_>>());
        }
    }
}
