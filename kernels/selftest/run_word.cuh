/* Every word of CUDA that kernels may use, shown to mean what CUDA says. Two warps; thread t writes out[CTA * 64 + t]; what must be
 * found there is in tests/emulator/words.rs. Right on a GPU and on the emulator, in every schedule. */
#ifndef DCTFLOW_SELFTEST_RUN_WORD_CUH
#define DCTFLOW_SELFTEST_RUN_WORD_CUH

#include "selftest/abi.h"
#include "common/cta.cuh"
#include "common/half.cuh"
#include "common/tensor_core.cuh"

__device__ uint32_t run_barrier(uint32_t word, uint32_t t, SelftestSmem &smem) {
    switch (word) {
        case WORD_SYNCTHREADS:
            smem.words[t] = t * t;
            __syncthreads();
            return smem.words[63 - t];
        case WORD_SYNCTHREADS_COUNT: return __syncthreads_count(t % 3 == 0);
        case WORD_SYNCTHREADS_AND: {
            const int all = __syncthreads_and(t < 64);
            return all != 0 && __syncthreads_and(t != 17) == 0;
        }
        case WORD_SYNCTHREADS_OR: {
            const int any = __syncthreads_or(t == 17);
            return any != 0 && __syncthreads_or(t == 64) == 0;
        }
        case WORD_BARRIER_SYNC_COUNT:
            /* Each warp has a barrier of its own, and uses it twice. */
            smem.words[t] = t + 1;
            __barrier_sync_count(1 + warp_idx(), 32);
            smem.words[t ^ 1] += 100;
            __barrier_sync_count(1 + warp_idx(), 32);
            return smem.words[t ^ 31];
        default:
            smem.words[t] = t + 5;
            __syncwarp();
            return smem.words[t ^ 31];
    }
}

__device__ uint32_t run_shuffle(uint32_t word, uint32_t t) {
    const uint32_t lane = lane_idx();
    switch (word) {
        case WORD_SHFL: return __shfl_sync(FULL_WARP, t * 3, (lane + 5) % 32);
        case WORD_SHFL_UP: return __shfl_up_sync(FULL_WARP, t, 3);
        case WORD_SHFL_DOWN: return __shfl_down_sync(FULL_WARP, t, 3);
        case WORD_SHFL_XOR: return __shfl_xor_sync(FULL_WARP, t, 21);
        case WORD_SHFL_SEGMENT:
            return __shfl_sync(FULL_WARP, t, 2, 8) | __shfl_up_sync(FULL_WARP, t, 1, 8) << 8 |
                   __shfl_down_sync(FULL_WARP, t, 1, 8) << 16 | __shfl_xor_sync(FULL_WARP, t, 9, 8) << 24;
        default: {
            const unsigned long long value = 0x100000001ull * t;
            const double turned = __shfl_xor_sync(FULL_WARP, static_cast<double>(t), 1);
            const unsigned long long wide = __shfl_xor_sync(FULL_WARP, value, 1);
            return static_cast<uint32_t>(wide >> 32) == static_cast<uint32_t>(turned) ? static_cast<uint32_t>(wide) : ~0u;
        }
    }
}

__device__ uint32_t run_vote(uint32_t word, uint32_t t) {
    const uint32_t lane = lane_idx();
    switch (word) {
        case WORD_BALLOT: return __ballot_sync(FULL_WARP, t % 3 == 0);
        case WORD_ANY_ALL:
            return static_cast<uint32_t>(__any_sync(FULL_WARP, t == 40) != 0) | (__all_sync(FULL_WARP, t < 40) != 0) << 1;
        case WORD_MATCH_ANY: return __match_any_sync(FULL_WARP, lane % 5);
        case WORD_MATCH_ALL: {
            int is_same_warp = 0;
            int is_same_lane = 0;
            const unsigned lanes = __match_all_sync(FULL_WARP, warp_idx(), &is_same_warp);
            __match_all_sync(FULL_WARP, lane, &is_same_lane);
            return is_same_warp != 0 && is_same_lane == 0 ? lanes : 0;
        }
        case WORD_REDUCE: {
            const int signed_lane = static_cast<int>(lane) - 16;
            uint32_t right = __reduce_add_sync(FULL_WARP, lane) == 496;
            right |= (__reduce_add_sync(FULL_WARP, signed_lane) == -16) << 1;
            right |= (__reduce_min_sync(FULL_WARP, signed_lane) == -16) << 2;
            right |= (__reduce_max_sync(FULL_WARP, signed_lane) == 15) << 3;
            right |= (__reduce_min_sync(FULL_WARP, lane + 7) == 7) << 4;
            right |= (__reduce_max_sync(FULL_WARP, static_cast<unsigned>(signed_lane)) == ~0u) << 5;
            right |= (__reduce_and_sync(FULL_WARP, lane | 64) == 64) << 6;
            right |= (__reduce_or_sync(FULL_WARP, lane) == 31) << 7;
            right |= (__reduce_xor_sync(FULL_WARP, lane == 3 ? 9u : 0u) == 9) << 8;
            return right;
        }
        case WORD_PARTIAL_MASKS: {
            /* The warp parts, its halves vote apart and twice, and it meets again. */
            uint32_t votes = 0;
            if (lane < 12) {
                votes = __ballot_sync(0x00000fffu, lane % 2);
                votes = __shfl_sync(0x00000fffu, votes + lane, 11);
            } else {
                votes = __ballot_sync(0xfffff000u, lane % 2);
                votes = __shfl_sync(0xfffff000u, votes + lane, 12);
            }
            return votes + __popc(__ballot_sync(FULL_WARP, 1));
        }
        default: return (__activemask() >> lane & 1) == 1;
    }
}

__device__ uint32_t run_atomic(uint32_t word, uint32_t t, const SelftestParams &p, SelftestSmem &smem) {
    if (t == 0) {
        smem.counter = 1000;
    }
    __syncthreads();
    uint32_t old = 0;
    switch (word) {
        case WORD_ATOMIC_ADD: {
            /* Every old value is met once; the sum over all CTAs is in scratch. */
            old = atomicAdd(&smem.counter, 1u) - 1000;
            smem.words[old] = 1;
            atomicSub(&smem.counter, 0u);
            atomicAdd(reinterpret_cast<int *>(&p.scratch[0]), static_cast<int>(t));
            break;
        }
        case WORD_ATOMIC_MIN_MAX:
            atomicMax(&smem.counter, 2000 + t);
            atomicMin(&p.scratch[0], 500 + t);
            atomicMin(reinterpret_cast<int *>(&p.scratch[1]), -static_cast<int>(t));
            atomicMax(reinterpret_cast<int *>(&p.scratch[2]), static_cast<int>(t) - 100);
            break;
        case WORD_ATOMIC_BITS:
            atomicOr(&p.scratch[0], 1u << (t % 32));
            atomicAnd(&p.scratch[1], ~(1u << (t % 32)));
            atomicXor(&smem.counter, 1u << (t % 32)); /* two warps: every bit twice */
            break;
        case WORD_ATOMIC_CAS_EXCH: {
            /* An adder made of compare-and-swap; then each value handed on once. */
            uint32_t seen = p.scratch[0];
            for (uint32_t before = seen + 1; before != seen;) {
                before = seen;
                seen = atomicCAS(&p.scratch[0], before, before + 1);
            }
            smem.words[t] = atomicExch(&smem.counter, t);
            break;
        }
        case WORD_ATOMIC_64_BIT: {
            auto *wide = reinterpret_cast<unsigned long long *>(p.scratch);
            atomicAdd(&wide[0], 0x100000000ull + t);
            atomicMax(&wide[1], 0x500000000ull + t);
            atomicMin(&wide[2], 0x500000000ull + t);
            atomicOr(&wide[3], 1ull << t);
            unsigned long long seen = wide[4];
            for (unsigned long long before = seen + 1; before != seen;) {
                before = seen;
                seen = atomicCAS(&wide[4], before, before + 0x100000001ull);
            }
            break;
        }
        default: atomicAdd(reinterpret_cast<float *>(&p.scratch[0]), 0.5f); break;
    }
    __threadfence();
    __syncthreads();
    switch (word) {
        case WORD_ATOMIC_ADD: return smem.words[t] + smem.counter;
        case WORD_ATOMIC_CAS_EXCH: {
            uint32_t sum = 0; /* of all that was ever in the counter */
            for (uint32_t i = 0; i < 64; ++i) {
                sum += smem.words[i];
            }
            return sum + smem.counter;
        }
        default: return smem.counter;
    }
}

__device__ uint32_t run_arithmetic(uint32_t word, uint32_t t) {
    const uint32_t mixed = t * 0x9e3779b9u;
    switch (word) {
        case WORD_COUNT_BITS:
            return __clz(static_cast<int>(mixed)) | __ffs(static_cast<int>(mixed)) << 8 | __popc(mixed) << 16 |
                   (__clzll(mixed) + __ffsll(static_cast<long long>(mixed) << 20) + __popcll(mixed)) << 24;
        case WORD_REVERSE_BITS: return __brev(mixed) ^ static_cast<uint32_t>(__brevll(mixed));
        case WORD_BYTE_PERM: return __byte_perm(mixed, ~mixed, (0x7531 + t) & 0x7777) ^ __byte_perm(mixed, t, 0x4210);
        case WORD_FUNNELSHIFT:
            return __funnelshift_l(mixed, ~mixed, t) ^ __funnelshift_r(mixed, 77u * t, t) ^ __funnelshift_lc(mixed, 5u, t) ^
                   __funnelshift_rc(9u, mixed, t);
        case WORD_MULTIPLY_HIGH:
            return __umulhi(mixed, 0xdeadbeefu) ^ static_cast<uint32_t>(__mulhi(static_cast<int>(mixed), -12345));
        case WORD_REINTERPRET:
            return __float_as_uint(__uint_as_float(mixed >> 2)) + static_cast<uint32_t>(__float_as_int(static_cast<float>(t))) +
                   static_cast<uint32_t>(__float2int_rn(__int_as_float(0x3fc00000) * __int2float_rn(static_cast<int>(t)))) +
                   static_cast<uint32_t>(__fmaf_rn(__saturatef(7.0f), 3.0f, 1.0f) * rsqrtf(0.25f));
        case WORD_MIN_MAX:
            return min(t, 7u) + static_cast<uint32_t>(max(-static_cast<int>(t), -9) + 9) * 256 +
                   static_cast<uint32_t>(min(1.5f, static_cast<float>(t)) * 2) * 65536 +
                   static_cast<uint32_t>(max(7ull, static_cast<unsigned long long>(t)) >> 1) * 0x1000000;
        default: {
            const __half2 pair = __floats2half2_rn(static_cast<float>(t) + 0.1f, 65504.0f);
            const float2 back = __half22float2(pair);
            return __half_as_ushort(pair.x) + (back.x == __half2float(__float2half_rn(static_cast<float>(t) + 0.1f))) * 65536 +
                   (back.y == 65504.0f) * 131072;
        }
    }
}

__device__ uint32_t run_memory(uint32_t word, uint32_t t, const SelftestParams &p, SelftestSmem &smem) {
    switch (word) {
        case WORD_LOAD_STORE:
            __stcg(&p.scratch[t], t + 1);
            __stcs(&p.scratch[t + 64], t + 2);
            __syncthreads();
            return __ldcg(&p.scratch[63 - t]) * 1000 + __ldcs(&p.scratch[127 - t]);
        case WORD_VECTORS: {
            const uint4 quad = make_uint4(t, t + 1, t + 2, t + 3);
            auto *quads = reinterpret_cast<uint4 *>(p.scratch);
            quads[t] = quad;
            __syncthreads();
            const uint4 other = quads[63 - t];
            const ushort2 halves = make_ushort2(static_cast<unsigned short>(other.x), static_cast<unsigned short>(other.w));
            return halves.x * 256 + halves.y;
        }
        case WORD_ASYNC_COPY:
            p.scratch[t] = t * 7;
            smem.words[t] = 0;
            __syncthreads();
            if (t < 16) {
                __pipeline_memcpy_async(&smem.words[4 * t], &p.scratch[4 * t], 16);
            }
            __pipeline_commit();
            __pipeline_wait_prior(0);
            __syncthreads();
            return smem.words[63 - t];
        case WORD_ASYNC_COPY_GROUPS: {
            /* Three groups in flight; waiting for all but one brings the first two. */
            p.scratch[t] = t + 9;
            __syncthreads();
            uint32_t *mine = &smem_tail<uint32_t>(smem)[4 * t];
            for (uint32_t group = 0; group < 3; ++group) {
                __pipeline_memcpy_async(&mine[group], &p.scratch[(t + group) % 64], 4, group == 1 ? 4 : 0);
                __pipeline_commit();
            }
            __pipeline_wait_prior(1);
            const uint32_t first_two = mine[0] + mine[1];
            __pipeline_wait_prior(0);
            return first_two * 1000 + mine[2];
        }
        case WORD_SMEM_TAIL: {
            auto *tail = smem_tail<uint32_t>(smem);
            smem.words[t] = 1;
            tail[t] = t * 11;
            __syncthreads();
            return tail[63 - t] + smem.words[t];
        }
        case WORD_INDICES:
            return blockIdx.x + 10 * blockIdx.y + 100 * blockIdx.z + 1000 * gridDim.x + 10000 * gridDim.y + 100000 * gridDim.z +
                   1000000 * (blockDim.x == 64 && threadIdx.y == 0);
        case WORD_COUNT:
            /* Lane n of each warp counts n, then 1: the warp pays for 31 and for 1. */
            for (uint32_t i = 0; i < lane_idx(); ++i) {
                COUNT(symbols, 1);
            }
            __syncwarp();
            COUNT(symbols, 1);
            return 0;
        default:
            /* Thread 0 waits, sleeping, for the last one. */
            if (t == 0) {
                while (atomicAdd(&p.scratch[blockIdx.x], 0u) == 0) {
                    __nanosleep(100);
                }
            } else if (t == 63) {
                atomicExch(&p.scratch[blockIdx.x], 1u);
            }
            __syncthreads();
            return atomicAdd(&p.scratch[blockIdx.x], 0u);
    }
}

__device__ uint32_t run_tensor_core(uint32_t word, uint32_t t, SelftestSmem &smem) {
    const uint32_t lane = lane_idx();
    const uint32_t row = lane / 4;
    const uint32_t column = lane % 4 * 2;
    if (word == WORD_LOAD_MATRICES) {
        /* Each warp has four matrices of its own, whose elements count up. */
        auto *elements = &smem_tail<uint16_t>(smem)[256 * warp_idx()];
        for (uint32_t i = 0; i < 8; ++i) {
            elements[8 * lane + i] = static_cast<uint16_t>(256 * warp_idx() + 8 * lane + i);
        }
        __syncwarp();
        uint32_t fragment[4];
        load_matrices(fragment, &elements[8 * lane]);
        return fragment[0] + 3 * fragment[1] + 5 * fragment[2] + 7 * fragment[3];
    }
    /* Small whole numbers, so that every order of summation gives the same: A[i][k] = (3 i + 5 k) % 7 - 3, B[k][j] = (2 k + 7 j) % 5 - 2,
     * sums that begin as the thread's number; two fragments each way. */
    uint32_t a[2][4];
    uint32_t b[2][2];
    float sums[2][2][4];
    for (uint32_t n = 0; n < 2; ++n) {
        for (uint32_t i = 0; i < 4; ++i) {
            const uint32_t along_a = 3 * (16 * n + row + i % 2 * 8) + 5 * (column + i / 2 * 8);
            a[n][i] = pack_halves(static_cast<float>(along_a % 7) - 3, static_cast<float>((along_a + 5) % 7) - 3);
            sums[0][n][i] = sums[1][n][i] = static_cast<float>(t);
        }
        for (uint32_t i = 0; i < 2; ++i) {
            const uint32_t along_b = 2 * (column + i * 8) + 7 * (8 * n + row);
            b[n][i] = pack_halves(static_cast<float>(along_b % 5) - 2, static_cast<float>((along_b + 2) % 5) - 2);
        }
    }
    multiply_tiles(sums, a, b);
    float found = 0;
    for (uint32_t i = 0; i < 16; ++i) {
        found += static_cast<float>(i + 1) * sums[i / 8][i / 4 % 2][i % 4];
    }
    return static_cast<uint32_t>(static_cast<int>(found));
}

__device__ void run_word(const SelftestParams &p, SelftestSmem &smem) {
    const uint32_t t = threadIdx.x;
    const uint32_t word = p.which;
    uint32_t found = 0;
    if (word <= WORD_SYNCWARP) {
        found = run_barrier(word, t, smem);
    } else if (word <= WORD_SHFL_64_BIT) {
        found = run_shuffle(word, t);
    } else if (word <= WORD_ACTIVEMASK) {
        found = run_vote(word, t);
    } else if (word <= WORD_ATOMIC_FLOAT) {
        found = run_atomic(word, t, p, smem);
    } else if (word <= WORD_MIN_MAX || word == WORD_HALF) {
        found = run_arithmetic(word, t);
    } else if (word >= WORD_LOAD_MATRICES) {
        found = run_tensor_core(word, t, smem);
    } else {
        found = run_memory(word, t, p, smem);
    }
    const uint32_t cta_idx = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    p.out[cta_idx * 64 + t] = found;
}

#endif
