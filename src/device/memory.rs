//! Memory that is given back when dropped.

use super::{Address, Device};
use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// Device memory, aligned to 256 bytes.
pub struct DeviceBuffer {
    device: Arc<dyn Device>,
    address: Address,
    len_bytes: usize,
    /// Somebody else's will be given back by whoever has taken it.
    is_own: bool,
}

impl DeviceBuffer {
    /// Takes memory; its contents are undefined (poison, on the emulator). An empty buffer takes one byte.
    ///
    /// # Errors
    /// `OutOfMemory`: nothing else is harmed.
    pub fn new(device: &Arc<dyn Device>, len_bytes: usize) -> Result<Self> {
        let address = device.allocate(len_bytes.max(1))?;
        device.memory_meter().device.take(len_bytes);
        Ok(Self { device: Arc::clone(device), address, len_bytes, is_own: true })
    }

    /// Memory that somebody else has taken, and will give back: on a GPU, at a `CUdeviceptr`. It is not counted by the device's meter.
    ///
    /// # Safety
    /// `len_bytes` at `address` are memory of this device as long as the result lives and anything put on a stream uses it.
    pub unsafe fn from_raw(device: &Arc<dyn Device>, address: Address, len_bytes: usize) -> Self {
        Self { device: Arc::clone(device), address, len_bytes, is_own: false }
    }

    /// The device it belongs to.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Its size.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Where it starts.
    pub fn address(&self) -> Address {
        self.address
    }

    /// A pointer for a kernel's parameters, `offset_bytes` behind the start. Not to be read by the host.
    ///
    /// # Panics
    /// If the offset lies behind the end, or is not aligned for `T`: a mistake of this library.
    pub fn ptr<T>(&self, offset_bytes: usize) -> *mut T {
        assert!(offset_bytes <= self.len_bytes, "offset {offset_bytes} in a buffer of {} bytes", self.len_bytes);
        assert_eq!(offset_bytes % align_of::<T>(), 0, "offset {offset_bytes} is not aligned");
        (self.address + offset_bytes as u64) as *mut T
    }

    /// A part of it, for copies.
    ///
    /// # Panics
    /// If the range is not inside: a mistake of this library.
    pub fn slice(&self, range_bytes: Range<usize>) -> DeviceSlice<'_> {
        assert!(
            range_bytes.start <= range_bytes.end && range_bytes.end <= self.len_bytes,
            "{range_bytes:?} of a buffer of {} bytes",
            self.len_bytes
        );
        DeviceSlice {
            address: self.address + range_bytes.start as u64,
            len_bytes: range_bytes.len(),
            buffer: PhantomData,
        }
    }

    /// All of it, for copies.
    pub fn all(&self) -> DeviceSlice<'_> {
        self.slice(0..self.len_bytes)
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        if self.is_own {
            // SAFETY: the address is this buffer's own, and `free` waits for what still uses it.
            unsafe { self.device.free(self.address) }
            self.device.memory_meter().device.give_back(self.len_bytes);
        }
    }
}

impl fmt::Debug for DeviceBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceBuffer({:#x}, {} bytes)", self.address, self.len_bytes)
    }
}

/// A part of a [`DeviceBuffer`].
#[derive(Clone, Copy, Debug)]
pub struct DeviceSlice<'a> {
    pub(super) address: Address,
    pub(super) len_bytes: usize,
    buffer: PhantomData<&'a DeviceBuffer>,
}

impl DeviceSlice<'_> {
    /// Where it starts.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Its size.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Its first bytes: at most as many as it has.
    pub fn first(self, len_bytes: usize) -> Self {
        Self { len_bytes: len_bytes.min(self.len_bytes), ..self }
    }
}

/// Host memory that the device can copy from and to while the host goes on.
pub struct PinnedBuffer {
    device: Arc<dyn Device>,
    memory: *mut u8,
    len_bytes: usize,
}

// SAFETY: the memory belongs to the buffer alone, as a Box's does.
unsafe impl Send for PinnedBuffer {}
// SAFETY: shared references only read.
unsafe impl Sync for PinnedBuffer {}

impl PinnedBuffer {
    /// Takes memory, zeroed.
    ///
    /// # Errors
    /// `OutOfMemory`: nothing else is harmed.
    pub fn new(device: &Arc<dyn Device>, len_bytes: usize) -> Result<Self> {
        let memory = device.allocate_pinned(len_bytes.max(1))?;
        if memory.is_null() {
            return Err(Error::new(ErrorKind::OutOfMemory, format!("no pinned memory of {len_bytes} bytes to be had")));
        }
        // SAFETY: as many bytes were just given to us.
        unsafe { memory.write_bytes(0, len_bytes.max(1)) };
        device.memory_meter().pinned.take(len_bytes);
        Ok(Self { device: Arc::clone(device), memory, len_bytes })
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len_bytes` initialised bytes that live as long as `self`; device writes are excluded by `Stream::download`'s contract.
        unsafe { std::slice::from_raw_parts(self.memory, self.len_bytes) }
    }

    /// Its bytes, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.memory, self.len_bytes) }
    }

    /// Its size.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        // SAFETY: the memory is this buffer's own, and `free_pinned` waits for what still uses it.
        unsafe { self.device.free_pinned(self.memory) }
        self.device.memory_meter().pinned.give_back(self.len_bytes);
    }
}

impl fmt::Debug for PinnedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedBuffer({} bytes)", self.len_bytes)
    }
}
