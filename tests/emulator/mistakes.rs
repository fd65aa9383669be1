//! Each check of the emulator, proved by a kernel that is wrong on purpose.

use crate::selftest::{Run, SCHEDULES};
use dctflow::ErrorKind;
use dctflow::abi::*;
use dctflow::device::emulator::Schedule;

/// The message that a mistake must give: all of these parts, in every schedule unless one is named.
fn expect_message(mistake: SelftestMistake, parts: &[&str]) {
    for schedule in SCHEDULES {
        let error = Run::mistake(mistake, schedule).found.expect_err("the mistake was not noticed");
        assert_eq!(error.kind(), ErrorKind::Device, "{schedule:?}: {error}");
        let message = error.to_string();
        for part in ["kernel `break_rule`"].iter().chain(parts) {
            assert!(message.contains(part), "{schedule:?}: no `{part}` in: {message}");
        }
    }
}

/// The message that a write where nothing may be written must give; AddressSanitizer, under `ci/sanitize.sh`, notices it first.
fn expect_damage(mistake: SelftestMistake, part: &str) {
    for schedule in SCHEDULES {
        let message = Run::mistake(mistake, schedule).found.expect_err("the mistake was not noticed").to_string();
        let by_sanitizer = message.contains("thread 7: ERROR: AddressSanitizer: use-after-poison");
        assert!(by_sanitizer || message.contains(part), "{schedule:?}: no `{part}` in: {message}");
    }
}

/// In how many schedules some thread finds what it must not.
fn num_wrong(mistake: SelftestMistake, schedule: Schedule, expected: impl Fn(u32) -> u32) -> usize {
    let found = Run::mistake(mistake, schedule).found.expect("this mistake gives wrong values, not an error");
    (0..).zip(&found).filter(|&(t, &value)| value != expected(t)).count()
}

#[test]
fn a_missing_barrier_shows_in_some_schedule() {
    let wrong = SCHEDULES.map(|schedule| num_wrong(MISTAKE_MISSING_BARRIER, schedule, |t| 63 - t));
    assert_eq!(wrong[0], 32, "forward: the first half reads what is not yet written");
    assert_eq!(wrong[1], 32, "reverse: the other half does");
    assert!(wrong[2..].iter().all(|&n| n > 0), "random: {wrong:?}");
}

#[test]
fn a_barrier_in_a_branch() {
    expect_message(MISTAKE_BARRIER_IN_BRANCH, &["CTA (0, 0, 0), thread ", "divergent barrier", "break_rule.cuh:"]);
}

#[test]
fn an_exit_before_a_barrier() {
    expect_message(
        MISTAKE_EXIT_BEFORE_BARRIER,
        &["divergent barrier: it waits in __syncthreads at break_rule.cuh:", "thread 33 has exited"],
    );
}

#[test]
fn barriers_on_different_lines() {
    expect_message(
        MISTAKE_TWO_BARRIERS,
        &["divergent barrier: other threads wait in __syncthreads at break_rule.cuh:"],
    );
}

#[test]
fn more_barriers_for_some() {
    expect_message(MISTAKE_UNEQUAL_BARRIER_COUNTS, &["thread 63: divergent barrier: it waits in __syncthreads"]);
}

#[test]
fn a_barrier_against_a_warp_operation() {
    expect_message(MISTAKE_BARRIER_AGAINST_WARP, &["deadlock", "__syncwarp at", "__syncthreads at"]);
}

#[test]
fn a_lane_that_never_comes() {
    expect_message(MISTAKE_LANE_NEVER_COMES, &["deadlock", "__ballot_sync at", "__syncthreads at"]);
}

#[test]
fn a_mask_without_the_caller() {
    expect_message(MISTAKE_MASK_WITHOUT_SELF, &["mask 0x0000fffe leaves out the calling lane", "__ballot_sync at"]);
}

#[test]
fn a_mask_that_names_an_exited_lane() {
    let error = |mistake, schedule| Run::mistake(mistake, schedule).found.unwrap_err().to_string();
    let late = error(MISTAKE_MASK_NAMES_EXITED, Schedule::Forward);
    assert!(late.contains("mask 0xffffffff names lane 0, which has exited, __shfl_sync at"), "{late}");
    let early = error(MISTAKE_EXIT_WHILE_AWAITED, Schedule::Forward);
    assert!(early.contains("thread 31: exits, but lane 0 waits for it with mask 0xffffffff"), "{early}");
    for mistake in [MISTAKE_MASK_NAMES_EXITED, MISTAKE_EXIT_WHILE_AWAITED] {
        expect_message(mistake, &["mask 0xffffffff"]);
    }
}

#[test]
fn different_operations_with_one_mask() {
    expect_message(MISTAKE_DIFFERENT_OPERATIONS, &["meets another warp operation of the same mask"]);
}

#[test]
fn a_shuffle_from_outside_the_mask() {
    expect_message(MISTAKE_SHUFFLE_FROM_OUTSIDE, &["reads lane 20, which mask 0x0000ffff leaves out"]);
}

#[test]
fn reading_outside_a_buffer() {
    expect_message(
        MISTAKE_READ_FAR_BEHIND_BUFFER,
        &["thread 7: reads address 0x", "256 bytes behind the end of a buffer of 1200"],
    );
    expect_message(MISTAKE_READ_BEFORE_BUFFER, &["thread 7: reads address 0x", "4400 bytes before a buffer of 1200"]);
}

#[test]
fn writing_outside_a_buffer() {
    expect_damage(MISTAKE_WRITE_JUST_BEHIND_BUFFER, "wrote just before or behind a device buffer of 1200 bytes");
    expect_message(MISTAKE_WRITE_NULL, &["thread 7: writes address (nil)"]);
}

#[test]
fn accesses_outside_shared_memory() {
    expect_message(MISTAKE_READ_FAR_BEHIND_SMEM, &["thread 7: reads address 0x"]);
    expect_damage(MISTAKE_WRITE_JUST_BEHIND_SMEM, "wrote behind the end of its 528 bytes of shared memory");
}

#[test]
fn shared_memory_starts_poisoned() {
    for schedule in SCHEDULES {
        assert_eq!(Run::mistake(MISTAKE_UNINITIALISED_SMEM, schedule).found.unwrap(), [0xA5A5_A5A5; 64]);
    }
}

#[test]
fn a_stack_that_overflows() {
    expect_message(MISTAKE_STACK_OVERFLOW, &["its stack overflows"]);
}

#[test]
fn asynchronous_copies_land_when_they_are_waited_for() {
    for schedule in SCHEDULES {
        assert_eq!(num_wrong(MISTAKE_READ_BEFORE_ASYNC_COPY_LANDS, schedule, |t| t + 1), 64, "{schedule:?}");
    }
    expect_message(MISTAKE_ASYNC_COPY_NEVER_AWAITED, &["exits with asynchronous copies that it never waited for"]);
}

#[test]
fn threads_that_only_sleep() {
    expect_message(MISTAKE_SPIN_FOR_EVER, &["deadlock: for 50 ms its CTA has done nothing but sleep, __nanosleep at"]);
}

#[test]
fn looking_before_acting_shows_in_random_schedules() {
    let winners = |schedule| Run::mistake(MISTAKE_CHECK_THEN_ACT, schedule).found.unwrap().iter().sum::<u32>();
    assert_eq!(winners(Schedule::Forward), 1, "threads run back to back");
    assert!((0..8).any(|seed| winners(Schedule::Random(seed)) > 1), "atomics are where threads change");
}

#[test]
fn a_kernel_that_gives_up() {
    expect_message(MISTAKE_TRAP, &["thread 7: gives up, __trap at break_rule.cuh:"]);
}

#[test]
fn a_matrix_outside_shared_memory() {
    expect_message(
        MISTAKE_MATRIX_OUTSIDE_SMEM,
        &["thread 7: reads a row at", "not 16 aligned bytes of shared memory, load_matrices at break_rule.cuh:"],
    );
}
