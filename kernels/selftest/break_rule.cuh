/* Mistakes, one by one, made on purpose: each check of the emulator is proved by a kernel that it must catch. The same kernels without
 * the mistake are in run_word. */
#ifndef DCTFLOW_SELFTEST_BREAK_RULE_CUH
#define DCTFLOW_SELFTEST_BREAK_RULE_CUH

#include "selftest/abi.h"
#include "common/cta.cuh"
#include "common/tensor_core.cuh"

/* A frame that a thread's stack cannot hold. */
__device__ __attribute__((noinline)) uint32_t overflow_stack(uint32_t depth) {
    volatile uint32_t frame[256];
    frame[depth % 256] = depth;
    return depth == 0 ? frame[0] : overflow_stack(depth - 1) + frame[depth % 256];
}

__device__ uint32_t break_barrier_rule(uint32_t mistake, uint32_t t, SelftestSmem &smem) {
    switch (mistake) {
        case MISTAKE_MISSING_BARRIER:
            smem.words[t] = t;
            return smem.words[63 - t];
        case MISTAKE_BARRIER_IN_BRANCH:
            if (t < 40) {
                __syncthreads();
            }
            return __syncthreads_count(1);
        case MISTAKE_EXIT_BEFORE_BARRIER:
            if (t == 33) {
                return 0;
            }
            __syncthreads();
            return 1;
        case MISTAKE_TWO_BARRIERS:
            if (t % 2 == 0) {
                __syncthreads();
            } else {
                __syncthreads();
            }
            return 1;
        case MISTAKE_UNEQUAL_BARRIER_COUNTS:
            for (uint32_t i = 0; i < 1 + t / 63; ++i) {
                __syncthreads();
            }
            return 1;
        case MISTAKE_BARRIER_AGAINST_WARP:
            if (t != 5) {
                __syncwarp();
            }
            __syncthreads();
            return 1;
        default:
            /* Two halves of a warp wait for each other's operation. */
            if (lane_idx() < 16) {
                return __ballot_sync(FULL_WARP, 1);
            }
            __syncthreads();
            return 0;
    }
}

__device__ uint32_t break_warp_rule(uint32_t mistake, uint32_t t) {
    const uint32_t lane = lane_idx();
    switch (mistake) {
        case MISTAKE_MASK_WITHOUT_SELF: return __ballot_sync(0x0000fffeu, 1);
        case MISTAKE_MASK_NAMES_EXITED:
        case MISTAKE_EXIT_WHILE_AWAITED:
            /* Which of the two it is depends on the schedule. */
            if (lane == (mistake == MISTAKE_MASK_NAMES_EXITED ? 0u : 31u)) {
                return 0;
            }
            return __shfl_sync(FULL_WARP, t, 1);
        case MISTAKE_DIFFERENT_OPERATIONS: return lane < 16 ? __ballot_sync(FULL_WARP, 1) : __shfl_xor_sync(FULL_WARP, t, 1);
        default: return lane < 16 ? __shfl_sync(0x0000ffffu, t, 20) : 0;
    }
}

__device__ uint32_t break_memory_rule(uint32_t mistake, uint32_t t, const SelftestParams &p, SelftestSmem &smem) {
    switch (mistake) {
        case MISTAKE_READ_FAR_BEHIND_BUFFER: return t == 7 ? p.scratch[p.num_scratch + 64] : 0;
        case MISTAKE_READ_BEFORE_BUFFER: return t == 7 ? *(p.scratch - 1100) : 0;
        case MISTAKE_WRITE_JUST_BEHIND_BUFFER:
            if (t == 7) {
                p.scratch[p.num_scratch] = 1;
            }
            return 0;
        case MISTAKE_WRITE_NULL:
            if (t == 7) {
                *static_cast<volatile uint32_t *>(nullptr) = 1;
            }
            return 0;
        case MISTAKE_READ_FAR_BEHIND_SMEM: return t == 7 ? smem.words[t + 4 * p.num_scratch] : 0;
        case MISTAKE_WRITE_JUST_BEHIND_SMEM:
            if (t == 7) {
                smem_tail<uint32_t>(smem)[64 + t] = 1;
            }
            return 0;
        case MISTAKE_UNINITIALISED_SMEM: return smem.words[t];
        case MISTAKE_STACK_OVERFLOW: return overflow_stack(1000 + t);
        case MISTAKE_READ_BEFORE_ASYNC_COPY_LANDS:
        case MISTAKE_ASYNC_COPY_NEVER_AWAITED:
            smem.words[t] = 0;
            p.scratch[t] = t + 1;
            __pipeline_memcpy_async(&smem.words[t], &p.scratch[t], 4);
            __pipeline_commit();
            if (mistake == MISTAKE_READ_BEFORE_ASYNC_COPY_LANDS) {
                const uint32_t early = smem.words[t];
                __pipeline_wait_prior(0);
                return early;
            }
            return 0;
        case MISTAKE_SPIN_FOR_EVER:
            while (atomicAdd(&p.scratch[0], 0u) == 0) {
                __nanosleep(100);
            }
            return 0;
        case MISTAKE_CHECK_THEN_ACT: {
            /* Looks, then counts: several threads find it empty. */
            if (atomicAdd(&p.scratch[0], 0u) == 0) {
                atomicAdd(&p.scratch[0], 1u);
                return 1;
            }
            return 0;
        }
        case MISTAKE_MATRIX_OUTSIDE_SMEM: {
            uint32_t fragment[4];
            load_matrices(fragment, t == 7 ? static_cast<const void *>(&p.scratch[4]) : &smem.words[4 * (t % 16)]);
            return fragment[0];
        }
        default:
            if (t == 7) {
                __trap();
            }
            return 0;
    }
}

__device__ void break_rule(const SelftestParams &p, SelftestSmem &smem) {
    const uint32_t t = threadIdx.x;
    uint32_t found = 0;
    if (p.which <= MISTAKE_LANE_NEVER_COMES) {
        found = break_barrier_rule(p.which, t, smem);
    } else if (p.which <= MISTAKE_SHUFFLE_FROM_OUTSIDE) {
        found = break_warp_rule(p.which, t);
    } else {
        found = break_memory_rule(p.which, t, p, smem);
    }
    p.out[blockIdx.x * 64 + t] = found;
}

#endif
