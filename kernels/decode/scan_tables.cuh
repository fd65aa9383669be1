/* What decoding a scan's symbols needs, in shared memory. */
#ifndef DCTFLOW_DECODE_SCAN_TABLES_CUH
#define DCTFLOW_DECODE_SCAN_TABLES_CUH

#include "abi.h"
#include "common/cta.cuh"
#include "common/huffman.cuh"
#include "decode/segments.cuh"

/* A scan's MCU, and how its lookups lie in the tail of shared memory: AC tables by slot, then DC tables by slot. */
struct ScanTables {
    uint32_t block_lookups[MAX_MCU_BLOCKS]; /* By block of the MCU: offset of its DC lookup, of its AC lookup << 16. */
    uint32_t block_components[MAX_MCU_BLOCKS];
    uint32_t dc_tables[MAX_MCU_BLOCKS]; /* Index into the batch's tables. */
    uint32_t ac_tables[MAX_MCU_BLOCKS];
    uint32_t num_mcu_blocks;
    uint32_t z_begin;
    uint32_t z_end;
    uint32_t reserved; /* The tail is aligned to 16 bytes. */
};

/* Copies a table's lookup, 16 bytes a thread at a time. */
__device__ __forceinline__ void copy_lookup(uint16_t *to, const HuffmanTable &table, uint32_t num_entries) {
    const uint4 *from = reinterpret_cast<const uint4 *>(table.lookup);
    for (uint32_t i = threadIdx.x; i < num_entries / 8; i += blockDim.x) {
        reinterpret_cast<uint4 *>(to)[i] = from[i];
    }
}

/* Fills `tables` and the lookups behind it; the CTA must meet at a barrier before it uses them. */
__device__ __forceinline__ void load_scan_tables(ScanTables &tables, uint16_t *lookups, const DecodeBatch &batch, const ScanDesc &scan) {
    constexpr uint32_t AC_ENTRIES = 1u << AC_LOOKUP_BITS;
    constexpr uint32_t DC_ENTRIES = 1u << DC_LOOKUP_BITS;
    const uint32_t first_dc_entry = scan.num_ac_tables * AC_ENTRIES;
    if (threadIdx.x < scan.num_mcu_blocks) {
        const McuBlock block = scan.mcu_blocks[threadIdx.x];
        tables.block_lookups[threadIdx.x] = (first_dc_entry + block.dc_slot * DC_ENTRIES) | block.ac_slot * AC_ENTRIES << 16;
        tables.block_components[threadIdx.x] = block.component;
        tables.dc_tables[threadIdx.x] = scan.dc_tables[block.dc_slot];
        tables.ac_tables[threadIdx.x] = scan.ac_tables[block.ac_slot];
    }
    if (threadIdx.x == 0) {
        tables.num_mcu_blocks = scan.num_mcu_blocks;
        tables.z_begin = scan.z_begin;
        tables.z_end = scan.z_end;
    }
    for (uint32_t slot = 0; slot < scan.num_ac_tables; ++slot) {
        copy_lookup(lookups + slot * AC_ENTRIES, batch.tables[scan.ac_tables[slot]], AC_ENTRIES);
    }
    for (uint32_t slot = 0; slot < scan.num_dc_tables; ++slot) {
        copy_lookup(lookups + first_dc_entry + slot * DC_ENTRIES, batch.tables[scan.dc_tables[slot]], DC_ENTRIES);
    }
}

/* Where decoding stands: the bits, the block of the MCU, and the zig-zag index of the next coefficient. */
struct SymbolReader {
    BitWindow window;
    uint32_t mcu_block;
    uint32_t z;

    /* The next symbol, not yet consumed. A DC symbol comes first in a block (z = 0, where the scan sends DC at all). */
    __device__ __forceinline__ SymbolEntry peek_symbol(const ScanTables &tables, const uint16_t *lookups, const HuffmanTable *all_tables,
                                                       uint32_t peeked) const {
        const uint32_t offsets = tables.block_lookups[mcu_block];
        const bool is_dc = z == 0;
        const uint32_t entry = is_dc ? lookups[(offsets & 0xffff) + (peeked >> (32 - DC_LOOKUP_BITS))]
                                     : lookups[(offsets >> 16) + (peeked >> (32 - AC_LOOKUP_BITS))];
        if (entry != 0) {
            return entry;
        }
        return is_dc ? decode_by_length(all_tables[tables.dc_tables[mcu_block]], peeked, DC_LOOKUP_BITS + 1)
                     : decode_by_length(all_tables[tables.ac_tables[mcu_block]], peeked, AC_LOOKUP_BITS + 1);
    }

    /* Consumes it; returns the number of blocks that end with it (more than one: EOBn). */
    __device__ __forceinline__ uint32_t pass_symbol(const ScanTables &tables, uint32_t peeked, SymbolEntry entry) {
        COUNT(symbols, 1);
        window.skip(entry_total_bits(entry));
        z += entry_advance(entry);
        if (z < tables.z_end) {
            return 0;
        }
        z = tables.z_begin;
        mcu_block = mcu_block + 1 == tables.num_mcu_blocks ? 0 : mcu_block + 1;
        return entry_advance(entry) == BLOCK_END ? (1u << entry_size_bits(entry)) + raw_value(peeked, entry) : 1;
    }
};

/* What was met while decoding a run of bits. */
struct SpanCounts {
    uint32_t num_blocks; /* Blocks that ended; RECORD_BAD_CODE is set if a pattern was no code. */
    DcSums dc;
};

/* Decodes all symbols that start before `stop_bits`. False: the next one does not fit into the segment, which ends at
 * `segment_end_bits`. */
__device__ __forceinline__ bool count_symbols(SymbolReader &reader, SpanCounts &counts, uint32_t stop_bits, uint32_t segment_end_bits,
                                              const ScanTables &tables, const uint16_t *lookups, const HuffmanTable *all_tables) {
    while (reader.window.position_bits < stop_bits) {
        const uint32_t peeked = reader.window.peek();
        const SymbolEntry entry = reader.peek_symbol(tables, lookups, all_tables, peeked);
        if (reader.window.position_bits + entry_total_bits(entry) > segment_end_bits) {
            return false;
        }
        if (reader.z == 0) {
            counts.dc.add(tables.block_components[reader.mcu_block], signed_value(peeked, entry));
        }
        counts.num_blocks += reader.pass_symbol(tables, peeked, entry);
        counts.num_blocks |= entry_is_no_code(entry) ? RECORD_BAD_CODE : 0;
    }
    return true;
}

/* One lane's way through a subsequence. */
struct Trajectory {
    SymbolReader reader;
    SpanCounts counts;
    uint32_t start_state;

    __device__ __forceinline__ void start(const uint32_t *words, const SubsequenceRange &range, uint32_t state) {
        reader.window.seek(words, min(range.start_bits + state_behind_bits(state), range.segment_end_bits));
        reader.mcu_block = state_mcu_block(state);
        reader.z = state_z(state);
        counts = {};
        start_state = state;
    }

    /* The state as seen from `boundary_bits`, which was just passed. */
    __device__ __forceinline__ uint32_t state_at(uint32_t boundary_bits) const {
        return pack_state(reader.window.position_bits - boundary_bits, reader.mcu_block, reader.z);
    }

    __device__ __forceinline__ SubsequenceRecord record(uint32_t end_state) const {
        return {static_cast<uint16_t>(start_state), static_cast<uint16_t>(end_state), counts.num_blocks,
                {counts.dc.pair[0], counts.dc.pair[1]}};
    }
};

#endif
