//! From the layer list and its weights to the form that engines run.
//!
//! Layers are taken in order. A convolution becomes a step; a batch norm, a sum or a ReLU that is the only reader of a step's output
//! goes into that step; a concatenation points the steps that make its parts at slices of its own value. What remains are values that
//! nobody writes, and they are dropped at the end.

use crate::network::inference::{Activation, ConvStep, Inference, Slice, Step, ValueId, ValueShape};
use crate::network::interpret::{conv_matrix, deconv_matrix, scale_and_shift};
use crate::network::{InputKind, Layer, Network, Op, Weights};
use crate::tensor::Tensor;

/// What becomes of a batch norm that comes directly on the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputNorm {
    /// Folded into the convolutions after it: fewest steps. Their weights then differ in size as the coefficients do, by about 10^3.
    Fold,
    /// Applied to the input: all tensors are of order one, as 16-bit and 8-bit arithmetic wants them.
    Apply,
}

impl Weights {
    /// The network with its batch norms folded, for images of the configuration's input size.
    pub fn inference(&self, input_norm: InputNorm) -> Inference {
        let mut folder = Folder::new(self, input_norm);
        for layer in &self.network().layers {
            folder.add(layer);
        }
        folder.finish()
    }
}

/// `x * scale + shift`, per channel.
#[derive(Clone)]
struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Where a value of the layer list is found in the folded form.
#[derive(Clone)]
struct Place {
    /// The channels that hold it.
    slice: Slice,
    /// The step that writes these channels and nothing else.
    writer: Option<usize>,
    /// A batch norm that every reader has yet to fold in.
    pending: Option<Affine>,
}

struct Folder<'a> {
    weights: &'a Weights,
    network: &'a Network,
    input_norm: InputNorm,
    values: Vec<ValueShape>,
    steps: Vec<Step>,
    /// Of the layer list's values, as far as it has been read.
    places: Vec<Place>,
    /// The readers of each of the layer list's values.
    readers: Vec<Vec<&'a Layer>>,
}

impl<'a> Folder<'a> {
    fn new(weights: &'a Weights, input_norm: InputNorm) -> Self {
        let network = weights.network();
        let mut readers = vec![Vec::new(); network.values.len()];
        for layer in &network.layers {
            layer.inputs.iter().for_each(|input| readers[input.0].push(layer));
        }
        let input = |value: usize, offset, channels| Place {
            slice: Slice { value: ValueId(value), offset, channels },
            writer: None,
            pending: None,
        };
        let (values, places) = match network.config.variant.input() {
            InputKind::Rgb => (network.values[..1].to_vec(), vec![input(0, 0, 3)]),
            InputKind::Blocks => {
                let c = ValueShape { channels: 128, ..network.values[1] };
                (vec![network.values[0], c], vec![input(0, 0, 64), input(1, 0, 64), input(1, 64, 64)])
            }
        };
        Self { weights, network, input_norm, values, steps: Vec::new(), places, readers }
    }

    /// Appends the place of `layer`'s output.
    fn add(&mut self, layer: &Layer) {
        let place = match layer.op {
            Op::Conv { kernel, stride, pad, .. } => self.conv(layer, kernel, stride, pad),
            Op::Deconv2x2 { .. } => self.deconv2x2(layer),
            Op::BatchNorm => self.batch_norm(layer),
            Op::Relu => self.relu(layer),
            Op::Add => self.residual(layer),
            Op::Concat => self.concat(layer),
            Op::UpsampleNearest2 => {
                let input = self.whole(layer.inputs[0]);
                self.push(layer, |output| Step::UpsampleNearest2 { input, output })
            }
            Op::MaxPool { kernel, stride, pad } => {
                let input = self.whole(layer.inputs[0]);
                self.push(layer, |output| Step::MaxPool { input, output: output.value, kernel, stride, pad })
            }
            Op::GlobalAveragePool => {
                let input = self.whole(layer.inputs[0]);
                self.push(layer, |output| Step::GlobalAveragePool { input, output: output.value })
            }
            Op::Linear { .. } => self.linear(layer),
        };
        self.places.push(place);
    }

    fn tensor(&self, layer: &Layer, suffix: &str) -> &'a Tensor {
        &self.weights.tensors()[&format!("{}.{suffix}", layer.name)]
    }

    /// A new value of the folded form.
    fn new_value(&mut self, shape: ValueShape) -> ValueId {
        self.values.push(shape);
        ValueId(self.values.len() - 1)
    }

    /// Appends a step that writes a new value, which is `layer`'s output.
    fn push(&mut self, layer: &Layer, step: impl FnOnce(Slice) -> Step) -> Place {
        let shape = self.network.shape(layer.output);
        let slice = Slice { value: self.new_value(shape), offset: 0, channels: shape.channels };
        self.steps.push(step(slice));
        Place { slice, writer: Some(self.steps.len() - 1), pending: None }
    }

    /// The value that is `value`.
    fn whole(&self, value: ValueId) -> ValueId {
        let is_pending = self.places[value.0].pending.is_some();
        assert!(!is_pending, "only convolutions read a value whose batch norm is still to be folded in");
        self.all_channels(value)
    }

    /// The value that is `value` but for a pending batch norm.
    fn all_channels(&self, value: ValueId) -> ValueId {
        let slice = self.places[value.0].slice;
        assert_eq!(slice.channels, self.values[slice.value.0].channels, "only deconvolutions read a part of a value");
        slice.value
    }

    /// The step that makes `value`, if it has exactly one reader, so that this reader can go into the step.
    fn sole_writer(&self, value: ValueId) -> Option<usize> {
        self.places[value.0].writer.filter(|_| self.readers[value.0].len() == 1)
    }

    fn conv(&mut self, layer: &Layer, kernel: usize, stride: usize, pad: [usize; 4]) -> Place {
        let weight = self.tensor(layer, "weight");
        let c_out = weight.shape[0];
        let mut weights = conv_matrix(weight);
        let mut bias = vec![0.0; c_out];
        if let Some(affine) = &self.places[layer.inputs[0].0].pending {
            fold_before(affine, &mut weights, &mut bias);
        }
        let input = self.all_channels(layer.inputs[0]);
        self.push(layer, |output| {
            Step::Conv(ConvStep {
                name: layer.name.clone(),
                input,
                output,
                residual: None,
                kernel: (kernel, kernel),
                stride,
                pad,
                weights,
                bias,
                activation: Activation::Identity,
            })
        })
    }

    fn deconv2x2(&mut self, layer: &Layer) -> Place {
        let weight = self.tensor(layer, "weight");
        let (c_in, c_out) = (weight.shape[0], weight.shape[1]);
        let source = self.places[layer.inputs[0].0].slice;
        self.push(layer, |output| Step::Deconv2x2 {
            name: layer.name.clone(),
            input: source.value,
            input_offset: source.offset,
            c_in,
            output,
            weights: deconv_matrix(weight),
            bias: vec![0.0; c_out],
        })
    }

    fn linear(&mut self, layer: &Layer) -> Place {
        let input = self.whole(layer.inputs[0]);
        let weight = self.tensor(layer, "weight");
        let bias = self.tensor(layer, "bias").data.clone();
        self.push(layer, |output| Step::Linear {
            name: layer.name.clone(),
            input,
            output: output.value,
            weights: transpose(weight),
            bias,
        })
    }

    fn batch_norm(&mut self, layer: &Layer) -> Place {
        let (scale, shift) = scale_and_shift(self.weights.tensors(), &layer.name, self.network.config.eps);
        let affine = Affine { scale, shift };
        let input = layer.inputs[0];
        if let Some(writer) = self.sole_writer(input) {
            fold_after(&affine, &mut self.steps[writer]);
            return self.places[input.0].clone();
        }
        let is_exact = |reader: &&Layer| matches!(reader.op, Op::Conv { pad: [0, 0, 0, 0], .. });
        if self.input_norm == InputNorm::Fold && self.readers[layer.output.0].iter().all(is_exact) {
            return Place { pending: Some(affine), ..self.places[input.0].clone() };
        }
        self.apply_to_input(layer, affine)
    }

    /// A batch norm on an input, or on a concatenation of inputs and of what linear steps make of them.
    fn apply_to_input(&mut self, layer: &Layer, affine: Affine) -> Place {
        let value = self.whole(layer.inputs[0]);
        let writers: Vec<usize> = (0..self.steps.len()).filter(|&i| self.steps[i].written() == value).collect();
        if writers.is_empty() {
            let Affine { scale, shift } = affine;
            let name = layer.name.clone();
            return self.push(layer, |output| Step::ScaleShift { name, input: value, output, scale, shift });
        }
        for writer in writers {
            let slice = *self.steps[writer].slice_mut().expect("the parts of a concatenation are written as slices");
            let channels = slice.offset..slice.offset + slice.channels;
            let (scale, shift) = (affine.scale[channels.clone()].to_vec(), affine.shift[channels].to_vec());
            self.apply_to_part(layer, writer, Affine { scale, shift });
        }
        self.places[layer.inputs[0].0].clone()
    }

    /// The same for one part of the concatenation.
    fn apply_to_part(&mut self, layer: &Layer, writer: usize, affine: Affine) {
        let name = layer.name.clone();
        let Affine { scale, shift } = affine;
        match self.steps[writer] {
            Step::Copy { input, output } => {
                self.steps[writer] = Step::ScaleShift { name, input, output, scale, shift };
            }
            Step::UpsampleNearest2 { input, output } => {
                // Before the upsampling, where there is a quarter of the pixels.
                let value = self.new_value(self.values[input.0]);
                let normalised = Slice { value, offset: 0, channels: output.channels };
                self.steps[writer] = Step::ScaleShift { name, input, output: normalised, scale, shift };
                self.steps.push(Step::UpsampleNearest2 { input: value, output });
            }
            _ => fold_after(&Affine { scale, shift }, &mut self.steps[writer]),
        }
    }

    fn relu(&mut self, layer: &Layer) -> Place {
        let writer = self.sole_writer(layer.inputs[0]).expect("a ReLU follows a convolution that nothing else reads");
        self.conv_step(writer).activation = Activation::Relu;
        self.places[layer.inputs[0].0].clone()
    }

    /// A sum goes into the later of the two convolutions, or into the only one.
    fn residual(&mut self, layer: &Layer) -> Place {
        let [a, b] = layer.inputs[..] else { unreachable!("a sum has two inputs") };
        let (main, other) = if self.sole_writer(a) > self.sole_writer(b) { (a, b) } else { (b, a) };
        let writer = self.sole_writer(main).expect("one side of a sum is a convolution that nothing else reads");
        let residual = self.whole(other);
        self.conv_step(writer).residual = Some(residual);
        self.places[main.0].clone()
    }

    fn conv_step(&mut self, step: usize) -> &mut ConvStep {
        match &mut self.steps[step] {
            Step::Conv(conv) => conv,
            _ => unreachable!("sums and ReLUs follow convolutions"),
        }
    }

    fn concat(&mut self, layer: &Layer) -> Place {
        if let Some(place) = self.adjacent_parts(layer) {
            return place;
        }
        let shape = self.network.shape(layer.output);
        let value = self.new_value(shape);
        let mut offset = 0;
        for &part in &layer.inputs {
            let channels = self.network.shape(part).channels;
            let slice = Slice { value, offset, channels };
            match self.sole_writer(part).and_then(|writer| self.steps[writer].slice_mut()) {
                Some(output) => *output = slice,
                None => self.steps.push(Step::Copy { input: self.whole(part), output: slice }),
            }
            offset += channels;
        }
        Place { slice: Slice { value, offset: 0, channels: shape.channels }, writer: None, pending: None }
    }

    /// The parts of a concatenation that already lie side by side: Cb and Cr.
    fn adjacent_parts(&self, layer: &Layer) -> Option<Place> {
        let mut joined = self.places[layer.inputs[0].0].slice;
        for part in &layer.inputs[1..] {
            let part = self.places[part.0].slice;
            if (part.value, part.offset) != (joined.value, joined.offset + joined.channels) {
                return None;
            }
            joined.channels += part.channels;
        }
        Some(Place { slice: joined, writer: None, pending: None })
    }

    /// Drops the values that became slices of others.
    fn finish(self) -> Inference {
        let input = self.network.config.variant.input();
        let output = self.whole(self.network.output);
        let mut inference = Inference { input, values: self.values, steps: self.steps, output };
        inference.drop_unwritten_values();
        inference
    }
}

/// Folds a batch norm on the input of an unpadded convolution, whose matrix is `[taps * c_in][c_out]`, into it.
fn fold_before(affine: &Affine, weights: &mut [f32], bias: &mut [f32]) {
    let (c_in, c_out) = (affine.scale.len(), bias.len());
    let mut sums = vec![0.0f64; c_out];
    for (row_idx, row) in weights.chunks_exact_mut(c_out).enumerate() {
        let (scale, shift) = (affine.scale[row_idx % c_in], affine.shift[row_idx % c_in]);
        for (weight, sum) in row.iter_mut().zip(&mut sums) {
            *sum += f64::from(*weight) * f64::from(shift);
            *weight *= scale;
        }
    }
    bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias += sum as f32);
}

/// Folds a batch norm on the output of a convolution or deconvolution into it.
fn fold_after(affine: &Affine, step: &mut Step) {
    let (weights, bias) = match step {
        Step::Conv(conv) if conv.activation == Activation::Identity => (&mut conv.weights, &mut conv.bias),
        Step::Deconv2x2 { weights, bias, .. } => (weights, bias),
        _ => unreachable!("a batch norm follows a convolution or an input"),
    };
    for row in weights.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(&affine.scale).for_each(|(weight, scale)| *weight *= scale);
    }
    for (bias, (scale, shift)) in bias.iter_mut().zip(affine.scale.iter().zip(&affine.shift)) {
        *bias = *bias * scale + shift;
    }
}

/// `[rows, columns]` as `[columns][rows]`.
fn transpose(matrix: &Tensor) -> Vec<f32> {
    let (rows, columns) = (matrix.shape[0], matrix.shape[1]);
    (0..rows * columns).map(|i| matrix.data[i % rows * columns + i / rows]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::interpret::{conv_product, deconv_product, global_average_pool, max_pool, upsample_nearest2};
    use crate::network::{Config, Variant, interpret};

    /// Runs the steps one after the other. Values begin as NaN, so that a channel that nobody writes shows.
    fn run(inference: &Inference, inputs: &[Tensor]) -> Tensor {
        let batch = inputs[0].shape[0];
        let nan = |shape: &ValueShape| {
            let shape = [batch, shape.height, shape.width, shape.channels];
            Tensor::from_vec(&shape, vec![f32::NAN; shape.iter().product()])
        };
        let mut values: Vec<Tensor> = inputs.to_vec();
        values.extend(inference.values[inputs.len()..].iter().map(nan));
        for step in &inference.steps {
            run_step(step, &mut values);
        }
        values.swap_remove(inference.output.0)
    }

    fn run_step(step: &Step, values: &mut [Tensor]) {
        let input = &values[step.read()[0].0];
        let (result, offset) = match step {
            Step::Conv(conv) => {
                let mut sum = conv_product(input, &conv.weights, conv.bias.len(), conv.kernel.0, conv.stride, conv.pad);
                let residual = conv.residual.map(|r| &values[r.0]);
                for (i, v) in sum.data.iter_mut().enumerate() {
                    *v += conv.bias[i % conv.bias.len()] + residual.map_or(0.0, |r| r.data[i]);
                    *v = if conv.activation == Activation::Relu { v.max(0.0) } else { *v };
                }
                (sum, conv.output.offset)
            }
            Step::ScaleShift { output, scale, shift, .. } => {
                let channels = scale.len();
                let affine = |(i, v): (usize, &f32)| v * scale[i % channels] + shift[i % channels];
                let data = input.data.iter().enumerate().map(affine).collect();
                (Tensor::from_vec(&input.shape, data), output.offset)
            }
            Step::Deconv2x2 { input_offset, c_in, output, weights, bias, .. } => {
                let pixels = input.data.chunks_exact(input.shape[3]);
                let part: Vec<f32> = pixels.flat_map(|pixel| &pixel[*input_offset..][..*c_in]).copied().collect();
                let part = Tensor::from_vec(&[input.shape[0], input.shape[1], input.shape[2], *c_in], part);
                let mut result = deconv_product(&part, weights, bias.len());
                result.data.iter_mut().enumerate().for_each(|(i, v)| *v += bias[i % bias.len()]);
                (result, output.offset)
            }
            Step::UpsampleNearest2 { output, .. } => (upsample_nearest2(input), output.offset),
            Step::Copy { output, .. } => (input.clone(), output.offset),
            Step::MaxPool { kernel, stride, pad, .. } => (max_pool(input, *kernel, *stride, *pad), 0),
            Step::GlobalAveragePool { .. } => (global_average_pool(input), 0),
            Step::Linear { weights, bias, .. } => {
                let dot = |features: &[f32], class: usize| {
                    let products = features.iter().zip(weights.iter().skip(class).step_by(bias.len()));
                    products.map(|(f, w)| f * w).sum::<f32>() + bias[class]
                };
                let images = input.data.chunks_exact(weights.len() / bias.len());
                let data = images.flat_map(|image| (0..bias.len()).map(move |class| dot(image, class))).collect();
                (Tensor::from_vec(&[input.shape[0], 1, 1, bias.len()], data), 0)
            }
        };
        let output = &mut values[step.written().0];
        assert_eq!(result.shape[..3], output.shape[..3]);
        let (channels, all_channels) = (result.shape[3], output.shape[3]);
        for (pixel, result) in output.data.chunks_exact_mut(all_channels).zip(result.data.chunks_exact(channels)) {
            pixel[offset..offset + channels].copy_from_slice(result);
        }
    }

    fn config(variant: Variant) -> Config {
        Config { width: 0.125, classes: 10, input_size: (96, 64), ..Config::new(variant) }
    }

    /// A batch of two, with coefficients (or samples) that depend on everything but follow no pattern.
    fn inputs(network: &Network) -> Vec<Tensor> {
        let tensor = |shape: &ValueShape| {
            let shape = [2, shape.height, shape.width, shape.channels];
            let value = |i: usize| ((i * i % 1013) as f32 / 506.0 - 1.0) * if shape[3] == 3 { 2.0 } else { 20.0 };
            Tensor::from_vec(&shape, (0..shape.iter().product()).map(value).collect())
        };
        network.values[..network.input_names().len()].iter().map(tensor).collect()
    }

    /// Y, Cb and Cr as Y and C.
    fn joined(mut inputs: Vec<Tensor>) -> Vec<Tensor> {
        let (Some(cr), Some(cb)) = (inputs.get(2), inputs.get(1)) else { return inputs };
        let pixels = cb.data.chunks_exact(64).zip(cr.data.chunks_exact(64));
        let data = pixels.flat_map(|(cb, cr)| cb.iter().chain(cr)).copied().collect();
        let c = Tensor::from_vec(&[cb.shape[0], cb.shape[1], cb.shape[2], 128], data);
        inputs.truncate(1);
        inputs.push(c);
        inputs
    }

    #[test]
    fn folding_changes_no_logit() {
        for variant in Variant::ALL {
            let weights = Weights::random(config(variant), 5).unwrap();
            let inputs = inputs(weights.network());
            let expected = interpret(&weights, &inputs);
            let largest = expected.data.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let inputs = joined(inputs);
            for input_norm in [InputNorm::Fold, InputNorm::Apply] {
                let logits = run(&weights.inference(input_norm), &inputs);
                let differences = logits.data.iter().zip(&expected.data).map(|(a, b)| (a - b).abs());
                let difference = differences.fold(0.0, f32::max) / largest;
                assert!(difference <= 3e-5, "{variant} {input_norm:?}: {difference}");
            }
        }
    }

    #[test]
    fn every_value_is_written_before_it_is_read() {
        for variant in Variant::ALL {
            let weights = Weights::random(config(variant), 0).unwrap();
            for input_norm in [InputNorm::Fold, InputNorm::Apply] {
                let inference = weights.inference(input_norm);
                let num_inputs = if inference.input == InputKind::Rgb { 1 } else { 2 };
                let mut num_channels: Vec<usize> = inference.values.iter().map(|v| v.channels).collect();
                num_channels[num_inputs..].fill(0);
                for mut step in inference.steps.clone() {
                    for value in step.read() {
                        assert_eq!(num_channels[value.0], inference.values[value.0].channels, "{variant} {step:?}");
                    }
                    let written = step.written();
                    num_channels[written.0] +=
                        step.slice_mut().map_or(inference.values[written.0].channels, |slice| slice.channels);
                }
            }
        }
    }

    /// The names of steps that are not convolutions.
    fn other_steps(variant: Variant, input_norm: InputNorm) -> Vec<&'static str> {
        let steps = Weights::random(config(variant), 0).unwrap().inference(input_norm).steps;
        let name = |step: &Step| match step {
            Step::Conv(_) => None,
            Step::ScaleShift { .. } => Some("scale"),
            Step::Deconv2x2 { .. } => Some("deconv"),
            Step::UpsampleNearest2 { .. } => Some("upsample"),
            Step::Copy { .. } => Some("copy"),
            Step::MaxPool { .. } => Some("max"),
            Step::GlobalAveragePool { .. } => Some("mean"),
            Step::Linear { .. } => Some("linear"),
        };
        steps.iter().filter_map(name).collect()
    }

    #[test]
    fn nothing_is_copied_that_can_be_written_in_place() {
        use InputNorm::{Apply, Fold};
        assert_eq!(other_steps(Variant::Resnet50Rgb, Fold), ["max", "mean", "linear"]);
        assert_eq!(other_steps(Variant::Upsampling, Fold), ["upsample", "copy", "mean", "linear"]);
        assert_eq!(other_steps(Variant::Upsampling, Apply), ["scale", "scale", "upsample", "mean", "linear"]);
        assert_eq!(other_steps(Variant::DeconvolutionRfa, Fold), ["deconv", "deconv", "copy", "mean", "linear"]);
        assert_eq!(other_steps(Variant::DeconvolutionRfa, Apply), ["deconv", "deconv", "scale", "mean", "linear"]);
        assert_eq!(other_steps(Variant::Downsampling, Fold), ["copy", "mean", "linear"]);
        assert_eq!(other_steps(Variant::Downsampling, Apply), ["scale", "mean", "linear"]);
        assert_eq!(other_steps(Variant::LateConcat, Fold), ["mean", "linear"]);
        assert_eq!(other_steps(Variant::LateConcat, Apply), ["scale", "scale", "mean", "linear"]);
    }
}
