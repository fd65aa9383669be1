//! Runs the emulator's own test kernels.

use dctflow::Error;
use dctflow::abi::*;
use dctflow::device::emulator::{Emulator, EmulatorOptions, Schedule};
use dctflow::device::{Count, Device, DeviceBuffer, Grid, Stream};
use std::sync::Arc;
use std::time::Duration;

/// The schedules that every test passes.
pub const SCHEDULES: [Schedule; 5] =
    [Schedule::Forward, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2), Schedule::Random(3)];

/// Words of scratch: not a multiple of 64, so that a write just behind it meets no guard page.
pub const NUM_SCRATCH: usize = 300;

const THREADS: usize = 64;

/// What came of a launch.
pub struct Run {
    /// What each thread wrote, or why the launch failed.
    pub found: Result<Vec<u32>, Error>,
    /// The scratch memory afterwards.
    pub scratch: Vec<u32>,
    /// What was counted.
    pub symbols: Count,
}

impl Run {
    /// `run_word` with one CTA.
    pub fn word(word: SelftestWord, schedule: Schedule) -> Self {
        Self::word_on(word, schedule, 1)
    }

    /// `run_word` with a row of CTAs.
    pub fn word_on(word: SelftestWord, schedule: Schedule, num_ctas: u32) -> Self {
        Self::word_on_grid(word, schedule, Grid::x(num_ctas))
    }

    /// `run_word` with any grid.
    pub fn word_on_grid(word: SelftestWord, schedule: Schedule, grid: Grid) -> Self {
        Self::emulate::<RunWord>(word, schedule, grid, &initial_scratch(word))
    }

    /// `run_word` on any device, which counts nothing.
    pub fn word_on_device(word: SelftestWord, device: &Arc<dyn Device>, grid: Grid) -> Self {
        Self::launch::<RunWord>(word, device, grid, &initial_scratch(word))
    }

    /// `break_rule` with one CTA.
    pub fn mistake(mistake: SelftestMistake, schedule: Schedule) -> Self {
        Self::emulate::<BreakRule>(mistake, schedule, Grid::x(1), &[0; NUM_SCRATCH])
    }

    fn emulate<K: Kernel<Params = SelftestParams>>(
        which: u32,
        schedule: Schedule,
        grid: Grid,
        scratch: &[u32],
    ) -> Self {
        let options = EmulatorOptions {
            schedule,
            num_os_threads: 2,
            spin_limit: Duration::from_millis(50),
            ..EmulatorOptions::default()
        };
        let emulator = Emulator::new(options).unwrap();
        let device: Arc<dyn Device> = emulator.clone();
        let run = Self::launch::<K>(which, &device, grid, scratch);
        Self { symbols: emulator.count(K::ID, Counter::Symbols), ..run }
    }

    fn launch<K: Kernel<Params = SelftestParams>>(
        which: u32,
        device: &Arc<dyn Device>,
        grid: Grid,
        scratch: &[u32],
    ) -> Self {
        let stream = Stream::new(device).unwrap();
        let num_out = grid.num_ctas() as usize * THREADS;
        let out_buffer = DeviceBuffer::new(device, num_out * 4).unwrap();
        let scratch_buffer = DeviceBuffer::new(device, NUM_SCRATCH * 4).unwrap();
        let params = SelftestParams {
            out: out_buffer.ptr(0),
            scratch: scratch_buffer.ptr(0),
            num_out: num_out as u32,
            num_scratch: NUM_SCRATCH as u32,
            which,
            reserved: 0,
        };
        let mut out = vec![0u32; num_out];
        let mut scratch = scratch.to_vec();
        // Four words of tail per thread for `run_word`, one for `break_rule`.
        let smem_tail_bytes = if K::ID == RunWord::ID { 1024 } else { 256 };
        // SAFETY: both buffers live until the stream is done, and are as long as the parameters say; `scratch` is not touched before.
        let mut run = || unsafe {
            stream.upload(scratch_buffer.all(), bytemuck::cast_slice(&scratch))?;
            stream.launch::<K>(grid, smem_tail_bytes, &params)?;
            stream.synchronize()?;
            stream.download_now(bytemuck::cast_slice_mut(&mut out), out_buffer.all())?;
            stream.download_now(bytemuck::cast_slice_mut(&mut scratch), scratch_buffer.all())
        };
        let found = run().map(|()| out);
        Self { found, scratch, symbols: Count::default() }
    }
}

/// What scratch holds before `run_word`.
fn initial_scratch(word: SelftestWord) -> Vec<u32> {
    let start: &[u32] = match word {
        WORD_ATOMIC_MIN_MAX => &[u32::MAX, 0, -1000i32 as u32],
        WORD_ATOMIC_BITS => &[0, u32::MAX],
        WORD_ATOMIC_64_BIT => &[0, 0, 0, 0, u32::MAX, u32::MAX],
        _ => &[],
    };
    let mut scratch = vec![0; NUM_SCRATCH];
    scratch[..start.len()].copy_from_slice(start);
    scratch
}

/// The first GPU; where there is none, says so on stderr, or fails if `DCTFLOW_REQUIRE_GPU` is set.
#[cfg(feature = "cuda")]
pub fn gpu() -> Option<Arc<dyn Device>> {
    match dctflow::device::cuda::Cuda::open(0) {
        Ok(cuda) => Some(cuda),
        Err(error) if std::env::var_os("DCTFLOW_REQUIRE_GPU").is_some() => panic!("{error}"),
        Err(error) => {
            crate::say::skipped(format_args!("words of CUDA on a GPU: {error}"));
            None
        }
    }
}
