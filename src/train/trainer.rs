//! The loop: epochs of steps, each followed by a look at images that were put aside.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

use super::augment::Augmentation;
use super::checkpoint::{self, Progress};
use super::data::{Batch, DataDigest, Examples, Showing, Views, permutation};
use super::optimizer::{Averages, Sgd};
use super::schedule::side_of_epoch;
use super::settings::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::network::{Config, Metadata, Weights};
use crate::synth::Random;
use crate::tensor::Tensor as HostTensor;
use crate::torch::{Device, Mode, TorchNetwork, weights_of};

/// The sets of tensors in a checkpoint.
const SETS: [&str; 3] = ["network", "velocity", "average"];

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
    /// What it has learned from so far.
    data: Option<DataDigest>,
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
        let (num_epochs_done, step, history, data) = (0, 0, Vec::new(), None);
        Ok(Self { settings, network, sgd, averages, pool, num_epochs_done, step, history, data })
    }

    /// Goes on where [`save`](Self::save) was called: on a CPU, with the same number of threads, the rest of the run is the same, bit for bit,
    /// as if it had never stopped. On a GPU the views, their order and the schedule are the same; whether libtorch's sums are is not known.
    ///
    /// # Errors
    /// Those of `new`; [`ErrorKind::Usage`] for other settings than the run began with; [`ErrorKind::Io`] and [`ErrorKind::Weights`] for
    /// a file that is no checkpoint.
    pub fn resume(settings: Settings, device: Device, pool: rayon::ThreadPool, path: &Path) -> Result<Self> {
        // On the host first: whether the device can be used is said by `new`.
        let (progress, sets) = checkpoint::load(path, SETS)?;
        let Settings { epochs, is_mixed, transform, .. } = settings;
        let same = Settings { epochs, is_mixed, transform, ..progress.settings };
        if same != settings {
            let message = "the run was begun with other settings: give the same ones, but for epochs, mixed and transform, or begin anew";
            return Err(Error::new(ErrorKind::Usage, message).with_path(path));
        }
        let mut trainer = Self::new(settings, device, pool)?;
        let [tensors, velocities, averages] = checkpoint::to_device(sets, device)?;
        trainer.network.set_tensors(tensors).map_err(|e| e.with_path(path))?;
        trainer.sgd.set_velocities(velocities);
        trainer.averages.set_tensors(averages).map_err(|e| e.with_path(path))?;
        let Progress { num_epochs_done, step, history, data, .. } = progress;
        Ok(Self { num_epochs_done, step, history, data, ..trainer })
    }

    /// Writes all that is needed to go on.
    ///
    /// # Errors
    /// [`ErrorKind::Io`]; what libtorch says.
    pub fn save(&self, path: &Path) -> Result<()> {
        let progress = Progress {
            settings: self.settings.clone(),
            data: self.data.clone(),
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

    /// Holds the images to those of the epochs before: without the same ones, a run that goes on is another run.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for other images, in number, content, order or class, or others put aside.
    pub fn check_data(&self, examples: &Examples, aside: &Examples) -> Result<()> {
        let Some(earlier) = &self.data else { return Ok(()) };
        let data = DataDigest::of(examples, aside);
        if data == *earlier {
            return Ok(());
        }
        let message = format!(
            "the run was begun with other images ({earlier}; now {data}): give the same images in the same order, the same limits and the \
             same share for validation, or begin anew"
        );
        Err(Error::new(ErrorKind::Usage, message))
    }

    /// Learns from every image once, then looks at those put aside. An incomplete last batch is not learned from. `progress` is called with
    /// the number of images after each step.
    ///
    /// # Errors
    /// Those of [`check_data`](Self::check_data); [`ErrorKind::Usage`] when there are fewer images than a batch holds; what libtorch says;
    /// [`ErrorKind::Weights`] when the loss is no number. After an error the network is in the middle of an epoch: go on from a checkpoint.
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
        self.check_data(examples, aside)?;
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
        self.data.get_or_insert_with(|| DataDigest::of(examples, aside));
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
