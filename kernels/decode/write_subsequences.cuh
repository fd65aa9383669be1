/* Decodes the subsequences of divided segments from their true states and writes their coefficients. */
#ifndef DCTFLOW_DECODE_WRITE_SUBSEQUENCES_CUH
#define DCTFLOW_DECODE_WRITE_SUBSEQUENCES_CUH

#include "decode/write_symbols.cuh"

__device__ void write_subsequences(const WriteSubsequencesParams &p, WriteSmem &smem) {
    const WorkTile work = p.tiles[blockIdx.x];
    const ScanDesc &scan = p.batch.scans[work.scan_idx];
    const ScanState &state = p.batch.scan_states[work.scan_idx];
    if (work.first >= state.num_subsequences || state.is_unresolved) {
        return;
    }
    load_write_smem(smem, p.batch, scan);
    __syncthreads();
    const uint32_t subsequence_idx = work.first + threadIdx.x;
    if (subsequence_idx >= state.num_subsequences) {
        return;
    }
    const SubsequenceStart start = p.batch.starts[scan.first_subsequence + subsequence_idx];
    const bool has_bad_code = start.state & SUBSEQUENCE_BAD_BEFORE;
    const uint32_t packed = start.state & 0xffff;
    if (packed == STATE_TRUNCATED || (has_bad_code && scan.is_progressive)) {
        return;
    }
    const Segment *segments = p.batch.segments + scan.first_segment;
    const SubsequencePlace place = find_subsequence(segments, state.num_segments, scan.subsequence_bytes, subsequence_idx);
    const uint32_t interval = segments[place.segment_idx].interval;
    SegmentRun run;
    run.num_blocks = interval_blocks(scan, interval);
    if (start.first_block >= run.num_blocks) {
        return;
    }
    Trajectory at;
    at.start(smem.tables, p.batch.destuffed + scan.destuffed_offset, place.range, packed);
    run.reader = at.reader;
    run.prediction = {{start.dc[0], start.dc[1]}};
    run.first_mcu = interval * scan.interval_mcus;
    run.block = start.first_block;
    run.stop_bits = place.range.end_bits;
    run.end_bits = place.range.segment_end_bits;
    run.has_bad_code = has_bad_code;
    const SegmentWriter writer = {smem, smem_tail<uint16_t>(smem), p.batch.tables, scan, p.batch.segment_results[scan.first_segment + place.segment_idx]};
    writer.write(run, p.batch.coefficients);
}

#endif
