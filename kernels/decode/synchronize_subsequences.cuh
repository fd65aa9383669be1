/* Speculative decoding: every subsequence from a guessed state, then again from the end state of the one before, until they agree.
 *
 * A tile is TILE_THREADS subsequences of a scan. The first TILE_OVERLAP of them repeat the end of the tile before, only to fall into
 * step. Whether tiles agree with each other is resolve_subsequences' business, as is everything that the rounds here leave open.
 *
 * A CTA takes two tiles, which need not be of the same image: some trajectory nearly always goes on to the end of its subsequence, and a
 * warp waits for it once for both tiles.
 *
 * The guess differs in its bit offset from one subsequence to the next. In flat areas the MCUs are all alike, and their length often
 * divides that of a subsequence: one offset for all would then be wrong everywhere in the same way, and never fall into step. */
#ifndef DCTFLOW_DECODE_SYNCHRONIZE_SUBSEQUENCES_CUH
#define DCTFLOW_DECODE_SYNCHRONIZE_SUBSEQUENCES_CUH

#include "decode/scan_tables.cuh"
#include "decode/segments.cuh"

/* Places in a subsequence where the guess's state is kept: densely at first, since most fall into step there. */
static constexpr uint32_t NUM_CHECKPOINTS = 6;

__device__ __forceinline__ uint32_t checkpoint_bits(uint32_t checkpoint) {
    constexpr uint32_t STEP_BITS = 256;
    constexpr uint32_t STEPS = 0xf85321; /* 1, 2, 3, 5, 8 and 15, a nibble each. */
    return (STEPS >> 4 * checkpoint & 15) * STEP_BITS;
}

/* One warp does all that is left after the guesses: its lanes take one subsequence after the other, and the more they share, the less
 * the last one counts. */
static constexpr uint32_t ROUND_WARPS = 1;

static constexpr uint32_t SYNCHRONIZE_THREADS = SYNCHRONIZE_TILES * TILE_THREADS;

/* Symbols or goals that a lane passes in a round before its warp meets. */
static constexpr uint32_t STEPS_BETWEEN_MEETINGS = 16;

static constexpr uint32_t NO_SUBSEQUENCE = UINT32_MAX;

/* What a lane works on in a round: a subsequence of the CTA, and how far it has to go next. */
struct Job {
    uint32_t local;
    uint32_t checkpoint;
    uint32_t goal_bits;
};

/* Where a guess starts. */
__device__ __forceinline__ uint32_t guess_offset_bits(int64_t subsequence_idx) {
    return static_cast<uint32_t>(subsequence_idx * 11 % 31);
}

/* Where a trajectory began and ended. */
struct StatePair {
    uint16_t start;
    uint16_t end;
};

struct SynchronizeSubsequencesSmem {
    /* What the latest round found, and the guess, which later trajectories are compared with. */
    StatePair latest[SYNCHRONIZE_THREADS];
    SubsequenceRecord guesses[SYNCHRONIZE_THREADS];
    /* The guess's state and counts at each checkpoint. */
    uint32_t checkpoint_blocks[NUM_CHECKPOINTS][SYNCHRONIZE_THREADS];
    uint32_t checkpoint_dc[2][NUM_CHECKPOINTS][SYNCHRONIZE_THREADS];
    uint16_t checkpoint_states[NUM_CHECKPOINTS][SYNCHRONIZE_THREADS];
    BitRange ranges[SYNCHRONIZE_THREADS];
    uint32_t num_records[SYNCHRONIZE_THREADS];
    /* What the round has to decode: subsequence of the CTA, and start state << 16. */
    uint32_t jobs[SYNCHRONIZE_THREADS];
    uint32_t num_jobs;
    uint32_t next_job;
    /* By tile. */
    const uint32_t *words[SYNCHRONIZE_TILES];
    Subsequence *subsequences[SYNCHRONIZE_TILES]; /* The tile's own, behind the overlap. */
    alignas(16) ScanTables tables[SYNCHRONIZE_TILES];
    /* Behind it: the lookups. */
};

/* What the threads of the CTA do. A subsequence of the CTA has the number of the thread that guesses its start. */
struct Synchronization {
    SynchronizeSubsequencesSmem &smem;
    const HuffmanTable *all_tables;
    const uint16_t *lookups;

    __device__ __forceinline__ void start(Trajectory &t, uint32_t local, uint32_t state) const {
        t.start(smem.tables[local / TILE_THREADS], smem.words[local / TILE_THREADS], smem.ranges[local], state);
    }

    __device__ __forceinline__ void count_symbol(Trajectory &t, uint32_t local) const {
        t.count_symbol(smem.tables[local / TILE_THREADS], lookups, all_tables);
    }

    /* Where the trajectory has to stop next: at a checkpoint, or, behind the last one, at the subsequence's end. */
    __device__ __forceinline__ uint32_t goal_bits(uint32_t local, uint32_t checkpoint) const {
        const BitRange &range = smem.ranges[local];
        return checkpoint == NUM_CHECKPOINTS ? range.end_bits : min(range.start_bits + checkpoint_bits(checkpoint), range.end_bits);
    }

    /* Not for the overlap. */
    __device__ __forceinline__ Subsequence &own_subsequence(uint32_t local) const {
        return smem.subsequences[local / TILE_THREADS][local % TILE_THREADS - TILE_OVERLAP];
    }

    /* Keeps what a round found: for the next round, and for the next stage, unless the subsequence is the tile's before. */
    __device__ __forceinline__ void keep(uint32_t local, const SubsequenceRecord &record) const {
        smem.latest[local] = {record.start_state, record.end_state};
        const uint32_t record_idx = smem.num_records[local]++;
        if (local % TILE_THREADS >= TILE_OVERLAP) {
            own_subsequence(local).records[record_idx] = record;
        }
    }

    /* Round 0: decodes this thread's subsequence from its guess, or from its known state if it is its segment's first. One loop for
     * everything: in nested ones the lanes of a warp would wait for the slowest at each checkpoint. */
    __device__ __forceinline__ void decode_guess(uint32_t state) const {
        const uint32_t local = threadIdx.x;
        const BitRange &range = smem.ranges[local];
        Trajectory t;
        start(t, local, state);
        uint32_t checkpoint = 0;
        uint32_t goal = goal_bits(local, 0);
        while (true) {
            if (t.position_bits() >= goal) {
                const uint32_t end_state = t.state_at(goal, range.segment_end_bits);
                if (checkpoint == NUM_CHECKPOINTS) {
                    smem.guesses[local] = t.record(end_state);
                    break;
                }
                store_checkpoint(checkpoint, end_state, t);
                goal = goal_bits(local, ++checkpoint);
            } else {
                count_symbol(t, local);
            }
        }
        keep(local, smem.guesses[local]);
    }

    /* A guess that came upon a pattern that is no code cannot be joined afterwards: the flag says nothing about where. */
    __device__ __forceinline__ void store_checkpoint(uint32_t checkpoint, uint32_t state, const Trajectory &t) const {
        const uint32_t local = threadIdx.x;
        const bool is_bad = t.num_blocks & RECORD_BAD_CODE;
        smem.checkpoint_states[checkpoint][local] = static_cast<uint16_t>(is_bad ? STATE_NONE : state);
        smem.checkpoint_blocks[checkpoint][local] = t.num_blocks;
        smem.checkpoint_dc[0][checkpoint][local] = t.dc.pair[0];
        smem.checkpoint_dc[1][checkpoint][local] = t.dc.pair[1];
    }

    /* Lists the subsequences whose start state is not the latest end state before them. `is_follower`: there is one before this thread's, in
     * its segment and tile. Returns how many there are. */
    __device__ __forceinline__ uint32_t list_jobs(bool is_follower) const {
        const uint32_t local = threadIdx.x;
        if (local == 0) {
            smem.num_jobs = 0;
            smem.next_job = 0;
        }
        __syncthreads();
        if (is_follower) {
            const uint32_t state = smem.latest[local - 1].end;
            if (state != smem.latest[local].start) {
                smem.jobs[atomicAdd(&smem.num_jobs, 1u)] = local | state << 16;
            }
        }
        __syncthreads();
        return smem.num_jobs;
    }

    /* A round: decodes every listed subsequence again, up to where it joins its guess. A lane that is done takes the next one. The lanes
     * of a warp meet after a number of steps, not of bits: none waits for another. */
    __device__ __forceinline__ void decode_jobs(uint32_t num_jobs) const {
        Job job = {NO_SUBSEQUENCE, 0, 0};
        Trajectory t = {};
        bool is_working = true;
        while (__any_sync(FULL_WARP, is_working)) {
            for (uint32_t step = 0; step < STEPS_BETWEEN_MEETINGS && is_working; ++step) {
                if (t.position_bits() < job.goal_bits) {
                    count_symbol(t, job.local);
                } else {
                    is_working = pass_goal(job, t) || start_job(num_jobs, job, t);
                }
            }
        }
    }

    /* Goes on behind a goal, unless the job ends there. */
    __device__ __forceinline__ bool pass_goal(Job &job, Trajectory &t) const {
        if (job.local == NO_SUBSEQUENCE) {
            return false;
        }
        const uint32_t state = t.state_at(job.goal_bits, smem.ranges[job.local].segment_end_bits);
        if (job.checkpoint == NUM_CHECKPOINTS || state == STATE_TRUNCATED) {
            keep(job.local, t.record(state));
            return false;
        }
        if (smem.checkpoint_states[job.checkpoint][job.local] == state) {
            keep(job.local, joined_record(job.local, job.checkpoint, t));
            return false;
        }
        ++job.checkpoint;
        job.goal_bits = goal_bits(job.local, job.checkpoint);
        return true;
    }

    /* Takes the next job; false: there are no more. */
    __device__ __forceinline__ bool start_job(uint32_t num_jobs, Job &job, Trajectory &t) const {
        const uint32_t job_idx = atomicAdd(&smem.next_job, 1u);
        if (job_idx >= num_jobs) {
            return false;
        }
        const uint32_t local = smem.jobs[job_idx] & 0xffff;
        const uint32_t state = smem.jobs[job_idx] >> 16;
        job = {NO_SUBSEQUENCE, 0, 0};
        t.reader.window.position_bits = 0;
        if (state == STATE_TRUNCATED) {
            keep(local, {STATE_TRUNCATED, STATE_TRUNCATED, 0, {0, 0}});
        } else {
            job = {local, 0, goal_bits(local, 0)};
            start(t, local, state);
        }
        return true;
    }

    /* The record of a trajectory that joins the guess at a checkpoint. */
    __device__ __forceinline__ SubsequenceRecord joined_record(uint32_t local, uint32_t checkpoint, Trajectory &t) const {
        const SubsequenceRecord &guess = smem.guesses[local];
        /* The checkpoint's count has no flag, or it could not be joined. */
        t.num_blocks += (guess.num_blocks & ~RECORD_BAD_CODE) - smem.checkpoint_blocks[checkpoint][local];
        t.num_blocks |= guess.num_blocks & RECORD_BAD_CODE;
        t.dc.add({{guess.dc[0], guess.dc[1]}});
        t.dc.subtract({{smem.checkpoint_dc[0][checkpoint][local], smem.checkpoint_dc[1][checkpoint][local]}});
        return t.record(guess.end_state);
    }
};

/* Fills what the CTA needs of one tile; `first_lookup`: where its lookups begin. Returns where they end. The whole CTA calls it. */
__device__ __forceinline__ uint32_t load_tile(SynchronizeSubsequencesSmem &smem, const DecodeBatch &batch, const WorkTile &work, uint32_t tile_idx,
                                              uint32_t first_lookup) {
    const ScanDesc &scan = batch.scans[work.scan_idx];
    if (threadIdx.x == 0) {
        smem.words[tile_idx] = batch.destuffed + scan.destuffed_offset;
        smem.subsequences[tile_idx] = batch.subsequences + scan.first_subsequence + work.first;
    }
    return load_scan_tables(smem.tables[tile_idx], smem_tail<uint16_t>(smem), first_lookup, batch, scan);
}

__device__ void synchronize_subsequences(const SynchronizeSubsequencesParams &p, SynchronizeSubsequencesSmem &smem) {
    const WorkTile *tiles = p.tiles + blockIdx.x * SYNCHRONIZE_TILES;
    const DecodeBatch &batch = p.batch;
    uint32_t first_lookup = 0;
    for (uint32_t tile_idx = 0; tile_idx < SYNCHRONIZE_TILES; ++tile_idx) {
        if (tiles[tile_idx].first < batch.scan_states[tiles[tile_idx].scan_idx].num_subsequences) {
            first_lookup = load_tile(smem, batch, tiles[tile_idx], tile_idx, first_lookup);
        }
    }
    const uint32_t local = threadIdx.x;
    const WorkTile work = tiles[local / TILE_THREADS];
    const ScanDesc &scan = batch.scans[work.scan_idx];
    const ScanState &state = batch.scan_states[work.scan_idx];
    const int64_t subsequence_idx = static_cast<int64_t>(work.first) - TILE_OVERLAP + local % TILE_THREADS;
    const bool is_used = work.first < state.num_subsequences && subsequence_idx >= 0 && subsequence_idx < state.num_subsequences;
    smem.num_records[local] = 0;
    SubsequencePlace place = {};
    if (is_used) {
        place = find_subsequence(batch.segments + scan.first_segment, state.num_segments, scan.subsequence_bytes,
                                 static_cast<uint32_t>(subsequence_idx));
        smem.ranges[local] = place.range;
    }
    __syncthreads();

    const Synchronization run = {smem, batch.tables, smem_tail<uint16_t>(smem)};
    if (is_used) {
        const uint32_t offset_bits = place.is_first ? 0 : guess_offset_bits(subsequence_idx);
        run.decode_guess(pack_state(offset_bits, 0, scan.z_begin));
    }
    __syncthreads();
    for (uint32_t round = 1; round < MAX_RECORDS; ++round) {
        const uint32_t num_jobs = run.list_jobs(is_used && local % TILE_THREADS > 0 && !place.is_first);
        if (num_jobs == 0) {
            break;
        }
        COUNT(rounds, local == 0 ? 1 : 0);
        if (warp_idx() < ROUND_WARPS) {
            run.decode_jobs(num_jobs);
        }
        __syncthreads();
    }
    if (is_used && local % TILE_THREADS >= TILE_OVERLAP) {
        Subsequence &own = run.own_subsequence(local);
        own.num_records = smem.num_records[local];
        own.selected = smem.num_records[local] - 1;
        own.segment = place.segment_idx;
    }
}

#endif
