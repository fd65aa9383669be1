//! Records as text.

use std::fmt::Write;

use super::record::{Measurement, Record};

/// Where, with what, and every measurement.
pub fn tables(record: &Record) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<24}{value}");
    };
    let Record { machine, data, .. } = record;
    row("program", format!("{}, commit {}", record.program, record.commit));
    row("machine", format!("{}, {} cores, {}", machine.cpu, machine.cores, machine.os));
    if let Some(gpu) = &record.gpu {
        row("GPU", format!("{}, driver {}", gpu.name, gpu.driver));
    }
    row("input", format!("{}; {:.1} MB, SHA-256 {:.12}...", data.source, data.bytes as f64 / 1e6, data.sha256));
    for result in &record.results {
        row("", String::new());
        rows(result, &mut row);
    }
    if let Some(error) = &record.stopped {
        row("", String::new());
        row("not all was measured", error.clone());
    }
    text
}

fn rows(result: &Measurement, row: &mut impl FnMut(&str, String)) {
    row("scenario", result.settings.name());
    row("measured", format!("{} images in {:.1} s", result.images, result.seconds));
    if let Some(offered) = result.offered_per_s {
        row("images/s offered", format!("{offered:.1}"));
        row("images per batch", format!("{:.1}", result.mean_batch));
    }
    let rate = if result.offered_per_s.is_some() { "images/s answered" } else { "images/s" };
    row(rate, format!("{:.1} (windows vary by {:.1} %)", result.images_per_s, 100.0 * result.rate_cv));
    if let (Some(megabytes), Some(megapixels)) = (result.mb_in_per_s, result.mpixels_per_s) {
        row("MB/s in", format!("{megabytes:.2}"));
        row("Mpixel/s", format!("{megapixels:.2}"));
    }
    let latency = &result.latency;
    let quantiles =
        [("p50", latency.ms_p50), ("p90", latency.ms_p90), ("p95", latency.ms_p95), ("p99", latency.ms_p99)];
    let quantiles = quantiles.map(|(name, ms)| format!("{name} {ms:.1}")).join(", ");
    row(&format!("ms per {}", latency.of), format!("{quantiles}, max {:.1}", latency.ms_max));
    row("CPU-s per 1000 images", format!("{:.2}", result.cpu_s_per_1000_images));
    let total: f64 = result.stages.iter().map(|stage| stage.seconds).sum();
    for stage in &result.stages {
        let share = 100.0 * stage.seconds / total.max(f64::MIN_POSITIVE);
        row(&format!("  {}", stage.name), format!("{:.2} ({share:.1} %)", stage.ms_per_image));
    }
    if let Some(left) = left_to_cpu(result) {
        row("left to the CPU", left);
    }
    if let Some(bytes) = result.peak_memory_bytes {
        row("peak memory", format!("{:.0} MB", bytes as f64 / 1e6));
    }
    if let (Some(on_device), Some(pinned)) = (result.peak_device_memory_bytes, result.peak_pinned_memory_bytes) {
        row("  of the device, pinned", format!("{:.0} MB, {:.0} MB", on_device as f64 / 1e6, pinned as f64 / 1e6));
    }
    if let Some(bytes) = result.uploaded_bytes_per_image {
        row("uploaded per image", format!("{:.1} kB", bytes / 1e3));
    }
    if let Some(share) = result.device_busy_share {
        row("device busy", format!("{:.1} %", 100.0 * share));
    }
    if let Some(used) = &result.gpu {
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.0}"));
        row(
            "GPU MHz, watts",
            format!(
                "{} (least {}), {}",
                number(used.sm_clock_mhz_mean),
                number(used.sm_clock_mhz_min),
                number(used.power_watts_mean)
            ),
        );
        if !used.throttle_reasons.is_empty() {
            row("  clocks held down by", used.throttle_reasons.join(", "));
        }
    }
    let outcomes: Vec<String> = result.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    row("outcomes", outcomes.join(", "));
    row("result", if result.valid { "valid".into() } else { format!("NOT VALID: {}", doubts(result)) });
}

/// What the CPU decoded for a device, if it did: how many images, and the CPU time of it.
pub fn left_to_cpu(result: &Measurement) -> Option<String> {
    let num_images = result.images_left_to_cpu.filter(|&num_images| num_images > 0)?;
    let ms = result.left_to_cpu_s_per_1000_images?;
    Some(format!("{num_images} images, {ms:.3} CPU-ms per image of all"))
}

/// The reasons of a result that is not valid, in one line.
pub fn doubts(result: &Measurement) -> String {
    result.reasons.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; ")
}
