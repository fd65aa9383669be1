//! Each word of CUDA that kernels use means on the emulator what CUDA says, in every schedule.

use crate::selftest::{Run, SCHEDULES};
use dctflow::abi::*;
use dctflow::device::Grid;
use dctflow::device::emulator::Schedule;

const FULL: u32 = u32::MAX;

/// What thread `t` of the one CTA must find.
#[rustfmt::skip]
fn expected(word: SelftestWord, t: u32) -> u32 {
    let (warp, lane) = (t / 32, t % 32);
    let base = warp * 32;
    let mixed = t.wrapping_mul(0x9e37_79b9);
    match word {
        WORD_SYNCTHREADS => (63 - t) * (63 - t),
        WORD_SYNCTHREADS_COUNT => 22,
        WORD_SYNCTHREADS_AND | WORD_SYNCTHREADS_OR => 1,
        WORD_BARRIER_SYNC_COUNT => (t ^ 31) + 101,
        WORD_SYNCWARP => (t ^ 31) + 5,
        WORD_SHFL => (base + (lane + 5) % 32) * 3,
        WORD_SHFL_UP => if lane < 3 { t } else { t - 3 },
        WORD_SHFL_DOWN => if lane > 28 { t } else { t + 3 },
        WORD_SHFL_XOR => t ^ 21,
        WORD_SHFL_SEGMENT => shuffles_in_segments(t),
        WORD_SHFL_64_BIT => t ^ 1,
        WORD_BALLOT => lanes(|lane| (base + lane).is_multiple_of(3)),
        WORD_ANY_ALL => u32::from(warp == 1) | u32::from(warp == 0) << 1,
        WORD_MATCH_ANY => lanes(|other| other % 5 == lane % 5),
        WORD_MATCH_ALL => FULL,
        WORD_REDUCE => 0x1ff,
        WORD_PARTIAL_MASKS => if lane < 12 { 0xaaa + 11 + 32 } else { 0xaaaa_a000 + 12 + 32 },
        WORD_ACTIVEMASK => 1,
        // Every place was taken once, and the counter has counted all.
        WORD_ATOMIC_ADD => 1 + 1064,
        WORD_ATOMIC_MIN_MAX => 2063,
        WORD_ATOMIC_BITS => 1000,
        WORD_ATOMIC_CAS_EXCH => 1000 + 63 * 64 / 2,
        WORD_ATOMIC_64_BIT | WORD_ATOMIC_FLOAT => 1000,
        WORD_COUNT_BITS => counted_bits(mixed),
        WORD_REVERSE_BITS => mixed.reverse_bits() ^ u64::from(mixed).reverse_bits() as u32,
        WORD_BYTE_PERM => byte_perm(mixed, !mixed, 0x7531 + t) ^ byte_perm(mixed, t, 0x4210),
        WORD_FUNNELSHIFT => {
            funnel_left(mixed, !mixed, t % 32)
                ^ funnel_right(mixed, 77u32.wrapping_mul(t), t % 32)
                ^ funnel_left(mixed, 5, t.min(32))
                ^ funnel_right(9, mixed, t.min(32))
        }
        WORD_MULTIPLY_HIGH => {
            let unsigned = (u64::from(mixed) * 0xdead_beef) >> 32;
            let signed = (i64::from(mixed as i32) * -12345) >> 32;
            unsigned as u32 ^ signed as u32
        }
        WORD_REINTERPRET => {
            let rounded = (1.5 * t as f32).round_ties_even() as u32;
            (mixed >> 2).wrapping_add((t as f32).to_bits()).wrapping_add(rounded).wrapping_add(8)
        }
        WORD_MIN_MAX => {
            t.min(7) + (9 - t.min(9)) * 256 + ((t as f32).min(1.5) * 2.0) as u32 * 65536 + (t.max(7) >> 1) * 0x100_0000
        }
        WORD_LOAD_STORE => (64 - t) * 1000 + (65 - t),
        WORD_VECTORS => (63 - t) * 256 + 66 - t,
        WORD_HALF => u32::from(half::f16::from_f32(t as f32 + 0.1).to_bits()) + 65536 + 131_072,
        WORD_ASYNC_COPY => (63 - t) * 7,
        WORD_ASYNC_COPY_GROUPS => (t + 9) * 1000 + (t + 2) % 64 + 9,
        WORD_SMEM_TAIL => (63 - t) * 11 + 1,
        WORD_INDICES => 1_111_000,
        WORD_COUNT => 0,
        WORD_NANOSLEEP => 1,
        WORD_LOAD_MATRICES => loaded_matrices(warp, lane),
        WORD_MULTIPLY_TILES => multiplied_tiles(t),
        _ => panic!("a word without a test: {word}"),
    }
}

/// A mask of the lanes that are meant.
fn lanes(is_meant: impl Fn(u32) -> bool) -> u32 {
    (0..32).filter(|&lane| is_meant(lane)).map(|lane| 1 << lane).sum()
}

/// In segments of 8: from the segment's lane 2; one up; one down; across by 9, where a segment may read those before it only.
fn shuffles_in_segments(t: u32) -> u32 {
    let segment_end = t / 8 * 8 + 8;
    let from_second = t / 8 * 8 + 2;
    let up = if t.is_multiple_of(8) { t } else { t - 1 };
    let down = if t % 8 == 7 { t } else { t + 1 };
    let across = if t ^ 9 < segment_end { t ^ 9 } else { t };
    from_second | up << 8 | down << 16 | across << 24
}

fn counted_bits(x: u32) -> u32 {
    let find_first_set = |x: u64| if x == 0 { 0 } else { x.trailing_zeros() + 1 };
    let wide = u64::from(x);
    x.leading_zeros()
        | find_first_set(wide) << 8
        | x.count_ones() << 16
        | (wide.leading_zeros() + find_first_set(wide << 20) + wide.count_ones()) << 24
}

/// Four of the eight bytes of (y, x), by the low three bits of each nibble.
fn byte_perm(x: u32, y: u32, selector: u32) -> u32 {
    let bytes = [x.to_le_bytes(), y.to_le_bytes()].concat();
    u32::from_le_bytes(std::array::from_fn(|i| bytes[(selector >> (4 * i)) as usize & 7]))
}

fn funnel_left(low: u32, high: u32, shift_bits: u32) -> u32 {
    (((u128::from(high) << 32 | u128::from(low)) << shift_bits) >> 32) as u32
}

fn funnel_right(low: u32, high: u32, shift_bits: u32) -> u32 {
    ((u64::from(high) << 32 | u64::from(low)) >> shift_bits) as u32
}

/// Of four 8 x 8 matrices whose elements count up from 256 times the warp: two elements of each, next to each other.
fn loaded_matrices(warp: u32, lane: u32) -> u32 {
    let pair = |matrix: u32| {
        let element = 256 * warp + 64 * matrix + lane / 4 * 8 + lane % 4 * 2;
        element | (element + 1) << 16
    };
    [1, 3, 5, 7]
        .into_iter()
        .zip(0..)
        .fold(0, |sum, (factor, matrix)| sum.wrapping_add(pair(matrix).wrapping_mul(factor)))
}

/// A 32 x 16 matrix times a 16 x 16 matrix, plus `t`: the sixteen elements of a thread, weighted 1 to 16.
fn multiplied_tiles(t: u32) -> u32 {
    let (row, column) = (t % 32 / 4, t % 4 * 2);
    let a = |i: u32, k: u32| ((3 * i + 5 * k) % 7) as i32 - 3;
    let b = |k: u32, j: u32| ((2 * k + 7 * j) % 5) as i32 - 2;
    let element = |i: u32, j: u32| t as i32 + (0..16).map(|k| a(i, k) * b(k, j)).sum::<i32>();
    let weighted = (0..16).map(|idx: u32| {
        let (m, n, within) = (idx / 8, idx / 4 % 2, idx % 4);
        (idx as i32 + 1) * element(16 * m + row + within / 2 * 8, 8 * n + column + within % 2)
    });
    weighted.sum::<i32>() as u32
}

/// What the shared scratch must hold at its start after `num_ctas` CTAs.
fn expected_scratch(word: SelftestWord, num_ctas: u32) -> Vec<u32> {
    let threads = 64 * num_ctas;
    match word {
        WORD_ATOMIC_ADD => vec![num_ctas * 2016],
        WORD_ATOMIC_MIN_MAX => vec![500, -63i32 as u32, -37i32 as u32],
        WORD_ATOMIC_BITS => vec![FULL, 0],
        WORD_ATOMIC_CAS_EXCH => vec![threads],
        WORD_ATOMIC_64_BIT => vec![num_ctas * 2016, threads, 63, 5, 0, 5, FULL, FULL, threads, threads],
        WORD_ATOMIC_FLOAT => vec![(threads as f32 / 2.0).to_bits()],
        _ => panic!("no atomic: {word}"),
    }
}

#[test]
fn every_word_means_what_cuda_says() {
    for schedule in SCHEDULES {
        for word in 0..NUM_WORDS {
            let found = Run::word(word, schedule).found.unwrap_or_else(|e| panic!("word {word}, {schedule:?}: {e}"));
            let expected: Vec<u32> = (0..64).map(|t| expected(word, t)).collect();
            assert_eq!(found, expected, "word {word}, {schedule:?}");
        }
    }
}

#[test]
#[cfg(feature = "cuda")]
fn every_word_means_the_same_on_a_gpu() {
    use crate::selftest::gpu;
    let Some(gpu) = gpu() else { return };
    for word in 0..NUM_WORDS {
        let found = Run::word_on_device(word, &gpu, Grid::x(1)).found.unwrap_or_else(|e| panic!("word {word}: {e}"));
        let expected: Vec<u32> = (0..64).map(|t| expected(word, t)).collect();
        assert_eq!(found, expected, "word {word}");
    }
    for word in WORD_ATOMIC_ADD..=WORD_ATOMIC_FLOAT {
        let expected = expected_scratch(word, 50);
        assert_eq!(Run::word_on_device(word, &gpu, Grid::x(50)).scratch[..expected.len()], expected, "word {word}");
    }
}

#[test]
fn atomics_hold_across_ctas() {
    let num_ctas = 50;
    for schedule in SCHEDULES {
        for word in WORD_ATOMIC_ADD..=WORD_ATOMIC_FLOAT {
            let run = Run::word_on(word, schedule, num_ctas);
            run.found.unwrap_or_else(|e| panic!("word {word}, {schedule:?}: {e}"));
            let expected = expected_scratch(word, num_ctas);
            assert_eq!(run.scratch[..expected.len()], expected, "word {word}, {schedule:?}");
        }
    }
}

#[test]
fn indices_name_every_cta_once() {
    let grid = Grid { x: 3, y: 2, z: 4 };
    let found = Run::word_on_grid(WORD_INDICES, Schedule::Random(3), grid).found.unwrap();
    for (cta_idx, cta) in (0..).zip(found.chunks(64)) {
        let (x, y, z) = (cta_idx % 3, cta_idx / 3 % 2, cta_idx / 6);
        assert_eq!(cta, [x + 10 * y + 100 * z + 1_423_000; 64], "CTA {cta_idx}");
    }
}

#[test]
fn counters_sum_threads_and_charge_warps_for_their_slowest_lane() {
    for schedule in SCHEDULES {
        let count = Run::word_on(WORD_COUNT, schedule, 5).symbols;
        assert_eq!(count.total, 5 * 2 * (31 * 32 / 2 + 32), "{schedule:?}");
        assert_eq!(count.warp_max, 5 * 2 * 32 * (31 + 1), "{schedule:?}");
    }
}
