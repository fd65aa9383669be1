/* Geometry of segments and their subsequences. */
#ifndef DCTFLOW_DECODE_SEGMENTS_CUH
#define DCTFLOW_DECODE_SEGMENTS_CUH

#include "abi.h"

/* Segments that are not longer than a subsequence are not divided: one thread decodes them from their known start. */
__device__ __forceinline__ uint32_t num_subsequences_of(uint32_t segment_bytes, uint32_t subsequence_bytes) {
    return segment_bytes <= subsequence_bytes ? 0 : (segment_bytes - 1) / subsequence_bytes + 1;
}

/* Bits of the scan's destuffed data that a subsequence has, and where its segment ends. */
struct BitRange {
    uint32_t start_bits;
    uint32_t end_bits;
    uint32_t segment_end_bits;
};

struct SubsequencePlace {
    BitRange range;
    uint32_t segment_idx;
    bool is_first; /* Of its segment: its start state is known. */
};

/* Where subsequence `subsequence_idx` of a scan lies. */
__device__ __forceinline__ SubsequencePlace find_subsequence(const Segment *segments, uint32_t num_segments, uint32_t subsequence_bytes,
                                                            uint32_t subsequence_idx) {
    /* The last segment whose first subsequence is not behind: of those that share it, the last one is the one that is divided. */
    uint32_t low = 0;
    uint32_t high = num_segments;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (segments[middle].first_subsequence <= subsequence_idx) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const uint32_t idx_in_segment = subsequence_idx - segments[low].first_subsequence;
    const uint32_t start_bytes = segments[low].start_bytes + idx_in_segment * subsequence_bytes;
    const uint32_t segment_end_bytes = segments[low + 1].start_bytes;
    const uint32_t end_bytes = min(start_bytes + subsequence_bytes, segment_end_bytes);
    return {{start_bytes * 8, end_bytes * 8, segment_end_bytes * 8}, low, idx_in_segment == 0};
}

/* Blocks that a restart interval of the scan has. */
__device__ __forceinline__ uint32_t interval_blocks(const ScanDesc &scan, uint32_t interval) {
    return min(scan.interval_mcus, scan.num_mcus - interval * scan.interval_mcus) * scan.num_mcu_blocks;
}

#endif
