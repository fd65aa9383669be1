//! From the steps of an [`Inference`] to those of the kernels.

use half::f16;

use super::{Convolution, NetworkStep, Operation, Output};
use crate::abi::{CONVOLVE_DEPTH, CONVOLVE_OUTPUTS};
use crate::error::{Error, ErrorKind, Result};
use crate::network::{Activation, ConvStep, Inference, InputKind, Slice, Step, ValueId, ValueShape};
use crate::plan::{Layout, Region};

/// Channels of RGB on the device: the fourth is zero.
const RGB_CHANNELS: usize = 4;

/// Channels of one access of a kernel: what all channels and offsets are multiples of.
const VECTOR: usize = 8;

/// A step with its constants, which have no place yet.
pub(super) struct Draft {
    step: NetworkStep,
    /// Of a convolution.
    weights: Vec<f16>,
    /// A convolution's bias, or the scale and shift of channels.
    floats: Vec<Vec<f32>>,
}

/// Translates the steps one by one. Returns the shapes of the values, as the device has them, and the steps.
pub(super) fn lower(inference: &Inference) -> Result<(Vec<ValueShape>, Vec<Draft>)> {
    let mut values = inference.values.clone();
    if inference.input == InputKind::Rgb {
        values[0].channels = RGB_CHANNELS;
    }
    let lowerer = Lowerer { values: &values, is_rgb: inference.input == InputKind::Rgb, logits: inference.output };
    let writers = inference.steps.iter().filter(|step| step.written() == inference.output);
    if writers.clone().count() != 1 || !writers.clone().all(|step| matches!(step, Step::Linear { .. })) {
        return Err(refused("output", "the logits are not those of one fully connected layer"));
    }
    let drafts = inference.steps.iter().map(|step| lowerer.lower(step)).collect::<Result<_>>()?;
    Ok((values, drafts))
}

fn refused(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::Usage, format!("the device cannot run step `{name}` of the network: {what}"))
}

struct Lowerer<'a> {
    values: &'a [ValueShape],
    is_rgb: bool,
    logits: ValueId,
}

impl Lowerer<'_> {
    fn lower(&self, step: &Step) -> Result<Draft> {
        let (input, residual, output) = step.operands(self.values);
        self.check_channels(step, input, output)?;
        let whole = Slice { value: input, offset: 0, channels: self.values[input.0].channels };
        match step {
            Step::Conv(conv) if self.is_rgb && input.0 == 0 => self.rgb_conv(conv),
            Step::Conv(conv) => self.conv(conv),
            Step::Deconv2x2 { name, input_offset, c_in, weights, bias, .. } => {
                let slice = Slice { value: input, offset: *input_offset, channels: *c_in };
                let taps = Taps { kernel: (1, 1), stride: (1, 1), pad: (0, 0) };
                let mut convolution = self.convolution(slice, taps, bias.len());
                convolution.upsampling = 2;
                let output = Output { slice: output, has_relu: false };
                Draft::convolve(name, slice, output, convolution, &deconv_rows(weights, bias.len()), bias)
            }
            Step::Linear { name, weights, bias, .. } => {
                let taps = Taps { kernel: (1, 1), stride: (1, 1), pad: (0, 0) };
                let mut convolution = self.convolution(whole, taps, bias.len());
                convolution.is_float = output.value == self.logits;
                let output = Output { slice: output, has_relu: false };
                Draft::convolve(name, whole, output, convolution, &transposed(weights, bias.len()), bias)
            }
            Step::ScaleShift { scale, shift, .. } => {
                let floats = vec![scale.clone(), shift.clone()];
                Ok(Draft::pointwise(step, whole, output, Operation::PlaceChannels { factor: 1, affine: None }, floats))
            }
            Step::UpsampleNearest2 { .. } => {
                let operation = Operation::PlaceChannels { factor: 2, affine: None };
                Ok(Draft::pointwise(step, whole, output, operation, Vec::new()))
            }
            Step::Copy { .. } => {
                let operation = Operation::PlaceChannels { factor: 1, affine: None };
                Ok(Draft::pointwise(step, whole, output, operation, Vec::new()))
            }
            Step::MaxPool { kernel, stride, pad, .. } => {
                let [kernel, stride, pad_top, pad_left] = [*kernel, *stride, pad[0], pad[1]].map(|x| x as u32);
                let operation = Operation::PoolMaximum { kernel, stride, pad_top, pad_left };
                Ok(Draft::pointwise(step, whole, output, operation, Vec::new()))
            }
            Step::GlobalAveragePool { .. } => {
                Ok(Draft::pointwise(step, whole, output, Operation::AveragePixels, Vec::new()))
            }
        }
        .map(|mut draft| {
            draft.step.residual = residual;
            draft
        })
    }

    /// Kernels read and write eight channels at a time; only RGB and the logits may have others.
    fn check_channels(&self, step: &Step, input: ValueId, output: Slice) -> Result<()> {
        let is_rgb_conv = self.is_rgb && input.0 == 0 && matches!(step, Step::Conv(_));
        let offset = if let Step::Deconv2x2 { input_offset, c_in, .. } = step { input_offset | c_in } else { 0 };
        let is_whole = |channels: usize| channels.is_multiple_of(VECTOR);
        let is_readable = is_rgb_conv || is_whole(self.values[input.0].channels | offset);
        let pitch = self.values[output.value.0].channels;
        let is_writable = output.value == self.logits || is_whole(pitch | output.offset | output.channels);
        if !is_readable || !is_writable {
            return Err(refused(step.name(), "its channels are not multiples of 8"));
        }
        if [input, output.value]
            .iter()
            .any(|value| self.values[value.0].height.max(self.values[value.0].width) > 1 << 15)
        {
            return Err(refused(step.name(), "its values have a side of more than 32,768 pixels"));
        }
        Ok(())
    }

    fn convolution(&self, input: Slice, taps: Taps, num_columns: usize) -> Convolution {
        let shape = self.values[input.value.0];
        Convolution {
            input_size: (shape.height as u32, shape.width as u32),
            input_pitch: shape.channels as u32,
            channels: input.channels as u32,
            kernel: taps.kernel,
            stride: taps.stride,
            pad: taps.pad,
            // Where these differ, the caller says so.
            windows: (shape.height as u32, shape.width as u32),
            num_columns: num_columns as u32,
            depth: (taps.kernel.0 * taps.kernel.1 * input.channels as u32).next_multiple_of(CONVOLVE_DEPTH),
            upsampling: 1,
            is_float: false,
            weights: Region::default(),
            bias: Region::default(),
            bias_half: None,
        }
    }

    fn windows(&self, output: Slice) -> (u32, u32) {
        let shape = self.values[output.value.0];
        (shape.height as u32, shape.width as u32)
    }

    fn conv(&self, conv: &ConvStep) -> Result<Draft> {
        let input = Slice { value: conv.input, offset: 0, channels: self.values[conv.input.0].channels };
        let taps = Taps {
            kernel: (conv.kernel.0 as u32, conv.kernel.1 as u32),
            stride: (conv.stride as u32, conv.stride as u32),
            pad: (conv.pad[0] as u32, conv.pad[1] as u32),
        };
        let convolution =
            Convolution { windows: self.windows(conv.output), ..self.convolution(input, taps, conv.bias.len()) };
        let rows = transposed(&conv.weights, conv.bias.len());
        Draft::convolve(&conv.name, input, output_of(conv), convolution, &rows, &conv.bias)
    }

    /// RGB as pairs of pixels, which are 16 bytes as kernels read them: at stride 2 every window begins at a pair, if need be with a
    /// column of zeros in front of the kernel.
    fn rgb_conv(&self, conv: &ConvStep) -> Result<Draft> {
        let shape = self.values[0];
        if conv.stride != 2 || !shape.width.is_multiple_of(2) {
            return Err(refused(&conv.name, "RGB is read at stride 2 and an even width only"));
        }
        let shift = conv.pad[1] % 2;
        let pairs = (conv.kernel.1 + shift).div_ceil(2);
        let input = Slice { value: conv.input, offset: 0, channels: 2 * RGB_CHANNELS };
        let taps = Taps {
            kernel: (conv.kernel.0 as u32, pairs as u32),
            stride: (2, 1),
            pad: (conv.pad[0] as u32, ((conv.pad[1] + shift) / 2) as u32),
        };
        let convolution = Convolution {
            input_size: (shape.height as u32, shape.width as u32 / 2),
            input_pitch: input.channels as u32,
            windows: self.windows(conv.output),
            ..self.convolution(input, taps, conv.bias.len())
        };
        let c_out = conv.bias.len();
        let depth = conv.kernel.0 * pairs * input.channels;
        let mut rows = vec![0.0; c_out * depth];
        for (tap, samples) in conv.weights.chunks_exact(3 * c_out).enumerate() {
            let (ky, kx) = (tap / conv.kernel.1, tap % conv.kernel.1);
            let pixel = ky * 2 * pairs + kx + shift;
            for (i, &weight) in samples.iter().enumerate() {
                let (channel, column) = (i / c_out, i % c_out);
                rows[column * depth + pixel * RGB_CHANNELS + channel] = weight;
            }
        }
        Draft::convolve(&conv.name, input, output_of(conv), convolution, &rows, &conv.bias)
    }
}

/// Where a window's taps lie.
struct Taps {
    kernel: (u32, u32),
    stride: (u32, u32),
    pad: (u32, u32),
}

fn output_of(conv: &ConvStep) -> Output {
    Output { slice: conv.output, has_relu: conv.activation == Activation::Relu }
}

/// `None` if one is beyond the range of f16.
fn to_halves(values: &[f32]) -> Option<Vec<f16>> {
    let halves: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
    halves.iter().all(|half| half.is_finite()).then_some(halves)
}

/// `[depth][columns]` as `[columns][depth]`.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let depth = matrix.len() / columns;
    (0..columns).flat_map(|column| (0..depth).map(move |k| matrix[k * columns + column])).collect()
}

/// `[2][2][c_in][c_out]` as `[2][2][c_out][c_in]`.
fn deconv_rows(weights: &[f32], c_out: usize) -> Vec<f32> {
    weights.chunks_exact(weights.len() / 4).flat_map(|tap| transposed(tap, c_out)).collect()
}

impl Draft {
    fn pointwise(step: &Step, input: Slice, output: Slice, operation: Operation, floats: Vec<Vec<f32>>) -> Self {
        let step = NetworkStep {
            name: step.name().to_owned(),
            input,
            residual: None,
            outputs: vec![Output { slice: output, has_relu: false }],
            operation,
        };
        Self { step, weights: Vec::new(), floats }
    }

    /// `rows` are the weights, `[phases * columns][taps * channels]`, not padded yet.
    fn convolve(
        name: &str,
        input: Slice,
        output: Output,
        convolution: Convolution,
        rows: &[f32],
        bias: &[f32],
    ) -> Result<Self> {
        let num_rows = convolution.num_phases() as usize * convolution.num_columns as usize;
        let mut weights = Vec::with_capacity(num_rows * convolution.depth as usize);
        for row in rows.chunks_exact(rows.len() / num_rows) {
            weights.extend(row.iter().map(|&weight| f16::from_f32(weight)));
            weights.resize(weights.len().next_multiple_of(convolution.depth as usize), f16::ZERO);
        }
        if let Some(at) = weights.iter().position(|weight| !weight.is_finite()) {
            let column = at / convolution.depth as usize % convolution.num_columns as usize;
            let message = format!(
                "a weight of output channel {column} is beyond the range of f16 (with InputNorm::Fold, try InputNorm::Apply)"
            );
            return Err(refused(name, &message));
        }
        let step = NetworkStep {
            name: name.to_owned(),
            input,
            residual: None,
            outputs: vec![output],
            operation: Operation::Convolve(convolution),
        };
        Ok(Self { step, weights, floats: vec![bias.to_vec()] })
    }

    fn convolution_mut(&mut self) -> Option<&mut Convolution> {
        match &mut self.step.operation {
            Operation::Convolve(convolution) => Some(convolution),
            _ => None,
        }
    }

    /// Whether the columns of `other` can follow this one's: the same windows of the same input, and a second output to be had.
    fn can_take(&self, other: &Self) -> bool {
        let (Operation::Convolve(own), Operation::Convolve(others)) = (&self.step.operation, &other.step.operation)
        else {
            return false;
        };
        let is_alone =
            |draft: &Self| draft.step.residual.is_none() && draft.step.outputs.len() < CONVOLVE_OUTPUTS as usize;
        let same_but_columns = Convolution { num_columns: own.num_columns, ..others.clone() };
        let is_plain = own.upsampling == 1 && !own.is_float && (own.num_columns as usize).is_multiple_of(VECTOR);
        is_plain && is_alone(self) && is_alone(other) && self.step.input == other.step.input && *own == same_but_columns
    }
}

/// Makes one product of two convolutions that see the same windows of one value: a block's shortcut and its first convolution. The
/// input is then read once, and a product is the wider.
pub(super) fn share_products(drafts: &mut Vec<Draft>) {
    let mut first = 0;
    while first < drafts.len() {
        if let Some(second) = (first + 1..drafts.len()).find(|&second| drafts[first].can_take(&drafts[second])) {
            let other = drafts.remove(second);
            let draft = &mut drafts[first];
            draft.step.outputs.extend(other.step.outputs);
            draft.weights.extend(other.weights);
            draft.floats[0].extend_from_slice(&other.floats[0]);
            let num_columns = draft.floats[0].len() as u32;
            if let Some(convolution) = draft.convolution_mut() {
                convolution.num_columns = num_columns;
            }
        }
        first += 1;
    }
}

/// Lays all constants one after the other.
pub(super) fn place_constants(drafts: Vec<Draft>) -> (Vec<NetworkStep>, Vec<u8>) {
    let mut layout = Layout::new(0);
    let mut constants = Vec::new();
    let mut put = |bytes: &[u8]| {
        let region = layout.place(bytes.len());
        constants.resize(region.offset_bytes, 0);
        constants.extend_from_slice(bytes);
        region
    };
    let mut steps = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let mut step = draft.step;
        let mut put_floats = |floats: &[f32]| {
            let mut padded = floats.to_vec();
            padded.resize(floats.len().next_multiple_of(VECTOR), 0.0);
            put(bytemuck::cast_slice(&padded))
        };
        match (&mut step.operation, &draft.floats[..]) {
            (Operation::Convolve(convolution), [bias]) => {
                convolution.bias = put_floats(bias);
                convolution.bias_half = to_halves(bias).map(|halves| put(bytemuck::cast_slice(&halves)));
                convolution.weights = put(bytemuck::cast_slice(&draft.weights));
            }
            (Operation::PlaceChannels { affine, .. }, [scale, shift]) => {
                *affine = Some((put_floats(scale), put_floats(shift)));
            }
            _ => {}
        }
        steps.push(step);
    }
    (steps, constants)
}
