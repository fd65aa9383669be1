/* Decodes the segments that are not divided, one thread each, and writes their coefficients. */
#ifndef DCTFLOW_DECODE_WRITE_SEGMENTS_CUH
#define DCTFLOW_DECODE_WRITE_SEGMENTS_CUH

#include "decode/write_symbols.cuh"

__device__ void write_segments(const WriteSegmentsParams &p, WriteSmem &smem) {
    const WorkTile work = p.tiles[blockIdx.x];
    const ScanDesc &scan = p.batch.scans[work.scan_idx];
    const ScanState &state = p.batch.scan_states[work.scan_idx];
    const Segment *segments = p.batch.segments + scan.first_segment;
    const uint32_t segment_idx = work.first + threadIdx.x;
    Segment segment = {0, SEGMENT_NO_INTERVAL, 0, 0};
    uint32_t end_bytes = 0;
    if (segment_idx < state.num_segments && !state.is_unresolved) {
        segment = segments[segment_idx];
        end_bytes = segments[segment_idx + 1].start_bytes;
    }
    const bool is_own =
        (segment.marker & SEGMENT_NO_INTERVAL) == 0 && num_subsequences_of(end_bytes - segment.start_bytes, scan.subsequence_bytes) == 0;
    if (__syncthreads_or(is_own) == 0) {
        return;
    }
    load_write_smem(smem, p.batch, scan);
    __syncthreads();
    if (!is_own) {
        return;
    }
    SegmentRun run;
    run.reader.window.seek(p.batch.destuffed + scan.destuffed_offset, segment.start_bytes * 8);
    run.reader.enter(smem.tables, 0, scan.z_begin);
    run.prediction = {};
    run.first_mcu = segment.interval * scan.interval_mcus;
    run.num_blocks = interval_blocks(scan, segment.interval);
    run.block = 0;
    run.stop_bits = end_bytes * 8;
    run.end_bits = end_bytes * 8;
    run.has_bad_code = false;
    const SegmentWriter writer = {smem, smem_tail<uint16_t>(smem), p.batch.tables, scan, p.batch.segment_results[scan.first_segment + segment_idx]};
    writer.write(run, p.batch.coefficients);
}

#endif
