/* Writes a scan's data bytes without stuffing and markers, and a segment for each restart marker. */
#ifndef DCTFLOW_DECODE_DESTUFF_CUH
#define DCTFLOW_DECODE_DESTUFF_CUH

#include "common/scan.cuh"
#include "decode/scan_bytes.cuh"
#include "decode/segments.cuh"

struct DestuffSmem {
    /* The tile's data, placed as in global memory: 16 bytes here are 16 bytes there. */
    union {
        uint4 vectors[DESTUFF_TILE_BYTES / 16 + 1];
        uint8_t bytes[DESTUFF_TILE_BYTES + 16];
    };
    CtaScan<DESTUFF_THREADS> scan;
};

/* Where the byte of a word-wise big-endian stream lies in little-endian memory. */
__device__ __forceinline__ uint32_t swapped(uint32_t byte_idx) { return byte_idx ^ 3; }

/* Copies the bytes [first, end) of the staging area to the words it stands for: whole vectors at once, the rest by bytes, since
 * the neighbouring tiles write the other bytes of those. */
__device__ __forceinline__ void store_staged(const DestuffSmem &smem, uint4 *destination, uint32_t first, uint32_t end) {
    for (uint32_t vector = threadIdx.x; vector * 16 < end; vector += DESTUFF_THREADS) {
        const uint32_t start = vector * 16;
        if (start >= first && start + 16 <= end) {
            destination[vector] = smem.vectors[vector];
            continue;
        }
        for (uint32_t i = max(start, first); i < min(start + 16, end); ++i) {
            reinterpret_cast<uint8_t *>(destination)[swapped(i)] = smem.bytes[swapped(i)];
        }
    }
}

__device__ void destuff(const DestuffParams &p, DestuffSmem &smem) {
    const WorkTile work = p.tiles[blockIdx.x];
    const ScanDesc &scan = p.batch.scans[work.scan_idx];
    const DestuffTile tile = p.batch.destuff_tiles[scan.first_destuff_tile + work.first];
    const uint32_t thread_bytes = threadIdx.x * DESTUFF_THREAD_BYTES;
    ScanBytes s = load_scan_bytes(p.batch.upload, scan, work.first * DESTUFF_TILE_BYTES + thread_bytes);
    s.cut(max(tile.end_bytes, thread_bytes) - thread_bytes);

    uint32_t kept_bytes;
    uint32_t num_restarts;
    const uint32_t kept_before = smem.scan.exclusive_sum(__popc(s.keep_mask), kept_bytes);
    const uint32_t restarts_before = smem.scan.exclusive_sum(__popc(s.restart_mask), num_restarts);

    const uint32_t first = tile.kept_bytes % 16;
    uint32_t to = first + kept_before;
    uint32_t segment = tile.num_restarts + restarts_before;
#pragma unroll
    for (uint32_t i = 0; i < DESTUFF_THREAD_BYTES; ++i) {
        if (s.keep_mask >> i & 1) {
            smem.bytes[swapped(to)] = static_cast<uint8_t>(s.data_byte(i));
            ++to;
        }
        if (s.restart_mask >> i & 1) {
            ++segment;
            if (segment <= scan.num_intervals + EXTRA_SEGMENTS) {
                p.batch.segments[scan.first_segment + segment] = {tile.kept_bytes - first + to, s.byte(i) & SEGMENT_MARKER, 0, 0};
            }
        }
    }
    __syncthreads();
    uint8_t *destuffed = reinterpret_cast<uint8_t *>(p.batch.destuffed + scan.destuffed_offset);
    store_staged(smem, reinterpret_cast<uint4 *>(destuffed + (tile.kept_bytes - first)), first, first + kept_bytes);

    const uint32_t scan_bytes = p.batch.scan_states[work.scan_idx].destuffed_bytes;
    if (work.first == 0 && threadIdx.x < DESTUFFED_PADDING_BYTES) {
        destuffed[swapped(scan_bytes + threadIdx.x)] = 0;
    }
}

#endif
