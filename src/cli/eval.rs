//! `dctflow eval`: how often a network is right.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use dctflow::jpeg::Status;
use dctflow::session::{Evaluation, Outcome, Share};
use dctflow::sources::{Item, ItemName, Sources};
use dctflow::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use super::Done;
use super::args::{ModelArgs, RunArgs};
use super::output::{Output, say};
use super::progress;

/// Measure how often a network is right on labelled images
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// As for classify: files, folders, tar shards, Parquet tables, @LIST files.
    #[arg(required = true, value_name = "PATHS")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// A file with the names of the classes, one per line, in the order of the network's answers [default: as the weights say].
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// One JSON object, with the whole confusion matrix.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
An image's class is the column `label` of its Parquet table, the member KEY.cls beside it in its
tar shard, or else the name of the folder that it lies in. An image that fails counts as a wrong
answer; one whose class is not known is not counted, and named on standard error.

Examples:
  dctflow eval val/                           with the model that comes with the program
  dctflow eval --weights net.safetensors val/
  dctflow eval --weights net.safetensors --json val.parquet > accuracy.json";

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    let model = args.model.load_to_answer()?;
    let session = args.run.session(&model)?.build()?;
    let metadata = model.weights.metadata();
    let names = match &args.classes {
        Some(path) => read_names(path)?,
        None => metadata.class_names.clone(),
    };
    let mut report = Report::new(model.name, names, model.weights.config().classes)?;
    drop(model.weights);
    let sources = Sources::new(&args.paths, args.run.limits().max_file_bytes);
    let (mut feeder, outcomes) = session.stream();
    let progress = progress::images();
    let label_of = report.labels();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            sources.for_each(|item| {
                let label = label_of.find(&item);
                match item.bytes {
                    Ok(bytes) => feeder.push((item.name, label), bytes),
                    Err(reason) => feeder.push_failed((item.name, label), reason),
                }
            });
        });
        for outcome in outcomes {
            let ((name, label), outcome) = outcome?;
            report.add(&name, label, &outcome);
            progress.inc(1);
        }
        Ok::<(), Error>(())
    })?;
    progress.finish_and_clear();
    report.write(args.json)?;
    Ok(if report.is_whole() { Done::Everything } else { Done::NotEverything })
}

pub fn read_names(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path.display().to_string(), e))?;
    Ok(text.lines().map(str::to_string).collect())
}

/// How the class of an image is found.
#[derive(Clone)]
pub struct Labels {
    by_name: HashMap<String, usize>,
}

impl Labels {
    /// Of classes with these names, in the order of the network's answers.
    pub fn new(class_names: &[String]) -> Self {
        let numbered = class_names.iter().cloned().enumerate();
        Self { by_name: numbered.map(|(class, name)| (name, class)).collect() }
    }

    /// The label that stands beside the image, or else the number of the class that its folder is named after.
    pub fn find(&self, item: &Item) -> Option<usize> {
        match item.label {
            Some(label) => usize::try_from(label).ok(),
            None => self.by_name.get(item.folder_name()?).copied(),
        }
    }
}

/// What is counted and printed.
struct Report {
    model: String,
    class_names: Vec<String>,
    evaluation: Evaluation,
    num_partial: u64,
    num_unlabelled: u64,
}

impl Report {
    fn new(model: String, class_names: Vec<String>, num_classes: usize) -> Result<Self> {
        if !class_names.is_empty() && class_names.len() != num_classes {
            let message = format!(
                "{} names for a network of {num_classes} classes: give one name per line and class (--classes)",
                class_names.len()
            );
            return Err(Error::new(ErrorKind::Usage, message));
        }
        Ok(Self { model, class_names, evaluation: Evaluation::new(num_classes), num_partial: 0, num_unlabelled: 0 })
    }

    fn labels(&self) -> Labels {
        Labels::new(&self.class_names)
    }

    fn add(&mut self, name: &ItemName, label: Option<usize>, outcome: &Outcome) {
        let is_counted = label.is_some_and(|label| self.evaluation.add(label, outcome));
        if !is_counted {
            self.num_unlabelled += 1;
            say(format_args!("{name}: its class is not known: neither a label nor a folder named after a class"));
        }
        match (outcome.status, &outcome.reason) {
            (Status::Failed, Some(reason)) => say(format_args!("{name}: {reason}")),
            (Status::Partial, _) => self.num_partial += 1,
            _ => {}
        }
    }

    /// Whether every image had a class and an answer.
    fn is_whole(&self) -> bool {
        self.num_unlabelled == 0 && self.evaluation.num_unanswered() == 0
    }

    fn write(&self, is_json: bool) -> Result<()> {
        let mut out = Output::new();
        if is_json {
            out.json(self.object())?;
        } else {
            for line in self.lines() {
                out.line(line)?;
            }
        }
        out.flush()
    }

    fn lines(&self) -> Vec<String> {
        let evaluation = &self.evaluation;
        let mut lines = vec![
            format!("model\t{}", self.model),
            format!("top-1\t{}", percent(evaluation.top1())),
            format!("top-5\t{}", percent(evaluation.top5())),
            format!(
                "images\t{}, of them {} failed, {} partial; {} more of no known class",
                evaluation.num_images(),
                evaluation.num_unanswered(),
                self.num_partial,
                self.num_unlabelled
            ),
            "class\timages\ttop-1\tmost often taken for".into(),
        ];
        for class in (0..evaluation.num_classes()).filter(|&class| evaluation.num_images_of(class) > 0) {
            let share = evaluation.top1_of(class);
            let taken_for = evaluation.most_confused(class);
            let taken_for = taken_for.map_or("-".into(), |(other, count)| format!("{} ({count})", self.name(other)));
            let (name, share_percent) = (self.name(class), 100.0 * share.share);
            lines.push(format!("{name}\t{}\t{share_percent:.2} %\t{taken_for}", share.total));
        }
        lines
    }

    fn name(&self, class: usize) -> String {
        match self.class_names.get(class) {
            Some(name) => format!("{class} {name}"),
            None => class.to_string(),
        }
    }

    fn object(&self) -> Map<String, Value> {
        let evaluation = &self.evaluation;
        let classes = 0..evaluation.num_classes();
        let by_class = classes.clone().map(|class| {
            json!({
                "class": class,
                "label": self.class_names.get(class),
                "images": evaluation.num_images_of(class),
                "top1": share_object(evaluation.top1_of(class)),
            })
        });
        let confusion = classes.clone().map(|label| {
            let row: Vec<u64> = classes.clone().map(|class| evaluation.confusion(label, class)).collect();
            json!(row)
        });
        let mut object = Map::new();
        object.insert("model".into(), json!(self.model));
        object.insert("images".into(), json!(evaluation.num_images()));
        object.insert("failed".into(), json!(evaluation.num_unanswered()));
        object.insert("partial".into(), json!(self.num_partial));
        object.insert("unlabelled".into(), json!(self.num_unlabelled));
        object.insert("top1".into(), share_object(evaluation.top1()));
        object.insert("top5".into(), share_object(evaluation.top5()));
        object.insert("classes".into(), by_class.collect());
        object.insert("confusion".into(), confusion.collect());
        object
    }
}

fn percent(share: Share) -> String {
    let [at, low, high] = [share.share, share.low, share.high].map(|share| 100.0 * share);
    format!("{at:.2} %\t(95 % confidence: {low:.2} to {high:.2})\t{} of {}", share.count, share.total)
}

fn share_object(share: Share) -> Value {
    json!({ "count": share.count, "total": share.total, "share": share.share, "low": share.low, "high": share.high })
}
