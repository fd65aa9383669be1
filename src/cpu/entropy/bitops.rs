//! The bit operations of refinement, and code compiled for the instructions that the processor has. What comes out is the same for all.

use crate::jpeg::NATURAL_FROM_ZIGZAG;

/// What refinement scans do to the coefficients of a block in one step.
pub trait BitOps: Copy {
    /// The index of the bit of `mask` that has `n` (at most 15) set bits below it; 64 if there is none.
    fn nth_bit(self, mask: u64, n: usize) -> usize;

    /// Moves AC coefficients away from zero by `bit`: those of `mask` (bit k for ZZ(k)) of which `corrections` has a 1, the last
    /// coefficient's in its lowest bit. A bit that is already there comes from scans out of order; libjpeg leaves it alone.
    fn correct(self, coefficients: &mut [i16; 64], mask: u64, corrections: u64, bit: i16);
}

/// Work that is compiled once for each kind of processor. To be marked `#[inline(always)]`, with everything that it calls often.
pub trait Work {
    /// What comes of it.
    type Output;

    /// Does it.
    fn run<B: BitOps>(self, ops: B) -> Self::Output;
}

/// Instructions of the processor that entropy decoding has code for. They make it faster or slower; coefficients and reports are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instructions(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Instructions {
    /// All that this processor can run, the fastest last.
    pub fn supported() -> impl DoubleEndedIterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let levels = {
            let has_avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt");
            let has_avx512 = has_avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512bitalg");
            [Some(Level::Portable), has_avx2.then_some(Level::Avx2), has_avx512.then_some(Level::Avx512)]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let levels = [Some(Level::Portable)];
        levels.into_iter().flatten().map(Self)
    }

    /// `portable`, `avx2` (with BMI1, BMI2, LZCNT and POPCNT) or `avx512` (also with AVX-512 F, BW and BITALG).
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }

    /// Does the work with them.
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            Level::Portable => work.run(Portable),
            // SAFETY: these levels are made only in `supported`, where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { x86_64::run_avx2(work) },
            // SAFETY: the same.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { x86_64::run_avx512(work) },
        }
    }
}

/// The fastest ones that this processor can run.
impl Default for Instructions {
    fn default() -> Self {
        Self::supported().next_back().unwrap_or(Self(Level::Portable))
    }
}

/// For any processor.
#[derive(Clone, Copy)]
struct Portable;

impl BitOps for Portable {
    #[inline(always)]
    fn nth_bit(self, mask: u64, n: usize) -> usize {
        let without_lowest = |mask: u64| mask & mask.wrapping_sub(1);
        let mut mask = mask;
        for _ in 0..n / 4 {
            mask = without_lowest(without_lowest(without_lowest(without_lowest(mask))));
        }
        // Short runs are the rule: all of them without a branch.
        let one = without_lowest(mask);
        let two = without_lowest(one);
        [mask, one, two, without_lowest(two)][n % 4].trailing_zeros() as usize
    }

    #[inline(always)]
    fn correct(self, coefficients: &mut [i16; 64], mask: u64, mut corrections: u64, bit: i16) {
        let mut left = mask;
        while left != 0 {
            let k = 63 - left.leading_zeros();
            let coefficient = &mut coefficients[usize::from(NATURAL_FROM_ZIGZAG[k as usize & 63])];
            let step = if *coefficient >= 0 { bit } else { -bit };
            let is_due = corrections & 1 == 1 && *coefficient & bit == 0;
            *coefficient = coefficient.wrapping_add(if is_due { step } else { 0 });
            corrections >>= 1;
            left ^= 1 << k;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::*;

    use super::{BitOps, Portable, Work};
    use crate::jpeg::ZIGZAG_FROM_NATURAL;

    /// The portable code, for which the compiler has better instructions. PDEP is not among them: before Zen 3 it takes hundreds of cycles.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn run_avx2<W: Work>(work: W) -> W::Output {
        work.run(Portable)
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
    pub fn run_avx512<W: Work>(work: W) -> W::Output {
        work.run(Avx512(()))
    }

    /// Exists only within [`run_avx512`].
    #[derive(Clone, Copy)]
    struct Avx512(());

    impl BitOps for Avx512 {
        #[inline(always)]
        fn nth_bit(self, mask: u64, n: usize) -> usize {
            // SAFETY: `run_avx512` made self, so the processor has BMI2.
            let bit = unsafe { _pdep_u64(1 << n, mask) };
            bit.trailing_zeros() as usize
        }

        #[inline(always)]
        fn correct(self, coefficients: &mut [i16; 64], mask: u64, corrections: u64, bit: i16) {
            // The first coefficient's in the lowest bit.
            let in_order = corrections.reverse_bits() >> 1 >> (63 - mask.count_ones());
            // SAFETY: `run_avx512` made self, so the processor has these features; loads and stores are those of the array's halves.
            unsafe {
                let due = _pdep_u64(in_order, mask);
                let order = _mm512_loadu_si512(ZIGZAG_FROM_NATURAL.as_ptr().cast());
                let due = _mm512_bitshuffle_epi64_mask(_mm512_set1_epi64(due as i64), order);
                let bit = _mm512_set1_epi16(bit);
                for (half, due) in coefficients.as_chunks_mut::<32>().0.iter_mut().zip([due as u32, (due >> 32) as u32])
                {
                    let old = _mm512_loadu_si512(half.as_ptr().cast());
                    let due = _mm512_mask_testn_epi16_mask(due, old, bit);
                    let is_negative = _mm512_movepi16_mask(old);
                    let new = _mm512_mask_add_epi16(old, due & !is_negative, old, bit);
                    let new = _mm512_mask_sub_epi16(new, due & is_negative, new, bit);
                    _mm512_storeu_si512(half.as_mut_ptr().cast(), new);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::Random;

    struct NthBit(u64, usize);

    impl Work for NthBit {
        type Output = usize;

        #[inline(always)]
        fn run<B: BitOps>(self, ops: B) -> usize {
            ops.nth_bit(self.0, self.1)
        }
    }

    struct Correct<'a>(&'a mut [i16; 64], u64, u64, i16);

    impl Work for Correct<'_> {
        type Output = ();

        #[inline(always)]
        fn run<B: BitOps>(self, ops: B) {
            ops.correct(self.0, self.1, self.2, self.3);
        }
    }

    /// Masks with few bits and with many, none and all.
    fn masks() -> impl Iterator<Item = u64> {
        let mut random = Random::new(3);
        let random = (0..3000).map(move |i| (0..i % 5).fold(random.bits(), |mask, _| mask & random.bits()));
        random.flat_map(|mask| [mask, !mask]).chain([0, u64::MAX])
    }

    #[test]
    fn the_nth_bit_has_n_below_it() {
        for (mask, n) in masks().flat_map(|mask| (0..16).map(move |n| (mask, n))) {
            let expected = (0..64).filter(|k| mask >> k & 1 == 1).nth(n).unwrap_or(64);
            for instructions in Instructions::supported() {
                assert_eq!(instructions.run(NthBit(mask, n)), expected, "{} {mask:x} {n}", instructions.name());
            }
        }
    }

    #[test]
    fn corrections_go_to_their_coefficients() {
        let mut random = Random::new(4);
        for mask in masks().map(|mask| mask & !1) {
            let corrections = random.bits() & ((1 << mask.count_ones()) - 1);
            let bit = 1 << random.below(14);
            let before: [i16; 64] = std::array::from_fn(|_| random.bits() as i16 >> random.below(16));
            let mut expected = before;
            let places = (1..64).rev().filter(|k| mask >> k & 1 == 1);
            for (_, k) in places.enumerate().filter(|(nth, _)| corrections >> nth & 1 == 1) {
                let coefficient = &mut expected[usize::from(NATURAL_FROM_ZIGZAG[k])];
                if *coefficient & bit == 0 {
                    *coefficient = coefficient.wrapping_add(if *coefficient < 0 { -bit } else { bit });
                }
            }
            for instructions in Instructions::supported() {
                let mut actual = before;
                instructions.run(Correct(&mut actual, mask, corrections, bit));
                assert_eq!(actual, expected, "{} {mask:x}", instructions.name());
            }
        }
    }
}
