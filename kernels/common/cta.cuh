/* A CTA's shared memory and what its threads do together. */
#ifndef DCTFLOW_COMMON_CTA_CUH
#define DCTFLOW_COMMON_CTA_CUH

#include "abi.h"

/* For kernels without shared memory. */
struct NoSmem {};

static constexpr unsigned FULL_WARP = 0xffffffffu;

/* The run-time tail of a CTA's shared memory: it starts behind `smem`, aligned for T. */
template <typename T, typename Smem>
__device__ __forceinline__ T *smem_tail(Smem &smem) {
    static_assert(!__is_empty(Smem) && alignof(T) <= alignof(Smem), "a tail needs a Smem aligned at least as strictly");
    return reinterpret_cast<T *>(&smem + 1);
}

__device__ __forceinline__ unsigned lane_idx() { return threadIdx.x % WARP_THREADS; }

__device__ __forceinline__ unsigned warp_idx() { return threadIdx.x / WARP_THREADS; }

/* Sum over a whole warp, known to all its lanes. */
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
    for (unsigned distance = WARP_THREADS / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(FULL_WARP, value, distance);
    }
    return value;
}

#endif
