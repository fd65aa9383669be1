//! Rooflines of a profile (Williams, Waterman, Patterson, CACM 2009): operations in a second over operations a byte, below what memory and
//! tensor cores allow; and the same in instructions of warps (Ding, Williams, PMBS 2019) for kernels that decode, which have no operations to
//! speak of.

use dctflow::{Error, ErrorKind, Result};

use super::gpu::Gpu;
use super::table::{Report, Row};
use crate::cli::chart::{Charts, Roof, Series};

/// The charts as one SVG.
///
/// # Errors
/// `Usage`: the GPU is none whose peaks are known.
pub fn svg(report: &Report<'_>) -> Result<String> {
    let gpu = report.gpu().ok_or_else(|| {
        let message = "nothing is known of this GPU's peaks: name one that is like it (--gpu)";
        Error::new(ErrorKind::Usage, message)
    })?;
    let mut charts = Charts::default();
    let memory = gpu.dram_gb_per_s * 1e9;
    add(
        &mut charts,
        gpu,
        &report.rows,
        "Roofline of operations",
        Axis {
            labels: ("operations / byte of device memory", "TFLOP/s"),
            roof: Roof { slope: memory / 1e12, ceiling: gpu.tensor_tflop_per_s },
            unit: 1e12,
            amount: |row| row.work.flops,
        },
    );
    add(
        &mut charts,
        gpu,
        &report.rows,
        "Roofline of instructions",
        Axis {
            labels: ("warp instructions / byte of device memory", "G warp instructions/s"),
            roof: Roof { slope: memory / 1e9, ceiling: gpu.issue_rate() / 1e9 },
            unit: 1e9,
            amount: |row| row.work.warp_instructions.unwrap_or(0.0),
        },
    );
    Ok(charts.to_svg(&format!("{}. {}", report.title(), report.short_times())))
}

/// What a roofline counts.
struct Axis {
    labels: (&'static str, &'static str),
    roof: Roof,
    /// Of the y axis.
    unit: f64,
    amount: fn(&Row) -> f64,
}

/// One roofline, unless no kernel has a place in it.
fn add(charts: &mut Charts, gpu: &Gpu, rows: &[Row], title: &str, axis: Axis) {
    let points = rows.iter().filter(|row| !row.is_transfer() && row.seconds > 0.0 && row.work.bytes > 0.0);
    let series: Vec<Series> = points
        .filter(|row| (axis.amount)(row) > 0.0)
        .map(|row| {
            let amount = (axis.amount)(row);
            let point = (amount / row.work.bytes, amount / row.seconds / axis.unit);
            Series { name: format!("{} {}", row.stage, row.name), points: vec![point] }
        })
        .collect();
    if !series.is_empty() {
        charts.roofline(&format!("{title}, {}", gpu.name), axis.labels, axis.roof, &series);
    }
}
