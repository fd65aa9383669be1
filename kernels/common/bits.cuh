/* Reading destuffed entropy-coded data, most significant bit first. */
#ifndef DCTFLOW_COMMON_BITS_CUH
#define DCTFLOW_COMMON_BITS_CUH

#include "abi.h"

/* The 32 bits at a position, out of words whose first byte is in their highest bits. Words are loaded one ahead, so that the
 * latency of a load lies behind the symbols of the word before. Reads at most three words behind the position's own. */
struct BitWindow {
    const uint32_t *words;
    uint32_t position_bits;
    uint32_t high;
    uint32_t low;
    uint32_t next;

    __device__ __forceinline__ void seek(const uint32_t *first_word, uint32_t new_position_bits) {
        words = first_word;
        position_bits = new_position_bits;
        const uint32_t word = position_bits / 32;
        high = __ldg(words + word);
        low = __ldg(words + word + 1);
        next = __ldg(words + word + 2);
    }

    __device__ __forceinline__ uint32_t peek() const { return __funnelshift_l(low, high, position_bits); }

    /* Moves on by at most 32 bits. */
    __device__ __forceinline__ void skip(uint32_t num_bits) {
        const uint32_t before = position_bits;
        position_bits += num_bits;
        if ((before ^ position_bits) >= 32) {
            high = low;
            low = next;
            next = __ldg(words + position_bits / 32 + 2);
        }
    }
};

#endif
