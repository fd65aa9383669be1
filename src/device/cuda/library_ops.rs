//! Convolutions by NVIDIA's libraries where they can, and by our own kernels where they cannot.

use super::Cuda;
use super::blas::{Blas, products_of};
use super::dnn::{ConvolutionShape, Dnn};
use crate::Result;
use crate::abi::ConvolveParams;
use crate::device::{DeviceBuffer, KernelOps, Ops, Stream, StreamHandle};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What a library may take for intermediate results, for each stream.
const WORKSPACE_BYTES: usize = 32 << 20;

/// Which libraries to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Libraries {
    /// cuBLASLt, for convolutions of 1 x 1 taps and stride 1.
    pub cublaslt: bool,
    /// cuDNN, for all others.
    pub cudnn: bool,
}

/// Convolutions by cuBLASLt and cuDNN; by [`KernelOps`] where neither has a way (padding on one side only, deconvolutions, the classifier).
///
/// Takes memory and asks for algorithms at the first call on a stream and of a shape; later calls only launch.
pub struct LibraryOps {
    cuda: Arc<Cuda>,
    own: KernelOps,
    state: Mutex<State>,
}

struct State {
    blas: Option<Blas>,
    dnn: Option<Dnn>,
    /// A workspace serves one stream, since work on two streams may run at a time.
    workspaces: HashMap<StreamHandle, DeviceBuffer>,
}

impl LibraryOps {
    /// Loads the libraries asked for.
    ///
    /// # Errors
    /// `NoLibrary`: one is missing; the message says how to get it. `Device`: it does not start.
    pub fn new(cuda: &Arc<Cuda>, libraries: Libraries) -> Result<Self> {
        cuda.enter()?;
        let blas = libraries.cublaslt.then(Blas::load).transpose()?;
        let dnn = libraries.cudnn.then(Dnn::load).transpose()?;
        let state = State { blas, dnn, workspaces: HashMap::new() };
        Ok(Self { cuda: Arc::clone(cuda), own: KernelOps::default(), state: Mutex::new(state) })
    }
}

impl fmt::Debug for LibraryOps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LibraryOps").field("cuda", &self.cuda).finish_non_exhaustive()
    }
}

impl Ops for LibraryOps {
    unsafe fn convolve(&self, stream: &Stream, params: &ConvolveParams) -> Result<()> {
        self.cuda.enter()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller's.
        let is_done = unsafe { state.try_blas(stream, params)? || state.try_dnn(stream, params)? };
        drop(state);
        // SAFETY: the caller's.
        if is_done { Ok(()) } else { unsafe { self.own.convolve(stream, params) } }
    }
}

impl State {
    /// # Safety
    /// As for [`Ops::convolve`].
    unsafe fn try_blas(&mut self, stream: &Stream, params: &ConvolveParams) -> Result<bool> {
        let Some(blas) = &mut self.blas else { return Ok(false) };
        let products = products_of(params);
        for product in &products {
            if !blas.prepare(product, WORKSPACE_BYTES)? {
                return Ok(false);
            }
        }
        let workspace = workspace_of(&mut self.workspaces, stream)?;
        for product in &products {
            // SAFETY: the caller's; the workspace is the stream's own.
            unsafe {
                blas.multiply(product, workspace.ptr::<u8>(0).cast(), WORKSPACE_BYTES, stream.handle().0 as *mut _)?
            };
        }
        Ok(!products.is_empty())
    }

    /// # Safety
    /// As for [`Ops::convolve`].
    unsafe fn try_dnn(&mut self, stream: &Stream, params: &ConvolveParams) -> Result<bool> {
        let (Some(dnn), Some(shape)) = (&mut self.dnn, ConvolutionShape::of(params)) else { return Ok(false) };
        if !dnn.prepare(&shape, WORKSPACE_BYTES)? {
            return Ok(false);
        }
        let workspace = workspace_of(&mut self.workspaces, stream)?;
        let (memory, handle) = (workspace.ptr::<u8>(0).cast(), stream.handle().0 as *mut _);
        // SAFETY: the caller's; the shape is that of the parameters, and the workspace the stream's own.
        unsafe { dnn.convolve(&shape, params, memory, WORKSPACE_BYTES, handle)? };
        Ok(true)
    }
}

fn workspace_of<'a>(
    workspaces: &'a mut HashMap<StreamHandle, DeviceBuffer>,
    stream: &Stream,
) -> Result<&'a DeviceBuffer> {
    match workspaces.entry(stream.handle()) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => Ok(entry.insert(DeviceBuffer::new(stream.device(), WORKSPACE_BYTES)?)),
    }
}
