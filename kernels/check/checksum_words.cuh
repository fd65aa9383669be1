/* A digest of device memory: shows that what was uploaded is what the kernels read, whatever machine and driver are below. */
#ifndef DCTFLOW_CHECK_CHECKSUM_WORDS_CUH
#define DCTFLOW_CHECK_CHECKSUM_WORDS_CUH

#include "abi.h"
#include "common/cta.cuh"

struct ChecksumWordsSmem {
    uint64_t warp_sums[8];
};

/* One word's share: its value and its place, mixed (the finaliser of MurmurHash3), so that swapped words change the sum. */
__device__ __forceinline__ uint64_t checksum_of_word(uint32_t word, uint32_t word_idx) {
    uint64_t mixed = (static_cast<uint64_t>(word_idx) << 32) | word;
    mixed = (mixed ^ (mixed >> 33)) * 0xff51afd7ed558ccdull;
    mixed = (mixed ^ (mixed >> 33)) * 0xc4ceb9fe1a85ec53ull;
    return mixed ^ (mixed >> 33);
}

/* Any grid; the words are dealt round-robin to all threads. */
__device__ void checksum_words(const ChecksumWordsParams &p, ChecksumWordsSmem &smem) {
    const uint64_t num_threads = static_cast<uint64_t>(gridDim.x) * blockDim.x;
    uint64_t sum = 0;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < p.num_words; i += num_threads) {
        sum += checksum_of_word(__ldg(&p.words[i]), static_cast<uint32_t>(i));
    }
    sum = warp_sum(sum);
    if (lane_idx() == 0) {
        smem.warp_sums[warp_idx()] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        uint64_t total = 0;
        for (unsigned warp = 0; warp < blockDim.x / WARP_THREADS; ++warp) {
            total += smem.warp_sums[warp];
        }
        atomicAdd(reinterpret_cast<unsigned long long *>(p.checksum), total);
    }
}

#endif
