//! Decoding a batch: one upload, a fixed sequence of launches, no wait in between. `kernels/decode/README.md` has the pipeline.

use std::ops::Range;
use std::sync::Arc;

use super::arena::Arena;
use crate::abi::{self, DecodeBatch, ImageOutcome, Kernel, WorkTile};
use crate::device::{self, Device, DeviceBuffer, DeviceSlice, Event, Grid, PinnedBuffer, Stream};
use crate::jpeg::{Coefficients, DecodeReport, Plane, Status, split_entropy_coded};
use crate::plan::{Array, DecodePlan, Layout, PlannedImage, Region};
use crate::{CorruptKind, ImageError, Result};

/// Decodes batches on a stream of its own. Its memory grows to a quarter more than the largest batch needed, and is used again for the next
/// one; only [`trim`](Self::trim) gives it back.
#[derive(Debug)]
pub struct DecodeStage {
    device: Arc<dyn Device>,
    stream: Stream,
    upload_layout: UploadLayout,
    staging: Arena<PinnedBuffer>,
    upload: Arena<DeviceBuffer>,
    scratch: Arena<DeviceBuffer>,
    coefficients: Arena<DeviceBuffer>,
    /// What an upload that may be under way is read from, besides `staging`.
    pinned: Option<Arc<PinnedBuffer>>,
    outcomes: Arena<PinnedBuffer>,
    begun: Event,
    uploaded: Event,
    /// Coefficients from elsewhere, on their way.
    planes: Arena<PinnedBuffer>,
    planes_uploaded: Event,
}

/// How much is guarded behind the used part of a buffer: the emulator writes and reads all of it at every launch, and a small batch may follow one
/// that took a gigabyte.
const MAX_GUARD_BYTES: usize = 64 << 10;

/// What decoding one image gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceReport {
    /// As the CPU reports it; `None` if the device leaves the image to the CPU.
    pub report: Option<DecodeReport>,
    /// Subsequences that had to be decoded one after the other.
    pub serial_subsequences: u32,
}

impl DecodeStage {
    /// A stage without memory yet.
    pub fn new(device: &Arc<dyn Device>) -> Result<Self> {
        Ok(Self {
            device: Arc::clone(device),
            stream: Stream::new(device)?,
            upload_layout: UploadLayout::default(),
            staging: Arena::new(device, PinnedBuffer::new)?,
            upload: Arena::new(device, DeviceBuffer::new)?,
            scratch: Arena::new(device, DeviceBuffer::new)?,
            coefficients: Arena::new(device, DeviceBuffer::new)?,
            pinned: None,
            outcomes: Arena::new(device, PinnedBuffer::new)?,
            begun: Event::new(device)?,
            uploaded: Event::new(device)?,
            planes: Arena::new(device, PinnedBuffer::new)?,
            planes_uploaded: Event::new(device)?,
        })
    }

    /// How often memory was taken so far: it stays the same once the largest batch was seen.
    pub fn num_allocations(&self) -> u64 {
        let on_device = [&self.upload, &self.scratch, &self.coefficients].map(|arena| arena.num_allocations);
        let on_host = [&self.staging, &self.outcomes, &self.planes].map(|arena| arena.num_allocations);
        on_device.iter().chain(&on_host).sum()
    }

    /// Waits for the stream and gives all memory back; the next batch takes it anew.
    pub fn trim(&mut self) -> Result<()> {
        self.synchronize()?;
        self.staging.trim()?;
        self.upload.trim()?;
        self.scratch.trim()?;
        self.coefficients.trim()?;
        self.outcomes.trim()?;
        self.planes.trim()
    }

    /// Takes the memory of the last batch's coefficients out of the stage. The next batch takes new memory, unless this or another buffer
    /// comes back through [`put_coefficients`](Self::put_coefficients).
    pub fn take_coefficients(&mut self) -> Result<DeviceBuffer> {
        let buffer = self.coefficients.take()?;
        // SAFETY: the zones are this stage's, and so was the buffer.
        unsafe { self.device.permit(buffer.address(), buffer.len_bytes()) };
        Ok(buffer)
    }

    /// Memory for the coefficients of the next batches; it is dropped if the stage has more already.
    pub fn put_coefficients(&mut self, buffer: DeviceBuffer) {
        self.coefficients.put(buffer);
    }

    /// The stream that batches are decoded on: what is put on it after `submit` finds the batch's coefficients.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The coefficients of the batch that was submitted last; [`DecodePlan::planes`] says where each plane lies.
    pub fn coefficients(&self) -> DeviceSlice<'_> {
        self.coefficients.buffer.all()
    }

    /// Happens when the device begins with the batch that was submitted last.
    pub fn begun(&self) -> &Event {
        &self.begun
    }

    /// Happens when its bytes are on the device.
    pub fn uploaded(&self) -> &Event {
        &self.uploaded
    }

    /// Puts coefficients that were decoded elsewhere among those of the batch that was submitted last, after its decoding on the stream:
    /// by image, the index of each component's first coefficient, and the coefficients, which are copied. Waits for nothing but the same of
    /// before.
    ///
    /// # Panics
    /// If a plane does not lie inside the batch's coefficients: a mistake of this library.
    pub fn upload_coefficients(&mut self, images: &[(&[u64], &Coefficients)]) -> Result<()> {
        let Self { stream, planes, planes_uploaded, coefficients, .. } = self;
        upload_planes(stream, (planes, planes_uploaded), &coefficients.buffer, images)
    }

    /// The same for coefficients that were [taken out](Self::take_coefficients) of the stage.
    ///
    /// # Panics
    /// As [`upload_coefficients`](Self::upload_coefficients).
    pub fn upload_coefficients_to(&mut self, to: &DeviceBuffer, images: &[(&[u64], &Coefficients)]) -> Result<()> {
        upload_planes(&self.stream, (&mut self.planes, &self.planes_uploaded), to, images)
    }

    /// Puts the decoding of a batch on the stream, after the last one's results were fetched. Copies what it needs of `images`.
    pub fn submit(&mut self, images: &[PlannedImage<'_>], plan: &DecodePlan) -> Result<()> {
        self.submit_from(images, plan, None)
    }

    /// As [`submit`](Self::submit), but if all of the images' bytes lie in `pinned`, they are uploaded from there, without a copy on the host;
    /// the stage keeps the memory until it has waited for that.
    pub fn submit_from(
        &mut self,
        images: &[PlannedImage<'_>],
        plan: &DecodePlan,
        pinned: Option<&Arc<PinnedBuffer>>,
    ) -> Result<()> {
        let _range = device::range(format_args!("decode {} images", images.len()));
        let mut layout = std::mem::take(&mut self.upload_layout);
        layout.replace(plan);
        let pinned = pinned.filter(|pinned| images.iter().all(|image| lies_in(image.bytes, pinned.as_slice())));
        let submitted = self.submit_as(&layout, images, plan, pinned);
        self.upload_layout = layout;
        submitted
    }

    /// Waits for the stream: nothing is read from host memory any more.
    fn synchronize(&mut self) -> Result<()> {
        self.stream.synchronize()?;
        self.pinned = None;
        Ok(())
    }

    fn submit_as(
        &mut self,
        upload: &UploadLayout,
        images: &[PlannedImage<'_>],
        plan: &DecodePlan,
        pinned: Option<&Arc<PinnedBuffer>>,
    ) -> Result<()> {
        // The staging buffer may still be on its way.
        self.synchronize()?;
        // The files' data come last.
        let len_bytes = if pinned.is_some() { upload.data.offset_bytes } else { upload.layout.len_bytes() };
        self.staging.reserve(len_bytes)?;
        self.upload.reserve(upload.layout.len_bytes())?;
        self.scratch.reserve(plan.scratch.len_bytes())?;
        self.coefficients.reserve(plan.num_coefficients as usize * size_of::<i16>())?;
        self.outcomes.reserve(plan.array(Array::Outcomes).len_bytes)?;
        upload.fill(self.staging.buffer.as_mut_slice(), plan);
        if pinned.is_none() {
            upload.fill_data(self.staging.buffer.as_mut_slice(), images, plan);
        }
        self.guard(upload, plan);

        self.stream.record(&self.begun)?;
        // SAFETY: the staging buffer is this stage's own, and written again only after the stream was waited for.
        unsafe {
            self.stream.upload(self.upload.buffer.slice(0..len_bytes), &self.staging.buffer.as_slice()[..len_bytes])?;
        }
        if let Some(pinned) = pinned {
            self.pinned = Some(Arc::clone(pinned));
            for (to, bytes) in upload.data_of(images, plan) {
                // SAFETY: the bytes lie in memory that this stage keeps until the stream was waited for, and that nobody can write to while it has
                // two owners.
                unsafe { self.stream.upload(self.upload.buffer.slice(to.range_bytes()), bytes)? };
            }
        }
        self.stream.record(&self.uploaded)?;
        self.clear(plan)?;
        self.launch(upload, plan)?;
        let outcomes = plan.array(Array::Outcomes);
        let from = self.scratch.buffer.slice(outcomes.range_bytes());
        // SAFETY: `fetch_reports` looks at the outcomes only after it has waited for the stream.
        unsafe { self.stream.download(&mut self.outcomes.buffer.as_mut_slice()[..outcomes.len_bytes], from) }
    }

    /// Arrays and planes lie next to each other, in buffers that may be longer than all of them: on the emulator, nothing may touch what lies
    /// between and behind them.
    fn guard(&self, upload: &UploadLayout, plan: &DecodePlan) {
        if self.device.redzone_bytes() == 0 {
            return;
        }
        let guard = |buffer: &DeviceBuffer, zones: &[Region], used_bytes: usize| {
            let len_bytes = (buffer.len_bytes() - used_bytes).min(MAX_GUARD_BYTES);
            let behind = Region { offset_bytes: used_bytes, len_bytes };
            let behind = (behind.len_bytes > 0).then_some(behind);
            // SAFETY: the zones lie in the buffer, and the stream was waited for.
            unsafe {
                self.device.permit(buffer.address(), buffer.len_bytes());
                for zone in zones.iter().copied().chain(behind) {
                    self.device.forbid(buffer.address() + zone.offset_bytes as u64, zone.len_bytes);
                }
            }
        };
        guard(&self.upload.buffer, &[], upload.layout.len_bytes());
        guard(&self.scratch.buffer, plan.scratch.redzones(), plan.scratch.len_bytes());
        guard(&self.coefficients.buffer, &plan.plane_redzones, plan.num_coefficients as usize * size_of::<i16>());
    }

    /// Coefficients are zero until they are written, nothing is distrusted, and no segment is decoded.
    fn clear(&self, plan: &DecodePlan) -> Result<()> {
        for array in Array::ALL {
            self.stream.discard(self.scratch.buffer.slice(plan.array(array).range_bytes()))?;
        }
        let mut planes_begin = 0;
        let end = Region { offset_bytes: plan.num_coefficients as usize * size_of::<i16>(), len_bytes: 0 };
        for zone in plan.plane_redzones.iter().chain([&end]) {
            if zone.offset_bytes > planes_begin {
                self.stream.fill(self.coefficients.buffer.slice(planes_begin..zone.offset_bytes), 0)?;
            }
            planes_begin = zone.range_bytes().end;
        }
        self.stream.fill(self.scratch.buffer.slice(plan.array(Array::Untrusted).range_bytes()), 0)?;
        self.stream.fill(self.scratch.buffer.slice(plan.array(Array::SegmentResults).range_bytes()), 0xFF)
    }

    /// The launches.
    fn launch(&self, upload: &UploadLayout, plan: &DecodePlan) -> Result<()> {
        let batch = self.batch(upload, plan);
        let num_scans = plan.scans.len() as u32;
        let num_tables = plan.specs.len() as u32;
        let tables_per_cta = abi::BuildTables::ID.info().threads / abi::WARP_THREADS;
        let tiles = |region: Region| self.upload.buffer.ptr::<WorkTile>(region.offset_bytes).cast_const();
        let destuff_tiles = tiles(upload.destuff_tiles);
        let destuff_grid = Grid::x(plan.destuff_tiles.len() as u32);
        let lookup_bytes = plan.lookup_bytes;
        let stream = &self.stream;
        // SAFETY: the plan sizes every array that `batch` points at for the descriptors it made; all lie in this stage's buffers, which
        // only this stream uses.
        unsafe {
            let params = abi::BuildTablesParams { batch, num_tables, reserved: 0 };
            stream.launch::<abi::BuildTables>(Grid::x(num_tables.div_ceil(tables_per_cta)), 0, &params)?;
            let params = abi::CountDestuffedParams { batch, tiles: destuff_tiles };
            stream.launch::<abi::CountDestuffed>(destuff_grid, 0, &params)?;
            stream.launch::<abi::PlaceDestuffed>(Grid::x(num_scans), 0, &abi::PlaceDestuffedParams { batch })?;
            let params = abi::DestuffParams { batch, tiles: destuff_tiles };
            stream.launch::<abi::Destuff>(destuff_grid, 0, &params)?;
            stream.launch::<abi::IndexSegments>(Grid::x(num_scans), 0, &abi::IndexSegmentsParams { batch })?;
            let params = abi::SynchronizeSubsequencesParams { batch, tiles: tiles(upload.synchronize_tiles) };
            let grid = Grid::x(plan.synchronize_tiles.len() as u32 / abi::SYNCHRONIZE_TILES);
            stream.launch::<abi::SynchronizeSubsequences>(grid, abi::SYNCHRONIZE_TILES * lookup_bytes, &params)?;
            let params = abi::ResolveSubsequencesParams { batch };
            stream.launch::<abi::ResolveSubsequences>(Grid::x(num_scans), lookup_bytes, &params)?;
            for wave in &upload.waves {
                self.launch_wave(wave, batch, lookup_bytes)?;
            }
            let params = abi::ReportOutcomesParams { batch };
            stream.launch::<abi::ReportOutcomes>(Grid::x(plan.images.len() as u32), 0, &params)
        }
    }

    /// Writes the coefficients of a wave's scans.
    ///
    /// # Safety
    /// As for the launches before.
    unsafe fn launch_wave(&self, wave: &WaveLayout, batch: DecodeBatch, lookup_bytes: u32) -> Result<()> {
        let tiles = |region: Region| self.upload.buffer.ptr::<WorkTile>(region.offset_bytes).cast_const();
        let grid = |region: Region| Grid::x((region.len_bytes / size_of::<WorkTile>()) as u32);
        let stream = &self.stream;
        // SAFETY: the caller's.
        unsafe {
            let params = abi::WriteSubsequencesParams { batch, tiles: tiles(wave.subsequence_tiles) };
            stream.launch::<abi::WriteSubsequences>(grid(wave.subsequence_tiles), lookup_bytes, &params)?;
            let params = abi::WriteSegmentsParams { batch, tiles: tiles(wave.segment_tiles) };
            stream.launch::<abi::WriteSegments>(grid(wave.segment_tiles), lookup_bytes, &params)?;
            let params = abi::MarkBlocksParams { batch, tiles: tiles(wave.mark_tiles) };
            stream.launch::<abi::MarkBlocks>(grid(wave.mark_tiles), 0, &params)?;
            let params = abi::RefineSegmentsParams { batch, tiles: tiles(wave.refine_segment_tiles) };
            stream.launch::<abi::RefineSegments>(grid(wave.refine_segment_tiles), lookup_bytes, &params)?;
            let params = abi::RefineBlocksParams { batch, tiles: tiles(wave.refine_block_tiles) };
            stream.launch::<abi::RefineBlocks>(grid(wave.refine_block_tiles), lookup_bytes, &params)?;
            let params = abi::ClearUnfinishedParams { batch, tiles: tiles(wave.clear_tiles) };
            stream.launch::<abi::ClearUnfinished>(grid(wave.clear_tiles), 0, &params)
        }
    }

    fn batch(&self, upload: &UploadLayout, plan: &DecodePlan) -> DecodeBatch {
        let (from, scratch) = (&self.upload.buffer, &self.scratch.buffer);
        let at = |array| plan.array(array).offset_bytes;
        DecodeBatch {
            upload: from.ptr(upload.data.offset_bytes),
            images: from.ptr(upload.images.offset_bytes),
            scans: from.ptr(upload.scans.offset_bytes),
            specs: from.ptr(upload.specs.offset_bytes),
            tables: scratch.ptr(at(Array::Tables)),
            destuff_tiles: scratch.ptr(at(Array::DestuffTiles)),
            scan_states: scratch.ptr(at(Array::ScanStates)),
            destuffed: scratch.ptr(at(Array::Destuffed)),
            segments: scratch.ptr(at(Array::Segments)),
            subsequences: scratch.ptr(at(Array::Subsequences)),
            starts: scratch.ptr(at(Array::Starts)),
            segment_results: scratch.ptr(at(Array::SegmentResults)),
            untrusted: scratch.ptr(at(Array::Untrusted)),
            outcomes: scratch.ptr(at(Array::Outcomes)),
            coefficients: self.coefficients.buffer.ptr(0),
            refined_blocks: scratch.ptr(at(Array::RefinedBlocks)),
            nonzero_blocks: scratch.ptr(at(Array::NonzeroBlocks)),
        }
    }

    /// Waits for the batch that was submitted last, and says what came of its images.
    pub fn fetch_reports(&mut self, images: &[PlannedImage<'_>], plan: &DecodePlan) -> Result<Vec<DeviceReport>> {
        self.synchronize()?;
        let len_bytes = plan.array(Array::Outcomes).len_bytes;
        let outcomes = self.outcomes.buffer.as_slice()[..len_bytes].chunks_exact(size_of::<ImageOutcome>());
        let outcomes = outcomes.map(bytemuck::pod_read_unaligned::<ImageOutcome>);
        Ok(images.iter().zip(outcomes).map(|(image, outcome)| device_report(image, &outcome)).collect())
    }

    /// The coefficients of one image of the batch that was submitted last, copied to host memory.
    pub fn fetch_coefficients(
        &self,
        image_idx: usize,
        image: &PlannedImage<'_>,
        plan: &DecodePlan,
    ) -> Result<Coefficients> {
        let header = &image.header;
        let mut planes = Vec::with_capacity(header.frame.components.len());
        for (component_idx, component) in header.frame.components.iter().enumerate() {
            let range = plane_range_bytes(image_idx, component_idx, image, plan);
            let mut data = vec![0i16; range.len() / size_of::<i16>()];
            self.stream.download_now(bytemuck::cast_slice_mut(&mut data), self.coefficients.buffer.slice(range))?;
            planes.push(Plane::new(component, data, image.quant_table(component_idx)));
        }
        Ok(Coefficients { frame: header.frame.clone(), color: header.color, orientation: header.orientation, planes })
    }
}

/// Copies planes to `staging`, and puts their upload to where each belongs on the stream. `is_uploaded` is when the staging is free again.
fn upload_planes(
    stream: &Stream,
    (staging, is_uploaded): (&mut Arena<PinnedBuffer>, &Event),
    to: &DeviceBuffer,
    images: &[(&[u64], &Coefficients)],
) -> Result<()> {
    let planes = || images.iter().flat_map(|(firsts, decoded)| firsts.iter().zip(&decoded.planes));
    let len_bytes: usize = planes().map(|(_, plane)| size_of_val(&plane.data[..])).sum();
    is_uploaded.synchronize()?;
    staging.reserve(len_bytes)?;
    let mut end = 0;
    for (&first, plane) in planes() {
        let bytes: &[u8] = bytemuck::cast_slice(&plane.data);
        let start = end;
        end += bytes.len();
        staging.buffer.as_mut_slice()[start..end].copy_from_slice(bytes);
        let first_byte = first as usize * size_of::<i16>();
        let to = to.slice(first_byte..first_byte + bytes.len());
        // SAFETY: the stage's own memory; these bytes are written again only after the upload was waited for.
        unsafe { stream.upload(to, &staging.buffer.as_slice()[start..end])? };
    }
    stream.record(is_uploaded)
}

/// Whether a slice is a part of another.
fn lies_in(bytes: &[u8], memory: &[u8]) -> bool {
    let (part, whole) = (bytes.as_ptr_range(), memory.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

/// Where a plane lies in the batch's coefficients.
fn plane_range_bytes(
    image_idx: usize,
    component_idx: usize,
    image: &PlannedImage<'_>,
    plan: &DecodePlan,
) -> Range<usize> {
    let component = &image.header.frame.components[component_idx];
    let len = component.padded_blocks_wide as usize * component.padded_blocks_high as usize * 64;
    let start = plan.planes[image_idx][component_idx] as usize;
    start * size_of::<i16>()..(start + len) * size_of::<i16>()
}

fn device_report(image: &PlannedImage<'_>, outcome: &ImageOutcome) -> DeviceReport {
    let serial_subsequences = outcome.serial_subsequences;
    if outcome.is_unresolved != 0 {
        return DeviceReport { report: None, serial_subsequences };
    }
    let missing = (!image.is_complete).then_some(ImageError::MissingScans { at_bytes: image.end as u64 });
    let reason = match outcome.fault {
        abi::FAULT_NONE => missing,
        // Device and host cut the scan differently: a mistake of this library, which must not look like success.
        _ => Some(fault(image, outcome).unwrap_or(ImageError::Internal)),
    };
    let report = DecodeReport {
        status: if reason.is_none() { Status::Complete } else { Status::Partial },
        reason,
        first_untrusted_mcu: (outcome.first_untrusted_mcu != u32::MAX).then_some(outcome.first_untrusted_mcu),
        untrusted_mcus: outcome.untrusted_mcus,
        mcus: image.header.frame.mcus(),
        scans: image.scans.len() as u32,
        scans_complete: outcome.scans_complete,
    };
    DeviceReport { report: Some(report), serial_subsequences }
}

/// The fault of an outcome that has one, with its offset in the file; `None` if the file has no such place. Only a file with a fault is cut into
/// pieces on the host.
fn fault(image: &PlannedImage<'_>, outcome: &ImageOutcome) -> Option<ImageError> {
    let scan = &image.scans.get(outcome.fault_scan as usize)?.scan;
    let coded = split_entropy_coded(image.bytes, scan.ecs_offset, scan.num_intervals(&image.header.frame));
    let piece = coded.pieces.get(outcome.fault_segment as usize);
    let in_piece = |piece: &crate::jpeg::Piece| piece.file_offset(image.bytes, outcome.fault_bits as usize / 8);
    let (what, at_bytes) = match outcome.fault {
        abi::FAULT_MARKER => (CorruptKind::RestartMarker, piece?.marker_at?),
        abi::FAULT_BAD_CODE => (CorruptKind::BadCode, in_piece(piece?)),
        abi::FAULT_TRUNCATED => (CorruptKind::Truncated, piece?.bytes.end),
        abi::FAULT_EXCESS => (CorruptKind::Excess, in_piece(piece?)),
        _ => (CorruptKind::Truncated, coded.end),
    };
    Some(ImageError::Corrupt { at_bytes: at_bytes as u64, what })
}

/// Where everything lies in the one upload of a batch.
#[derive(Debug, Default)]
struct UploadLayout {
    layout: Layout,
    data: Region,
    images: Region,
    scans: Region,
    specs: Region,
    destuff_tiles: Region,
    synchronize_tiles: Region,
    waves: Vec<WaveLayout>,
}

#[derive(Debug)]
struct WaveLayout {
    subsequence_tiles: Region,
    segment_tiles: Region,
    mark_tiles: Region,
    refine_segment_tiles: Region,
    refine_block_tiles: Region,
    clear_tiles: Region,
}

impl UploadLayout {
    /// Becomes the layout for this plan, in the memory that it has.
    fn replace(&mut self, plan: &DecodePlan) {
        let Self { layout, waves, .. } = self;
        layout.clear(0);
        waves.clear();
        let mut tiles = |tiles: &[WorkTile]| layout.place_array::<WorkTile>(tiles.len());
        waves.extend(plan.waves.iter().map(|wave| WaveLayout {
            subsequence_tiles: tiles(&wave.subsequence_tiles),
            segment_tiles: tiles(&wave.segment_tiles),
            mark_tiles: tiles(&wave.mark_tiles),
            refine_segment_tiles: tiles(&wave.refine_segment_tiles),
            refine_block_tiles: tiles(&wave.refine_block_tiles),
            clear_tiles: tiles(&wave.clear_tiles),
        }));
        self.destuff_tiles = tiles(&plan.destuff_tiles);
        self.synchronize_tiles = tiles(&plan.synchronize_tiles);
        self.images = layout.place_array::<abi::ImageDesc>(plan.images.len());
        self.scans = layout.place_array::<abi::ScanDesc>(plan.scans.len());
        self.specs = layout.place_array::<abi::HuffmanSpec>(plan.specs.len());
        self.data = layout.place(plan.data_bytes);
    }

    /// Where the files' data go.
    fn data_of<'a>(
        &self,
        images: &'a [PlannedImage<'_>],
        plan: &'a DecodePlan,
    ) -> impl Iterator<Item = (Region, &'a [u8])> {
        let first_byte = self.data.offset_bytes;
        plan.data.iter().map(move |(image_idx, range, offset_bytes)| {
            let region = Region { offset_bytes: first_byte + offset_bytes, len_bytes: range.len() };
            (region, &images[*image_idx].bytes[range.clone()])
        })
    }

    /// Copies the files' data into host memory that is laid out so.
    fn fill_data(&self, memory: &mut [u8], images: &[PlannedImage<'_>], plan: &DecodePlan) {
        for (region, bytes) in self.data_of(images, plan) {
            memory[region.range_bytes()].copy_from_slice(bytes);
        }
    }

    /// Copies all but the files' data into host memory that is laid out so.
    fn fill(&self, memory: &mut [u8], plan: &DecodePlan) {
        let mut put = |region: Region, bytes: &[u8]| memory[region.range_bytes()].copy_from_slice(bytes);
        put(self.images, bytemuck::cast_slice(&plan.images));
        put(self.scans, bytemuck::cast_slice(&plan.scans));
        put(self.specs, bytemuck::cast_slice(&plan.specs));
        put(self.destuff_tiles, bytemuck::cast_slice(&plan.destuff_tiles));
        put(self.synchronize_tiles, bytemuck::cast_slice(&plan.synchronize_tiles));
        for (wave, layout) in plan.waves.iter().zip(&self.waves) {
            put(layout.subsequence_tiles, bytemuck::cast_slice(&wave.subsequence_tiles));
            put(layout.segment_tiles, bytemuck::cast_slice(&wave.segment_tiles));
            put(layout.mark_tiles, bytemuck::cast_slice(&wave.mark_tiles));
            put(layout.refine_segment_tiles, bytemuck::cast_slice(&wave.refine_segment_tiles));
            put(layout.refine_block_tiles, bytemuck::cast_slice(&wave.refine_block_tiles));
            put(layout.clear_tiles, bytemuck::cast_slice(&wave.clear_tiles));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::Limits;
    use crate::synth::photo;

    #[test]
    fn a_fault_at_no_place_of_the_file_is_no_success() {
        let file = photo(0, 0);
        let image = PlannedImage::read(&file, &Limits::default()).unwrap();
        let report = |outcome: ImageOutcome| device_report(&image, &outcome).report.unwrap();
        assert_eq!(report(ImageOutcome::default()).status, Status::Complete);
        for (fault_scan, fault_segment) in [(1, 0), (0, 1000)] {
            let fault = abi::FAULT_BAD_CODE;
            let report = report(ImageOutcome { fault, fault_scan, fault_segment, ..ImageOutcome::default() });
            assert_eq!((report.status, report.reason), (Status::Partial, Some(ImageError::Internal)));
        }
        // The first piece follows no marker.
        let report = report(ImageOutcome { fault: abi::FAULT_MARKER, ..ImageOutcome::default() });
        assert_eq!((report.status, report.reason), (Status::Partial, Some(ImageError::Internal)));
    }
}
