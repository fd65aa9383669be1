/* Says which restart interval each segment holds, and which subsequences it is divided into. */
#ifndef DCTFLOW_DECODE_INDEX_SEGMENTS_CUH
#define DCTFLOW_DECODE_INDEX_SEGMENTS_CUH

#include "common/scan.cuh"
#include "decode/segments.cuh"

static constexpr uint32_t INDEX_SEGMENTS_THREADS = 256;

struct IndexSegmentsSmem {
    CtaScan<INDEX_SEGMENTS_THREADS> scan;
};

/* How far RSTm moves on from the RSTm before: one interval where they follow each other, up to eight where some were lost. */
__device__ __forceinline__ uint32_t intervals_passed(uint32_t marker_before, uint32_t marker) {
    return (marker - marker_before - 1) % 8 + 1;
}

__device__ void index_segments(const IndexSegmentsParams &p, IndexSegmentsSmem &smem) {
    const ScanDesc &scan = p.batch.scans[blockIdx.x];
    ScanState &state = p.batch.scan_states[blockIdx.x];
    Segment *segments = p.batch.segments + scan.first_segment;
    const uint32_t num_segments = state.num_segments;
    uint32_t interval_before = 0;
    uint32_t subsequences_before = 0;
    uint32_t marker_of_last_thread = 7;
    for (uint32_t first = 0; first < num_segments; first += INDEX_SEGMENTS_THREADS) {
        const uint32_t segment_idx = first + threadIdx.x;
        Segment segment = {};
        uint32_t passed = 0;
        uint32_t num_subsequences = 0;
        if (segment_idx < num_segments) {
            segment = segments[segment_idx];
            const uint32_t marker_before = threadIdx.x == 0 ? marker_of_last_thread : segments[segment_idx - 1].interval;
            passed = segment_idx == 0 ? 0 : intervals_passed(marker_before, segment.interval);
            const uint32_t length_bytes = segment_end_bytes(state, segments, segment_idx, scan) - segment.start_bytes;
            num_subsequences = num_subsequences_of(length_bytes, scan.subsequence_bytes);
        }
        marker_of_last_thread = segments[min(first + INDEX_SEGMENTS_THREADS, num_segments) - 1].interval;
        uint32_t total_passed;
        uint32_t total_subsequences;
        segment.interval = interval_before + passed + smem.scan.exclusive_sum(passed, total_passed);
        segment.first_subsequence = subsequences_before + smem.scan.exclusive_sum(num_subsequences, total_subsequences);
        if (segment_idx < num_segments) {
            segments[segment_idx] = segment;
        }
        interval_before += total_passed;
        subsequences_before += total_subsequences;
    }
    if (threadIdx.x == 0) {
        state.num_subsequences = min(subsequences_before, scan.max_subsequences);
    }
}

#endif
