/* Counts, for each tile of a scan, the data bytes and restart markers, and looks for the marker that ends the scan. */
#ifndef DCTFLOW_DECODE_COUNT_DESTUFFED_CUH
#define DCTFLOW_DECODE_COUNT_DESTUFFED_CUH

#include "common/scan.cuh"
#include "decode/scan_bytes.cuh"

struct CountDestuffedSmem {
    CtaScan<DESTUFF_THREADS> scan;
};

__device__ void count_destuffed(const CountDestuffedParams &p, CountDestuffedSmem &smem) {
    const WorkTile tile = p.tiles[blockIdx.x];
    const ScanDesc &scan = p.batch.scans[tile.scan_idx];
    const uint32_t thread_bytes = threadIdx.x * DESTUFF_THREAD_BYTES;
    ScanBytes s = load_scan_bytes(p.batch.upload, scan, tile.first * DESTUFF_TILE_BYTES + thread_bytes);

    const uint32_t own_end = s.end_mask == 0 ? UINT32_MAX : thread_bytes + __ffs(s.end_mask) - 1;
    const uint32_t end_bytes = min(smem.scan.minimum(own_end), DESTUFF_TILE_BYTES);
    s.cut(max(end_bytes, thread_bytes) - thread_bytes);

    uint32_t kept_bytes;
    uint32_t num_restarts;
    uint32_t num_invalid;
    smem.scan.exclusive_sum(__popc(s.keep_mask), kept_bytes);
    smem.scan.exclusive_sum(__popc(s.restart_mask), num_restarts);
    smem.scan.exclusive_sum(__popc(s.invalid_mask), num_invalid);
    if (threadIdx.x == 0) {
        p.batch.destuff_tiles[scan.first_destuff_tile + tile.first] = {kept_bytes, num_restarts, end_bytes, num_invalid};
    }
}

#endif
