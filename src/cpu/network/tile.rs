//! The register tile: the one loop in which the forward pass spends its time.
//!
//! A convolution is the matrix product `out[rows][columns] = windows[rows][depth] * weights[depth][columns]`, where a row is an output
//! pixel, a column an output channel, and the depth runs over the window's taps and the input channels. One call of the tile makes
//! `ROWS x (VECTORS * LANES)` values of the product, all of which stay in registers while it walks the depth:
//!
//! ```text
//! sums[r][v] = bias[v]                      first block of the depth, else what the last block left in out
//! for k in 0..depth:
//!     w[v] = weights[k][v]                  VECTORS loads
//!     for r in 0..ROWS:
//!         x = broadcast windows[r][k]       one load
//!         sums[r][v] += x * w[v]            VECTORS fused multiply-adds
//! out[r][v] = relu(sums[r][v] + residual[r][v])
//! ```
//!
//! With AVX-512 a tile is 14 x 32: 28 registers of sums, 2 of weights, 1 broadcast, of 32. It issues 16 loads for 28
//! multiply-adds, so that the two multiply-add units and not the load ports are the limit; 14 also divides the 196, 784 and 3136 pixels of
//! the networks' stages. With AVX2 it is 6 x 16: 12 + 2 + 1 of 16 registers.
//!
//! Each value is one chain of multiply-adds, bias first, then depth ascending, wherever its tile lies and however the depth is cut into
//! blocks. So logits do not depend, bit for bit, on the number of threads or on the other images of the batch.

#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{InstructionSet, Portable, Simd};

/// Values of the depth that are packed at once, and the distance between packed rows. 256 of them, for the 32 columns and 14 rows of
/// an AVX-512 tile, fill the 48 KiB of a first-level cache: 32 KiB weights, 14 KiB windows.
pub(super) const DEPTH_BLOCK: usize = 256;

/// The sizes of an instruction set's tile, and its code.
#[derive(Clone, Copy)]
pub(super) struct TileKernel {
    /// Most rows of a tile.
    pub rows: usize,
    /// Columns of a tile and of a panel of weights.
    pub columns: usize,
    run: unsafe fn(&Tile),
}

/// What one call computes.
pub(super) struct Tile<'a> {
    /// Packed windows: row `r` at `r * DEPTH_BLOCK`, of which the first `depth` values are read.
    pub windows: *const f32,
    /// A panel of weights: `[depth][TileKernel::columns]`.
    pub weights: *const f32,
    /// Values to sum over.
    pub depth: usize,
    /// Columns of the panel that exist in the output; the others are padding.
    pub columns: usize,
    /// `Some` in the first block of the depth: `[TileKernel::columns]`, where the sums begin.
    pub bias: Option<*const f32>,
    /// Where column 0 of row `r` is written: `output + output_offsets[r]`. As many rows as offsets.
    pub output: *mut f32,
    /// Offset of each row, in values.
    pub output_offsets: &'a [usize],
    /// `Some` in the last block of the depth.
    pub epilogue: Option<Epilogue>,
}

/// What follows the last multiply-add.
#[derive(Clone, Copy)]
pub(super) struct Epilogue {
    /// Column 0 of the first row of what is added, and the distance from row to row in values.
    pub residual: Option<(*const f32, usize)>,
    /// Whether negative sums become zero.
    pub relu: bool,
}

impl TileKernel {
    /// The tile of an instruction set; the portable one where this CPU or this build lacks it.
    pub fn new(set: InstructionSet) -> Self {
        match set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 if set.is_supported() => Self { rows: 14, columns: 32, run: run_avx512 },
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 if set.is_supported() => Self { rows: 6, columns: 16, run: run_avx2 },
            _ => Self { rows: 4, columns: 8, run: run_portable },
        }
    }

    /// Computes one tile.
    ///
    /// # Safety
    /// `tile.windows` must be valid for `(rows - 1) * DEPTH_BLOCK + depth` values, where `1 <= rows <= self.rows` is the number of
    /// offsets; `weights` for `depth * self.columns`; `bias` for `self.columns`; `output` for `columns` values at each offset, and
    /// no other thread may touch those; the residual for `columns` values in each row.
    #[inline]
    pub unsafe fn run(&self, tile: &Tile) {
        // SAFETY: `new` found the instruction set supported; the rest by contract.
        unsafe { (self.run)(tile) }
    }
}

/// Defines the function that picks the tile of `tile.output_offsets.len()` rows, compiled for an instruction set.
macro_rules! tile_of_rows {
    ($(#[$attribute:meta])* $name:ident: $simd:ty, $($rows:literal)*) => {
        $(#[$attribute])*
        unsafe fn $name(tile: &Tile) {
            // SAFETY: compiled for the instruction set of `$simd`; the rest by contract of `TileKernel::run`.
            unsafe {
                match (tile.output_offsets.len(), tile.columns <= <$simd>::LANES) {
                    $(
                        ($rows, false) => compute::<$simd, $rows, 2>(tile),
                        ($rows, true) => compute::<$simd, $rows, 1>(tile),
                    )*
                    (rows, _) => debug_assert!(rows == 0, "a tile of {rows} rows"),
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
tile_of_rows!(#[target_feature(enable = "avx512f")] run_avx512: Avx512, 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
#[cfg(target_arch = "x86_64")]
tile_of_rows!(#[target_feature(enable = "avx2,fma")] run_avx2: Avx2, 1 2 3 4 5 6);
tile_of_rows!(run_portable: Portable, 1 2 3 4);

/// The tile itself, as the head of this file draws it. A panel is always two vectors wide; `VECTORS` of them hold columns that exist.
///
/// # Safety
/// As [`TileKernel::run`], from code compiled for `S`.
#[inline(always)]
unsafe fn compute<S: Simd, const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    // SAFETY: the pointers stay within what the contract promises: rows below ROWS, columns below `tile.columns` of the output and the
    // residual, and vectors below VECTORS of the panel, which is padded to whole vectors.
    unsafe {
        // Loops, not closures: a closure is not compiled for the instruction set of the function around it.
        let mut sums = [[S::zero(); VECTORS]; ROWS];
        for (sums, &offset) in sums.iter_mut().zip(tile.output_offsets) {
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = match tile.bias {
                    Some(bias) => S::load(bias.add(v * S::LANES)),
                    None => S::load_first(tile.output.add(offset + v * S::LANES), tile.columns - v * S::LANES),
                };
            }
        }

        let sums = accumulate::<S, ROWS, VECTORS>(tile, sums);

        for (r, (sums, &offset)) in sums.iter().zip(tile.output_offsets).enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                let lanes = tile.columns - v * S::LANES;
                let mut y = sum;
                if let Some(epilogue) = tile.epilogue {
                    if let Some((residual, pitch)) = epilogue.residual {
                        y = S::add(y, S::load_first(residual.add(r * pitch + v * S::LANES), lanes));
                    }
                    if epilogue.relu {
                        y = S::relu(y);
                    }
                }
                S::store_first(tile.output.add(offset + v * S::LANES), y, lanes);
            }
        }
    }
}

/// The loop over the depth. The sums come and go by value, so that the compiler keeps them in registers in between, although the
/// loops before and after it index them.
///
/// # Safety
/// As [`TileKernel::run`], from code compiled for `S`.
#[inline(always)]
unsafe fn accumulate<S: Simd, const ROWS: usize, const VECTORS: usize>(
    tile: &Tile,
    mut sums: [[S::Vector; VECTORS]; ROWS],
) -> [[S::Vector; VECTORS]; ROWS] {
    for k in 0..tile.depth {
        // SAFETY: `k` is below the depth that windows and weights are valid for; the rest as in `compute`.
        unsafe {
            let mut weights = [S::zero(); VECTORS];
            for (v, weights) in weights.iter_mut().enumerate() {
                *weights = S::load(tile.weights.add((2 * k + v) * S::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = S::broadcast(tile.windows.add(r * DEPTH_BLOCK + k));
                for (sum, &weights) in sums.iter_mut().zip(&weights) {
                    *sum = S::mul_add(x, weights, *sum);
                }
            }
        }
    }
    sums
}
