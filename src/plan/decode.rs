//! The plan of decoding one batch: descriptors of images and scans, the work of every launch, and where everything lies.

use std::collections::HashMap;
use std::sync::Arc;

use super::image::{PlannedImage, PlannedScan};
use super::layout::{Layout, Region};
use crate::abi::{
    AC_LOOKUP_BITS, DC_LOOKUP_BITS, DESTUFF_TILE_BYTES, DESTUFFED_PADDING_BYTES, DestuffTile, EXTRA_SEGMENTS,
    HUFFMAN_AC_PROGRESSIVE, HUFFMAN_AC_SEQUENTIAL, HUFFMAN_DC, HuffmanSpec, HuffmanTable, ImageDesc, ImageOutcome,
    McuBlock, REFINE_TILE_BLOCKS, RefinedBlock, SCAN_FIRST, SCAN_REFINE_AC, SCAN_REFINE_DC, SYNCHRONIZE_TILES,
    ScanComponent, ScanDesc, ScanState, Segment, SegmentResult, Subsequence, SubsequenceStart, TILE_OVERLAP,
    TILE_THREADS, WARP_THREADS, WorkTile,
};
use crate::jpeg::{self, Frame, Process, Scan};

/// Subsequences of a tile that are its own.
const OWN_SUBSEQUENCES: u32 = TILE_THREADS - TILE_OVERLAP;

/// Work behind the end of every scan.
const NO_TILE: WorkTile = WorkTile { scan_idx: 0, first: u32::MAX };

/// Choices that change how fast a batch is decoded, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PlanOptions {
    /// Bytes of a subsequence, at least 64; chosen for each scan if not given: long ones for large batches, which waste less, short ones
    /// for small batches, which would leave a GPU idle.
    pub subsequence_bytes: Option<u32>,
    /// Bytes that stay unused behind every array (a multiple of 8), and at least as many behind every plane.
    pub redzone_bytes: usize,
}

/// An array of the device's working memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are those of abi.h's DecodeBatch
pub enum Array {
    Tables,
    DestuffTiles,
    ScanStates,
    Destuffed,
    Segments,
    Subsequences,
    Starts,
    SegmentResults,
    Untrusted,
    Outcomes,
    RefinedBlocks,
    NonzeroBlocks,
}

impl Array {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Tables,
        Self::DestuffTiles,
        Self::ScanStates,
        Self::Destuffed,
        Self::Segments,
        Self::Subsequences,
        Self::Starts,
        Self::SegmentResults,
        Self::Untrusted,
        Self::Outcomes,
        Self::RefinedBlocks,
        Self::NonzeroBlocks,
    ];
}

/// The scans that can be written at one time: no two of them touch the same component.
#[derive(Clone, Debug, Default)]
pub struct Wave {
    /// Tiles of `write_subsequences`.
    pub subsequence_tiles: Vec<WorkTile>,
    /// Tiles of `write_segments`.
    pub segment_tiles: Vec<WorkTile>,
    /// Tiles of `mark_blocks`: blocks of AC refinement scans.
    pub mark_tiles: Vec<WorkTile>,
    /// Tiles of `refine_segments`: segments of the same scans.
    pub refine_segment_tiles: Vec<WorkTile>,
    /// Tiles of `refine_blocks`: blocks of all refinement scans.
    pub refine_block_tiles: Vec<WorkTile>,
    /// Tiles of `clear_unfinished`: scans that can break off in a block with something of it written.
    pub clear_tiles: Vec<WorkTile>,
    /// Blocks of AC refinement scans, each scan's rounded up to 32.
    pub num_refined_blocks: u64,
}

impl Wave {
    fn clear(&mut self) {
        self.subsequence_tiles.clear();
        self.segment_tiles.clear();
        self.mark_tiles.clear();
        self.refine_segment_tiles.clear();
        self.refine_block_tiles.clear();
        self.clear_tiles.clear();
        self.num_refined_blocks = 0;
    }
}

/// Everything that decoding a batch needs to know.
#[derive(Clone, Debug, Default)]
pub struct DecodePlan {
    /// In the batch's order.
    pub images: Vec<ImageDesc>,
    /// Image by image, in the file's order.
    pub scans: Vec<ScanDesc>,
    /// Huffman tables, each once.
    pub specs: Vec<HuffmanSpec>,
    /// Tiles of `count_destuffed` and `destuff`.
    pub destuff_tiles: Vec<WorkTile>,
    /// Tiles of `synchronize_subsequences`, a multiple of [`SYNCHRONIZE_TILES`].
    pub synchronize_tiles: Vec<WorkTile>,
    /// In this order.
    pub waves: Vec<Wave>,
    /// Which bytes of which image go where in the upload: image, range of the file, offset.
    pub data: Vec<(usize, std::ops::Range<usize>, usize)>,
    /// Bytes of scans' data in the upload, padding included.
    pub data_bytes: usize,
    /// Planes by image and component: index of the first coefficient.
    pub planes: Vec<[u64; 4]>,
    /// Coefficients of all planes, and what lies between them.
    pub num_coefficients: u64,
    /// What lies between planes and must not be touched: bytes of the buffer of coefficients.
    pub plane_redzones: Vec<Region>,
    /// Shared memory for the lookups of any scan.
    pub lookup_bytes: u32,
    /// Working memory.
    pub scratch: Layout,
    arrays: [Region; Array::ALL.len()],
    redzone_bytes: usize,
    /// Where in `specs` a table of a kind is.
    tables: HashMap<(u32, Arc<jpeg::HuffmanTable>), u32>,
    /// The memory of waves that an earlier batch had.
    spare_waves: Vec<Wave>,
}

impl DecodePlan {
    /// The plan for these images.
    pub fn new(images: &[PlannedImage<'_>], options: &PlanOptions) -> Self {
        let mut plan = Self::default();
        plan.replace(images, options);
        plan
    }

    /// Becomes the plan for these images, in the memory that it has: once it has planned the largest batch, it takes no more.
    pub fn replace(&mut self, images: &[PlannedImage<'_>], options: &PlanOptions) {
        self.clear();
        self.redzone_bytes = options.redzone_bytes;
        let mut builder = Builder::new(std::mem::take(self), images, options);
        for (image_idx, image) in images.iter().enumerate() {
            builder.add_image(image_idx, image);
        }
        *self = builder.finish(options);
    }

    /// Of no images; keeps its memory.
    fn clear(&mut self) {
        let Self {
            images, scans, specs, destuff_tiles, synchronize_tiles, waves, data, planes, plane_redzones, ..
        } = self;
        images.clear();
        scans.clear();
        specs.clear();
        destuff_tiles.clear();
        synchronize_tiles.clear();
        waves.iter_mut().for_each(Wave::clear);
        // The last one in is the first one out: each wave gets its own memory again.
        self.spare_waves.extend(waves.drain(..).rev());
        data.clear();
        planes.clear();
        plane_redzones.clear();
        self.tables.clear();
        (self.data_bytes, self.num_coefficients, self.lookup_bytes) = (0, 0, 0);
    }

    /// Makes room, behind all other coefficients, for an image that is decoded elsewhere. Returns its planes: index of the first coefficient,
    /// by component.
    pub fn reserve_planes(&mut self, frame: &Frame) -> [u64; 4] {
        let mut planes = [0; 4];
        for (plane, component) in planes.iter_mut().zip(&frame.components) {
            *plane = self.num_coefficients;
            self.num_coefficients +=
                u64::from(component.padded_blocks_wide) * u64::from(component.padded_blocks_high) * 64;
            // Planes stay aligned to blocks.
            let redzone_bytes = self.redzone_bytes.next_multiple_of(64 * size_of::<i16>());
            if redzone_bytes > 0 {
                let offset_bytes = self.num_coefficients as usize * size_of::<i16>();
                self.plane_redzones.push(Region { offset_bytes, len_bytes: redzone_bytes });
                self.num_coefficients += (redzone_bytes / size_of::<i16>()) as u64;
            }
        }
        planes
    }

    /// Where an array lies in working memory.
    pub fn array(&self, array: Array) -> Region {
        self.arrays[array as usize]
    }
}

/// Lengths of the arrays so far.
#[derive(Default)]
struct Lengths {
    destuff_tiles: u32,
    destuffed_words: u64,
    segments: u32,
    subsequences: u32,
    untrusted_words: u32,
}

struct Builder {
    plan: DecodePlan,
    lengths: Lengths,
    subsequence_bytes: Option<u32>,
    wanted_subsequence_bytes: u32,
}

impl Builder {
    /// Threads that keep a large GPU busy. Larger batches have longer subsequences, which decode fewer symbols twice.
    const WANTED_SUBSEQUENCES: usize = 24_576;
    /// Subsequences no shorter and, but for rounding, no longer than this.
    const SUBSEQUENCE_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

    /// `plan` is empty.
    fn new(plan: DecodePlan, images: &[PlannedImage<'_>], options: &PlanOptions) -> Self {
        let data_bytes: usize = images.iter().flat_map(|image| &image.scans).map(|scan| scan.data.len()).sum();
        let (min, max) = Self::SUBSEQUENCE_BYTES.into_inner();
        Self {
            plan,
            lengths: Lengths::default(),
            subsequence_bytes: options.subsequence_bytes.map(|bytes| bytes.max(64)),
            wanted_subsequence_bytes: (data_bytes / Self::WANTED_SUBSEQUENCES).clamp(min, max) as u32,
        }
    }

    fn add_image(&mut self, image_idx: usize, image: &PlannedImage<'_>) {
        let frame = &image.header.frame;
        let planes = self.plan.reserve_planes(frame);
        self.plan.planes.push(planes);
        let first_scan = self.plan.scans.len() as u32;
        let mut waves_of_components = [0; 4];
        for planned in &image.scans {
            let wave = planned.scan.components.iter().map(|c| waves_of_components[c.component_idx]).max().unwrap_or(0);
            for component in &planned.scan.components {
                waves_of_components[component.component_idx] = wave + 1;
            }
            self.add_scan(image_idx, frame, planned, wave);
        }
        self.plan.images.push(ImageDesc {
            first_scan,
            num_scans: image.scans.len() as u32,
            mcus_wide: frame.mcus_wide(),
            num_mcus: frame.mcus(),
            first_untrusted_word: self.lengths.untrusted_words,
            reserved: 0,
        });
        self.lengths.untrusted_words += frame.mcus().div_ceil(32);
    }

    fn add_scan(&mut self, image_idx: usize, frame: &Frame, planned: &PlannedScan, wave: usize) {
        let scan_idx = self.plan.scans.len() as u32;
        let mut desc = self.describe(image_idx, frame, &planned.scan);
        self.place_data(image_idx, planned, &mut desc);
        self.size_work(&mut desc);
        self.list_work(scan_idx, &mut desc, wave);
        let lookup_entries =
            (u32::from(desc.num_ac_tables) << AC_LOOKUP_BITS) + (u32::from(desc.num_dc_tables) << DC_LOOKUP_BITS);
        self.plan.lookup_bytes = self.plan.lookup_bytes.max(2 * lookup_entries);
        self.plan.scans.push(desc);
    }

    /// What the scan's data mean and where its blocks go.
    fn describe(&mut self, image_idx: usize, frame: &Frame, scan: &Scan) -> ScanDesc {
        let is_progressive = frame.process == Process::Progressive;
        let num_mcus = scan.num_mcus(frame);
        let mut desc = ScanDesc {
            image_idx: image_idx as u32,
            num_intervals: scan.num_intervals(frame),
            interval_mcus: if scan.restart_interval_mcus == 0 { num_mcus } else { scan.restart_interval_mcus },
            num_mcus,
            mcus_wide: scan.size_mcus(frame).0,
            kind: match (is_progressive, scan.ss, scan.ah) {
                (false, ..) | (true, _, 0) => SCAN_FIRST as u8,
                (true, 0, _) => SCAN_REFINE_DC as u8,
                (true, ..) => SCAN_REFINE_AC as u8,
            },
            z_begin: if is_progressive { scan.ss } else { 0 },
            z_end: if is_progressive { scan.se + 1 } else { 64 },
            point_transform: if is_progressive { scan.al } else { 0 },
            is_progressive: is_progressive.into(),
            ..ScanDesc::default()
        };
        for (idx, scan_component) in scan.components.iter().enumerate() {
            let component = &frame.components[scan_component.component_idx];
            let (mcu_blocks, frame_mcu) = match scan.is_interleaved() {
                true => ((component.h, component.v), (1, 1)),
                false => ((1, 1), (component.h, component.v)),
            };
            desc.components[idx] = ScanComponent {
                first_coefficient: self.plan.planes[image_idx][scan_component.component_idx],
                pitch_blocks: component.padded_blocks_wide,
                mcu_blocks_wide: mcu_blocks.0,
                mcu_blocks_high: mcu_blocks.1,
                h: frame_mcu.0,
                v: frame_mcu.1,
            };
            let (dc_slot, ac_slot) = self.add_tables(frame, scan, scan_component, &mut desc);
            for dy in 0..mcu_blocks.1 {
                for dx in 0..mcu_blocks.0 {
                    desc.mcu_blocks[usize::from(desc.num_mcu_blocks)] =
                        McuBlock { component: idx as u8, dx, dy, dc_slot, ac_slot, reserved: [0; 3] };
                    desc.num_mcu_blocks += 1;
                }
            }
        }
        desc
    }

    /// The slots of a component's tables.
    fn add_tables(
        &mut self,
        frame: &Frame,
        scan: &Scan,
        component: &jpeg::ScanComponent,
        desc: &mut ScanDesc,
    ) -> (u8, u8) {
        let mut slots = (0, 0);
        if let (true, Some(Some(table))) =
            (scan.needs_dc_table(frame), scan.tables.dc.get(usize::from(component.dc_table_idx)))
        {
            let table_idx = self.table_idx(HUFFMAN_DC, table);
            slots.0 = find_slot(&mut desc.dc_tables, &mut desc.num_dc_tables, table_idx);
        }
        if let (true, Some(Some(table))) =
            (scan.needs_ac_table(frame), scan.tables.ac.get(usize::from(component.ac_table_idx)))
        {
            let kind = if desc.is_progressive == 1 { HUFFMAN_AC_PROGRESSIVE } else { HUFFMAN_AC_SEQUENTIAL };
            let table_idx = self.table_idx(kind, table);
            slots.1 = find_slot(&mut desc.ac_tables, &mut desc.num_ac_tables, table_idx);
        }
        slots
    }

    /// The table's number in the batch.
    fn table_idx(&mut self, kind: u32, table: &Arc<jpeg::HuffmanTable>) -> u32 {
        let DecodePlan { specs, tables, .. } = &mut self.plan;
        *tables.entry((kind, Arc::clone(table))).or_insert_with(|| {
            specs.push(HuffmanSpec { kind, bits: table.bits, huffval: table.values });
            specs.len() as u32 - 1
        })
    }

    /// Where the scan's bytes lie, as they are and destuffed.
    fn place_data(&mut self, image_idx: usize, planned: &PlannedScan, desc: &mut ScanDesc) {
        let data_bytes = planned.data.len();
        desc.data_offset = self.plan.data_bytes as u64;
        desc.data_bytes = data_bytes as u32;
        self.plan.data.push((image_idx, planned.data.clone(), self.plan.data_bytes));
        self.plan.data_bytes += data_bytes.next_multiple_of(16);
        desc.destuffed_offset = self.lengths.destuffed_words;
        self.lengths.destuffed_words +=
            ((data_bytes + DESTUFFED_PADDING_BYTES as usize).next_multiple_of(16) / 4) as u64;
    }

    /// How many segments and subsequences the scan can have.
    fn size_work(&mut self, desc: &mut ScanDesc) {
        desc.first_destuff_tile = self.lengths.destuff_tiles;
        desc.num_destuff_tiles = desc.data_bytes.div_ceil(DESTUFF_TILE_BYTES).max(1);
        self.lengths.destuff_tiles += desc.num_destuff_tiles;

        desc.first_segment = self.lengths.segments;
        self.lengths.segments += max_segments(desc) + 1;

        desc.first_subsequence = self.lengths.subsequences;
        desc.subsequence_bytes = self.subsequence_bytes(desc);
        desc.max_subsequences = max_subsequences(desc);
        self.lengths.subsequences += desc.max_subsequences;
    }

    fn subsequence_bytes(&self, desc: &ScanDesc) -> u32 {
        // Refinement is serial within a segment.
        if u32::from(desc.kind) != SCAN_FIRST {
            return u32::MAX;
        }
        self.subsequence_bytes.unwrap_or_else(|| {
            // As many subsequences as fill whole warps.
            let num_warps = desc.data_bytes.div_ceil(self.wanted_subsequence_bytes * WARP_THREADS).max(1);
            let num_overlaps = num_warps.div_ceil(TILE_THREADS / WARP_THREADS);
            let num_subsequences = num_warps * WARP_THREADS - num_overlaps * TILE_OVERLAP;
            desc.data_bytes.div_ceil(num_subsequences).next_multiple_of(4).max(*Self::SUBSEQUENCE_BYTES.start() as u32)
        })
    }

    fn list_work(&mut self, scan_idx: u32, desc: &mut ScanDesc, wave: usize) {
        let plan = &mut self.plan;
        let tiles = |num_items: u32, step: u32| {
            (0..num_items).step_by(step as usize).map(move |first| WorkTile { scan_idx, first })
        };
        plan.destuff_tiles.extend(tiles(desc.num_destuff_tiles, 1));
        plan.synchronize_tiles.extend(tiles(desc.max_subsequences, OWN_SUBSEQUENCES));
        if plan.waves.len() <= wave {
            let spare = std::iter::repeat_with(|| plan.spare_waves.pop().unwrap_or_default());
            plan.waves.extend(spare.take(wave + 1 - plan.waves.len()));
        }
        let wave = &mut plan.waves[wave];
        wave.subsequence_tiles.extend(tiles(desc.max_subsequences, TILE_THREADS));
        let segment_tiles = tiles(max_segments(desc), TILE_THREADS);
        if u32::from(desc.kind) == SCAN_FIRST {
            // A block of a progressive file's DC is one symbol: it is written whole or not at all.
            if desc.is_progressive == 0 || desc.z_begin > 0 {
                wave.clear_tiles.push(WorkTile { scan_idx, first: 0 });
            }
            wave.segment_tiles.extend(segment_tiles);
            return;
        }
        let num_blocks = desc.num_mcus * u32::from(desc.num_mcu_blocks);
        wave.refine_block_tiles.extend(tiles(num_blocks, REFINE_TILE_BLOCKS));
        if u32::from(desc.kind) == SCAN_REFINE_AC {
            wave.mark_tiles.extend(tiles(num_blocks, REFINE_TILE_BLOCKS));
            wave.refine_segment_tiles.extend(segment_tiles);
            desc.first_refined_block = wave.num_refined_blocks;
            wave.num_refined_blocks += u64::from(num_blocks.next_multiple_of(WARP_THREADS));
        }
    }

    fn finish(mut self, options: &PlanOptions) -> DecodePlan {
        let Lengths { destuff_tiles, destuffed_words, segments, subsequences, untrusted_words } = self.lengths;
        let plan = &mut self.plan;
        let tiles = &mut plan.synchronize_tiles;
        tiles.resize(tiles.len().next_multiple_of(SYNCHRONIZE_TILES as usize), NO_TILE);
        plan.scratch.clear(options.redzone_bytes);
        let refined_blocks = plan.waves.iter().map(|wave| wave.num_refined_blocks).max().unwrap_or(0) as usize;
        for array in Array::ALL {
            let (len, element_bytes) = match array {
                Array::Tables => (plan.specs.len(), size_of::<HuffmanTable>()),
                Array::DestuffTiles => (destuff_tiles as usize, size_of::<DestuffTile>()),
                Array::ScanStates => (plan.scans.len(), size_of::<ScanState>()),
                Array::Destuffed => (destuffed_words as usize, size_of::<u32>()),
                Array::Segments => (segments as usize, size_of::<Segment>()),
                Array::Subsequences => (subsequences as usize, size_of::<Subsequence>()),
                Array::Starts => (subsequences as usize, size_of::<SubsequenceStart>()),
                Array::SegmentResults => (segments as usize, size_of::<SegmentResult>()),
                Array::Untrusted => (untrusted_words as usize, size_of::<u32>()),
                Array::Outcomes => (plan.images.len(), size_of::<ImageOutcome>()),
                Array::RefinedBlocks => (refined_blocks, size_of::<RefinedBlock>()),
                Array::NonzeroBlocks => (refined_blocks.div_ceil(WARP_THREADS as usize), size_of::<u32>()),
            };
            plan.arrays[array as usize] = plan.scratch.place(len * element_bytes);
        }
        plan.spare_waves.reserve(plan.waves.len());
        self.plan
    }
}

fn find_slot(tables: &mut [u32; 4], num_tables: &mut u8, table_idx: u32) -> u8 {
    let used = usize::from(*num_tables);
    let slot = tables[..used].iter().position(|&t| t == table_idx).unwrap_or_else(|| {
        tables[used] = table_idx;
        *num_tables += 1;
        used
    });
    slot as u8
}

/// Segments of a scan: each but the first takes two bytes at least.
fn max_segments(desc: &ScanDesc) -> u32 {
    desc.num_intervals.saturating_add(EXTRA_SEGMENTS).min(desc.data_bytes / 2 + 1)
}

/// Subsequences of a scan: only segments longer than one are divided, and each interval has one segment at most.
fn max_subsequences(desc: &ScanDesc) -> u32 {
    let max_divided = desc.num_intervals.min(desc.data_bytes / desc.subsequence_bytes);
    // ceil(length / size) for each, if they share the data.
    (desc.data_bytes - max_divided) / desc.subsequence_bytes + max_divided
}
