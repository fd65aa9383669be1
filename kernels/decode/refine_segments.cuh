/* AC refinement scans, first pass: where the data of each block start. What a bit means depends on how many coefficients of the block are not
 * zero, so one thread goes through a segment; but it only counts, by the marks of mark_blocks, and visits no block of a run of EOB that has
 * nothing to correct. Its work is bounded by the segment's bits and a 32nd of its blocks; src/plan/image.rs limits it. */
#ifndef DCTFLOW_DECODE_REFINE_SEGMENTS_CUH
#define DCTFLOW_DECODE_REFINE_SEGMENTS_CUH

#include "decode/refinement.cuh"

struct RefineSegmentsSmem {
    uint32_t natural_order[NATURAL_ORDER_WORDS];
    alignas(16) ScanTables tables;
    /* Behind it: the lookups. */
};

/* The first block in [block, end) of which a coefficient is not zero; `end` if there is none. `marks`: of block 0. */
__device__ __forceinline__ uint32_t find_nonzero_block(const uint32_t *marks, uint32_t block, uint32_t end) {
    while (block < end) {
        COUNT(serial_steps, 1);
        const uint32_t word = marks[block / 32] >> block % 32;
        if (word != 0) {
            return min(block + __ffs(word) - 1, end);
        }
        block = (block / 32 + 1) * 32;
    }
    return end;
}

/* Goes through blocks [first_block, first_block + num_blocks). Returns how many were received; `end` says why there were no more. */
__device__ __forceinline__ uint32_t start_blocks(Refinement<false> &refinement, RefinedBlock *blocks, const uint32_t *marks, uint32_t first_block,
                                                 uint32_t num_blocks, uint32_t &end) {
    const uint32_t end_block = first_block + num_blocks;
    uint32_t block = first_block;
    while (block < end_block) {
        if (refinement.eob_run > 0) {
            const uint32_t next = find_nonzero_block(marks, block, block + min(refinement.eob_run, end_block - block));
            refinement.eob_run -= next - block;
            block = next;
            if (block == end_block) {
                break;
            }
        }
        COUNT(serial_steps, 1);
        const uint32_t start_bits = refinement.window.position_bits;
        const uint32_t is_in_run = refinement.eob_run > 0;
        refinement.nonzero = blocks[block].nonzero;
        end = refinement.refine_block();
        if (end != SEGMENT_COMPLETE) {
            return block - first_block;
        }
        blocks[block].start_bits = start_bits;
        blocks[block].is_in_run = is_in_run;
        ++block;
    }
    return num_blocks;
}

__device__ void refine_segments(const RefineSegmentsParams &p, RefineSegmentsSmem &smem) {
    const WorkTile work = p.tiles[blockIdx.x];
    const ScanDesc &scan = p.batch.scans[work.scan_idx];
    const ScanState &state = p.batch.scan_states[work.scan_idx];
    if (work.first >= state.num_segments || state.is_unresolved) {
        return;
    }
    load_scan_tables(smem.tables, smem_tail<uint16_t>(smem), 0, p.batch, scan);
    load_natural_order(smem.natural_order);
    __syncthreads();
    const uint32_t segment_idx = work.first + threadIdx.x;
    if (segment_idx >= state.num_segments) {
        return;
    }
    const Segment *segments = p.batch.segments + scan.first_segment;
    const Segment segment = segments[segment_idx];
    if (segment.marker & SEGMENT_NO_INTERVAL) {
        return;
    }
    Refinement<false> refinement = {smem_tail<uint16_t>(smem), p.batch.tables, smem.tables.blocks[0], smem.natural_order, scan,
                                    segments[segment_idx + 1].start_bytes * 8, {}, 0, UINT32_MAX, 0, nullptr};
    refinement.window.seek(p.batch.destuffed + scan.destuffed_offset, segment.start_bytes * 8);
    SegmentResult result = {SEGMENT_COMPLETE, 0, 0, UINT32_MAX, UINT32_MAX, 0};
    result.received_blocks = start_blocks(refinement, p.batch.refined_blocks + scan.first_refined_block,
                                          p.batch.nonzero_blocks + scan.first_refined_block / 32, segment.interval * scan.interval_mcus,
                                          interval_blocks(scan, segment.interval), result.end);
    if (result.end == SEGMENT_BAD_CODE) {
        result.bad_block = result.received_blocks;
        result.bad_bits = refinement.bad_bits;
    }
    result.end_bits = result.end == SEGMENT_COMPLETE ? refinement.window.position_bits : refinement.end_bits;
    p.batch.segment_results[scan.first_segment + segment_idx] = result;
}

#endif
