/* Builds the decoding tables of a Huffman table (T.81 C.2, F.2.2.3) as the file sends it: one warp a table.
 * Tables that T.81 forbids were refused by the plan; here they would give wrong symbols, but no access outside the table. */
#ifndef DCTFLOW_DECODE_BUILD_TABLES_CUH
#define DCTFLOW_DECODE_BUILD_TABLES_CUH

#include "common/huffman.cuh"
#include "common/scan.cuh"

static constexpr uint32_t BUILD_TABLES_THREADS = 128;

__device__ void build_tables(const BuildTablesParams &p, NoSmem &) {
    const uint32_t table_idx = blockIdx.x * (BUILD_TABLES_THREADS / WARP_THREADS) + warp_idx();
    if (table_idx >= p.num_tables) {
        return;
    }
    const HuffmanSpec &spec = p.batch.specs[table_idx];
    HuffmanTable &table = p.batch.tables[table_idx];

    /* Lane l is code length l: codes of one length follow each other, and left-aligned all codes do. */
    const uint32_t length = lane_idx();
    const uint32_t num_codes = length >= 1 && length <= 16 ? spec.bits[length - 1] : 0;
    const uint32_t code_span = num_codes << (16 - min(length, 16u));
    const uint32_t code_end = warp_inclusive_sum(code_span);
    const uint32_t first_huffval = warp_inclusive_sum(num_codes) - num_codes;
    if (length <= 16) {
        table.code_end[length] = code_end;
        table.huffval_offset[length] = static_cast<int32_t>(first_huffval - ((code_end - code_span) >> (16 - length)));
    }
    if (length == 0) {
        table.kind = spec.kind;
    }
    for (uint32_t i = lane_idx(); i < 256; i += WARP_THREADS) {
        table.huffval[i] = spec.huffval[i];
    }
    __syncwarp();

    const uint32_t lookup_bits = spec.kind == HUFFMAN_DC ? DC_LOOKUP_BITS : AC_LOOKUP_BITS;
    for (uint32_t i = lane_idx(); i < 1u << lookup_bits; i += WARP_THREADS) {
        const SymbolEntry entry = decode_by_length(table, i << (32 - lookup_bits), 1);
        const bool is_resolved = !entry_is_no_code(entry) && entry_total_bits(entry) - entry_size_bits(entry) <= lookup_bits;
        table.lookup[i] = static_cast<uint16_t>(is_resolved ? entry : 0);
    }
}

#endif
