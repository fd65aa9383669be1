//! Decoding batches of files to coefficients on a device; what is not for the device, the CPU decodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use rayon::prelude::*;

use super::device_coefficients::{DecodedOnDevice, DeviceCoefficients, DeviceImage, DevicePlane};
use super::sorting::{SortedFile, decode_into_room};
use crate::cpu::{self, Decoded};
use crate::device::{Device, DeviceBuffer};
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
        let mut part = Part::default();
        files.iter().for_each(|file| part.push(file, SortedFile::read(file, &self.limits)));
        self.plan.replace(&part.images, &self.options);
        let planes: Vec<[u64; 4]> = part.places.iter().map(|place| place.reserve_planes(&mut self.plan)).collect();
        let results = self.run(&part)?;
        let by_cpu = results.iter().zip(&planes).filter_map(|(result, planes)| match result {
            FileResult::OnCpu(decoded) => Some((&planes[..], decoded.coefficients.as_ref()?)),
            FileResult::OnDevice(_) => None,
        });
        self.stage.upload_coefficients(&by_cpu.collect::<Vec<_>>())?;
        self.stage.stream().synchronize()?;
        let buffer = self.stage.take_coefficients()?;
        let images = results.into_iter().zip(&part.places).zip(&planes).map(|((result, place), planes)| {
            let image = device_image(&buffer, planes, &result, place.image(&part.images));
            DecodedOnDevice { image, report: result.into_report() }
        });
        let images = images.collect();
        Ok(DeviceCoefficients { buffer, images })
    }

    /// Takes the memory of a batch back, for the next ones. Nobody reads it any more.
    pub fn recycle(&mut self, coefficients: DeviceCoefficients) {
        self.stage.put_coefficients(coefficients.buffer);
    }

    /// Gives all memory back to the device; the next batch takes it anew.
    pub fn trim(&mut self) -> Result<()> {
        self.stage.trim()
    }

    fn decode_part(&mut self, part: Part<'_>) -> Result<Vec<Decoded>> {
        self.plan.replace(&part.images, &self.options);
        let results = self.run(&part)?.into_iter().zip(&part.places);
        let decoded = results.map(|(result, place)| match (result, place) {
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

    /// Decodes a part that is planned; what the device decodes stays there. Results are by file.
    fn run(&mut self, part: &Part<'_>) -> Result<Vec<FileResult>> {
        // A batch of nothing is no batch.
        let is_for_device = self.plan.num_coefficients > 0;
        if is_for_device {
            self.stage.submit(&part.images, &self.plan)?;
        }
        // The device is at work.
        let mut on_cpu = self.decode_on_cpu(part, |file_idx| match &part.places[file_idx] {
            Place::Cpu { reason, .. } => Some(*reason),
            Place::Device(_) => None,
        });
        let mut reports = match is_for_device {
            true => self.stage.fetch_reports(&part.images, &self.plan)?,
            false => Vec::new(),
        };
        on_cpu.append(&mut self.decode_on_cpu(part, |file_idx| match &part.places[file_idx] {
            Place::Device(image_idx) if reports[*image_idx].report.is_none() => Some(CpuReason::Unresolved),
            _ => None,
        }));
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
        Ok(results.collect())
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

/// Where an image's planes lie in `buffer`; `None` if nothing was decoded. `planned`: the image, if the device has decoded it.
fn device_image(
    buffer: &DeviceBuffer,
    first_coefficients: &[u64; 4],
    result: &FileResult,
    planned: Option<&PlannedImage<'_>>,
) -> Option<DeviceImage> {
    let image = |frame: &Frame, color, orientation, quant: &dyn Fn(usize) -> Option<Natural<u16>>| {
        let planes = frame.components.iter().enumerate().map(|(component_idx, component)| {
            let first_byte = first_coefficients[component_idx] * size_of::<i16>() as u64;
            DevicePlane::new(component, buffer.address() + first_byte, quant(component_idx))
        });
        DeviceImage { frame: frame.clone(), color, orientation, planes: planes.collect() }
    };
    match result {
        FileResult::OnCpu(decoded) => {
            let Coefficients { frame, color, orientation, planes } = decoded.coefficients.as_ref()?;
            Some(image(frame, *color, *orientation, &|component_idx| planes[component_idx].quant))
        }
        FileResult::OnDevice(_) => {
            let planned = planned?;
            let Header { frame, color, orientation, .. } = &planned.header;
            Some(image(frame, *color, *orientation, &|component_idx| planned.quant_table(component_idx)))
        }
    }
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

    fn image<'i, 'a>(&self, images: &'i [PlannedImage<'a>]) -> Option<&'i PlannedImage<'a>> {
        match self {
            Self::Device(image_idx) => images.get(*image_idx),
            Self::Cpu { .. } => None,
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
