//! The register tile in Intel's AMX, which multiplies matrices of bf16 and sums in f32.
//!
//! A float becomes two bf16, `hi = bf16(x)` and `lo = bf16(x - hi)`, which together hold 16 of its 24 bits. Of the four products of two such
//! pairs, the one of the low halves is left out: it is below what the splitting loses. So a product costs three of AMX's, which is still five times as
//! fast as AVX-512 in f32, and its relative error is some 2^-17. Errors of a sum are of either sign: the logits of the networks differ from f32's by some
//! 1e-5 of the largest. What is not finite stays so (infinity becomes NaN: infinity less infinity); denormals count as zero.
//!
//! A [`CHUNK`] of the depth is what one instruction multiplies. Split, it takes the bytes that its floats took, and every tile is a kilobyte
//! in a row, since the processor fetches ahead along such, but not down sixteen rows at a time:
//!
//! ```text
//! half a tile of windows, each chunk:    hi [16 rows][32], lo [16 rows][32]
//! a panel of weights, each chunk:        hi of columns 0..16, of 16..32, lo of 0..16, of 16..32, each [16 pairs of the depth][16 columns][2]
//! ```

use half::bf16;

/// Values of the depth that one instruction multiplies.
pub(super) const CHUNK: usize = 32;

/// Columns of a panel: two tiles.
pub(super) const COLUMNS: usize = 32;

/// Rows of half a tile: what one instruction multiplies.
pub(super) const HALF_ROWS: usize = 16;

/// Values of a chunk of half a tile.
const HALF_CHUNK: usize = HALF_ROWS * CHUNK;

/// Splits a panel of weights, `[depth][COLUMNS]` in f32 with a depth of whole chunks, in place.
pub(super) fn split_weights(panel: &mut [f32]) {
    for chunk in panel.chunks_exact_mut(CHUNK * COLUMNS) {
        let mut split = [0; 2 * CHUNK * COLUMNS];
        for (k, row) in chunk.chunks_exact(COLUMNS).enumerate() {
            for (column, &x) in row.iter().enumerate() {
                let hi = bf16::from_f32(x);
                let lo = bf16::from_f32(x - hi.to_f32());
                let place = column / 16 * CHUNK * 16 + k / 2 * 32 + column % 16 * 2 + k % 2;
                split[place] = hi.to_bits();
                split[CHUNK * COLUMNS + place] = lo.to_bits();
            }
        }
        bytemuck::cast_slice_mut::<_, u16>(chunk).copy_from_slice(&split);
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use linux::{Configured, is_available, multiply, split_window};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod linux {
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::sync::OnceLock;

    use super::{CHUNK, COLUMNS, HALF_CHUNK, HALF_ROWS};

    /// Whether this CPU has AMX for bf16, and the kernel lets this process use it.
    pub(in super::super) fn is_available() -> bool {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| {
            const AMX_BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512bf16");
            // The standard library detects AVX-512 only where the kernel saves its registers; permission says the same of the tiles.
            has_avx512 && __cpuid_count(7, 0).edx & AMX_BF16_AND_TILE == AMX_BF16_AND_TILE && request_permission()
        })
    }

    /// Asks the kernel for the tiles' eight kilobytes of state, for all threads of the process.
    fn request_permission() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
        const XFEATURE_XTILEDATA: u64 = 18;
        let mut result = ARCH_PRCTL;
        // SAFETY: a system call that takes two numbers and touches no memory of ours; it overwrites rax, rcx and r11.
        unsafe {
            asm!("syscall", inout("rax") result, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XFEATURE_XTILEDATA,
                out("rcx") _, out("r11") _, options(nostack));
        }
        result == 0
    }

    /// While it lives, this thread's tiles have the shape that [`multiply`] needs; afterwards they are free again, and switching threads
    /// costs no more than it did.
    pub(in super::super) struct Configured(());

    #[repr(C, align(64))]
    struct Configuration([u8; 64]);

    impl Configured {
        /// Configures for `rows` rows in each of the two tiles of windows.
        ///
        /// # Safety
        /// Only where [`is_available`] holds.
        pub unsafe fn new(rows: usize) -> Self {
            let mut configuration = Configuration([0; 64]);
            let rows = rows.clamp(1, HALF_ROWS) as u8;
            configuration.0[0] = 1;
            // Sums, windows: `rows`. Weights: pairs of a chunk. All are 64 bytes wide.
            for (tile, rows) in [rows, rows, rows, rows, 16, 16, rows, rows].into_iter().enumerate() {
                configuration.0[16 + 2 * tile] = 64;
                configuration.0[48 + tile] = rows;
            }
            // SAFETY: AMX runs here, by contract; the configuration is 64 bytes, of a shape that the processor knows.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack, readonly)) };
            Self(())
        }
    }

    impl Drop for Configured {
        fn drop(&mut self) {
            // SAFETY: AMX runs here, else there were no `Configured`; no tile is in use between calls of `multiply`.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
    }

    /// Splits a window, of whole chunks, into a row of half a tile, at whose beginning `half` starts.
    ///
    /// # Safety
    /// Only where [`is_available`] holds.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(in super::super) unsafe fn split_window(window: &[f32], half: &mut [f32]) {
        for (chunk, to) in window.chunks_exact(CHUNK).zip(half.chunks_mut(HALF_CHUNK)) {
            let (hi_to, lo_to) = to.split_at_mut(HALF_CHUNK / 2);
            let (hi_to, lo_to) = (&mut hi_to[..CHUNK / 2], &mut lo_to[..CHUNK / 2]);
            // SAFETY: a chunk is two vectors of f32, or two of bf16; there is room for one of these in each slice.
            unsafe {
                let (x0, x1) = (_mm512_loadu_ps(chunk.as_ptr()), _mm512_loadu_ps(chunk.as_ptr().add(16)));
                let hi = to_bits(_mm512_cvtne2ps_pbh(x1, x0));
                let hi0 = widen(_mm512_castsi512_si256(hi));
                let hi1 = widen(_mm512_extracti64x4_epi64::<1>(hi));
                let lo = to_bits(_mm512_cvtne2ps_pbh(_mm512_sub_ps(x1, hi1), _mm512_sub_ps(x0, hi0)));
                _mm512_storeu_si512(hi_to.as_mut_ptr().cast(), hi);
                _mm512_storeu_si512(lo_to.as_mut_ptr().cast(), lo);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn to_bits(x: __m512bh) -> __m512i {
        // SAFETY: both are 64 bytes without a meaning of their own.
        unsafe { std::mem::transmute::<__m512bh, __m512i>(x) }
    }

    /// bf16 as f32: the upper half of its bits.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn widen(x: __m256i) -> __m512 {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x)))
    }

    /// Multiplies two halves of split windows, the second `lower` values after the first, by a panel of split weights, both of `chunks` chunks.
    /// Writes the products of the first half to `sums`, `[rows][COLUMNS]`, then those of the second from row `half` on. Meanwhile it fetches 16
    /// cache lines per chunk from `prefetch` on.
    ///
    /// # Safety
    /// A [`Configured`] must live on this thread, of at least `half` rows: as many are read and written in each half. All pointers must be valid
    /// for what is read and written; `prefetch` may be any.
    #[inline]
    pub(in super::super) unsafe fn multiply(
        windows: *const f32,
        lower: usize,
        half: usize,
        weights: *const f32,
        chunks: usize,
        prefetch: *const f32,
        sums: *mut f32,
    ) {
        const PITCH_BYTES: usize = COLUMNS * size_of::<f32>();
        // Tiles 0 to 3 hold the sums, 4 and 5 weights, 6 and 7 windows. Each is loaded once.
        // SAFETY: AMX runs here and the tiles are configured, by contract; no other register or memory is written.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{weights} + {line}]",
                "tileloadd tmm6, [{upper} + {line} + 1024]",
                "tileloadd tmm5, [{weights} + {line} + 1024]",
                "tileloadd tmm7, [{lower} + {line} + 1024]",
                "prefetcht1 [{prefetch} + 0]",
                "prefetcht1 [{prefetch} + 64]",
                "prefetcht1 [{prefetch} + 128]",
                "prefetcht1 [{prefetch} + 192]",
                "tdpbf16ps tmm0, tmm6, tmm4",
                "tdpbf16ps tmm1, tmm6, tmm5",
                "tileloadd tmm6, [{upper} + {line}]",
                "prefetcht1 [{prefetch} + 256]",
                "prefetcht1 [{prefetch} + 320]",
                "prefetcht1 [{prefetch} + 384]",
                "prefetcht1 [{prefetch} + 448]",
                "tdpbf16ps tmm2, tmm7, tmm4",
                "tdpbf16ps tmm3, tmm7, tmm5",
                "tileloadd tmm7, [{lower} + {line}]",
                "tdpbf16ps tmm0, tmm6, tmm4",
                "tdpbf16ps tmm1, tmm6, tmm5",
                "prefetcht1 [{prefetch} + 512]",
                "prefetcht1 [{prefetch} + 576]",
                "prefetcht1 [{prefetch} + 640]",
                "prefetcht1 [{prefetch} + 704]",
                "tdpbf16ps tmm2, tmm7, tmm4",
                "tileloadd tmm4, [{weights} + {line} + 2048]",
                "tdpbf16ps tmm3, tmm7, tmm5",
                "tileloadd tmm5, [{weights} + {line} + 3072]",
                "tdpbf16ps tmm0, tmm6, tmm4",
                "tdpbf16ps tmm1, tmm6, tmm5",
                "prefetcht1 [{prefetch} + 768]",
                "prefetcht1 [{prefetch} + 832]",
                "prefetcht1 [{prefetch} + 896]",
                "prefetcht1 [{prefetch} + 960]",
                "tdpbf16ps tmm2, tmm7, tmm4",
                "tdpbf16ps tmm3, tmm7, tmm5",
                "add {weights}, 4096",
                "add {upper}, 2048",
                "add {lower}, 2048",
                "add {prefetch}, 1024",
                "dec {chunks}",
                "jnz 2b",
                "tilestored [{sums_upper} + {sums_pitch}], tmm0",
                "tilestored [{sums_upper} + {sums_pitch} + 64], tmm1",
                "tilestored [{sums_lower} + {sums_pitch}], tmm2",
                "tilestored [{sums_lower} + {sums_pitch} + 64], tmm3",
                weights = inout(reg) weights => _,
                upper = inout(reg) windows => _,
                lower = inout(reg) windows.wrapping_add(lower) => _,
                prefetch = inout(reg) prefetch => _,
                chunks = inout(reg) chunks => _,
                line = in(reg) 64usize,
                sums_upper = in(reg) sums,
                sums_lower = in(reg) sums.wrapping_add(half * COLUMNS),
                sums_pitch = in(reg) PITCH_BYTES,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack)
            );
        }
    }
}
