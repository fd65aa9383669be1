/* What crosses between Rust and the kernels that test the emulator itself. Conventions as in ../abi.h. */
#ifndef DCTFLOW_SELFTEST_ABI_H
#define DCTFLOW_SELFTEST_ABI_H

#include <stdint.h>

/** One word of CUDA (or a family of words) whose meaning `run_word` shows. */
enum SelftestWord {
    WORD_SYNCTHREADS,
    WORD_SYNCTHREADS_COUNT,
    WORD_SYNCTHREADS_AND,
    WORD_SYNCTHREADS_OR,
    WORD_BARRIER_SYNC_COUNT,
    WORD_SYNCWARP,
    WORD_SHFL,
    WORD_SHFL_UP,
    WORD_SHFL_DOWN,
    WORD_SHFL_XOR,
    WORD_SHFL_SEGMENT,
    WORD_SHFL_64_BIT,
    WORD_BALLOT,
    WORD_ANY_ALL,
    WORD_MATCH_ANY,
    WORD_MATCH_ALL,
    WORD_REDUCE,
    WORD_PARTIAL_MASKS,
    WORD_ACTIVEMASK,
    WORD_ATOMIC_ADD,
    WORD_ATOMIC_MIN_MAX,
    WORD_ATOMIC_BITS,
    WORD_ATOMIC_CAS_EXCH,
    WORD_ATOMIC_64_BIT,
    WORD_ATOMIC_FLOAT,
    WORD_COUNT_BITS,
    WORD_REVERSE_BITS,
    WORD_BYTE_PERM,
    WORD_FUNNELSHIFT,
    WORD_MULTIPLY_HIGH,
    WORD_REINTERPRET,
    WORD_MIN_MAX,
    WORD_LOAD_STORE,
    WORD_VECTORS,
    WORD_HALF,
    WORD_ASYNC_COPY,
    WORD_ASYNC_COPY_GROUPS,
    WORD_SMEM_TAIL,
    WORD_INDICES,
    WORD_COUNT,
    WORD_NANOSLEEP,
    WORD_LOAD_MATRICES,
    WORD_MULTIPLY_TILES,
    NUM_WORDS
};

/** A mistake that `break_rule` makes on purpose. */
enum SelftestMistake {
    MISTAKE_MISSING_BARRIER,
    MISTAKE_BARRIER_IN_BRANCH,
    MISTAKE_EXIT_BEFORE_BARRIER,
    MISTAKE_TWO_BARRIERS,
    MISTAKE_UNEQUAL_BARRIER_COUNTS,
    MISTAKE_BARRIER_AGAINST_WARP,
    MISTAKE_LANE_NEVER_COMES,
    MISTAKE_MASK_WITHOUT_SELF,
    MISTAKE_MASK_NAMES_EXITED,
    MISTAKE_EXIT_WHILE_AWAITED,
    MISTAKE_DIFFERENT_OPERATIONS,
    MISTAKE_SHUFFLE_FROM_OUTSIDE,
    MISTAKE_READ_FAR_BEHIND_BUFFER,
    MISTAKE_READ_BEFORE_BUFFER,
    MISTAKE_WRITE_JUST_BEHIND_BUFFER,
    MISTAKE_WRITE_NULL,
    MISTAKE_READ_FAR_BEHIND_SMEM,
    MISTAKE_WRITE_JUST_BEHIND_SMEM,
    MISTAKE_UNINITIALISED_SMEM,
    MISTAKE_STACK_OVERFLOW,
    MISTAKE_READ_BEFORE_ASYNC_COPY_LANDS,
    MISTAKE_ASYNC_COPY_NEVER_AWAITED,
    MISTAKE_SPIN_FOR_EVER,
    MISTAKE_CHECK_THEN_ACT,
    MISTAKE_TRAP,
    MISTAKE_MATRIX_OUTSIDE_SMEM,
    NUM_MISTAKES
};

/** Parameters of both kernels. */
typedef struct SelftestParams {
    uint32_t *out;      /**< [num_out]: what each thread found. */
    uint32_t *scratch;  /**< [num_scratch]: memory that CTAs share. */
    uint32_t num_out;   /**< Length of `out`. */
    uint32_t num_scratch; /**< Length of `scratch`. */
    uint32_t which;     /**< A SelftestWord or SelftestMistake. */
    uint32_t reserved;  /**< Zero. */
} SelftestParams;

#endif
