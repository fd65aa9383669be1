/* Refinement scans: changes coefficients, all blocks at once. DC has one bit a block (T.81 G.1.2.1), whose place is known; where the data of a
 * block of AC start, refine_segments has found out. */
#ifndef DCTFLOW_DECODE_REFINE_BLOCKS_CUH
#define DCTFLOW_DECODE_REFINE_BLOCKS_CUH

#include "decode/refinement.cuh"

struct RefineBlocksSmem {
    uint32_t natural_order[NATURAL_ORDER_WORDS];
    alignas(16) ScanTables tables;
    /* Behind it: the lookups. */
};

/* The segment that holds an interval; `num_segments` if there is none. */
__device__ __forceinline__ uint32_t find_segment(const Segment *segments, uint32_t num_segments, uint32_t interval) {
    uint32_t low = 0;
    uint32_t high = num_segments;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (segments[middle].interval < interval) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < num_segments && segments[low].interval == interval ? low : num_segments;
}

/* The bit of a block of a DC scan. The thread of a segment's first block also says what became of the segment. */
__device__ __forceinline__ void refine_dc(const RefineBlocksParams &p, const ScanDesc &scan, const ScanState &state, uint32_t block) {
    const Segment *segments = p.batch.segments + scan.first_segment;
    const uint32_t interval = block / scan.num_mcu_blocks / scan.interval_mcus;
    const uint32_t segment_idx = find_segment(segments, state.num_segments, interval);
    if (segment_idx == state.num_segments) {
        return;
    }
    const uint32_t start_bits = segments[segment_idx].start_bytes * 8;
    const uint32_t end_bits = segments[segment_idx + 1].start_bytes * 8;
    const uint32_t in_interval = block - interval * scan.interval_mcus * scan.num_mcu_blocks;
    const uint32_t num_blocks = interval_blocks(scan, interval);
    const uint32_t num_received = min(num_blocks, end_bits - start_bits);
    if (in_interval < num_received) {
        const uint32_t at_bits = start_bits + in_interval;
        const uint32_t word = p.batch.destuffed[scan.destuffed_offset + at_bits / 32];
        if (word >> (31 - at_bits % 32) & 1) {
            const BlockPlaces places = {scan, p.batch.coefficients};
            places.place(block)[0] |= static_cast<int16_t>(1 << scan.point_transform);
        }
    }
    if (in_interval == 0) {
        const bool is_complete = num_received == num_blocks;
        p.batch.segment_results[scan.first_segment + segment_idx] = {
            is_complete ? uint32_t{SEGMENT_COMPLETE} : uint32_t{SEGMENT_TRUNCATED}, num_received, is_complete ? start_bits + num_blocks : end_bits,
            UINT32_MAX, UINT32_MAX, 0};
    }
}

__device__ void refine_blocks(const RefineBlocksParams &p, RefineBlocksSmem &smem) {
    const WorkTile work = p.tiles[blockIdx.x];
    const ScanDesc &scan = p.batch.scans[work.scan_idx];
    const ScanState &state = p.batch.scan_states[work.scan_idx];
    if (state.is_unresolved) {
        return;
    }
    const uint32_t end_block = min(work.first + REFINE_TILE_BLOCKS, scan.num_mcus * scan.num_mcu_blocks);
    if (scan.kind == SCAN_REFINE_DC) {
        for (uint32_t block = work.first + threadIdx.x; block < end_block; block += TILE_THREADS) {
            refine_dc(p, scan, state, block);
        }
        return;
    }
    load_scan_tables(smem.tables, smem_tail<uint16_t>(smem), 0, p.batch, scan);
    load_natural_order(smem.natural_order);
    __syncthreads();
    const BlockPlaces places = {scan, p.batch.coefficients};
    Refinement<true> refinement = {smem_tail<uint16_t>(smem), p.batch.tables, smem.tables.blocks[0], smem.natural_order, scan,
                                   UINT32_MAX, {}, 0, UINT32_MAX, 0, nullptr};
    for (uint32_t block = work.first + threadIdx.x; block < end_block; block += TILE_THREADS) {
        const RefinedBlock refined = p.batch.refined_blocks[scan.first_refined_block + block];
        if (refined.start_bits == NO_DATA) {
            continue;
        }
        refinement.nonzero = refined.nonzero;
        refinement.eob_run = refined.is_in_run;
        refinement.coefficients = places.place(block);
        refinement.window.seek(p.batch.destuffed + scan.destuffed_offset, refined.start_bits);
        refinement.refine_block();
    }
}

#endif
