//! The loop: epochs of steps, each followed by a look at images that were put aside.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

use super::augment::Augmentation;
use super::checkpoint::{self, Progress};
use super::data::{Batch, Examples, Showing, Views, permutation};
use super::optimizer::{Averages, Sgd};
use super::schedule::{Schedule, side_of_epoch};
use crate::error::{Error, ErrorKind, Result};
use crate::jpeg::Limits;
use crate::network::{Config, Metadata, Weights};
use crate::resample::Transform;
use crate::synth::Random;
use crate::tensor::Tensor as HostTensor;
use crate::torch::{Arithmetic, Device, Mode, TorchNetwork, weights_of};

/// The sets of tensors in a checkpoint.
const SETS: [&str; 3] = ["network", "velocity", "average"];

/// What a run is to do. A run can go on with the settings that it began with; only [`epochs`](Self::epochs), which the schedule follows,
/// [`is_mixed`](Self::is_mixed), and [`transform`](Self::transform), which nothing is learned with, may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The network; its input size is the side of the last epochs' images.
    pub config: Config,
    /// How images are prepared when the network is asked: goes into the weights.
    pub transform: Transform,
    /// Names of the classes, or none.
    pub class_names: Vec<String>,
    /// Everything random follows from it.
    pub seed: u64,
    /// How often every image is shown.
    pub epochs: u32,
    /// Images in a step.
    pub batch_size: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Epochs in which it rises to that.
    pub warmup_epochs: f64,
    /// Of stochastic gradient descent.
    pub momentum: f64,
    /// Of convolutions and the classifier.
    pub weight_decay: f64,
    /// Share of the truth that is spread over all classes.
    pub label_smoothing: f64,
    /// Decay of the averages, per step.
    pub average_decay: f64,
    /// Side of the first epochs' images.
    pub first_side: u32,
    /// Smallest share of an image that is shown.
    pub min_area: f64,
    /// Largest change of brightness, contrast and colour.
    pub jitter: f32,
    /// Convolutions in bfloat16.
    pub is_mixed: bool,
}

impl Settings {
    /// A recipe for small sets of images.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            transform: Metadata::new(&config).transform,
            class_names: Vec::new(),
            seed: 0,
            epochs: 30,
            batch_size: 64,
            learning_rate: 0.1,
            warmup_epochs: 2.0,
            momentum: 0.9,
            weight_decay: 2e-4,
            label_smoothing: 0.1,
            average_decay: 0.998,
            first_side: config.input_size.0,
            min_area: 0.25,
            jitter: 0.2,
            is_mixed: false,
        }
    }

    fn arithmetic(&self) -> Arithmetic {
        if self.is_mixed { Arithmetic::Bf16 } else { Arithmetic::F32 }
    }

    fn check(&self) -> Result<()> {
        let usage = |message: &str| Err(Error::new(ErrorKind::Usage, message));
        self.config.check()?;
        self.transform.validate()?;
        let side = self.config.input_size.0;
        if self.config.input_size.1 != side {
            return usage("training wants square images");
        }
        if self.first_side > side || self.first_side < 32 || !self.first_side.is_multiple_of(16) {
            return usage("the first images' side must be a multiple of 16, from 32 to the side of the last ones");
        }
        if self.batch_size < 2 || self.epochs == 0 {
            return usage("training wants batches of two images or more, and an epoch");
        }
        let is_view_possible = self.min_area > 0.0 && self.min_area <= 1.0 && (0.0..1.0).contains(&self.jitter);
        if !is_view_possible {
            return usage("views show a share of an image in (0, 1], and jitter is in [0, 1)");
        }
        let shares = [self.momentum, self.average_decay, self.label_smoothing];
        if !shares.iter().all(|share| (0.0..1.0).contains(share)) {
            return usage("momentum, the averages' decay and label smoothing are in [0, 1)");
        }
        let rates = [self.learning_rate, self.warmup_epochs, self.weight_decay];
        if !rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0) {
            return usage("learning rate, warm-up and weight decay are numbers from 0 on");
        }
        Ok(())
    }

    fn schedule(&self, steps_per_epoch: u64) -> Schedule {
        Schedule {
            peak: self.learning_rate,
            warmup_steps: (self.warmup_epochs * steps_per_epoch as f64) as u64,
            total_steps: steps_per_epoch * u64::from(self.epochs),
        }
    }
}

/// How often a network was right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Images that were looked at.
    pub images: u64,
    /// Share whose most likely class was theirs.
    pub top1: f64,
    /// Share whose class was among the five most likely ones.
    pub top5: f64,
}

/// What an epoch has given. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: u32,
    /// Side of its images.
    pub side: u32,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Mean of the loss over its steps, smoothed labels and augmented views included.
    pub loss: f64,
    /// Share of its views that were classified rightly while it learned.
    pub train_top1: f64,
    /// The averaged network on the images put aside; none without such images.
    pub validation: Option<Accuracy>,
    /// Time that learning took, validation not included.
    pub seconds: f64,
    /// Views learned from per second.
    pub images_per_second: f64,
    /// Share of that time in which libtorch waited for data.
    pub waiting_share: f64,
}

/// A network that learns.
#[derive(Debug)]
pub struct Trainer {
    settings: Settings,
    network: TorchNetwork,
    sgd: Sgd,
    averages: Averages,
    pool: rayon::ThreadPool,
    num_epochs_done: u32,
    step: u64,
    history: Vec<EpochReport>,
}

impl Trainer {
    /// A network that has learned nothing yet: convolutions after He et al., batch norms that do nothing, residual branches that begin at
    /// zero. `pool` makes the data.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for settings that make no sense; what libtorch says.
    pub fn new(settings: Settings, device: Device, pool: rayon::ThreadPool) -> Result<Self> {
        settings.check()?;
        let network =
            TorchNetwork::new(&initial_weights(settings.config, settings.seed)?, device, settings.arithmetic())?;
        let averages = Averages::new(&network, settings.average_decay)?;
        let sgd = Sgd::new(settings.momentum, settings.weight_decay);
        Ok(Self { settings, network, sgd, averages, pool, num_epochs_done: 0, step: 0, history: Vec::new() })
    }

    /// Goes on where [`save`](Self::save) was called: on the same device, with the same number of threads, the rest of the run is the same, bit
    /// for bit, as if it had never stopped.
    ///
    /// # Errors
    /// Those of `new`; [`ErrorKind::Usage`] for other settings than the run began with; [`ErrorKind::Io`] and [`ErrorKind::Weights`] for
    /// a file that is no checkpoint.
    pub fn resume(settings: Settings, device: Device, pool: rayon::ThreadPool, path: &Path) -> Result<Self> {
        // On the host first: whether the device can be used is said by `new`.
        let (progress, sets) = checkpoint::load(path, SETS)?;
        let same = Settings { epochs: settings.epochs, is_mixed: settings.is_mixed, ..progress.settings };
        if same != settings {
            let message =
                "the run was begun with other settings: give the same ones, but for the epochs, or begin anew";
            return Err(Error::new(ErrorKind::Usage, message).with_path(path));
        }
        let mut trainer = Self::new(settings, device, pool)?;
        let [tensors, velocities, averages] = checkpoint::to_device(sets, device)?;
        trainer.network.set_tensors(tensors).map_err(|e| e.with_path(path))?;
        trainer.sgd.set_velocities(velocities);
        trainer.averages.set_tensors(averages).map_err(|e| e.with_path(path))?;
        let Progress { num_epochs_done, step, history, .. } = progress;
        Ok(Self { num_epochs_done, step, history, ..trainer })
    }

    /// Writes all that is needed to go on.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; what libtorch says.
    pub fn save(&self, path: &Path) -> Result<()> {
        let progress = Progress {
            settings: self.settings.clone(),
            num_epochs_done: self.num_epochs_done,
            step: self.step,
            history: self.history.clone(),
        };
        let sets = [self.network.tensors(), self.sgd.velocities(), self.averages.tensors()];
        checkpoint::save(path, &progress, &[(SETS[0], sets[0]), (SETS[1], sets[1]), (SETS[2], sets[2])])
    }

    /// What it is to do.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Epochs that are complete.
    pub fn num_epochs_done(&self) -> u32 {
        self.num_epochs_done
    }

    /// The reports of all complete epochs.
    pub fn history(&self) -> &[EpochReport] {
        &self.history
    }

    /// The averaged network, ready to answer.
    ///
    /// # Errors
    /// [`ErrorKind::Weights`] where training has made what is no finite number.
    pub fn weights(&self, provenance: &str) -> Result<Weights> {
        let Settings { config, transform, class_names, .. } = &self.settings;
        let metadata =
            Metadata { class_names: class_names.clone(), provenance: provenance.to_owned(), ..Metadata::new(config) };
        weights_of(self.network.network(), self.averages.tensors(), metadata)?.with_transform(*transform)
    }

    /// Learns from every image once, then looks at those put aside. An incomplete last batch is not learned from. `progress` is called with
    /// the number of images after each step.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when there are fewer images than a batch holds, or one is too small for a view; what libtorch says;
    /// [`ErrorKind::Weights`] when the loss is no number.
    pub fn run_epoch(
        &mut self,
        examples: &Examples,
        aside: &Examples,
        mut progress: impl FnMut(u64),
    ) -> Result<EpochReport> {
        let steps_per_epoch = examples.len() / self.settings.batch_size;
        if steps_per_epoch == 0 {
            let message = format!("{} images are fewer than a batch of {}", examples.len(), self.settings.batch_size);
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let schedule = self.settings.schedule(steps_per_epoch as u64);
        let showing = self.showing(examples, steps_per_epoch);
        let (start, mut sums) = (Instant::now(), Sums::default());
        let pool = &self.pool;
        let (network, sgd, averages, step) = (&self.network, &mut self.sgd, &mut self.averages, &mut self.step);
        let smoothing = self.settings.label_smoothing;
        let waited = showing.for_each_batch(pool, |batch| {
            sums.add(learn(network, &batch, smoothing)?);
            sgd.step(network, schedule.learning_rate(*step))?;
            averages.update(network, *step)?;
            *step += 1;
            progress(batch.labels.len() as u64);
            Ok(())
        })?;
        let elapsed = start.elapsed();
        let validation = if aside.is_empty() { None } else { Some(self.evaluate(aside)?) };
        self.num_epochs_done += 1;
        let learning_rate = schedule.learning_rate(self.step - 1);
        let report = sums.report(self.num_epochs_done, showing.side, learning_rate, validation, elapsed, waited);
        self.history.push(report.clone());
        Ok(report)
    }

    fn showing<'a>(&self, examples: &'a Examples, steps_per_epoch: usize) -> Showing<'a> {
        let settings = &self.settings;
        let epoch_seed = Random::new(settings.seed.wrapping_mul(1 << 20) ^ u64::from(self.num_epochs_done)).bits();
        let mut order = permutation(examples.len(), &mut Random::new(epoch_seed));
        order.truncate(steps_per_epoch * settings.batch_size);
        let augmentation = Augmentation { min_area: settings.min_area, jitter: settings.jitter };
        let last_side = settings.config.input_size.0;
        Showing {
            examples,
            order,
            batch_size: settings.batch_size,
            side: side_of_epoch(settings.first_side, last_side, self.num_epochs_done, settings.epochs),
            kind: settings.config.variant.input(),
            normalization: Metadata::new(&settings.config).normalization,
            views: Views::Drawn { augmentation, epoch_seed },
            limits: Limits::default(),
        }
    }

    /// How often the averaged network is right, on images prepared as when it is asked.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn evaluate(&self, examples: &Examples) -> Result<Accuracy> {
        let network = TorchNetwork::new(&self.weights("")?, self.network.device(), self.settings.arithmetic())?;
        let showing = Showing {
            examples,
            order: (0..examples.len()).collect(),
            batch_size: self.settings.batch_size,
            side: self.settings.transform.crop.0,
            kind: self.settings.config.variant.input(),
            normalization: Metadata::new(&self.settings.config).normalization,
            views: Views::Plain(self.settings.transform),
            limits: Limits::default(),
        };
        let (mut num_top1, mut num_top5) = (0.0, 0.0);
        showing.for_each_batch(&self.pool, |batch| {
            let (inputs, labels) = upload(&batch, network.device())?;
            let logits = network.forward(&inputs, Mode::Evaluate)?;
            num_top1 += num_right(&logits, &labels, 1)?;
            num_top5 += num_right(&logits, &labels, 5)?;
            Ok(())
        })?;
        let images = examples.len();
        let share = |num: f64| num / images.max(1) as f64;
        Ok(Accuracy { images: images as u64, top1: share(num_top1), top5: share(num_top5) })
    }
}

/// One step forwards and backwards: leaves the gradients, gives the loss and the number of right answers.
fn learn(network: &TorchNetwork, batch: &Batch, label_smoothing: f64) -> Result<Step> {
    let (inputs, labels) = upload(batch, network.device())?;
    let logits = network.forward(&inputs, Mode::Train)?;
    let loss = logits.f_cross_entropy_loss(&labels, None::<Tensor>, Reduction::Mean, -100, label_smoothing)?;
    loss.f_backward()?;
    let value = loss.f_double_value(&[])?;
    if !value.is_finite() {
        let message = "the loss is no number any more: learn more slowly (a smaller learning rate, a longer warm-up)";
        return Err(Error::new(ErrorKind::Weights, message));
    }
    Ok(Step { loss: value, num_right: num_right(&logits, &labels, 1)?, num_images: batch.labels.len() })
}

fn upload(batch: &Batch, device: Device) -> Result<(Vec<Tensor>, Tensor)> {
    let inputs = batch
        .inputs
        .iter()
        .map(|(data, shape)| Ok(Tensor::f_from_slice(data)?.f_view(&shape[..])?.f_to_device(device)?));
    let labels = Tensor::f_from_slice(&batch.labels)?.f_to_device(device)?;
    Ok((inputs.collect::<Result<_>>()?, labels))
}

/// Images whose label is among the `k` most likely classes.
fn num_right(logits: &Tensor, labels: &Tensor, k: i64) -> Result<f64> {
    let logits = logits.f_detach()?;
    let k = k.min(logits.size()[1]);
    let (_, classes) = logits.f_topk(k, 1, true, true)?;
    let is_right = classes.f_eq_tensor(&labels.f_unsqueeze(1)?)?;
    Ok(is_right.f_sum(Kind::Float)?.f_double_value(&[])?)
}

struct Step {
    loss: f64,
    num_right: f64,
    num_images: usize,
}

#[derive(Default)]
struct Sums {
    loss: f64,
    num_right: f64,
    num_steps: usize,
    num_images: usize,
}

impl Sums {
    fn add(&mut self, step: Step) {
        self.loss += step.loss;
        self.num_right += step.num_right;
        self.num_steps += 1;
        self.num_images += step.num_images;
    }

    fn report(
        &self,
        epoch: u32,
        side: u32,
        learning_rate: f64,
        validation: Option<Accuracy>,
        elapsed: Duration,
        waited: Duration,
    ) -> EpochReport {
        let seconds = elapsed.as_secs_f64();
        EpochReport {
            epoch,
            side,
            learning_rate,
            loss: self.loss / self.num_steps as f64,
            train_top1: self.num_right / self.num_images as f64,
            validation,
            seconds,
            images_per_second: self.num_images as f64 / seconds,
            waiting_share: waited.as_secs_f64() / seconds,
        }
    }
}

/// [`Weights::random`], whose batch norms are made for tests, with batch norms that learning begins with: scale 1 and shift 0, but scale 0 at
/// the end of each residual branch (Goyal et al. 2017), so that the network begins shallow.
fn initial_weights(config: Config, seed: u64) -> Result<Weights> {
    let random = Weights::random(config, seed)?;
    let mut tensors = random.tensors().clone();
    for (name, tensor) in &mut tensors {
        let Some((layer, part)) = name.rsplit_once('.') else { continue };
        let constant = match part {
            _ if !layer.starts_with("bn") => continue,
            "weight" if layer.ends_with("branch2c") => 0.0,
            "weight" | "running_var" => 1.0,
            _ => 0.0,
        };
        *tensor = HostTensor::from_vec(&tensor.shape, vec![constant; tensor.data.len()]);
    }
    Weights::new(random.network().clone(), random.metadata().clone(), tensors)
}
