//! The form of a network that engines run: batch norms folded, bias, residual and ReLU fused into the convolution before them,
//! concatenations written in place. Made from the layer list and the weights; the CPU and the GPU run the same list of steps.

pub use crate::tensor::InputKind;

/// Names one activation tensor of the network: an index into [`Inference::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// The shape of one activation, NHWC; N is the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels: the contiguous dimension.
    pub channels: usize,
}

/// Where a step writes: all of a value's pixels, channels `offset..offset + channels` of it. Steps that write into parts of one value
/// are how a concatenation is made without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// The value.
    pub value: ValueId,
    /// First channel written.
    pub offset: usize,
    /// How many channels are written.
    pub channels: usize,
}

/// What follows bias and residual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// max(0, x).
    Relu,
}

/// `out = activation(conv(input) + bias + residual)`: a 2-D convolution, NHWC.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvStep {
    /// The layer's name, as in the weights (`res3a_branch2a`).
    pub name: String,
    /// Input value, all of its channels.
    pub input: ValueId,
    /// Where the result goes.
    pub output: Slice,
    /// Added before the activation; same shape as the output slice, all of the value's channels.
    pub residual: Option<ValueId>,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Step of the window, both ways.
    pub stride: usize,
    /// Zeros around the input: top, left, bottom, right (k = 2 "same" pads bottom and right only, as TensorFlow).
    pub pad: [usize; 4],
    /// `[kernel_h][kernel_w][c_in][c_out]`, the batch norm's scale folded in.
    pub weights: Vec<f32>,
    /// `[c_out]`, the batch norm's shift folded in.
    pub bias: Vec<f32>,
    /// ReLU or nothing.
    pub activation: Activation,
}

/// One step of a network.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `out[c] = input[c] * scale[c] + shift[c]`: a batch norm that comes directly on an input and cannot be folded into the next
    /// convolution because that one pads with zeros. (Followed by 1x1 convolutions only, it is folded and absent.)
    ScaleShift {
        /// The layer's name.
        name: String,
        /// Input value.
        input: ValueId,
        /// Where the result goes.
        output: Slice,
        /// `[channels]`.
        scale: Vec<f32>,
        /// `[channels]`.
        shift: Vec<f32>,
    },
    /// A convolution with its epilogue.
    Conv(ConvStep),
    /// 2 x 2 deconvolution of stride 2, no bias, on channels `input_offset..input_offset + c_in` of the input:
    /// `out[2y+dy][2x+dx][co] = sum over ci of input[y][x][input_offset + ci] * weights[dy][dx][ci][co]` (+ `bias[co]`, from folding).
    Deconv2x2 {
        /// The layer's name.
        name: String,
        /// Input value.
        input: ValueId,
        /// First input channel read.
        input_offset: usize,
        /// How many input channels are read.
        c_in: usize,
        /// Where the result goes; twice as high and wide.
        output: Slice,
        /// `[2][2][c_in][c_out]`.
        weights: Vec<f32>,
        /// `[c_out]`.
        bias: Vec<f32>,
    },
    /// Nearest-neighbour upsampling by two, both ways.
    UpsampleNearest2 {
        /// Input value, all of its channels.
        input: ValueId,
        /// Where the result goes; twice as high and wide.
        output: Slice,
    },
    /// Copies a value (all its channels) into a slice: what is left of a concatenation when the source is a network input.
    Copy {
        /// Input value.
        input: ValueId,
        /// Where it goes.
        output: Slice,
    },
    /// Max pooling.
    MaxPool {
        /// Input value.
        input: ValueId,
        /// Output value.
        output: ValueId,
        /// Side of the window.
        kernel: usize,
        /// Step of the window.
        stride: usize,
        /// Padding (of minus infinity): top, left, bottom, right.
        pad: [usize; 4],
    },
    /// Mean over all pixels: `[N, H, W, C]` to `[N, 1, 1, C]`.
    GlobalAveragePool {
        /// Input value.
        input: ValueId,
        /// Output value.
        output: ValueId,
    },
    /// `out = input * weights + bias` on `[N, 1, 1, c_in]`.
    Linear {
        /// The layer's name.
        name: String,
        /// Input value.
        input: ValueId,
        /// Output value: the logits.
        output: ValueId,
        /// `[c_in][c_out]`.
        weights: Vec<f32>,
        /// `[c_out]`.
        bias: Vec<f32>,
    },
}

impl Step {
    /// The value that the step writes, or writes a slice of.
    pub fn written(&self) -> ValueId {
        match self {
            Step::Conv(conv) => conv.output.value,
            Step::ScaleShift { output, .. }
            | Step::Deconv2x2 { output, .. }
            | Step::UpsampleNearest2 { output, .. }
            | Step::Copy { output, .. } => output.value,
            Step::MaxPool { output, .. } | Step::GlobalAveragePool { output, .. } | Step::Linear { output, .. } => {
                *output
            }
        }
    }

    /// The values that the step reads.
    pub fn read(&self) -> Vec<ValueId> {
        match self {
            Step::Conv(conv) => std::iter::once(conv.input).chain(conv.residual).collect(),
            Step::ScaleShift { input, .. }
            | Step::Deconv2x2 { input, .. }
            | Step::UpsampleNearest2 { input, .. }
            | Step::Copy { input, .. }
            | Step::MaxPool { input, .. }
            | Step::GlobalAveragePool { input, .. }
            | Step::Linear { input, .. } => vec![*input],
        }
    }

    /// The slice that the step writes, if it can write a part of a value.
    pub(super) fn slice_mut(&mut self) -> Option<&mut Slice> {
        match self {
            Step::Conv(conv) => Some(&mut conv.output),
            Step::ScaleShift { output, .. }
            | Step::Deconv2x2 { output, .. }
            | Step::UpsampleNearest2 { output, .. }
            | Step::Copy { output, .. } => Some(output),
            Step::MaxPool { .. } | Step::GlobalAveragePool { .. } | Step::Linear { .. } => None,
        }
    }

    /// Every value that the step names.
    pub(super) fn values_mut(&mut self) -> Vec<&mut ValueId> {
        match self {
            Step::Conv(conv) => {
                [&mut conv.input, &mut conv.output.value].into_iter().chain(&mut conv.residual).collect()
            }
            Step::ScaleShift { input, output, .. }
            | Step::Deconv2x2 { input, output, .. }
            | Step::UpsampleNearest2 { input, output }
            | Step::Copy { input, output } => vec![input, &mut output.value],
            Step::MaxPool { input, output, .. }
            | Step::GlobalAveragePool { input, output }
            | Step::Linear { input, output, .. } => vec![input, output],
        }
    }
}

/// A network ready to run: steps in order over values.
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    /// What the first values hold.
    pub input: InputKind,
    /// Shape of every value for the network's input size. Blocks: value 0 is Y, value 1 is C. Rgb: value 0.
    pub values: Vec<ValueShape>,
    /// In execution order. Every value is written before it is read.
    pub steps: Vec<Step>,
    /// The value that holds the logits, `[N, 1, 1, classes]`.
    pub output: ValueId,
}

/// A batch norm that whoever makes an input applies to it: `x * scale[c] + shift[c]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelScaling {
    /// By channel.
    pub scale: Vec<f32>,
    /// By channel.
    pub shift: Vec<f32>,
}

impl Inference {
    /// Takes out the batch norms that come directly on a whole input (with [`InputNorm::Apply`](super::InputNorm::Apply)): from now on the
    /// network expects its inputs with these applied. Where a norm's result is its own value, a pass over the input is saved; where it
    /// is a slice of a concatenation, the copy remains. Of Y and of C; RGB never has any.
    pub fn take_input_norms(&mut self) -> [Option<ChannelScaling>; 2] {
        match self.input {
            InputKind::Blocks => [0, 1].map(|input| self.take_input_norm(ValueId(input))),
            InputKind::Rgb => [None, None],
        }
    }

    fn take_input_norm(&mut self, input: ValueId) -> Option<ChannelScaling> {
        let mut readers = (0..self.steps.len()).filter(|&step_idx| self.steps[step_idx].read().contains(&input));
        let (Some(reader_idx), None) = (readers.next(), readers.next()) else { return None };
        let Step::ScaleShift { output, scale, shift, .. } = &mut self.steps[reader_idx] else { return None };
        let (output, norm) = (*output, ChannelScaling { scale: std::mem::take(scale), shift: std::mem::take(shift) });
        if output.channels < self.values[output.value.0].channels {
            self.steps[reader_idx] = Step::Copy { input, output };
            return Some(norm);
        }
        self.steps.remove(reader_idx);
        for value in self.steps.iter_mut().flat_map(Step::values_mut).filter(|value| **value == output.value) {
            *value = input;
        }
        self.drop_unwritten_values();
        Some(norm)
    }

    /// Drops what is neither an input nor written; what is left is numbered anew.
    pub(super) fn drop_unwritten_values(&mut self) {
        let num_inputs = self.num_inputs();
        let is_written = |id: usize| id < num_inputs || self.steps.iter().any(|step| step.written().0 == id);
        let kept: Vec<usize> = (0..self.values.len()).filter(|&id| is_written(id)).collect();
        let renumber = |value: &mut ValueId| {
            value.0 = kept.binary_search(&value.0).expect("what is read is an input or written");
        };
        self.steps.iter_mut().flat_map(Step::values_mut).for_each(renumber);
        renumber(&mut self.output);
        self.values = kept.iter().map(|&id| self.values[id]).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Config, InputNorm, Variant, Weights};

    #[test]
    fn norms_on_whole_inputs_are_taken_out_once() {
        for variant in Variant::ALL {
            let config = Config { width: 0.05, classes: 3, input_size: (64, 64), ..Config::new(variant) };
            let mut inference = Weights::random(config, 1).unwrap().inference(InputNorm::Apply);
            let num_inputs = inference.num_inputs();
            let reads_input = |step: &Step| step.read().iter().any(|value| value.0 < num_inputs);
            let is_norm = |step: &&Step| matches!(step, Step::ScaleShift { .. }) && reads_input(step);
            let num_norms = inference.steps.iter().filter(is_norm).count();
            let norms = inference.take_input_norms();
            assert_eq!(norms.iter().flatten().count(), num_norms, "{variant}");
            assert_eq!(inference.steps.iter().filter(is_norm).count(), 0, "{variant}");
            for (norm, shape) in norms.iter().zip(&inference.values) {
                assert!(norm.as_ref().is_none_or(|norm| norm.scale.len() == shape.channels), "{variant}");
            }
            assert!(inference.take_input_norms().iter().all(Option::is_none), "{variant}");
        }
    }
}
