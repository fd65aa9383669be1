//! The device backend of a session: a GPU, or the emulator in its place. Every slot has a stream, and on it whatever a batch needs: upload,
//! decoder, input, network, download. Nothing on it waits for the host, and batches of different slots overlap.
//!
//! What is not for the device is decoded by the CPU into the same buffers. Where the device gives an image up, that is known only
//! afterwards: the CPU decodes it then, and input and network of its batch run once more.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cpu_time::ThreadTime;
use rayon::prelude::*;

use super::batch::Image;
use super::builder::SessionBuilder;
use super::cpu::{Decoders, thread_pool};
use super::decoder::DecoderStats;
use super::outcome::Outcome;
use super::slots::{Backend, Part};
use super::sorting::{SortedFile, decode_into_room};
use super::times::{DeviceClocks, StageEvents, StageTimes};
use crate::cpu::Decoded;
use crate::device::{self, Device, DeviceBuffer, DeviceSlice, Event, MemoryUse, PinnedBuffer, Stream};
use crate::error::{Error, ErrorKind, ImageError, Result};
use crate::jpeg::{Coefficients, DecodeReport, Frame, Limits, Policy, Status, Verdict};
use crate::network::InputNorm;
use crate::plan::{CpuReason, DecodePlan, InputBatchPlan, InputForm, InputImage, PlanOptions, PlannedImage};
use crate::resample::Transform;
use crate::stages::{DecodeStage, DeviceReport, Download, InputStage, NetworkInput, NetworkOptions, NetworkStage};

/// What a device has done for a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Where images were decoded.
    pub decoder: DecoderStats,
    /// Bytes of all copies to the device for batches: entropy-coded data, descriptors and work lists of decoder and input, coefficients that
    /// the CPU has decoded. The weights, which are copied once, are not in it.
    pub uploaded_bytes: u64,
    /// Bytes of all copies from the device: logits, reports, counters.
    pub downloaded_bytes: u64,
    /// How often a batch took memory, on the device or pinned: never again, once every slot has seen the largest batch.
    pub num_allocations: u64,
    /// Time at which the device worked on at least one batch, by events: batches side by side count once, waiting for the host does not.
    /// The driver's clock has 24 bits: after hours this is right to the millisecond.
    pub busy: Duration,
    /// Memory of the device handle that the session runs on, weights included; of others too, if they share the handle.
    pub memory: MemoryUse,
}

/// What the slots of one device share.
pub(super) struct Shared {
    device: Arc<dyn Device>,
    pool: rayon::ThreadPool,
    decoders: Decoders,
    limits: Limits,
    /// Coefficients of a batch, at most; a larger batch runs in parts, unless it is a single image.
    max_coefficient_bytes: u64,
    policy: Policy,
    transform: Transform,
    form: InputForm,
    options: PlanOptions,
    topk: usize,
    joined: Option<Joined>,
    clocks: DeviceClocks,
    stats: Mutex<DeviceStats>,
}

/// The caller's stream. Batches begin to write to the caller's memory after what is on it, and end before what comes later.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub(super) stream: Arc<Stream>,
    pub(super) forgotten: Option<ForgottenWait>,
}

/// A wait that is left out, to show that a test would notice.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgottenWait {
    /// The session's, for what the caller's stream has before the batch.
    BeforeBatch,
    /// The caller's stream's, for the batch.
    AfterBatch,
}

/// One slot: a batch's stream and memory.
pub(super) struct Gpu {
    shared: Arc<Shared>,
    /// These three are used again by every batch.
    plan: DecodePlan,
    input_images: Vec<Option<InputImage>>,
    input_plan: InputBatchPlan,
    decode: DecodeStage,
    input: InputStage,
    network: NetworkStage,
    /// By input of the network: `[max_batch, H, W, C]`, f16.
    inputs: Vec<DeviceBuffer>,
    /// `[max_batch, classes]`, f32.
    logits: DeviceBuffer,
    host_logits: Download,
    caller_is_ready: Event,
    is_done: Event,
    events: StageEvents,
    counted: Counted,
}

/// What a slot has counted since it was made.
#[derive(Default)]
struct Counted {
    num_allocations: u64,
    uploaded_bytes: u64,
    downloaded_bytes: u64,
}

impl Shared {
    /// Reads the headers only.
    fn read<'a>(&self, image: &'a Image) -> SortedFile<'a> {
        self.clocks.parse.time(|| SortedFile::read(&image.bytes, &self.limits))
    }

    /// Never fails and never panics. `frame`: what there is room for in the batch's coefficients.
    fn decode_on_cpu(&self, bytes: &[u8], reason: CpuReason, frame: Option<&Frame>) -> Decoded {
        let start = ThreadTime::now();
        let decoded = decode_into_room(frame, || {
            let mut decoder = self.decoders.take();
            let decoded = decoder.decode(bytes, &self.limits);
            self.decoders.put_back(decoder);
            decoded
        });
        let DecoderStats { on_cpu, cpu_time, .. } = &mut self.lock_stats().decoder;
        *on_cpu.entry(reason).or_default() += 1;
        *cpu_time += start.elapsed();
        decoded
    }

    fn lock_stats(&self) -> MutexGuard<'_, DeviceStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> DeviceStats {
        let (busy, memory) = (self.clocks.busy(), self.device.memory_meter().read());
        DeviceStats { busy, memory, ..self.lock_stats().clone() }
    }

    pub(super) fn stage_times(&self) -> StageTimes {
        self.clocks.read()
    }

    pub(super) fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    pub(super) fn num_threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").field("device", &self.device.info().name).finish_non_exhaustive()
    }
}

/// Who decodes an image.
enum Source<'a> {
    /// The device; the index among its images.
    Device(usize),
    /// The CPU will, while the device is at work.
    ForCpu { bytes: &'a [u8], reason: CpuReason, frame: Option<Frame> },
    /// The CPU has.
    Cpu(Decoded),
}

/// An image of a batch on its way.
struct Entry<'a> {
    tag: u64,
    transform: Transform,
    source: Source<'a>,
    /// Index of the first coefficient, by component.
    planes: [u64; 4],
    no_input: Option<ImageError>,
}

/// A batch on its way.
struct Work<'a> {
    planned: Vec<PlannedImage<'a>>,
    entries: Vec<Entry<'a>>,
}

impl<'a> Work<'a> {
    /// Reads the headers, and plans the decoding.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`] if the images are more than one and their coefficients too many.
    fn new(images: &'a [Image], plan: &mut DecodePlan, shared: &Shared) -> Result<Self> {
        let files: Vec<SortedFile<'a>> =
            shared.pool.install(|| images.par_iter().with_max_len(1).map(|image| shared.read(image)).collect());
        let coefficient_bytes: u64 = files.iter().map(SortedFile::coefficient_bytes).sum();
        if images.len() > 1 && coefficient_bytes > shared.max_coefficient_bytes {
            return Err(Error::new(ErrorKind::OutOfMemory, "the images' coefficients are too many for one batch"));
        }
        let mut planned = Vec::with_capacity(images.len());
        let mut entries = Vec::with_capacity(images.len());
        for (image, file) in images.iter().zip(files) {
            let source = match file {
                SortedFile::ForDevice(image) => {
                    planned.push(*image);
                    Source::Device(planned.len() - 1)
                }
                SortedFile::ForCpu { reason, frame } => Source::ForCpu { bytes: &image.bytes, reason, frame },
            };
            let transform = image.transform.unwrap_or(shared.transform);
            entries.push(Entry { tag: image.tag, transform, source, planes: [0; 4], no_input: None });
        }
        plan.replace(&planned, &shared.options);
        for entry in &mut entries {
            entry.planes = match &entry.source {
                Source::Device(planned_idx) => plan.planes[*planned_idx],
                Source::ForCpu { frame: Some(frame), .. } => plan.reserve_planes(frame),
                _ => [0; 4],
            };
        }
        Ok(Self { planned, entries })
    }

    /// Decodes what is not for the device.
    fn decode_on_cpu(&mut self, shared: &Shared) {
        let mut entries: Vec<&mut Entry<'a>> =
            self.entries.iter_mut().filter(|entry| matches!(entry.source, Source::ForCpu { .. })).collect();
        let decode = |entry: &mut &mut Entry<'a>| {
            if let Source::ForCpu { bytes, reason, frame } = &entry.source {
                entry.source = Source::Cpu(shared.decode_on_cpu(bytes, *reason, frame.as_ref()));
            }
        };
        if !entries.is_empty() {
            shared.pool.install(|| entries.par_iter_mut().with_max_len(1).for_each(decode));
        }
    }

    /// What the device gave up is the CPU's; says which entries these are.
    fn give_up(&mut self, device_reports: &[DeviceReport]) -> Vec<usize> {
        let mut given_up = Vec::new();
        for (entry_idx, entry) in self.entries.iter_mut().enumerate() {
            if let Source::Device(planned_idx) = entry.source
                && device_reports[planned_idx].report.is_none()
            {
                let image = &self.planned[planned_idx];
                let frame = Some(image.header.frame.clone());
                entry.source = Source::ForCpu { bytes: image.bytes, reason: CpuReason::Unresolved, frame };
                given_up.push(entry_idx);
            }
        }
        given_up
    }

    /// What the CPU has decoded of the entries wanted, and where it goes.
    fn decoded_on_cpu(&self, is_wanted: impl Fn(usize) -> bool) -> Vec<(&[u64], &Coefficients)> {
        let mut decoded = Vec::new();
        for (entry_idx, Entry { source, planes, .. }) in self.entries.iter().enumerate() {
            if !is_wanted(entry_idx) {
                continue;
            }
            if let Source::Cpu(Decoded { coefficients: Some(coefficients), .. }) = source {
                decoded.push((&planes[..], coefficients));
            }
        }
        decoded
    }

    /// What the network's input is made of; images that have none are told why.
    fn collect_inputs(&mut self, images: &mut Vec<Option<InputImage>>, shared: &Shared) {
        images.clear();
        for entry in &mut self.entries {
            images.push(match entry.input_image(&self.planned, shared) {
                Ok(image) => image,
                Err(reason) => {
                    entry.no_input = Some(reason);
                    None
                }
            });
        }
    }
}

impl Entry<'_> {
    /// `None` if nothing was decoded.
    fn input_image(&self, planned: &[PlannedImage<'_>], shared: &Shared) -> Result<Option<InputImage>, ImageError> {
        let kind = shared.form.kind();
        let Self { transform, planes, .. } = self;
        if transform.crop != shared.transform.crop {
            return Err(ImageError::NoInput { what: "the transform's crop is not the network's input size" });
        }
        match &self.source {
            Source::Device(planned_idx) => {
                InputImage::decoded(&planned[*planned_idx], planes, transform, kind).map(Some)
            }
            Source::Cpu(Decoded { coefficients: Some(coefficients), .. }) => {
                let Coefficients { frame, color, orientation, planes: decoded } = coefficients;
                let plane = |component_idx: usize| (planes[component_idx], decoded[component_idx].quant);
                InputImage::new(frame, *color, *orientation, transform, kind, plane).map(Some)
            }
            Source::Cpu(_) | Source::ForCpu { .. } => Ok(None),
        }
    }

    /// As the CPU backend has it: the policy first, then whether there is an input, then the network's answer.
    fn outcome(self, report: &DecodeReport, logits: &[f32], saturated: u32, shared: &Shared) -> Outcome {
        let mut outcome = Outcome::decoded(self.tag, report);
        if matches!(&self.source, Source::Cpu(Decoded { coefficients: None, .. })) {
            return outcome;
        }
        match (shared.policy.judge(report), self.no_input) {
            (Verdict::Skip, _) => {}
            (Verdict::Refuse, _) => outcome.status = Status::Failed,
            (Verdict::Use, Some(reason)) => {
                outcome.status = Status::Failed;
                outcome.reason = Some(reason);
            }
            (Verdict::Use, None) => {
                outcome.saturated = saturated.into();
                outcome.set_logits(logits, shared.topk);
            }
        }
        outcome
    }
}

/// The slots of a device. `coefficient_bytes`: what may be decoded on it at one time.
pub(super) fn slots(
    settings: &SessionBuilder<'_>,
    device: &Arc<dyn Device>,
    coefficient_bytes: u64,
) -> Result<(Arc<Shared>, Vec<Gpu>)> {
    if let Some(joined) = &settings.joined
        && !Arc::ptr_eq(joined.stream.device(), device)
    {
        return Err(Error::new(ErrorKind::Usage, "the stream to join belongs to another device"));
    }
    let mut inference = settings.weights.inference(InputNorm::Apply);
    let metadata = settings.weights.metadata();
    let form = InputForm::of_network(&mut inference, metadata)?;
    let pool = thread_pool(settings.threads)?;
    let shared = Arc::new(Shared {
        device: Arc::clone(device),
        decoders: Decoders::new(coefficient_bytes, &pool),
        pool,
        max_coefficient_bytes: coefficient_bytes / settings.slots as u64,
        limits: settings.limits.clone(),
        policy: settings.policy,
        transform: metadata.transform,
        form,
        options: PlanOptions { redzone_bytes: device.redzone_bytes(), ..PlanOptions::default() },
        topk: settings.topk,
        joined: settings.joined.clone(),
        clocks: DeviceClocks::new(device)?,
        stats: Mutex::default(),
    });
    let max_images = u32::try_from(settings.max_batch).unwrap_or(u32::MAX);
    let (ops, use_graphs) = (settings.ops_on(device)?, settings.use_graphs);
    let options = NetworkOptions { max_images, ops, use_graphs, ..NetworkOptions::default() };
    let network = NetworkStage::new(device, &inference, &options)?;
    let mut slots = Vec::with_capacity(settings.slots);
    for _ in 1..settings.slots {
        slots.push(Gpu::new(&shared, network.share(device)?, settings.max_batch)?);
    }
    slots.push(Gpu::new(&shared, network, settings.max_batch)?);
    Ok((shared, slots))
}

impl Gpu {
    fn new(shared: &Arc<Shared>, network: NetworkStage, max_batch: usize) -> Result<Self> {
        let device = &shared.device;
        let inputs = shared.form.image_bytes();
        let logit_bytes = max_batch * network.num_classes() * size_of::<f32>();
        Ok(Self {
            plan: DecodePlan::default(),
            input_images: Vec::new(),
            input_plan: InputBatchPlan::empty(&shared.form),
            decode: DecodeStage::new(device)?,
            input: InputStage::new(device)?,
            inputs: inputs.map(|bytes| DeviceBuffer::new(device, bytes * max_batch)).collect::<Result<_>>()?,
            logits: DeviceBuffer::new(device, logit_bytes)?,
            host_logits: Download::new(device, logit_bytes)?,
            caller_is_ready: Event::new(device)?,
            is_done: Event::new(device)?,
            events: StageEvents::new(device)?,
            counted: Counted::default(),
            shared: Arc::clone(shared),
            network,
        })
    }

    /// Runs images of a part, those from `first` on. Images that do not fit into memory together run one half after the other.
    fn run_range(&mut self, part: &Part<'_>, first: usize, images: &[Image], is_last: bool) -> Result<Vec<Outcome>> {
        let error = match self.run_together(part, first, images, is_last) {
            Err(error) if error.kind() == ErrorKind::OutOfMemory => error,
            done => return done,
        };
        match images {
            [] => Err(error),
            [image] => {
                let reason = ImageError::NoInput { what: "the device has too little memory for the image" };
                Ok(vec![Outcome::failed(image.tag, reason)])
            }
            _ => {
                let (front, back) = images.split_at(images.len() / 2);
                let mut outcomes = self.run_range(part, first, front, false)?;
                outcomes.extend(self.run_range(part, first + front.len(), back, is_last)?);
                Ok(outcomes)
            }
        }
    }

    fn run_together(&mut self, part: &Part<'_>, first: usize, images: &[Image], is_last: bool) -> Result<Vec<Outcome>> {
        let _range = device::range(format_args!("batch of {} images", images.len()));
        let shared = Arc::clone(&self.shared);
        let mut work = Work::new(images, &mut self.plan, &shared)?;
        let row_bytes = self.network.num_classes() * size_of::<f32>();
        let target = part.logits.map(|buffer| {
            let first_row = part.first_row + first;
            buffer.slice(first_row * row_bytes..(first_row + images.len()) * row_bytes)
        });
        self.decode(&mut work, part.pinned)?;
        let mut reports = None;
        if target.is_some() {
            // The caller's stream goes on after the network: by then the logits must be right.
            reports = Some(self.reports(&mut work)?.0);
        }
        work.collect_inputs(&mut self.input_images, &shared);
        self.input_plan.replace(&self.input_images, shared.options.redzone_bytes)?;
        self.classify(images.len(), target)?;
        if is_last {
            part.is_on_its_way();
        }
        let reports = match reports {
            Some(reports) => reports,
            None => {
                let (reports, has_given_up) = self.reports(&mut work)?;
                if has_given_up {
                    self.classify(images.len(), None)?;
                }
                reports
            }
        };
        self.decode.stream().synchronize()?;
        self.count()?;
        self.outcomes(work, &reports)
    }

    /// Puts upload and decoder on the stream. While the device is at work, the CPU decodes what is not for it.
    fn decode(&mut self, work: &mut Work<'_>, pinned: Option<&Arc<PinnedBuffer>>) -> Result<()> {
        if let Some(joined) = &self.shared.joined {
            joined.stream.record(&self.caller_is_ready)?;
        }
        self.decode.submit_from(&work.planned, &self.plan, pinned)?;
        // Before the CPU's share, which the stream may have to wait for.
        self.decode.stream().record(&self.events.decoded)?;
        work.decode_on_cpu(&self.shared);
        self.decode.upload_coefficients(&work.decoded_on_cpu(|_| true))
    }

    /// Waits for the decoder. What it gave up is decoded by the CPU now, and its coefficients replaced; the second result says whether
    /// there was anything.
    fn reports(&mut self, work: &mut Work<'_>) -> Result<(Vec<DecodeReport>, bool)> {
        let shared = &self.shared;
        let mut device_reports = self.decode.fetch_reports(&work.planned, &self.plan)?;
        let mut stats = shared.lock_stats();
        stats.decoder.on_device += device_reports.iter().filter(|device| device.report.is_some()).count() as u64;
        stats.decoder.serial_subsequences +=
            device_reports.iter().map(|device| u64::from(device.serial_subsequences)).sum::<u64>();
        drop(stats);
        let given_up = work.give_up(&device_reports);
        if !given_up.is_empty() {
            work.decode_on_cpu(shared);
            let is_new = |entry_idx: usize| given_up.binary_search(&entry_idx).is_ok();
            self.decode.upload_coefficients(&work.decoded_on_cpu(is_new))?;
        }
        let internal = || DecodeReport::failed(ImageError::Internal, 0);
        let reports = work.entries.iter().map(|entry| match &entry.source {
            Source::Device(planned_idx) => device_reports[*planned_idx].report.take().unwrap_or_else(internal),
            Source::Cpu(decoded) => decoded.report.clone(),
            Source::ForCpu { .. } => internal(),
        });
        Ok((reports.collect(), !given_up.is_empty()))
    }

    /// Puts input, network and download on the stream. The logits also go to `target`.
    fn classify(&mut self, num_images: usize, target: Option<DeviceSlice<'_>>) -> Result<()> {
        let Self { decode, input, input_plan, network, inputs, logits, host_logits, events, .. } = self;
        let stream = decode.stream();
        let network_input = match &inputs[..] {
            [y, c] => NetworkInput::Blocks { y: y.all(), c: c.all() },
            [rgb] => NetworkInput::Rgb(rgb.all()),
            _ => return Err(Error::new(ErrorKind::Internal, "a network has one input or two")),
        };
        stream.record(&events.input_begun)?;
        input.submit(stream, input_plan, decode.coefficients(), network_input)?;
        stream.record(&events.input_made)?;
        let len_bytes = num_images * network.num_classes() * size_of::<f32>();
        let joined = self.shared.joined.as_ref();
        if let Some(joined) = joined
            && joined.forgotten != Some(ForgottenWait::BeforeBatch)
        {
            stream.wait_for(&self.caller_is_ready)?;
        }
        stream.record(&events.network_begun)?;
        let rows = target.unwrap_or_else(|| logits.slice(0..len_bytes));
        network.submit(stream, network_input, num_images as u32, rows)?;
        stream.record(&events.classified)?;
        host_logits.submit(stream, rows)?;
        stream.record(&events.end)?;
        if let Some(joined) = joined {
            stream.record(&self.is_done)?;
            if joined.forgotten != Some(ForgottenWait::AfterBatch) {
                joined.stream.wait_for(&self.is_done)?;
            }
        }
        Ok(())
    }

    /// Times, allocations and copies of a batch that is done.
    fn count(&mut self) -> Result<()> {
        let Self { decode, input, events, shared, .. } = self;
        shared.clocks.add(decode.begun(), decode.uploaded(), events)?;
        let counted = Counted {
            num_allocations: decode.num_allocations() + input.num_allocations(),
            uploaded_bytes: decode.stream().uploaded_bytes(),
            downloaded_bytes: decode.stream().downloaded_bytes(),
        };
        let mut stats = shared.lock_stats();
        stats.num_allocations += counted.num_allocations - self.counted.num_allocations;
        stats.uploaded_bytes += counted.uploaded_bytes - self.counted.uploaded_bytes;
        stats.downloaded_bytes += counted.downloaded_bytes - self.counted.downloaded_bytes;
        drop(stats);
        self.counted = counted;
        Ok(())
    }

    fn outcomes(&self, work: Work<'_>, reports: &[DecodeReport]) -> Result<Vec<Outcome>> {
        let saturated = self.input.fetch_saturated()?;
        let num_classes = self.network.num_classes();
        let logits: &[f32] = bytemuck::cast_slice(self.host_logits.bytes()?);
        let rows = logits.chunks_exact(num_classes);
        let entries = work.entries.into_iter().zip(reports).zip(rows).zip(saturated);
        Ok(entries
            .map(|(((entry, report), row), saturated)| entry.outcome(report, row, saturated, &self.shared))
            .collect())
    }
}

impl Backend for Gpu {
    fn run(&mut self, part: &Part<'_>) -> Result<Vec<Outcome>> {
        if let Some(buffer) = part.logits {
            let wanted = (part.first_row + part.images.len()) * self.network.num_classes() * size_of::<f32>();
            if !Arc::ptr_eq(buffer.device(), &self.shared.device) || buffer.len_bytes() < wanted {
                let held = buffer.len_bytes();
                let message = format!(
                    "the batch's logits take {wanted} bytes of memory of the session's device; the buffer has {held}, or is another device's"
                );
                return Err(Error::new(ErrorKind::Usage, message));
            }
        }
        self.run_range(part, 0, part.images, true)
    }

    fn trim(&mut self) -> Result<()> {
        self.decode.trim()?;
        self.input.trim()?;
        self.plan = DecodePlan::default();
        self.input_images = Vec::new();
        self.input_plan = InputBatchPlan::empty(&self.shared.form);
        Ok(())
    }
}
