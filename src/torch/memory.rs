//! Memory that our devices and libtorch share, without a copy: our buffers as tensors, and tensors as our buffers.
//!
//! **Order.** libtorch puts its work on its current stream, which is the GPU's default stream unless a program has chosen another; ours are streams
//! that wait for nobody. So whoever hands memory over says so: [`torch_waits_for_device`] before libtorch reads what we write,
//! [`device_waits_for_torch`] before we read, or overwrite, what libtorch uses. On a GPU both are events: the host waits for nothing. The
//! emulator's memory is the host's; there libtorch's work is done when its call returns, and ours is waited for.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::cuda;
use crate::device::{self, Backend, DeviceBuffer, Event, Stream};
use crate::error::{Error, ErrorKind, Result};

/// The GPU's default stream, by the driver's number for it.
const DEFAULT_STREAM: u64 = 0;

/// A tensor over memory of a [`DeviceBuffer`], which it borrows. Copies that libtorch makes of its handle (`shallow_clone`, views) must not outlive it:
/// this is why it is `unsafe` to make one.
pub struct BorrowedTensor<'a> {
    tensor: Tensor,
    buffer: PhantomData<&'a DeviceBuffer>,
}

impl<'a> BorrowedTensor<'a> {
    /// A contiguous tensor of `shape` and `kind` over a buffer, from `offset_bytes` on. `gpu` is the GPU's number, as libtorch counts them.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it does not lie in the buffer or is not aligned; [`ErrorKind::NoLibrary`] or [`ErrorKind::NoDevice`] for a GPU
    /// that libtorch cannot use here; what libtorch says.
    ///
    /// # Safety
    /// No tensor that shares this one's memory is used after `'a`, nor while the device writes the memory.
    pub unsafe fn new(
        buffer: &'a DeviceBuffer,
        gpu: usize,
        offset_bytes: usize,
        kind: Kind,
        shape: &[usize],
    ) -> Result<Self> {
        let value_bytes = kind.elt_size_in_bytes();
        let len_bytes = shape.iter().try_fold(value_bytes, |bytes, &side| bytes.checked_mul(side));
        let end_bytes = len_bytes.and_then(|len| len.checked_add(offset_bytes));
        if end_bytes.is_none_or(|end| end > buffer.len_bytes()) || !offset_bytes.is_multiple_of(value_bytes) {
            let message = format!(
                "{shape:?} values of {value_bytes} bytes from byte {offset_bytes} on do not lie in a buffer of {} bytes",
                buffer.len_bytes()
            );
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let device = torch_device(buffer.device().info().backend, gpu);
        cuda::prepare(device)?;
        let size: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
        let data: *const u8 = buffer.ptr::<u8>(offset_bytes);
        // SAFETY: as many bytes lie in the buffer, which lives for `'a`; the caller answers for what is done with them.
        let tensor = unsafe { Tensor::f_from_blob(data, &size, &[], kind, device)? };
        Ok(Self { tensor, buffer: PhantomData })
    }
}

impl Deref for BorrowedTensor<'_> {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

impl fmt::Debug for BorrowedTensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BorrowedTensor({:?})", self.tensor.size())
    }
}

fn torch_device(backend: Backend, gpu: usize) -> Device {
    match backend {
        Backend::Cuda => Device::Cuda(gpu),
        Backend::Emulator => Device::Cpu,
    }
}

/// A tensor's memory as a buffer of `device`: it must be contiguous and lie there (for the emulator, in host memory).
///
/// # Errors
/// [`ErrorKind::Usage`] if it is not.
///
/// # Safety
/// The tensor's memory lives until the buffer is dropped and all that was put on streams with it is done.
pub unsafe fn buffer_over(tensor: &Tensor, device: &Arc<dyn device::Device>, gpu: usize) -> Result<DeviceBuffer> {
    let backend = device.info().backend;
    if !tensor.is_contiguous() || tensor.device() != torch_device(backend, gpu) {
        let message = format!("a tensor on {:?} is no contiguous memory of a {backend:?} device", tensor.device());
        return Err(Error::new(ErrorKind::Usage, message));
    }
    let len_bytes = tensor.numel() * tensor.f_kind()?.elt_size_in_bytes();
    // SAFETY: contiguous, so that many bytes; the caller answers for their life.
    Ok(unsafe { DeviceBuffer::from_raw(device, tensor.data_ptr() as u64, len_bytes) })
}

/// What libtorch is told to do from now on comes after all that is on `stream` so far.
///
/// # Errors
/// [`ErrorKind::Device`].
pub fn torch_waits_for_device(stream: &Stream) -> Result<()> {
    match stream.device().info().backend {
        Backend::Cuda => order(stream, &default_stream(stream.device())?),
        Backend::Emulator => stream.synchronize(),
    }
}

/// What is put on `stream` from now on comes after all that libtorch was told to do so far.
///
/// # Errors
/// [`ErrorKind::Device`].
pub fn device_waits_for_torch(stream: &Stream) -> Result<()> {
    match stream.device().info().backend {
        Backend::Cuda => order(&default_stream(stream.device())?, stream),
        // libtorch's work on the CPU is done when its call returns.
        Backend::Emulator => Ok(()),
    }
}

fn default_stream(device: &Arc<dyn device::Device>) -> Result<Stream> {
    // SAFETY: the default stream always lives.
    unsafe { Stream::from_raw(device, DEFAULT_STREAM) }
}

/// `later` waits for what is on `earlier`.
fn order(earlier: &Stream, later: &Stream) -> Result<()> {
    let event = Event::new(earlier.device())?;
    earlier.record(&event)?;
    later.wait_for(&event)
}
