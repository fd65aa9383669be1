/* The zig-zag order (T.81 Figure A.6). */
#ifndef DCTFLOW_COMMON_NATURAL_ORDER_CUH
#define DCTFLOW_COMMON_NATURAL_ORDER_CUH

#include "common/cta.cuh"

/* Natural indices of ZZ(0) to ZZ(63), four a word, the first in the lowest bits; then 63 for the indices that a run can go too far. */
static constexpr uint32_t NATURAL_ORDER_WORDS = 20;

/* Word `i` of them. */
__device__ __forceinline__ uint32_t natural_order_word(uint32_t i) {
    switch (i) {
        case 0: return 0x10080100;
        case 1: return 0x0a030209;
        case 2: return 0x19201811;
        case 3: return 0x05040b12;
        case 4: return 0x211a130c;
        case 5: return 0x22293028;
        case 6: return 0x060d141b;
        case 7: return 0x1c150e07;
        case 8: return 0x38312a23;
        case 9: return 0x242b3239;
        case 10: return 0x170f161d;
        case 11: return 0x332c251e;
        case 12: return 0x2d343b3a;
        case 13: return 0x2e271f26;
        case 14: return 0x363d3c35;
        case 15: return 0x3f3e372f;
        default: return 0x3f3f3f3f;
    }
}

/* Fills the table; the CTA must meet at a barrier before it uses it. */
__device__ __forceinline__ void load_natural_order(uint32_t (&words)[NATURAL_ORDER_WORDS]) {
    if (threadIdx.x < NATURAL_ORDER_WORDS) {
        words[threadIdx.x] = natural_order_word(threadIdx.x);
    }
}

/* The natural index of ZZ(k), k < 80. */
__device__ __forceinline__ uint32_t natural_index(const uint32_t (&words)[NATURAL_ORDER_WORDS], uint32_t k) {
    return reinterpret_cast<const uint8_t *>(words)[k];
}

#endif
