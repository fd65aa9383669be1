//! The record, as JSON and as a table.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use dctflow::Result;
use dctflow::device::Device;
use dctflow::session::DeviceChoice;
use serde::Serialize;

use super::File;
use super::measure::{CopyRates, Measured};

const WARP_THREADS: f64 = 32.0;

/// Everything that was measured.
#[derive(Serialize)]
pub struct Record {
    program: String,
    started_unix_s: u64,
    command: Vec<String>,
    device: String,
    device_name: Option<String>,
    num_sms: Option<u32>,
    /// The one that cycles are counted with.
    sm_clock_mhz: Option<u32>,
    limits: Option<Limits>,
    results: Vec<Entry>,
}

/// What the device copies, measured beside.
#[derive(Serialize)]
struct Limits {
    upload_gb_per_s: f64,
    download_gb_per_s: f64,
    dram_gb_per_s: f64,
}

/// One set in batches of one size. Seconds are medians over batches; bytes are those of the files.
#[derive(Serialize)]
struct Entry {
    set: &'static str,
    batch: usize,
    num_batches: u64,
    bytes: u64,
    symbols: u64,
    unresolved_images: usize,
    wall_s: f64,
    plan_s: f64,
    upload_s: Option<f64>,
    decode_s: Option<f64>,
    download_s: Option<f64>,
    /// Of decoding alone; on the CPU, of everything.
    gb_per_s: f64,
    images_per_s: f64,
    /// With copies beside the decoding of other batches: as fast as the slowest of the three.
    overlapped_gb_per_s: Option<f64>,
    /// Decoding, by bytes of files, beside the rate of uploads.
    share_of_upload_limit: Option<f64>,
    /// What must be moved in device memory at the least, beside the rate of copies there.
    share_of_dram_limit: Option<f64>,
    sm_cycles_per_warp_symbol: Option<f64>,
    operations: Vec<Operation>,
}

#[derive(Serialize)]
struct Operation {
    name: &'static str,
    seconds: f64,
    /// Of all operations between upload and download.
    share: Option<f64>,
    sm_cycles_per_warp_symbol: Option<f64>,
}

impl Record {
    /// A record without results.
    pub fn new(kind: DeviceChoice, device: Option<&Arc<dyn Device>>, sm_clock_mhz: Option<u32>) -> Result<Self> {
        let info = device.map(|device| device.info());
        let limits = device.map(CopyRates::of).transpose()?.map(|rates| Limits {
            upload_gb_per_s: rates.upload / 1e9,
            download_gb_per_s: rates.download / 1e9,
            dram_gb_per_s: rates.dram / 1e9,
        });
        Ok(Self {
            program: format!("dctflow {}, device_decode", env!("CARGO_PKG_VERSION")),
            started_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            command: std::env::args().skip(1).collect(),
            device: kind.to_string(),
            device_name: info.map(|info| info.name.clone()),
            num_sms: info.map(|info| info.num_sms),
            sm_clock_mhz: sm_clock_mhz.or(info.and_then(|info| info.sm_clock_mhz)),
            limits,
            results: Vec::new(),
        })
    }

    /// Adds a result, and gives its line of the table.
    pub fn add(&mut self, set: &'static str, batch: &[&File], measured: Measured) -> String {
        let entry = self.entry(set, batch, measured);
        let line = entry.line();
        self.results.push(entry);
        line
    }

    fn entry(&self, set: &'static str, batch: &[&File], measured: Measured) -> Entry {
        let bytes: u64 = batch.iter().map(|file| file.bytes.len() as u64).sum();
        let symbols: u64 = batch.iter().map(|file| file.num_symbols).sum();
        let phases = measured.phases.as_ref();
        let decode_s = phases.map(|phases| phases.decode_s);
        let slowest_s = phases.map(|phases| phases.upload_s.max(phases.decode_s).max(phases.download_s));
        let gb_per_s = |seconds: f64| bytes as f64 / seconds / 1e9;
        let rate_s = decode_s.unwrap_or(measured.wall_s);
        let limit = |rate: fn(&Limits) -> f64| self.limits.as_ref().map(rate);
        let dram_gb = measured.least_dram_bytes as f64 / 1e9;
        let is_copy = |name: &str| name == "upload" || name == "download";
        let on_device = measured.operations.iter().filter(|(name, _)| !is_copy(name));
        let on_device_s: f64 = on_device.map(|(_, seconds)| seconds).sum();
        let operations = measured.operations.iter().map(|&(name, seconds)| Operation {
            name,
            seconds,
            share: (!is_copy(name)).then_some(seconds / on_device_s),
            sm_cycles_per_warp_symbol: self.cycles_per_warp_symbol(seconds, symbols).filter(|_| !is_copy(name)),
        });
        Entry {
            set,
            batch: batch.len(),
            num_batches: measured.num_batches,
            bytes,
            symbols,
            unresolved_images: measured.num_unresolved,
            wall_s: measured.wall_s,
            plan_s: measured.plan_s,
            upload_s: phases.map(|phases| phases.upload_s),
            decode_s,
            download_s: phases.map(|phases| phases.download_s),
            gb_per_s: gb_per_s(rate_s),
            images_per_s: batch.len() as f64 / rate_s,
            overlapped_gb_per_s: slowest_s.map(gb_per_s),
            share_of_upload_limit: decode_s.zip(limit(|l| l.upload_gb_per_s)).map(|(s, limit)| gb_per_s(s) / limit),
            share_of_dram_limit: decode_s.zip(limit(|l| l.dram_gb_per_s)).map(|(s, limit)| dram_gb / s / limit),
            sm_cycles_per_warp_symbol: decode_s.and_then(|seconds| self.cycles_per_warp_symbol(seconds, symbols)),
            operations: operations.collect(),
        }
    }

    /// Cycles of one multiprocessor for 32 symbols of the files.
    fn cycles_per_warp_symbol(&self, seconds: f64, symbols: u64) -> Option<f64> {
        let cycles_per_s = f64::from(self.sm_clock_mhz?) * 1e6 * f64::from(self.num_sms?);
        Some(seconds * cycles_per_s / (symbols as f64 / WARP_THREADS))
    }

    /// One line per result, and under each what its kernels took.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let name = self.device_name.as_deref().unwrap_or("all threads");
        let _ = writeln!(table, "decoding on {} ({name})", self.device);
        if let Some(limits) = &self.limits {
            let _ = writeln!(
                table,
                "copies: {:.1} GB/s to the device, {:.1} GB/s from it, {:.0} GB/s within it",
                limits.upload_gb_per_s, limits.download_gb_per_s, limits.dram_gb_per_s
            );
        }
        for entry in &self.results {
            let _ = writeln!(table, "{}", entry.line());
            for operation in &entry.operations {
                let share = operation.share.map_or(String::new(), |share| format!("{:5.1} %", 100.0 * share));
                let cycles = operation.sm_cycles_per_warp_symbol.map_or(String::new(), |c| format!("{c:8.1} cycles"));
                let _ =
                    writeln!(table, "    {:<28}{:>10.1} us {share}{cycles}", operation.name, 1e6 * operation.seconds);
            }
        }
        table
    }

    /// As a file.
    pub fn to_json(&self) -> std::result::Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|json| json + "\n")
    }
}

impl Entry {
    fn line(&self) -> String {
        let percent = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.0} %", 100.0 * share));
        let ms = |seconds: Option<f64>| seconds.map_or("-".into(), |seconds| format!("{:.3}", 1e3 * seconds));
        format!(
            "{}, batch {}: {:.2} GB/s, {:.0} images/s; ms: upload {}, decode {}, download {}, all {:.3}; {} of upload limit, {} of DRAM \
             limit; {} cycles per warp-symbol; {} left to the CPU",
            self.set,
            self.batch,
            self.gb_per_s,
            self.images_per_s,
            ms(self.upload_s),
            ms(self.decode_s),
            ms(self.download_s),
            1e3 * self.wall_s,
            percent(self.share_of_upload_limit),
            percent(self.share_of_dram_limit),
            self.sm_cycles_per_warp_symbol.map_or("-".into(), |cycles| format!("{cycles:.1}")),
            self.unresolved_images,
        )
    }
}
