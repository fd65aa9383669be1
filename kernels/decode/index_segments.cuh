/* Says which restart interval each segment holds (src/jpeg/segments.rs, rule 6), and which subsequences it is divided into. */
#ifndef DCTFLOW_DECODE_INDEX_SEGMENTS_CUH
#define DCTFLOW_DECODE_INDEX_SEGMENTS_CUH

#include "common/scan.cuh"
#include "decode/segments.cuh"

static constexpr uint32_t INDEX_SEGMENTS_THREADS = 256;

/* What a marker means depends on the interval that is due, but only on its last three bits, or on how near the end is if that is below 4. So a
 * run of segments is a function of that: of 8 remainders, and of 1 to 3 intervals to go. (Without any to go, there stay none.) */
static constexpr uint32_t NUM_REMAINDERS = 8;
static constexpr uint32_t MAX_LOST = 4;
static constexpr uint32_t NUM_STARTS = NUM_REMAINDERS + MAX_LOST - 1;

struct IndexSegmentsSmem {
    CtaScan<INDEX_SEGMENTS_THREADS> scan;
    uint32_t advance[NUM_STARTS][INDEX_SEGMENTS_THREADS]; /* By how many intervals each thread's run goes on, by start. */
    uint32_t first_due[INDEX_SEGMENTS_THREADS];           /* The interval that is due where each thread's run begins. */
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

/* Intervals that are lost before a segment, if `due` is the next one; MAX_LOST if the segment holds none. */
__device__ __forceinline__ uint32_t num_lost(uint32_t marker, uint32_t due, uint32_t num_intervals) {
    const uint32_t lost = (marker - due + 1) & 7;
    return lost < MAX_LOST && lost < num_intervals - due ? lost : MAX_LOST;
}

/* Some are lost, or too many: what a marker means depends on those before it. */
struct MarkerRun {
    IndexSegmentsSmem &smem;
    Segment *segments;
    uint32_t num_segments;
    uint32_t num_intervals;

    /* Each thread takes a run of segments; the first one of all is known. */
    __device__ __forceinline__ uint32_t run_len() const { return (num_segments - 1 + INDEX_SEGMENTS_THREADS - 1) / INDEX_SEGMENTS_THREADS; }
    __device__ __forceinline__ uint32_t run_start(uint32_t thread) const { return min(1 + thread * run_len(), num_segments); }

    /* A run from every start at once. */
    __device__ __forceinline__ void follow_all() const {
        uint32_t advance[NUM_STARTS] = {};
        const uint32_t end = run_start(threadIdx.x + 1);
        for (uint32_t i = run_start(threadIdx.x); i < end; ++i) {
            COUNT(serial_steps, 1);
            const uint32_t marker = segments[i].marker;
#pragma unroll
            for (uint32_t start = 0; start < NUM_STARTS; ++start) {
                const bool is_remainder = start < NUM_REMAINDERS;
                /* Remainders: far from the end. Others: that many intervals before it. */
                const uint32_t due = (is_remainder ? start : num_intervals - (start - NUM_REMAINDERS + 1)) + advance[start];
                const uint32_t lost = num_lost(marker, due, is_remainder ? UINT32_MAX : num_intervals);
                advance[start] += lost < MAX_LOST ? lost + 1 : 0;
            }
        }
#pragma unroll
        for (uint32_t start = 0; start < NUM_STARTS; ++start) {
            smem.advance[start][threadIdx.x] = advance[start];
        }
    }

    /* Goes through a thread's run from `due`; returns what is due behind it. */
    __device__ __forceinline__ uint32_t follow(uint32_t thread, uint32_t due) const {
        for (uint32_t i = run_start(thread); i < run_start(thread + 1); ++i) {
            COUNT(serial_steps, 1);
            const uint32_t lost = num_lost(segments[i].marker, due, num_intervals);
            due += lost < MAX_LOST ? lost + 1 : 0;
        }
        return due;
    }

    /* One thread: where every run begins. Only in one of them the end comes near, so only one is gone through here. */
    __device__ __forceinline__ void connect() const {
        uint32_t due = 1;
        for (uint32_t thread = 0; thread < INDEX_SEGMENTS_THREADS; ++thread) {
            COUNT(serial_steps, 1);
            smem.first_due[thread] = due;
            const uint32_t to_go = num_intervals - due;
            if (to_go >= MAX_LOST) {
                const uint32_t advance = smem.advance[due % NUM_REMAINDERS][thread];
                due = advance + MAX_LOST <= to_go ? due + advance : follow(thread, due);
            } else if (to_go > 0) {
                due += smem.advance[NUM_REMAINDERS + to_go - 1][thread];
            }
        }
        smem.num_found = due;
    }

    __device__ __forceinline__ void assign() const {
        uint32_t due = smem.first_due[threadIdx.x];
        const uint32_t end = run_start(threadIdx.x + 1);
        for (uint32_t i = run_start(threadIdx.x); i < end; ++i) {
            Segment &segment = segments[i];
            const uint32_t lost = num_lost(segment.marker, due, num_intervals);
            if (lost < MAX_LOST) {
                due += lost + 1;
                segment.marker |= lost << SEGMENT_LOST_SHIFT | (lost > 0 ? SEGMENT_OUT_OF_ORDER : 0);
            } else {
                const bool has_data = segments[i + 1].start_bytes > segment.start_bytes;
                segment.marker |= SEGMENT_NO_INTERVAL | (due < num_intervals ? SEGMENT_OUT_OF_ORDER : has_data ? SEGMENT_EXCESS : 0);
            }
            segment.interval = due - 1;
        }
    }
};

/* Numbers the subsequences of the segments. Returns how many there are. */
__device__ __forceinline__ uint32_t number_subsequences(CtaScan<INDEX_SEGMENTS_THREADS> &cta, Segment *segments, uint32_t num_segments,
                                                        uint32_t subsequence_bytes) {
    uint32_t num_before = 0;
    for (uint32_t first = 0; first < num_segments; first += INDEX_SEGMENTS_THREADS) {
        const uint32_t i = first + threadIdx.x;
        uint32_t num_own = 0;
        if (i < num_segments && (segments[i].marker & SEGMENT_NO_INTERVAL) == 0) {
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
    } else {
        const MarkerRun run = {smem, segments, num_segments, scan.num_intervals};
        run.follow_all();
        __syncthreads();
        if (threadIdx.x == 0) {
            segments[0].interval = 0;
            run.connect();
        }
        __syncthreads();
        run.assign();
    }
    __syncthreads();
    const uint32_t num_subsequences = number_subsequences(smem.scan, segments, num_segments, scan.subsequence_bytes);
    if (threadIdx.x == 0) {
        state.num_found = num_segments == scan.num_intervals ? num_segments : smem.num_found;
        state.num_subsequences = min(num_subsequences, scan.max_subsequences);
    }
}

#endif
