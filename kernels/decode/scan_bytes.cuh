/* What the bytes of a scan are: data, stuffing, restart markers, or its end (T.81 B.1.1.5, B.2.1; src/jpeg/segments.rs has the rules).
 * Each byte is judged by itself and the one before, so that all of them can be judged at once. */
#ifndef DCTFLOW_DECODE_SCAN_BYTES_CUH
#define DCTFLOW_DECODE_SCAN_BYTES_CUH

#include "abi.h"
#include "common/cta.cuh"

static constexpr uint32_t DESTUFF_THREADS = 256;
static constexpr uint32_t DESTUFF_THREAD_BYTES = DESTUFF_TILE_BYTES / DESTUFF_THREADS;
static_assert(DESTUFF_THREAD_BYTES == 16, "a thread loads its bytes at once");

/* Sixteen bytes of a scan; bit i of a mask stands for byte i. */
struct ScanBytes {
    uint4 bytes;
    uint32_t previous;      /* The byte before the first. */
    uint32_t keep_mask;     /* Bytes that carry data: ordinary ones, and the 00 of FF 00, which stands for FF. */
    uint32_t restart_mask;  /* Second bytes of RSTm. */
    uint32_t invalid_mask;  /* Second bytes of FF01 to FFBF. */
    uint32_t end_mask;      /* Second bytes of any other marker. */

    __device__ __forceinline__ uint32_t byte(uint32_t i) const {
        const uint32_t words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
        return words[i / 4] >> (i % 4 * 8) & 0xff;
    }

    /* The data byte that byte i carries. */
    __device__ __forceinline__ uint32_t data_byte(uint32_t i) const {
        const uint32_t before = i == 0 ? previous : byte(i - 1);
        return before == 0xff ? 0xff : byte(i);
    }

    /* Forgets the bytes from `num_bytes` on. */
    __device__ __forceinline__ void cut(uint32_t num_bytes) {
        const uint32_t mask = num_bytes >= DESTUFF_THREAD_BYTES ? 0xffffu : (1u << num_bytes) - 1;
        keep_mask &= mask;
        restart_mask &= mask;
        invalid_mask &= mask;
        end_mask &= mask;
    }
};

/* Loads and judges this thread's bytes of a tile: those from `start` on in the scan. */
__device__ __forceinline__ ScanBytes load_scan_bytes(const uint8_t *upload, const ScanDesc &scan, uint32_t start) {
    ScanBytes s = {};
    if (start >= scan.data_bytes) {
        return s;
    }
    const uint8_t *data = upload + scan.data_offset;
    s.bytes = __ldg(reinterpret_cast<const uint4 *>(data + start));
    s.previous = start == 0 ? 0 : __ldg(data + start - 1);
    uint32_t before = s.previous;
#pragma unroll
    for (uint32_t i = 0; i < DESTUFF_THREAD_BYTES; ++i) {
        const uint32_t b = s.byte(i);
        const bool is_behind_ff = before == 0xff;
        const uint32_t bit = 1u << i;
        const bool is_restart = (b & 0xf8) == 0xd0;
        s.keep_mask |= (is_behind_ff ? b == 0 : b != 0xff) ? bit : 0;
        s.restart_mask |= is_behind_ff && is_restart ? bit : 0;
        s.invalid_mask |= is_behind_ff && b >= 0x01 && b <= 0xbf ? bit : 0;
        s.end_mask |= is_behind_ff && b >= 0xc0 && b != 0xff && !is_restart ? bit : 0;
        before = b;
    }
    s.cut(scan.data_bytes - start);
    return s;
}

#endif
