/* Global average pooling. */
#ifndef DCTFLOW_NN_AVERAGE_PIXELS_CUH
#define DCTFLOW_NN_AVERAGE_PIXELS_CUH

#include "abi.h"
#include "common/cta.cuh"
#include "common/half.cuh"

/* Threads that share one vector of channels. */
static constexpr unsigned AVERAGE_VECTORS = AVERAGE_CHANNELS / VECTOR_HALVES;

struct __align__(16) AveragePixelsSmem {
    float sums[256 / AVERAGE_VECTORS][AVERAGE_CHANNELS];
};

/* Eight threads read the channels of a pixel, 32 pixels at a time; each sums its own, then the sums are added in order. */
__device__ void average_pixels(const AveragePixelsParams &p, AveragePixelsSmem &smem) {
    const unsigned group = threadIdx.x / AVERAGE_VECTORS;
    const unsigned num_groups = blockDim.x / AVERAGE_VECTORS;
    const unsigned own_channel = threadIdx.x % AVERAGE_VECTORS * VECTOR_HALVES;
    const uint32_t channel = blockIdx.x * AVERAGE_CHANNELS + own_channel;
    float sums[VECTOR_HALVES] = {};
    if (channel < p.channels) {
        const uint16_t *image = p.input + static_cast<uint64_t>(blockIdx.y) * p.num_pixels * p.channels;
        for (uint32_t pixel = group; pixel < p.num_pixels; pixel += num_groups) {
            float values[VECTOR_HALVES];
            unpack_vector(__ldg(reinterpret_cast<const uint4 *>(image + static_cast<uint64_t>(pixel) * p.channels + channel)), values);
#pragma unroll
            for (unsigned i = 0; i < VECTOR_HALVES; ++i) {
                sums[i] += values[i];
            }
        }
    }
#pragma unroll
    for (unsigned i = 0; i < VECTOR_HALVES; ++i) {
        smem.sums[group][own_channel + i] = sums[i];
    }
    __syncthreads();
    const uint32_t written = blockIdx.x * AVERAGE_CHANNELS + threadIdx.x;
    if (threadIdx.x < AVERAGE_CHANNELS && written < p.channels) {
        float sum = 0;
        for (unsigned g = 0; g < num_groups; ++g) {
            sum += smem.sums[g][threadIdx.x];
        }
        const __half mean = __float2half_rn(sum / static_cast<float>(p.num_pixels));
        p.output[static_cast<uint64_t>(blockIdx.y) * p.channels + written] = __half_as_ushort(mean);
    }
}

#endif
