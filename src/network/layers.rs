//! A network as data: one list of layers over activations, before any folding. Shapes, weights, MACs and parameters follow from it, and
//! everything else is made from it: the folded form that engines run, random weights, the ONNX file.

use crate::network::{Config, InputKind, ValueId, ValueShape};

/// What a layer computes. Channels come last; `N` is the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// 2-D convolution without bias. Weight `[c_out, c_in, kernel, kernel]`.
    Conv {
        /// Rows and columns of the kernel.
        kernel: usize,
        /// Step of the window, both ways.
        stride: usize,
        /// Zeros around the input: top, left, bottom, right.
        pad: [usize; 4],
        /// Output channels.
        c_out: usize,
    },
    /// 2 x 2 deconvolution (transposed convolution) of stride 2 without bias. Weight `[c_in, c_out, 2, 2]`.
    Deconv2x2 {
        /// Output channels.
        c_out: usize,
    },
    /// `(x - running_mean) / sqrt(running_var + eps) * weight + bias`, per channel.
    BatchNorm,
    /// `max(0, x)`.
    Relu,
    /// The sum of two values of one shape.
    Add,
    /// Two or more values of one height and width, one after the other along the channels.
    Concat,
    /// Nearest-neighbour upsampling by two, both ways.
    UpsampleNearest2,
    /// Max pooling.
    MaxPool {
        /// Side of the window.
        kernel: usize,
        /// Step of the window.
        stride: usize,
        /// Padding (of minus infinity): top, left, bottom, right.
        pad: [usize; 4],
    },
    /// Mean over all pixels.
    GlobalAveragePool,
    /// Fully connected. Weight `[classes, c_in]`, bias `[classes]`.
    Linear {
        /// Number of outputs.
        classes: usize,
    },
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Unique name, and the prefix of its tensors in a weights file (`res3a_branch2a`).
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it writes: a value of its own.
    pub output: ValueId,
}

/// The name and shape of one tensor of a layer's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// `layer.weight`, `layer.bias`, `layer.running_mean`, `layer.running_var`.
    pub name: String,
    /// Length of each dimension, in PyTorch's order.
    pub shape: Vec<usize>,
}

/// A network: layers in order over values. Its first values are its inputs: Y, Cb, Cr, or RGB.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// What it was made from.
    pub config: Config,
    /// Shape of every value for the configuration's input size.
    pub values: Vec<ValueShape>,
    /// In execution order: every value is written before it is read.
    pub layers: Vec<Layer>,
    /// The logits, `[N, 1, 1, classes]`.
    pub output: ValueId,
}

impl Network {
    /// Names of the inputs, which are the first values: `y`, `cb`, `cr` or `rgb`.
    pub fn input_names(&self) -> &'static [&'static str] {
        match self.config.variant.input() {
            InputKind::Blocks => &["y", "cb", "cr"],
            InputKind::Rgb => &["rgb"],
        }
    }

    /// The shape of a value.
    pub fn shape(&self, value: ValueId) -> ValueShape {
        self.values[value.0]
    }

    /// The tensors that a layer needs.
    pub fn tensors_of(&self, layer: &Layer) -> Vec<TensorSpec> {
        let c_in = self.shape(layer.inputs[0]).channels;
        let spec = |suffix: &str, shape: &[usize]| TensorSpec {
            name: format!("{}.{suffix}", layer.name),
            shape: shape.to_vec(),
        };
        match layer.op {
            Op::Conv { kernel, c_out, .. } => vec![spec("weight", &[c_out, c_in, kernel, kernel])],
            Op::Deconv2x2 { c_out } => vec![spec("weight", &[c_in, c_out, 2, 2])],
            Op::BatchNorm => {
                ["weight", "bias", "running_mean", "running_var"].map(|suffix| spec(suffix, &[c_in])).to_vec()
            }
            Op::Linear { classes } => vec![spec("weight", &[classes, c_in]), spec("bias", &[classes])],
            _ => Vec::new(),
        }
    }

    /// Every tensor of the network's weights, in the layers' order.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        self.layers.iter().flat_map(|layer| self.tensors_of(layer)).collect()
    }

    /// Multiply-accumulates of one layer for one image: convolutions, deconvolutions and the fully connected layer; others count 0.
    pub fn macs_of(&self, layer: &Layer) -> u64 {
        let input = self.shape(layer.inputs[0]);
        let output = self.shape(layer.output);
        let per_pixel = |shape: ValueShape| (shape.height * shape.width) as u64;
        let channels = (input.channels * output.channels) as u64;
        match layer.op {
            Op::Conv { kernel, .. } => per_pixel(output) * channels * (kernel * kernel) as u64,
            Op::Deconv2x2 { .. } => per_pixel(output) * channels,
            Op::Linear { .. } => channels,
            _ => 0,
        }
    }

    /// Multiply-accumulates for one image.
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(|layer| self.macs_of(layer)).sum()
    }

    /// Learned parameters of one layer: a batch norm's running statistics do not count.
    pub fn parameters_of(&self, layer: &Layer) -> u64 {
        let learned = |spec: &TensorSpec| !spec.name.contains(".running_");
        self.tensors_of(layer)
            .iter()
            .filter(|spec| learned(spec))
            .map(|s| s.shape.iter().product::<usize>() as u64)
            .sum()
    }

    /// Learned parameters.
    pub fn parameters(&self) -> u64 {
        self.layers.iter().map(|layer| self.parameters_of(layer)).sum()
    }
}

/// Side of a window's output: `length` samples, `pad` zeros in all, no partial window.
fn window_end(length: usize, pad: usize, kernel: usize, stride: usize) -> usize {
    (length + pad - kernel) / stride + 1
}

/// The output shape of `op` on inputs of these shapes.
pub(super) fn infer_shape(op: Op, inputs: &[ValueShape]) -> ValueShape {
    let ValueShape { height, width, channels } = inputs[0];
    let windowed = |kernel: usize, stride: usize, pad: [usize; 4], channels: usize| ValueShape {
        height: window_end(height, pad[0] + pad[2], kernel, stride),
        width: window_end(width, pad[1] + pad[3], kernel, stride),
        channels,
    };
    match op {
        Op::Conv { kernel, stride, pad, c_out } => windowed(kernel, stride, pad, c_out),
        Op::MaxPool { kernel, stride, pad } => windowed(kernel, stride, pad, channels),
        Op::Deconv2x2 { c_out } => ValueShape { height: 2 * height, width: 2 * width, channels: c_out },
        Op::UpsampleNearest2 => ValueShape { height: 2 * height, width: 2 * width, channels },
        Op::BatchNorm | Op::Relu => inputs[0],
        Op::Add => {
            assert_eq!(inputs[0], inputs[1], "a sum of unlike shapes");
            inputs[0]
        }
        Op::Concat => {
            assert!(inputs.iter().all(|s| (s.height, s.width) == (height, width)), "a concatenation of unlike sizes");
            ValueShape { height, width, channels: inputs.iter().map(|s| s.channels).sum() }
        }
        Op::GlobalAveragePool => ValueShape { height: 1, width: 1, channels },
        Op::Linear { classes } => ValueShape { height: 1, width: 1, channels: classes },
    }
}
