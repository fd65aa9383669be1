//! Decoding batches of files to coefficients on a device; what is not for the device, the CPU decodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Result;
use crate::cpu::{self, Decoded};
use crate::device::Device;
use crate::jpeg::Limits;
use crate::plan::{CpuReason, DecodePlan, PlanOptions, PlannedImage};
use crate::stages::{DecodeStage, DeviceReport};

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
    cpu: cpu::Decoder,
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
            cpu: cpu::Decoder::default(),
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
        let mut decoded: Vec<Option<Decoded>> = vec![None; files.len()];
        let mut batch: Vec<(usize, PlannedImage<'_>)> = Vec::new();
        let mut batch_bytes = 0;
        for (file_idx, file) in files.iter().enumerate() {
            match PlannedImage::read(file, &self.limits) {
                Ok(image) => {
                    let image_bytes = image.header.frame.coefficient_bytes();
                    if batch_bytes + image_bytes > self.max_batch_bytes {
                        self.decode_batch(std::mem::take(&mut batch), &mut decoded)?;
                        batch_bytes = 0;
                    }
                    batch_bytes += image_bytes;
                    batch.push((file_idx, image));
                }
                Err(reason) => decoded[file_idx] = Some(self.decode_on_cpu(file, reason)),
            }
        }
        self.decode_batch(batch, &mut decoded)?;
        Ok(decoded.into_iter().flatten().collect())
    }

    fn decode_on_cpu(&mut self, file: &[u8], reason: CpuReason) -> Decoded {
        *self.stats.on_cpu.entry(reason).or_default() += 1;
        self.cpu.decode(file, &self.limits)
    }

    fn decode_batch(&mut self, batch: Vec<(usize, PlannedImage<'_>)>, decoded: &mut [Option<Decoded>]) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let (file_indices, images): (Vec<usize>, Vec<PlannedImage<'_>>) = batch.into_iter().unzip();
        let plan = DecodePlan::new(&images, &self.options);
        self.stage.submit(&images, &plan)?;
        let reports = self.stage.fetch_reports(&images, &plan)?;
        for (image_idx, (image, DeviceReport { report, serial_subsequences })) in images.iter().zip(reports).enumerate()
        {
            self.stats.serial_subsequences += u64::from(serial_subsequences);
            decoded[file_indices[image_idx]] = Some(match report {
                Some(report) => {
                    self.stats.on_device += 1;
                    let coefficients = self.stage.fetch_coefficients(image_idx, image, &plan)?;
                    Decoded { coefficients: Some(coefficients), report }
                }
                None => self.decode_on_cpu(image.bytes, CpuReason::Unresolved),
            });
        }
        Ok(())
    }
}
