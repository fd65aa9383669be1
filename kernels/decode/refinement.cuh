/* The data of one block in an AC refinement scan (T.81 G.1.2.3): correction bits of the coefficients that are not zero, and codes for new ones
 * between them. */
#ifndef DCTFLOW_DECODE_REFINEMENT_CUH
#define DCTFLOW_DECODE_REFINEMENT_CUH

#include "decode/write_symbols.cuh"

/* RefinedBlock::start_bits of a block without data. */
static constexpr uint32_t NO_DATA = UINT32_MAX;

/* Reads blocks. The two passes differ only in whether coefficients are changed; the first pass finds out where each block starts. */
template <bool WRITES>
struct Refinement {
    const uint16_t *lookups;
    const HuffmanTable *all_tables;
    const BlockCode &code;
    const uint32_t (&natural_order)[NATURAL_ORDER_WORDS];
    const ScanDesc &scan;
    uint32_t end_bits; /* Of the segment. */
    BitWindow window;
    uint32_t eob_run;  /* Blocks that a run of EOB still covers, the next one included. */
    uint32_t bad_bits;
    /* Of the block. */
    uint64_t nonzero;
    int16_t *coefficients;

    __device__ __forceinline__ int16_t &coefficient(uint32_t k) const { return coefficients[natural_index(natural_order, k)]; }

    /* Whether so many more bits are there. */
    __device__ __forceinline__ bool has(uint32_t num_bits) const { return window.position_bits + num_bits <= end_bits; }

    /* Corrects the coefficients that are not zero in [k, end_k). False: the segment ends before. */
    __device__ __forceinline__ bool correct(uint32_t k, uint32_t end_k) {
        const uint64_t below_end = end_k < 64 ? (uint64_t{1} << end_k) - 1 : ~uint64_t{0};
        uint64_t corrected = k < 64 ? nonzero & below_end & ~uint64_t{0} << k : 0;
        const uint32_t num_bits = __popcll(corrected);
        if (!has(num_bits)) {
            return false;
        }
        if (!WRITES) {
            window.skip(num_bits / 2);
            window.skip(num_bits - num_bits / 2);
            return true;
        }
        const int32_t magnitude = 1 << scan.point_transform;
        while (corrected != 0) {
            const uint32_t bit = window.peek() >> 31;
            window.skip(1);
            int16_t &c = coefficient(__ffsll(corrected) - 1);
            corrected &= corrected - 1;
            if (bit != 0 && (c & magnitude) == 0) {
                c = static_cast<int16_t>(c >= 0 ? c + magnitude : c - magnitude);
            }
        }
        return true;
    }

    /* The place of the zero coefficient from `k` on before which `num_zeros` others lie; the band's end if there is none. */
    __device__ __forceinline__ uint32_t find_zero(uint32_t k, uint32_t num_zeros) const {
        const uint64_t band = scan.z_end < 64 ? (uint64_t{1} << scan.z_end) - 1 : ~uint64_t{0};
        uint64_t zeros = ~nonzero & band & ~uint64_t{0} << k;
        for (; num_zeros > 0; --num_zeros) {
            zeros &= zeros - 1;
        }
        return zeros != 0 ? __ffsll(zeros) - 1 : scan.z_end;
    }

    /* One block; returns a `SegmentEnd`, SEGMENT_COMPLETE if it was received. */
    __device__ __forceinline__ uint32_t refine_block() {
        uint32_t k = scan.z_begin;
        while (eob_run == 0 && k < scan.z_end) {
            const uint32_t at_bits = window.position_bits;
            const uint32_t peeked = window.peek();
            SymbolEntry entry = lookups[code.ac_lookup + (peeked >> AC_LOOKUP_SHIFT)];
            if (entry == 0) {
                entry = decode_by_length(all_tables[code.ac_table], peeked, AC_LOOKUP_BITS + 1);
            }
            const uint32_t size_bits = entry_size_bits(entry);
            const bool is_end_of_band = entry_advance(entry) == BLOCK_END;
            const bool is_symbol = !entry_is_no_code(entry) && (is_end_of_band || size_bits <= 1);
            const uint32_t code_bits = entry_total_bits(entry) - size_bits;
            if (!has(is_symbol ? entry_total_bits(entry) : code_bits)) {
                return SEGMENT_TRUNCATED;
            }
            if (!is_symbol) {
                bad_bits = at_bits;
                return SEGMENT_BAD_CODE;
            }
            COUNT(symbols, 1);
            window.skip(entry_total_bits(entry));
            if (is_end_of_band) {
                eob_run = eob_run_blocks(peeked, entry);
                break;
            }
            const uint32_t end_k = find_zero(k, entry_advance(entry) - 1);
            if (!correct(k, end_k)) {
                return SEGMENT_TRUNCATED;
            }
            if (WRITES && size_bits == 1) {
                const int32_t magnitude = 1 << scan.point_transform;
                coefficient(end_k) = static_cast<int16_t>(raw_value(peeked, entry) ? magnitude : -magnitude);
            }
            k = end_k + 1;
        }
        if (eob_run > 0) {
            if (!correct(k, scan.z_end)) {
                return SEGMENT_TRUNCATED;
            }
            --eob_run;
        }
        return SEGMENT_COMPLETE;
    }
};

#endif
