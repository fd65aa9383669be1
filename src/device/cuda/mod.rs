//! NVIDIA GPUs, through the driver's interface. The only module that names cudarc or the driver.
//!
//! Nothing of CUDA is needed to build or to start: the driver is looked for when a device is opened, and whatever is missing is an error that
//! says so. The device's primary context is used, so memory and streams can be shared with other libraries of the process.

mod blas;
mod cupti;
mod dnn;
mod driver;
mod library;
mod library_ops;
mod modules;
mod recordings;

pub use cupti::{Activity, ActivityKind, Cupti};
pub use library_ops::{Libraries, LibraryOps, OpsCounts};

use super::{
    Address, Backend, Device, DeviceInfo, EventHandle, Gate, GraphHandle, Launch, MemoryMeter, Ops, StreamHandle,
};
use crate::{Error, ErrorKind, Result};
use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdevice_attribute, CUevent, CUevent_flags, CUgraphExec, CUstream, CUstream_flags,
    CUstreamCaptureMode, CUstreamCaptureStatus,
};
use driver::Driver;
use modules::Module;
use recordings::{KeptOff, RECORDINGS};
use std::ffi::{c_int, c_void};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One GPU.
pub struct Cuda {
    driver: &'static Driver,
    device: CUdevice,
    context: CUcontext,
    module: Option<Module>,
    info: DeviceInfo,
    memory_meter: MemoryMeter,
    /// For waits of the host, as many as there were at one time.
    wait_events: Mutex<Vec<EventHandle>>,
}

/// `CU_STREAM_PER_THREAD`: not one stream, but another one in each thread that names it.
const STREAM_PER_THREAD: u64 = 2;

/// What a stream says of itself when a library has failed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamState {
    /// It works: what failed was the library's affair.
    Works,
    /// It is recorded, and the recording goes on.
    IsRecorded,
    /// Its recording is spoilt.
    IsSpoilt,
}

// SAFETY: the driver's handles may be used by any thread that has made the context current, which every method does first.
unsafe impl Send for Cuda {}
// SAFETY: as above; the driver does its own locking.
unsafe impl Sync for Cuda {}

impl Cuda {
    /// Opens GPU number `ordinal`, counted from 0 (after `CUDA_VISIBLE_DEVICES`).
    ///
    /// # Errors
    /// `NoDriver` (none, or too old), `NoDevice` (no such GPU, or older than compute capability 8.0), `KernelsNotBuilt`, `OutOfMemory`, `Device`.
    pub fn open(ordinal: u32) -> Result<Arc<Self>> {
        let driver = Driver::get(modules::cuda_version())?;
        let device = find_device(driver, ordinal)?;
        let info = describe(driver, device)?;
        let (major, minor) = info.compute_capability;
        if major < 8 {
            return Err(Error::new(
                ErrorKind::NoDevice,
                format!("GPU {ordinal} ({}) has compute capability {major}.{minor}; 8.0 or newer is needed", info.name),
            ));
        }
        if !modules::is_built() {
            return Err(modules::not_built());
        }
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle.
        driver.check(unsafe { (driver.cuDevicePrimaryCtxRetain)(&mut context, device) }, "opening the GPU")?;
        // From here on, dropping `cuda` gives everything back.
        let (memory_meter, wait_events) = (MemoryMeter::default(), Mutex::default());
        let mut cuda = Self { driver, device, context, module: None, info, memory_meter, wait_events };
        cuda.enter()?;
        cuda.module = Some(Module::load(driver, (major, minor), cuda.info.max_smem_bytes)?);
        Ok(Arc::new(cuda))
    }

    /// Makes the context current on this thread.
    fn enter(&self) -> Result<()> {
        // SAFETY: the context is retained as long as `self` lives.
        self.driver.check(unsafe { (self.driver.cuCtxSetCurrent)(self.context) }, "entering the GPU's context")
    }

    /// Enters the context and waits for everything in it, so that memory can be given back while the result lives. Whatever failed before has
    /// been reported before.
    fn finish_all(&self) -> KeptOff<'static> {
        let kept_off = RECORDINGS.keep_off();
        // SAFETY: waits; nothing else.
        let _ = self.enter().map(|()| unsafe { (self.driver.cuCtxSynchronize)() });
        kept_off
    }

    fn lock_wait_events(&self) -> MutexGuard<'_, Vec<EventHandle>> {
        self.wait_events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_on_host(&self, event: EventHandle, doing: &str) -> Result<()> {
        self.enter()?;
        // SAFETY: the event is alive: made by this device, and kept by whoever waits for it.
        self.driver.check(unsafe { (self.driver.cuEventSynchronize)(event.cuda()) }, doing)
    }

    /// Whether a library's failure on a stream was the device's, too.
    ///
    /// # Errors
    /// `Device`: it was; the device answers nothing else from now on.
    fn stream_state(&self, stream: StreamHandle) -> Result<StreamState> {
        self.enter()?;
        let mut status: c_int = 0;
        // SAFETY: a live stream's handle; writes one integer.
        let code = unsafe { (self.driver.cuStreamIsCapturing)(stream.cuda(), &mut status) };
        self.driver.check(code, "asking whether a stream is recorded")?;
        if status == CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE as c_int {
            return Ok(StreamState::IsRecorded);
        }
        if status == CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_INVALIDATED as c_int {
            return Ok(StreamState::IsSpoilt);
        }
        // SAFETY: a live stream's handle.
        let code = unsafe { (self.driver.cuStreamQuery)(stream.cuda()) };
        self.driver.check_ready(code, "asking whether a stream still works").map(|_| StreamState::Works)
    }
}

fn find_device(driver: &Driver, ordinal: u32) -> Result<CUdevice> {
    let mut num_devices = 0;
    // SAFETY: writes one integer.
    driver.check(unsafe { (driver.cuDeviceGetCount)(&mut num_devices) }, "counting GPUs")?;
    if num_devices == 0 {
        return Err(Error::new(ErrorKind::NoDevice, "the NVIDIA driver is here, but finds no GPU"));
    }
    let ordinal = i32::try_from(ordinal).ok().filter(|&ordinal| ordinal < num_devices).ok_or_else(|| {
        let message = format!("there is no GPU {ordinal}: this machine shows {num_devices}, counted from 0");
        Error::new(ErrorKind::NoDevice, message)
    })?;
    let mut device = 0;
    // SAFETY: writes one integer.
    driver.check(unsafe { (driver.cuDeviceGet)(&mut device, ordinal) }, "asking for a GPU")?;
    Ok(device)
}

fn describe(driver: &Driver, device: CUdevice) -> Result<DeviceInfo> {
    use CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_CLOCK_RATE as SM_CLOCK_KHZ, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE as L2_BYTES,
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN as MAX_SMEM_BYTES,
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT as NUM_SMS, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID as PCI_BUS,
        CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID as PCI_DEVICE, CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID as PCI_DOMAIN,
    };
    let attribute = |attribute| -> Result<u32> {
        let mut value: c_int = 0;
        // SAFETY: writes one integer.
        driver.check(unsafe { (driver.cuDeviceGetAttribute)(&mut value, attribute, device) }, "describing the GPU")?;
        Ok(value as u32)
    };
    let mut name = [0u8; 128];
    let mut memory_bytes = 0usize;
    // SAFETY: each writes no more than it is told there is room for.
    unsafe {
        let code = (driver.cuDeviceGetName)(name.as_mut_ptr().cast(), name.len() as c_int, device);
        driver.check(code, "asking for the GPU's name")?;
        let code = (driver.cuDeviceTotalMem_v2)(&mut memory_bytes, device);
        driver.check(code, "asking for the GPU's memory")?;
    }
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(DeviceInfo {
        backend: Backend::Cuda,
        name: String::from_utf8_lossy(name).into_owned(),
        compute_capability: (attribute(MAJOR)?, attribute(MINOR)?),
        num_sms: attribute(NUM_SMS)?,
        sm_clock_mhz: Some(attribute(SM_CLOCK_KHZ)? / 1000).filter(|&mhz| mhz > 0),
        max_smem_bytes: attribute(MAX_SMEM_BYTES)?,
        l2_bytes: attribute(L2_BYTES)?.into(),
        memory_bytes: memory_bytes as u64,
        pci_bus_id: Some(format!(
            "{:08X}:{:02X}:{:02X}.0",
            attribute(PCI_DOMAIN)?,
            attribute(PCI_BUS)?,
            attribute(PCI_DEVICE)?
        )),
    })
}

/// What a held stream does, on a thread of the driver's.
unsafe extern "C" fn wait_for_gate(gate: *mut c_void) {
    // SAFETY: `hold` gave one count of it away.
    unsafe { Arc::from_raw(gate.cast_const().cast::<Gate>()) }.wait();
}

impl Drop for Cuda {
    fn drop(&mut self) {
        let _kept_off = self.finish_all();
        for event in std::mem::take(&mut *self.lock_wait_events()) {
            // SAFETY: made by this device, and nobody waits for it any more.
            unsafe { self.destroy_event(event) };
        }
        if let Some(module) = &self.module {
            module.unload(self.driver);
        }
        // SAFETY: retained once, released once.
        unsafe { (self.driver.cuDevicePrimaryCtxRelease_v2)(self.device) };
    }
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cuda").field(&self.info).finish()
    }
}

impl StreamHandle {
    fn cuda(self) -> CUstream {
        self.0 as CUstream
    }
}

impl EventHandle {
    fn cuda(self) -> CUevent {
        self.0 as CUevent
    }
}

// SAFETY of all calls below: handles, addresses and lifetimes are the caller's promise, made at the trait's methods; what the driver writes through
// pointers to locals has the local's type.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Device for Cuda {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn memory_meter(&self) -> &MemoryMeter {
        &self.memory_meter
    }

    fn allocate(&self, len_bytes: usize) -> Result<Address> {
        self.enter()?;
        let mut address = 0;
        let code = unsafe { (self.driver.cuMemAlloc_v2)(&mut address, len_bytes) };
        self.driver.check(code, &format!("taking {len_bytes} bytes of device memory"))?;
        Ok(address)
    }

    unsafe fn free(&self, address: Address) {
        let _kept_off = self.finish_all();
        unsafe { (self.driver.cuMemFree_v2)(address) };
    }

    fn allocate_pinned(&self, len_bytes: usize) -> Result<*mut u8> {
        self.enter()?;
        let mut memory = std::ptr::null_mut();
        // No flags: write-combined memory would be slow to read back.
        let code = unsafe { (self.driver.cuMemHostAlloc)(&mut memory, len_bytes, 0) };
        self.driver.check(code, &format!("taking {len_bytes} bytes of pinned memory"))?;
        Ok(memory.cast())
    }

    unsafe fn free_pinned(&self, memory: *mut u8) {
        let _kept_off = self.finish_all();
        unsafe { (self.driver.cuMemFreeHost)(memory.cast()) };
    }

    fn create_stream(&self) -> Result<StreamHandle> {
        self.enter()?;
        let mut stream = std::ptr::null_mut();
        let flags = CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        self.driver.check(unsafe { (self.driver.cuStreamCreate)(&mut stream, flags) }, "making a stream")?;
        Ok(StreamHandle(stream as u64))
    }

    unsafe fn adopt_stream(&self, raw: u64) -> Result<StreamHandle> {
        self.enter()?;
        if raw == STREAM_PER_THREAD {
            let message = "the stream 0x2 (CU_STREAM_PER_THREAD) is another one in each thread, so that no other thread can wait for it: \
                           make a stream of its own and join that";
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let stream = StreamHandle(raw);
        let mut context = std::ptr::null_mut();
        let code = unsafe { (self.driver.cuStreamGetCtx)(stream.cuda(), &mut context) };
        self.driver.check(code, "asking a stream for its context")?;
        if context != self.context {
            let message = format!("the stream {raw:#x} does not belong to the primary context of {}", self.info.name);
            return Err(Error::new(ErrorKind::Usage, message));
        }
        Ok(stream)
    }

    unsafe fn destroy_stream(&self, stream: StreamHandle) {
        let _ = unsafe { self.synchronize_stream(stream) };
        unsafe { (self.driver.cuStreamDestroy_v2)(stream.cuda()) };
    }

    unsafe fn synchronize_stream(&self, stream: StreamHandle) -> Result<()> {
        // cuStreamSynchronize spins, unless the context was told otherwise, which is the process's affair. An event made for it sleeps.
        let taken = self.lock_wait_events().pop();
        let event = taken.map_or_else(|| self.create_event(), Ok)?;
        let recorded = unsafe { self.record_event(stream, event) };
        let waited = recorded.and_then(|()| self.wait_on_host(event, "waiting for a stream"));
        self.lock_wait_events().push(event);
        waited
    }

    fn create_event(&self) -> Result<EventHandle> {
        self.enter()?;
        let mut event = std::ptr::null_mut();
        // Whoever waits for it sleeps: a slot that spins takes a core from those that plan and decode.
        let flags = CUevent_flags::CU_EVENT_BLOCKING_SYNC as u32;
        self.driver.check(unsafe { (self.driver.cuEventCreate)(&mut event, flags) }, "making an event")?;
        Ok(EventHandle(event as u64))
    }

    unsafe fn destroy_event(&self, event: EventHandle) {
        if self.enter().is_ok() {
            unsafe { (self.driver.cuEventDestroy_v2)(event.cuda()) };
        }
    }

    unsafe fn record_event(&self, stream: StreamHandle, event: EventHandle) -> Result<()> {
        self.enter()?;
        self.driver.check(unsafe { (self.driver.cuEventRecord)(event.cuda(), stream.cuda()) }, "recording an event")
    }

    unsafe fn wait_event(&self, stream: StreamHandle, event: EventHandle) -> Result<()> {
        self.enter()?;
        let code = unsafe { (self.driver.cuStreamWaitEvent)(stream.cuda(), event.cuda(), 0) };
        self.driver.check(code, "letting a stream wait for an event")
    }

    unsafe fn has_happened(&self, event: EventHandle) -> Result<bool> {
        self.enter()?;
        self.driver.check_ready(unsafe { (self.driver.cuEventQuery)(event.cuda()) }, "asking for an event")
    }

    unsafe fn synchronize_event(&self, event: EventHandle) -> Result<()> {
        self.wait_on_host(event, "waiting for an event")
    }

    unsafe fn elapsed(&self, from: EventHandle, to: EventHandle) -> Result<Duration> {
        self.enter()?;
        let mut milliseconds = 0f32;
        let code = unsafe { (self.driver.cuEventElapsedTime)(&mut milliseconds, from.cuda(), to.cuda()) };
        self.driver.check(code, "asking for the time between two events")?;
        Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
    }

    unsafe fn copy_to_device(
        &self,
        stream: StreamHandle,
        to: Address,
        from: *const u8,
        len_bytes: usize,
    ) -> Result<()> {
        self.enter()?;
        let code = unsafe { (self.driver.cuMemcpyHtoDAsync_v2)(to, from.cast(), len_bytes, stream.cuda()) };
        self.driver.check(code, "copying to the GPU")
    }

    unsafe fn copy_to_host(&self, stream: StreamHandle, to: *mut u8, from: Address, len_bytes: usize) -> Result<()> {
        self.enter()?;
        let code = unsafe { (self.driver.cuMemcpyDtoHAsync_v2)(to.cast(), from, len_bytes, stream.cuda()) };
        self.driver.check(code, "copying from the GPU")
    }

    unsafe fn copy_on_device(&self, stream: StreamHandle, to: Address, from: Address, len_bytes: usize) -> Result<()> {
        self.enter()?;
        let code = unsafe { (self.driver.cuMemcpyDtoDAsync_v2)(to, from, len_bytes, stream.cuda()) };
        self.driver.check(code, "copying on the GPU")
    }

    unsafe fn fill(&self, stream: StreamHandle, to: Address, byte: u8, len_bytes: usize) -> Result<()> {
        self.enter()?;
        let code = unsafe { (self.driver.cuMemsetD8Async)(to, byte, len_bytes, stream.cuda()) };
        self.driver.check(code, "filling device memory")
    }

    unsafe fn discard(&self, _stream: StreamHandle, _address: Address, _len_bytes: usize) -> Result<()> {
        Ok(())
    }

    unsafe fn launch(&self, stream: StreamHandle, launch: &Launch<'_>) -> Result<()> {
        self.enter()?;
        let module = self.module.as_ref().ok_or_else(modules::not_built)?;
        let function = module.get(launch.kernel);
        let smem_bytes = u64::from(function.smem_bytes) + u64::from(launch.smem_tail_bytes);
        if smem_bytes > u64::from(self.info.max_smem_bytes) {
            return Err(super::too_much_smem(launch.kernel, smem_bytes, &self.info));
        }
        // One parameter: the kernel's struct.
        let mut params = [launch.params.as_ptr().cast_mut().cast()];
        let grid = launch.grid;
        let code = unsafe {
            (self.driver.cuLaunchKernel)(
                function.handle,
                grid.x,
                grid.y,
                grid.z,
                function.threads,
                1,
                1,
                smem_bytes as u32,
                stream.cuda(),
                params.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        self.driver.check(code, &format!("launching kernel `{}`", launch.kernel.name()))
    }

    unsafe fn begin_capture(&self, stream: StreamHandle) -> Result<()> {
        self.enter()?;
        // The mode that limits others least and still reports this thread's own mistakes: other threads may take memory meanwhile. That nobody
        // can wait for the whole context holds in every mode.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as u32;
        RECORDINGS.begin();
        let code = unsafe { (self.driver.cuStreamBeginCapture_v2)(stream.cuda(), mode) };
        self.driver.check(code, "beginning to record a graph").inspect_err(|_| RECORDINGS.end())
    }

    unsafe fn end_capture(&self, stream: StreamHandle) -> Result<GraphHandle> {
        let (mut graph, mut executable) = (std::ptr::null_mut(), std::ptr::null_mut());
        let entered = self.enter();
        let code = unsafe { (self.driver.cuStreamEndCapture)(stream.cuda(), &mut graph) };
        RECORDINGS.end();
        entered?;
        self.driver.check(code, "recording a graph")?;
        let code = unsafe { (self.driver.cuGraphInstantiateWithFlags)(&mut executable, graph, 0) };
        unsafe { (self.driver.cuGraphDestroy)(graph) };
        self.driver.check(code, "making a graph executable")?;
        Ok(GraphHandle(executable as u64))
    }

    unsafe fn launch_graph(&self, stream: StreamHandle, graph: GraphHandle) -> Result<()> {
        self.enter()?;
        let code = unsafe { (self.driver.cuGraphLaunch)(graph.0 as CUgraphExec, stream.cuda()) };
        self.driver.check(code, "launching a graph")
    }

    unsafe fn destroy_graph(&self, graph: GraphHandle) {
        if self.enter().is_ok() {
            unsafe { (self.driver.cuGraphExecDestroy)(graph.0 as CUgraphExec) };
        }
    }

    fn library_ops(self: Arc<Self>) -> Result<Arc<dyn Ops>> {
        Ok(Arc::new(LibraryOps::new(&self, Libraries { cublaslt: true, cudnn: true })?))
    }

    unsafe fn hold(&self, stream: StreamHandle, gate: &Arc<Gate>) -> Result<()> {
        self.enter()?;
        let gate = Arc::into_raw(Arc::clone(gate));
        let code = unsafe { (self.driver.cuLaunchHostFunc)(stream.cuda(), wait_for_gate, gate.cast_mut().cast()) };
        self.driver.check(code, "holding a stream").inspect_err(|_| drop(unsafe { Arc::from_raw(gate) }))
    }

    fn start_profiler(&self) -> Result<()> {
        self.enter()?;
        self.driver.check(unsafe { (self.driver.cuProfilerStart)() }, "starting the profiler")
    }

    fn stop_profiler(&self) -> Result<()> {
        self.enter()?;
        self.driver.check(unsafe { (self.driver.cuProfilerStop)() }, "stopping the profiler")
    }
}
