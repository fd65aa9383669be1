//! Views of an image: what training shows of it, drawn at random. All of it is done to coefficients.

use crate::cpu::input::{InputMut, write_input};
use crate::error::{ImageError, Result};
use crate::jpeg::{Coefficients, Orientation};
use crate::resample::{InputPlan, Normalization, OrientationRule, Resize, Transform};
use crate::synth::Random;
use crate::tensor::InputKind;

/// Attempts at a box of the drawn area and aspect before the largest box in the middle is taken.
const MAX_ATTEMPTS: usize = 10;

/// How views are drawn: a box of any scale and aspect resized to the input (Szegedy et al. 2015), a flip, and changes of brightness, contrast
/// and colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augmentation {
    /// Smallest share of the image's area that a view shows.
    pub min_area: f64,
    /// Brightness, contrast and colour change by factors in `1 - jitter ..= 1 + jitter`.
    pub jitter: f32,
}

/// Factors on brightness, contrast and colour: 1 changes nothing. They are applied in this order, as on samples: brightness multiplies samples,
/// contrast their distance from the view's mean luma, colour their distance from gray. Nothing is clamped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColorJitter {
    /// On samples.
    pub brightness: f32,
    /// On distances from the mean luma.
    pub contrast: f32,
    /// On chroma.
    pub color: f32,
}

impl ColorJitter {
    /// No change.
    pub const NONE: Self = Self { brightness: 1.0, contrast: 1.0, color: 1.0 };
}

/// One view of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Box, size, flip.
    pub transform: Transform,
    /// Colours.
    pub jitter: ColorJitter,
}

impl View {
    /// What a network sees when it is asked, without chance.
    pub fn plain(transform: Transform) -> Self {
        Self { transform, jitter: ColorJitter::NONE }
    }

    /// All of an image of this width and height, resized to `side` x `side` samples.
    pub(super) fn whole((width, height): (u32, u32), side: u32) -> Self {
        let resize = Resize::Box { left: 0, top: 0, width, height };
        Self::plain(Transform { resize, crop: (side, side), ..Transform::default() })
    }
}

impl Augmentation {
    /// Draws a view of an image of this width and height (as it is shown), of `side` x `side` samples.
    pub fn draw(&self, random: &mut Random, (width, height): (u32, u32), side: u32) -> View {
        let mut transform = Transform { crop: (side, side), ..Transform::default() };
        transform.resize = self.draw_box(random, width, height);
        transform.flip = random.one_in(2);
        let mut factor = || 1.0 + self.jitter * (2.0 * random.unit() - 1.0);
        View { transform, jitter: ColorJitter { brightness: factor(), contrast: factor(), color: factor() } }
    }

    fn draw_box(&self, random: &mut Random, width: u32, height: u32) -> Resize {
        let image_area = f64::from(width) * f64::from(height);
        for _ in 0..MAX_ATTEMPTS {
            let area = image_area * (self.min_area + (1.0 - self.min_area) * f64::from(random.unit()));
            // Aspects from 3:4 to 4:3, evenly on a logarithmic scale.
            let aspect = (4.0f64 / 3.0).powf(2.0 * f64::from(random.unit()) - 1.0);
            let (w, h) = ((area * aspect).sqrt().round() as u32, (area / aspect).sqrt().round() as u32);
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let (left, top) = (random.below(width - w + 1), random.below(height - h + 1));
                return Resize::Box { left, top, width: w, height: h };
            }
        }
        let side = width.min(height);
        Resize::Box { left: (width - side) / 2, top: (height - side) / 2, width: side, height: side }
    }
}

/// Width and height of an image as it is shown.
pub(super) fn shown_size(coefficients: &Coefficients) -> (u32, u32) {
    let (width, height) = (coefficients.frame.width, coefficients.frame.height);
    if coefficients.orientation.transposes() { (height, width) } else { (width, height) }
}

/// Memory for one image's input: Y and C, or RGB and nothing.
pub(super) struct Row<'a> {
    pub(super) first: &'a mut [f32],
    pub(super) second: &'a mut [f32],
}

/// How a view of an image is made.
///
/// # Errors
/// [`ImageError::NoInput`], as [`InputPlan::new`].
pub(super) fn plan_of(view: &View, coefficients: &Coefficients, kind: InputKind) -> Result<InputPlan, ImageError> {
    let orientation = match view.transform.orientation {
        OrientationRule::Apply => coefficients.orientation,
        OrientationRule::Ignore => Orientation::Upright,
    };
    InputPlan::new(&coefficients.frame, coefficients.color, orientation, &view.transform, kind)
}

/// Writes the network's input for a view of an image.
///
/// # Errors
/// Those of [`plan_of`].
pub(super) fn write_view(
    view: &View,
    coefficients: &Coefficients,
    kind: InputKind,
    normalization: &Normalization,
    row: Row<'_>,
) -> Result<(), ImageError> {
    let plan = plan_of(view, coefficients, kind)?;
    match kind {
        InputKind::Blocks => {
            write_input(&plan, coefficients, InputMut::Blocks { y: row.first, c: row.second });
            if view.jitter != ColorJitter::NONE {
                jitter_blocks(view.jitter, row.first, row.second);
            }
        }
        InputKind::Rgb if view.jitter == ColorJitter::NONE => {
            write_input(&plan, coefficients, InputMut::Rgb { rgb: row.first, normalization });
        }
        InputKind::Rgb => {
            let unit = Normalization { mean: [0.0; 3], std: [1.0; 3] };
            write_input(&plan, coefficients, InputMut::Rgb { rgb: row.first, normalization: &unit });
            jitter_rgb(view.jitter, row.first, normalization);
        }
    }
    Ok(())
}

/// Colour jitter on coefficients. A sample `s` of luma is 128 more than the transform's; a block's first coefficient is eight times its mean. So
/// factors go onto all coefficients alike, and what they do to the 128 goes onto the first.
fn jitter_blocks(jitter: ColorJitter, y: &mut [f32], c: &mut [f32]) {
    let ColorJitter { brightness, contrast, color } = jitter;
    let (y, _) = y.as_chunks_mut::<64>();
    let mean = 128.0 + y.iter().map(|block| block[0]).sum::<f32>() / (8.0 * y.len().max(1) as f32);
    let gain = brightness * contrast;
    let offset = brightness * (contrast * 128.0 + (1.0 - contrast) * mean) - 128.0;
    for block in y {
        block.iter_mut().for_each(|value| *value *= gain);
        block[0] += 8.0 * offset;
    }
    c.iter_mut().for_each(|value| *value *= gain * color);
}

/// The same on samples from 0 to 1, which become normalised ones.
fn jitter_rgb(jitter: ColorJitter, rgb: &mut [f32], Normalization { mean: means, std }: &Normalization) {
    let ColorJitter { brightness, contrast, color } = jitter;
    let (pixels, _) = rgb.as_chunks_mut::<3>();
    let luma = |[r, g, b]: [f32; 3]| 0.299 * r + 0.587 * g + 0.114 * b;
    let mean = pixels.iter().map(|&pixel| luma(pixel)).sum::<f32>() / pixels.len().max(1) as f32;
    for pixel in pixels {
        let gray = luma(*pixel);
        let new_gray = brightness * (contrast * gray + (1.0 - contrast) * mean);
        for (channel, value) in pixel.iter_mut().enumerate() {
            let sample = new_gray + brightness * contrast * color * (*value - gray);
            *value = (sample - means[channel]) / std[channel];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;
    use crate::cpu::input::input_tensors;
    use crate::jpeg::Limits;
    use crate::resample::DCT;
    use crate::synth::photo;

    const AUGMENTATION: Augmentation = Augmentation { min_area: 0.2, jitter: 0.4 };

    fn image() -> Coefficients {
        cpu::decode(&photo(7, 1), &Limits::default()).coefficients.expect("a sound file")
    }

    /// Y and C of a view, or RGB.
    fn input(view: &View, kind: InputKind) -> [Vec<f32>; 2] {
        let (first, second) = match kind {
            InputKind::Blocks => (8 * 8 * 64, 4 * 4 * 128),
            InputKind::Rgb => (64 * 64 * 3, 0),
        };
        let mut memory = [vec![0.0; first], vec![0.0; second]];
        let [first, second] = &mut memory;
        write_view(view, &image(), kind, &Normalization::default(), Row { first, second }).unwrap();
        memory
    }

    /// Samples of a plane of blocks, without the 128 taken off.
    fn samples(block: &[f32]) -> Vec<f32> {
        let sample =
            |y: usize, x: usize| (0..64).map(|i| f64::from(block[i]) * DCT[i / 8][y] * DCT[i % 8][x]).sum::<f64>();
        (0..64).map(|i| sample(i / 8, i % 8) as f32 + 128.0).collect()
    }

    #[test]
    fn boxes_lie_in_the_image_and_have_the_area_asked_for() {
        let mut random = Random::new(3);
        for (width, height) in [(500, 375), (224, 224), (17, 400), (1, 1)] {
            for _ in 0..300 {
                let view = AUGMENTATION.draw(&mut random, (width, height), 64);
                view.transform.validate().unwrap();
                let Resize::Box { left, top, width: w, height: h } = view.transform.resize else { panic!("no box") };
                assert!(left + w <= width && top + h <= height);
                if width == 224 {
                    let share = f64::from(w * h) / (224.0 * 224.0);
                    assert!((0.19..=1.0).contains(&share), "{share}");
                }
                for factor in [view.jitter.brightness, view.jitter.contrast, view.jitter.color] {
                    assert!((0.6..=1.4).contains(&factor));
                }
            }
        }
    }

    #[test]
    fn without_jitter_a_view_is_what_the_operator_makes() {
        let coefficients = image();
        let mut random = Random::new(5);
        for kind in [InputKind::Blocks, InputKind::Rgb] {
            let drawn = AUGMENTATION.draw(&mut random, shown_size(&coefficients), 64);
            let transform = drawn.transform;
            let plan =
                InputPlan::new(&coefficients.frame, coefficients.color, coefficients.orientation, &transform, kind)
                    .unwrap();
            let (expected, _) = input_tensors(&plan, &coefficients, &Normalization::default());
            let made = input(&View::plain(transform), kind);
            for (expected, made) in expected.iter().zip(&made) {
                assert_eq!(expected.data, *made);
            }
        }
    }

    /// Against the same arithmetic on samples, as image libraries do it.
    #[test]
    fn jitter_on_coefficients_is_jitter_on_samples() {
        let transform = Transform { crop: (64, 64), resize: Resize::ShortSide(72), ..Transform::default() };
        let jitter = ColorJitter { brightness: 1.2, contrast: 0.7, color: 1.3 };
        let [plain_y, plain_c] = input(&View::plain(transform), InputKind::Blocks);
        let [made_y, made_c] = input(&View { transform, jitter }, InputKind::Blocks);
        let plain: Vec<f32> = plain_y.chunks(64).flat_map(samples).collect();
        let mean = plain.iter().sum::<f32>() / plain.len() as f32;
        let made: Vec<f32> = made_y.chunks(64).flat_map(samples).collect();
        for (plain, made) in plain.iter().zip(&made) {
            let expected = 1.2 * (0.7 * plain + 0.3 * mean);
            assert!((expected - made).abs() < 1e-2, "{made}, must be {expected}");
        }
        let factor = 1.2 * 0.7 * 1.3;
        assert!(plain_c.iter().zip(&made_c).all(|(plain, made)| (plain * factor - made).abs() < 1e-3));
    }

    #[test]
    fn samples_and_coefficients_are_jittered_alike() {
        let transform = Transform { crop: (64, 64), resize: Resize::ShortSide(72), ..Transform::default() };
        let jitter = ColorJitter { brightness: 0.9, contrast: 0.8, color: 0.7 };
        let [y, _] = input(&View { transform, jitter }, InputKind::Blocks);
        let [rgb, _] = input(&View { transform, jitter }, InputKind::Rgb);
        let Normalization { mean, std } = Normalization::default();
        let weights = [0.299, 0.587, 0.114];
        let luma = |pixel: &[f32]| (0..3).map(|i| weights[i] * (pixel[i] * std[i] + mean[i])).sum::<f32>() * 255.0;
        let mean_luma = rgb.chunks(3).map(luma).sum::<f32>() / (64.0 * 64.0);
        let mean_dc = y.chunks(64).map(|block| block[0]).sum::<f32>() / 64.0;
        // Samples are clamped to 0 to 255 before, which coefficients are not.
        assert!((mean_dc / 8.0 + 128.0 - mean_luma).abs() < 1.0, "{mean_dc} and {mean_luma}");
    }
}
