/* Matrix products of a warp on tensor cores: f16 factors, f32 sums. The instructions have no names in CUDA C++; the emulator's meaning of
 * these words is in emulator/tensor_core.h. Compute capability 8.0 and newer. */
#ifndef DCTFLOW_COMMON_TENSOR_CORE_CUH
#define DCTFLOW_COMMON_TENSOR_CORE_CUH

#include "common/cta.cuh"

#ifdef __CUDACC__

/* ldmatrix: four 8 x 8 matrices of f16 out of shared memory. Lane 8 i + r names row r of matrix i, 16 aligned bytes; lane l is given
 * elements 2 (l % 4) and the next of row l / 4, of matrix i in fragment[i]. The whole warp calls it. */
__device__ __forceinline__ void load_matrices(uint32_t (&fragment)[4], const void *row) {
    const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(address)
                 : "memory");
}

/* mma.m16n8k16 for every pair of fragments: sums[m][n] += a[m] b[n]. Fragment a[m] is 16 rows x 16 deep, b[n] 16 deep x 8 columns,
 * sums[m][n] 16 rows x 8 columns, spread over lanes as PTX has it (section "Matrix Fragments for mma.m16n8k16"). The whole warp calls it. */
template <unsigned NUM_M, unsigned NUM_N>
__device__ __forceinline__ void multiply_tiles(float (&sums)[NUM_M][NUM_N][4], const uint32_t (&a)[NUM_M][4],
                                               const uint32_t (&b)[NUM_N][2]) {
#pragma unroll
    for (unsigned m = 0; m < NUM_M; ++m) {
#pragma unroll
        for (unsigned n = 0; n < NUM_N; ++n) {
            float(&sum)[4] = sums[m][n];
            asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                : "r"(a[m][0]), "r"(a[m][1]), "r"(a[m][2]), "r"(a[m][3]), "r"(b[n][0]), "r"(b[n][1]));
        }
    }
}

#endif

#endif
