//! Runs an [`InputPlan`] on one image's coefficients: dequantise, resize, convert colours, write the network's input.
//!
//! The two axes are separate passes. For one row i of output blocks, the vertical pass makes `T[l] = sum over j of V[i,j] C[j,l]` for
//! every column l of source blocks that is needed, and the horizontal pass `sum over l of T[l] H[k,l]^T` for every output block k.
//! Both are chains of 8 x 8 products whose inner dimension is a frequency of the source, so a row of coefficients that is zero (most
//! high frequencies are) is skipped whole, exactly.

use std::ops::Range;
use std::sync::LazyLock;

use crate::jpeg::{Coefficients, ColorModel, Plane};
use crate::resample::{Axis, Basis, DCT, Grid, InputPlan, Normalization, PlanePlan};
use crate::tensor::Tensor;

/// Largest magnitude of a coefficient that a network is given: what is beyond saturates, and is counted. No sensible file comes near
/// (an 8-bit DC coefficient is at most 1024), and half precision holds sums over it.
pub const SATURATION: f32 = 4096.0;

/// Where one image's input goes. Lengths are those of the plan's grids.
#[derive(Debug)]
pub enum InputMut<'a> {
    /// `InputKind::Blocks`: dequantised coefficients, natural order.
    Blocks {
        /// `[H/8][W/8][64]`.
        y: &'a mut [f32],
        /// `[H/16][W/16][128]`: Cb in 0..64, Cr in 64..128.
        c: &'a mut [f32],
    },
    /// `InputKind::Rgb`: normalised samples.
    Rgb {
        /// `[H][W][3]`.
        rgb: &'a mut [f32],
        /// Mean and standard deviation of the network's weights.
        normalization: &'a Normalization,
    },
}

/// Writes the network's input of one image; every value of `out` is written. Returns how many resized coefficients were beyond
/// [`SATURATION`] (none where samples are made, which are clamped to 0 to 255).
///
/// # Panics
/// If `plan` was made for a larger frame, or `out` is not of the plan's kind and size: a mistake of the caller.
pub fn write_input(plan: &InputPlan, coefficients: &Coefficients, out: InputMut<'_>) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has AVX2 and FMA.
        return unsafe { write_input_avx2(plan, coefficients, out) };
    }
    write_input_generic::<{ cfg!(target_arch = "aarch64") }>(plan, coefficients, out)
}

/// The same code, compiled for AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn write_input_avx2(plan: &InputPlan, coefficients: &Coefficients, out: InputMut<'_>) -> u64 {
    write_input_generic::<true>(plan, coefficients, out)
}

/// `FMA`: the processor fuses a product with a sum. Inlined, as all that it calls, so that it is compiled for its caller's
/// instruction set.
#[inline(always)]
fn write_input_generic<const FMA: bool>(plan: &InputPlan, coefficients: &Coefficients, out: InputMut<'_>) -> u64 {
    match (out, &plan.chroma) {
        (InputMut::Blocks { y, c }, Some(chroma)) => {
            write_luma::<FMA>(plan, coefficients, y) + write_chroma::<FMA>(plan, chroma, coefficients, c)
        }
        (InputMut::Rgb { rgb, normalization }, None) => write_rgb::<FMA>(plan, coefficients, rgb, normalization),
        _ => panic!("the plan makes {:?}; `out` is of the other kind", plan.kind),
    }
}

#[inline(always)]
fn write_luma<const FMA: bool>(plan: &InputPlan, coefficients: &Coefficients, y: &mut [f32]) -> u64 {
    assert_eq!(y.len(), num_blocks(&plan.luma) * 64, "y is [H/8][W/8][64]");
    let (y, _) = y.as_chunks_mut::<64>();
    for_each_block::<FMA>(plan, &plan.luma, coefficients, |block_idx, planes| {
        y[block_idx] = luma_block::<FMA>(plan.color, planes).0;
    })
}

#[inline(always)]
fn write_chroma<const FMA: bool>(plan: &InputPlan, chroma: &Grid, coefficients: &Coefficients, c: &mut [f32]) -> u64 {
    assert_eq!(c.len(), num_blocks(chroma) * 128, "c is [H/16][W/16][128]");
    if chroma.planes.is_empty() {
        c.fill(0.0);
        return 0;
    }
    let (c, _) = c.as_chunks_mut::<128>();
    for_each_block::<FMA>(plan, chroma, coefficients, |block_idx, planes| {
        let [cb, cr] = chroma_blocks::<FMA>(plan.color, planes);
        c[block_idx][..64].copy_from_slice(&cb.0);
        c[block_idx][64..].copy_from_slice(&cr.0);
    })
}

#[inline(always)]
fn write_rgb<const FMA: bool>(
    plan: &InputPlan,
    coefficients: &Coefficients,
    rgb: &mut [f32],
    normalization: &Normalization,
) -> u64 {
    assert_eq!(rgb.len(), num_blocks(&plan.luma) * 192, "rgb is [H][W][3]");
    let Normalization { mean, std } = normalization;
    let factor: [f32; 3] = std::array::from_fn(|channel| 1.0 / (255.0 * std[channel]));
    let offset: [f32; 3] = std::array::from_fn(|channel| -mean[channel] / std[channel]);
    let blocks_wide = plan.luma.blocks_wide as usize;
    for_each_block::<FMA>(plan, &plan.luma, coefficients, |block_idx, planes| {
        let samples = rgb_samples(plan.color, planes);
        let (by, bx) = (block_idx / blocks_wide, block_idx % blocks_wide);
        for y in 0..8 {
            let start = ((by * 8 + y) * blocks_wide + bx) * 24;
            for (x, pixel) in rgb[start..start + 24].as_chunks_mut::<3>().0.iter_mut().enumerate() {
                *pixel = std::array::from_fn(|i| samples[i].0[y * 8 + x] * factor[i] + offset[i]);
            }
        }
    })
}

/// As [`write_input`], into new tensors: `[1, H/8, W/8, 64]` and `[1, H/16, W/16, 128]`, or `[1, H, W, 3]`.
pub fn input_tensors(
    plan: &InputPlan,
    coefficients: &Coefficients,
    normalization: &Normalization,
) -> (Vec<Tensor>, u64) {
    let shape = |grid: &Grid, block_side: u32, channels: usize| {
        [1, (grid.blocks_high * block_side) as usize, (grid.blocks_wide * block_side) as usize, channels]
    };
    match &plan.chroma {
        Some(chroma) => {
            let (mut y, mut c) = (Tensor::zeros(&shape(&plan.luma, 1, 64)), Tensor::zeros(&shape(chroma, 1, 128)));
            let saturated = write_input(plan, coefficients, InputMut::Blocks { y: &mut y.data, c: &mut c.data });
            (vec![y, c], saturated)
        }
        None => {
            let mut rgb = Tensor::zeros(&shape(&plan.luma, 8, 3));
            let saturated = write_input(plan, coefficients, InputMut::Rgb { rgb: &mut rgb.data, normalization });
            (vec![rgb], saturated)
        }
    }
}

fn num_blocks(grid: &Grid) -> usize {
    grid.blocks_high as usize * grid.blocks_wide as usize
}

/// 64 coefficients, or samples, of one block: row-major.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Block([f32; 64]);

impl Block {
    const ZERO: Self = Self([0.0; 64]);

    fn transposed(&self) -> Self {
        Self(std::array::from_fn(|i| self.0[i % 8 * 8 + i / 8]))
    }

    /// One block from the same place of three.
    fn combine3(blocks: &[Self], f: impl Fn(f32, f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(blocks[0].0[i], blocks[1].0[i], blocks[2].0[i])))
    }

    fn map(&self, f: impl Fn(f32) -> f32) -> Self {
        Self(self.0.map(f))
    }
}

/// Calls `write(block_idx, planes)` for every block of the grid, with that block of each of the grid's planes, resized, in the
/// result's orientation. Returns the number of saturated coefficients.
#[inline(always)]
fn for_each_block<const FMA: bool>(
    plan: &InputPlan,
    grid: &Grid,
    coefficients: &Coefficients,
    mut write: impl FnMut(usize, &[Block]),
) -> u64 {
    let (stored_high, stored_wide) = match plan.transposed {
        false => (grid.blocks_high as usize, grid.blocks_wide as usize),
        true => (grid.blocks_wide as usize, grid.blocks_high as usize),
    };
    let mut resizers: Vec<PlaneResizer<'_>> =
        grid.planes.iter().map(|plane| PlaneResizer::new(plane, coefficients)).collect();
    let mut rows = vec![vec![Block::ZERO; stored_wide]; grid.planes.len()];
    let mut planes = vec![Block::ZERO; grid.planes.len()];
    let mut num_saturated = 0;
    for i in 0..stored_high {
        for (resizer, row) in resizers.iter_mut().zip(&mut rows) {
            resizer.output_row::<FMA>(i, row);
            if grid.basis == Basis::Frequencies {
                num_saturated += row.iter_mut().map(saturate).sum::<u64>();
            }
        }
        for k in 0..stored_wide {
            for (block, row) in planes.iter_mut().zip(&rows) {
                *block = if plan.transposed { row[k].transposed() } else { row[k] };
            }
            let block_idx = if plan.transposed { k * stored_high + i } else { i * stored_wide + k };
            write(block_idx, &planes);
        }
    }
    num_saturated
}

/// One plane on its way to one grid.
struct PlaneResizer<'a> {
    vertical: &'a Axis,
    horizontal: &'a Axis,
    /// None: never sent, zero.
    source: Option<(&'a Plane, Block)>,
    /// The columns of source blocks that are read.
    columns: Range<usize>,
    /// T of the vertical pass, one per column.
    columns_resized: Vec<Block>,
}

impl<'a> PlaneResizer<'a> {
    fn new(plan: &'a PlanePlan, coefficients: &'a Coefficients) -> Self {
        let plane = &coefficients.planes[plan.component_idx];
        let columns = plan.horizontal.source_blocks();
        let rows = plan.vertical.source_blocks();
        assert!(
            columns.end <= plane.blocks_wide as usize && rows.end <= plane.blocks_high as usize,
            "the plan was made for a larger frame"
        );
        let source = plane.quant.as_ref().map(|quant| (plane, Block(quant.0.map(|step| f32::from(step) * plan.scale))));
        Self {
            vertical: &plan.vertical,
            horizontal: &plan.horizontal,
            source,
            columns_resized: vec![Block::ZERO; columns.len()],
            columns,
        }
    }

    /// Output blocks of row i.
    #[inline(always)]
    fn output_row<const FMA: bool>(&mut self, i: usize, out: &mut [Block]) {
        let Some((plane, quant)) = &self.source else {
            out.fill(Block::ZERO);
            return;
        };
        let band = self.vertical.bands[i];
        for (resized, column) in self.columns_resized.iter_mut().zip(self.columns.clone()) {
            let mut sum = [[0.0; 8]; 8];
            for (matrix_idx, row) in (band.first_matrix as usize..).zip(band.blocks()) {
                let matrix = &self.vertical.matrices[matrix_idx];
                let (rows, _) = plane.block(column as u32, row as u32).as_chunks::<8>();
                for (v, coefficients) in rows.iter().enumerate() {
                    if *coefficients == [0; 8] {
                        continue;
                    }
                    let dequantised: [f32; 8] =
                        std::array::from_fn(|u| f32::from(coefficients[u]) * quant.0[v * 8 + u]);
                    for (a, sum) in sum.iter_mut().enumerate() {
                        add_scaled::<FMA>(sum, matrix[v * 8 + a], &dequantised);
                    }
                }
            }
            *resized = Block(flatten(sum));
        }
        for (out, band) in out.iter_mut().zip(&self.horizontal.bands) {
            let mut sum = [[0.0; 8]; 8];
            for (matrix_idx, column) in (band.first_matrix as usize..).zip(band.blocks()) {
                let (matrix_rows, _) = self.horizontal.matrices[matrix_idx].as_chunks::<8>();
                let resized = &self.columns_resized[column - self.columns.start];
                for (u, matrix_row) in matrix_rows.iter().enumerate() {
                    for (a, sum) in sum.iter_mut().enumerate() {
                        add_scaled::<FMA>(sum, resized.0[a * 8 + u], matrix_row);
                    }
                }
            }
            *out = Block(flatten(sum));
        }
    }
}

/// `sum += factor * row`.
#[inline(always)]
fn add_scaled<const FMA: bool>(sum: &mut [f32; 8], factor: f32, row: &[f32; 8]) {
    for (sum, &value) in sum.iter_mut().zip(row) {
        *sum = if FMA { factor.mul_add(value, *sum) } else { factor * value + *sum };
    }
}

#[inline(always)]
fn flatten(rows: [[f32; 8]; 8]) -> [f32; 64] {
    std::array::from_fn(|i| rows[i / 8][i % 8])
}

#[inline(always)]
fn saturate(block: &mut Block) -> u64 {
    let num_saturated = block.0.iter().filter(|value| value.abs() > SATURATION).count();
    block.0.iter_mut().for_each(|value| *value = value.clamp(-SATURATION, SATURATION));
    num_saturated as u64
}

/// Luma's coefficients, from the planes of the luma grid.
#[inline(always)]
fn luma_block<const FMA: bool>(color: ColorModel, planes: &[Block]) -> Block {
    match color {
        ColorModel::Rgb => Block::combine3(planes, luma),
        ColorModel::Cmyk { .. } | ColorModel::Ycck { .. } => {
            forward_dct::<FMA>(&Block::combine3(&rgb_samples(color, planes), luma).map(|y| y - 128.0))
        }
        ColorModel::Gray | ColorModel::YCbCr | ColorModel::Unknown => planes[0],
    }
}

/// Cb's and Cr's coefficients, from the planes of the chroma grid.
#[inline(always)]
fn chroma_blocks<const FMA: bool>(color: ColorModel, planes: &[Block]) -> [Block; 2] {
    let chroma = |rgb: &[Block]| [Block::combine3(rgb, blue_difference), Block::combine3(rgb, red_difference)];
    match color {
        ColorModel::Rgb => chroma(planes),
        ColorModel::Cmyk { .. } | ColorModel::Ycck { .. } => {
            chroma(&rgb_samples(color, planes)).map(|block| forward_dct::<FMA>(&block))
        }
        ColorModel::Gray | ColorModel::YCbCr | ColorModel::Unknown => [planes[0], planes[1]],
    }
}

/// JFIF's Y. Its weights sum to one, so it holds for level-shifted samples, and for coefficients, as it stands.
fn luma(r: f32, g: f32, b: f32) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

/// JFIF's Cb - 128. The weights sum to zero: level shifts vanish.
fn blue_difference(r: f32, g: f32, b: f32) -> f32 {
    (b - luma(r, g, b)) / 1.772
}

/// JFIF's Cr - 128.
fn red_difference(r: f32, g: f32, b: f32) -> f32 {
    (r - luma(r, g, b)) / 1.402
}

/// Red, green and blue, 0 to 255, from the level-shifted samples of one block.
///
/// Four components are converted sample by sample after the resize, as the libraries show them: CMYK in Adobe's convention (255 = no
/// ink) is `R = C K / 255`; YCCK is YCbCr of `255 - C`, `255 - M`, `255 - Y`; in the other convention all four are complemented first.
#[inline(always)]
fn rgb_samples(color: ColorModel, planes: &[Block]) -> [Block; 3] {
    let unshifted = |plane: &Block| plane.map(|sample| clamp(sample + 128.0));
    match color {
        ColorModel::Gray | ColorModel::Unknown => [unshifted(&planes[0]); 3],
        ColorModel::Rgb => [unshifted(&planes[0]), unshifted(&planes[1]), unshifted(&planes[2])],
        ColorModel::YCbCr => rgb_from_ycbcr(planes),
        ColorModel::Cmyk { inverted } => {
            let ink = [unshifted(&planes[0]), unshifted(&planes[1]), unshifted(&planes[2])];
            apply_black(ink, unshifted(&planes[3]), inverted)
        }
        ColorModel::Ycck { inverted } => {
            let ink = rgb_from_ycbcr(planes).map(|plane| plane.map(|sample| 255.0 - sample));
            apply_black(ink, unshifted(&planes[3]), inverted)
        }
    }
}

fn clamp(sample: f32) -> f32 {
    sample.clamp(0.0, 255.0)
}

/// JFIF's matrix on level-shifted samples.
#[inline(always)]
fn rgb_from_ycbcr(planes: &[Block]) -> [Block; 3] {
    [
        Block::combine3(planes, |y, _, cr| clamp(y + 128.0 + 1.402 * cr)),
        Block::combine3(planes, |y, cb, cr| clamp(y + 128.0 - 0.344_136_3 * cb - 0.714_136_3 * cr)),
        Block::combine3(planes, |y, cb, _| clamp(y + 128.0 + 1.772 * cb)),
    ]
}

/// `inverted`: 255 is no ink.
fn apply_black(ink: [Block; 3], black: Block, inverted: bool) -> [Block; 3] {
    let light = |ink: f32| if inverted { ink } else { 255.0 - ink };
    ink.map(|plane| Block(std::array::from_fn(|i| light(plane.0[i]) * light(black.0[i]) / 255.0)))
}

/// D and its transpose.
static DCT_PAIR: LazyLock<[Block; 2]> = LazyLock::new(|| {
    let dct = Block(std::array::from_fn(|i| DCT[i / 8][i % 8] as f32));
    [dct, dct.transposed()]
});

/// `D s D^T` (T.81 A.3.3), without the level shift.
#[inline(always)]
fn forward_dct<const FMA: bool>(samples: &Block) -> Block {
    let [dct, transposed] = &*DCT_PAIR;
    product::<FMA>(&product::<FMA>(dct, samples), transposed)
}

/// The product of two 8 x 8 matrices.
#[inline(always)]
fn product<const FMA: bool>(left: &Block, right: &Block) -> Block {
    let mut sum = [[0.0; 8]; 8];
    let (right_rows, _) = right.0.as_chunks::<8>();
    for (inner, right_row) in right_rows.iter().enumerate() {
        for (a, sum) in sum.iter_mut().enumerate() {
            add_scaled::<FMA>(sum, left.0[a * 8 + inner], right_row);
        }
    }
    Block(flatten(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::{Component, EntropyCoding, Frame, Natural, Orientation, Process};
    use crate::resample::Transform;
    use crate::tensor::InputKind;

    fn image(color: ColorModel) -> Coefficients {
        let factors: &[(u8, u8)] = if color == ColorModel::YCbCr { &[(2, 2), (1, 1), (1, 1)] } else { &[(1, 1); 4] };
        let (h_max, v_max) = factors[0];
        let size = (93, 71);
        let components: Vec<Component> =
            factors.iter().zip(1..).map(|(&f, id)| Component::new(id, f, 0, size, (h_max, v_max))).collect();
        let plane = |component: &Component| {
            let data = (0..component.padded_blocks_wide as i32 * component.padded_blocks_high as i32 * 64)
                .map(|i| if i % 64 < 24 { ((i + i32::from(component.id)) * 7919 % 41 - 20) as i16 } else { 0 });
            Plane::new(component, data.collect(), Some(Natural([3; 64])))
        };
        Coefficients {
            planes: components.iter().map(plane).collect(),
            frame: Frame {
                process: Process::Baseline,
                coding: EntropyCoding::Huffman,
                precision_bits: 8,
                width: size.0,
                height: size.1,
                components,
                h_max,
                v_max,
            },
            color,
            orientation: Orientation::Rotate90,
        }
    }

    /// What a processor without AVX2 runs differs by rounding only.
    #[test]
    fn with_and_without_fused_products() {
        let transform: Transform = "short=64,crop=48".parse().unwrap();
        for color in [ColorModel::YCbCr, ColorModel::Cmyk { inverted: true }] {
            let image = image(color);
            let plan = |kind| InputPlan::new(&image.frame, color, image.orientation, &transform, kind).unwrap();
            let (blocks, samples) = (plan(InputKind::Blocks), plan(InputKind::Rgb));
            let normalization = &Normalization::default();
            let mut plain = [vec![0.0; 36 * 64], vec![0.0; 9 * 128], vec![0.0; 48 * 48 * 3]];
            let mut fused = plain.clone();
            let [y, c, rgb] = &mut plain;
            write_input_generic::<false>(&blocks, &image, InputMut::Blocks { y, c });
            write_input_generic::<false>(&samples, &image, InputMut::Rgb { rgb, normalization });
            let [y, c, rgb] = &mut fused;
            write_input_generic::<true>(&blocks, &image, InputMut::Blocks { y, c });
            write_input_generic::<true>(&samples, &image, InputMut::Rgb { rgb, normalization });
            for (plain, fused) in plain.iter().zip(&fused) {
                let largest = plain.iter().fold(0.0f32, |max, value| max.max(value.abs()));
                for (a, b) in plain.iter().zip(fused) {
                    assert!((a - b).abs() <= 2e-6 * largest, "{a} {b} of {largest}");
                }
            }
        }
    }
}
