//! The kernels on the CPU: the very sources that run on a GPU, one fiber per CUDA thread (`kernels/emulator`), with an eye on their mistakes.
//! For tests and debugging; never a default.
//!
//! - Threads run back to back until they must wait; which ready thread, CTA or stream is next is the [`Schedule`]'s choice. What one schedule
//!   hides, such as a missing barrier, another shows.
//! - Work on streams runs late: when somebody waits for it. A host buffer reused too early, or an event that was forgotten, shows.
//! - Memory is poisoned (0xA5) and stands between guard pages and canaries; [`Device::forbid`] adds such zones inside buffers.
//! - A kernel that breaks a rule fails, and so does every later call: an [`Error`] of kind `Device` names kernel, CTA, thread and line.
//!
//! What it cannot show: memory order between CTAs, coalescing, occupancy. For these the same tests run on a GPU.

mod ffi;
mod queues;
mod random;
mod workers;

use super::{
    Address, Backend, Count, Device, DeviceInfo, EventHandle, GraphHandle, KernelCounts, Launch, MemoryMeter,
    StreamHandle,
};
use crate::abi::{Counter, KernelArch, KernelId};
use crate::{Error, ErrorKind, Result};
use queues::{EventState, Params, Queues, Work};
use random::Random;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use workers::{Failure, Workers};

/// Which of several things that could be next is next: threads of a CTA, CTAs of a launch, streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// The one with the lowest number.
    Forward,
    /// The one with the highest number.
    Reverse,
    /// Any, as the seed has it; threads also stop at atomics and fences.
    Random(u64),
}

impl std::str::FromStr for Schedule {
    type Err = Error;

    /// `forward`, `reverse` or `random:SEED`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "forward" => return Ok(Self::Forward),
            "reverse" => return Ok(Self::Reverse),
            _ => {}
        }
        let seed = text.strip_prefix("random:").and_then(|seed| seed.parse().ok());
        seed.map(Self::Random).ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("a schedule is forward, reverse or random:SEED, not `{text}`"))
        })
    }
}

/// How to set an emulator up.
#[derive(Clone, Debug)]
pub struct EmulatorOptions {
    /// What is next.
    pub schedule: Schedule,
    /// OS threads that run CTAs. Default: as many as the machine has.
    pub num_os_threads: usize,
    /// Device memory to be had.
    pub memory_bytes: u64,
    /// A CTA whose threads do nothing but sleep for so long is stuck.
    pub spin_limit: Duration,
    /// As [`DeviceInfo::num_sms`], by which launches choose their shapes: those of a GPU that results are to stand for. Default: as many as
    /// there are OS threads.
    pub num_sms: Option<u32>,
    /// As [`DeviceInfo::l2_bytes`], likewise.
    pub l2_bytes: u64,
    /// As [`DeviceInfo::max_smem_bytes`]; 99 KB is what every GPU of compute capability 8.0 and newer has.
    pub max_smem_bytes: u32,
}

impl Default for EmulatorOptions {
    fn default() -> Self {
        Self {
            schedule: Schedule::Forward,
            num_os_threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: 16 << 30,
            spin_limit: Duration::from_secs(10),
            num_sms: None,
            l2_bytes: 32 << 20,
            max_smem_bytes: 99 << 10,
        }
    }
}

/// The emulator as a device.
pub struct Emulator {
    info: DeviceInfo,
    memory_meter: MemoryMeter,
    options: EmulatorOptions,
    state: Mutex<State>,
}

struct State {
    queues: Queues,
    buffers: BTreeMap<Address, ffi::Buffer>,
    pinned: BTreeMap<u64, ffi::Buffer>,
    /// Start and length of what [`Device::forbid`] named.
    redzones: BTreeMap<Address, usize>,
    allocated_bytes: u64,
    num_allocations: u64,
    counts: BTreeMap<KernelId, KernelCounts>,
    num_launches: u64,
    workers: Workers,
    /// After a failure nothing runs any more, as on a GPU.
    failure: Option<String>,
}

impl Emulator {
    /// A device of its own.
    pub fn new(options: EmulatorOptions) -> Result<Arc<Self>> {
        let workers = Workers::new(options.num_os_threads)
            .map_err(|e| Error::new(ErrorKind::OutOfMemory, "no threads to be had for the emulator").with_source(e))?;
        let info = DeviceInfo {
            backend: Backend::Emulator,
            name: "emulator".to_owned(),
            compute_capability: (8, 0),
            num_sms: options.num_sms.unwrap_or(options.num_os_threads as u32),
            sm_clock_mhz: None,
            max_smem_bytes: options.max_smem_bytes,
            l2_bytes: options.l2_bytes,
            memory_bytes: options.memory_bytes,
            pci_bus_id: None,
        };
        let state = State {
            queues: Queues::new(options.schedule),
            buffers: BTreeMap::new(),
            pinned: BTreeMap::new(),
            redzones: BTreeMap::new(),
            allocated_bytes: 0,
            num_allocations: 0,
            counts: BTreeMap::new(),
            num_launches: 0,
            workers,
            failure: None,
        };
        Ok(Arc::new(Self { info, memory_meter: MemoryMeter::default(), options, state: Mutex::new(state) }))
    }

    /// A device of its own, with the given schedule.
    pub fn with_schedule(schedule: Schedule) -> Result<Arc<Self>> {
        Self::new(EmulatorOptions { schedule, ..EmulatorOptions::default() })
    }

    /// What a kernel has counted in the launches that have run since counts were last taken.
    pub fn count(&self, kernel: KernelId, counter: Counter) -> Count {
        self.lock().counts.get(&kernel).map(|counts| counts.count(counter)).unwrap_or_default()
    }

    /// Device memory that is taken at present.
    pub fn allocated_bytes(&self) -> u64 {
        self.lock().allocated_bytes
    }

    /// How often memory was taken so far: on the device, and pinned memory of the host.
    pub fn num_allocations(&self) -> u64 {
        self.lock().num_allocations
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The state, if the device is still well.
    fn lock_well(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        match &state.failure {
            None => Ok(state),
            Some(message) => Err(Error::new(ErrorKind::Device, message.clone())),
        }
    }

    fn push(&self, stream: StreamHandle, work: Work) -> Result<()> {
        self.lock_well()?.queues.push(stream, work);
        Ok(())
    }

    /// Does what is queued until `is_done`. Between two things other threads may queue more, as they can beside a GPU.
    fn run_until(&self, is_done: impl Fn(&State) -> bool) -> Result<()> {
        loop {
            let mut state = self.lock_well()?;
            if is_done(&state) {
                return Ok(());
            }
            let Some(work) = state.queues.take_next() else { return Ok(()) };
            state.run(work, &self.options);
            drop(state);
            std::thread::yield_now();
        }
    }

    fn event(&self, event: EventHandle) -> Result<Arc<EventState>> {
        let unknown = || Error::new(ErrorKind::Internal, "an event that this device does not know");
        self.lock_well()?.queues.event(event).ok_or_else(unknown)
    }

    /// Memory is given back once nothing can use it any more.
    fn finish_all(&self) {
        // After a failure the queues no longer run, so nothing can use it either.
        let _ = self.run_until(|state| state.queues.are_all_empty());
    }
}

impl State {
    fn run(&mut self, work: Work, options: &EmulatorOptions) {
        self.failure = self.find_trespass(&work);
        if self.failure.is_some() {
            return;
        }
        match work {
            Work::Copy { to, from, len_bytes } => {
                // SAFETY: whoever queued it vouched for both ends until now; ends may not overlap, but `copy` would bear it.
                unsafe { std::ptr::copy(from as *const u8, to as *mut u8, len_bytes) }
            }
            Work::Fill { to, byte, len_bytes } => {
                // SAFETY: whoever queued it vouched for the memory until now.
                unsafe { std::ptr::write_bytes(to as *mut u8, byte, len_bytes) }
            }
            Work::Launch { kernel_idx, grid, smem_tail_bytes, params } => {
                let launch = ffi::Launch {
                    params: params.as_ptr(),
                    seed: self.next_launch_seed(options.schedule),
                    kernel_idx: kernel_idx as u32,
                    grid: [grid.x, grid.y, grid.z],
                    smem_tail_bytes,
                    order: match options.schedule {
                        Schedule::Forward => 0,
                        Schedule::Reverse => 1,
                        Schedule::Random(_) => 2,
                    },
                    spin_limit_ms: u32::try_from(options.spin_limit.as_millis()).unwrap_or(u32::MAX),
                };
                self.run_launch(launch, options.schedule);
            }
            Work::Record { .. } | Work::Wait { .. } => {}
        }
    }

    /// Whether a copy or a fill would touch what [`Device::forbid`] named. What kernels touch shows when they did.
    fn find_trespass(&self, work: &Work) -> Option<String> {
        let (what, ends, len_bytes) = match *work {
            Work::Copy { to, from, len_bytes } => ("copy", [Some(to), Some(from)], len_bytes),
            Work::Fill { to, len_bytes, .. } => ("fill", [Some(to), None], len_bytes),
            Work::Launch { .. } | Work::Record { .. } | Work::Wait { .. } => return None,
        };
        let touches = |start: Address| {
            let before_end = self.redzones.range(..start + len_bytes as u64).next_back();
            before_end.filter(|&(&zone, &zone_bytes)| len_bytes > 0 && zone + zone_bytes as u64 > start)
        };
        let (&zone, _) = ends.into_iter().flatten().find_map(touches)?;
        let place = self.place_of(zone)?;
        Some(format!("a {what} of {len_bytes} bytes touches {place}"))
    }

    /// In words, where a forbidden zone lies.
    fn place_of(&self, zone: Address) -> Option<String> {
        let (&start, buffer) = self.buffers.range(..=zone).next_back()?;
        Some(format!("the forbidden zone at offset {} of a device buffer of {} bytes", zone - start, buffer.len_bytes))
    }

    /// Every launch has a seed of its own, or all would meet the same schedule.
    fn next_launch_seed(&mut self, schedule: Schedule) -> u64 {
        self.num_launches += 1;
        let Schedule::Random(seed) = schedule else { return 0 };
        Random::new(seed ^ self.num_launches.rotate_left(32)).next()
    }

    fn run_launch(&mut self, launch: ffi::Launch, schedule: Schedule) {
        let Some(kernel) = KernelId::all().nth(launch.kernel_idx as usize) else { return };
        let num_ctas = launch.grid.iter().map(|&n| u64::from(n)).product();
        let outcome = self.workers.run(launch, cta_order(num_ctas, schedule, launch.seed));
        let counts =
            std::array::from_fn(|i| Count { total: outcome.counts[i].total, warp_max: outcome.counts[i].warp_max });
        self.counts.entry(kernel).or_default().add(&KernelCounts { num_launches: 1, num_ctas, counts });
        self.failure = outcome.failure.map(|(_, failure)| self.explain(failure)).or_else(|| self.find_damage(kernel));
    }

    /// Adds to the message of a bad access which buffer is nearest.
    fn explain(&self, failure: Failure) -> String {
        let Some(fault) = failure.fault_address else { return failure.message };
        let nearest = self.buffers.iter().map(|(&start, buffer)| {
            let end = start + buffer.len_bytes;
            if fault < start {
                (start - fault, format!("{} bytes before a buffer of {} bytes", start - fault, buffer.len_bytes))
            } else {
                let behind = fault.saturating_sub(end);
                (behind, format!("{behind} bytes behind the end of a buffer of {} bytes", buffer.len_bytes))
            }
        });
        match nearest.min() {
            Some((distance, place)) if distance < 1 << 20 => format!("{} ({place})", failure.message),
            _ => failure.message,
        }
    }

    /// Whether a launch has written where nothing may.
    fn find_damage(&self, kernel: KernelId) -> Option<String> {
        let name = kernel.name();
        if let Some(buffer) = self.buffers.values().find(|buffer| !buffer.is_intact()) {
            return Some(format!(
                "kernel `{name}` wrote just before or behind a device buffer of {} bytes",
                buffer.len_bytes
            ));
        }
        let is_damaged = |&(&start, &len_bytes): &(&Address, &usize)| {
            // SAFETY: the zone lies in a live buffer.
            unsafe { ffi::emulator_is_redzone_intact(start as *const u8, len_bytes as u64) == 0 }
        };
        let (&zone, _) = self.redzones.iter().find(is_damaged)?;
        Some(format!("kernel `{name}` wrote to {}", self.place_of(zone)?))
    }
}

/// The order in which CTAs begin.
fn cta_order(num_ctas: u64, schedule: Schedule, seed: u64) -> Vec<u64> {
    let mut order: Vec<u64> = (0..num_ctas).collect();
    match schedule {
        Schedule::Forward => {}
        Schedule::Reverse => order.reverse(),
        Schedule::Random(_) => Random::new(seed).shuffle(&mut order),
    }
    order
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Device for Emulator {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn memory_meter(&self) -> &MemoryMeter {
        &self.memory_meter
    }

    fn allocate(&self, len_bytes: usize) -> Result<Address> {
        let mut state = self.lock_well()?;
        let is_within = state.allocated_bytes.saturating_add(len_bytes as u64) <= self.options.memory_bytes;
        let buffer = is_within.then(|| ffi::Buffer::new(len_bytes)).flatten().ok_or_else(|| {
            let message = format!(
                "the emulator has no {len_bytes} bytes left ({} of {} are taken)",
                state.allocated_bytes, self.options.memory_bytes
            );
            Error::new(ErrorKind::OutOfMemory, message)
        })?;
        let address = buffer.data as Address;
        state.allocated_bytes += len_bytes as u64;
        state.num_allocations += 1;
        state.buffers.insert(address, buffer);
        Ok(address)
    }

    unsafe fn free(&self, address: Address) {
        self.finish_all();
        let mut state = self.lock();
        if let Some(buffer) = state.buffers.remove(&address) {
            state.allocated_bytes -= buffer.len_bytes;
            state.redzones.retain(|&zone, _| zone < address || zone >= address + buffer.len_bytes);
        }
    }

    fn allocate_pinned(&self, len_bytes: usize) -> Result<*mut u8> {
        let mut state = self.lock_well()?;
        let buffer = ffi::Buffer::new(len_bytes).ok_or_else(|| {
            Error::new(ErrorKind::OutOfMemory, format!("no host memory of {len_bytes} bytes to be had"))
        })?;
        let memory = buffer.data;
        state.num_allocations += 1;
        state.pinned.insert(memory as u64, buffer);
        Ok(memory)
    }

    unsafe fn free_pinned(&self, memory: *mut u8) {
        self.finish_all();
        self.lock().pinned.remove(&(memory as u64));
    }

    fn create_stream(&self) -> Result<StreamHandle> {
        Ok(self.lock_well()?.queues.create_stream())
    }

    unsafe fn adopt_stream(&self, raw: u64) -> Result<StreamHandle> {
        let stream = StreamHandle(raw);
        match self.lock_well()?.queues.has_stream(stream) {
            true => Ok(stream),
            false => {
                let message = format!("{raw:#x} is no stream of this emulator: it knows its own streams' numbers only");
                Err(Error::new(ErrorKind::Usage, message))
            }
        }
    }

    unsafe fn destroy_stream(&self, stream: StreamHandle) {
        let _ = self.run_until(|state| state.queues.is_stream_empty(stream));
        self.lock().queues.destroy_stream(stream);
    }

    unsafe fn synchronize_stream(&self, stream: StreamHandle) -> Result<()> {
        self.lock_well()?.queues.check_not_captured(stream)?;
        self.run_until(|state| state.queues.is_stream_empty(stream))
    }

    fn create_event(&self) -> Result<EventHandle> {
        Ok(self.lock_well()?.queues.create_event())
    }

    unsafe fn destroy_event(&self, event: EventHandle) {
        self.lock().queues.destroy_event(event);
    }

    unsafe fn record_event(&self, stream: StreamHandle, event: EventHandle) -> Result<()> {
        self.lock_well()?.queues.record(stream, event)
    }

    unsafe fn wait_event(&self, stream: StreamHandle, event: EventHandle) -> Result<()> {
        self.lock_well()?.queues.wait(stream, event)
    }

    unsafe fn has_happened(&self, event: EventHandle) -> Result<bool> {
        let event = self.event(event)?;
        if !event.has_happened() {
            // Somebody who asks again and again must see progress: one thing is done per question.
            let mut state = self.lock_well()?;
            if let Some(work) = state.queues.take_next() {
                state.run(work, &self.options);
            }
            drop(state);
            drop(self.lock_well()?);
        }
        Ok(event.has_happened())
    }

    unsafe fn synchronize_event(&self, event: EventHandle) -> Result<()> {
        let event = self.event(event)?;
        self.run_until(|_| event.has_happened())
    }

    unsafe fn elapsed(&self, from: EventHandle, to: EventHandle) -> Result<Duration> {
        let happened_at = |event: EventHandle| {
            let happened_at = *self.event(event)?.happened_at.lock().unwrap_or_else(|e| e.into_inner());
            happened_at.ok_or_else(|| Error::new(ErrorKind::Internal, "the time of an event that has not happened"))
        };
        Ok(happened_at(to)?.saturating_duration_since(happened_at(from)?))
    }

    unsafe fn copy_to_device(
        &self,
        stream: StreamHandle,
        to: Address,
        from: *const u8,
        len_bytes: usize,
    ) -> Result<()> {
        self.push(stream, Work::Copy { to, from: from as u64, len_bytes })
    }

    unsafe fn copy_to_host(&self, stream: StreamHandle, to: *mut u8, from: Address, len_bytes: usize) -> Result<()> {
        self.push(stream, Work::Copy { to: to as u64, from, len_bytes })
    }

    unsafe fn copy_on_device(&self, stream: StreamHandle, to: Address, from: Address, len_bytes: usize) -> Result<()> {
        self.push(stream, Work::Copy { to, from, len_bytes })
    }

    unsafe fn fill(&self, stream: StreamHandle, to: Address, byte: u8, len_bytes: usize) -> Result<()> {
        self.push(stream, Work::Fill { to, byte, len_bytes })
    }

    unsafe fn discard(&self, stream: StreamHandle, address: Address, len_bytes: usize) -> Result<()> {
        self.push(stream, Work::Fill { to: address, byte: POISON, len_bytes })
    }

    unsafe fn launch(&self, stream: StreamHandle, launch: &Launch<'_>) -> Result<()> {
        let kernel = match launch.kernel.info().arch {
            KernelArch::Portable => launch.kernel,
            KernelArch::Sm90a { twin } => twin,
        };
        let smem_bytes = u64::from(ffi::kernels()[kernel.index()].smem_bytes) + u64::from(launch.smem_tail_bytes);
        if smem_bytes > u64::from(self.info.max_smem_bytes) {
            return Err(super::too_much_smem(kernel, smem_bytes, &self.info));
        }
        self.push(
            stream,
            Work::Launch {
                kernel_idx: kernel.index(),
                grid: launch.grid,
                smem_tail_bytes: launch.smem_tail_bytes,
                params: Params::copy_of(launch.params),
            },
        )
    }

    unsafe fn begin_capture(&self, stream: StreamHandle) -> Result<()> {
        self.lock_well()?.queues.begin_capture(stream)
    }

    unsafe fn end_capture(&self, stream: StreamHandle) -> Result<GraphHandle> {
        self.lock_well()?.queues.end_capture(stream)
    }

    unsafe fn launch_graph(&self, stream: StreamHandle, graph: GraphHandle) -> Result<()> {
        self.lock_well()?.queues.launch_graph(stream, graph)
    }

    unsafe fn destroy_graph(&self, graph: GraphHandle) {
        self.lock().queues.destroy_graph(graph);
    }

    fn take_counts(&self) -> BTreeMap<KernelId, KernelCounts> {
        std::mem::take(&mut self.lock().counts)
    }

    fn redzone_bytes(&self) -> usize {
        256
    }

    unsafe fn forbid(&self, address: Address, len_bytes: usize) {
        // SAFETY: the caller's range, which nothing uses.
        unsafe { ffi::emulator_set_redzone(address as *mut u8, len_bytes as u64, 1) };
        self.lock().redzones.insert(address, len_bytes);
    }

    unsafe fn permit(&self, address: Address, len_bytes: usize) {
        let end = address + len_bytes as u64;
        let mut state = self.lock();
        while let Some((&zone, &zone_bytes)) = state.redzones.range(address..end).next() {
            // SAFETY: a zone that `forbid` was told of.
            unsafe { ffi::emulator_set_redzone(zone as *mut u8, zone_bytes as u64, 0) };
            state.redzones.remove(&zone);
        }
    }
}

/// What undefined memory is filled with.
const POISON: u8 = 0xA5;
