//! `dctflow bench report`: records as Markdown, CSV or charts.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use dctflow::Result;

use super::record::{Measurement, Record, Scenario};
use super::stats::Sorted;
use super::table::doubts;
use crate::cli::Done;
use crate::cli::chart::{Bar, Charts, Series};
use crate::cli::output::Output;

/// Make a table or a chart of records
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files that `dctflow bench --json` wrote.
    #[arg(required = true, value_name = "RECORDS")]
    records: Vec<PathBuf>,
    /// What is made of them.
    #[arg(long, value_name = "F", default_value = "markdown")]
    format: Format,
    /// One JSON object: all records.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

const EXAMPLES: &str = "\
Results that are not valid are kept, marked, and their reasons given.

Examples:
  dctflow bench report record.json
  dctflow bench report --format csv records/*.json > records.csv
  dctflow bench report --format svg latency.json > latency.svg";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A table per record.
    Markdown,
    /// One line per measurement of all records.
    Csv,
    /// One file with a bar chart of rates and curves of latency.
    Svg,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    let mut records = Vec::new();
    for path in &args.records {
        records.extend(Record::read(path)?);
    }
    let mut out = Output::new();
    if args.json {
        out.object(&serde_json::json!({ "records": records }))?;
    } else {
        let text = match args.format {
            Format::Markdown => records.iter().map(markdown).collect::<Vec<_>>().join("\n"),
            Format::Csv => csv(&records),
            Format::Svg => svg(&records),
        };
        out.line(text.trim_end())?;
    }
    out.flush()?;
    Ok(Done::Everything)
}

/// The measurements of arrivals by themselves, and all others.
fn split(record: &Record) -> (Vec<&Measurement>, Vec<&Measurement>) {
    record.results.iter().partition(|result| result.settings.scenario == Scenario::Latency)
}

fn markdown(record: &Record) -> String {
    let Record { program, commit, build, machine, gpu, data, .. } = record;
    let mut text = format!(
        "**{program}**, commit {commit}, {build} build; {}, {} cores, {}",
        machine.cpu, machine.cores, machine.os
    );
    if let Some(gpu) = gpu {
        let _ = write!(text, "; {}, driver {}", gpu.name, gpu.driver);
    }
    let kinds: Vec<String> = data.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let _ = write!(
        text,
        "\n\nInput: {}, {:.1} MB, {:.1} Mpixel ({}); SHA-256 {}\n\nCommand: `{}`\n\n",
        data.source,
        data.bytes as f64 / 1e6,
        data.pixels as f64 / 1e6,
        kinds.join(", "),
        data.sha256,
        record.command.join(" ")
    );
    let (arrivals, throughput) = split(record);
    if !throughput.is_empty() {
        text +=
            "| scenario | images/s | CV | Mpixel/s | MB/s in | ms p50 | ms p99 | ms per image, by stage | valid |\n";
        text += "|---|---|---|---|---|---|---|---|---|\n";
        throughput.iter().for_each(|result| throughput_row(&mut text, result));
    }
    if !arrivals.is_empty() {
        text += if throughput.is_empty() { "" } else { "\n" };
        text += "| arrivals | offered/s | answered/s | images per batch | ms p50 | p90 | p95 | p99 | max | valid |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|\n";
        arrivals.iter().for_each(|result| arrivals_row(&mut text, result));
    }
    text
}

fn throughput_row(text: &mut String, result: &Measurement) {
    let optional = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
    let stages: Vec<String> =
        result.stages.iter().map(|stage| format!("{} {:.3}", stage.name, stage.ms_per_image)).collect();
    let _ = writeln!(
        text,
        "| {} | {:.1} | {:.1} % | {} | {} | {:.1} | {:.1} | {} | {} |",
        result.settings.name(),
        result.images_per_s,
        100.0 * result.rate_cv,
        optional(result.mpixels_per_s),
        optional(result.mb_in_per_s),
        result.latency.ms_p50,
        result.latency.ms_p99,
        stages.join(", "),
        validity(result)
    );
}

fn arrivals_row(text: &mut String, result: &Measurement) {
    let latency = &result.latency;
    let _ = writeln!(
        text,
        "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
        result.settings.arrivals.map_or(String::new(), |arrivals| arrivals.to_string()),
        result.offered_per_s.map_or("-".into(), |rate| format!("{rate:.1}")),
        result.images_per_s,
        result.mean_batch,
        latency.ms_p50,
        latency.ms_p90,
        latency.ms_p95,
        latency.ms_p99,
        latency.ms_max,
        validity(result)
    );
}

fn validity(result: &Measurement) -> String {
    if result.valid { "yes".into() } else { format!("**no**: {}", doubts(result)) }
}

/// One line per measurement.
fn csv(records: &[Record]) -> String {
    let mut text = String::from(
        "program,commit,build,cpu,cores,gpu,data_sha256,scenario,device,model,batch,in_flight,threads,arrivals,offered_per_s,\
         seconds,images,images_per_s,rate_cv,mpixels_per_s,mb_in_per_s,mean_batch,ms_p50,ms_p90,ms_p95,ms_p99,ms_max,\
         cpu_s_per_1000_images,peak_memory_bytes,valid,reasons\n",
    );
    for record in records {
        for result in &record.results {
            let fields: Vec<String> = csv_fields(record, result).iter().map(|field| csv_field(field)).collect();
            text += &fields.join(",");
            text.push('\n');
        }
    }
    text
}

fn csv_fields(record: &Record, result: &Measurement) -> [String; 31] {
    let optional = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let Measurement { settings, latency, .. } = result;
    [
        record.program.clone(),
        record.commit.clone(),
        record.build.clone(),
        record.machine.cpu.clone(),
        record.machine.cores.to_string(),
        record.gpu.as_ref().map_or(String::new(), |gpu| gpu.name.clone()),
        record.data.sha256.clone(),
        settings.scenario.name().into(),
        settings.device.clone(),
        settings.model.clone().unwrap_or_default(),
        settings.batch.to_string(),
        settings.in_flight.to_string(),
        settings.threads.to_string(),
        settings.arrivals.map_or(String::new(), |arrivals| arrivals.to_string()),
        optional(result.offered_per_s),
        result.seconds.to_string(),
        result.images.to_string(),
        result.images_per_s.to_string(),
        result.rate_cv.to_string(),
        optional(result.mpixels_per_s),
        optional(result.mb_in_per_s),
        result.mean_batch.to_string(),
        latency.ms_p50.to_string(),
        latency.ms_p90.to_string(),
        latency.ms_p95.to_string(),
        latency.ms_p99.to_string(),
        latency.ms_max.to_string(),
        result.cpu_s_per_1000_images.to_string(),
        result.peak_memory_bytes.map_or(String::new(), |bytes| bytes.to_string()),
        result.valid.to_string(),
        result.reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>().join(" "),
    ]
}

/// RFC 4180: quoted where a comma, a quote or a line's end is in it.
fn csv_field(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.into() }
}

/// Rates as bars, and latencies over the rate at which images were answered.
fn svg(records: &[Record]) -> String {
    let mut charts = Charts::default();
    let split: Vec<_> = records.iter().map(split).collect();
    let bars: Vec<Bar> = split.iter().flat_map(|(_, throughput)| throughput.iter().map(|result| bar(result))).collect();
    if !bars.is_empty() {
        charts.bars("Rate, and the spread of its windows", "images/s", &bars);
    }
    for (arrivals, _) in &split {
        for (name, series) in latency_series(arrivals) {
            let labels = ("images answered per second", &*format!("milliseconds: {name}"));
            charts.curves("Latency from the intended arrival", labels, &series);
        }
    }
    let captions: Vec<String> = records
        .iter()
        .map(|record| {
            format!(
                "{}, commit {}; {}, {} cores",
                record.program, record.commit, record.machine.cpu, record.machine.cores
            )
        })
        .collect();
    let mut captions = captions;
    captions.dedup();
    charts.to_svg(&captions.join(" | "))
}

fn bar(result: &Measurement) -> Bar {
    let rates = Sorted::new(result.windows.iter().map(|window| window.images_per_s()).collect());
    let spread = (rates.quantile(0.0), rates.max());
    Bar { label: result.settings.name(), value: result.images_per_s, spread, is_doubtful: !result.valid }
}

/// The name of a quantile of the latency, and where it stands.
type Quantile = (&'static str, fn(&Measurement) -> f64);

/// For each model and setting, a curve per quantile over all random arrivals.
fn latency_series(arrivals: &[&Measurement]) -> Vec<(String, Vec<Series>)> {
    let mut groups: Vec<(String, Vec<&Measurement>)> = Vec::new();
    let random = arrivals.iter().filter(|result| result.settings.arrivals.is_some_and(|arrivals| arrivals.is_random()));
    for result in random {
        let mut settings = result.settings.clone();
        settings.arrivals = None;
        let name = settings.name();
        match groups.iter_mut().find(|(group, _)| *group == name) {
            Some((_, results)) => results.push(result),
            None => groups.push((name, vec![result])),
        }
    }
    let quantiles: [Quantile; 4] = [
        ("p50", |result| result.latency.ms_p50),
        ("p95", |result| result.latency.ms_p95),
        ("p99", |result| result.latency.ms_p99),
        ("max", |result| result.latency.ms_max),
    ];
    let curves = |results: &[&Measurement]| {
        quantiles.map(|(name, quantile)| {
            let points = results.iter().map(|result| (result.images_per_s, quantile(result))).collect();
            Series { name: name.into(), points }
        })
    };
    groups.iter().map(|(name, results)| (name.clone(), curves(results).into())).collect()
}
