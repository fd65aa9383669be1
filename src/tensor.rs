//! A dense tensor of `f32` in host memory, row-major (the last dimension is contiguous).

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
