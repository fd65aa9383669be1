/* Settles what synchronisation left open, then says of every subsequence where it stands in its segment.
 *
 * A subsequence agrees if its selected record starts where the one before it ends. Where one does not, a thread goes on from there:
 * another record with the right start state is selected, which flat areas nearly always have; only without one is the subsequence
 * decoded again. The number of those is bounded: beyond it the CPU decodes the image. */
#ifndef DCTFLOW_DECODE_RESOLVE_SUBSEQUENCES_CUH
#define DCTFLOW_DECODE_RESOLVE_SUBSEQUENCES_CUH

#include "common/scan.cuh"
#include "decode/scan_tables.cuh"

/* What a run of subsequences adds up to. `is_head`: a segment starts in it, and only what follows that start is added up. */
struct SubsequenceSum {
    uint32_t num_blocks;
    DcSums dc;
    bool has_bad_code;
    bool is_head;

    /* Beyond any number of blocks that a scan can have; sums stop here instead of wrapping. */
    static constexpr uint32_t MAX_BLOCKS = 1u << 30;

    __device__ __forceinline__ static SubsequenceSum join(const SubsequenceSum &left, const SubsequenceSum &right) {
        if (right.is_head) {
            return right;
        }
        SubsequenceSum sum = left;
        sum.num_blocks = min(left.num_blocks + right.num_blocks, MAX_BLOCKS);
        sum.dc.add(right.dc);
        sum.has_bad_code = left.has_bad_code || right.has_bad_code;
        return sum;
    }

    __device__ __forceinline__ SubsequenceSum of_lane_before(uint32_t distance) const {
        SubsequenceSum sum;
        sum.num_blocks = __shfl_up_sync(FULL_WARP, num_blocks, distance);
        sum.dc.pair[0] = __shfl_up_sync(FULL_WARP, dc.pair[0], distance);
        sum.dc.pair[1] = __shfl_up_sync(FULL_WARP, dc.pair[1], distance);
        const uint32_t flags = __shfl_up_sync(FULL_WARP, (has_bad_code ? 1u : 0u) | (is_head ? 2u : 0u), distance);
        sum.has_bad_code = flags & 1;
        sum.is_head = flags & 2;
        return sum;
    }
};

struct ResolveSubsequencesSmem {
    CtaScan<TILE_THREADS> scan;
    SubsequenceSum warp_sums[TILE_THREADS / WARP_THREADS];
    uint32_t next_subsequence;
    uint32_t num_serial;
    alignas(16) ScanTables tables;
    /* Behind it: the lookups. */
};

struct ResolveScan {
    const ResolveSubsequencesParams &p;
    ResolveSubsequencesSmem &smem;
    const ScanDesc &scan;
    uint32_t num_segments;
    uint32_t num_subsequences;

    __device__ __forceinline__ Subsequence &subsequence(uint32_t i) const { return p.batch.subsequences[scan.first_subsequence + i]; }

    __device__ __forceinline__ const SubsequenceRecord &selected(uint32_t i) const {
        return subsequence(i).records[subsequence(i).selected];
    }

    __device__ __forceinline__ const Segment *segments() const { return p.batch.segments + scan.first_segment; }

    __device__ __forceinline__ bool is_first_of_segment(uint32_t i) const {
        return segments()[subsequence(i).segment].first_subsequence == i;
    }

    __device__ __forceinline__ bool agrees(uint32_t i) const {
        return is_first_of_segment(i) || selected(i).start_state == selected(i - 1).end_state;
    }

    /* The first subsequence from `first` on that does not agree; UINT32_MAX: all do. The whole CTA calls it. */
    __device__ __forceinline__ uint32_t find_disagreement(uint32_t first) const {
        for (; first < num_subsequences; first += TILE_THREADS) {
            const uint32_t i = first + threadIdx.x;
            const uint32_t found = smem.scan.minimum(i < num_subsequences && !agrees(i) ? i : UINT32_MAX);
            if (found != UINT32_MAX) {
                return found;
            }
        }
        return UINT32_MAX;
    }

    /* Selects the record with this start state, if there is one. */
    __device__ bool select(Subsequence &s, uint32_t state) const {
        for (uint32_t record = 0; record < s.num_records; ++record) {
            if (s.records[record].start_state == state) {
                s.selected = record;
                return true;
            }
        }
        return false;
    }

    /* Decodes a subsequence from `state` and selects the result. */
    __device__ void decode(uint32_t i, uint32_t state) const {
        Subsequence &s = subsequence(i);
        s.selected = min(s.num_records, MAX_RECORDS - 1u);
        s.num_records = s.selected + 1;
        if (state == STATE_TRUNCATED) {
            s.records[s.selected] = {STATE_TRUNCATED, STATE_TRUNCATED, 0, {0, 0}};
            return;
        }
        ++smem.num_serial;
        const BitRange range = find_subsequence(segments(), num_segments, scan.subsequence_bytes, i).range;
        Trajectory t;
        t.start(smem.tables, p.batch.destuffed + scan.destuffed_offset, range, state);
        while (t.position_bits() < range.end_bits) {
            t.count_symbol(smem.tables, smem_tail<uint16_t>(smem), p.batch.tables);
        }
        s.records[s.selected] = t.record(t.state_at(range.end_bits, range.segment_end_bits));
    }

    /* One thread: makes subsequences agree from `i` on, until one does by itself. Returns it. */
    __device__ uint32_t follow(uint32_t i) const {
        while (i < num_subsequences && !agrees(i) && smem.num_serial <= MAX_SERIAL_SUBSEQUENCES) {
            const uint32_t state = selected(i - 1).end_state;
            if (!select(subsequence(i), state)) {
                decode(i, state);
            }
            ++i;
        }
        return i;
    }

    /* Makes all agree. The whole CTA calls it. */
    __device__ void resolve() const {
        bool has_tables = false;
        uint32_t i = find_disagreement(0);
        while (i != UINT32_MAX && smem.num_serial <= MAX_SERIAL_SUBSEQUENCES) {
            if (!has_tables) {
                load_scan_tables(smem.tables, smem_tail<uint16_t>(smem), 0, p.batch, scan);
                has_tables = true;
            }
            __syncthreads();
            if (threadIdx.x == 0) {
                smem.next_subsequence = follow(i);
            }
            __syncthreads();
            i = find_disagreement(smem.next_subsequence);
        }
    }

    /* Adds up blocks and DC differences within each segment. The whole CTA calls it. */
    __device__ void write_starts() const {
        SubsequenceSum carry = {};
        for (uint32_t first = 0; first < num_subsequences; first += TILE_THREADS) {
            const uint32_t i = first + threadIdx.x;
            SubsequenceSum own = {};
            uint32_t state = 0;
            if (i < num_subsequences) {
                const SubsequenceRecord &record = selected(i);
                state = record.start_state;
                own.num_blocks = min(record.num_blocks & ~RECORD_BAD_CODE, SubsequenceSum::MAX_BLOCKS);
                own.dc = {{record.dc[0], record.dc[1]}};
                own.has_bad_code = record.num_blocks & RECORD_BAD_CODE;
                own.is_head = is_first_of_segment(i);
            }
            SubsequenceSum inclusive = own;
            for (uint32_t distance = 1; distance < WARP_THREADS; distance *= 2) {
                const SubsequenceSum before = inclusive.of_lane_before(distance);
                inclusive = lane_idx() >= distance ? SubsequenceSum::join(before, inclusive) : inclusive;
            }
            __syncthreads();
            if (lane_idx() == WARP_THREADS - 1) {
                smem.warp_sums[warp_idx()] = inclusive;
            }
            __syncthreads();
            SubsequenceSum before = carry;
            for (uint32_t warp = 0; warp < TILE_THREADS / WARP_THREADS; ++warp) {
                before = warp < warp_idx() ? SubsequenceSum::join(before, smem.warp_sums[warp]) : before;
                carry = SubsequenceSum::join(carry, smem.warp_sums[warp]);
            }
            const SubsequenceSum lane_before = inclusive.of_lane_before(1);
            before = lane_idx() > 0 ? SubsequenceSum::join(before, lane_before) : before;
            if (own.is_head) {
                before = {};
            }
            if (i < num_subsequences) {
                p.batch.starts[scan.first_subsequence + i] = {state | (before.has_bad_code ? SUBSEQUENCE_BAD_BEFORE : 0), before.num_blocks,
                                                              {before.dc.pair[0], before.dc.pair[1]}};
            }
        }
    }
};

__device__ void resolve_subsequences(const ResolveSubsequencesParams &p, ResolveSubsequencesSmem &smem) {
    const ScanDesc &scan = p.batch.scans[blockIdx.x];
    ScanState &state = p.batch.scan_states[blockIdx.x];
    if (state.num_subsequences == 0) {
        return;
    }
    if (threadIdx.x == 0) {
        smem.num_serial = 0;
    }
    __syncthreads();
    const ResolveScan run = {p, smem, scan, state.num_segments, state.num_subsequences};
    run.resolve();
    if (threadIdx.x == 0) {
        state.serial_subsequences = smem.num_serial;
        state.is_unresolved |= smem.num_serial > MAX_SERIAL_SUBSEQUENCES;
    }
    run.write_starts();
}

#endif
