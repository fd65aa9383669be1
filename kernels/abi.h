/* Every struct and constant that crosses between Rust and CUDA C++.
 *
 * Read by three compilers: nvcc (device.cu), the host's C++ compiler (emulator/) and bindgen, whose output is committed as
 * src/abi/bindings.rs (ci/abi.sh writes it and, with --check, compares). Conventions:
 *
 * - plain C: fixed-width integers, float, pointers, fixed arrays, enums for constants. No bool, no size_t, no bit fields.
 * - largest members first; padding is a named member `reserved`, so that every byte of a struct is written.
 * - pointers point to device memory. Every pointer has a comment with its shape and order: [num_blocks][64], natural order.
 * - a kernel `verb_object` takes one struct, `VerbObjectParams`.
 * - comments that Rust's documentation needs are doc comments; units are in the names (_bits, _bytes, _blocks, _mcus).
 */
#ifndef DCTFLOW_ABI_H
#define DCTFLOW_ABI_H

#include <stdint.h>

/** Threads of a warp. */
#define WARP_THREADS 32

/** Parameters of `checksum_words`: a digest of device memory, independent of the order in which it is read. */
typedef struct ChecksumWordsParams {
    const uint32_t *words; /**< [num_words]: what to digest. */
    uint64_t *checksum;    /**< [1]: the digest is added to it, modulo 2^64. */
    uint32_t num_words;    /**< Length of `words`. */
    uint32_t reserved;     /**< Zero. */
} ChecksumWordsParams;

/* ---- Decoding: entropy-coded bytes to DCT coefficients (kernels/decode) ---- */

/** Components of a frame, and of a scan, at most (T.81 B.2.2 allows 255 in a frame; four are decoded). */
#define MAX_COMPONENTS 4
/** Blocks of one MCU, at most (T.81 B.2.3). */
#define MAX_MCU_BLOCKS 10
/** Bits of the code that an AC lookup resolves at once. */
#define AC_LOOKUP_BITS 11
/** Bits of the code that a DC lookup resolves at once. */
#define DC_LOOKUP_BITS 9
/** Bytes of a scan that one CTA destuffs. */
#define DESTUFF_TILE_BYTES 4096u
/** Bytes behind a scan's destuffed data that may be read (and are zero). */
#define DESTUFFED_PADDING_BYTES 32
/** Subsequences that one CTA synchronises or writes, and segments that one CTA writes or refines. */
#define TILE_THREADS 128
/** Subsequences at the start of a tile that repeat the end of the tile before, to fall into step. */
#define TILE_OVERLAP 2
/** Tiles that one CTA synchronises. */
#define SYNCHRONIZE_TILES 2
/** Segments of a scan that are taken into account beyond its number of restart intervals (jpeg::segments, rule 5). */
#define EXTRA_SEGMENTS 8
/** Start states of one subsequence whose outcome is kept: one guess and one more for each round of synchronisation. */
#define MAX_RECORDS 8
/** Subsequences of a scan that may be decoded one after the other, before the scan is left to the CPU. */
#define MAX_SERIAL_SUBSEQUENCES 128
/** Blocks of a refinement scan that one CTA takes, where each is taken by itself. A multiple of TILE_THREADS. */
#define REFINE_TILE_BLOCKS 1024

/** What a Huffman table's symbols mean. */
enum HuffmanKind {
    HUFFMAN_DC = 0,             /**< SSSS (T.81 F.2.2.1). */
    HUFFMAN_AC_SEQUENTIAL = 1,  /**< RRRRSSSS; R < 15 with S = 0 is EOB (F.2.2.2). */
    HUFFMAN_AC_PROGRESSIVE = 2, /**< RRRRSSSS; R < 15 with S = 0 is EOBn (G.1.2.2). */
};

/** How a scan's data become coefficients. */
enum ScanKind {
    SCAN_FIRST = 0,     /**< Sequential scans, and the first scans of a progressive band: symbols by subsequences. */
    SCAN_REFINE_DC = 1, /**< One bit a block (T.81 G.1.2.1). */
    SCAN_REFINE_AC = 2, /**< Correction bits between new coefficients (G.1.2.3): where each block's start is found serially. */
};

/** How decoding of a segment ended. */
enum SegmentEnd {
    SEGMENT_COMPLETE = 0,  /**< Every block of its interval was received. */
    SEGMENT_TRUNCATED = 1, /**< The data end before. */
    SEGMENT_BAD_CODE = 2,  /**< Progressive scans: a bit pattern that is no code (T.81 G.2), or no symbol of the scan. */
};

/** Segment::marker: the bits beside m. */
enum SegmentFlag {
    SEGMENT_MARKER = 7,         /**< m of the RSTm before it. */
    SEGMENT_OUT_OF_ORDER = 8,   /**< RSTm is not the one that follows on the last one. */
    SEGMENT_WRONG_NUMBER = 16,  /**< m is not the number of the interval: its MCUs are not to be trusted. */
    SEGMENT_EXCESS = 32,        /**< It holds data, but all intervals were found before. */
    SEGMENT_LOST_SHIFT = 6,     /**< From this bit on: intervals lost before it, 0 to 3. */
    SEGMENT_LOST = 192,         /**< These bits. */
    SEGMENT_NO_INTERVAL = 256,  /**< It holds no interval: excess, or behind a marker that cannot be right. */
};

/** What is wrong with an image's entropy-coded data. */
enum FaultKind {
    FAULT_NONE = 0,
    FAULT_MARKER = 1,         /**< At the segment's RSTm. */
    FAULT_BAD_CODE = 2,       /**< At `fault_bits` in the segment. */
    FAULT_TRUNCATED = 3,      /**< At the segment's end. */
    FAULT_EXCESS = 4,         /**< At `fault_bits` in the segment. */
    FAULT_LOST_INTERVALS = 5, /**< At the end of the scan's data. */
};

/** A Huffman table as DHT sends it (T.81 B.2.4.2). */
typedef struct HuffmanSpec {
    uint32_t kind;         /**< A `HuffmanKind`. */
    uint8_t bits[16];      /**< BITS: number of codes of length 1 to 16. */
    uint8_t huffval[256];  /**< HUFFVAL: the symbols in order of their codes. */
} HuffmanSpec;

/** A Huffman table as the decoder uses it. */
typedef struct HuffmanTable {
    uint16_t lookup[1 << AC_LOOKUP_BITS]; /**< By the next 11 bits (a DC table: by the next 9, 512 entries): see common/huffman.cuh. */
    uint32_t code_end[17];                /**< [length]: the first code beyond those of this length, left-aligned to 16 bits. */
    int32_t huffval_offset[17];           /**< [length]: index into HUFFVAL minus code. */
    uint32_t kind;                        /**< A `HuffmanKind`. */
    uint32_t reserved;                    /**< Keeps tables aligned to 16 bytes. */
    uint8_t huffval[256];                 /**< As sent. */
} HuffmanTable;

/** One component as one scan sees it. In a scan of a single component the MCU is one block (T.81 A.2.2). */
typedef struct ScanComponent {
    uint64_t first_coefficient; /**< Start of the component's plane in `coefficients`. */
    uint32_t pitch_blocks;      /**< Blocks between the starts of two rows of blocks. */
    uint8_t mcu_blocks_wide;    /**< Blocks of the scan's MCU, across. */
    uint8_t mcu_blocks_high;    /**< Blocks of the scan's MCU, down. */
    uint8_t h;                  /**< MCUs of the scan in one of the frame, across: 1 in a scan of several components. */
    uint8_t v;                  /**< MCUs of the scan in one of the frame, down. */
} ScanComponent;

/** One data unit of a scan's MCU. */
typedef struct McuBlock {
    uint8_t component; /**< Index into the scan's components. */
    uint8_t dx;        /**< Block column inside the MCU. */
    uint8_t dy;        /**< Block row inside the MCU. */
    uint8_t dc_slot;   /**< Which of the scan's DC tables. */
    uint8_t ac_slot;   /**< Which of the scan's AC tables. */
    uint8_t reserved[3]; /**< Zero. */
} McuBlock;

/** A scan of an image: where its bytes lie, what they mean, and its share of every work buffer. */
typedef struct ScanDesc {
    uint64_t data_offset;          /**< First byte of entropy-coded data in `upload`, a multiple of 16. */
    uint64_t destuffed_offset;     /**< First word of destuffed data in `destuffed`, a multiple of 4. */
    uint64_t first_refined_block;  /**< AC refinement: index into `refined_blocks`, a multiple of 32, one for each block of the scan. */
    uint32_t image_idx;            /**< Index into `images`. */
    uint32_t data_bytes;           /**< Bytes from there to the end of the file, or to where the scan is known to end. */
    uint32_t first_destuff_tile;   /**< Index into `destuff_tiles`. */
    uint32_t num_destuff_tiles;    /**< ceil(data_bytes / DESTUFF_TILE_BYTES). */
    uint32_t first_segment;        /**< Index into `segments` and `segment_results`: num_intervals + EXTRA_SEGMENTS + 1 of them. */
    uint32_t num_intervals;        /**< Restart intervals; one where none are defined. */
    uint32_t first_subsequence;    /**< Index into the arrays of subsequences. */
    uint32_t max_subsequences;     /**< How many there may be, whatever the data are. */
    uint32_t subsequence_bytes;    /**< Bytes of destuffed data in one subsequence. Segments up to this length are not divided. */
    uint32_t interval_mcus;        /**< MCUs of a restart interval (all MCUs, where none is defined). */
    uint32_t num_mcus;             /**< MCUs of the scan. */
    uint32_t mcus_wide;            /**< MCUs of the scan in a row. */
    uint32_t dc_tables[MAX_COMPONENTS]; /**< Indices into `tables`, by slot. */
    uint32_t ac_tables[MAX_COMPONENTS]; /**< Indices into `tables`, by slot. */
    ScanComponent components[MAX_COMPONENTS]; /**< In the scan's order. */
    McuBlock mcu_blocks[MAX_MCU_BLOCKS];      /**< In the order sent (T.81 A.2.3). */
    uint8_t num_mcu_blocks;        /**< Blocks of an MCU. */
    uint8_t num_dc_tables;         /**< Slots used. */
    uint8_t num_ac_tables;         /**< Slots used. */
    uint8_t kind;                  /**< A `ScanKind`. */
    uint8_t z_begin;               /**< Zig-zag index of the first coefficient sent: Ss. */
    uint8_t z_end;                 /**< One past the last: Se + 1. */
    uint8_t point_transform;       /**< Al: coefficients are sent divided by 2^Al. */
    uint8_t is_progressive;        /**< 1: a bad code ends its segment. 0: it counts as the symbol 0. */
} ScanDesc;

/** An image of the batch: what its outcome is made from. */
typedef struct ImageDesc {
    uint32_t first_scan;      /**< Index into `scans`; the image's scans lie in the file's order. */
    uint32_t num_scans;       /**< How many. */
    uint32_t mcus_wide;       /**< The frame's interleaved MCUs in a row. */
    uint32_t num_mcus;        /**< The frame's interleaved MCUs. */
    uint32_t first_untrusted_word; /**< Index into `untrusted`: ceil(num_mcus / 32) words, one bit for each MCU. */
    uint32_t reserved;        /**< Zero. */
} ImageDesc;

/** A CTA's work: a range of one scan's items (destuffing tiles, subsequences, segments or blocks). */
typedef struct WorkTile {
    uint32_t scan_idx;  /**< Index into `scans`. */
    uint32_t first;     /**< The first item of the scan that the CTA takes. */
} WorkTile;

/** Bytes and markers of DESTUFF_TILE_BYTES of a scan: first its own, then (place_destuffed) those of the tiles before. */
typedef struct DestuffTile {
    uint32_t kept_bytes;   /**< Bytes that are data. */
    uint32_t num_restarts; /**< RSTm markers. */
    uint32_t end_bytes;    /**< Bytes of the tile before the scan's end, which is the byte after FF of the marker that ends it. */
    uint32_t num_invalid;  /**< Pairs FF01 to FFBF, which stand in no legal file. */
} DestuffTile;

/** What the device finds out about a scan. */
typedef struct ScanState {
    uint32_t destuffed_bytes;     /**< Bytes of data, all segments together. */
    uint32_t num_segments;        /**< Entropy-coded segments, at most num_intervals + EXTRA_SEGMENTS. */
    uint32_t num_found;           /**< Intervals up to the last one of which a segment was found. */
    uint32_t num_subsequences;    /**< Subsequences of all divided segments. */
    uint32_t serial_subsequences; /**< Subsequences that had to be decoded one after the other. */
    uint32_t is_unresolved;       /**< 1: nothing is written; the CPU decodes the image. Bytes that no legal file holds, or too much serial work. */
} ScanState;

/** An entropy-coded segment: the data between two restart markers. It ends where the next one starts; behind the last one stands one
 * more, which only says where. */
typedef struct Segment {
    uint32_t start_bytes;       /**< In the scan's destuffed data. */
    uint32_t marker;            /**< m of the RSTm before it; index_segments adds `SegmentFlag`s. */
    uint32_t interval;          /**< Which restart interval it holds; SEGMENT_NO_INTERVAL: that of the last one before that holds one. */
    uint32_t first_subsequence; /**< Of the scan. A segment that is not divided has none. */
} Segment;

/** What decoding a segment gave. All bits set where it was not decoded. */
typedef struct SegmentResult {
    uint32_t end;             /**< A `SegmentEnd`. */
    uint32_t received_blocks; /**< Blocks that were received whole, from the first on. */
    uint32_t end_bits;        /**< Where reading stopped, in the scan's destuffed data. */
    uint32_t bad_block;       /**< The first block with a bad code; UINT32_MAX: none. */
    uint32_t bad_bits;        /**< Where that code starts, in the scan's destuffed data. */
    uint32_t reserved;        /**< Not used. */
} SegmentResult;

/** Decoding one subsequence from one start state. States are packed as common/huffman.cuh says. */
typedef struct SubsequenceRecord {
    uint16_t start_state; /**< On entering this subsequence. */
    uint16_t end_state;   /**< On entering the next one. */
    uint32_t num_blocks;  /**< Blocks that end here; RECORD_BAD_CODE is set where a bit pattern was no code. */
    uint32_t dc[2];       /**< Sums of DIFF, modulo 2^16, of components 0 and 1, and of 2 and 3. */
} SubsequenceRecord;

/** The flag in SubsequenceRecord::num_blocks. */
#define RECORD_BAD_CODE 0x80000000u
/** The flag in SubsequenceStart::state. */
#define SUBSEQUENCE_BAD_BEFORE 0x10000u

/** The records of one subsequence. */
typedef struct Subsequence {
    SubsequenceRecord records[MAX_RECORDS]; /**< In the order made. */
    uint32_t num_records;                   /**< How many. */
    uint32_t selected;                      /**< The one to believe. */
    uint32_t segment;                       /**< Which segment of the scan it belongs to. */
    uint32_t reserved;                      /**< Not used. */
} Subsequence;

/** Where a subsequence stands in its segment, once every start state is known. */
typedef struct SubsequenceStart {
    uint32_t state;       /**< Packed; SUBSEQUENCE_BAD_BEFORE is set where the segment holds a bad code before. */
    uint32_t first_block; /**< Blocks of the segment that end before. */
    uint32_t dc[2];       /**< PRED of components 0 and 1, and of 2 and 3. */
} SubsequenceStart;

/** A block of an AC refinement scan. */
typedef struct RefinedBlock {
    uint64_t nonzero;    /**< Bit k: ZZ(k), of the scan's band, is not zero before the scan. */
    uint32_t start_bits; /**< Where its data start, in the scan's destuffed data; UINT32_MAX: it has none, or was not received. */
    uint32_t is_in_run;  /**< 1: a run of EOB covers it, so it has correction bits only. */
} RefinedBlock;

/** What became of an image. */
typedef struct ImageOutcome {
    uint32_t untrusted_mcus;      /**< The frame's MCUs of which a block is not to be trusted. */
    uint32_t first_untrusted_mcu; /**< The first of them; UINT32_MAX: none. */
    uint32_t scans_complete;      /**< Scans without any fault. */
    uint32_t fault;               /**< The first fault in the order of the file: a `FaultKind`. */
    uint32_t fault_scan;          /**< In which of the image's scans. */
    uint32_t fault_segment;       /**< In which of its segments. */
    uint32_t fault_bits;          /**< From the segment's start, in destuffed data. */
    uint32_t is_unresolved;       /**< 1: the CPU has to decode this image. */
    uint32_t serial_subsequences; /**< Subsequences that had to be decoded one after the other. */
    uint32_t reserved;            /**< Zero. */
} ImageOutcome;

/** Every buffer of a batch that is being decoded. */
typedef struct DecodeBatch {
    const uint8_t *upload;        /**< The scans' bytes, as the files hold them. */
    const ImageDesc *images;      /**< [num_images] */
    const ScanDesc *scans;        /**< [num_scans] */
    const HuffmanSpec *specs;     /**< [num_tables] */
    HuffmanTable *tables;         /**< [num_tables] */
    DestuffTile *destuff_tiles;   /**< By scan. */
    ScanState *scan_states;       /**< [num_scans] */
    uint32_t *destuffed;          /**< By scan: destuffed data, four bytes a word, the first in the highest bits. */
    Segment *segments;            /**< By scan. */
    Subsequence *subsequences;    /**< By scan. */
    SubsequenceStart *starts;     /**< By scan: one for each subsequence. */
    SegmentResult *segment_results; /**< By scan; all bits set at first. */
    uint32_t *untrusted;          /**< By image: one bit for each MCU; zero at first. */
    ImageOutcome *outcomes;       /**< [num_images] */
    int16_t *coefficients;        /**< By image and component: [blocks_high_padded][pitch_blocks][64], natural order. */
    RefinedBlock *refined_blocks; /**< By scan; scans of different waves share them. */
    uint32_t *nonzero_blocks;     /**< One bit for each of refined_blocks: set where `nonzero` is not zero. */
} DecodeBatch;

/** Parameters of `build_tables`: one warp a table. */
typedef struct BuildTablesParams {
    DecodeBatch batch;   /**< Reads specs, writes tables. */
    uint32_t num_tables; /**< Length of both. */
    uint32_t reserved;   /**< Zero. */
} BuildTablesParams;

/** Parameters of `count_destuffed`: one CTA a tile. */
typedef struct CountDestuffedParams {
    DecodeBatch batch;     /**< Reads upload, writes destuff_tiles. */
    const WorkTile *tiles; /**< [gridDim.x]: first = which tile of the scan. */
} CountDestuffedParams;

/** Parameters of `place_destuffed`: one CTA a scan. */
typedef struct PlaceDestuffedParams {
    DecodeBatch batch; /**< Turns destuff_tiles into offsets; writes scan_states and each scan's first segment. */
} PlaceDestuffedParams;

/** Parameters of `destuff`: one CTA a tile. */
typedef struct DestuffParams {
    DecodeBatch batch;     /**< Reads upload and destuff_tiles; writes destuffed and segments. */
    const WorkTile *tiles; /**< [gridDim.x]: first = which tile of the scan. */
} DestuffParams;

/** Parameters of `index_segments`: one CTA a scan. */
typedef struct IndexSegmentsParams {
    DecodeBatch batch; /**< Completes segments and scan_states. */
} IndexSegmentsParams;

/** Parameters of `synchronize_subsequences`: one CTA for every SYNCHRONIZE_TILES tiles. */
typedef struct SynchronizeSubsequencesParams {
    DecodeBatch batch;     /**< Reads destuffed, segments, tables; writes subsequences. */
    const WorkTile *tiles; /**< [gridDim.x][SYNCHRONIZE_TILES]: first = the first subsequence that is the tile's own; behind the scan's: none. */
} SynchronizeSubsequencesParams;

/** Parameters of `resolve_subsequences`: one CTA a scan. */
typedef struct ResolveSubsequencesParams {
    DecodeBatch batch; /**< Reads and completes subsequences; writes starts. */
} ResolveSubsequencesParams;

/** Parameters of `write_subsequences`: one CTA a tile. */
typedef struct WriteSubsequencesParams {
    DecodeBatch batch;     /**< Reads starts, destuffed, tables; writes coefficients and segment_results. */
    const WorkTile *tiles; /**< [gridDim.x]: first = the first subsequence. */
} WriteSubsequencesParams;

/** Parameters of `write_segments`: one CTA a tile. Takes the segments that are not divided. */
typedef struct WriteSegmentsParams {
    DecodeBatch batch;     /**< Reads segments, destuffed, tables; writes coefficients and segment_results. */
    const WorkTile *tiles; /**< [gridDim.x]: first = the first segment. */
} WriteSegmentsParams;

/** Parameters of `mark_blocks`: one CTA a tile. Takes the blocks of AC refinement scans. */
typedef struct MarkBlocksParams {
    DecodeBatch batch;     /**< Reads coefficients; writes refined_blocks and nonzero_blocks. */
    const WorkTile *tiles; /**< [gridDim.x]: first = the first block. */
} MarkBlocksParams;

/** Parameters of `refine_segments`: one CTA a tile. Takes the segments of AC refinement scans. */
typedef struct RefineSegmentsParams {
    DecodeBatch batch;     /**< Reads segments, destuffed, tables, nonzero_blocks; completes refined_blocks; writes segment_results. */
    const WorkTile *tiles; /**< [gridDim.x]: first = the first segment. */
} RefineSegmentsParams;

/** Parameters of `refine_blocks`: one CTA a tile. Takes the blocks of refinement scans. */
typedef struct RefineBlocksParams {
    DecodeBatch batch;     /**< Reads segments, destuffed, tables, refined_blocks; changes coefficients; DC: writes segment_results. */
    const WorkTile *tiles; /**< [gridDim.x]: first = the first block. */
} RefineBlocksParams;

/** Parameters of `clear_unfinished`: one CTA a scan that is no refinement. */
typedef struct ClearUnfinishedParams {
    DecodeBatch batch;     /**< Reads segment_results; clears the block that a segment breaks off in. */
    const WorkTile *tiles; /**< [gridDim.x]: the scans; first is not used. */
} ClearUnfinishedParams;

/** Parameters of `report_outcomes`: one CTA an image. */
typedef struct ReportOutcomesParams {
    DecodeBatch batch; /**< Reads segment_results and scan_states; writes untrusted and outcomes. */
} ReportOutcomesParams;

/* ---- The network: activations f16, NHWC; sums f32 (kernels/nn) ---- */

/** Values that one step of a convolution's depth takes: rows of weights are padded with zeros to a multiple of it. */
#define CONVOLVE_DEPTH 32
/** Where a convolution can send its columns: two values, so that two convolutions of one input can be one product. */
#define CONVOLVE_OUTPUTS 2

/** Some columns of a convolution's product, as channels of a value. */
typedef struct ConvolveOutput {
    void *values;         /**< f16 (float where `is_float`), [num_images][height][width][pitch]: at the first channel that is written. */
    uint32_t pitch;       /**< Values from one pixel to the next. */
    uint32_t columns_end; /**< One past the last column that goes here, a multiple of 8; the next output takes the rest. */
    uint32_t has_relu;    /**< 1: max(0, x) after the sum. */
    uint32_t reserved;    /**< Zero. */
} ConvolveOutput;

/** Parameters of the `convolve` kernels: out = relu(conv(input) + bias + residual). One CTA a tile of the product (x; tiles of one row of
 * tiles follow each other) and a phase (z). A row of the product is a window, a column an output channel. */
typedef struct ConvolveParams {
    const uint16_t *input;                    /**< f16 [num_images][input_height][input_width][input_pitch]: at the first channel read. */
    const uint16_t *weights;                  /**< f16 [phases][num_columns][depth]: (ky, kx, channel), then zeros up to `depth`. */
    const float *bias;                        /**< [num_columns], padded to a multiple of 8. */
    const uint16_t *bias_half;                /**< The same in f16, for libraries; null if one is beyond f16. */
    const uint16_t *residual;                 /**< f16, the output's pixels, [residual_pitch] each; null for none. For output 0. */
    ConvolveOutput outputs[CONVOLVE_OUTPUTS]; /**< The second is used if the first ends before `num_columns`. */
    uint32_t num_rows;                        /**< num_images * windows_high * windows_wide, below 2^31. */
    uint32_t num_columns;                     /**< Output channels, both outputs together. */
    uint32_t depth;                           /**< A multiple of CONVOLVE_DEPTH. */
    uint32_t channels;                        /**< Channels read of each pixel, a multiple of 8. */
    uint32_t input_height;                    /**< Pixels. */
    uint32_t input_width;                     /**< Pixels. */
    uint32_t input_pitch;                     /**< Values from one pixel to the next, a multiple of 8. */
    uint32_t kernel_height;                   /**< Taps. */
    uint32_t kernel_width;                    /**< Taps. */
    uint32_t stride_y;                        /**< Pixels from one window to the next. */
    uint32_t stride_x;                        /**< Pixels from one window to the next. */
    uint32_t pad_top;                         /**< Rows of zeros above the input. */
    uint32_t pad_left;                        /**< Columns of zeros left of the input. */
    uint32_t windows_high;                    /**< Rows of windows. */
    uint32_t windows_wide;                    /**< Columns of windows. */
    uint32_t residual_pitch;                  /**< Values from one pixel to the next, a multiple of 8. */
    uint32_t upsampling;                      /**< 1; or 2: phase 2 dy + dx writes the pixels (2 y + dy, 2 x + dx), as a deconvolution does. */
    uint32_t is_float;                        /**< 1: outputs are float. */
} ConvolveParams;

/** Parameters of `place_channels`: a value's channels into a slice of another, perhaps scaled, perhaps upsampled by nearest neighbour. */
typedef struct PlaceChannelsParams {
    const uint16_t *input; /**< f16 [num_images][height / factor][width / factor][channels]. */
    uint16_t *output;      /**< f16 [num_images][height][width][output_pitch]: at the first channel written. */
    const float *scale;    /**< [channels]: out = in * scale + shift; null for a copy. */
    const float *shift;    /**< [channels]. */
    uint32_t num_pixels;   /**< num_images * height * width, of the output. */
    uint32_t height;       /**< Of the output. */
    uint32_t width;        /**< Of the output. */
    uint32_t channels;     /**< A multiple of 8. */
    uint32_t output_pitch; /**< Values from one pixel to the next, a multiple of 8. */
    uint32_t factor;       /**< 1; or 2: every pixel becomes 2 x 2. */
} PlaceChannelsParams;

/** Parameters of `pool_maximum`: the greatest value of each window; padding counts for nothing. */
typedef struct PoolMaximumParams {
    const uint16_t *input;  /**< f16 [num_images][input_height][input_width][channels]. */
    uint16_t *output;       /**< f16 [num_images][height][width][channels]. */
    uint32_t num_pixels;    /**< num_images * height * width, of the output. */
    uint32_t height;        /**< Of the output. */
    uint32_t width;         /**< Of the output. */
    uint32_t channels;      /**< A multiple of 8. */
    uint32_t input_height;  /**< Pixels. */
    uint32_t input_width;   /**< Pixels. */
    uint32_t kernel;        /**< Side of the window. */
    uint32_t stride;        /**< Pixels from one window to the next. */
    uint32_t pad_top;       /**< Rows above the input. */
    uint32_t pad_left;      /**< Columns left of the input. */
} PoolMaximumParams;

/** Channels that one CTA of `average_pixels` takes. */
#define AVERAGE_CHANNELS 64

/** Parameters of `average_pixels`: the mean of every channel. One CTA an image (y) and AVERAGE_CHANNELS channels (x). */
typedef struct AveragePixelsParams {
    const uint16_t *input; /**< f16 [num_images][num_pixels][channels]. */
    uint16_t *output;      /**< f16 [num_images][channels]. */
    uint32_t num_pixels;   /**< Of one image. */
    uint32_t channels;     /**< A multiple of 8. */
} AveragePixelsParams;

/* ---- Input: DCT coefficients to what the network reads (kernels/input) ---- */

/** Rows of output blocks that one CTA of `write_input` makes: one for each warp. */
#define INPUT_TILE_ROWS 4
/** Columns of output blocks that one CTA of `write_input` makes, at most. */
#define INPUT_TILE_COLUMNS 16
/** Columns of source blocks that a CTA of `write_input` takes at one time: one for each lane. */
#define INPUT_CHUNK_COLUMNS 32
/** Matrices that one CTA of `build_bands` makes. */
#define BAND_TILE_MATRICES 16
/** InputPlane::quant of a component that was never sent: its samples are mid-gray. */
#define NO_QUANT 0xffffffffu
/** Channels of InputAffine. */
#define INPUT_CHANNELS 192
/** Coefficients beyond this magnitude saturate. */
#define INPUT_SATURATION 4096.0f

/** AxisDesc::flags. */
enum AxisFlag {
    AXIS_MIRRORED = 1, /**< The outputs' order is reversed. */
    AXIS_SAMPLES = 2,  /**< Outputs are samples; else DCT coefficients. */
    AXIS_ALIGNED = 4,  /**< Every output block is exactly one source block. */
};

/** What a grid's values become. */
enum InputTarget {
    INPUT_Y = 0,      /**< Coefficients of Y. */
    INPUT_CB = 1,     /**< Coefficients of Cb. */
    INPUT_CR = 2,     /**< Coefficients of Cr. */
    INPUT_CHROMA = 3, /**< Coefficients of Cb and Cr, which are mixed of all planes. */
    INPUT_RGB = 4,    /**< Red, green, blue and a zero, sample by sample. */
};

/** What a grid's planes are. */
enum InputColor {
    INPUT_COLOR_GRAY = 0,
    INPUT_COLOR_YCBCR = 1,
    INPUT_COLOR_RGB = 2,
    INPUT_COLOR_CMYK = 3,
    INPUT_COLOR_YCCK = 4,
};

/** InputGrid::flags. */
enum InputGridFlag {
    INPUT_TRANSPOSED = 1, /**< Rows and columns change places. */
    INPUT_INVERTED = 2,   /**< Four components: 255 is no ink. */
    INPUT_FAILED = 4,     /**< There is no image: the result is zero. */
};

/** One axis of one plane, from blocks of source coefficients to output blocks (src/resample/axis.rs). Positions are in samples. */
typedef struct AxisDesc {
    double start;               /**< Where the box that is resized starts. */
    double scale;               /**< Source samples per output sample. */
    uint32_t clip_start;        /**< The first sample that may be read. */
    uint32_t clip_end;          /**< One past the last. */
    uint32_t num_output_blocks; /**< Output blocks: as many bands. */
    uint32_t max_band_blocks;   /**< Source blocks of the longest band. */
    uint32_t first_band;        /**< Index into `bands`. */
    uint32_t first_matrix;      /**< Index into `matrices`: max_band_blocks for each output block. */
    uint32_t flags;             /**< `AxisFlag`s. */
    uint32_t reserved;          /**< Zero. */
} AxisDesc;

/** The source blocks that an output block reads along an axis. */
typedef struct BandBlocks {
    uint32_t first_block; /**< The first. */
    uint32_t num_blocks;  /**< How many follow each other from there. */
} BandBlocks;

/** One component on its way to one grid. */
typedef struct InputPlane {
    uint64_t first_coefficient; /**< Start of its plane in `coefficients`. */
    uint32_t pitch_blocks;      /**< Blocks between the starts of two rows of blocks. */
    uint32_t vertical_axis;     /**< Index into `axes`. */
    uint32_t horizontal_axis;   /**< Index into `axes`. */
    uint32_t quant;             /**< Index into `quants`; NO_QUANT: the plane is zero. */
    float scale;                /**< Brings samples to 8 bits. */
    uint32_t reserved;          /**< Zero. */
} InputPlane;

/** The planes of one image at one resolution. Blocks are counted as the file stores them, before rows and columns change places. */
typedef struct InputGrid {
    uint32_t image_idx;    /**< Slot in the outputs. */
    uint32_t first_plane;  /**< Index into `planes`. */
    uint32_t num_planes;   /**< 0 to 4; none: the values are zero. */
    uint32_t blocks_high;  /**< Rows of output blocks. */
    uint32_t blocks_wide;  /**< Output blocks in a row. */
    uint32_t tile_columns; /**< Output blocks in a row of a tile. */
    uint8_t target;        /**< An `InputTarget`. */
    uint8_t color;         /**< An `InputColor`. */
    uint8_t flags;         /**< `InputGridFlag`s. */
    uint8_t reserved;      /**< Zero. */
} InputGrid;

/** A CTA's work: a tile of a grid, or matrices of an axis. */
typedef struct InputTile {
    uint32_t owner_idx; /**< Index into `grids`, or into `axes`. */
    uint32_t first;     /**< Which tile of the grid, row by row; or the first matrix of the axis. */
} InputTile;

/** What is done to every value last: value * scale + shift, by channel. */
typedef struct InputAffine {
    float scale[INPUT_CHANNELS]; /**< Y in 0..64, Cb and Cr in 64..192; or red, green, blue in 0..3. */
    float shift[INPUT_CHANNELS]; /**< Likewise. */
} InputAffine;

/** Every buffer of a batch whose input is being made. */
typedef struct InputBatch {
    const int16_t *coefficients; /**< By image and component: [blocks_high_padded][pitch_blocks][64], quantised, natural order. */
    const double *dct;           /**< [8][8]: the orthonormal DCT, row u, column x. */
    const AxisDesc *axes;        /**< Each once. */
    const InputPlane *planes;    /**< By grid. */
    const InputGrid *grids;      /**< By image. */
    const uint16_t *quants;      /**< [num_quants][64]: quantisation tables, natural order. */
    const InputAffine *affine;   /**< [1] */
    BandBlocks *bands;           /**< By axis: [num_output_blocks]. */
    float *matrices;             /**< By axis: [num_output_blocks][max_band_blocks][64], element 8 u + a from frequency u to output a. */
    void *luma;                  /**< [num_images][H/8][W/8][64] or, for INPUT_RGB, [num_images][H][W][4]: __half or float. */
    void *chroma;                /**< [num_images][H/16][W/16][128]; none for INPUT_RGB. */
    uint32_t *num_saturated;     /**< [num_images]: coefficients beyond INPUT_SATURATION; zero at first. */
    uint32_t is_float;           /**< 1: outputs are float; 0: __half. */
    uint32_t reserved;           /**< Zero. */
} InputBatch;

/** Parameters of `build_bands`: one CTA for BAND_TILE_MATRICES matrices. */
typedef struct BuildBandsParams {
    InputBatch batch;       /**< Reads axes and dct; writes bands and matrices. */
    const InputTile *tiles; /**< [gridDim.x]: axes. */
} BuildBandsParams;

/** Parameters of `write_input`: one CTA a tile. Shared memory behind the struct: a tile of every plane of its grid. */
typedef struct WriteInputParams {
    InputBatch batch;       /**< Reads coefficients, bands, matrices; writes luma, chroma, num_saturated. */
    const InputTile *tiles; /**< [gridDim.x]: grids. */
} WriteInputParams;

#endif
