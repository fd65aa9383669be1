/* Says of every image which of its MCUs can be trusted, and what is wrong first (src/cpu/entropy has the rules). */
#ifndef DCTFLOW_DECODE_REPORT_OUTCOMES_CUH
#define DCTFLOW_DECODE_REPORT_OUTCOMES_CUH

#include "common/scan.cuh"
#include "decode/segments.cuh"

/* MCUs of a scan. */
struct McuRange {
    uint32_t first;
    uint32_t end;
};

struct ReportOutcomesSmem {
    CtaScan<TILE_THREADS> scan;
    /* Not to be trusted: two ranges of each thread, and how many MCUs the ranges before have. */
    uint32_t range_firsts[2 * TILE_THREADS];
    uint32_t mcus_before[2 * TILE_THREADS];
};

/* What is wrong with a segment. */
struct SegmentFault {
    uint32_t kind; /* A `FaultKind`. */
    uint32_t bits; /* From the segment's start. */
};

__device__ __forceinline__ SegmentFault segment_fault(const Segment &segment, uint32_t end_bytes, const SegmentResult &result) {
    const uint32_t start_bits = segment.start_bytes * 8;
    if (segment.marker & SEGMENT_OUT_OF_ORDER) {
        return {FAULT_MARKER, 0};
    }
    if (segment.marker & SEGMENT_NO_INTERVAL) {
        return {(segment.marker & SEGMENT_EXCESS) != 0 ? uint32_t{FAULT_EXCESS} : uint32_t{FAULT_NONE}, 0};
    }
    if (result.bad_block != UINT32_MAX) {
        return {FAULT_BAD_CODE, result.bad_bits - start_bits};
    }
    if (result.end != SEGMENT_COMPLETE) {
        return {FAULT_TRUNCATED, 0};
    }
    const uint32_t used_bytes = (result.end_bits + 7) / 8;
    return used_bytes < end_bytes ? SegmentFault{FAULT_EXCESS, used_bytes * 8 - start_bits} : SegmentFault{FAULT_NONE, 0};
}

struct OutcomeReport {
    const ReportOutcomesParams &p;
    ReportOutcomesSmem &smem;
    const ImageDesc &image;

    /* What a segment lacks, and the intervals lost before it. */
    __device__ __forceinline__ void find_ranges(const ScanDesc &scan, const Segment &segment, const SegmentResult &result,
                                                McuRange &lost, McuRange &lacking) const {
        if (segment.marker & SEGMENT_NO_INTERVAL) {
            return;
        }
        const uint32_t first_mcu = segment.interval * scan.interval_mcus;
        lost = {first_mcu - ((segment.marker & SEGMENT_LOST) >> SEGMENT_LOST_SHIFT) * scan.interval_mcus, first_mcu};
        uint32_t first_block = min(result.bad_block, result.end == SEGMENT_COMPLETE ? UINT32_MAX : result.received_blocks);
        first_block = segment.marker & SEGMENT_WRONG_NUMBER ? 0 : first_block;
        if (first_block != UINT32_MAX) {
            lacking = {first_mcu + first_block / scan.num_mcu_blocks, min(first_mcu + scan.interval_mcus, scan.num_mcus)};
        }
    }

    /* Sets the bits of the frame's MCUs that hold the MCUs of two ranges of each thread, however they are shared out. The whole CTA calls
     * it. */
    __device__ __forceinline__ void mark_ranges(const ScanDesc &scan, const McuRange (&own)[2]) const {
        uint32_t *untrusted = p.batch.untrusted + image.first_untrusted_word;
        const uint32_t num_own[2] = {own[0].end - min(own[0].first, own[0].end), own[1].end - min(own[1].first, own[1].end)};
        uint32_t num_mcus;
        const uint32_t num_before = smem.scan.exclusive_sum(num_own[0] + num_own[1], num_mcus);
#pragma unroll
        for (uint32_t i = 0; i < 2; ++i) {
            smem.range_firsts[2 * threadIdx.x + i] = own[i].first;
            smem.mcus_before[2 * threadIdx.x + i] = num_before + (i == 0 ? 0 : num_own[0]);
        }
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < num_mcus; i += TILE_THREADS) {
            /* The last range that does not begin behind it. */
            uint32_t range = 0;
#pragma unroll
            for (uint32_t step = TILE_THREADS; step > 0; step /= 2) {
                range += smem.mcus_before[range + step] <= i ? step : 0;
            }
            const uint32_t mcu = smem.range_firsts[range] + (i - smem.mcus_before[range]);
            const uint32_t y = mcu / scan.mcus_wide;
            const uint32_t x = mcu - y * scan.mcus_wide;
            const uint32_t frame_mcu = y / scan.components[0].v * image.mcus_wide + x / scan.components[0].h;
            atomicOr(&untrusted[frame_mcu / 32], 1u << frame_mcu % 32);
        }
        __syncthreads();
    }

    /* Marks what a scan lacks. Returns the first segment with a fault; UINT32_MAX: none. The whole CTA calls it. */
    __device__ __forceinline__ uint32_t report_segments(const ScanDesc &scan, const ScanState &state) const {
        const Segment *segments = p.batch.segments + scan.first_segment;
        const SegmentResult *results = p.batch.segment_results + scan.first_segment;
        uint32_t first_fault = UINT32_MAX;
        for (uint32_t first = 0; first < state.num_segments; first += TILE_THREADS) {
            const uint32_t i = first + threadIdx.x;
            const bool is_faulty =
                i < state.num_segments && segment_fault(segments[i], segments[i + 1].start_bytes, results[i]).kind != FAULT_NONE;
            const uint32_t found = smem.scan.minimum(is_faulty ? i : UINT32_MAX);
            if (found == UINT32_MAX) {
                continue;
            }
            first_fault = min(first_fault, found);
            McuRange ranges[2] = {};
            if (is_faulty) {
                find_ranges(scan, segments[i], results[i], ranges[0], ranges[1]);
            }
            mark_ranges(scan, ranges);
        }
        return first_fault;
    }

    /* The intervals behind the last one that was found. The whole CTA calls it. */
    __device__ __forceinline__ void report_lost_end(const ScanDesc &scan, const ScanState &state) const {
        McuRange ranges[2] = {};
        if (threadIdx.x == 0) {
            ranges[0] = {state.num_found * scan.interval_mcus, scan.num_mcus};
        }
        mark_ranges(scan, ranges);
    }

    /* Counts the MCUs that are not to be trusted. The whole CTA calls it. */
    __device__ __forceinline__ void count_untrusted(ImageOutcome &outcome) const {
        const uint32_t *untrusted = p.batch.untrusted + image.first_untrusted_word;
        uint32_t num_own = 0;
        uint32_t first_own = UINT32_MAX;
        for (uint32_t i = threadIdx.x; i < (image.num_mcus + 31) / 32; i += TILE_THREADS) {
            const uint32_t word = untrusted[i];
            num_own += __popc(word);
            first_own = word != 0 ? min(first_own, i * 32 + __ffs(word) - 1) : first_own;
        }
        smem.scan.exclusive_sum(num_own, outcome.untrusted_mcus);
        outcome.first_untrusted_mcu = smem.scan.minimum(first_own);
    }
};

__device__ void report_outcomes(const ReportOutcomesParams &p, ReportOutcomesSmem &smem) {
    const ImageDesc &image = p.batch.images[blockIdx.x];
    const OutcomeReport report = {p, smem, image};
    ImageOutcome outcome = {};
    outcome.first_untrusted_mcu = UINT32_MAX;
    for (uint32_t i = 0; i < image.num_scans; ++i) {
        const ScanDesc &scan = p.batch.scans[image.first_scan + i];
        const ScanState &state = p.batch.scan_states[image.first_scan + i];
        outcome.serial_subsequences += state.serial_subsequences;
        outcome.is_unresolved |= state.is_unresolved;
        if (state.is_unresolved) {
            continue;
        }
        const uint32_t segment_idx = report.report_segments(scan, state);
        const bool has_lost_end = state.num_found < scan.num_intervals;
        if (has_lost_end) {
            report.report_lost_end(scan, state);
        }
        if (segment_idx == UINT32_MAX && !has_lost_end) {
            ++outcome.scans_complete;
        } else if (outcome.fault == FAULT_NONE) {
            SegmentFault fault = {FAULT_LOST_INTERVALS, 0};
            if (segment_idx != UINT32_MAX) {
                const Segment *segment = p.batch.segments + scan.first_segment + segment_idx;
                fault = segment_fault(segment[0], segment[1].start_bytes, p.batch.segment_results[scan.first_segment + segment_idx]);
            }
            outcome.fault = fault.kind;
            outcome.fault_bits = fault.bits;
            outcome.fault_scan = i;
            outcome.fault_segment = segment_idx;
        }
    }
    if (outcome.fault != FAULT_NONE) {
        report.count_untrusted(outcome);
    }
    if (threadIdx.x == 0) {
        p.batch.outcomes[blockIdx.x] = outcome;
    }
}

#endif
