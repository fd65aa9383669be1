//! Networks as ONNX files: the layer list, one node per layer, batch norms as they are.

mod proto;

use std::path::Path;

use prost::Message;

use crate::Result;
use crate::files::replace_file;
use crate::network::onnx::proto::{
    AttributeProto, AttributeType, DimensionProto, FLOAT, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::network::weights::METADATA_KEY;
use crate::network::{InputKind, Layer, Network, Op, ValueId, Weights};
use crate::resample::Normalization;

/// ONNX 1.12: understood by every runtime since 2022.
const IR_VERSION: i64 = 8;
/// The operators of ONNX 1.12.
const OPSET_VERSION: i64 = 17;

impl Weights {
    /// The network as an ONNX model, in `f32`, for the configuration's input size and any number `N` of images.
    ///
    /// Inputs are `y` `[N, 64, H/8, W/8]`, `cb` and `cr` `[N, 64, H/16, W/16]`: dequantised coefficients, natural order along the
    /// channels. Or `rgb` `[N, 3, H, W]`: samples divided by 255; the model normalises them. The output is `logits` `[N, classes]`.
    /// The metadata of [`Weights::save`] are the model's property `dctflow`.
    pub fn to_onnx(&self) -> Vec<u8> {
        let network = self.network();
        let property = StringStringEntryProto { key: text(METADATA_KEY), value: Some(self.metadata_json()) };
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: text(env!("CARGO_PKG_NAME")),
            producer_version: text(env!("CARGO_PKG_VERSION")),
            doc_string: text(match network.config.variant.input() {
                InputKind::Blocks => "y, cb, cr: dequantised DCT coefficients, natural order along the channels",
                InputKind::Rgb => "rgb: samples divided by 255",
            }),
            graph: Some(Exporter { network, weights: self, graph: GraphProto::default() }.export()),
            opset_import: vec![OperatorSetIdProto { domain: text(""), version: Some(OPSET_VERSION) }],
            metadata_props: vec![property],
        };
        model.encode_to_vec()
    }

    /// Writes [`Weights::to_onnx`] to a file; an older file is replaced in one step.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when the file cannot be written.
    pub fn save_onnx(&self, path: impl AsRef<Path>) -> Result<()> {
        replace_file(path, &self.to_onnx())
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

struct Exporter<'a> {
    network: &'a Network,
    weights: &'a Weights,
    graph: GraphProto,
}

impl Exporter<'_> {
    fn export(mut self) -> GraphProto {
        let network = self.network;
        self.graph.name = text(network.config.variant.name());
        for (value, name) in network.input_names().iter().enumerate() {
            let shape = network.values[value];
            self.graph.input.push(float_value(name, &[shape.channels, shape.height, shape.width]));
        }
        self.graph.output.push(float_value("logits", &[network.config.classes]));
        for (name, tensor) in self.weights.tensors() {
            self.graph.initializer.push(float_tensor(name, &tensor.shape, &tensor.data));
        }
        if network.config.variant.input() == InputKind::Rgb {
            self.normalize();
        }
        network.layers.iter().for_each(|layer| self.layer(layer));
        self.graph
    }

    /// `(rgb - mean) / std`.
    fn normalize(&mut self) {
        let Normalization { mean, std } = self.weights.metadata().normalization;
        self.graph.initializer.push(float_tensor("mean", &[1, 3, 1, 1], &mean));
        self.graph.initializer.push(float_tensor("std", &[1, 3, 1, 1], &std));
        self.node("Sub", &["rgb", "mean"], "rgb_centred", vec![]);
        self.node("Div", &["rgb_centred", "std"], "rgb_normalised", vec![]);
    }

    fn layer(&mut self, layer: &Layer) {
        let inputs: Vec<String> = layer.inputs.iter().map(|&value| self.value_name(value)).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let x = inputs[0];
        let tensors: Vec<String> = self.network.tensors_of(layer).into_iter().map(|spec| spec.name).collect();
        let with_tensors: Vec<&str> = inputs.iter().copied().chain(tensors.iter().map(String::as_str)).collect();
        let output = &self.value_name(layer.output);
        match layer.op {
            Op::Conv { kernel, stride, pad, .. } => {
                self.node("Conv", &with_tensors, output, window(kernel, stride, pad))
            }
            Op::Deconv2x2 { .. } => self.node("ConvTranspose", &with_tensors, output, window(2, 2, [0; 4])),
            Op::BatchNorm => {
                let epsilon = float("epsilon", self.network.config.eps);
                self.node("BatchNormalization", &with_tensors, output, vec![epsilon]);
            }
            Op::Relu => self.node("Relu", &inputs, output, vec![]),
            Op::Add => self.node("Add", &inputs, output, vec![]),
            Op::Concat => self.node("Concat", &inputs, output, vec![int("axis", 1)]),
            Op::UpsampleNearest2 => self.upsample(x, output),
            Op::MaxPool { kernel, stride, pad } => self.node("MaxPool", &inputs, output, window(kernel, stride, pad)),
            Op::GlobalAveragePool => self.node("GlobalAveragePool", &inputs, output, vec![]),
            Op::Linear { .. } => {
                self.node("Flatten", &[x], "features", vec![int("axis", 1)]);
                self.node("Gemm", &["features", with_tensors[1], with_tensors[2]], output, vec![int("transB", 1)]);
            }
        }
    }

    fn upsample(&mut self, input: &str, output: &str) {
        self.graph.initializer.push(float_tensor("upsample_scales", &[4], &[1.0, 1.0, 2.0, 2.0]));
        let attributes = vec![
            string("mode", "nearest"),
            string("coordinate_transformation_mode", "asymmetric"),
            string("nearest_mode", "floor"),
        ];
        // The second input, empty here, is a region of interest.
        self.node("Resize", &[input, "", "upsample_scales"], output, attributes);
    }

    /// The name of a value of the layer list: that of the input, or of the layer that writes it.
    fn value_name(&self, value: ValueId) -> String {
        let inputs = self.network.input_names();
        match inputs.get(value.0) {
            Some(&"rgb") => "rgb_normalised".to_owned(),
            Some(name) => (*name).to_owned(),
            None if value == self.network.output => "logits".to_owned(),
            None => self.network.layers[value.0 - inputs.len()].name.clone(),
        }
    }

    fn node(&mut self, op_type: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: text(output),
            op_type: text(op_type),
            attribute,
        });
    }
}

/// The attributes of a convolution, deconvolution or pooling. ONNX orders padding as we do: top, left, bottom, right.
fn window(kernel: usize, stride: usize, pad: [usize; 4]) -> Vec<AttributeProto> {
    vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[stride; 2]), ints("pads", &pad)]
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&v| v as i64).collect();
    AttributeProto { name: text(name), ints, r#type: Some(AttributeType::Ints as i32), ..Default::default() }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: text(name), i: Some(value), r#type: Some(AttributeType::Int as i32), ..Default::default() }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: text(name), f: Some(value), r#type: Some(AttributeType::Float as i32), ..Default::default() }
}

fn string(name: &str, value: &str) -> AttributeProto {
    let s = Some(value.as_bytes().to_vec());
    AttributeProto { name: text(name), s, r#type: Some(AttributeType::String as i32), ..Default::default() }
}

fn float_tensor(name: &str, shape: &[usize], data: &[f32]) -> TensorProto {
    TensorProto {
        dims: shape.iter().map(|&length| length as i64).collect(),
        data_type: Some(FLOAT),
        name: text(name),
        raw_data: Some(data.iter().flat_map(|v| v.to_le_bytes()).collect()),
    }
}

/// `[N, shape...]` in `f32`.
fn float_value(name: &str, shape: &[usize]) -> ValueInfoProto {
    let batch = DimensionProto { dim_param: text("N"), dim_value: None };
    let fixed = shape.iter().map(|&length| DimensionProto { dim_value: Some(length as i64), dim_param: None });
    let shape = TensorShapeProto { dim: std::iter::once(batch).chain(fixed).collect() };
    let tensor_type = TensorTypeProto { elem_type: Some(FLOAT), shape: Some(shape) };
    ValueInfoProto { name: text(name), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::network::{Config, Variant};

    #[test]
    fn graphs_are_connected() {
        for variant in Variant::ALL {
            let config = Config { width: 0.0625, classes: 10, ..Config::new(variant) };
            let bytes = Weights::random(config, 0).unwrap().to_onnx();
            let graph = ModelProto::decode(&bytes[..]).unwrap().graph.unwrap();
            let given = graph.input.iter().filter_map(|v| v.name.clone());
            let mut known: HashSet<String> =
                given.chain(graph.initializer.iter().filter_map(|t| t.name.clone())).collect();
            let mut unread: HashSet<String> = known.clone();
            for node in &graph.node {
                for input in node.input.iter().filter(|name| !name.is_empty()) {
                    assert!(known.contains(input), "{variant}: nobody writes {input}");
                    unread.remove(input);
                }
                for output in &node.output {
                    assert!(known.insert(output.clone()), "{variant}: {output} is written twice");
                    unread.insert(output.clone());
                }
            }
            assert_eq!(unread, HashSet::from(["logits".to_owned()]), "{variant}");
        }
    }

    #[test]
    fn inputs_have_the_documented_shapes() {
        let config = Config { width: 0.0625, input_size: (320, 224), ..Config::new(Variant::Upsampling) };
        let bytes = Weights::random(config, 0).unwrap().to_onnx();
        let graph = ModelProto::decode(&bytes[..]).unwrap().graph.unwrap();
        assert_eq!(graph.input[0], float_value("y", &[64, 28, 40]));
        assert_eq!(graph.input[2], float_value("cr", &[64, 14, 20]));
        assert_eq!(graph.output, [float_value("logits", &[1000])]);
    }
}
