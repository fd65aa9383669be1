//! The networks, weights and inputs whose logits are compared: with PyTorch's, which are committed, and with onnxruntime's.

use std::ops::RangeInclusive;

use dctflow::network::{Config, InputKind, ValueShape, Variant, Weights};
use dctflow::resample::Normalization;
use dctflow::tensor::Tensor;

/// Seed of the weights.
const SEED: u64 = 20180;
/// Images in the batch.
const BATCH: usize = 2;

/// Random weights of a narrow network for images of 224 x 160: sides that differ, so that no mix-up of the two passes.
pub fn weights(variant: Variant) -> dctflow::Result<Weights> {
    Weights::random(Config { width: 0.125, classes: 10, input_size: (224, 160), ..Config::new(variant) }, SEED)
}

/// The inputs of a network, NHWC, as an ONNX model takes them. Dequantised coefficients are whole numbers that become smaller with
/// their frequency; RGB samples are whole numbers from 0 to 255, divided by 255.
pub fn inputs(weights: &Weights) -> Vec<Tensor> {
    let network = weights.network();
    let is_rgb = network.config.variant.input() == InputKind::Rgb;
    let divisor = if is_rgb { 255.0 } else { 1.0 };
    let mut state = 1;
    let mut input = |(value, shape): (usize, &ValueShape)| {
        let shape = [BATCH, shape.height, shape.width, shape.channels];
        // Luma, then the chroma components.
        let (dc, ac) = if value == 0 { (800, 200) } else { (200, 40) };
        let range = |channel: usize| match channel / 8 + channel % 8 {
            _ if is_rgb => 0..=255,
            0 => -dc..=dc,
            frequency => {
                let largest = ac / (frequency * frequency.isqrt()) as i32;
                -largest..=largest
            }
        };
        let num_values: usize = shape.iter().product();
        let data = (0..num_values).map(|i| whole_number(&mut state, range(i % shape[3])) / divisor).collect();
        Tensor::from_vec(&shape, data)
    };
    network.values[..network.input_names().len()].iter().enumerate().map(&mut input).collect()
}

/// The inputs as the interpreter takes them: RGB samples normalised.
pub fn normalized_inputs(weights: &Weights) -> Vec<Tensor> {
    let mut inputs = inputs(weights);
    if weights.config().variant.input() == InputKind::Rgb {
        let Normalization { mean, std } = weights.metadata().normalization;
        let samples = inputs[0].data.iter_mut().enumerate();
        samples.for_each(|(i, sample)| *sample = (*sample - mean[i % 3]) / std[i % 3]);
    }
    inputs
}

/// The inputs as engines take them: Cb and Cr side by side in one tensor.
pub fn engine_inputs(weights: &Weights) -> Vec<Tensor> {
    let mut inputs = normalized_inputs(weights);
    if let [_, cb, cr] = &inputs[..] {
        let pixels = cb.data.chunks_exact(64).zip(cr.data.chunks_exact(64));
        let data = pixels.flat_map(|(cb, cr)| cb.iter().chain(cr)).copied().collect();
        let shape = [cb.shape[0], cb.shape[1], cb.shape[2], 128];
        inputs.splice(1.., [Tensor::from_vec(&shape, data)]);
    }
    inputs
}

/// The next number of a linear congruential generator (Knuth's MMIX), in `range`.
fn whole_number(state: &mut u64, range: RangeInclusive<i32>) -> f32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let num_choices = (range.end() - range.start() + 1) as u64;
    (range.start() + ((*state >> 33) % num_choices) as i32) as f32
}
