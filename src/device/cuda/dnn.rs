//! Convolutions by cuDNN 9: `cudnnConvolutionBiasActivationForward`, which adds bias and residual and applies ReLU in the same kernel.

use super::library::{LibraryError, Wanted, functions};
use crate::Result;
use crate::abi::ConvolveParams;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

const CUDNN: Wanted = Wanted {
    name: "cuDNN 9",
    files: &["libcudnn.so.9"],
    remedy: "install it (`pip install nvidia-cudnn-cu13`, or NVIDIA's package libcudnn9-cuda-13) and name its folder in LD_LIBRARY_PATH",
    otherwise: "or let dctflow's own kernels do the work",
};

/// Values of cudnn_graph.h, cudnn_ops.h and cudnn_cnn.h.
mod value {
    use std::ffi::c_int;
    pub const SUCCESS: c_int = 0;
    /// On the host, on the device.
    pub const ALLOCATION_FAILED: std::ops::RangeInclusive<c_int> = 4003..=4004;
    pub const NOT_SUPPORTED_SHAPE: c_int = 3002;
    /// NOT_SUPPORTED and its kinds: 3000 to 3999.
    pub const NOT_SUPPORTED: std::ops::Range<c_int> = 3000..4000;
    pub const DATA_FLOAT: c_int = 0;
    pub const DATA_HALF: c_int = 2;
    pub const TENSOR_NHWC: c_int = 1;
    pub const CROSS_CORRELATION: c_int = 1;
    pub const TENSOR_OP_MATH: c_int = 1;
    pub const ACTIVATION_RELU: c_int = 1;
    pub const ACTIVATION_IDENTITY: c_int = 5;
    pub const PROPAGATE_NAN: c_int = 1;
    /// The only algorithm that goes with the identity activation.
    pub const IMPLICIT_PRECOMP_GEMM: c_int = 1;
}

/// `cudnnConvolutionFwdAlgoPerf_t`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct AlgorithmResult {
    algorithm: c_int,
    status: c_int,
    milliseconds: f32,
    workspace_bytes: usize,
    determinism: c_int,
    math_type: c_int,
    reserved: [c_int; 3],
}

type Handle = *mut c_void;

functions! {
    /// Each returns a code, 0 for success.
    Functions {
        cudnnCreate(*mut Handle) -> c_int;
        cudnnDestroy(Handle) -> c_int;
        cudnnSetStream(Handle, *mut c_void) -> c_int;
        cudnnCreateTensorDescriptor(*mut Handle) -> c_int;
        cudnnDestroyTensorDescriptor(Handle) -> c_int;
        cudnnSetTensor4dDescriptorEx(
            Handle, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int,
        ) -> c_int;
        cudnnCreateFilterDescriptor(*mut Handle) -> c_int;
        cudnnDestroyFilterDescriptor(Handle) -> c_int;
        cudnnSetFilter4dDescriptor(Handle, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
        cudnnCreateConvolutionDescriptor(*mut Handle) -> c_int;
        cudnnDestroyConvolutionDescriptor(Handle) -> c_int;
        cudnnSetConvolution2dDescriptor(Handle, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> c_int;
        cudnnSetConvolutionMathType(Handle, c_int) -> c_int;
        cudnnCreateActivationDescriptor(*mut Handle) -> c_int;
        cudnnDestroyActivationDescriptor(Handle) -> c_int;
        cudnnSetActivationDescriptor(Handle, c_int, c_int, f64) -> c_int;
        cudnnGetConvolutionForwardAlgorithm_v7(
            Handle, Handle, Handle, Handle, Handle, c_int, *mut c_int, *mut AlgorithmResult,
        ) -> c_int;
        cudnnConvolutionBiasActivationForward(
            Handle, *const f32, Handle, *const c_void, Handle, *const c_void, Handle, c_int, *mut c_void, usize, *const f32,
            Handle, *const c_void, Handle, *const c_void, Handle, Handle, *mut c_void,
        ) -> c_int;
    }
}

/// A convolution as cuDNN's descriptors have it. Sizes are (down, across).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ConvolutionShape {
    images: c_int,
    input: (c_int, c_int),
    input_pitch: c_int,
    channels: c_int,
    kernel: (c_int, c_int),
    stride: (c_int, c_int),
    pad: (c_int, c_int),
    output: (c_int, c_int),
    output_pitch: c_int,
    columns: c_int,
    has_relu: bool,
}

impl ConvolutionShape {
    /// The shape of `params`; `None` for what cuDNN's descriptors cannot say: padding that differs between sides, padded rows of weights, two
    /// outputs, a residual of another pitch than the output, a bias that f16 cannot hold.
    pub fn of(params: &ConvolveParams) -> Option<Self> {
        let int = |value: u32| c_int::try_from(value).ok();
        let output = &params.outputs[0];
        let windows = params.windows_high.checked_mul(params.windows_wide).filter(|&windows| windows > 0)?;
        let is_one_output = output.columns_end >= params.num_columns && params.upsampling == 1 && params.is_float == 0;
        let is_dense = params.depth == params.kernel_height * params.kernel_width * params.channels;
        let has_fitting_residual = params.residual.is_null() || params.residual_pitch == output.pitch;
        // The windows that equal zeros on both sides give.
        let positions =
            |len: u32, pad: u32, kernel: u32, stride: u32| Some((len + 2 * pad).checked_sub(kernel)? / stride + 1);
        let high = positions(params.input_height, params.pad_top, params.kernel_height, params.stride_y)?;
        let wide = positions(params.input_width, params.pad_left, params.kernel_width, params.stride_x)?;
        let is_symmetric = (high, wide) == (params.windows_high, params.windows_wide);
        if !is_one_output || !is_dense || !has_fitting_residual || !is_symmetric || params.bias_half.is_null() {
            return None;
        }
        Some(Self {
            images: int(params.num_rows / windows)?,
            input: (int(params.input_height)?, int(params.input_width)?),
            input_pitch: int(params.input_pitch)?,
            channels: int(params.channels)?,
            kernel: (int(params.kernel_height)?, int(params.kernel_width)?),
            stride: (int(params.stride_y)?, int(params.stride_x)?),
            pad: (int(params.pad_top)?, int(params.pad_left)?),
            output: (int(params.windows_high)?, int(params.windows_wide)?),
            output_pitch: int(output.pitch)?,
            columns: int(params.num_columns)?,
            has_relu: output.has_relu != 0,
        })
    }
}

/// What cuDNN keeps for a shape.
struct Prepared {
    input: Handle,
    output: Handle,
    bias: Handle,
    filter: Handle,
    convolution: Handle,
    activation: Handle,
    algorithm: c_int,
}

/// cuDNN, and how it does the shapes seen so far.
pub(super) struct Dnn {
    functions: Functions,
    handle: Handle,
    /// `None`: it has no way to do the shape.
    prepared: HashMap<ConvolutionShape, Option<Prepared>>,
}

// SAFETY: cuDNN's handles may be used by any thread, one at a time, which `&mut self` sees to.
unsafe impl Send for Dnn {}

impl Dnn {
    /// Loads the library. The device's context is current.
    pub fn load() -> Result<Self> {
        let functions = Functions::of(CUDNN.load()?)?;
        let mut handle = null_mut();
        // SAFETY: writes one handle.
        check(unsafe { (functions.cudnnCreate)(&mut handle) }, "starting it")
            .map_err(|error| error.not_started(value::ALLOCATION_FAILED.contains(&error.code)))?;
        Ok(Self { functions, handle, prepared: HashMap::new() })
    }

    /// Whether cuDNN can do a shape; asks it at the first one. The context is current.
    pub fn prepare(&mut self, shape: &ConvolutionShape, workspace_bytes: usize) -> Result<bool, LibraryError> {
        if let Some(known) = self.prepared.get(shape) {
            return Ok(known.is_some());
        }
        // Whatever it fails with, it is not asked again.
        let described = self.describe(shape);
        let answer = described.and_then(|prepared| self.choose_algorithm(prepared, shape, workspace_bytes));
        let (prepared, answer) = match answer {
            Ok(prepared) => (prepared, None),
            Err(error) => (None, Some(error)),
        };
        let is_able = prepared.is_some();
        self.prepared.insert(*shape, prepared);
        answer.map_or(Ok(is_able), Err)
    }

    /// Convolutions of this shape are not for cuDNN from now on.
    pub fn give_up(&mut self, shape: &ConvolutionShape) {
        if let Some(prepared) = self.prepared.insert(*shape, None).flatten() {
            self.destroy(&prepared);
        }
    }

    /// Puts a prepared convolution on the stream. The context is current.
    ///
    /// # Safety
    /// As for [`crate::device::Ops::convolve`]; `shape` is that of `params`; only work on `stream` uses the workspace.
    pub unsafe fn convolve(
        &mut self,
        shape: &ConvolutionShape,
        params: &ConvolveParams,
        workspace: *mut c_void,
        workspace_bytes: usize,
        stream: *mut c_void,
    ) -> Result<(), LibraryError> {
        let Some(Some(prepared)) = self.prepared.get(shape) else {
            return check(value::NOT_SUPPORTED.start, "looking for a convolution that it was not asked about");
        };
        let (one, zero) = (1f32, 0f32);
        let output = params.outputs[0].values;
        let (residual_factor, residual): (_, *const c_void) = match params.residual.is_null() {
            true => (&zero, output),
            false => (&one, params.residual.cast()),
        };
        // SAFETY: the caller's; the descriptors say what the pointers point at.
        unsafe {
            check((self.functions.cudnnSetStream)(self.handle, stream), "taking a stream")?;
            let code = (self.functions.cudnnConvolutionBiasActivationForward)(
                self.handle,
                &one,
                prepared.input,
                params.input.cast(),
                prepared.filter,
                params.weights.cast(),
                prepared.convolution,
                prepared.algorithm,
                workspace,
                workspace_bytes,
                residual_factor,
                prepared.output,
                residual,
                prepared.bias,
                params.bias_half.cast(),
                prepared.activation,
                prepared.output,
                output,
            );
            check(code, "convolving")
        }
    }

    /// An f16 tensor of NHWC with a pitch.
    fn tensor(
        &self,
        (images, channels, height, width): (c_int, c_int, c_int, c_int),
        pitch: c_int,
    ) -> Result<Handle, LibraryError> {
        let mut tensor = null_mut();
        // SAFETY: writes one handle, then describes it.
        unsafe {
            check((self.functions.cudnnCreateTensorDescriptor)(&mut tensor), "taking the description of a tensor")?;
            let line = width.checked_mul(pitch);
            let image = line.and_then(|line| line.checked_mul(height));
            let (Some(line), Some(image)) = (line, image) else {
                (self.functions.cudnnDestroyTensorDescriptor)(tensor);
                return Err(LibraryError {
                    library: LIBRARY,
                    code: value::NOT_SUPPORTED_SHAPE,
                    doing: "counting so many values",
                });
            };
            let code = (self.functions.cudnnSetTensor4dDescriptorEx)(
                tensor,
                value::DATA_HALF,
                images,
                channels,
                height,
                width,
                image,
                1,
                line,
                pitch,
            );
            check(code, "taking the description of a tensor")?;
        }
        Ok(tensor)
    }

    fn describe(&self, shape: &ConvolutionShape) -> Result<Prepared, LibraryError> {
        let functions = &self.functions;
        let input = self.tensor((shape.images, shape.channels, shape.input.0, shape.input.1), shape.input_pitch)?;
        let output = self.tensor((shape.images, shape.columns, shape.output.0, shape.output.1), shape.output_pitch)?;
        let bias = self.tensor((1, shape.columns, 1, 1), shape.columns)?;
        let [mut filter, mut convolution, mut activation] = [null_mut(); 3];
        // SAFETY: each call writes one handle, or describes one.
        unsafe {
            let doing = "taking the description of a convolution";
            check((functions.cudnnCreateFilterDescriptor)(&mut filter), doing)?;
            let (height, width) = shape.kernel;
            let (half, format) = (value::DATA_HALF, value::TENSOR_NHWC);
            let code = (functions.cudnnSetFilter4dDescriptor)(
                filter,
                half,
                format,
                shape.columns,
                shape.channels,
                height,
                width,
            );
            check(code, doing)?;
            check((functions.cudnnCreateConvolutionDescriptor)(&mut convolution), doing)?;
            let (pad, stride) = (shape.pad, shape.stride);
            let (mode, sums) = (value::CROSS_CORRELATION, value::DATA_FLOAT);
            let code = (functions.cudnnSetConvolution2dDescriptor)(
                convolution,
                pad.0,
                pad.1,
                stride.0,
                stride.1,
                1,
                1,
                mode,
                sums,
            );
            check(code, doing)?;
            check((functions.cudnnSetConvolutionMathType)(convolution, value::TENSOR_OP_MATH), doing)?;
            check((functions.cudnnCreateActivationDescriptor)(&mut activation), doing)?;
            let mode = if shape.has_relu { value::ACTIVATION_RELU } else { value::ACTIVATION_IDENTITY };
            check((functions.cudnnSetActivationDescriptor)(activation, mode, value::PROPAGATE_NAN, 0.0), doing)?;
        }
        Ok(Prepared { input, output, bias, filter, convolution, activation, algorithm: value::IMPLICIT_PRECOMP_GEMM })
    }

    /// The algorithm that cuDNN thinks the fastest of those that may be taken.
    fn choose_algorithm(
        &self,
        prepared: Prepared,
        shape: &ConvolutionShape,
        workspace_bytes: usize,
    ) -> Result<Option<Prepared>, LibraryError> {
        const MAX_RESULTS: usize = 8;
        let mut results = [AlgorithmResult::default(); MAX_RESULTS];
        let mut num_results = 0;
        // SAFETY: live descriptors; as many results are asked for as there is room for.
        let code = unsafe {
            (self.functions.cudnnGetConvolutionForwardAlgorithm_v7)(
                self.handle,
                prepared.input,
                prepared.filter,
                prepared.convolution,
                prepared.output,
                MAX_RESULTS as c_int,
                &mut num_results,
                results.as_mut_ptr(),
            )
        };
        let results = &results[..usize::try_from(num_results).unwrap_or(0).min(MAX_RESULTS)];
        let chosen = first_usable(results, shape.has_relu, workspace_bytes);
        if let (value::SUCCESS, Some(algorithm)) = (code, chosen) {
            return Ok(Some(Prepared { algorithm, ..prepared }));
        }
        self.destroy(&prepared);
        if value::NOT_SUPPORTED.contains(&code) {
            Ok(None)
        } else {
            check(code, "looking for an algorithm").map(|()| None)
        }
    }

    fn destroy(&self, prepared: &Prepared) {
        let functions = &self.functions;
        // SAFETY: made once, destroyed once.
        unsafe {
            for tensor in [prepared.input, prepared.output, prepared.bias] {
                (functions.cudnnDestroyTensorDescriptor)(tensor);
            }
            (functions.cudnnDestroyFilterDescriptor)(prepared.filter);
            (functions.cudnnDestroyConvolutionDescriptor)(prepared.convolution);
            (functions.cudnnDestroyActivationDescriptor)(prepared.activation);
        }
    }
}

impl Drop for Dnn {
    fn drop(&mut self) {
        self.prepared.values().flatten().for_each(|prepared| self.destroy(prepared));
        // SAFETY: made once, destroyed once.
        unsafe { (self.functions.cudnnDestroy)(self.handle) };
    }
}

/// The first result, which are sorted by expected time, that works on tensor cores, within the workspace, with the activation.
fn first_usable(results: &[AlgorithmResult], has_relu: bool, workspace_bytes: usize) -> Option<c_int> {
    let is_usable = |result: &&AlgorithmResult| {
        result.status == value::SUCCESS
            && result.workspace_bytes <= workspace_bytes
            && result.math_type == value::TENSOR_OP_MATH
            && (has_relu || result.algorithm == value::IMPLICIT_PRECOMP_GEMM)
    };
    results.iter().find(is_usable).map(|result| result.algorithm)
}

const LIBRARY: &str = "cuDNN";

fn check(code: c_int, doing: &'static str) -> Result<(), LibraryError> {
    if code == value::SUCCESS { Ok(()) } else { Err(LibraryError { library: LIBRARY, code, doing }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ConvolveOutput;

    fn params() -> ConvolveParams {
        let output =
            ConvolveOutput { values: 0x1000 as *mut c_void, pitch: 128, columns_end: 64, has_relu: 1, reserved: 0 };
        ConvolveParams {
            bias_half: 0x2000 as *const u16,
            outputs: [output, ConvolveOutput::default()],
            num_rows: 3 * 14 * 10,
            num_columns: 64,
            depth: 9 * 32,
            channels: 32,
            input_height: 28,
            input_width: 20,
            input_pitch: 32,
            kernel_height: 3,
            kernel_width: 3,
            stride_y: 2,
            stride_x: 2,
            pad_top: 1,
            pad_left: 1,
            windows_high: 14,
            windows_wide: 10,
            upsampling: 1,
            ..ConvolveParams::default()
        }
    }

    #[test]
    fn a_symmetric_convolution_has_a_shape() {
        let shape = ConvolutionShape::of(&params()).unwrap();
        assert_eq!((shape.images, shape.input, shape.output), (3, (28, 20), (14, 10)));
        assert_eq!((shape.columns, shape.output_pitch, shape.has_relu), (64, 128, true));
    }

    #[test]
    fn what_descriptors_cannot_say_has_none() {
        let changes: [fn(&mut ConvolveParams); 6] = [
            |p| p.bias_half = std::ptr::null(),
            // TensorFlow's "same": more zeros on one side.
            |p| p.windows_wide = 11,
            |p| p.depth += 32,
            |p| p.outputs[0].columns_end = 32,
            |p| (p.residual, p.residual_pitch) = (0x10 as *const u16, 64),
            |p| p.upsampling = 2,
        ];
        for change in changes {
            let mut params = params();
            change(&mut params);
            assert_eq!(ConvolutionShape::of(&params), None, "{params:?}");
        }
    }

    #[test]
    fn the_fastest_algorithm_that_may_be_taken() {
        let result = |algorithm, workspace_bytes, math_type| AlgorithmResult {
            algorithm,
            workspace_bytes,
            math_type,
            ..AlgorithmResult::default()
        };
        let results = [result(7, 2000, 1), result(6, 10, 0), result(5, 10, 1), result(1, 0, 1)];
        assert_eq!(first_usable(&results, true, 1000), Some(5));
        assert_eq!(first_usable(&results, true, 5000), Some(7));
        assert_eq!(first_usable(&results, false, 5000), Some(1));
        assert_eq!(first_usable(&results[..2], true, 1000), None);
    }

    #[test]
    fn structs_are_as_large_as_the_library_has_them() {
        assert_eq!(size_of::<AlgorithmResult>(), 48);
    }
}
