//! A run's state as one safetensors file: parameters, velocities, averages, and what is counted.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::data::DataDigest;
use super::settings::Settings;
use super::trainer::EpochReport;
use crate::error::{Error, ErrorKind, Result};
use crate::files::replace_file;
use crate::tensor;
use crate::torch::{from_torch, to_torch};

/// The key of the JSON object in the metadata of the file.
const METADATA_KEY: &str = "dctflow-training";

/// What is not a tensor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) settings: Settings,
    /// The images of these epochs; none before the first one.
    pub(super) data: Option<DataDigest>,
    /// Epochs that are complete.
    pub(super) num_epochs_done: u32,
    /// Steps that were taken.
    pub(super) step: u64,
    pub(super) history: Vec<EpochReport>,
}

/// The three sets of tensors, by the names that they have in the file.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// Writes a checkpoint, replacing an older one in one step.
pub(super) fn save(path: &Path, progress: &Progress, sets: &[(&str, &Tensors)]) -> Result<()> {
    let mut copies: BTreeMap<String, tensor::Tensor> = BTreeMap::new();
    for (set, tensors) in sets {
        for (name, tensor) in *tensors {
            copies.insert(format!("{set}.{name}"), from_torch(tensor)?);
        }
    }
    let internal = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Internal, format!("the checkpoint cannot be written: {e}")).with_source(e)
    };
    let views = copies.iter().map(|(name, tensor)| {
        let bytes = bytemuck::cast_slice(&tensor.data);
        Ok((name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(|e| internal(e.into()))?))
    });
    let views: Vec<_> = views.collect::<Result<_>>()?;
    let json = serde_json::to_string(progress).map_err(|e| internal(e.into()))?;
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| internal(e.into()))?;
    replace_file(path, &bytes)
}

/// The same in host memory.
pub(super) type HostTensors = BTreeMap<String, tensor::Tensor>;

/// Reads a checkpoint: its progress, and the tensors of each set.
pub(super) fn load(path: &Path, sets: [&str; 3]) -> Result<(Progress, [HostTensors; 3])> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    read(&bytes, sets).map_err(|what| {
        let message = format!("not a checkpoint of this program ({what}): name the one that a run has written");
        Error::new(ErrorKind::Weights, message).with_path(path)
    })
}

/// Copies what was loaded to a device.
pub(super) fn to_device(sets: [HostTensors; 3], device: Device) -> Result<[Tensors; 3]> {
    let copy = |set: &HostTensors| -> Result<Tensors> {
        set.iter().map(|(name, tensor)| Ok((name.clone(), to_torch(tensor, device)?))).collect()
    };
    let [first, second, third] = &sets;
    Ok([copy(first)?, copy(second)?, copy(third)?])
}

fn read(bytes: &[u8], sets: [&str; 3]) -> Result<(Progress, [HostTensors; 3]), String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let json = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA_KEY));
    let progress = serde_json::from_str(json.ok_or("its metadata name no training")?).map_err(|e| e.to_string())?;
    let mut tensors: [HostTensors; 3] = Default::default();
    for (full_name, view) in file.iter() {
        let (set, name) = full_name.split_once('.').ok_or("a tensor without a set")?;
        let set_idx = sets.iter().position(|known| *known == set).ok_or("a tensor of no known set")?;
        if view.dtype() != Dtype::F32 {
            return Err(format!("{full_name} is not F32"));
        }
        let data = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        tensors[set_idx].insert(name.to_owned(), tensor::Tensor::from_vec(view.shape(), data));
    }
    Ok((progress, tensors))
}
