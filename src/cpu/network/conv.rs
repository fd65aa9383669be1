//! Convolution as one tall matrix product: a row per output pixel of the batch, a column per output channel.
//!
//! The work is cut into tasks of some rows and some panels of columns. A task walks the depth in blocks that fit the caches:
//!
//! ```text
//! for each block of the depth:
//!     pack the task's rows of windows              (second-level cache)
//!     for each panel of the task:                  its weights stay in the first-level cache
//!         for each tile of rows:
//!             tile(windows, weights) -> output     bias in the first block; residual and ReLU in the last
//! ```
//!
//! Packing copies runs of the NHWC input: in one row of the window, the taps and channels lie next to each other. So no
//! convolution needs an unfolded copy of its input, whatever its kernel, stride and padding. Weights of the next panel are fetched from
//! memory meanwhile. 3 x 3 convolutions of stride 1 may go another way: `winograd.rs`.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::tile::{Epilogue, MAX_DEPTH_BLOCK, Tile, TileKernel};
use super::winograd;
use crate::network::{Activation, ValueShape};

/// Most rows of a task: 14 tiles of AVX-512. With a block of the depth they take 196 KiB packed.
const MAX_TASK_ROWS: usize = 196;

/// Multiply-adds below which a task is not worth a thread's attention (some 10 microseconds).
const MIN_TASK_MACS: usize = 1 << 19;

/// Tasks per thread to aim at, so that a thread that comes late or is interrupted does not hold up the others.
const TASKS_PER_THREAD: usize = 4;

/// What packing a value costs, in weights read: it is read, and written.
const PACKING: usize = 2;

/// Values in one cache line.
const LINE_VALUES: usize = 16;

/// A cache line of values: what makes a `Vec` of them aligned.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct CacheLine([f32; LINE_VALUES]);

impl CacheLine {
    /// What a buffer begins with.
    pub const ZERO: Self = Self([0.0; LINE_VALUES]);

    /// As many, in huge pages where the system has them: weights are some hundred megabytes, read once per batch, and in pages of 4 KiB
    /// looking up where they are takes its time.
    pub fn zeros(num_lines: usize) -> Vec<Self> {
        let mut lines = Vec::with_capacity(num_lines);
        Self::advise_huge_pages(&lines);
        lines.resize(num_lines, Self::ZERO);
        lines
    }

    /// Asks for huge pages behind memory that has not been touched yet.
    pub fn advise_huge_pages(lines: &Vec<Self>) {
        #[cfg(target_os = "linux")]
        {
            unsafe extern "C" {
                fn madvise(address: *mut std::ffi::c_void, len: usize, advice: std::ffi::c_int) -> std::ffi::c_int;
            }
            const MADV_HUGEPAGE: std::ffi::c_int = 14;
            const HUGE_PAGE_BYTES: usize = 2 << 20;
            let begin = lines.as_ptr().cast::<u8>();
            let skipped = begin.align_offset(HUGE_PAGE_BYTES);
            let len =
                (lines.capacity() * size_of::<Self>()).saturating_sub(skipped) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
            if len > 0 {
                // SAFETY: whole pages within the vector's own memory, whose contents this advice leaves alone. That it may be refused is why the
                // result is ignored.
                unsafe { madvise(begin.wrapping_add(skipped).cast_mut().cast(), len, MADV_HUGEPAGE) };
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = lines;
    }

    /// Lines that hold `len` values.
    pub fn count(len: usize) -> usize {
        len.div_ceil(LINE_VALUES)
    }
}

/// Which part of its input a row of the matrix product sees.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// The value read.
    pub input: ValueShape,
    /// First channel read.
    pub channel_offset: usize,
    /// How many channels are read. Fewer than all of the input's only if the kernel is one tap wide.
    pub channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: (usize, usize),
    /// Step of the window, both ways.
    pub stride: usize,
    /// Rows of zeros above the input.
    pub pad_top: usize,
    /// Columns of zeros left of the input.
    pub pad_left: usize,
    /// Rows and columns of windows.
    pub positions: (usize, usize),
}

impl Window {
    /// Length of a row of the matrix product.
    pub fn depth(&self) -> usize {
        self.kernel.0 * self.kernel.1 * self.channels
    }

    /// Packs the block `depth` of the windows `rows` for the tiles of `kernel`.
    fn pack(&self, kernel: &TileKernel, input: &[f32], rows: Range<usize>, depth: Range<usize>, packed: &mut [f32]) {
        let mut aside = [0.0; MAX_DEPTH_BLOCK];
        let tiles = kernel.row_tiles(rows.len()).zip(packed.chunks_exact_mut(kernel.tile_len));
        for (tile_rows, packed) in tiles {
            for (row, row_idx) in (rows.start + tile_rows.start..rows.start + tile_rows.end).enumerate() {
                let (y, x) = (row_idx / self.positions.1, row_idx % self.positions.1);
                let (image_idx, y) = (y / self.positions.0, y % self.positions.0);
                kernel.pack_window(packed, (row, tile_rows.len()), depth.len(), &mut aside, |window| {
                    self.gather(input, image_idx, (y * self.stride, x * self.stride), depth.clone(), window);
                });
            }
        }
    }

    /// Copies the block `depth` of the window whose first tap is at `(top, left)` of the padded image.
    fn gather(
        &self,
        input: &[f32],
        image_idx: usize,
        (top, left): (usize, usize),
        depth: Range<usize>,
        packed: &mut [f32],
    ) {
        let ValueShape { height, width, channels: pitch } = self.input;
        // The taps of one row of the window: `run` values next to each other, of which those in `inside` are not padding.
        let run = self.kernel.1 * self.channels;
        let inside = self.pad_left.saturating_sub(left) * self.channels
            ..(width + self.pad_left).saturating_sub(left).min(self.kernel.1) * self.channels;
        for ky in depth.start / run..depth.end.div_ceil(run) {
            let begin = depth.start.max(ky * run);
            let end = depth.end.min((ky + 1) * run);
            let packed = &mut packed[begin - depth.start..end - depth.start];
            let (begin, end) = (begin - ky * run, end - ky * run);

            let y = (top + ky).wrapping_sub(self.pad_top);
            let copy_begin = begin.max(inside.start);
            let copy_end = end.min(inside.end);
            if y >= height || copy_begin >= copy_end {
                packed.fill(0.0);
                continue;
            }
            let line = (image_idx * height + y) * width * pitch;
            // The column `left - pad_left` may be negative, the first value copied is not.
            let source = line + left * pitch + self.channel_offset + copy_begin - self.pad_left * pitch;
            packed[..copy_begin - begin].fill(0.0);
            packed[copy_begin - begin..copy_end - begin].copy_from_slice(&input[source..][..copy_end - copy_begin]);
            packed[copy_end - begin..].fill(0.0);
        }
    }
}

/// Where the rows of the product go.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    /// The value written.
    pub output: ValueShape,
    /// First channel written.
    pub channel_offset: usize,
    /// Distance between the pixels that neighbouring windows write, both ways: 1, or 2 for a deconvolution.
    pub step: usize,
    /// The pixel that the first window writes.
    pub origin: (usize, usize),
}

impl Destination {
    /// Offset in the output, in values, of the row of the window at `(y, x)`.
    pub(super) fn offset(&self, image_idx: usize, y: usize, x: usize) -> usize {
        let line = image_idx * self.output.height + y * self.step + self.origin.0;
        (line * self.output.width + x * self.step + self.origin.1) * self.output.channels + self.channel_offset
    }
}

/// A convolution ready to run.
pub(super) struct Conv {
    pub(super) window: Window,
    pub(super) destination: Destination,
    pub(super) kernel: TileKernel,
    pub(super) columns: usize,
    /// `Some` if it is computed in Winograd's way.
    winograd: Option<winograd::Layout>,
    /// `[panels][depth][kernel.columns]`, zero beyond `columns`, the depth padded to whole chunks; in the form that the kernel reads.
    /// For Winograd's way, the depth runs over points and channels.
    pub(super) weights: Vec<CacheLine>,
    /// `[panels][kernel.columns]`, zero beyond `columns`.
    pub(super) bias: Vec<CacheLine>,
    pub(super) relu: bool,
}

impl Conv {
    /// Packs `weights`, `[depth][bias.len()]`, into panels.
    pub fn new(
        window: Window,
        destination: Destination,
        weights: &[f32],
        bias: &[f32],
        activation: Activation,
        kernel: TileKernel,
    ) -> Self {
        let columns = bias.len();
        let winograd = winograd::layout(&window, columns, &kernel);
        let transformed = winograd.map(|_| winograd::transform_filters(weights));
        let weights = transformed.as_deref().unwrap_or(weights);
        let depth = if winograd.is_some() { winograd::POINTS * window.channels } else { window.depth() };
        let panel_len = depth.next_multiple_of(kernel.chunk) * kernel.columns;
        let num_panels = columns.div_ceil(kernel.columns);
        let mut packed_weights = CacheLine::zeros(CacheLine::count(num_panels * panel_len));
        let mut packed_bias = vec![CacheLine::ZERO; CacheLine::count(num_panels * kernel.columns)];
        bytemuck::cast_slice_mut(&mut packed_bias)[..columns].copy_from_slice(bias);
        let panels = bytemuck::cast_slice_mut::<_, f32>(&mut packed_weights).chunks_exact_mut(panel_len);
        for (panel_idx, panel) in panels.enumerate().take(num_panels) {
            let first = panel_idx * kernel.columns;
            let len = kernel.columns.min(columns - first);
            for (packed, row) in panel.chunks_exact_mut(kernel.columns).zip(weights.chunks_exact(columns)) {
                packed[..len].copy_from_slice(&row[first..first + len]);
            }
            kernel.pack_weights(panel);
        }
        let relu = activation == Activation::Relu;
        Self { window, destination, kernel, columns, winograd, weights: packed_weights, bias: packed_bias, relu }
    }

    /// Convolves a batch. `input` and `output` are whole values; `residual` has the pixels of the windows and this convolution's channels.
    pub fn run(&self, batch: usize, input: &[f32], residual: Option<&[f32]>, output: &mut [f32]) {
        let num_rows = batch * self.window.positions.0 * self.window.positions.1;
        let destination = self.destination.output;
        assert!(input.len() >= batch * self.window.input.height * self.window.input.width * self.window.input.channels);
        assert!(output.len() >= batch * destination.height * destination.width * destination.channels);
        assert!(residual.is_none_or(|residual| residual.len() >= num_rows * self.columns));

        let operands = Operands { input, residual, output: SharedOutput(output.as_mut_ptr()) };
        // Rows of the product are the tiles of Winograd's way, else the windows.
        let (num_rows, max_rows, depth) = match self.winograd {
            Some(layout) => {
                let (rows, columns) = self.tiles();
                (batch * rows * columns, layout.max_tiles(), winograd::POINTS * self.window.channels)
            }
            None => (num_rows, MAX_TASK_ROWS, self.window.depth()),
        };
        let (row_groups, panel_groups) = self.groups(num_rows, max_rows, depth, rayon::current_num_threads());
        let num_panels = self.columns.div_ceil(self.kernel.columns);
        let task = |task_idx: usize| {
            let rows = share(num_rows, row_groups, task_idx / panel_groups);
            let panels = share(num_panels, panel_groups, task_idx % panel_groups);
            PACKED.with_borrow_mut(|packed| {
                let (packed, products) = self.reserve(packed);
                match self.winograd {
                    Some(layout) => self.run_winograd_task(layout, &operands, rows, panels, packed, products),
                    None => self.run_task(&operands, rows, panels, packed),
                }
            });
        };
        if row_groups * panel_groups == 1 {
            task(0);
        } else {
            (0..row_groups * panel_groups).into_par_iter().with_max_len(1).for_each(task);
        }
    }

    /// Into how many groups of rows and of panels the work is cut. Of the ways to have enough tasks, the one that moves least: each group of
    /// rows reads all weights, each group of panels packs all windows.
    fn groups(&self, num_rows: usize, max_rows: usize, depth: usize, num_threads: usize) -> (usize, usize) {
        let num_panels = self.columns.div_ceil(self.kernel.columns);
        let num_columns = num_panels * self.kernel.columns;
        let macs = num_rows * depth * num_columns;
        let aim = if num_threads == 1 { 1 } else { num_threads * TASKS_PER_THREAD };
        let tasks = aim.min(macs / MIN_TASK_MACS).max(1);
        let min_row_groups = num_rows.div_ceil(max_rows).max(1);
        let max_row_groups = num_rows.div_ceil(self.kernel.rows).min(tasks).max(min_row_groups);
        let panel_groups = |row_groups: usize| tasks.div_ceil(row_groups).min(num_panels).max(1);
        let moved = |row_groups: &usize| row_groups * num_columns + panel_groups(*row_groups) * PACKING * num_rows;
        let row_groups = (min_row_groups..=max_row_groups).min_by_key(moved).unwrap_or(min_row_groups);
        (row_groups, panel_groups(row_groups))
    }

    /// Room for packed windows or transformed tiles, and for the products of the latter: as much for any convolution of any network, so that
    /// a thread takes memory once.
    fn reserve<'a>(&self, scratch: &'a mut Vec<CacheLine>) -> (&'a mut [f32], &'a mut [f32]) {
        let packed_len = (MAX_TASK_ROWS.div_ceil(self.kernel.rows) * self.kernel.tile_len).max(winograd::MAX_VALUES);
        let products_len = winograd::POINTS * winograd::MAX_TILES * self.kernel.columns;
        let num_lines = CacheLine::count(packed_len + products_len);
        if scratch.len() < num_lines {
            *scratch = CacheLine::zeros(num_lines);
        }
        bytemuck::cast_slice_mut(scratch).split_at_mut(packed_len)
    }

    fn run_task(&self, operands: &Operands, rows: Range<usize>, panels: Range<usize>, packed: &mut [f32]) {
        let num_tiles = rows.len().div_ceil(self.kernel.rows).max(1);
        let _prepared = self.kernel.prepare(rows.len().div_ceil(num_tiles));
        let mut offsets = [0; MAX_TASK_ROWS];
        let offsets = &mut offsets[..rows.len()];
        for (offset, row_idx) in offsets.iter_mut().zip(rows.clone()) {
            let (y, x) = (row_idx / self.window.positions.1, row_idx % self.window.positions.1);
            *offset = self.destination.offset(y / self.window.positions.0, y % self.window.positions.0, x);
        }

        let num_depth = self.window.depth();
        let num_blocks = num_depth.div_ceil(self.kernel.depth_block).max(1);
        let depth_block = num_depth.div_ceil(num_blocks).max(1).next_multiple_of(self.kernel.chunk);
        for depth_begin in (0..num_depth).step_by(depth_block) {
            let depth = depth_begin..num_depth.min(depth_begin + depth_block);
            self.window.pack(&self.kernel, operands.input, rows.clone(), depth.clone(), packed);
            for panel_idx in panels.clone() {
                let weights = self.panel(panel_idx, &depth);
                let next = if panel_idx + 1 < panels.end {
                    self.panel(panel_idx + 1, &depth)
                } else {
                    let next_depth = depth.end..num_depth.min(depth.end + depth_block);
                    if next_depth.is_empty() { weights } else { self.panel(panels.start, &next_depth) }
                };
                let packed_rows = PackedRows { first: rows.start, offsets, packed };
                self.run_panel(operands, &packed_rows, panel_idx, depth.clone(), [weights, next]);
            }
        }
    }

    /// The weights of a panel in a block of the depth.
    fn panel(&self, panel_idx: usize, depth: &Range<usize>) -> &[f32] {
        let width = self.kernel.columns;
        let panel_len = self.window.depth().next_multiple_of(self.kernel.chunk) * width;
        let begin = panel_idx * panel_len + depth.start * width;
        &bytemuck::cast_slice(&self.weights)[begin..][..depth.len().next_multiple_of(self.kernel.chunk) * width]
    }

    /// All tiles of one panel of columns and one block of the depth, whose weights are the first; those that come next are fetched ahead.
    fn run_panel(
        &self,
        operands: &Operands,
        rows: &PackedRows,
        panel_idx: usize,
        depth: Range<usize>,
        [weights, next]: [&[f32]; 2],
    ) {
        let first_column = panel_idx * self.kernel.columns;
        let columns = self.kernel.columns.min(self.columns - first_column);
        let bias = &bytemuck::cast_slice::<_, f32>(&self.bias)[first_column..][..self.kernel.columns];
        let last = depth.end == self.window.depth();

        let tiles = self.kernel.row_tiles(rows.offsets.len()).zip(rows.packed.chunks_exact(self.kernel.tile_len));
        for (tile_idx, (tile_rows, packed)) in tiles.enumerate() {
            let residual = operands.residual.map(|residual| {
                let begin = (rows.first + tile_rows.start) * self.columns + first_column;
                (residual[begin..][..(tile_rows.len() - 1) * self.columns + columns].as_ptr(), self.columns)
            });
            let tile = Tile {
                windows: packed.as_ptr(),
                weights: weights.as_ptr(),
                prefetch: self.kernel.prefetch(next, tile_idx),
                depth: depth.len().next_multiple_of(self.kernel.chunk),
                columns,
                bias: (depth.start == 0).then_some(bias.as_ptr()),
                output: operands.output.column(first_column),
                output_offsets: &rows.offsets[tile_rows],
                epilogue: last.then_some(Epilogue { residual, relu: self.relu }),
            };
            // SAFETY: the slices above have the lengths that the tile reads, and `run_task` has prepared this thread. `Conv::run` has checked
            // that the output holds every window's pixel, and `offset` puts `self.columns` channels of this convolution within each; no two
            // tasks share a row and a panel.
            unsafe { self.kernel.run(&tile) }
        }
    }
}

thread_local! {
    /// A thread's packed windows.
    static PACKED: RefCell<Vec<CacheLine>> = const { RefCell::new(Vec::new()) };
}

/// The rows of a task, packed for a block of the depth.
struct PackedRows<'a> {
    /// Index of the first one.
    first: usize,
    /// Where each is written.
    offsets: &'a [usize],
    packed: &'a [f32],
}

/// What all tasks of a convolution read and write.
pub(super) struct Operands<'a> {
    pub(super) input: &'a [f32],
    pub(super) residual: Option<&'a [f32]>,
    pub(super) output: SharedOutput,
}

/// The output, of which every task writes rows and columns of its own.
pub(super) struct SharedOutput(*mut f32);

// SAFETY: it outlives the tasks (`Conv::run` holds the only borrow of it and waits for them), and they write disjoint parts.
unsafe impl Sync for SharedOutput {}

impl SharedOutput {
    /// Column `column_idx` of the first row.
    pub(super) fn column(&self, column_idx: usize) -> *mut f32 {
        self.0.wrapping_add(column_idx)
    }
}

/// The part `idx` of `0..len` cut into `num_parts` parts that differ by one at most.
pub(super) fn share(len: usize, num_parts: usize, idx: usize) -> Range<usize> {
    len * idx / num_parts..len * (idx + 1) / num_parts
}
