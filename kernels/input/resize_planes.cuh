/* One tile of output blocks of one plane: `sum over j, l of V[i,j] C[j,l] H[k,l]^T` over source blocks C (src/cpu/input.rs), columns of
 * source blocks in chunks of 32.
 *
 * Vertical pass, `T[i,l] = sum over j of V[i,j] C[j,l]`: a warp takes one row i, a lane one column l and all 64 sums. Horizontal pass,
 * `sum over l of T[i,l] H[k,l]^T`: a thread takes one column k, one row of coefficients of each of the tile's four rows i, and, where
 * the tile is narrow, every n-th l; the shares are added up at the end.
 */
#ifndef DCTFLOW_INPUT_RESIZE_PLANES_CUH
#define DCTFLOW_INPUT_RESIZE_PLANES_CUH

#include "common/cta.cuh"

/* Floats from a block in shared memory to the next: eight neighbouring blocks, 16 bytes of each, touch every bank once. */
static constexpr uint32_t BLOCK_STRIDE = 68;

/* Where the left (0) or right (1) half of a row of such a block lies: apart, so that the halves of eight rows touch every bank once. */
__device__ __forceinline__ uint32_t half_row(uint32_t row, uint32_t half) { return half * 32 + row * 4; }

/* Columns of output blocks times shares of the horizontal sum: one for each eight threads. */
static constexpr uint32_t NUM_SHARES = 16;

struct ResizeSmem {
    static constexpr int MIN_CTAS = 3; /* 168 registers */
    /* By row of the tile: C while the vertical pass runs, then T, both by column; at the end, shares of the horizontal sums. */
    float columns[INPUT_TILE_ROWS][INPUT_CHUNK_COLUMNS * BLOCK_STRIDE];
};

/* Output blocks [first_row, first_row + num_rows) x [first_column, first_column + num_columns) of a grid, as the file stores it. */
struct GridTile {
    uint32_t first_row;
    uint32_t num_rows;
    uint32_t first_column;
    uint32_t num_columns;

    __device__ __forceinline__ GridTile(const InputGrid &grid, uint32_t tile_idx) {
        const uint32_t tiles_wide = (grid.blocks_wide + grid.tile_columns - 1) / grid.tile_columns;
        first_row = tile_idx / tiles_wide * INPUT_TILE_ROWS;
        num_rows = min(uint32_t{INPUT_TILE_ROWS}, grid.blocks_high - first_row);
        first_column = tile_idx % tiles_wide * grid.tile_columns;
        num_columns = min(grid.tile_columns, grid.blocks_wide - first_column);
    }

    __device__ __forceinline__ uint32_t num_blocks() const { return num_rows * num_columns; }
};

__device__ __forceinline__ float low_half(uint32_t pair) { return static_cast<float>(static_cast<int16_t>(pair & 0xffff)); }

__device__ __forceinline__ float high_half(uint32_t pair) { return static_cast<float>(static_cast<int16_t>(pair >> 16)); }

/* Part of a row of source blocks on its way to shared memory: of every fourth block from lane_idx() / 8 on, row lane_idx() % 8. */
struct SourceRows {
    uint4 rows[INPUT_CHUNK_COLUMNS / 4];

    __device__ __forceinline__ void load(const int16_t *blocks, uint32_t num_blocks) {
        #pragma unroll
        for (uint32_t n = 0; n < INPUT_CHUNK_COLUMNS / 4; ++n) {
            const uint32_t block = lane_idx() / 8 + 4 * n;
            const int16_t *row = blocks + 64 * block + 8 * (lane_idx() % 8);
            rows[n] = block < num_blocks ? __ldg(reinterpret_cast<const uint4 *>(row)) : make_uint4(0, 0, 0, 0);
        }
    }

    /* Dequantises; `quant` is row lane_idx() % 8 of the table. Returns which of the eight rows are not zero in all blocks. */
    __device__ __forceinline__ uint32_t store(const float (&quant)[8], float *columns) const {
        uint32_t any = 0;
        #pragma unroll
        for (uint32_t n = 0; n < INPUT_CHUNK_COLUMNS / 4; ++n) {
            const uint4 row = rows[n];
            any |= row.x | row.y | row.z | row.w;
            float *block = columns + (lane_idx() / 8 + 4 * n) * BLOCK_STRIDE;
            *reinterpret_cast<float4 *>(block + half_row(lane_idx() % 8, 0)) = make_float4(
                low_half(row.x) * quant[0], high_half(row.x) * quant[1], low_half(row.y) * quant[2], high_half(row.y) * quant[3]);
            *reinterpret_cast<float4 *>(block + half_row(lane_idx() % 8, 1)) = make_float4(
                low_half(row.z) * quant[4], high_half(row.z) * quant[5], low_half(row.w) * quant[6], high_half(row.w) * quant[7]);
        }
        uint32_t lanes = __ballot_sync(FULL_WARP, any != 0);
        lanes |= lanes >> 16;
        return lanes | lanes >> 8;
    }
};

/* sum += factors (by row) x values. */
template <uint32_t num_rows>
__device__ __forceinline__ void add_outer(float (&sum)[num_rows][8], const float (&factors)[num_rows], const float4 &left, const float4 &right) {
    #pragma unroll
    for (uint32_t a = 0; a < num_rows; ++a) {
        sum[a][0] = fmaf(factors[a], left.x, sum[a][0]);
        sum[a][1] = fmaf(factors[a], left.y, sum[a][1]);
        sum[a][2] = fmaf(factors[a], left.z, sum[a][2]);
        sum[a][3] = fmaf(factors[a], left.w, sum[a][3]);
        sum[a][4] = fmaf(factors[a], right.x, sum[a][4]);
        sum[a][5] = fmaf(factors[a], right.y, sum[a][5]);
        sum[a][6] = fmaf(factors[a], right.z, sum[a][6]);
        sum[a][7] = fmaf(factors[a], right.w, sum[a][7]);
    }
}

struct PlaneResizer {
    const InputBatch &batch;
    const InputPlane &plane;
    const AxisDesc &vertical;
    const AxisDesc &horizontal;
    const GridTile &tile;
    ResizeSmem &smem;

    __device__ __forceinline__ PlaneResizer(const InputBatch &b, const InputPlane &p, const GridTile &t, ResizeSmem &s)
        : batch(b), plane(p), vertical(b.axes[p.vertical_axis]), horizontal(b.axes[p.horizontal_axis]), tile(t), smem(s) {}

    __device__ __forceinline__ BandBlocks band(const AxisDesc &axis, uint32_t output_block) const {
        return batch.bands[axis.first_band + output_block];
    }

    /* The matrices of a band, two float4 a row. */
    __device__ __forceinline__ const float4 *matrices(const AxisDesc &axis, uint32_t output_block) const {
        const uint64_t first = static_cast<uint64_t>(axis.first_matrix) + output_block * axis.max_band_blocks;
        return reinterpret_cast<const float4 *>(batch.matrices + first * 64);
    }

    /* T[i,l] of the warp's row i, to its part of shared memory. */
    __device__ __forceinline__ void resize_columns(uint32_t first_column, uint32_t num_columns) const {
        const uint32_t output_row = tile.first_row + warp_idx();
        const BandBlocks rows = band(vertical, output_row);
        const float4 *matrix = matrices(vertical, output_row);
        const uint64_t pitch = static_cast<uint64_t>(plane.pitch_blocks) * 64;
        const int16_t *blocks = batch.coefficients + plane.first_coefficient + rows.first_block * pitch + first_column * 64ull;
        float *columns = smem.columns[warp_idx()];
        float quant[8];
        #pragma unroll
        for (uint32_t u = 0; u < 8; ++u) {
            quant[u] = static_cast<float>(__ldg(&batch.quants[64ull * plane.quant + 8 * (lane_idx() % 8) + u])) * plane.scale;
        }
        const float4 *own = reinterpret_cast<const float4 *>(columns + lane_idx() * BLOCK_STRIDE);
        float sum[8][8] = {};
        SourceRows source;
        source.load(blocks, num_columns);
        for (uint32_t j = 0; j < rows.num_blocks; ++j) {
            __syncwarp(); /* all lanes are done with the row of blocks before */
            const uint32_t nonzero_rows = source.store(quant, columns);
            __syncwarp();
            if (j + 1 < rows.num_blocks) {
                blocks += pitch;
                source.load(blocks, num_columns);
            }
            for (uint32_t v = 0; v < 8; ++v) {
                if (nonzero_rows >> v & 1) {
                    const float4 top = __ldg(matrix + 2 * v);
                    const float4 bottom = __ldg(matrix + 2 * v + 1);
                    const float factors[8] = {top.x, top.y, top.z, top.w, bottom.x, bottom.y, bottom.z, bottom.w};
                    add_outer(sum, factors, own[half_row(v, 0) / 4], own[half_row(v, 1) / 4]);
                }
            }
            matrix += 16;
        }
        __syncwarp();
        #pragma unroll
        for (uint32_t a = 0; a < 8; ++a) {
            float *block = columns + lane_idx() * BLOCK_STRIDE;
            *reinterpret_cast<float4 *>(block + half_row(a, 0)) = make_float4(sum[a][0], sum[a][1], sum[a][2], sum[a][3]);
            *reinterpret_cast<float4 *>(block + half_row(a, 1)) = make_float4(sum[a][4], sum[a][5], sum[a][6], sum[a][7]);
        }
    }

    /* Adds the thread's share of a chunk: source columns [first, end) with T in shared memory. */
    __device__ __forceinline__ void add_chunk(uint32_t column, uint32_t share, uint32_t num_shares, uint32_t first, uint32_t end,
                                              float (&sum)[INPUT_TILE_ROWS][8]) const {
        const BandBlocks blocks = band(horizontal, tile.first_column + column);
        const float4 *matrix = matrices(horizontal, tile.first_column + column);
        const uint32_t a = threadIdx.x % 8;
        const uint32_t place_end = min(blocks.num_blocks, end - min(end, blocks.first_block));
        uint32_t place = first - min(first, blocks.first_block);
        place += (share + num_shares - place % num_shares) % num_shares;
        for (; place < place_end; place += num_shares) {
            const float *resized = &smem.columns[0][(blocks.first_block + place - first) * BLOCK_STRIDE];
            #pragma unroll
            for (uint32_t half = 0; half < 2; ++half) {
                float4 rows[INPUT_TILE_ROWS];
                #pragma unroll
                for (uint32_t i = 0; i < INPUT_TILE_ROWS; ++i) {
                    const float *row = resized + i * INPUT_CHUNK_COLUMNS * BLOCK_STRIDE + half_row(a, half);
                    rows[i] = *reinterpret_cast<const float4 *>(row);
                }
                const float4 *values = matrix + 16 * place + 8 * half;
                const float x[4] = {rows[0].x, rows[1].x, rows[2].x, rows[3].x};
                add_outer(sum, x, __ldg(values), __ldg(values + 1));
                const float y[4] = {rows[0].y, rows[1].y, rows[2].y, rows[3].y};
                add_outer(sum, y, __ldg(values + 2), __ldg(values + 3));
                const float z[4] = {rows[0].z, rows[1].z, rows[2].z, rows[3].z};
                add_outer(sum, z, __ldg(values + 4), __ldg(values + 5));
                const float w[4] = {rows[0].w, rows[1].w, rows[2].w, rows[3].w};
                add_outer(sum, w, __ldg(values + 6), __ldg(values + 7));
            }
        }
    }

    /* Writes the tile's blocks to `results`, [num_rows][num_columns][64], saturated where `saturates`. Returns how many values that
     * changed, of those that the thread wrote. The whole CTA calls it; a barrier has to follow before `results` is read. */
    __device__ __forceinline__ uint32_t resize(bool saturates, float *results) const {
        const uint32_t num_shares = NUM_SHARES / tile.num_columns;
        const BandBlocks one_end = band(horizontal, tile.first_column);
        const BandBlocks other_end = band(horizontal, tile.first_column + tile.num_columns - 1);
        const uint32_t source_first = min(one_end.first_block, other_end.first_block);
        const uint32_t source_end = max(one_end.first_block + one_end.num_blocks, other_end.first_block + other_end.num_blocks);
        for (uint32_t first = source_first; first < source_end; first += INPUT_CHUNK_COLUMNS) {
            const uint32_t end = min(first + INPUT_CHUNK_COLUMNS, source_end);
            __syncthreads(); /* nobody reads shared memory any more */
            if (warp_idx() < tile.num_rows) {
                resize_columns(first, end - first);
            }
            __syncthreads();
            resize_rows(num_shares, first, end);
            add_shares(num_shares, first == source_first, results);
        }
        return saturates ? saturate(results) : 0;
    }

    /* The horizontal sums over a chunk, each thread's share of them; leaves the shares in place of T, as
     * [share][column][row of the tile][64]. The whole CTA calls it. */
    __device__ __forceinline__ void resize_rows(uint32_t num_shares, uint32_t first, uint32_t end) const {
        const uint32_t column = threadIdx.x / 8 % tile.num_columns;
        const uint32_t share = threadIdx.x / 8 / tile.num_columns;
        float sum[INPUT_TILE_ROWS][8] = {};
        if (share < num_shares) {
            add_chunk(column, share, num_shares, first, end, sum);
        }
        __syncthreads();
        if (share < num_shares) {
            float *own = &smem.columns[0][0] + threadIdx.x / 8 * (INPUT_TILE_ROWS * 64) + threadIdx.x % 8 * 8;
            #pragma unroll
            for (uint32_t i = 0; i < INPUT_TILE_ROWS; ++i) {
                float4 *row = reinterpret_cast<float4 *>(own + 64 * i);
                row[0] = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
                row[1] = make_float4(sum[i][4], sum[i][5], sum[i][6], sum[i][7]);
            }
        }
        __syncthreads();
    }

    /* Each thread adds up the values that are its own, always the same ones. */
    __device__ __forceinline__ void add_shares(uint32_t num_shares, bool is_first_chunk, float *results) const {
        for (uint32_t i = threadIdx.x; i < tile.num_blocks() * 16; i += blockDim.x) {
            const uint32_t row = i / 16 / tile.num_columns;
            const uint32_t column = i / 16 % tile.num_columns;
            const float4 *shares = reinterpret_cast<const float4 *>(&smem.columns[0][0]) + (column * INPUT_TILE_ROWS + row) * 16 + i % 16;
            float4 *result = reinterpret_cast<float4 *>(results) + i;
            float4 sum = is_first_chunk ? make_float4(0, 0, 0, 0) : *result;
            for (uint32_t share = 0; share < num_shares; ++share) {
                const float4 value = shares[share * tile.num_columns * INPUT_TILE_ROWS * 16];
                sum = make_float4(sum.x + value.x, sum.y + value.y, sum.z + value.z, sum.w + value.w);
            }
            *result = sum;
        }
    }

    /* As `add_shares` deals values out. */
    __device__ __forceinline__ uint32_t saturate(float *results) const {
        uint32_t num_saturated = 0;
        for (uint32_t i = threadIdx.x; i < tile.num_blocks() * 16; i += blockDim.x) {
            #pragma unroll
            for (uint32_t k = 0; k < 4; ++k) {
                float &value = results[4 * i + k];
                if (fabsf(value) > INPUT_SATURATION) {
                    value = copysignf(INPUT_SATURATION, value);
                    ++num_saturated;
                }
            }
        }
        return num_saturated;
    }
};

#endif
