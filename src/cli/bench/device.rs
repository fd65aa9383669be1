//! The scenarios on a device that end before the logits or begin after decoding. Whole sessions are [`EndToEnd`](super::workload::EndToEnd).

use std::sync::Arc;
use std::time::Duration;

use cpu_time::ProcessTime;
use dctflow::device::{Device, OpsChoice, Stream};
use dctflow::network::Weights;
use dctflow::plan::InputImage;
use dctflow::session::{BatchDecoder, DecodedOnDevice, DeviceCoefficients};
use dctflow::{Error, ErrorKind, ImageError, Result};

use super::images::File;
use super::workload::{DeviceReading, Finished, Reading, Sent, Workload, logits_word};
use crate::cli::device_network::DeviceNetwork;
use crate::cli::output::status_word;

/// Bytes to coefficients in a device's memory and, where there is a network, to its input.
pub struct DeviceFront {
    pool: rayon::ThreadPool,
    decoder: BatchDecoder,
    stream: Stream,
    network: Option<DeviceNetwork>,
    time: Duration,
}

impl DeviceFront {
    /// Bytes to coefficients. `pool` reads the headers, and decodes what the device leaves to the CPU.
    pub fn decode(pool: rayon::ThreadPool, device: &Arc<dyn Device>) -> Result<Self> {
        device.memory_meter().reset_peaks();
        let (decoder, stream) = (BatchDecoder::new(device)?, Stream::new(device)?);
        Ok(Self { pool, decoder, stream, network: None, time: Duration::ZERO })
    }

    /// Bytes to the input of the network of `weights`, which `ops` will run.
    pub fn input(
        pool: rayon::ThreadPool,
        device: &Arc<dyn Device>,
        weights: &Weights,
        batch: usize,
        ops: OpsChoice,
    ) -> Result<Self> {
        let front = Self::decode(pool, device)?;
        Ok(Self { network: Some(DeviceNetwork::with_ops(device, weights, batch, true, ops)?), ..front })
    }

    /// What became of each file, as one word. The device is idle afterwards.
    fn run(&mut self, files: &[&File]) -> Result<Vec<String>> {
        let files: Vec<&[u8]> = files.iter().map(|file| file.bytes.as_slice()).collect();
        let coefficients = self.pool.install(|| self.decoder.decode_to_device(&files))?;
        let mut inputs = Vec::with_capacity(files.len());
        let mut words = Vec::with_capacity(files.len());
        for DecodedOnDevice { report, .. } in coefficients.images() {
            words.push(status_word(report.status, report.reason.as_ref()));
        }
        if let Some(network) = &mut self.network {
            for (image, word) in coefficients.images().iter().zip(&mut words) {
                inputs.push(input_image(image, &coefficients, network).unwrap_or_else(|reason| {
                    *word = status_word(dctflow::jpeg::Status::Failed, Some(&reason));
                    None
                }));
            }
            let plan = network.plan_input(&inputs)?;
            network.submit_input(&self.stream, &plan, coefficients.buffer().all())?;
            self.stream.synchronize()?;
        }
        self.decoder.recycle(coefficients);
        Ok(words)
    }

    fn devices(&self) -> DeviceReading {
        let memory = self.decoder.device().memory_meter().read();
        DeviceReading {
            uploaded_bytes: self.decoder.uploaded_bytes() + self.stream.uploaded_bytes(),
            busy: None,
            peak_device_bytes: memory.peak_device_bytes,
            peak_pinned_bytes: memory.peak_pinned_bytes,
        }
    }
}

/// `None` if nothing was decoded.
fn input_image(
    decoded: &DecodedOnDevice,
    coefficients: &DeviceCoefficients,
    network: &DeviceNetwork,
) -> Result<Option<InputImage>, ImageError> {
    let Some(image) = &decoded.image else { return Ok(None) };
    let first_address = coefficients.buffer().address();
    let plane = |component_idx: usize| {
        let plane = &image.planes[component_idx];
        ((plane.address - first_address) / size_of::<i16>() as u64, plane.quant)
    };
    let (transform, kind) = (&network.transform, network.form.kind());
    InputImage::new(&image.frame, image.color, image.orientation, transform, kind, plane).map(Some)
}

impl Workload for DeviceFront {
    fn submit(&mut self, files: &[&File]) -> Result<Option<Finished>> {
        let sent = Sent::now(files);
        let cpu = ProcessTime::now();
        let words = self.run(files)?;
        self.time += cpu.elapsed();
        Ok(Some(Finished::new(sent, words)))
    }

    /// CPU time: planning, copying, waiting, and what the device leaves to the CPU; on the emulator the kernels too.
    fn reading(&self) -> Reading {
        Reading { stages: vec![("host", self.time)], devices: Some(self.devices()) }
    }
}

/// The network's input to logits on a device: the same batch again and again.
pub struct DeviceClassify {
    front: DeviceFront,
    batch: usize,
}

impl DeviceClassify {
    /// A batch made of `files`.
    ///
    /// # Errors
    /// `Usage` if none of the files can be used; those of the device.
    pub fn new(
        pool: rayon::ThreadPool,
        device: &Arc<dyn Device>,
        weights: &Weights,
        files: &[File],
        batch: usize,
        ops: OpsChoice,
    ) -> Result<Self> {
        let mut front = DeviceFront::input(pool, device, weights, batch, ops)?;
        let files: Vec<&File> = files.iter().cycle().take(batch).collect();
        let words = front.run(&files)?;
        if words.iter().all(|word| word.starts_with("failed")) {
            let message = format!("none of the first {} files can be used", words.len());
            return Err(Error::new(ErrorKind::Usage, message));
        }
        front.time = Duration::ZERO;
        Ok(Self { front, batch })
    }
}

impl Workload for DeviceClassify {
    fn submit(&mut self, _: &[&File]) -> Result<Option<Finished>> {
        let DeviceFront { network, stream, time, .. } = &mut self.front;
        let Some(network) = network else { return Err(Error::new(ErrorKind::Internal, "a front without a network")) };
        let sent = Sent::now(&[]);
        let cpu = ProcessTime::now();
        network.submit_network(stream, self.batch)?;
        let logits = network.logits()?;
        *time += cpu.elapsed();
        let words = logits.chunks_exact(network.network().num_classes()).map(logits_word);
        Ok(Some(Finished::new(sent, words.collect())))
    }

    /// CPU time: launching and waiting; on the emulator the kernels too.
    fn reading(&self) -> Reading {
        self.front.reading()
    }
}
