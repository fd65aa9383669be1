/* A block that its segment breaks off in was not received: what a first scan wrote of it is taken back. (Refinement takes its own back.) */
#ifndef DCTFLOW_DECODE_CLEAR_UNFINISHED_CUH
#define DCTFLOW_DECODE_CLEAR_UNFINISHED_CUH

#include "decode/write_symbols.cuh"

struct ClearUnfinishedSmem {
    uint32_t natural_order[NATURAL_ORDER_WORDS];
};

__device__ void clear_unfinished(const ClearUnfinishedParams &p, ClearUnfinishedSmem &smem) {
    const uint32_t scan_idx = p.tiles[blockIdx.x].scan_idx;
    const ScanDesc &scan = p.batch.scans[scan_idx];
    const ScanState &state = p.batch.scan_states[scan_idx];
    load_natural_order(smem.natural_order);
    __syncthreads();
    if (state.is_unresolved) {
        return;
    }
    const BlockPlaces places = {scan, p.batch.coefficients};
    for (uint32_t i = threadIdx.x; i < state.num_segments; i += blockDim.x) {
        const SegmentResult &result = p.batch.segment_results[scan.first_segment + i];
        if (result.end != SEGMENT_TRUNCATED && result.end != SEGMENT_BAD_CODE) {
            continue;
        }
        const uint32_t interval = p.batch.segments[scan.first_segment + i].interval;
        int16_t *coefficients = places.place(interval * scan.interval_mcus * scan.num_mcu_blocks + result.received_blocks);
        for (uint32_t k = scan.z_begin; k < scan.z_end; ++k) {
            coefficients[natural_index(smem.natural_order, k)] = 0;
        }
    }
}

#endif
