/* What the words of CUDA mean on the host. Force-included before the kernels' files, which therefore need no #ifdef.
 *
 * Only what the kernels use, with CUDA's own overloads: what compiles here compiles under nvcc. Deliberately without meaning:
 * `__shared__`, `<<<>>>`, and __activemask() as anything but the calling lane (any more is luck, on a GPU too).
 */
#ifndef DCTFLOW_EMULATOR_CUDA_WORDS_H
#define DCTFLOW_EMULATOR_CUDA_WORDS_H

#include <cmath>
#include <cstdint>
#include <cstring>

#include "scheduler.h"

#define __device__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))

/* ---- vector types ---- */

#define VECTOR_TYPES(T, name, a2, a4)                                                                      \
    struct name##2 { T x, y; } __attribute__((aligned(a2)));                                              \
    struct name##3 { T x, y, z; };                                                                        \
    struct name##4 { T x, y, z, w; } __attribute__((aligned(a4)));                                        \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                            \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                                    \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTOR_TYPES(signed char, char, 2, 4)
VECTOR_TYPES(unsigned char, uchar, 2, 4)
VECTOR_TYPES(short, short, 4, 8)
VECTOR_TYPES(unsigned short, ushort, 4, 8)
VECTOR_TYPES(int, int, 8, 16)
VECTOR_TYPES(unsigned, uint, 8, 16)
VECTOR_TYPES(float, float, 8, 16)
#undef VECTOR_TYPES

extern __thread uint3 threadIdx;
extern __thread uint3 blockIdx;
extern __thread uint3 blockDim;
extern __thread uint3 gridDim;

/* ---- barriers and warps ---- */

/* Every word that waits knows the line it stands on: messages name it, and barriers on different lines do not match. */
#define WHERE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define SITE(word) (emulator::Site{file, line, word})

inline void __syncthreads(WHERE) {
    emulator::wait_at_barrier(0, 0, emulator::BarrierKind::plain, false, SITE("__syncthreads"));
}
inline int __syncthreads_count(int predicate, WHERE) {
    return emulator::wait_at_barrier(0, 0, emulator::BarrierKind::count, predicate != 0, SITE("__syncthreads_count"));
}
inline int __syncthreads_and(int predicate, WHERE) {
    return emulator::wait_at_barrier(0, 0, emulator::BarrierKind::all, predicate != 0, SITE("__syncthreads_and"));
}
inline int __syncthreads_or(int predicate, WHERE) {
    return emulator::wait_at_barrier(0, 0, emulator::BarrierKind::any, predicate != 0, SITE("__syncthreads_or"));
}
inline void __barrier_sync(unsigned barrier_idx, WHERE) {
    emulator::wait_at_barrier(barrier_idx, 0, emulator::BarrierKind::plain, false, SITE("__barrier_sync"));
}
inline void __barrier_sync_count(unsigned barrier_idx, unsigned num_threads, WHERE) {
    emulator::wait_at_barrier(barrier_idx, num_threads, emulator::BarrierKind::plain, false, SITE("__barrier_sync_count"));
}
inline void __syncwarp(unsigned mask = 0xffffffffu, WHERE) {
    emulator::warp_operation(emulator::WarpOp::sync, mask, 0, 0, SITE("__syncwarp"));
}
inline unsigned __activemask() { return 1u << (threadIdx.x % emulator::WARP); }

namespace emulator {

template <typename T>
uint64_t to_bits(T value) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a register pair holds 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return bits;
}

template <typename T>
T from_bits(uint64_t bits) {
    T value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <typename T>
T shuffle(WarpOp op, unsigned mask, T value, unsigned source_lane, Site site) {
    return from_bits<T>(warp_operation(op, mask, to_bits(value), source_lane, site));
}

/* First lane of the calling lane's segment of `width` lanes. */
inline unsigned segment_start(int width) { return threadIdx.x % WARP & ~(static_cast<unsigned>(width) - 1); }

}  // namespace emulator

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, WHERE) {
    const unsigned lane = emulator::segment_start(width) + (static_cast<unsigned>(source) & (static_cast<unsigned>(width) - 1));
    return emulator::shuffle(emulator::WarpOp::shfl, mask, value, lane, SITE("__shfl_sync"));
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, WHERE) {
    const unsigned self = threadIdx.x % emulator::WARP;
    const bool is_inside = self - emulator::segment_start(width) >= distance;
    return emulator::shuffle(emulator::WarpOp::shfl_up, mask, value, is_inside ? self - distance : self, SITE("__shfl_up_sync"));
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, WHERE) {
    const unsigned self = threadIdx.x % emulator::WARP;
    const bool is_inside = uint64_t{self} + distance < emulator::segment_start(width) + static_cast<unsigned>(width);
    return emulator::shuffle(emulator::WarpOp::shfl_down, mask, value, is_inside ? self + distance : self,
                             SITE("__shfl_down_sync"));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, WHERE) {
    const unsigned self = threadIdx.x % emulator::WARP;
    const unsigned other = self ^ static_cast<unsigned>(lane_mask);
    const bool is_inside = other < emulator::segment_start(width) + static_cast<unsigned>(width);
    return emulator::shuffle(emulator::WarpOp::shfl_xor, mask, value, is_inside ? other : self, SITE("__shfl_xor_sync"));
}

inline unsigned __ballot_sync(unsigned mask, int predicate, WHERE) {
    return static_cast<unsigned>(
        emulator::warp_operation(emulator::WarpOp::ballot, mask, predicate != 0, 0, SITE("__ballot_sync")));
}
inline int __any_sync(unsigned mask, int predicate, WHERE) {
    return emulator::warp_operation(emulator::WarpOp::ballot, mask, predicate != 0, 0, SITE("__any_sync")) != 0;
}
inline int __all_sync(unsigned mask, int predicate, WHERE) {
    return emulator::warp_operation(emulator::WarpOp::ballot, mask, predicate != 0, 0, SITE("__all_sync")) == mask;
}
template <typename T>
unsigned __match_any_sync(unsigned mask, T value, WHERE) {
    return static_cast<unsigned>(emulator::warp_operation(emulator::WarpOp::match_any, mask, emulator::to_bits(value), 0,
                                                          SITE("__match_any_sync")));
}
template <typename T>
unsigned __match_all_sync(unsigned mask, T value, int *all_match, WHERE) {
    const auto same = static_cast<unsigned>(emulator::warp_operation(emulator::WarpOp::match_all, mask, emulator::to_bits(value), 0,
                                                                     SITE("__match_all_sync")));
    *all_match = same != 0;
    return same;
}

#define REDUCTION(name, T, op)                                                                             \
    inline T name(unsigned mask, T value, WHERE) {                                                         \
        return static_cast<T>(emulator::warp_operation(emulator::WarpOp::op, mask, static_cast<uint32_t>(value), 0, SITE(#name))); \
    }
REDUCTION(__reduce_add_sync, unsigned, reduce_add)
REDUCTION(__reduce_add_sync, int, reduce_add)
REDUCTION(__reduce_min_sync, unsigned, reduce_min_unsigned)
REDUCTION(__reduce_min_sync, int, reduce_min_signed)
REDUCTION(__reduce_max_sync, unsigned, reduce_max_unsigned)
REDUCTION(__reduce_max_sync, int, reduce_max_signed)
REDUCTION(__reduce_and_sync, unsigned, reduce_and)
REDUCTION(__reduce_or_sync, unsigned, reduce_or)
REDUCTION(__reduce_xor_sync, unsigned, reduce_xor)
#undef REDUCTION

inline void __nanosleep(unsigned, WHERE) { emulator::yield_thread(SITE("__nanosleep")); }
[[noreturn]] inline void __trap(WHERE) { emulator::fail(SITE("__trap"), "gives up"); }

/* ---- memory ---- */

inline void __threadfence() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    emulator::maybe_preempt();
}
inline void __threadfence_block() { __threadfence(); }
inline void __threadfence_system() { __threadfence(); }

/* CTAs run on several OS threads, so these are atomic; relaxed, as CUDA's are. */
#define ATOMIC_FETCH(name, T, operation)                                                                   \
    inline T name(T *address, T value) {                                                                   \
        emulator::maybe_preempt();                                                                         \
        return operation(address, value, __ATOMIC_RELAXED);                                                \
    }
#define ATOMIC_CAS(T)                                                                                      \
    inline T atomicCAS(T *address, T expected, T value) {                                                  \
        emulator::maybe_preempt();                                                                         \
        __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED); \
        return expected;                                                                                   \
    }
/* What the builtins lack is a loop around compare-and-swap. */
#define ATOMIC_LOOP(name, T, expression)                                                                   \
    inline T name(T *address, T value) {                                                                   \
        emulator::maybe_preempt();                                                                         \
        T old;                                                                                             \
        __atomic_load(address, &old, __ATOMIC_RELAXED);                                                    \
        T desired = expression;                                                                            \
        while (!__atomic_compare_exchange(address, &old, &desired, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) { \
            desired = expression;                                                                          \
        }                                                                                                  \
        return old;                                                                                        \
    }
#define ATOMIC_INTEGER(T)                                                                                  \
    ATOMIC_FETCH(atomicExch, T, __atomic_exchange_n)                                                       \
    ATOMIC_LOOP(atomicMin, T, value < old ? value : old)                                                   \
    ATOMIC_LOOP(atomicMax, T, value > old ? value : old)                                                   \
    ATOMIC_CAS(T)
#define ATOMIC_BITS(T)                                                                                     \
    ATOMIC_FETCH(atomicAdd, T, __atomic_fetch_add)                                                         \
    ATOMIC_FETCH(atomicAnd, T, __atomic_fetch_and)                                                         \
    ATOMIC_FETCH(atomicOr, T, __atomic_fetch_or)                                                           \
    ATOMIC_FETCH(atomicXor, T, __atomic_fetch_xor)
ATOMIC_INTEGER(int)
ATOMIC_INTEGER(unsigned)
ATOMIC_INTEGER(unsigned long long)
ATOMIC_BITS(int)
ATOMIC_BITS(unsigned)
ATOMIC_BITS(unsigned long long)
ATOMIC_FETCH(atomicSub, int, __atomic_fetch_sub)
ATOMIC_FETCH(atomicSub, unsigned, __atomic_fetch_sub)
ATOMIC_LOOP(atomicAdd, float, old + value)
#undef ATOMIC_FETCH
#undef ATOMIC_CAS
#undef ATOMIC_LOOP
#undef ATOMIC_INTEGER
#undef ATOMIC_BITS

template <typename T>
T __ldg(const T *address) { return *address; }
template <typename T>
T __ldcg(const T *address) { return *address; }
template <typename T>
T __ldcs(const T *address) { return *address; }
template <typename T>
void __stcg(T *address, T value) { *address = value; }
template <typename T>
void __stcs(T *address, T value) { *address = value; }

/* cp.async (cuda_pipeline_primitives.h) */
inline void __pipeline_memcpy_async(void *shared_destination, const void *source, size_t num_bytes, size_t zero_fill_bytes = 0) {
    emulator::copy_async(shared_destination, source, num_bytes, zero_fill_bytes);
}
inline void __pipeline_commit() { emulator::commit_async_copies(); }
inline void __pipeline_wait_prior(size_t num_groups_left) {
    emulator::wait_for_async_copies(static_cast<unsigned>(num_groups_left));
}

/* ---- bits and arithmetic ---- */

inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline unsigned long long __brevll(unsigned long long x) {
    x = (x >> 1 & 0x5555555555555555ull) | (x & 0x5555555555555555ull) << 1;
    x = (x >> 2 & 0x3333333333333333ull) | (x & 0x3333333333333333ull) << 2;
    x = (x >> 4 & 0x0f0f0f0f0f0f0f0full) | (x & 0x0f0f0f0f0f0f0f0full) << 4;
    return __builtin_bswap64(x);
}
inline unsigned __brev(unsigned x) { return static_cast<unsigned>(__brevll(x) >> 32); }
/* Four of the eight bytes of (y, x), chosen by the low three bits of each nibble of the selector. */
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
    unsigned result = 0;
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned byte_idx = selector >> (4 * i) & 7;
        result |= static_cast<unsigned>(bytes >> (8 * byte_idx) & 255) << (8 * i);
    }
    return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}
inline unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (shift > 32 ? 32 : shift) >> 32);
}
inline unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift > 32 ? 32 : shift));
}
inline unsigned __umulhi(unsigned x, unsigned y) { return static_cast<unsigned>(static_cast<uint64_t>(x) * y >> 32); }
inline int __mulhi(int x, int y) { return static_cast<int>(static_cast<int64_t>(x) * y >> 32); }

inline int __float_as_int(float x) { return emulator::from_bits<int>(emulator::to_bits(x)); }
inline unsigned __float_as_uint(float x) { return emulator::from_bits<unsigned>(emulator::to_bits(x)); }
inline float __int_as_float(int x) { return emulator::from_bits<float>(emulator::to_bits(x)); }
inline float __uint_as_float(unsigned x) { return emulator::from_bits<float>(emulator::to_bits(x)); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline int __float2int_rn(float x) { return static_cast<int>(nearbyintf(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }

#define MIN_MAX(T)                                                                                         \
    inline T min(T a, T b) { return b < a ? b : a; }                                                       \
    inline T max(T a, T b) { return a < b ? b : a; }
MIN_MAX(int)
MIN_MAX(unsigned)
MIN_MAX(long)
MIN_MAX(unsigned long)
MIN_MAX(long long)
MIN_MAX(unsigned long long)
#undef MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

/* ---- half precision (cuda_fp16.h): a storage format; the arithmetic is float's ---- */

struct __half {
    _Float16 value;
};
struct __align__(4) __half2 {
    __half x, y;
};
inline __half __float2half_rn(float x) { return {static_cast<_Float16>(x)}; }
inline __half __float2half(float x) { return __float2half_rn(x); }
inline float __half2float(__half x) { return static_cast<float>(x.value); }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline float2 __half22float2(__half2 x) { return {__half2float(x.x), __half2float(x.y)}; }
inline unsigned short __half_as_ushort(__half x) { return emulator::from_bits<unsigned short>(emulator::to_bits(x)); }

/* ---- tensor cores (common/tensor_core.cuh) ---- */

#include "tensor_core.h"

/* ---- counting ---- */

namespace emulator {
enum Counter : unsigned {
#define COUNTER(name, text) COUNTER_##name,
#include "../counters.def"
#undef COUNTER
    NUM_COUNTERS
};
static_assert(NUM_COUNTERS <= EMULATOR_MAX_COUNTERS, "raise EMULATOR_MAX_COUNTERS");
}  // namespace emulator
#define COUNT(counter, n) emulator::count(emulator::COUNTER_##counter, n)

#endif
