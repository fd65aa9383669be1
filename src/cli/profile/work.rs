//! What each launch has to do, as far as the plans know: bytes, operations, and the instructions of the loops that it runs.

use std::collections::{BTreeMap, VecDeque};

use dctflow::abi::{
    AveragePixels, BuildBands, BuildTables, CONVOLVE_DEPTH, ClearUnfinished, Convolve64x64, Convolve128x64,
    Convolve128x128, CountDestuffed, Counter, Destuff, HuffmanSpec, IndexSegments, Kernel, KernelId, MarkBlocks,
    PlaceChannels, PlaceDestuffed, PoolMaximum, RefineBlocks, RefineSegments, ReportOutcomes, ResolveSubsequences,
    SynchronizeSubsequences, WARP_THREADS, WriteInput, WriteSegments, WriteSubsequences,
};
use dctflow::device::{Grid, KernelCounts, StreamOperation};
use dctflow::plan::{Array, DecodePlan, InputBatchPlan, NetworkPlan, NetworkStep, Operation};

use super::compiled::loop_instructions;
use super::gpu::Work;

/// Multiply-adds of one product of 8 x 8 blocks.
const BLOCK_MACS: f64 = 512.0;

/// The loops that pass symbols: what a warp pays for each step of its slowest lane.
const SYMBOL_LOOPS: [(KernelId, &str); 5] = [
    (SynchronizeSubsequences::ID, "return checkpoint == NUM_CHECKPOINTS"),
    (ResolveSubsequences::ID, "while (t.position_bits()"),
    (WriteSubsequences::ID, "while (reader.window.position_bits"),
    (WriteSegments::ID, "while (reader.window.position_bits"),
    (RefineBlocks::ID, "while (corrected != 0)"),
];

/// Instructions of a warp for each step of its slowest lane, where the kernel passes symbols: the compiler's.
pub fn instructions_per_symbol(kernel: KernelId) -> Option<u32> {
    let (_, end) = SYMBOL_LOOPS.iter().find(|(id, _)| *id == kernel)?;
    loop_instructions(kernel.name(), end)
}

/// The loops of `write_input`, vertical and horizontal, and the multiply-adds of a thread in one turn.
const INPUT_LOOPS: [(&str, f64); 2] = [("for (uint32_t v = 0; v < 8; ++v)", 128.0), ("place < place_end", 256.0)];

/// What the launches of a batch's decoding have to do, all launches of a kernel together. `counts` are those of such a batch on the emulator.
pub fn of_decoding(plan: &DecodePlan, counts: &BTreeMap<KernelId, KernelCounts>) -> BTreeMap<KernelId, Work> {
    let array = |array: Array| plan.array(array).len_bytes as f64;
    let data = plan.data_bytes as f64;
    let specs = (plan.specs.len() * size_of::<HuffmanSpec>()) as f64;
    let tables = array(Array::Tables);
    let tiles = array(Array::DestuffTiles);
    let destuffed = array(Array::Destuffed);
    let segments = array(Array::Segments);
    let subsequences = array(Array::Subsequences);
    let starts = array(Array::Starts);
    let results = array(Array::SegmentResults);
    // 16 bytes for a block of 128.
    let refined = array(Array::RefinedBlocks);
    let coefficients = plan.num_coefficients as f64 * size_of::<i16>() as f64;
    let mut work: BTreeMap<KernelId, Work> = [
        (BuildTables::ID, specs + tables),
        (CountDestuffed::ID, data + tiles),
        (PlaceDestuffed::ID, 2.0 * tiles + array(Array::ScanStates)),
        (Destuff::ID, data + tiles + destuffed + segments),
        (IndexSegments::ID, 2.0 * segments + array(Array::ScanStates)),
        (SynchronizeSubsequences::ID, tables + destuffed + subsequences),
        (ResolveSubsequences::ID, subsequences + starts),
        (ClearUnfinished::ID, results),
        (MarkBlocks::ID, refined + 8.0 * refined),
        (RefineSegments::ID, tables + destuffed + refined),
        (ReportOutcomes::ID, array(Array::Untrusted) + results + array(Array::Outcomes)),
    ]
    .map(|(kernel, bytes)| (kernel, Work { bytes, ..Work::default() }))
    .into();
    // Which of them writes how much is known by their symbols, or else by their tiles.
    let num_tiles = |kernel: KernelId| {
        let tiles = plan.waves.iter().map(|wave| match kernel {
            WriteSubsequences::ID => wave.subsequence_tiles.len(),
            WriteSegments::ID => wave.segment_tiles.len(),
            _ => wave.refine_block_tiles.len(),
        });
        tiles.sum::<usize>() as f64
    };
    let writers = [WriteSubsequences::ID, WriteSegments::ID, RefineBlocks::ID];
    let num_symbols = |kernel| counts.get(&kernel).map_or(0.0, |counts| counts.count(Counter::Symbols).total as f64);
    let by_symbols = writers.map(num_symbols);
    let shares = if by_symbols.iter().sum::<f64>() > 0.0 { by_symbols } else { writers.map(num_tiles) };
    let all = shares.iter().sum::<f64>().max(1.0);
    for (kernel, share) in writers.into_iter().zip(shares) {
        let bytes = (tables + destuffed + starts + results + coefficients) * share / all;
        work.insert(kernel, Work { bytes, ..Work::default() });
    }
    for (kernel, end) in SYMBOL_LOOPS {
        let steps = counts.get(&kernel).map(|counts| counts.count(Counter::Symbols).warp_max as f64);
        if let (Some(work), Some(steps), Some(instructions)) =
            (work.get_mut(&kernel), steps, loop_instructions(kernel.name(), end))
        {
            work.warp_instructions = Some(steps / f64::from(WARP_THREADS) * f64::from(instructions));
        }
    }
    work
}

/// What the two launches have to do that make a batch's network input. Products are counted by each axis's longest band.
pub fn of_input(plan: &InputBatchPlan) -> BTreeMap<KernelId, Work> {
    let written = (plan.form.image_bytes().sum::<usize>() * plan.num_images) as f64;
    let matrices = (plan.bands.len_bytes + plan.matrices.len_bytes) as f64;
    let mut bytes = matrices + written;
    // Vertical and horizontal.
    let mut macs = [0.0, 0.0];
    for grid in &plan.grids {
        let planes = grid.first_plane as usize..(grid.first_plane + grid.num_planes) as usize;
        for plane in plan.planes.get(planes).unwrap_or_default() {
            let [vertical, horizontal] =
                [plane.vertical_axis, plane.horizontal_axis].map(|axis| &plan.axes[axis as usize]);
            let source_blocks = [vertical, horizontal].map(|axis| {
                let clipped = (axis.clip_end - axis.clip_start).div_ceil(8);
                (f64::from(axis.num_output_blocks) * axis.scale + 1.0).min(f64::from(clipped))
            });
            bytes += source_blocks[0] * source_blocks[1] * 64.0 * size_of::<i16>() as f64;
            let rows = f64::from(vertical.num_output_blocks);
            macs[0] += rows * f64::from(vertical.max_band_blocks) * source_blocks[1] * BLOCK_MACS;
            let columns = f64::from(horizontal.num_output_blocks);
            macs[1] += rows * columns * f64::from(horizontal.max_band_blocks) * BLOCK_MACS;
        }
    }
    let turns = macs.iter().zip(INPUT_LOOPS).map(|(macs, (end, macs_of_a_turn))| {
        let instructions = loop_instructions(WriteInput::ID.name(), end)?;
        Some(macs / macs_of_a_turn / f64::from(WARP_THREADS) * f64::from(instructions))
    });
    let write_input = Work {
        bytes,
        flops: 2.0 * macs.iter().sum::<f64>(),
        warp_instructions: turns.sum(),
        is_on_tensor_cores: false,
    };
    [(BuildBands::ID, Work { bytes: matrices, ..Work::default() }), (WriteInput::ID, write_input)].into()
}

/// A launch of a network.
#[derive(Clone, Copy, Debug)]
pub struct NetworkLaunch {
    pub work: Work,
    /// Of a convolution, as a matrix product; else 0.
    depth: u32,
    /// One of these runs it: a convolution's tile is chosen when it is launched.
    kernels: &'static [KernelId],
}

const CONVOLUTIONS: [KernelId; 3] = [Convolve128x128::ID, Convolve128x64::ID, Convolve64x64::ID];

/// What each launch of a network on `num_images` has to do, in order.
pub fn of_network(plan: &NetworkPlan, images_per_turn: u32, num_images: u32) -> Vec<NetworkLaunch> {
    let mut launches = Vec::new();
    let mut left = num_images;
    while left > 0 {
        let images = images_per_turn.min(left);
        launches.extend(plan.steps.iter().map(|step| of_step(plan, step, f64::from(images))));
        left -= images;
    }
    launches
}

fn of_step(plan: &NetworkPlan, step: &NetworkStep, images: f64) -> NetworkLaunch {
    let pixels = |value: dctflow::network::ValueId| {
        let shape = plan.values[value.0];
        (shape.height * shape.width) as f64 * images
    };
    let half = 2.0;
    let mut bytes = pixels(step.input.value) * step.input.channels as f64 * half;
    for output in &step.outputs {
        bytes += pixels(output.slice.value) * output.slice.channels as f64 * half;
    }
    if let Some(residual) = step.residual {
        bytes += pixels(residual) * plan.values[residual.0].channels as f64 * half;
    }
    let to = step.outputs.first().map_or(0.0, |output| pixels(output.slice.value) * output.slice.channels as f64);
    let work = match &step.operation {
        Operation::Convolve(convolution) => Work {
            bytes: bytes + convolution.weights.len_bytes as f64,
            flops: 2.0 * convolution.macs() as f64 * images,
            warp_instructions: None,
            is_on_tensor_cores: true,
        },
        Operation::PlaceChannels { affine, .. } => {
            Work { bytes, flops: if affine.is_some() { 2.0 * to } else { 0.0 }, ..Work::default() }
        }
        Operation::PoolMaximum { kernel, .. } => {
            Work { bytes, flops: to * f64::from(kernel * kernel), ..Work::default() }
        }
        Operation::AveragePixels => Work { bytes, flops: pixels(step.input.value) * to / images, ..Work::default() },
    };
    let (depth, kernels): (u32, &[KernelId]) = match &step.operation {
        Operation::Convolve(convolution) => (convolution.depth, &CONVOLUTIONS),
        Operation::PlaceChannels { .. } => (0, &[PlaceChannels::ID]),
        Operation::PoolMaximum { .. } => (0, &[PoolMaximum::ID]),
        Operation::AveragePixels => (0, &[AveragePixels::ID]),
    };
    NetworkLaunch { work, depth, kernels }
}

/// Instructions of the warps of a convolution's launch: CTAs times steps of the depth. `None` for other kernels.
fn convolve_instructions(kernel: KernelId, grid: Grid, depth: u32) -> Option<f64> {
    let is_convolution = CONVOLUTIONS.contains(&kernel);
    let instructions = loop_instructions(kernel.name(), "step < num_steps").filter(|_| is_convolution)?;
    let warp_steps = grid.num_ctas() * u64::from(depth / CONVOLVE_DEPTH * (kernel.info().threads / WARP_THREADS));
    Some(warp_steps as f64 * f64::from(instructions))
}

/// The work of a batch, to be given to its launches.
#[derive(Debug, Default)]
pub struct BatchWork {
    /// Of all launches of a kernel together.
    by_kernel: BTreeMap<KernelId, Work>,
    num_ctas: BTreeMap<KernelId, u64>,
    network: VecDeque<NetworkLaunch>,
    /// Launches that no plan knows; nothing is known of their work.
    num_unknown: usize,
}

impl BatchWork {
    pub fn add(&mut self, by_kernel: BTreeMap<KernelId, Work>) {
        self.by_kernel.extend(by_kernel);
    }

    pub fn add_network(&mut self, launches: Vec<NetworkLaunch>) {
        self.network.extend(launches);
    }

    /// Says which launches there are.
    pub fn share_among<'a>(&mut self, operations: impl Iterator<Item = &'a StreamOperation>) {
        for operation in operations {
            if let StreamOperation::Launch { kernel, grid, .. } = operation {
                *self.num_ctas.entry(*kernel).or_default() += grid.num_ctas();
            }
        }
    }

    /// How many launches the plans and the stream do not have in common, once all operations had their work.
    pub fn num_unmatched(&self) -> usize {
        self.num_unknown + self.network.len()
    }

    /// The work of the next operation: of the network's launches, in their order; of other kernels', by their share of CTAs.
    pub fn of(&mut self, operation: &StreamOperation) -> Work {
        let moved = |bytes: usize| Work { bytes: bytes as f64, ..Work::default() };
        match *operation {
            StreamOperation::Upload { len_bytes }
            | StreamOperation::Download { len_bytes }
            | StreamOperation::Fill { len_bytes } => moved(len_bytes),
            StreamOperation::Copy { len_bytes } => moved(2 * len_bytes),
            StreamOperation::Graph => Work::default(),
            StreamOperation::Launch { kernel, grid, .. } => match self.by_kernel.get(&kernel) {
                Some(work) => {
                    let num_ctas = self.num_ctas.get(&kernel).copied().unwrap_or_default().max(1);
                    work.times(grid.num_ctas() as f64 / num_ctas as f64)
                }
                None => match self.network.front().copied().filter(|next| next.kernels.contains(&kernel)) {
                    Some(NetworkLaunch { work, depth, .. }) => {
                        self.network.pop_front();
                        Work { warp_instructions: convolve_instructions(kernel, grid, depth), ..work }
                    }
                    None => {
                        self.num_unknown += 1;
                        Work::default()
                    }
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dctflow::jpeg::Limits;
    use dctflow::network::{Config, InputNorm, Variant, Weights};
    use dctflow::plan::{PlanOptions, PlannedImage};
    use dctflow::synth::photo_set;

    #[test]
    fn every_named_loop_is_in_the_compilers_report() {
        for (kernel, end) in SYMBOL_LOOPS {
            assert!(loop_instructions(kernel.name(), end).is_some(), "{kernel:?}: {end}");
        }
        for (end, _) in INPUT_LOOPS {
            assert!(loop_instructions(WriteInput::ID.name(), end).is_some(), "{end}");
        }
        for kernel in [Convolve128x128::ID, Convolve128x64::ID, Convolve64x64::ID] {
            assert!(convolve_instructions(kernel, Grid::x(3), 64).unwrap() > 3.0 * 2.0 * 4.0 * 50.0);
        }
        assert_eq!(convolve_instructions(WriteInput::ID, Grid::x(3), 64), None);
    }

    #[test]
    fn decoding_moves_at_least_the_data_and_the_coefficients() {
        let files = photo_set(0, 3);
        let images: Vec<_> = files.iter().map(|file| PlannedImage::read(file, &Limits::default()).unwrap()).collect();
        let plan = DecodePlan::new(&images, &PlanOptions::default());
        let work = of_decoding(&plan, &BTreeMap::new());
        assert!(work[&Destuff::ID].bytes >= 2.0 * plan.data_bytes as f64);
        let written: f64 =
            [WriteSubsequences::ID, WriteSegments::ID, RefineBlocks::ID].map(|k| work[&k].bytes).iter().sum();
        assert!(written >= 2.0 * plan.num_coefficients as f64);
        assert!(work.values().all(|work| work.warp_instructions.is_none()), "nothing was counted");
        let launches = [1, 3].map(|num_ctas| StreamOperation::Launch {
            kernel: Destuff::ID,
            grid: Grid::x(num_ctas),
            smem_tail_bytes: 0,
        });
        let mut batch = BatchWork::default();
        batch.share_among(launches.iter());
        let all = work[&Destuff::ID].bytes;
        batch.add(work);
        assert_eq!(launches.map(|launch| batch.of(&launch).bytes), [0.25 * all, 0.75 * all]);
    }

    #[test]
    fn a_networks_operations_are_those_of_its_plan() {
        let config = Config { width: 0.25, ..Config::new(Variant::LateConcatRfaThinner) };
        let inference = Weights::random(config, 1).unwrap().inference(InputNorm::Apply);
        let plan = NetworkPlan::new(&inference).unwrap();
        let macs: u64 = plan
            .steps
            .iter()
            .map(|step| match &step.operation {
                Operation::Convolve(convolution) => convolution.macs(),
                _ => 0,
            })
            .sum();
        let launches = of_network(&plan, 2, 5);
        assert_eq!(launches.len(), 3 * plan.steps.len());
        let tensor: f64 =
            launches.iter().map(|l| l.work).filter(|work| work.is_on_tensor_cores).map(|work| work.flops).sum();
        assert_eq!(tensor, 2.0 * 5.0 * macs as f64);
        let mut batch = BatchWork::default();
        batch.add_network(launches.clone());
        let launch = |kernel| StreamOperation::Launch { kernel, grid: Grid::x(1), smem_tail_bytes: 0 };
        assert_eq!(batch.of(&launch(launches[0].kernels[0])).bytes, launches[0].work.bytes);
        assert!(launches.iter().all(|launch| launch.work.bytes > 0.0));
        // Another kernel than the plan's next has no work, and takes none away.
        assert_eq!((batch.of(&launch(Destuff::ID)), batch.num_unmatched()), (Work::default(), launches.len()));
    }
}
