/* Speculative decoding: every subsequence from a guessed state, then again from the end state of the one before, until they agree.
 *
 * A tile is a CTA's TILE_THREADS subsequences. The first TILE_OVERLAP of them repeat the end of the tile before, only to fall into
 * step. Whether tiles agree with each other is resolve_subsequences' business, as is everything that the rounds here leave open.
 *
 * The guess differs in its bit offset from one subsequence to the next. In flat areas the MCUs are all alike, and their length often
 * divides that of a subsequence: one offset for all would then be wrong everywhere in the same way, and never fall into step. */
#ifndef DCTFLOW_DECODE_SYNCHRONIZE_SUBSEQUENCES_CUH
#define DCTFLOW_DECODE_SYNCHRONIZE_SUBSEQUENCES_CUH

#include "decode/scan_tables.cuh"
#include "decode/segments.cuh"

/* Places in a subsequence where the guess's state is kept: every 256 bits at first, since most fall into step there, then one. */
static constexpr uint32_t CHECKPOINT_STEP_BITS = 256;
static constexpr uint32_t NUM_CHECKPOINTS = 9;

__device__ __forceinline__ uint32_t checkpoint_bits(uint32_t checkpoint) {
    return checkpoint + 1 < NUM_CHECKPOINTS ? (checkpoint + 1) * CHECKPOINT_STEP_BITS : 2 * (NUM_CHECKPOINTS - 1) * CHECKPOINT_STEP_BITS;
}

/* Warps that decode again in the rounds: fewer than there are, so that a lane that has fallen into step takes the next subsequence
 * instead of waiting for the slowest lane of its warp. */
static constexpr uint32_t ROUND_WARPS = 2;

/* Where a guess starts. */
__device__ __forceinline__ uint32_t guess_offset_bits(int64_t subsequence_idx) {
    return static_cast<uint32_t>(subsequence_idx * 11 % 31);
}

struct SynchronizeSubsequencesSmem {
    /* What the latest round found, and the guess, which later trajectories are compared with. */
    SubsequenceRecord latest[TILE_THREADS];
    SubsequenceRecord guesses[TILE_THREADS];
    /* The guess's state and counts at each checkpoint. */
    uint32_t checkpoint_blocks[NUM_CHECKPOINTS][TILE_THREADS];
    uint32_t checkpoint_dc[2][NUM_CHECKPOINTS][TILE_THREADS];
    uint16_t checkpoint_states[NUM_CHECKPOINTS][TILE_THREADS];
    SubsequenceRange ranges[TILE_THREADS];
    uint32_t num_records[TILE_THREADS];
    /* What the round has to decode: subsequence of the tile, and start state << 16. */
    uint32_t jobs[TILE_THREADS];
    uint32_t num_jobs;
    uint32_t next_job;
    alignas(16) ScanTables tables;
    /* Behind it: the lookups. */
};

/* One CTA at its tile. */
struct SynchronizeTile {
    SynchronizeSubsequencesSmem &smem;
    const HuffmanTable *all_tables;
    const uint32_t *words;
    const uint16_t *lookups;
    Subsequence *own_subsequences; /* Behind the overlap. */

    __device__ __forceinline__ bool count(Trajectory &t, uint32_t stop_bits, uint32_t segment_end_bits) const {
        return count_symbols(t.reader, t.counts, stop_bits, segment_end_bits, smem.tables, lookups, all_tables);
    }

    /* Keeps what a round found: for the next round, and for the next stage, unless the subsequence is the tile's before. */
    __device__ __forceinline__ void keep(uint32_t local, const SubsequenceRecord &record) const {
        smem.latest[local] = record;
        const uint32_t record_idx = smem.num_records[local]++;
        if (local >= TILE_OVERLAP) {
            own_subsequences[local - TILE_OVERLAP].records[record_idx] = record;
        }
    }

    /* Round 0: decodes this thread's subsequence from its guess, or from its known state if it is its segment's first. The warp's
     * lanes meet at every checkpoint; `is_used`: this lane has a subsequence. */
    __device__ __forceinline__ void decode_guess(bool is_used, uint32_t state) const {
        const uint32_t local = threadIdx.x;
        const SubsequenceRange &range = smem.ranges[local];
        Trajectory t = {};
        bool is_whole = is_used;
        if (is_used) {
            t.start(words, range, state);
        }
        for (uint32_t checkpoint = 0; checkpoint < NUM_CHECKPOINTS; ++checkpoint) {
            __syncwarp();
            if (is_used) {
                const uint32_t stop_bits = min(range.start_bits + checkpoint_bits(checkpoint), range.end_bits);
                is_whole = is_whole && count(t, stop_bits, range.segment_end_bits);
                store_checkpoint(checkpoint, is_whole ? t.state_at(stop_bits) : STATE_TRUNCATED, t.counts);
            }
        }
        __syncwarp();
        if (is_used) {
            is_whole = is_whole && count(t, range.end_bits, range.segment_end_bits);
            smem.guesses[local] = t.record(is_whole ? t.state_at(range.end_bits) : STATE_TRUNCATED);
            keep(local, smem.guesses[local]);
        }
    }

    /* A guess that came upon a pattern that is no code cannot be joined afterwards: the flag says nothing about where. */
    __device__ __forceinline__ void store_checkpoint(uint32_t checkpoint, uint32_t state, const SpanCounts &counts) const {
        const uint32_t local = threadIdx.x;
        const bool is_bad = counts.num_blocks & RECORD_BAD_CODE;
        smem.checkpoint_states[checkpoint][local] = static_cast<uint16_t>(is_bad ? STATE_NONE : state);
        smem.checkpoint_blocks[checkpoint][local] = counts.num_blocks;
        smem.checkpoint_dc[0][checkpoint][local] = counts.dc.pair[0];
        smem.checkpoint_dc[1][checkpoint][local] = counts.dc.pair[1];
    }

    /* Lists the subsequences whose start state is not the latest end state before them. Returns how many there are. */
    __device__ __forceinline__ uint32_t list_jobs(bool is_used) const {
        const uint32_t local = threadIdx.x;
        if (local == 0) {
            smem.num_jobs = 0;
            smem.next_job = 0;
        }
        __syncthreads();
        if (is_used && local > 0 && !smem.ranges[local].is_first) {
            const uint32_t state = smem.latest[local - 1].end_state;
            if (state != smem.latest[local].start_state) {
                smem.jobs[atomicAdd(&smem.num_jobs, 1u)] = local | state << 16;
            }
        }
        __syncthreads();
        return smem.num_jobs;
    }

    /* A round: decodes every listed subsequence again, up to where it joins its guess. A lane that is done takes the next one; the
     * lanes of a warp meet after each step. */
    __device__ __forceinline__ void decode_jobs(uint32_t num_jobs) const {
        constexpr uint32_t NONE = UINT32_MAX;
        uint32_t local = NONE;
        uint32_t checkpoint = 0;
        Trajectory t = {};
        while (true) {
            if (local == NONE) {
                const uint32_t job_idx = smem.next_job < num_jobs ? atomicAdd(&smem.next_job, 1u) : num_jobs;
                if (job_idx < num_jobs) {
                    local = smem.jobs[job_idx] & 0xffff;
                    checkpoint = 0;
                    t.start(words, smem.ranges[local], smem.jobs[job_idx] >> 16);
                }
            }
            if (!__any_sync(FULL_WARP, local != NONE)) {
                return;
            }
            if (local != NONE && advance_job(local, checkpoint, t)) {
                local = NONE;
            }
        }
    }

    /* One step of a job; true if that was its last. */
    __device__ __forceinline__ bool advance_job(uint32_t local, uint32_t &checkpoint, Trajectory &t) const {
        const SubsequenceRange &range = smem.ranges[local];
        const bool is_end = checkpoint == NUM_CHECKPOINTS;
        const uint32_t goal_bits = is_end ? range.end_bits : min(range.start_bits + checkpoint_bits(checkpoint), range.end_bits);
        const uint32_t stop_bits = min(goal_bits, t.reader.window.position_bits + CHECKPOINT_STEP_BITS);
        if (t.start_state == STATE_TRUNCATED || !count(t, stop_bits, range.segment_end_bits)) {
            keep(local, t.record(STATE_TRUNCATED));
            return true;
        }
        if (t.reader.window.position_bits < goal_bits) {
            return false;
        }
        if (is_end) {
            keep(local, t.record(t.state_at(range.end_bits)));
            return true;
        }
        if (smem.checkpoint_states[checkpoint][local] == t.state_at(goal_bits)) {
            keep(local, joined_record(local, checkpoint, t));
            return true;
        }
        ++checkpoint;
        return false;
    }

    /* The record of a trajectory that joins the guess at a checkpoint. */
    __device__ __forceinline__ SubsequenceRecord joined_record(uint32_t local, uint32_t checkpoint, Trajectory &t) const {
        const SubsequenceRecord &guess = smem.guesses[local];
        /* The checkpoint's count has no flag, or it could not be joined. */
        t.counts.num_blocks += (guess.num_blocks & ~RECORD_BAD_CODE) - smem.checkpoint_blocks[checkpoint][local];
        t.counts.num_blocks |= guess.num_blocks & RECORD_BAD_CODE;
        t.counts.dc.add({{guess.dc[0], guess.dc[1]}});
        t.counts.dc.subtract({{smem.checkpoint_dc[0][checkpoint][local], smem.checkpoint_dc[1][checkpoint][local]}});
        return t.record(guess.end_state);
    }
};

__device__ void synchronize_subsequences(const SynchronizeSubsequencesParams &p, SynchronizeSubsequencesSmem &smem) {
    const WorkTile work = p.tiles[blockIdx.x];
    const ScanDesc &scan = p.batch.scans[work.scan_idx];
    const ScanState &state = p.batch.scan_states[work.scan_idx];
    if (work.first >= state.num_subsequences) {
        return;
    }
    const uint32_t local = threadIdx.x;
    const int64_t subsequence_idx = static_cast<int64_t>(work.first) - TILE_OVERLAP + local;
    const bool is_used = subsequence_idx >= 0 && subsequence_idx < state.num_subsequences;
    uint16_t *lookups = smem_tail<uint16_t>(smem);
    load_scan_tables(smem.tables, lookups, p.batch, scan);
    smem.num_records[local] = 0;
    uint32_t guess = 0;
    if (is_used) {
        smem.ranges[local] = find_subsequence(p.batch.segments + scan.first_segment, state.num_segments, scan.subsequence_bytes,
                                              static_cast<uint32_t>(subsequence_idx));
        guess = smem.ranges[local].is_first ? pack_state(0, 0, scan.z_begin)
                                            : pack_state(guess_offset_bits(subsequence_idx), 0, scan.z_begin);
    }
    __syncthreads();

    const SynchronizeTile tile = {smem, p.batch.tables, p.batch.destuffed + scan.destuffed_offset, lookups,
                                  p.batch.subsequences + scan.first_subsequence + work.first};
    tile.decode_guess(is_used, guess);
    __syncthreads();
    for (uint32_t round = 1; round < MAX_RECORDS; ++round) {
        const uint32_t num_jobs = tile.list_jobs(is_used);
        if (num_jobs == 0) {
            break;
        }
        COUNT(rounds, local == 0 ? 1 : 0);
        if (warp_idx() < ROUND_WARPS) {
            tile.decode_jobs(num_jobs);
        }
        __syncthreads();
    }
    if (is_used && local >= TILE_OVERLAP) {
        Subsequence &own = tile.own_subsequences[local - TILE_OVERLAP];
        own.num_records = smem.num_records[local];
        own.selected = smem.num_records[local] - 1;
        own.segment = smem.ranges[local].segment_idx;
    }
}

#endif
