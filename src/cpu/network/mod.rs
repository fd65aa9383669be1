//! The network on the CPU, in fp32 or nearly so: runs the steps of an [`Inference`] over NHWC activations.
//!
//! [`Engine::new`] checks the steps, packs the weights once, and decides which values share a buffer; [`Engine::run`] then takes no memory
//! once its [`Scratch`] has grown to the batch. All parallelism is rayon's: the pool that the caller is in.
//!
//! An image's logits are the same bits whatever the number of threads and whatever else is in the batch. They differ in
//! the last bits between instruction sets, and with [`InstructionSet::Amx`] by some 1e-5 of the largest logit.

#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
mod amx;
mod conv;
mod plan;
mod pointwise;
mod simd;
mod tile;
mod winograd;

use std::mem;

use conv::{CacheLine, Conv, Destination, Window};
use plan::Buffers;
use pointwise::ChannelSlice;
pub use simd::InstructionSet;
use tile::TileKernel;

use crate::error::{Error, ErrorKind, Result};
use crate::network::{Activation, ConvStep, Inference, Slice, Step, ValueId, ValueShape};

/// A network ready to run on the CPU.
pub struct Engine {
    values: Vec<ValueShape>,
    num_inputs: usize,
    output: ValueId,
    steps: Vec<EngineStep>,
    buffers: Buffers,
    instruction_set: InstructionSet,
}

/// The activations of a batch. Give the same one to every run of an engine, and no run after the first takes memory.
#[derive(Default)]
pub struct Scratch {
    buffers: Vec<Vec<CacheLine>>,
}

impl Scratch {
    /// An empty one, which the first run fills.
    pub fn new() -> Self {
        Self::default()
    }
}

struct EngineStep {
    input: ValueId,
    output: ValueId,
    operation: Operation,
}

enum Operation {
    Conv { conv: Box<Conv>, residual: Option<ValueId> },
    Deconv2x2(Vec<Conv>),
    ScaleShift { scale: Vec<f32>, shift: Vec<f32>, to: ChannelSlice },
    Replicate { factor: usize, to: ChannelSlice },
    MaxPool { kernel: usize, stride: usize, pad: (usize, usize) },
    GlobalAveragePool,
}

impl Engine {
    /// Prepares `inference` for the fastest instruction set of this CPU.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the steps do not fit together.
    pub fn new(inference: Inference) -> Result<Self> {
        Self::with_instruction_set(inference, InstructionSet::detect())
    }

    /// Prepares `inference` for a given instruction set: for tests and comparisons.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the steps do not fit together, or if this CPU lacks the instruction set.
    pub fn with_instruction_set(inference: Inference, instruction_set: InstructionSet) -> Result<Self> {
        if !instruction_set.is_supported() {
            let message = format!("this CPU has no {instruction_set} instructions; use InstructionSet::detect()");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        inference.check()?;
        let buffers = plan::assign_buffers(&inference);
        let kernel = TileKernel::new(instruction_set);
        let num_inputs = inference.num_inputs();
        let values = inference.values;
        let steps = inference.steps.iter().map(|step| EngineStep::new(step, &values, kernel)).collect();
        Ok(Self { values, num_inputs, output: inference.output, steps, buffers, instruction_set })
    }

    /// The instruction set in use.
    pub fn instruction_set(&self) -> InstructionSet {
        self.instruction_set
    }

    /// Shapes of the inputs, in order, without the batch.
    pub fn input_shapes(&self) -> &[ValueShape] {
        &self.values[..self.num_inputs]
    }

    /// Length of an image's logits.
    pub fn num_classes(&self) -> usize {
        self.value_len(self.output)
    }

    /// Bytes of activations that a batch takes.
    pub fn scratch_bytes(&self, batch: usize) -> usize {
        let lines = self.buffers.lens.iter().map(|len| CacheLine::count(len.saturating_mul(batch)));
        lines.fold(0, |sum: usize, lines| sum.saturating_add(lines.saturating_mul(mem::size_of::<CacheLine>())))
    }

    /// Runs the network on a batch: `inputs` as the network's kind of input says (`[batch, H, W, C]` each), `logits` `[batch, classes]`.
    /// Logits may be infinite or NaN if the input or the weights are; nothing hides that.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if a slice has another length than the batch asks for; [`ErrorKind::OutOfMemory`].
    pub fn run(&self, inputs: &[&[f32]], batch: usize, logits: &mut [f32], scratch: &mut Scratch) -> Result<()> {
        self.check_lengths(inputs, batch, logits)?;
        self.reserve(batch, scratch)?;
        // One entry into the pool for all steps, not one per step.
        rayon::scope(|_| {
            for step in &self.steps {
                self.run_step(step, inputs, batch, scratch);
            }
        });
        logits.copy_from_slice(&self.value(self.output, inputs, batch, scratch)[..logits.len()]);
        Ok(())
    }

    fn check_lengths(&self, inputs: &[&[f32]], batch: usize, logits: &[f32]) -> Result<()> {
        let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
        if inputs.len() != self.num_inputs {
            return usage(format!("the network has {} inputs, not {}", self.num_inputs, inputs.len()));
        }
        for (input_idx, (input, &shape)) in inputs.iter().zip(self.input_shapes()).enumerate() {
            if self.value_len(ValueId(input_idx)).checked_mul(batch) != Some(input.len()) {
                let len = input.len();
                return usage(format!(
                    "input {input_idx} has {len} values; a batch of {batch} has [{batch}] times {shape:?}"
                ));
            }
        }
        if self.num_classes().checked_mul(batch) != Some(logits.len()) {
            let classes = self.num_classes();
            return usage(format!("room for {} logits; a batch of {batch} has {classes} per image", logits.len()));
        }
        Ok(())
    }

    fn reserve(&self, batch: usize, scratch: &mut Scratch) -> Result<()> {
        if scratch.buffers.len() < self.buffers.lens.len() {
            scratch.buffers.resize_with(self.buffers.lens.len(), Vec::new);
        }
        for (buffer, len) in scratch.buffers.iter_mut().zip(&self.buffers.lens) {
            let num_lines = CacheLine::count(len.saturating_mul(batch));
            let missing = num_lines.saturating_sub(buffer.len());
            buffer.try_reserve_exact(missing).map_err(|_| {
                let mib = self.scratch_bytes(batch) >> 20;
                let message = format!("a batch of {batch} images needs {mib} MiB for activations; use a smaller one");
                Error::new(ErrorKind::OutOfMemory, message)
            })?;
            if missing > 0 {
                CacheLine::advise_huge_pages(buffer);
            }
            buffer.resize(buffer.len() + missing, CacheLine::ZERO);
        }
        Ok(())
    }

    fn value_len(&self, value: ValueId) -> usize {
        let shape = self.values[value.0];
        shape.height * shape.width * shape.channels
    }

    /// All values of an activation: an input of the network, or what a step has written.
    fn value<'a>(&self, value: ValueId, inputs: &[&'a [f32]], batch: usize, scratch: &'a Scratch) -> &'a [f32] {
        match self.buffers.of_value[value.0] {
            Some(buffer_idx) => &bytemuck::cast_slice(&scratch.buffers[buffer_idx])[..batch * self.value_len(value)],
            None => inputs[value.0],
        }
    }

    fn run_step(&self, step: &EngineStep, inputs: &[&[f32]], batch: usize, scratch: &mut Scratch) {
        let Some(buffer_idx) = self.buffers.of_value[step.output.0] else { return };
        // Out of the scratch while it is written, so that the others can be read; a step never reads what it writes.
        let mut buffer = mem::take(&mut scratch.buffers[buffer_idx]);
        let output = &mut bytemuck::cast_slice_mut(&mut buffer)[..batch * self.value_len(step.output)];
        let input = self.value(step.input, inputs, batch, scratch);
        let (from, to) = (self.values[step.input.0], self.values[step.output.0]);
        match &step.operation {
            Operation::Conv { conv, residual } => {
                let residual = residual.map(|residual| self.value(residual, inputs, batch, scratch));
                conv.run(batch, input, residual, output);
            }
            Operation::Deconv2x2(taps) => taps.iter().for_each(|tap| tap.run(batch, input, None, output)),
            Operation::ScaleShift { scale, shift, to } => {
                pointwise::scale_shift(self.instruction_set, input, scale, shift, *to, output)
            }
            Operation::Replicate { factor, to } => pointwise::replicate(input, from.channels, *factor, *to, output),
            Operation::MaxPool { kernel, stride, pad } => {
                pointwise::max_pool(self.instruction_set, input, from, (*kernel, *stride), *pad, to, output);
            }
            Operation::GlobalAveragePool => pointwise::global_average_pool(self.instruction_set, input, from, output),
        }
        scratch.buffers[buffer_idx] = buffer;
    }
}

impl EngineStep {
    /// Packs a step that [`Inference::check`] has accepted.
    fn new(step: &Step, values: &[ValueShape], kernel: TileKernel) -> Self {
        let channels = |slice: &Slice| ChannelSlice { shape: values[slice.value.0], offset: slice.offset };
        match step {
            Step::Conv(conv) => Self {
                input: conv.input,
                output: conv.output.value,
                operation: Operation::Conv { conv: Box::new(new_conv(conv, values, kernel)), residual: conv.residual },
            },
            Step::Deconv2x2 { input, input_offset, output, weights, bias, .. } => Self {
                input: *input,
                output: output.value,
                operation: Operation::Deconv2x2(new_deconv(
                    values[input.0],
                    *input_offset,
                    channels(output),
                    weights,
                    bias,
                    kernel,
                )),
            },
            Step::ScaleShift { input, output, scale, shift, .. } => {
                let (scale, shift, to) = (scale.clone(), shift.clone(), channels(output));
                Self { input: *input, output: output.value, operation: Operation::ScaleShift { scale, shift, to } }
            }
            Step::UpsampleNearest2 { input, output } => {
                let operation = Operation::Replicate { factor: 2, to: channels(output) };
                Self { input: *input, output: output.value, operation }
            }
            Step::Copy { input, output } => {
                let operation = Operation::Replicate { factor: 1, to: channels(output) };
                Self { input: *input, output: output.value, operation }
            }
            &Step::MaxPool { input, output, kernel, stride, pad } => {
                Self { input, output, operation: Operation::MaxPool { kernel, stride, pad: (pad[0], pad[1]) } }
            }
            &Step::GlobalAveragePool { input, output } => {
                Self { input, output, operation: Operation::GlobalAveragePool }
            }
            Step::Linear { input, output, weights, bias, .. } => Self {
                input: *input,
                output: *output,
                operation: Operation::Conv {
                    conv: Box::new(new_linear(values[input.0], values[output.0], weights, bias, kernel)),
                    residual: None,
                },
            },
        }
    }
}

fn new_conv(conv: &ConvStep, values: &[ValueShape], kernel: TileKernel) -> Conv {
    let (input, output) = (values[conv.input.0], values[conv.output.value.0]);
    let window = Window {
        input,
        channel_offset: 0,
        channels: input.channels,
        kernel: conv.kernel,
        stride: conv.stride,
        pad_top: conv.pad[0],
        pad_left: conv.pad[1],
        positions: (output.height, output.width),
    };
    let destination = Destination { output, channel_offset: conv.output.offset, step: 1, origin: (0, 0) };
    Conv::new(window, destination, &conv.weights, &conv.bias, conv.activation, kernel)
}

/// A deconvolution whose windows do not overlap: four 1 x 1 convolutions, one for each pixel of the 2 x 2 that an input pixel makes.
fn new_deconv(
    input: ValueShape,
    channel_offset: usize,
    to: ChannelSlice,
    weights: &[f32],
    bias: &[f32],
    kernel: TileKernel,
) -> Vec<Conv> {
    let channels = weights.len() / (4 * bias.len());
    let tap = |tap_idx: usize| {
        let window = Window {
            input,
            channel_offset,
            channels,
            kernel: (1, 1),
            stride: 1,
            pad_top: 0,
            pad_left: 0,
            positions: (input.height, input.width),
        };
        let origin = (tap_idx / 2, tap_idx % 2);
        let destination = Destination { output: to.shape, channel_offset: to.offset, step: 2, origin };
        let weights = &weights[tap_idx * channels * bias.len()..][..channels * bias.len()];
        Conv::new(window, destination, weights, bias, Activation::Identity, kernel)
    };
    (0..4).map(tap).collect()
}

/// A fully connected layer: a 1 x 1 convolution of one pixel.
fn new_linear(input: ValueShape, output: ValueShape, weights: &[f32], bias: &[f32], kernel: TileKernel) -> Conv {
    let window = Window {
        input,
        channel_offset: 0,
        channels: input.channels,
        kernel: (1, 1),
        stride: 1,
        pad_top: 0,
        pad_left: 0,
        positions: (1, 1),
    };
    let destination = Destination { output, channel_offset: 0, step: 1, origin: (0, 0) };
    Conv::new(window, destination, weights, bias, Activation::Identity, kernel)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::network::InputKind;

    /// Largest |a - b| over largest |b|.
    fn relative_error(a: &[f32], b: &[f64]) -> f64 {
        assert_eq!(a.len(), b.len());
        let error = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
        error / b.iter().fold(f64::MIN_POSITIVE, |max, b| max.max(b.abs()))
    }

    /// Values in -1..1, the same for the same seed (a linear congruential generator).
    fn random_values(len: usize, seed: u64) -> Vec<f32> {
        let mut state = seed ^ 0x9E37_79B9_7F4A_7C15;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    fn shape(height: usize, width: usize, channels: usize) -> ValueShape {
        ValueShape { height, width, channels }
    }

    fn shape_len(shape: ValueShape) -> usize {
        shape.height * shape.width * shape.channels
    }

    fn supported() -> impl Iterator<Item = InstructionSet> {
        InstructionSet::ALL.into_iter().filter(|set| set.is_supported())
    }

    /// Runs a network that reads one RGB-like value, on one instruction set.
    fn run_on(set: InstructionSet, inference: &Inference, input: &[f32], batch: usize) -> Vec<f32> {
        let engine = Engine::with_instruction_set(inference.clone(), set).unwrap();
        let mut logits = vec![f32::NAN; batch * engine.num_classes()];
        engine.run(&[input], batch, &mut logits, &mut Scratch::new()).unwrap();
        logits
    }

    fn network(values: Vec<ValueShape>, steps: Vec<Step>, output: usize) -> Inference {
        Inference { input: InputKind::Rgb, values, steps, output: ValueId(output) }
    }

    fn whole(value: usize, values: &[ValueShape]) -> Slice {
        Slice { value: ValueId(value), offset: 0, channels: values[value].channels }
    }

    fn conv_step(input: usize, output: Slice, kernel: (usize, usize), c_in: usize, seed: u64) -> ConvStep {
        ConvStep {
            name: "conv".into(),
            input: ValueId(input),
            output,
            residual: None,
            kernel,
            stride: 1,
            pad: [(kernel.0 - 1) / 2, (kernel.1 - 1) / 2, kernel.0 / 2, kernel.1 / 2],
            weights: random_values(kernel.0 * kernel.1 * c_in * output.channels, seed),
            bias: random_values(output.channels, seed + 1),
            activation: Activation::Identity,
        }
    }

    /// One image of a convolution, by its definition.
    fn naive_conv(
        conv: &ConvStep,
        from: ValueShape,
        input: &[f32],
        residual: Option<&[f32]>,
        to: ValueShape,
    ) -> Vec<f64> {
        let c_out = conv.output.channels;
        let mut out = Vec::with_capacity(to.height * to.width * c_out);
        for (y, x, co) in
            (0..to.height).flat_map(|y| (0..to.width).flat_map(move |x| (0..c_out).map(move |co| (y, x, co))))
        {
            let mut sum = f64::from(conv.bias[co]);
            for (ky, kx) in (0..conv.kernel.0).flat_map(|ky| (0..conv.kernel.1).map(move |kx| (ky, kx))) {
                let iy = (y * conv.stride + ky).wrapping_sub(conv.pad[0]);
                let ix = (x * conv.stride + kx).wrapping_sub(conv.pad[1]);
                if iy < from.height && ix < from.width {
                    for ci in 0..from.channels {
                        let weight = conv.weights[((ky * conv.kernel.1 + kx) * from.channels + ci) * c_out + co];
                        sum += f64::from(input[(iy * from.width + ix) * from.channels + ci]) * f64::from(weight);
                    }
                }
            }
            sum += residual.map_or(0.0, |residual| f64::from(residual[out.len()]));
            out.push(if conv.activation == Activation::Relu { sum.max(0.0) } else { sum });
        }
        out
    }

    #[derive(Clone, Debug)]
    struct ConvCase {
        batch: usize,
        from: ValueShape,
        kernel: (usize, usize),
        stride: usize,
        pad: [usize; 4],
        c_out: usize,
        relu: bool,
        residual: bool,
        seed: u64,
    }

    fn conv_cases() -> impl Strategy<Value = ConvCase> {
        let kernel = (1usize..5, 1usize..5);
        let size = (1usize..20, 1usize..20, prop_oneof![1usize..40, Just(64), 250usize..300]);
        (
            1usize..4,
            size,
            kernel,
            1usize..4,
            prop_oneof![1usize..80, Just(128)],
            any::<[bool; 2]>(),
            any::<[u8; 4]>(),
            any::<u64>(),
        )
            .prop_map(
                |(batch, (height, width, channels), kernel, stride, c_out, [relu, residual], pad, seed)| {
                    let limits = [kernel.0, kernel.1, kernel.0, kernel.1];
                    let pad = std::array::from_fn(|side| usize::from(pad[side]) % limits[side]);
                    let from = shape(height.max(kernel.0), width.max(kernel.1), channels);
                    ConvCase { batch, from, kernel, stride, pad, c_out, relu, residual, seed }
                },
            )
    }

    /// 3 x 3 convolutions of stride 1, most of which go Winograd's way where there is one.
    fn winograd_cases() -> impl Strategy<Value = ConvCase> {
        let channels = prop_oneof![Just(32usize), Just(48), Just(64), Just(272), Just(320)];
        let size = (3usize..18, 3usize..18, channels);
        (1usize..4, size, prop_oneof![32usize..80, Just(128)], any::<[bool; 2]>(), any::<[u8; 4]>(), any::<u64>())
            .prop_map(|(batch, (height, width, channels), c_out, [relu, residual], pad, seed)| {
                let pad = pad.map(|side| usize::from(side) % 3);
                let from = shape(height, width, channels);
                ConvCase { batch, from, kernel: (3, 3), stride: 1, pad, c_out, relu, residual, seed }
            })
    }

    /// Of max|a - b| / max|b|. In f32, the rounding of sums of a few thousand products; measured: 1e-6 directly, 2e-6 by Winograd. For pairs of
    /// bf16, each product is 2^-17 off at most, and errors of either sign cancel.
    fn tolerance(set: InstructionSet) -> f64 {
        if set == InstructionSet::Amx { 5e-5 } else { 5e-6 }
    }

    /// A network of the convolution alone, or of a 1 x 1 convolution that makes the residual and the convolution, which writes
    /// into the middle of a wider value.
    fn check_conv(case: &ConvCase) {
        let positions = |len: usize, kernel: usize, pad: usize| (len + pad - kernel) / case.stride + 1;
        let height = positions(case.from.height, case.kernel.0, case.pad[0] + case.pad[2]);
        let width = positions(case.from.width, case.kernel.1, case.pad[1] + case.pad[3]);
        let (before, after) = (3, 2);
        let to = shape(height, width, case.c_out);
        let wide = shape(height, width, before + case.c_out + after);
        let values = vec![case.from, shape(1, 1, case.from.channels), to, wide];

        let output = Slice { value: ValueId(3), offset: before, channels: case.c_out };
        let mut conv = conv_step(0, output, case.kernel, case.from.channels, case.seed);
        (conv.stride, conv.pad) = (case.stride, case.pad);
        conv.activation = if case.relu { Activation::Relu } else { Activation::Identity };
        let mut steps = Vec::new();
        let mut residual_conv = conv.clone();
        if case.residual {
            conv.residual = Some(ValueId(2));
            residual_conv = ConvStep { output: whole(2, &values), residual: None, ..conv.clone() };
            residual_conv.weights = random_values(conv.weights.len(), case.seed + 7);
            steps.push(Step::Conv(residual_conv.clone()));
        }
        steps.push(Step::Conv(conv.clone()));

        let input = random_values(case.batch * shape_len(case.from), case.seed + 2);
        for set in supported() {
            let actual = run_on(set, &network(values.clone(), steps.clone(), 3), &input, case.batch);
            for (image, actual) in input.chunks_exact(shape_len(case.from)).zip(actual.chunks_exact(shape_len(wide))) {
                let residual: Option<Vec<f32>> = case.residual.then(|| {
                    naive_conv(&residual_conv, case.from, image, None, to).into_iter().map(|x| x as f32).collect()
                });
                let expected = naive_conv(&conv, case.from, image, residual.as_deref(), to);
                let pixels = actual.chunks_exact(wide.channels);
                let inner: Vec<f32> =
                    pixels.clone().flat_map(|pixel| &pixel[before..before + case.c_out]).copied().collect();
                let error = relative_error(&inner, &expected);
                assert!(error < tolerance(set), "{set}: {error:e}");
                let outer = pixels.flat_map(|pixel| pixel[..before].iter().chain(&pixel[before + case.c_out..]));
                assert!(outer.into_iter().all(|&x| x == 0.0), "{set}: wrote beside its slice");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn convolutions_agree_with_their_definition(case in conv_cases()) {
            check_conv(&case);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn convolutions_with_few_multiplications_agree_with_their_definition(case in winograd_cases()) {
            check_conv(&case);
        }
    }

    /// The same bits, whatever the number of threads and the batch mates.
    #[test]
    fn logits_depend_on_their_image_only() {
        let values = vec![shape(15, 13, 64), shape(1, 1, 1), shape(15, 13, 96), shape(8, 7, 70)];
        let mut last = conv_step(2, whole(3, &values), (3, 3), 96, 6);
        last.stride = 2;
        let steps = vec![Step::Conv(conv_step(0, whole(2, &values), (3, 3), 64, 5)), Step::Conv(last)];
        let network = network(values, steps, 3);
        let image_len = 15 * 13 * 64;
        let input = random_values(9 * image_len, 3);
        for set in supported() {
            let engine = Engine::with_instruction_set(network.clone(), set).unwrap();
            let run = |input: &[f32], threads: usize| {
                let mut logits = vec![f32::NAN; input.len() / image_len * engine.num_classes()];
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let batch = input.len() / image_len;
                pool.install(|| engine.run(&[input], batch, &mut logits, &mut Scratch::new()).unwrap());
                logits
            };
            let alone: Vec<f32> = input.chunks_exact(image_len).flat_map(|image| run(image, 1)).collect();
            for threads in [1, 2, 5] {
                assert!(run(&input, threads) == alone, "{set}, {threads} threads");
            }
        }
    }

    /// What is not finite reaches the output on every instruction set, and huge values do not overflow on the way.
    #[test]
    fn extremes_pass_through() {
        let values = vec![shape(6, 6, 64), shape(1, 1, 1), shape(6, 6, 64)];
        let mut conv = conv_step(0, whole(2, &values), (3, 3), 64, 5);
        conv.bias.fill(0.0);
        let network = network(values, vec![Step::Conv(conv)], 2);
        for set in supported() {
            for extreme in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
                let mut input = random_values(6 * 6 * 64, 3);
                input[(2 * 6 + 2) * 64 + 7] = extreme;
                let output = run_on(set, &network, &input, 1);
                let near = (1..4).flat_map(|y| (1..4).map(move |x| (y * 6 + x) * 64));
                assert!(near.clone().all(|at| !output[at].is_finite()), "{set}, {extreme}");
                assert!(output[5 * 6 * 64..].iter().all(|x| x.is_finite()), "{set}, {extreme}: it spread");
            }
            let small = run_on(set, &network, &random_values(6 * 6 * 64, 3), 1);
            let input: Vec<f32> = random_values(6 * 6 * 64, 3).iter().map(|x| x * 2f32.powi(110)).collect();
            let huge = run_on(set, &network, &input, 1);
            assert!(huge.iter().zip(&small).all(|(huge, small)| *huge == small * 2f32.powi(110)), "{set}");
        }
    }
}
