/* Max pooling. */
#ifndef DCTFLOW_NN_POOL_MAXIMUM_CUH
#define DCTFLOW_NN_POOL_MAXIMUM_CUH

#include "abi.h"
#include "common/cta.cuh"
#include "common/half.cuh"

/* A thread takes eight channels of an output pixel. A NaN in the window is the result. */
__device__ void pool_maximum(const PoolMaximumParams &p, NoSmem &) {
    const auto [pixel, channel] = PixelVector::of_thread(p.channels);
    if (pixel >= p.num_pixels) {
        return;
    }
    const uint32_t line = pixel / p.width;
    const uint32_t image_idx = line / p.height;
    const auto top = static_cast<int32_t>((line - image_idx * p.height) * p.stride) - static_cast<int32_t>(p.pad_top);
    const auto left = static_cast<int32_t>((pixel - line * p.width) * p.stride) - static_cast<int32_t>(p.pad_left);
    const auto bottom = min(top + static_cast<int32_t>(p.kernel), static_cast<int32_t>(p.input_height));
    const auto right = min(left + static_cast<int32_t>(p.kernel), static_cast<int32_t>(p.input_width));
    float greatest[VECTOR_HALVES];
#pragma unroll
    for (float &value : greatest) {
        value = -INFINITY;
    }
    for (int32_t y = max(top, 0); y < bottom; ++y) {
        for (int32_t x = max(left, 0); x < right; ++x) {
            const uint64_t source = (static_cast<uint64_t>(image_idx) * p.input_height + static_cast<uint32_t>(y)) * p.input_width +
                                    static_cast<uint32_t>(x);
            float values[VECTOR_HALVES];
            unpack_vector(__ldg(reinterpret_cast<const uint4 *>(p.input + source * p.channels + channel)), values);
#pragma unroll
            for (unsigned i = 0; i < VECTOR_HALVES; ++i) {
                greatest[i] = values[i] > greatest[i] || values[i] != values[i] ? values[i] : greatest[i];
            }
        }
    }
    *reinterpret_cast<uint4 *>(p.output + static_cast<uint64_t>(pixel) * p.channels + channel) = pack_vector(greatest);
}

#endif
