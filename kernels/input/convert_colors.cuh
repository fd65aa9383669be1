/* Colours of a tile: from a grid's planes to Y, to Cb and Cr, or to red, green and blue, in place (src/cpu/input.rs has the formulas). */
#ifndef DCTFLOW_INPUT_CONVERT_COLORS_CUH
#define DCTFLOW_INPUT_CONVERT_COLORS_CUH

#include "common/cta.cuh"

/* Level-shifted samples of one place, or coefficients; red, green and blue from 0 to 255. */
struct Rgb {
    float red;
    float green;
    float blue;
};

__device__ __forceinline__ float luma_of(const Rgb &c) { return 0.299f * c.red + 0.587f * c.green + 0.114f * c.blue; }

__device__ __forceinline__ float blue_difference(const Rgb &c) { return (c.blue - luma_of(c)) / 1.772f; }

__device__ __forceinline__ float red_difference(const Rgb &c) { return (c.red - luma_of(c)) / 1.402f; }

__device__ __forceinline__ float clamp_sample(float sample) { return fminf(fmaxf(sample, 0.0f), 255.0f); }

__device__ __forceinline__ float unshifted(float sample) { return clamp_sample(sample + 128.0f); }

/* JFIF's matrix. */
__device__ __forceinline__ Rgb rgb_from_ycbcr(float y, float cb, float cr) {
    return {clamp_sample(y + 128.0f + 1.402f * cr), clamp_sample(y + 128.0f - 0.3441363f * cb - 0.7141363f * cr),
            clamp_sample(y + 128.0f + 1.772f * cb)};
}

/* The planes of a tile: [num_planes][num_blocks][64]. */
struct TilePlanes {
    float *values;
    uint32_t num_blocks;

    __device__ __forceinline__ float &at(uint32_t plane, uint32_t i) const { return values[plane * num_blocks * 64 + i]; }

    /* Place i, 0 to 255, from samples. `inverted`: 255 is no ink. */
    __device__ __forceinline__ Rgb rgb(uint32_t color, bool is_inverted, uint32_t i) const {
        if (color == INPUT_COLOR_GRAY) {
            const float gray = unshifted(at(0, i));
            return {gray, gray, gray};
        }
        if (color == INPUT_COLOR_YCBCR) {
            return rgb_from_ycbcr(at(0, i), at(1, i), at(2, i));
        }
        if (color == INPUT_COLOR_RGB) {
            return {unshifted(at(0, i)), unshifted(at(1, i)), unshifted(at(2, i))};
        }
        Rgb ink = {0, 0, 0};
        if (color == INPUT_COLOR_YCCK) {
            ink = rgb_from_ycbcr(at(0, i), at(1, i), at(2, i));
            ink = {255.0f - ink.red, 255.0f - ink.green, 255.0f - ink.blue};
        } else {
            ink = {unshifted(at(0, i)), unshifted(at(1, i)), unshifted(at(2, i))};
        }
        const float black = light(unshifted(at(3, i)), is_inverted);
        return {light(ink.red, is_inverted) * black / 255.0f, light(ink.green, is_inverted) * black / 255.0f,
                light(ink.blue, is_inverted) * black / 255.0f};
    }

    static __device__ __forceinline__ float light(float ink, bool is_inverted) { return is_inverted ? ink : 255.0f - ink; }

    /* `D s D^T` of the blocks of a plane, in place. The whole CTA calls it, with barriers before and after. */
    __device__ __forceinline__ void forward_dct(uint32_t plane, const double *dct) const {
        for (uint32_t row = threadIdx.x; row < num_blocks * 8; row += blockDim.x) {
            transform_line(&at(plane, row * 8), 1, dct);
        }
        __syncthreads();
        for (uint32_t column = threadIdx.x; column < num_blocks * 8; column += blockDim.x) {
            transform_line(&at(plane, column / 8 * 64 + column % 8), 8, dct);
        }
    }

    static __device__ __forceinline__ void transform_line(float *line, uint32_t stride, const double *dct) {
        float samples[8];
        #pragma unroll
        for (uint32_t x = 0; x < 8; ++x) {
            samples[x] = line[x * stride];
        }
        #pragma unroll 1
        for (uint32_t u = 0; u < 8; ++u) {
            float sum = 0;
            #pragma unroll
            for (uint32_t x = 0; x < 8; ++x) {
                sum = fmaf(static_cast<float>(__ldg(&dct[8 * u + x])), samples[x], sum);
            }
            line[u * stride] = sum;
        }
    }

    /* Leaves Y in plane 0, Cb and Cr in planes 0 and 1, or red, green and blue in planes 0 to 2. The whole CTA calls it, with barriers
     * before and after. */
    __device__ __forceinline__ void convert(const InputGrid &grid, const double *dct) const {
        const bool has_inks = grid.color == INPUT_COLOR_CMYK || grid.color == INPUT_COLOR_YCCK;
        if (grid.target != INPUT_RGB && !has_inks && grid.color != INPUT_COLOR_RGB) {
            return;
        }
        const bool are_samples = grid.target == INPUT_RGB || has_inks;
        for (uint32_t i = threadIdx.x; i < num_blocks * 64; i += blockDim.x) {
            const Rgb c = are_samples ? rgb(grid.color, (grid.flags & INPUT_INVERTED) != 0, i) : Rgb{at(0, i), at(1, i), at(2, i)};
            if (grid.target == INPUT_RGB) {
                at(0, i) = c.red;
                at(1, i) = c.green;
                at(2, i) = c.blue;
            } else if (grid.target == INPUT_Y) {
                at(0, i) = has_inks ? luma_of(c) - 128.0f : luma_of(c);
            } else {
                at(0, i) = blue_difference(c);
                at(1, i) = red_difference(c);
            }
        }
        if (grid.target != INPUT_RGB && has_inks) {
            __syncthreads();
            forward_dct(0, dct);
            if (grid.target == INPUT_CHROMA) {
                forward_dct(1, dct);
            }
        }
    }
};

#endif
