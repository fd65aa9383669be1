/* Memory that notices: guard pages, canaries, poison, and the handler that turns a fault into a message. */
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "scheduler.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define FORBID(start, num_bytes) __asan_poison_memory_region(start, num_bytes)
#define ALLOW(start, num_bytes) __asan_unpoison_memory_region(start, num_bytes)
#else
#define FORBID(start, num_bytes) ((void)(start), (void)(num_bytes))
#define ALLOW(start, num_bytes) ((void)(start), (void)(num_bytes))
#endif

namespace emulator {
namespace {

constexpr uint8_t CANARY = 0xC7;
constexpr size_t BUFFER_ALIGNMENT = 256; /* as cuMemAlloc gives */
constexpr size_t SMEM_ALIGNMENT = 1024;

size_t page_bytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

/* Pages between two guard pages; null when the system has no memory left. */
uint8_t *map_guarded(size_t num_bytes) {
    const size_t guard = page_bytes();
    void *mapping = mmap(nullptr, num_bytes + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) {
        return nullptr;
    }
    auto *usable = static_cast<uint8_t *>(mapping) + guard;
    if (num_bytes != 0 && mprotect(usable, num_bytes, PROT_READ | PROT_WRITE) != 0) {
        munmap(mapping, num_bytes + 2 * guard);
        return nullptr;
    }
    ALLOW(usable, num_bytes); /* the address may have been a stack's, and its shadow lives on */
    return usable;
}

void unmap_guarded(uint8_t *usable, size_t num_bytes) {
    const size_t guard = page_bytes();
    ALLOW(usable, num_bytes);
    munmap(usable - guard, num_bytes + 2 * guard);
}

/* AddressSanitizer would object to our own reading of what it was told to forbid. */
__attribute__((no_sanitize("address"))) bool is_all_canary(const uint8_t *start, const uint8_t *end) {
    /* Zones can be megabytes: eight bytes at a time, where they are aligned. */
    uint64_t canaries;
    __builtin_memset(&canaries, CANARY, sizeof canaries);
    const uint8_t *byte = start;
    while (byte < end) {
        const bool is_word = reinterpret_cast<uintptr_t>(byte) % sizeof canaries == 0 && end - byte >= static_cast<ptrdiff_t>(sizeof canaries);
        if (is_word ? *reinterpret_cast<const volatile uint64_t *>(byte) != canaries : *static_cast<const volatile uint8_t *>(byte) != CANARY) {
            return false;
        }
        byte += is_word ? sizeof canaries : 1;
    }
    return true;
}

void set_canary(uint8_t *start, size_t num_bytes) {
    ALLOW(start, num_bytes);
    memset(start, CANARY, num_bytes);
    FORBID(start, num_bytes);
}

#if defined(__SANITIZE_ADDRESS__)
/* With halt_on_error=0 the kernel goes on after a report, and its launch fails at the end. A report about anything else is final. */
void on_sanitizer_report(const char *report) {
    if (!is_running()) {
        abort();
    }
    const char *error = strstr(report, "ERROR: ");
    note_sanitizer_report(error == nullptr ? report : error);
}
#endif

struct sigaction previous_segv;
struct sigaction previous_bus;

thread_local const volatile void *fault_address;
thread_local bool fault_is_write;

/* Runs where the fault was, on the stack kept for it (of which AddressSanitizer does not know yet). */
[[noreturn]] __attribute__((no_sanitize("address"))) void report_fault() { fail_at_fault(fault_address, fault_is_write); }

#if defined(__x86_64__) && defined(__linux__)
bool redirect_to_report(void *context) {
    auto *machine = &static_cast<ucontext_t *>(context)->uc_mcontext;
    fault_is_write = (machine->gregs[REG_ERR] & 2) != 0;
    const auto top = reinterpret_cast<uintptr_t>(fault_stack_top()) & ~uintptr_t{15};
    machine->gregs[REG_RSP] = static_cast<greg_t>(top - 8);
    machine->gregs[REG_RIP] = static_cast<greg_t>(reinterpret_cast<uintptr_t>(&report_fault));
    return true;
}
#elif defined(__aarch64__) && defined(__linux__)
bool redirect_to_report(void *context) {
    auto *machine = &static_cast<ucontext_t *>(context)->uc_mcontext;
    fault_is_write = false; /* the syndrome is not at hand: called a read */
    machine->sp = reinterpret_cast<uintptr_t>(fault_stack_top()) & ~uintptr_t{15};
    machine->pc = reinterpret_cast<uintptr_t>(&report_fault);
    return true;
}
#else
bool redirect_to_report(void *) { return false; }
#endif

void call_previous(const struct sigaction &previous, int signal_number, siginfo_t *info, void *context) {
    if ((previous.sa_flags & SA_SIGINFO) != 0) {
        previous.sa_sigaction(signal_number, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal_number);
    } else {
        signal(signal_number, SIG_DFL); /* returning runs into the fault again, and ends the process */
    }
}

void on_fault(int signal_number, siginfo_t *info, void *context) {
    if (is_running()) {
        fault_address = info->si_addr;
        if (redirect_to_report(context)) {
            return;
        }
    }
    call_previous(signal_number == SIGSEGV ? previous_segv : previous_bus, signal_number, info, context);
}

}  // namespace

void install_fault_handler() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        /* The handler is left by a jump, not by returning to where it was called: so no signal may stay blocked. */
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        sigemptyset(&action.sa_mask);
        sigaction(SIGSEGV, &action, &previous_segv);
        sigaction(SIGBUS, &action, &previous_bus);
#if defined(__SANITIZE_ADDRESS__)
        __asan_set_error_report_callback(on_sanitizer_report);
#endif
    });
}

SharedMemory::~SharedMemory() {
    if (mapping_ != nullptr) {
        unmap_guarded(mapping_, CAPACITY);
    }
}

unsigned char *SharedMemory::prepare(size_t num_bytes) {
    if (mapping_ == nullptr) {
        mapping_ = map_guarded(CAPACITY);
    }
    if (mapping_ == nullptr || num_bytes > CAPACITY) {
        return nullptr;
    }
    const size_t room = round_up(num_bytes, SMEM_ALIGNMENT);
    start_ = mapping_ + CAPACITY - room;
    num_bytes_ = num_bytes;
    ALLOW(start_, room);
    memset(start_, POISON, num_bytes);
    set_canary(start_ + num_bytes, room - num_bytes);
    return start_;
}

bool SharedMemory::is_intact() const { return is_all_canary(start_ + num_bytes_, mapping_ + CAPACITY); }

}  // namespace emulator

using namespace emulator;

int emulator_allocate(uint64_t len_bytes, EmulatorBuffer *buffer) {
    const size_t room = round_up(len_bytes, BUFFER_ALIGNMENT);
    const size_t pages = round_up(room, page_bytes());
    buffer->mapping = map_guarded(pages);
    if (buffer->mapping == nullptr) {
        return 1;
    }
    /* As near to the guard page behind it as the alignment allows: reading too far is the common mistake. */
    buffer->mapping_bytes = pages;
    buffer->data = buffer->mapping + (pages - room);
    buffer->len_bytes = len_bytes;
    set_canary(buffer->mapping, pages - room);
    memset(buffer->data, POISON, len_bytes);
    set_canary(buffer->data + len_bytes, room - len_bytes);
    return 0;
}

void emulator_free(const EmulatorBuffer *buffer) { unmap_guarded(buffer->mapping, buffer->mapping_bytes); }

int emulator_is_intact(const EmulatorBuffer *buffer) {
    return is_all_canary(buffer->mapping, buffer->data) &&
           is_all_canary(buffer->data + buffer->len_bytes, buffer->mapping + buffer->mapping_bytes);
}

void emulator_set_redzone(uint8_t *start, uint64_t len_bytes, int is_redzone) {
    if (is_redzone != 0) {
        set_canary(start, len_bytes);
    } else {
        ALLOW(start, len_bytes);
        memset(start, POISON, len_bytes);
    }
}

int emulator_is_redzone_intact(const uint8_t *start, uint64_t len_bytes) { return is_all_canary(start, start + len_bytes); }
