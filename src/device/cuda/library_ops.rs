//! Convolutions by NVIDIA's libraries where they can, and by our own kernels where they cannot.

use super::blas::{Blas, products_of};
use super::dnn::{ConvolutionShape, Dnn};
use super::library::LibraryError;
use super::{Cuda, StreamState};
use crate::abi::ConvolveParams;
use crate::device::{DeviceBuffer, KernelOps, Ops, Stream, StreamHandle};
use crate::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Who has put how many convolutions on streams so far. A graph counts once, when it is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpsCounts {
    /// cuBLASLt.
    pub cublaslt: u64,
    /// cuDNN.
    pub cudnn: u64,
    /// Our own kernels.
    pub own: u64,
    /// Of those: after a library that was to do it has failed.
    pub failed: u64,
}

/// Convolutions by cuBLASLt and cuDNN; by [`KernelOps`] where neither has a way (padding on one side only, deconvolutions, the classifier), and
/// where one fails without harm to the device.
///
/// Takes memory and asks for algorithms at the first call on a stream and of a shape; later calls only launch.
pub struct LibraryOps {
    state: Mutex<State>,
    own: KernelOps,
    /// The last to go: the others belong to its context.
    cuda: Arc<Cuda>,
}

struct State {
    blas: Option<Blas>,
    dnn: Option<Dnn>,
    /// A workspace serves one stream, since work on two streams may run at a time.
    workspaces: HashMap<StreamHandle, DeviceBuffer>,
    counts: OpsCounts,
    /// What a library failed with last.
    failure: Option<LibraryError>,
}

/// What came of a convolution that was given to a library.
enum Attempt {
    Done,
    /// It has no way to do it.
    NotForIt,
    /// The shape is given up, if the library is to blame.
    Failed(LibraryError),
}

impl LibraryOps {
    /// Loads the libraries asked for.
    ///
    /// # Errors
    /// `NoLibrary`: one is missing or does not start; the message says what to do. `OutOfMemory`, `Device`.
    pub fn new(cuda: &Arc<Cuda>, libraries: Libraries) -> Result<Self> {
        cuda.enter()?;
        let blas = libraries.cublaslt.then(Blas::load).transpose()?;
        let dnn = libraries.cudnn.then(Dnn::load).transpose()?;
        let state = State { blas, dnn, workspaces: HashMap::new(), counts: OpsCounts::default(), failure: None };
        Ok(Self { state: Mutex::new(state), own: KernelOps::default(), cuda: Arc::clone(cuda) })
    }

    /// Who has done how many so far: whether the libraries were of any use.
    pub fn counts(&self) -> OpsCounts {
        self.lock().counts
    }

    /// What a library failed with last, if one did: convolutions of that shape are our own kernels' since.
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.map(|failure| failure.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LibraryOps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LibraryOps").field("cuda", &self.cuda).finish_non_exhaustive()
    }
}

impl Drop for LibraryOps {
    fn drop(&mut self) {
        // Libraries free memory of the context's, which must be current, after the last work that uses it; and nobody may record meanwhile.
        let _kept_off = self.cuda.finish_all();
        let mut state = self.lock();
        (state.blas, state.dnn) = (None, None);
        state.workspaces.clear();
    }
}

impl Ops for LibraryOps {
    unsafe fn convolve(&self, stream: &Stream, params: &ConvolveParams) -> Result<()> {
        self.cuda.enter()?;
        let mut state = self.lock();
        // SAFETY: the caller's.
        if unsafe { state.try_libraries(&self.cuda, stream, params)? } {
            return Ok(());
        }
        state.counts.own += 1;
        drop(state);
        // SAFETY: the caller's. Whatever a library has put on the stream before it failed writes to its workspace and to the output only, which
        // is written again.
        unsafe { self.own.convolve(stream, params) }
    }
}

impl State {
    /// Whether a library does it.
    ///
    /// # Safety
    /// As for [`Ops::convolve`].
    unsafe fn try_libraries(&mut self, cuda: &Cuda, stream: &Stream, params: &ConvolveParams) -> Result<bool> {
        // SAFETY: the caller's.
        match unsafe { self.try_blas(cuda, stream, params)? } {
            Attempt::Done => {
                self.counts.cublaslt += 1;
                return Ok(true);
            }
            Attempt::NotForIt => {}
            Attempt::Failed(failure) => return Ok(self.note(failure)),
        }
        // SAFETY: the caller's.
        match unsafe { self.try_dnn(cuda, stream, params)? } {
            Attempt::Done => self.counts.cudnn += 1,
            Attempt::NotForIt => return Ok(false),
            Attempt::Failed(failure) => return Ok(self.note(failure)),
        }
        Ok(true)
    }

    fn note(&mut self, failure: LibraryError) -> bool {
        self.failure = Some(failure);
        self.counts.failed += 1;
        false
    }

    /// # Safety
    /// As for [`Ops::convolve`].
    unsafe fn try_blas(&mut self, cuda: &Cuda, stream: &Stream, params: &ConvolveParams) -> Result<Attempt> {
        let Self { blas: Some(blas), workspaces, .. } = self else { return Ok(Attempt::NotForIt) };
        let products = products_of(params);
        for product in &products {
            match blas.prepare(product, WORKSPACE_BYTES) {
                Ok(true) => {}
                Ok(false) => return Ok(Attempt::NotForIt),
                Err(failure) => return Ok(Attempt::Failed(failure)),
            }
        }
        if products.is_empty() {
            return Ok(Attempt::NotForIt);
        }
        let Some(workspace) = workspace_of(workspaces, stream)? else { return Ok(Attempt::NotForIt) };
        for product in &products {
            let (memory, handle) = (workspace.ptr::<u8>(0).cast(), stream.handle().0 as *mut _);
            // SAFETY: the caller's; the workspace is the stream's own.
            if let Err(failure) = unsafe { blas.multiply(product, memory, WORKSPACE_BYTES, handle) } {
                check_stream(cuda, stream, failure)?;
                blas.give_up(product);
                return Ok(Attempt::Failed(failure));
            }
        }
        Ok(Attempt::Done)
    }

    /// # Safety
    /// As for [`Ops::convolve`].
    unsafe fn try_dnn(&mut self, cuda: &Cuda, stream: &Stream, params: &ConvolveParams) -> Result<Attempt> {
        let Self { dnn: Some(dnn), workspaces, .. } = self else { return Ok(Attempt::NotForIt) };
        let Some(shape) = ConvolutionShape::of(params) else { return Ok(Attempt::NotForIt) };
        match dnn.prepare(&shape, WORKSPACE_BYTES) {
            Ok(true) => {}
            Ok(false) => return Ok(Attempt::NotForIt),
            Err(failure) => return Ok(Attempt::Failed(failure)),
        }
        let Some(workspace) = workspace_of(workspaces, stream)? else { return Ok(Attempt::NotForIt) };
        let (memory, handle) = (workspace.ptr::<u8>(0).cast(), stream.handle().0 as *mut _);
        // SAFETY: the caller's; the shape is that of the parameters, and the workspace the stream's own.
        if let Err(failure) = unsafe { dnn.convolve(&shape, params, memory, WORKSPACE_BYTES, handle) } {
            check_stream(cuda, stream, failure)?;
            dnn.give_up(&shape);
            return Ok(Attempt::Failed(failure));
        }
        Ok(Attempt::Done)
    }
}

/// A library has failed on a stream: goes on if only the library did.
///
/// # Errors
/// `Usage`: the stream was being recorded, and the recording is spoilt. `Device`: the device is lost.
fn check_stream(cuda: &Cuda, stream: &Stream, failure: LibraryError) -> Result<()> {
    match cuda.stream_state(stream.handle())? {
        StreamState::Works | StreamState::IsRecorded => Ok(()),
        StreamState::IsSpoilt => Err(Error::new(ErrorKind::Usage, format!("{failure}: the recording is spoilt"))),
    }
}

/// `None`: the device has no room for one, and our own kernels need none.
fn workspace_of<'a>(
    workspaces: &'a mut HashMap<StreamHandle, DeviceBuffer>,
    stream: &Stream,
) -> Result<Option<&'a DeviceBuffer>> {
    match workspaces.entry(stream.handle()) {
        Entry::Occupied(entry) => Ok(Some(entry.into_mut())),
        Entry::Vacant(entry) => match DeviceBuffer::new(stream.device(), WORKSPACE_BYTES) {
            Ok(workspace) => Ok(Some(entry.insert(workspace))),
            Err(error) if error.kind() == ErrorKind::OutOfMemory => Ok(None),
            Err(error) => Err(error),
        },
    }
}
