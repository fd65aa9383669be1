#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t STACK_BYTES = 256 << 10; /* its frames are larger */
#else
constexpr size_t STACK_BYTES = 64 << 10;
#endif
constexpr size_t COLOR_BYTES = 64;
constexpr unsigned NUM_COLORS = 32;

size_t page_bytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

Fiber *new_fiber(unsigned color) {
    const size_t guard = page_bytes();
    void *mapping = mmap(nullptr, STACK_BYTES + guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) {
        return nullptr;
    }
    char *bottom = static_cast<char *>(mapping) + guard;
    if (mprotect(bottom, STACK_BYTES, PROT_READ | PROT_WRITE) != 0) {
        munmap(mapping, STACK_BYTES + guard);
        return nullptr;
    }
    Fiber *fiber = new Fiber;
    fiber->stack_bottom = bottom;
    fiber->stack_bytes = STACK_BYTES - (color % NUM_COLORS) * COLOR_BYTES;
    return fiber;
}

void adopt_os_stack(Fiber &fiber) {
#if defined(__SANITIZE_ADDRESS__)
    pthread_attr_t attributes;
    void *bottom = nullptr;
    size_t bytes = 0;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &bottom, &bytes);
        pthread_attr_destroy(&attributes);
    }
    fiber.stack_bottom = static_cast<char *>(bottom);
    fiber.stack_bytes = bytes;
#else
    (void)fiber;
#endif
}

void delete_fiber(Fiber *fiber) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(fiber->stack_bottom, STACK_BYTES);
#endif
    munmap(fiber->stack_bottom - page_bytes(), STACK_BYTES + page_bytes());
    delete fiber;
}

#ifdef DCTFLOW_UCONTEXT

static void prepare(Fiber &fiber, void (*entry)()) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack_bottom;
    fiber.context.uc_stack.ss_size = fiber.stack_bytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
}

static void switch_stack(Fiber &from, Fiber &to) { swapcontext(&from.context, &to.context); }

#else

/* Saves what the System V ABI asks a callee to keep, changes the stack, restores. About 20 ns, where swapcontext takes 650 (it
 * asks the kernel for the signal mask). */
extern "C" void dctflow_switch_stack(void **save_stack_pointer, void *load_stack_pointer);
asm(R"(
    .text
    .globl dctflow_switch_stack
    .type dctflow_switch_stack, @function
dctflow_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size dctflow_switch_stack, . - dctflow_switch_stack
)");

static void prepare(Fiber &fiber, void (*entry)()) {
    /* As dctflow_switch_stack leaves a stack: six registers and the address it returns to; above it the (null) return address
     * of `entry`, at 8 modulo 16, as after a call. */
    const auto top = reinterpret_cast<uintptr_t>(fiber.stack_bottom + fiber.stack_bytes) & ~uintptr_t{15};
    void **slots = reinterpret_cast<void **>(top) - 8;
    for (int i = 0; i < 8; ++i) {
        slots[i] = nullptr;
    }
    slots[6] = reinterpret_cast<void *>(entry);
    fiber.stack_pointer = slots;
}

static void switch_stack(Fiber &from, Fiber &to) { dctflow_switch_stack(&from.stack_pointer, to.stack_pointer); }

#endif

void restart(Fiber &fiber, void (*entry)()) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(fiber.stack_bottom, fiber.stack_bytes);
    fiber.sanitizer_stack = nullptr;
#endif
    prepare(fiber, entry);
}

void switch_fiber(Fiber &from, Fiber &to) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from.sanitizer_stack, to.stack_bottom, to.stack_bytes);
    switch_stack(from, to);
    __sanitizer_finish_switch_fiber(from.sanitizer_stack, nullptr, nullptr);
#else
    switch_stack(from, to);
#endif
}

void arrive_in_new_fiber() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

void arrive_by_signal(Fiber &fiber) {
#if defined(__SANITIZE_ADDRESS__)
    void *left_behind = nullptr;
    __sanitizer_start_switch_fiber(&left_behind, fiber.stack_bottom, fiber.stack_bytes);
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#else
    (void)fiber;
#endif
}

}  // namespace emulator
