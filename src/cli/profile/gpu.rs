//! GPUs by their data sheets, how many CTAs fit a multiprocessor, and the model that predicts times.

use dctflow::abi::WARP_THREADS;

/// A GPU: figures of NVIDIA's data sheets and architecture white papers, and limits of the CUDA programming guide's table of compute capabilities.
#[derive(Debug, PartialEq)]
pub struct Gpu {
    /// As `--gpu` names it.
    pub name: &'static str,
    /// The names that the driver gives it, without the maker's: other boards with the same chip have other clocks and memory.
    device_names: &'static [&'static str],
    pub num_sms: u32,
    /// The boost clock that the peak rates are stated for.
    pub l2_bytes: u64,
    pub clock_mhz: f64,
    pub dram_gb_per_s: f64,
    /// One direction.
    pub pcie_gb_per_s: f64,
    /// f16 matrix products with f32 sums, without sparsity.
    pub tensor_tflop_per_s: f64,
    max_warps: u32,
    max_ctas: u32,
    smem_bytes: u32,
}

/// Registers of a multiprocessor, on every GPU of the table.
const NUM_REGISTERS: u32 = 65_536;
/// A warp's registers come in pieces of so many.
const REGISTER_UNIT: u32 = 256;
/// Shared memory that the system takes of each CTA, and what a CTA's comes in pieces of.
const RESERVED_SMEM_BYTES: u32 = 1024;
const SMEM_UNIT_BYTES: u32 = 128;
/// Warp instructions that a multiprocessor starts in a cycle.
const ISSUES_PER_CYCLE: f64 = 4.0;
/// From the end of one launch to the start of the next on a stream, as `stages` estimates it.
const LAUNCH_CYCLES: f64 = 2000.0;

const A100_SXM: Gpu = Gpu {
    name: "a100-sxm",
    device_names: &["A100-SXM4-80GB"],
    num_sms: 108,
    l2_bytes: 40 << 20,
    clock_mhz: 1410.0,
    dram_gb_per_s: 2039.0,
    pcie_gb_per_s: 32.0,
    tensor_tflop_per_s: 312.0,
    max_warps: 64,
    max_ctas: 32,
    smem_bytes: 164 << 10,
};

const H100_SXM: Gpu = Gpu {
    name: "h100-sxm",
    device_names: &["H100 80GB HBM3"],
    num_sms: 132,
    l2_bytes: 50 << 20,
    clock_mhz: 1830.0,
    dram_gb_per_s: 3350.0,
    pcie_gb_per_s: 64.0,
    tensor_tflop_per_s: 989.4,
    max_warps: 64,
    max_ctas: 32,
    smem_bytes: 228 << 10,
};

const H200_SXM: Gpu =
    Gpu { name: "h200-sxm", device_names: &["H200"], l2_bytes: 60 << 20, dram_gb_per_s: 4800.0, ..H100_SXM };

/// The boards for PCIe have less power to spend: NVIDIA states their tensor peaks for lower clocks.
static GPUS: [Gpu; 10] = [
    A100_SXM,
    H100_SXM,
    H200_SXM,
    L40S,
    Gpu { name: "a100-sxm-40gb", device_names: &["A100-SXM4-40GB"], dram_gb_per_s: 1555.0, ..A100_SXM },
    Gpu { name: "a100-pcie", device_names: &["A100 80GB PCIe"], dram_gb_per_s: 1935.0, ..A100_SXM },
    Gpu { name: "a100-pcie-40gb", device_names: &["A100-PCIE-40GB"], dram_gb_per_s: 1555.0, ..A100_SXM },
    Gpu {
        name: "h100-pcie",
        device_names: &["H100 PCIe"],
        num_sms: 114,
        clock_mhz: 1620.0,
        dram_gb_per_s: 2039.0,
        tensor_tflop_per_s: 756.4,
        ..H100_SXM
    },
    Gpu {
        name: "h100-nvl",
        device_names: &["H100 NVL"],
        clock_mhz: 1545.0,
        dram_gb_per_s: 3938.0,
        tensor_tflop_per_s: 835.5,
        ..H100_SXM
    },
    Gpu { name: "h200-nvl", device_names: &["H200 NVL"], clock_mhz: 1545.0, tensor_tflop_per_s: 835.5, ..H200_SXM },
];

const L40S: Gpu = Gpu {
    name: "l40s",
    device_names: &["L40S"],
    num_sms: 142,
    l2_bytes: 96 << 20,
    clock_mhz: 2520.0,
    dram_gb_per_s: 864.0,
    pcie_gb_per_s: 32.0,
    tensor_tflop_per_s: 362.0,
    max_warps: 48,
    max_ctas: 24,
    smem_bytes: 100 << 10,
};

/// What a CTA takes of a multiprocessor.
#[derive(Clone, Copy, Debug)]
pub struct CtaNeeds {
    pub threads: u32,
    /// Of a thread.
    pub registers: u32,
    pub smem_bytes: u32,
}

/// How full a multiprocessor gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Occupancy {
    pub ctas: u32,
    /// Of the warps that there can be.
    pub share: f64,
}

/// What a launch has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Bytes of device memory, each array that is touched counted once; of uploads and downloads, bytes copied.
    pub bytes: f64,
    /// Multiplications and additions of values.
    pub flops: f64,
    /// Instructions of warps, where they are known: those of the loops that a kernel spends its time in.
    pub warp_instructions: Option<f64>,
    /// Whether `flops` are done by tensor cores.
    pub is_on_tensor_cores: bool,
}

impl Work {
    /// A share of it.
    pub fn times(&self, share: f64) -> Self {
        Self {
            bytes: self.bytes * share,
            flops: self.flops * share,
            warp_instructions: self.warp_instructions.map(|instructions| instructions * share),
            ..*self
        }
    }
}

/// What a launch waits for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Launch,
    Issue,
    Memory,
    Tensor,
    Pcie,
}

impl Bound {
    pub fn name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Issue => "issue",
            Self::Memory => "DRAM",
            Self::Tensor => "tensor",
            Self::Pcie => "PCIe",
        }
    }
}

/// A time that was worked out, not measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    pub seconds: f64,
    pub bound: Bound,
}

/// The model, for the reader of a table.
pub const MODEL: &str = "2000 cycles a launch, plus the longest of: instructions of the kernel's loops / (4 x clock x SMs with a CTA); \
bytes of the arrays it touches / DRAM bandwidth; operations / tensor peak; for copies, bytes / PCIe bandwidth";

impl Gpu {
    pub const DEFAULT: &'static Self = &GPUS[1];

    /// Of `--gpu`.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        GPUS.iter().find(|gpu| gpu.name == name).ok_or_else(|| {
            let names: Vec<&str> = GPUS.iter().map(|gpu| gpu.name).collect();
            format!("known are {}", names.join(", "))
        })
    }

    /// Of the driver's name for it. A part of a GPU (MIG) is none.
    pub fn of_device(name: &str) -> Option<&'static Self> {
        let name = name.strip_prefix("NVIDIA ").unwrap_or(name).trim();
        GPUS.iter().find(|gpu| gpu.device_names.contains(&name))
    }

    /// How many CTAs fit a multiprocessor (CUDA programming guide, "Compute Capabilities", and the occupancy calculator of the toolkit).
    pub fn occupancy(&self, cta: CtaNeeds) -> Occupancy {
        let warps = cta.threads.div_ceil(WARP_THREADS).max(1);
        let warp_registers = (cta.registers * WARP_THREADS).next_multiple_of(REGISTER_UNIT).max(REGISTER_UNIT);
        let cta_smem_bytes = (cta.smem_bytes + RESERVED_SMEM_BYTES).next_multiple_of(SMEM_UNIT_BYTES);
        let by_registers = NUM_REGISTERS / warp_registers / warps;
        let ctas = (self.max_warps / warps).min(by_registers).min(self.smem_bytes / cta_smem_bytes).min(self.max_ctas);
        Occupancy { ctas, share: f64::from(ctas * warps) / f64::from(self.max_warps) }
    }

    /// Warp instructions in a second, all multiprocessors together.
    pub fn issue_rate(&self) -> f64 {
        ISSUES_PER_CYCLE * self.clock_mhz * 1e6 * f64::from(self.num_sms)
    }

    /// The time of a launch of `num_ctas`; see [`MODEL`].
    pub fn predict_launch(&self, work: &Work, num_ctas: u64) -> Prediction {
        let busy_share = (num_ctas as f64 / f64::from(self.num_sms)).min(1.0);
        let tensor_flops = if work.is_on_tensor_cores { work.flops } else { 0.0 };
        let candidates = [
            (Bound::Issue, work.warp_instructions.unwrap_or(0.0) / (self.issue_rate() * busy_share)),
            (Bound::Memory, work.bytes / (self.dram_gb_per_s * 1e9)),
            (Bound::Tensor, tensor_flops / (self.tensor_tflop_per_s * 1e12 * busy_share)),
        ];
        let launch_seconds = LAUNCH_CYCLES / (self.clock_mhz * 1e6);
        let least = (Bound::Launch, 0.0);
        let (bound, seconds) = candidates.into_iter().fold(least, |most, one| if one.1 > most.1 { one } else { most });
        let bound = if seconds < launch_seconds { Bound::Launch } else { bound };
        Prediction { seconds: launch_seconds + seconds, bound }
    }

    /// The time of a copy between host and device.
    pub fn predict_transfer(&self, bytes: f64) -> Prediction {
        Prediction { seconds: bytes / (self.pcie_gb_per_s * 1e9), bound: Bound::Pcie }
    }

    /// The time of a fill, or of a copy on the device, of which `bytes` are read or written in all.
    pub fn predict_memory(&self, bytes: f64) -> Prediction {
        Prediction { seconds: bytes / (self.dram_gb_per_s * 1e9), bound: Bound::Memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_known_by_both_names() {
        assert_eq!(Gpu::named("h100-sxm"), Ok(Gpu::DEFAULT));
        assert!(Gpu::named("h100").unwrap_err().contains("h200-sxm"));
        for (name, gpu) in [
            ("NVIDIA H200", "h200-sxm"),
            ("NVIDIA H200 NVL", "h200-nvl"),
            ("NVIDIA H100 80GB HBM3", "h100-sxm"),
            ("NVIDIA H100 PCIe", "h100-pcie"),
            ("NVIDIA A100-SXM4-80GB", "a100-sxm"),
            ("A100-PCIE-40GB", "a100-pcie-40gb"),
            ("NVIDIA A100 80GB PCIe", "a100-pcie"),
        ] {
            assert_eq!(Gpu::of_device(name).map(|gpu| gpu.name), Some(gpu), "{name}");
        }
        for name in ["NVIDIA GeForce RTX 4090", "NVIDIA H200 MIG 1g.18gb", "NVIDIA H100 96GB HBM3"] {
            assert_eq!(Gpu::of_device(name), None, "{name}");
        }
    }

    /// NVIDIA states the tensor peak as products in a cycle, times multiprocessors, times the clock that stands here.
    #[test]
    fn peaks_and_clocks_belong_together() {
        for gpu in &GPUS {
            let flops_per_cycle = gpu.tensor_tflop_per_s * 1e6 / gpu.clock_mhz / f64::from(gpu.num_sms);
            let expected = if gpu.name.starts_with('h') {
                4096.0
            } else if gpu.name == "l40s" {
                1024.0
            } else {
                2048.0
            };
            assert!((flops_per_cycle / expected - 1.0).abs() < 0.02, "{}: {flops_per_cycle}", gpu.name);
        }
    }

    #[test]
    fn the_scarcest_thing_limits_the_ctas() {
        let ctas =
            |gpu: &Gpu, threads, registers, smem_bytes| gpu.occupancy(CtaNeeds { threads, registers, smem_bytes }).ctas;
        assert_eq!(ctas(&H100_SXM, 128, 32, 0), 16, "64 warps");
        assert_eq!(ctas(&H100_SXM, 32, 32, 0), 32, "CTAs");
        assert_eq!(ctas(&H100_SXM, 128, 228, 0), 2, "registers: 29,696 a CTA");
        assert_eq!(ctas(&H100_SXM, 256, 40, 54_000), 4, "shared memory: 55,040 bytes a CTA");
        assert_eq!(ctas(&L40S, 128, 32, 49_152), 2);
        assert_eq!(ctas(&L40S, 128, 32, 101_400), 0, "more than there is");
        assert_eq!(H100_SXM.occupancy(CtaNeeds { threads: 128, registers: 228, smem_bytes: 0 }).share, 0.125);
    }

    #[test]
    fn the_longest_of_all_is_the_time() {
        let gpu = Gpu::DEFAULT;
        let launch = LAUNCH_CYCLES / 1.83e9;
        let predict = |work, num_ctas| gpu.predict_launch(&work, num_ctas);
        let nothing = predict(Work::default(), 1);
        assert_eq!((nothing.bound, nothing.seconds), (Bound::Launch, launch));
        let memory = predict(Work { bytes: 3.35e9, flops: 1.0, ..Work::default() }, 1000);
        assert_eq!(memory.bound, Bound::Memory);
        assert!((memory.seconds - launch - 1e-3).abs() < 1e-9);
        let issue = Work { warp_instructions: Some(gpu.issue_rate() * 1e-3), ..Work::default() };
        assert!((predict(issue, 132).seconds - launch - 1e-3).abs() < 1e-9);
        assert!((predict(issue, 66).seconds - launch - 2e-3).abs() < 1e-9, "half of the multiprocessors have a CTA");
        let tensor = Work { flops: 989.4e9, is_on_tensor_cores: true, ..Work::default() };
        assert_eq!(predict(tensor, 132).bound, Bound::Tensor);
        assert_eq!(gpu.predict_transfer(64e9), Prediction { seconds: 1.0, bound: Bound::Pcie });
    }
}
