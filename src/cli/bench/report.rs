//! `dctflow bench report`: records as Markdown, CSV or charts.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use dctflow::Result;

use super::record::{GpuUse, Measurement, Record, Scenario, Settings};
use super::stats::Sorted;
use super::table::{doubts, left_to_cpu};
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
        text += "| network and batch | arrivals | offered/s | answered/s | images per batch | ms p50 | p90 | p95 | p99 | max | valid |\n";
        text += "|---|---|---|---|---|---|---|---|---|---|---|\n";
        arrivals.iter().for_each(|result| arrivals_row(&mut text, result));
    }
    text
}

fn throughput_row(text: &mut String, result: &Measurement) {
    let optional = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
    let mut stages: Vec<String> =
        result.stages.iter().map(|stage| format!("{} {:.3}", stage.name, stage.ms_per_image)).collect();
    stages.extend(left_to_cpu(result).map(|left| format!("left to the CPU {left}")));
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
        "| {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
        Settings { arrivals: None, ..result.settings.clone() }.name(),
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

/// A column of the CSV: its name, and its value of a measurement.
type Column = (String, Box<dyn Fn(&Record, &Measurement) -> String>);

/// One line per measurement. Stages have a column each, those of all records.
fn csv(records: &[Record]) -> String {
    let columns = csv_columns(records);
    let mut text = String::new();
    let mut line = |fields: Vec<String>| {
        text += &fields.join(",");
        text.push('\n');
    };
    line(columns.iter().map(|(name, _)| csv_field(name)).collect());
    for record in records {
        for result in &record.results {
            line(columns.iter().map(|(_, value)| csv_field(&value(record, result))).collect());
        }
    }
    text
}

fn csv_columns(records: &[Record]) -> Vec<Column> {
    fn text(value: Option<impl ToString>) -> String {
        value.map_or(String::new(), |value| value.to_string())
    }
    fn column(name: &str, value: impl Fn(&Record, &Measurement) -> String + 'static) -> Column {
        (name.into(), Box::new(value))
    }
    fn gpu_column(name: &str, value: fn(&GpuUse) -> Option<f64>) -> Column {
        column(name, move |_, m| text(m.gpu.as_ref().and_then(value)))
    }
    let mut columns = vec![
        column("program", |r, _| r.program.clone()),
        column("commit", |r, _| r.commit.clone()),
        column("build", |r, _| r.build.clone()),
        column("cpu", |r, _| r.machine.cpu.clone()),
        column("cores", |r, _| r.machine.cores.to_string()),
        column("gpu", |r, _| text(r.gpu.as_ref().map(|gpu| &gpu.name))),
        column("gpu_driver", |r, _| text(r.gpu.as_ref().map(|gpu| &gpu.driver))),
        column("gpu_power_limit_watts", |r, _| text(r.gpu.as_ref().and_then(|gpu| gpu.power_limit_watts))),
        column("data_sha256", |r, _| r.data.sha256.clone()),
        column("scenario", |_, m| m.settings.scenario.name().into()),
        column("device", |_, m| m.settings.device.clone()),
        column("model", |_, m| text(m.settings.model.as_ref())),
        column("transform", |_, m| text(m.settings.transform.as_ref())),
        column("policy", |_, m| text(m.settings.policy.as_ref())),
        column("batch", |_, m| m.settings.batch.to_string()),
        column("in_flight", |_, m| m.settings.in_flight.to_string()),
        column("threads", |_, m| m.settings.threads.to_string()),
        column("arrivals", |_, m| text(m.settings.arrivals)),
        column("max_wait_ms", |_, m| text(m.settings.max_wait_ms)),
        column("offered_per_s", |_, m| text(m.offered_per_s)),
        column("warm_up_s", |_, m| m.warm_up.seconds.to_string()),
        column("seconds", |_, m| m.seconds.to_string()),
        column("images", |_, m| m.images.to_string()),
        column("images_per_s", |_, m| m.images_per_s.to_string()),
        column("rate_cv", |_, m| m.rate_cv.to_string()),
        column("mpixels_per_s", |_, m| text(m.mpixels_per_s)),
        column("mb_in_per_s", |_, m| text(m.mb_in_per_s)),
        column("mean_batch", |_, m| m.mean_batch.to_string()),
        column("ms_p50", |_, m| m.latency.ms_p50.to_string()),
        column("ms_p90", |_, m| m.latency.ms_p90.to_string()),
        column("ms_p95", |_, m| m.latency.ms_p95.to_string()),
        column("ms_p99", |_, m| m.latency.ms_p99.to_string()),
        column("ms_max", |_, m| m.latency.ms_max.to_string()),
        column("cpu_s_per_1000_images", |_, m| m.cpu_s_per_1000_images.to_string()),
        column("peak_memory_bytes", |_, m| text(m.peak_memory_bytes)),
        column("uploaded_bytes_per_image", |_, m| text(m.uploaded_bytes_per_image)),
        column("device_busy_share", |_, m| text(m.device_busy_share)),
        column("images_left_to_cpu", |_, m| text(m.images_left_to_cpu)),
        column("left_to_cpu_s_per_1000_images", |_, m| text(m.left_to_cpu_s_per_1000_images)),
        column("peak_device_memory_bytes", |_, m| text(m.peak_device_memory_bytes)),
        column("peak_pinned_memory_bytes", |_, m| text(m.peak_pinned_memory_bytes)),
        gpu_column("sm_clock_mhz_min", |used| used.sm_clock_mhz_min),
        gpu_column("sm_clock_mhz_mean", |used| used.sm_clock_mhz_mean),
        gpu_column("memory_clock_mhz_mean", |used| used.memory_clock_mhz_mean),
        gpu_column("power_watts_mean", |used| used.power_watts_mean),
        gpu_column("power_watts_max", |used| used.power_watts_max),
        gpu_column("temperature_celsius_max", |used| used.temperature_celsius_max),
        column("throttle_reasons", |_, m| text(m.gpu.as_ref().map(|used| used.throttle_reasons.join(" ")))),
    ];
    let mut stages: Vec<&str> = Vec::new();
    for stage in records.iter().flat_map(|record| &record.results).flat_map(|result| &result.stages) {
        if !stages.contains(&&*stage.name) {
            stages.push(&stage.name);
        }
    }
    for name in stages.into_iter().map(str::to_string) {
        columns.push(column(&format!("{name}_ms_per_image"), move |_, m| {
            text(m.stages.iter().find(|stage| stage.name == name).map(|stage| stage.ms_per_image))
        }));
    }
    columns.push(column("valid", |_, m| m.valid.to_string()));
    columns.push(column("reasons", |_, m| m.reasons.iter().map(|r| r.code.as_str()).collect::<Vec<_>>().join(" ")));
    columns
}

/// RFC 4180: quoted where a comma, a quote or a line's end is in it.
fn csv_field(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.into() }
}

/// Rates as bars, and latencies over the rate at which images were answered.
fn svg(records: &[Record]) -> String {
    let mut charts = Charts::default();
    let split: Vec<_> = records.iter().map(split).collect();
    // Which bars belong to which record, where there are several.
    let mark = |idx: usize| if records.len() > 1 { format!("[{}] ", idx + 1) } else { String::new() };
    let of_record = |(idx, (_, throughput)): (usize, &(Vec<&Measurement>, Vec<&Measurement>))| {
        throughput.iter().map(|result| bar(mark(idx), result)).collect::<Vec<_>>()
    };
    let bars: Vec<Bar> = split.iter().enumerate().flat_map(of_record).collect();
    if !bars.is_empty() {
        charts.bars("Rate, and the spread of its windows", "images/s", &bars);
    }
    for (idx, (arrivals, _)) in split.iter().enumerate() {
        for (name, series) in latency_series(arrivals) {
            let labels = ("images answered per second", &*format!("milliseconds: {}{name}", mark(idx)));
            charts.curves("Latency from the intended arrival", labels, &series);
        }
    }
    let captions: Vec<String> = records
        .iter()
        .enumerate()
        .map(|(idx, record)| {
            let Record { program, commit, machine, gpu, .. } = record;
            let gpu = gpu.as_ref().map_or(String::new(), |gpu| format!(", {}", gpu.name));
            format!("{}{program}, commit {commit}; {}, {} cores{gpu}", mark(idx), machine.cpu, machine.cores)
        })
        .collect();
    charts.to_svg(&captions.join("\n"))
}

fn bar(mark: String, result: &Measurement) -> Bar {
    let rates = Sorted::new(result.windows.iter().map(|window| window.images_per_s()).collect());
    let spread = (rates.quantile(0.0), rates.max());
    let label = mark + &result.settings.name();
    Bar { label, value: result.images_per_s, spread, is_doubtful: !result.valid }
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
