//! The DCT-domain operator against the pixel domain: the same coefficients decoded to samples in float64 (no rounding, no clamping),
//! oriented, resized and flipped as samples, then transformed by a forward DCT. Nothing of the operator's own code is used here.

#[path = "common/images.rs"]
mod images;

use std::f64::consts::PI;

use dctflow::ImageError;
use dctflow::cpu::input::{SATURATION, input_tensors};
use dctflow::jpeg::{Coefficients, ColorModel, Component, Orientation, Plane};
use dctflow::resample::{AxisCache, InputPlan, Normalization, OrientationRule, Resize, Transform};
use dctflow::tensor::InputKind;
use images::{KINDS, ORIENTATIONS, any_case, frame, random_image, saturating_image, ycbcr_image};
use proptest::prelude::*;

// ---- The truth: samples in float64 -----------------------------------------------------------------------------------------------

/// A plane of samples, without the level shift.
#[derive(Clone)]
struct Samples {
    width: usize,
    height: usize,
    data: Vec<f64>,
}

impl Samples {
    fn from_fn(width: usize, height: usize, f: impl Fn(usize, usize) -> f64) -> Self {
        let data = (0..width * height).map(|i| f(i % width, i / width)).collect();
        Self { width, height, data }
    }

    fn at(&self, x: usize, y: usize) -> f64 {
        self.data[y * self.width + x]
    }
}

fn cosine(frequency: usize, position: usize) -> f64 {
    let c = if frequency == 0 { 0.5f64.sqrt() } else { 1.0 };
    0.5 * c * ((2 * position + 1) as f64 * frequency as f64 * PI / 16.0).cos()
}

/// The inverse DCT of T.81 A.3.3 as it stands there; 12-bit samples divided by 16.
fn decode(component: &Component, plane: &Plane, precision_bits: u8) -> Samples {
    let (width, height) = (component.width_samples as usize, component.height_samples as usize);
    let Some(quant) = &plane.quant else {
        return Samples::from_fn(width, height, |_, _| 0.0);
    };
    let range = if precision_bits == 12 { 16.0 } else { 1.0 };
    let mut samples = Samples::from_fn(width, height, |_, _| 0.0);
    for (by, bx) in (0..plane.blocks_high).flat_map(|by| (0..plane.blocks_wide).map(move |bx| (by, bx))) {
        let block = plane.block(bx, by);
        let values: Vec<f64> = (0..64).map(|i| f64::from(block[i]) * f64::from(quant.0[i]) / range).collect();
        let columns: Vec<f64> =
            (0..64).map(|i| (0..8).map(|v| cosine(v, i / 8) * values[v * 8 + i % 8]).sum()).collect();
        for (y, x) in (0..8).flat_map(|y| (0..8).map(move |x| (y, x))) {
            let (sample_x, sample_y) = (bx as usize * 8 + x, by as usize * 8 + y);
            if sample_x < width && sample_y < height {
                samples.data[sample_y * width + sample_x] = (0..8).map(|u| cosine(u, x) * columns[y * 8 + u]).sum();
            }
        }
    }
    samples
}

/// The shown image, from EXIF's wording of what row 0 and column 0 of the stored one are.
fn orient(stored: &Samples, orientation: Orientation) -> Samples {
    let (w, h) = (stored.width, stored.height);
    match orientation {
        Orientation::Upright => stored.clone(),
        Orientation::FlipHorizontal => Samples::from_fn(w, h, |x, y| stored.at(w - 1 - x, y)),
        Orientation::Rotate180 => Samples::from_fn(w, h, |x, y| stored.at(w - 1 - x, h - 1 - y)),
        Orientation::FlipVertical => Samples::from_fn(w, h, |x, y| stored.at(x, h - 1 - y)),
        Orientation::Transpose => Samples::from_fn(h, w, |x, y| stored.at(y, x)),
        Orientation::Rotate90 => Samples::from_fn(h, w, |x, y| stored.at(y, h - 1 - x)),
        Orientation::Transverse => Samples::from_fn(h, w, |x, y| stored.at(w - 1 - y, h - 1 - x)),
        Orientation::Rotate270 => Samples::from_fn(h, w, |x, y| stored.at(w - 1 - y, x)),
    }
}

/// Where the crop comes from, along one side of the oriented image, in samples of the frame.
#[derive(Clone, Copy)]
struct Source {
    length: u32,
    start: f64,
    end: f64,
    clip: (f64, f64),
}

fn sources(transform: &Transform, width: u32, height: u32) -> [Source; 2] {
    let sizes = match transform.resize {
        Resize::None => (width, height),
        Resize::Exact { width, height } => (width, height),
        Resize::ShortSide(side) if width <= height => (side, (side as f64 * height as f64 / width as f64) as u32),
        Resize::ShortSide(side) => ((side as f64 * width as f64 / height as f64) as u32, side),
        Resize::Box { left, top, width: box_width, height: box_height } => {
            let inside = |length, start: u32, size: u32| {
                let (start, end) = (f64::from(start), f64::from(start + size));
                Source { length, start, end, clip: (start, end) }
            };
            return [inside(width, left, box_width), inside(height, top, box_height)];
        }
    };
    let centre = |length: u32, resized: u32, crop: u32| {
        let offset = match resized - crop {
            even if even % 2 == 0 => even / 2,
            odd if odd % 4 == 1 => odd / 2,
            odd => odd / 2 + 1,
        };
        let scale = f64::from(length) / f64::from(resized);
        let (start, end) = (f64::from(offset) * scale, f64::from(offset + crop) * scale);
        Source { length, start, end, clip: (0.0, length.into()) }
    };
    [centre(width, sizes.0, transform.crop.0), centre(height, sizes.1, transform.crop.1)]
}

/// R, row by row and dense. `ratio` is the component's sampling factor over the largest; `reversed`: the oriented samples run against
/// the stored ones, so that what the last stored sample lacks of a full one is missing at the start.
fn resampling_matrix(source: Source, num_samples: usize, ratio: (u8, u8), reversed: bool, n: usize) -> Vec<Vec<f64>> {
    let scaled = |position: f64| position * f64::from(ratio.0) / f64::from(ratio.1);
    let missing = if reversed { num_samples as f64 - scaled(source.length.into()) } else { 0.0 };
    let (start, end) = (missing + scaled(source.start), missing + scaled(source.end));
    // Positions are multiples of a twelfth: far from the next one, whatever was rounded.
    let clip = ((missing + scaled(source.clip.0) + 1e-6).floor(), (missing + scaled(source.clip.1) - 1e-6).ceil());
    let scale = (end - start) / n as f64;
    let support = scale.max(1.0);
    (0..n)
        .map(|i| {
            let centre = start + (i as f64 + 0.5) * scale;
            let triangle = |x: usize| {
                let inside = x as f64 >= clip.0 && ((x + 1) as f64) <= clip.1;
                if inside { (1.0 - ((x as f64 + 0.5 - centre) / support).abs()).max(0.0) } else { 0.0 }
            };
            let total: f64 = (0..num_samples).map(triangle).sum();
            (0..num_samples).map(|x| triangle(x) / total).collect()
        })
        .collect()
}

fn resize(samples: &Samples, rx: &[Vec<f64>], ry: &[Vec<f64>]) -> Samples {
    let rows = Samples::from_fn(samples.width, ry.len(), |x, i| {
        ry[i].iter().enumerate().filter(|(_, w)| **w != 0.0).map(|(y, w)| w * samples.at(x, y)).sum()
    });
    Samples::from_fn(rx.len(), ry.len(), |k, i| {
        rx[k].iter().enumerate().filter(|(_, w)| **w != 0.0).map(|(x, w)| w * rows.at(x, i)).sum()
    })
}

/// Every component as samples of the oriented, resized, cropped and flipped image: one per `subsampling` samples of the crop.
fn resized_components(image: &Coefficients, transform: &Transform, subsampling: u32) -> Vec<Samples> {
    use Orientation::*;
    let orientation = match transform.orientation {
        OrientationRule::Apply => image.orientation,
        OrientationRule::Ignore => Upright,
    };
    let frame = &image.frame;
    let turned = matches!(orientation, Transpose | Rotate90 | Transverse | Rotate270);
    let (width, height) = if turned { (frame.height, frame.width) } else { (frame.width, frame.height) };
    let x_reversed = matches!(orientation, FlipHorizontal | Rotate180 | Rotate90 | Transverse);
    let y_reversed = matches!(orientation, FlipVertical | Rotate180 | Rotate270 | Transverse);
    let [source_x, source_y] = sources(transform, width, height);
    let outputs = ((transform.crop.0 / subsampling) as usize, (transform.crop.1 / subsampling) as usize);
    let component_samples = |(component, plane): (&Component, &Plane)| {
        let samples = orient(&decode(component, plane, frame.precision_bits), orientation);
        let (h, v) = ((component.h, frame.h_max), (component.v, frame.v_max));
        let (ratio_x, ratio_y) = if turned { (v, h) } else { (h, v) };
        let mut rx = resampling_matrix(source_x, samples.width, ratio_x, x_reversed, outputs.0);
        let ry = resampling_matrix(source_y, samples.height, ratio_y, y_reversed, outputs.1);
        if transform.flip {
            rx.reverse();
        }
        resize(&samples, &rx, &ry)
    };
    frame.components.iter().zip(&image.planes).map(component_samples).collect()
}

fn combine(planes: &[Samples], f: impl Fn(&[f64]) -> f64) -> Samples {
    Samples::from_fn(planes[0].width, planes[0].height, |x, y| {
        f(&planes.iter().map(|plane| plane.at(x, y)).collect::<Vec<_>>())
    })
}

/// Red, green and blue from 0 to 255 of one place of all components (without level shift).
fn rgb(color: ColorModel, s: &[f64]) -> [f64; 3] {
    let clamp = |x: f64| x.clamp(0.0, 255.0);
    let from_ycbcr = || {
        let (y, cb, cr) = (s[0] + 128.0, s[1], s[2]);
        let g = y - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587;
        [clamp(y + 1.402 * cr), clamp(g), clamp(y + 1.772 * cb)]
    };
    let with_black = |cmy: [f64; 3], inverted: bool| {
        let k = clamp(s[3] + 128.0);
        cmy.map(|ink| if inverted { ink * k / 255.0 } else { (255.0 - ink) * (255.0 - k) / 255.0 })
    };
    match color {
        ColorModel::Gray => [clamp(s[0] + 128.0); 3],
        ColorModel::YCbCr => from_ycbcr(),
        ColorModel::Rgb => [0, 1, 2].map(|i| clamp(s[i] + 128.0)),
        ColorModel::Cmyk { inverted } => with_black([0, 1, 2].map(|i| clamp(s[i] + 128.0)), inverted),
        ColorModel::Ycck { inverted } => with_black(from_ycbcr().map(|x| 255.0 - x), inverted),
        ColorModel::Unknown => unreachable!("no input is made of it"),
    }
}

/// Y - 128, Cb - 128, Cr - 128 (JFIF).
fn ycbcr(color: ColorModel, s: &[f64]) -> [f64; 3] {
    let [r, g, b] = match color {
        ColorModel::Gray => return [s[0], 0.0, 0.0],
        ColorModel::YCbCr => return [s[0], s[1], s[2]],
        ColorModel::Rgb => [s[0], s[1], s[2]],
        _ => rgb(color, s).map(|x| x - 128.0),
    };
    [
        0.299 * r + 0.587 * g + 0.114 * b,
        -0.299 / 1.772 * r - 0.587 / 1.772 * g + 0.5 * b,
        0.5 * r - 0.587 / 1.402 * g - 0.114 / 1.402 * b,
    ]
}

/// `[blocks_high][blocks_wide][64]`.
fn forward_dct(samples: &Samples) -> Vec<f64> {
    let mut blocks = Vec::with_capacity(samples.data.len());
    for (by, bx) in (0..samples.height / 8).flat_map(|by| (0..samples.width / 8).map(move |bx| (by, bx))) {
        let rows: Vec<f64> =
            (0..64).map(|i| (0..8).map(|x| cosine(i % 8, x) * samples.at(bx * 8 + x, by * 8 + i / 8)).sum()).collect();
        blocks.extend((0..64).map(|i| (0..8).map(|y| cosine(i / 8, y) * rows[y * 8 + i % 8]).sum::<f64>()));
    }
    blocks
}

/// The network's input in float64, laid out as the tensors are.
fn truth(image: &Coefficients, transform: &Transform, kind: InputKind) -> Vec<Vec<f64>> {
    let luma_grid = resized_components(image, transform, 1);
    match kind {
        InputKind::Blocks => {
            let chroma_grid = resized_components(image, transform, 2);
            let y = forward_dct(&combine(&luma_grid, |s| ycbcr(image.color, s)[0]));
            let cb = forward_dct(&combine(&chroma_grid, |s| ycbcr(image.color, s)[1]));
            let cr = forward_dct(&combine(&chroma_grid, |s| ycbcr(image.color, s)[2]));
            let c = cb.chunks(64).zip(cr.chunks(64)).flat_map(|(cb, cr)| [cb, cr].concat()).collect();
            vec![y, c]
        }
        InputKind::Rgb => {
            let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
            let pixels = (0..luma_grid[0].data.len()).flat_map(|i| {
                let samples: Vec<f64> = luma_grid.iter().map(|plane| plane.data[i]).collect();
                let rgb = rgb(image.color, &samples);
                [0, 1, 2].map(|channel| (rgb[channel] / 255.0 - mean[channel]) / std[channel])
            });
            vec![pixels.collect()]
        }
    }
}

// ---- Comparisons -----------------------------------------------------------------------------------------------------------------

fn operator(image: &Coefficients, transform: &Transform, kind: InputKind) -> (Vec<Vec<f32>>, u64) {
    let plan = InputPlan::new(&image.frame, image.color, image.orientation, transform, kind).unwrap();
    let (tensors, num_saturated) = input_tensors(&plan, image, &Normalization::default());
    let (crop_width, crop_height) = (transform.crop.0 as usize, transform.crop.1 as usize);
    let shapes: Vec<Vec<usize>> = match kind {
        InputKind::Blocks => {
            vec![vec![1, crop_height / 8, crop_width / 8, 64], vec![1, crop_height / 16, crop_width / 16, 128]]
        }
        InputKind::Rgb => vec![vec![1, crop_height, crop_width, 3]],
    };
    assert_eq!(tensors.iter().map(|tensor| tensor.shape.clone()).collect::<Vec<_>>(), shapes);
    (tensors.into_iter().map(|tensor| tensor.data).collect(), num_saturated)
}

/// Largest difference from the truth over the largest magnitude: of the truth, and for blocks of a gray level too, since values far
/// smaller are sums that cancel.
fn distance(image: &Coefficients, transform: &Transform, kind: InputKind) -> f64 {
    let (values, num_saturated) = operator(image, transform, kind);
    assert_eq!(num_saturated, 0);
    let truth = truth(image, transform, kind);
    let floor = if kind == InputKind::Blocks { 128.0 } else { 1.0 };
    let magnitude = truth.iter().flatten().fold(floor, |max, value| value.abs().max(max));
    let differences = values.iter().flatten().zip(truth.iter().flatten()).map(|(a, b)| (f64::from(*a) - b).abs());
    differences.fold(0.0, f64::max) / magnitude
}

/// A few roundings of float32 (2^-24 = 6e-8) in sums of up to hundreds of terms.
const ROUNDING: f64 = 2e-6;

fn assert_agrees(image: &Coefficients, transform: &Transform, kind: InputKind) {
    let distance = distance(image, transform, kind);
    assert!(distance < ROUNDING, "{distance:e} for {transform} of {:?}", image.frame);
}

fn transform(text: &str) -> Transform {
    text.parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_pixel_domain(case in any_case()) {
        let distance = distance(&case.image(), &case.transform, case.kind);
        prop_assert!(distance < ROUNDING, "{:e}", distance);
    }
}

#[test]
fn the_classic_evaluation_agrees_with_the_pixel_domain() {
    for factors in [(1, 1), (2, 2), (2, 1)] {
        for kind in KINDS {
            assert_agrees(&ycbcr_image(500, 375, factors), &Transform::default(), kind);
        }
    }
}

#[test]
fn every_orientation_with_every_sampling_and_partial_blocks() {
    for orientation in ORIENTATIONS {
        for factors in [(1, 1), (2, 2), (2, 1), (1, 2), (4, 1)] {
            let mut image = ycbcr_image(83, 61, factors);
            image.orientation = orientation;
            for text in ["short=48,crop=48x32", "short=48,crop=32x48,flip=yes", "box=5:9:37x50,crop=48"] {
                assert_agrees(&image, &transform(text), InputKind::Blocks);
            }
        }
    }
}

#[test]
fn an_ignored_orientation_changes_nothing() {
    let mut image = ycbcr_image(83, 61, (2, 2));
    let transform = transform("short=48,crop=48,orientation=ignore");
    let upright = operator(&image, &transform, InputKind::Blocks);
    image.orientation = Orientation::Rotate90;
    assert_eq!(operator(&image, &transform, InputKind::Blocks), upright);
}

#[test]
fn bands_of_an_8k_image() {
    let image = ycbcr_image(8192, 64, (2, 2));
    let transform = transform("exact=48x48,crop=48");
    let plan = InputPlan::new(&image.frame, image.color, image.orientation, &transform, InputKind::Blocks).unwrap();
    let longest = plan.luma.planes[0].horizontal.bands.iter().map(|band| band.num_blocks).max().unwrap();
    assert!(longest > 170, "{longest}"); // 8192 / 48 samples an output, 8 outputs, and the triangles beyond them
    assert_agrees(&image, &transform, InputKind::Blocks);
}

#[test]
fn one_sample_becomes_a_flat_image() {
    let image = ycbcr_image(1, 1, (2, 2));
    assert_agrees(&image, &transform("short=32,crop=32"), InputKind::Blocks);
}

// ---- The resampling matrix itself ------------------------------------------------------------------------------------------------

/// One case of tests/data/pillow_bilinear.json, made by tests/reference/pillow_bilinear.py.
#[derive(serde::Deserialize)]
struct PillowCase {
    length: u32,
    #[serde(default)]
    r#box: Option<(u32, u32)>,
    resized: u32,
    outputs: u32,
    rows: Vec<(usize, Vec<f64>)>,
}

/// R of the plan's horizontal axis, dense: `D^T V D` block by block.
fn matrix_of_plan(plan: &InputPlan, num_samples: usize) -> Vec<Vec<f64>> {
    let axis = &plan.luma.planes[0].horizontal;
    let mut matrix = vec![vec![0.0; num_samples.next_multiple_of(8)]; axis.bands.len() * 8];
    for (i, band) in axis.bands.iter().enumerate() {
        for (matrix_idx, j) in (band.first_matrix as usize..).zip(band.blocks()) {
            let v = &axis.matrices[matrix_idx];
            for (r, x) in (0..8).flat_map(|r| (0..8).map(move |x| (r, x))) {
                matrix[8 * i + r][8 * j + x] =
                    (0..64).map(|k| cosine(k % 8, r) * f64::from(v[k]) * cosine(k / 8, x)).sum();
            }
        }
    }
    matrix
}

#[test]
fn the_resampling_matrix_is_pillows() {
    let cases: Vec<PillowCase> = serde_json::from_str(include_str!("data/pillow_bilinear.json")).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let resize = match case.r#box {
            Some((start, end)) => Resize::Box { left: start, top: 0, width: end - start, height: 16 },
            None => Resize::Exact { width: case.resized, height: 16 },
        };
        let transform = Transform { resize, crop: (case.outputs, 16), ..Transform::default() };
        let frame = frame(case.length, 16, &[(1, 1)], 8);
        let plan =
            InputPlan::new(&frame, ColorModel::Gray, Orientation::Upright, &transform, InputKind::Blocks).unwrap();
        let matrix = matrix_of_plan(&plan, case.length as usize);
        assert_eq!(matrix.len(), case.rows.len());
        for (i, (row, (first, weights))) in matrix.iter().zip(&case.rows).enumerate() {
            for (x, &value) in row.iter().enumerate() {
                let expected = x.checked_sub(*first).and_then(|x| weights.get(x)).unwrap_or(&0.0);
                assert!(
                    (value - expected).abs() < 1e-6,
                    "length {}, output {i}, sample {x}: {value} is not {expected}",
                    case.length
                );
            }
        }
    }
}

// ---- What is exact ---------------------------------------------------------------------------------------------------------------

/// The dequantised value of the network's grid at block (bx, by), when nothing is resized.
fn dequantised(plane: &Plane, bx: usize, by: usize, i: usize) -> f32 {
    f32::from(plane.block(bx as u32, by as u32)[i]) * f32::from(plane.quant.as_ref().unwrap().0[i])
}

#[test]
fn nothing_to_resize_is_the_identity_bit_for_bit() {
    let image = ycbcr_image(224, 224, (2, 2));
    for text in ["short=224", "exact=224x224", "resize=none", "box=0:0:224x224"] {
        let (values, _) = operator(&image, &transform(text), InputKind::Blocks);
        for (i, value) in values[0].iter().enumerate() {
            assert_eq!(value.to_bits(), dequantised(&image.planes[0], i / 64 % 28, i / (64 * 28), i % 64).to_bits());
        }
        for (i, value) in values[1].iter().enumerate() {
            let plane = &image.planes[1 + i % 128 / 64];
            assert_eq!(value.to_bits(), dequantised(plane, i / 128 % 14, i / (128 * 14), i % 64).to_bits());
        }
    }
}

#[test]
fn a_crop_at_block_boundaries_is_exact() {
    let image = ycbcr_image(96, 80, (2, 2)); // centre crop of 64 x 48 starts at (16, 16)
    let (values, _) = operator(&image, &transform("resize=none,crop=64x48"), InputKind::Blocks);
    for (i, &value) in values[0].iter().enumerate() {
        assert_eq!(value, dequantised(&image.planes[0], 2 + i / 64 % 8, 2 + i / (64 * 8), i % 64));
    }
    for (i, &value) in values[1].iter().enumerate() {
        let plane = &image.planes[1 + i % 128 / 64];
        assert_eq!(value, dequantised(plane, 1 + i / 128 % 4, 1 + i / (128 * 4), i % 64));
    }
}

#[test]
fn flips_and_turns_at_block_boundaries_are_exact() {
    let mut image = ycbcr_image(64, 64, (2, 2));
    for orientation in ORIENTATIONS {
        image.orientation = orientation;
        let (values, _) = operator(&image, &transform("resize=none,crop=64"), InputKind::Blocks);
        let o = orientation as u8;
        let (turned, x_mirrored, y_mirrored) = (o >= 5, [2, 3, 6, 7].contains(&o), [3, 4, 7, 8].contains(&o));
        for (i, &value) in values[0].iter().enumerate() {
            let (mut bx, mut by, mut u, mut v) = (i / 64 % 8, i / 512, i % 8, i % 64 / 8);
            let negated = (x_mirrored && u % 2 == 1) != (y_mirrored && v % 2 == 1);
            bx = if x_mirrored { 7 - bx } else { bx };
            by = if y_mirrored { 7 - by } else { by };
            if turned {
                (bx, by, u, v) = (by, bx, v, u);
            }
            let expected = dequantised(&image.planes[0], bx, by, v * 8 + u);
            assert_eq!(value, if negated { -expected } else { expected }, "{orientation:?} value {i}");
        }
    }
}

#[test]
fn a_flip_negates_odd_columns_exactly() {
    let image = ycbcr_image(83, 61, (2, 1));
    let (plain, _) = operator(&image, &transform("short=48,crop=48"), InputKind::Blocks);
    let (flipped, _) = operator(&image, &transform("short=48,crop=48,flip=yes"), InputKind::Blocks);
    for (values, mirrored, channels, blocks_wide) in [(&plain[0], &flipped[0], 64, 6), (&plain[1], &flipped[1], 128, 3)]
    {
        for (i, &value) in mirrored.iter().enumerate() {
            let (channel, bx, by) = (i % channels, i / channels % blocks_wide, i / channels / blocks_wide);
            let source = values[(by * blocks_wide + blocks_wide - 1 - bx) * channels + channel];
            assert_eq!(value, if channel % 2 == 1 { -source } else { source });
        }
    }
}

// ---- Colour models, ranges, refusals ---------------------------------------------------------------------------------------------

#[test]
fn gray_has_zero_chroma() {
    let image = random_image(frame(60, 60, &[(1, 1)], 8), ColorModel::Gray, Orientation::Upright, 3);
    let (values, _) = operator(&image, &transform("short=48,crop=48"), InputKind::Blocks);
    assert!(values[1].iter().all(|&value| value == 0.0));
    assert!(values[0].iter().any(|&value| value != 0.0));
}

#[test]
fn gray_with_sampling_factors_is_gray_all_the_same() {
    let plain = random_image(frame(61, 47, &[(1, 1)], 8), ColorModel::Gray, Orientation::Upright, 3);
    let mut sampled = plain.clone();
    sampled.frame = frame(61, 47, &[(2, 2)], 8);
    let transform = transform("short=48,crop=48");
    assert_eq!(operator(&plain, &transform, InputKind::Rgb), operator(&sampled, &transform, InputKind::Rgb));
}

#[test]
fn inks_are_converted_as_the_libraries_show_them() {
    // Flat planes at full size: DC is 8 (sample - 128).
    let flat = |color, samples: [i16; 4]| {
        let mut image = random_image(frame(16, 16, &[(1, 1); 4], 8), color, Orientation::Upright, 1);
        for (plane, sample) in image.planes.iter_mut().zip(samples) {
            plane.data.fill(0);
            plane.data.iter_mut().step_by(64).for_each(|dc| *dc = 8 * (sample - 128));
        }
        let (values, _) = operator(&image, &transform("resize=none,crop=16"), InputKind::Rgb);
        let Normalization { mean, std } = Normalization::default();
        [0, 1, 2].map(|i| ((values[0][i] * std[i] + mean[i]) * 255.0).round())
    };
    let adobe = ColorModel::Cmyk { inverted: true };
    assert_eq!(flat(adobe, [255, 255, 255, 255]), [255.0, 255.0, 255.0]); // no ink
    assert_eq!(flat(adobe, [255, 255, 255, 0]), [0.0, 0.0, 0.0]); // black alone
    assert_eq!(flat(adobe, [0, 255, 255, 255]), [0.0, 255.0, 255.0]); // cyan
    assert_eq!(flat(adobe, [100, 200, 50, 128]), [50.0, 100.0, 25.0]); // C K / 255
    assert_eq!(flat(ColorModel::Cmyk { inverted: false }, [155, 55, 205, 127]), [50.0, 100.0, 25.0]);
    // YCbCr of 255 - CMY: a gray of 155 is an ink value of 100.
    assert_eq!(flat(ColorModel::Ycck { inverted: true }, [155, 128, 128, 128]), [50.0, 50.0, 50.0]);
    assert_eq!(flat(ColorModel::Ycck { inverted: false }, [100, 128, 128, 127]), [50.0, 50.0, 50.0]);
}

#[test]
fn twelve_bit_samples_are_divided_by_sixteen() {
    let image = ycbcr_image(80, 72, (1, 1));
    let mut twelve = image.clone();
    twelve.frame.precision_bits = 12;
    for plane in &mut twelve.planes {
        plane.data.iter_mut().for_each(|value| *value *= 16);
    }
    let transform = transform("short=48,crop=48");
    assert_eq!(operator(&image, &transform, InputKind::Blocks), operator(&twelve, &transform, InputKind::Blocks));
}

#[test]
fn values_saturate_and_are_counted() {
    let image = saturating_image();
    let (values, num_saturated) = operator(&image, &transform("resize=none,crop=32"), InputKind::Blocks);
    assert_eq!(num_saturated, 2);
    assert_eq!((values[0][0], values[0][64], values[1][0]), (SATURATION, SATURATION, -SATURATION));
    let (values, _) = operator(&image, &transform("resize=none,crop=32"), InputKind::Rgb);
    assert!(values[0].iter().all(|value| value.abs() < 3.0), "samples are clamped");
}

#[test]
fn a_component_never_sent_is_zero() {
    let mut image = ycbcr_image(60, 60, (2, 2));
    image.planes[2].quant = None;
    assert_agrees(&image, &transform("short=48,crop=48"), InputKind::Blocks);
    let (values, _) = operator(&image, &transform("short=48,crop=48"), InputKind::Blocks);
    assert!(values[1].chunks(128).all(|c| c[64..].iter().all(|&value| value == 0.0)));
}

#[test]
fn what_no_input_can_be_made_of_says_why() {
    let refusal = |width, height, num_components: usize, color, transform: &Transform| {
        let frame = frame(width, height, &vec![(1, 1); num_components], 8);
        match InputPlan::new(&frame, color, Orientation::Upright, transform, InputKind::Blocks) {
            Err(ImageError::NoInput { what }) => what,
            other => panic!("{other:?}"),
        }
    };
    let evaluation = Transform::default();
    assert!(refusal(300, 300, 2, ColorModel::Unknown, &evaluation).contains("meaning"));
    assert!(refusal(300, 300, 1, ColorModel::YCbCr, &evaluation).contains("number of components"));
    assert!(refusal(300, 200, 3, ColorModel::YCbCr, &transform("resize=none")).contains("smaller than the crop"));
    assert!(refusal(300, 200, 3, ColorModel::YCbCr, &transform("box=0:100:50x101")).contains("box"));
    assert!(refusal(0, 200, 3, ColorModel::YCbCr, &evaluation).contains("no samples"));
    let invalid = Transform { crop: (0, 224), ..evaluation };
    assert!(refusal(300, 300, 3, ColorModel::YCbCr, &invalid).contains("not valid"));
}

#[test]
fn a_cache_changes_nothing() {
    let mut cache = AxisCache::default();
    for side in 200..320 {
        let frame = frame(side, 300, &[(2, 2), (1, 1), (1, 1)], 8);
        for orientation in [Orientation::Upright, Orientation::Rotate180] {
            let transform = Transform::default();
            let arguments = (&frame, ColorModel::YCbCr, orientation, &transform, InputKind::Blocks);
            let (frame, color, orientation, transform, kind) = arguments;
            let cached = InputPlan::cached(&mut cache, frame, color, orientation, transform, kind).unwrap();
            assert_eq!(cached, InputPlan::new(frame, color, orientation, transform, kind).unwrap());
        }
    }
}
