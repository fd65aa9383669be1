//! Pictures to encode, made from a seed: the same samples on every machine, since only exactly rounded operations are used.

use super::random::{Random, mix};
use crate::jpeg::{
    Coefficients, ColorModel, Component, ComponentSpec, EntropyCoding, Frame, Natural, Orientation, Plane, Process,
};

/// Samples of all components at full resolution, level-shifted: -128 to 127 whatever the precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Samples in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// `[components][height * width]`.
    pub planes: Vec<Vec<f32>>,
}

/// What a file is to be, apart from its coefficients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The coding process.
    pub process: Process,
    /// The entropy coding.
    pub coding: EntropyCoding,
    /// P: 8 or 12.
    pub precision_bits: u8,
    /// (H, V) per component.
    pub sampling: Vec<(u8, u8)>,
    /// What the components mean.
    pub color: ColorModel,
    /// IJG's quality, 1 to 100.
    pub quality: u8,
}

impl Layout {
    /// Baseline, Huffman, 8 bits: gray or YCbCr by the number of `sampling` factors, four components as inverted YCCK.
    pub fn baseline(sampling: &[(u8, u8)], quality: u8) -> Self {
        let color = match sampling.len() {
            1 => ColorModel::Gray,
            3 => ColorModel::YCbCr,
            4 => ColorModel::Ycck { inverted: true },
            _ => ColorModel::Unknown,
        };
        let (process, coding) = (Process::Baseline, EntropyCoding::Huffman);
        Self { process, coding, precision_bits: 8, sampling: sampling.to_vec(), color, quality }
    }

    /// The frame of this layout for an image of `width` x `height`.
    pub fn frame(&self, width: u32, height: u32) -> Frame {
        let ids: [u8; 4] = if self.color == ColorModel::Rgb { *b"RGBA" } else { [1, 2, 3, 4] };
        let spec = |i: usize| {
            let (h, v) = self.sampling[i];
            ComponentSpec { id: ids[i], h, v, quant_idx: self.quant_idx(i) }
        };
        let specs: Vec<ComponentSpec> = (0..self.sampling.len()).map(spec).collect();
        Frame::new((self.process, self.coding), self.precision_bits, (width, height), &specs)
    }

    /// Luma's table for the first component and for black, chroma's for the others.
    fn quant_idx(&self, component_idx: usize) -> u8 {
        let is_chroma =
            matches!(self.color, ColorModel::YCbCr | ColorModel::Ycck { .. }) && (1..3).contains(&component_idx);
        u8::from(is_chroma)
    }
}

impl Picture {
    /// Texture whose spectrum falls as 1/f, cut by sharp edges into areas of different colour and roughness, some of them flat.
    pub fn photo(seed: u64, width: u32, height: u32, num_planes: usize) -> Self {
        let mut random = Random::new(seed);
        let areas = Areas::new(&mut random, width, height, num_planes);
        let area_idx = areas.index(width, height);
        let planes = (0..num_planes).map(|plane_idx| {
            let texture = texture(random.bits(), width, height, plane_idx > 0);
            let sample = |(&noise, &area): (&f32, &u8)| {
                let area = &areas.list[usize::from(area)];
                (area.colors[plane_idx] + area.roughness * noise).clamp(-128.0, 127.0)
            };
            texture.iter().zip(&area_idx).map(sample).collect()
        });
        Self { width, height, planes: planes.collect() }
    }

    /// A page: white, with rough gray ink in the upper `inked_percent` of its lines.
    pub fn page(seed: u64, (width, height): (u32, u32), num_planes: usize, inked_percent: u32) -> Self {
        let num_inked = (height * inked_percent / 100 * width) as usize;
        let mut random = Random::new(seed);
        let planes = (0..num_planes).map(|plane_idx| {
            let white = if plane_idx == 0 { 127.0 } else { 0.0 };
            let mut samples = vec![white; (width * height) as usize];
            samples[..num_inked].fill_with(|| if random.one_in(3) { -100.0 } else { white });
            samples
        });
        Self { width, height, planes: planes.collect() }
    }

    /// The DCT coefficients of each component of `frame`, before quantisation.
    pub fn transform(&self, frame: &Frame) -> Vec<Spectrum> {
        frame.components.iter().zip(&self.planes).map(|(c, samples)| self.transform_plane(frame, c, samples)).collect()
    }

    /// The picture as quantised coefficients of a file of this layout.
    pub fn coefficients(&self, layout: &Layout) -> Coefficients {
        let frame = layout.frame(self.width, self.height);
        let spectra = self.transform(&frame);
        quantise(frame, &spectra, layout, 1.0)
    }

    fn transform_plane(&self, frame: &Frame, component: &Component, samples: &[f32]) -> Spectrum {
        let (width, height) = (component.width_samples, component.height_samples);
        let reduced = self.reduce(frame, component, samples);
        let (blocks_wide, blocks_high) = (component.padded_blocks_wide, component.padded_blocks_high);
        let mut blocks = Vec::with_capacity((blocks_wide * blocks_high) as usize);
        for by in 0..blocks_high {
            for bx in 0..blocks_wide {
                // Beyond the edge the last sample is repeated.
                let sample = |i: usize| {
                    let x = (bx * 8 + i as u32 % 8).min(width - 1);
                    let y = (by * 8 + i as u32 / 8).min(height - 1);
                    reduced[(y * width + x) as usize]
                };
                blocks.push(forward_dct(&std::array::from_fn(sample)));
            }
        }
        Spectrum { blocks }
    }

    /// The component's samples: averages of the samples that each of them covers.
    fn reduce(&self, frame: &Frame, component: &Component, samples: &[f32]) -> Vec<f32> {
        if (component.h, component.v) == (frame.h_max, frame.v_max) {
            return samples.to_vec();
        }
        let span = |i: u32, factor: u8, max: u8, end: u32| {
            let start = i * u32::from(max) / u32::from(factor);
            start..((i + 1) * u32::from(max) / u32::from(factor)).clamp(start + 1, end.max(start + 1))
        };
        let mut reduced = Vec::with_capacity((component.width_samples * component.height_samples) as usize);
        for y in 0..component.height_samples {
            let rows = span(y, component.v, frame.v_max, self.height);
            for x in 0..component.width_samples {
                let columns = span(x, component.h, frame.h_max, self.width);
                let num_samples = (rows.len() * columns.len()) as f32;
                let line = |y: u32| (y * self.width + columns.start) as usize..(y * self.width + columns.end) as usize;
                let sum: f32 = rows.clone().flat_map(|y| &samples[line(y)]).sum();
                reduced.push(sum / num_samples);
            }
        }
        reduced
    }
}

/// One component's DCT coefficients, before quantisation.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// In raster order, padding to whole MCUs included. Natural order within a block; DC is eight times the mean of 8-bit samples.
    pub blocks: Vec<[f32; 64]>,
}

/// Divides by the quantisation tables of the layout's quality; AC coefficients are first multiplied by `contrast`.
pub(super) fn quantise(frame: Frame, spectra: &[Spectrum], layout: &Layout, contrast: f32) -> Coefficients {
    let planes = frame.components.iter().zip(spectra).map(|(component, spectrum)| {
        let quant = quant_table(component.quant_idx > 0, layout);
        let quantiser = Quantiser::new(&quant, layout, contrast);
        Plane::new(component, spectrum.blocks.iter().flat_map(|block| quantiser.apply(block)).collect(), Some(quant))
    });
    let planes = planes.collect();
    Coefficients { frame, color: layout.color, orientation: Orientation::Upright, planes }
}

/// Scales and rounds coefficients, within what the process can code (T.81 F.1.1.4 and Table F.6).
pub(super) struct Quantiser {
    scales: [f32; 64],
    max_dc: f32,
    max_ac: f32,
}

impl Quantiser {
    pub(super) fn new(quant: &Natural<u16>, layout: &Layout, contrast: f32) -> Self {
        let precision_scale = (1u32 << (layout.precision_bits - 8)) as f32;
        let mut scales = quant.0.map(|q| contrast * precision_scale / f32::from(q));
        scales[0] /= contrast;
        Self { scales, max_dc: 1023.0 * precision_scale, max_ac: 1023.0 * precision_scale }
    }

    pub(super) fn apply(&self, block: &[f32; 64]) -> [i16; 64] {
        std::array::from_fn(|i| {
            let max = if i == 0 { self.max_dc } else { self.max_ac };
            round((block[i] * self.scales[i]).clamp(-max, max))
        })
    }
}

/// Half away from zero.
fn round(value: f32) -> i16 {
    (value + if value < 0.0 { -0.5 } else { 0.5 }) as i16
}

/// T.81 Tables K.1 and K.2, scaled to a quality as the Independent JPEG Group's software does.
pub fn quant_table(is_chroma: bool, layout: &Layout) -> Natural<u16> {
    let quality = i32::from(layout.quality.clamp(1, 100));
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    let max = if layout.process == Process::Baseline { 255 } else { 32_767 };
    let base = if is_chroma { &CHROMA_QUANT } else { &LUMA_QUANT };
    Natural(base.map(|q| ((i32::from(q) * percent + 50) / 100).clamp(1, max) as u16))
}

#[rustfmt::skip]
const LUMA_QUANT: [u8; 64] = [
    16, 11, 10, 16,  24,  40,  51,  61,
    12, 12, 14, 19,  26,  58,  60,  55,
    14, 13, 16, 24,  40,  57,  69,  56,
    14, 17, 22, 29,  51,  87,  80,  62,
    18, 22, 37, 56,  68, 109, 103,  77,
    24, 35, 55, 64,  81, 104, 113,  92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103,  99,
];

#[rustfmt::skip]
const CHROMA_QUANT: [u8; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
];

/// Fewer areas than this fit an `u8`.
const MAX_AREAS: u32 = 9;

/// The areas of a picture, later ones in front of earlier ones.
struct Areas {
    list: Vec<Area>,
}

struct Area {
    shape: Shape,
    /// Mean per component.
    colors: Vec<f32>,
    /// Amplitude of the texture; zero where flat.
    roughness: f32,
}

enum Shape {
    Everywhere,
    /// a x + b y > c
    HalfPlane(f32, f32, f32),
    /// ((x - x0) / a)^2 + ((y - y0) / b)^2 < 1
    Ellipse {
        x0: f32,
        y0: f32,
        a: f32,
        b: f32,
    },
}

impl Areas {
    fn new(random: &mut Random, width: u32, height: u32, num_planes: usize) -> Self {
        let num_areas = 3 + random.below(MAX_AREAS - 3);
        let list = (0..num_areas).map(|i| Area {
            shape: if i == 0 { Shape::Everywhere } else { Shape::random(random, width as f32, height as f32) },
            colors: (0..num_planes)
                .map(|plane| (random.unit() - 0.5) * if plane == 0 { 160.0 } else { 60.0 })
                .collect(),
            roughness: if random.one_in(6) { 0.0 } else { 0.1 + random.unit() },
        });
        Self { list: list.collect() }
    }

    /// Which area is in front, per sample.
    fn index(&self, width: u32, height: u32) -> Vec<u8> {
        let front = |x: f32, y: f32| self.list.iter().rposition(|area| area.shape.contains(x, y)).unwrap_or(0) as u8;
        (0..height).flat_map(|y| (0..width).map(move |x| front(x as f32, y as f32))).collect()
    }
}

impl Shape {
    fn random(random: &mut Random, width: f32, height: f32) -> Self {
        let (x0, y0) = (random.unit() * width, random.unit() * height);
        if random.one_in(3) {
            let (a, b) = (random.unit() - 0.5, random.unit() - 0.5);
            return Self::HalfPlane(a, b, a * x0 + b * y0);
        }
        Self::Ellipse { x0, y0, a: (0.05 + 0.4 * random.unit()) * width, b: (0.05 + 0.4 * random.unit()) * height }
    }

    fn contains(&self, x: f32, y: f32) -> bool {
        match *self {
            Self::Everywhere => true,
            Self::HalfPlane(a, b, c) => a * x + b * y > c,
            Self::Ellipse { x0, y0, a, b } => {
                let (dx, dy) = ((x - x0) / a, (y - y0) / b);
                dx * dx + dy * dy < 1.0
            }
        }
    }
}

/// Finest and coarsest lattice of the texture: spacings of 1 to 128 samples.
const OCTAVES: std::ops::Range<u32> = 0..8;

/// Noise of about equal amplitude in every octave, which is a spectrum of 1/f; luma's finest is weaker, as lenses make it, and
/// chroma has none.
fn texture(seed: u64, width: u32, height: u32, is_chroma: bool) -> Vec<f32> {
    let mut samples = vec![0.0; (width * height) as usize];
    for octave in OCTAVES.skip(usize::from(is_chroma)) {
        let amplitude = match (is_chroma, octave) {
            (true, _) => 12.0,
            (false, 0) => 14.0,
            (false, _) => 26.0,
        };
        add_octave(&mut samples, width, mix(seed.wrapping_add(u64::from(octave))), octave, amplitude);
    }
    samples
}

/// Adds values of a random lattice of spacing `2^octave`, bilinear in between.
fn add_octave(samples: &mut [f32], width: u32, seed: u64, octave: u32, amplitude: f32) {
    let spacing = 1u32 << octave;
    let lattice_line = |line: u32| -> Vec<f32> {
        let value = |column: u32| {
            let bits = mix(seed ^ (u64::from(line) << 32 | u64::from(column)));
            ((bits >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * amplitude
        };
        (0..width / spacing + 2).map(value).collect()
    };
    let (mut above, mut below) = (lattice_line(0), lattice_line(1));
    for (y, line) in samples.chunks_exact_mut(width as usize).enumerate() {
        let y = y as u32;
        if y > 0 && y.is_multiple_of(spacing) {
            above = std::mem::replace(&mut below, lattice_line(y / spacing + 1));
        }
        let weight = (y % spacing) as f32 / spacing as f32;
        let mixed: Vec<f32> = above.iter().zip(&below).map(|(a, b)| a + (b - a) * weight).collect();
        for (x, sample) in line.iter_mut().enumerate() {
            let (column, weight) = (x >> octave, (x as u32 % spacing) as f32 / spacing as f32);
            *sample += mixed[column] + (mixed[column + 1] - mixed[column]) * weight;
        }
    }
}

/// cos(i pi / 16) / 2 for i = 0 to 8.
const HALF_COSINES: [f32; 9] =
    [0.5, 0.490_392_64, 0.461_939_77, 0.415_734_8, 0.353_553_39, 0.277_785_12, 0.191_341_72, 0.097_545_16, 0.0];

/// `DCT[u][x]`: the orthonormal 8-point DCT (T.81 A.3.3).
const DCT: [[f32; 8]; 8] = {
    let mut matrix = [[HALF_COSINES[4]; 8]; 8];
    let mut u = 1;
    while u < 8 {
        let mut x = 0;
        while x < 8 {
            // The cosine's angle in sixteenths of pi, folded into the first quadrant.
            let angle = (2 * x + 1) * u % 32;
            let folded = if angle > 16 { 32 - angle } else { angle };
            matrix[u][x] = if folded > 8 { -HALF_COSINES[16 - folded] } else { HALF_COSINES[folded] };
            x += 1;
        }
        u += 1;
    }
    matrix
};

fn forward_dct(samples: &[f32; 64]) -> [f32; 64] {
    let mut rows = [[0.0; 8]; 8];
    for (y, line) in samples.chunks_exact(8).enumerate() {
        for (u, basis) in DCT.iter().enumerate() {
            rows[u][y] = basis.iter().zip(line).map(|(b, s)| b * s).sum();
        }
    }
    std::array::from_fn(|i| {
        let (v, u) = (i / 8, i % 8);
        DCT[v].iter().zip(&rows[u]).map(|(b, s)| b * s).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dct_is_orthonormal() {
        for (i, a) in DCT.iter().enumerate() {
            for (j, b) in DCT.iter().enumerate() {
                let product: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
                assert!((product - f32::from(u8::from(i == j))).abs() < 1e-6, "{i} {j}: {product}");
            }
        }
    }

    #[test]
    fn a_flat_block_has_only_dc() {
        let block = forward_dct(&[100.0; 64]);
        assert!((block[0] - 800.0).abs() < 1e-3);
        assert!(block[1..].iter().all(|c| c.abs() < 1e-3));
    }

    #[test]
    fn the_same_seed_gives_the_same_coefficients_on_every_machine() {
        let layout = Layout::baseline(&[(2, 2), (1, 1), (1, 1)], 90);
        let image = Picture::photo(7, 99, 61, 3).coefficients(&layout);
        let digest: String = image.digest()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "157fd132");
    }

    #[test]
    fn subsampled_components_have_the_size_of_the_frame_header() {
        for sampling in [[(2, 2), (1, 1), (1, 1)], [(3, 1), (1, 1), (2, 1)], [(2, 2), (1, 2), (1, 2)]] {
            let image = Picture::photo(1, 17, 9, 3).coefficients(&Layout::baseline(&sampling, 50));
            for (plane, component) in image.planes.iter().zip(&image.frame.components) {
                assert_eq!(plane.pitch_blocks, component.padded_blocks_wide);
                assert_eq!(plane.data.len() as u32, plane.pitch_blocks * plane.padded_blocks_high * 64);
            }
        }
    }

    #[test]
    fn pages_are_flat_where_white() {
        let image = Picture::page(1, (64, 64), 1, 50).coefficients(&Layout::baseline(&[(1, 1)], 75));
        assert!(image.planes[0].block(0, 0)[1..].iter().any(|&c| c != 0));
        assert!(image.planes[0].block(7, 7)[1..].iter().all(|&c| c == 0));
    }
}
