//! The scenarios on a device that end before the logits or begin after decoding. Whole sessions are [`EndToEnd`](super::workload::EndToEnd).
//!
//! Several batches can be under way: each on a stream of its own, with memory and a thread of its own, so that one is uploaded while another is
//! decoded. Stages are timed from event to event, as in sessions.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cpu_time::{ProcessTime, ThreadTime};
use dctflow::cpu::{self, Decoded};
use dctflow::device::{BusyClock, Device, Event, OpsChoice};
use dctflow::jpeg::{Frame, Header, Limits, Status};
use dctflow::network::Weights;
use dctflow::plan::{DecodePlan, InputImage, PlanOptions, PlannedImage};
use dctflow::stages::DecodeStage;
use dctflow::{Error, ErrorKind, ImageError, Result};
use rayon::prelude::*;

use super::images::File;
use super::workload::{DeviceReading, Finished, LeftToCpu, Reading, Sent, Workload, logits_word};
use crate::cli::device_network::DeviceNetwork;
use crate::cli::output::status_word;

type Bytes = Arc<Vec<u8>>;

/// Takes batches all the way of its scenario, one after the other.
trait Front: Send {
    /// What became of each file, as one word. The device is done with the batch then.
    fn run(&mut self, files: &[Bytes]) -> Result<Vec<String>>;

    fn counted(&self) -> Counted;
}

/// What a front has counted since it was made.
#[derive(Clone, Copy, Default)]
struct Counted {
    uploaded_bytes: u64,
    left_to_cpu: LeftToCpu,
    upload: Duration,
    entropy: Duration,
    resample: Duration,
    network: Duration,
    download: Duration,
}

/// Bytes to coefficients in a device's memory and, where there is a network, to its input.
struct DeviceFront {
    /// Reads the headers, and decodes what the device leaves to the CPU.
    pool: Arc<rayon::ThreadPool>,
    limits: Limits,
    options: PlanOptions,
    decode: DecodeStage,
    network: Option<DeviceNetwork>,
    decoded: Event,
    input_begun: Event,
    input_made: Event,
    /// Of all fronts together.
    busy: Arc<BusyClock>,
    counted: Counted,
}

/// What the fronts of a scenario share.
struct Shared {
    pool: Arc<rayon::ThreadPool>,
    busy: Arc<BusyClock>,
}

/// Who decodes a file, and where its coefficients lie.
enum Place {
    Device(usize),
    Cpu(Box<Frame>, [u64; 4]),
    Unreadable(ImageError),
}

impl DeviceFront {
    fn new(device: &Arc<dyn Device>, shared: &Shared, network: Option<DeviceNetwork>) -> Result<Self> {
        Ok(Self {
            pool: Arc::clone(&shared.pool),
            busy: Arc::clone(&shared.busy),
            limits: Limits::default(),
            options: PlanOptions { redzone_bytes: device.redzone_bytes(), ..PlanOptions::default() },
            decode: DecodeStage::new(device)?,
            network,
            decoded: Event::new(device)?,
            input_begun: Event::new(device)?,
            input_made: Event::new(device)?,
            counted: Counted::default(),
        })
    }

    fn decode_on_cpu(&mut self, files: &[Bytes], wanted: &[usize]) -> Vec<(usize, Decoded)> {
        let decode = |&file_idx: &usize| {
            let start = ThreadTime::now();
            let decoded = cpu::decode(&files[file_idx], &self.limits);
            (start.elapsed(), (file_idx, decoded))
        };
        let decoded: Vec<_> = self.pool.install(|| wanted.par_iter().with_max_len(1).map(decode).collect());
        self.counted.left_to_cpu.images += decoded.len() as u64;
        self.counted.left_to_cpu.cpu_time += decoded.iter().map(|(time, _)| *time).sum::<Duration>();
        decoded.into_iter().map(|(_, decoded)| decoded).collect()
    }

    /// Puts what the CPU has decoded where the batch's coefficients have room for it.
    fn upload(&mut self, batch: &Planned<'_>, decoded: &[(usize, Decoded)]) -> Result<()> {
        let planes = decoded.iter().filter_map(|(file_idx, decoded)| {
            let coefficients = decoded.coefficients.as_ref()?;
            let (frame, planes) = batch.room(*file_idx)?;
            (coefficients.frame == *frame).then_some((&planes[..], coefficients))
        });
        self.decode.upload_coefficients(&planes.collect::<Vec<_>>())
    }

    /// Puts the making of the network's input on the stream. Images that it cannot be made of are given with their reasons.
    fn make_input(&mut self, batch: &Planned<'_>, on_cpu: &[(usize, Decoded)]) -> Result<Vec<(usize, ImageError)>> {
        let Some(network) = &mut self.network else { return Ok(Vec::new()) };
        let (transform, kind) = (&network.transform, network.form.kind());
        let mut failed = Vec::new();
        let mut inputs = Vec::with_capacity(batch.places.len());
        for (file_idx, place) in batch.places.iter().enumerate() {
            let by_cpu = on_cpu.iter().find(|(idx, _)| *idx == file_idx);
            let input = match (by_cpu, place) {
                (Some((_, decoded)), _) => {
                    decoded.coefficients.as_ref().zip(batch.room(file_idx)).map(|(c, (_, planes))| {
                        let plane = |idx: usize| (planes[idx], c.planes[idx].quant);
                        InputImage::new(&c.frame, c.color, c.orientation, transform, kind, plane)
                    })
                }
                (None, Place::Device(idx)) => {
                    Some(InputImage::decoded(&batch.images[*idx], &batch.plan.planes[*idx], transform, kind))
                }
                (None, Place::Cpu(..) | Place::Unreadable(_)) => None,
            };
            inputs.push(match input.transpose() {
                Ok(input) => input,
                Err(reason) => {
                    failed.push((file_idx, reason));
                    None
                }
            });
        }
        let plan = network.plan_input(&inputs)?;
        let stream = self.decode.stream();
        stream.record(&self.input_begun)?;
        network.submit_input(stream, &plan, self.decode.coefficients())?;
        stream.record(&self.input_made)?;
        Ok(failed)
    }
}

/// A batch whose headers were read.
struct Planned<'a> {
    places: Vec<Place>,
    images: Vec<PlannedImage<'a>>,
    plan: DecodePlan,
}

impl<'a> Planned<'a> {
    fn read(front: &DeviceFront, files: &'a [Bytes]) -> Self {
        let limits = &front.limits;
        let read = |bytes: &'a Bytes| {
            PlannedImage::read(bytes, limits).map_err(|_| Header::parse(bytes, limits).map(|header| header.frame))
        };
        let headers: Vec<_> = front.pool.install(|| files.par_iter().with_max_len(1).map(read).collect());
        let (mut places, mut images) = (Vec::with_capacity(files.len()), Vec::new());
        for header in headers {
            places.push(match header {
                Ok(image) => {
                    images.push(image);
                    Place::Device(images.len() - 1)
                }
                Err(Ok(frame)) => Place::Cpu(Box::new(frame), [0; 4]),
                Err(Err(reason)) => Place::Unreadable(reason),
            });
        }
        let mut plan = DecodePlan::new(&images, &front.options);
        for place in &mut places {
            if let Place::Cpu(frame, planes) = place {
                *planes = plan.reserve_planes(frame);
            }
        }
        Self { places, images, plan }
    }

    /// What a file's coefficients must be, and where they have room.
    fn room(&self, file_idx: usize) -> Option<(&Frame, &[u64; 4])> {
        match &self.places[file_idx] {
            Place::Device(idx) => Some((&self.images[*idx].header.frame, &self.plan.planes[*idx])),
            Place::Cpu(frame, planes) => Some((frame, planes)),
            Place::Unreadable(_) => None,
        }
    }
}

impl Front for DeviceFront {
    fn run(&mut self, files: &[Bytes]) -> Result<Vec<String>> {
        let batch = Planned::read(self, files);
        let is_for_device = batch.plan.num_coefficients > 0;
        if is_for_device {
            self.decode.submit(&batch.images, &batch.plan)?;
            self.decode.stream().record(&self.decoded)?;
        }
        // The device is at work.
        let is_for_cpu = |&idx: &usize| matches!(batch.places[idx], Place::Cpu(..));
        let mut on_cpu = self.decode_on_cpu(files, &(0..files.len()).filter(is_for_cpu).collect::<Vec<_>>());
        let (mut failed, mut reports) = (Vec::new(), Vec::new());
        if is_for_device {
            self.upload(&batch, &on_cpu)?;
            failed = self.make_input(&batch, &on_cpu)?;
            reports = self.decode.fetch_reports(&batch.images, &batch.plan)?;
        }
        // What the device gave up is known only now: input is made once more.
        let is_given_up = |&idx: &usize| matches!(batch.places[idx], Place::Device(i) if reports[i].report.is_none());
        let given_up = self.decode_on_cpu(files, &(0..files.len()).filter(is_given_up).collect::<Vec<_>>());
        if !given_up.is_empty() {
            self.upload(&batch, &given_up)?;
            on_cpu.extend(given_up);
            failed = self.make_input(&batch, &on_cpu)?;
        }
        self.decode.stream().synchronize()?;
        if is_for_device {
            self.counted.upload += self.decode.begun().elapsed(self.decode.uploaded())?;
            self.counted.entropy += self.decode.uploaded().elapsed(&self.decoded)?;
            self.busy.add(self.decode.begun(), &self.decoded)?;
            if self.network.is_some() {
                self.counted.resample += self.input_begun.elapsed(&self.input_made)?;
                self.busy.add(&self.input_begun, &self.input_made)?;
            }
        }
        self.counted.uploaded_bytes = self.decode.stream().uploaded_bytes();
        let mut words: Vec<String> = batch
            .places
            .iter()
            .map(|place| match place {
                Place::Device(idx) => reports[*idx].report.as_ref().map(|r| status_word(r.status, r.reason.as_ref())),
                Place::Cpu(..) => None,
                Place::Unreadable(reason) => Some(status_word(Status::Failed, Some(reason))),
            })
            .map(Option::unwrap_or_default)
            .collect();
        for (file_idx, decoded) in &on_cpu {
            words[*file_idx] = status_word(decoded.report.status, decoded.report.reason.as_ref());
        }
        for (file_idx, reason) in &failed {
            words[*file_idx] = status_word(Status::Failed, Some(reason));
        }
        Ok(words)
    }

    fn counted(&self) -> Counted {
        self.counted
    }
}

/// The network's input to logits: the same batch again and again.
struct DeviceClassify {
    front: DeviceFront,
    batch: usize,
    begun: Event,
    classified: Event,
    end: Event,
}

impl DeviceClassify {
    /// A batch made of `files`.
    fn new(device: &Arc<dyn Device>, mut front: DeviceFront, files: &[File], batch: usize) -> Result<Self> {
        let files: Vec<Bytes> = files.iter().cycle().take(batch).map(|file| Arc::clone(&file.bytes)).collect();
        let words = front.run(&files)?;
        if words.iter().all(|word| word.starts_with("failed")) {
            let message = format!("none of the first {} files can be used", words.len());
            return Err(Error::new(ErrorKind::Usage, message));
        }
        front.counted = Counted::default();
        Ok(Self { front, batch, begun: Event::new(device)?, classified: Event::new(device)?, end: Event::new(device)? })
    }
}

impl Front for DeviceClassify {
    fn run(&mut self, _: &[Bytes]) -> Result<Vec<String>> {
        let DeviceFront { network, decode, busy, counted, .. } = &mut self.front;
        let Some(network) = network else { return Err(Error::new(ErrorKind::Internal, "a front without a network")) };
        let (stream, uploaded_before) = (decode.stream(), decode.stream().uploaded_bytes());
        stream.record(&self.begun)?;
        network.submit_network(stream, self.batch)?;
        stream.record(&self.classified)?;
        network.submit_download(stream, self.batch)?;
        stream.record(&self.end)?;
        let words = network.logits()?.chunks_exact(network.network().num_classes()).map(logits_word).collect();
        stream.synchronize()?;
        counted.network += self.begun.elapsed(&self.classified)?;
        counted.download += self.classified.elapsed(&self.end)?;
        busy.add(&self.begun, &self.end)?;
        counted.uploaded_bytes += stream.uploaded_bytes() - uploaded_before;
        Ok(words)
    }

    fn counted(&self) -> Counted {
        self.front.counted
    }
}

/// What is measured on a device.
pub struct DeviceScenario<'a> {
    pub pool: rayon::ThreadPool,
    pub device: &'a Arc<dyn Device>,
    pub batch: usize,
    /// Batches that are under way at the same time.
    pub in_flight: usize,
    /// What carries out convolutions.
    pub ops: OpsChoice,
}

impl DeviceScenario<'_> {
    /// Bytes to coefficients.
    pub fn decode(self) -> Result<InFlight> {
        let device = self.device;
        self.start(&["upload", "entropy"], |shared| Ok(Box::new(DeviceFront::new(device, shared, None)?)))
    }

    /// Bytes to the input of the network of `weights`.
    pub fn input(self, weights: &Weights) -> Result<InFlight> {
        let (device, batch, ops) = (self.device, self.batch, self.ops);
        self.start(&["upload", "entropy", "resample"], |shared| {
            let network = DeviceNetwork::with_ops(device, weights, batch, true, ops)?;
            Ok(Box::new(DeviceFront::new(device, shared, Some(network))?))
        })
    }

    /// The network's input to logits, with a batch made of `files`.
    ///
    /// # Errors
    /// `Usage` if none of the files can be used; those of the device.
    pub fn network(self, weights: &Weights, files: &[File]) -> Result<InFlight> {
        let (device, batch, ops) = (self.device, self.batch, self.ops);
        self.start(&["network", "download"], |shared| {
            let network = DeviceNetwork::with_ops(device, weights, batch, true, ops)?;
            let front = DeviceFront::new(device, shared, Some(network))?;
            Ok(Box::new(DeviceClassify::new(device, front, files, batch)?))
        })
    }

    fn start(
        self,
        stages: &'static [&'static str],
        mut front: impl FnMut(&Shared) -> Result<Box<dyn Front>>,
    ) -> Result<InFlight> {
        self.device.memory_meter().reset_peaks();
        let shared = Shared { pool: Arc::new(self.pool), busy: Arc::new(BusyClock::new(self.device)?) };
        let workers = (0..self.in_flight).map(|_| front(&shared).and_then(Worker::start));
        let workers = workers.collect::<Result<_>>()?;
        let (device, busy, cpu) = (Arc::clone(self.device), shared.busy, ProcessTime::now());
        Ok(InFlight { device, workers, under_way: VecDeque::new(), next: 0, stages, busy, cpu })
    }
}

/// A front on a thread of its own.
struct Worker {
    jobs: Option<Sender<(Sent, Vec<Bytes>)>>,
    answers: Receiver<Result<Finished>>,
    counted: Arc<Mutex<Counted>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(mut front: Box<dyn Front>) -> Result<Self> {
        let (jobs, work) = channel::<(Sent, Vec<Bytes>)>();
        let (answer, answers) = channel();
        let counted = Arc::new(Mutex::new(front.counted()));
        let shared = Arc::clone(&counted);
        let run = move || {
            for (sent, files) in work {
                let finished = front.run(&files).map(|words| Finished::new(sent, words));
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = front.counted();
                if answer.send(finished).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("bench front".into()).spawn(run).map_err(|e| {
            Error::new(ErrorKind::OutOfMemory, "no thread to be had for a batch in flight").with_source(e)
        })?;
        Ok(Self { jobs: Some(jobs), answers, counted, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        // What a front panics with, its missing answer has told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Several batches under way on a device.
pub struct InFlight {
    device: Arc<dyn Device>,
    workers: Vec<Worker>,
    /// Workers with a batch, by its age.
    under_way: VecDeque<usize>,
    next: usize,
    stages: &'static [&'static str],
    busy: Arc<BusyClock>,
    cpu: ProcessTime,
}

impl Workload for InFlight {
    fn submit(&mut self, files: &[&File]) -> Result<Option<Finished>> {
        let gone = || Error::new(ErrorKind::Internal, "a thread that measures has ended");
        let job = (Sent::now(files), files.iter().map(|file| Arc::clone(&file.bytes)).collect());
        self.workers[self.next].jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        self.under_way.push_back(self.next);
        self.next = (self.next + 1) % self.workers.len();
        if self.under_way.len() < self.workers.len() {
            return Ok(None);
        }
        let Some(oldest) = self.under_way.pop_front() else { return Ok(None) };
        self.workers[oldest].answers.recv().map_err(|_| gone())?.map(Some)
    }

    /// The device's time by stage, from event to event, summed over batches that may overlap; and the host's CPU time: planning, copying, waiting,
    /// and what the device leaves to the CPU; on the emulator the kernels too.
    fn reading(&self) -> Reading {
        let mut sum = Counted::default();
        for worker in &self.workers {
            let counted = *worker.counted.lock().unwrap_or_else(PoisonError::into_inner);
            sum.uploaded_bytes += counted.uploaded_bytes;
            sum.left_to_cpu += counted.left_to_cpu;
            sum.upload += counted.upload;
            sum.entropy += counted.entropy;
            sum.resample += counted.resample;
            sum.network += counted.network;
            sum.download += counted.download;
        }
        let all = [
            ("upload", sum.upload),
            ("entropy", sum.entropy),
            ("resample", sum.resample),
            ("network", sum.network),
            ("download", sum.download),
        ];
        let mut stages = vec![("host", self.cpu.elapsed())];
        stages.extend(all.into_iter().filter(|(name, _)| self.stages.contains(name)));
        let memory = self.device.memory_meter().read();
        let devices = DeviceReading {
            uploaded_bytes: sum.uploaded_bytes,
            left_to_cpu: sum.left_to_cpu,
            busy: (self.busy.total(), 1),
            peak_device_bytes: memory.peak_device_bytes,
            peak_pinned_bytes: memory.peak_pinned_bytes,
        };
        Reading { stages, devices: Some(devices) }
    }
}
