//! Labelled images in memory, and batches of views made from them while the network learns.

use std::fmt;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::augment::{Augmentation, Row, View, plan_of, shown_size, write_view};
use super::settings::Settings;
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
    /// What errors call it.
    pub name: String,
    /// The whole JPEG file.
    pub bytes: Vec<u8>,
    /// Its class, from 0.
    pub label: usize,
}

/// Why an image cannot be learned from.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The image's name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Images to learn from: every one has been decoded once, completely, and has a way to the network's input. They stay compressed, and are decoded
/// again for each view.
#[derive(Debug, Default)]
pub struct Examples {
    images: Vec<Image>,
    limits: Limits,
}

#[derive(Debug)]
struct Image {
    example: Example,
    /// Of label and file.
    digest: [u8; 32],
}

/// Which images a run learns from and which it is validated with: a run that goes on must have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DataDigest {
    pub(super) num_examples: usize,
    pub(super) num_aside: usize,
    /// SHA-256 of both sets' files and labels, in order.
    sha256: String,
}

impl DataDigest {
    pub(super) fn of(examples: &Examples, aside: &Examples) -> Self {
        let mut hash = Sha256::new();
        for image in examples.images.iter().chain(&aside.images) {
            hash.update(image.digest);
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { num_examples: examples.len(), num_aside: aside.len(), sha256 }
    }
}

impl fmt::Display for DataDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.sha256.get(..8).unwrap_or_default();
        write!(f, "{} to learn from and {} put aside, digest {start}", self.num_examples, self.num_aside)
    }
}

impl Examples {
    /// Tries every image as a run with these settings shows it; what cannot be decoded completely, or has no way to the network's input, is left
    /// out and told. On the threads of the caller's rayon pool. The limits hold for every view, too.
    pub fn new(offered: Vec<Example>, settings: &Settings, limits: &Limits) -> (Self, Vec<Rejected>) {
        let reasons: Vec<Option<String>> =
            offered.par_iter().map(|example| reason_against(example, settings, limits)).collect();
        let mut rejected = Vec::new();
        let mut accepted = Vec::new();
        for (example, reason) in offered.into_iter().zip(reasons) {
            match reason {
                Some(reason) => rejected.push(Rejected { name: example.name, reason }),
                None => accepted.push(example),
            }
        }
        let images = accepted.into_par_iter().map(Image::new).collect();
        (Self { images, limits: limits.clone() }, rejected)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Puts a share of them aside, by chance but the same ones for the same seed: the rest, and those put aside.
    pub fn split(self, share: f64, seed: u64) -> (Self, Self) {
        let num_aside = (self.len() as f64 * share.clamp(0.0, 1.0)).round() as usize;
        let mut is_aside = vec![false; self.len()];
        for idx in permutation(self.len(), &mut Random::new(seed)).into_iter().take(num_aside) {
            is_aside[idx] = true;
        }
        let (mut rest, mut aside) = (Vec::new(), Vec::new());
        for (image, is_aside) in self.images.into_iter().zip(is_aside) {
            if is_aside { aside.push(image) } else { rest.push(image) }
        }
        let with = |images| Self { images, limits: self.limits.clone() };
        (with(rest), with(aside))
    }
}

impl Image {
    fn new(example: Example) -> Self {
        let mut hash = Sha256::new();
        hash.update((example.label as u64).to_le_bytes());
        hash.update(&example.bytes);
        Self { example, digest: hash.finalize().into() }
    }
}

fn reason_against(example: &Example, settings: &Settings, limits: &Limits) -> Option<String> {
    let num_classes = settings.config.classes;
    if example.label >= num_classes {
        return Some(format!("its class is {}, and there are {num_classes}", example.label));
    }
    let decoded = decode(&example.bytes, limits);
    let reason = match (decoded.report.status, decoded.report.reason, decoded.coefficients) {
        (Status::Complete, _, Some(coefficients)) => {
            let side = settings.config.input_size.0;
            let views = [View::whole(shown_size(&coefficients), side), View::plain(settings.transform)];
            let kind = settings.config.variant.input();
            return views.iter().find_map(|view| plan_of(view, &coefficients, kind).err()).map(|e| e.to_string());
        }
        (_, reason, _) => reason,
    };
    Some(reason.map_or("it is not complete".into(), |reason| reason.to_string()))
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
        Ok(Batch {
            inputs,
            labels: indices.iter().map(|&idx| self.examples.images[idx].example.label as i64).collect(),
        })
    }

    fn write_row(&self, decoder: &mut Decoder, idx: usize, row: Row<'_>) -> Result<()> {
        let Example { name, bytes, .. } = &self.examples.images[idx].example;
        let decoded = decoder.decode(bytes, &self.examples.limits);
        let Some(coefficients) = decoded.coefficients else {
            let message = format!("{name}: it was decoded before and cannot be decoded again");
            return Err(Error::new(ErrorKind::Internal, message));
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
        written.map_err(|reason| Error::new(ErrorKind::Usage, format!("{name}: {reason}")))
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
            // Gone when this closure is left, however it is left: the scope then waits for who sends, and nobody takes any more.
            let receiver = receiver;
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
    use crate::network::{Config, Variant};
    use crate::resample::Resize;
    use crate::synth::{Encoding, Interleaving, Layout, Picture, photo, sequential_scans};

    /// Of two classes, 64 x 64 samples.
    fn settings() -> Settings {
        let config = Config { classes: 2, input_size: (64, 64), ..Config::new(Variant::LateConcat) };
        Settings { transform: Transform { crop: (64, 64), ..Transform::default() }, ..Settings::new(config) }
    }

    fn example(name: &str, bytes: &[u8], label: usize) -> Example {
        Example { name: name.into(), bytes: bytes.to_vec(), label }
    }

    /// With so many sound images.
    fn examples(num_images: usize) -> Examples {
        let bytes = photo(1, 0);
        let offered = (0..num_images).map(|idx| example(&format!("image {idx}"), &bytes, idx % 2)).collect();
        Examples::new(offered, &settings(), &Limits::default()).0
    }

    #[test]
    fn what_cannot_be_learned_from_is_left_out_and_named() {
        let sound = photo(1, 0);
        let offered = vec![
            example("sound", &sound, 0),
            example("cut", &sound[..sound.len() / 2], 0),
            example("text", b"no JPEG", 0),
            example("of no class", &sound, 2),
        ];
        let (examples, rejected) = Examples::new(offered, &settings(), &Limits::default());
        assert_eq!(examples.len(), 1);
        assert_eq!(
            rejected.iter().map(|rejected| &rejected.name[..]).collect::<Vec<_>>(),
            ["cut", "text", "of no class"]
        );
        assert!(rejected[2].reason.contains("class is 2"), "{rejected:?}");
    }

    /// Two components have no meaning; an image smaller than the crop of a transform that does not resize has no view.
    #[test]
    fn what_has_no_way_to_the_network_is_left_out_before_learning() {
        let layout = Layout::baseline(&[(1, 1), (1, 1)], 80);
        let coefficients = Picture::photo(1, 40, 40, 2).coefficients(&layout);
        let scans = sequential_scans(&coefficients.frame, Interleaving::Interleaved);
        let two_components = Encoding::new(scans).encode(&coefficients).to_bytes();
        assert_eq!(decode(&two_components, &Limits::default()).report.status, Status::Complete);
        let offered = || vec![example("two", &two_components, 0), example("sound", &photo(1, 0), 1)];
        let (examples, rejected) = Examples::new(offered(), &settings(), &Limits::default());
        assert_eq!((examples.len(), &rejected[0].name[..]), (1, "two"));
        assert!(rejected[0].reason.contains("no way to the network's input"), "{rejected:?}");

        let huge = Transform { resize: Resize::None, crop: (8192, 8192), ..Transform::default() };
        let (examples, rejected) =
            Examples::new(offered(), &Settings { transform: huge, ..settings() }, &Limits::default());
        assert_eq!((examples.len(), rejected.len()), (0, 2));
    }

    fn showing(examples: &Examples) -> Showing<'_> {
        Showing {
            examples,
            order: (0..examples.len()).collect(),
            batch_size: 2,
            side: 64,
            kind: InputKind::Blocks,
            normalization: Normalization::default(),
            views: Views::Plain(settings().transform),
        }
    }

    /// Ends the test process's wait, whatever becomes of `work`.
    fn within_a_minute<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(work()));
        receiver.recv_timeout(Duration::from_secs(60)).expect("it hangs")
    }

    #[test]
    fn an_error_in_the_middle_ends_the_epoch() {
        let (result, num_taken) = within_a_minute(|| {
            let examples = examples(2 * (NUM_AHEAD + 5));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            let mut num_taken = 0;
            let result = showing(&examples).for_each_batch(&pool, |_| {
                num_taken += 1;
                // So that whoever makes batches is ahead, and waits.
                std::thread::sleep(Duration::from_millis(100));
                Err(Error::new(ErrorKind::Weights, "the test's"))
            });
            (result, num_taken)
        });
        assert_eq!((result.unwrap_err().kind(), num_taken), (ErrorKind::Weights, 1));
    }

    #[test]
    fn limits_hold_after_loading_too() {
        let mut examples = examples(2);
        examples.limits.max_side = 1;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let error = showing(&examples).for_each_batch(&pool, |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("image 0: "), "{error}");
    }

    #[test]
    fn a_split_is_complete_and_depends_on_the_seed_alone() {
        let examples = || {
            let image = |label: usize| Image::new(example("", b"", label));
            Examples { images: (0..20).map(image).collect(), ..Examples::default() }
        };
        let labels = |examples: &Examples| examples.images.iter().map(|image| image.example.label).collect::<Vec<_>>();
        let (rest, aside) = examples().split(0.25, 1);
        assert_eq!((rest.len(), aside.len()), (15, 5));
        assert_eq!(labels(&examples().split(0.25, 1).1), labels(&aside));
        assert_ne!(labels(&examples().split(0.25, 2).1), labels(&aside));
        let digest = |share, seed| {
            let (rest, aside) = examples().split(share, seed);
            DataDigest::of(&rest, &aside)
        };
        assert_eq!(digest(0.25, 1), digest(0.25, 1));
        assert_ne!(digest(0.25, 1), digest(0.25, 2));
        assert_ne!(digest(0.25, 1), digest(0.3, 1));
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
