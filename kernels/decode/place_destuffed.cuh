/* Finds the end of each scan, and where in the destuffed data each of its tiles goes. */
#ifndef DCTFLOW_DECODE_PLACE_DESTUFFED_CUH
#define DCTFLOW_DECODE_PLACE_DESTUFFED_CUH

#include "common/scan.cuh"
#include "decode/scan_bytes.cuh"
#include "decode/segments.cuh"

struct PlaceDestuffedSmem {
    CtaScan<DESTUFF_THREADS> scan;
};

__device__ void place_destuffed(const PlaceDestuffedParams &p, PlaceDestuffedSmem &smem) {
    const ScanDesc &scan = p.batch.scans[blockIdx.x];
    DestuffTile *tiles = p.batch.destuff_tiles + scan.first_destuff_tile;
    DestuffTile before = {};
    bool has_ended = false;
    for (uint32_t first = 0; first < scan.num_destuff_tiles; first += DESTUFF_THREADS) {
        const uint32_t tile_idx = first + threadIdx.x;
        const bool is_tile = tile_idx < scan.num_destuff_tiles;
        DestuffTile tile = {};
        if (is_tile && !has_ended) {
            tile = tiles[tile_idx];
        }
        const bool holds_end = is_tile && !has_ended && tile.end_bytes < DESTUFF_TILE_BYTES;
        const uint32_t end_tile = smem.scan.minimum(holds_end ? tile_idx : UINT32_MAX);
        if (tile_idx > end_tile) {
            tile = {};
        }
        has_ended = has_ended || end_tile != UINT32_MAX;
        DestuffTile chunk;
        tile.kept_bytes = before.kept_bytes + smem.scan.exclusive_sum(tile.kept_bytes, chunk.kept_bytes);
        tile.num_restarts = before.num_restarts + smem.scan.exclusive_sum(tile.num_restarts, chunk.num_restarts);
        smem.scan.exclusive_sum(tile.num_invalid, chunk.num_invalid);
        if (is_tile) {
            tiles[tile_idx] = tile;
        }
        before.kept_bytes += chunk.kept_bytes;
        before.num_restarts += chunk.num_restarts;
        before.num_invalid += chunk.num_invalid;
    }
    if (threadIdx.x == 0) {
        const uint32_t num_segments = min(before.num_restarts + 1, scan.num_intervals + EXTRA_SEGMENTS);
        p.batch.scan_states[blockIdx.x] = {before.kept_bytes, num_segments, 0, 0, 0, before.num_invalid > 0};
        Segment *segments = p.batch.segments + scan.first_segment;
        segments[0] = {};
        if (num_segments == before.num_restarts + 1) {
            segments[num_segments] = {before.kept_bytes, SEGMENT_NO_INTERVAL, 0, 0};
        }
    }
}

#endif
