//! One axis of one plane: from blocks of source coefficients to blocks of the network's grid.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use super::dct::{DCT, DCT_TRANSPOSED};

/// What the values of an output block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// DCT coefficients.
    Frequencies,
    /// Level-shifted samples: the inverse DCT is part of the matrices, `V[i,j] = R[8i..8i+8, 8j..8j+8] D^T`.
    Samples,
}

/// The source blocks that one output block reads along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// First source block.
    pub first_block: u32,
    /// How many source blocks follow each other from there; at least one.
    pub num_blocks: u32,
    /// Index of the first one's matrix in [`Axis::matrices`]; the others follow.
    pub first_matrix: u32,
}

impl Band {
    /// The source blocks, as indices.
    pub fn blocks(&self) -> Range<usize> {
        self.first_block as usize..(self.first_block + self.num_blocks) as usize
    }
}

/// The operator along one axis: for output block i the band of source blocks j and the matrices `V[i,j]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// One per output block, in order.
    pub bands: Vec<Band>,
    /// `V[i,j]` transposed: `matrices[m][8 * u + a]` takes source frequency u to output frequency (or sample) a.
    pub matrices: Vec<[f32; 64]>,
}

/// What an [`Axis`] is made from: a few numbers, which is all that a device needs to make the matrices itself. Positions are in samples
/// of the plane as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AxisSpec {
    /// The box [start, end) that is resized to `num_outputs` samples. Not empty, and inside of `clip`.
    pub start: f64,
    /// The box's end.
    pub end: f64,
    /// The samples that may be read; those beyond are not image.
    pub clip: (u32, u32),
    /// A multiple of 8.
    pub num_outputs: u32,
    /// The outputs' order is reversed.
    pub mirrored: bool,
    /// What the outputs are.
    pub basis: Basis,
}

impl Eq for AxisSpec {} // positions are numbers

impl Hash for AxisSpec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { start, end, clip, num_outputs, mirrored, basis } = *self;
        // Adding zero makes one of the two zeros, which are equal.
        ((start + 0.0).to_bits(), (end + 0.0).to_bits(), clip, num_outputs, mirrored, basis).hash(state);
    }
}

impl AxisSpec {
    /// Source samples per output sample.
    pub fn scale(&self) -> f64 {
        (self.end - self.start) / f64::from(self.num_outputs)
    }

    /// The first source block, where every output block is exactly one source block: nothing to resize, cut at block boundaries.
    pub fn aligned_block(&self) -> Option<u32> {
        (self.scale() == 1.0 && self.start % 8.0 == 0.0).then_some((self.start / 8.0) as u32)
    }

    /// The source blocks that one output block reads: those of the [`Axis`]'s band.
    pub fn source_blocks(&self, output_block: u32) -> Range<u32> {
        let block = if self.mirrored { self.num_outputs / 8 - 1 - output_block } else { output_block };
        match self.aligned_block() {
            Some(first_block) => first_block + block..first_block + block + 1,
            None => self.samples(8 * block).start / 8..self.samples(8 * block + 7).end.div_ceil(8),
        }
    }

    /// Half the width of the triangle filter: Pillow's antialiased BILINEAR.
    fn half_width(&self) -> f64 {
        self.scale().max(1.0)
    }

    /// The middle of an output sample.
    fn centre(&self, output: u32) -> f64 {
        self.start + (f64::from(output) + 0.5) * self.scale()
    }

    /// The samples that an output sample reads (mirroring aside). Both ends rise with `output`.
    fn samples(&self, output: u32) -> Range<u32> {
        let (centre, half_width) = (self.centre(output), self.half_width());
        ((centre - half_width + 0.5).floor() as u32).max(self.clip.0)
            ..((centre + half_width - 0.5).ceil() as u32).min(self.clip.1)
    }

    /// Row `output` of R: the samples read and their weights, which sum to one, written to `weights`.
    ///
    /// A triangle of half-width max(scale, 1) around the output's centre, cut at `clip`: Pillow's antialiased BILINEAR in float64.
    fn row(&self, output: u32, weights: &mut Vec<f64>) -> Range<u32> {
        let (centre, half_width) = (self.centre(output), self.half_width());
        let samples = self.samples(output);
        weights.clear();
        weights.extend(samples.clone().map(|x| (1.0 - (f64::from(x) + 0.5 - centre).abs() / half_width).max(0.0)));
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        samples
    }
}

/// `R[8i..8i+8, 8j..8j+8] D^T`: row r, output sample; column u, source frequency.
type RowsTimesDct = [[f64; 8]; 8];

impl Axis {
    /// Computes the matrices in float64 and rounds them to float32.
    pub fn new(spec: &AxisSpec) -> Self {
        let mut axis = match spec.aligned_block() {
            Some(first_block) => Self::aligned(first_block, spec.num_outputs / 8, spec.basis),
            None => Self::resampled(spec),
        };
        if spec.mirrored {
            axis.mirror(spec.basis);
        }
        axis
    }

    /// The source blocks that any output block reads.
    pub fn source_blocks(&self) -> Range<usize> {
        let start = self.bands.iter().map(|band| band.blocks().start).min().unwrap_or(0);
        start..self.bands.iter().map(|band| band.blocks().end).max().unwrap_or(start)
    }

    /// Output block i is source block `first_block + i`, exactly.
    fn aligned(first_block: u32, num_blocks: u32, basis: Basis) -> Self {
        let matrix = match basis {
            Basis::Frequencies => std::array::from_fn(|i| if i % 9 == 0 { 1.0 } else { 0.0 }),
            Basis::Samples => std::array::from_fn(|i| DCT[i / 8][i % 8] as f32),
        };
        let band = |i| Band { first_block: first_block + i, num_blocks: 1, first_matrix: 0 };
        Self { bands: (0..num_blocks).map(band).collect(), matrices: vec![matrix] }
    }

    fn resampled(spec: &AxisSpec) -> Self {
        let mut axis = Self { bands: Vec::with_capacity(spec.num_outputs as usize / 8), matrices: Vec::new() };
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for first_output in (0..spec.num_outputs).step_by(8) {
            let first_block = rows_times_dct(spec, first_output, &mut rows, &mut weights);
            let first_matrix = axis.matrices.len() as u32;
            axis.bands.push(Band { first_block, num_blocks: rows.len() as u32, first_matrix });
            axis.matrices.extend(rows.iter().map(match spec.basis {
                Basis::Frequencies => dct_times,
                Basis::Samples => transposed,
            }));
        }
        axis.matrices.shrink_to_fit();
        axis
    }

    /// Memory that it takes.
    fn num_bytes(&self) -> usize {
        size_of::<Self>()
            + self.bands.capacity() * size_of::<Band>()
            + self.matrices.capacity() * size_of::<[f32; 64]>()
    }

    /// Reverses the order of the outputs. Exact: mirroring a block negates its odd frequencies.
    fn mirror(&mut self, basis: Basis) {
        self.bands.reverse();
        for output in self.matrices.iter_mut().flat_map(|matrix| matrix.as_chunks_mut::<8>().0) {
            match basis {
                Basis::Frequencies => output.iter_mut().skip(1).step_by(2).for_each(|value| *value = -*value),
                Basis::Samples => output.reverse(),
            }
        }
    }
}

/// For the eight outputs from `first_output` on: one matrix for each source block of the band. Returns the band's first block.
fn rows_times_dct(spec: &AxisSpec, first_output: u32, rows: &mut Vec<RowsTimesDct>, weights: &mut Vec<f64>) -> u32 {
    rows.clear();
    let dct_transposed = &*DCT_TRANSPOSED;
    let mut first_block = 0;
    for r in 0..8 {
        let samples = spec.row(first_output + r, weights);
        if r == 0 {
            first_block = samples.start / 8;
        }
        let num_blocks = (samples.end.div_ceil(8) - first_block) as usize;
        rows.resize(num_blocks.max(rows.len()), [[0.0; 8]; 8]);
        for (x, &weight) in samples.zip(weights.iter()) {
            let row = &mut rows[(x / 8 - first_block) as usize][r as usize];
            for (value, cosine) in row.iter_mut().zip(&dct_transposed[x as usize % 8]) {
                *value += weight * cosine;
            }
        }
    }
    first_block
}

/// `(D m)^T` in float32. Columns r and 7 - r of D differ only in the sign of odd frequencies, which halves the work.
fn dct_times(m: &RowsTimesDct) -> [f32; 64] {
    let dct = &*DCT;
    let sums: [[f64; 8]; 4] = std::array::from_fn(|r| std::array::from_fn(|u| m[r][u] + m[7 - r][u]));
    let differences: [[f64; 8]; 4] = std::array::from_fn(|r| std::array::from_fn(|u| m[r][u] - m[7 - r][u]));
    let mut product = [0.0; 64];
    for a in 0..8 {
        let mut row = [0.0; 8];
        for (half, factor) in (if a % 2 == 0 { &sums } else { &differences }).iter().zip(dct[a]) {
            for (value, half) in row.iter_mut().zip(half) {
                *value += factor * half;
            }
        }
        for (u, value) in row.into_iter().enumerate() {
            product[8 * u + a] = value as f32;
        }
    }
    product
}

/// `m^T` in float32.
fn transposed(m: &RowsTimesDct) -> [f32; 64] {
    std::array::from_fn(|i| m[i % 8][i / 8] as f32)
}

/// Keeps the axes of images seen before: many images share their size. Bounded.
#[derive(Clone, Debug, Default)]
pub struct AxisCache {
    axes: HashMap<AxisSpec, Arc<Axis>>,
    num_bytes: usize,
}

impl AxisCache {
    /// Bytes of axes kept; when there are more, all are forgotten. At ImageNet's sizes an axis takes about 20 KB, but one of 65,535
    /// samples takes 4 MiB.
    pub const MAX_BYTES: usize = 16 << 20;

    pub(super) fn get(&mut self, spec: &AxisSpec) -> Arc<Axis> {
        if let Some(axis) = self.axes.get(spec) {
            return Arc::clone(axis);
        }
        let axis = Arc::new(Axis::new(spec));
        let num_bytes = axis.num_bytes();
        if self.num_bytes + num_bytes > Self::MAX_BYTES {
            self.axes.clear();
            self.num_bytes = 0;
        }
        if num_bytes <= Self::MAX_BYTES {
            self.axes.insert(*spec, Arc::clone(&axis));
            self.num_bytes += num_bytes;
        }
        axis
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: AxisSpec = AxisSpec {
        start: 10.5,
        end: 83.25,
        clip: (8, 85),
        num_outputs: 32,
        mirrored: false,
        basis: Basis::Frequencies,
    };

    #[test]
    fn rows_sum_to_one_and_stay_inside_of_the_clip() {
        let mut weights = Vec::new();
        for output in 0..SPEC.num_outputs {
            let samples = SPEC.row(output, &mut weights);
            assert!(samples.start >= SPEC.clip.0 && samples.end <= SPEC.clip.1);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            assert!(weights.iter().all(|&weight| weight > 0.0));
        }
    }

    #[test]
    fn a_flat_plane_stays_flat() {
        let axis = Axis::new(&SPEC);
        for band in &axis.bands {
            let matrices = &axis.matrices[band.first_matrix as usize..][..band.num_blocks as usize];
            for a in 0..8 {
                let from_dc: f32 = matrices.iter().map(|matrix| matrix[a]).sum();
                assert!((from_dc - f32::from(u8::from(a == 0))).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn blocks_outside_of_the_clip_are_not_read() {
        assert_eq!(Axis::new(&AxisSpec { start: 17.0, end: 30.0, clip: (16, 32), ..SPEC }).source_blocks(), 2..4);
    }

    #[test]
    fn bands_are_known_without_their_matrices() {
        let aligned = AxisSpec { start: 16.0, end: 48.0, ..SPEC };
        let enlarged = AxisSpec { start: 20.0, end: 31.0, ..SPEC };
        for spec in [SPEC, aligned, enlarged, AxisSpec { clip: (0, 9000), end: 9000.0, ..SPEC }] {
            for spec in [spec, AxisSpec { mirrored: true, ..spec }] {
                for (i, band) in Axis::new(&spec).bands.iter().enumerate() {
                    let blocks = spec.source_blocks(i as u32);
                    assert_eq!(blocks.start as usize..blocks.end as usize, band.blocks(), "{i} of {spec:?}");
                }
            }
        }
    }

    #[test]
    fn samples_are_the_inverse_dct_of_frequencies() {
        let frequencies = Axis::new(&SPEC);
        let samples = Axis::new(&AxisSpec { basis: Basis::Samples, ..SPEC });
        assert_eq!(samples.bands, frequencies.bands);
        for (samples, frequencies) in samples.matrices.iter().zip(&frequencies.matrices) {
            for (i, sample) in samples.iter().enumerate() {
                let inverse: f64 = (0..8).map(|a| DCT[a][i % 8] * f64::from(frequencies[i / 8 * 8 + a])).sum();
                assert!((f64::from(*sample) - inverse).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn mirroring_twice_changes_nothing() {
        for basis in [Basis::Frequencies, Basis::Samples] {
            let axis = Axis::new(&AxisSpec { basis, ..SPEC });
            let mut mirrored = Axis::new(&AxisSpec { basis, mirrored: true, ..SPEC });
            assert_ne!(mirrored, axis);
            mirrored.mirror(basis);
            assert_eq!(mirrored, axis);
        }
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = AxisCache::default();
        let mut num_bytes_made = 0;
        for i in 0.. {
            let axis = cache.get(&AxisSpec { start: 0.0, end: 65_000.0 + f64::from(i), clip: (0, u32::MAX), ..SPEC });
            num_bytes_made += axis.num_bytes();
            let num_bytes_kept: usize = cache.axes.values().map(|axis| axis.num_bytes()).sum();
            assert_eq!(num_bytes_kept, cache.num_bytes);
            assert!(num_bytes_kept <= AxisCache::MAX_BYTES, "{num_bytes_kept}");
            if num_bytes_made > 2 * AxisCache::MAX_BYTES {
                break;
            }
        }
    }
}
