/* What Rust (src/device/emulator) calls. Plain C. */
#ifndef DCTFLOW_EMULATOR_H
#define DCTFLOW_EMULATOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One kernel of kernels.def (or selftest.def), in the order of the file. */
typedef struct EmulatorKernel {
    const char *name;
    uint32_t params_bytes;
    uint32_t smem_bytes; /* sizeof(Smem) */
    uint32_t threads;
} EmulatorKernel;

enum EmulatorOrder { ORDER_FORWARD, ORDER_REVERSE, ORDER_RANDOM };

/* One launch; its CTAs may be run by several OS threads at a time. */
typedef struct EmulatorLaunch {
    const void *params;
    uint64_t seed;
    uint32_t kernel_idx;
    uint32_t grid[3];
    uint32_t smem_tail_bytes;
    uint32_t order;         /* EmulatorOrder: which ready thread runs next */
    uint32_t spin_limit_ms; /* a CTA whose threads do nothing but __nanosleep for so long is stuck */
} EmulatorLaunch;

#define EMULATOR_MAX_COUNTERS 8

/* What one counter of counters.def reached. */
typedef struct EmulatorCount {
    uint64_t total;    /* summed over all threads */
    uint64_t warp_max; /* per warp and stretch between two points where the warp converges: 32 x its greatest lane */
} EmulatorCount;

/* Why a CTA could not be run to its end. */
typedef struct EmulatorFailure {
    char message[480];
    const volatile void *fault_address; /* of an access outside all buffers; null otherwise */
} EmulatorFailure;

/* A device buffer between two guard pages, filled with 0xA5. */
typedef struct EmulatorBuffer {
    uint8_t *data;
    uint64_t len_bytes;
    uint8_t *mapping;
    uint64_t mapping_bytes;
} EmulatorBuffer;

/* The kernels; `num_kernels` receives their number. */
const EmulatorKernel *emulator_kernels(uint32_t *num_kernels);
/* The names of counters.def; `num_counters` receives their number. */
const char *const *emulator_counters(uint32_t *num_counters);
/* Runs CTA `cta_idx` (x fastest) to its end. Returns 0, or 1 with `failure` filled. Adds to `counts` [EMULATOR_MAX_COUNTERS]. */
int emulator_run_cta(const EmulatorLaunch *launch, uint64_t cta_idx, EmulatorCount *counts, EmulatorFailure *failure);

/* Returns 0, or 1 when the system has no memory left. */
int emulator_allocate(uint64_t len_bytes, EmulatorBuffer *buffer);
void emulator_free(const EmulatorBuffer *buffer);
/* Whether the bytes between the buffer and its guard pages are as they were left. */
int emulator_is_intact(const EmulatorBuffer *buffer);
/* Declares a range off limits (1) or allowed again (0). Fills it with the canary; under AddressSanitizer also poisons it. */
void emulator_set_redzone(uint8_t *start, uint64_t len_bytes, int is_redzone);
/* Whether a range declared off limits is as it was left. */
int emulator_is_redzone_intact(const uint8_t *start, uint64_t len_bytes);

#ifdef __cplusplus
}
#endif
#endif
