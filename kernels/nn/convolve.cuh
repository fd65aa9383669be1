/* Convolution as a matrix product on tensor cores, without an unfolded copy of the input ("implicit GEMM"): a row is a window, a column an
 * output channel, the depth runs over (ky, kx, channel). Bias, residual and ReLU are applied to the f32 sums.
 *
 * Three tiles of one template. Each warp of a CTA owns M_FRAGMENTS x N_FRAGMENTS fragments of 16 x 8 sums; inputs and weights pass through a
 * ring of STAGES in shared memory, filled by asynchronous copies of 16 bytes, which bring zeros for what lies in the padding. */
#ifndef DCTFLOW_NN_CONVOLVE_CUH
#define DCTFLOW_NN_CONVOLVE_CUH

#include "abi.h"
#include "common/cta.cuh"
#include "common/half.cuh"
#include "common/tensor_core.cuh"

template <unsigned M_WARPS_, unsigned N_WARPS_, unsigned M_FRAGMENTS_, unsigned N_FRAGMENTS_>
struct ConvolveTile {
    static constexpr unsigned M_WARPS = M_WARPS_;
    static constexpr unsigned N_WARPS = N_WARPS_;
    static constexpr unsigned M_FRAGMENTS = M_FRAGMENTS_;
    static constexpr unsigned N_FRAGMENTS = N_FRAGMENTS_;
    static constexpr unsigned WARP_ROWS = 16 * M_FRAGMENTS;
    static constexpr unsigned WARP_COLUMNS = 8 * N_FRAGMENTS;
    static constexpr unsigned ROWS = M_WARPS * WARP_ROWS;
    static constexpr unsigned COLUMNS = N_WARPS * WARP_COLUMNS;
    static constexpr unsigned NUM_WARPS = M_WARPS * N_WARPS;
    static constexpr unsigned THREADS = WARP_THREADS * NUM_WARPS;

    static constexpr unsigned STAGES = 3;
    /* Vectors in the depth of a stage: four threads copy a row. */
    static constexpr unsigned VECTORS = CONVOLVE_DEPTH / VECTOR_HALVES;
    static constexpr unsigned ROWS_PER_COPY = THREADS / VECTORS;
    static constexpr unsigned INPUT_COPIES = ROWS / ROWS_PER_COPY;
    static constexpr unsigned WEIGHT_COPIES = COLUMNS / ROWS_PER_COPY;
    /* Eight more than a row of sums: rows then begin in different banks. */
    static constexpr unsigned STRIP_PITCH = WARP_COLUMNS + 8;

    struct __align__(128) Smem {
        union {
            struct {
                uint4 input[STAGES][ROWS * VECTORS];
                uint4 weights[STAGES][COLUMNS * VECTORS];
            };
            float strips[NUM_WARPS][16 * STRIP_PITCH]; /* after the product: sums on their way out */
        };
    };
};

/* Where vector `vector_idx` of row `row` lies in a stage: exchanged so that the eight rows of a matrix fall into different banks. */
__device__ __forceinline__ unsigned swizzled(unsigned row, unsigned vector_idx) { return row * 4 + (vector_idx ^ (row / 2 % 4)); }

/* What one thread copies into the stages: of some rows, always the same one of four vectors. */
template <typename Tile>
struct ConvolveCopier {
    /* The window's first tap, which may lie in the padding: number of its pixel, row, column. Rows of windows that do not exist lie far above. */
    int32_t first_pixel[Tile::INPUT_COPIES];
    int32_t first_y[Tile::INPUT_COPIES];
    int32_t first_x[Tile::INPUT_COPIES];
    const uint16_t *weights;
    uint32_t weight_columns; /* bit i: column of copy i exists */
    /* The tap and channel that come next. */
    uint32_t ky;
    uint32_t kx;
    uint32_t channel;

    __device__ __forceinline__ void start(const ConvolveParams &p, uint32_t first_row, uint32_t first_column) {
        const uint32_t own_row = threadIdx.x / Tile::VECTORS;
        const uint32_t own_depth = threadIdx.x % Tile::VECTORS * VECTOR_HALVES;
#pragma unroll
        for (unsigned i = 0; i < Tile::INPUT_COPIES; ++i) {
            const uint32_t row = first_row + own_row + i * Tile::ROWS_PER_COPY;
            const uint32_t image_idx = row / (p.windows_high * p.windows_wide);
            const uint32_t window = row - image_idx * (p.windows_high * p.windows_wide);
            const uint32_t window_y = window / p.windows_wide;
            const uint32_t window_x = window - window_y * p.windows_wide;
            const auto y = static_cast<int32_t>(window_y * p.stride_y) - static_cast<int32_t>(p.pad_top);
            first_y[i] = row < p.num_rows ? y : INT32_MIN / 2;
            first_x[i] = static_cast<int32_t>(window_x * p.stride_x) - static_cast<int32_t>(p.pad_left);
            first_pixel[i] = (static_cast<int32_t>(image_idx * p.input_height) + y) * static_cast<int32_t>(p.input_width) + first_x[i];
        }
        const uint32_t column = first_column + own_row;
        weights = p.weights + (static_cast<uint64_t>(blockIdx.z) * p.num_columns + column) * p.depth + own_depth;
        weight_columns = 0;
#pragma unroll
        for (unsigned i = 0; i < Tile::WEIGHT_COPIES; ++i) {
            weight_columns |= (column + i * Tile::ROWS_PER_COPY < p.num_columns ? 1u : 0u) << i;
        }
        ky = 0;
        kx = 0;
        channel = own_depth;
        settle(p);
    }

    /* Carries channels over to taps, and taps to rows of taps: as often as CONVOLVE_DEPTH more channels can need it. */
    __device__ __forceinline__ void settle(const ConvolveParams &p) {
#pragma unroll
        for (unsigned i = 0; i < Tile::VECTORS; ++i) {
            const bool is_next_tap = channel >= p.channels;
            channel -= is_next_tap ? p.channels : 0;
            kx += is_next_tap ? 1 : 0;
            const bool is_next_row = kx == p.kernel_width;
            kx = is_next_row ? 0 : kx;
            ky += is_next_row ? 1 : 0;
        }
    }

    /* Starts the copies of the next CONVOLVE_DEPTH of the depth. */
    __device__ __forceinline__ void copy(const ConvolveParams &p, typename Tile::Smem &smem, unsigned stage) {
        const uint32_t own_row = threadIdx.x / Tile::VECTORS;
        const uint32_t own_vector = threadIdx.x % Tile::VECTORS;
        const uint32_t tap_pixel = ky * p.input_width + kx;
#pragma unroll
        for (unsigned i = 0; i < Tile::INPUT_COPIES; ++i) {
            const unsigned row = own_row + i * Tile::ROWS_PER_COPY;
            const bool is_inside = ky < p.kernel_height && static_cast<uint32_t>(first_y[i]) + ky < p.input_height &&
                                   static_cast<uint32_t>(first_x[i]) + kx < p.input_width;
            const int64_t pixel = is_inside ? first_pixel[i] + static_cast<int32_t>(tap_pixel) : 0;
            const uint16_t *source = p.input + pixel * p.input_pitch + channel;
            __pipeline_memcpy_async(&smem.input[stage][swizzled(row, own_vector)], source, sizeof(uint4),
                                    is_inside ? 0 : sizeof(uint4));
        }
#pragma unroll
        for (unsigned i = 0; i < Tile::WEIGHT_COPIES; ++i) {
            const unsigned column = own_row + i * Tile::ROWS_PER_COPY;
            const bool exists = weight_columns >> i & 1;
            const uint16_t *source = exists ? weights + static_cast<uint64_t>(i * Tile::ROWS_PER_COPY) * p.depth : p.weights;
            __pipeline_memcpy_async(&smem.weights[stage][swizzled(column, own_vector)], source, sizeof(uint4),
                                    exists ? 0 : sizeof(uint4));
        }
        weights += CONVOLVE_DEPTH;
        channel += CONVOLVE_DEPTH;
        settle(p);
    }
};

/* Adds the product of one stage to a warp's sums. */
template <typename Tile>
__device__ __forceinline__ void multiply_stage(const typename Tile::Smem &smem, unsigned stage,
                                               float (&sums)[Tile::M_FRAGMENTS][Tile::N_FRAGMENTS][4]) {
    const unsigned lane = lane_idx();
    const unsigned warp_row = warp_idx() / Tile::N_WARPS * Tile::WARP_ROWS;
    const unsigned warp_column = warp_idx() % Tile::N_WARPS * Tile::WARP_COLUMNS;
#pragma unroll
    for (unsigned step = 0; step < CONVOLVE_DEPTH / 16; ++step) {
        uint32_t a[Tile::M_FRAGMENTS][4];
        uint32_t b[Tile::N_FRAGMENTS][2];
#pragma unroll
        for (unsigned m = 0; m < Tile::M_FRAGMENTS; ++m) {
            /* The four matrices: rows 0-7 and 8-15, then the same 8 deeper. */
            const unsigned row = warp_row + 16 * m + lane % 16;
            load_matrices(a[m], &smem.input[stage][swizzled(row, 2 * step + lane / 16)]);
        }
#pragma unroll
        for (unsigned n = 0; n < Tile::N_FRAGMENTS; n += 2) {
            /* Columns 0-7 at both depths, then columns 8-15. */
            const unsigned column = warp_column + 8 * n + lane / 16 * 8 + lane % 8;
            uint32_t pair[4];
            load_matrices(pair, &smem.weights[stage][swizzled(column, 2 * step + lane / 8 % 2)]);
            b[n][0] = pair[0];
            b[n][1] = pair[1];
            b[n + 1][0] = pair[2];
            b[n + 1][1] = pair[3];
        }
        multiply_tiles(sums, a, b);
    }
}

/* The number of the pixel that a row of the product becomes in the output. */
__device__ __forceinline__ uint32_t output_pixel(const ConvolveParams &p, uint32_t row) {
    if (p.upsampling == 1) {
        return row;
    }
    const uint32_t line = row / p.windows_wide; /* of all images, one below the other */
    const uint32_t window_x = row - line * p.windows_wide;
    const uint32_t y = line * p.upsampling + blockIdx.z / p.upsampling;
    return (y * p.windows_wide + window_x) * p.upsampling + blockIdx.z % p.upsampling;
}

/* Finishes eight sums of one row, from column `column` on, and stores them. */
__device__ __forceinline__ void write_sums(const ConvolveParams &p, uint32_t row, uint32_t column, const float *strip) {
    if (row >= p.num_rows || column >= p.num_columns) {
        return;
    }
    const uint64_t pixel = output_pixel(p, row);
    const auto *sum_quads = reinterpret_cast<const float4 *>(strip);
    const auto *bias_quads = reinterpret_cast<const float4 *>(p.bias + column);
    float values[VECTOR_HALVES];
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) {
        const float4 sum = sum_quads[i];
        const float4 bias = __ldg(&bias_quads[i]);
        values[4 * i] = sum.x + bias.x;
        values[4 * i + 1] = sum.y + bias.y;
        values[4 * i + 2] = sum.z + bias.z;
        values[4 * i + 3] = sum.w + bias.w;
    }
    const bool is_second = column >= p.outputs[0].columns_end;
    if (p.residual != nullptr && !is_second) {
        float residual[VECTOR_HALVES];
        unpack_vector(__ldg(reinterpret_cast<const uint4 *>(p.residual + pixel * p.residual_pitch + column)), residual);
#pragma unroll
        for (unsigned i = 0; i < VECTOR_HALVES; ++i) {
            values[i] += residual[i];
        }
    }
    const bool has_relu = (is_second ? p.outputs[1].has_relu : p.outputs[0].has_relu) != 0;
#pragma unroll
    for (unsigned i = 0; i < VECTOR_HALVES; ++i) {
        values[i] = has_relu && values[i] < 0 ? 0 : values[i]; /* a NaN stays one */
    }
    const uint32_t pitch = is_second ? p.outputs[1].pitch : p.outputs[0].pitch;
    void *output = is_second ? p.outputs[1].values : p.outputs[0].values;
    const uint64_t place = pixel * pitch + (is_second ? column - p.outputs[0].columns_end : column);
    if (p.is_float == 0) {
        *reinterpret_cast<uint4 *>(static_cast<uint16_t *>(output) + place) = pack_vector(values);
        return;
    }
#pragma unroll
    for (unsigned i = 0; i < VECTOR_HALVES; ++i) {
        if (column + i < p.num_columns) {
            static_cast<float *>(output)[place + i] = values[i];
        }
    }
}

/* Takes a warp's sums through shared memory, sixteen rows at a time, so that whole vectors of neighbouring channels are stored. */
template <typename Tile>
__device__ __forceinline__ void write_tile(const ConvolveParams &p, typename Tile::Smem &smem, uint32_t first_row, uint32_t first_column,
                                           const float (&sums)[Tile::M_FRAGMENTS][Tile::N_FRAGMENTS][4]) {
    const unsigned lane = lane_idx();
    const uint32_t warp_row = first_row + warp_idx() / Tile::N_WARPS * Tile::WARP_ROWS;
    const uint32_t warp_column = first_column + warp_idx() % Tile::N_WARPS * Tile::WARP_COLUMNS;
    float *strip = smem.strips[warp_idx()];
#pragma unroll
    for (unsigned m = 0; m < Tile::M_FRAGMENTS; ++m) {
        __syncwarp();
#pragma unroll
        for (unsigned n = 0; n < Tile::N_FRAGMENTS; ++n) {
            float *place = &strip[lane / 4 * Tile::STRIP_PITCH + n * 8 + lane % 4 * 2];
            *reinterpret_cast<float2 *>(place) = make_float2(sums[m][n][0], sums[m][n][1]);
            *reinterpret_cast<float2 *>(place + 8 * Tile::STRIP_PITCH) = make_float2(sums[m][n][2], sums[m][n][3]);
        }
        __syncwarp();
        /* Neighbouring lanes take neighbouring vectors of a row. */
#pragma unroll
        for (unsigned first = 0; first < 16 * Tile::N_FRAGMENTS; first += WARP_THREADS) {
            const unsigned i = first + lane;
            const unsigned row = i / Tile::N_FRAGMENTS;
            const unsigned column = i % Tile::N_FRAGMENTS * 8;
            write_sums(p, warp_row + 16 * m + row, warp_column + column, &strip[row * Tile::STRIP_PITCH + column]);
        }
    }
}

template <typename Tile>
__device__ __forceinline__ void convolve(const ConvolveParams &p, typename Tile::Smem &smem) {
    const uint32_t tiles_wide = (p.num_columns + Tile::COLUMNS - 1) / Tile::COLUMNS;
    const uint32_t first_row = blockIdx.x / tiles_wide * Tile::ROWS;
    const uint32_t first_column = blockIdx.x % tiles_wide * Tile::COLUMNS;
    const uint32_t num_steps = p.depth / CONVOLVE_DEPTH;
    ConvolveCopier<Tile> copier;
    copier.start(p, first_row, first_column);
    for (uint32_t step = 0; step + 1 < Tile::STAGES; ++step) {
        if (step < num_steps) {
            copier.copy(p, smem, step);
        }
        __pipeline_commit();
    }
    float sums[Tile::M_FRAGMENTS][Tile::N_FRAGMENTS][4] = {};
    uint32_t stage = 0;
    uint32_t next_stage = Tile::STAGES - 1;
    for (uint32_t step = 0; step < num_steps; ++step) {
        __pipeline_wait_prior(Tile::STAGES - 2);
        /* The step's data have landed for all, and all are done with the stage that is filled next. */
        __syncthreads();
        if (step + Tile::STAGES - 1 < num_steps) {
            copier.copy(p, smem, next_stage);
        }
        __pipeline_commit();
        multiply_stage<Tile>(smem, stage, sums);
        stage = stage + 1 == Tile::STAGES ? 0 : stage + 1;
        next_stage = next_stage + 1 == Tile::STAGES ? 0 : next_stage + 1;
    }
    /* The strips lie where the stages did. */
    __syncthreads();
    write_tile<Tile>(p, smem, first_row, first_column, sums);
}

/* For large products: 64 x 64 sums a warp, so that shared memory keeps up with the tensor cores. */
using Convolve128x128 = ConvolveTile<2, 2, 4, 8>;
/* For up to 64 columns, and to have more CTAs. */
using Convolve128x64 = ConvolveTile<2, 2, 4, 4>;
/* For small products. */
using Convolve64x64 = ConvolveTile<2, 2, 2, 4>;

using Convolve128x128Smem = Convolve128x128::Smem;
using Convolve128x64Smem = Convolve128x64::Smem;
using Convolve64x64Smem = Convolve64x64::Smem;

__device__ void convolve_128x128(const ConvolveParams &p, Convolve128x128Smem &smem) { convolve<Convolve128x128>(p, smem); }
__device__ void convolve_128x64(const ConvolveParams &p, Convolve128x64Smem &smem) { convolve<Convolve128x64>(p, smem); }
__device__ void convolve_64x64(const ConvolveParams &p, Convolve64x64Smem &smem) { convolve<Convolve64x64>(p, smem); }

#endif
