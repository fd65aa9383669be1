/* Every kernel's file. device.cu and the emulator include this one, so a kernel is added here and in kernels.def. */
#ifndef DCTFLOW_KERNELS_H
#define DCTFLOW_KERNELS_H

#include "abi.h"
#include "selftest/abi.h"

#include "abi_layout.h"
#include "common/cta.cuh"

#include "check/checksum_words.cuh"

#include "decode/build_tables.cuh"
#include "decode/clear_unfinished.cuh"
#include "decode/count_destuffed.cuh"
#include "decode/destuff.cuh"
#include "decode/index_segments.cuh"
#include "decode/mark_blocks.cuh"
#include "decode/place_destuffed.cuh"
#include "decode/refine_blocks.cuh"
#include "decode/refine_segments.cuh"
#include "decode/report_outcomes.cuh"
#include "decode/resolve_subsequences.cuh"
#include "decode/synchronize_subsequences.cuh"
#include "decode/write_segments.cuh"
#include "decode/write_subsequences.cuh"

#include "input/build_bands.cuh"
#include "input/write_input.cuh"

#include "nn/average_pixels.cuh"
#include "nn/convolve.cuh"
#include "nn/place_channels.cuh"
#include "nn/pool_maximum.cuh"

#endif
