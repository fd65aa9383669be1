/* From quantised coefficients to the network's input, a tile of output blocks a CTA: dequantise, resize, convert colours, write. */
#ifndef DCTFLOW_INPUT_WRITE_INPUT_CUH
#define DCTFLOW_INPUT_WRITE_INPUT_CUH

#include "input/convert_colors.cuh"
#include "input/resize_planes.cuh"

using WriteInputSmem = ResizeSmem;

/* Eight values that follow each other in an output, at a multiple of eight. */
__device__ __forceinline__ void store_values(const InputBatch &batch, void *output, uint64_t first, const float (&values)[8]) {
    if (batch.is_float) {
        float4 *to = reinterpret_cast<float4 *>(static_cast<float *>(output) + first);
        to[0] = make_float4(values[0], values[1], values[2], values[3]);
        to[1] = make_float4(values[4], values[5], values[6], values[7]);
        return;
    }
    uint32_t pairs[4];
    #pragma unroll
    for (uint32_t i = 0; i < 4; ++i) {
        const __half2 pair = __floats2half2_rn(values[2 * i], values[2 * i + 1]);
        memcpy(&pairs[i], &pair, sizeof pair);
    }
    *reinterpret_cast<uint4 *>(static_cast<__half *>(output) + first) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
}

/* A tile of one grid and its place in the output. */
struct TileWriter {
    const InputBatch &batch;
    const InputGrid &grid;
    const GridTile &tile;
    const TilePlanes &planes;

    __device__ __forceinline__ bool is_transposed() const { return (grid.flags & INPUT_TRANSPOSED) != 0; }

    __device__ __forceinline__ uint32_t blocks_wide() const { return is_transposed() ? grid.blocks_high : grid.blocks_wide; }

    __device__ __forceinline__ uint32_t blocks_high() const { return is_transposed() ? grid.blocks_wide : grid.blocks_high; }

    /* Row and column, in the output, of a block of the tile. */
    __device__ __forceinline__ uint2 place(uint32_t block) const {
        const uint32_t row = tile.first_row + block / tile.num_columns;
        const uint32_t column = tile.first_column + block % tile.num_columns;
        return is_transposed() ? make_uint2(row, column) : make_uint2(column, row);
    }

    /* Value x of row y of a block of the output. */
    __device__ __forceinline__ float value(uint32_t plane, uint32_t block, uint32_t y, uint32_t x) const {
        return planes.at(plane, block * 64 + (is_transposed() ? 8 * x + y : 8 * y + x));
    }

    __device__ __forceinline__ float affine(float value, uint32_t channel) const {
        return fmaf(value, __ldg(&batch.affine->scale[channel]), __ldg(&batch.affine->shift[channel]));
    }

    /* [blocks_high][blocks_wide][64 or 128] */
    __device__ __forceinline__ void store_blocks() const {
        const bool is_luma = grid.target == INPUT_Y;
        const uint32_t num_planes = grid.target == INPUT_CHROMA ? 2 : 1;
        const uint32_t first_channel = is_luma ? 0 : grid.target == INPUT_CR ? 128 : 64;
        const bool is_failed = (grid.flags & INPUT_FAILED) != 0;
        for (uint32_t i = threadIdx.x; i < tile.num_blocks() * num_planes * 8; i += blockDim.x) {
            const uint32_t y = i % 8;
            const uint32_t plane = i / 8 % num_planes;
            const uint32_t block = i / 8 / num_planes;
            const uint32_t channel = first_channel + 64 * plane + 8 * y;
            float values[8] = {};
            #pragma unroll
            for (uint32_t x = 0; x < 8; ++x) {
                values[x] = is_failed ? 0.0f : affine(grid.num_planes == 0 ? 0.0f : value(plane, block, y, x), channel + x);
            }
            const uint2 to = place(block);
            const uint64_t block_idx = (static_cast<uint64_t>(grid.image_idx) * blocks_high() + to.y) * blocks_wide() + to.x;
            if (is_luma) {
                store_values(batch, batch.luma, block_idx * 64 + channel, values);
            } else {
                store_values(batch, batch.chroma, block_idx * 128 + channel - 64, values);
            }
        }
    }

    /* [8 blocks_high][8 blocks_wide][4] */
    __device__ __forceinline__ void store_pixels() const {
        const bool is_failed = (grid.flags & INPUT_FAILED) != 0;
        for (uint32_t i = threadIdx.x; i < tile.num_blocks() * 32; i += blockDim.x) {
            const uint32_t x = i % 4 * 2;
            const uint32_t y = i / 4 % 8;
            const uint32_t block = i / 32;
            float values[8] = {};
            #pragma unroll
            for (uint32_t channel = 0; channel < 3; ++channel) {
                values[channel] = is_failed ? 0.0f : affine(value(channel, block, y, x), channel);
                values[4 + channel] = is_failed ? 0.0f : affine(value(channel, block, y, x + 1), channel);
            }
            const uint2 to = place(block);
            const uint64_t row = (static_cast<uint64_t>(grid.image_idx) * blocks_high() + to.y) * 8 + y;
            store_values(batch, batch.luma, (row * blocks_wide() * 8 + to.x * 8 + x) * 4, values);
        }
    }
};

__device__ void write_input(const WriteInputParams &p, WriteInputSmem &smem) {
    const InputTile work = p.tiles[blockIdx.x];
    const InputGrid &grid = p.batch.grids[work.owner_idx];
    const GridTile tile(grid, work.first);
    const TilePlanes planes = {smem_tail<float>(smem), tile.num_blocks()};
    const bool has_inks = grid.color == INPUT_COLOR_CMYK || grid.color == INPUT_COLOR_YCCK;
    const bool saturates = grid.target != INPUT_RGB && !has_inks;
    uint32_t num_saturated = 0;
    for (uint32_t i = 0; i < grid.num_planes; ++i) {
        const InputPlane &plane = p.batch.planes[grid.first_plane + i];
        if (plane.quant == NO_QUANT) {
            for (uint32_t k = threadIdx.x; k < tile.num_blocks() * 64; k += blockDim.x) {
                planes.at(i, k) = 0;
            }
        } else {
            num_saturated += PlaneResizer(p.batch, plane, tile, smem).resize(saturates, &planes.at(i, 0));
        }
    }
    num_saturated = warp_sum(num_saturated);
    if (num_saturated != 0 && lane_idx() == 0) {
        atomicAdd(&p.batch.num_saturated[grid.image_idx], num_saturated);
    }
    __syncthreads();
    if (grid.num_planes != 0) {
        planes.convert(grid, p.batch.dct);
    }
    __syncthreads();
    const TileWriter writer = {p.batch, grid, tile, planes};
    if (grid.target == INPUT_RGB) {
        writer.store_pixels();
    } else {
        writer.store_blocks();
    }
}

#endif
