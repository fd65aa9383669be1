/* Prefix sums over a CTA. */
#ifndef DCTFLOW_COMMON_SCAN_CUH
#define DCTFLOW_COMMON_SCAN_CUH

#include "common/cta.cuh"

__device__ __forceinline__ uint32_t warp_inclusive_sum(uint32_t value) {
    for (unsigned distance = 1; distance < WARP_THREADS; distance *= 2) {
        const uint32_t before = __shfl_up_sync(FULL_WARP, value, distance);
        value += lane_idx() >= distance ? before : 0;
    }
    return value;
}

/* Working memory of a CTA's collectives. */
template <unsigned NUM_THREADS>
struct CtaScan {
    static constexpr unsigned NUM_WARPS = NUM_THREADS / WARP_THREADS;
    uint32_t warps[NUM_WARPS];

    /* The sum of `value` over the threads before this one; `total` becomes that of all. Every thread of the CTA calls it. */
    __device__ __forceinline__ uint32_t exclusive_sum(uint32_t value, uint32_t &total) {
        const uint32_t inclusive = warp_inclusive_sum(value);
        __syncthreads();
        if (lane_idx() == WARP_THREADS - 1) {
            warps[warp_idx()] = inclusive;
        }
        __syncthreads();
        uint32_t before = 0;
        total = 0;
        for (unsigned warp = 0; warp < NUM_WARPS; ++warp) {
            before += warp < warp_idx() ? warps[warp] : 0;
            total += warps[warp];
        }
        return before + inclusive - value;
    }

    /* The least `value` of all threads. Every thread of the CTA calls it. */
    __device__ __forceinline__ uint32_t minimum(uint32_t value) {
        for (unsigned distance = WARP_THREADS / 2; distance > 0; distance /= 2) {
            value = min(value, __shfl_xor_sync(FULL_WARP, value, distance));
        }
        __syncthreads();
        if (lane_idx() == 0) {
            warps[warp_idx()] = value;
        }
        __syncthreads();
        for (unsigned warp = 0; warp < NUM_WARPS; ++warp) {
            value = min(value, warps[warp]);
        }
        return value;
    }
};

#endif
