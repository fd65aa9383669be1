//! `dctflow classify`: the most likely classes of each image.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use dctflow::Result;
use dctflow::jpeg::Status;
use dctflow::session::{Outcome, Prediction};
use dctflow::sources::{Item, ItemName, Sources};
use serde_json::{Map, Value, json};

use super::Done;
use super::args::{Model, ModelArgs, RunArgs};
use super::out_file::{Begun, OutArgs, OutFile};
use super::output::{Output, add_status, float, name_bytes, object_for, say, status_word};
use super::progress;

/// Classify images: one line per image, in input order
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// JPEG files, folders (recursively), tar shards, Parquet tables (column `image`), and @LIST files that name one of these per line.
    #[arg(required = true, value_name = "PATHS")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// How many classes are given per image.
    #[arg(long, value_name = "K", default_value_t = 5)]
    topk: usize,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    out: OutArgs,
    /// One JSON object per image.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
A line is PATH, STATUS and the classes with their scores, tab separated. STATUS is complete,
partial or failed:REASON; a sentence that says why ends the line of what is not complete.
Without --weights, --network and --seed the model that comes with the program answers, and every
line says so.

Examples:
  dctflow classify photo.jpg
  dctflow classify --weights net.safetensors --topk 1 --json photos/ > answers.jsonl
  dctflow classify --weights net.safetensors --out 2.tsv --resume --shard 2/8 @list.txt
  find . -name '*.jpg' | dctflow classify --weights net.safetensors @-";

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    let model = args.model.load_to_answer()?;
    let settings = if args.out.has_file() { args.settings(&model)? } else { Map::new() };
    let session = args.run.session(&model)?.topk(args.topk).build()?;
    let class_names = model.weights.metadata().class_names.clone();
    let report = Report { class_names, model: model.name, caution: model.caution, json: args.json };
    drop(model.weights);
    let Begun { mut out, file, mut selection, num_earlier, num_failed_earlier } =
        args.out.begin(args.json, settings)?;
    if num_earlier > 0 {
        say(format_args!("going on after {num_earlier} images"));
    }
    let sources = Sources::new(&args.paths, args.run.limits().max_file_bytes);
    let (mut feeder, outcomes) = session.stream();
    let progress = progress::images();
    let mut done = if num_failed_earlier > 0 { Done::NotEverything } else { Done::Everything };
    std::thread::scope(|scope| {
        let fed = scope.spawn(move || {
            let visit = |item: Item| match item.bytes {
                Ok(bytes) => feeder.push(item.name, bytes),
                Err(reason) => feeder.push_failed(item.name, reason),
            };
            sources.for_each_wanted(|name| selection.wants(name), visit);
            selection.finish()
        });
        for outcome in outcomes {
            let (name, outcome) = outcome?;
            if outcome.status == Status::Failed {
                done = Done::NotEverything;
            }
            report.write(&mut out, &name, &outcome)?;
            progress.inc(1);
        }
        fed.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    progress.finish_and_clear();
    out.flush()?;
    file.map_or(Ok(()), OutFile::finish)?;
    Ok(done)
}

impl Args {
    /// What an image's line depends on: a run that goes on with another's lines has the same. Devices and batches change no answer but for
    /// rounding.
    fn settings(&self, model: &Model) -> Result<Map<String, Value>> {
        let mut settings = Map::new();
        let mut put = |name: &str, value: String| settings.insert(name.into(), value.into());
        put("model", model.name.clone());
        put("weights_sha256", self.model.digest()?);
        put("transform", model.weights.metadata().transform.to_string());
        put("policy", self.run.policy().to_string());
        put("topk", self.topk.to_string());
        put("limits", self.run.limits().named().map(|(name, value)| format!("{name}={value}")).join(","));
        Ok(settings)
    }
}

/// How outcomes are written.
struct Report {
    model: String,
    class_names: Vec<String>,
    caution: Option<String>,
    json: bool,
}

impl Report {
    fn write(&self, out: &mut Output, name: &ItemName, outcome: &Outcome) -> Result<()> {
        if self.json { out.json(self.object(name, outcome)) } else { out.line(self.line(name, outcome)) }
    }

    fn line(&self, name: &ItemName, outcome: &Outcome) -> Vec<u8> {
        let mut line = name_bytes(name);
        line.push(b'\t');
        line.extend_from_slice(status_word(outcome.status, outcome.reason.as_ref()).as_bytes());
        for prediction in &outcome.top {
            line.extend_from_slice(format!("\t{} {:.4}", self.class(prediction), prediction.score).as_bytes());
        }
        if let Some(caution) = &self.caution {
            line.extend_from_slice(format!("\t({caution})").as_bytes());
        }
        if let Some(reason) = &outcome.reason {
            line.extend_from_slice(format!("\t{reason}").as_bytes());
        }
        line
    }

    /// The class's number, and its name where it has one.
    fn class(&self, prediction: &Prediction) -> String {
        match self.class_names.get(prediction.class) {
            Some(label) => format!("{} {label}", prediction.class),
            None => prediction.class.to_string(),
        }
    }

    fn object(&self, name: &ItemName, outcome: &Outcome) -> Map<String, Value> {
        let mut object = object_for(name);
        add_status(&mut object, outcome.status, outcome.reason.as_ref());
        object.insert("first_untrusted_mcu".into(), json!(outcome.first_untrusted_mcu));
        object.insert("untrusted_mcus".into(), json!(outcome.untrusted_mcus));
        object.insert("mcus".into(), json!(outcome.mcus));
        object.insert("scans_complete".into(), json!(outcome.scans_complete));
        object.insert("saturated".into(), json!(outcome.saturated));
        object.insert("model".into(), json!(self.model));
        object.insert("top".into(), outcome.top.iter().map(|prediction| self.prediction(prediction)).collect());
        object
    }

    fn prediction(&self, prediction: &Prediction) -> Value {
        let label = self.class_names.get(prediction.class);
        json!({ "class": prediction.class, "label": label, "score": float(prediction.score) })
    }
}
