//! A profile as a table: one row for each kernel, and for copies and fills.

use std::collections::BTreeMap;
use std::fmt::Write;

use dctflow::abi::{Counter, Kernel, KernelId, RefineBlocks, WriteSegments, WriteSubsequences};
use dctflow::device::{Count, KernelCounts, StreamOperation};
use serde::Serialize;
use serde_json::{Value, json};

use super::compiled;
use super::gpu::{Bound, CtaNeeds, Gpu, MODEL, Occupancy, Work};
use super::run::{DeviceSpan, Profile};
use super::work::instructions_per_symbol;
use crate::cli::held::{command, commit};

/// The kernels that write coefficients: they decode every symbol of the files once.
const WRITE_PASS: [KernelId; 3] = [WriteSubsequences::ID, WriteSegments::ID, RefineBlocks::ID];

/// A profile, kernel by kernel.
pub struct Report<'a> {
    profile: &'a Profile,
    gpu: Option<&'static Gpu>,
    model: Option<&'a str>,
    /// By stage, in the order in which they were first met.
    pub rows: Vec<Row>,
    /// In the files' data; 0 if nothing counted.
    num_symbols: u64,
}

/// What the launches of one kernel came to, or the copies and fills of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub stage: &'static str,
    pub name: &'static str,
    pub calls: u64,
    /// Measured, or predicted: the report says.
    pub seconds: f64,
    seconds_mean: f64,
    seconds_min: f64,
    seconds_max: f64,
    /// Of the time of all rows.
    share: f64,
    launch: Option<LaunchShape>,
    bytes: f64,
    gb_per_s: Option<f64>,
    /// Of the peak of device memory; of copies to and from the host, of PCIe's.
    share_of_bytes_peak: Option<f64>,
    flops: f64,
    tflop_per_s: Option<f64>,
    /// Of tensor cores' peak; only where they are used.
    share_of_tensor_peak: Option<f64>,
    /// Of the loops that the compiler's report knows.
    warp_instructions: Option<f64>,
    /// Of what all multiprocessors can start.
    share_of_issue_peak: Option<f64>,
    counts: Option<RowCounts>,
    /// The longest part of the prediction, of all calls together: predicted, also where times are measured.
    predicted_bound: Option<&'static str>,
    predicted_seconds: Option<f64>,
    #[serde(skip)]
    pub work: Work,
}

/// How a kernel is launched.
#[derive(Clone, Debug, Serialize)]
struct LaunchShape {
    ctas_min: u64,
    ctas_max: u64,
    threads: u32,
    registers: Option<u32>,
    /// The largest, tail included.
    smem_bytes: u32,
    ctas_per_sm: Option<u32>,
    occupancy: Option<f64>,
}

/// What a kernel's threads counted.
#[derive(Clone, Debug, Serialize)]
struct RowCounts {
    symbols: u64,
    symbols_warp_max: u64,
    /// For each symbol of the files.
    symbols_per_symbol: Option<f64>,
    warp_max_per_symbol: Option<f64>,
    symbols_per_s: Option<f64>,
    /// Mean of all CTAs.
    barriers_per_cta: f64,
    /// Instructions of a warp's machine code for each symbol of its slowest lane: the compiler's.
    instructions_per_symbol: Option<u32>,
}

impl<'a> Report<'a> {
    /// `model` names the network.
    pub fn new(profile: &'a Profile, gpu: Option<&'static Gpu>, model: Option<&'a str>) -> Self {
        let symbols = |kernel| profile.counts.get(&kernel).map_or(0, |counts| counts.count(Counter::Symbols).total);
        let num_symbols = WRITE_PASS.into_iter().map(symbols).sum();
        let mut groups: Vec<Vec<&DeviceSpan>> = Vec::new();
        let key = |span: &DeviceSpan| (span.stage, span.recorded.operation.name());
        for span in &profile.spans {
            match groups.iter_mut().find(|group| key(group[0]) == key(span)) {
                Some(group) => group.push(span),
                None => groups.push(vec![span]),
            }
        }
        let seconds: f64 = profile.spans.iter().map(|span| profile.seconds(span)).sum();
        let mut rows: Vec<Row> =
            groups.iter().map(|group| Row::new(group, profile, gpu, seconds, num_symbols)).collect();
        // Stages in their order, also where a later one's upload came first.
        rows.sort_by_key(|row| ["decode", "input", "network"].iter().position(|stage| *stage == row.stage));
        Self { profile, gpu, model, rows, num_symbols }
    }

    /// What it is about, in one line.
    pub fn title(&self) -> String {
        let Profile { scenario, device, batch, num_batches, .. } = self.profile;
        let model = self.model.map_or(String::new(), |model| format!(", {model}"));
        let batches = if *num_batches == 1 { "1 batch".into() } else { format!("{num_batches} batches") };
        format!("{}{model}, {batches} of {batch} images, {}", scenario.name, device.name)
    }

    /// Whether the times were measured or predicted, and how.
    pub fn times(&self) -> String {
        match (self.profile.is_measured(), self.gpu) {
            (true, _) => format!("Times are {}.", self.profile.clock.description()),
            (false, Some(gpu)) => format!(
                "Times are PREDICTED for {}, a bound that leaves out latencies; nothing was measured. The model: {MODEL}.",
                gpu.name
            ),
            (false, None) => "There are no times: nothing is known of the GPU.".into(),
        }
    }

    /// The same in a few words.
    pub fn short_times(&self) -> String {
        match self.gpu {
            Some(gpu) if !self.profile.is_measured() => format!("Predicted for {}, not measured.", gpu.name),
            _ => self.times(),
        }
    }

    pub fn gpu(&self) -> Option<&'static Gpu> {
        self.gpu
    }

    /// Seconds of kernels, copies and fills, one after the other.
    fn seconds(&self) -> f64 {
        self.rows.iter().map(|row| row.seconds).sum()
    }

    fn num_images(&self) -> usize {
        self.profile.batch * self.profile.num_batches
    }

    /// All of it, for programs.
    pub fn to_json(&self) -> Value {
        let Profile { scenario, device, clock, batch, num_batches, num_bytes, num_unresolved, .. } = self.profile;
        let is_measured = self.profile.is_measured();
        json!({
            "program": format!("dctflow {}", env!("CARGO_PKG_VERSION")),
            "commit": commit(),
            "command": command().join(" "),
            "scenario": scenario.name,
            "model": self.model,
            "device": device.name,
            "times": if is_measured { "measured" } else { "predicted" },
            "clock": is_measured.then(|| clock.description()),
            "gpu": self.gpu.map(|gpu| gpu.name),
            "prediction_model": self.gpu.map(|_| MODEL),
            "batch": batch,
            "batches": num_batches,
            "images": self.num_images(),
            "file_bytes": num_bytes,
            "symbols": (self.num_symbols > 0).then_some(self.num_symbols),
            "counted_images": self.profile.num_counted_images,
            "unresolved_images": num_unresolved,
            "unmatched_launches": self.profile.num_unmatched,
            "seconds": self.seconds(),
            "kernels": self.rows,
        })
    }

    /// Two tables: times and launches, then work and rates.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n", self.title(), self.times());
        let unit = if self.profile.is_measured() { "us" } else { "us (predicted)" };
        let _ = write!(
            text,
            "\n{:<35} {:>5} {:>15} {:>9} {:>9} {:>9} {:>6} {:>15} {:>7} {:>5} {:>8} {:>7} {:>7}\n",
            "", "calls", unit, "mean", "min", "max", "share", "CTAs", "threads", "regs", "smem KB", "CTAs/SM", "occup."
        );
        self.for_each_stage(&mut text, Row::write_times);
        let _ = write!(
            text,
            "\n{:<35} {:>9} {:>8} {:>6} {:>9} {:>8} {:>6} {:>9} {:>6} {:>9} {:>8} {:>7} {:>8} {:>8} {:>8} {:>11}\n",
            "",
            "MB",
            "GB/s",
            "peak",
            "GFLOP",
            "TFLOP/s",
            "peak",
            "Minstr.",
            "peak",
            "Msymbols",
            "G/s",
            "redund.",
            "warp max",
            "SASS/sym",
            "barriers",
            "pred. bound"
        );
        self.for_each_stage(&mut text, Row::write_work);
        let _ = write!(text, "\n{}", self.summary());
        text
    }

    fn for_each_stage(&self, text: &mut String, write: fn(&Row, &mut String)) {
        let mut stage = "";
        for row in &self.rows {
            if row.stage != stage {
                stage = row.stage;
                let _ = writeln!(text, "{stage}");
            }
            write(row, text);
        }
    }

    /// Sums, one after the other on the device.
    fn summary(&self) -> String {
        let mut text = String::new();
        let how = if self.profile.is_measured() { "measured" } else { "predicted" };
        for stage in ["decode", "input", "network"] {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.stage == stage).collect();
            if !rows.is_empty() {
                let transfers: f64 = rows.iter().filter(|row| row.is_transfer()).map(|row| row.seconds).sum();
                let all: f64 = rows.iter().map(|row| row.seconds).sum();
                let ms = |seconds: f64| 1e3 * seconds / self.num_images() as f64 * 1000.0;
                let (kernels, transfers) = (ms(all - transfers), ms(transfers));
                let _ = writeln!(
                    text,
                    "{stage}: {kernels:.3} ms of kernels and {transfers:.3} ms of copies for 1000 images ({how})"
                );
            }
        }
        if self.profile.num_unresolved > 0 {
            let _ = writeln!(text, "{} images are left to the CPU after all", self.profile.num_unresolved);
        }
        if let Some(counted) = self.profile.num_counted_images {
            let _ = writeln!(text, "symbols were counted in {counted} of the images, and taken for all by bytes");
        }
        if self.profile.num_unmatched > 0 {
            let _ = writeln!(
                text,
                "{} launches are not those of the plans: their work is unknown",
                self.profile.num_unmatched
            );
        }
        text
    }
}

impl Row {
    fn new(spans: &[&DeviceSpan], profile: &Profile, gpu: Option<&Gpu>, seconds_of_all: f64, num_symbols: u64) -> Self {
        let first = spans[0];
        let times = || spans.iter().map(|span| profile.seconds(span));
        let seconds: f64 = times().sum();
        let sum = |part: fn(&Work) -> f64| spans.iter().map(|span| part(&span.work)).sum::<f64>();
        let (bytes, flops) = (sum(|work| work.bytes), sum(|work| work.flops));
        let warp_instructions: Option<f64> = spans.iter().map(|span| span.work.warp_instructions).sum();
        let is_on_tensor_cores = first.work.is_on_tensor_cores;
        // Rates of nothing, or in no time, are none.
        let rate = |amount: f64| (amount > 0.0 && seconds > 0.0).then(|| amount / seconds);
        let is_transfer = is_transfer(&first.recorded.operation);
        let bytes_peak = gpu.map(|gpu| 1e9 * if is_transfer { gpu.pcie_gb_per_s } else { gpu.dram_gb_per_s });
        let tensor_peak = gpu.filter(|_| is_on_tensor_cores).map(|gpu| 1e12 * gpu.tensor_tflop_per_s);
        let share = |amount: f64, peak: Option<f64>| Some(rate(amount)? / peak?);
        let counted = match first.recorded.operation {
            StreamOperation::Launch { kernel, .. } => profile.counts.get(&kernel).map(|counts| (kernel, counts)),
            _ => None,
        };
        Self {
            stage: first.stage.name(),
            name: first.recorded.operation.name(),
            calls: spans.len() as u64,
            seconds,
            seconds_mean: seconds / spans.len() as f64,
            seconds_min: times().fold(f64::INFINITY, f64::min),
            seconds_max: times().fold(0.0, f64::max),
            share: if seconds_of_all > 0.0 { seconds / seconds_of_all } else { 0.0 },
            launch: LaunchShape::of(spans, gpu),
            bytes,
            gb_per_s: rate(bytes).map(|rate| rate / 1e9),
            share_of_bytes_peak: share(bytes, bytes_peak),
            flops,
            tflop_per_s: rate(flops).map(|rate| rate / 1e12),
            share_of_tensor_peak: share(flops, tensor_peak),
            warp_instructions,
            share_of_issue_peak: warp_instructions.and_then(|amount| share(amount, gpu.map(Gpu::issue_rate))),
            counts: counted.map(|(kernel, counts)| RowCounts::new(kernel, counts, seconds, num_symbols)),
            predicted_bound: largest_bound(spans).map(Bound::name),
            predicted_seconds: spans.iter().map(|span| span.prediction.map(|p| p.seconds)).sum(),
            work: Work { bytes, flops, warp_instructions, is_on_tensor_cores },
        }
    }

    pub fn is_transfer(&self) -> bool {
        ["upload", "download"].contains(&self.name)
    }

    fn write_times(&self, text: &mut String) {
        let us = |seconds: f64| format!("{:.2}", 1e6 * seconds);
        let _ = write!(
            text,
            "  {:<33} {:>5} {:>15} {:>9} {:>9} {:>9} {:>6}",
            self.name,
            self.calls,
            us(self.seconds),
            us(self.seconds_mean),
            us(self.seconds_min),
            us(self.seconds_max),
            percent(Some(self.share)),
        );
        if let Some(launch) = &self.launch {
            let LaunchShape { ctas_min, ctas_max, threads, registers, smem_bytes, ctas_per_sm, occupancy } = launch;
            let ctas = if ctas_min == ctas_max { ctas_min.to_string() } else { format!("{ctas_min}-{ctas_max}") };
            let count = |count: &Option<u32>| count.map_or("-".into(), |count| count.to_string());
            let _ = write!(
                text,
                " {ctas:>15} {threads:>7} {:>5} {:>8.1} {:>7} {:>7}",
                count(registers),
                f64::from(*smem_bytes) / 1024.0,
                count(ctas_per_sm),
                percent(*occupancy),
            );
        }
        text.push('\n');
    }

    fn write_work(&self, text: &mut String) {
        let number = |value: Option<f64>, scale: f64, decimals: usize| {
            value.filter(|value| *value > 0.0).map_or("-".into(), |value| format!("{:.decimals$}", value / scale))
        };
        let _ = write!(
            text,
            "  {:<33} {:>9} {:>8} {:>6} {:>9} {:>8} {:>6} {:>9} {:>6}",
            self.name,
            number(Some(self.bytes), 1e6, 3),
            number(self.gb_per_s, 1.0, 1),
            percent(self.share_of_bytes_peak),
            number(Some(self.flops), 1e9, 3),
            number(self.tflop_per_s, 1.0, 2),
            percent(self.share_of_tensor_peak),
            number(self.warp_instructions, 1e6, 3),
            percent(self.share_of_issue_peak),
        );
        let counts = self.counts.as_ref();
        let of_symbols = |part: fn(&RowCounts) -> Option<f64>| counts.filter(|c| c.symbols > 0).and_then(part);
        let _ = writeln!(
            text,
            " {:>9} {:>8} {:>7} {:>8} {:>8} {:>8} {:>11}",
            number(of_symbols(|counts| Some(counts.symbols as f64)), 1e6, 3),
            number(of_symbols(|counts| counts.symbols_per_s), 1e9, 2),
            number(of_symbols(|counts| counts.symbols_per_symbol), 1.0, 3),
            number(of_symbols(|counts| counts.warp_max_per_symbol), 1.0, 3),
            number(of_symbols(|counts| counts.instructions_per_symbol.map(f64::from)), 1.0, 0),
            number(counts.map(|counts| counts.barriers_per_cta), 1.0, 1),
            self.predicted_bound.unwrap_or("-"),
        );
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share))
}

fn is_transfer(operation: &StreamOperation) -> bool {
    matches!(operation, StreamOperation::Upload { .. } | StreamOperation::Download { .. })
}

/// What most of the predicted time is spent on.
fn largest_bound(spans: &[&DeviceSpan]) -> Option<Bound> {
    let mut seconds: BTreeMap<&'static str, (f64, Bound)> = BTreeMap::new();
    for prediction in spans.iter().filter_map(|span| span.prediction) {
        seconds.entry(prediction.bound.name()).or_insert((0.0, prediction.bound)).0 += prediction.seconds;
    }
    seconds.into_values().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, bound)| bound)
}

impl LaunchShape {
    /// `None` for copies and fills.
    fn of(spans: &[&DeviceSpan], gpu: Option<&Gpu>) -> Option<Self> {
        let mut launches = spans.iter().filter_map(|span| match span.recorded.operation {
            StreamOperation::Launch { kernel, grid, smem_tail_bytes } => Some((kernel, grid, smem_tail_bytes)),
            _ => None,
        });
        let (kernel, grid, first_tail_bytes) = launches.next()?;
        let (mut ctas, mut tail_bytes) = ((grid.num_ctas(), grid.num_ctas()), first_tail_bytes);
        for (_, grid, bytes) in launches {
            ctas = (ctas.0.min(grid.num_ctas()), ctas.1.max(grid.num_ctas()));
            tail_bytes = tail_bytes.max(bytes);
        }
        let budget = compiled::budget(kernel.name());
        let measured = spans.iter().find_map(|span| span.recorded.registers);
        let registers = measured.or(budget.map(|budget| budget.registers));
        let smem_bytes = budget.map_or(0, |budget| budget.smem_bytes) + tail_bytes;
        let threads = kernel.info().threads;
        let occupancy: Option<Occupancy> =
            gpu.zip(registers).map(|(gpu, registers)| gpu.occupancy(CtaNeeds { threads, registers, smem_bytes }));
        Some(Self {
            ctas_min: ctas.0,
            ctas_max: ctas.1,
            threads,
            registers,
            smem_bytes,
            ctas_per_sm: occupancy.map(|occupancy| occupancy.ctas),
            occupancy: occupancy.map(|occupancy| occupancy.share),
        })
    }
}

impl RowCounts {
    fn new(kernel: KernelId, counts: &KernelCounts, seconds: f64, num_symbols: u64) -> Self {
        let Count { total, warp_max } = counts.count(Counter::Symbols);
        let per_symbol = |count: u64| (num_symbols > 0).then(|| count as f64 / num_symbols as f64);
        Self {
            symbols: total,
            symbols_warp_max: warp_max,
            symbols_per_symbol: per_symbol(total),
            warp_max_per_symbol: per_symbol(warp_max),
            symbols_per_s: (seconds > 0.0).then(|| total as f64 / seconds),
            barriers_per_cta: counts.count(Counter::Barriers).total as f64 / counts.num_ctas.max(1) as f64,
            instructions_per_symbol: instructions_per_symbol(kernel),
        }
    }
}
