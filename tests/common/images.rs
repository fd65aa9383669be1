//! Random images as coefficients, and random cases of what is made of them.

use dctflow::jpeg::{Coefficients, ColorModel, Component, EntropyCoding, Frame, Natural, Orientation, Plane, Process};
use dctflow::resample::{OrientationRule, Resize, Transform};
use dctflow::tensor::InputKind;
use proptest::prelude::*;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number from `-limit` to `limit`.
    fn within(&mut self, limit: i64) -> i16 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) as i64 % (2 * limit + 1) - limit) as i16
    }
}

/// A frame with these sampling factors.
pub fn frame(width: u32, height: u32, factors: &[(u8, u8)], precision_bits: u8) -> Frame {
    let max = (factors.iter().map(|f| f.0).max().unwrap(), factors.iter().map(|f| f.1).max().unwrap());
    Frame {
        process: Process::ExtendedSequential,
        coding: EntropyCoding::Huffman,
        precision_bits,
        width,
        height,
        components: factors.iter().zip(1..).map(|(&f, id)| Component::new(id, f, 0, (width, height), max)).collect(),
        h_max: max.0,
        v_max: max.1,
    }
}

/// Random coefficients, padding blocks and the padding of partial blocks included. High frequencies are mostly zero in every other
/// block, dense in the rest.
pub fn random_image(frame: Frame, color: ColorModel, orientation: Orientation, seed: u64) -> Coefficients {
    let mut random = Random::new(seed);
    let range = if frame.precision_bits == 12 { 16 } else { 1 };
    let planes = frame
        .components
        .iter()
        .map(|component| {
            let num_blocks = (component.padded_blocks_wide * component.padded_blocks_high) as usize;
            let mut data = vec![0; num_blocks * 64];
            for (block_idx, block) in data.chunks_exact_mut(64).enumerate() {
                block[0] = random.within(100 * range);
                let num_coefficients = if block_idx % 2 == 0 { 10 } else { 64 };
                for value in &mut block[1..num_coefficients] {
                    *value = random.within(8 * range);
                }
            }
            Plane::new(component, data, Some(Natural(std::array::from_fn(|i| 1 + i as u16 % 5))))
        })
        .collect();
    Coefficients { frame, color, orientation, planes }
}

/// EXIF's eight.
pub const ORIENTATIONS: [Orientation; 8] = [
    Orientation::Upright,
    Orientation::FlipHorizontal,
    Orientation::Rotate180,
    Orientation::FlipVertical,
    Orientation::Transpose,
    Orientation::Rotate90,
    Orientation::Transverse,
    Orientation::Rotate270,
];

/// Both forms of input.
pub const KINDS: [InputKind; 2] = [InputKind::Blocks, InputKind::Rgb];

pub fn any_factors(color: ColorModel) -> impl Strategy<Value = Vec<(u8, u8)>> {
    let usual = [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 2)];
    let odd = [vec![(3, 1), (1, 1), (1, 1)], vec![(2, 2), (1, 2), (1, 2)], vec![(1, 1), (2, 2), (1, 3)]];
    let num_components = match color {
        ColorModel::Gray => 1,
        ColorModel::YCbCr | ColorModel::Rgb => 3,
        _ => 4,
    };
    (0..usual.len() + odd.len()).prop_map(move |i| {
        let mut factors = if i < usual.len() { vec![usual[i], (1, 1), (1, 1)] } else { odd[i - usual.len()].clone() };
        factors.push(factors[0]);
        factors.truncate(num_components);
        factors
    })
}

/// One random case, small enough to be printed where it fails.
#[derive(Clone, Debug)]
pub struct Case {
    pub size: (u32, u32),
    pub factors: Vec<(u8, u8)>,
    pub precision_bits: u8,
    pub color: ColorModel,
    pub orientation: Orientation,
    pub seed: u64,
    pub transform: Transform,
    pub kind: InputKind,
}

impl Case {
    pub fn image(&self) -> Coefficients {
        let frame = frame(self.size.0, self.size.1, &self.factors, self.precision_bits);
        random_image(frame, self.color, self.orientation, self.seed)
    }
}

pub fn any_color() -> impl Strategy<Value = ColorModel> {
    prop_oneof![
        3 => Just(ColorModel::YCbCr),
        1 => Just(ColorModel::Gray),
        1 => Just(ColorModel::Rgb),
        1 => any::<bool>().prop_map(|inverted| ColorModel::Cmyk { inverted }),
        1 => any::<bool>().prop_map(|inverted| ColorModel::Ycck { inverted }),
    ]
}

/// A transform that an oriented image of `width` x `height` allows.
pub fn any_transform(width: u32, height: u32) -> impl Strategy<Value = Transform> {
    let resize = prop_oneof![
        2 => (48..100u32).prop_map(Resize::ShortSide),
        1 => (48..100u32, 48..100u32).prop_map(|(width, height)| Resize::Exact { width, height }),
        2 => (0..width, 0..height, any::<u32>(), any::<u32>()).prop_map(move |(left, top, a, b)| {
            Resize::Box { left, top, width: 1 + a % (width - left), height: 1 + b % (height - top) }
        }),
        1 => Just(if width.min(height) < 48 { Resize::ShortSide(48) } else { Resize::None }),
    ];
    (resize, 1..4u32, 1..4u32, any::<bool>()).prop_map(|(resize, crop_width, crop_height, flip)| Transform {
        resize,
        crop: (crop_width * 16, crop_height * 16),
        flip,
        orientation: OrientationRule::Apply,
    })
}

pub fn any_case() -> impl Strategy<Value = Case> {
    let orientation = prop::sample::select(ORIENTATIONS.to_vec());
    (any_color(), (1..150u32, 1..150u32), orientation).prop_flat_map(|(color, size, orientation)| {
        let (width, height) = if orientation.transposes() { (size.1, size.0) } else { size };
        let precision_bits = prop_oneof![3 => Just(8u8), 1 => Just(12u8)];
        let kind = prop::sample::select(KINDS.to_vec());
        (any_factors(color), precision_bits, any::<u64>(), any_transform(width, height), kind).prop_map(
            move |(factors, precision_bits, seed, transform, kind)| Case {
                size,
                factors,
                precision_bits,
                color,
                orientation,
                seed,
                transform,
                kind,
            },
        )
    })
}

/// Random coefficients, upright.
pub fn ycbcr_image(width: u32, height: u32, luma_factors: (u8, u8)) -> Coefficients {
    random_image(frame(width, height, &[luma_factors, (1, 1), (1, 1)], 8), ColorModel::YCbCr, Orientation::Upright, 1)
}

/// 32 x 32 samples, 4:2:0: one luma DC that is just allowed, the next one beyond, and a chroma DC far below.
pub fn saturating_image() -> Coefficients {
    let mut image = ycbcr_image(32, 32, (2, 2));
    for plane in &mut image.planes {
        plane.data.fill(0);
    }
    image.planes[0].data[0] = 4096; // quantiser step 1
    image.planes[0].data[64] = 4097;
    image.planes[1].data[0] = i16::MIN;
    image
}
