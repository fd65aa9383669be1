//! Convolutions of 1 x 1 taps and stride 1 as plain matrix products, by cuBLASLt: bias, residual (as beta C) and ReLU in its epilogue.
//! (cuBLASLt's documentation: cublasLtMatmul, epilogues.)

use super::library::{LibraryError, Wanted, functions};
use crate::Result;
use crate::abi::ConvolveParams;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::{null, null_mut};

const CUBLASLT: Wanted = Wanted {
    name: "cuBLASLt of CUDA 13 or 12",
    files: &["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"],
    remedy: "install it (`pip install nvidia-cublas`, or the CUDA toolkit) and name its folder in LD_LIBRARY_PATH",
    otherwise: "or let dctflow's own kernels do the work",
};

/// Values of cublasLt.h and library_types.h.
mod value {
    use std::ffi::c_int;
    pub const SUCCESS: c_int = 0;
    pub const ALLOC_FAILED: c_int = 3;
    pub const NOT_SUPPORTED: c_int = 15;
    pub const COMPUTE_32F: c_int = 68;
    pub const R_32F: c_int = 0;
    pub const R_16F: c_int = 2;
    pub const DESC_TRANSA: c_int = 3;
    pub const DESC_EPILOGUE: c_int = 7;
    pub const DESC_BIAS_POINTER: c_int = 8;
    pub const OP_T: c_int = 1;
    pub const EPILOGUE_BIAS: c_int = 4;
    pub const EPILOGUE_RELU_BIAS: c_int = 6;
    pub const PREF_MAX_WORKSPACE_BYTES: c_int = 1;
    /// Of A, B, C and D: weights, input, residual, output.
    pub const PREF_MIN_ALIGNMENT_BYTES: [c_int; 4] = [5, 6, 7, 8];
}

/// `cublasLtMatmulAlgo_t`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Algorithm {
    data: [u64; 8],
}

/// `cublasLtMatmulHeuristicResult_t`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct HeuristicResult {
    algorithm: Algorithm,
    workspace_bytes: usize,
    state: c_int,
    num_waves: f32,
    reserved: [c_int; 4],
}

type Handle = *mut c_void;

functions! {
    /// Each returns a code, 0 for success.
    Functions {
        cublasLtCreate(*mut Handle) -> c_int;
        cublasLtDestroy(Handle) -> c_int;
        cublasLtMatmulDescCreate(*mut Handle, c_int, c_int) -> c_int;
        cublasLtMatmulDescDestroy(Handle) -> c_int;
        cublasLtMatmulDescSetAttribute(Handle, c_int, *const c_void, usize) -> c_int;
        cublasLtMatrixLayoutCreate(*mut Handle, c_int, u64, u64, i64) -> c_int;
        cublasLtMatrixLayoutDestroy(Handle) -> c_int;
        cublasLtMatmulPreferenceCreate(*mut Handle) -> c_int;
        cublasLtMatmulPreferenceDestroy(Handle) -> c_int;
        cublasLtMatmulPreferenceSetAttribute(Handle, c_int, *const c_void, usize) -> c_int;
        cublasLtMatmulAlgoGetHeuristic(
            Handle, Handle, Handle, Handle, Handle, Handle, Handle, c_int, *mut HeuristicResult, *mut c_int,
        ) -> c_int;
        cublasLtMatmul(
            Handle, Handle, *const f32, *const c_void, Handle, *const c_void, Handle, *const f32, *const c_void, Handle,
            *mut c_void, Handle, *const Algorithm, *mut c_void, usize, *mut c_void,
        ) -> c_int;
    }
}

/// One product: `out[rows][columns] = relu(input[rows][depth] weights[columns][depth]^T + residual + bias)`, all f16, with pitches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ProductShape {
    rows: u32,
    columns: u32,
    depth: u32,
    input_pitch: u32,
    weights_pitch: u32,
    output_pitch: u32,
    /// 0 where there is none.
    residual_pitch: u32,
    has_relu: bool,
    /// Of weights, input, residual, output and bias: an algorithm is chosen for what these addresses are multiples of.
    alignments: [u32; 5],
}

/// What cuBLASLt takes for granted unless it is told otherwise. Wider accesses than this it has none.
const MAX_ALIGNMENT_BYTES: u32 = 256;

/// The greatest power of two, up to [`MAX_ALIGNMENT_BYTES`], that an address is a multiple of.
fn alignment_of(address: usize) -> u32 {
    1 << address.trailing_zeros().min(MAX_ALIGNMENT_BYTES.trailing_zeros())
}

/// A shape and where its matrices are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    shape: ProductShape,
    input: *const u16,
    weights: *const u16,
    bias: *const u16,
    residual: *const u16,
    output: *mut c_void,
}

/// The products that a convolution is made of, one for each output; none, if it is no plain product, or has no bias in f16.
pub(super) fn products_of(params: &ConvolveParams) -> Vec<Product> {
    let taps = [params.kernel_height, params.kernel_width, params.stride_y, params.stride_x, params.upsampling];
    let is_plain = taps == [1; 5] && params.pad_top == 0 && params.pad_left == 0 && params.is_float == 0;
    if !is_plain || params.bias_half.is_null() {
        return Vec::new();
    }
    let mut first_column = 0;
    let mut products = Vec::new();
    for (output_idx, output) in params.outputs.iter().enumerate() {
        let columns_end = output.columns_end.min(params.num_columns);
        if columns_end <= first_column {
            break;
        }
        let residual = if output_idx == 0 { params.residual } else { null() };
        // In bounds: rows of weights, and biases, up to `num_columns`.
        let weights = params.weights.wrapping_add(first_column as usize * params.depth as usize);
        let bias = params.bias_half.wrapping_add(first_column as usize);
        let output_address = output.values as usize;
        let residual_address = if residual.is_null() { output_address } else { residual as usize };
        let addresses = [weights as usize, params.input as usize, residual_address, output_address, bias as usize];
        let shape = ProductShape {
            rows: params.num_rows,
            columns: columns_end - first_column,
            depth: params.channels,
            input_pitch: params.input_pitch,
            weights_pitch: params.depth,
            output_pitch: output.pitch,
            residual_pitch: if residual.is_null() { 0 } else { params.residual_pitch },
            has_relu: output.has_relu != 0,
            alignments: addresses.map(alignment_of),
        };
        products.push(Product { shape, input: params.input, weights, bias, residual, output: output.values });
        first_column = columns_end;
    }
    products
}

/// What cuBLASLt keeps for a shape.
struct Prepared {
    description: Handle,
    /// Weights, input, residual, output.
    layouts: [Handle; 4],
    algorithm: Algorithm,
}

/// cuBLASLt, and how it does the shapes seen so far.
pub(super) struct Blas {
    functions: Functions,
    handle: Handle,
    /// `None`: it has no way to do the shape.
    prepared: HashMap<ProductShape, Option<Prepared>>,
}

// SAFETY: cuBLASLt's handles may be used by any thread, one at a time, which `&mut self` sees to.
unsafe impl Send for Blas {}

impl Blas {
    /// Loads the library. The device's context is current.
    pub fn load() -> Result<Self> {
        let functions = Functions::of(CUBLASLT.load()?)?;
        let mut handle = null_mut();
        // SAFETY: writes one handle.
        check(unsafe { (functions.cublasLtCreate)(&mut handle) }, "starting it")
            .map_err(|error| error.not_started(error.code == value::ALLOC_FAILED))?;
        Ok(Self { functions, handle, prepared: HashMap::new() })
    }

    /// Whether cuBLASLt can do a product; asks it at the first one of a shape. The context is current.
    pub fn prepare(&mut self, product: &Product, workspace_bytes: usize) -> Result<bool, LibraryError> {
        if let Some(known) = self.prepared.get(&product.shape) {
            return Ok(known.is_some());
        }
        // Whatever it fails with, it is not asked again.
        let answer = self.ask(product, workspace_bytes);
        let (prepared, answer) = match answer {
            Ok(prepared) => (prepared, None),
            Err(error) => (None, Some(error)),
        };
        let is_able = prepared.is_some();
        self.prepared.insert(product.shape, prepared);
        answer.map_or(Ok(is_able), Err)
    }

    /// Products of this shape are not for cuBLASLt from now on.
    pub fn give_up(&mut self, product: &Product) {
        if let Some(prepared) = self.prepared.insert(product.shape, None).flatten() {
            self.destroy(&prepared);
        }
    }

    /// Puts a prepared product on the stream. The context is current.
    ///
    /// # Safety
    /// As for [`crate::device::Ops::convolve`]; only work on `stream` uses the workspace.
    pub unsafe fn multiply(
        &self,
        product: &Product,
        workspace: *mut c_void,
        workspace_bytes: usize,
        stream: *mut c_void,
    ) -> Result<(), LibraryError> {
        let Some(Some(prepared)) = self.prepared.get(&product.shape) else {
            return check(value::NOT_SUPPORTED, "looking for a product that it was not asked about");
        };
        let [weights, input, residual, output] = prepared.layouts;
        let (one, zero) = (1f32, 0f32);
        let (beta, residual_values): (_, *const c_void) = match product.residual.is_null() {
            true => (&zero, product.output),
            false => (&one, product.residual.cast()),
        };
        let functions = &self.functions;
        self.set(prepared.description, value::DESC_BIAS_POINTER, &product.bias)?;
        // SAFETY: the caller's; the layouts say what the pointers point at.
        let code = unsafe {
            (functions.cublasLtMatmul)(
                self.handle,
                prepared.description,
                &one,
                product.weights.cast(),
                weights,
                product.input.cast(),
                input,
                beta,
                residual_values,
                residual,
                product.output,
                output,
                &prepared.algorithm,
                workspace,
                workspace_bytes,
                stream,
            )
        };
        check(code, "multiplying")
    }

    fn set<T>(&self, description: Handle, attribute: c_int, value: &T) -> Result<(), LibraryError> {
        // SAFETY: a live description, and as many bytes as the attribute's type has.
        let code = unsafe {
            (self.functions.cublasLtMatmulDescSetAttribute)(
                description,
                attribute,
                (&raw const *value).cast(),
                size_of::<T>(),
            )
        };
        check(code, "taking the description of a product")
    }

    fn layout(&self, rows: u32, columns: u32, pitch: u32) -> Result<Handle, LibraryError> {
        let mut layout = null_mut();
        // SAFETY: writes one handle.
        let code = unsafe {
            (self.functions.cublasLtMatrixLayoutCreate)(
                &mut layout,
                value::R_16F,
                rows.into(),
                columns.into(),
                pitch.into(),
            )
        };
        check(code, "taking the description of a matrix").map(|()| layout)
    }

    /// Describes the shape and asks for the algorithm that cuBLASLt thinks the fastest. cuBLASLt's matrices are column-major, so it is told of
    /// the transposed product: out^T = weights input^T.
    fn ask(&self, product: &Product, workspace_bytes: usize) -> Result<Option<Prepared>, LibraryError> {
        let shape = &product.shape;
        let functions = &self.functions;
        let mut description = null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (functions.cublasLtMatmulDescCreate)(&mut description, value::COMPUTE_32F, value::R_32F) };
        check(code, "taking the description of a product")?;
        self.set(description, value::DESC_TRANSA, &value::OP_T)?;
        let epilogue = if shape.has_relu { value::EPILOGUE_RELU_BIAS } else { value::EPILOGUE_BIAS };
        self.set(description, value::DESC_EPILOGUE, &epilogue)?;
        // Its alignment counts in the choice.
        self.set(description, value::DESC_BIAS_POINTER, &product.bias)?;
        let residual_pitch = if shape.residual_pitch == 0 { shape.output_pitch } else { shape.residual_pitch };
        let layouts = [
            self.layout(shape.depth, shape.columns, shape.weights_pitch)?,
            self.layout(shape.depth, shape.rows, shape.input_pitch)?,
            self.layout(shape.columns, shape.rows, residual_pitch)?,
            self.layout(shape.columns, shape.rows, shape.output_pitch)?,
        ];
        let [weights, input, residual, output] = layouts;
        let mut preference = null_mut();
        let mut found = HeuristicResult::default();
        let mut num_found = 0;
        // SAFETY: live handles; one result is asked for, and there is room for one.
        let code = unsafe {
            check((functions.cublasLtMatmulPreferenceCreate)(&mut preference), "making a preference")?;
            let attribute = value::PREF_MAX_WORKSPACE_BYTES;
            let limit = (&raw const workspace_bytes).cast();
            let code =
                (functions.cublasLtMatmulPreferenceSetAttribute)(preference, attribute, limit, size_of::<usize>());
            check(code, "limiting its workspace")?;
            for (attribute, alignment) in value::PREF_MIN_ALIGNMENT_BYTES.into_iter().zip(&shape.alignments) {
                let bytes: *const u32 = alignment;
                let code = (functions.cublasLtMatmulPreferenceSetAttribute)(
                    preference,
                    attribute,
                    bytes.cast(),
                    size_of::<u32>(),
                );
                check(code, "being told of alignments")?;
            }
            let code = (functions.cublasLtMatmulAlgoGetHeuristic)(
                self.handle,
                description,
                weights,
                input,
                residual,
                output,
                preference,
                1,
                &mut found,
                &mut num_found,
            );
            (functions.cublasLtMatmulPreferenceDestroy)(preference);
            code
        };
        let prepared = Prepared { description, layouts, algorithm: found.algorithm };
        let is_able = code == value::SUCCESS && num_found > 0 && found.state == value::SUCCESS;
        if !is_able {
            self.destroy(&prepared);
            return if code == value::NOT_SUPPORTED {
                Ok(None)
            } else {
                check(code, "looking for an algorithm").map(|()| None)
            };
        }
        Ok(Some(prepared))
    }

    fn destroy(&self, prepared: &Prepared) {
        // SAFETY: made once, destroyed once.
        unsafe {
            (self.functions.cublasLtMatmulDescDestroy)(prepared.description);
            prepared.layouts.iter().for_each(|&layout| {
                (self.functions.cublasLtMatrixLayoutDestroy)(layout);
            });
        }
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        self.prepared.values().flatten().for_each(|prepared| self.destroy(prepared));
        // SAFETY: made once, destroyed once.
        unsafe { (self.functions.cublasLtDestroy)(self.handle) };
    }
}

fn check(code: c_int, doing: &'static str) -> Result<(), LibraryError> {
    if code == value::SUCCESS { Ok(()) } else { Err(LibraryError { library: "cuBLASLt", code, doing }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ConvolveOutput;

    fn params() -> ConvolveParams {
        let output = |columns_end, has_relu| ConvolveOutput {
            values: 0x1000 as *mut c_void,
            pitch: 64,
            columns_end,
            has_relu,
            reserved: 0,
        };
        ConvolveParams {
            weights: 0x10000 as *const u16,
            bias_half: 0x2000 as *const u16,
            residual: 0x3000 as *const u16,
            outputs: [output(24, 1), output(40, 0)],
            num_rows: 100,
            num_columns: 40,
            depth: 32,
            channels: 24,
            input_pitch: 48,
            kernel_height: 1,
            kernel_width: 1,
            stride_y: 1,
            stride_x: 1,
            upsampling: 1,
            residual_pitch: 24,
            ..ConvolveParams::default()
        }
    }

    #[test]
    fn a_convolution_with_two_outputs_is_two_products() {
        let [first, second] = products_of(&params())[..] else { panic!("two products") };
        let shape = first.shape;
        assert_eq!((shape.rows, shape.columns, shape.depth, shape.weights_pitch), (100, 24, 24, 32));
        assert_eq!((shape.input_pitch, shape.output_pitch, shape.residual_pitch, shape.has_relu), (48, 64, 24, true));
        assert_eq!((second.shape.columns, second.shape.residual_pitch, second.shape.has_relu), (16, 0, false));
        assert_eq!(second.weights as usize, 0x10000 + 24 * 32 * 2);
        assert_eq!(second.bias as usize, 0x2000 + 24 * 2);
        assert!(second.residual.is_null());
    }

    #[test]
    fn alignments_are_those_of_the_addresses() {
        assert_eq!([0x1000, 0x1010, 0x1180, 0x1002, 0].map(alignment_of), [256, 16, 128, 2, 256]);
        let mut params = params();
        let [first, second] = products_of(&params)[..] else { panic!("two products") };
        assert_eq!(first.shape.alignments, [256; 5]);
        // 24 rows of 32 weights lie before the second's, and 24 biases; without a residual the output stands for it.
        assert_eq!(second.shape.alignments, [256, 256, 256, 256, 16]);
        params.input = 0x4010 as *const u16;
        assert_ne!(products_of(&params)[0].shape, first.shape, "another algorithm, if need be");
    }

    #[test]
    fn without_a_bias_in_half_precision_there_is_no_product() {
        assert!(products_of(&ConvolveParams { bias_half: null(), ..params() }).is_empty());
    }

    #[test]
    fn what_has_taps_or_strides_is_no_plain_product() {
        let changes: [fn(&mut ConvolveParams); 5] =
            [|p| p.kernel_width = 2, |p| p.stride_y = 2, |p| p.pad_left = 1, |p| p.upsampling = 2, |p| p.is_float = 1];
        for change in changes {
            let mut params = params();
            change(&mut params);
            assert!(products_of(&params).is_empty(), "{params:?}");
        }
    }

    #[test]
    fn structs_are_as_large_as_the_library_has_them() {
        assert_eq!((size_of::<Algorithm>(), size_of::<HeuristicResult>()), (64, 96));
    }
}
