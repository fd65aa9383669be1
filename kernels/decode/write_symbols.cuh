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

/* What decoding needs in shared memory to write coefficients. */
struct WriteSmem {
    uint32_t natural_order[NATURAL_ORDER_WORDS];
    alignas(16) ScanTables tables;
    /* Behind it: the lookups. */
};

/* One thread's run of a segment, from a known state on. */
struct SegmentRun {
    SymbolReader reader;
    DcSums prediction;
    uint32_t first_block;    /* Of the interval, in the scan. */
    uint32_t num_blocks;     /* Of the interval. */
    uint32_t block;          /* Blocks of the interval that ended so far. */
    uint32_t stop_bits;      /* Symbols that start from here on are another thread's. */
    uint32_t end_bits;       /* Of the segment. */
    bool has_bad_code;       /* One was met before. */
};

/* Decodes the run into coefficients, which are zero so far, and writes what it finds out about its segment. */
__device__ __forceinline__ void write_run(SegmentRun &run, const BlockPlaces &places, WriteSmem &smem, const uint16_t *lookups,
                                          const HuffmanTable *all_tables, SegmentResult &result) {
    const ScanDesc &scan = places.scan;
    SymbolReader &reader = run.reader;
    const uint32_t shift = scan.point_transform;
    uint32_t end = SEGMENT_TRUNCATED;
    int16_t *coefficients = run.block < run.num_blocks ? places.place(run.first_block + run.block) : nullptr;
    bool is_stopped = false;
    while (reader.window.position_bits < run.stop_bits && run.block < run.num_blocks && !is_stopped) {
        const uint32_t peeked = reader.window.peek();
        const SymbolEntry entry = reader.peek_symbol(smem.tables, lookups, all_tables, peeked);
        if (reader.window.position_bits + entry_total_bits(entry) > run.end_bits) {
            is_stopped = true;
            break;
        }
        if (entry_is_no_code(entry) && !run.has_bad_code) {
            run.has_bad_code = true;
            result.bad_block = run.block;
            result.bad_bits = reader.window.position_bits;
        }
        if (entry_is_no_code(entry) && scan.is_progressive) {
            end = SEGMENT_BAD_CODE;
            is_stopped = true;
            break;
        }
        if (reader.z == 0) {
            const uint32_t component = smem.tables.block_components[reader.mcu_block];
            run.prediction.add(component, signed_value(peeked, entry));
            coefficients[0] = static_cast<int16_t>(run.prediction.of(component) << shift);
        } else if (entry_advance(entry) != BLOCK_END && entry_size_bits(entry) > 0) {
            const uint32_t k = min(reader.z + entry_advance(entry) - 1, 63u);
            coefficients[natural_index(smem.natural_order, k)] = static_cast<int16_t>(signed_value(peeked, entry) << shift);
        }
        const uint32_t num_ended = reader.pass_symbol(smem.tables, peeked, entry);
        if (num_ended > 0) {
            run.block += min(num_ended, run.num_blocks - run.block);
            if (run.block < run.num_blocks) {
                coefficients = places.place(run.first_block + run.block);
            }
        }
    }
    const bool is_complete = run.block == run.num_blocks;
    if (is_complete || is_stopped || run.stop_bits == run.end_bits) {
        result.end = is_complete ? uint32_t{SEGMENT_COMPLETE} : end;
        result.received_blocks = run.block;
        result.end_bits = is_complete ? reader.window.position_bits : run.end_bits;
    }
}

#endif
