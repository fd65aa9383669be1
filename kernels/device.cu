/* nvcc's only translation unit: one extern "C" entry per line of kernels.def.
 *
 * DCTFLOW_SM90A is defined for the module of compute capability 9.0a and for no other; DCTFLOW_SELFTEST adds the kernels that test
 * the words of CUDA themselves (kernels/selftest), for runs on a GPU under the same tests that the emulator passes.
 */
#define COUNT(counter, n)

#include <cuda_fp16.h>
#include <cuda_pipeline_primitives.h>
#include <stdint.h>

#include "kernels.h"
#ifdef DCTFLOW_SM90A
#include "kernels_sm90a.h"
#endif
#ifdef DCTFLOW_SELFTEST
#include "selftest/selftest.h"
#endif

/* One CTA an SM is promised, unless the kernel's Smem says more (MIN_CTAS): left alone, ptxas would rather spill a register than lose
 * occupancy, and promised too little it takes registers that it hardly needs.
 * `__grid_constant__` keeps the parameters in constant memory: without it they may be copied to the stack. All shared memory is
 * dynamic, since static shared memory ends at 48 KB.
 * NAME_smem_bytes is for build.rs, which reads it from the PTX. */
#define ENTRY(name, Params, Smem, threads)                                                                  \
    extern "C" __global__ void __launch_bounds__(threads, MinCtas<Smem>::value) name##_entry(const __grid_constant__ Params params) { \
        extern __shared__ __align__(1024) unsigned char shared_memory[];                                    \
        name(params, *reinterpret_cast<Smem *>(shared_memory));                                             \
    }                                                                                                       \
    extern "C" __device__ const uint32_t name##_smem_bytes = smem_bytes<Smem>();

template <typename Smem, typename = void>
struct MinCtas {
    static constexpr int value = 1;
};
template <typename Smem>
struct MinCtas<Smem, decltype(void(Smem::MIN_CTAS))> {
    static constexpr int value = Smem::MIN_CTAS;
};

/* An empty struct has size 1 in C++. */
template <typename Smem>
constexpr uint32_t smem_bytes() {
    return __is_empty(Smem) ? 0 : sizeof(Smem);
}

#define ENTRY_portable ENTRY
#ifdef DCTFLOW_SM90A
#define ENTRY_sm90a ENTRY
#else
#define ENTRY_sm90a(name, Params, Smem, threads)
#endif
#define KERNEL(name, Params, Smem, threads, arch, host) ENTRY_##arch(name, Params, Smem, threads)
#include "kernels.def"
#ifdef DCTFLOW_SELFTEST
#include "selftest/selftest.def"
#endif
