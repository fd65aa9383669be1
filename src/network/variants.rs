//! The layer lists of the networks, after the layer diagrams that the paper's authors published with their code.
//!
//! Names of layers are those of the original ResNets: unit `3a` has the convolutions `res3a_branch2a`, `2b`, `2c` on its main path and
//! `res3a_branch1` as its shortcut, each followed by a batch norm `bn3a_branch2a` and so on.

use crate::network::layers::{Layer, Network, Op, infer_shape};
use crate::network::{Config, InputKind, ValueId, ValueShape, Variant};

/// A stage: one convolution block, then identity blocks. Channels before the width factor.
#[derive(Clone, Copy)]
struct Stage {
    /// 2 to 5.
    number: u8,
    /// The side of each unit's middle kernel, from unit `a` on.
    kernels: &'static [usize],
    /// Of the convolution block.
    stride: usize,
    /// Channels of the main path's first two convolutions.
    branch: usize,
    /// Channels of the output.
    out: usize,
}

const RES2: Stage = Stage { number: 2, kernels: &[3; 3], stride: 1, branch: 64, out: 256 };
const RES3: Stage = Stage { number: 3, kernels: &[3; 4], stride: 2, branch: 128, out: 512 };
const RES4A: Stage = Stage { number: 4, kernels: &[3], stride: 2, branch: 256, out: 1024 };
const RES5: Stage = Stage { number: 5, kernels: &[3; 3], stride: 2, branch: 512, out: 2048 };

/// DCT blocks already are as coarse as stage 3's input: no stride.
const RES3_DCT: Stage = Stage { stride: 1, ..RES3 };
/// Receptive-field-aware stage 2: kernels 1, 2, 3, so that on blocks the receptive field grows by 8, 16, 32 pixels.
const RES2_RFA: Stage = Stage { number: 2, kernels: &[1, 2, 3], stride: 1, branch: 256, out: 1024 };
/// Half of the width that stage 4 needs: the chroma path brings the other half.
const RES4A_LATE: Stage = Stage { out: 512, ..RES4A };

const RES2_RFA_THIN: Stage = Stage { branch: 96, out: 384, ..RES2_RFA };
const RES3_THIN: Stage = Stage { branch: 96, out: 384, ..RES3_DCT };
const RES4A_THIN: Stage = Stage { branch: 192, out: 768, ..RES4A };

impl Network {
    /// The layer list of `config`.
    ///
    /// # Errors
    /// Those of [`Config::check`].
    pub fn new(config: Config) -> crate::Result<Self> {
        config.check()?;
        let mut b = Builder::new(config);
        let trunk = match config.variant {
            Variant::Resnet50Rgb => b.rgb([0; 4]),
            Variant::Resnet50RgbV15 => b.rgb([1; 4]),
            Variant::Upsampling => b.upsampling(&[RES3_DCT, RES4A]),
            Variant::UpsamplingRfa => b.upsampling(&[RES2_RFA, RES3_DCT, RES4A]),
            Variant::DeconvolutionRfa => b.deconvolution(),
            Variant::Downsampling => b.downsampling(),
            Variant::LateConcat => b.late_concat(&[RES3_DCT, RES4A_LATE], 256, 512),
            Variant::LateConcatRfa => b.late_concat(&[RES2_RFA, RES3_DCT, RES4A_LATE], 256, 512),
            Variant::LateConcatRfaThinner => b.late_concat(&[RES2_RFA_THIN, RES3_THIN, RES4A_THIN], 128, 256),
        };
        let output = b.tail(trunk);
        Ok(Network { config, values: b.values, layers: b.layers, output })
    }
}

/// Appends layers, one value each.
struct Builder {
    config: Config,
    values: Vec<ValueShape>,
    layers: Vec<Layer>,
}

impl Builder {
    /// A network of inputs only.
    fn new(config: Config) -> Self {
        let (width, height) = (config.input_size.0 as usize, config.input_size.1 as usize);
        let blocks = |side: usize| ValueShape { height: height / side, width: width / side, channels: 64 };
        let values = match config.variant.input() {
            InputKind::Blocks => vec![blocks(8), blocks(16), blocks(16)],
            InputKind::Rgb => vec![ValueShape { height, width, channels: 3 }],
        };
        Self { config, values, layers: Vec::new() }
    }

    fn add(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        let shapes: Vec<_> = inputs.iter().map(|v| self.values[v.0]).collect();
        let output = ValueId(self.values.len());
        self.values.push(infer_shape(op, &shapes));
        self.layers.push(Layer { name: name.to_owned(), op, inputs: inputs.to_vec(), output });
        output
    }

    /// A convolution `res...` with its batch norm `bn...`.
    fn conv_bn(&mut self, unit: &str, x: ValueId, kernel: usize, stride: usize, c_out: usize) -> ValueId {
        let conv = Op::Conv { kernel, stride, pad: same_pad(kernel), c_out };
        let x = self.add(&format!("res{unit}"), conv, &[x]);
        self.add(&format!("bn{unit}"), Op::BatchNorm, &[x])
    }

    fn relu(&mut self, unit: &str, x: ValueId) -> ValueId {
        self.add(&format!("relu{unit}"), Op::Relu, &[x])
    }

    /// One residual unit. With `shortcut_out`, a convolution block of that many output channels; without, an identity block.
    fn unit(
        &mut self,
        unit: &str,
        x: ValueId,
        kernel: usize,
        stride: usize,
        branch: usize,
        shortcut_out: Option<usize>,
    ) -> ValueId {
        let out = shortcut_out.unwrap_or(self.values[x.0].channels);
        let (stride_2a, stride_2b) = match self.config.variant {
            Variant::Resnet50RgbV15 => (1, stride),
            _ => (stride, 1),
        };
        let shortcut = match shortcut_out {
            Some(out) => self.conv_bn(&format!("{unit}_branch1"), x, 1, stride, out),
            None => x,
        };
        let main = self.conv_bn(&format!("{unit}_branch2a"), x, 1, stride_2a, branch);
        let main = self.relu(&format!("{unit}_branch2a"), main);
        let main = self.conv_bn(&format!("{unit}_branch2b"), main, kernel, stride_2b, branch);
        let main = self.relu(&format!("{unit}_branch2b"), main);
        let main = self.conv_bn(&format!("{unit}_branch2c"), main, 1, 1, out);
        let sum = self.add(&format!("add{unit}"), Op::Add, &[main, shortcut]);
        self.relu(unit, sum)
    }

    /// A stage: its convolution block, then its identity blocks.
    fn stage(&mut self, x: ValueId, stage: Stage) -> ValueId {
        let Stage { number, kernels, stride, branch, out } = stage;
        let (branch, out) = (self.config.scaled(branch), self.config.scaled(out));
        let block = self.unit(&format!("{number}a"), x, kernels[0], stride, branch, Some(out));
        self.identity_blocks(block, number, &kernels[1..], branch)
    }

    fn stages(&mut self, x: ValueId, stages: &[Stage]) -> ValueId {
        stages.iter().fold(x, |x, &stage| self.stage(x, stage))
    }

    /// Identity blocks from unit `b` on.
    fn identity_blocks(&mut self, x: ValueId, stage: u8, kernels: &[usize], branch: usize) -> ValueId {
        ('b'..)
            .zip(kernels)
            .fold(x, |x, (letter, &kernel)| self.unit(&format!("{stage}{letter}"), x, kernel, 1, branch, None))
    }

    /// What all networks share: units 4b to 4f, as wide as the trunk is, stage 5, and the classifier.
    fn tail(&mut self, trunk: ValueId) -> ValueId {
        let x = self.identity_blocks(trunk, 4, &[3; 5], self.config.scaled(RES4A.branch));
        let x = self.stage(x, RES5);
        let x = self.add("pool5", Op::GlobalAveragePool, &[x]);
        self.add("fc", Op::Linear { classes: self.config.classes }, &[x])
    }

    fn rgb(&mut self, pool_pad: [usize; 4]) -> ValueId {
        let conv1 = Op::Conv { kernel: 7, stride: 2, pad: [3; 4], c_out: self.config.scaled(64) };
        let x = self.add("conv1", conv1, &[ValueId(0)]);
        let x = self.add("bn_conv1", Op::BatchNorm, &[x]);
        let x = self.add("conv1_relu", Op::Relu, &[x]);
        let x = self.add("pool1", Op::MaxPool { kernel: 3, stride: 2, pad: pool_pad }, &[x]);
        self.stages(x, &[RES2, RES3, RES4A])
    }

    /// Cb and Cr side by side.
    fn chroma(&mut self) -> ValueId {
        self.add("concat_c", Op::Concat, &[ValueId(1), ValueId(2)])
    }

    /// The concatenation of what a network reads, with the batch norm that learns the scale of every coefficient.
    fn concat_input(&mut self, parts: &[ValueId]) -> ValueId {
        let x = self.add("concat_input", Op::Concat, parts);
        self.add("bn_input", Op::BatchNorm, &[x])
    }

    fn upsampling(&mut self, stages: &[Stage]) -> ValueId {
        let c = self.chroma();
        let c = self.add("upsample_c", Op::UpsampleNearest2, &[c]);
        let x = self.concat_input(&[ValueId(0), c]);
        self.stages(x, stages)
    }

    fn deconvolution(&mut self) -> ValueId {
        let cb = self.add("conv_cb_upsample", Op::Deconv2x2 { c_out: 64 }, &[ValueId(1)]);
        let cr = self.add("conv_cr_upsample", Op::Deconv2x2 { c_out: 64 }, &[ValueId(2)]);
        let x = self.concat_input(&[ValueId(0), cb, cr]);
        self.stages(x, &[RES2_RFA, RES3_DCT, RES4A])
    }

    fn downsampling(&mut self) -> ValueId {
        let c = self.chroma();
        let conv_y = Op::Conv { kernel: 2, stride: 2, pad: [0; 4], c_out: self.config.scaled(256) };
        let y = self.add("conv_y", conv_y, &[ValueId(0)]);
        let x = self.concat_input(&[y, c]);
        self.stages(x, &[RES2_RFA, RES3_DCT, Stage { stride: 1, ..RES4A }])
    }

    /// Luma through `stages`, chroma through the unit `4x`, then both side by side.
    fn late_concat(&mut self, stages: &[Stage], c_branch: usize, c_out: usize) -> ValueId {
        let y = self.add("bn_y", Op::BatchNorm, &[ValueId(0)]);
        let y = self.stages(y, stages);
        let c = self.chroma();
        let c = self.add("bn_c", Op::BatchNorm, &[c]);
        let (branch, out) = (self.config.scaled(c_branch), self.config.scaled(c_out));
        let c = self.unit("4x", c, 1, 1, branch, Some(out));
        self.add("concat_late", Op::Concat, &[y, c])
    }
}

/// Zeros that keep the size at stride 1: top, left, bottom, right. An even kernel's odd zero goes to the bottom and right (TensorFlow).
fn same_pad(kernel: usize) -> [usize; 4] {
    let before = (kernel - 1) / 2;
    let after = kernel - 1 - before;
    [before, before, after, after]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Per unit: its name, weights of its convolutions, millions of multiply-accumulates.
    type UnitRow = (&'static str, u64, f64);

    const TAIL: &[UnitRow] = &[
        ("res4b", 1_114_112, 218.37),
        ("res4c", 1_114_112, 218.37),
        ("res4d", 1_114_112, 218.37),
        ("res4e", 1_114_112, 218.37),
        ("res4f", 1_114_112, 218.37),
        ("res5a", 6_029_312, 295.44),
        ("res5b", 4_456_448, 218.37),
        ("res5c", 4_456_448, 218.37),
        ("fc", 2_049_000, 2.05),
    ];
    /// Units 3b to 3d on 28 x 28.
    const RES3_REST: &[UnitRow] = &[("res3b", 278_528, 218.37), ("res3c", 278_528, 218.37), ("res3d", 278_528, 218.37)];

    /// The published table of one network: GMAC, parameters, residual units, convolutions and fully connected layers, and what it has
    /// before the shared tail.
    struct Table {
        variant: Variant,
        gmac: f64,
        parameters: u64,
        num_units: usize,
        num_weighted: usize,
        head: &'static [&'static [UnitRow]],
    }

    const TABLES: &[Table] = &[
        Table {
            variant: Variant::Resnet50Rgb,
            gmac: 3.834,
            parameters: 25_557_032,
            num_units: 16,
            num_weighted: 54,
            head: &[
                &[
                    ("conv1", 9_408, 118.01),
                    ("res2a", 73_728, 223.03),
                    ("res2b", 69_632, 210.64),
                    ("res2c", 69_632, 210.64),
                    ("res3a", 376_832, 295.44),
                ],
                RES3_REST,
                &[("res4a", 1_507_328, 295.44)],
            ],
        },
        Table {
            variant: Variant::Upsampling,
            gmac: 3.040,
            parameters: 25_291_112,
            num_units: 13,
            num_weighted: 43,
            head: &[&[("bn_input", 384, 0.0), ("res3a", 335_872, 263.32)], RES3_REST, &[("res4a", 1_507_328, 295.44)]],
        },
        Table {
            variant: Variant::UpsamplingRfa,
            gmac: 5.397,
            parameters: 28_308_840,
            num_units: 16,
            num_weighted: 53,
            head: &[
                &[
                    ("bn_input", 384, 0.0),
                    ("res2a", 573_440, 449.58),
                    ("res2b", 786_432, 616.56),
                    ("res2c", 1_114_112, 873.46),
                    ("res3a", 868_352, 680.79),
                ],
                RES3_REST,
                &[("res4a", 1_507_328, 295.44)],
            ],
        },
        Table {
            variant: Variant::DeconvolutionRfa,
            gmac: 5.403,
            parameters: 28_341_608,
            num_units: 16,
            num_weighted: 55,
            head: &[
                &[
                    ("conv_cb_upsample", 16_384, 3.21),
                    ("conv_cr_upsample", 16_384, 3.21),
                    ("bn_input", 384, 0.0),
                    ("res2a", 573_440, 449.58),
                    ("res2b", 786_432, 616.56),
                    ("res2c", 1_114_112, 873.46),
                    ("res3a", 868_352, 680.79),
                ],
                RES3_REST,
                &[("res4a", 1_507_328, 295.44)],
            ],
        },
        Table {
            variant: Variant::Downsampling,
            gmac: 3.001,
            parameters: 28_620_520,
            num_units: 16,
            num_weighted: 54,
            head: &[&[
                ("conv_y", 65_536, 12.85),
                ("bn_input", 768, 0.0),
                ("res2a", 819_200, 160.56),
                ("res2b", 786_432, 154.14),
                ("res2c", 1_114_112, 218.37),
                ("res3a", 868_352, 170.20),
                ("res3b", 278_528, 54.59),
                ("res3c", 278_528, 54.59),
                ("res3d", 278_528, 54.59),
                ("res4a", 1_507_328, 295.44),
            ]],
        },
        Table {
            variant: Variant::LateConcat,
            gmac: 2.956,
            parameters: 25_111_912,
            num_units: 14,
            num_weighted: 47,
            head: &[
                &[("bn_y", 128, 0.0), ("res3a", 253_952, 199.10)],
                RES3_REST,
                &[("res4a", 1_114_112, 218.37), ("bn_c", 256, 0.0), ("res4x", 294_912, 57.80)],
            ],
        },
        Table {
            variant: Variant::LateConcatRfa,
            gmac: 5.249,
            parameters: 28_047_720,
            num_units: 17,
            num_weighted: 57,
            head: &[
                &[
                    ("bn_y", 128, 0.0),
                    ("res2a", 409_600, 321.13),
                    ("res2b", 786_432, 616.56),
                    ("res2c", 1_114_112, 873.46),
                    ("res3a", 868_352, 680.79),
                ],
                RES3_REST,
                &[("res4a", 1_114_112, 218.37), ("bn_c", 256, 0.0), ("res4x", 294_912, 57.80)],
            ],
        },
        Table {
            variant: Variant::LateConcatRfaThinner,
            gmac: 2.888,
            parameters: 24_679_400,
            num_units: 17,
            num_weighted: 57,
            head: &[&[
                ("bn_y", 128, 0.0),
                ("res2a", 76_800, 60.21),
                ("res2b", 110_592, 86.70),
                ("res2c", 156_672, 122.83),
                ("res3a", 304_128, 238.44),
                ("res3b", 156_672, 122.83),
                ("res3c", 156_672, 122.83),
                ("res3d", 156_672, 122.83),
                ("res4a", 847_872, 166.18),
                ("bn_c", 256, 0.0),
                ("res4x", 98_304, 19.27),
            ]],
        },
    ];

    fn network(variant: Variant) -> Network {
        Network::new(Config::new(variant)).unwrap()
    }

    /// The layer, or all weighted layers of the residual unit, of that name.
    fn layers_of<'a>(network: &'a Network, unit: &str) -> Vec<&'a Layer> {
        let of_unit = |layer: &&Layer| layer.name == unit || layer.name.starts_with(&format!("{unit}_branch"));
        network.layers.iter().filter(of_unit).collect()
    }

    #[test]
    fn every_network_equals_its_published_table() {
        assert_eq!(TABLES.len(), Variant::PAPER.len());
        for table in TABLES {
            let network = network(table.variant);
            assert_eq!(
                format!("{:.3}", network.macs() as f64 / 1e9),
                format!("{:.3}", table.gmac),
                "{}",
                table.variant
            );
            assert_eq!(network.parameters(), table.parameters, "{}", table.variant);
            assert_eq!(network.layers.iter().filter(|l| l.op == Op::Add).count(), table.num_units, "{}", table.variant);
            let num_weighted = network.layers.iter().filter(|&l| network.macs_of(l) > 0).count();
            assert_eq!(num_weighted, table.num_weighted, "{}", table.variant);
            for &(unit, weights, mmac) in table.head.iter().copied().flatten().chain(TAIL) {
                let layers = layers_of(&network, unit);
                let sum = |of: fn(&Network, &Layer) -> u64| layers.iter().map(|l| of(&network, l)).sum::<u64>();
                assert_eq!(sum(Network::parameters_of), weights, "{} {unit}", table.variant);
                let measured = format!("{:.2}", sum(Network::macs_of) as f64 / 1e6);
                assert_eq!(measured, format!("{mmac:.2}"), "{} {unit}", table.variant);
            }
        }
    }

    /// The tables name every weighted layer: their rows add up to the whole network.
    #[test]
    fn tables_are_complete() {
        for table in TABLES {
            let network = network(table.variant);
            let rows = table.head.iter().copied().flatten().chain(TAIL);
            let weights: u64 = rows.map(|row| row.1).sum();
            let is_block_norm = |l: &&Layer| l.op == Op::BatchNorm && !matches!(&*l.name, "bn_input" | "bn_y" | "bn_c");
            let norms: u64 = network.layers.iter().filter(is_block_norm).map(|l| network.parameters_of(l)).sum();
            assert_eq!(weights + norms, table.parameters, "{}", table.variant);
        }
    }

    #[test]
    fn torchvisions_resnet50_has_its_published_size() {
        let network = network(Variant::Resnet50RgbV15);
        assert_eq!(format!("{:.3}", network.macs() as f64 / 1e9), "4.089");
        assert_eq!(network.parameters(), 25_557_032);
    }

    #[test]
    fn merged_widths_are_sums() {
        // 384 * 0.3 rounds to 112, 768 * 0.3 to 232, 256 * 0.3 to 80: the trunk has 312 channels where 1024 * 0.3 would round to 304.
        let config = Config { width: 0.3, ..Config::new(Variant::LateConcatRfaThinner) };
        let network = Network::new(config).unwrap();
        let channels =
            |name: &str| network.shape(network.layers.iter().find(|l| l.name == name).unwrap().output).channels;
        assert_eq!([channels("concat_late"), channels("res4f_branch2c"), channels("res5a_branch2c")], [312, 312, 616]);
    }

    #[test]
    fn any_input_of_whole_mcus_fits() {
        for variant in Variant::ALL {
            for input_size in [(32, 32), (48, 80), (224, 224), (320, 256)] {
                let network = Network::new(Config { input_size, width: 0.125, ..Config::new(variant) }).unwrap();
                assert_eq!(network.shape(network.output), ValueShape { height: 1, width: 1, channels: 1000 });
            }
        }
    }

    #[test]
    fn names_are_unique() {
        for variant in Variant::ALL {
            let network = network(variant);
            let mut names: Vec<_> = network.layers.iter().map(|l| &l.name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), network.layers.len(), "{variant}");
        }
    }
}
