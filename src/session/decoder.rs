//! Decoding batches of files to coefficients on a device; what is not for the device, the CPU decodes.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::Arc;

use rayon::prelude::*;

use super::device_coefficients::{DecodedOnDevice, DeviceCoefficients, DeviceImage, DevicePlane};
use crate::cpu::{self, Decoded};
use crate::device::{Device, DeviceBuffer};
use crate::jpeg::{DecodeReport, Header, Limits};
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
            let image = PlannedImage::read(file, &self.limits);
            let image_bytes = match &image {
                Ok(image) => image.header.frame.coefficient_bytes(),
                Err(_) => Header::parse(file, &self.limits).map_or(0, |header| header.frame.coefficient_bytes()),
            };
            if part.coefficient_bytes + image_bytes > self.max_batch_bytes && !part.files.is_empty() {
                sink(self.decode_part(std::mem::take(&mut part))?);
            }
            part.coefficient_bytes += image_bytes;
            part.push(file, image, None);
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
        for &file in files {
            // What the CPU decodes has its place beside the others.
            part.push(
                file,
                PlannedImage::read(file, &self.limits),
                PlannedImage::without_scans(file, &self.limits).ok(),
            );
        }
        let results = self.run(&part)?;
        let by_cpu =
            results.iter().zip(&part.image_of_file).filter_map(|(result, image_idx)| match (result, image_idx) {
                (FileResult::OnCpu(decoded), &Some(image_idx)) => {
                    Some((self.plan.planes[image_idx].as_slice(), decoded.coefficients.as_ref()?))
                }
                _ => None,
            });
        self.stage.upload_coefficients(&by_cpu.collect::<Vec<_>>())?;
        self.stage.stream().synchronize()?;
        let buffer = self.stage.take_coefficients()?;
        let images = results.into_iter().zip(&part.image_of_file).map(|(result, image_idx)| {
            let image = image_idx.filter(|_| result.has_coefficients());
            let image = image.map(|image_idx| self.device_image(&buffer, image_idx, &part.images[image_idx], &result));
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

    /// Where an image's planes lie in `buffer`.
    fn device_image(
        &self,
        buffer: &DeviceBuffer,
        image_idx: usize,
        image: &PlannedImage<'_>,
        result: &FileResult,
    ) -> DeviceImage {
        let Header { frame, color, orientation, .. } = &image.header;
        let planes = frame.components.iter().enumerate().map(|(component_idx, component)| {
            let first_byte = self.plan.planes[image_idx][component_idx] * size_of::<i16>() as u64;
            let quant = match result {
                FileResult::OnCpu(Decoded { coefficients: Some(decoded), .. }) => decoded.planes[component_idx].quant,
                _ => image.quant_table(component_idx),
            };
            DevicePlane::new(component, buffer.address() + first_byte, quant)
        });
        let planes = planes.collect();
        DeviceImage { frame: frame.clone(), color: *color, orientation: *orientation, planes }
    }

    fn decode_part(&mut self, part: Part<'_>) -> Result<Vec<Decoded>> {
        let results = self.run(&part)?.into_iter().zip(&part.image_of_file);
        let decoded = results.map(|(result, image_idx)| match (result, image_idx) {
            (FileResult::OnDevice(report), &Some(image_idx)) => {
                let image = &part.images[image_idx];
                let coefficients = self.stage.fetch_coefficients(image_idx, image, &self.plan)?;
                Ok(Decoded { coefficients: Some(coefficients), report })
            }
            (FileResult::OnDevice(report), None) => Ok(Decoded { coefficients: None, report }),
            (FileResult::OnCpu(decoded), _) => Ok(decoded),
        });
        decoded.collect()
    }

    /// Decodes a part; what the device decodes stays there. Results are by file.
    fn run(&mut self, part: &Part<'_>) -> Result<Vec<FileResult>> {
        self.plan.replace(&part.images, &self.options);
        if !part.images.is_empty() {
            self.stage.submit(&part.images, &self.plan)?;
        }
        // The device is at work.
        let mut on_cpu = self.decode_on_cpu(part, &part.for_cpu);
        let mut reports = match part.images.is_empty() {
            true => Vec::new(),
            false => self.stage.fetch_reports(&part.images, &self.plan)?,
        };
        let is_unresolved = |&(file_idx, image_idx): &(usize, usize)| {
            reports[image_idx].report.is_none() && !on_cpu.contains_key(&file_idx)
        };
        let unresolved = part.files_and_images().filter(is_unresolved);
        let unresolved: Vec<(usize, CpuReason)> = unresolved.map(|(idx, _)| (idx, CpuReason::Unresolved)).collect();
        on_cpu.append(&mut self.decode_on_cpu(part, &unresolved));

        self.stats.serial_subsequences += reports.iter().map(|r| u64::from(r.serial_subsequences)).sum::<u64>();
        let results = part.image_of_file.iter().enumerate().map(|(file_idx, image_idx)| {
            if let Some(decoded) = on_cpu.remove(&file_idx) {
                return FileResult::OnCpu(decoded);
            }
            self.stats.on_device += 1;
            let report = image_idx.and_then(|image_idx| reports[image_idx].report.take());
            FileResult::OnDevice(report.unwrap_or_else(|| DecodeReport::failed(ImageError::Internal, 0)))
        });
        Ok(results.collect())
    }

    /// Decodes files of a part in parallel, in the calling thread's rayon pool. By file.
    fn decode_on_cpu(&mut self, part: &Part<'_>, files: &[(usize, CpuReason)]) -> BTreeMap<usize, Decoded> {
        for (_, reason) in files {
            *self.stats.on_cpu.entry(*reason).or_default() += 1;
        }
        let limits = &self.limits;
        let decode = |&(file_idx, _): &(usize, CpuReason)| {
            // A mistake of this library costs this file and no other.
            let decoded = catch_unwind(|| cpu::decode(part.files[file_idx], limits));
            (file_idx, decoded.unwrap_or_else(|_| Decoded::failed(ImageError::Internal, 0)))
        };
        files.par_iter().with_max_len(1).map(decode).collect()
    }
}

/// Where a file was decoded, and what that gave.
enum FileResult {
    OnDevice(DecodeReport),
    OnCpu(Decoded),
}

impl FileResult {
    fn has_coefficients(&self) -> bool {
        !matches!(self, Self::OnCpu(Decoded { coefficients: None, .. }))
    }

    fn into_report(self) -> DecodeReport {
        match self {
            Self::OnDevice(report) | Self::OnCpu(Decoded { report, .. }) => report,
        }
    }
}

/// Some files in a row.
#[derive(Default)]
struct Part<'a> {
    coefficient_bytes: u64,
    files: Vec<&'a [u8]>,
    /// By file: which of the images it is.
    image_of_file: Vec<Option<usize>>,
    /// What has planes on the device.
    images: Vec<PlannedImage<'a>>,
    /// Which files, and why.
    for_cpu: Vec<(usize, CpuReason)>,
}

impl<'a> Part<'a> {
    /// `image`: the file as the device decodes it, or why the CPU does; then `place`, if there is one, gives it planes on the device.
    fn push(&mut self, file: &'a [u8], image: Result<PlannedImage<'a>, CpuReason>, place: Option<PlannedImage<'a>>) {
        if let Err(reason) = image {
            self.for_cpu.push((self.files.len(), reason));
        }
        self.files.push(file);
        let image = image.ok().or(place);
        self.image_of_file.push(image.is_some().then_some(self.images.len()));
        self.images.extend(image);
    }

    /// The files that have planes on the device, and which of the images they are.
    fn files_and_images(&self) -> impl Iterator<Item = (usize, usize)> {
        self.image_of_file.iter().enumerate().filter_map(|(file_idx, image_idx)| Some((file_idx, (*image_idx)?)))
    }
}
