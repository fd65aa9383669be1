//! Streams and events.

use super::trace::Trace;
use super::{Device, DeviceSlice, EventHandle, Gate, Launch, StreamHandle, StreamOperation};
use crate::abi::Kernel;
use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The numbers of CTAs of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// CTAs along x, at least one.
    pub x: u32,
    /// CTAs along y, 1 to 65,535.
    pub y: u32,
    /// CTAs along z, 1 to 65,535.
    pub z: u32,
}

impl Grid {
    /// A row of CTAs.
    pub const fn x(num_ctas: u32) -> Self {
        Self { x: num_ctas, y: 1, z: 1 }
    }

    /// All of them.
    pub const fn num_ctas(self) -> u64 {
        self.x as u64 * self.y as u64 * self.z as u64
    }
}

/// A queue of work for a device: what is put on it is done in that order, some time later. Copies and fills of no bytes are nothing at all.
pub struct Stream {
    device: Arc<dyn Device>,
    handle: StreamHandle,
    /// Somebody else's will be ended by whoever has made it.
    is_own: bool,
    pub(super) trace: Mutex<Option<Trace>>,
    uploaded_bytes: AtomicU64,
    downloaded_bytes: AtomicU64,
}

impl Stream {
    /// A new stream, which waits for no other.
    pub fn new(device: &Arc<dyn Device>) -> Result<Self> {
        Ok(Self::with_handle(device, device.create_stream()?, true))
    }

    /// A stream that somebody else has made, and will end, by the driver's own handle: on a GPU a `CUstream` or `cudaStream_t` of the
    /// device's primary context, such as PyTorch's `torch.cuda.current_stream().cuda_stream`. 0 and 1 (`CU_STREAM_LEGACY`) are the legacy default
    /// stream, also in programs that are compiled to mean the thread's own by 0; 2 (`CU_STREAM_PER_THREAD`) is another stream in each thread, and
    /// refused. On the emulator the number of one of its streams.
    ///
    /// # Safety
    /// The stream lives as long as the result, and whatever waits for what is put on it.
    ///
    /// # Errors
    /// `Usage` if it is not this device's, or the default stream of a thread; `Device`.
    pub unsafe fn from_raw(device: &Arc<dyn Device>, raw: u64) -> Result<Self> {
        // SAFETY: the caller's.
        let handle = unsafe { device.adopt_stream(raw)? };
        Ok(Self::with_handle(device, handle, false))
    }

    fn with_handle(device: &Arc<dyn Device>, handle: StreamHandle, is_own: bool) -> Self {
        Self {
            device: Arc::clone(device),
            handle,
            is_own,
            trace: Mutex::default(),
            uploaded_bytes: AtomicU64::new(0),
            downloaded_bytes: AtomicU64::new(0),
        }
    }

    /// The device it belongs to.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Its number.
    pub fn handle(&self) -> StreamHandle {
        self.handle
    }

    /// Bytes of all uploads that were put on it so far.
    pub fn uploaded_bytes(&self) -> u64 {
        self.uploaded_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of all downloads that were put on it so far.
    pub fn downloaded_bytes(&self) -> u64 {
        self.downloaded_bytes.load(Ordering::Relaxed)
    }

    /// Copies host memory (best a [`super::PinnedBuffer`]'s) to the device.
    ///
    /// # Safety
    /// `from` is read when the copy runs: it stays alive and unwritten until the stream has passed this call.
    ///
    /// # Panics
    /// If the lengths differ: a mistake of this library.
    pub unsafe fn upload(&self, to: DeviceSlice<'_>, from: &[u8]) -> Result<()> {
        assert_eq!(to.len_bytes, from.len(), "both ends of a copy have one length");
        if to.len_bytes == 0 {
            return Ok(());
        }
        self.uploaded_bytes.fetch_add(from.len() as u64, Ordering::Relaxed);
        // SAFETY: the device slice is alive and as long as `from`, whose lifetime the caller vouches for.
        let put = || unsafe { self.device.copy_to_device(self.handle, to.address, from.as_ptr(), from.len()) };
        self.traced(StreamOperation::Upload { len_bytes: from.len() }, put)
    }

    /// Copies device memory to the host (best to a [`super::PinnedBuffer`]).
    ///
    /// # Safety
    /// `to` is written when the copy runs: it stays alive, and nobody looks at it, until the stream has passed this call.
    ///
    /// # Panics
    /// If the lengths differ: a mistake of this library.
    pub unsafe fn download(&self, to: &mut [u8], from: DeviceSlice<'_>) -> Result<()> {
        assert_eq!(to.len(), from.len_bytes, "both ends of a copy have one length");
        if to.is_empty() {
            return Ok(());
        }
        self.downloaded_bytes.fetch_add(to.len() as u64, Ordering::Relaxed);
        let operation = StreamOperation::Download { len_bytes: to.len() };
        // SAFETY: the device slice is alive and as long as `to`, whose lifetime the caller vouches for.
        self.traced(operation, || unsafe {
            self.device.copy_to_host(self.handle, to.as_mut_ptr(), from.address, to.len())
        })
    }

    /// Copies device memory to the host and waits for it.
    ///
    /// # Panics
    /// If the lengths differ: a mistake of this library.
    pub fn download_now(&self, to: &mut [u8], from: DeviceSlice<'_>) -> Result<()> {
        // SAFETY: `to` is borrowed until the stream has been waited for.
        unsafe { self.download(to, from)? };
        self.synchronize()
    }

    /// Copies device memory to device memory that it does not overlap.
    ///
    /// # Panics
    /// If the lengths differ: a mistake of this library.
    pub fn copy(&self, to: DeviceSlice<'_>, from: DeviceSlice<'_>) -> Result<()> {
        assert_eq!(to.len_bytes, from.len_bytes, "both ends of a copy have one length");
        if to.len_bytes == 0 {
            return Ok(());
        }
        // SAFETY: both are alive, and freeing either waits for the stream.
        let put = || unsafe { self.device.copy_on_device(self.handle, to.address, from.address, to.len_bytes) };
        self.traced(StreamOperation::Copy { len_bytes: to.len_bytes }, put)
    }

    /// Sets every byte.
    pub fn fill(&self, to: DeviceSlice<'_>, byte: u8) -> Result<()> {
        if to.len_bytes == 0 {
            return Ok(());
        }
        // SAFETY: the slice is alive, and freeing its buffer waits for the stream.
        let put = || unsafe { self.device.fill(self.handle, to.address, byte, to.len_bytes) };
        self.traced(StreamOperation::Fill { len_bytes: to.len_bytes }, put)
    }

    /// Declares that the contents no longer matter: the emulator spoils them, so that reading them shows.
    pub fn discard(&self, what: DeviceSlice<'_>) -> Result<()> {
        // SAFETY: the slice is alive, and freeing its buffer waits for the stream.
        unsafe { self.device.discard(self.handle, what.address, what.len_bytes) }
    }

    /// Starts a kernel on `grid`, with `smem_tail_bytes` of shared memory behind its own struct. A grid without CTAs is no launch at all.
    ///
    /// # Safety
    /// What `params` points at stays alive, and is used by nothing else that conflicts, until the stream has passed this call; and it is what the
    /// kernel demands.
    ///
    /// # Errors
    /// `Usage` when the device lacks the shared memory; `KernelsNotBuilt`; `Device`.
    pub unsafe fn launch<K: Kernel>(&self, grid: Grid, smem_tail_bytes: u32, params: &K::Params) -> Result<()> {
        if grid.num_ctas() == 0 {
            return Ok(());
        }
        if grid.y > 65_535 || grid.z > 65_535 || grid.x > i32::MAX as u32 {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("kernel `{}`: {grid:?} is more than a grid can be", K::ID.name()),
            ));
        }
        // SAFETY: a plain C struct whose padding abi.h names, so every byte of it is initialised.
        let params = unsafe { std::slice::from_raw_parts((&raw const *params).cast::<u8>(), size_of::<K::Params>()) };
        let launch = Launch { kernel: K::ID, grid, smem_tail_bytes, params };
        // SAFETY: `K::Params` is what the kernel takes; the caller vouches for what it points at.
        let put = || unsafe { self.device.launch(self.handle, &launch) };
        self.traced(StreamOperation::Launch { kernel: K::ID, grid, smem_tail_bytes }, put)
    }

    /// Records `event`: it has happened once everything put on the stream so far is done.
    pub fn record(&self, event: &Event) -> Result<()> {
        // SAFETY: both handles are alive.
        unsafe { self.device.record_event(self.handle, event.handle) }
    }

    /// What is put on the stream from now on waits for the event's latest recording.
    pub fn wait_for(&self, event: &Event) -> Result<()> {
        // SAFETY: both handles are alive.
        unsafe { self.device.wait_event(self.handle, event.handle) }
    }

    /// Waits until everything on the stream is done.
    ///
    /// # Errors
    /// `Device`: something on it (or before it on the device) failed.
    pub fn synchronize(&self) -> Result<()> {
        self.release();
        // SAFETY: the handle is alive.
        unsafe { self.device.synchronize_stream(self.handle) }
    }

    /// Lets what comes after wait until the gate is open; see [`Device::hold`].
    pub(super) fn hold(&self, gate: &Arc<Gate>) -> Result<()> {
        // SAFETY: the handle is alive.
        unsafe { self.device.hold(self.handle, gate) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.release();
        if self.is_own {
            // SAFETY: the handle is this stream's own; what is still on it is waited for.
            unsafe { self.device.destroy_stream(self.handle) }
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:#x})", self.handle.0)
    }
}

/// A mark on a stream that other streams and the host can wait for.
pub struct Event {
    device: Arc<dyn Device>,
    handle: EventHandle,
}

impl Event {
    /// An event that nothing has recorded yet.
    pub fn new(device: &Arc<dyn Device>) -> Result<Self> {
        Ok(Self { device: Arc::clone(device), handle: device.create_event()? })
    }

    /// Whether its latest recording has happened (true, if there is none). Never waits.
    pub fn has_happened(&self) -> Result<bool> {
        // SAFETY: the handle is alive.
        unsafe { self.device.has_happened(self.handle) }
    }

    /// Waits for its latest recording.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the handle is alive.
        unsafe { self.device.synchronize_event(self.handle) }
    }

    /// Device time from `self` to `later`, both of which have happened.
    pub fn elapsed(&self, later: &Self) -> Result<Duration> {
        // SAFETY: both handles are alive.
        unsafe { self.device.elapsed(self.handle, later.handle) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the handle is this event's own.
        unsafe { self.device.destroy_event(self.handle) }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({:#x})", self.handle.0)
    }
}
