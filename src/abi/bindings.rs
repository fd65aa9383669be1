// Written by ci/abi.sh from kernels/abi.h and kernels/selftest/abi.h: change those.

pub const WARP_THREADS: u32 = 32;
pub const MAX_COMPONENTS: u32 = 4;
pub const MAX_MCU_BLOCKS: u32 = 10;
pub const AC_LOOKUP_BITS: u32 = 11;
pub const DC_LOOKUP_BITS: u32 = 9;
pub const DESTUFF_TILE_BYTES: u32 = 4096;
pub const DESTUFFED_PADDING_BYTES: u32 = 32;
pub const TILE_THREADS: u32 = 128;
pub const TILE_OVERLAP: u32 = 2;
pub const SYNCHRONIZE_TILES: u32 = 2;
pub const EXTRA_SEGMENTS: u32 = 8;
pub const MAX_RECORDS: u32 = 8;
pub const MAX_SERIAL_SUBSEQUENCES: u32 = 128;
pub const REFINE_TILE_BLOCKS: u32 = 1024;
pub const RECORD_BAD_CODE: u32 = 2147483648;
pub const SUBSEQUENCE_BAD_BEFORE: u32 = 65536;
pub const CONVOLVE_DEPTH: u32 = 32;
pub const CONVOLVE_OUTPUTS: u32 = 2;
pub const AVERAGE_CHANNELS: u32 = 64;
pub const INPUT_TILE_ROWS: u32 = 4;
pub const INPUT_TILE_COLUMNS: u32 = 16;
pub const INPUT_CHUNK_COLUMNS: u32 = 32;
pub const BAND_TILE_MATRICES: u32 = 16;
pub const NO_QUANT: u32 = 4294967295;
pub const INPUT_CHANNELS: u32 = 192;
pub const INPUT_SATURATION: f64 = 4096.0;
#[doc = " Parameters of `checksum_words`: a digest of device memory, independent of the order in which it is read."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ChecksumWordsParams {
    #[doc = " [num_words]: what to digest."]
    pub words: *const u32,
    #[doc = " [1]: the digest is added to it, modulo 2^64."]
    pub checksum: *mut u64,
    #[doc = " Length of `words`."]
    pub num_words: u32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ChecksumWordsParams"][::core::mem::size_of::<ChecksumWordsParams>() - 24usize];
    ["Alignment of ChecksumWordsParams"][::core::mem::align_of::<ChecksumWordsParams>() - 8usize];
    ["Offset of field: ChecksumWordsParams::words"][::core::mem::offset_of!(ChecksumWordsParams, words) - 0usize];
    ["Offset of field: ChecksumWordsParams::checksum"][::core::mem::offset_of!(ChecksumWordsParams, checksum) - 8usize];
    ["Offset of field: ChecksumWordsParams::num_words"]
        [::core::mem::offset_of!(ChecksumWordsParams, num_words) - 16usize];
    ["Offset of field: ChecksumWordsParams::reserved"]
        [::core::mem::offset_of!(ChecksumWordsParams, reserved) - 20usize];
};
impl Default for ChecksumWordsParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " SSSS (T.81 F.2.2.1)."]
pub const HUFFMAN_DC: HuffmanKind = 0;
#[doc = " RRRRSSSS; R < 15 with S = 0 is EOB (F.2.2.2)."]
pub const HUFFMAN_AC_SEQUENTIAL: HuffmanKind = 1;
#[doc = " RRRRSSSS; R < 15 with S = 0 is EOBn (G.1.2.2)."]
pub const HUFFMAN_AC_PROGRESSIVE: HuffmanKind = 2;
#[doc = " What a Huffman table's symbols mean."]
pub type HuffmanKind = ::core::ffi::c_uint;
#[doc = " Sequential scans, and the first scans of a progressive band: symbols by subsequences."]
pub const SCAN_FIRST: ScanKind = 0;
#[doc = " One bit a block (T.81 G.1.2.1)."]
pub const SCAN_REFINE_DC: ScanKind = 1;
#[doc = " Correction bits between new coefficients (G.1.2.3): where each block's start is found serially."]
pub const SCAN_REFINE_AC: ScanKind = 2;
#[doc = " How a scan's data become coefficients."]
pub type ScanKind = ::core::ffi::c_uint;
#[doc = " Every block of its interval was received."]
pub const SEGMENT_COMPLETE: SegmentEnd = 0;
#[doc = " The data end before."]
pub const SEGMENT_TRUNCATED: SegmentEnd = 1;
#[doc = " Progressive scans: a bit pattern that is no code (T.81 G.2), or no symbol of the scan."]
pub const SEGMENT_BAD_CODE: SegmentEnd = 2;
#[doc = " How decoding of a segment ended."]
pub type SegmentEnd = ::core::ffi::c_uint;
#[doc = " m of the RSTm before it."]
pub const SEGMENT_MARKER: SegmentFlag = 7;
#[doc = " RSTm is not the one that follows on the last one."]
pub const SEGMENT_OUT_OF_ORDER: SegmentFlag = 8;
#[doc = " m is not the number of the interval: its MCUs are not to be trusted."]
pub const SEGMENT_WRONG_NUMBER: SegmentFlag = 16;
#[doc = " It holds data, but all intervals were found before."]
pub const SEGMENT_EXCESS: SegmentFlag = 32;
#[doc = " From this bit on: intervals lost before it, 0 to 3."]
pub const SEGMENT_LOST_SHIFT: SegmentFlag = 6;
#[doc = " These bits."]
pub const SEGMENT_LOST: SegmentFlag = 192;
#[doc = " It holds no interval: excess, or behind a marker that cannot be right."]
pub const SEGMENT_NO_INTERVAL: SegmentFlag = 256;
#[doc = " Segment::marker: the bits beside m."]
pub type SegmentFlag = ::core::ffi::c_uint;
pub const FAULT_NONE: FaultKind = 0;
#[doc = " At the segment's RSTm."]
pub const FAULT_MARKER: FaultKind = 1;
#[doc = " At `fault_bits` in the segment."]
pub const FAULT_BAD_CODE: FaultKind = 2;
#[doc = " At the segment's end."]
pub const FAULT_TRUNCATED: FaultKind = 3;
#[doc = " At `fault_bits` in the segment."]
pub const FAULT_EXCESS: FaultKind = 4;
#[doc = " At the end of the scan's data."]
pub const FAULT_LOST_INTERVALS: FaultKind = 5;
#[doc = " What is wrong with an image's entropy-coded data."]
pub type FaultKind = ::core::ffi::c_uint;
#[doc = " A Huffman table as DHT sends it (T.81 B.2.4.2)."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct HuffmanSpec {
    #[doc = " A `HuffmanKind`."]
    pub kind: u32,
    #[doc = " BITS: number of codes of length 1 to 16."]
    pub bits: [u8; 16usize],
    #[doc = " HUFFVAL: the symbols in order of their codes."]
    pub huffval: [u8; 256usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of HuffmanSpec"][::core::mem::size_of::<HuffmanSpec>() - 276usize];
    ["Alignment of HuffmanSpec"][::core::mem::align_of::<HuffmanSpec>() - 4usize];
    ["Offset of field: HuffmanSpec::kind"][::core::mem::offset_of!(HuffmanSpec, kind) - 0usize];
    ["Offset of field: HuffmanSpec::bits"][::core::mem::offset_of!(HuffmanSpec, bits) - 4usize];
    ["Offset of field: HuffmanSpec::huffval"][::core::mem::offset_of!(HuffmanSpec, huffval) - 20usize];
};
impl Default for HuffmanSpec {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " A Huffman table as the decoder uses it."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct HuffmanTable {
    #[doc = " By the next 11 bits (a DC table: by the next 9, 512 entries): see common/huffman.cuh."]
    pub lookup: [u16; 2048usize],
    #[doc = " [length]: the first code beyond those of this length, left-aligned to 16 bits."]
    pub code_end: [u32; 17usize],
    #[doc = " [length]: index into HUFFVAL minus code."]
    pub huffval_offset: [i32; 17usize],
    #[doc = " A `HuffmanKind`."]
    pub kind: u32,
    #[doc = " Keeps tables aligned to 16 bytes."]
    pub reserved: u32,
    #[doc = " As sent."]
    pub huffval: [u8; 256usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of HuffmanTable"][::core::mem::size_of::<HuffmanTable>() - 4496usize];
    ["Alignment of HuffmanTable"][::core::mem::align_of::<HuffmanTable>() - 4usize];
    ["Offset of field: HuffmanTable::lookup"][::core::mem::offset_of!(HuffmanTable, lookup) - 0usize];
    ["Offset of field: HuffmanTable::code_end"][::core::mem::offset_of!(HuffmanTable, code_end) - 4096usize];
    ["Offset of field: HuffmanTable::huffval_offset"]
        [::core::mem::offset_of!(HuffmanTable, huffval_offset) - 4164usize];
    ["Offset of field: HuffmanTable::kind"][::core::mem::offset_of!(HuffmanTable, kind) - 4232usize];
    ["Offset of field: HuffmanTable::reserved"][::core::mem::offset_of!(HuffmanTable, reserved) - 4236usize];
    ["Offset of field: HuffmanTable::huffval"][::core::mem::offset_of!(HuffmanTable, huffval) - 4240usize];
};
impl Default for HuffmanTable {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " One component as one scan sees it. In a scan of a single component the MCU is one block (T.81 A.2.2)."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct ScanComponent {
    #[doc = " Start of the component's plane in `coefficients`."]
    pub first_coefficient: u64,
    #[doc = " Blocks between the starts of two rows of blocks."]
    pub pitch_blocks: u32,
    #[doc = " Blocks of the scan's MCU, across."]
    pub mcu_blocks_wide: u8,
    #[doc = " Blocks of the scan's MCU, down."]
    pub mcu_blocks_high: u8,
    #[doc = " MCUs of the scan in one of the frame, across: 1 in a scan of several components."]
    pub h: u8,
    #[doc = " MCUs of the scan in one of the frame, down."]
    pub v: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ScanComponent"][::core::mem::size_of::<ScanComponent>() - 16usize];
    ["Alignment of ScanComponent"][::core::mem::align_of::<ScanComponent>() - 8usize];
    ["Offset of field: ScanComponent::first_coefficient"]
        [::core::mem::offset_of!(ScanComponent, first_coefficient) - 0usize];
    ["Offset of field: ScanComponent::pitch_blocks"][::core::mem::offset_of!(ScanComponent, pitch_blocks) - 8usize];
    ["Offset of field: ScanComponent::mcu_blocks_wide"]
        [::core::mem::offset_of!(ScanComponent, mcu_blocks_wide) - 12usize];
    ["Offset of field: ScanComponent::mcu_blocks_high"]
        [::core::mem::offset_of!(ScanComponent, mcu_blocks_high) - 13usize];
    ["Offset of field: ScanComponent::h"][::core::mem::offset_of!(ScanComponent, h) - 14usize];
    ["Offset of field: ScanComponent::v"][::core::mem::offset_of!(ScanComponent, v) - 15usize];
};
#[doc = " One data unit of a scan's MCU."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct McuBlock {
    #[doc = " Index into the scan's components."]
    pub component: u8,
    #[doc = " Block column inside the MCU."]
    pub dx: u8,
    #[doc = " Block row inside the MCU."]
    pub dy: u8,
    #[doc = " Which of the scan's DC tables."]
    pub dc_slot: u8,
    #[doc = " Which of the scan's AC tables."]
    pub ac_slot: u8,
    #[doc = " Zero."]
    pub reserved: [u8; 3usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of McuBlock"][::core::mem::size_of::<McuBlock>() - 8usize];
    ["Alignment of McuBlock"][::core::mem::align_of::<McuBlock>() - 1usize];
    ["Offset of field: McuBlock::component"][::core::mem::offset_of!(McuBlock, component) - 0usize];
    ["Offset of field: McuBlock::dx"][::core::mem::offset_of!(McuBlock, dx) - 1usize];
    ["Offset of field: McuBlock::dy"][::core::mem::offset_of!(McuBlock, dy) - 2usize];
    ["Offset of field: McuBlock::dc_slot"][::core::mem::offset_of!(McuBlock, dc_slot) - 3usize];
    ["Offset of field: McuBlock::ac_slot"][::core::mem::offset_of!(McuBlock, ac_slot) - 4usize];
    ["Offset of field: McuBlock::reserved"][::core::mem::offset_of!(McuBlock, reserved) - 5usize];
};
#[doc = " A scan of an image: where its bytes lie, what they mean, and its share of every work buffer."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct ScanDesc {
    #[doc = " First byte of entropy-coded data in `upload`, a multiple of 16."]
    pub data_offset: u64,
    #[doc = " First word of destuffed data in `destuffed`, a multiple of 4."]
    pub destuffed_offset: u64,
    #[doc = " AC refinement: index into `refined_blocks`, a multiple of 32, one for each block of the scan."]
    pub first_refined_block: u64,
    #[doc = " Index into `images`."]
    pub image_idx: u32,
    #[doc = " Bytes from there to the end of the file, or to where the scan is known to end."]
    pub data_bytes: u32,
    #[doc = " Index into `destuff_tiles`."]
    pub first_destuff_tile: u32,
    #[doc = " ceil(data_bytes / DESTUFF_TILE_BYTES)."]
    pub num_destuff_tiles: u32,
    #[doc = " Index into `segments` and `segment_results`: num_intervals + EXTRA_SEGMENTS + 1 of them."]
    pub first_segment: u32,
    #[doc = " Restart intervals; one where none are defined."]
    pub num_intervals: u32,
    #[doc = " Index into the arrays of subsequences."]
    pub first_subsequence: u32,
    #[doc = " How many there may be, whatever the data are."]
    pub max_subsequences: u32,
    #[doc = " Bytes of destuffed data in one subsequence. Segments up to this length are not divided."]
    pub subsequence_bytes: u32,
    #[doc = " MCUs of a restart interval (all MCUs, where none is defined)."]
    pub interval_mcus: u32,
    #[doc = " MCUs of the scan."]
    pub num_mcus: u32,
    #[doc = " MCUs of the scan in a row."]
    pub mcus_wide: u32,
    #[doc = " Indices into `tables`, by slot."]
    pub dc_tables: [u32; 4usize],
    #[doc = " Indices into `tables`, by slot."]
    pub ac_tables: [u32; 4usize],
    #[doc = " In the scan's order."]
    pub components: [ScanComponent; 4usize],
    #[doc = " In the order sent (T.81 A.2.3)."]
    pub mcu_blocks: [McuBlock; 10usize],
    #[doc = " Blocks of an MCU."]
    pub num_mcu_blocks: u8,
    #[doc = " Slots used."]
    pub num_dc_tables: u8,
    #[doc = " Slots used."]
    pub num_ac_tables: u8,
    #[doc = " A `ScanKind`."]
    pub kind: u8,
    #[doc = " Zig-zag index of the first coefficient sent: Ss."]
    pub z_begin: u8,
    #[doc = " One past the last: Se + 1."]
    pub z_end: u8,
    #[doc = " Al: coefficients are sent divided by 2^Al."]
    pub point_transform: u8,
    #[doc = " 1: a bad code ends its segment. 0: it counts as the symbol 0."]
    pub is_progressive: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ScanDesc"][::core::mem::size_of::<ScanDesc>() - 256usize];
    ["Alignment of ScanDesc"][::core::mem::align_of::<ScanDesc>() - 8usize];
    ["Offset of field: ScanDesc::data_offset"][::core::mem::offset_of!(ScanDesc, data_offset) - 0usize];
    ["Offset of field: ScanDesc::destuffed_offset"][::core::mem::offset_of!(ScanDesc, destuffed_offset) - 8usize];
    ["Offset of field: ScanDesc::first_refined_block"]
        [::core::mem::offset_of!(ScanDesc, first_refined_block) - 16usize];
    ["Offset of field: ScanDesc::image_idx"][::core::mem::offset_of!(ScanDesc, image_idx) - 24usize];
    ["Offset of field: ScanDesc::data_bytes"][::core::mem::offset_of!(ScanDesc, data_bytes) - 28usize];
    ["Offset of field: ScanDesc::first_destuff_tile"][::core::mem::offset_of!(ScanDesc, first_destuff_tile) - 32usize];
    ["Offset of field: ScanDesc::num_destuff_tiles"][::core::mem::offset_of!(ScanDesc, num_destuff_tiles) - 36usize];
    ["Offset of field: ScanDesc::first_segment"][::core::mem::offset_of!(ScanDesc, first_segment) - 40usize];
    ["Offset of field: ScanDesc::num_intervals"][::core::mem::offset_of!(ScanDesc, num_intervals) - 44usize];
    ["Offset of field: ScanDesc::first_subsequence"][::core::mem::offset_of!(ScanDesc, first_subsequence) - 48usize];
    ["Offset of field: ScanDesc::max_subsequences"][::core::mem::offset_of!(ScanDesc, max_subsequences) - 52usize];
    ["Offset of field: ScanDesc::subsequence_bytes"][::core::mem::offset_of!(ScanDesc, subsequence_bytes) - 56usize];
    ["Offset of field: ScanDesc::interval_mcus"][::core::mem::offset_of!(ScanDesc, interval_mcus) - 60usize];
    ["Offset of field: ScanDesc::num_mcus"][::core::mem::offset_of!(ScanDesc, num_mcus) - 64usize];
    ["Offset of field: ScanDesc::mcus_wide"][::core::mem::offset_of!(ScanDesc, mcus_wide) - 68usize];
    ["Offset of field: ScanDesc::dc_tables"][::core::mem::offset_of!(ScanDesc, dc_tables) - 72usize];
    ["Offset of field: ScanDesc::ac_tables"][::core::mem::offset_of!(ScanDesc, ac_tables) - 88usize];
    ["Offset of field: ScanDesc::components"][::core::mem::offset_of!(ScanDesc, components) - 104usize];
    ["Offset of field: ScanDesc::mcu_blocks"][::core::mem::offset_of!(ScanDesc, mcu_blocks) - 168usize];
    ["Offset of field: ScanDesc::num_mcu_blocks"][::core::mem::offset_of!(ScanDesc, num_mcu_blocks) - 248usize];
    ["Offset of field: ScanDesc::num_dc_tables"][::core::mem::offset_of!(ScanDesc, num_dc_tables) - 249usize];
    ["Offset of field: ScanDesc::num_ac_tables"][::core::mem::offset_of!(ScanDesc, num_ac_tables) - 250usize];
    ["Offset of field: ScanDesc::kind"][::core::mem::offset_of!(ScanDesc, kind) - 251usize];
    ["Offset of field: ScanDesc::z_begin"][::core::mem::offset_of!(ScanDesc, z_begin) - 252usize];
    ["Offset of field: ScanDesc::z_end"][::core::mem::offset_of!(ScanDesc, z_end) - 253usize];
    ["Offset of field: ScanDesc::point_transform"][::core::mem::offset_of!(ScanDesc, point_transform) - 254usize];
    ["Offset of field: ScanDesc::is_progressive"][::core::mem::offset_of!(ScanDesc, is_progressive) - 255usize];
};
#[doc = " An image of the batch: what its outcome is made from."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct ImageDesc {
    #[doc = " Index into `scans`; the image's scans lie in the file's order."]
    pub first_scan: u32,
    #[doc = " How many."]
    pub num_scans: u32,
    #[doc = " The frame's interleaved MCUs in a row."]
    pub mcus_wide: u32,
    #[doc = " The frame's interleaved MCUs."]
    pub num_mcus: u32,
    #[doc = " Index into `untrusted`: ceil(num_mcus / 32) words, one bit for each MCU."]
    pub first_untrusted_word: u32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ImageDesc"][::core::mem::size_of::<ImageDesc>() - 24usize];
    ["Alignment of ImageDesc"][::core::mem::align_of::<ImageDesc>() - 4usize];
    ["Offset of field: ImageDesc::first_scan"][::core::mem::offset_of!(ImageDesc, first_scan) - 0usize];
    ["Offset of field: ImageDesc::num_scans"][::core::mem::offset_of!(ImageDesc, num_scans) - 4usize];
    ["Offset of field: ImageDesc::mcus_wide"][::core::mem::offset_of!(ImageDesc, mcus_wide) - 8usize];
    ["Offset of field: ImageDesc::num_mcus"][::core::mem::offset_of!(ImageDesc, num_mcus) - 12usize];
    ["Offset of field: ImageDesc::first_untrusted_word"]
        [::core::mem::offset_of!(ImageDesc, first_untrusted_word) - 16usize];
    ["Offset of field: ImageDesc::reserved"][::core::mem::offset_of!(ImageDesc, reserved) - 20usize];
};
#[doc = " A CTA's work: a range of one scan's items (destuffing tiles, subsequences, segments or blocks)."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct WorkTile {
    #[doc = " Index into `scans`."]
    pub scan_idx: u32,
    #[doc = " The first item of the scan that the CTA takes."]
    pub first: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of WorkTile"][::core::mem::size_of::<WorkTile>() - 8usize];
    ["Alignment of WorkTile"][::core::mem::align_of::<WorkTile>() - 4usize];
    ["Offset of field: WorkTile::scan_idx"][::core::mem::offset_of!(WorkTile, scan_idx) - 0usize];
    ["Offset of field: WorkTile::first"][::core::mem::offset_of!(WorkTile, first) - 4usize];
};
#[doc = " Bytes and markers of DESTUFF_TILE_BYTES of a scan: first its own, then (place_destuffed) those of the tiles before."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct DestuffTile {
    #[doc = " Bytes that are data."]
    pub kept_bytes: u32,
    #[doc = " RSTm markers."]
    pub num_restarts: u32,
    #[doc = " Bytes of the tile before the scan's end, which is the byte after FF of the marker that ends it."]
    pub end_bytes: u32,
    #[doc = " Pairs FF01 to FFBF, which stand in no legal file."]
    pub num_invalid: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of DestuffTile"][::core::mem::size_of::<DestuffTile>() - 16usize];
    ["Alignment of DestuffTile"][::core::mem::align_of::<DestuffTile>() - 4usize];
    ["Offset of field: DestuffTile::kept_bytes"][::core::mem::offset_of!(DestuffTile, kept_bytes) - 0usize];
    ["Offset of field: DestuffTile::num_restarts"][::core::mem::offset_of!(DestuffTile, num_restarts) - 4usize];
    ["Offset of field: DestuffTile::end_bytes"][::core::mem::offset_of!(DestuffTile, end_bytes) - 8usize];
    ["Offset of field: DestuffTile::num_invalid"][::core::mem::offset_of!(DestuffTile, num_invalid) - 12usize];
};
#[doc = " What the device finds out about a scan."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct ScanState {
    #[doc = " Bytes of data, all segments together."]
    pub destuffed_bytes: u32,
    #[doc = " Entropy-coded segments, at most num_intervals + EXTRA_SEGMENTS."]
    pub num_segments: u32,
    #[doc = " Intervals up to the last one of which a segment was found."]
    pub num_found: u32,
    #[doc = " Subsequences of all divided segments."]
    pub num_subsequences: u32,
    #[doc = " Subsequences that had to be decoded one after the other."]
    pub serial_subsequences: u32,
    #[doc = " 1: nothing is written; the CPU decodes the image. Bytes that no legal file holds, or too much serial work."]
    pub is_unresolved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ScanState"][::core::mem::size_of::<ScanState>() - 24usize];
    ["Alignment of ScanState"][::core::mem::align_of::<ScanState>() - 4usize];
    ["Offset of field: ScanState::destuffed_bytes"][::core::mem::offset_of!(ScanState, destuffed_bytes) - 0usize];
    ["Offset of field: ScanState::num_segments"][::core::mem::offset_of!(ScanState, num_segments) - 4usize];
    ["Offset of field: ScanState::num_found"][::core::mem::offset_of!(ScanState, num_found) - 8usize];
    ["Offset of field: ScanState::num_subsequences"][::core::mem::offset_of!(ScanState, num_subsequences) - 12usize];
    ["Offset of field: ScanState::serial_subsequences"]
        [::core::mem::offset_of!(ScanState, serial_subsequences) - 16usize];
    ["Offset of field: ScanState::is_unresolved"][::core::mem::offset_of!(ScanState, is_unresolved) - 20usize];
};
#[doc = " An entropy-coded segment: the data between two restart markers. It ends where the next one starts; behind the last one stands one\n more, which only says where."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct Segment {
    #[doc = " In the scan's destuffed data."]
    pub start_bytes: u32,
    #[doc = " m of the RSTm before it; index_segments adds `SegmentFlag`s."]
    pub marker: u32,
    #[doc = " Which restart interval it holds; SEGMENT_NO_INTERVAL: that of the last one before that holds one."]
    pub interval: u32,
    #[doc = " Of the scan. A segment that is not divided has none."]
    pub first_subsequence: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Segment"][::core::mem::size_of::<Segment>() - 16usize];
    ["Alignment of Segment"][::core::mem::align_of::<Segment>() - 4usize];
    ["Offset of field: Segment::start_bytes"][::core::mem::offset_of!(Segment, start_bytes) - 0usize];
    ["Offset of field: Segment::marker"][::core::mem::offset_of!(Segment, marker) - 4usize];
    ["Offset of field: Segment::interval"][::core::mem::offset_of!(Segment, interval) - 8usize];
    ["Offset of field: Segment::first_subsequence"][::core::mem::offset_of!(Segment, first_subsequence) - 12usize];
};
#[doc = " What decoding a segment gave. All bits set where it was not decoded."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct SegmentResult {
    #[doc = " A `SegmentEnd`."]
    pub end: u32,
    #[doc = " Blocks that were received whole, from the first on."]
    pub received_blocks: u32,
    #[doc = " Where reading stopped, in the scan's destuffed data."]
    pub end_bits: u32,
    #[doc = " The first block with a bad code; UINT32_MAX: none."]
    pub bad_block: u32,
    #[doc = " Where that code starts, in the scan's destuffed data."]
    pub bad_bits: u32,
    #[doc = " Not used."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SegmentResult"][::core::mem::size_of::<SegmentResult>() - 24usize];
    ["Alignment of SegmentResult"][::core::mem::align_of::<SegmentResult>() - 4usize];
    ["Offset of field: SegmentResult::end"][::core::mem::offset_of!(SegmentResult, end) - 0usize];
    ["Offset of field: SegmentResult::received_blocks"]
        [::core::mem::offset_of!(SegmentResult, received_blocks) - 4usize];
    ["Offset of field: SegmentResult::end_bits"][::core::mem::offset_of!(SegmentResult, end_bits) - 8usize];
    ["Offset of field: SegmentResult::bad_block"][::core::mem::offset_of!(SegmentResult, bad_block) - 12usize];
    ["Offset of field: SegmentResult::bad_bits"][::core::mem::offset_of!(SegmentResult, bad_bits) - 16usize];
    ["Offset of field: SegmentResult::reserved"][::core::mem::offset_of!(SegmentResult, reserved) - 20usize];
};
#[doc = " Decoding one subsequence from one start state. States are packed as common/huffman.cuh says."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct SubsequenceRecord {
    #[doc = " On entering this subsequence."]
    pub start_state: u16,
    #[doc = " On entering the next one."]
    pub end_state: u16,
    #[doc = " Blocks that end here; RECORD_BAD_CODE is set where a bit pattern was no code."]
    pub num_blocks: u32,
    #[doc = " Sums of DIFF, modulo 2^16, of components 0 and 1, and of 2 and 3."]
    pub dc: [u32; 2usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SubsequenceRecord"][::core::mem::size_of::<SubsequenceRecord>() - 16usize];
    ["Alignment of SubsequenceRecord"][::core::mem::align_of::<SubsequenceRecord>() - 4usize];
    ["Offset of field: SubsequenceRecord::start_state"]
        [::core::mem::offset_of!(SubsequenceRecord, start_state) - 0usize];
    ["Offset of field: SubsequenceRecord::end_state"][::core::mem::offset_of!(SubsequenceRecord, end_state) - 2usize];
    ["Offset of field: SubsequenceRecord::num_blocks"][::core::mem::offset_of!(SubsequenceRecord, num_blocks) - 4usize];
    ["Offset of field: SubsequenceRecord::dc"][::core::mem::offset_of!(SubsequenceRecord, dc) - 8usize];
};
#[doc = " The records of one subsequence."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct Subsequence {
    #[doc = " In the order made."]
    pub records: [SubsequenceRecord; 8usize],
    #[doc = " How many."]
    pub num_records: u32,
    #[doc = " The one to believe."]
    pub selected: u32,
    #[doc = " Which segment of the scan it belongs to."]
    pub segment: u32,
    #[doc = " Not used."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Subsequence"][::core::mem::size_of::<Subsequence>() - 144usize];
    ["Alignment of Subsequence"][::core::mem::align_of::<Subsequence>() - 4usize];
    ["Offset of field: Subsequence::records"][::core::mem::offset_of!(Subsequence, records) - 0usize];
    ["Offset of field: Subsequence::num_records"][::core::mem::offset_of!(Subsequence, num_records) - 128usize];
    ["Offset of field: Subsequence::selected"][::core::mem::offset_of!(Subsequence, selected) - 132usize];
    ["Offset of field: Subsequence::segment"][::core::mem::offset_of!(Subsequence, segment) - 136usize];
    ["Offset of field: Subsequence::reserved"][::core::mem::offset_of!(Subsequence, reserved) - 140usize];
};
#[doc = " Where a subsequence stands in its segment, once every start state is known."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct SubsequenceStart {
    #[doc = " Packed; SUBSEQUENCE_BAD_BEFORE is set where the segment holds a bad code before."]
    pub state: u32,
    #[doc = " Blocks of the segment that end before."]
    pub first_block: u32,
    #[doc = " PRED of components 0 and 1, and of 2 and 3."]
    pub dc: [u32; 2usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SubsequenceStart"][::core::mem::size_of::<SubsequenceStart>() - 16usize];
    ["Alignment of SubsequenceStart"][::core::mem::align_of::<SubsequenceStart>() - 4usize];
    ["Offset of field: SubsequenceStart::state"][::core::mem::offset_of!(SubsequenceStart, state) - 0usize];
    ["Offset of field: SubsequenceStart::first_block"][::core::mem::offset_of!(SubsequenceStart, first_block) - 4usize];
    ["Offset of field: SubsequenceStart::dc"][::core::mem::offset_of!(SubsequenceStart, dc) - 8usize];
};
#[doc = " A block of an AC refinement scan."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct RefinedBlock {
    #[doc = " Bit k: ZZ(k), of the scan's band, is not zero before the scan."]
    pub nonzero: u64,
    #[doc = " Where its data start, in the scan's destuffed data; UINT32_MAX: it has none, or was not received."]
    pub start_bits: u32,
    #[doc = " 1: a run of EOB covers it, so it has correction bits only."]
    pub is_in_run: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RefinedBlock"][::core::mem::size_of::<RefinedBlock>() - 16usize];
    ["Alignment of RefinedBlock"][::core::mem::align_of::<RefinedBlock>() - 8usize];
    ["Offset of field: RefinedBlock::nonzero"][::core::mem::offset_of!(RefinedBlock, nonzero) - 0usize];
    ["Offset of field: RefinedBlock::start_bits"][::core::mem::offset_of!(RefinedBlock, start_bits) - 8usize];
    ["Offset of field: RefinedBlock::is_in_run"][::core::mem::offset_of!(RefinedBlock, is_in_run) - 12usize];
};
#[doc = " What became of an image."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct ImageOutcome {
    #[doc = " The frame's MCUs of which a block is not to be trusted."]
    pub untrusted_mcus: u32,
    #[doc = " The first of them; UINT32_MAX: none."]
    pub first_untrusted_mcu: u32,
    #[doc = " Scans without any fault."]
    pub scans_complete: u32,
    #[doc = " The first fault in the order of the file: a `FaultKind`."]
    pub fault: u32,
    #[doc = " In which of the image's scans."]
    pub fault_scan: u32,
    #[doc = " In which of its segments."]
    pub fault_segment: u32,
    #[doc = " From the segment's start, in destuffed data."]
    pub fault_bits: u32,
    #[doc = " 1: the CPU has to decode this image."]
    pub is_unresolved: u32,
    #[doc = " Subsequences that had to be decoded one after the other."]
    pub serial_subsequences: u32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ImageOutcome"][::core::mem::size_of::<ImageOutcome>() - 40usize];
    ["Alignment of ImageOutcome"][::core::mem::align_of::<ImageOutcome>() - 4usize];
    ["Offset of field: ImageOutcome::untrusted_mcus"][::core::mem::offset_of!(ImageOutcome, untrusted_mcus) - 0usize];
    ["Offset of field: ImageOutcome::first_untrusted_mcu"]
        [::core::mem::offset_of!(ImageOutcome, first_untrusted_mcu) - 4usize];
    ["Offset of field: ImageOutcome::scans_complete"][::core::mem::offset_of!(ImageOutcome, scans_complete) - 8usize];
    ["Offset of field: ImageOutcome::fault"][::core::mem::offset_of!(ImageOutcome, fault) - 12usize];
    ["Offset of field: ImageOutcome::fault_scan"][::core::mem::offset_of!(ImageOutcome, fault_scan) - 16usize];
    ["Offset of field: ImageOutcome::fault_segment"][::core::mem::offset_of!(ImageOutcome, fault_segment) - 20usize];
    ["Offset of field: ImageOutcome::fault_bits"][::core::mem::offset_of!(ImageOutcome, fault_bits) - 24usize];
    ["Offset of field: ImageOutcome::is_unresolved"][::core::mem::offset_of!(ImageOutcome, is_unresolved) - 28usize];
    ["Offset of field: ImageOutcome::serial_subsequences"]
        [::core::mem::offset_of!(ImageOutcome, serial_subsequences) - 32usize];
    ["Offset of field: ImageOutcome::reserved"][::core::mem::offset_of!(ImageOutcome, reserved) - 36usize];
};
#[doc = " Every buffer of a batch that is being decoded."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct DecodeBatch {
    #[doc = " The scans' bytes, as the files hold them."]
    pub upload: *const u8,
    #[doc = " [num_images]"]
    pub images: *const ImageDesc,
    #[doc = " [num_scans]"]
    pub scans: *const ScanDesc,
    #[doc = " [num_tables]"]
    pub specs: *const HuffmanSpec,
    #[doc = " [num_tables]"]
    pub tables: *mut HuffmanTable,
    #[doc = " By scan."]
    pub destuff_tiles: *mut DestuffTile,
    #[doc = " [num_scans]"]
    pub scan_states: *mut ScanState,
    #[doc = " By scan: destuffed data, four bytes a word, the first in the highest bits."]
    pub destuffed: *mut u32,
    #[doc = " By scan."]
    pub segments: *mut Segment,
    #[doc = " By scan."]
    pub subsequences: *mut Subsequence,
    #[doc = " By scan: one for each subsequence."]
    pub starts: *mut SubsequenceStart,
    #[doc = " By scan; all bits set at first."]
    pub segment_results: *mut SegmentResult,
    #[doc = " By image: one bit for each MCU; zero at first."]
    pub untrusted: *mut u32,
    #[doc = " [num_images]"]
    pub outcomes: *mut ImageOutcome,
    #[doc = " By image and component: [blocks_high_padded][pitch_blocks][64], natural order."]
    pub coefficients: *mut i16,
    #[doc = " By scan; scans of different waves share them."]
    pub refined_blocks: *mut RefinedBlock,
    #[doc = " One bit for each of refined_blocks: set where `nonzero` is not zero."]
    pub nonzero_blocks: *mut u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of DecodeBatch"][::core::mem::size_of::<DecodeBatch>() - 136usize];
    ["Alignment of DecodeBatch"][::core::mem::align_of::<DecodeBatch>() - 8usize];
    ["Offset of field: DecodeBatch::upload"][::core::mem::offset_of!(DecodeBatch, upload) - 0usize];
    ["Offset of field: DecodeBatch::images"][::core::mem::offset_of!(DecodeBatch, images) - 8usize];
    ["Offset of field: DecodeBatch::scans"][::core::mem::offset_of!(DecodeBatch, scans) - 16usize];
    ["Offset of field: DecodeBatch::specs"][::core::mem::offset_of!(DecodeBatch, specs) - 24usize];
    ["Offset of field: DecodeBatch::tables"][::core::mem::offset_of!(DecodeBatch, tables) - 32usize];
    ["Offset of field: DecodeBatch::destuff_tiles"][::core::mem::offset_of!(DecodeBatch, destuff_tiles) - 40usize];
    ["Offset of field: DecodeBatch::scan_states"][::core::mem::offset_of!(DecodeBatch, scan_states) - 48usize];
    ["Offset of field: DecodeBatch::destuffed"][::core::mem::offset_of!(DecodeBatch, destuffed) - 56usize];
    ["Offset of field: DecodeBatch::segments"][::core::mem::offset_of!(DecodeBatch, segments) - 64usize];
    ["Offset of field: DecodeBatch::subsequences"][::core::mem::offset_of!(DecodeBatch, subsequences) - 72usize];
    ["Offset of field: DecodeBatch::starts"][::core::mem::offset_of!(DecodeBatch, starts) - 80usize];
    ["Offset of field: DecodeBatch::segment_results"][::core::mem::offset_of!(DecodeBatch, segment_results) - 88usize];
    ["Offset of field: DecodeBatch::untrusted"][::core::mem::offset_of!(DecodeBatch, untrusted) - 96usize];
    ["Offset of field: DecodeBatch::outcomes"][::core::mem::offset_of!(DecodeBatch, outcomes) - 104usize];
    ["Offset of field: DecodeBatch::coefficients"][::core::mem::offset_of!(DecodeBatch, coefficients) - 112usize];
    ["Offset of field: DecodeBatch::refined_blocks"][::core::mem::offset_of!(DecodeBatch, refined_blocks) - 120usize];
    ["Offset of field: DecodeBatch::nonzero_blocks"][::core::mem::offset_of!(DecodeBatch, nonzero_blocks) - 128usize];
};
impl Default for DecodeBatch {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `build_tables`: one warp a table."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct BuildTablesParams {
    #[doc = " Reads specs, writes tables."]
    pub batch: DecodeBatch,
    #[doc = " Length of both."]
    pub num_tables: u32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of BuildTablesParams"][::core::mem::size_of::<BuildTablesParams>() - 144usize];
    ["Alignment of BuildTablesParams"][::core::mem::align_of::<BuildTablesParams>() - 8usize];
    ["Offset of field: BuildTablesParams::batch"][::core::mem::offset_of!(BuildTablesParams, batch) - 0usize];
    ["Offset of field: BuildTablesParams::num_tables"]
        [::core::mem::offset_of!(BuildTablesParams, num_tables) - 136usize];
    ["Offset of field: BuildTablesParams::reserved"][::core::mem::offset_of!(BuildTablesParams, reserved) - 140usize];
};
impl Default for BuildTablesParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `count_destuffed`: one CTA a tile."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct CountDestuffedParams {
    #[doc = " Reads upload, writes destuff_tiles."]
    pub batch: DecodeBatch,
    #[doc = " [gridDim.x]: first = which tile of the scan."]
    pub tiles: *const WorkTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of CountDestuffedParams"][::core::mem::size_of::<CountDestuffedParams>() - 144usize];
    ["Alignment of CountDestuffedParams"][::core::mem::align_of::<CountDestuffedParams>() - 8usize];
    ["Offset of field: CountDestuffedParams::batch"][::core::mem::offset_of!(CountDestuffedParams, batch) - 0usize];
    ["Offset of field: CountDestuffedParams::tiles"][::core::mem::offset_of!(CountDestuffedParams, tiles) - 136usize];
};
impl Default for CountDestuffedParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `place_destuffed`: one CTA a scan."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct PlaceDestuffedParams {
    #[doc = " Turns destuff_tiles into offsets; writes scan_states and each scan's first segment."]
    pub batch: DecodeBatch,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PlaceDestuffedParams"][::core::mem::size_of::<PlaceDestuffedParams>() - 136usize];
    ["Alignment of PlaceDestuffedParams"][::core::mem::align_of::<PlaceDestuffedParams>() - 8usize];
    ["Offset of field: PlaceDestuffedParams::batch"][::core::mem::offset_of!(PlaceDestuffedParams, batch) - 0usize];
};
impl Default for PlaceDestuffedParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `destuff`: one CTA a tile."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct DestuffParams {
    #[doc = " Reads upload and destuff_tiles; writes destuffed and segments."]
    pub batch: DecodeBatch,
    #[doc = " [gridDim.x]: first = which tile of the scan."]
    pub tiles: *const WorkTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of DestuffParams"][::core::mem::size_of::<DestuffParams>() - 144usize];
    ["Alignment of DestuffParams"][::core::mem::align_of::<DestuffParams>() - 8usize];
    ["Offset of field: DestuffParams::batch"][::core::mem::offset_of!(DestuffParams, batch) - 0usize];
    ["Offset of field: DestuffParams::tiles"][::core::mem::offset_of!(DestuffParams, tiles) - 136usize];
};
impl Default for DestuffParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `index_segments`: one CTA a scan."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct IndexSegmentsParams {
    #[doc = " Completes segments and scan_states."]
    pub batch: DecodeBatch,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of IndexSegmentsParams"][::core::mem::size_of::<IndexSegmentsParams>() - 136usize];
    ["Alignment of IndexSegmentsParams"][::core::mem::align_of::<IndexSegmentsParams>() - 8usize];
    ["Offset of field: IndexSegmentsParams::batch"][::core::mem::offset_of!(IndexSegmentsParams, batch) - 0usize];
};
impl Default for IndexSegmentsParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `synchronize_subsequences`: one CTA for every SYNCHRONIZE_TILES tiles."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct SynchronizeSubsequencesParams {
    #[doc = " Reads destuffed, segments, tables; writes subsequences."]
    pub batch: DecodeBatch,
    #[doc = " [gridDim.x][SYNCHRONIZE_TILES]: first = the first subsequence that is the tile's own; behind the scan's: none."]
    pub tiles: *const WorkTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SynchronizeSubsequencesParams"][::core::mem::size_of::<SynchronizeSubsequencesParams>() - 144usize];
    ["Alignment of SynchronizeSubsequencesParams"][::core::mem::align_of::<SynchronizeSubsequencesParams>() - 8usize];
    ["Offset of field: SynchronizeSubsequencesParams::batch"]
        [::core::mem::offset_of!(SynchronizeSubsequencesParams, batch) - 0usize];
    ["Offset of field: SynchronizeSubsequencesParams::tiles"]
        [::core::mem::offset_of!(SynchronizeSubsequencesParams, tiles) - 136usize];
};
impl Default for SynchronizeSubsequencesParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `resolve_subsequences`: one CTA a scan."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ResolveSubsequencesParams {
    #[doc = " Reads and completes subsequences; writes starts."]
    pub batch: DecodeBatch,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ResolveSubsequencesParams"][::core::mem::size_of::<ResolveSubsequencesParams>() - 136usize];
    ["Alignment of ResolveSubsequencesParams"][::core::mem::align_of::<ResolveSubsequencesParams>() - 8usize];
    ["Offset of field: ResolveSubsequencesParams::batch"]
        [::core::mem::offset_of!(ResolveSubsequencesParams, batch) - 0usize];
};
impl Default for ResolveSubsequencesParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `write_subsequences`: one CTA a tile."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct WriteSubsequencesParams {
    #[doc = " Reads starts, destuffed, tables; writes coefficients and segment_results."]
    pub batch: DecodeBatch,
    #[doc = " [gridDim.x]: first = the first subsequence."]
    pub tiles: *const WorkTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of WriteSubsequencesParams"][::core::mem::size_of::<WriteSubsequencesParams>() - 144usize];
    ["Alignment of WriteSubsequencesParams"][::core::mem::align_of::<WriteSubsequencesParams>() - 8usize];
    ["Offset of field: WriteSubsequencesParams::batch"]
        [::core::mem::offset_of!(WriteSubsequencesParams, batch) - 0usize];
    ["Offset of field: WriteSubsequencesParams::tiles"]
        [::core::mem::offset_of!(WriteSubsequencesParams, tiles) - 136usize];
};
impl Default for WriteSubsequencesParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `write_segments`: one CTA a tile. Takes the segments that are not divided."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct WriteSegmentsParams {
    #[doc = " Reads segments, destuffed, tables; writes coefficients and segment_results."]
    pub batch: DecodeBatch,
    #[doc = " [gridDim.x]: first = the first segment."]
    pub tiles: *const WorkTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of WriteSegmentsParams"][::core::mem::size_of::<WriteSegmentsParams>() - 144usize];
    ["Alignment of WriteSegmentsParams"][::core::mem::align_of::<WriteSegmentsParams>() - 8usize];
    ["Offset of field: WriteSegmentsParams::batch"][::core::mem::offset_of!(WriteSegmentsParams, batch) - 0usize];
    ["Offset of field: WriteSegmentsParams::tiles"][::core::mem::offset_of!(WriteSegmentsParams, tiles) - 136usize];
};
impl Default for WriteSegmentsParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `mark_blocks`: one CTA a tile. Takes the blocks of AC refinement scans."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct MarkBlocksParams {
    #[doc = " Reads coefficients; writes refined_blocks and nonzero_blocks."]
    pub batch: DecodeBatch,
    #[doc = " [gridDim.x]: first = the first block."]
    pub tiles: *const WorkTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of MarkBlocksParams"][::core::mem::size_of::<MarkBlocksParams>() - 144usize];
    ["Alignment of MarkBlocksParams"][::core::mem::align_of::<MarkBlocksParams>() - 8usize];
    ["Offset of field: MarkBlocksParams::batch"][::core::mem::offset_of!(MarkBlocksParams, batch) - 0usize];
    ["Offset of field: MarkBlocksParams::tiles"][::core::mem::offset_of!(MarkBlocksParams, tiles) - 136usize];
};
impl Default for MarkBlocksParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `refine_segments`: one CTA a tile. Takes the segments of AC refinement scans."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct RefineSegmentsParams {
    #[doc = " Reads segments, destuffed, tables, nonzero_blocks; completes refined_blocks; writes segment_results."]
    pub batch: DecodeBatch,
    #[doc = " [gridDim.x]: first = the first segment."]
    pub tiles: *const WorkTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RefineSegmentsParams"][::core::mem::size_of::<RefineSegmentsParams>() - 144usize];
    ["Alignment of RefineSegmentsParams"][::core::mem::align_of::<RefineSegmentsParams>() - 8usize];
    ["Offset of field: RefineSegmentsParams::batch"][::core::mem::offset_of!(RefineSegmentsParams, batch) - 0usize];
    ["Offset of field: RefineSegmentsParams::tiles"][::core::mem::offset_of!(RefineSegmentsParams, tiles) - 136usize];
};
impl Default for RefineSegmentsParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `refine_blocks`: one CTA a tile. Takes the blocks of refinement scans."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct RefineBlocksParams {
    #[doc = " Reads segments, destuffed, tables, refined_blocks; changes coefficients; DC: writes segment_results."]
    pub batch: DecodeBatch,
    #[doc = " [gridDim.x]: first = the first block."]
    pub tiles: *const WorkTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RefineBlocksParams"][::core::mem::size_of::<RefineBlocksParams>() - 144usize];
    ["Alignment of RefineBlocksParams"][::core::mem::align_of::<RefineBlocksParams>() - 8usize];
    ["Offset of field: RefineBlocksParams::batch"][::core::mem::offset_of!(RefineBlocksParams, batch) - 0usize];
    ["Offset of field: RefineBlocksParams::tiles"][::core::mem::offset_of!(RefineBlocksParams, tiles) - 136usize];
};
impl Default for RefineBlocksParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `clear_unfinished`: one CTA a scan that is no refinement."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ClearUnfinishedParams {
    #[doc = " Reads segment_results; clears the block that a segment breaks off in."]
    pub batch: DecodeBatch,
    #[doc = " [gridDim.x]: the scans; first is not used."]
    pub tiles: *const WorkTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ClearUnfinishedParams"][::core::mem::size_of::<ClearUnfinishedParams>() - 144usize];
    ["Alignment of ClearUnfinishedParams"][::core::mem::align_of::<ClearUnfinishedParams>() - 8usize];
    ["Offset of field: ClearUnfinishedParams::batch"][::core::mem::offset_of!(ClearUnfinishedParams, batch) - 0usize];
    ["Offset of field: ClearUnfinishedParams::tiles"][::core::mem::offset_of!(ClearUnfinishedParams, tiles) - 136usize];
};
impl Default for ClearUnfinishedParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `report_outcomes`: one CTA an image."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ReportOutcomesParams {
    #[doc = " Reads segment_results and scan_states; writes untrusted and outcomes."]
    pub batch: DecodeBatch,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ReportOutcomesParams"][::core::mem::size_of::<ReportOutcomesParams>() - 136usize];
    ["Alignment of ReportOutcomesParams"][::core::mem::align_of::<ReportOutcomesParams>() - 8usize];
    ["Offset of field: ReportOutcomesParams::batch"][::core::mem::offset_of!(ReportOutcomesParams, batch) - 0usize];
};
impl Default for ReportOutcomesParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Some columns of a convolution's product, as channels of a value."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ConvolveOutput {
    #[doc = " f16 (float where `is_float`), [num_images][height][width][pitch]: at the first channel that is written."]
    pub values: *mut ::core::ffi::c_void,
    #[doc = " Values from one pixel to the next."]
    pub pitch: u32,
    #[doc = " One past the last column that goes here, a multiple of 8; the next output takes the rest."]
    pub columns_end: u32,
    #[doc = " 1: max(0, x) after the sum."]
    pub has_relu: u32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ConvolveOutput"][::core::mem::size_of::<ConvolveOutput>() - 24usize];
    ["Alignment of ConvolveOutput"][::core::mem::align_of::<ConvolveOutput>() - 8usize];
    ["Offset of field: ConvolveOutput::values"][::core::mem::offset_of!(ConvolveOutput, values) - 0usize];
    ["Offset of field: ConvolveOutput::pitch"][::core::mem::offset_of!(ConvolveOutput, pitch) - 8usize];
    ["Offset of field: ConvolveOutput::columns_end"][::core::mem::offset_of!(ConvolveOutput, columns_end) - 12usize];
    ["Offset of field: ConvolveOutput::has_relu"][::core::mem::offset_of!(ConvolveOutput, has_relu) - 16usize];
    ["Offset of field: ConvolveOutput::reserved"][::core::mem::offset_of!(ConvolveOutput, reserved) - 20usize];
};
impl Default for ConvolveOutput {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of the `convolve` kernels: out = relu(conv(input) + bias + residual). One CTA a tile of the product (x; tiles of one row of\n tiles follow each other) and a phase (z). A row of the product is a window, a column an output channel."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ConvolveParams {
    #[doc = " f16 [num_images][input_height][input_width][input_pitch]: at the first channel read."]
    pub input: *const u16,
    #[doc = " f16 [phases][num_columns][depth]: (ky, kx, channel), then zeros up to `depth`."]
    pub weights: *const u16,
    #[doc = " [num_columns], padded to a multiple of 8."]
    pub bias: *const f32,
    #[doc = " The same in f16, for libraries; null if one is beyond f16."]
    pub bias_half: *const u16,
    #[doc = " f16, the output's pixels, [residual_pitch] each; null for none. For output 0."]
    pub residual: *const u16,
    #[doc = " The second is used if the first ends before `num_columns`."]
    pub outputs: [ConvolveOutput; 2usize],
    #[doc = " num_images * windows_high * windows_wide, below 2^31."]
    pub num_rows: u32,
    #[doc = " Output channels, both outputs together."]
    pub num_columns: u32,
    #[doc = " A multiple of CONVOLVE_DEPTH."]
    pub depth: u32,
    #[doc = " Channels read of each pixel, a multiple of 8."]
    pub channels: u32,
    #[doc = " Pixels."]
    pub input_height: u32,
    #[doc = " Pixels."]
    pub input_width: u32,
    #[doc = " Values from one pixel to the next, a multiple of 8."]
    pub input_pitch: u32,
    #[doc = " Taps."]
    pub kernel_height: u32,
    #[doc = " Taps."]
    pub kernel_width: u32,
    #[doc = " Pixels from one window to the next."]
    pub stride_y: u32,
    #[doc = " Pixels from one window to the next."]
    pub stride_x: u32,
    #[doc = " Rows of zeros above the input."]
    pub pad_top: u32,
    #[doc = " Columns of zeros left of the input."]
    pub pad_left: u32,
    #[doc = " Rows of windows."]
    pub windows_high: u32,
    #[doc = " Columns of windows."]
    pub windows_wide: u32,
    #[doc = " Values from one pixel to the next, a multiple of 8."]
    pub residual_pitch: u32,
    #[doc = " 1; or 2: phase 2 dy + dx writes the pixels (2 y + dy, 2 x + dx), as a deconvolution does."]
    pub upsampling: u32,
    #[doc = " 1: outputs are float."]
    pub is_float: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ConvolveParams"][::core::mem::size_of::<ConvolveParams>() - 160usize];
    ["Alignment of ConvolveParams"][::core::mem::align_of::<ConvolveParams>() - 8usize];
    ["Offset of field: ConvolveParams::input"][::core::mem::offset_of!(ConvolveParams, input) - 0usize];
    ["Offset of field: ConvolveParams::weights"][::core::mem::offset_of!(ConvolveParams, weights) - 8usize];
    ["Offset of field: ConvolveParams::bias"][::core::mem::offset_of!(ConvolveParams, bias) - 16usize];
    ["Offset of field: ConvolveParams::bias_half"][::core::mem::offset_of!(ConvolveParams, bias_half) - 24usize];
    ["Offset of field: ConvolveParams::residual"][::core::mem::offset_of!(ConvolveParams, residual) - 32usize];
    ["Offset of field: ConvolveParams::outputs"][::core::mem::offset_of!(ConvolveParams, outputs) - 40usize];
    ["Offset of field: ConvolveParams::num_rows"][::core::mem::offset_of!(ConvolveParams, num_rows) - 88usize];
    ["Offset of field: ConvolveParams::num_columns"][::core::mem::offset_of!(ConvolveParams, num_columns) - 92usize];
    ["Offset of field: ConvolveParams::depth"][::core::mem::offset_of!(ConvolveParams, depth) - 96usize];
    ["Offset of field: ConvolveParams::channels"][::core::mem::offset_of!(ConvolveParams, channels) - 100usize];
    ["Offset of field: ConvolveParams::input_height"][::core::mem::offset_of!(ConvolveParams, input_height) - 104usize];
    ["Offset of field: ConvolveParams::input_width"][::core::mem::offset_of!(ConvolveParams, input_width) - 108usize];
    ["Offset of field: ConvolveParams::input_pitch"][::core::mem::offset_of!(ConvolveParams, input_pitch) - 112usize];
    ["Offset of field: ConvolveParams::kernel_height"]
        [::core::mem::offset_of!(ConvolveParams, kernel_height) - 116usize];
    ["Offset of field: ConvolveParams::kernel_width"][::core::mem::offset_of!(ConvolveParams, kernel_width) - 120usize];
    ["Offset of field: ConvolveParams::stride_y"][::core::mem::offset_of!(ConvolveParams, stride_y) - 124usize];
    ["Offset of field: ConvolveParams::stride_x"][::core::mem::offset_of!(ConvolveParams, stride_x) - 128usize];
    ["Offset of field: ConvolveParams::pad_top"][::core::mem::offset_of!(ConvolveParams, pad_top) - 132usize];
    ["Offset of field: ConvolveParams::pad_left"][::core::mem::offset_of!(ConvolveParams, pad_left) - 136usize];
    ["Offset of field: ConvolveParams::windows_high"][::core::mem::offset_of!(ConvolveParams, windows_high) - 140usize];
    ["Offset of field: ConvolveParams::windows_wide"][::core::mem::offset_of!(ConvolveParams, windows_wide) - 144usize];
    ["Offset of field: ConvolveParams::residual_pitch"]
        [::core::mem::offset_of!(ConvolveParams, residual_pitch) - 148usize];
    ["Offset of field: ConvolveParams::upsampling"][::core::mem::offset_of!(ConvolveParams, upsampling) - 152usize];
    ["Offset of field: ConvolveParams::is_float"][::core::mem::offset_of!(ConvolveParams, is_float) - 156usize];
};
impl Default for ConvolveParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `place_channels`: a value's channels into a slice of another, perhaps scaled, perhaps upsampled by nearest neighbour."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct PlaceChannelsParams {
    #[doc = " f16 [num_images][height / factor][width / factor][channels]."]
    pub input: *const u16,
    #[doc = " f16 [num_images][height][width][output_pitch]: at the first channel written."]
    pub output: *mut u16,
    #[doc = " [channels]: out = in * scale + shift; null for a copy."]
    pub scale: *const f32,
    #[doc = " [channels]."]
    pub shift: *const f32,
    #[doc = " num_images * height * width, of the output."]
    pub num_pixels: u32,
    #[doc = " Of the output."]
    pub height: u32,
    #[doc = " Of the output."]
    pub width: u32,
    #[doc = " A multiple of 8."]
    pub channels: u32,
    #[doc = " Values from one pixel to the next, a multiple of 8."]
    pub output_pitch: u32,
    #[doc = " 1; or 2: every pixel becomes 2 x 2."]
    pub factor: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PlaceChannelsParams"][::core::mem::size_of::<PlaceChannelsParams>() - 56usize];
    ["Alignment of PlaceChannelsParams"][::core::mem::align_of::<PlaceChannelsParams>() - 8usize];
    ["Offset of field: PlaceChannelsParams::input"][::core::mem::offset_of!(PlaceChannelsParams, input) - 0usize];
    ["Offset of field: PlaceChannelsParams::output"][::core::mem::offset_of!(PlaceChannelsParams, output) - 8usize];
    ["Offset of field: PlaceChannelsParams::scale"][::core::mem::offset_of!(PlaceChannelsParams, scale) - 16usize];
    ["Offset of field: PlaceChannelsParams::shift"][::core::mem::offset_of!(PlaceChannelsParams, shift) - 24usize];
    ["Offset of field: PlaceChannelsParams::num_pixels"]
        [::core::mem::offset_of!(PlaceChannelsParams, num_pixels) - 32usize];
    ["Offset of field: PlaceChannelsParams::height"][::core::mem::offset_of!(PlaceChannelsParams, height) - 36usize];
    ["Offset of field: PlaceChannelsParams::width"][::core::mem::offset_of!(PlaceChannelsParams, width) - 40usize];
    ["Offset of field: PlaceChannelsParams::channels"]
        [::core::mem::offset_of!(PlaceChannelsParams, channels) - 44usize];
    ["Offset of field: PlaceChannelsParams::output_pitch"]
        [::core::mem::offset_of!(PlaceChannelsParams, output_pitch) - 48usize];
    ["Offset of field: PlaceChannelsParams::factor"][::core::mem::offset_of!(PlaceChannelsParams, factor) - 52usize];
};
impl Default for PlaceChannelsParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `pool_maximum`: the greatest value of each window; padding counts for nothing."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct PoolMaximumParams {
    #[doc = " f16 [num_images][input_height][input_width][channels]."]
    pub input: *const u16,
    #[doc = " f16 [num_images][height][width][channels]."]
    pub output: *mut u16,
    #[doc = " num_images * height * width, of the output."]
    pub num_pixels: u32,
    #[doc = " Of the output."]
    pub height: u32,
    #[doc = " Of the output."]
    pub width: u32,
    #[doc = " A multiple of 8."]
    pub channels: u32,
    #[doc = " Pixels."]
    pub input_height: u32,
    #[doc = " Pixels."]
    pub input_width: u32,
    #[doc = " Side of the window."]
    pub kernel: u32,
    #[doc = " Pixels from one window to the next."]
    pub stride: u32,
    #[doc = " Rows above the input."]
    pub pad_top: u32,
    #[doc = " Columns left of the input."]
    pub pad_left: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PoolMaximumParams"][::core::mem::size_of::<PoolMaximumParams>() - 56usize];
    ["Alignment of PoolMaximumParams"][::core::mem::align_of::<PoolMaximumParams>() - 8usize];
    ["Offset of field: PoolMaximumParams::input"][::core::mem::offset_of!(PoolMaximumParams, input) - 0usize];
    ["Offset of field: PoolMaximumParams::output"][::core::mem::offset_of!(PoolMaximumParams, output) - 8usize];
    ["Offset of field: PoolMaximumParams::num_pixels"]
        [::core::mem::offset_of!(PoolMaximumParams, num_pixels) - 16usize];
    ["Offset of field: PoolMaximumParams::height"][::core::mem::offset_of!(PoolMaximumParams, height) - 20usize];
    ["Offset of field: PoolMaximumParams::width"][::core::mem::offset_of!(PoolMaximumParams, width) - 24usize];
    ["Offset of field: PoolMaximumParams::channels"][::core::mem::offset_of!(PoolMaximumParams, channels) - 28usize];
    ["Offset of field: PoolMaximumParams::input_height"]
        [::core::mem::offset_of!(PoolMaximumParams, input_height) - 32usize];
    ["Offset of field: PoolMaximumParams::input_width"]
        [::core::mem::offset_of!(PoolMaximumParams, input_width) - 36usize];
    ["Offset of field: PoolMaximumParams::kernel"][::core::mem::offset_of!(PoolMaximumParams, kernel) - 40usize];
    ["Offset of field: PoolMaximumParams::stride"][::core::mem::offset_of!(PoolMaximumParams, stride) - 44usize];
    ["Offset of field: PoolMaximumParams::pad_top"][::core::mem::offset_of!(PoolMaximumParams, pad_top) - 48usize];
    ["Offset of field: PoolMaximumParams::pad_left"][::core::mem::offset_of!(PoolMaximumParams, pad_left) - 52usize];
};
impl Default for PoolMaximumParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `average_pixels`: the mean of every channel. One CTA an image (y) and AVERAGE_CHANNELS channels (x)."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct AveragePixelsParams {
    #[doc = " f16 [num_images][num_pixels][channels]."]
    pub input: *const u16,
    #[doc = " f16 [num_images][channels]."]
    pub output: *mut u16,
    #[doc = " Of one image."]
    pub num_pixels: u32,
    #[doc = " A multiple of 8."]
    pub channels: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AveragePixelsParams"][::core::mem::size_of::<AveragePixelsParams>() - 24usize];
    ["Alignment of AveragePixelsParams"][::core::mem::align_of::<AveragePixelsParams>() - 8usize];
    ["Offset of field: AveragePixelsParams::input"][::core::mem::offset_of!(AveragePixelsParams, input) - 0usize];
    ["Offset of field: AveragePixelsParams::output"][::core::mem::offset_of!(AveragePixelsParams, output) - 8usize];
    ["Offset of field: AveragePixelsParams::num_pixels"]
        [::core::mem::offset_of!(AveragePixelsParams, num_pixels) - 16usize];
    ["Offset of field: AveragePixelsParams::channels"]
        [::core::mem::offset_of!(AveragePixelsParams, channels) - 20usize];
};
impl Default for AveragePixelsParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " The outputs' order is reversed."]
pub const AXIS_MIRRORED: AxisFlag = 1;
#[doc = " Outputs are samples; else DCT coefficients."]
pub const AXIS_SAMPLES: AxisFlag = 2;
#[doc = " Every output block is exactly one source block."]
pub const AXIS_ALIGNED: AxisFlag = 4;
#[doc = " AxisDesc::flags."]
pub type AxisFlag = ::core::ffi::c_uint;
#[doc = " Coefficients of Y."]
pub const INPUT_Y: InputTarget = 0;
#[doc = " Coefficients of Cb."]
pub const INPUT_CB: InputTarget = 1;
#[doc = " Coefficients of Cr."]
pub const INPUT_CR: InputTarget = 2;
#[doc = " Coefficients of Cb and Cr, which are mixed of all planes."]
pub const INPUT_CHROMA: InputTarget = 3;
#[doc = " Red, green, blue and a zero, sample by sample."]
pub const INPUT_RGB: InputTarget = 4;
#[doc = " What a grid's values become."]
pub type InputTarget = ::core::ffi::c_uint;
pub const INPUT_COLOR_GRAY: InputColor = 0;
pub const INPUT_COLOR_YCBCR: InputColor = 1;
pub const INPUT_COLOR_RGB: InputColor = 2;
pub const INPUT_COLOR_CMYK: InputColor = 3;
pub const INPUT_COLOR_YCCK: InputColor = 4;
#[doc = " What a grid's planes are."]
pub type InputColor = ::core::ffi::c_uint;
#[doc = " Rows and columns change places."]
pub const INPUT_TRANSPOSED: InputGridFlag = 1;
#[doc = " Four components: 255 is no ink."]
pub const INPUT_INVERTED: InputGridFlag = 2;
#[doc = " There is no image: the result is zero."]
pub const INPUT_FAILED: InputGridFlag = 4;
#[doc = " InputGrid::flags."]
pub type InputGridFlag = ::core::ffi::c_uint;
#[doc = " One axis of one plane, from blocks of source coefficients to output blocks (src/resample/axis.rs). Positions are in samples."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct AxisDesc {
    #[doc = " Where the box that is resized starts."]
    pub start: f64,
    #[doc = " Source samples per output sample."]
    pub scale: f64,
    #[doc = " The first sample that may be read."]
    pub clip_start: u32,
    #[doc = " One past the last."]
    pub clip_end: u32,
    #[doc = " Output blocks: as many bands."]
    pub num_output_blocks: u32,
    #[doc = " Source blocks of the longest band."]
    pub max_band_blocks: u32,
    #[doc = " Index into `bands`."]
    pub first_band: u32,
    #[doc = " Index into `matrices`: max_band_blocks for each output block."]
    pub first_matrix: u32,
    #[doc = " `AxisFlag`s."]
    pub flags: u32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AxisDesc"][::core::mem::size_of::<AxisDesc>() - 48usize];
    ["Alignment of AxisDesc"][::core::mem::align_of::<AxisDesc>() - 8usize];
    ["Offset of field: AxisDesc::start"][::core::mem::offset_of!(AxisDesc, start) - 0usize];
    ["Offset of field: AxisDesc::scale"][::core::mem::offset_of!(AxisDesc, scale) - 8usize];
    ["Offset of field: AxisDesc::clip_start"][::core::mem::offset_of!(AxisDesc, clip_start) - 16usize];
    ["Offset of field: AxisDesc::clip_end"][::core::mem::offset_of!(AxisDesc, clip_end) - 20usize];
    ["Offset of field: AxisDesc::num_output_blocks"][::core::mem::offset_of!(AxisDesc, num_output_blocks) - 24usize];
    ["Offset of field: AxisDesc::max_band_blocks"][::core::mem::offset_of!(AxisDesc, max_band_blocks) - 28usize];
    ["Offset of field: AxisDesc::first_band"][::core::mem::offset_of!(AxisDesc, first_band) - 32usize];
    ["Offset of field: AxisDesc::first_matrix"][::core::mem::offset_of!(AxisDesc, first_matrix) - 36usize];
    ["Offset of field: AxisDesc::flags"][::core::mem::offset_of!(AxisDesc, flags) - 40usize];
    ["Offset of field: AxisDesc::reserved"][::core::mem::offset_of!(AxisDesc, reserved) - 44usize];
};
#[doc = " The source blocks that an output block reads along an axis."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct BandBlocks {
    #[doc = " The first."]
    pub first_block: u32,
    #[doc = " How many follow each other from there."]
    pub num_blocks: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of BandBlocks"][::core::mem::size_of::<BandBlocks>() - 8usize];
    ["Alignment of BandBlocks"][::core::mem::align_of::<BandBlocks>() - 4usize];
    ["Offset of field: BandBlocks::first_block"][::core::mem::offset_of!(BandBlocks, first_block) - 0usize];
    ["Offset of field: BandBlocks::num_blocks"][::core::mem::offset_of!(BandBlocks, num_blocks) - 4usize];
};
#[doc = " One component on its way to one grid."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct InputPlane {
    #[doc = " Start of its plane in `coefficients`."]
    pub first_coefficient: u64,
    #[doc = " Blocks between the starts of two rows of blocks."]
    pub pitch_blocks: u32,
    #[doc = " Index into `axes`."]
    pub vertical_axis: u32,
    #[doc = " Index into `axes`."]
    pub horizontal_axis: u32,
    #[doc = " Index into `quants`; NO_QUANT: the plane is zero."]
    pub quant: u32,
    #[doc = " Brings samples to 8 bits."]
    pub scale: f32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of InputPlane"][::core::mem::size_of::<InputPlane>() - 32usize];
    ["Alignment of InputPlane"][::core::mem::align_of::<InputPlane>() - 8usize];
    ["Offset of field: InputPlane::first_coefficient"][::core::mem::offset_of!(InputPlane, first_coefficient) - 0usize];
    ["Offset of field: InputPlane::pitch_blocks"][::core::mem::offset_of!(InputPlane, pitch_blocks) - 8usize];
    ["Offset of field: InputPlane::vertical_axis"][::core::mem::offset_of!(InputPlane, vertical_axis) - 12usize];
    ["Offset of field: InputPlane::horizontal_axis"][::core::mem::offset_of!(InputPlane, horizontal_axis) - 16usize];
    ["Offset of field: InputPlane::quant"][::core::mem::offset_of!(InputPlane, quant) - 20usize];
    ["Offset of field: InputPlane::scale"][::core::mem::offset_of!(InputPlane, scale) - 24usize];
    ["Offset of field: InputPlane::reserved"][::core::mem::offset_of!(InputPlane, reserved) - 28usize];
};
#[doc = " The planes of one image at one resolution. Blocks are counted as the file stores them, before rows and columns change places."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct InputGrid {
    #[doc = " Slot in the outputs."]
    pub image_idx: u32,
    #[doc = " Index into `planes`."]
    pub first_plane: u32,
    #[doc = " 0 to 4; none: the values are zero."]
    pub num_planes: u32,
    #[doc = " Rows of output blocks."]
    pub blocks_high: u32,
    #[doc = " Output blocks in a row."]
    pub blocks_wide: u32,
    #[doc = " Output blocks in a row of a tile."]
    pub tile_columns: u32,
    #[doc = " An `InputTarget`."]
    pub target: u8,
    #[doc = " An `InputColor`."]
    pub color: u8,
    #[doc = " `InputGridFlag`s."]
    pub flags: u8,
    #[doc = " Zero."]
    pub reserved: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of InputGrid"][::core::mem::size_of::<InputGrid>() - 28usize];
    ["Alignment of InputGrid"][::core::mem::align_of::<InputGrid>() - 4usize];
    ["Offset of field: InputGrid::image_idx"][::core::mem::offset_of!(InputGrid, image_idx) - 0usize];
    ["Offset of field: InputGrid::first_plane"][::core::mem::offset_of!(InputGrid, first_plane) - 4usize];
    ["Offset of field: InputGrid::num_planes"][::core::mem::offset_of!(InputGrid, num_planes) - 8usize];
    ["Offset of field: InputGrid::blocks_high"][::core::mem::offset_of!(InputGrid, blocks_high) - 12usize];
    ["Offset of field: InputGrid::blocks_wide"][::core::mem::offset_of!(InputGrid, blocks_wide) - 16usize];
    ["Offset of field: InputGrid::tile_columns"][::core::mem::offset_of!(InputGrid, tile_columns) - 20usize];
    ["Offset of field: InputGrid::target"][::core::mem::offset_of!(InputGrid, target) - 24usize];
    ["Offset of field: InputGrid::color"][::core::mem::offset_of!(InputGrid, color) - 25usize];
    ["Offset of field: InputGrid::flags"][::core::mem::offset_of!(InputGrid, flags) - 26usize];
    ["Offset of field: InputGrid::reserved"][::core::mem::offset_of!(InputGrid, reserved) - 27usize];
};
#[doc = " A CTA's work: a tile of a grid, or matrices of an axis."]
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct InputTile {
    #[doc = " Index into `grids`, or into `axes`."]
    pub owner_idx: u32,
    #[doc = " Which tile of the grid, row by row; or the first matrix of the axis."]
    pub first: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of InputTile"][::core::mem::size_of::<InputTile>() - 8usize];
    ["Alignment of InputTile"][::core::mem::align_of::<InputTile>() - 4usize];
    ["Offset of field: InputTile::owner_idx"][::core::mem::offset_of!(InputTile, owner_idx) - 0usize];
    ["Offset of field: InputTile::first"][::core::mem::offset_of!(InputTile, first) - 4usize];
};
#[doc = " What is done to every value last: value * scale + shift, by channel."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct InputAffine {
    #[doc = " Y in 0..64, Cb and Cr in 64..192; or red, green, blue in 0..3."]
    pub scale: [f32; 192usize],
    #[doc = " Likewise."]
    pub shift: [f32; 192usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of InputAffine"][::core::mem::size_of::<InputAffine>() - 1536usize];
    ["Alignment of InputAffine"][::core::mem::align_of::<InputAffine>() - 4usize];
    ["Offset of field: InputAffine::scale"][::core::mem::offset_of!(InputAffine, scale) - 0usize];
    ["Offset of field: InputAffine::shift"][::core::mem::offset_of!(InputAffine, shift) - 768usize];
};
impl Default for InputAffine {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Every buffer of a batch whose input is being made."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct InputBatch {
    #[doc = " By image and component: [blocks_high_padded][pitch_blocks][64], quantised, natural order."]
    pub coefficients: *const i16,
    #[doc = " [8][8]: the orthonormal DCT, row u, column x."]
    pub dct: *const f64,
    #[doc = " Each once."]
    pub axes: *const AxisDesc,
    #[doc = " By grid."]
    pub planes: *const InputPlane,
    #[doc = " By image."]
    pub grids: *const InputGrid,
    #[doc = " [num_quants][64]: quantisation tables, natural order."]
    pub quants: *const u16,
    #[doc = " [1]"]
    pub affine: *const InputAffine,
    #[doc = " By axis: [num_output_blocks]."]
    pub bands: *mut BandBlocks,
    #[doc = " By axis: [num_output_blocks][max_band_blocks][64], element 8 u + a from frequency u to output a."]
    pub matrices: *mut f32,
    #[doc = " [num_images][H/8][W/8][64] or, for INPUT_RGB, [num_images][H][W][4]: __half or float."]
    pub luma: *mut ::core::ffi::c_void,
    #[doc = " [num_images][H/16][W/16][128]; none for INPUT_RGB."]
    pub chroma: *mut ::core::ffi::c_void,
    #[doc = " [num_images]: coefficients beyond INPUT_SATURATION; zero at first."]
    pub num_saturated: *mut u32,
    #[doc = " 1: outputs are float; 0: __half."]
    pub is_float: u32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of InputBatch"][::core::mem::size_of::<InputBatch>() - 104usize];
    ["Alignment of InputBatch"][::core::mem::align_of::<InputBatch>() - 8usize];
    ["Offset of field: InputBatch::coefficients"][::core::mem::offset_of!(InputBatch, coefficients) - 0usize];
    ["Offset of field: InputBatch::dct"][::core::mem::offset_of!(InputBatch, dct) - 8usize];
    ["Offset of field: InputBatch::axes"][::core::mem::offset_of!(InputBatch, axes) - 16usize];
    ["Offset of field: InputBatch::planes"][::core::mem::offset_of!(InputBatch, planes) - 24usize];
    ["Offset of field: InputBatch::grids"][::core::mem::offset_of!(InputBatch, grids) - 32usize];
    ["Offset of field: InputBatch::quants"][::core::mem::offset_of!(InputBatch, quants) - 40usize];
    ["Offset of field: InputBatch::affine"][::core::mem::offset_of!(InputBatch, affine) - 48usize];
    ["Offset of field: InputBatch::bands"][::core::mem::offset_of!(InputBatch, bands) - 56usize];
    ["Offset of field: InputBatch::matrices"][::core::mem::offset_of!(InputBatch, matrices) - 64usize];
    ["Offset of field: InputBatch::luma"][::core::mem::offset_of!(InputBatch, luma) - 72usize];
    ["Offset of field: InputBatch::chroma"][::core::mem::offset_of!(InputBatch, chroma) - 80usize];
    ["Offset of field: InputBatch::num_saturated"][::core::mem::offset_of!(InputBatch, num_saturated) - 88usize];
    ["Offset of field: InputBatch::is_float"][::core::mem::offset_of!(InputBatch, is_float) - 96usize];
    ["Offset of field: InputBatch::reserved"][::core::mem::offset_of!(InputBatch, reserved) - 100usize];
};
impl Default for InputBatch {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `build_bands`: one CTA for BAND_TILE_MATRICES matrices."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct BuildBandsParams {
    #[doc = " Reads axes and dct; writes bands and matrices."]
    pub batch: InputBatch,
    #[doc = " [gridDim.x]: axes."]
    pub tiles: *const InputTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of BuildBandsParams"][::core::mem::size_of::<BuildBandsParams>() - 112usize];
    ["Alignment of BuildBandsParams"][::core::mem::align_of::<BuildBandsParams>() - 8usize];
    ["Offset of field: BuildBandsParams::batch"][::core::mem::offset_of!(BuildBandsParams, batch) - 0usize];
    ["Offset of field: BuildBandsParams::tiles"][::core::mem::offset_of!(BuildBandsParams, tiles) - 104usize];
};
impl Default for BuildBandsParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[doc = " Parameters of `write_input`: one CTA a tile. Shared memory behind the struct: a tile of every plane of its grid."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct WriteInputParams {
    #[doc = " Reads coefficients, bands, matrices; writes luma, chroma, num_saturated."]
    pub batch: InputBatch,
    #[doc = " [gridDim.x]: grids."]
    pub tiles: *const InputTile,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of WriteInputParams"][::core::mem::size_of::<WriteInputParams>() - 112usize];
    ["Alignment of WriteInputParams"][::core::mem::align_of::<WriteInputParams>() - 8usize];
    ["Offset of field: WriteInputParams::batch"][::core::mem::offset_of!(WriteInputParams, batch) - 0usize];
    ["Offset of field: WriteInputParams::tiles"][::core::mem::offset_of!(WriteInputParams, tiles) - 104usize];
};
impl Default for WriteInputParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const WORD_SYNCTHREADS: SelftestWord = 0;
pub const WORD_SYNCTHREADS_COUNT: SelftestWord = 1;
pub const WORD_SYNCTHREADS_AND: SelftestWord = 2;
pub const WORD_SYNCTHREADS_OR: SelftestWord = 3;
pub const WORD_BARRIER_SYNC_COUNT: SelftestWord = 4;
pub const WORD_SYNCWARP: SelftestWord = 5;
pub const WORD_SHFL: SelftestWord = 6;
pub const WORD_SHFL_UP: SelftestWord = 7;
pub const WORD_SHFL_DOWN: SelftestWord = 8;
pub const WORD_SHFL_XOR: SelftestWord = 9;
pub const WORD_SHFL_SEGMENT: SelftestWord = 10;
pub const WORD_SHFL_64_BIT: SelftestWord = 11;
pub const WORD_BALLOT: SelftestWord = 12;
pub const WORD_ANY_ALL: SelftestWord = 13;
pub const WORD_MATCH_ANY: SelftestWord = 14;
pub const WORD_MATCH_ALL: SelftestWord = 15;
pub const WORD_REDUCE: SelftestWord = 16;
pub const WORD_PARTIAL_MASKS: SelftestWord = 17;
pub const WORD_ACTIVEMASK: SelftestWord = 18;
pub const WORD_ATOMIC_ADD: SelftestWord = 19;
pub const WORD_ATOMIC_MIN_MAX: SelftestWord = 20;
pub const WORD_ATOMIC_BITS: SelftestWord = 21;
pub const WORD_ATOMIC_CAS_EXCH: SelftestWord = 22;
pub const WORD_ATOMIC_64_BIT: SelftestWord = 23;
pub const WORD_ATOMIC_FLOAT: SelftestWord = 24;
pub const WORD_COUNT_BITS: SelftestWord = 25;
pub const WORD_REVERSE_BITS: SelftestWord = 26;
pub const WORD_BYTE_PERM: SelftestWord = 27;
pub const WORD_FUNNELSHIFT: SelftestWord = 28;
pub const WORD_MULTIPLY_HIGH: SelftestWord = 29;
pub const WORD_REINTERPRET: SelftestWord = 30;
pub const WORD_MIN_MAX: SelftestWord = 31;
pub const WORD_LOAD_STORE: SelftestWord = 32;
pub const WORD_VECTORS: SelftestWord = 33;
pub const WORD_HALF: SelftestWord = 34;
pub const WORD_ASYNC_COPY: SelftestWord = 35;
pub const WORD_ASYNC_COPY_GROUPS: SelftestWord = 36;
pub const WORD_SMEM_TAIL: SelftestWord = 37;
pub const WORD_INDICES: SelftestWord = 38;
pub const WORD_COUNT: SelftestWord = 39;
pub const WORD_NANOSLEEP: SelftestWord = 40;
pub const WORD_LOAD_MATRICES: SelftestWord = 41;
pub const WORD_MULTIPLY_TILES: SelftestWord = 42;
pub const NUM_WORDS: SelftestWord = 43;
#[doc = " One word of CUDA (or a family of words) whose meaning `run_word` shows."]
pub type SelftestWord = ::core::ffi::c_uint;
pub const MISTAKE_MISSING_BARRIER: SelftestMistake = 0;
pub const MISTAKE_BARRIER_IN_BRANCH: SelftestMistake = 1;
pub const MISTAKE_EXIT_BEFORE_BARRIER: SelftestMistake = 2;
pub const MISTAKE_TWO_BARRIERS: SelftestMistake = 3;
pub const MISTAKE_UNEQUAL_BARRIER_COUNTS: SelftestMistake = 4;
pub const MISTAKE_BARRIER_AGAINST_WARP: SelftestMistake = 5;
pub const MISTAKE_LANE_NEVER_COMES: SelftestMistake = 6;
pub const MISTAKE_MASK_WITHOUT_SELF: SelftestMistake = 7;
pub const MISTAKE_MASK_NAMES_EXITED: SelftestMistake = 8;
pub const MISTAKE_EXIT_WHILE_AWAITED: SelftestMistake = 9;
pub const MISTAKE_DIFFERENT_OPERATIONS: SelftestMistake = 10;
pub const MISTAKE_SHUFFLE_FROM_OUTSIDE: SelftestMistake = 11;
pub const MISTAKE_READ_FAR_BEHIND_BUFFER: SelftestMistake = 12;
pub const MISTAKE_READ_BEFORE_BUFFER: SelftestMistake = 13;
pub const MISTAKE_WRITE_JUST_BEHIND_BUFFER: SelftestMistake = 14;
pub const MISTAKE_WRITE_NULL: SelftestMistake = 15;
pub const MISTAKE_READ_FAR_BEHIND_SMEM: SelftestMistake = 16;
pub const MISTAKE_WRITE_JUST_BEHIND_SMEM: SelftestMistake = 17;
pub const MISTAKE_UNINITIALISED_SMEM: SelftestMistake = 18;
pub const MISTAKE_STACK_OVERFLOW: SelftestMistake = 19;
pub const MISTAKE_READ_BEFORE_ASYNC_COPY_LANDS: SelftestMistake = 20;
pub const MISTAKE_ASYNC_COPY_NEVER_AWAITED: SelftestMistake = 21;
pub const MISTAKE_SPIN_FOR_EVER: SelftestMistake = 22;
pub const MISTAKE_CHECK_THEN_ACT: SelftestMistake = 23;
pub const MISTAKE_TRAP: SelftestMistake = 24;
pub const MISTAKE_MATRIX_OUTSIDE_SMEM: SelftestMistake = 25;
pub const NUM_MISTAKES: SelftestMistake = 26;
#[doc = " A mistake that `break_rule` makes on purpose."]
pub type SelftestMistake = ::core::ffi::c_uint;
#[doc = " Parameters of both kernels."]
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct SelftestParams {
    #[doc = " [num_out]: what each thread found."]
    pub out: *mut u32,
    #[doc = " [num_scratch]: memory that CTAs share."]
    pub scratch: *mut u32,
    #[doc = " Length of `out`."]
    pub num_out: u32,
    #[doc = " Length of `scratch`."]
    pub num_scratch: u32,
    #[doc = " A SelftestWord or SelftestMistake."]
    pub which: u32,
    #[doc = " Zero."]
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SelftestParams"][::core::mem::size_of::<SelftestParams>() - 32usize];
    ["Alignment of SelftestParams"][::core::mem::align_of::<SelftestParams>() - 8usize];
    ["Offset of field: SelftestParams::out"][::core::mem::offset_of!(SelftestParams, out) - 0usize];
    ["Offset of field: SelftestParams::scratch"][::core::mem::offset_of!(SelftestParams, scratch) - 8usize];
    ["Offset of field: SelftestParams::num_out"][::core::mem::offset_of!(SelftestParams, num_out) - 16usize];
    ["Offset of field: SelftestParams::num_scratch"][::core::mem::offset_of!(SelftestParams, num_scratch) - 20usize];
    ["Offset of field: SelftestParams::which"][::core::mem::offset_of!(SelftestParams, which) - 24usize];
    ["Offset of field: SelftestParams::reserved"][::core::mem::offset_of!(SelftestParams, reserved) - 28usize];
};
impl Default for SelftestParams {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
