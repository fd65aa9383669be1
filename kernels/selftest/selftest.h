/* The kernels of selftest.def. */
#ifndef DCTFLOW_SELFTEST_H
#define DCTFLOW_SELFTEST_H

#include "selftest/abi.h"
#include "common/cta.cuh"

struct __align__(16) SelftestSmem {
    uint32_t words[64];
    uint32_t counter;
    uint32_t reserved[3];
};

#include "selftest/run_word.cuh"
#include "selftest/break_rule.cuh"

#endif
