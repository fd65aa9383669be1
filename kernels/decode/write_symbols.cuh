/* From symbols to coefficients in their places. */
#ifndef DCTFLOW_DECODE_WRITE_SYMBOLS_CUH
#define DCTFLOW_DECODE_WRITE_SYMBOLS_CUH

#include "common/natural_order.cuh"
#include "decode/scan_tables.cuh"

/* Where the blocks of a scan lie. */
struct BlockPlaces {
    const ScanDesc &scan;
    int16_t *coefficients;

    /* The coefficients of a block; `block`: its place in the scan, counted in blocks in the order sent. */
    __device__ __forceinline__ int16_t *place(uint32_t block) const {
        const uint32_t mcu = block / scan.num_mcu_blocks;
        const McuBlock &in_mcu = scan.mcu_blocks[block - mcu * scan.num_mcu_blocks];
        const ScanComponent &component = scan.components[in_mcu.component];
        const uint32_t mcu_y = mcu / scan.mcus_wide;
        const uint32_t mcu_x = mcu - mcu_y * scan.mcus_wide;
        const uint64_t row = mcu_y * component.mcu_blocks_high + in_mcu.dy;
        const uint32_t column = mcu_x * component.mcu_blocks_wide + in_mcu.dx;
        return coefficients + component.first_coefficient + (row * component.pitch_blocks + column) * 64;
    }
};

/* The place of one block of the MCU. */
struct alignas(16) BlockStride {
    uint64_t first_coefficient; /* In the first MCU. */
    uint32_t mcu_across;        /* Coefficients to the same block one MCU to the right. */
    uint32_t mcu_down;          /* One row of MCUs below. */
};

/* What decoding needs in shared memory to write coefficients. */
struct WriteSmem {
    uint32_t natural_order[NATURAL_ORDER_WORDS];
    alignas(16) BlockStride strides[MAX_MCU_BLOCKS];
    alignas(16) ScanTables tables;
    /* Behind it: the lookups. */
};

/* Fills everything; the CTA must meet at a barrier before it uses it. */
__device__ __forceinline__ void load_write_smem(WriteSmem &smem, const DecodeBatch &batch, const ScanDesc &scan) {
    load_scan_tables(smem.tables, smem_tail<uint16_t>(smem), 0, batch, scan);
    load_natural_order(smem.natural_order);
    if (threadIdx.x < scan.num_mcu_blocks) {
        const McuBlock block = scan.mcu_blocks[threadIdx.x];
        const ScanComponent &component = scan.components[block.component];
        const uint64_t first_block = static_cast<uint64_t>(block.dy) * component.pitch_blocks + block.dx;
        smem.strides[threadIdx.x] = {component.first_coefficient + first_block * 64, component.mcu_blocks_wide * 64u,
                                     component.mcu_blocks_high * component.pitch_blocks * 64u};
    }
}

/* Goes through the blocks of a scan in the order sent. */
struct BlockCursor {
    const WriteSmem &smem;
    int16_t *coefficients; /* Of the batch. */
    uint32_t mcus_wide;
    uint32_t mcu_x;
    uint32_t mcu_y;

    __device__ __forceinline__ void seek_mcu(uint32_t mcu) {
        mcu_y = mcu / mcus_wide;
        mcu_x = mcu - mcu_y * mcus_wide;
    }

    __device__ __forceinline__ void next_mcu() {
        ++mcu_x;
        if (mcu_x == mcus_wide) {
            mcu_x = 0;
            ++mcu_y;
        }
    }

    /* The coefficients of a block of this MCU. */
    __device__ __forceinline__ int16_t *place(uint32_t mcu_block) const {
        const BlockStride &stride = smem.strides[mcu_block];
        return coefficients + (stride.first_coefficient + static_cast<uint64_t>(mcu_x) * stride.mcu_across +
                               static_cast<uint64_t>(mcu_y) * stride.mcu_down);
    }
};

/* One thread's run of a segment, from a known state on. */
struct SegmentRun {
    SymbolReader reader;
    DcSums prediction;
    uint32_t first_mcu;  /* Of the interval, in the scan. */
    uint32_t num_blocks; /* Of the interval. */
    uint32_t block;      /* Blocks of the interval that ended so far: fewer. */
    uint32_t stop_bits;  /* Symbols that start from here on are another thread's. */
    uint32_t end_bits;   /* Of the segment. */
    bool has_bad_code;   /* One was met before. */
};

/* Decodes a run into coefficients, which are zero so far, and finds out about its segment. */
struct SegmentWriter {
    const WriteSmem &smem;
    const uint16_t *lookups;
    const HuffmanTable *all_tables;
    const ScanDesc &scan;
    SegmentResult &result;

    __device__ __forceinline__ void write(SegmentRun &run, int16_t *all_coefficients) const {
        SymbolReader &reader = run.reader;
        BlockCursor cursor = {smem, all_coefficients, scan.mcus_wide, 0, 0};
        cursor.seek_mcu(run.first_mcu + run.block / scan.num_mcu_blocks);
        int16_t *coefficients = cursor.place(reader.mcu_block);
        const uint32_t shift = scan.point_transform;
        uint32_t end = run.stop_bits == run.end_bits ? uint32_t{SEGMENT_TRUNCATED} : SEGMENT_GOES_ON;
        while (reader.window.position_bits < run.stop_bits) {
            const uint32_t peeked = reader.window.peek();
            SymbolEntry entry = reader.peek_short_symbol(lookups, peeked);
            if (entry == 0) {
                entry = reader.peek_long_symbol(smem.tables, all_tables, peeked);
                if (entry_is_no_code(entry) && is_bad_code(run)) {
                    end = SEGMENT_BAD_CODE;
                    break;
                }
                entry &= ~NO_CODE;
            }
            if (reader.window.position_bits + entry_total_bits(entry) > run.end_bits) {
                end = SEGMENT_TRUNCATED;
                break;
            }
            int32_t value = signed_value(peeked, entry);
            const bool is_dc = reader.z == 0;
            if (is_dc) {
                const BlockCode &code = smem.tables.blocks[reader.mcu_block];
                run.prediction.add(code.dc_place, value);
                value = static_cast<int32_t>(run.prediction.of(code.dc_place));
                reader.lookup = code.ac_lookup;
                reader.lookup_shift = AC_LOOKUP_SHIFT;
            }
            if (is_dc || (entry_size_bits(entry) > 0 && entry_advance(entry) != BLOCK_END)) {
                const uint32_t k = reader.z + entry_advance(entry) - 1;
                coefficients[natural_index(smem.natural_order, k)] = static_cast<int16_t>(static_cast<uint32_t>(value) << shift);
            }
            if (reader.pass_symbol(smem.tables, entry)) {
                if (entry_is_eob_run(entry)) {
                    skip_blocks(run, cursor, eob_run_blocks(peeked, entry) - 1);
                }
                ++run.block;
                if (run.block >= run.num_blocks) {
                    end = SEGMENT_COMPLETE;
                    break;
                }
                if (reader.mcu_block == 0) {
                    cursor.next_mcu();
                }
                coefficients = cursor.place(reader.mcu_block);
            }
        }
        if (end != SEGMENT_GOES_ON) {
            result.end = end;
            result.received_blocks = run.block;
            result.end_bits = end == SEGMENT_COMPLETE ? reader.window.position_bits : run.end_bits;
        }
    }

    /* The segment's end lies behind this run. */
    static constexpr uint32_t SEGMENT_GOES_ON = UINT32_MAX;

    /* Rare: a pattern that is no code. True: the segment ends there. */
    __device__ __forceinline__ bool is_bad_code(SegmentRun &run) const {
        if (run.reader.window.position_bits + NO_CODE_BITS > run.end_bits) {
            return false;
        }
        if (!run.has_bad_code) {
            run.has_bad_code = true;
            result.bad_block = run.block;
            result.bad_bits = run.reader.window.position_bits;
        }
        return scan.is_progressive;
    }

    /* Rare: blocks of one component that a run of EOB ends beyond the first. */
    __device__ __forceinline__ void skip_blocks(SegmentRun &run, BlockCursor &cursor, uint32_t num_blocks) const {
        run.block += min(num_blocks, run.num_blocks - run.block - 1);
        cursor.seek_mcu(run.first_mcu + run.block);
    }
};

#endif
