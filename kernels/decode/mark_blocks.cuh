/* Says of every block of an AC refinement scan which of its coefficients are not zero: those have a correction bit each. With this known,
 * the serial pass (refine_segments) touches no coefficient, and passes over 32 empty blocks at a time. */
#ifndef DCTFLOW_DECODE_MARK_BLOCKS_CUH
#define DCTFLOW_DECODE_MARK_BLOCKS_CUH

#include "decode/refinement.cuh"

struct MarkBlocksSmem {
    uint32_t natural_order[NATURAL_ORDER_WORDS];
};

__device__ void mark_blocks(const MarkBlocksParams &p, MarkBlocksSmem &smem) {
    const WorkTile work = p.tiles[blockIdx.x];
    const ScanDesc &scan = p.batch.scans[work.scan_idx];
    if (p.batch.scan_states[work.scan_idx].is_unresolved) {
        return;
    }
    load_natural_order(smem.natural_order);
    __syncthreads();
    const BlockPlaces places = {scan, p.batch.coefficients};
    const uint32_t end_block = scan.num_mcus * scan.num_mcu_blocks;
    for (uint32_t i = 0; i < REFINE_TILE_BLOCKS; i += TILE_THREADS) {
        const uint32_t block = work.first + i + threadIdx.x;
        uint64_t nonzero = 0;
        if (block < end_block) {
            const int16_t *coefficients = places.place(block);
            for (uint32_t k = scan.z_begin; k < scan.z_end; ++k) {
                nonzero |= static_cast<uint64_t>(coefficients[natural_index(smem.natural_order, k)] != 0) << k;
            }
            p.batch.refined_blocks[scan.first_refined_block + block] = {nonzero, NO_DATA, 0};
        }
        const uint32_t word = __ballot_sync(FULL_WARP, nonzero != 0);
        if (lane_idx() == 0 && block < end_block) {
            p.batch.nonzero_blocks[(scan.first_refined_block + block) / 32] = word;
        }
    }
}

#endif
