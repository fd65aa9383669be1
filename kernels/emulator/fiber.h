/* Fibers: a stack each, switched by hand. */
#ifndef DCTFLOW_EMULATOR_FIBER_H
#define DCTFLOW_EMULATOR_FIBER_H

#include <cstddef>

#if !defined(__x86_64__) && !defined(DCTFLOW_UCONTEXT)
#define DCTFLOW_UCONTEXT
#endif
#ifdef DCTFLOW_UCONTEXT
#include <ucontext.h>
#endif

namespace emulator {

/* A fiber, stopped or running. The default one stands for the OS thread's own stack. */
struct Fiber {
    char *stack_bottom = nullptr;
    size_t stack_bytes = 0;
#ifdef DCTFLOW_UCONTEXT
    ucontext_t context = {};
#else
    void *stack_pointer = nullptr;
#endif
    void *sanitizer_stack = nullptr; /* AddressSanitizer's fake stack, while the fiber is stopped */
};

/* A fiber with a stack between guard pages; `color` shifts the start, so that the hot ends of many stacks do not all fall into the
 * same cache sets. Lives until its OS thread ends. Null when the system has no memory left. */
Fiber *new_fiber(unsigned color);

/* Makes a default fiber stand for the running OS thread's own stack (only AddressSanitizer wants to know where that is). */
void adopt_os_stack(Fiber &fiber);

/* Unmaps the stack. */
void delete_fiber(Fiber *fiber);

/* Makes the fiber start in `entry`, which never returns, at the next switch to it. What it did before is abandoned. */
void restart(Fiber &fiber, void (*entry)());

/* Stops `from`, which is running, and continues `to`. */
void switch_fiber(Fiber &from, Fiber &to);

/* The first thing that a restarted fiber does. */
void arrive_in_new_fiber();

/* The first thing to do when a signal handler has put the OS thread onto a fiber's stack. */
void arrive_by_signal(Fiber &fiber);

}  // namespace emulator

#endif
