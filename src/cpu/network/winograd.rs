//! 3 x 3 convolutions of stride 1 with fewer multiplications: Winograd's F(2 x 2, 3 x 3) (Lavin and Gray, 2016).
//!
//! A tile of 2 x 2 outputs is a function of 4 x 4 inputs. By definition it takes 36 multiplications per pair of channels; after
//! transforming inputs `B' d B` and filters `G g G'` it takes 16, one for each of 16 *points*, and `A' m A` makes the outputs of the products. So the
//! convolution becomes 16 matrix products, a row per tile, a column per output channel, over a depth of the input channels: the register tile of
//! the direct way runs them. The transforms are additions, over all channels of a pixel alike, and NHWC has these next to each other.
//!
//! ```text
//! transform the task's tiles of the input                          [point][tile][channel], second-level cache
//! for each panel of the task:
//!     for each point, block of the depth:  register tiles          [point][tile][column]
//!     transform to the output                                      bias, residual, ReLU
//! ```
//!
//! Tiles begin at the first pixel of each image, so that what an image gets does not depend on its batch mates. Filters are transformed once,
//! in f64. The input's transform adds values of up to four pixels: the result is about as exact as the direct sum (tests hold it to that).

use std::ops::Range;

use super::conv::{Conv, Operands, Window};
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{InstructionSet, Portable, Simd};
use super::tile::{DEPTH_BLOCK, PITCH, Tile, TileKernel};

/// Points of a tile of the input, each of which is a matrix product.
pub(super) const POINTS: usize = 16;

/// Most tiles of a task.
pub(super) const MAX_TILES: usize = 98;

/// Most transformed values of a task, room between them included: 853 KB.
pub(super) const MAX_VALUES: usize = 49 * POINTS * PITCH;

/// Channels that all vectors divide.
const CHANNEL_UNIT: usize = 16;

/// Fewer channels or columns than this are not worth the transforms.
const MIN_CHANNELS: usize = 32;

/// How the transformed values of a task lie: rows of [`PITCH`], of which each holds as many points as fit, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Values of the depth in a block.
    depth_block: usize,
    /// Blocks of the depth.
    num_blocks: usize,
    /// Points in a row.
    points_per_row: usize,
}

impl Layout {
    fn new(channels: usize) -> Self {
        let num_blocks = channels.div_ceil(DEPTH_BLOCK).max(1);
        let depth_block = channels.div_ceil(num_blocks).next_multiple_of(CHANNEL_UNIT);
        Self { depth_block, num_blocks, points_per_row: (DEPTH_BLOCK / depth_block.max(1)).clamp(1, POINTS) }
    }

    /// Rows that a tile takes.
    fn rows_per_tile(&self) -> usize {
        POINTS.div_ceil(self.points_per_row) * self.num_blocks
    }

    /// Most tiles of a task.
    pub fn max_tiles(&self) -> usize {
        (MAX_VALUES / PITCH / self.rows_per_tile()).min(MAX_TILES)
    }

    /// Where a block of the first tile's point begins, if there are `num_tiles`.
    fn offset(&self, point: usize, block: usize, num_tiles: usize) -> usize {
        let row = (point / self.points_per_row * self.num_blocks + block) * num_tiles;
        row * PITCH + point % self.points_per_row * self.depth_block
    }
}

/// The layout for a convolution that this is faster for, with this kernel; else `None`.
pub(super) fn layout(window: &Window, columns: usize, kernel: &TileKernel) -> Option<Layout> {
    let layout = Layout::new(window.channels);
    let applies = window.kernel == (3, 3)
        && window.stride == 1
        && window.channels.is_multiple_of(CHANNEL_UNIT)
        && window.channels.min(columns) >= MIN_CHANNELS
        && layout.max_tiles() >= CHANNEL_UNIT
        && kernel.transforms.is_some();
    applies.then_some(layout)
}

/// `G g G'` of filters `[3][3][channels * columns]`: `[POINTS][channels * columns]`.
pub(super) fn transform_filters(weights: &[f32]) -> Vec<f32> {
    const G: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    let pairs = weights.len() / 9;
    let mut transformed = vec![0.0; POINTS * pairs];
    for pair in 0..pairs {
        let filter: [[f64; 3]; 3] =
            std::array::from_fn(|y| std::array::from_fn(|x| f64::from(weights[(3 * y + x) * pairs + pair])));
        let columns: [[f64; 3]; 4] =
            std::array::from_fn(|i| std::array::from_fn(|x| (0..3).map(|y| G[i][y] * filter[y][x]).sum()));
        for point in 0..POINTS {
            let sum: f64 = (0..3).map(|x| columns[point / 4][x] * G[point % 4][x]).sum();
            transformed[point * pairs + pair] = sum as f32;
        }
    }
    transformed
}

impl Conv {
    /// Rows and columns of tiles of an image.
    pub(super) fn tiles(&self) -> (usize, usize) {
        (self.window.positions.0.div_ceil(2), self.window.positions.1.div_ceil(2))
    }

    /// The outputs of `tiles` in the columns of `panels`.
    pub(super) fn run_winograd_task(
        &self,
        layout: Layout,
        operands: &Operands,
        tiles: Range<usize>,
        panels: Range<usize>,
        values: &mut [f32],
        products: &mut [f32],
    ) {
        let Some(transforms) = self.kernel.transforms else { return };
        self.transform_input(&transforms, layout, operands.input, tiles.clone(), values);
        for panel_idx in panels {
            self.multiply(layout, tiles.len(), panel_idx, values, products);
            self.transform_output(&transforms, operands, tiles.clone(), panel_idx, products);
        }
    }

    /// The image, and the row and column of its outputs, where a tile begins.
    fn tile_origin(&self, tile_idx: usize) -> (usize, usize, usize) {
        let (rows, columns) = self.tiles();
        let (line, x) = (tile_idx / columns, tile_idx % columns);
        (line / rows, line % rows * 2, x * 2)
    }

    fn transform_input(
        &self,
        transforms: &Transforms,
        layout: Layout,
        input: &[f32],
        tiles: Range<usize>,
        values: &mut [f32],
    ) {
        let window = &self.window;
        let num_tiles = tiles.len();
        let zeros = [0.0; DEPTH_BLOCK];
        assert!(values.len() >= layout.rows_per_tile() * num_tiles * PITCH);
        for (row, tile_idx) in tiles.enumerate() {
            let (image_idx, top, left) = self.tile_origin(tile_idx);
            for block in 0..layout.num_blocks {
                let first = block * layout.depth_block;
                let channels = layout.depth_block.min(window.channels - first);
                let taps = std::array::from_fn(|tap| {
                    let y = (top + tap / 4).wrapping_sub(window.pad_top);
                    let x = (left + tap % 4).wrapping_sub(window.pad_left);
                    if y >= window.input.height || x >= window.input.width {
                        return zeros[..channels].as_ptr();
                    }
                    let pixel = (image_idx * window.input.height + y) * window.input.width + x;
                    input[pixel * window.input.channels + window.channel_offset + first..][..channels].as_ptr()
                });
                let to = std::array::from_fn(|point| {
                    values.as_mut_ptr().wrapping_add(layout.offset(point, block, num_tiles) + row * PITCH)
                });
                // SAFETY: the slices above have the lengths that are read. Every point has room for a block of the depth within the rows that
                // were asserted, and no two share it. `kernel` was made for a supported instruction set.
                unsafe { (transforms.input)(&InputTile { taps, to, channels }) }
            }
        }
    }

    /// The matrix products of all points for one panel.
    fn multiply(&self, layout: Layout, num_tiles: usize, panel_idx: usize, values: &[f32], products: &mut [f32]) {
        let width = self.kernel.columns;
        let channels = self.window.channels;
        let (_, panel) = bytemuck::cast_slice::<_, f32>(&self.weights).split_at(panel_idx * POINTS * channels * width);
        let zeros = [0.0; MAX_COLUMNS];
        let offsets: [usize; MAX_TILES] = std::array::from_fn(|row| row * width);
        for point in 0..POINTS {
            let products = &mut products[point * num_tiles * width..][..num_tiles * width];
            for block in 0..layout.num_blocks {
                let first = block * layout.depth_block;
                let depth = layout.depth_block.min(channels - first);
                let (weights, behind) = panel[(point * channels + first) * width..].split_at(depth * width);
                // What comes next lies behind, in the next panel as well.
                let next = &behind[..behind.len().min(weights.len())];
                let values = &values[layout.offset(point, block, num_tiles)..];
                for (tile_idx, rows) in self.kernel.row_tiles(num_tiles).enumerate() {
                    let tile = Tile {
                        windows: values[rows.start * PITCH..][..(rows.len() - 1) * PITCH + depth].as_ptr(),
                        weights: weights.as_ptr(),
                        prefetch: self.kernel.prefetch(next, tile_idx),
                        depth,
                        columns: width,
                        bias: (block == 0).then_some(zeros[..width].as_ptr()),
                        output: products.as_mut_ptr(),
                        output_offsets: &offsets[rows],
                        epilogue: None,
                    };
                    // SAFETY: the slices above have the lengths that the tile reads; `products` holds `width` values at each offset.
                    unsafe { self.kernel.run(&tile) }
                }
            }
        }
    }

    fn transform_output(
        &self,
        transforms: &Transforms,
        operands: &Operands,
        tiles: Range<usize>,
        panel_idx: usize,
        products: &[f32],
    ) {
        let width = self.kernel.columns;
        let first_column = panel_idx * width;
        let columns = width.min(self.columns - first_column);
        let bias = &bytemuck::cast_slice::<_, f32>(&self.bias)[first_column..][..width];
        let (height, line) = self.window.positions;
        let num_tiles = tiles.len();
        for (row, tile_idx) in tiles.enumerate() {
            let (image_idx, top, left) = self.tile_origin(tile_idx);
            let pixels = std::array::from_fn(|pixel| {
                let (y, x) = (top + pixel / 2, left + pixel % 2);
                if y >= height || x >= line {
                    return None;
                }
                let output = operands.output.column(first_column);
                let output = output.wrapping_add(self.destination.offset(image_idx, y, x));
                let residual = operands.residual.map(|residual| {
                    let begin = ((image_idx * height + y) * line + x) * self.columns + first_column;
                    residual[begin..][..columns].as_ptr()
                });
                Some((output, residual))
            });
            let products = &products[row * width..][..(POINTS - 1) * num_tiles * width + width];
            let tile = OutputTile {
                products: products.as_ptr(),
                pitch: num_tiles * width,
                bias: bias.as_ptr(),
                columns,
                pixels,
                relu: self.relu,
            };
            // SAFETY: the slices above have the lengths that are read. `Conv::run` has checked that the output holds every window's pixel,
            // and `offset` puts `self.columns` channels of this convolution within each; no two tasks share a tile and a panel.
            unsafe { (transforms.output)(&tile) }
        }
    }
}

/// Most columns of a panel.
const MAX_COLUMNS: usize = 32;

/// The code of both transforms for an instruction set.
#[derive(Clone, Copy)]
pub(super) struct Transforms {
    input: unsafe fn(&InputTile),
    output: unsafe fn(&OutputTile),
}

/// The channels of 4 x 4 pixels, and where their transforms go.
struct InputTile {
    taps: [*const f32; POINTS],
    to: [*mut f32; POINTS],
    /// Whole vectors.
    channels: usize,
}

/// The products of a tile in a panel of columns, and the pixels that they make.
struct OutputTile {
    products: *const f32,
    /// From point to point.
    pitch: usize,
    /// Padded to whole vectors.
    bias: *const f32,
    columns: usize,
    /// `None` beyond the border.
    pixels: [Option<(*mut f32, Option<*const f32>)>; 4],
    relu: bool,
}

impl Transforms {
    /// Those of an instruction set; the portable ones where this CPU or this build lacks it.
    pub fn new(set: InstructionSet) -> Self {
        match set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 if set.is_supported() => Self { input: input_avx512, output: output_avx512 },
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 if set.is_supported() => Self { input: input_avx2, output: output_avx2 },
            _ => Self { input: transform_input::<Portable>, output: transform_output::<Portable> },
        }
    }
}

/// Defines both transforms, compiled for an instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! transforms {
    ($features:literal, $simd:ty, $input:ident, $output:ident) => {
        #[target_feature(enable = $features)]
        unsafe fn $input(tile: &InputTile) {
            // SAFETY: compiled for the instruction set of `$simd`; the rest by contract.
            unsafe { transform_input::<$simd>(tile) }
        }

        #[target_feature(enable = $features)]
        unsafe fn $output(tile: &OutputTile) {
            // SAFETY: compiled for the instruction set of `$simd`; the rest by contract.
            unsafe { transform_output::<$simd>(tile) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
transforms!("avx512f", Avx512, input_avx512, output_avx512);
#[cfg(target_arch = "x86_64")]
transforms!("avx2,fma", Avx2, input_avx2, output_avx2);

/// `B' d B`.
///
/// # Safety
/// From code compiled for `S`. `taps` and `to` must be valid for `channels` values each, which are whole vectors.
#[inline(always)]
unsafe fn transform_input<S: Simd>(tile: &InputTile) {
    // SAFETY: vectors lie within the channels, by contract.
    unsafe {
        let mut c = 0;
        while c < tile.channels {
            let mut d = [S::zero(); POINTS];
            for (d, tap) in d.iter_mut().zip(&tile.taps) {
                *d = S::load(tap.add(c));
            }
            // Down the columns, then along the rows.
            let mut half = d;
            for x in 0..4 {
                half[x] = S::sub(d[x], d[8 + x]);
                half[4 + x] = S::add(d[4 + x], d[8 + x]);
                half[8 + x] = S::sub(d[8 + x], d[4 + x]);
                half[12 + x] = S::sub(d[4 + x], d[12 + x]);
            }
            for y in 0..4 {
                let [h0, h1, h2, h3] = [half[4 * y], half[4 * y + 1], half[4 * y + 2], half[4 * y + 3]];
                let to = [tile.to[4 * y], tile.to[4 * y + 1], tile.to[4 * y + 2], tile.to[4 * y + 3]];
                S::store_first(to[0].add(c), S::sub(h0, h2), S::LANES);
                S::store_first(to[1].add(c), S::add(h1, h2), S::LANES);
                S::store_first(to[2].add(c), S::sub(h2, h1), S::LANES);
                S::store_first(to[3].add(c), S::sub(h1, h3), S::LANES);
            }
            c += S::LANES;
        }
    }
}

/// `A' m A`, bias, residual and ReLU.
///
/// # Safety
/// From code compiled for `S`. `products` must be valid for a panel of columns at each point, `bias` for a panel, the pixels' outputs and
/// residuals for `columns`.
#[inline(always)]
unsafe fn transform_output<S: Simd>(tile: &OutputTile) {
    // SAFETY: a panel is whole vectors; pixels are touched in columns below `columns` only.
    unsafe {
        let mut first = 0;
        while first < tile.columns {
            let lanes = tile.columns - first;
            let mut m = [S::zero(); POINTS];
            for (point, m) in m.iter_mut().enumerate() {
                *m = S::load(tile.products.add(point * tile.pitch + first));
            }
            let mut half = [S::zero(); 8];
            for x in 0..4 {
                half[x] = S::add(S::add(m[x], m[4 + x]), m[8 + x]);
                half[4 + x] = S::sub(S::sub(m[4 + x], m[8 + x]), m[12 + x]);
            }
            let bias = S::load(tile.bias.add(first));
            for y in 0..2 {
                let [a, b, c, e] = [half[4 * y], half[4 * y + 1], half[4 * y + 2], half[4 * y + 3]];
                let sums = [S::add(S::add(a, b), c), S::sub(S::sub(b, c), e)];
                for (x, &sum) in sums.iter().enumerate() {
                    let Some((output, residual)) = tile.pixels[2 * y + x] else { continue };
                    let mut sum = S::add(sum, bias);
                    if let Some(residual) = residual {
                        sum = S::add(sum, S::load_first(residual.add(first), lanes));
                    }
                    if tile.relu {
                        sum = S::relu(sum);
                    }
                    S::store_first(output.add(first), sum, lanes);
                }
            }
            first += S::LANES;
        }
    }
}
