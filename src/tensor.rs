//! A dense tensor of `f32` in host memory, row-major (the last dimension is contiguous), and the two forms of a network's input.

/// A dense row-major tensor.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Tensor {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// `shape.iter().product()` values, the last dimension contiguous.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    /// A tensor over `data`.
    ///
    /// # Panics
    /// If `data.len()` is not the product of `shape`: a mistake of the caller.
    pub fn from_vec(shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?} does not hold {} values", data.len());
        Self { shape: shape.to_vec(), data }
    }
}

/// Which input a network reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// Dequantised DCT coefficients, natural order as channels: Y `[N, H/8, W/8, 64]` and C `[N, H/16, W/16, 128]`, Cb in channels
    /// 0..64, Cr in 64..128. Values: Y is value 0, C is value 1.
    Blocks,
    /// RGB samples `[N, H, W, 3]`, normalised with mean and standard deviation. Value 0.
    Rgb,
}
