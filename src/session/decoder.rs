//! Decoding batches of files to coefficients on a device; what is not for the device, the CPU decodes.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::Arc;

use rayon::prelude::*;

use crate::cpu::{self, Decoded};
use crate::device::Device;
use crate::jpeg::{Header, Limits};
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

/// Decodes batches of files on a device. The coefficients are those that [`cpu::decode`] gives, and so are the reports.
///
/// ```no_run
/// # fn main() -> dctflow::Result<()> {
/// # let device: std::sync::Arc<dyn dctflow::device::Device> = todo!();
/// use dctflow::session::BatchDecoder;
/// let mut decoder = BatchDecoder::new(&device)?;
/// for decoded in decoder.decode(&[b"not a JPEG", b"nor this"])? {
///     println!("{:?}", decoded.report.status);
/// }
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
            if part.coefficient_bytes + image_bytes > self.max_batch_bytes && part.num_files > 0 {
                sink(self.decode_part(std::mem::take(&mut part))?);
            }
            part.coefficient_bytes += image_bytes;
            part.push(file, image);
        }
        sink(self.decode_part(part)?);
        Ok(())
    }

    fn decode_part(&mut self, mut part: Part<'_>) -> Result<Vec<Decoded>> {
        self.plan.replace(&part.images, &self.options);
        let is_for_device = !part.images.is_empty();
        if is_for_device {
            self.stage.submit(&part.images, &self.plan)?;
        }
        let mut decoded: Vec<Option<Decoded>> = vec![None; part.num_files];
        // The device is at work.
        self.decode_on_cpu(std::mem::take(&mut part.for_cpu), &mut decoded);
        if !is_for_device {
            return Ok(decoded.into_iter().flatten().collect());
        }
        let reports = self.stage.fetch_reports(&part.images, &self.plan)?;
        for (image_idx, (image, report)) in part.images.iter().zip(reports).enumerate() {
            let file_idx = part.files_of_images[image_idx];
            self.stats.serial_subsequences += u64::from(report.serial_subsequences);
            match report.report {
                Some(report) => {
                    self.stats.on_device += 1;
                    let coefficients = self.stage.fetch_coefficients(image_idx, image, &self.plan)?;
                    decoded[file_idx] = Some(Decoded { coefficients: Some(coefficients), report });
                }
                None => part.for_cpu.push((file_idx, image.bytes, CpuReason::Unresolved)),
            }
        }
        self.decode_on_cpu(part.for_cpu, &mut decoded);
        Ok(decoded.into_iter().flatten().collect())
    }

    /// Decodes files in parallel, in the calling thread's rayon pool.
    fn decode_on_cpu(&mut self, files: Vec<(usize, &[u8], CpuReason)>, decoded: &mut [Option<Decoded>]) {
        let limits = &self.limits;
        let decode = |&(file_idx, file, _): &(usize, &[u8], CpuReason)| {
            // A mistake of this library costs this file and no other.
            let result = catch_unwind(|| cpu::decode(file, limits));
            (file_idx, result.unwrap_or_else(|_| Decoded::failed(ImageError::Internal, 0)))
        };
        for (file_idx, result) in files.par_iter().with_max_len(1).map(decode).collect::<Vec<_>>() {
            decoded[file_idx] = Some(result);
        }
        for (_, _, reason) in files {
            *self.stats.on_cpu.entry(reason).or_default() += 1;
        }
    }
}

/// Some files in a row.
#[derive(Default)]
struct Part<'a> {
    num_files: usize,
    coefficient_bytes: u64,
    /// For the device.
    images: Vec<PlannedImage<'a>>,
    /// [`images.len()`]: which of the part's files it is.
    files_of_images: Vec<usize>,
    /// Which of the part's files, its bytes, and why.
    for_cpu: Vec<(usize, &'a [u8], CpuReason)>,
}

impl<'a> Part<'a> {
    fn push(&mut self, file: &'a [u8], image: Result<PlannedImage<'a>, CpuReason>) {
        match image {
            Ok(image) => {
                self.images.push(image);
                self.files_of_images.push(self.num_files);
            }
            Err(reason) => self.for_cpu.push((self.num_files, file, reason)),
        }
        self.num_files += 1;
    }
}
