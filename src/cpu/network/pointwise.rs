//! The steps that move or combine pixels without a matrix product: plain loops over NHWC, parallel over lines of pixels.
//! The compiler vectorises the loops over channels.

use rayon::prelude::*;

use super::simd::InstructionSet;
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

/// Defines a function that runs its body compiled for an instruction set. The body must be loops that the compiler vectorises; all that it
/// calls is inlined.
macro_rules! for_instruction_sets {
    ($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        fn $name(set: InstructionSet, $($argument: $type),*) {
            #[inline(always)]
            fn body($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn avx512($($argument: $type),*) {
                body($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($argument: $type),*) {
                body($($argument),*)
            }

            match set {
                // SAFETY: the instruction set is supported (AMX implies AVX-512).
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Amx | InstructionSet::Avx512 if set.is_supported() => unsafe { avx512($($argument),*) },
                // SAFETY: the instruction set is supported.
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 if set.is_supported() => unsafe { avx2($($argument),*) },
                _ => body($($argument),*),
            }
        }
    };
}

/// `output[offset + c] = input[c] * scale[c] + shift[c]`.
pub(super) fn scale_shift(
    set: InstructionSet,
    input: &[f32],
    scale: &[f32],
    shift: &[f32],
    to: ChannelSlice,
    output: &mut [f32],
) {
    for_each_line(to.shape, output, |line_idx, pixels| {
        let line = &input[line_idx * to.shape.width * scale.len()..];
        scale_shift_line(set, line, scale, shift, to, pixels);
    });
}

for_instruction_sets! {
    /// A line of pixels of [`scale_shift`].
    fn scale_shift_line(line: &[f32], scale: &[f32], shift: &[f32], to: ChannelSlice, pixels: &mut [f32]) {
        for (pixel, input) in pixels.chunks_exact_mut(to.shape.channels).zip(line.chunks_exact(scale.len())) {
            let factors = input.iter().zip(scale).zip(shift);
            for (y, ((&x, &scale), &shift)) in pixel[to.offset..].iter_mut().zip(factors) {
                *y = x * scale + shift;
            }
        }
    }
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
#[inline(always)]
fn max_or_nan(x: f32, y: f32) -> f32 {
    if y > x || y.is_nan() { y } else { x }
}

/// Max pooling. The padding is minus infinity: windows are cut at the border.
pub(super) fn max_pool(
    set: InstructionSet,
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
        pixels.fill(f32::NEG_INFINITY);
        for (x, pixel) in pixels.chunks_exact_mut(to.channels).enumerate() {
            for iy in inside(y * stride, pad_top, from.height) {
                let columns = inside(x * stride, pad_left, from.width);
                let taps = &image[(iy * from.width + columns.start) * from.channels..];
                max_of_taps(set, &taps[..columns.len() * from.channels], pixel);
            }
        }
    });
}

for_instruction_sets! {
    /// `pixel[c] = max(pixel[c], tap[c])` for all taps, which lie next to each other.
    fn max_of_taps(taps: &[f32], pixel: &mut [f32]) {
        for tap in taps.chunks_exact(pixel.len()) {
            pixel.iter_mut().zip(tap).for_each(|(max, &x)| *max = max_or_nan(*max, x));
        }
    }
}

/// Mean over the pixels of each image, summed in raster order.
pub(super) fn global_average_pool(set: InstructionSet, input: &[f32], from: ValueShape, output: &mut [f32]) {
    let num_pixels = from.height * from.width;
    let images = input.par_chunks_exact(num_pixels * from.channels);
    output.par_chunks_exact_mut(from.channels).zip(images).for_each(|(mean, image)| mean_of_pixels(set, image, mean));
}

for_instruction_sets! {
    /// The mean over the pixels of an image.
    fn mean_of_pixels(image: &[f32], mean: &mut [f32]) {
        mean.fill(0.0);
        for pixel in image.chunks_exact(mean.len()) {
            mean.iter_mut().zip(pixel).for_each(|(sum, &x)| *sum += x);
        }
        let num_pixels = image.len() / mean.len();
        mean.iter_mut().for_each(|sum| *sum /= num_pixels as f32);
    }
}
