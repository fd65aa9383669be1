//! From one image's frame and a [`Transform`] to what an engine executes.

use std::sync::Arc;

use super::axis::{Axis, AxisCache, AxisSpec, Basis};
use super::transform::{OrientationRule, Resize, Transform};
use crate::error::ImageError;
use crate::jpeg::{ColorModel, Component, Frame, Orientation};
use crate::tensor::InputKind;

/// One plane brought to one grid: output block (i, k), in the stored orientation, is
/// `sum over j, l of V[i,j] C[j,l] H[k,l]^T`, V from `vertical`, H from `horizontal`, C the dequantised coefficients times `scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanePlan<A = Arc<Axis>> {
    /// Index of the component in the frame.
    pub component_idx: usize,
    /// Takes rows of source blocks to rows of output blocks.
    pub vertical: A,
    /// Takes columns of source blocks to columns of output blocks.
    pub horizontal: A,
    /// Brings samples to 8 bits: 1, or 1/16 for 12-bit samples.
    pub scale: f32,
}

/// The planes that are needed at one resolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid<A = Arc<Axis>> {
    /// Rows of blocks of the result.
    pub blocks_high: u32,
    /// Blocks in a row of the result.
    pub blocks_wide: u32,
    /// What the planes' matrices make. Samples where colours are converted sample by sample: for [`InputKind::Rgb`], and for four
    /// components.
    pub basis: Basis,
    /// In frame order. Empty: the result is zero.
    pub planes: Vec<PlanePlan<A>>,
}

/// How one image's coefficients become a network's input: bands and matrices per plane and axis. Orientation, crop, resize and flip
/// are in the matrices, in the order of the bands, and in `transposed`.
///
/// What needs no resizing and is cut at block boundaries has exact matrices (the identity, odd rows negated if mirrored): the result
/// is then bit for bit the dequantised coefficients.
///
/// Which planes a grid needs depends on the colour model:
///
/// | | luma grid | chroma grid |
/// |---|---|---|
/// | `Blocks`, gray | luma | none: zero |
/// | `Blocks`, YCbCr | luma | Cb, Cr |
/// | `Blocks`, RGB and four components | all | all |
/// | `Rgb` | all | (no such grid) |
///
/// `A` is what stands for an axis: its matrices, or in an [`InputGeometry`] the numbers they are made from.
#[derive(Clone, Debug, PartialEq)]
pub struct InputPlan<A = Arc<Axis>> {
    /// What is made.
    pub kind: InputKind,
    /// What the components mean.
    pub color: ColorModel,
    /// Rows and columns change places: block (i, k) of a [`PlanePlan`] is transposed and becomes block (k, i) of the result.
    pub transposed: bool,
    /// One block per 8 x 8 samples of the crop.
    pub luma: Grid<A>,
    /// One block per 16 x 16 samples of the crop. None for [`InputKind::Rgb`].
    pub chroma: Option<Grid<A>>,
}

/// A plan without matrices, for a device that makes them itself.
pub type InputGeometry = InputPlan<AxisSpec>;

impl InputPlan {
    /// The plan for images of this frame.
    ///
    /// # Errors
    /// [`ImageError::NoInput`] where the components have no known meaning, the image is smaller than what the transform asks of it, or
    /// the transform is not valid.
    pub fn new(
        frame: &Frame,
        color: ColorModel,
        orientation: Orientation,
        transform: &Transform,
        kind: InputKind,
    ) -> Result<Self, ImageError> {
        Self::cached(&mut AxisCache::default(), frame, color, orientation, transform, kind)
    }

    /// As [`new`](Self::new), taking from `cache` what images of the same size have already computed.
    ///
    /// # Errors
    /// As `new`.
    pub fn cached(
        cache: &mut AxisCache,
        frame: &Frame,
        color: ColorModel,
        orientation: Orientation,
        transform: &Transform,
        kind: InputKind,
    ) -> Result<Self, ImageError> {
        let geometry = InputGeometry::of(frame, color, orientation, transform, kind)?;
        Ok(Self {
            kind,
            color,
            transposed: geometry.transposed,
            luma: geometry.luma.with_matrices(cache),
            chroma: geometry.chroma.map(|grid| grid.with_matrices(cache)),
        })
    }
}

impl Grid<AxisSpec> {
    fn with_matrices(&self, cache: &mut AxisCache) -> Grid {
        let plane = |plane: &PlanePlan<AxisSpec>| PlanePlan {
            component_idx: plane.component_idx,
            vertical: cache.get(&plane.vertical),
            horizontal: cache.get(&plane.horizontal),
            scale: plane.scale,
        };
        Grid {
            blocks_high: self.blocks_high,
            blocks_wide: self.blocks_wide,
            basis: self.basis,
            planes: self.planes.iter().map(plane).collect(),
        }
    }
}

impl InputGeometry {
    /// The geometry of the plan for images of this frame.
    ///
    /// # Errors
    /// As [`InputPlan::new`].
    pub fn of(
        frame: &Frame,
        color: ColorModel,
        orientation: Orientation,
        transform: &Transform,
        kind: InputKind,
    ) -> Result<Self, ImageError> {
        check_components(frame, color)?;
        if transform.validate().is_err() {
            return Err(ImageError::NoInput { what: "the transform is not valid" });
        }
        let orientation = match transform.orientation {
            OrientationRule::Apply => orientation,
            OrientationRule::Ignore => Orientation::Upright,
        };
        let [vertical, horizontal] = stored_sides(frame, orientation, transform)?;
        let basis = match (kind, color) {
            (InputKind::Rgb, _) | (_, ColorModel::Cmyk { .. } | ColorModel::Ycck { .. }) => Basis::Samples,
            (InputKind::Blocks, _) => Basis::Frequencies,
        };
        let planner = Planner { frame, orientation, transform, vertical, horizontal, basis };
        let all = 0..frame.components.len();
        let (luma, chroma) = match (kind, color) {
            (InputKind::Rgb, _) => (all, None),
            (InputKind::Blocks, ColorModel::Gray) => (0..1, Some(0..0)),
            (InputKind::Blocks, ColorModel::YCbCr) => (0..1, Some(1..3)),
            (InputKind::Blocks, _) => (all.clone(), Some(all)),
        };
        Ok(Self {
            kind,
            color,
            transposed: orientation.transposes(),
            luma: planner.grid(8, luma),
            chroma: chroma.map(|components| planner.grid(16, components)),
        })
    }
}

fn check_components(frame: &Frame, color: ColorModel) -> Result<(), ImageError> {
    let expected = match color {
        ColorModel::Gray => 1,
        ColorModel::YCbCr | ColorModel::Rgb => 3,
        ColorModel::Cmyk { .. } | ColorModel::Ycck { .. } => 4,
        ColorModel::Unknown => return Err(ImageError::NoInput { what: "the meaning of the components is not known" }),
    };
    if frame.components.len() != expected {
        return Err(ImageError::NoInput { what: "the number of components does not fit the colour model" });
    }
    Ok(())
}

/// One side of the image: the part of it that becomes the crop, in samples of the frame.
#[derive(Clone, Copy)]
struct Side {
    /// The box [start, end) that is resized to the crop.
    start: f64,
    end: f64,
    /// The samples that may be read.
    clip: (u32, u32),
    /// The crop runs against the direction of the samples.
    mirrored: bool,
}

impl Side {
    /// The centre crop of `crop` samples after `length` samples were resized to `resized`.
    fn centre_crop(length: u32, resized: u64, crop: u32) -> Result<Self, ImageError> {
        if resized < u64::from(crop) {
            return Err(ImageError::NoInput {
                what: "the image is smaller than the crop, and the transform does not resize it",
            });
        }
        let offset = ((resized - u64::from(crop)) as f64 / 2.0).round_ties_even();
        let source_position = |output: f64| output * f64::from(length) / resized as f64;
        Ok(Self {
            start: source_position(offset),
            end: source_position(offset + f64::from(crop)),
            clip: (0, length),
            mirrored: false,
        })
    }

    /// `size` samples from `start` on, and nothing else.
    fn only(length: u32, start: u32, size: u32) -> Result<Self, ImageError> {
        match start.checked_add(size) {
            Some(end) if end <= length => {
                Ok(Self { start: start.into(), end: end.into(), clip: (start, end), mirrored: false })
            }
            _ => Err(ImageError::NoInput { what: "the transform's box is not inside of the image" }),
        }
    }

    /// The same crop of a side of `length` samples that is stored the other way round.
    fn reversed(self, length: u32) -> Self {
        Self {
            start: f64::from(length) - self.end,
            end: f64::from(length) - self.start,
            clip: (length - self.clip.1, length - self.clip.0),
            mirrored: !self.mirrored,
        }
    }
}

/// Vertical and horizontal side of the stored image.
fn stored_sides(frame: &Frame, orientation: Orientation, transform: &Transform) -> Result<[Side; 2], ImageError> {
    let (width, height) = match orientation.transposes() {
        false => (frame.width, frame.height),
        true => (frame.height, frame.width),
    };
    let (crop_width, crop_height) = transform.crop;
    let (mut horizontal, mut vertical) = match transform.resize {
        Resize::Box { left, top, width: box_width, height: box_height } => {
            (Side::only(width, left, box_width)?, Side::only(height, top, box_height)?)
        }
        resize => {
            let (resized_width, resized_height) = resized_size(resize, width, height)?;
            (
                Side::centre_crop(width, resized_width, crop_width)?,
                Side::centre_crop(height, resized_height, crop_height)?,
            )
        }
    };
    let (right_to_left, bottom_to_top) = reversals(orientation);
    if right_to_left {
        horizontal = horizontal.reversed(width);
    }
    if bottom_to_top {
        vertical = vertical.reversed(height);
    }
    horizontal.mirrored ^= transform.flip;
    Ok(if orientation.transposes() { [horizontal, vertical] } else { [vertical, horizontal] })
}

/// Width and height of the whole image after the resize rule.
fn resized_size(resize: Resize, width: u32, height: u32) -> Result<(u64, u64), ImageError> {
    let (short, long) = (u64::from(width.min(height)), u64::from(width.max(height)));
    if short == 0 {
        return Err(ImageError::NoInput { what: "the image has no samples" });
    }
    Ok(match resize {
        Resize::ShortSide(side) => {
            let resized_long = u64::from(side) * long / short;
            if width <= height { (side.into(), resized_long) } else { (resized_long, side.into()) }
        }
        Resize::Exact { width, height } => (width.into(), height.into()),
        Resize::None | Resize::Box { .. } => (width.into(), height.into()),
    })
}

/// Whether the shown image's columns, and its rows, run against the stored samples (rows and columns having changed places, where
/// the orientation transposes).
fn reversals(orientation: Orientation) -> (bool, bool) {
    match orientation {
        Orientation::Upright | Orientation::Transpose => (false, false),
        Orientation::FlipHorizontal | Orientation::Rotate90 => (true, false),
        Orientation::FlipVertical | Orientation::Rotate270 => (false, true),
        Orientation::Rotate180 | Orientation::Transverse => (true, true),
    }
}

struct Planner<'a> {
    frame: &'a Frame,
    orientation: Orientation,
    transform: &'a Transform,
    vertical: Side,
    horizontal: Side,
    basis: Basis,
}

impl Planner<'_> {
    /// The grid of one block per `block_side` x `block_side` samples of the crop.
    fn grid(&self, block_side: u32, components: std::ops::Range<usize>) -> Grid<AxisSpec> {
        let (blocks_wide, blocks_high) = (self.transform.crop.0 / block_side, self.transform.crop.1 / block_side);
        let (stored_wide, stored_high) = match self.orientation.transposes() {
            false => (blocks_wide, blocks_high),
            true => (blocks_high, blocks_wide),
        };
        let scale = if self.frame.precision_bits == 12 { 1.0 / 16.0 } else { 1.0 };
        let planes = components
            .map(|component_idx| {
                let Component { h, v, width_samples, height_samples, .. } = self.frame.components[component_idx];
                let (h, v) = ((h, self.frame.h_max), (v, self.frame.v_max));
                PlanePlan {
                    component_idx,
                    vertical: component_spec(self.vertical, v, height_samples, stored_high, self.basis),
                    horizontal: component_spec(self.horizontal, h, width_samples, stored_wide, self.basis),
                    scale,
                }
            })
            .collect();
        Grid { blocks_high, blocks_wide, basis: self.basis, planes }
    }
}

/// The frame's side in the samples of a component: positions scaled by its sampling factor over the largest one, a sample that the
/// clip touches counted in.
fn component_spec(
    side: Side,
    (factor, factor_max): (u8, u8),
    num_samples: u32,
    num_blocks: u32,
    basis: Basis,
) -> AxisSpec {
    let position = |samples: f64| samples * f64::from(factor) / f64::from(factor_max);
    let (factor, factor_max) = (u32::from(factor), u32::from(factor_max));
    AxisSpec {
        start: position(side.start),
        end: position(side.end),
        clip: (side.clip.0 * factor / factor_max, (side.clip.1 * factor).div_ceil(factor_max).min(num_samples)),
        num_outputs: num_blocks * 8,
        mirrored: side.mirrored,
        basis,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::{EntropyCoding, Process};

    fn frame(width: u32, height: u32, factors: &[(u8, u8)]) -> Frame {
        let max = factors[0];
        Frame {
            process: Process::Baseline,
            coding: EntropyCoding::Huffman,
            precision_bits: 8,
            width,
            height,
            components: factors.iter().map(|&f| Component::new(1, f, 0, (width, height), max)).collect(),
            h_max: max.0,
            v_max: max.1,
        }
    }

    #[test]
    fn the_centre_crop_is_torchvisions() {
        // 375 x 500: 256 x floor(256 * 500 / 375) = 341; offsets 16 and round(58.5) = 58, half to even.
        let transform = Transform::default();
        let [vertical, horizontal] =
            stored_sides(&frame(375, 500, &[(1, 1)]), Orientation::Upright, &transform).unwrap();
        assert_eq!(horizontal.start, 16.0 * 375.0 / 256.0);
        assert_eq!(vertical.start, 58.0 * 500.0 / 341.0);
        assert_eq!(vertical.end, (58.0 + 224.0) * 500.0 / 341.0);
    }

    #[test]
    fn nothing_to_resize_has_one_exact_matrix_an_axis() {
        let frame = frame(224, 224, &[(2, 2), (1, 1), (1, 1)]);
        let transform = "short=224".parse().unwrap();
        let plan =
            InputPlan::new(&frame, ColorModel::YCbCr, Orientation::Upright, &transform, InputKind::Blocks).unwrap();
        for plane in plan.luma.planes.iter().chain(&plan.chroma.unwrap().planes) {
            for axis in [&plane.vertical, &plane.horizontal] {
                assert_eq!(axis.matrices.len(), 1);
                assert!(
                    axis.matrices[0].iter().enumerate().all(|(i, &value)| value == f32::from(u8::from(i % 9 == 0)))
                );
            }
        }
    }

    #[test]
    fn extreme_shapes_have_a_plan() {
        let transform = "exact=32x32,crop=32".parse().unwrap();
        for (width, height) in [(65_535, 1), (1, 65_535), (65_535, 65_535), (1, 1)] {
            for factors in [[(1, 1); 3], [(4, 4), (1, 1), (1, 3)], [(3, 2), (1, 1), (2, 1)]] {
                let frame = frame(width, height, &factors);
                for transform in [transform, Transform::default()] {
                    for kind in [InputKind::Blocks, InputKind::Rgb] {
                        let plan = InputPlan::new(&frame, ColorModel::YCbCr, Orientation::Rotate90, &transform, kind);
                        for plane in plan.unwrap().luma.planes {
                            let component = &frame.components[plane.component_idx];
                            assert!(plane.horizontal.source_blocks().end <= component.blocks_wide as usize);
                            assert!(plane.vertical.source_blocks().end <= component.blocks_high as usize);
                        }
                    }
                }
            }
        }
    }
}
