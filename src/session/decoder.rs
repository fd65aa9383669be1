//! Decoding batches of files to coefficients on a device; what is not for the device, the CPU decodes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use rayon::prelude::*;

use super::device_coefficients::{DecodedOnDevice, DeviceCoefficients, DeviceImage, DevicePlane};
use super::sorting::{SortedFile, decode_into_room};
use crate::cpu::{self, Decoded};
use crate::device::{Device, DeviceBuffer, Event, Stream};
use crate::jpeg::{Coefficients, DecodeReport, Frame, Header, Limits, Natural};
use crate::plan::{CpuReason, DecodePlan, PlanOptions, PlannedImage};
use crate::stages::DecodeStage;
use crate::{ImageError, Result};

/// Where the images of all batches so far were decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecoderStats {
    /// On the device.
    pub on_device: u64,
    /// On the CPU, and why.
    pub on_cpu: BTreeMap<CpuReason, u64>,
    /// CPU time that these took, summed over threads.
    pub cpu_time: Duration,
    /// Subsequences that the device had to decode one after the other.
    pub serial_subsequences: u64,
}

/// Decodes batches of files on a device: into host memory ([`decode`](Self::decode)) or into device memory, for a network of one's own
/// ([`decode_to_device`](Self::decode_to_device)). The coefficients are those that [`cpu::decode`] gives, and so are the reports. What has
/// no parallel method (arithmetic coding, unusual scans) the CPU decodes, meanwhile, and [`stats`](Self::stats) counts it.
///
/// One decoder works on one batch at a time, on a stream of its own; for several batches at a time take several decoders. Its memory grows
/// to a quarter more than the largest batch needed and stays: after the largest batch nothing is taken on the device any more.
///
/// ```
/// # fn main() -> dctflow::Result<()> {
/// # #[cfg(feature = "emulator")] {
/// use dctflow::session::{BatchDecoder, DeviceChoice};
///
/// let device = DeviceChoice::Emulator.resolve()?.handle.expect("not the CPU");
/// let mut decoder = BatchDecoder::new(&device)?;
/// let photo = dctflow::synth::photo(0, 0);
/// let coefficients = decoder.decode_to_device(&[&photo, b"not a JPEG"])?;
/// let image = coefficients.images()[0].image.as_ref().expect("a sound file");
/// for plane in &image.planes {
///     // A kernel of yours reads i16 coefficients here; `quant` is what to multiply them by.
///     println!("{:#x}: shape {:?}, strides {:?}", plane.address, plane.shape(), plane.strides());
/// }
/// assert!(coefficients.images()[1].image.is_none());
/// decoder.recycle(coefficients); // The next batch lies in the same memory.
/// # }
/// # Ok(()) }
/// ```
pub struct BatchDecoder {
    stage: DecodeStage,
    plan: DecodePlan,
    /// What is allowed of a file.
    pub limits: Limits,
    /// How the work is shared out.
    pub options: PlanOptions,
    /// Coefficients that are decoded at one time, at most, unless a single image has more.
    pub max_batch_bytes: u64,
    stats: DecoderStats,
}

impl BatchDecoder {
    /// A decoder with default limits.
    pub fn new(device: &Arc<dyn Device>) -> Result<Self> {
        Ok(Self {
            stage: DecodeStage::new(device)?,
            plan: DecodePlan::default(),
            limits: Limits::default(),
            options: PlanOptions { redzone_bytes: device.redzone_bytes(), ..PlanOptions::default() },
            max_batch_bytes: 2 << 30,
            stats: DecoderStats::default(),
        })
    }

    /// Where images were decoded so far.
    pub fn stats(&self) -> &DecoderStats {
        &self.stats
    }

    /// The device that it works on.
    pub fn device(&self) -> &Arc<dyn Device> {
        self.stage.stream().device()
    }

    /// Bytes copied to the device so far: entropy-coded data, what describes them, and coefficients from the CPU.
    pub fn uploaded_bytes(&self) -> u64 {
        self.stage.stream().uploaded_bytes()
    }

    /// How often memory was taken on the device so far.
    pub fn num_allocations(&self) -> u64 {
        self.stage.num_allocations()
    }

    /// Decodes files; what comes of each stands at its place.
    ///
    /// # Errors
    /// Those of the device. Whatever is wrong with a file stands in its report.
    pub fn decode(&mut self, files: &[&[u8]]) -> Result<Vec<Decoded>> {
        let mut decoded = Vec::with_capacity(files.len());
        self.decode_in_parts(files, |part| decoded.extend(part))?;
        Ok(decoded)
    }

    /// Decodes files, and hands over what comes of them in order, in parts of [`max_batch_bytes`](Self::max_batch_bytes): the host's memory
    /// need not hold all coefficients at one time.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_in_parts(&mut self, files: &[&[u8]], mut sink: impl FnMut(Vec<Decoded>)) -> Result<()> {
        let mut part = Part::default();
        for &file in files {
            let sorted = SortedFile::read(file, &self.limits);
            let image_bytes = sorted.coefficient_bytes();
            if part.coefficient_bytes + image_bytes > self.max_batch_bytes && !part.files.is_empty() {
                sink(self.decode_part(std::mem::take(&mut part))?);
            }
            part.coefficient_bytes += image_bytes;
            part.push(file, sorted);
        }
        sink(self.decode_part(part)?);
        Ok(())
    }

    /// Decodes files into device memory, all as one batch: `max_batch_bytes` does not count here.
    ///
    /// Returns when everything is in place, so that any stream of the device may read it; waits for nothing else. The memory belongs to the
    /// result. [`recycle`](Self::recycle) it, or every batch takes new memory.
    ///
    /// # Errors
    /// `OutOfMemory` if the device has no room for the batch: nothing is harmed, smaller ones may pass. `Device`: nothing works any more.
    /// Whatever is wrong with a file stands in its report.
    pub fn decode_to_device(&mut self, files: &[&[u8]]) -> Result<DeviceCoefficients> {
        self.submit_to_device(files)?.finish()
    }

    /// As [`decode_to_device`](Self::decode_to_device), but the host waits for nothing: the work is on the decoder's stream, which others
    /// [join](CoefficientsInFlight::join), and what came of each file is known when it is [finished](CoefficientsInFlight::finish).
    ///
    /// What is not for the device is decoded before this returns, by the CPU, beside the device's work.
    ///
    /// # Errors
    /// As [`decode_to_device`](Self::decode_to_device).
    pub fn submit_to_device<'f>(&mut self, files: &[&'f [u8]]) -> Result<CoefficientsInFlight<'_, 'f>> {
        let mut part = Part::default();
        files.iter().for_each(|file| part.push(file, SortedFile::read(file, &self.limits)));
        self.plan.replace(&part.images, &self.options);
        let planes: Vec<[u64; 4]> = part.places.iter().map(|place| place.reserve_planes(&mut self.plan)).collect();
        let on_cpu = self.begin(&part)?;
        let decoded = on_cpu
            .iter()
            .filter_map(|(&file_idx, decoded)| Some((&planes[file_idx][..], decoded.coefficients.as_ref()?)));
        self.stage.upload_coefficients(&decoded.collect::<Vec<_>>())?;
        let is_ready = Event::new(self.device())?;
        self.stage.stream().record(&is_ready)?;
        let buffer = Arc::new(self.stage.take_coefficients()?);
        let place_of = |(file_idx, place): (usize, &Place)| match place {
            Place::Device(image_idx) => {
                Some(DeviceImage::planned(&buffer, &planes[file_idx], &part.images[*image_idx]))
            }
            Place::Cpu { .. } => {
                let coefficients = on_cpu.get(&file_idx)?.coefficients.as_ref()?;
                Some(DeviceImage::decoded(&buffer, &planes[file_idx], coefficients))
            }
        };
        let images = part.places.iter().enumerate().map(place_of).collect();
        Ok(CoefficientsInFlight { decoder: self, part, planes, on_cpu, buffer, images, is_ready })
    }

    /// Takes the memory of a batch back, for the next ones. Nobody reads it any more; if somebody still shares it, it is not used again.
    pub fn recycle(&mut self, coefficients: DeviceCoefficients) {
        if let Some(buffer) = Arc::into_inner(coefficients.buffer) {
            self.stage.put_coefficients(buffer);
        }
    }

    /// The same while what reads it is still on a stream: the next batch is decoded after that.
    ///
    /// # Errors
    /// `Device`.
    pub fn recycle_after(&mut self, coefficients: DeviceCoefficients, stream: &Stream) -> Result<()> {
        let is_read = Event::new(self.device())?;
        stream.record(&is_read)?;
        self.stage.stream().wait_for(&is_read)?;
        self.recycle(coefficients);
        Ok(())
    }

    /// Gives all memory back to the device; the next batch takes it anew.
    pub fn trim(&mut self) -> Result<()> {
        self.stage.trim()
    }

    fn decode_part(&mut self, part: Part<'_>) -> Result<Vec<Decoded>> {
        self.plan.replace(&part.images, &self.options);
        let on_cpu = self.begin(&part)?;
        let Ended { results, .. } = self.end(&part, on_cpu)?;
        let decoded = results.into_iter().zip(&part.places).map(|(result, place)| match (result, place) {
            (FileResult::OnDevice(report), &Place::Device(image_idx)) => {
                let image = &part.images[image_idx];
                let coefficients = self.stage.fetch_coefficients(image_idx, image, &self.plan)?;
                Ok(Decoded { coefficients: Some(coefficients), report })
            }
            (FileResult::OnDevice(report), Place::Cpu { .. }) => Ok(Decoded { coefficients: None, report }),
            (FileResult::OnCpu(decoded), _) => Ok(decoded),
        });
        decoded.collect()
    }

    /// Puts the decoding of a part that is planned on the stream. While the device is at work, the CPU decodes what is not for it: by file.
    fn begin(&mut self, part: &Part<'_>) -> Result<BTreeMap<usize, Decoded>> {
        // A batch of nothing is no batch.
        if self.plan.num_coefficients > 0 {
            self.stage.submit(&part.images, &self.plan)?;
        }
        Ok(self.decode_on_cpu(part, |file_idx| match &part.places[file_idx] {
            Place::Cpu { reason, .. } => Some(*reason),
            Place::Device(_) => None,
        }))
    }

    /// Waits for a part that was begun. What the device decoded stays there; what it gave up, the CPU decodes now.
    fn end(&mut self, part: &Part<'_>, mut on_cpu: BTreeMap<usize, Decoded>) -> Result<Ended> {
        let mut reports = match self.plan.num_coefficients > 0 {
            true => self.stage.fetch_reports(&part.images, &self.plan)?,
            false => Vec::new(),
        };
        let mut given_up = self.decode_on_cpu(part, |file_idx| match &part.places[file_idx] {
            Place::Device(image_idx) if reports[*image_idx].report.is_none() => Some(CpuReason::Unresolved),
            _ => None,
        });
        let late = given_up.keys().copied().collect();
        on_cpu.append(&mut given_up);
        self.stats.serial_subsequences += reports.iter().map(|r| u64::from(r.serial_subsequences)).sum::<u64>();
        let results = part.places.iter().enumerate().map(|(file_idx, place)| {
            if let Some(decoded) = on_cpu.remove(&file_idx) {
                return FileResult::OnCpu(decoded);
            }
            self.stats.on_device += 1;
            let report = match place {
                Place::Device(image_idx) => reports[*image_idx].report.take(),
                Place::Cpu { .. } => None,
            };
            FileResult::OnDevice(report.unwrap_or_else(|| DecodeReport::failed(ImageError::Internal, 0)))
        });
        Ok(Ended { results: results.collect(), late })
    }

    /// Decodes those files of a part that have a reason, in parallel, in the calling thread's rayon pool. By file.
    fn decode_on_cpu(
        &mut self,
        part: &Part<'_>,
        reason: impl Fn(usize) -> Option<CpuReason>,
    ) -> BTreeMap<usize, Decoded> {
        let mut files = Vec::new();
        for (file_idx, reason) in (0..part.files.len()).filter_map(|file_idx| Some((file_idx, reason(file_idx)?))) {
            *self.stats.on_cpu.entry(reason).or_default() += 1;
            files.push(file_idx);
        }
        let limits = &self.limits;
        let decode = |file_idx: usize| {
            let start = ThreadTime::now();
            let frame = part.places[file_idx].frame(&part.images);
            let decoded = decode_into_room(frame, || cpu::decode(part.files[file_idx], limits));
            (file_idx, decoded, start.elapsed())
        };
        let decoded: Vec<(usize, Decoded, Duration)> = files.into_par_iter().with_max_len(1).map(decode).collect();
        self.stats.cpu_time += decoded.iter().map(|(_, _, time)| *time).sum::<Duration>();
        decoded.into_iter().map(|(file_idx, decoded, _)| (file_idx, decoded)).collect()
    }
}

/// A batch that is being decoded into device memory: [`BatchDecoder::submit_to_device`]. The host has not waited for it.
///
/// ```
/// # fn main() -> dctflow::Result<()> {
/// # #[cfg(feature = "emulator")] {
/// use dctflow::device::Stream;
/// use dctflow::session::{BatchDecoder, DeviceChoice};
///
/// let device = DeviceChoice::Emulator.resolve()?.handle.expect("not the CPU");
/// let (mut decoder, stream) = (BatchDecoder::new(&device)?, Stream::new(&device)?);
/// let photo = dctflow::synth::photo(0, 0);
/// let in_flight = decoder.submit_to_device(&[&photo])?;
/// in_flight.join(&stream)?;
/// let luma = &in_flight.places()[0].expect("a header that can be read").planes[0];
/// println!("{:#x}, {:?}", luma.address, luma.strides()); // What you put on `stream` now finds coefficients there.
/// let coefficients = in_flight.finish()?; // Waits, and says what came of each file.
/// assert!(coefficients.images()[0].report.reason.is_none() && coefficients.late().is_empty());
/// decoder.recycle_after(coefficients, &stream)?;
/// # }
/// # Ok(()) }
/// ```
#[must_use = "finish says what came of the files"]
pub struct CoefficientsInFlight<'d, 'f> {
    decoder: &'d mut BatchDecoder,
    part: Part<'f>,
    /// By file: index of the first coefficient, by component.
    planes: Vec<[u64; 4]>,
    on_cpu: BTreeMap<usize, Decoded>,
    buffer: Arc<DeviceBuffer>,
    images: Vec<Option<DeviceImage>>,
    is_ready: Event,
}

impl CoefficientsInFlight<'_, '_> {
    /// Where each file's coefficients will lie, in order; `None` where there will be none. What a damaged file lacks is zero.
    pub fn places(&self) -> Vec<Option<&DeviceImage>> {
        self.images.iter().map(Option::as_ref).collect()
    }

    /// As [`DeviceCoefficients::buffer`].
    pub fn buffer(&self) -> &Arc<DeviceBuffer> {
        &self.buffer
    }

    /// The decoder's stream: what is put on it comes after the coefficients.
    pub fn stream(&self) -> &Stream {
        self.decoder.stage.stream()
    }

    /// What is put on `stream` from now on comes after the coefficients. The host does not wait.
    ///
    /// # Errors
    /// `Device`.
    pub fn join(&self, stream: &Stream) -> Result<()> {
        stream.wait_for(&self.is_ready)
    }

    /// Waits, and says what came of each file. What the device gave up (a few files that no encoder writes, [`DeviceCoefficients::late`]) the CPU
    /// decodes now.
    ///
    /// # Errors
    /// `Device`. Whatever is wrong with a file stands in its report.
    pub fn finish(self) -> Result<DeviceCoefficients> {
        let Self { decoder, part, planes, on_cpu, buffer, images, .. } = self;
        let Ended { results, late } = decoder.end(&part, on_cpu)?;
        let by_cpu = late.iter().filter_map(|&file_idx| match &results[file_idx] {
            FileResult::OnCpu(decoded) => Some((&planes[file_idx][..], decoded.coefficients.as_ref()?)),
            FileResult::OnDevice(_) => None,
        });
        decoder.stage.upload_coefficients_to(&buffer, &by_cpu.collect::<Vec<_>>())?;
        decoder.stage.stream().synchronize()?;
        let images = results.into_iter().zip(images).map(|(result, image)| {
            let is_decoded = !matches!(&result, FileResult::OnCpu(Decoded { coefficients: None, .. }));
            DecodedOnDevice { image: image.filter(|_| is_decoded), report: result.into_report() }
        });
        let images = images.collect();
        Ok(DeviceCoefficients { buffer, images, late })
    }
}

impl fmt::Debug for CoefficientsInFlight<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoefficientsInFlight").field("images", &self.images).finish_non_exhaustive()
    }
}

impl DeviceImage {
    /// An image that the CPU has decoded.
    fn decoded(buffer: &DeviceBuffer, first_coefficients: &[u64; 4], coefficients: &Coefficients) -> Self {
        let Coefficients { frame, color, orientation, planes } = coefficients;
        let planes = place_planes(buffer, first_coefficients, frame, |component_idx| planes[component_idx].quant);
        Self { frame: frame.clone(), color: *color, orientation: *orientation, planes }
    }

    /// An image that the device decodes.
    fn planned(buffer: &DeviceBuffer, first_coefficients: &[u64; 4], image: &PlannedImage<'_>) -> Self {
        let Header { frame, color, orientation, .. } = &image.header;
        let planes = place_planes(buffer, first_coefficients, frame, |component_idx| image.quant_table(component_idx));
        Self { frame: frame.clone(), color: *color, orientation: *orientation, planes }
    }
}

fn place_planes(
    buffer: &DeviceBuffer,
    first_coefficients: &[u64; 4],
    frame: &Frame,
    quant: impl Fn(usize) -> Option<Natural<u16>>,
) -> Vec<DevicePlane> {
    let planes = frame.components.iter().enumerate().map(|(component_idx, component)| {
        let first_byte = first_coefficients[component_idx] * size_of::<i16>() as u64;
        DevicePlane::new(component, buffer.address() + first_byte, quant(component_idx))
    });
    planes.collect()
}

/// A part that is done: by file, and which of them the device gave up.
struct Ended {
    results: Vec<FileResult>,
    late: Vec<usize>,
}

/// Where a file was decoded, and what that gave.
enum FileResult {
    OnDevice(DecodeReport),
    OnCpu(Decoded),
}

impl FileResult {
    fn into_report(self) -> DecodeReport {
        match self {
            Self::OnDevice(report) | Self::OnCpu(Decoded { report, .. }) => report,
        }
    }
}

/// Who decodes a file of a part.
enum Place {
    /// The device; the index among its images.
    Device(usize),
    /// The CPU; `frame` as [`SortedFile`] has it.
    Cpu { reason: CpuReason, frame: Option<Frame> },
}

impl Place {
    /// Index of the first coefficient by component, in a plan of the part's images.
    fn reserve_planes(&self, plan: &mut DecodePlan) -> [u64; 4] {
        match self {
            Self::Device(image_idx) => plan.planes[*image_idx],
            Self::Cpu { frame, .. } => frame.as_ref().map_or([0; 4], |frame| plan.reserve_planes(frame)),
        }
    }

    fn frame<'i>(&'i self, images: &'i [PlannedImage<'_>]) -> Option<&'i Frame> {
        match self {
            Self::Device(image_idx) => images.get(*image_idx).map(|image| &image.header.frame),
            Self::Cpu { frame, .. } => frame.as_ref(),
        }
    }
}

/// Some files in a row.
#[derive(Default)]
struct Part<'a> {
    coefficient_bytes: u64,
    files: Vec<&'a [u8]>,
    /// By file.
    places: Vec<Place>,
    /// The device's.
    images: Vec<PlannedImage<'a>>,
}

impl<'a> Part<'a> {
    fn push(&mut self, file: &'a [u8], sorted: SortedFile<'a>) {
        self.files.push(file);
        self.places.push(match sorted {
            SortedFile::ForDevice(image) => {
                self.images.push(*image);
                Place::Device(self.images.len() - 1)
            }
            SortedFile::ForCpu { reason, frame } => Place::Cpu { reason, frame },
        });
    }
}
