//! What comes after decoding on a device, stage by stage: the network's input, the network, and its logits' way to the host. Sessions have all of
//! this; here each stage can be measured by itself.

use std::sync::Arc;

use dctflow::device::{Device, DeviceBuffer, DeviceSlice, OpsChoice, Stream};
use dctflow::network::{InputNorm, Weights};
use dctflow::plan::{InputBatchPlan, InputForm, InputImage};
use dctflow::resample::Transform;
use dctflow::stages::{Download, InputStage, NetworkInput, NetworkOptions, NetworkStage};
use dctflow::{Error, ErrorKind, Result};

/// The stages, and memory for one batch between them.
pub struct DeviceNetwork {
    pub transform: Transform,
    pub form: InputForm,
    redzone_bytes: usize,
    input: InputStage,
    /// By input of the network: `[batch, H, W, C]`, f16.
    inputs: Vec<DeviceBuffer>,
    network: NetworkStage,
    /// `[batch, classes]`, f32.
    logits: DeviceBuffer,
    host_logits: Download,
}

impl DeviceNetwork {
    /// For batches of up to `batch` images. With graphs, batches after the first are one launch each.
    pub fn new(device: &Arc<dyn Device>, weights: &Weights, batch: usize, use_graphs: bool) -> Result<Self> {
        Self::with_ops(device, weights, batch, use_graphs, OpsChoice::Kernels)
    }

    /// The same with convolutions by `ops`.
    pub fn with_ops(
        device: &Arc<dyn Device>,
        weights: &Weights,
        batch: usize,
        use_graphs: bool,
        ops: OpsChoice,
    ) -> Result<Self> {
        let mut inference = weights.inference(InputNorm::Apply);
        let metadata = weights.metadata();
        let form = InputForm::of_network(&mut inference, metadata)?;
        let max_images = u32::try_from(batch).unwrap_or(u32::MAX);
        let options = NetworkOptions { max_images, use_graphs, ops: ops.open(device)?, ..NetworkOptions::default() };
        let network = NetworkStage::new(device, &inference, &options)?;
        let logit_bytes = batch * network.num_classes() * size_of::<f32>();
        let inputs = form.image_bytes().map(|bytes| DeviceBuffer::new(device, bytes * batch));
        Ok(Self {
            transform: metadata.transform,
            redzone_bytes: device.redzone_bytes(),
            input: InputStage::new(device)?,
            inputs: inputs.collect::<Result<_>>()?,
            logits: DeviceBuffer::new(device, logit_bytes)?,
            host_logits: Download::new(device, logit_bytes)?,
            form,
            network,
        })
    }

    /// The network alone.
    pub fn network(&self) -> &NetworkStage {
        &self.network
    }

    /// The plan of a batch's input. An image that is `None` leaves zeros, as in a session.
    pub fn plan_input(&self, images: &[Option<InputImage>]) -> Result<InputBatchPlan> {
        InputBatchPlan::new(images, &self.form, self.redzone_bytes)
    }

    /// Puts the making of a batch's input on the stream.
    pub fn submit_input(
        &mut self,
        stream: &Stream,
        plan: &InputBatchPlan,
        coefficients: DeviceSlice<'_>,
    ) -> Result<()> {
        let out = network_input(&self.inputs)?;
        self.input.submit(stream, plan, coefficients, out)
    }

    /// Puts the network on the stream.
    pub fn submit_network(&mut self, stream: &Stream, num_images: usize) -> Result<()> {
        let input = network_input(&self.inputs)?;
        let rows = self.logits.slice(0..num_images * self.network.num_classes() * size_of::<f32>());
        self.network.submit(stream, input, num_images as u32, rows)
    }

    /// Puts the way of the logits to the host on the stream.
    pub fn submit_download(&mut self, stream: &Stream, num_images: usize) -> Result<()> {
        let rows = self.logits.slice(0..num_images * self.network.num_classes() * size_of::<f32>());
        self.host_logits.submit(stream, rows)
    }

    /// Waits for the logits of the batch that was submitted last, `[batch, classes]`.
    pub fn logits(&self) -> Result<&[f32]> {
        self.host_logits.bytes().map(bytemuck::cast_slice)
    }
}

fn network_input(inputs: &[DeviceBuffer]) -> Result<NetworkInput<'_>> {
    match inputs {
        [y, c] => Ok(NetworkInput::Blocks { y: y.all(), c: c.all() }),
        [rgb] => Ok(NetworkInput::Rgb(rgb.all())),
        _ => Err(Error::new(ErrorKind::Internal, "a network has one input or two")),
    }
}
