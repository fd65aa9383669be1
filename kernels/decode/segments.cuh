/* Geometry of segments and their subsequences. */
#ifndef DCTFLOW_DECODE_SEGMENTS_CUH
#define DCTFLOW_DECODE_SEGMENTS_CUH

#include "abi.h"

/* A segment ends where the next one starts, the last one where the data end. */
__device__ __forceinline__ uint32_t segment_end_bytes(const ScanState &state, const Segment *segments, uint32_t segment_idx,
                                                      const ScanDesc &scan) {
    const bool is_last = segment_idx + 1 == state.num_segments && state.excess_segments == 0;
    return is_last ? state.destuffed_bytes : segments[segment_idx + 1].start_bytes;
}

/* Segments that are not longer than a subsequence are not divided: one thread decodes them from their known start. */
__device__ __forceinline__ uint32_t num_subsequences_of(uint32_t segment_bytes, uint32_t subsequence_bytes) {
    return segment_bytes <= subsequence_bytes ? 0 : (segment_bytes - 1) / subsequence_bytes + 1;
}

/* A run of a scan's destuffed bits. */
struct SubsequenceRange {
    uint32_t segment_idx;
    uint32_t start_bits;
    uint32_t end_bits;
    uint32_t segment_end_bits;
    bool is_first; /* Of its segment: its start state is known. */
    bool is_last;
};

/* Where subsequence `subsequence_idx` of a scan lies. */
__device__ __forceinline__ SubsequenceRange find_subsequence(const DecodeBatch &batch, const ScanDesc &scan, const ScanState &state,
                                                            uint32_t subsequence_idx) {
    const Segment *segments = batch.segments + scan.first_segment;
    /* The last segment whose first subsequence is not behind; of those that share it, the last is the one that is divided. */
    uint32_t low = 0;
    uint32_t high = state.num_segments;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (segments[middle].first_subsequence <= subsequence_idx) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const uint32_t start_bytes =
        segments[low].start_bytes + (subsequence_idx - segments[low].first_subsequence) * scan.subsequence_bytes;
    const uint32_t segment_end = segment_end_bytes(state, segments, low, scan);
    const uint32_t end_bytes = min(start_bytes + scan.subsequence_bytes, segment_end);
    return {
        .segment_idx = low,
        .start_bits = start_bytes * 8,
        .end_bits = end_bytes * 8,
        .segment_end_bits = segment_end * 8,
        .is_first = subsequence_idx == segments[low].first_subsequence,
        .is_last = end_bytes == segment_end,
    };
}

/* Blocks that the segment's restart interval demands; 0 for an interval that the scan does not have. */
__device__ __forceinline__ uint32_t interval_blocks(const ScanDesc &scan, uint32_t interval) {
    if (interval >= scan.num_intervals) {
        return 0;
    }
    return min(scan.interval_mcus, scan.num_mcus - interval * scan.interval_mcus) * scan.num_mcu_blocks;
}

#endif
