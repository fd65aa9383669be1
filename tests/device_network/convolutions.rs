//! The convolution kernels against sums written down here. All factors are small whole numbers, so that every sum is exact in f16 and the
//! results are equal, not only close.

use dctflow::abi::{ConvolveOutput, ConvolveParams};
use dctflow::device::emulator::Schedule;
use dctflow::device::{ConvolveTile, DeviceBuffer, KernelOps, Ops, Stream};
use half::f16;

/// One convolution. Sizes are (down, across).
#[derive(Clone, Copy, Debug)]
struct Case {
    images: usize,
    input: (usize, usize),
    /// Channels of the input's pixels, the first that is read, and how many are.
    input_channels: (usize, usize, usize),
    kernel: (usize, usize),
    stride: (usize, usize),
    pad: (usize, usize),
    windows: (usize, usize),
    /// Columns of each output; the second may have none.
    columns: [usize; 2],
    upsampling: usize,
    has_residual: bool,
    has_relu: [bool; 2],
    is_float: bool,
}

const PLAIN: Case = Case {
    images: 2,
    input: (5, 7),
    input_channels: (16, 0, 16),
    kernel: (1, 1),
    stride: (1, 1),
    pad: (0, 0),
    windows: (5, 7),
    columns: [24, 0],
    upsampling: 1,
    has_residual: false,
    has_relu: [false; 2],
    is_float: false,
};

const CASES: [Case; 9] = [
    PLAIN,
    Case { has_residual: true, has_relu: [true; 2], ..PLAIN },
    Case { kernel: (3, 3), pad: (1, 1), has_residual: true, ..PLAIN },
    // TensorFlow's "same" for an even kernel: zeros below and on the right only.
    Case { kernel: (2, 2), input_channels: (8, 0, 8), ..PLAIN },
    Case { kernel: (2, 2), stride: (2, 2), input: (6, 8), windows: (3, 4), ..PLAIN },
    // RGB in pairs of pixels.
    Case {
        kernel: (7, 4),
        stride: (2, 1),
        input: (16, 9),
        pad: (3, 2),
        input_channels: (8, 0, 8),
        windows: (8, 9),
        ..PLAIN
    },
    // A shortcut and a first convolution in one product, wider than a tile, with a depth that no step divides.
    Case {
        images: 3,
        columns: [136, 40],
        has_relu: [false, true],
        input_channels: (40, 0, 40),
        stride: (2, 2),
        windows: (3, 4),
        ..PLAIN
    },
    // A deconvolution of some channels.
    Case { upsampling: 2, input_channels: (48, 8, 24), columns: [8, 0], ..PLAIN },
    // A classifier.
    Case {
        images: 5,
        input: (1, 1),
        windows: (1, 1),
        input_channels: (72, 0, 72),
        columns: [77, 0],
        is_float: true,
        ..PLAIN
    },
];

/// Channels before and behind the slice that is written, which must stay as they are.
const MARGIN: usize = 8;
/// What they hold.
const UNTOUCHED: f32 = 77.0;

struct Factors {
    input: Vec<i32>,
    /// `[phases][columns][taps * channels]`.
    weights: Vec<i32>,
    bias: Vec<i32>,
    residual: Vec<i32>,
}

impl Case {
    fn num_columns(&self) -> usize {
        self.columns.iter().sum()
    }

    fn num_phases(&self) -> usize {
        self.upsampling * self.upsampling
    }

    fn taps_deep(&self) -> usize {
        self.kernel.0 * self.kernel.1 * self.input_channels.2
    }

    fn num_rows(&self) -> usize {
        self.images * self.windows.0 * self.windows.1
    }

    fn output_pixels(&self) -> usize {
        self.num_rows() * self.num_phases()
    }

    /// Whole numbers of at most two, the same for the same case.
    fn factors(&self) -> Factors {
        let mut state = 1u64;
        let mut draw = |len: usize| -> Vec<i32> {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) % 5) as i32 - 2
            };
            (0..len).map(|_| next()).collect()
        };
        Factors {
            input: draw(self.images * self.input.0 * self.input.1 * self.input_channels.0),
            weights: draw(self.num_phases() * self.num_columns() * self.taps_deep()),
            bias: draw(self.num_columns()),
            residual: draw(self.output_pixels() * self.columns[0]),
        }
    }

    /// The pixel that a window becomes.
    fn output_pixel(&self, row: usize, phase: usize) -> usize {
        let (line, x) = (row / self.windows.1, row % self.windows.1);
        let y = line * self.upsampling + phase / self.upsampling;
        y * self.windows.1 * self.upsampling + x * self.upsampling + phase % self.upsampling
    }

    fn product(&self, factors: &Factors, row: usize, phase: usize, column: usize) -> i32 {
        let (line, x) = (row / self.windows.1, row % self.windows.1);
        let (image, y) = (line / self.windows.0, line % self.windows.0);
        let (pitch, first, channels) = self.input_channels;
        let mut sum = 0;
        for tap in 0..self.kernel.0 * self.kernel.1 {
            let y = (y * self.stride.0 + tap / self.kernel.1).wrapping_sub(self.pad.0);
            let x = (x * self.stride.1 + tap % self.kernel.1).wrapping_sub(self.pad.1);
            if y >= self.input.0 || x >= self.input.1 {
                continue;
            }
            let pixel = (image * self.input.0 + y) * self.input.1 + x;
            let weights = (phase * self.num_columns() + column) * self.taps_deep() + tap * channels;
            for channel in 0..channels {
                sum += factors.input[pixel * pitch + first + channel] * factors.weights[weights + channel];
            }
        }
        sum
    }

    /// What output `output_idx` must hold, margins included.
    fn expected(&self, factors: &Factors, output_idx: usize) -> Vec<f32> {
        let pitch = self.pitch(output_idx);
        let mut values = vec![UNTOUCHED; self.output_pixels() * pitch];
        let first_column = if output_idx == 0 { 0 } else { self.columns[0] };
        for phase in 0..self.num_phases() {
            for row in 0..self.num_rows() {
                let pixel = self.output_pixel(row, phase);
                for column in 0..self.columns[output_idx] {
                    let mut value = self.product(factors, row, phase, first_column + column);
                    value += factors.bias[first_column + column];
                    if self.has_residual && output_idx == 0 {
                        value += factors.residual[pixel * self.columns[0] + column];
                    }
                    let value = if self.has_relu[output_idx] { value.max(0) } else { value };
                    values[pixel * pitch + MARGIN + column] = value as f32;
                }
            }
        }
        values
    }

    fn pitch(&self, output_idx: usize) -> usize {
        self.columns[output_idx].next_multiple_of(8) + 2 * MARGIN
    }
}

/// Device memory that holds `bytes`.
fn buffer_of(stream: &Stream, bytes: &[u8]) -> DeviceBuffer {
    let buffer = DeviceBuffer::new(stream.device(), bytes.len()).unwrap();
    // SAFETY: the bytes live until the stream has been waited for.
    unsafe { stream.upload(buffer.all(), bytes).unwrap() };
    stream.synchronize().unwrap();
    buffer
}

fn halves(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect()
}

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn run(case: &Case, tile: ConvolveTile, schedule: Schedule) {
    let device = crate::device(schedule);
    let stream = Stream::new(&device).unwrap();
    let factors = case.factors();
    let to_floats = |values: &[i32]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
    let depth = case.taps_deep().next_multiple_of(32);
    let rows = factors.weights.chunks(case.taps_deep());
    let weights = rows.flat_map(|row| to_floats(row).into_iter().chain(std::iter::repeat_n(0.0, depth - row.len())));
    let mut bias = to_floats(&factors.bias);
    bias.resize(bias.len().next_multiple_of(8), f32::NAN);

    let input = buffer_of(&stream, &halves(to_floats(&factors.input)));
    let weights = buffer_of(&stream, &halves(weights));
    let bias = buffer_of(&stream, &floats(bias));
    let residual = buffer_of(&stream, &halves(to_floats(&factors.residual)));
    let write = |values: Vec<f32>| if case.is_float { floats(values) } else { halves(values) };
    let value_bytes = if case.is_float { 4 } else { 2 };
    let outputs: [DeviceBuffer; 2] = std::array::from_fn(|output_idx| {
        buffer_of(&stream, &write(vec![UNTOUCHED; case.output_pixels() * case.pitch(output_idx)]))
    });
    let mut columns_end = 0;
    let params = ConvolveParams {
        input: input.ptr(case.input_channels.1 * 2),
        weights: weights.ptr(0),
        bias: bias.ptr(0),
        bias_half: std::ptr::null(),
        residual: if case.has_residual { residual.ptr(0) } else { std::ptr::null() },
        outputs: std::array::from_fn(|output_idx| {
            columns_end += case.columns[output_idx];
            ConvolveOutput {
                values: outputs[output_idx].ptr::<u8>(MARGIN * value_bytes).cast(),
                pitch: case.pitch(output_idx) as u32,
                columns_end: columns_end.next_multiple_of(8) as u32,
                has_relu: case.has_relu[output_idx].into(),
                reserved: 0,
            }
        }),
        num_rows: case.num_rows() as u32,
        num_columns: case.num_columns() as u32,
        depth: depth as u32,
        channels: case.input_channels.2 as u32,
        input_height: case.input.0 as u32,
        input_width: case.input.1 as u32,
        input_pitch: case.input_channels.0 as u32,
        kernel_height: case.kernel.0 as u32,
        kernel_width: case.kernel.1 as u32,
        stride_y: case.stride.0 as u32,
        stride_x: case.stride.1 as u32,
        pad_top: case.pad.0 as u32,
        pad_left: case.pad.1 as u32,
        windows_high: case.windows.0 as u32,
        windows_wide: case.windows.1 as u32,
        residual_pitch: case.columns[0] as u32,
        upsampling: case.upsampling as u32,
        is_float: case.is_float.into(),
    };
    // SAFETY: the buffers live until the stream has been waited for, and have the shapes that the parameters state.
    unsafe { KernelOps { tile: Some(tile) }.convolve(&stream, &params).unwrap() };
    for (output_idx, buffer) in outputs.iter().enumerate() {
        let mut bytes = vec![0; buffer.len_bytes()];
        stream.download_now(&mut bytes, buffer.all()).unwrap();
        let expected = write(case.expected(&factors, output_idx));
        assert!(bytes == expected, "{case:?}, {tile:?}, {schedule:?}: output {output_idx}");
    }
}

#[test]
fn convolutions_are_exact() {
    let schedules = [Schedule::Forward, Schedule::Reverse, Schedule::Random(1)];
    for case in &CASES {
        for (tile, schedule) in ConvolveTile::ALL.into_iter().zip(schedules) {
            run(case, tile, schedule);
        }
    }
}
