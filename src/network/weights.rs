//! Weights: the tensors of a network and what belongs to them, in a safetensors file.
//!
//! Tensors carry the layers' names (`res3a_branch2a.weight`, `bn3a_branch2a.running_var`) and PyTorch's shapes: a convolution is
//! `[c_out, c_in, kh, kw]`, a deconvolution `[c_in, c_out, 2, 2]`, the fully connected layer `[classes, c_in]`. Input channels are
//! coefficients in natural order. Everything else is one JSON object in the file's metadata, under the key `dctflow`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::files::replace_file;
use crate::network::{Config, Network, TensorSpec, Variant, torchvision};
use crate::resample::{Normalization, Resize, Transform};
use crate::tensor::Tensor;

/// The key of the JSON object in the metadata of the file.
pub(super) const METADATA_KEY: &str = "dctflow";

/// What belongs to weights besides the tensors and the [`Config`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// One name per class, or none at all.
    pub class_names: Vec<String>,
    /// What is done to an image. Its crop is the network's input size.
    pub transform: Transform,
    /// What the RGB networks' samples are brought to; the others do not use it.
    pub normalization: Normalization,
    /// Where the weights come from, in words.
    pub provenance: String,
}

impl Metadata {
    /// No class names, ImageNet's evaluation at the network's input size: the short side is 8/7 of the crop's longer side.
    pub fn new(config: &Config) -> Self {
        let (width, height) = config.input_size;
        let resize = Resize::ShortSide(width.max(height) * 8 / 7);
        Self {
            class_names: Vec::new(),
            transform: Transform { resize, crop: config.input_size, ..Transform::default() },
            normalization: Normalization::default(),
            provenance: String::new(),
        }
    }
}

/// The JSON object in the file.
#[derive(Serialize, Deserialize)]
struct FileMetadata {
    network: Variant,
    width: f64,
    classes: usize,
    eps: f32,
    input_size: (u32, u32),
    #[serde(flatten)]
    metadata: Metadata,
}

/// How convolutions and the fully connected layer are stored. Batch norms are always `f32`: variances of coefficients exceed `f16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
}

/// A network with all of its tensors, complete and of the right shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    network: Network,
    metadata: Metadata,
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Weights of `network`.
    ///
    /// # Errors
    /// [`ErrorKind::Weights`] when a tensor is missing, is not the network's, has another shape, or holds what is no finite number (or
    /// a negative variance), or when the metadata do not fit the network.
    pub fn new(network: Network, metadata: Metadata, tensors: BTreeMap<String, Tensor>) -> Result<Self> {
        check_metadata(&network.config, &metadata)?;
        let specs = network.tensors();
        check_names(&network.config, &specs, tensors.keys())?;
        for spec in &specs {
            check_tensor(spec, &tensors[&spec.name])?;
        }
        Ok(Self { network, metadata, tensors })
    }

    /// Reads a file: one written by [`Weights::save`], or torchvision's ResNet-50, as safetensors with torchvision's names
    /// (becoming `resnet50-rgb-v1.5`). Tensors are `f32` or `f16`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the file cannot be read, [`ErrorKind::Weights`] when it is not such a file or breaks a rule of
    /// [`Weights::new`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !std::fs::metadata(path).map_err(|e| Error::io(path, e))?.is_file() {
            return Err(weights_error("not a file: name a safetensors file").with_path(path));
        }
        // Read, not mapped: a map of a file that another process cuts short ends this one with SIGBUS.
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Self::from_bytes(&bytes).map_err(|e| e.with_path(path))
    }

    /// The same for a file that is already in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Weights`], as [`Weights::load`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let unreadable = |e: safetensors::SafeTensorError| {
            weights_error(format!("not a complete safetensors file ({e}): fetch or write it again")).with_source(e)
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        match header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA_KEY)) {
            Some(json) => Self::from_own_file(&file, json),
            None if torchvision::is_resnet50(&file) => Self::from_torchvision(&file),
            None => Err(weights_error(format!(
                "a safetensors file, but not of this program (its metadata have no `{METADATA_KEY}`), nor torchvision's ResNet-50"
            ))),
        }
    }

    fn from_own_file(file: &SafeTensors<'_>, json: &str) -> Result<Self> {
        let FileMetadata { network, width, classes, eps, input_size, metadata } = serde_json::from_str(json)
            .map_err(|e| weights_error(format!("the metadata `{METADATA_KEY}` are unreadable: {e}")).with_source(e))?;
        let config = Config { variant: network, width, classes, eps, input_size };
        let network = Network::new(config)
            .map_err(|e| weights_error(format!("the metadata describe no network: {e}")).with_source(e))?;
        let specs = network.tensors();
        let names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
        check_names(&config, &specs, &names)?;
        let tensors = read_tensors(file, &specs, str::to_owned)?;
        Weights::new(network, metadata, tensors)
    }

    fn from_torchvision(file: &SafeTensors<'_>) -> Result<Self> {
        let config = torchvision::config(file)?;
        let network = Network::new(config)?;
        let tensors = read_tensors(file, &network.tensors(), torchvision::name_of)?;
        let metadata = Metadata { provenance: "torchvision's ResNet-50".to_owned(), ..Metadata::new(&config) };
        Weights::new(network, metadata, tensors)
    }

    /// Writes a file that [`Weights::load`] reads. Replaces an older file in one step, so that nobody ever reads half a file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the file cannot be written; those of [`Weights::to_bytes`].
    pub fn save(&self, path: impl AsRef<Path>, precision: Precision) -> Result<()> {
        replace_file(path, &self.to_bytes(precision)?)
    }

    /// The same in memory: the same bytes for the same weights.
    ///
    /// # Errors
    /// [`ErrorKind::Weights`] when the class names take more than a safetensors file allows (100 MB).
    pub fn to_bytes(&self, precision: Precision) -> Result<Vec<u8>> {
        let header = HashMap::from([(METADATA_KEY.to_owned(), self.metadata_json())]);
        let stored = self.tensors.iter().map(|(name, tensor)| (name, StoredTensor::new(name, tensor, precision)));
        safetensors::serialize(stored, Some(header))
            .map_err(|e| weights_error(format!("cannot be stored as safetensors: {e}")).with_source(e))
    }

    /// Configuration and metadata as they go into files.
    pub(super) fn metadata_json(&self) -> String {
        let Config { variant, width, classes, eps, input_size } = self.network.config;
        let metadata = self.metadata.clone();
        let object = FileMetadata { network: variant, width, classes, eps, input_size, metadata };
        serde_json::to_string(&object).expect("names, numbers and strings are always JSON")
    }

    /// The layer list.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Shape of the network.
    pub fn config(&self) -> &Config {
        &self.network.config
    }

    /// Class names, transform, normalisation, provenance.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// These weights, if they are of `variant`.
    ///
    /// # Errors
    /// [`ErrorKind::Weights`] when they are of another network.
    pub fn expect_variant(self, variant: Variant) -> Result<Self> {
        match self.config().variant {
            found if found == variant => Ok(self),
            found => {
                Err(weights_error(format!("these are weights of {found}, not of {variant}: name the network {found}")))
            }
        }
    }

    /// The same weights for images under another transform, whose crop becomes the network's input size.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the network cannot have that input size.
    pub fn with_transform(mut self, transform: Transform) -> Result<Self> {
        self.network = Network::new(Config { input_size: transform.crop, ..self.network.config })?;
        self.metadata.transform = transform;
        Ok(self)
    }

    /// The same weights with names for their classes.
    ///
    /// # Errors
    /// [`ErrorKind::Weights`] when there are not as many names as classes.
    pub fn with_class_names(mut self, class_names: Vec<String>) -> Result<Self> {
        self.metadata.class_names = class_names;
        check_metadata(&self.network.config, &self.metadata)?;
        Ok(self)
    }
}

pub(super) fn weights_error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Weights, message)
}

fn check_metadata(config: &Config, metadata: &Metadata) -> Result<()> {
    let (num_names, classes) = (metadata.class_names.len(), config.classes);
    if num_names != 0 && num_names != classes {
        return Err(weights_error(format!("{num_names} class names for {classes} classes")));
    }
    if metadata.transform.crop != config.input_size {
        let ((crop_w, crop_h), (w, h)) = (metadata.transform.crop, config.input_size);
        return Err(weights_error(format!(
            "the transform crops to {crop_w} x {crop_h}, but the network reads {w} x {h}"
        )));
    }
    let Normalization { mean, std } = metadata.normalization;
    if !mean.iter().all(|m| m.is_finite()) || !std.iter().all(|s| s.is_finite() && *s > 0.0) {
        return Err(weights_error("the normalisation must have finite means and positive standard deviations"));
    }
    Ok(())
}

/// At most this many names are listed in one error.
const MAX_NAMES_LISTED: usize = 3;

fn check_names<'a>(config: &Config, specs: &[TensorSpec], found: impl IntoIterator<Item = &'a String>) -> Result<()> {
    let mut extra: Vec<&str> = Vec::new();
    let mut missing: BTreeMap<&str, ()> = specs.iter().map(|spec| (spec.name.as_str(), ())).collect();
    for name in found {
        if missing.remove(name.as_str()).is_none() {
            extra.push(name);
        }
    }
    extra.sort_unstable();
    let missing: Vec<&str> = missing.into_keys().collect();
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    let list = |what: &str, names: &[&str]| match names.len() {
        0 => String::new(),
        n if n <= MAX_NAMES_LISTED => format!("; {what}: {}", names.join(", ")),
        n => format!("; {what}: {} and {} more", names[..MAX_NAMES_LISTED].join(", "), n - MAX_NAMES_LISTED),
    };
    Err(weights_error(format!(
        "the tensors are not those of {}{}{}",
        config.variant,
        list("missing", &missing),
        list("not known", &extra)
    )))
}

fn check_tensor(spec: &TensorSpec, tensor: &Tensor) -> Result<()> {
    let TensorSpec { name, shape } = spec;
    if tensor.shape != *shape {
        return Err(weights_error(format!("tensor {name} has shape {:?}, must have {shape:?}", tensor.shape)));
    }
    if tensor.data.iter().any(|v| !v.is_finite()) {
        return Err(weights_error(format!("tensor {name} holds a value that is not a finite number")));
    }
    if name.ends_with(".running_var") && tensor.data.iter().any(|&v| v < 0.0) {
        return Err(weights_error(format!("tensor {name} holds a negative variance")));
    }
    Ok(())
}

/// The tensors of `specs`, which the file has under the names that `name_in_file` gives. Shapes are compared before memory is taken.
fn read_tensors(
    file: &SafeTensors<'_>,
    specs: &[TensorSpec],
    name_in_file: impl Fn(&str) -> String,
) -> Result<BTreeMap<String, Tensor>> {
    let read = |spec: &TensorSpec| {
        let name = name_in_file(&spec.name);
        let view = file.tensor(&name).map_err(|_| weights_error(format!("tensor {name} is missing")))?;
        if view.shape() != spec.shape {
            let message = format!("tensor {name} has shape {:?}, must have {:?}", view.shape(), spec.shape);
            return Err(weights_error(message));
        }
        Ok((spec.name.clone(), read_tensor(&name, &view)?))
    };
    specs.iter().map(read).collect()
}

fn read_tensor(name: &str, view: &TensorView<'_>) -> Result<Tensor> {
    let data = match view.dtype() {
        Dtype::F32 => view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        Dtype::F16 => view.data().as_chunks().0.iter().map(|&bytes| half::f16::from_le_bytes(bytes).to_f32()).collect(),
        other => return Err(weights_error(format!("tensor {name} is of type {other}, must be F32 or F16"))),
    };
    Ok(Tensor::from_vec(view.shape(), data))
}

/// A tensor as it goes into a file.
struct StoredTensor<'a> {
    tensor: &'a Tensor,
    dtype: Dtype,
}

impl<'a> StoredTensor<'a> {
    fn new(name: &str, tensor: &'a Tensor, precision: Precision) -> Self {
        let is_matrix = name.ends_with(".weight") && tensor.shape.len() > 1;
        let dtype = if precision == Precision::F16 && is_matrix { Dtype::F16 } else { Dtype::F32 };
        Self { tensor, dtype }
    }
}

impl safetensors::View for StoredTensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        let values = self.tensor.data.iter();
        match self.dtype {
            Dtype::F16 => values.flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
            _ => values.flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    fn data_len(&self) -> usize {
        self.tensor.data.len() * if self.dtype == Dtype::F16 { 2 } else { 4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Weights {
        Weights::random(Config { width: 0.0625, classes: 3, ..Config::new(Variant::LateConcat) }, 7).unwrap()
    }

    fn saved(weights: &Weights, precision: Precision) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        weights.save(&path, precision).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the file is left");
        assert_eq!(Weights::load(&path).unwrap().config(), weights.config());
        std::fs::read(path).unwrap()
    }

    /// The message of the error that the tensors of [`small`] make after `change`.
    fn refusal(change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> String {
        let Weights { network, metadata, mut tensors } = small();
        change(&mut tensors);
        let error = Weights::new(network, metadata, tensors).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Weights);
        error.to_string()
    }

    #[test]
    fn files_read_back() {
        let names = ["cat", "dog", "none"].map(str::to_owned).to_vec();
        let weights = small().with_class_names(names).unwrap();
        let bytes = saved(&weights, Precision::F32);
        assert_eq!(Weights::from_bytes(&bytes).unwrap(), weights);
        assert_eq!(saved(&weights, Precision::F32), bytes, "the same bytes for the same weights");
    }

    #[test]
    fn half_precision_keeps_batch_norms_and_rounds_the_rest() {
        let weights = small();
        let bytes = saved(&weights, Precision::F16);
        assert!(bytes.len() < saved(&weights, Precision::F32).len() * 6 / 10);
        let read = Weights::from_bytes(&bytes).unwrap();
        for (name, tensor) in weights.tensors() {
            for (&a, &b) in tensor.data.iter().zip(&read.tensors()[name].data) {
                let rounded = if tensor.shape.len() > 1 { half::f16::from_f32(a).to_f32() } else { a };
                assert_eq!(b, rounded, "{name}");
            }
        }
    }

    #[test]
    fn wrong_tensors_are_refused_by_name() {
        assert!(refusal(|t| drop(t.remove("bn_y.bias"))).contains("missing: bn_y.bias"));
        assert!(
            refusal(|t| drop(t.insert("layer9.weight".into(), Tensor::zeros(&[1]))))
                .contains("not known: layer9.weight")
        );
        let message = refusal(|t| drop(t.insert("fc.bias".into(), Tensor::zeros(&[4]))));
        assert!(message.contains("fc.bias has shape [4], must have [3]"), "{message}");
        assert!(refusal(|t| t.get_mut("fc.bias").unwrap().data[1] = f32::NAN).contains("fc.bias holds a value"));
        assert!(refusal(|t| t.get_mut("bn_c.running_var").unwrap().data[0] = -1.0).contains("negative variance"));
        assert!(refusal(BTreeMap::clear).contains("more"));
    }

    #[test]
    fn broken_files_are_refused() {
        let bytes = saved(&small(), Precision::F32);
        let endless_header = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
        let overlapping = header_only(
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        );
        let overflowing = header_only(r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#);
        let foreign = header_only("{}");
        let no_network = header_only(r#"{"__metadata__":{"dctflow":"{\"network\":\"vgg\"}"}}"#);
        let halves = [&bytes[..bytes.len() / 2], &bytes[..100], &bytes[..7], b""];
        let others =
            [&endless_header[..], &overlapping, &overflowing, &foreign, &no_network, b"not a safetensors file"];
        for bytes in halves.into_iter().chain(others) {
            assert_eq!(Weights::from_bytes(bytes).unwrap_err().kind(), ErrorKind::Weights);
        }
    }

    /// No damage to the header makes a panic, or a file of another network.
    #[test]
    fn damaged_headers_are_refused_or_harmless() {
        let weights = small();
        let bytes = weights.to_bytes(Precision::F32).unwrap();
        let header_end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let damage = (0..header_end, proptest::prelude::any::<u8>());
        proptest::proptest!(|((at, byte) in damage)| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            match Weights::from_bytes(&bytes) {
                Ok(read) => assert_eq!(read.network().layers, weights.network().layers),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Weights),
            }
        });
    }

    fn header_only(json: &str) -> Vec<u8> {
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat()
    }

    #[test]
    fn metadata_of_absurd_size_take_no_memory() {
        let metadata = r#"{\"network\":\"upsampling\",\"width\":1e300,\"classes\":1000,\"eps\":1e-5,\"input_size\":[224,224],\"class_names\":[],\"transform\":\"\",\"normalization\":{\"mean\":[0,0,0],\"std\":[1,1,1]},\"provenance\":\"\"}"#;
        let error = Weights::from_bytes(&header_only(&format!(r#"{{"__metadata__":{{"dctflow":"{metadata}"}}}}"#)))
            .unwrap_err();
        assert!(error.to_string().contains("width factor"), "{error}");
    }

    #[test]
    fn paths_that_are_no_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Weights::load(folder.path()).unwrap_err().kind(), ErrorKind::Weights);
        let missing = folder.path().join("none");
        assert_eq!(Weights::load(&missing).unwrap_err().kind(), ErrorKind::Io);
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = small().save(folder.path().join("file/below"), Precision::F32).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
    }

    #[test]
    fn weights_of_another_network_are_refused() {
        let error = small().expect_variant(Variant::Upsampling).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Weights);
        assert!(error.to_string().contains("late-concat"), "{error}");
    }

    #[test]
    fn torchvisions_file_loads_as_it_is() {
        let config = Config { classes: 5, ..Config::new(Variant::Resnet50RgbV15) };
        let specs = Network::new(config).unwrap().tensors();
        let values: Vec<u8> = vec![0; 4 * 512 * 512 * 9];
        let names: Vec<String> = specs.iter().map(|spec| torchvision::name_of(&spec.name)).collect();
        let views = specs.iter().zip(&names).map(|(spec, name)| {
            let num_bytes = 4 * spec.shape.iter().product::<usize>();
            (name.as_str(), TensorView::new(Dtype::F32, spec.shape.clone(), &values[..num_bytes]).unwrap())
        });
        let tracked = TensorView::new(Dtype::I64, vec![], &values[..8]).unwrap();
        let file = safetensors::serialize(views.chain([("bn1.num_batches_tracked", tracked)]), None).unwrap();
        assert_eq!(*Weights::from_bytes(&file).unwrap().config(), config);
    }

    #[test]
    fn another_transform_changes_the_input_size() {
        let transform: Transform = "short=352,crop=320x288".parse().unwrap();
        let weights = small().with_transform(transform).unwrap();
        assert_eq!((weights.config().input_size, weights.network().values[0].height), ((320, 288), 36));
    }
}
