//! The plan of making the network's input of one batch: what a device needs to know beside the coefficients, some hundred bytes an image.
//! Bands and matrices are not in it: the device makes them of each axis's few numbers.

use std::collections::HashMap;

use super::image::PlannedImage;
use super::layout::{Layout, Region};
use crate::abi::{
    AXIS_ALIGNED, AXIS_MIRRORED, AXIS_SAMPLES, AxisDesc, BAND_TILE_MATRICES, BandBlocks, INPUT_CB, INPUT_CHANNELS,
    INPUT_CHROMA, INPUT_CHUNK_COLUMNS, INPUT_COLOR_CMYK, INPUT_COLOR_GRAY, INPUT_COLOR_RGB, INPUT_COLOR_YCBCR,
    INPUT_COLOR_YCCK, INPUT_CR, INPUT_FAILED, INPUT_INVERTED, INPUT_RGB, INPUT_TILE_COLUMNS, INPUT_TILE_ROWS,
    INPUT_TRANSPOSED, INPUT_Y, InputAffine, InputGrid, InputPlane, InputTile, NO_QUANT,
};
use crate::jpeg::{ColorModel, Frame, Header, Natural, Orientation};
use crate::network::{Inference, Metadata};
use crate::resample::{AxisSpec, Basis, InputGeometry, Normalization, PlanePlan, Transform};
use crate::tensor::InputKind;
use crate::{Error, ErrorKind, ImageError, Result};

/// The type of a network input's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputValue {
    /// 16 bits: what tensor cores read.
    F16,
    /// 32 bits: what the CPU makes.
    F32,
}

impl InputValue {
    /// Its size.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// What a network reads: the same for all images of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct InputForm {
    kind: InputKind,
    width: u32,
    height: u32,
    value: InputValue,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl InputForm {
    /// Channels of a pixel of [`InputKind::Rgb`] in device memory: red, green, blue, and a zero, since tensor cores read multiples of four.
    pub const RGB_CHANNELS: usize = 4;

    /// Coefficients for a crop of `width` x `height` samples: Y `[N, H/8, W/8, 64]`, C `[N, H/16, W/16, 128]`.
    pub fn blocks(width: u32, height: u32, value: InputValue) -> Self {
        let channels = INPUT_CHANNELS as usize;
        Self { kind: InputKind::Blocks, width, height, value, scale: vec![1.0; channels], shift: vec![0.0; channels] }
    }

    /// Normalised samples `[N, H, W, 4]`, the last channel zero.
    pub fn rgb(width: u32, height: u32, value: InputValue, normalization: &Normalization) -> Self {
        let Normalization { mean, std } = normalization;
        let scale = std.map(|std| 1.0 / (255.0 * std)).to_vec();
        let shift = (0..3).map(|channel| -mean[channel] / std[channel]).collect();
        Self { kind: InputKind::Rgb, width, height, value, scale, shift }
    }

    /// A network's input in f16. Batch norms that come directly on it are taken out of `inference`: they are applied in the input's own pass,
    /// before it is rounded.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if a norm has not as many channels as the input.
    pub fn of_network(inference: &mut Inference, metadata: &Metadata) -> Result<Self> {
        let (width, height) = metadata.transform.crop;
        if inference.input == InputKind::Rgb {
            return Ok(Self::rgb(width, height, InputValue::F16, &metadata.normalization));
        }
        let mut form = Self::blocks(width, height, InputValue::F16);
        let [luma, chroma] = inference.take_input_norms();
        if let Some(norm) = luma {
            form = form.with_luma_norm(&norm.scale, &norm.shift)?;
        }
        if let Some(norm) = chroma {
            form = form.with_chroma_norm(&norm.scale, &norm.shift)?;
        }
        Ok(form)
    }

    /// With a batch norm that comes directly on Y: `scale` and `shift` of 64 channels. RGB has none.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there are not as many, or the input is RGB.
    pub fn with_luma_norm(self, scale: &[f32], shift: &[f32]) -> Result<Self> {
        self.with_norm(0..64, scale, shift)
    }

    /// With a batch norm that comes directly on C: `scale` and `shift` of 128 channels. RGB has none.
    ///
    /// # Errors
    /// As [`with_luma_norm`](Self::with_luma_norm).
    pub fn with_chroma_norm(self, scale: &[f32], shift: &[f32]) -> Result<Self> {
        self.with_norm(64..INPUT_CHANNELS as usize, scale, shift)
    }

    fn with_norm(mut self, channels: std::ops::Range<usize>, scale: &[f32], shift: &[f32]) -> Result<Self> {
        if self.kind != InputKind::Blocks || [scale.len(), shift.len()] != [channels.len(); 2] {
            let message =
                format!("a batch norm on the input's blocks has {} channels, not {}", channels.len(), scale.len());
            return Err(Error::new(ErrorKind::Usage, message));
        }
        self.scale[channels.clone()].copy_from_slice(scale);
        self.shift[channels].copy_from_slice(shift);
        Ok(self)
    }

    /// Samples across and down: the transform's crop.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Which input it is.
    pub fn kind(&self) -> InputKind {
        self.kind
    }

    /// The type of its values.
    pub fn value(&self) -> InputValue {
        self.value
    }

    /// Bytes of one image in each output: Y and C, or RGB alone.
    pub fn image_bytes(&self) -> impl Iterator<Item = usize> {
        let samples = self.width as usize * self.height as usize;
        let (values, num_outputs) = match self.kind {
            InputKind::Blocks => ([samples, samples / 2], 2),
            InputKind::Rgb => ([samples * Self::RGB_CHANNELS, 0], 1),
        };
        values.into_iter().take(num_outputs).map(|len| len * self.value.bytes())
    }

    /// Shapes of one image's outputs: rows, columns and channels of Y and C, or of RGB alone.
    pub fn image_shapes(&self) -> impl Iterator<Item = [usize; 3]> {
        let (width, height) = (self.width as usize, self.height as usize);
        let (shapes, num_outputs) = match self.kind {
            InputKind::Blocks => ([[height / 8, width / 8, 64], [height / 16, width / 16, 128]], 2),
            InputKind::Rgb => ([[height, width, Self::RGB_CHANNELS], [0; 3]], 1),
        };
        shapes.into_iter().take(num_outputs)
    }

    fn affine(&self) -> InputAffine {
        let mut affine = InputAffine { scale: [0.0; INPUT_CHANNELS as usize], shift: [0.0; INPUT_CHANNELS as usize] };
        affine.scale[..self.scale.len()].copy_from_slice(&self.scale);
        affine.shift[..self.shift.len()].copy_from_slice(&self.shift);
        affine
    }
}

/// One component's coefficients in device memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePlane {
    /// Index of its first coefficient; a multiple of 64.
    pub first_coefficient: u64,
    /// Blocks between the starts of two rows of blocks.
    pub pitch_blocks: u32,
    /// The quantisation table; `None` if the component was never sent: its samples are mid-gray.
    pub quant: Option<Natural<u16>>,
}

/// One image of the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct InputImage {
    geometry: InputGeometry,
    planes: Vec<SourcePlane>,
}

impl InputImage {
    /// An image of this frame whose components lie in device memory as `[padded_blocks_high][padded_blocks_wide][64]`, quantised, natural
    /// order. `planes`: by component, first coefficient and quantisation table.
    ///
    /// # Errors
    /// [`ImageError::NoInput`], as [`InputGeometry::of`].
    pub fn new(
        frame: &Frame,
        color: ColorModel,
        orientation: Orientation,
        transform: &Transform,
        kind: InputKind,
        mut planes: impl FnMut(usize) -> (u64, Option<Natural<u16>>),
    ) -> Result<Self, ImageError> {
        let geometry = InputGeometry::of(frame, color, orientation, transform, kind)?;
        let plane = |(component_idx, component): (usize, &crate::jpeg::Component)| {
            let (first_coefficient, quant) = planes(component_idx);
            SourcePlane { first_coefficient, pitch_blocks: component.padded_blocks_wide, quant }
        };
        Ok(Self { geometry, planes: frame.components.iter().enumerate().map(plane).collect() })
    }

    /// An image of a batch that the device decodes; `first_coefficients` is its entry in [`DecodePlan::planes`](super::DecodePlan::planes).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn decoded(
        image: &PlannedImage<'_>,
        first_coefficients: &[u64],
        transform: &Transform,
        kind: InputKind,
    ) -> Result<Self, ImageError> {
        let Header { frame, color, orientation, .. } = &image.header;
        let plane = |component_idx: usize| (first_coefficients[component_idx], image.quant_table(component_idx));
        Self::new(frame, *color, *orientation, transform, kind, plane)
    }
}

/// Everything that making a batch's input needs to know.
#[derive(Clone, Debug)]
pub struct InputBatchPlan {
    /// What is made.
    pub form: InputForm,
    /// Images of the batch, failed ones too.
    pub num_images: usize,
    /// Each axis once.
    pub axes: Vec<AxisDesc>,
    /// By grid.
    pub planes: Vec<InputPlane>,
    /// By image: Y, Cb and Cr (as one grid where they are mixed of all planes), or RGB.
    pub grids: Vec<InputGrid>,
    /// Each quantisation table once, in natural order.
    pub quants: Vec<[u16; 64]>,
    /// Scale and shift of every channel.
    pub affine: InputAffine,
    /// Tiles of `build_bands`.
    pub band_tiles: Vec<InputTile>,
    /// Tiles of `write_input`, those with most work first: no long one is left for the end.
    pub tiles: Vec<InputTile>,
    /// Shared memory for the planes of any tile.
    pub tile_bytes: u32,
    /// Coefficients that the planes span, from the first of all.
    pub num_coefficients: u64,
    /// Working memory.
    pub scratch: Layout,
    /// In working memory: the source blocks of every output block, by axis.
    pub bands: Region,
    /// In working memory: matrices of 64 float32, by axis.
    pub matrices: Region,
    /// In working memory: a counter for each image.
    pub num_saturated: Region,
    axis_indices: HashMap<AxisSpec, u32>,
    /// By axis: one past the last source block that is read.
    source_ends: Vec<u32>,
    quant_indices: HashMap<[u16; 64], u32>,
    /// By grid: about how many products of two blocks a tile of it is.
    tile_work: Vec<u64>,
    /// Grids, those with the largest tiles first.
    order: Vec<u32>,
}

impl InputBatchPlan {
    /// The plan for a batch; `None` is an image that failed, whose slot becomes zero. `redzone_bytes` (a multiple of 8) stay unused behind
    /// every array of working memory.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if an image's transform gives another form of input than `form`.
    pub fn new(images: &[Option<InputImage>], form: &InputForm, redzone_bytes: usize) -> Result<Self> {
        let mut plan = Self::empty(form);
        plan.replace(images, redzone_bytes)?;
        Ok(plan)
    }

    /// Becomes the plan for these images, of the form that it has, in the memory that it has: once it has planned the largest batch, it
    /// takes no more.
    ///
    /// # Errors
    /// As [`new`](Self::new); the plan is useless then, until it is replaced again.
    pub fn replace(&mut self, images: &[Option<InputImage>], redzone_bytes: usize) -> Result<()> {
        self.clear(redzone_bytes);
        self.num_images = images.len();
        let mut builder = Builder { plan: self, num_bands: 0, num_matrices: 0 };
        for (image_idx, image) in images.iter().enumerate() {
            match image {
                Some(image) => builder.add_image(image_idx, image)?,
                None => builder.add_failed(image_idx),
            }
        }
        builder.finish();
        Ok(())
    }

    /// Of no images; keeps its memory.
    fn clear(&mut self, redzone_bytes: usize) {
        let Self { axes, planes, grids, quants, band_tiles, tiles, source_ends, tile_work, order, .. } = self;
        axes.clear();
        planes.clear();
        grids.clear();
        quants.clear();
        band_tiles.clear();
        tiles.clear();
        source_ends.clear();
        tile_work.clear();
        order.clear();
        self.axis_indices.clear();
        self.quant_indices.clear();
        self.scratch.clear(redzone_bytes);
        (self.tile_bytes, self.num_coefficients) = (0, 0);
    }

    /// A plan of no images.
    pub fn empty(form: &InputForm) -> Self {
        Self {
            affine: form.affine(),
            form: form.clone(),
            num_images: 0,
            axes: Vec::new(),
            planes: Vec::new(),
            grids: Vec::new(),
            quants: Vec::new(),
            band_tiles: Vec::new(),
            tiles: Vec::new(),
            tile_bytes: 0,
            num_coefficients: 0,
            scratch: Layout::new(0),
            bands: Region::default(),
            matrices: Region::default(),
            num_saturated: Region::default(),
            axis_indices: HashMap::new(),
            source_ends: Vec::new(),
            quant_indices: HashMap::new(),
            tile_work: Vec::new(),
            order: Vec::new(),
        }
    }
}

struct Builder<'a> {
    plan: &'a mut InputBatchPlan,
    num_bands: u32,
    num_matrices: u32,
}

impl Builder<'_> {
    fn add_image(&mut self, image_idx: usize, image: &InputImage) -> Result<()> {
        let InputImage { geometry, planes } = image;
        let form = &self.plan.form;
        let blocks = (geometry.luma.blocks_wide, geometry.luma.blocks_high);
        if geometry.kind != form.kind || blocks != (form.width / 8, form.height / 8) {
            let message = format!(
                "image {image_idx} of the batch becomes {:?} of {}x{} blocks, the batch {:?} of {}x{} samples: one network reads one form",
                geometry.kind, blocks.0, blocks.1, form.kind, form.width, form.height
            );
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let (color, inverted) = match geometry.color {
            ColorModel::Gray | ColorModel::Unknown => (INPUT_COLOR_GRAY, false),
            ColorModel::YCbCr => (INPUT_COLOR_YCBCR, false),
            ColorModel::Rgb => (INPUT_COLOR_RGB, false),
            ColorModel::Cmyk { inverted } => (INPUT_COLOR_CMYK, inverted),
            ColorModel::Ycck { inverted } => (INPUT_COLOR_YCCK, inverted),
        };
        let flags = if geometry.transposed { INPUT_TRANSPOSED } else { 0 } | if inverted { INPUT_INVERTED } else { 0 };
        let template = |target: u32| InputGrid {
            image_idx: image_idx as u32,
            target: target as u8,
            color: color as u8,
            flags: flags as u8,
            ..InputGrid::default()
        };
        self.add_grid(template(luma_target(geometry.kind)), blocks, &geometry.luma.planes, planes);
        if let Some(chroma) = &geometry.chroma {
            let blocks = (chroma.blocks_wide, chroma.blocks_high);
            if geometry.color == ColorModel::YCbCr {
                // Nothing is mixed: each plane has tiles of its own.
                for (target, plane) in [INPUT_CB, INPUT_CR].into_iter().zip(chroma.planes.chunks(1)) {
                    self.add_grid(template(target), blocks, plane, planes);
                }
            } else {
                self.add_grid(template(INPUT_CHROMA), blocks, &chroma.planes, planes);
            }
        }
        Ok(())
    }

    /// Grids without planes, of zeros.
    fn add_failed(&mut self, image_idx: usize) {
        let InputForm { kind, width, height, .. } = self.plan.form;
        let template = |target: u32| InputGrid {
            image_idx: image_idx as u32,
            target: target as u8,
            flags: INPUT_FAILED as u8,
            ..InputGrid::default()
        };
        self.add_grid(template(luma_target(kind)), (width / 8, height / 8), &[], &[]);
        if kind == InputKind::Blocks {
            self.add_grid(template(INPUT_CHROMA), (width / 16, height / 16), &[], &[]);
        }
    }

    /// A grid of `blocks_wide` x `blocks_high` blocks of the result. `template` lacks what follows from the rest.
    fn add_grid(
        &mut self,
        template: InputGrid,
        (blocks_wide, blocks_high): (u32, u32),
        planes: &[PlanePlan<AxisSpec>],
        sources: &[SourcePlane],
    ) {
        let (blocks_wide, blocks_high) = match u32::from(template.flags) & INPUT_TRANSPOSED {
            0 => (blocks_wide, blocks_high),
            _ => (blocks_high, blocks_wide),
        };
        let tile_columns = tile_columns(planes, blocks_wide);
        let first_plane = self.plan.planes.len() as u32;
        let mut work = 0;
        for plane in planes {
            let plane = self.input_plane(plane, &sources[plane.component_idx]);
            let [band_rows, band_columns] =
                [plane.vertical_axis, plane.horizontal_axis].map(|axis| self.plan.axes[axis as usize].max_band_blocks);
            work += u64::from(band_rows) * u64::from(band_columns * tile_columns);
            let num_rows = u64::from(self.plan.source_ends[plane.vertical_axis as usize]);
            let plane_end = plane.first_coefficient + num_rows * u64::from(plane.pitch_blocks) * 64;
            self.plan.num_coefficients = self.plan.num_coefficients.max(plane_end);
            self.plan.planes.push(plane);
        }
        self.plan.tile_work.push(work);
        let num_planes = planes.len() as u32;
        let planes_in_tile = if u32::from(template.target) == INPUT_RGB { num_planes.max(3) } else { num_planes };
        let tile_bytes = planes_in_tile * INPUT_TILE_ROWS * tile_columns * 64 * size_of::<f32>() as u32;
        self.plan.tile_bytes = self.plan.tile_bytes.max(tile_bytes);
        self.plan.grids.push(InputGrid { first_plane, num_planes, blocks_high, blocks_wide, tile_columns, ..template });
    }

    fn input_plane(&mut self, plane: &PlanePlan<AxisSpec>, source: &SourcePlane) -> InputPlane {
        InputPlane {
            first_coefficient: source.first_coefficient,
            pitch_blocks: source.pitch_blocks,
            vertical_axis: self.axis_idx(&plane.vertical),
            horizontal_axis: self.axis_idx(&plane.horizontal),
            quant: source.quant.as_ref().map_or(NO_QUANT, |quant| self.quant_idx(quant)),
            scale: plane.scale,
            reserved: 0,
        }
    }

    fn quant_idx(&mut self, quant: &Natural<u16>) -> u32 {
        let InputBatchPlan { quants, quant_indices, .. } = &mut *self.plan;
        *quant_indices.entry(quant.0).or_insert_with(|| {
            quants.push(quant.0);
            quants.len() as u32 - 1
        })
    }

    fn axis_idx(&mut self, spec: &AxisSpec) -> u32 {
        if let Some(&axis_idx) = self.plan.axis_indices.get(spec) {
            return axis_idx;
        }
        let axis_idx = self.plan.axes.len() as u32;
        self.plan.axis_indices.insert(*spec, axis_idx);
        let num_output_blocks = spec.num_outputs / 8;
        let bands = (0..num_output_blocks).map(|output_block| spec.source_blocks(output_block));
        let max_band_blocks = bands.clone().map(|band| band.len()).max().unwrap_or(0) as u32;
        self.plan.source_ends.push(bands.map(|band| band.end).max().unwrap_or(0));
        let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
        self.plan.axes.push(AxisDesc {
            start: spec.start,
            scale: spec.scale(),
            clip_start: spec.clip.0,
            clip_end: spec.clip.1,
            num_output_blocks,
            max_band_blocks,
            first_band: self.num_bands,
            first_matrix: self.num_matrices,
            flags: flag(spec.mirrored, AXIS_MIRRORED)
                | flag(spec.basis == Basis::Samples, AXIS_SAMPLES)
                | flag(spec.aligned_block().is_some(), AXIS_ALIGNED),
            reserved: 0,
        });
        let num_matrices = num_output_blocks * max_band_blocks;
        self.num_bands += num_output_blocks;
        self.num_matrices += num_matrices;
        let tiles = (0..num_matrices).step_by(BAND_TILE_MATRICES as usize);
        self.plan.band_tiles.extend(tiles.map(|first| InputTile { owner_idx: axis_idx, first }));
        axis_idx
    }

    fn finish(self) {
        let plan = self.plan;
        let InputBatchPlan { order, tile_work, grids, tiles, .. } = plan;
        order.extend(0..grids.len() as u32);
        order.sort_unstable_by_key(|&grid_idx| (std::cmp::Reverse(tile_work[grid_idx as usize]), grid_idx));
        for &owner_idx in &*order {
            let grid = &grids[owner_idx as usize];
            let num_tiles = grid.blocks_high.div_ceil(INPUT_TILE_ROWS) * grid.blocks_wide.div_ceil(grid.tile_columns);
            tiles.extend((0..num_tiles).map(|first| InputTile { owner_idx, first }));
        }
        plan.bands = plan.scratch.place_array::<BandBlocks>(self.num_bands as usize);
        plan.matrices = plan.scratch.place_array::<[f32; 64]>(self.num_matrices as usize);
        plan.num_saturated = plan.scratch.place_array::<u32>(plan.num_images);
    }
}

/// What becomes of the grid of one block per 8 x 8 samples.
fn luma_target(kind: InputKind) -> u32 {
    match kind {
        InputKind::Blocks => INPUT_Y,
        InputKind::Rgb => INPUT_RGB,
    }
}

/// Output blocks in a row of a tile: as many as read no more source columns than a CTA takes at one time, so that large images are shared out
/// among many CTAs, and shared out evenly.
fn tile_columns(planes: &[PlanePlan<AxisSpec>], blocks_wide: u32) -> u32 {
    let scale = planes.iter().map(|plane| plane.horizontal.scale()).fold(0.0, f64::max);
    // n output blocks read 8 n samples times the scale and half a filter on either side; the first block is cut anywhere.
    let fitting = (f64::from(INPUT_CHUNK_COLUMNS - 1) - scale.max(1.0) / 4.0) / scale;
    let most = (fitting as u32).clamp(1, INPUT_TILE_COLUMNS);
    blocks_wide.div_ceil(blocks_wide.div_ceil(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::{ComponentSpec, EntropyCoding, Process};

    fn image(width: u32, height: u32, luma_factors: (u8, u8)) -> InputImage {
        let factors = [luma_factors, (1, 1), (1, 1)];
        let specs = factors.map(|(h, v)| ComponentSpec { id: 0, h, v, quant_idx: 0 });
        let frame = Frame::new((Process::Baseline, EntropyCoding::Huffman), 8, (width, height), &specs);
        let planes =
            |component_idx: usize| (64 * component_idx as u64, Some(Natural([component_idx.min(1) as u16; 64])));
        let (transform, kind) = (Transform::default(), InputKind::Blocks);
        InputImage::new(&frame, ColorModel::YCbCr, Orientation::Upright, &transform, kind, planes).unwrap()
    }

    fn plan(images: Vec<Option<InputImage>>) -> InputBatchPlan {
        InputBatchPlan::new(&images, &InputForm::blocks(224, 224, InputValue::F16), 0).unwrap()
    }

    #[test]
    fn what_images_share_is_there_once() {
        let plan = plan(vec![Some(image(500, 375, (2, 2))); 3]);
        assert_eq!((plan.axes.len(), plan.quants.len()), (4, 2));
        assert_eq!((plan.planes.len(), plan.grids.len()), (9, 9));
        let num_matrices: u32 = plan.axes.iter().map(|axis| axis.num_output_blocks * axis.max_band_blocks).sum();
        assert_eq!(plan.matrices.len_bytes, num_matrices as usize * 256);
    }

    #[test]
    fn an_image_takes_less_than_a_kilobyte_of_the_upload() {
        let plan = plan(vec![Some(image(500, 375, (1, 1)))]);
        let bytes = size_of_val(&plan.axes[..])
            + size_of_val(&plan.planes[..])
            + size_of_val(&plan.grids[..])
            + size_of_val(&plan.tiles[..])
            + size_of_val(&plan.band_tiles[..]);
        assert!(bytes < 1024, "{bytes}");
    }

    #[test]
    fn a_large_image_is_shared_out_and_comes_first() {
        let plan = plan(vec![Some(image(500, 375, (2, 2))), None, Some(image(4000, 3000, (2, 2)))]);
        let large = plan.tiles.iter().take_while(|tile| plan.grids[tile.owner_idx as usize].image_idx == 2).count();
        assert!(large >= 150, "{large} tiles");
        assert!(plan.tiles[large..].iter().all(|tile| plan.grids[tile.owner_idx as usize].image_idx != 2));
        let failed = plan.tiles.last().unwrap();
        assert_eq!(plan.grids[failed.owner_idx as usize].flags, INPUT_FAILED as u8);
    }
}
