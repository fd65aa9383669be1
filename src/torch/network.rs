//! A network of libtorch's tensors, run layer by layer as its list says.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::cuda;
use crate::error::{Error, ErrorKind, Result};
use crate::network::{InputKind, Layer, Metadata, Network, Op, ValueId, Weights};
use crate::tensor;

/// How much of a batch's statistics goes into a batch norm's running ones.
const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// What batch norms do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They use the batch's own statistics and bring the running ones up to date; gradients can be taken.
    Train,
    /// They use the running statistics; no gradients.
    Evaluate,
}

/// What convolutions compute with. Parameters, batch norms' statistics, pooling and the classifier are 32-bit floats in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// 32-bit floats. On a GPU libtorch may round the operands of convolutions to TF32 (eleven bits), unless `NVIDIA_TF32_OVERRIDE=0` is
    /// set before the program starts.
    F32,
    /// Activations are bfloat16 from the first convolution on (mixed precision). Pays where the processor multiplies them in hardware.
    Bf16,
}

/// A network on a device of libtorch's.
///
/// Calls wait for nothing on a GPU: work goes to libtorch's current stream, and whoever copies a result to the host waits for it.
#[derive(Debug)]
pub struct TorchNetwork {
    network: Network,
    tensors: BTreeMap<String, Tensor>,
    device: Device,
    arithmetic: Arithmetic,
}

impl TorchNetwork {
    /// Copies weights to a device.
    ///
    /// # Errors
    /// [`ErrorKind::NoLibrary`] or [`ErrorKind::NoDevice`] for a GPU that libtorch cannot use here; what libtorch says:
    /// [`ErrorKind::OutOfMemory`], [`ErrorKind::Device`].
    pub fn new(weights: &Weights, device: Device, arithmetic: Arithmetic) -> Result<Self> {
        cuda::prepare(device)?;
        let tensors = weights.tensors().iter().map(|(name, tensor)| {
            let tensor = to_torch(tensor, device)?.f_set_requires_grad(!is_statistic(name))?;
            Ok((name.clone(), tensor))
        });
        Ok(Self { network: weights.network().clone(), tensors: tensors.collect::<Result<_>>()?, device, arithmetic })
    }

    /// The layer list.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Where it lies.
    pub fn device(&self) -> Device {
        self.device
    }

    /// All tensors by name, 32-bit floats of PyTorch's shapes; those that are learned ask for gradients.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The tensors that are learned: all but batch norms' running statistics.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().filter(|(name, _)| !is_statistic(name)).map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Takes other values for all of its tensors.
    ///
    /// # Errors
    /// [`ErrorKind::Weights`] where a name or a shape is not the network's.
    pub(crate) fn set_tensors(&mut self, tensors: BTreeMap<String, Tensor>) -> Result<()> {
        let fits = |(name, own): (&String, &Tensor)| tensors.get(name).is_some_and(|new| new.size() == own.size());
        if tensors.len() != self.tensors.len() || !self.tensors.iter().all(fits) {
            let message = format!("the tensors are not those of {}", self.network.config.variant);
            return Err(Error::new(ErrorKind::Weights, message));
        }
        let learned = tensors.into_iter().map(|(name, tensor)| {
            let tensor = tensor.f_set_requires_grad(!is_statistic(&name))?;
            Ok((name, tensor))
        });
        self.tensors = learned.collect::<Result<_>>()?;
        Ok(())
    }

    /// Copies the tensors back, as weights with these metadata.
    ///
    /// # Errors
    /// [`ErrorKind::Weights`](crate::ErrorKind::Weights) where training has made what is no finite number, or where the metadata are of
    /// another network.
    pub fn to_weights(&self, metadata: Metadata) -> Result<Weights> {
        weights_of(&self.network, &self.tensors, metadata)
    }

    /// Logits `[N, classes]`, 32-bit floats, on the network's device. Inputs are as [`InputKind`] says, NHWC, 32-bit floats, on the same device: Y
    /// `[N, H/8, W/8, 64]` and C `[N, H/16, W/16, 128]`, or RGB `[N, H, W, 3]`, for any height and width that the network can read.
    ///
    /// # Errors
    /// What libtorch says, of shapes that do not fit among others.
    pub fn forward(&self, inputs: &[Tensor], mode: Mode) -> Result<Tensor> {
        let is_grad_on = mode == Mode::Train;
        let run = || self.run(inputs, mode);
        if is_grad_on { tch::with_grad(run) } else { tch::no_grad(run) }
    }

    fn run(&self, inputs: &[Tensor], mode: Mode) -> Result<Tensor> {
        let mut values = Values::new(&self.network, self.input_values(inputs)?);
        for layer in &self.network.layers {
            let output = self.run_layer(layer, &values, mode)?;
            values.put(layer.output, output);
            values.release_after(layer);
        }
        let logits = values.take(self.network.output);
        Ok(logits.f_flatten(1, -1)?)
    }

    /// The network's first values: NHWC memory seen as NCHW, which libtorch calls channels-last.
    fn input_values(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let nchw = |input: &Tensor| input.f_permute([0, 3, 1, 2]);
        Ok(match (self.network.config.variant.input(), inputs) {
            (InputKind::Rgb, [rgb]) => vec![nchw(rgb)?],
            (InputKind::Blocks, [y, c]) => {
                vec![nchw(y)?, nchw(&c.f_narrow(3, 0, 64)?)?, nchw(&c.f_narrow(3, 64, 64)?)?]
            }
            _ => {
                let message = format!("{} inputs for {}", inputs.len(), self.network.config.variant);
                return Err(tch::TchError::Shape(message).into());
            }
        })
    }

    fn run_layer(&self, layer: &Layer, values: &Values, mode: Mode) -> Result<Tensor> {
        let tensor = |suffix: &str| &self.tensors[&format!("{}.{suffix}", layer.name)];
        let mut x = values.read(layer, 0);
        Ok(match layer.op {
            Op::Conv { kernel: _, stride, pad: [top, left, bottom, right], c_out: _ } => {
                let weight = self.lower(tensor("weight"))?;
                let stride = [stride as i64; 2];
                let mut x = self.lower(&x)?;
                let mut pad = [top as i64, left as i64];
                if (top, left) != (bottom, right) {
                    x = x.f_constant_pad_nd([left, right, top, bottom].map(|side| side as i64))?;
                    pad = [0, 0];
                }
                x.f_conv2d(&weight, None::<Tensor>, stride, pad, [1, 1], 1)?
            }
            Op::Deconv2x2 { .. } => {
                let weight = self.lower(tensor("weight"))?;
                self.lower(&x)?.f_conv_transpose2d(&weight, None::<Tensor>, [2, 2], [0, 0], [0, 0], 1, [1, 1])?
            }
            Op::BatchNorm => x.f_batch_norm(
                Some(tensor("weight")),
                Some(tensor("bias")),
                Some(tensor("running_mean")),
                Some(tensor("running_var")),
                mode == Mode::Train,
                BATCH_NORM_MOMENTUM,
                self.network.config.eps.into(),
                true,
            )?,
            // In place, which no gradient minds: what is added up and what a batch norm makes is read by nobody else.
            Op::Relu => x.f_relu_()?,
            Op::Add => x.f_add(&values.read(layer, 1))?,
            Op::Concat => {
                let parts: Vec<Tensor> = (0..layer.inputs.len()).map(|idx| values.read(layer, idx)).collect();
                Tensor::f_cat(&parts, 1)?
            }
            Op::UpsampleNearest2 => {
                let size = x.size();
                x.f_upsample_nearest2d([2 * size[2], 2 * size[3]], None, None)?
            }
            Op::MaxPool { kernel, stride, pad } => {
                let both = |side: usize| [side as i64; 2];
                x.f_max_pool2d(both(kernel), both(stride), [pad[0] as i64, pad[1] as i64], [1, 1], false)?
            }
            Op::GlobalAveragePool => x.f_mean_dim([2i64, 3].as_slice(), true, Kind::Float)?,
            Op::Linear { .. } => x.f_flatten(1, -1)?.f_linear(tensor("weight"), Some(tensor("bias")))?,
        })
    }

    /// A convolution's operand in the kind of number that it computes with.
    fn lower(&self, tensor: &Tensor) -> Result<Tensor> {
        Ok(match self.arithmetic {
            Arithmetic::F32 => tensor.shallow_clone(),
            Arithmetic::Bf16 => tensor.f_to_kind(Kind::BFloat16)?,
        })
    }
}

/// Activations, each held until its last reader has had it.
struct Values {
    held: Vec<Option<Tensor>>,
    last_reader: Vec<ValueId>,
}

impl Values {
    fn new(network: &Network, inputs: Vec<Tensor>) -> Self {
        let mut last_reader = vec![network.output; network.values.len()];
        for layer in &network.layers {
            for input in &layer.inputs {
                last_reader[input.0] = layer.output;
            }
        }
        let mut held: Vec<Option<Tensor>> = inputs.into_iter().map(Some).collect();
        held.resize_with(network.values.len(), || None);
        Self { held, last_reader }
    }

    fn put(&mut self, value: ValueId, tensor: Tensor) {
        self.held[value.0] = Some(tensor);
    }

    /// The `input_idx`th input of a layer. The layer list writes values before they are read.
    fn read(&self, layer: &Layer, input_idx: usize) -> Tensor {
        self.held[layer.inputs[input_idx].0].as_ref().map(Tensor::shallow_clone).unwrap_or_default()
    }

    /// Lets go of what nobody reads after `layer`.
    fn release_after(&mut self, layer: &Layer) {
        for input in layer.inputs.iter().filter(|input| self.last_reader[input.0] == layer.output) {
            self.held[input.0] = None;
        }
    }

    fn take(&mut self, value: ValueId) -> Tensor {
        self.held[value.0].take().unwrap_or_default()
    }
}

/// Whether a tensor is a batch norm's running statistic, which is counted, not learned.
fn is_statistic(name: &str) -> bool {
    name.contains(".running_")
}

/// A copy on a device.
pub(crate) fn to_torch(tensor: &tensor::Tensor, device: Device) -> Result<Tensor> {
    let shape: Vec<i64> = tensor.shape.iter().map(|&side| side as i64).collect();
    Ok(Tensor::f_from_slice(&tensor.data)?.f_view(&shape[..])?.f_to_device(device)?)
}

/// A copy in host memory; waits for what makes the tensor.
pub(crate) fn from_torch(tensor: &Tensor) -> Result<tensor::Tensor> {
    let shape: Vec<usize> = tensor.size().iter().map(|&side| side as usize).collect();
    let mut data = vec![0.0f32; tensor.numel()];
    tensor.f_to_kind(Kind::Float)?.f_copy_data(&mut data, tensor.numel())?;
    Ok(tensor::Tensor::from_vec(&shape, data))
}

/// Weights from libtorch's tensors of a network.
pub(crate) fn weights_of(network: &Network, tensors: &BTreeMap<String, Tensor>, metadata: Metadata) -> Result<Weights> {
    let copied = tensors.iter().map(|(name, tensor)| Ok((name.clone(), from_torch(tensor)?)));
    Weights::new(network.clone(), metadata, copied.collect::<Result<_>>()?)
}
