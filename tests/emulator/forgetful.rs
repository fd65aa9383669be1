//! The decoder's stage on a device that forgets one wait, as if the stage lacked it: late streams show every one.

use dctflow::abi::KernelId;
use dctflow::cpu;
use dctflow::device::emulator::{Emulator, Schedule};
use dctflow::device::{
    Address, Device, DeviceBuffer, DeviceInfo, DeviceSlice, EventHandle, GraphHandle, KernelCounts, Launch,
    MemoryMeter, StreamHandle,
};
use dctflow::jpeg::{Coefficients, Limits};
use dctflow::plan::{DecodePlan, PlanOptions, PlannedImage};
use dctflow::stages::DecodeStage;
use dctflow::synth::{Encoding, Interleaving, Layout, Picture, sequential_scans};
use dctflow::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An emulator whose next wait of one kind can be left out.
#[derive(Debug)]
struct Forgetful {
    inner: Arc<Emulator>,
    forgets_stream: AtomicBool,
    forgets_event: AtomicBool,
}

impl Forgetful {
    fn new(schedule: Schedule) -> Arc<Self> {
        let inner = Emulator::with_schedule(schedule).unwrap();
        Arc::new(Self { inner, forgets_stream: AtomicBool::new(false), forgets_event: AtomicBool::new(false) })
    }
}

/// Methods that only hand on what they are given.
macro_rules! hand_on {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name(&self, $($argument: $type),*) $(-> $result)? {
            self.inner.$name($($argument),*)
        })*
    };
    ($(unsafe fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(unsafe fn $name(&self, $($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller's promises are those that the inner device asks for.
            unsafe { self.inner.$name($($argument),*) }
        })*
    };
}

impl Device for Forgetful {
    unsafe fn synchronize_stream(&self, stream: StreamHandle) -> Result<()> {
        if self.forgets_stream.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        // SAFETY: the caller's handle.
        unsafe { self.inner.synchronize_stream(stream) }
    }

    unsafe fn synchronize_event(&self, event: EventHandle) -> Result<()> {
        if self.forgets_event.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        // SAFETY: the caller's handle.
        unsafe { self.inner.synchronize_event(event) }
    }

    hand_on! {
        fn info() -> &DeviceInfo;
        fn memory_meter() -> &MemoryMeter;
        fn allocate(len_bytes: usize) -> Result<Address>;
        fn allocate_pinned(len_bytes: usize) -> Result<*mut u8>;
        fn create_stream() -> Result<StreamHandle>;
        fn create_event() -> Result<EventHandle>;
        fn take_counts() -> BTreeMap<KernelId, KernelCounts>;
        fn redzone_bytes() -> usize;
    }

    hand_on! {
        unsafe fn free(address: Address);
        unsafe fn adopt_stream(raw: u64) -> Result<StreamHandle>;
        unsafe fn free_pinned(memory: *mut u8);
        unsafe fn destroy_stream(stream: StreamHandle);
        unsafe fn destroy_event(event: EventHandle);
        unsafe fn record_event(stream: StreamHandle, event: EventHandle) -> Result<()>;
        unsafe fn wait_event(stream: StreamHandle, event: EventHandle) -> Result<()>;
        unsafe fn has_happened(event: EventHandle) -> Result<bool>;
        unsafe fn elapsed(from: EventHandle, to: EventHandle) -> Result<Duration>;
        unsafe fn copy_to_device(stream: StreamHandle, to: Address, from: *const u8, len_bytes: usize) -> Result<()>;
        unsafe fn copy_to_host(stream: StreamHandle, to: *mut u8, from: Address, len_bytes: usize) -> Result<()>;
        unsafe fn copy_on_device(stream: StreamHandle, to: Address, from: Address, len_bytes: usize) -> Result<()>;
        unsafe fn fill(stream: StreamHandle, to: Address, byte: u8, len_bytes: usize) -> Result<()>;
        unsafe fn discard(stream: StreamHandle, address: Address, len_bytes: usize) -> Result<()>;
        unsafe fn launch(stream: StreamHandle, launch: &Launch<'_>) -> Result<()>;
        unsafe fn begin_capture(stream: StreamHandle) -> Result<()>;
        unsafe fn end_capture(stream: StreamHandle) -> Result<GraphHandle>;
        unsafe fn launch_graph(stream: StreamHandle, graph: GraphHandle) -> Result<()>;
        unsafe fn destroy_graph(graph: GraphHandle);
        unsafe fn forbid(address: Address, len_bytes: usize);
        unsafe fn permit(address: Address, len_bytes: usize);
    }
}

/// Two pictures of one size.
fn files() -> [Vec<u8>; 2] {
    [1, 2].map(|seed| {
        let image = Picture::photo(seed, 61, 40, 3).coefficients(&Layout::baseline(&[(2, 1), (1, 1), (1, 1)], 70));
        Encoding::new(sequential_scans(&image.frame, Interleaving::Interleaved)).encode(&image).to_bytes()
    })
}

fn by_cpu(file: &[u8]) -> Coefficients {
    cpu::decode(file, &Limits::default()).coefficients.unwrap()
}

/// One file, planned for a device.
fn planned(file: &[u8]) -> ([PlannedImage<'_>; 1], DecodePlan) {
    let images = [PlannedImage::read(file, &Limits::default()).unwrap()];
    // Planes next to each other, as these tests compare them.
    let plan = DecodePlan::new(&images, &PlanOptions { redzone_bytes: 0, ..PlanOptions::default() });
    (images, plan)
}

/// The coefficients of a plan: the buffer may be longer.
fn coefficients<'a>(stage: &'a DecodeStage, plan: &DecodePlan) -> DeviceSlice<'a> {
    stage.coefficients().first(plan.num_coefficients as usize * size_of::<i16>())
}

/// Whether each result is right: not, where a wait is forgotten, or the device itself finds out.
fn expect(run: impl Fn(Schedule, bool) -> Result<bool>) {
    for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(3)] {
        assert!(run(schedule, false).unwrap(), "{schedule:?}: nothing is forgotten");
        match run(schedule, true) {
            Ok(is_right) => assert!(!is_right, "{schedule:?}: nobody noticed"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Device, "{schedule:?}: {error}"),
        }
    }
}

fn no_report() -> Error {
    Error::new(ErrorKind::Device, "the device leaves the image to the CPU")
}

#[test]
fn a_staging_buffer_that_is_filled_again_before_its_copy_ran() {
    let files = files();
    expect(|schedule, forgets| {
        let forgetful = Forgetful::new(schedule);
        let device: Arc<dyn Device> = forgetful.clone();
        let mut stage = DecodeStage::new(&device)?;
        let batches = files.each_ref().map(|file| planned(file));
        // The larger one first, so that memory does not grow for the second: that would wait.
        let (first, second) = if files[0].len() > files[1].len() { (0, 1) } else { (1, 0) };
        let (images, plan) = &batches[first];
        stage.submit(images, plan)?;
        let kept = DeviceBuffer::new(&device, coefficients(&stage, plan).len_bytes())?;
        stage.stream().copy(kept.all(), coefficients(&stage, plan))?;

        forgetful.forgets_stream.store(forgets, Ordering::Relaxed);
        let (images, plan) = &batches[second];
        stage.submit(images, plan)?;
        let mut bytes = vec![0; kept.len_bytes()];
        stage.stream().download_now(&mut bytes, kept.all())?;
        let expected = by_cpu(&files[first]).planes;
        let expected = expected.iter().flat_map(|plane| bytemuck::cast_slice::<i16, u8>(&plane.data));
        Ok(bytes.iter().zip(expected).all(|(a, b)| a == b))
    });
}

#[test]
fn reports_that_are_read_before_they_came() {
    let [file, _] = files();
    let expected = cpu::decode(&file, &Limits::default()).report;
    expect(|schedule, forgets| {
        let forgetful = Forgetful::new(schedule);
        let device: Arc<dyn Device> = forgetful.clone();
        let mut stage = DecodeStage::new(&device)?;
        let (images, plan) = planned(&file);
        stage.submit(&images, &plan)?;
        forgetful.forgets_stream.store(forgets, Ordering::Relaxed);
        let report = stage.fetch_reports(&images, &plan)?.remove(0).report.ok_or_else(no_report)?;
        Ok(report == expected)
    });
}

#[test]
fn planes_of_the_cpu_that_are_overwritten_before_their_copy_ran() {
    let files = files();
    let decoded = files.each_ref().map(|file| by_cpu(file));
    expect(|schedule, forgets| {
        let forgetful = Forgetful::new(schedule);
        let device: Arc<dyn Device> = forgetful.clone();
        let mut stage = DecodeStage::new(&device)?;
        let (images, plan) = planned(&files[0]);
        stage.submit(&images, &plan)?;
        let firsts = plan.planes[0].as_slice();
        stage.upload_coefficients(&[(firsts, &decoded[1])])?;
        let kept = DeviceBuffer::new(&device, coefficients(&stage, &plan).len_bytes())?;
        stage.stream().copy(kept.all(), coefficients(&stage, &plan))?;
        forgetful.forgets_event.store(forgets, Ordering::Relaxed);
        stage.upload_coefficients(&[(firsts, &decoded[0])])?;
        let mut bytes = vec![0; kept.len_bytes()];
        stage.stream().download_now(&mut bytes, kept.all())?;
        let expected = decoded[1].planes.iter().flat_map(|plane| bytemuck::cast_slice::<i16, u8>(&plane.data));
        Ok(bytes.iter().zip(expected).all(|(a, b)| a == b))
    });
}
