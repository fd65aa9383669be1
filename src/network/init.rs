//! Seeded random weights whose activations stay of order one: every batch norm's statistics are those of one synthetic batch, taken
//! layer by layer. The same on every machine.

use std::collections::BTreeMap;

use crate::Result;
use crate::network::interpret::run_layer;
use crate::network::{Config, InputKind, Layer, Metadata, Network, Op, Weights};
use crate::tensor::Tensor;

/// Images of the synthetic batch.
const BATCH: usize = 8;
/// Width and height of the synthetic images: large enough that stage 5 still sees more than one pixel.
const SIDE: u32 = 64;

impl Weights {
    /// Random weights: convolutions after He et al. (uniform, variance 2 / fan-in), batch norms with random scale and shift around
    /// 1 and 0 and the statistics of a synthetic batch.
    ///
    /// # Errors
    /// Those of [`Config::check`].
    pub fn random(config: Config, seed: u64) -> Result<Self> {
        let network = Network::new(config)?;
        let small = Network::new(Config { input_size: (SIDE, SIDE), ..config })?;
        let mut values = synthetic_batch(&small, seed);
        let mut tensors = BTreeMap::new();
        for layer in &small.layers {
            for spec in small.tensors_of(layer) {
                let tensor = random_tensor(layer, &spec.name, &spec.shape, seed);
                tensors.insert(spec.name, tensor);
            }
            if layer.op == Op::BatchNorm {
                let (mean, var) = channel_statistics(&values[layer.inputs[0].0]);
                tensors.insert(format!("{}.running_mean", layer.name), mean);
                tensors.insert(format!("{}.running_var", layer.name), var);
            }
            values.push(run_layer(layer, config.eps, &tensors, &values));
        }
        let metadata = Metadata { provenance: format!("random, seed {seed}"), ..Metadata::new(&config) };
        Weights::new(network, metadata, tensors)
    }
}

/// One tensor of a layer before its statistics are known.
fn random_tensor(layer: &Layer, name: &str, shape: &[usize], seed: u64) -> Tensor {
    let fan_in: usize = match layer.op {
        Op::Deconv2x2 { .. } => shape[0],
        _ => shape[1..].iter().product(),
    };
    let (center, spread) = match (layer.op, name.rsplit('.').next()) {
        // Residuals at half strength, lest what the statistics miss (other sizes have other borders) add up along the trunk.
        (Op::BatchNorm, Some("weight")) if layer.name.ends_with("branch2c") => (0.5, 0.25),
        (Op::BatchNorm, Some("weight")) => (1.0, 0.25),
        (Op::BatchNorm, _) => (0.0, 0.25),
        (Op::Linear { .. }, Some("bias")) => (0.0, 0.1),
        (Op::Linear { .. }, _) => (0.0, (3.0 / fan_in as f32).sqrt()),
        _ => (0.0, (6.0 / fan_in as f32).sqrt()),
    };
    let mut random = Random::for_name(seed, name);
    Tensor::from_vec(shape, (0..shape.iter().product()).map(|_| center + spread * random.symmetric()).collect())
}

/// Inputs as photographs have them: coefficients whose size falls with their frequency, or normalised samples.
fn synthetic_batch(network: &Network, seed: u64) -> Vec<Tensor> {
    let input = |value: usize| {
        let shape = network.values[value];
        let name = network.input_names()[value];
        let mut random = Random::for_name(seed, name);
        let amplitude = |channel: usize| match (network.config.variant.input(), name) {
            (InputKind::Rgb, _) => 2.0,
            (InputKind::Blocks, "y") => coefficient_amplitude(channel, 700.0, 200.0),
            (InputKind::Blocks, _) => coefficient_amplitude(channel, 200.0, 40.0),
        };
        let shape = [BATCH, shape.height, shape.width, shape.channels];
        let num_values = shape.iter().product();
        Tensor::from_vec(&shape, (0..num_values).map(|i| amplitude(i % shape[3]) * random.symmetric()).collect())
    };
    (0..network.input_names().len()).map(input).collect()
}

/// Largest value of a coefficient in natural order: `dc` for the first, `ac / f^1.5` for those of frequency `f = u + v`.
fn coefficient_amplitude(index: usize, dc: f32, ac: f32) -> f32 {
    match (index / 8 + index % 8) as f32 {
        0.0 => dc,
        frequency => ac / (frequency * frequency.sqrt()),
    }
}

/// Mean and variance of every channel.
fn channel_statistics(x: &Tensor) -> (Tensor, Tensor) {
    let channels = x.shape[3];
    let num_pixels = (x.data.len() / channels) as f64;
    let mean_of = |f: &dyn Fn(usize, f32) -> f64| -> Vec<f64> {
        let mut sums = vec![0.0; channels];
        for pixel in x.data.chunks_exact(channels) {
            for (c, (sum, &value)) in sums.iter_mut().zip(pixel).enumerate() {
                *sum += f(c, value);
            }
        }
        sums.into_iter().map(|sum| sum / num_pixels).collect()
    };
    let mean = mean_of(&|_, value| f64::from(value));
    let var = mean_of(&|c, value| (f64::from(value) - mean[c]) * (f64::from(value) - mean[c]));
    let tensor = |values: Vec<f64>| Tensor::from_vec(&[channels], values.into_iter().map(|v| v as f32).collect());
    (tensor(mean), tensor(var))
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random {
    state: u64,
}

impl Random {
    /// A stream of its own for every name, so that a tensor does not depend on those before it. The name is hashed by FNV-1a.
    fn for_name(seed: u64, name: &str) -> Self {
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let mut random = Self { state: seed };
        random.state = random.next() ^ hash;
        random
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1), in steps of 2^-23: exact in `f32`.
    fn symmetric(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Variant, interpret};

    fn config(variant: Variant) -> Config {
        Config { width: 0.0625, classes: 10, ..Config::new(variant) }
    }

    #[test]
    fn the_seed_decides_everything() {
        let weights = |seed| Weights::random(config(Variant::UpsamplingRfa), seed).unwrap();
        assert_eq!(weights(1), weights(1));
        assert_ne!(weights(1).tensors(), weights(2).tensors());
    }

    #[test]
    fn random_numbers_are_uniform() {
        let mut random = Random::for_name(0, "x");
        let values: Vec<f64> = (0..10_000).map(|_| f64::from(random.symmetric())).collect();
        let mean = values.iter().sum::<f64>() / 1e4;
        let var = values.iter().map(|v| v * v).sum::<f64>() / 1e4;
        assert!(mean.abs() < 0.02 && (var - 1.0 / 3.0).abs() < 0.01, "mean {mean}, variance {var}");
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
    }

    /// On images of another size and another seed than those of the statistics.
    #[test]
    fn activations_stay_of_order_one() {
        for variant in Variant::ALL {
            let weights = Weights::random(config(variant), 3).unwrap();
            let larger = Network::new(Config { input_size: (160, 128), ..config(variant) }).unwrap();
            let mut values = synthetic_batch(&larger, 4);
            for layer in &larger.layers {
                values.push(run_layer(layer, 1e-5, weights.tensors(), &values));
                let output = &values[layer.output.0].data;
                let rms = (output.iter().map(|v| v * v).sum::<f32>() / output.len() as f32).sqrt();
                if matches!(layer.op, Op::Add | Op::BatchNorm | Op::Linear { .. }) {
                    assert!((0.1..10.0).contains(&rms), "{variant} {}: root mean square {rms}", layer.name);
                }
            }
            let logits = interpret(&weights, &synthetic_batch(&larger, 4));
            assert_eq!(logits.data, values.last().unwrap().data);
        }
    }
}
