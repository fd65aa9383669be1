//! An emulator behind hooks: a test sees, delays or sets apart every call that reaches it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dctflow::Result;
use dctflow::abi::KernelId;
use dctflow::device::emulator::{Emulator, EmulatorOptions};
use dctflow::device::{
    Address, Device, DeviceInfo, EventHandle, Gate, GraphHandle, KernelCounts, Launch, MemoryMeter, StreamHandle,
};

/// A call that a hook may want to tell from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A copy to the device.
    Upload { from: usize, len_bytes: usize },
    /// A kernel is put on a stream.
    Launch { stream: StreamHandle },
    /// The host waits for a stream.
    SynchronizeStream { stream: StreamHandle },
    /// A stream begins to be recorded.
    BeginCapture,
    /// Any other.
    Other,
}

/// What is done around each call.
pub trait Hooks: Send + Sync {
    /// A stream is held, on a device that can.
    fn hold(&self, _gate: &Arc<Gate>) {}

    fn around<R>(&self, call: Call, work: impl FnOnce() -> R) -> R;

    /// What the device says it is: a test may let it pose as another.
    fn info<'a>(&'a self, inner: &'a DeviceInfo) -> &'a DeviceInfo {
        inner
    }

    /// Whether this number, which is none of the emulator's streams, is taken for one.
    fn has_stream(&self, _raw: u64) -> bool {
        false
    }
}

/// The emulator, and the hooks.
pub struct Wrapped<H> {
    inner: Arc<Emulator>,
    pub hooks: H,
}

impl<H> Wrapped<H> {
    pub fn new(options: EmulatorOptions, hooks: H) -> Arc<Self> {
        Arc::new(Self { inner: Emulator::new(options).expect("an emulator"), hooks })
    }
}

impl<H> fmt::Debug for Wrapped<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wrapped({:?})", self.inner)
    }
}

macro_rules! hand_on {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name(&self, $($argument: $type),*) $(-> $result)? {
            self.hooks.around(Call::Other, || self.inner.$name($($argument),*))
        })*
    };
    ($(unsafe fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? as $call:expr;)*) => {
        $(unsafe fn $name(&self, $($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller's promises are those that the inner device asks for.
            self.hooks.around($call, || unsafe { self.inner.$name($($argument),*) })
        })*
    };
}

impl<H: Hooks> Device for Wrapped<H> {
    fn info(&self) -> &DeviceInfo {
        self.hooks.info(self.inner.info())
    }

    unsafe fn adopt_stream(&self, raw: u64) -> Result<StreamHandle> {
        // The emulator makes a queue of any number that work is put on.
        // SAFETY: the caller's promises are those that the inner device asks for.
        if self.hooks.has_stream(raw) { Ok(StreamHandle(raw)) } else { unsafe { self.inner.adopt_stream(raw) } }
    }

    hand_on! {
        fn memory_meter() -> &MemoryMeter;
        fn allocate(len_bytes: usize) -> Result<Address>;
        fn allocate_pinned(len_bytes: usize) -> Result<*mut u8>;
        fn create_stream() -> Result<StreamHandle>;
        fn create_event() -> Result<EventHandle>;
        fn take_counts() -> BTreeMap<KernelId, KernelCounts>;
        fn redzone_bytes() -> usize;
    }

    unsafe fn copy_to_device(
        &self,
        stream: StreamHandle,
        to: Address,
        from: *const u8,
        len_bytes: usize,
    ) -> Result<()> {
        // SAFETY: the caller's promises are those that the inner device asks for.
        let copy = || unsafe { self.inner.copy_to_device(stream, to, from, len_bytes) };
        self.hooks.around(Call::Upload { from: from as usize, len_bytes }, copy)
    }

    unsafe fn launch(&self, stream: StreamHandle, launch: &Launch<'_>) -> Result<()> {
        // SAFETY: the caller's promises are those that the inner device asks for.
        self.hooks.around(Call::Launch { stream }, || unsafe { self.inner.launch(stream, launch) })
    }

    unsafe fn hold(&self, stream: StreamHandle, gate: &Arc<Gate>) -> Result<()> {
        self.hooks.hold(gate);
        // SAFETY: the caller's promises are those that the inner device asks for.
        unsafe { self.inner.hold(stream, gate) }
    }

    unsafe fn synchronize_stream(&self, stream: StreamHandle) -> Result<()> {
        // SAFETY: the caller's handle.
        self.hooks.around(Call::SynchronizeStream { stream }, || unsafe { self.inner.synchronize_stream(stream) })
    }

    hand_on! {
        unsafe fn free(address: Address) as Call::Other;
        unsafe fn free_pinned(memory: *mut u8) as Call::Other;
        unsafe fn destroy_stream(stream: StreamHandle) as Call::Other;
        unsafe fn destroy_event(event: EventHandle) as Call::Other;
        unsafe fn record_event(stream: StreamHandle, event: EventHandle) -> Result<()> as Call::Other;
        unsafe fn wait_event(stream: StreamHandle, event: EventHandle) -> Result<()> as Call::Other;
        unsafe fn has_happened(event: EventHandle) -> Result<bool> as Call::Other;
        unsafe fn synchronize_event(event: EventHandle) -> Result<()> as Call::Other;
        unsafe fn elapsed(from: EventHandle, to: EventHandle) -> Result<Duration> as Call::Other;
        unsafe fn copy_to_host(stream: StreamHandle, to: *mut u8, from: Address, len_bytes: usize) -> Result<()> as Call::Other;
        unsafe fn copy_on_device(stream: StreamHandle, to: Address, from: Address, len_bytes: usize) -> Result<()> as Call::Other;
        unsafe fn fill(stream: StreamHandle, to: Address, byte: u8, len_bytes: usize) -> Result<()> as Call::Other;
        unsafe fn discard(stream: StreamHandle, address: Address, len_bytes: usize) -> Result<()> as Call::Other;
        unsafe fn begin_capture(stream: StreamHandle) -> Result<()> as Call::BeginCapture;
        unsafe fn end_capture(stream: StreamHandle) -> Result<GraphHandle> as Call::Other;
        unsafe fn launch_graph(stream: StreamHandle, graph: GraphHandle) -> Result<()> as Call::Other;
        unsafe fn destroy_graph(graph: GraphHandle) as Call::Other;
        unsafe fn forbid(address: Address, len_bytes: usize) as Call::Other;
        unsafe fn permit(address: Address, len_bytes: usize) as Call::Other;
    }
}
