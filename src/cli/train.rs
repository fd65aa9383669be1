//! `dctflow train`: weights from labelled images.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use dctflow::files::replace_file;
use dctflow::network::{Config, Precision, Variant};
use dctflow::resample::Transform;
use dctflow::sources::{Item, Sources};
use dctflow::torch::Device;
use dctflow::train::{EpochReport, Example, Examples, Settings, Trainer};
use dctflow::{Error, ErrorKind, Result};

use super::Done;
use super::args::{DEFAULT_NETWORK, thread_pool, threads_parser};
use super::chart::{Charts, Series};
use super::eval::{Labels, read_names};
use super::limits::LimitArgs;
use super::output::{Output, say};
use super::progress;

/// Train a network on labelled images, with libtorch
#[derive(Debug, ClapArgs)]
// A recipe in a script can be changed by what stands after it.
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct Args {
    /// Labelled images, as for eval: folders of classes, tar shards, Parquet tables, @LIST files.
    #[arg(required = true, value_name = "PATHS")]
    paths: Vec<PathBuf>,
    /// A file with the names of the classes, one per line.
    #[arg(long, value_name = "FILE")]
    classes: PathBuf,
    /// Where weights, checkpoint, log and plot go.
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,
    /// Go on from the checkpoint in FOLDER, with the same images and settings but for --epochs, --mixed and --transform. After the last epoch it
    /// only validates, and writes the weights. On a CPU, with as many threads, it goes on bit for bit as if it had not stopped.
    #[arg(long)]
    resume: bool,
    /// The network.
    #[arg(long, value_name = "NAME", default_value_t = DEFAULT_NETWORK)]
    network: Variant,
    /// Width factor: scales the channels of every layer.
    #[arg(long, value_name = "W", default_value_t = 1.0)]
    width: f64,
    /// Side of the images that are learned from, in samples: a multiple of 16.
    #[arg(long, value_name = "N", default_value_t = 224)]
    size: u32,
    /// Side of the first epochs' images; it grows to --size [default: --size].
    #[arg(long, value_name = "N")]
    first_size: Option<u32>,
    /// How images are prepared when the network is asked [default: short side 8/7 of --size, centre crop --size].
    #[arg(long, value_name = "T")]
    transform: Option<Transform>,
    /// How often every image is shown.
    #[arg(long, value_name = "N", default_value_t = 30)]
    epochs: u32,
    /// Images in a step.
    #[arg(long, value_name = "B", default_value_t = 64)]
    batch: usize,
    /// Largest learning rate.
    #[arg(long, value_name = "R", default_value_t = 0.1)]
    learning_rate: f64,
    /// Epochs in which the learning rate rises to that; afterwards it falls as half a cosine.
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    warmup_epochs: f64,
    /// Momentum (Nesterov).
    #[arg(long, value_name = "M", default_value_t = 0.9)]
    momentum: f64,
    /// Weight decay, of convolutions and the classifier.
    #[arg(long, value_name = "D", default_value_t = 2e-4)]
    weight_decay: f64,
    /// Share of the truth that is spread over all classes.
    #[arg(long, value_name = "S", default_value_t = 0.1)]
    label_smoothing: f64,
    /// Decay, per step, of the moving average of the parameters: what is validated and written.
    #[arg(long, value_name = "D", default_value_t = 0.998)]
    average_decay: f64,
    /// Smallest share of an image's area that a view shows.
    #[arg(long, value_name = "A", default_value_t = 0.25)]
    min_area: f64,
    /// Brightness, contrast and colour change by up to this share.
    #[arg(long, value_name = "J", default_value_t = 0.2)]
    jitter: f32,
    /// Share of the images that is put aside for validation.
    #[arg(long, value_name = "S", default_value_t = 0.05)]
    validation: f64,
    /// Everything random follows from it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// What the images are, in words: goes into the weights, before the recipe.
    #[arg(long, value_name = "TEXT", default_value = "")]
    about: String,
    /// Convolutions in bfloat16.
    #[arg(long)]
    mixed: bool,
    /// What learns: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = parse_device)]
    device: Device,
    /// Threads of libtorch, and as many that make data [default: one per core].
    #[arg(long, value_name = "N", value_parser = threads_parser())]
    threads: Option<u16>,
    #[command(flatten)]
    limits: LimitArgs,
}

const EXAMPLES: &str = "\
FOLDER gets weights.safetensors (16-bit), checkpoint.safetensors, log.jsonl (one object per epoch,
also on standard output) and curves.svg, all after every epoch. An option that is given twice
counts as it was given last. Threads of libtorch that wait do not spin (OMP_WAIT_POLICY=passive)
unless that variable says otherwise.

Example:
  dctflow train --classes classes.txt --width 0.25 --size 128 --out run train-*.parquet
  dctflow eval --weights run/weights.safetensors val.parquet";

/// Of the network of the last epoch: the file's name in the folder.
const WEIGHTS: &str = "weights.safetensors";
const CHECKPOINT: &str = "checkpoint.safetensors";
const LOG: &str = "log.jsonl";
const CURVES: &str = "curves.svg";

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    let_waiting_threads_sleep();
    if let Some(threads) = args.threads {
        dctflow::torch::set_threads(threads);
    }
    let checkpoint = args.out.join(CHECKPOINT);
    if !args.resume && checkpoint.exists() {
        let message = "a run has left a checkpoint here: go on with it (--resume), or give another folder (--out)";
        return Err(Error::new(ErrorKind::Usage, message).with_path(checkpoint));
    }
    let class_names = read_names(&args.classes)?;
    let settings = args.settings(class_names)?;
    let pool = thread_pool(args.threads)?;
    let (examples, num_left_out) = args.examples(&settings, &pool)?;
    let (examples, aside) = examples.split(args.validation, settings.seed);
    say(format_args!("{} images to learn from, {} put aside for validation", examples.len(), aside.len()));
    let mut trainer = match args.resume {
        true => Trainer::resume(settings, args.device, pool, &checkpoint)?,
        false => Trainer::new(settings, args.device, pool)?,
    };
    trainer.check_data(&examples, &aside)?;
    if trainer.num_epochs_done() >= args.epochs {
        let counted = trainer.evaluate(&aside)?;
        say(format_args!("of {} images put aside {:.2} % are right", counted.images, 100.0 * counted.top1));
        args.write(&trainer, &checkpoint)?;
    }
    let mut out = Output::new();
    while trainer.num_epochs_done() < args.epochs {
        let bar = progress::between_lines(examples.len() as u64);
        bar.set_message(format!("epoch {} of {}", trainer.num_epochs_done() + 1, args.epochs));
        let report = trainer.run_epoch(&examples, &aside, |num_images| bar.inc(num_images));
        bar.finish_and_clear();
        out.object(&report?)?;
        out.flush()?;
        args.write(&trainer, &checkpoint)?;
    }
    Ok(if num_left_out == 0 { Done::Everything } else { Done::NotEverything })
}

/// On few cores, threads of libtorch that spin while they wait keep those that make data from getting on. OpenMP reads this variable while the
/// program is loaded, so the program starts once more, in the same process. Where it cannot, it is only slower.
#[cfg(unix)]
fn let_waiting_threads_sleep() {
    use std::os::unix::process::CommandExt;
    const VARIABLE: &str = "OMP_WAIT_POLICY";
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let (mut arguments, Ok(program)) = (std::env::args_os(), std::env::current_exe()) else { return };
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It returns only if it fails.
    let _ = command.args(arguments).env(VARIABLE, "passive").exec();
}

#[cfg(not(unix))]
fn let_waiting_threads_sleep() {}

impl Args {
    fn settings(&self, class_names: Vec<String>) -> Result<Settings> {
        let config = Config {
            width: self.width,
            classes: class_names.len(),
            input_size: (self.size, self.size),
            ..Config::new(self.network)
        };
        config.check()?;
        let plain = Settings::new(config);
        Ok(Settings {
            transform: self.transform.unwrap_or(plain.transform),
            class_names,
            seed: self.seed,
            epochs: self.epochs,
            batch_size: self.batch,
            learning_rate: self.learning_rate,
            warmup_epochs: self.warmup_epochs,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            label_smoothing: self.label_smoothing,
            average_decay: self.average_decay,
            first_side: self.first_size.unwrap_or(self.size),
            min_area: self.min_area,
            jitter: self.jitter,
            is_mixed: self.mixed,
            ..plain
        })
    }

    /// The images, and how many were left out. Each of these is told on standard error.
    fn examples(&self, settings: &Settings, pool: &rayon::ThreadPool) -> Result<(Examples, usize)> {
        let limits = self.limits.limits();
        let labels = Labels::new(&settings.class_names);
        let (mut offered, mut num_left_out) = (Vec::new(), 0);
        let spinner = progress::images();
        Sources::new(&self.paths, limits.max_file_bytes).for_each(|item: Item| {
            let label = labels.find(&item);
            match (item.bytes, label) {
                (Ok(bytes), Some(label)) => offered.push(Example { name: item.name.to_string(), bytes, label }),
                (Ok(_), None) => {
                    num_left_out += 1;
                    say(format_args!("{}: its class is not known: left out", item.name));
                }
                (Err(reason), _) => {
                    num_left_out += 1;
                    say(format_args!("{}: {reason}: left out", item.name));
                }
            }
            spinner.inc(1);
            ControlFlow::Continue(())
        });
        spinner.finish_and_clear();
        let (examples, rejected) = pool.install(|| Examples::new(offered, settings, &limits));
        for rejected in &rejected {
            say(format_args!("{}: {}: left out", rejected.name, rejected.reason));
        }
        let num_left_out = num_left_out + rejected.len();
        if examples.is_empty() {
            return Err(Error::new(ErrorKind::Usage, "no image can be learned from: check the paths and --classes"));
        }
        if num_left_out > 0 {
            say(format_args!("{num_left_out} images were left out"));
        }
        Ok((examples, num_left_out))
    }

    /// What the folder holds after an epoch. The checkpoint comes last: whoever goes on from it has the rest.
    fn write(&self, trainer: &Trainer, checkpoint: &Path) -> Result<()> {
        let weights = trainer.weights(&self.provenance(trainer.num_epochs_done()))?;
        weights.save(self.out.join(WEIGHTS), Precision::F16)?;
        write_log(&self.out.join(LOG), trainer.history())?;
        replace_file(self.out.join(CURVES), curves(trainer.history()).as_bytes())?;
        trainer.save(checkpoint)
    }

    fn provenance(&self, num_epochs: u32) -> String {
        let Self { about, size, seed, batch, learning_rate, .. } = self;
        let space = if about.is_empty() { "" } else { " " };
        format!(
            "{about}{space}dctflow train: {num_epochs} of {} epochs, images of {size} x {size}, batches of {batch}, learning rate \
             {learning_rate}, seed {seed}; moving average",
            self.epochs
        )
    }
}

fn parse_device(text: &str) -> Result<Device, String> {
    match text {
        "cpu" => Ok(Device::Cpu),
        "cuda" => Ok(Device::Cuda(0)),
        _ => match text.strip_prefix("cuda:").and_then(|number| number.parse().ok()) {
            Some(number) => Ok(Device::Cuda(number)),
            None => Err("say cpu, cuda or cuda:N".into()),
        },
    }
}

fn write_log(path: &Path, history: &[EpochReport]) -> Result<()> {
    let mut lines = Vec::new();
    for report in history {
        serde_json::to_writer(&mut lines, report)
            .map_err(|e| Error::new(ErrorKind::Internal, "a report that JSON cannot hold").with_source(e))?;
        lines.push(b'\n');
    }
    replace_file(path, &lines)
}

/// Loss and accuracy over the epochs.
fn curves(history: &[EpochReport]) -> String {
    let series = |name: &str, value: &dyn Fn(&EpochReport) -> Option<f64>| Series {
        name: name.into(),
        points: history.iter().filter_map(|report| Some((f64::from(report.epoch), value(report)?))).collect(),
    };
    let percent = |share: f64| 100.0 * share;
    let mut charts = Charts::default();
    charts.curves("Loss", ("epoch", "mean over an epoch's steps"), &[series("augmented views", &|r| Some(r.loss))]);
    charts.curves(
        "Wrong answers",
        ("epoch", "percent"),
        &[
            series("augmented views, while it learns", &|r| Some(percent(1.0 - r.train_top1))),
            series("images put aside, averaged network", &|r| r.validation.map(|v| percent(1.0 - v.top1))),
        ],
    );
    charts.to_svg("dctflow train")
}
