/* Refinement scans (T.81 G.1.2.1, G.1.2.3): what a bit means depends on the coefficients so far, so one thread takes a segment from
 * its start to its end. */
#ifndef DCTFLOW_DECODE_REFINE_SEGMENTS_CUH
#define DCTFLOW_DECODE_REFINE_SEGMENTS_CUH

#include "decode/write_symbols.cuh"

struct RefineSegmentsSmem {
    int16_t blocks[64][TILE_THREADS]; /* The block that each thread works on: taken back if it is not received. */
    uint32_t natural_order[NATURAL_ORDER_WORDS];
    alignas(16) ScanTables tables;
    /* Behind it: the lookups. */
};

/* One thread at its segment. */
struct Refinement {
    const RefineSegmentsParams &p;
    RefineSegmentsSmem &smem;
    const ScanDesc &scan;
    BlockPlaces places;
    BitWindow window;
    uint32_t end_bits;
    uint32_t eob_run;
    uint32_t bad_bits;

    __device__ __forceinline__ int16_t &coefficient(uint32_t k) { return smem.blocks[natural_index(smem.natural_order, k)][threadIdx.x]; }

    /* Whether so many more bits are there. */
    __device__ __forceinline__ bool has(uint32_t num_bits) const { return window.position_bits + num_bits <= end_bits; }

    __device__ __forceinline__ uint32_t take_bit() {
        const uint32_t bit = window.peek() >> 31;
        window.skip(1);
        return bit;
    }

    /* A bit for each block. Returns how many blocks were received. */
    __device__ __forceinline__ uint32_t refine_dc(uint32_t first_block, uint32_t num_blocks) {
        const uint32_t num_received = min(num_blocks, end_bits - window.position_bits);
        for (uint32_t block = 0; block < num_received; ++block) {
            if (take_bit()) {
                places.place(first_block + block)[0] |= static_cast<int16_t>(1 << scan.point_transform);
            }
        }
        return num_received;
    }

    __device__ __forceinline__ void copy_block(const int16_t *from) {
        for (uint32_t i = 0; i < 8; ++i) {
            const uint4 row = reinterpret_cast<const uint4 *>(from)[i];
            const uint32_t words[4] = {row.x, row.y, row.z, row.w};
#pragma unroll
            for (uint32_t j = 0; j < 8; ++j) {
                smem.blocks[8 * i + j][threadIdx.x] = static_cast<int16_t>(words[j / 2] >> (j % 2 * 16));
            }
        }
    }

    __device__ __forceinline__ void store_block(int16_t *to) const {
        for (uint32_t i = 0; i < 8; ++i) {
            uint32_t words[4];
#pragma unroll
            for (uint32_t j = 0; j < 4; ++j) {
                const uint32_t low = static_cast<uint16_t>(smem.blocks[8 * i + 2 * j][threadIdx.x]);
                const uint32_t high = static_cast<uint16_t>(smem.blocks[8 * i + 2 * j + 1][threadIdx.x]);
                words[j] = low | high << 16;
            }
            reinterpret_cast<uint4 *>(to)[i] = {words[0], words[1], words[2], words[3]};
        }
    }

    /* Blocks of the band, one after the other. Returns how many were received; `end` says why there were no more. */
    __device__ __forceinline__ uint32_t refine_ac(uint32_t first_block, uint32_t num_blocks, uint32_t &end) {
        eob_run = 0;
        for (uint32_t block = 0; block < num_blocks; ++block) {
            int16_t *coefficients = places.place(first_block + block);
            copy_block(coefficients);
            end = refine_block();
            if (end != SEGMENT_COMPLETE) {
                return block;
            }
            store_block(coefficients);
        }
        return num_blocks;
    }

    /* Figure G.7 and its neighbours, on the copy in shared memory. */
    __device__ __forceinline__ uint32_t refine_block() {
        uint32_t k = scan.z_begin;
        while (eob_run == 0 && k < scan.z_end) {
            const uint32_t at_bits = window.position_bits;
            const uint32_t peeked = window.peek();
            const BlockCode &code = smem.tables.blocks[0];
            SymbolEntry entry = smem_tail<uint16_t>(smem)[code.ac_lookup + (peeked >> AC_LOOKUP_SHIFT)];
            if (entry == 0) {
                entry = decode_by_length(p.batch.tables[code.ac_table], peeked, AC_LOOKUP_BITS + 1);
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
                eob_run = (1u << size_bits) + raw_value(peeked, entry);
                break;
            }
            k = correct_and_skip(k, entry_advance(entry) - 1);
            if (window.position_bits > end_bits) {
                return SEGMENT_TRUNCATED;
            }
            if (size_bits == 1) {
                const int32_t magnitude = 1 << scan.point_transform;
                coefficient(k) = static_cast<int16_t>(raw_value(peeked, entry) ? magnitude : -magnitude);
            }
            ++k;
        }
        if (eob_run > 0) {
            correct_and_skip(k, 64);
            --eob_run;
        }
        return window.position_bits > end_bits ? SEGMENT_TRUNCATED : SEGMENT_COMPLETE;
    }

    /* Corrects the coefficients that are not zero from k on, until `zeros` zeros are passed and another one, or the band's end, is
     * reached. Returns that place. Stops early, one bit too far, where the segment ends. */
    __device__ __forceinline__ uint32_t correct_and_skip(uint32_t k, uint32_t zeros) {
        const int32_t magnitude = 1 << scan.point_transform;
        for (; k < scan.z_end && window.position_bits <= end_bits; ++k) {
            int16_t &c = coefficient(k);
            if (c == 0) {
                if (zeros == 0) {
                    break;
                }
                --zeros;
            } else if (take_bit() && (c & magnitude) == 0) {
                c = static_cast<int16_t>(c >= 0 ? c + magnitude : c - magnitude);
            }
        }
        return k;
    }
};

__device__ void refine_segments(const RefineSegmentsParams &p, RefineSegmentsSmem &smem) {
    const WorkTile work = p.tiles[blockIdx.x];
    const ScanDesc &scan = p.batch.scans[work.scan_idx];
    const ScanState &state = p.batch.scan_states[work.scan_idx];
    if (work.first >= state.num_segments || state.is_unresolved) {
        return;
    }
    load_scan_tables(smem.tables, smem_tail<uint16_t>(smem), 0, p.batch, scan);
    load_natural_order(smem.natural_order);
    __syncthreads();
    const uint32_t segment_idx = work.first + threadIdx.x;
    if (segment_idx >= state.num_segments) {
        return;
    }
    const Segment *segments = p.batch.segments + scan.first_segment;
    const Segment segment = segments[segment_idx];
    if (segment.interval == NO_INTERVAL) {
        return;
    }
    Refinement refinement = {p, smem, scan, {scan, p.batch.coefficients}, {}, segments[segment_idx + 1].start_bytes * 8, 0, UINT32_MAX};
    refinement.window.seek(p.batch.destuffed + scan.destuffed_offset, segment.start_bytes * 8);
    const uint32_t first_block = segment.interval * scan.interval_mcus * scan.num_mcu_blocks;
    const uint32_t num_blocks = interval_blocks(scan, segment.interval);
    SegmentResult result = {SEGMENT_COMPLETE, 0, 0, UINT32_MAX, UINT32_MAX, 0};
    if (scan.kind == SCAN_REFINE_DC) {
        result.received_blocks = refinement.refine_dc(first_block, num_blocks);
        result.end = result.received_blocks == num_blocks ? SEGMENT_COMPLETE : SEGMENT_TRUNCATED;
    } else {
        result.received_blocks = refinement.refine_ac(first_block, num_blocks, result.end);
    }
    if (result.end == SEGMENT_BAD_CODE) {
        result.bad_block = result.received_blocks;
        result.bad_bits = refinement.bad_bits;
    }
    result.end_bits = result.end == SEGMENT_COMPLETE ? refinement.window.position_bits : refinement.end_bits;
    p.batch.segment_results[scan.first_segment + segment_idx] = result;
}

#endif
