//! Which network, and how large.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::network::InputKind;

/// The networks of Gueguen et al.: the RGB baseline and seven that read DCT blocks; and torchvision's form of the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Variant {
    /// `resnet50-rgb`: ResNet-50 v1 on RGB samples, unpadded max pool (55 x 55 after it for an input of 224 x 224).
    Resnet50Rgb,
    /// `upsampling`: chroma upsampled by nearest neighbour, concatenated with luma, stages 3 to 5.
    Upsampling,
    /// `upsampling-rfa`: the same with a receptive-field-aware stage 2.
    UpsamplingRfa,
    /// `deconvolution-rfa`: chroma upsampled by learned 2 x 2 deconvolutions.
    DeconvolutionRfa,
    /// `downsampling`: luma downsampled by a learned 2 x 2 convolution.
    Downsampling,
    /// `late-concat`: luma alone through stages 3 and 4a, chroma through one block, joined before 4b.
    LateConcat,
    /// `late-concat-rfa`: the same with a receptive-field-aware stage 2 on luma.
    LateConcatRfa,
    /// `late-concat-rfa-thinner`: the same with a thinner luma path.
    LateConcatRfaThinner,
    /// `resnet50-rgb-v1.5`: torchvision's ResNet-50, whose weights it loads as they are: padded max pool (56 x 56), stride on the
    /// 3 x 3 convolution.
    Resnet50RgbV15,
}

impl Variant {
    /// The eight networks of the paper.
    pub const PAPER: [Variant; 8] = [
        Variant::Resnet50Rgb,
        Variant::Upsampling,
        Variant::UpsamplingRfa,
        Variant::DeconvolutionRfa,
        Variant::Downsampling,
        Variant::LateConcat,
        Variant::LateConcatRfa,
        Variant::LateConcatRfaThinner,
    ];

    /// Every network: the paper's eight and torchvision's ResNet-50.
    pub const ALL: [Variant; 9] = [
        Variant::Resnet50Rgb,
        Variant::Upsampling,
        Variant::UpsamplingRfa,
        Variant::DeconvolutionRfa,
        Variant::Downsampling,
        Variant::LateConcat,
        Variant::LateConcatRfa,
        Variant::LateConcatRfaThinner,
        Variant::Resnet50RgbV15,
    ];

    /// The name in weights files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Resnet50Rgb => "resnet50-rgb",
            Variant::Upsampling => "upsampling",
            Variant::UpsamplingRfa => "upsampling-rfa",
            Variant::DeconvolutionRfa => "deconvolution-rfa",
            Variant::Downsampling => "downsampling",
            Variant::LateConcat => "late-concat",
            Variant::LateConcatRfa => "late-concat-rfa",
            Variant::LateConcatRfaThinner => "late-concat-rfa-thinner",
            Variant::Resnet50RgbV15 => "resnet50-rgb-v1.5",
        }
    }

    /// What the network reads.
    pub fn input(self) -> InputKind {
        match self {
            Variant::Resnet50Rgb | Variant::Resnet50RgbV15 => InputKind::Rgb,
            _ => InputKind::Blocks,
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Variant {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|v| v.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Variant::name).join(", ");
            Error::new(ErrorKind::Usage, format!("no network is named {name:?}; the networks are {names}"))
        })
    }
}

impl From<Variant> for String {
    fn from(variant: Variant) -> Self {
        variant.name().to_owned()
    }
}

impl TryFrom<String> for Variant {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

/// What determines the shape of every layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Which network.
    pub variant: Variant,
    /// Width factor: a branch or output of `c` channels has `max(8, 8 * round(c * width / 8))`. 1.0 is the paper's.
    pub width: f64,
    /// Number of classes.
    pub classes: usize,
    /// Epsilon of every batch norm: added to the variance.
    pub eps: f32,
    /// Width and height of the input image in samples: multiples of 16.
    pub input_size: (u32, u32),
}

impl Config {
    /// The paper's configuration: width 1.0, 1000 classes, epsilon 1e-5, 224 x 224.
    pub fn new(variant: Variant) -> Self {
        Self { variant, width: 1.0, classes: 1000, eps: 1e-5, input_size: (224, 224) }
    }

    /// Refuses what no network can have.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the width is not in (0, 4], the classes not in 1..=1,000,000, epsilon not in (0, 1), or a side of
    /// the input not a multiple of 16 in 32..=4096.
    pub fn check(&self) -> Result<()> {
        let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
        if !(self.width > 0.0 && self.width <= 4.0) {
            return usage(format!("width factor {} is outside (0, 4]", self.width));
        }
        if !(1..=1_000_000).contains(&self.classes) {
            return usage(format!("{} classes: must be 1 to 1,000,000", self.classes));
        }
        if !(self.eps > 0.0 && self.eps < 1.0) {
            return usage(format!("batch-norm epsilon {} is outside (0, 1)", self.eps));
        }
        let (width, height) = self.input_size;
        if [width, height].iter().any(|side| side % 16 != 0 || !(32..=4096).contains(side)) {
            return usage(format!("input size {width} x {height}: both sides must be multiples of 16 in 32..=4096"));
        }
        Ok(())
    }

    /// `channels` of the paper's network under the width factor.
    pub fn scaled(&self, channels: usize) -> usize {
        let eighths = (channels as f64 * self.width / 8.0).round() as usize;
        8 * eighths.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for variant in Variant::ALL {
            assert_eq!(variant.name().parse::<Variant>().unwrap(), variant);
        }
        let error = "resnet".parse::<Variant>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("late-concat-rfa-thinner"));
    }

    #[test]
    fn widths_round_to_multiples_of_eight() {
        let at = |width, channels| Config { width, ..Config::new(Variant::Upsampling) }.scaled(channels);
        assert_eq!([at(1.0, 96), at(0.125, 96), at(0.125, 64), at(0.01, 2048), at(0.5, 384)], [96, 16, 8, 24, 192]);
    }

    #[test]
    fn senseless_configurations_are_refused() {
        let good = Config::new(Variant::LateConcat);
        good.check().unwrap();
        let bad = [
            Config { width: 0.0, ..good },
            Config { width: f64::NAN, ..good },
            Config { classes: 0, ..good },
            Config { eps: f32::INFINITY, ..good },
            Config { input_size: (224, 220), ..good },
            Config { input_size: (16, 16), ..good },
        ];
        for config in bad {
            assert_eq!(config.check().unwrap_err().kind(), ErrorKind::Usage, "{config:?}");
        }
    }
}
