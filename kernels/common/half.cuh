/* Eight f16 values in a 16-byte vector: how activations travel. */
#ifndef DCTFLOW_COMMON_HALF_CUH
#define DCTFLOW_COMMON_HALF_CUH

#include "common/cta.cuh"

/* Values of one 16-byte access. */
static constexpr unsigned VECTOR_HALVES = 8;

__device__ __forceinline__ float2 unpack_halves(uint32_t pair) { return __half22float2(*reinterpret_cast<const __half2 *>(&pair)); }

__device__ __forceinline__ uint32_t pack_halves(float low, float high) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&pair);
}

__device__ __forceinline__ void unpack_vector(uint4 vector, float (&values)[VECTOR_HALVES]) {
    const uint32_t pairs[4] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
        const float2 pair = unpack_halves(pairs[i]);
        values[2 * i] = pair.x;
        values[2 * i + 1] = pair.y;
    }
}

__device__ __forceinline__ uint4 pack_vector(const float (&values)[VECTOR_HALVES]) {
    return make_uint4(pack_halves(values[0], values[1]), pack_halves(values[2], values[3]), pack_halves(values[4], values[5]),
                      pack_halves(values[6], values[7]));
}

/* Eight channels of a pixel: what one thread takes of a value. Neighbouring threads of the grid take neighbouring vectors. */
struct PixelVector {
    uint32_t pixel; /* Of all images. There may be fewer than there are threads. */
    uint32_t channel;

    __device__ __forceinline__ static PixelVector of_thread(uint32_t channels) {
        const uint32_t vectors_per_pixel = channels / VECTOR_HALVES;
        const uint64_t vector_idx = static_cast<uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
        const auto pixel = static_cast<uint32_t>(vector_idx / vectors_per_pixel);
        return {pixel, static_cast<uint32_t>(vector_idx - static_cast<uint64_t>(pixel) * vectors_per_pixel) * VECTOR_HALVES};
    }
};

#endif
