/* Every struct and constant that crosses between Rust and CUDA C++.
 *
 * Read by three compilers: nvcc (device.cu), the host's C++ compiler (emulator/) and bindgen, whose output is committed as
 * src/abi/bindings.rs (ci/abi.sh writes it and, with --check, compares). Conventions:
 *
 * - plain C: fixed-width integers, float, pointers, fixed arrays, enums for constants. No bool, no size_t, no bit fields.
 * - largest members first; padding is a named member `reserved`, so that every byte of a struct is written.
 * - pointers point to device memory. Every pointer has a comment with its shape and order: [num_blocks][64], natural order.
 * - a kernel `verb_object` takes one struct, `VerbObjectParams`.
 * - comments that Rust's documentation needs are doc comments; units are in the names (_bits, _bytes, _blocks, _mcus).
 */
#ifndef DCTFLOW_ABI_H
#define DCTFLOW_ABI_H

#include <stdint.h>

/** Threads of a warp. */
#define WARP_THREADS 32

/** Parameters of `checksum_words`: a digest of device memory, independent of the order in which it is read. */
typedef struct ChecksumWordsParams {
    const uint32_t *words; /**< [num_words]: what to digest. */
    uint64_t *checksum;    /**< [1]: the digest is added to it, modulo 2^64. */
    uint32_t num_words;    /**< Length of `words`. */
    uint32_t reserved;     /**< Zero. */
} ChecksumWordsParams;

#endif
