#include "scheduler.h"

#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <vector>

#include <sched.h>

#include "cuda_words.h"
#include "fiber.h"

/* CUDA's variables. A fiber never moves to another OS thread, so thread-local ones serve. */
__thread uint3 threadIdx;
__thread uint3 blockIdx;
__thread uint3 blockDim;
__thread uint3 gridDim;

namespace emulator {
namespace {

/* Lanes that wait for each other in one warp operation. */
struct Meeting {
    unsigned mask;
    unsigned arrived;
    WarpOp op;
};

struct Warp {
    unsigned ready = 0;   /* lanes that can run */
    unsigned yielded = 0; /* lanes that can run once no other thread of the CTA can */
    unsigned exited = 0;
    unsigned num_meetings = 0;
    Meeting meetings[WARP];
    uint64_t value[WARP];
    unsigned argument[WARP];
    uint64_t result[WARP];
    uint32_t counts[EMULATOR_MAX_COUNTERS][WARP];
    bool has_counts = false;
};

struct Barrier {
    unsigned num_arrived = 0;
    unsigned num_expected = 0;
    unsigned num_true = 0;
    BarrierKind kind = BarrierKind::plain;
    Site site = {};
};

enum class State : uint8_t { unstarted, ready, at_barrier, in_warp_operation, exited };

struct AsyncCopy {
    void *destination;
    const void *source;
    size_t num_bytes;
    size_t zero_fill_bytes;
    unsigned group;
};

struct Thread {
    State state = State::unstarted;
    uint8_t barrier_idx = 0;
    int barrier_result = 0;
    Fiber *fiber = nullptr;
    Site site = {};
};

/* Copies of one thread that are under way. Kept apart: few kernels have any. */
struct AsyncCopies {
    unsigned num_groups = 0;
    std::vector<AsyncCopy> queue;
};

struct Runner;

/* The running OS thread's. A plain pointer, since a thread_local object costs a check at each use. */
__thread Runner *the_runner = nullptr;

Runner &runner() { return *the_runner; }

/* Everything an OS thread needs to run CTAs, kept from one to the next. */
struct Runner {
    ~Runner() {
        for (Fiber *fiber : all_fibers) {
            delete_fiber(fiber);
        }
        if (fault_fiber != nullptr) {
            delete_fiber(fault_fiber);
        }
        the_runner = nullptr;
    }

    Fiber os_thread;
    Fiber *fault_fiber = nullptr; /* its stack serves the report of a fault, since the thread's own may be what is broken */
    std::vector<Fiber *> all_fibers;
    std::vector<Fiber *> free_fibers;
    SharedMemory shared_memory;

    const EmulatorLaunch *launch = nullptr;
    const EmulatorKernel *kernel = nullptr;
    Body body = nullptr;
    unsigned char *smem = nullptr;
    EmulatorCount *counts = nullptr;
    EmulatorFailure *failure = nullptr;
    bool is_running = false;
    bool has_failed = false;

    unsigned num_threads = 0;
    unsigned num_warps = 0;
    unsigned num_exited = 0;
    unsigned ready_warps = 0; /* bit w: warps[w].ready is not empty */
    unsigned current = 0;     /* the running thread */
    uint64_t random_state = 0;
    uint64_t num_idle_rounds = 0;
    std::chrono::steady_clock::time_point idle_since;

    Warp warps[MAX_WARPS];
    Barrier barriers[NUM_BARRIERS];
    Thread threads[MAX_THREADS];
    AsyncCopies async_copies[MAX_THREADS];
};

/* ---- which thread runs next ---- */

unsigned random_below_32(Runner &r) {
    r.random_state ^= r.random_state << 13;
    r.random_state ^= r.random_state >> 7;
    r.random_state ^= r.random_state << 17;
    return static_cast<unsigned>(r.random_state >> 20) % 32;
}

/* A bit of `bits`, which is not zero. */
unsigned choose_bit(Runner &r, unsigned bits) {
    switch (r.launch->order) {
        case ORDER_FORWARD: return __builtin_ctz(bits);
        case ORDER_REVERSE: return 31 - __builtin_clz(bits);
        default: {
            const unsigned start = random_below_32(r);
            const unsigned turned = (bits >> start) | (start == 0 ? 0 : bits << (32 - start));
            return (static_cast<unsigned>(__builtin_ctz(turned)) + start) % 32;
        }
    }
}

void make_ready(Runner &r, unsigned warp_idx, unsigned lanes) {
    r.warps[warp_idx].ready |= lanes;
    r.ready_warps |= 1u << warp_idx;
}

/* Threads that yielded run again when nothing else can. */
bool revive_yielded(Runner &r) {
    bool any = false;
    for (unsigned w = 0; w < r.num_warps; ++w) {
        if (r.warps[w].yielded != 0) {
            make_ready(r, w, r.warps[w].yielded);
            r.warps[w].yielded = 0;
            any = true;
        }
    }
    return any;
}

/* Takes the next thread to run, or returns -1 when none can. */
int take_next(Runner &r) {
    if (r.ready_warps == 0 && !revive_yielded(r)) {
        return -1;
    }
    const unsigned warp_idx = choose_bit(r, r.ready_warps);
    Warp &warp = r.warps[warp_idx];
    const unsigned lane = choose_bit(r, warp.ready);
    warp.ready &= ~(1u << lane);
    if (warp.ready == 0) {
        r.ready_warps &= ~(1u << warp_idx);
    }
    return static_cast<int>(warp_idx * WARP + lane);
}

/* ---- counters ---- */

/* A warp pays for its slowest lane between two points where it converges. */
void flush_counts(Runner &r, Warp &warp) {
    if (!warp.has_counts) {
        return;
    }
    warp.has_counts = false;
    for (unsigned c = 0; c < EMULATOR_MAX_COUNTERS; ++c) {
        uint64_t sum = 0;
        uint32_t greatest = 0;
        for (uint32_t n : warp.counts[c]) {
            sum += n;
            greatest = n > greatest ? n : greatest;
        }
        r.counts[c].total += sum;
        r.counts[c].warp_max += uint64_t{greatest} * WARP;
    }
    memset(warp.counts, 0, sizeof warp.counts);
}

/* ---- failing ---- */

void begin_message(Runner &r, unsigned thread_idx) {
    snprintf(r.failure->message, sizeof r.failure->message, "kernel `%s`, CTA (%u, %u, %u), thread %u: ", r.kernel->name,
             blockIdx.x, blockIdx.y, blockIdx.z, thread_idx);
}

void append_formatted(Runner &r, const char *format, va_list arguments) {
    const size_t used = strlen(r.failure->message);
    vsnprintf(r.failure->message + used, sizeof r.failure->message - used, format, arguments);
}

__attribute__((format(printf, 2, 3))) void append(Runner &r, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    append_formatted(r, format, arguments);
    va_end(arguments);
}

/* The last part of a path: messages name files as people do. */
const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == nullptr ? path : slash + 1;
}

void append_site(Runner &r, Site site) {
    if (site.file != nullptr) {
        append(r, "%s at %s:%d", site.word, file_name(site.file), site.line);
    }
}

/* Leaves the CTA for good; the fibers that are not done are abandoned (device code has no destructors). */
[[noreturn]] void leave_failed(Runner &r, Fiber &from) {
    r.has_failed = true;
    switch_fiber(from, r.os_thread);
    __builtin_unreachable();
}

const char *state_word(State state) {
    switch (state) {
        case State::unstarted:
        case State::ready: return "runs";
        case State::at_barrier: return "waits in ";
        case State::in_warp_operation: return "waits in ";
        case State::exited: return "has exited";
    }
    return "";
}

/* No thread can run and not all have exited: says why, naming two threads that stand in each other's way. */
void diagnose_stuck(Runner &r) {
    unsigned waiting = r.num_threads;
    for (unsigned t = 0; t < r.num_threads && waiting == r.num_threads; ++t) {
        if (r.threads[t].state != State::exited) {
            waiting = t;
        }
    }
    const Thread &first = r.threads[waiting];
    unsigned other = r.num_threads;
    for (unsigned t = 0; t < r.num_threads && other == r.num_threads; ++t) {
        const Thread &thread = r.threads[t];
        if (thread.state != first.state || thread.barrier_idx != first.barrier_idx) {
            other = t;
        }
    }
    const bool has_warp_wait = first.state == State::in_warp_operation ||
                               (other < r.num_threads && r.threads[other].state == State::in_warp_operation);
    begin_message(r, waiting);
    append(r, "%s: it waits in ", has_warp_wait ? "deadlock" : "divergent barrier");
    append_site(r, first.site);
    if (other < r.num_threads) {
        append(r, ", thread %u %s", other, state_word(r.threads[other].state));
        if (r.threads[other].state != State::exited) {
            append_site(r, r.threads[other].site);
        }
    }
}

/* ---- running ---- */

void fiber_main();

Fiber *take_fiber(Runner &r) {
    if (r.free_fibers.empty()) {
        Fiber *fiber = new_fiber(static_cast<unsigned>(r.all_fibers.size()));
        if (fiber != nullptr) {
            r.all_fibers.push_back(fiber);
        }
        return fiber;
    }
    Fiber *fiber = r.free_fibers.back();
    r.free_fibers.pop_back();
    return fiber;
}

void become(Runner &r, unsigned thread_idx) {
    r.current = thread_idx;
    r.threads[thread_idx].state = State::ready;
    threadIdx.x = thread_idx;
}

/* Continues `thread_idx` (or starts it on a stack of its own), stopping `from`. */
void run_thread(Runner &r, unsigned thread_idx, Fiber &from) {
    Thread &thread = r.threads[thread_idx];
    if (thread.fiber == nullptr) {
        thread.fiber = take_fiber(r);
        if (thread.fiber == nullptr) {
            begin_message(r, thread_idx);
            append(r, "the system has no memory left for its stack");
            r.has_failed = true;
            switch_fiber(from, r.os_thread);
            return;
        }
        restart(*thread.fiber, fiber_main);
    }
    become(r, thread_idx);
    switch_fiber(from, *thread.fiber);
}

/* The running thread, whose state says why, waits until somebody makes it ready. */
void wait_until_ready(Runner &r) {
    const unsigned self = r.current;
    Fiber &fiber = *r.threads[self].fiber;
    const int next = take_next(r);
    if (next < 0) {
        diagnose_stuck(r);
        leave_failed(r, fiber);
    }
    if (static_cast<unsigned>(next) == self) {
        become(r, self);
        return;
    }
    run_thread(r, static_cast<unsigned>(next), fiber);
    /* Whoever switched back has called become(). */
}

void exit_thread(Runner &r, unsigned thread_idx) {
    AsyncCopies &copies = r.async_copies[thread_idx];
    copies.num_groups = 0;
    if (!copies.queue.empty()) {
        fail({}, "exits with asynchronous copies that it never waited for");
    }
    r.threads[thread_idx].state = State::exited;
    r.threads[thread_idx].fiber = nullptr;
    r.num_exited += 1;
    r.num_idle_rounds = 0;
    Warp &warp = r.warps[thread_idx / WARP];
    const unsigned bit = 1u << (thread_idx % WARP);
    warp.exited |= bit;
    for (unsigned m = 0; m < warp.num_meetings; ++m) {
        if ((warp.meetings[m].mask & bit) != 0) {
            const unsigned waiting_lane = static_cast<unsigned>(__builtin_ctz(warp.meetings[m].arrived));
            const Thread &waiting = r.threads[thread_idx / WARP * WARP + waiting_lane];
            fail(waiting.site, "exits, but lane %u waits for it with mask 0x%08x", waiting_lane, warp.meetings[m].mask);
        }
    }
}

/* What a fiber does: one thread, and then, on the same warm stack, every thread that is next and has not begun. */
void fiber_main() {
    arrive_in_new_fiber();
    Runner &r = runner();
    Fiber *fiber = r.threads[r.current].fiber;
    for (;;) {
        r.body(r.launch->params, r.smem);
        exit_thread(r, r.current);
        const int next = take_next(r);
        if (next < 0) {
            if (r.num_exited != r.num_threads) {
                diagnose_stuck(r);
                r.has_failed = true;
            }
            r.free_fibers.push_back(fiber);
            switch_fiber(*fiber, r.os_thread);
            __builtin_unreachable();
        }
        Thread &thread = r.threads[next];
        if (thread.fiber == nullptr) {
            thread.fiber = fiber;
            become(r, static_cast<unsigned>(next));
        } else {
            r.free_fibers.push_back(fiber);
            run_thread(r, static_cast<unsigned>(next), *fiber);
            __builtin_unreachable();
        }
    }
}

/* ---- warp operations ---- */

unsigned matching_lanes(const Warp &warp, unsigned mask, uint64_t value) {
    unsigned same = 0;
    for (unsigned lane = 0; lane < WARP; ++lane) {
        if ((mask >> lane & 1) != 0 && warp.value[lane] == value) {
            same |= 1u << lane;
        }
    }
    return same;
}

uint32_t combine(WarpOp op, uint32_t a, uint32_t b) {
    switch (op) {
        case WarpOp::reduce_add: return a + b;
        case WarpOp::reduce_min_signed: return static_cast<int32_t>(a) < static_cast<int32_t>(b) ? a : b;
        case WarpOp::reduce_max_signed: return static_cast<int32_t>(a) > static_cast<int32_t>(b) ? a : b;
        case WarpOp::reduce_min_unsigned: return a < b ? a : b;
        case WarpOp::reduce_max_unsigned: return a > b ? a : b;
        case WarpOp::reduce_and: return a & b;
        case WarpOp::reduce_or: return a | b;
        default: return a ^ b;
    }
}

uint32_t reduce(const Warp &warp, WarpOp op, unsigned mask) {
    auto lane = static_cast<unsigned>(__builtin_ctz(mask));
    auto accumulated = static_cast<uint32_t>(warp.value[lane]);
    for (mask &= mask - 1; mask != 0; mask &= mask - 1) {
        lane = static_cast<unsigned>(__builtin_ctz(mask));
        accumulated = combine(op, accumulated, static_cast<uint32_t>(warp.value[lane]));
    }
    return accumulated;
}

unsigned ballot(const Warp &warp, unsigned mask) {
    unsigned votes = 0;
    for (unsigned lane = 0; lane < WARP; ++lane) {
        votes |= ((mask >> lane & 1) != 0 && warp.value[lane] != 0 ? 1u : 0u) << lane;
    }
    return votes;
}

void run_for_all_lanes(Warp &warp) {
    LaneWork *lanes[WARP];
    for (unsigned lane = 0; lane < WARP; ++lane) {
        lanes[lane] = reinterpret_cast<LaneWork *>(warp.value[lane]);
        if (lanes[lane]->run != lanes[0]->run) {
            fail({}, "lane %u calls another operation of the whole warp than lane 0", lane);
        }
    }
    lanes[0]->run(lanes);
}

/* All lanes have come: the last one works out everybody's result, so that none is overwritten before it is read. */
void finish_meeting(Warp &warp, WarpOp op, unsigned mask) {
    uint64_t common = 0;
    switch (op) {
        case WarpOp::sync: return;
        case WarpOp::whole_warp: return run_for_all_lanes(warp);
        case WarpOp::shfl:
        case WarpOp::shfl_up:
        case WarpOp::shfl_down:
        case WarpOp::shfl_xor:
            for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
                const auto lane = static_cast<unsigned>(__builtin_ctz(lanes));
                warp.result[lane] = warp.value[warp.argument[lane]];
            }
            return;
        case WarpOp::match_any:
            for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
                const auto lane = static_cast<unsigned>(__builtin_ctz(lanes));
                warp.result[lane] = matching_lanes(warp, mask, warp.value[lane]);
            }
            return;
        case WarpOp::match_all: {
            const unsigned same = matching_lanes(warp, mask, warp.value[__builtin_ctz(mask)]);
            common = same == mask ? mask : 0;
            break;
        }
        case WarpOp::ballot: common = ballot(warp, mask); break;
        default: common = reduce(warp, op, mask); break;
    }
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
        warp.result[__builtin_ctz(lanes)] = common;
    }
}

Meeting &find_meeting(Warp &warp, WarpOp op, unsigned mask, Site site) {
    for (unsigned m = 0; m < warp.num_meetings; ++m) {
        if (warp.meetings[m].mask == mask) {
            if (warp.meetings[m].op != op) {
                fail(site, "%s meets another warp operation of the same mask 0x%08x", site.word, mask);
            }
            return warp.meetings[m];
        }
    }
    Meeting &meeting = warp.meetings[warp.num_meetings];
    warp.num_meetings += 1;
    meeting = {mask, 0, op};
    return meeting;
}

void check_mask(const Runner &r, const Warp &warp, WarpOp op, unsigned mask, unsigned argument, Site site) {
    const unsigned lane = r.current % WARP;
    if ((mask >> lane & 1) == 0) {
        fail(site, "mask 0x%08x leaves out the calling lane %u", mask, lane);
    }
    if ((mask & warp.exited) != 0) {
        fail(site, "mask 0x%08x names lane %d, which has exited", mask, __builtin_ctz(mask & warp.exited));
    }
    if (op >= WarpOp::shfl && op <= WarpOp::shfl_xor && (mask >> argument & 1) == 0) {
        fail(site, "reads lane %u, which mask 0x%08x leaves out", argument, mask);
    }
}

void land_async_copy(const AsyncCopy &copy) {
    memcpy(copy.destination, copy.source, copy.num_bytes);
    memset(static_cast<char *>(copy.destination) + copy.num_bytes, 0, copy.zero_fill_bytes);
}

int barrier_result(const Barrier &barrier) {
    switch (barrier.kind) {
        case BarrierKind::plain: return 0;
        case BarrierKind::count: return static_cast<int>(barrier.num_true);
        case BarrierKind::all: return barrier.num_true == barrier.num_expected;
        case BarrierKind::any: return barrier.num_true != 0;
    }
    return 0;
}

/* The last thread has come, and is running. */
void finish_barrier(Runner &r, unsigned barrier_idx) {
    Barrier &barrier = r.barriers[barrier_idx];
    const int result = barrier_result(barrier);
    r.threads[r.current].barrier_result = result;
    barrier.num_arrived = 0;
    for (unsigned t = 0; t < r.num_threads; ++t) {
        Thread &thread = r.threads[t];
        if (thread.state == State::at_barrier && thread.barrier_idx == barrier_idx) {
            thread.state = State::ready;
            thread.barrier_result = result;
            make_ready(r, t / WARP, 1u << (t % WARP));
        }
    }
    r.num_idle_rounds = 0;
    for (unsigned w = 0; w < r.num_warps; ++w) {
        flush_counts(r, r.warps[w]);
    }
    r.counts[COUNTER_barriers].total += 1;
    r.counts[COUNTER_barriers].warp_max += 1;
}

void reset(Runner &r, uint64_t cta_idx) {
    const EmulatorLaunch &launch = *r.launch;
    r.num_threads = r.kernel->threads;
    r.num_warps = r.num_threads / WARP;
    r.num_exited = 0;
    r.ready_warps = r.num_warps == 32 ? ~0u : (1u << r.num_warps) - 1;
    r.has_failed = false;
    r.num_idle_rounds = 0;
    /* splitmix64 of the seed and the CTA; xorshift must not start at zero. */
    uint64_t mixed = launch.seed + (cta_idx + 1) * 0x9e3779b97f4a7c15ull;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
    r.random_state = (mixed ^ (mixed >> 31)) | 1;
    for (unsigned w = 0; w < r.num_warps; ++w) {
        Warp &warp = r.warps[w];
        warp.ready = ~0u;
        warp.yielded = 0;
        warp.exited = 0;
        warp.num_meetings = 0;
        warp.has_counts = false;
        memset(warp.counts, 0, sizeof warp.counts);
    }
    for (Barrier &barrier : r.barriers) {
        barrier.num_arrived = 0;
    }
    for (unsigned t = 0; t < r.num_threads; ++t) {
        r.threads[t] = Thread{};
    }
    blockDim = uint3{r.num_threads, 1, 1};
    gridDim = uint3{launch.grid[0], launch.grid[1], launch.grid[2]};
    const uint64_t row = cta_idx / launch.grid[0];
    blockIdx.x = static_cast<unsigned>(cta_idx % launch.grid[0]);
    blockIdx.y = static_cast<unsigned>(row % launch.grid[1]);
    blockIdx.z = static_cast<unsigned>(row / launch.grid[1]);
    threadIdx = uint3{0, 0, 0};
}

/* A CTA that failed leaves fibers in the middle of things. */
void recover_fibers(Runner &r) {
    r.free_fibers = r.all_fibers;
    for (unsigned t = 0; t < r.num_threads; ++t) {
        r.async_copies[t] = AsyncCopies{};
    }
}

}  // namespace

void fail(Site site, const char *format, ...) {
    Runner &r = runner();
    begin_message(r, r.current);
    va_list arguments;
    va_start(arguments, format);
    append_formatted(r, format, arguments);
    va_end(arguments);
    append(r, site.file == nullptr ? "" : ", ");
    append_site(r, site);
    /* Nothing returns to where it was, so any fiber's place will do to note it. */
    leave_failed(r, *r.fault_fiber);
}

int wait_at_barrier(unsigned barrier_idx, unsigned num_threads, BarrierKind kind, bool predicate, Site site) {
    Runner &r = runner();
    const unsigned num_expected = num_threads == 0 ? r.num_threads : num_threads;
    if (barrier_idx >= NUM_BARRIERS || num_expected > r.num_threads || num_expected % WARP != 0) {
        fail(site, "there are %u barriers, and a barrier takes whole warps of the CTA", NUM_BARRIERS);
    }
    Barrier &barrier = r.barriers[barrier_idx];
    if (barrier.num_arrived == 0) {
        barrier.site = site;
        barrier.kind = kind;
        barrier.num_expected = num_expected;
        barrier.num_true = 0;
    } else if (barrier.kind != kind || barrier.num_expected != num_expected || barrier.site.line != site.line ||
               strcmp(barrier.site.file, site.file) != 0) {
        fail(site, "divergent barrier: other threads wait in %s at %s:%d", barrier.site.word, file_name(barrier.site.file),
             barrier.site.line);
    }
    barrier.num_arrived += 1;
    barrier.num_true += predicate ? 1 : 0;
    Thread &self = r.threads[r.current];
    self.site = site;
    if (barrier.num_arrived == num_expected) {
        finish_barrier(r, barrier_idx);
    } else {
        self.state = State::at_barrier;
        self.barrier_idx = static_cast<uint8_t>(barrier_idx);
        wait_until_ready(r);
    }
    return self.barrier_result;
}

uint64_t warp_operation(WarpOp op, unsigned mask, uint64_t value, unsigned argument, Site site) {
    Runner &r = runner();
    const unsigned warp_idx = r.current / WARP;
    const unsigned lane = r.current % WARP;
    Warp &warp = r.warps[warp_idx];
    check_mask(r, warp, op, mask, argument, site);
    Meeting &meeting = find_meeting(warp, op, mask, site);
    warp.value[lane] = value;
    warp.argument[lane] = argument;
    meeting.arrived |= 1u << lane;
    Thread &self = r.threads[r.current];
    self.site = site;
    if (meeting.arrived == mask) {
        warp.num_meetings -= 1;
        meeting = warp.meetings[warp.num_meetings];
        finish_meeting(warp, op, mask);
        r.num_idle_rounds = 0;
        const unsigned others = mask & ~(1u << lane);
        if (others != 0) {
            make_ready(r, warp_idx, others);
        }
        if (mask == ~0u) {
            flush_counts(r, warp);
        }
    } else {
        self.state = State::in_warp_operation;
        wait_until_ready(r);
    }
    return warp.result[lane];
}

void run_whole_warp(LaneWork &work, Site site) {
    warp_operation(WarpOp::whole_warp, ~0u, reinterpret_cast<uint64_t>(&work), 0, site);
}

void check_shared_row(const void *row, Site site) {
    const Runner &r = runner();
    const auto address = reinterpret_cast<uintptr_t>(row);
    const auto start = reinterpret_cast<uintptr_t>(r.smem);
    const uintptr_t end = start + r.kernel->smem_bytes + r.launch->smem_tail_bytes;
    if (address % 16 != 0 || address < start || address + 16 > end) {
        fail(site, "reads a row at %p, which is not 16 aligned bytes of shared memory", row);
    }
}

void yield_thread(Site site) {
    Runner &r = runner();
    Warp &warp = r.warps[r.current / WARP];
    r.threads[r.current].site = site;
    warp.yielded |= 1u << (r.current % WARP);
    if (r.ready_warps == 0) {
        /* Nobody but sleepers: another CTA may have to move on. */
        if (r.num_idle_rounds++ == 0) {
            r.idle_since = std::chrono::steady_clock::now();
        }
        if (r.num_idle_rounds % 64 == 0) {
            sched_yield();
            const std::chrono::milliseconds limit{r.launch->spin_limit_ms};
            if (std::chrono::steady_clock::now() - r.idle_since > limit) {
                fail(site, "deadlock: for %u ms its CTA has done nothing but sleep", r.launch->spin_limit_ms);
            }
        }
    }
    wait_until_ready(r);
}

void maybe_preempt() {
    Runner &r = runner();
    if (r.launch->order == ORDER_RANDOM && random_below_32(r) < 8 && r.ready_warps != 0) {
        make_ready(r, r.current / WARP, 1u << (r.current % WARP));
        wait_until_ready(r);
    }
}

void copy_async(void *shared_destination, const void *source, size_t num_bytes, size_t zero_fill_bytes) {
    Runner &r = runner();
    AsyncCopies &copies = r.async_copies[r.current];
    copies.queue.push_back({shared_destination, source, num_bytes - zero_fill_bytes, zero_fill_bytes, copies.num_groups});
}

void commit_async_copies() {
    Runner &r = runner();
    r.async_copies[r.current].num_groups += 1;
}

void wait_for_async_copies(unsigned num_groups_left) {
    Runner &r = runner();
    AsyncCopies &copies = r.async_copies[r.current];
    const unsigned groups_end = copies.num_groups > num_groups_left ? copies.num_groups - num_groups_left : 0;
    size_t num_landed = 0;
    while (num_landed < copies.queue.size() && copies.queue[num_landed].group < groups_end) {
        land_async_copy(copies.queue[num_landed]);
        num_landed += 1;
    }
    copies.queue.erase(copies.queue.begin(), copies.queue.begin() + static_cast<std::ptrdiff_t>(num_landed));
}

void count(unsigned counter_idx, uint32_t n) {
    Runner &r = runner();
    Warp &warp = r.warps[r.current / WARP];
    warp.counts[counter_idx][r.current % WARP] += n;
    warp.has_counts = true;
}

bool is_running() { return the_runner != nullptr && the_runner->is_running; }

char *fault_stack_top() {
    const Fiber &fiber = *runner().fault_fiber;
    return fiber.stack_bottom + fiber.stack_bytes;
}

/* Whether an address lies just below the running thread's stack. */
static bool is_stack_guard(const Runner &r, const volatile void *address) {
    const Fiber *fiber = r.threads[r.current].fiber;
    const auto *byte = static_cast<const volatile char *>(address);
    return fiber != nullptr && byte < fiber->stack_bottom && byte >= fiber->stack_bottom - 4096;
}

void fail_at_fault(const volatile void *address, bool is_write) {
    Runner &r = runner();
    arrive_by_signal(*r.fault_fiber);
    if (is_stack_guard(r, address)) {
        fail({}, "its stack overflows (a large local array, or recursion)");
    }
    r.failure->fault_address = address;
    fail({}, "%s address %p, which is outside all buffers", is_write ? "writes" : "reads", const_cast<const void *>(address));
}

void note_sanitizer_report(const char *report) {
    Runner &r = runner();
    if (r.failure->message[0] == 0) {
        begin_message(r, r.current);
        append(r, "%.*s", static_cast<int>(strcspn(report, "\n")), report);
    }
}

int run_cta(const EmulatorLaunch &launch, const EmulatorKernel &kernel, Body body, uint64_t cta_idx, EmulatorCount *counts,
            EmulatorFailure *failure) {
    static thread_local Runner instance;
    the_runner = &instance;
    Runner &r = instance;
    failure->message[0] = 0;
    failure->fault_address = nullptr;
    r.launch = &launch;
    r.kernel = &kernel;
    r.body = body;
    r.counts = counts;
    r.failure = failure;
    r.smem = r.shared_memory.prepare(kernel.smem_bytes + launch.smem_tail_bytes);
    if (r.fault_fiber == nullptr) {
        r.fault_fiber = new_fiber(0);
    }
    if (r.smem == nullptr || r.fault_fiber == nullptr) {
        snprintf(failure->message, sizeof failure->message, "the system has no memory left for a CTA");
        return 1;
    }
    install_fault_handler();
    adopt_os_stack(r.os_thread);
    reset(r, cta_idx);
    r.is_running = true;
    run_thread(r, static_cast<unsigned>(take_next(r)), r.os_thread);
    r.is_running = false;
    if (r.has_failed) {
        recover_fibers(r);
        return 1;
    }
    for (unsigned w = 0; w < r.num_warps; ++w) {
        flush_counts(r, r.warps[w]);
    }
    if (failure->message[0] != 0) {
        return 1; /* a sanitizer's report, after which the CTA went on to its end */
    }
    if (!r.shared_memory.is_intact()) {
        begin_message(r, 0);
        append(r, "its CTA wrote behind the end of its %u bytes of shared memory", kernel.smem_bytes + launch.smem_tail_bytes);
        return 1;
    }
    return 0;
}

}  // namespace emulator
