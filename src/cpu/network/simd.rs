//! Vectors of `f32` as the instruction sets name them, behind one small trait, so that the register tile is written once.

use std::fmt;

/// A vector of [`LANES`](Simd::LANES) values of `f32` and what the register tile does with it.
///
/// # Safety
/// Every function may only run where [`InstructionSet::is_supported`] holds for the instruction set of the implementor, and
/// from code compiled for it (`#[target_feature]`). Pointers must be valid for the lanes that the function names; they need no alignment.
pub(super) trait Simd {
    /// The vector register.
    type Vector: Copy;
    /// Values in one vector.
    const LANES: usize;

    /// Zero in every lane.
    unsafe fn zero() -> Self::Vector;
    /// All lanes from `from[0..LANES]`.
    unsafe fn load(from: *const f32) -> Self::Vector;
    /// The first `lanes` lanes (all, if there are fewer) from `from`, zero in the others.
    unsafe fn load_first(from: *const f32, lanes: usize) -> Self::Vector;
    /// The first `lanes` lanes (all, if there are fewer) to `to`.
    unsafe fn store_first(to: *mut f32, x: Self::Vector, lanes: usize);
    /// `from[0]` in every lane.
    unsafe fn broadcast(from: *const f32) -> Self::Vector;
    /// `a * b + c`.
    unsafe fn mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `a + b`.
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b`.
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Begins to bring the cache line of `from`, which may be any pointer, into the second-level cache.
    unsafe fn prefetch(from: *const f32);
    /// `max(0, x)`, where NaN stays NaN.
    unsafe fn relu(x: Self::Vector) -> Self::Vector;
}

/// The instruction sets that the forward pass has code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// x86-64 with AMX for bf16, on Linux: each float of a product is a pair of bf16, which keeps 16 of its 24 bits. Logits are some 1e-5 of the
    /// largest away from those in f32.
    Amx,
    /// x86-64 with AVX-512F.
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// Any CPU; the compiler vectorises for the target it builds for.
    Portable,
}

impl InstructionSet {
    /// Every instruction set, the fastest first.
    pub const ALL: [Self; 4] = [Self::Amx, Self::Avx512, Self::Avx2, Self::Portable];

    /// The fastest one that this CPU can run.
    pub fn detect() -> Self {
        Self::ALL.into_iter().find(|set| set.is_supported()).unwrap_or(Self::Portable)
    }

    /// Whether this CPU can run it.
    pub fn is_supported(self) -> bool {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Amx => super::amx::is_available(),
            #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
            Self::Amx => false,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Amx => "amx",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        })
    }
}

/// Arrays of four: one SSE2 or NEON register, which the compiler finds by itself.
pub(super) struct Portable;

impl Simd for Portable {
    type Vector = [f32; 4];
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> [f32; 4] {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 4] {
        // SAFETY: valid for four values, by contract.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, lanes: usize) -> [f32; 4] {
        let mut x = [0.0; 4];
        for (lane, value) in x.iter_mut().enumerate().take(lanes) {
            // SAFETY: valid for `lanes` values, by contract.
            *value = unsafe { from.add(lane).read() };
        }
        x
    }

    #[inline(always)]
    unsafe fn store_first(to: *mut f32, x: [f32; 4], lanes: usize) {
        for (lane, &value) in x.iter().enumerate().take(lanes) {
            // SAFETY: valid for `lanes` values, by contract.
            unsafe { to.add(lane).write(value) }
        }
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> [f32; 4] {
        // SAFETY: valid for one value, by contract.
        [unsafe { from.read() }; 4]
    }

    #[inline(always)]
    unsafe fn mul_add(a: [f32; 4], b: [f32; 4], mut c: [f32; 4]) -> [f32; 4] {
        // Without the instruction, f32::mul_add is a call into the C library.
        const HAS_FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
        for (c, (a, b)) in c.iter_mut().zip(a.into_iter().zip(b)) {
            *c = if HAS_FMA { a.mul_add(b, *c) } else { a * b + *c };
        }
        c
    }

    #[inline(always)]
    unsafe fn add(mut a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    }

    #[inline(always)]
    unsafe fn sub(mut a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        a.iter_mut().zip(b).for_each(|(a, b)| *a -= b);
        a
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}

    #[inline(always)]
    unsafe fn relu(mut x: [f32; 4]) -> [f32; 4] {
        x.iter_mut().filter(|x| **x < 0.0).for_each(|x| *x = 0.0);
        x
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    /// Sixteen lanes.
    pub(in super::super) struct Avx512;

    #[inline(always)]
    fn first_lanes(lanes: usize) -> __mmask16 {
        ((1u32 << lanes.min(16)) - 1) as __mmask16
    }

    impl Simd for Avx512 {
        type Vector = __m512;
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn zero() -> __m512 {
            // SAFETY: the instruction set runs here, by contract.
            unsafe { _mm512_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            // SAFETY: AVX-512F runs here and `from` is valid for 16 values, by contract.
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, lanes: usize) -> __m512 {
            // SAFETY: as `load`; lanes that the mask leaves out are not touched.
            unsafe { _mm512_maskz_loadu_ps(first_lanes(lanes), from) }
        }

        #[inline(always)]
        unsafe fn store_first(to: *mut f32, x: __m512, lanes: usize) {
            // SAFETY: as `load`; lanes that the mask leaves out are not touched.
            unsafe { _mm512_mask_storeu_ps(to, first_lanes(lanes), x) }
        }

        #[inline(always)]
        unsafe fn broadcast(from: *const f32) -> __m512 {
            // SAFETY: AVX-512F runs here and `from` is valid for one value, by contract.
            unsafe { _mm512_set1_ps(from.read()) }
        }

        #[inline(always)]
        unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: AVX-512F runs here, by contract.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            // SAFETY: AVX-512F runs here, by contract.
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            // SAFETY: AVX-512F runs here, by contract.
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn prefetch(from: *const f32) {
            // SAFETY: a hint that no pointer makes fail.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
        }

        #[inline(always)]
        unsafe fn relu(x: __m512) -> __m512 {
            // The instruction answers with its second operand where either is NaN.
            // SAFETY: AVX-512F runs here, by contract.
            unsafe { _mm512_max_ps(_mm512_setzero_ps(), x) }
        }
    }

    /// Eight lanes.
    pub(in super::super) struct Avx2;

    /// A mask of which the sign bits of the first `lanes` lanes are set.
    #[inline(always)]
    unsafe fn first_lanes_mask(lanes: usize) -> __m256i {
        const WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: AVX2 runs here, by contract of the caller; the eight values from 8 - min(lanes, 8) lie within WINDOW.
        unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(8 - lanes.min(8)).cast()) }
    }

    impl Simd for Avx2 {
        type Vector = __m256;
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn zero() -> __m256 {
            // SAFETY: the instruction set runs here, by contract.
            unsafe { _mm256_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            // SAFETY: AVX2 runs here and `from` is valid for 8 values, by contract.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, lanes: usize) -> __m256 {
            // SAFETY: as `load`; lanes that the mask leaves out are not touched.
            unsafe { _mm256_maskload_ps(from, first_lanes_mask(lanes)) }
        }

        #[inline(always)]
        unsafe fn store_first(to: *mut f32, x: __m256, lanes: usize) {
            // SAFETY: as `load`; lanes that the mask leaves out are not touched.
            unsafe { _mm256_maskstore_ps(to, first_lanes_mask(lanes), x) }
        }

        #[inline(always)]
        unsafe fn broadcast(from: *const f32) -> __m256 {
            // SAFETY: AVX2 runs here and `from` is valid for one value, by contract.
            unsafe { _mm256_set1_ps(from.read()) }
        }

        #[inline(always)]
        unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: FMA runs here, by contract.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            // SAFETY: AVX2 runs here, by contract.
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            // SAFETY: AVX2 runs here, by contract.
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn prefetch(from: *const f32) {
            // SAFETY: a hint that no pointer makes fail.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
        }

        #[inline(always)]
        unsafe fn relu(x: __m256) -> __m256 {
            // The instruction answers with its second operand where either is NaN.
            // SAFETY: AVX2 runs here, by contract.
            unsafe { _mm256_max_ps(_mm256_setzero_ps(), x) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_code_runs_anywhere_and_detect_takes_what_is_supported() {
        assert!(InstructionSet::Portable.is_supported());
        assert!(InstructionSet::detect().is_supported());
    }
}
