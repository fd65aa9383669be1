//! The network: from its input in device memory to logits in device memory, by the steps of a [`NetworkPlan`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::abi::{
    self, AveragePixelsParams, CONVOLVE_OUTPUTS, ConvolveOutput, ConvolveParams, Kernel, PlaceChannelsParams,
    PoolMaximumParams,
};
use crate::device::{
    self, Address, Device, DeviceBuffer, DeviceSlice, Event, Graph, Grid, KernelOps, Ops, Stream, StreamHandle,
};
use crate::error::{Error, ErrorKind, Result};
use crate::network::{Inference, InputKind, Slice, ValueId, ValueShape};
use crate::plan::{Convolution, NetworkPlan, NetworkStep, Operation};
use crate::stages::turns;

/// How a network is to be run.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// The largest batch that is worth memory; larger ones are run all the same.
    pub max_images: u32,
    /// Images that run at a time; larger batches take several turns. Activations take memory for so many. `None`: the fewest, up to
    /// `max_images`, with which an estimate of the time per image is within 2 % of its best.
    pub images_per_turn: Option<u32>,
    /// Whether a batch that is like one before, buffers included, is put on the stream as a graph: by one launch instead of one a step.
    pub use_graphs: bool,
    /// What carries out the convolutions.
    pub ops: Arc<dyn Ops>,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self { max_images: 256, images_per_turn: None, use_graphs: true, ops: Arc::new(KernelOps::default()) }
    }
}

/// A batch's network input, f16 in device memory: what [`InputKind`] says, one image behind the other from the start.
#[derive(Clone, Copy, Debug)]
pub enum NetworkInput<'a> {
    /// DCT coefficients.
    Blocks {
        /// `[N, H/8, W/8, 64]`.
        y: DeviceSlice<'a>,
        /// `[N, H/16, W/16, 128]`.
        c: DeviceSlice<'a>,
    },
    /// Normalised samples `[N, H, W, 4]`; the fourth channel is zero.
    Rgb(DeviceSlice<'a>),
}

/// A network on a device: its weights, uploaded once, and the memory for its activations.
#[derive(Debug)]
pub struct NetworkStage {
    network: Arc<Network>,
    images_per_turn: u32,
    activations: DeviceBuffer,
    /// When the activations are free again, and the stream that knows it without being told.
    used: Event,
    last_stream: Option<StreamHandle>,
    /// Of batches seen, the graph, from the second time on; `None`: graphs are not wanted.
    graphs: Option<HashMap<Batch, Option<Graph>>>,
}

/// Graphs kept: batch sizes times buffers. Beyond, all are forgotten.
const MAX_GRAPHS: usize = 64;

/// What a graph is made for. The stream is a part of it, since libraries have memory for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Batch {
    stream: StreamHandle,
    inputs: [Address; 2],
    logits: Address,
    num_images: u32,
}

/// What stages of one network share.
#[derive(Debug)]
struct Network {
    plan: NetworkPlan,
    constants: DeviceBuffer,
    ops: Arc<dyn Ops>,
    use_graphs: bool,
}

impl NetworkStage {
    /// Plans the network, uploads its weights and takes all the memory that it will ever take. Waits for the upload.
    ///
    /// # Errors
    /// `Usage`: the network is not of the kind that the kernels run, or `images_per_turn` is 0 or too large for it; `OutOfMemory`; `Device`.
    pub fn new(device: &Arc<dyn Device>, inference: &Inference, options: &NetworkOptions) -> Result<Self> {
        let plan = NetworkPlan::new(inference)?;
        let constants = DeviceBuffer::new(device, plan.constants.len())?;
        let stream = Stream::new(device)?;
        // SAFETY: the plan's bytes stay as they are until the stream was waited for.
        unsafe { stream.upload(constants.all(), &plan.constants)? };
        stream.synchronize()?;
        let plan = NetworkPlan { constants: Vec::new(), ..plan };
        let network =
            Arc::new(Network { plan, constants, ops: Arc::clone(&options.ops), use_graphs: options.use_graphs });
        let info = device.info();
        let images_per_turn = options.images_per_turn;
        let images_per_turn =
            images_per_turn.unwrap_or_else(|| turns::images_per_turn(&network.plan, info, options.max_images));
        Self::over(network, images_per_turn, device)
    }

    /// Another stage of the same network, with activations of its own and the same weights: for batches on another stream at the same time.
    ///
    /// # Errors
    /// `OutOfMemory`, `Device`.
    pub fn share(&self, device: &Arc<dyn Device>) -> Result<Self> {
        Self::over(Arc::clone(&self.network), self.images_per_turn, device)
    }

    fn over(network: Arc<Network>, images_per_turn: u32, device: &Arc<dyn Device>) -> Result<Self> {
        let pixels =
            network.plan.values.iter().map(|shape| shape.height as u64 * shape.width as u64).max().unwrap_or(1);
        let most = (i32::MAX as u64 / 2 / pixels).min(65_535);
        if images_per_turn == 0 || u64::from(images_per_turn) > most {
            let message = format!("{images_per_turn} images at a time: for this network's size it is 1 to {most}");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let activations = DeviceBuffer::new(device, network.plan.arena.len_bytes * images_per_turn as usize)?;
        let graphs = network.use_graphs.then(HashMap::new);
        Ok(Self { network, images_per_turn, activations, used: Event::new(device)?, last_stream: None, graphs })
    }

    /// Its steps. The constants are on the device only.
    pub fn plan(&self) -> &NetworkPlan {
        &self.network.plan
    }

    /// What is read.
    pub fn input(&self) -> InputKind {
        self.network.plan.input
    }

    /// Shapes of the inputs as the device has them: RGB with four channels.
    pub fn input_shapes(&self) -> &[ValueShape] {
        let num_inputs = if self.input() == InputKind::Rgb { 1 } else { 2 };
        &self.network.plan.values[..num_inputs]
    }

    /// Length of an image's logits.
    pub fn num_classes(&self) -> usize {
        self.network.plan.values[self.network.plan.output.0].channels
    }

    /// Images that run at a time.
    pub fn images_per_turn(&self) -> u32 {
        self.images_per_turn
    }

    /// Device memory taken for weights and activations.
    pub fn memory_bytes(&self) -> usize {
        self.network.constants.len_bytes() + self.activations.len_bytes()
    }

    /// Puts the network on the stream: reads `input`, writes `logits`, f32 `[num_images, classes]`. Takes no memory and waits for nothing; a
    /// stage that is given another stream than before makes that one wait for the former.
    ///
    /// # Errors
    /// `Usage`: another kind of input than the network's, or a slice that does not hold so many images; `Device`.
    pub fn submit(
        &mut self,
        stream: &Stream,
        input: NetworkInput<'_>,
        num_images: u32,
        logits: DeviceSlice<'_>,
    ) -> Result<()> {
        let _range = device::range(format_args!("network on {num_images} images"));
        let inputs = self.check(input, num_images, logits)?;
        if self.last_stream.replace(stream.handle()).is_some_and(|last| last != stream.handle()) {
            stream.wait_for(&self.used)?;
        }
        self.put(stream, Batch { stream: stream.handle(), inputs, logits: logits.address(), num_images })?;
        stream.record(&self.used)
    }

    /// Puts a batch on the stream: the first time step by step, which lets libraries choose their algorithms; then as a graph.
    fn put(&mut self, stream: &Stream, batch: Batch) -> Result<()> {
        let Some(graphs) = &mut self.graphs else {
            return put_steps(&self.network, &self.activations, self.images_per_turn, stream, batch);
        };
        if graphs.len() >= MAX_GRAPHS && !graphs.contains_key(&batch) {
            graphs.clear();
        }
        let put_steps = || put_steps(&self.network, &self.activations, self.images_per_turn, stream, batch);
        let graph = match graphs.entry(batch) {
            Entry::Vacant(entry) => {
                entry.insert(None);
                return put_steps();
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        let graph = match graph {
            Some(graph) => graph,
            None => match stream.capture(put_steps) {
                Ok(recorded) => graph.insert(recorded),
                // Whoever else uses the GPU may have spoilt the recording, by waiting for all of it, say. Nothing is lost but time.
                Err(error) if error.kind() == ErrorKind::Usage => return put_steps(),
                Err(error) => return Err(error),
            },
        };
        // SAFETY: the graph names this stage's own buffers, and inputs and logits at the addresses of this very batch's.
        unsafe { stream.launch_graph(graph) }
    }

    /// The addresses of the inputs.
    fn check(&self, input: NetworkInput<'_>, num_images: u32, logits: DeviceSlice<'_>) -> Result<[Address; 2]> {
        let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
        let slices = match (input, self.input()) {
            (NetworkInput::Blocks { y, c }, InputKind::Blocks) => [y, c],
            (NetworkInput::Rgb(rgb), InputKind::Rgb) => [rgb, rgb],
            (_, kind) => return usage(format!("the network reads {kind:?}, and was given the other kind of input")),
        };
        for (slice, shape) in slices.iter().zip(self.input_shapes()) {
            let needed = shape.height * shape.width * shape.channels * 2 * num_images as usize;
            if slice.len_bytes() < needed || !slice.address().is_multiple_of(16) {
                let has = slice.len_bytes();
                return usage(format!(
                    "{num_images} images need {needed} aligned bytes of {shape:?}; the slice has {has}"
                ));
            }
        }
        let needed = self.num_classes() * 4 * num_images as usize;
        if logits.len_bytes() < needed || !logits.address().is_multiple_of(4) {
            return usage(format!("the logits of {num_images} images need {needed} bytes, not {}", logits.len_bytes()));
        }
        Ok(slices.map(|slice| slice.address()))
    }
}

/// Launches all steps for all turns of a batch.
fn put_steps(
    network: &Network,
    activations: &DeviceBuffer,
    images_per_turn: u32,
    stream: &Stream,
    batch: Batch,
) -> Result<()> {
    let mut first_image = 0;
    while first_image < batch.num_images {
        let num_images = images_per_turn.min(batch.num_images - first_image);
        let turn = Turn { network, activations, images_per_turn, batch, first_image, num_images };
        stream.discard(activations.all())?;
        for step in &network.plan.steps {
            turn.run(stream, step)?;
        }
        first_image += num_images;
    }
    Ok(())
}

/// Some images of a batch, on their way through the network.
struct Turn<'a> {
    network: &'a Network,
    activations: &'a DeviceBuffer,
    images_per_turn: u32,
    batch: Batch,
    first_image: u32,
    num_images: u32,
}

impl Turn<'_> {
    fn shape(&self, value: ValueId) -> ValueShape {
        self.network.plan.values[value.0]
    }

    /// Where the first image of this turn has a value.
    fn address<T>(&self, slice: Slice) -> *mut T {
        let shape = self.shape(slice.value);
        let offset = self.first_image as usize * shape.height * shape.width * shape.channels + slice.offset;
        let plan = &self.network.plan;
        match plan.arena.offsets_bytes[slice.value.0] {
            Some(begin) => self.activations.ptr::<u8>(begin * self.images_per_turn as usize + slice.offset * 2).cast(),
            None if slice.value == plan.output => (self.batch.logits + offset as u64 * 4) as *mut T,
            None => (self.batch.inputs[slice.value.0] + offset as u64 * 2) as *mut T,
        }
    }

    fn whole(&self, value: ValueId) -> Slice {
        Slice { value, offset: 0, channels: self.shape(value).channels }
    }

    /// Launches one step.
    fn run(&self, stream: &Stream, step: &NetworkStep) -> Result<()> {
        let output = step.outputs[0].slice;
        let (from, to) = (self.shape(step.input.value), self.shape(output.value));
        let num_pixels = self.num_images * (to.height * to.width) as u32;
        let channels = step.input.channels as u32;
        let vectors = u64::from(num_pixels) * u64::from(channels) / 8;
        // SAFETY: the plan gives every value its place in the activations, which are as long as the arena says for as many images as run
        // at a time; inputs and logits were checked to be long enough. Values that live at the same time have places apart, and what a
        // stream has passed is ordered by it; another stream was made to wait.
        unsafe {
            match &step.operation {
                Operation::Convolve(convolution) => {
                    self.network.ops.convolve(stream, &self.convolve_params(step, convolution))
                }
                Operation::PlaceChannels { factor, affine } => {
                    let constant = |place: usize| self.network.constants.ptr::<f32>(place).cast_const();
                    let affine =
                        affine.map(|(scale, shift)| (constant(scale.offset_bytes), constant(shift.offset_bytes)));
                    let (scale, shift) = affine.unwrap_or((std::ptr::null(), std::ptr::null()));
                    let params = PlaceChannelsParams {
                        input: self.address(step.input),
                        output: self.address(output),
                        scale,
                        shift,
                        num_pixels,
                        height: to.height as u32,
                        width: to.width as u32,
                        channels,
                        output_pitch: to.channels as u32,
                        factor: *factor,
                    };
                    stream.launch::<abi::PlaceChannels>(pixel_grid::<abi::PlaceChannels>(vectors), 0, &params)
                }
                Operation::PoolMaximum { kernel, stride, pad_top, pad_left } => {
                    let params = PoolMaximumParams {
                        input: self.address(step.input),
                        output: self.address(output),
                        num_pixels,
                        height: to.height as u32,
                        width: to.width as u32,
                        channels,
                        input_height: from.height as u32,
                        input_width: from.width as u32,
                        kernel: *kernel,
                        stride: *stride,
                        pad_top: *pad_top,
                        pad_left: *pad_left,
                    };
                    stream.launch::<abi::PoolMaximum>(pixel_grid::<abi::PoolMaximum>(vectors), 0, &params)
                }
                Operation::AveragePixels => {
                    let params = AveragePixelsParams {
                        input: self.address(step.input),
                        output: self.address(output),
                        num_pixels: (from.height * from.width) as u32,
                        channels,
                    };
                    let grid = Grid { x: channels.div_ceil(abi::AVERAGE_CHANNELS), y: self.num_images, z: 1 };
                    stream.launch::<abi::AveragePixels>(grid, 0, &params)
                }
            }
        }
    }

    fn convolve_params(&self, step: &NetworkStep, convolution: &Convolution) -> ConvolveParams {
        let constants = &self.network.constants;
        let mut columns_end = 0;
        let outputs: [ConvolveOutput; CONVOLVE_OUTPUTS as usize] = std::array::from_fn(|output_idx| {
            let Some(output) = step.outputs.get(output_idx) else { return ConvolveOutput::default() };
            columns_end += output.slice.channels as u32;
            ConvolveOutput {
                values: self.address(output.slice),
                pitch: self.shape(output.slice.value).channels as u32,
                columns_end: columns_end.next_multiple_of(8),
                has_relu: output.has_relu.into(),
                reserved: 0,
            }
        });
        ConvolveParams {
            input: self.address(step.input),
            weights: constants.ptr(convolution.weights.offset_bytes),
            bias: constants.ptr(convolution.bias.offset_bytes),
            bias_half: convolution
                .bias_half
                .map_or(std::ptr::null(), |region| constants.ptr::<u16>(region.offset_bytes).cast_const()),
            residual: step.residual.map_or(std::ptr::null(), |value| self.address(self.whole(value))),
            outputs,
            num_rows: self.num_images * convolution.windows.0 * convolution.windows.1,
            num_columns: convolution.num_columns,
            depth: convolution.depth,
            channels: convolution.channels,
            input_height: convolution.input_size.0,
            input_width: convolution.input_size.1,
            input_pitch: convolution.input_pitch,
            kernel_height: convolution.kernel.0,
            kernel_width: convolution.kernel.1,
            stride_y: convolution.stride.0,
            stride_x: convolution.stride.1,
            pad_top: convolution.pad.0,
            pad_left: convolution.pad.1,
            windows_high: convolution.windows.0,
            windows_wide: convolution.windows.1,
            residual_pitch: step.residual.map_or(0, |value| self.shape(value).channels as u32),
            upsampling: convolution.upsampling,
            is_float: convolution.is_float.into(),
        }
    }
}

/// CTAs that give each vector of eight values a thread.
fn pixel_grid<K: Kernel>(num_vectors: u64) -> Grid {
    Grid::x(num_vectors.div_ceil(u64::from(K::ID.info().threads)).min(u64::from(u32::MAX)) as u32)
}
