/* Finds the end of each scan, and where in the destuffed data each of its tiles goes. */
#ifndef DCTFLOW_DECODE_PLACE_DESTUFFED_CUH
#define DCTFLOW_DECODE_PLACE_DESTUFFED_CUH

#include "common/scan.cuh"
#include "decode/scan_bytes.cuh"

struct PlaceDestuffedSmem {
    CtaScan<DESTUFF_THREADS> scan;
};

__device__ void place_destuffed(const PlaceDestuffedParams &p, PlaceDestuffedSmem &smem) {
    const ScanDesc &scan = p.batch.scans[blockIdx.x];
    DestuffTile *tiles = p.batch.destuff_tiles + scan.first_destuff_tile;
    uint32_t kept_before = 0;
    uint32_t restarts_before = 0;
    uint32_t data_end_bytes = scan.data_bytes;
    bool has_ended = false;
    for (uint32_t first = 0; first < scan.num_destuff_tiles; first += DESTUFF_THREADS) {
        const uint32_t tile_idx = first + threadIdx.x;
        DestuffTile tile = {};
        if (tile_idx < scan.num_destuff_tiles && !has_ended) {
            tile = tiles[tile_idx];
        }
        const bool holds_end = !has_ended && tile_idx < scan.num_destuff_tiles && tile.end_bytes < DESTUFF_TILE_BYTES;
        const uint32_t end_tile = smem.scan.minimum(holds_end ? tile_idx : UINT32_MAX);
        if (end_tile != UINT32_MAX) {
            has_ended = true;
            /* The second byte of the marker was found; its FF lies one byte before. */
            data_end_bytes = smem.scan.minimum(
                tile_idx == end_tile ? end_tile * DESTUFF_TILE_BYTES + tile.end_bytes - 1 : UINT32_MAX);
        }
        if (tile_idx > end_tile) {
            tile = {};
        }
        uint32_t kept_bytes;
        uint32_t num_restarts;
        tile.kept_bytes = kept_before + smem.scan.exclusive_sum(tile.kept_bytes, kept_bytes);
        tile.num_restarts = restarts_before + smem.scan.exclusive_sum(tile.num_restarts, num_restarts);
        if (tile_idx < scan.num_destuff_tiles) {
            tiles[tile_idx] = tile;
        }
        kept_before += kept_bytes;
        restarts_before += num_restarts;
    }
    if (threadIdx.x == 0) {
        p.batch.scan_states[blockIdx.x] = {
            .destuffed_bytes = kept_before,
            .data_end_bytes = data_end_bytes,
            .num_segments = min(restarts_before + 1, scan.num_intervals),
            .num_subsequences = 0,
            .excess_segments = restarts_before + 1 > scan.num_intervals,
            .serial_subsequences = 0,
            .is_unresolved = 0,
            .reserved = 0,
        };
        /* What RST7 would be, since RST0 comes next. */
        p.batch.segments[scan.first_segment] = {.start_bytes = 0, .interval = 7, .first_subsequence = 0, .reserved = 0};
    }
}

#endif
