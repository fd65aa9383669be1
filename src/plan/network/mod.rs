//! A network laid out for a device: its steps as the kernels take them, its weights as the bytes of one upload, its activations as
//! offsets in one buffer.
//!
//! Everything is f16 and NHWC but the sums, the biases and the logits, which are f32. Nothing here depends on the batch: offsets are
//! per image and are multiplied by the images that run at a time.

mod arena;
mod lower;

use crate::error::Result;
use crate::network::{Inference, InputKind, Slice, ValueId, ValueShape};
use crate::plan::Region;

pub use arena::Arena;

/// A network, ready for a device.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    /// What the first values hold.
    pub input: InputKind,
    /// Shapes of all values. RGB has a fourth channel, which is zero.
    pub values: Vec<ValueShape>,
    /// In order.
    pub steps: Vec<NetworkStep>,
    /// The logits.
    pub output: ValueId,
    /// Weights, biases and scales: what [`Region`]s of the steps lie in.
    pub constants: Vec<u8>,
    /// Where the activations of one image lie.
    pub arena: Arena,
}

/// One launch.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkStep {
    /// The layer's name; of two layers that became one product, the first's.
    pub name: String,
    /// The channels read.
    pub input: Slice,
    /// Added to the first output before its activation.
    pub residual: Option<ValueId>,
    /// The channels written: one slice, or two if a convolution's columns go to two values.
    pub outputs: Vec<Output>,
    /// What is done.
    pub operation: Operation,
}

/// What a step writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where.
    pub slice: Slice,
    /// Whether negative values become zero.
    pub has_relu: bool,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A matrix product over windows: convolutions, deconvolutions and the fully connected layer.
    Convolve(Convolution),
    /// Pixels copied into a slice.
    PlaceChannels {
        /// Every pixel becomes `factor` x `factor`.
        factor: u32,
        /// Scale and shift, f32 `[channels]` each.
        affine: Option<(Region, Region)>,
    },
    /// Max pooling.
    PoolMaximum {
        /// Side of the window.
        kernel: u32,
        /// Pixels from one window to the next.
        stride: u32,
        /// Rows above the input.
        pad_top: u32,
        /// Columns left of the input.
        pad_left: u32,
    },
    /// The mean over all pixels.
    AveragePixels,
}

/// A convolution as a matrix product: rows are windows, columns output channels, the depth runs over (ky, kx, channel).
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    /// The input's rows and columns of pixels.
    pub input_size: (u32, u32),
    /// Values from one pixel of the input to the next.
    pub input_pitch: u32,
    /// Channels read of each pixel.
    pub channels: u32,
    /// Rows and columns of taps.
    pub kernel: (u32, u32),
    /// Pixels from one window to the next, down and across.
    pub stride: (u32, u32),
    /// Zeros above and left of the input.
    pub pad: (u32, u32),
    /// Rows and columns of windows.
    pub windows: (u32, u32),
    /// Output channels, all outputs together.
    pub num_columns: u32,
    /// Values of a row of weights: taps times channels, padded to a multiple of [`crate::abi::CONVOLVE_DEPTH`].
    pub depth: u32,
    /// 1; 2 for a deconvolution, whose four taps (phases) make the four pixels of 2 x 2.
    pub upsampling: u32,
    /// Whether the output is f32: the logits.
    pub is_float: bool,
    /// f16 `[upsampling ^ 2][num_columns][depth]`.
    pub weights: Region,
    /// f32 `[num_columns]`, padded to a multiple of 8.
    pub bias: Region,
    /// The same in f16, for libraries; `None` if one of them is beyond its range.
    pub bias_half: Option<Region>,
}

impl Convolution {
    /// Products that are computed side by side: 4 for a deconvolution, else 1.
    pub fn num_phases(&self) -> u32 {
        self.upsampling * self.upsampling
    }

    /// Multiply-adds for one image, zeros of the padded depth included.
    pub fn macs(&self) -> u64 {
        let rows = u64::from(self.windows.0) * u64::from(self.windows.1);
        rows * u64::from(self.num_phases()) * u64::from(self.num_columns) * u64::from(self.depth)
    }
}

impl NetworkPlan {
    /// Lays `inference` out.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Usage`]: its steps do not fit together, or are not of the kind that the kernels run (channels that are not
    /// multiples of 8, weights beyond the range of f16, RGB read by anything but a convolution of stride 2).
    pub fn new(inference: &Inference) -> Result<Self> {
        inference.check()?;
        let (values, mut drafts) = lower::lower(inference)?;
        lower::share_products(&mut drafts);
        let (steps, constants) = lower::place_constants(drafts);
        let arena = Arena::new(&values, &steps, inference.num_inputs(), inference.output);
        Ok(Self { input: inference.input, values, steps, output: inference.output, constants, arena })
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::ErrorKind;
    use crate::network::{Activation, Config, InputNorm, Network, Step, Variant, Weights};

    fn plan_of(variant: Variant, input_norm: InputNorm) -> (Inference, NetworkPlan) {
        let config = Config { width: 0.25, classes: 10, input_size: (64, 96), ..Config::new(variant) };
        let inference = Weights::random(config, 1).unwrap().inference(input_norm);
        let plan = NetworkPlan::new(&inference).unwrap();
        (inference, plan)
    }

    fn convolution<'a>(plan: &'a NetworkPlan, name: &str) -> (&'a NetworkStep, &'a Convolution) {
        let step = plan.steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no step {name}"));
        match &step.operation {
            Operation::Convolve(convolution) => (step, convolution),
            other => panic!("{name} is {other:?}"),
        }
    }

    fn weight(plan: &NetworkPlan, convolution: &Convolution, column: usize, depth: usize) -> f32 {
        let values: &[f16] = bytemuck::cast_slice(&plan.constants[convolution.weights.range_bytes()]);
        values[column * convolution.depth as usize + depth].to_f32()
    }

    #[test]
    fn the_first_block_is_one_product_with_two_outputs() {
        for (variant, name) in [(Variant::Upsampling, "res3a_branch1"), (Variant::LateConcat, "res4x_branch1")] {
            let (_, plan) = plan_of(variant, InputNorm::Fold);
            let (step, convolution) = convolution(&plan, name);
            assert_eq!(step.outputs.iter().map(|output| output.has_relu).collect::<Vec<_>>(), [false, true]);
            let channels: usize = step.outputs.iter().map(|output| output.slice.channels).sum();
            assert_eq!(convolution.num_columns as usize, channels);
            let absent = name.replace("branch1", "branch2a");
            assert!(plan.steps.iter().all(|step| step.name != absent), "{absent} has become a part of {name}");
        }
    }

    #[test]
    fn weights_are_rows_of_taps_and_channels() {
        let (inference, plan) = plan_of(Variant::LateConcat, InputNorm::Fold);
        let original = inference.steps.iter().find_map(|step| match step {
            Step::Conv(conv) if conv.name == "res3b_branch2b" => Some(conv),
            _ => None,
        });
        let (original, (_, convolution)) = (original.unwrap(), convolution(&plan, "res3b_branch2b"));
        let (c_in, c_out) = (convolution.channels as usize, convolution.num_columns as usize);
        for (tap, channel, column) in [(0, 0, 0), (4, 7, 3), (8, c_in - 1, c_out - 1)] {
            let expected = original.weights[(tap * c_in + channel) * c_out + column];
            assert_eq!(weight(&plan, convolution, column, tap * c_in + channel), f16::from_f32(expected).to_f32());
        }
    }

    /// RGB is read as pairs of pixels: 7 x 7 taps of 3 channels become 7 x 4 taps of 8.
    #[test]
    fn rgb_is_read_two_pixels_at_a_time() {
        let (inference, plan) = plan_of(Variant::Resnet50Rgb, InputNorm::Fold);
        let Step::Conv(original) = &inference.steps[0] else { panic!("conv1 comes first") };
        let (step, convolution) = convolution(&plan, "conv1");
        assert_eq!((convolution.kernel, convolution.stride, convolution.pad), ((7, 4), (2, 1), (3, 2)));
        assert_eq!((convolution.input_size, convolution.input_pitch, convolution.depth), ((96, 32), 8, 224));
        assert_eq!((step.input.channels, plan.values[0].channels), (8, 4));
        let c_out = convolution.num_columns as usize;
        for (ky, kx, channel, column) in [(0, 0, 0, 0), (3, 6, 2, 1), (6, 1, 1, c_out - 1)] {
            let expected = original.weights[((ky * 7 + kx) * 3 + channel) * c_out + column];
            // The first pixel of the first pair lies left of the kernel.
            let depth = (ky * 8 + kx + 1) * 4 + channel;
            assert_eq!(weight(&plan, convolution, column, depth), f16::from_f32(expected).to_f32());
        }
        assert!((0..7).all(|ky| weight(&plan, convolution, 0, ky * 32) == 0.0));
    }

    #[test]
    fn the_multiply_adds_are_those_of_the_network() {
        for variant in Variant::ALL {
            let config = Config { width: 0.125, ..Config::new(variant) };
            let plan = NetworkPlan::new(&Weights::random(config, 1).unwrap().inference(InputNorm::Fold)).unwrap();
            let convolutions = plan.steps.iter().filter_map(|step| match &step.operation {
                Operation::Convolve(convolution) => Some(convolution),
                _ => None,
            });
            let useful = convolutions.map(|c| {
                let taps = u64::from(c.kernel.0 * c.kernel.1 * c.channels);
                c.macs() / u64::from(c.depth) * taps
            });
            let (useful, expected) = (useful.sum::<u64>(), Network::new(config).unwrap().macs());
            // The seventh column of conv1 brings an eighth, and the third channel a fourth.
            let most = if variant.input() == InputKind::Rgb { expected * 2 } else { expected };
            assert!((expected..=most).contains(&useful), "{variant}: {useful} of {expected}");
        }
    }

    /// Our own kernels add it in f32; libraries would make an infinity of it.
    #[test]
    fn a_bias_beyond_f16_is_not_for_libraries() {
        let (mut inference, plan) = plan_of(Variant::LateConcat, InputNorm::Fold);
        assert!(convolution(&plan, "res3b_branch2b").1.bias_half.is_some());
        for step in &mut inference.steps {
            if let Step::Conv(conv) = step
                && conv.name == "res3b_branch2b"
            {
                conv.bias[1] = -1e5;
            }
        }
        let plan = NetworkPlan::new(&inference).unwrap();
        let convolution = convolution(&plan, "res3b_branch2b").1;
        assert_eq!(convolution.bias_half, None);
        let bias: &[f32] = bytemuck::cast_slice(&plan.constants[convolution.bias.range_bytes()]);
        assert_eq!(bias[1], -1e5);
    }

    #[test]
    fn what_the_kernels_cannot_run_is_refused() {
        let (good, _) = plan_of(Variant::LateConcat, InputNorm::Fold);
        let refused = |change: &dyn Fn(&mut Inference)| {
            let mut inference = good.clone();
            change(&mut inference);
            let error = NetworkPlan::new(&inference).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
            error.to_string()
        };
        let first_conv = |inference: &mut Inference| {
            inference.steps.iter().position(|step| matches!(step, Step::Conv(_))).expect("there are convolutions")
        };
        let message = refused(&|inference| {
            let conv = first_conv(inference);
            let Step::Conv(conv) = &mut inference.steps[conv] else { unreachable!() };
            conv.weights[0] = 1e6;
        });
        assert!(message.contains("f16"), "{message}");
        let message = refused(&|inference| inference.output = ValueId(2));
        assert!(message.contains("logits"), "{message}");
        let message = refused(&|inference| {
            let conv = first_conv(inference);
            let Step::Conv(conv) = &mut inference.steps[conv] else { unreachable!() };
            conv.activation = Activation::Identity;
            conv.weights.pop();
        });
        assert!(message.contains("weights"), "{message}");
    }
}
