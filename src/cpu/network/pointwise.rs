//! The steps that move or combine pixels without a matrix product: plain loops over NHWC, parallel over lines of pixels.
//! The compiler vectorises the loops over channels.

use rayon::prelude::*;

use crate::network::ValueShape;

/// Channels `offset..` of a value, and the value's shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChannelSlice {
    /// The whole value.
    pub shape: ValueShape,
    /// First channel written.
    pub offset: usize,
}

/// Lines of pixels that one task handles at least: about 64 KiB of values.
fn lines_per_task(line_len: usize) -> usize {
    (1 << 14) / line_len.max(1) + 1
}

/// For each line of pixels of `output`: `line(line_idx, pixels)`, where `pixels` has all of the value's channels.
fn for_each_line(shape: ValueShape, output: &mut [f32], line: impl Fn(usize, &mut [f32]) + Sync) {
    let line_len = shape.width * shape.channels;
    output
        .par_chunks_mut(line_len)
        .with_min_len(lines_per_task(line_len))
        .enumerate()
        .for_each(|(line_idx, pixels)| line(line_idx, pixels));
}

/// `output[offset + c] = input[c] * scale[c] + shift[c]`.
pub(super) fn scale_shift(input: &[f32], scale: &[f32], shift: &[f32], to: ChannelSlice, output: &mut [f32]) {
    let channels = scale.len();
    for_each_line(to.shape, output, |line_idx, pixels| {
        let line = &input[line_idx * to.shape.width * channels..];
        for (pixel, input) in pixels.chunks_exact_mut(to.shape.channels).zip(line.chunks_exact(channels)) {
            let factors = input.iter().zip(scale).zip(shift);
            for (y, ((&x, &scale), &shift)) in pixel[to.offset..].iter_mut().zip(factors) {
                *y = x * scale + shift;
            }
        }
    });
}

/// Copies every pixel of `input`, which has `channels` channels, `factor` times both ways: 1 is a plain copy, 2 is upsampling by nearest
/// neighbour.
pub(super) fn replicate(input: &[f32], channels: usize, factor: usize, to: ChannelSlice, output: &mut [f32]) {
    let input_width = to.shape.width / factor;
    let input_height = to.shape.height / factor;
    for_each_line(to.shape, output, |line_idx, pixels| {
        let (image_idx, y) = (line_idx / to.shape.height, line_idx % to.shape.height);
        let line = &input[(image_idx * input_height + y / factor) * input_width * channels..];
        for (x, pixel) in pixels.chunks_exact_mut(to.shape.channels).enumerate() {
            pixel[to.offset..to.offset + channels].copy_from_slice(&line[x / factor * channels..][..channels]);
        }
    });
}

/// The larger one; NaN if either is.
fn max_or_nan(x: f32, y: f32) -> f32 {
    if y > x || y.is_nan() { y } else { x }
}

/// Max pooling. The padding is minus infinity: windows are cut at the border.
pub(super) fn max_pool(
    input: &[f32],
    from: ValueShape,
    (kernel, stride): (usize, usize),
    (pad_top, pad_left): (usize, usize),
    to: ValueShape,
    output: &mut [f32],
) {
    let inside =
        |begin: usize, pad: usize, len: usize| begin.saturating_sub(pad)..(begin + kernel).saturating_sub(pad).min(len);
    for_each_line(to, output, |line_idx, pixels| {
        let (image_idx, y) = (line_idx / to.height, line_idx % to.height);
        let image = &input[image_idx * from.height * from.width * from.channels..];
        for (x, pixel) in pixels.chunks_exact_mut(to.channels).enumerate() {
            pixel.fill(f32::NEG_INFINITY);
            for iy in inside(y * stride, pad_top, from.height) {
                for ix in inside(x * stride, pad_left, from.width) {
                    let tap = &image[(iy * from.width + ix) * from.channels..][..from.channels];
                    pixel.iter_mut().zip(tap).for_each(|(max, &x)| *max = max_or_nan(*max, x));
                }
            }
        }
    });
}

/// Mean over the pixels of each image, summed in raster order.
pub(super) fn global_average_pool(input: &[f32], from: ValueShape, output: &mut [f32]) {
    let num_pixels = from.height * from.width;
    let images = input.par_chunks_exact(num_pixels * from.channels);
    output.par_chunks_exact_mut(from.channels).zip(images).for_each(|(mean, image)| {
        mean.fill(0.0);
        for pixel in image.chunks_exact(from.channels) {
            mean.iter_mut().zip(pixel).for_each(|(sum, &x)| *sum += x);
        }
        mean.iter_mut().for_each(|sum| *sum /= num_pixels as f32);
    });
}
