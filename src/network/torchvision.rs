//! The names that torchvision gives to the tensors of its ResNet-50.

use safetensors::SafeTensors;

use crate::Result;
use crate::network::weights::weights_error;
use crate::network::{Config, Variant};

/// A tensor that only such a file has.
const LANDMARK: &str = "layer1.0.conv1.weight";

/// Whether a file uses torchvision's names.
pub(super) fn is_resnet50(file: &SafeTensors<'_>) -> bool {
    file.tensor(LANDMARK).is_ok()
}

/// The configuration of such a file: the number of classes is that of its classifier.
pub(super) fn config(file: &SafeTensors<'_>) -> Result<Config> {
    let bias = file.tensor("fc.bias").map_err(|_| weights_error("tensor fc.bias is missing"))?;
    let classes = bias.shape().first().copied().unwrap_or(0);
    let config = Config { classes, ..Config::new(Variant::Resnet50RgbV15) };
    config.check().map_err(|e| weights_error(format!("tensor fc.bias: {e}")))?;
    Ok(config)
}

/// torchvision's name of one of our tensors: `bn3b_branch2c.bias` is `layer2.1.bn3.bias`.
pub(super) fn name_of(name: &str) -> String {
    let (layer, suffix) = name.rsplit_once('.').expect("tensor names have a suffix");
    let Some((unit, branch)) = layer.split_once("_branch") else {
        return name.replace("bn_conv1", "bn1");
    };
    let (kind, unit) = unit.split_at(unit.len() - 2);
    let [stage, letter] = unit.as_bytes() else { unreachable!("units have a stage and a letter") };
    let (layer, block) = (stage - b'1', letter - b'a');
    let part = match (kind, branch) {
        ("res", "1") => "downsample.0",
        (_, "1") => "downsample.1",
        ("res", "2a") => "conv1",
        ("res", "2b") => "conv2",
        ("res", _) => "conv3",
        (_, "2a") => "bn1",
        (_, "2b") => "bn2",
        _ => "bn3",
    };
    format!("layer{layer}.{block}.{part}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_torchvision() {
        let pairs = [
            ("conv1.weight", "conv1.weight"),
            ("bn_conv1.running_mean", "bn1.running_mean"),
            ("res2a_branch1.weight", "layer1.0.downsample.0.weight"),
            ("bn2a_branch1.bias", "layer1.0.downsample.1.bias"),
            ("res4f_branch2b.weight", "layer3.5.conv2.weight"),
            ("bn5c_branch2c.running_var", "layer4.2.bn3.running_var"),
            ("fc.bias", "fc.bias"),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(name_of(ours), theirs);
        }
    }
}
