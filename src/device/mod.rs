//! The device that runs the kernels: memory, streams, events, launches. One trait, [`Device`], with two implementations: `cuda` (the
//! product) and `emulator` (the same kernels on the CPU, for tests). Launch sequences are written once, over this module's types.
//!
//! [`Device`] has a driver's verbs and raw handles; [`DeviceBuffer`], [`PinnedBuffer`], [`Stream`] and [`Event`] own those handles.
//!
//! Everything on a stream happens later, in the stream's order; between streams only events order anything. What a copy reads or writes on
//! the host, and what a kernel's parameters point at, must stay as it is until then: those calls are `unsafe`.

mod busy;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "emulator")]
pub mod emulator;
mod gate;
mod graph;
mod memory;
mod meter;
mod nvtx;
mod ops;
mod stream;
mod trace;

pub use busy::BusyClock;
pub use gate::Gate;
pub use graph::Graph;
pub use memory::{DeviceBuffer, DeviceSlice, PinnedBuffer};
pub use meter::{MemoryMeter, MemoryUse};
pub use nvtx::{ProfilerRange, range};
pub use ops::{ConvolveTile, KernelOps, Ops, OpsChoice};
pub use stream::{Event, Grid, Stream};
pub use trace::{StreamOperation, TraceDetail, TraceSpan};

use crate::Result;
use crate::abi::{Counter, KernelId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What kind of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// An NVIDIA GPU.
    Cuda,
    /// Kernels on the CPU, one fiber per CUDA thread.
    Emulator,
}

/// What a device says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What kind of device it is.
    pub backend: Backend,
    /// The vendor's name for it.
    pub name: String,
    /// Major and minor, such as (9, 0).
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub num_sms: u32,
    /// The highest clock of the multiprocessors, where there is one.
    pub sm_clock_mhz: Option<u32>,
    /// The most shared memory that a CTA can ask for.
    pub max_smem_bytes: u32,
    /// The second-level cache, which all multiprocessors share.
    pub l2_bytes: u64,
    /// All of its memory.
    pub memory_bytes: u64,
    /// Where it sits, as `nvidia-smi` names it: `DOMAIN:BUS:DEVICE.0`, in hexadecimal. `None` where it sits nowhere.
    pub pci_bus_id: Option<String>,
}

/// A launch, as the driver takes it.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Which kernel.
    pub kernel: KernelId,
    /// How many CTAs.
    pub grid: Grid,
    /// Shared memory behind the kernel's own struct.
    pub smem_tail_bytes: u32,
    /// The bytes of the kernel's parameter struct, at an address aligned for it.
    pub params: &'a [u8],
}

/// What a counter reached in a kernel's launches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Summed over all threads.
    pub total: u64,
    /// What warps pay, in lockstep: 32 times the greatest lane, summed over the stretches between points where the whole warp meets.
    pub warp_max: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.warp_max += other.warp_max;
    }
}

/// What the launches of one kernel did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// Launches.
    pub num_launches: u64,
    /// Their CTAs.
    pub num_ctas: u64,
    counts: [Count; Counter::ALL.len()],
}

impl KernelCounts {
    /// What a counter reached.
    pub fn count(&self, counter: Counter) -> Count {
        self.counts[counter as usize]
    }

    /// What a batch so many times as large would count.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        let times = |count: u64| (count as f64 * factor).round() as u64;
        let counts = self.counts.map(|count| Count { total: times(count.total), warp_max: times(count.warp_max) });
        Self { num_launches: self.num_launches, num_ctas: times(self.num_ctas), counts }
    }

    /// Adds the counts of other launches.
    pub fn add(&mut self, other: &Self) {
        self.num_launches += other.num_launches;
        self.num_ctas += other.num_ctas;
        for (sum, &count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
    }
}

/// An address in device memory.
pub type Address = u64;

/// A stream's number, given by its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamHandle(pub u64);

/// An event's number, given by its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventHandle(pub u64);

/// A graph's number, given by its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GraphHandle(pub u64);

/// A driver's verbs, over raw handles. Its users are the owning types of this module.
///
/// Errors have the kinds `OutOfMemory` (nothing else is harmed), `KernelsNotBuilt` and `Device`: after the latter the device answers every call
/// with the same error.
///
/// # Safety
/// Callers of the unsafe methods guarantee that handles come from this device and were not destroyed, that addresses lie in live buffers, and that
/// memory named in a call on a stream stays valid, and unwritten where it is read, until the stream has passed the call.
pub trait Device: Send + Sync + fmt::Debug {
    /// What it says about itself.
    fn info(&self) -> &DeviceInfo;
    /// Counts the memory that its buffers hold; they do the counting.
    fn memory_meter(&self) -> &MemoryMeter;

    /// Device memory, aligned to 256 bytes, contents undefined. Not zero bytes.
    fn allocate(&self, len_bytes: usize) -> Result<Address>;
    /// Gives memory back after everything on every stream is done.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn free(&self, address: Address);
    /// Host memory that the device can copy from and to while the host goes on. Not zero bytes.
    fn allocate_pinned(&self, len_bytes: usize) -> Result<*mut u8>;
    /// Gives memory back after everything on every stream is done.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn free_pinned(&self, memory: *mut u8);

    /// A stream that waits for no other.
    fn create_stream(&self) -> Result<StreamHandle>;
    /// A stream that somebody else has made and will end, by the driver's own handle (on a GPU: a `CUstream` or `cudaStream_t`).
    ///
    /// # Safety
    /// The handle is a live stream's, of this driver.
    ///
    /// # Errors
    /// `Usage` if it is not this device's, or another stream in each thread.
    unsafe fn adopt_stream(&self, raw: u64) -> Result<StreamHandle>;
    /// Ends a stream after everything on it is done.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn destroy_stream(&self, stream: StreamHandle);
    /// Waits until everything on the stream is done.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn synchronize_stream(&self, stream: StreamHandle) -> Result<()>;

    /// An event that nothing has recorded yet.
    fn create_event(&self) -> Result<EventHandle>;
    /// Ends an event; waits for it that are under way stay right.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn destroy_event(&self, event: EventHandle);
    /// Records the event on the stream: it has happened once everything before it on the stream is done.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn record_event(&self, stream: StreamHandle, event: EventHandle) -> Result<()>;
    /// What comes after on the stream waits for the event's latest recording (for nothing, if there is none).
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn wait_event(&self, stream: StreamHandle, event: EventHandle) -> Result<()>;
    /// Whether the event's latest recording has happened (true, if there is none). Never waits.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn has_happened(&self, event: EventHandle) -> Result<bool>;
    /// Waits for the event's latest recording.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn synchronize_event(&self, event: EventHandle) -> Result<()>;
    /// Device time between two events that have happened.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn elapsed(&self, from: EventHandle, to: EventHandle) -> Result<Duration>;

    /// Copies host memory to the device. The host memory is read when the copy runs, not now.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn copy_to_device(&self, stream: StreamHandle, to: Address, from: *const u8, len_bytes: usize)
    -> Result<()>;
    /// Copies device memory to the host.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn copy_to_host(&self, stream: StreamHandle, to: *mut u8, from: Address, len_bytes: usize) -> Result<()>;
    /// Copies device memory to device memory that it does not overlap.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn copy_on_device(&self, stream: StreamHandle, to: Address, from: Address, len_bytes: usize) -> Result<()>;
    /// Sets every byte.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn fill(&self, stream: StreamHandle, to: Address, byte: u8, len_bytes: usize) -> Result<()>;
    /// Declares that the contents no longer matter. The emulator spoils them, so that reading them shows; others do nothing.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn discard(&self, stream: StreamHandle, address: Address, len_bytes: usize) -> Result<()>;
    /// Starts a kernel. `params` is read now.
    ///
    /// # Safety
    /// As for the trait; the parameters are those of the kernel.
    unsafe fn launch(&self, stream: StreamHandle, launch: &Launch<'_>) -> Result<()>;

    /// Records what is put on the stream from now on, instead of doing it: copies, fills and launches.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn begin_capture(&self, stream: StreamHandle) -> Result<()>;
    /// Ends the recording, and gives what was recorded.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn end_capture(&self, stream: StreamHandle) -> Result<GraphHandle>;
    /// Puts everything that was recorded on a stream.
    ///
    /// # Safety
    /// As for the trait, for all that was recorded.
    unsafe fn launch_graph(&self, stream: StreamHandle, graph: GraphHandle) -> Result<()>;
    /// Ends a graph; launches of it that are under way go on.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn destroy_graph(&self, graph: GraphHandle);

    /// Convolutions by the vendor's libraries.
    ///
    /// # Errors
    /// `Usage`: there are none for this device. `NoLibrary`: one is missing; the message says how to get it.
    fn library_ops(self: Arc<Self>) -> Result<Arc<dyn Ops>> {
        let message =
            format!("{} has no libraries for convolutions: leave them to dctflow's own kernels", self.info().name);
        Err(crate::Error::new(crate::ErrorKind::Usage, message))
    }

    /// Lets what comes after on the stream wait until `gate` is open, or for [`Gate::MAX_WAIT`]. Only measurements ask for it, so that the host's
    /// pace is not in their times; where times mean nothing it may be left out.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn hold(&self, _stream: StreamHandle, _gate: &Arc<Gate>) -> Result<()> {
        Ok(())
    }

    /// Tells a profiler that waits for it (`ncu --profile-from-start off`, `nsys --capture-range=cudaProfilerApi`) to begin. Others do nothing.
    fn start_profiler(&self) -> Result<()> {
        Ok(())
    }
    /// Tells it to end.
    fn stop_profiler(&self) -> Result<()> {
        Ok(())
    }

    /// What kernels did since the last call (`COUNT` in their sources). The emulator counts; of others there is nothing to tell.
    fn take_counts(&self) -> BTreeMap<KernelId, KernelCounts> {
        BTreeMap::new()
    }

    /// Bytes to leave unused between two arrays that share a buffer, to be declared with [`Device::forbid`]. 0 where nobody looks.
    fn redzone_bytes(&self) -> usize {
        0
    }
    /// Declares that nothing may touch a range of a buffer (whole multiples of 8 bytes). The emulator checks; others do nothing.
    ///
    /// # Safety
    /// As for the trait; nothing on any stream still uses the range.
    unsafe fn forbid(&self, _address: Address, _len_bytes: usize) {}
    /// Takes back every [`Device::forbid`] that lies in a range.
    ///
    /// # Safety
    /// As for the trait.
    unsafe fn permit(&self, _address: Address, _len_bytes: usize) {}
}

/// The error of a launch that asks for more shared memory than the device has.
#[cfg(any(feature = "emulator", feature = "cuda"))]
fn too_much_smem(kernel: KernelId, smem_bytes: u64, info: &DeviceInfo) -> crate::Error {
    let message = format!(
        "kernel `{}` asks for {smem_bytes} bytes of shared memory per CTA; {} has {}",
        kernel.name(),
        info.name,
        info.max_smem_bytes
    );
    crate::Error::new(crate::ErrorKind::Usage, message)
}
