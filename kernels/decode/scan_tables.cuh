/* What decoding a scan's symbols needs, in shared memory. */
#ifndef DCTFLOW_DECODE_SCAN_TABLES_CUH
#define DCTFLOW_DECODE_SCAN_TABLES_CUH

#include "abi.h"
#include "common/cta.cuh"
#include "common/huffman.cuh"
#include "decode/segments.cuh"

/* How a block of the MCU is decoded. */
struct alignas(16) BlockCode {
    uint32_t first_lookup; /* Start of the lookup for the block's first symbol: DC, where the scan sends it. */
    uint32_t first_shift;  /* 32 less the bits that it is indexed by. */
    uint32_t dc_table;     /* Index into the batch's tables. */
    uint32_t ac_table;
    uint32_t ac_lookup;    /* Start of the lookup for all other symbols. */
    DcPlace dc_place;
};

/* A scan's MCU. The lookups lie in the tail of shared memory: AC tables by slot, then DC tables by slot. */
struct alignas(16) ScanTables {
    BlockCode blocks[MAX_MCU_BLOCKS];
    uint32_t num_mcu_blocks;
    uint32_t z_begin;
    uint32_t z_end;
};

static constexpr uint32_t AC_LOOKUP_SHIFT = 32 - AC_LOOKUP_BITS;
static constexpr uint32_t DC_LOOKUP_SHIFT = 32 - DC_LOOKUP_BITS;

/* Copies a table's lookup, 16 bytes a thread at a time. */
__device__ __forceinline__ void copy_lookup(uint16_t *to, const HuffmanTable &table, uint32_t num_entries) {
    const uint4 *from = reinterpret_cast<const uint4 *>(table.lookup);
    for (uint32_t i = threadIdx.x; i < num_entries / 8; i += blockDim.x) {
        reinterpret_cast<uint4 *>(to)[i] = from[i];
    }
}

/* Fills `tables`, and `lookups` from `first_lookup` on; returns where they end. The CTA must meet at a barrier before it uses them. */
__device__ __forceinline__ uint32_t load_scan_tables(ScanTables &tables, uint16_t *lookups, uint32_t first_lookup, const DecodeBatch &batch,
                                                     const ScanDesc &scan) {
    constexpr uint32_t AC_ENTRIES = 1u << AC_LOOKUP_BITS;
    constexpr uint32_t DC_ENTRIES = 1u << DC_LOOKUP_BITS;
    const uint32_t first_dc_lookup = first_lookup + scan.num_ac_tables * AC_ENTRIES;
    if (threadIdx.x < scan.num_mcu_blocks) {
        const McuBlock block = scan.mcu_blocks[threadIdx.x];
        const uint32_t ac_lookup = first_lookup + block.ac_slot * AC_ENTRIES;
        const uint32_t dc_lookup = first_dc_lookup + block.dc_slot * DC_ENTRIES;
        const bool has_dc = scan.z_begin == 0;
        tables.blocks[threadIdx.x] = {has_dc ? dc_lookup : ac_lookup,
                                      has_dc ? DC_LOOKUP_SHIFT : AC_LOOKUP_SHIFT,
                                      scan.dc_tables[block.dc_slot],
                                      scan.ac_tables[block.ac_slot],
                                      ac_lookup,
                                      DcPlace::of(block.component)};
    }
    if (threadIdx.x == 0) {
        tables.num_mcu_blocks = scan.num_mcu_blocks;
        tables.z_begin = scan.z_begin;
        tables.z_end = scan.z_end;
    }
    for (uint32_t slot = 0; slot < scan.num_ac_tables; ++slot) {
        copy_lookup(lookups + first_lookup + slot * AC_ENTRIES, batch.tables[scan.ac_tables[slot]], AC_ENTRIES);
    }
    for (uint32_t slot = 0; slot < scan.num_dc_tables; ++slot) {
        copy_lookup(lookups + first_dc_lookup + slot * DC_ENTRIES, batch.tables[scan.dc_tables[slot]], DC_ENTRIES);
    }
    return first_dc_lookup + scan.num_dc_tables * DC_ENTRIES;
}

/* Where decoding stands: the bits, the block of the MCU, and the zig-zag index of the next coefficient. */
struct SymbolReader {
    BitWindow window;
    uint32_t mcu_block;
    uint32_t z;
    uint32_t lookup;       /* Start of the next symbol's lookup. */
    uint32_t lookup_shift; /* 32 less the bits that it is indexed by. */

    /* Sets everything but the window. */
    __device__ __forceinline__ void enter(const ScanTables &tables, uint32_t new_mcu_block, uint32_t new_z) {
        mcu_block = new_mcu_block;
        z = new_z;
        const BlockCode &code = tables.blocks[mcu_block];
        lookup = z == 0 ? code.first_lookup : code.ac_lookup;
        lookup_shift = z == 0 ? code.first_shift : AC_LOOKUP_SHIFT;
    }

    /* The next symbol, not yet consumed; zero: its code is longer than the lookup. */
    __device__ __forceinline__ SymbolEntry peek_short_symbol(const uint16_t *lookups, uint32_t peeked) const {
        return lookups[lookup + (peeked >> lookup_shift)];
    }

    /* Rare: the next symbol where its code is long. */
    __device__ __forceinline__ SymbolEntry peek_long_symbol(const ScanTables &tables, const HuffmanTable *all_tables, uint32_t peeked) const {
        const BlockCode &code = tables.blocks[mcu_block];
        const bool is_dc = z == 0;
        return decode_by_length(all_tables[is_dc ? code.dc_table : code.ac_table], peeked, (is_dc ? DC_LOOKUP_BITS : AC_LOOKUP_BITS) + 1);
    }

    /* Consumes a symbol. True: a block ends with it. */
    __device__ __forceinline__ bool pass_symbol(const ScanTables &tables, SymbolEntry entry) {
        COUNT(symbols, 1);
        window.skip(entry_total_bits(entry));
        z += entry_advance(entry);
        if (z < tables.z_end) {
            return false;
        }
        z = tables.z_begin;
        mcu_block = mcu_block + 1 == tables.num_mcu_blocks ? 0 : mcu_block + 1;
        lookup = tables.blocks[mcu_block].first_lookup;
        lookup_shift = tables.blocks[mcu_block].first_shift;
        return true;
    }
};

/* Rare: how many blocks a run of EOB ends (T.81 G.1.2.2). */
__device__ __forceinline__ uint32_t eob_run_blocks(uint32_t peeked, SymbolEntry entry) {
    return (1u << entry_size_bits(entry)) + raw_value(peeked, entry);
}

/* One lane's way through a subsequence, counting what it meets. */
struct Trajectory {
    SymbolReader reader;
    uint32_t num_blocks; /* Blocks that ended; RECORD_BAD_CODE is set if a pattern was no code. */
    DcSums dc;
    uint32_t start_state;

    __device__ __forceinline__ void start(const ScanTables &tables, const uint32_t *words, const BitRange &range, uint32_t state) {
        reader.window.seek(words, min(range.start_bits + state_behind_bits(state), range.segment_end_bits));
        reader.enter(tables, state_mcu_block(state), state_z(state));
        num_blocks = 0;
        dc = {};
        start_state = state;
    }

    __device__ __forceinline__ uint32_t position_bits() const { return reader.window.position_bits; }

    /* Decodes one symbol. Whether it fits into the segment is for the caller to see; what was counted is worth nothing if not. */
    __device__ __forceinline__ void count_symbol(const ScanTables &tables, const uint16_t *lookups, const HuffmanTable *all_tables) {
        const uint32_t peeked = reader.window.peek();
        SymbolEntry entry = reader.peek_short_symbol(lookups, peeked);
        if (entry == 0) {
            entry = reader.peek_long_symbol(tables, all_tables, peeked);
            num_blocks |= entry_is_no_code(entry) ? RECORD_BAD_CODE : 0;
            entry &= ~NO_CODE;
        }
        if (reader.z == 0) {
            const BlockCode &code = tables.blocks[reader.mcu_block];
            dc.add(code.dc_place, signed_value(peeked, entry));
            reader.lookup = code.ac_lookup;
            reader.lookup_shift = AC_LOOKUP_SHIFT;
        }
        if (reader.pass_symbol(tables, entry)) {
            num_blocks += entry_is_eob_run(entry) ? eob_run_blocks(peeked, entry) : 1;
        }
    }

    /* The state as seen from `boundary_bits`, which was just passed, in a segment that ends at `segment_end_bits`. */
    __device__ __forceinline__ uint32_t state_at(uint32_t boundary_bits, uint32_t segment_end_bits) const {
        return position_bits() > segment_end_bits ? STATE_TRUNCATED : pack_state(position_bits() - boundary_bits, reader.mcu_block, reader.z);
    }

    __device__ __forceinline__ SubsequenceRecord record(uint32_t end_state) const {
        return {static_cast<uint16_t>(start_state), static_cast<uint16_t>(end_state), num_blocks, {dc.pair[0], dc.pair[1]}};
    }
};

#endif
