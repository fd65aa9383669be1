//! One axis of one plane: from blocks of source coefficients to blocks of the network's grid.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::dct::DCT;

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
    /// `V[i,j]` transposed: `matrices[m][8 * u + a]` takes source frequency u to output frequency a.
    pub matrices: Vec<[f32; 64]>,
}

/// What an [`Axis`] is made from. Positions are in samples of the plane as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AxisSpec {
    /// The box [start, end) that is resized to `num_outputs` samples. Not empty, and inside of `clip`.
    pub start: f64,
    pub end: f64,
    /// The samples that may be read; those beyond are not image.
    pub clip: (u32, u32),
    /// A multiple of 8.
    pub num_outputs: u32,
    /// The outputs' order is reversed.
    pub mirrored: bool,
}

impl AxisSpec {
    /// Source samples per output sample.
    fn scale(&self) -> f64 {
        (self.end - self.start) / f64::from(self.num_outputs)
    }

    /// The first source block, where every output block is exactly one source block: nothing to resize, cut at block boundaries.
    fn aligned_block(&self) -> Option<u32> {
        (self.scale() == 1.0 && self.start % 8.0 == 0.0).then_some((self.start / 8.0) as u32)
    }

    /// Row `output` of R: the samples read and their weights, which sum to one, written to `weights`.
    ///
    /// A triangle of half-width max(scale, 1) around the output's centre, cut at `clip`: Pillow's antialiased BILINEAR in float64.
    fn row(&self, output: u32, weights: &mut Vec<f64>) -> Range<u32> {
        let half_width = self.scale().max(1.0);
        let centre = self.start + (f64::from(output) + 0.5) * self.scale();
        let samples = ((centre - half_width + 0.5).floor() as u32).max(self.clip.0)
            ..((centre + half_width - 0.5).ceil() as u32).min(self.clip.1);
        weights.clear();
        weights.extend(samples.clone().map(|x| (1.0 - (f64::from(x) + 0.5 - centre).abs() / half_width).max(0.0)));
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        samples
    }
}

impl Axis {
    pub(super) fn new(spec: &AxisSpec) -> Self {
        let mut axis = match spec.aligned_block() {
            Some(first_block) => Self::aligned(first_block, spec.num_outputs / 8),
            None => Self::resampled(spec),
        };
        if spec.mirrored {
            axis.mirror();
        }
        axis
    }

    /// The source blocks that any output block reads.
    pub fn source_blocks(&self) -> Range<usize> {
        let start = self.bands.iter().map(|band| band.blocks().start).min().unwrap_or(0);
        start..self.bands.iter().map(|band| band.blocks().end).max().unwrap_or(start)
    }

    /// Output block i is source block `first_block + i`, exactly.
    fn aligned(first_block: u32, num_blocks: u32) -> Self {
        let identity = std::array::from_fn(|i| if i % 9 == 0 { 1.0 } else { 0.0 });
        let band = |i| Band { first_block: first_block + i, num_blocks: 1, first_matrix: i };
        Self { bands: (0..num_blocks).map(band).collect(), matrices: vec![identity; num_blocks as usize] }
    }

    fn resampled(spec: &AxisSpec) -> Self {
        let mut axis = Self { bands: Vec::with_capacity(spec.num_outputs as usize / 8), matrices: Vec::new() };
        let mut row_times_dct: Vec<[[f64; 8]; 8]> = Vec::new();
        let mut weights = Vec::new();
        for first_output in (0..spec.num_outputs).step_by(8) {
            let band = axis.push_band(spec, first_output, &mut row_times_dct, &mut weights);
            axis.bands.push(band);
        }
        axis
    }

    /// Appends `V[i,j] = D (R D^T)` of one output block. `row_times_dct[j][r]` is row r of `R[8i.., 8j..] D^T`.
    fn push_band(
        &mut self,
        spec: &AxisSpec,
        first_output: u32,
        row_times_dct: &mut Vec<[[f64; 8]; 8]>,
        weights: &mut Vec<f64>,
    ) -> Band {
        row_times_dct.clear();
        let dct = &*DCT;
        let mut first_block = 0;
        for r in 0..8 {
            let samples = spec.row(first_output + r, weights);
            if r == 0 {
                first_block = samples.start / 8;
            }
            let num_blocks = (samples.end.div_ceil(8) - first_block) as usize;
            row_times_dct.resize(num_blocks.max(row_times_dct.len()), [[0.0; 8]; 8]);
            for (x, &weight) in samples.zip(weights.iter()) {
                let row = &mut row_times_dct[(x / 8 - first_block) as usize][r as usize];
                for u in 0..8 {
                    row[u] += weight * dct[u][x as usize % 8];
                }
            }
        }
        let first_matrix = self.matrices.len() as u32;
        self.matrices.extend(row_times_dct.iter().map(dct_times));
        Band { first_block, num_blocks: row_times_dct.len() as u32, first_matrix }
    }

    /// Reverses the order of the outputs. Exact: mirroring a block negates its odd frequencies.
    fn mirror(&mut self) {
        self.bands.reverse();
        for matrix in &mut self.matrices {
            matrix.iter_mut().skip(1).step_by(2).for_each(|value| *value = -*value);
        }
    }
}

/// `(D m)^T` in float32. Rows r and 7 - r of D^T differ only in the sign of odd frequencies, which halves the work.
fn dct_times(m: &[[f64; 8]; 8]) -> [f32; 64] {
    let dct = &*DCT;
    let mut product = [[0.0f64; 8]; 8];
    for r in 0..4 {
        let sum: [f64; 8] = std::array::from_fn(|u| m[r][u] + m[7 - r][u]);
        let difference: [f64; 8] = std::array::from_fn(|u| m[r][u] - m[7 - r][u]);
        for a in 0..8 {
            let half = if a % 2 == 0 { &sum } else { &difference };
            for u in 0..8 {
                product[a][u] += dct[a][r] * half[u];
            }
        }
    }
    std::array::from_fn(|i| product[i % 8][i / 8] as f32)
}

/// Keeps the axes of images seen before: many images share their size. Bounded.
#[derive(Clone, Debug, Default)]
pub struct AxisCache {
    axes: HashMap<AxisKey, Arc<Axis>>,
}

/// An [`AxisSpec`] whose positions are compared by their bits.
type AxisKey = (u64, u64, (u32, u32), u32, bool);

impl AxisCache {
    /// Axes kept; at ImageNet's sizes one takes about 20 KB. When there are more, all are forgotten.
    const MAX_AXES: usize = 256;

    pub(super) fn get(&mut self, spec: &AxisSpec) -> Arc<Axis> {
        let key = (spec.start.to_bits(), spec.end.to_bits(), spec.clip, spec.num_outputs, spec.mirrored);
        if self.axes.len() >= Self::MAX_AXES && !self.axes.contains_key(&key) {
            self.axes.clear();
        }
        Arc::clone(self.axes.entry(key).or_insert_with(|| Arc::new(Axis::new(spec))))
    }
}
