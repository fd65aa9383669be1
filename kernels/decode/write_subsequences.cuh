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
    uint16_t *lookups = smem_tail<uint16_t>(smem);
    load_scan_tables(smem.tables, lookups, p.batch, scan);
    load_natural_order(smem.natural_order);
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
    const SubsequenceRange range = find_subsequence(segments, state.num_segments, scan.subsequence_bytes, subsequence_idx);
    const uint32_t interval = segments[range.segment_idx].interval;
    SegmentRun run;
    run.num_blocks = interval_blocks(scan, interval);
    if (start.first_block >= run.num_blocks) {
        return;
    }
    Trajectory at;
    at.start(p.batch.destuffed + scan.destuffed_offset, range, packed);
    run.reader = at.reader;
    run.prediction = {{start.dc[0], start.dc[1]}};
    run.first_block = interval * scan.interval_mcus * scan.num_mcu_blocks;
    run.block = start.first_block;
    run.stop_bits = range.end_bits;
    run.end_bits = range.segment_end_bits;
    run.has_bad_code = has_bad_code;
    const BlockPlaces places = {scan, p.batch.coefficients};
    write_run(run, places, smem, lookups, p.batch.tables, p.batch.segment_results[scan.first_segment + range.segment_idx]);
}

#endif
