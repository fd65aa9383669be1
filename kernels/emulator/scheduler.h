/* Runs one CTA on one OS thread: every CUDA thread is a fiber; fibers run back to back until they must wait.
 *
 * What it takes for a mistake, and reports with kernel, CTA and thread:
 * - a barrier that only some threads reach (the others exited, or wait at another barrier: another line, or another kind);
 * - a warp operation whose mask names an exited lane or leaves out the caller, or whose lanes call different operations;
 * - a shuffle that reads a lane outside the mask;
 * - threads that wait for each other for ever;
 * - an access outside all buffers (a guard page), an overflow of a thread's stack, a write behind shared memory.
 */
#ifndef DCTFLOW_EMULATOR_SCHEDULER_H
#define DCTFLOW_EMULATOR_SCHEDULER_H

#include <cstddef>
#include <cstdint>

#include "emulator.h"

namespace emulator {

constexpr unsigned WARP = 32;
constexpr unsigned MAX_THREADS = 1024;
constexpr unsigned MAX_WARPS = MAX_THREADS / WARP;
constexpr unsigned NUM_BARRIERS = 16;
constexpr uint8_t POISON = 0xA5;

/* Where in the kernel's source a thread waits. */
struct Site {
    const char *file;
    int line;
    const char *word; /* the word of CUDA it waits in */
};

enum class BarrierKind : uint8_t { plain, count, all, any };

enum class WarpOp : uint8_t {
    sync,
    shfl,
    shfl_up,
    shfl_down,
    shfl_xor,
    ballot,
    match_any,
    match_all,
    reduce_add,
    reduce_min_signed,
    reduce_min_unsigned,
    reduce_max_signed,
    reduce_max_unsigned,
    reduce_and,
    reduce_or,
    reduce_xor,
    whole_warp,
};

/* What a lane brings to an operation that the last lane to come carries out for all 32: a matrix product, say. Lives on the lane's stack. */
struct LaneWork {
    void (*run)(LaneWork *const *lanes); /* [WARP] */
};

/* The calling CUDA thread waits until `num_threads` have reached barrier `barrier_idx` (0: all of the CTA). Returns how many of
 * them gave a true predicate (count), or whether all or any did. */
int wait_at_barrier(unsigned barrier_idx, unsigned num_threads, BarrierKind kind, bool predicate, Site site);

/* The calling CUDA thread takes part in a warp operation of the lanes in `mask`. `argument` is the source lane of shuffles. */
uint64_t warp_operation(WarpOp op, unsigned mask, uint64_t value, unsigned argument, Site site);

/* The calling CUDA thread takes part in an operation of its whole warp. */
void run_whole_warp(LaneWork &work, Site site);

/* Fails unless `row` is 16 bytes of the CTA's shared memory, aligned to 16 bytes. */
void check_shared_row(const void *row, Site site);

/* Lets other threads run, as __nanosleep does. */
void yield_thread(Site site);

/* In a random schedule, now and then lets another thread run: called where threads communicate (atomics, fences). */
void maybe_preempt();

/* cp.async: the copy lands when the thread waits for its group. */
void copy_async(void *shared_destination, const void *source, size_t num_bytes, size_t zero_fill_bytes);
void commit_async_copies();
void wait_for_async_copies(unsigned num_groups_left);

/* Ends the CTA with a message about the calling thread. */
[[noreturn]] void fail(Site site, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds to a counter of counters.def for the calling thread. */
void count(unsigned counter_idx, uint32_t n);

/* The kernel's body for one thread, and what it needs. */
using Body = void (*)(const void *params, unsigned char *shared_memory);

/* As emulator_run_cta. */
int run_cta(const EmulatorLaunch &launch, const EmulatorKernel &kernel, Body body, uint64_t cta_idx, EmulatorCount *counts,
            EmulatorFailure *failure);

/* For the signal handler (memory.cpp): whether a kernel is running on this OS thread, and how to end it. */
bool is_running();
char *fault_stack_top();
[[noreturn]] void fail_at_fault(const volatile void *address, bool is_write);

/* AddressSanitizer has found something in the running thread: it goes on, but its launch fails. */
void note_sanitizer_report(const char *report);

/* Shared memory of this OS thread's CTA: 1024-byte aligned, `num_bytes` long, a guard page soon behind it. */
class SharedMemory {
  public:
    ~SharedMemory();
    /* Poisoned memory, or null when the system has none left. */
    unsigned char *prepare(size_t num_bytes);
    /* Whether the bytes between its end and the guard page are as they were left. */
    bool is_intact() const;

    static constexpr size_t CAPACITY = 256 << 10; /* more than any GPU's */

  private:
    unsigned char *mapping_ = nullptr;
    unsigned char *start_ = nullptr;
    size_t num_bytes_ = 0;
};

/* Installs the handler that turns a fault in a kernel into a failure. */
void install_fault_handler();

}  // namespace emulator

#endif
