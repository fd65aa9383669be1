/* The kernels as the emulator knows them: the same files that nvcc compiles, and a table of function pointers. */
#include "emulator.h"
#include "scheduler.h"

#include "../kernels.h"
#include "../selftest/selftest.h"

namespace emulator {
namespace {

template <typename Params, typename Smem, void (*body)(const Params &, Smem &)>
void call(const void *params, unsigned char *shared_memory) {
    body(*static_cast<const Params *>(params), *reinterpret_cast<Smem *>(shared_memory));
}

constexpr bool are_whole_warps(unsigned threads) { return threads > 0 && threads <= MAX_THREADS && threads % WARP == 0; }

/* An empty struct has size 1 in C++. */
template <typename Smem>
constexpr uint32_t smem_bytes() {
    return __is_empty(Smem) ? 0 : sizeof(Smem);
}

#define KERNEL(name, Params, Smem, threads, arch, host) \
    static_assert(are_whole_warps(threads), #name ": a CTA has whole warps, and at most 1024 threads");
#include "../kernels.def"
#include "../selftest/selftest.def"
#undef KERNEL

/* A kernel of sm90a is not for this compiler: Rust launches its twin in its place. */
#define KERNEL(name, Params, Smem, threads, arch, host) ROW_##arch(name, Params, Smem, threads)
#define ROW_portable(name, Params, Smem, threads) {#name, sizeof(Params), smem_bytes<Smem>(), threads},
#define ROW_sm90a(name, Params, Smem, threads) {#name, sizeof(Params), 0, threads},
const EmulatorKernel KERNELS[] = {
#include "../kernels.def"
#include "../selftest/selftest.def"
};
#undef ROW_portable
#undef ROW_sm90a

#define ROW_portable(name, Params, Smem, threads) call<Params, Smem, name>,
#define ROW_sm90a(name, Params, Smem, threads) nullptr,
const Body BODIES[] = {
#include "../kernels.def"
#include "../selftest/selftest.def"
};
#undef KERNEL

#define COUNTER(name, text) #name,
const char *const COUNTERS[] = {
#include "../counters.def"
};
#undef COUNTER

}  // namespace
}  // namespace emulator

using namespace emulator;

const EmulatorKernel *emulator_kernels(uint32_t *num_kernels) {
    *num_kernels = sizeof KERNELS / sizeof *KERNELS;
    return KERNELS;
}

const char *const *emulator_counters(uint32_t *num_counters) {
    *num_counters = NUM_COUNTERS;
    return COUNTERS;
}

int emulator_run_cta(const EmulatorLaunch *launch, uint64_t cta_idx, EmulatorCount *counts, EmulatorFailure *failure) {
    return run_cta(*launch, KERNELS[launch->kernel_idx], BODIES[launch->kernel_idx], cta_idx, counts, failure);
}
