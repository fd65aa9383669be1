/* Huffman symbols: table entries, decoding, and the state between two symbols. */
#ifndef DCTFLOW_COMMON_HUFFMAN_CUH
#define DCTFLOW_COMMON_HUFFMAN_CUH

#include "abi.h"
#include "common/bits.cuh"

/* A symbol, as tables hold it (16 bits) and as decoding returns it:
 *
 *   bits 0-4    code and value bits together
 *   bits 5-8    size: bits that follow the code (SSSS, or n of EOBn)
 *   bits 9-15   zig-zag indices passed: run + 1 for a coefficient, 16 for ZRL, BLOCK_END for EOB
 *   bit 16      no code of the table matches (never in a lookup)
 *
 * Zero, which no symbol has, means that the code is longer than the lookup. */
using SymbolEntry = uint32_t;

static constexpr uint32_t BLOCK_END = 64;

__device__ __forceinline__ constexpr SymbolEntry symbol_entry(uint32_t advance, uint32_t code_bits, uint32_t size_bits) {
    return advance << 9 | size_bits << 5 | (code_bits + size_bits);
}

/* A bit pattern that is no code takes 17 bits and counts as the symbol 0, as in libjpeg. */
static constexpr SymbolEntry NO_CODE = 1u << 16;
static constexpr uint32_t NO_CODE_BITS = 17;

__device__ __forceinline__ uint32_t entry_total_bits(SymbolEntry entry) { return entry & 31; }
__device__ __forceinline__ uint32_t entry_size_bits(SymbolEntry entry) { return entry >> 5 & 15; }
__device__ __forceinline__ uint32_t entry_advance(SymbolEntry entry) { return entry >> 9 & 127; }
__device__ __forceinline__ bool entry_is_no_code(SymbolEntry entry) { return (entry & NO_CODE) != 0; }
/* EOBn of more than one block; `entry` is one of a lookup, or without NO_CODE. */
__device__ __forceinline__ bool entry_is_eob_run(SymbolEntry entry) { return entry >> 5 > BLOCK_END << 4; }

/* The entry of symbol `huffval` with a code of `code_bits`. */
__device__ __forceinline__ SymbolEntry entry_of_symbol(uint32_t kind, uint32_t huffval, uint32_t code_bits) {
    const uint32_t run = huffval >> 4;
    const uint32_t size_bits = huffval & 15;
    if (kind == HUFFMAN_DC) {
        return symbol_entry(1, code_bits, size_bits);
    }
    if (size_bits == 0 && run < 15) {
        return symbol_entry(BLOCK_END, code_bits, kind == HUFFMAN_AC_PROGRESSIVE ? run : 0);
    }
    return symbol_entry(run + 1, code_bits, size_bits);
}

/* Rare: DECODE (T.81 F.2.2.3) for codes of at least `min_bits`, the canonical loop over lengths. */
__device__ __forceinline__ SymbolEntry decode_by_length(const HuffmanTable &table, uint32_t peeked, uint32_t min_bits) {
    const uint32_t code = peeked >> 16;
    uint32_t length = min_bits;
#pragma unroll 1
    while (length <= 16 && code >= table.code_end[length]) {
        ++length;
    }
    if (length > 16) {
        return NO_CODE | entry_of_symbol(table.kind, 0, NO_CODE_BITS);
    }
    const uint32_t huffval_idx = (code >> (16 - length)) + table.huffval_offset[length];
    return entry_of_symbol(table.kind, table.huffval[huffval_idx & 255], length);
}

/* The value bits of a symbol. */
__device__ __forceinline__ uint32_t raw_value(uint32_t peeked, SymbolEntry entry) {
    const uint32_t size_bits = entry_size_bits(entry);
    return __funnelshift_l(peeked << (entry_total_bits(entry) - size_bits), 0, size_bits);
}

/* EXTEND (T.81 F.2.2.1): the signed value of a symbol's value bits. Those that begin with a zero stand for a negative one. */
__device__ __forceinline__ int32_t signed_value(uint32_t peeked, SymbolEntry entry) {
    const uint32_t size_bits = entry_size_bits(entry);
    const uint32_t left_aligned = peeked << (entry_total_bits(entry) - size_bits);
    const uint32_t raw = __funnelshift_l(left_aligned, 0, size_bits);
    const uint32_t ones = static_cast<int32_t>(left_aligned) < 0 ? 0 : ~0u;
    return static_cast<int32_t>(raw + (ones << size_bits) - ones);
}

/* Where the DC sum of a component lies in `DcSums`. */
struct DcPlace {
    uint32_t masks[2];
    uint32_t shift;

    __device__ __forceinline__ static DcPlace of(uint32_t component) {
        const uint32_t shift = component % 2 * 16;
        const uint32_t mask = 0xffffu << shift;
        return {{component < 2 ? mask : 0, component < 2 ? 0 : mask}, shift};
    }
};

/* Four sums modulo 2^16, one for each component of a scan, in two words. */
struct DcSums {
    uint32_t pair[2];

    __device__ __forceinline__ static uint32_t add_halves(uint32_t a, uint32_t b) {
        return ((a & 0x7fff7fffu) + (b & 0x7fff7fffu)) ^ ((a ^ b) & 0x80008000u);
    }

    /* Adds to one component: of a word that is added to as a whole, only its half is taken. */
    __device__ __forceinline__ void add(const DcPlace &place, int32_t diff) {
        const uint32_t placed = static_cast<uint32_t>(diff) << place.shift;
        pair[0] = ((pair[0] + placed) & place.masks[0]) | (pair[0] & ~place.masks[0]);
        pair[1] = ((pair[1] + placed) & place.masks[1]) | (pair[1] & ~place.masks[1]);
    }

    __device__ __forceinline__ void add(const DcSums &other) {
        pair[0] = add_halves(pair[0], other.pair[0]);
        pair[1] = add_halves(pair[1], other.pair[1]);
    }

    __device__ __forceinline__ void subtract(const DcSums &other) {
        pair[0] = add_halves(pair[0], add_halves(~other.pair[0], 0x00010001u));
        pair[1] = add_halves(pair[1], add_halves(~other.pair[1], 0x00010001u));
    }

    __device__ __forceinline__ uint32_t of(const DcPlace &place) const {
        return ((pair[0] & place.masks[0]) | (pair[1] & place.masks[1])) >> place.shift;
    }
};

/* The state between two symbols is (bit position, block of the MCU, zig-zag index), packed into 15 bits:
 *
 *   bits 0-4    position behind the place that the state belongs to; a symbol has at most 31 bits and starts before, so 0-30
 *   bits 5-8    which block of the MCU
 *   bits 9-14   zig-zag index of the next coefficient
 */
static constexpr uint32_t STATE_TRUNCATED = 0xffff; /* The segment has ended inside a symbol: nothing follows. */
static constexpr uint32_t STATE_NONE = 0xfffe;      /* Equal to no state. */

__device__ __forceinline__ uint32_t pack_state(uint32_t behind_bits, uint32_t mcu_block, uint32_t z) {
    return behind_bits | mcu_block << 5 | z << 9;
}
__device__ __forceinline__ uint32_t state_behind_bits(uint32_t state) { return state & 31; }
__device__ __forceinline__ uint32_t state_mcu_block(uint32_t state) { return state >> 5 & 15; }
__device__ __forceinline__ uint32_t state_z(uint32_t state) { return state >> 9 & 63; }

#endif
