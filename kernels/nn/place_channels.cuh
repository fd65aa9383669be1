/* What is left of concatenations, upsampling and input batch norms: pixels moved into a slice of a value's channels. */
#ifndef DCTFLOW_NN_PLACE_CHANNELS_CUH
#define DCTFLOW_NN_PLACE_CHANNELS_CUH

#include "abi.h"
#include "common/cta.cuh"
#include "common/half.cuh"

/* A thread takes eight channels of an output pixel. */
__device__ void place_channels(const PlaceChannelsParams &p, NoSmem &) {
    const auto [pixel, channel] = PixelVector::of_thread(p.channels);
    if (pixel >= p.num_pixels) {
        return;
    }
    uint64_t source = pixel;
    if (p.factor != 1) {
        const uint32_t line = pixel / p.width; /* of all images, one below the other: their heights are multiples of the factor */
        const uint32_t x = pixel - line * p.width;
        source = static_cast<uint64_t>(line / p.factor) * (p.width / p.factor) + x / p.factor;
    }
    uint4 vector = __ldg(reinterpret_cast<const uint4 *>(p.input + source * p.channels + channel));
    if (p.scale != nullptr) {
        float values[VECTOR_HALVES];
        unpack_vector(vector, values);
#pragma unroll
        for (unsigned i = 0; i < VECTOR_HALVES; ++i) {
            values[i] = fmaf(values[i], __ldg(p.scale + channel + i), __ldg(p.shift + channel + i));
        }
        vector = pack_vector(values);
    }
    *reinterpret_cast<uint4 *>(p.output + static_cast<uint64_t>(pixel) * p.output_pitch + channel) = vector;
}

#endif
