//! Runs the unfolded layer list, one layer after the other, exactly as it is written: for the batch-norm statistics of random weights,
//! and as the plain truth that the folded form and the engines are tested against.
//!
//! Every sum is taken in one fixed order with separate multiplications and additions, so results are the same, bit for bit, on every
//! machine and for any number of threads.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::network::{Layer, Op, Weights};
use crate::tensor::Tensor;

/// The logits `[N, classes]` of a batch. `inputs` are Y, Cb and Cr `[N, H, W, 64]`, or RGB `[N, H, W, 3]`, normalised.
///
/// # Panics
/// When the inputs are not of one batch and image size that the network can read: a mistake of the caller.
pub fn interpret(weights: &Weights, inputs: &[Tensor]) -> Tensor {
    let network = weights.network();
    let mut values = inputs.to_vec();
    for layer in &network.layers {
        values.push(run_layer(layer, network.config.eps, weights.tensors(), &values));
    }
    let logits = values.swap_remove(network.output.0);
    Tensor { shape: vec![logits.shape[0], network.config.classes], data: logits.data }
}

/// The output of one layer, given all values before it.
pub(super) fn run_layer(layer: &Layer, eps: f32, tensors: &BTreeMap<String, Tensor>, values: &[Tensor]) -> Tensor {
    let x = &values[layer.inputs[0].0];
    let tensor = |suffix: &str| &tensors[&format!("{}.{suffix}", layer.name)];
    match layer.op {
        Op::Conv { kernel, stride, pad, c_out } => {
            conv_product(x, &conv_matrix(tensor("weight")), c_out, kernel, stride, pad)
        }
        Op::Deconv2x2 { c_out } => deconv_product(x, &deconv_matrix(tensor("weight")), c_out),
        Op::BatchNorm => {
            let (scale, shift) = scale_and_shift(tensors, &layer.name, eps);
            map_channels(x, |v, c| v * scale[c] + shift[c])
        }
        // NaN stays NaN.
        Op::Relu => map_channels(x, |v, _| if v < 0.0 { 0.0 } else { v }),
        Op::Add => {
            let other = &values[layer.inputs[1].0];
            assert_eq!(x.shape, other.shape);
            Tensor::from_vec(&x.shape, x.data.iter().zip(&other.data).map(|(a, b)| a + b).collect())
        }
        Op::Concat => concat(&layer.inputs.iter().map(|v| &values[v.0]).collect::<Vec<_>>()),
        Op::UpsampleNearest2 => upsample_nearest2(x),
        Op::MaxPool { kernel, stride, pad } => max_pool(x, kernel, stride, pad),
        Op::GlobalAveragePool => global_average_pool(x),
        Op::Linear { .. } => linear(x, tensor("weight"), tensor("bias")),
    }
}

/// A batch norm as `x * scale + shift`, per channel.
pub(super) fn scale_and_shift(tensors: &BTreeMap<String, Tensor>, name: &str, eps: f32) -> (Vec<f32>, Vec<f32>) {
    let tensor = |suffix: &str| &tensors[&format!("{name}.{suffix}")].data;
    let (weight, bias) = (tensor("weight"), tensor("bias"));
    let (mean, var) = (tensor("running_mean"), tensor("running_var"));
    (0..weight.len())
        .map(|c| {
            let scale = f64::from(weight[c]) / (f64::from(var[c]) + f64::from(eps)).sqrt();
            (scale as f32, (f64::from(bias[c]) - f64::from(mean[c]) * scale) as f32)
        })
        .unzip()
}

/// Batch, height, width, channels.
fn nhwc(x: &Tensor) -> [usize; 4] {
    x.shape[..].try_into().expect("activations have four dimensions")
}

fn map_channels(x: &Tensor, f: impl Fn(f32, usize) -> f32) -> Tensor {
    let channels = nhwc(x)[3];
    Tensor::from_vec(&x.shape, x.data.iter().enumerate().map(|(i, &v)| f(v, i % channels)).collect())
}

/// The windows of `x` as rows of a matrix: `[n * h_out * w_out][kernel * kernel * c]`, zeros outside; and `h_out`, `w_out`.
fn im2col(x: &Tensor, kernel: usize, stride: usize, pad: [usize; 4]) -> (Vec<f32>, usize, usize) {
    let [n, h, w, c] = nhwc(x);
    let h_out = (h + pad[0] + pad[2] - kernel) / stride + 1;
    let w_out = (w + pad[1] + pad[3] - kernel) / stride + 1;
    let mut rows = vec![0.0; n * h_out * w_out * kernel * kernel * c];
    for (row_idx, row) in rows.chunks_exact_mut(kernel * kernel * c).enumerate() {
        let (image, y_out, x_out) = (row_idx / (h_out * w_out), row_idx / w_out % h_out, row_idx % w_out);
        for (tap, samples) in row.chunks_exact_mut(c).enumerate() {
            let (y_in, x_in) = (y_out * stride + tap / kernel, x_out * stride + tap % kernel);
            let inside = (pad[0]..pad[0] + h).contains(&y_in) && (pad[1]..pad[1] + w).contains(&x_in);
            if inside {
                let pixel = (image * h + y_in - pad[0]) * w + x_in - pad[1];
                samples.copy_from_slice(&x.data[pixel * c..][..c]);
            }
        }
    }
    (rows, h_out, w_out)
}

/// A convolution by a matrix `[kernel * kernel * c_in][c_out]`.
pub(super) fn conv_product(
    x: &Tensor,
    matrix: &[f32],
    c_out: usize,
    kernel: usize,
    stride: usize,
    pad: [usize; 4],
) -> Tensor {
    let (rows, h_out, w_out) = im2col(x, kernel, stride, pad);
    Tensor::from_vec(&[x.shape[0], h_out, w_out, c_out], product(&rows, matrix, c_out))
}

/// `[c_out, c_in, kh, kw]` as a matrix `[kh * kw * c_in][c_out]`.
pub(super) fn conv_matrix(weight: &Tensor) -> Vec<f32> {
    let [c_out, c_in, kernel_h, kernel_w] = nhwc(weight);
    let taps = kernel_h * kernel_w;
    let mut matrix = vec![0.0; weight.data.len()];
    matrix.par_chunks_exact_mut(c_out).enumerate().for_each(|(row_idx, row)| {
        let (tap, ci) = (row_idx / c_in, row_idx % c_in);
        for (co, value) in row.iter_mut().enumerate() {
            *value = weight.data[(co * c_in + ci) * taps + tap];
        }
    });
    matrix
}

/// `[c_in, c_out, 2, 2]` as `[2][2][c_in][c_out]`.
pub(super) fn deconv_matrix(weight: &Tensor) -> Vec<f32> {
    let [c_in, c_out, ..] = nhwc(weight);
    let pixel = |tap: usize, ci: usize, co: usize| weight.data[(ci * c_out + co) * 4 + tap];
    (0..4 * c_in * c_out).map(|i| pixel(i / (c_in * c_out), i / c_out % c_in, i % c_out)).collect()
}

/// A deconvolution by a matrix `[2][2][c_in][c_out]`.
pub(super) fn deconv_product(x: &Tensor, matrix: &[f32], c_out: usize) -> Tensor {
    let [n, h, w, c_in] = nhwc(x);
    let taps: Vec<_> = matrix.chunks_exact(c_in * c_out).map(|tap| product(&x.data, tap, c_out)).collect();
    let mut data = Vec::with_capacity(4 * n * h * w * c_out);
    for row in 0..n * 2 * h {
        for x_out in 0..2 * w {
            let pixel = row / 2 * w + x_out / 2;
            data.extend_from_slice(&taps[row % 2 * 2 + x_out % 2][pixel * c_out..][..c_out]);
        }
    }
    Tensor::from_vec(&[n, 2 * h, 2 * w, c_out], data)
}

/// Rows of `a` that one task takes.
const ROWS_PER_TASK: usize = 64;
/// Columns that are summed at a time, in registers. Every convolution has a multiple of it.
const COLUMNS: usize = 8;

/// `a [m][k]` times `b [k][n]`, where `n` is a multiple of [`COLUMNS`]; each sum in the order of `k`.
fn product(a: &[f32], b: &[f32], n: usize) -> Vec<f32> {
    let k = b.len() / n;
    let mut out = vec![0.0; a.len() / k * n];
    out.par_chunks_mut(ROWS_PER_TASK * n).zip(a.par_chunks(ROWS_PER_TASK * k)).for_each(|(out, a)| {
        for column in (0..n).step_by(COLUMNS) {
            for (out, a) in out.chunks_mut(4 * n).zip(a.chunks(4 * k)) {
                match a.len() / k {
                    4 => tile::<4>(a, b, n, column, out),
                    _ => a.chunks(k).zip(out.chunks_mut(n)).for_each(|(a, out)| tile::<1>(a, b, n, column, out)),
                }
            }
        }
    });
    out
}

/// [`product`] for `ROWS` rows and the columns from `column` on.
fn tile<const ROWS: usize>(a: &[f32], b: &[f32], n: usize, column: usize, out: &mut [f32]) {
    let a: [&[f32]; ROWS] = std::array::from_fn(|row| &a[row * (a.len() / ROWS)..(row + 1) * (a.len() / ROWS)]);
    let mut sums = [[0.0f32; COLUMNS]; ROWS];
    for (k_idx, b) in b.chunks_exact(n).enumerate() {
        let b: &[f32; COLUMNS] = b[column..][..COLUMNS].try_into().expect("a whole tile");
        for (sums, a) in sums.iter_mut().zip(&a) {
            let factor = a[k_idx];
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += factor * b;
            }
        }
    }
    for (sums, out) in sums.iter().zip(out.chunks_exact_mut(n)) {
        out[column..][..COLUMNS].copy_from_slice(sums);
    }
}

fn concat(parts: &[&Tensor]) -> Tensor {
    let [n, h, w, _] = nhwc(parts[0]);
    let channels: usize = parts.iter().map(|part| nhwc(part)[3]).sum();
    let mut data = Vec::with_capacity(n * h * w * channels);
    for pixel in 0..n * h * w {
        for part in parts {
            let c = nhwc(part)[3];
            data.extend_from_slice(&part.data[pixel * c..][..c]);
        }
    }
    Tensor::from_vec(&[n, h, w, channels], data)
}

pub(super) fn upsample_nearest2(x: &Tensor) -> Tensor {
    let [n, h, w, c] = nhwc(x);
    let mut data = Vec::with_capacity(4 * x.data.len());
    for row in 0..n * 2 * h {
        for x_out in 0..2 * w {
            data.extend_from_slice(&x.data[(row / 2 * w + x_out / 2) * c..][..c]);
        }
    }
    Tensor::from_vec(&[n, 2 * h, 2 * w, c], data)
}

pub(super) fn max_pool(x: &Tensor, kernel: usize, stride: usize, pad: [usize; 4]) -> Tensor {
    let [n, h, w, c] = nhwc(x);
    let h_out = (h + pad[0] + pad[2] - kernel) / stride + 1;
    let w_out = (w + pad[1] + pad[3] - kernel) / stride + 1;
    let window = |at: usize, before: usize, length: usize| {
        (at * stride).max(before) - before..(at * stride + kernel - before).min(length)
    };
    let mut data = Vec::with_capacity(n * h_out * w_out * c);
    for (image, y_out, x_out, channel) in indices([n, h_out, w_out, c]) {
        let rows = window(y_out, pad[0], h);
        let samples = rows.flat_map(|row| window(x_out, pad[1], w).map(move |column| (image * h + row) * w + column));
        data.push(samples.map(|pixel| x.data[pixel * c + channel]).fold(f32::NEG_INFINITY, f32::max));
    }
    Tensor::from_vec(&[n, h_out, w_out, c], data)
}

fn indices([n, h, w, c]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..n * h * w * c).map(move |i| (i / (h * w * c), i / (w * c) % h, i / c % w, i % c))
}

pub(super) fn global_average_pool(x: &Tensor) -> Tensor {
    let [n, h, w, c] = nhwc(x);
    let mut data = vec![0.0; n * c];
    for (image, means) in x.data.chunks_exact(h * w * c).zip(data.chunks_exact_mut(c)) {
        for pixel in image.chunks_exact(c) {
            means.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += v);
        }
        means.iter_mut().for_each(|sum| *sum /= (h * w) as f32);
    }
    Tensor::from_vec(&[n, 1, 1, c], data)
}

fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let (classes, c_in) = (weight.shape[0], weight.shape[1]);
    let mut data = Vec::with_capacity(x.data.len() / c_in * classes);
    for features in x.data.chunks_exact(c_in) {
        for (weight, bias) in weight.data.chunks_exact(c_in).zip(&bias.data) {
            data.push(weight.iter().zip(features).fold(*bias, |sum, (w, f)| sum + w * f));
        }
    }
    Tensor::from_vec(&[x.shape[0], 1, 1, classes], data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0, 1, 2 ... in a shape.
    fn counting(shape: &[usize]) -> Tensor {
        Tensor::from_vec(shape, (0..shape.iter().product::<usize>()).map(|i| i as f32).collect())
    }

    #[test]
    fn convolution_of_kernel_2_pads_bottom_and_right() {
        let x = counting(&[1, 2, 2, 1]);
        let mut weight = Tensor::zeros(&[8, 1, 2, 2]);
        weight.data[..4].copy_from_slice(&[1.0, 10.0, 100.0, 1000.0]);
        let out = conv_product(&x, &conv_matrix(&weight), 8, 2, 1, [0, 0, 1, 1]);
        let first_channel: Vec<_> = out.data.iter().step_by(8).copied().collect();
        // The windows are (0 1 / 2 3), (1 . / 3 .), (2 3 / . .), (3 . / . .).
        assert_eq!(first_channel, [3210.0, 301.0, 32.0, 3.0]);
    }

    #[test]
    fn deconvolution_writes_two_by_two_pixels_for_one() {
        let x = Tensor::from_vec(&[1, 1, 2, 1], vec![1.0, 2.0]);
        let mut weight = Tensor::zeros(&[1, 8, 2, 2]);
        weight.data[..4].copy_from_slice(&[1.0, 10.0, 100.0, 1000.0]);
        let out = deconv_product(&x, &deconv_matrix(&weight), 8);
        assert_eq!(out.shape, [1, 2, 4, 8]);
        let first_channel: Vec<_> = out.data.iter().step_by(8).copied().collect();
        assert_eq!(first_channel, [1.0, 10.0, 2.0, 20.0, 100.0, 1000.0, 200.0, 2000.0]);
    }

    #[test]
    fn max_pool_ignores_its_padding() {
        let x = map_channels(&counting(&[1, 4, 4, 1]), |v, _| v - 20.0);
        assert_eq!(max_pool(&x, 3, 2, [1; 4]).data, [-15.0, -13.0, -7.0, -5.0]);
        assert_eq!(max_pool(&x, 3, 2, [0; 4]).data, [-10.0]);
    }

    #[test]
    fn products_of_any_number_of_rows_agree_with_plain_sums() {
        for m in [1, 4, 7, 130] {
            let (a, b) = (counting(&[m, 3]), counting(&[3, 16]));
            let out = product(&a.data, &b.data, 16);
            for (i, &value) in out.iter().enumerate() {
                let plain = (0..3).map(|k| a.data[i / 16 * 3 + k] * b.data[k * 16 + i % 16]).sum::<f32>();
                assert_eq!(value, plain, "row {}, column {}", i / 16, i % 16);
            }
        }
    }
}
