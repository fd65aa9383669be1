/* Says which restart interval each segment holds (src/jpeg/segments.rs, rule 6), and which subsequences it is divided into. */
#ifndef DCTFLOW_DECODE_INDEX_SEGMENTS_CUH
#define DCTFLOW_DECODE_INDEX_SEGMENTS_CUH

#include "common/scan.cuh"
#include "decode/segments.cuh"

static constexpr uint32_t INDEX_SEGMENTS_THREADS = 256;

struct IndexSegmentsSmem {
    CtaScan<INDEX_SEGMENTS_THREADS> scan;
    uint32_t num_found;
};

/* There are as many segments as intervals: they follow in order, whatever their numbers are. */
__device__ __forceinline__ void assign_in_order(Segment *segments, uint32_t num_segments) {
    for (uint32_t i = threadIdx.x; i < num_segments; i += INDEX_SEGMENTS_THREADS) {
        const bool is_expected = i == 0 || segments[i].marker == ((i - 1) & 7);
        segments[i].marker |= is_expected ? 0 : SEGMENT_OUT_OF_ORDER | SEGMENT_WRONG_NUMBER;
        segments[i].interval = i;
    }
}

/* Some are lost, or too many: what a marker means depends on those before it, so one thread goes through them. Returns the number of
 * intervals up to the last one found. */
__device__ uint32_t assign_by_marker(Segment *segments, uint32_t num_segments, uint32_t num_intervals) {
    segments[0].interval = 0;
    uint32_t next_interval = 1;
    for (uint32_t i = 1; i < num_segments; ++i) {
        Segment &segment = segments[i];
        const uint32_t lost = (segment.marker - next_interval + 1) & 7;
        if (lost < 4 && next_interval + lost < num_intervals) {
            segment.interval = next_interval + lost;
            segment.marker |= lost << SEGMENT_LOST_SHIFT | (lost > 0 ? SEGMENT_OUT_OF_ORDER : 0);
            next_interval = segment.interval + 1;
        } else if (next_interval < num_intervals) {
            segment.marker |= SEGMENT_OUT_OF_ORDER;
        } else if (segments[i + 1].start_bytes > segment.start_bytes) {
            segment.marker |= SEGMENT_EXCESS;
        }
    }
    return next_interval;
}

/* Numbers the subsequences of the segments. Returns how many there are. */
__device__ __forceinline__ uint32_t number_subsequences(CtaScan<INDEX_SEGMENTS_THREADS> &cta, Segment *segments, uint32_t num_segments,
                                                        uint32_t subsequence_bytes) {
    uint32_t num_before = 0;
    for (uint32_t first = 0; first < num_segments; first += INDEX_SEGMENTS_THREADS) {
        const uint32_t i = first + threadIdx.x;
        uint32_t num_own = 0;
        if (i < num_segments && segments[i].interval != NO_INTERVAL) {
            num_own = num_subsequences_of(segments[i + 1].start_bytes - segments[i].start_bytes, subsequence_bytes);
        }
        uint32_t num_chunk;
        const uint32_t num_before_own = num_before + cta.exclusive_sum(num_own, num_chunk);
        if (i < num_segments) {
            segments[i].first_subsequence = num_before_own;
        }
        num_before += num_chunk;
    }
    return num_before;
}

__device__ void index_segments(const IndexSegmentsParams &p, IndexSegmentsSmem &smem) {
    const ScanDesc &scan = p.batch.scans[blockIdx.x];
    ScanState &state = p.batch.scan_states[blockIdx.x];
    Segment *segments = p.batch.segments + scan.first_segment;
    const uint32_t num_segments = state.num_segments;
    if (num_segments == scan.num_intervals) {
        assign_in_order(segments, num_segments);
    } else if (threadIdx.x == 0) {
        smem.num_found = assign_by_marker(segments, num_segments, scan.num_intervals);
    }
    __syncthreads();
    const uint32_t num_subsequences = number_subsequences(smem.scan, segments, num_segments, scan.subsequence_bytes);
    if (threadIdx.x == 0) {
        state.num_found = num_segments == scan.num_intervals ? num_segments : smem.num_found;
        state.num_subsequences = min(num_subsequences, scan.max_subsequences);
    }
}

#endif
