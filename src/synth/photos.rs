//! Sets of photo-like files with the mix of sizes, sampling, quality and tables of a large photo collection (ImageNet).

use rayon::prelude::*;

use super::encode::Encoding;
use super::huffman::{Codes, choose_table, codes_by_symbol};
use super::picture::{Layout, Picture, Quantiser, Spectrum, quant_table, quantise};
use super::random::{Random, mix};
use super::scan::{Interleaving, sequential_scans};
use super::symbols::size_bits;
use crate::jpeg::NATURAL_FROM_ZIGZAG;

/// `count` baseline files that depend on `seed` alone, made in parallel. Their sizes, over many files: 5 % under 16 KB, half under
/// 107 KB, 5 % over 212 KB, at most about 724 KB; 76 % 4:4:4, 20 % 4:2:0, 2 % 4:2:2, 2 % gray; 98 % with optimised Huffman tables.
pub fn photo_set(seed: u64, count: usize) -> Vec<Vec<u8>> {
    (0..count).into_par_iter().map(|photo_idx| photo(seed, photo_idx)).collect()
}

/// File `photo_idx` of the set of `seed`.
pub fn photo(seed: u64, photo_idx: usize) -> Vec<u8> {
    let mut random = Random::new(mix(seed) ^ photo_idx as u64);
    let target_bytes = target_bytes(spread(photo_idx, GOLDEN_RATIO));
    let layout = Layout::baseline(sampling(spread(photo_idx, SILVER_RATIO)), quality(&mut random));
    let (width, height) = size(&mut random, target_bytes, &layout);
    let frame = layout.frame(width, height);
    let spectra = Picture::photo(random.bits(), width, height, layout.sampling.len()).transform(&frame);
    let contrast = contrast_for(&spectra, &layout, target_bytes);
    let mut scans = sequential_scans(&frame, Interleaving::Interleaved);
    if random.one_in(50) {
        scans.iter_mut().for_each(|scan| scan.codes = Codes::Standard);
    }
    Encoding::new(scans).encode(&quantise(frame, &spectra, &layout, contrast)).to_bytes()
}

const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;
const SILVER_RATIO: f64 = 0.414_213_562_373_095_1;

/// The `idx`th of a sequence that fills [0, 1) evenly however many are taken, so that small sets have the mix of large ones.
fn spread(idx: usize, ratio: f64) -> f64 {
    (0.5 + idx as f64 * ratio).fract()
}

/// Quantiles of file sizes: (share of files, bytes), linear in between.
const SIZE_QUANTILES: [(f64, f64); 8] = [
    (0.0, 3_000.0),
    (0.05, 16_000.0),
    (0.25, 60_000.0),
    (0.5, 107_000.0),
    (0.75, 140_000.0),
    (0.95, 212_000.0),
    (0.99, 404_000.0),
    (1.0, 724_000.0),
];

fn target_bytes(share: f64) -> f64 {
    let upper = SIZE_QUANTILES.iter().position(|(s, _)| *s > share).unwrap_or(SIZE_QUANTILES.len() - 1);
    let ((s0, b0), (s1, b1)) = (SIZE_QUANTILES[upper - 1], SIZE_QUANTILES[upper]);
    b0 + (b1 - b0) * (share - s0) / (s1 - s0)
}

fn sampling(share: f64) -> &'static [(u8, u8)] {
    match share {
        ..0.76 => &[(1, 1), (1, 1), (1, 1)],
        ..0.96 => &[(2, 2), (1, 1), (1, 1)],
        ..0.98 => &[(2, 1), (1, 1), (1, 1)],
        _ => &[(1, 1)],
    }
}

/// Mostly what cameras and exporters call high.
fn quality(random: &mut Random) -> u8 {
    match random.below(10) {
        0 => random.between(70, 84) as u8,
        1..3 => random.between(85, 90) as u8,
        _ => random.between(91, 97) as u8,
    }
}

/// Width and height for a file of about this many bytes: four sides to three or three to two, lying or upright.
fn size(random: &mut Random, target_bytes: f64, layout: &Layout) -> (u32, u32) {
    let num_planes: f64 = layout.sampling.iter().map(|&(h, v)| f64::from(h * v)).sum::<f64>()
        / layout.sampling.iter().map(|&(h, v)| f64::from(h * v)).fold(1.0, f64::max);
    // What photo collections have on average is 105; the mean of the inverse counts here.
    let bits_per_block = 118.0 * (0.6 + 0.8 * f64::from(random.unit()));
    let num_pixels = target_bytes * 8.0 / bits_per_block * 64.0 / num_planes;
    let aspect = *random.pick(&[4.0 / 3.0, 3.0 / 2.0]);
    let long = (num_pixels * aspect).sqrt().max(24.0);
    let (long, short) = (long as u32, (long / aspect) as u32);
    if random.one_in(3) { (short, long) } else { (long, short) }
}

/// The factor on AC coefficients with which the file comes out at about `target_bytes`: bisection on an estimate.
fn contrast_for(spectra: &[Spectrum], layout: &Layout, target_bytes: f64) -> f32 {
    let (mut low, mut high) = (0.01f32, 16.0f32);
    for _ in 0..9 {
        let middle = (low * high).sqrt();
        if estimate_bytes(spectra, layout, middle) > target_bytes {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

/// One block in this many is looked at for the estimate.
const SAMPLED_SHARE: usize = 13;

/// Bytes of AC symbols and values under optimised tables, and six bits per DC.
fn estimate_bytes(spectra: &[Spectrum], layout: &Layout, contrast: f32) -> f64 {
    let mut num_bits = 0u64;
    let mut num_sampled_bits = 0u64;
    for is_chroma in [false, true] {
        let mut counts = [0; 256];
        let quantiser = Quantiser::new(&quant_table(is_chroma, layout), layout, contrast);
        for (_, spectrum) in spectra.iter().enumerate().filter(|(i, _)| (*i > 0) == is_chroma) {
            num_bits += 6 * spectrum.blocks.len() as u64;
            for block in spectrum.blocks.iter().step_by(SAMPLED_SHARE) {
                count_ac(&quantiser.apply(block), &mut counts);
            }
        }
        let codes = codes_by_symbol(&choose_table(Codes::Optimised, &counts, true, true));
        let bits = |value: usize| u64::from(counts[value]) * (u64::from(codes[value].1) + value as u64 % 16);
        num_sampled_bits += (0..256).map(bits).sum::<u64>();
    }
    (num_bits + num_sampled_bits * SAMPLED_SHARE as u64) as f64 / 8.0
}

fn count_ac(block: &[i16; 64], counts: &mut [u32; 256]) {
    let mut run = 0;
    for natural_idx in &NATURAL_FROM_ZIGZAG[1..] {
        let value = i32::from(block[usize::from(*natural_idx)]);
        if value == 0 {
            run += 1;
            continue;
        }
        counts[0xF0] += run / 16;
        counts[(run as usize % 16) << 4 | usize::from(size_bits(value))] += 1;
        run = 0;
    }
    counts[0] += u32::from(run > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_quantiles() {
        let mut sizes: Vec<usize> = photo_set(3, 60).iter().map(Vec::len).collect();
        sizes.sort_unstable();
        let median = sizes[30];
        assert!((80_000..135_000).contains(&median), "median {median}");
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((90_000..135_000).contains(&mean), "mean {mean}");
    }

    #[test]
    fn a_photo_does_not_depend_on_how_many_are_made() {
        assert_eq!(photo_set(5, 3)[2], photo(5, 2));
        assert_ne!(photo(5, 2), photo(6, 2));
    }
}
