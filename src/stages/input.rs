//! Making a batch's network input from its coefficients: one upload, two launches, no wait. `kernels/input/README.md` has the kernels.

use std::sync::Arc;

use super::NetworkInput;
use super::arena::Arena;
use crate::abi::{self, InputBatch, InputTile};
use crate::device::{self, Device, DeviceBuffer, DeviceSlice, Event, Grid, PinnedBuffer, Stream};
use crate::plan::{InputBatchPlan, InputValue, Layout, Region};
use crate::resample::DCT;
use crate::tensor::InputKind;
use crate::{Error, ErrorKind, Result};

/// Makes the network's input of batches. Its memory grows to what the largest batch needs, and is used again for the next one.
#[derive(Debug)]
pub struct InputStage {
    device: Arc<dyn Device>,
    staging: Arena<PinnedBuffer>,
    upload: Arena<DeviceBuffer>,
    scratch: Arena<DeviceBuffer>,
    num_saturated: Arena<PinnedBuffer>,
    num_images: usize,
    is_uploaded: Event,
    is_finished: Event,
}

impl InputStage {
    /// A stage without memory yet.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(device: &Arc<dyn Device>) -> Result<Self> {
        Ok(Self {
            device: Arc::clone(device),
            staging: Arena::new(device, PinnedBuffer::new)?,
            upload: Arena::new(device, DeviceBuffer::new)?,
            scratch: Arena::new(device, DeviceBuffer::new)?,
            num_saturated: Arena::new(device, PinnedBuffer::new)?,
            num_images: 0,
            is_uploaded: Event::new(device)?,
            is_finished: Event::new(device)?,
        })
    }

    /// How often memory was taken so far: it stays the same once the largest batch was seen.
    pub fn num_allocations(&self) -> u64 {
        let on_device = self.upload.num_allocations + self.scratch.num_allocations;
        on_device + self.staging.num_allocations + self.num_saturated.num_allocations
    }

    /// Waits for the batch that was submitted last and gives all memory back; the next batch takes it anew.
    ///
    /// # Errors
    /// Those of the device.
    pub fn trim(&mut self) -> Result<()> {
        self.is_finished.synchronize()?;
        self.num_images = 0;
        self.staging.trim()?;
        self.upload.trim()?;
        self.scratch.trim()?;
        self.num_saturated.trim()
    }

    /// Puts the making of a batch's input on the stream: whatever is put there afterwards finds it in `out`. Every value of `out` that
    /// belongs to the batch is written; slots of failed images become zero. Waits for nothing but the upload of the batch before.
    ///
    /// `coefficients` are where the plan's planes lie; decoding them is on the stream before, or done.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if `coefficients` or `out` are shorter than the plan says or not aligned to 16 bytes, or `out` is of another
    /// kind; those of the device.
    pub fn submit(
        &mut self,
        stream: &Stream,
        plan: &InputBatchPlan,
        coefficients: DeviceSlice<'_>,
        out: NetworkInput<'_>,
    ) -> Result<()> {
        let _range = device::range(format_args!("input of {} images", plan.num_images));
        let outputs = check_buffers(plan, coefficients, out)?;
        let upload = UploadLayout::new(plan);
        let upload_bytes = upload.layout.len_bytes();
        let counter_bytes = plan.num_saturated.len_bytes;
        self.is_uploaded.synchronize()?;
        self.staging.reserve(upload_bytes)?;
        self.upload.reserve(upload_bytes)?;
        self.scratch.reserve(plan.scratch.len_bytes())?;
        self.num_saturated.reserve(counter_bytes)?;
        upload.fill(self.staging.buffer.as_mut_slice(), plan);
        self.guard_scratch(plan)?;
        self.num_images = plan.num_images;

        // The batch before may have been on another stream.
        stream.wait_for(&self.is_finished)?;
        let staging = &self.staging.buffer.as_slice()[..upload_bytes];
        // SAFETY: the staging buffer is this stage's own, and written again only after the upload has happened.
        unsafe { stream.upload(self.upload.buffer.slice(0..upload_bytes), staging)? };
        stream.record(&self.is_uploaded)?;
        self.launch(stream, plan, &self.batch(&upload, plan, coefficients, outputs), &upload)?;
        let counters = self.scratch.buffer.slice(plan.num_saturated.range_bytes());
        // SAFETY: `fetch_saturated` looks at the counters only after it has waited for the batch, and so do later submissions' copies.
        unsafe { stream.download(&mut self.num_saturated.buffer.as_mut_slice()[..counter_bytes], counters)? };
        stream.record(&self.is_finished)
    }

    /// Waits for the batch that was submitted last, and says for each image how many coefficients were beyond
    /// [`SATURATION`](crate::abi::INPUT_SATURATION).
    ///
    /// # Errors
    /// Those of the device.
    pub fn fetch_saturated(&self) -> Result<Vec<u32>> {
        self.is_finished.synchronize()?;
        let bytes = &self.num_saturated.buffer.as_slice()[..self.num_images * size_of::<u32>()];
        Ok(bytes.chunks_exact(size_of::<u32>()).map(bytemuck::pod_read_unaligned).collect())
    }

    /// Arrays lie next to each other: on the emulator, nothing may touch what lies between them. (The only device with such zones; it
    /// must not see them move while the batch before is under way.)
    fn guard_scratch(&self, plan: &InputBatchPlan) -> Result<()> {
        let scratch = &self.scratch.buffer;
        if plan.scratch.redzones().is_empty() {
            return Ok(());
        }
        self.is_finished.synchronize()?;
        // SAFETY: the zones lie in the buffer, and what used it was waited for.
        unsafe {
            self.device.permit(scratch.address(), scratch.len_bytes());
            for zone in plan.scratch.redzones() {
                self.device.forbid(scratch.address() + zone.offset_bytes as u64, zone.len_bytes);
            }
        }
        Ok(())
    }

    fn launch(&self, stream: &Stream, plan: &InputBatchPlan, batch: &InputBatch, upload: &UploadLayout) -> Result<()> {
        for region in [plan.bands, plan.matrices] {
            stream.discard(self.scratch.buffer.slice(region.range_bytes()))?;
        }
        stream.fill(self.scratch.buffer.slice(plan.num_saturated.range_bytes()), 0)?;
        let tiles = |region: Region| self.upload.buffer.ptr::<InputTile>(region.offset_bytes).cast_const();
        let band_grid = Grid::x(plan.band_tiles.len() as u32);
        let grid = Grid::x(plan.tiles.len() as u32);
        // SAFETY: the plan sizes every array that `batch` points at for the descriptors it made; those in this stage's buffers are used in
        // the stream's order only, and `check_buffers` has seen to the others.
        unsafe {
            let params = abi::BuildBandsParams { batch: *batch, tiles: tiles(upload.band_tiles) };
            stream.launch::<abi::BuildBands>(band_grid, 0, &params)?;
            let params = abi::WriteInputParams { batch: *batch, tiles: tiles(upload.tiles) };
            stream.launch::<abi::WriteInput>(grid, plan.tile_bytes, &params)
        }
    }

    fn batch(
        &self,
        upload: &UploadLayout,
        plan: &InputBatchPlan,
        coefficients: DeviceSlice<'_>,
        [luma, chroma]: [u64; 2],
    ) -> InputBatch {
        let (from, scratch) = (&self.upload.buffer, &self.scratch.buffer);
        InputBatch {
            coefficients: coefficients.address() as *const i16,
            dct: from.ptr(upload.dct.offset_bytes),
            axes: from.ptr(upload.axes.offset_bytes),
            planes: from.ptr(upload.planes.offset_bytes),
            grids: from.ptr(upload.grids.offset_bytes),
            quants: from.ptr(upload.quants.offset_bytes),
            affine: from.ptr(upload.affine.offset_bytes),
            bands: scratch.ptr(plan.bands.offset_bytes),
            matrices: scratch.ptr(plan.matrices.offset_bytes),
            luma: luma as *mut _,
            chroma: chroma as *mut _,
            num_saturated: scratch.ptr(plan.num_saturated.offset_bytes),
            is_float: u32::from(plan.form.value() == InputValue::F32),
            reserved: 0,
        }
    }
}

/// Addresses of Y or RGB, and of C (0 if there is none).
fn check_buffers(plan: &InputBatchPlan, coefficients: DeviceSlice<'_>, out: NetworkInput<'_>) -> Result<[u64; 2]> {
    let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
    let needed = plan.num_coefficients * size_of::<i16>() as u64;
    if (coefficients.len_bytes() as u64) < needed || !coefficients.address().is_multiple_of(16) {
        let held = coefficients.len_bytes();
        return usage(format!("the plan reads {needed} aligned bytes of coefficients, the slice holds {held}"));
    }
    let (first, chroma) = match (plan.form.kind(), out) {
        (InputKind::Blocks, NetworkInput::Blocks { y, c }) => (y, Some(c)),
        (InputKind::Rgb, NetworkInput::Rgb(rgb)) => (rgb, None),
        (kind, _) => return usage(format!("the plan makes {kind:?}; the buffers are for the other kind")),
    };
    for (slice, image_bytes) in [first].iter().chain(&chroma).zip(plan.form.image_bytes()) {
        if slice.len_bytes() < image_bytes * plan.num_images {
            let (held, num_images) = (slice.len_bytes(), plan.num_images);
            return usage(format!(
                "{num_images} images of {image_bytes} bytes do not fit into a buffer of {held} bytes"
            ));
        }
    }
    Ok([first.address(), chroma.map_or(0, |slice| slice.address())])
}

/// Where everything lies in the one upload of a batch.
struct UploadLayout {
    layout: Layout,
    dct: Region,
    axes: Region,
    planes: Region,
    grids: Region,
    quants: Region,
    affine: Region,
    band_tiles: Region,
    tiles: Region,
}

impl UploadLayout {
    fn new(plan: &InputBatchPlan) -> Self {
        let mut layout = Layout::new(0);
        Self {
            dct: layout.place_array::<f64>(64),
            axes: layout.place_array::<abi::AxisDesc>(plan.axes.len()),
            planes: layout.place_array::<abi::InputPlane>(plan.planes.len()),
            grids: layout.place_array::<abi::InputGrid>(plan.grids.len()),
            quants: layout.place_array::<[u16; 64]>(plan.quants.len()),
            affine: layout.place_array::<abi::InputAffine>(1),
            band_tiles: layout.place_array::<InputTile>(plan.band_tiles.len()),
            tiles: layout.place_array::<InputTile>(plan.tiles.len()),
            layout,
        }
    }

    /// Copies the plan into host memory that is laid out so.
    fn fill(&self, memory: &mut [u8], plan: &InputBatchPlan) {
        let mut put = |region: Region, bytes: &[u8]| memory[region.range_bytes()].copy_from_slice(bytes);
        put(self.dct, bytemuck::cast_slice(DCT.as_flattened()));
        put(self.axes, bytemuck::cast_slice(&plan.axes));
        put(self.planes, bytemuck::cast_slice(&plan.planes));
        put(self.grids, bytemuck::cast_slice(&plan.grids));
        put(self.quants, bytemuck::cast_slice(plan.quants.as_flattened()));
        put(self.affine, bytemuck::bytes_of(&plan.affine));
        put(self.band_tiles, bytemuck::cast_slice(&plan.band_tiles));
        put(self.tiles, bytemuck::cast_slice(&plan.tiles));
    }
}
