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
    McuRange ranges[2 * TILE_THREADS]; /* Not to be trusted. */
    uint32_t num_ranges;
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
    if (segment.interval == NO_INTERVAL) {
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

    __device__ __forceinline__ void add_range(const ScanDesc &scan, uint32_t first_mcu, uint32_t end_mcu) const {
        if (first_mcu < end_mcu) {
            smem.ranges[atomicAdd(&smem.num_ranges, 1u)] = {first_mcu, min(end_mcu, scan.num_mcus)};
        }
    }

    /* Distrusts what a segment lacks, and the intervals lost before it. */
    __device__ __forceinline__ void add_ranges(const ScanDesc &scan, const Segment &segment, const SegmentResult &result) const {
        if (segment.interval == NO_INTERVAL) {
            return;
        }
        const uint32_t first_mcu = segment.interval * scan.interval_mcus;
        add_range(scan, first_mcu - (segment.marker >> SEGMENT_LOST_SHIFT) * scan.interval_mcus, first_mcu);
        uint32_t first_block = min(result.bad_block, result.end == SEGMENT_COMPLETE ? UINT32_MAX : result.received_blocks);
        first_block = segment.marker & SEGMENT_WRONG_NUMBER ? 0 : first_block;
        if (first_block != UINT32_MAX) {
            add_range(scan, first_mcu + first_block / scan.num_mcu_blocks, first_mcu + scan.interval_mcus);
        }
    }

    /* Sets the bits of the frame's MCUs that hold the MCUs of all ranges. The whole CTA calls it. */
    __device__ __forceinline__ void mark_ranges(const ScanDesc &scan) const {
        uint32_t *untrusted = p.batch.untrusted + image.first_untrusted_word;
        __syncthreads();
        for (uint32_t range = 0; range < smem.num_ranges; ++range) {
            for (uint32_t mcu = smem.ranges[range].first + threadIdx.x; mcu < smem.ranges[range].end; mcu += TILE_THREADS) {
                const uint32_t y = mcu / scan.mcus_wide;
                const uint32_t x = mcu - y * scan.mcus_wide;
                const uint32_t frame_mcu = y / scan.components[0].v * image.mcus_wide + x / scan.components[0].h;
                atomicOr(&untrusted[frame_mcu / 32], 1u << frame_mcu % 32);
            }
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            smem.num_ranges = 0;
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
            if (is_faulty) {
                add_ranges(scan, segments[i], results[i]);
            }
            mark_ranges(scan);
        }
        return first_fault;
    }

    /* The intervals behind the last one that was found. The whole CTA calls it. */
    __device__ __forceinline__ void report_lost_end(const ScanDesc &scan, const ScanState &state) const {
        if (threadIdx.x == 0) {
            add_range(scan, state.num_found * scan.interval_mcus, scan.num_mcus);
        }
        mark_ranges(scan);
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
    if (threadIdx.x == 0) {
        smem.num_ranges = 0;
    }
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
