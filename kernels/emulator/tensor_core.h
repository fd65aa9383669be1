/* What the tensor cores' instructions mean on the host: the words of common/tensor_core.cuh. Included by cuda_words.h.
 *
 * The last lane of a warp works for all of them, on whole tiles: so a convolution on the emulator costs its multiply-adds and not its
 * fibers. Sums are float, in the order of k.
 */
#ifndef DCTFLOW_EMULATOR_TENSOR_CORE_H
#define DCTFLOW_EMULATOR_TENSOR_CORE_H

namespace emulator {

/* The float that 16 bits of half precision mean. Shifts and one multiplication, which compilers vectorise (subnormals come out right). */
inline float half_bits_to_float(uint32_t bits) {
    const uint32_t magnitude = (bits & 0x7fff) << 13;
    float value = from_bits<float>(magnitude) * 0x1p112f;
    value = (bits & 0x7c00) == 0x7c00 ? from_bits<float>(magnitude | 0x7f800000) : value;
    return from_bits<float>(to_bits(value) | (bits & 0x8000) << 16);
}

struct LoadMatrices : LaneWork {
    const void *row;
    uint32_t *fragment; /* [4] */

    /* Lane 8 i + r names row r of matrix i; lane l is given elements 2 (l % 4) and the next of row l / 4 of all four. */
    static void run_all(LaneWork *const *lanes) {
        for (unsigned row_idx = 0; row_idx < WARP; ++row_idx) {
            uint32_t pairs[4];
            memcpy(pairs, static_cast<LoadMatrices *>(lanes[row_idx])->row, sizeof pairs);
            for (unsigned pair_idx = 0; pair_idx < 4; ++pair_idx) {
                static_cast<LoadMatrices *>(lanes[row_idx % 8 * 4 + pair_idx])->fragment[row_idx / 8] = pairs[pair_idx];
            }
        }
    }
};

template <unsigned NUM_M, unsigned NUM_N>
struct MultiplyTiles : LaneWork {
    float (*sums)[NUM_N][4];
    const uint32_t (*a)[4];
    const uint32_t (*b)[2];

    static constexpr unsigned DEPTH = 16;
    static constexpr unsigned ROWS = 16;
    static constexpr unsigned COLUMNS = 8 * NUM_N;

    static void run_all(LaneWork *const *lanes) {
        float b[DEPTH][COLUMNS];
        for (unsigned lane = 0; lane < WARP; ++lane) {
            const auto &self = *static_cast<const MultiplyTiles *>(lanes[lane]);
            for (unsigned i = 0; i < 4 * NUM_N; ++i) {
                const unsigned n = i / 4;
                const unsigned k = lane % 4 * 2 + i / 2 % 2 * 8 + i % 2;
                b[k][n * 8 + lane / 4] = half_bits_to_float(self.b[n][i / 2 % 2] >> (i % 2 * 16) & 0xffff);
            }
        }
        for (unsigned m = 0; m < NUM_M; ++m) {
            multiply_rows(lanes, m, b);
        }
    }

    /* Lane l holds of a's 16 x 16 rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next, then the same 8 columns on; of the sums' 16 x 8
     * the same two rows and two columns. */
    static void multiply_rows(LaneWork *const *lanes, unsigned m, const float (&b)[DEPTH][COLUMNS]) {
        float a[ROWS][DEPTH];
        float sums[ROWS][COLUMNS];
        for (unsigned lane = 0; lane < WARP; ++lane) {
            const auto &self = *static_cast<const MultiplyTiles *>(lanes[lane]);
            for (unsigned i = 0; i < 8; ++i) {
                const unsigned register_idx = i / 2;
                a[lane / 4 + register_idx % 2 * 8][lane % 4 * 2 + register_idx / 2 * 8 + i % 2] =
                    half_bits_to_float(self.a[m][register_idx] >> (i % 2 * 16) & 0xffff);
            }
            for (unsigned n = 0; n < NUM_N; ++n) {
                memcpy(&sums[lane / 4][n * 8 + lane % 4 * 2], &self.sums[m][n][0], 2 * sizeof(float));
                memcpy(&sums[lane / 4 + 8][n * 8 + lane % 4 * 2], &self.sums[m][n][2], 2 * sizeof(float));
            }
        }
        for (unsigned row = 0; row < ROWS; ++row) {
            float row_sums[COLUMNS];
            memcpy(row_sums, sums[row], sizeof row_sums);
            for (unsigned k = 0; k < DEPTH; ++k) {
                const float factor = a[row][k];
                for (unsigned column = 0; column < COLUMNS; ++column) {
                    row_sums[column] += factor * b[k][column];
                }
            }
            memcpy(sums[row], row_sums, sizeof row_sums);
        }
        for (unsigned lane = 0; lane < WARP; ++lane) {
            const auto &self = *static_cast<const MultiplyTiles *>(lanes[lane]);
            for (unsigned n = 0; n < NUM_N; ++n) {
                memcpy(&self.sums[m][n][0], &sums[lane / 4][n * 8 + lane % 4 * 2], 2 * sizeof(float));
                memcpy(&self.sums[m][n][2], &sums[lane / 4 + 8][n * 8 + lane % 4 * 2], 2 * sizeof(float));
            }
        }
    }
};

}  // namespace emulator

inline void load_matrices(uint32_t (&fragment)[4], const void *row, WHERE) {
    emulator::check_shared_row(row, SITE("load_matrices"));
    emulator::LoadMatrices work{{emulator::LoadMatrices::run_all}, row, fragment};
    emulator::run_whole_warp(work, SITE("load_matrices"));
}

template <unsigned NUM_M, unsigned NUM_N>
void multiply_tiles(float (&sums)[NUM_M][NUM_N][4], const uint32_t (&a)[NUM_M][4], const uint32_t (&b)[NUM_N][2], WHERE) {
    using Work = emulator::MultiplyTiles<NUM_M, NUM_N>;
    Work work{{Work::run_all}, sums, a, b};
    emulator::run_whole_warp(work, SITE("multiply_tiles"));
}

#endif
