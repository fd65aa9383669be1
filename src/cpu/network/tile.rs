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
//! With AMX it is 32 x 32, and a block of the depth is summed in tile registers first: see `amx.rs`.
//!
//! Each value is one chain of multiply-adds, bias first, then depth ascending, wherever its tile lies (with AMX a chain of blocks, which the
//! layer's shape alone determines). So logits do not depend, bit for bit, on the number of threads or on the other images of the batch.

use std::ops::Range;

use super::amx;
use super::conv::share;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{InstructionSet, Portable, Simd};
use super::winograd::Transforms;

/// Values of the depth that are packed at once. 256 of them, for the 32 columns and 14 rows of an AVX-512 tile, fill the 48 KiB of a
/// first-level cache: 32 KiB weights, 14 KiB windows.
pub(super) const DEPTH_BLOCK: usize = 256;

/// Distance between packed rows. Not a power of two, or all rows of a tile would fall into the same few sets of the cache.
pub(super) const PITCH: usize = DEPTH_BLOCK + 16;

/// As [`DEPTH_BLOCK`], for AMX: more, since the products of each block pass through memory.
const AMX_DEPTH_BLOCK: usize = 512;

/// The most values of the depth that any tile packs at once.
pub(super) const MAX_DEPTH_BLOCK: usize = AMX_DEPTH_BLOCK;

/// The sizes of an instruction set's tile, and its code.
#[derive(Clone, Copy)]
pub(super) struct TileKernel {
    /// Most rows of a tile.
    pub rows: usize,
    /// Columns of a tile and of a panel of weights.
    pub columns: usize,
    /// Most values of the depth that are packed at once; whole chunks.
    pub depth_block: usize,
    /// The depth of what is packed is padded with zeros to a multiple of this.
    pub chunk: usize,
    /// Values that the packed windows of a tile take.
    pub tile_len: usize,
    /// How many tiles it takes to fetch the next panel of weights ahead.
    prefetch_parts: usize,
    /// For Winograd's way; `None` where the direct one is faster.
    pub transforms: Option<Transforms>,
    run: unsafe fn(&Tile),
    /// Whether weights and windows are split into pairs of bf16.
    split: bool,
}

/// What one call computes.
pub(super) struct Tile<'a> {
    /// Packed windows. Floats: row `r` at `r * PITCH`, of which the first `depth` values are read.
    pub windows: *const f32,
    /// A panel of weights: `[depth][TileKernel::columns]`.
    pub weights: *const f32,
    /// A part of the weights that the task needs next, to be fetched ahead: see [`TileKernel::prefetch`].
    pub prefetch: *const f32,
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

/// What a thread needs while it runs tiles: for AMX the configuration of its tile registers, else nothing.
pub(super) struct Prepared {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    _tiles: Option<amx::Configured>,
}

impl TileKernel {
    /// The tile of an instruction set; the portable one where this CPU or this build lacks it.
    pub fn new(set: InstructionSet) -> Self {
        let of_floats = |rows, columns, prefetch_parts, run| Self {
            rows,
            columns,
            depth_block: DEPTH_BLOCK,
            chunk: 1,
            tile_len: rows * PITCH,
            prefetch_parts,
            transforms: Some(Transforms::new(set)),
            run,
            split: false,
        };
        match set {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            InstructionSet::Amx if set.is_supported() => Self {
                rows: 2 * amx::HALF_ROWS,
                columns: amx::COLUMNS,
                depth_block: AMX_DEPTH_BLOCK,
                chunk: amx::CHUNK,
                tile_len: 2 * amx::HALF_ROWS * AMX_DEPTH_BLOCK,
                prefetch_parts: 4,
                transforms: None,
                run: run_amx,
                split: true,
            },
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 if set.is_supported() => of_floats(14, 32, 2, run_avx512),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 if set.is_supported() => of_floats(6, 16, 1, run_avx2),
            _ => of_floats(4, 8, 1, run_portable),
        }
    }

    /// Brings a panel of weights, `[depth][columns]` with a depth of whole chunks, into the form that tiles read.
    pub fn pack_weights(&self, panel: &mut [f32]) {
        if self.split {
            amx::split_weights(panel);
        }
    }

    /// Packs row `row` of the `num_rows` of a tile, as long as `depth` says. `gather` writes the window: to its place, or to `aside` and from there
    /// split to its place.
    pub fn pack_window(
        &self,
        tile: &mut [f32],
        (row, num_rows): (usize, usize),
        depth: usize,
        aside: &mut [f32; MAX_DEPTH_BLOCK],
        gather: impl FnOnce(&mut [f32]),
    ) {
        if !self.split {
            return gather(&mut tile[row * PITCH..][..depth]);
        }
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            let window = &mut aside[..depth.next_multiple_of(self.chunk)];
            gather(&mut window[..depth]);
            window[depth..].fill(0.0);
            let upper_rows = num_rows.div_ceil(2);
            let begin = match row.checked_sub(upper_rows) {
                None => row * (amx::CHUNK / 2),
                Some(row) => self.tile_len / 2 + row * (amx::CHUNK / 2),
            };
            // SAFETY: `new` found AMX available.
            unsafe { amx::split_window(window, &mut tile[begin..]) }
        }
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let _ = (num_rows, aside);
    }

    /// What a panel's tile `tile_idx` should fetch ahead of `next`, the weights that come after this panel's: together they fetch all.
    pub fn prefetch(&self, next: &[f32], tile_idx: usize) -> *const f32 {
        next.as_ptr().wrapping_add(tile_idx % self.prefetch_parts * (next.len() / self.prefetch_parts))
    }

    /// `0..num_rows` cut into tiles.
    pub fn row_tiles(&self, num_rows: usize) -> impl Iterator<Item = Range<usize>> {
        let num_tiles = num_rows.div_ceil(self.rows);
        (0..num_tiles).map(move |tile_idx| share(num_rows, num_tiles, tile_idx))
    }

    /// Prepares this thread for tiles of at most `rows` rows.
    pub fn prepare(&self, rows: usize) -> Prepared {
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let _ = rows;
        Prepared {
            // SAFETY: `new` found AMX available.
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            _tiles: self.split.then(|| unsafe { amx::Configured::new(rows.div_ceil(2)) }),
        }
    }

    /// Computes one tile.
    ///
    /// # Safety
    /// `tile.windows` must be valid for `tile_len` values for AMX, else for as many rows as there are offsets (`1 <= offsets <= self.rows`);
    /// `weights` for `depth * self.columns`; `bias` for `self.columns`; `output` for `columns` values at each offset, and no other thread may
    /// touch those; the residual for `columns` values in each row. `depth` must be whole chunks. A [`Prepared`] for as many rows or more must
    /// live on this thread.
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
    // SAFETY: as the contract promises: there are ROWS offsets, and VECTORS vectors of the panel hold columns.
    unsafe {
        // Loops, not closures: a closure is not compiled for the instruction set of the function around it.
        let mut sums = [[S::zero(); VECTORS]; ROWS];
        for (sums, &offset) in sums.iter_mut().zip(tile.output_offsets) {
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = begin::<S>(tile, offset, v);
            }
        }

        let sums = accumulate::<S, ROWS, VECTORS>(tile, sums);

        for (r, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                finish::<S>(tile, r, v, sum);
            }
        }
    }
}

/// Where the sums of vector `v` of a row begin: the bias, or what the last block of the depth left.
///
/// # Safety
/// As [`TileKernel::run`], from code compiled for `S`, for a vector that holds columns.
#[inline(always)]
unsafe fn begin<S: Simd>(tile: &Tile, offset: usize, v: usize) -> S::Vector {
    // SAFETY: a panel's bias is padded to whole vectors, and the output is touched in columns below `tile.columns` only.
    unsafe {
        match tile.bias {
            Some(bias) => S::load(bias.add(v * S::LANES)),
            None => S::load_first(tile.output.add(offset + v * S::LANES), tile.columns - v * S::LANES),
        }
    }
}

/// Writes vector `v` of row `r`, after the epilogue if this is the last block of the depth.
///
/// # Safety
/// As [`TileKernel::run`], from code compiled for `S`, for a row that exists and a vector that holds columns.
#[inline(always)]
unsafe fn finish<S: Simd>(tile: &Tile, r: usize, v: usize, mut sum: S::Vector) {
    let lanes = tile.columns - v * S::LANES;
    // SAFETY: output and residual are touched in columns below `tile.columns` only.
    unsafe {
        if let Some(epilogue) = tile.epilogue {
            if let Some((residual, pitch)) = epilogue.residual {
                sum = S::add(sum, S::load_first(residual.add(r * pitch + v * S::LANES), lanes));
            }
            if epilogue.relu {
                sum = S::relu(sum);
            }
        }
        S::store_first(tile.output.add(tile.output_offsets[r] + v * S::LANES), sum, lanes);
    }
}

/// The tile with AMX. The products pass through memory (the first-level cache): tiles cannot be moved to vector registers.
///
/// # Safety
/// As [`TileKernel::run`].
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[target_feature(enable = "avx512f")]
unsafe fn run_amx(tile: &Tile) {
    #[repr(C, align(64))]
    struct Sums([f32; 2 * amx::HALF_ROWS * amx::COLUMNS]);
    let mut sums = std::mem::MaybeUninit::<Sums>::uninit();
    let sums = sums.as_mut_ptr().cast::<f32>();
    let (rows, chunks) = (tile.output_offsets.len(), tile.depth / amx::CHUNK);
    // SAFETY: halves of `tile_len` have room for all rows of a tile register; so have 32 rows of sums, and those that are read have been
    // written.
    unsafe {
        let lower = amx::HALF_ROWS * AMX_DEPTH_BLOCK;
        amx::multiply(tile.windows, lower, rows.div_ceil(2), tile.weights, chunks, tile.prefetch, sums);
        for (r, &offset) in tile.output_offsets.iter().enumerate() {
            for v in 0..tile.columns.div_ceil(Avx512::LANES) {
                let sum = Avx512::load(sums.add(r * amx::COLUMNS + v * Avx512::LANES));
                finish::<Avx512>(tile, r, v, Avx512::add(sum, begin::<Avx512>(tile, offset, v)));
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
            S::prefetch(tile.prefetch.wrapping_add(16 * k));
            let mut weights = [S::zero(); VECTORS];
            for (v, weights) in weights.iter_mut().enumerate() {
                *weights = S::load(tile.weights.add((2 * k + v) * S::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = S::broadcast(tile.windows.add(r * PITCH + k));
                for (sum, &weights) in sums.iter_mut().zip(&weights) {
                    *sum = S::mul_add(x, weights, *sum);
                }
            }
        }
    }
    sums
}
