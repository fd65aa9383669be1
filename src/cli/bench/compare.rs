//! `dctflow bench compare`: whether B is faster than A, or cannot be told from it.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use dctflow::{Error, ErrorKind, Result};
use serde::Serialize;

use super::record::{Gpu, Measurement, Record, Scenario, Settings};
use super::stats::{Ratio, welch_ratio};
use crate::cli::Done;
use crate::cli::output::{Output, say};

/// Compare two records
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Records before: one or more JSON objects.
    #[arg(value_name = "A.json")]
    before: PathBuf,
    /// Records after.
    #[arg(value_name = "B.json")]
    after: PathBuf,
    /// Exit with status 1 unless everything that A has was measured again and is not slower, at 95 % confidence, by more than so many per cent.
    #[arg(long, value_name = "PCT", value_parser = parse_percent)]
    fail_if_slower: Option<f64>,
    /// One JSON object per pair of measurements.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Measurements are paired by scenario and settings. What is compared is the rate, or for `latency` the
median latency, by Welch's t-test over the windows of the measurements; where a file holds the same
measurement of several runs, over the runs. Windows of one run know nothing of what changes
between runs: for small differences, record A and B in turns, three times or more, into two files.
As a gate (--fail-if-slower), what cannot be told fails: a measurement that B lacks, too few runs.

Examples:
  dctflow bench --json > a.json
  dctflow bench compare a.json b.json --fail-if-slower 3";

fn parse_percent(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent),
        _ => Err("must be a number of per cent, from 0 to less than 100".into()),
    }
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Faster,
    Slower,
    NoDifference,
    /// Fewer than three windows or, of several runs, runs.
    TooFewSamples,
}

/// One pair of measurements.
#[derive(Debug, Serialize)]
struct Comparison {
    settings: Settings,
    /// `images_per_s` or `latency_ms_p50`.
    of: &'static str,
    before: f64,
    after: f64,
    /// How many times as fast B is: a ratio of rates, or of latencies the other way round.
    speedup: Option<f64>,
    /// Its 95 % confidence interval.
    low: Option<f64>,
    high: Option<f64>,
    verdict: Verdict,
    /// What makes the comparison doubtful.
    caveats: Vec<String>,
}

/// The same measurement of one or more runs.
struct Samples<'a> {
    runs: Vec<(&'a Record, &'a Measurement)>,
}

impl<'a> Samples<'a> {
    fn of(records: &'a [Record], settings: &Settings) -> Self {
        let all = records.iter().flat_map(|record| record.results.iter().map(move |result| (record, result)));
        Self { runs: all.filter(|(_, result)| result.settings == *settings).collect() }
    }

    /// Larger is faster: one value per run or, of a single run, per window.
    fn speeds(&self) -> Vec<f64> {
        if let [(_, result)] = self.runs[..] {
            let is_latency = result.settings.scenario == Scenario::Latency;
            let windows = result.windows.iter();
            return if is_latency {
                windows.filter_map(|window| window.latency_ms_p50).map(|ms| 1.0 / ms).collect()
            } else {
                windows.map(|window| window.images_per_s()).collect()
            };
        }
        self.values().into_iter().map(|value| if self.is_latency() { 1.0 / value } else { value }).collect()
    }

    fn is_latency(&self) -> bool {
        self.runs.iter().any(|(_, result)| result.settings.scenario == Scenario::Latency)
    }

    fn values(&self) -> Vec<f64> {
        let value = |result: &Measurement| {
            if self.is_latency() { result.latency.ms_p50 } else { result.images_per_s }
        };
        self.runs.iter().map(|(_, result)| value(result)).collect()
    }

    fn mean(&self) -> f64 {
        super::stats::mean(&self.values())
    }

    /// What is not valid, as `A is not valid: ...`.
    fn doubts(&self, side: &str) -> Option<String> {
        let doubted = self.runs.iter().find(|(_, result)| !result.valid)?;
        Some(format!("{side} is not valid: {}", super::table::doubts(doubted.1)))
    }
}

impl Comparison {
    fn new(settings: &Settings, before: &Samples<'_>, after: &Samples<'_>) -> Self {
        let ratio = welch_ratio(&after.speeds(), &before.speeds());
        let mut caveats: Vec<String> = [before.doubts("A"), after.doubts("B")].into_iter().flatten().collect();
        caveats.extend(differences(before.runs[0], after.runs[0]));
        Self {
            settings: settings.clone(),
            of: if before.is_latency() { "latency_ms_p50" } else { "images_per_s" },
            before: before.mean(),
            after: after.mean(),
            speedup: ratio.map(|ratio| ratio.ratio),
            low: ratio.map(|ratio| ratio.low),
            high: ratio.map(|ratio| ratio.high),
            verdict: verdict(ratio),
            caveats,
        }
    }

    /// Whether a gate lets it pass: not where the whole interval lies below the limit, nor where there is none.
    fn passes(&self, percent: f64) -> bool {
        self.high.is_some_and(|high| high >= 1.0 - percent / 100.0)
    }

    fn line(&self) -> String {
        let Self { settings, of, before, after, verdict, caveats, .. } = self;
        let verdict = match verdict {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::NoDifference => "no difference",
            Verdict::TooFewSamples => "too few windows or runs to tell: take one run a side, or three",
        };
        let interval = match (self.speedup, self.low, self.high) {
            (Some(speedup), Some(low), Some(high)) => format!(": {speedup:.3} x (95 %: {low:.3} to {high:.3})"),
            _ => String::new(),
        };
        let mut line = format!("{}: {of} {before:.2} -> {after:.2}, {verdict}{interval}", settings.name());
        for caveat in caveats {
            line += &format!("\n  but {caveat}");
        }
        line
    }
}

fn verdict(ratio: Option<Ratio>) -> Verdict {
    match ratio {
        None => Verdict::TooFewSamples,
        Some(Ratio { low, .. }) if low > 1.0 => Verdict::Faster,
        Some(Ratio { high, .. }) if high < 1.0 => Verdict::Slower,
        Some(_) => Verdict::NoDifference,
    }
}

/// What differs between two measurements besides the program.
fn differences((a, a_result): (&Record, &Measurement), (b, b_result): (&Record, &Measurement)) -> Vec<String> {
    fn gpu<T>(record: &Record, field: impl Fn(&Gpu) -> T) -> Option<T> {
        record.gpu.as_ref().map(field)
    }
    let clock = |result: &Measurement| result.gpu.as_ref().and_then(|used| used.sm_clock_mhz_mean);
    let is_near = |a: Option<f64>, b: Option<f64>, share: f64| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= share * a.abs().max(b.abs()),
        (a, b) => a.is_none() && b.is_none(),
    };
    let power_limit = |record: &Record| gpu(record, |gpu| gpu.power_limit_watts).flatten();
    let checks = [
        ("the files differ", a.data.sha256 == b.data.sha256),
        ("the CPUs differ", a.machine.cpu == b.machine.cpu && a.machine.cores == b.machine.cores),
        ("the GPUs differ", gpu(a, |gpu| gpu.name.clone()) == gpu(b, |gpu| gpu.name.clone())),
        ("the GPU's drivers differ", gpu(a, |gpu| gpu.driver.clone()) == gpu(b, |gpu| gpu.driver.clone())),
        ("the GPU's power limits differ", is_near(power_limit(a), power_limit(b), 0.0)),
        ("the GPU's clocks differ by more than 2 %", is_near(clock(a_result), clock(b_result), 0.02)),
        ("the same load is another rate of arrivals", is_near(a_result.offered_per_s, b_result.offered_per_s, 0.01)),
        ("one build is optimised and the other is not", a.build == b.build),
    ];
    checks.into_iter().filter(|(_, is_same)| !is_same).map(|(what, _)| what.to_string()).collect()
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    let (before, after) = (Record::read(&args.before)?, Record::read(&args.after)?);
    let (comparisons, num_missing) = compare(&before, &after);
    if comparisons.is_empty() {
        let message = "the records have no measurement in common: record both with the same scenario and settings";
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let mut out = Output::new();
    for comparison in &comparisons {
        if args.json { out.object(comparison)? } else { out.line(comparison.line())? }
    }
    out.flush()?;
    let passes = |percent| num_missing == 0 && comparisons.iter().all(|comparison| comparison.passes(percent));
    let is_failure = args.fail_if_slower.is_some_and(|percent| !passes(percent));
    Ok(if is_failure { Done::NotEverything } else { Done::Everything })
}

/// All measurements that both sides have, in A's order, and how many B lacks. Standard error names what only one side has.
fn compare(before: &[Record], after: &[Record]) -> (Vec<Comparison>, usize) {
    let mut seen: Vec<&Settings> = Vec::new();
    let (mut comparisons, mut num_missing) = (Vec::new(), 0);
    for settings in before.iter().flat_map(|record| record.results.iter().map(|result| &result.settings)) {
        if seen.contains(&settings) {
            continue;
        }
        seen.push(settings);
        let (a, b) = (Samples::of(before, settings), Samples::of(after, settings));
        if b.runs.is_empty() {
            say(format_args!("only in A: {}", settings.name()));
            num_missing += 1;
        } else {
            comparisons.push(Comparison::new(settings, &a, &b));
        }
    }
    let mut only_after: Vec<&Settings> = Vec::new();
    for settings in after.iter().flat_map(|record| record.results.iter().map(|result| &result.settings)) {
        if !seen.contains(&settings) && !only_after.contains(&settings) {
            say(format_args!("only in B: {}", settings.name()));
            only_after.push(settings);
        }
    }
    (comparisons, num_missing)
}
