/* The files of kernels for compute capability 9.0 alone, which no other compiler sees: each has a portable twin in kernels.h. */
#ifndef DCTFLOW_KERNELS_SM90A_H
#define DCTFLOW_KERNELS_SM90A_H

#include "kernels.h"

#endif
