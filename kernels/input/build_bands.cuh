/* Makes the bands and matrices of every axis, `V[i,j] = D R[8i..8i+8, 8j..8j+8] D^T`, as src/resample/axis.rs does: the same operations in
 * the same order in float64, rounded to float32 once. */
#ifndef DCTFLOW_INPUT_BUILD_BANDS_CUH
#define DCTFLOW_INPUT_BUILD_BANDS_CUH

#include "common/cta.cuh"

struct BuildBandsSmem {
    double dct[64];     /* [u][x] */
    double rows[4][64]; /* By warp: `R D^T` of one block of outputs and one of samples, [r][u]. */
};

/* One axis, outputs counted in the direction of the samples. */
struct AxisGeometry {
    const AxisDesc &axis;
    double half_width;

    __device__ __forceinline__ explicit AxisGeometry(const AxisDesc &desc) : axis(desc), half_width(fmax(desc.scale, 1.0)) {}

    __device__ __forceinline__ double centre(uint32_t output) const {
        return axis.start + (static_cast<double>(output) + 0.5) * axis.scale;
    }

    __device__ __forceinline__ uint32_t first_sample(uint32_t output) const {
        return max(static_cast<uint32_t>(fmax(floor(centre(output) - half_width + 0.5), 0.0)), axis.clip_start);
    }

    __device__ __forceinline__ uint32_t end_sample(uint32_t output) const {
        return min(static_cast<uint32_t>(fmax(ceil(centre(output) + half_width - 0.5), 0.0)), axis.clip_end);
    }

    __device__ __forceinline__ BandBlocks band(uint32_t block) const {
        if (axis.flags & AXIS_ALIGNED) {
            return {static_cast<uint32_t>(axis.start) / 8 + block, 1};
        }
        const uint32_t first_block = first_sample(8 * block) / 8;
        return {first_block, (end_sample(8 * block + 7) + 7) / 8 - first_block};
    }

    /* The triangle around `centre`, before the weights of an output are brought to a sum of one. */
    __device__ __forceinline__ double weight(uint32_t sample, double output_centre) const {
        return fmax(1.0 - fabs(static_cast<double>(sample) + 0.5 - output_centre) / half_width, 0.0);
    }
};

/* Row r of `R D^T` at frequencies u and u + 1. */
__device__ __forceinline__ void write_rows_times_dct(const AxisGeometry &geometry, const double *dct, uint32_t output_block,
                                                     uint32_t source_block, double *rows) {
    const uint32_t r = lane_idx() / 4;
    const uint32_t u = lane_idx() % 4 * 2;
    double values[2] = {};
    if (geometry.axis.flags & AXIS_ALIGNED) {
        values[0] = dct[8 * u + r];
        values[1] = dct[8 * u + 8 + r];
    } else {
        const uint32_t output = 8 * output_block + r;
        const double centre = geometry.centre(output);
        const uint32_t first = geometry.first_sample(output);
        const uint32_t end = geometry.end_sample(output);
        double total = 0;
        for (uint32_t x = first; x < end; ++x) {
            total += geometry.weight(x, centre);
        }
        for (uint32_t x = max(first, 8 * source_block); x < min(end, 8 * source_block + 8); ++x) {
            const double weight = geometry.weight(x, centre) / total;
            values[0] += weight * dct[8 * u + x % 8];
            values[1] += weight * dct[8 * u + 8 + x % 8];
        }
    }
    rows[8 * r + u] = values[0];
    rows[8 * r + u + 1] = values[1];
}

/* Output a of source frequency u. Columns r and 7 - r of D differ only in the sign of odd frequencies. */
__device__ __forceinline__ float matrix_element(uint32_t axis_flags, const double *dct, const double *rows, uint32_t u, uint32_t a) {
    const bool is_mirrored = (axis_flags & AXIS_MIRRORED) != 0;
    if (axis_flags & AXIS_SAMPLES) {
        return static_cast<float>(rows[8 * (is_mirrored ? 7 - a : a) + u]);
    }
    double sum = 0;
    if (axis_flags & AXIS_ALIGNED) {
        sum = a == u ? 1 : 0;
    } else {
        for (uint32_t r = 0; r < 4; ++r) {
            const double near = rows[8 * r + u];
            const double far = rows[8 * (7 - r) + u];
            sum += dct[8 * a + r] * (a % 2 == 0 ? near + far : near - far);
        }
    }
    return static_cast<float>(is_mirrored && a % 2 == 1 ? -sum : sum);
}

__device__ void build_bands(const BuildBandsParams &p, BuildBandsSmem &smem) {
    if (threadIdx.x < 64) {
        smem.dct[threadIdx.x] = __ldg(&p.batch.dct[threadIdx.x]);
    }
    __syncthreads();
    const InputTile tile = p.tiles[blockIdx.x];
    const AxisDesc &axis = p.batch.axes[tile.owner_idx];
    const AxisGeometry geometry(axis);
    double *rows = smem.rows[warp_idx()];
    const uint32_t matrix_end = min(tile.first + BAND_TILE_MATRICES, axis.num_output_blocks * axis.max_band_blocks);
    for (uint32_t matrix = tile.first + warp_idx(); matrix < matrix_end; matrix += blockDim.x / WARP_THREADS) {
        const uint32_t output_block = matrix / axis.max_band_blocks;
        const uint32_t place = matrix % axis.max_band_blocks;
        const uint32_t block = axis.flags & AXIS_MIRRORED ? axis.num_output_blocks - 1 - output_block : output_block;
        const BandBlocks band = geometry.band(block);
        if (place == 0 && lane_idx() == 0) {
            p.batch.bands[axis.first_band + output_block] = band;
        }
        if (place >= band.num_blocks) {
            continue;
        }
        write_rows_times_dct(geometry, smem.dct, block, band.first_block + place, rows);
        __syncwarp();
        float *elements = p.batch.matrices + (static_cast<uint64_t>(axis.first_matrix) + matrix) * 64;
        for (uint32_t i = lane_idx(); i < 64; i += WARP_THREADS) {
            elements[i] = matrix_element(axis.flags, smem.dct, rows, i / 8, i % 8);
        }
        __syncwarp();
    }
}

#endif
