/* Every kernel's file. device.cu and the emulator include this one, so a kernel is added here and in kernels.def. */
#ifndef DCTFLOW_KERNELS_H
#define DCTFLOW_KERNELS_H

#include "abi.h"
#include "selftest/abi.h"

#include "abi_layout.h"
#include "common/cta.cuh"

#include "check/checksum_words.cuh"

#endif
