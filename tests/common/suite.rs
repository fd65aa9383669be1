//! Runs cases on every engine.

use rayon::prelude::*;

use super::cases::{Case, Verdict};
use super::engines::engines;
use super::say::say;

/// What came of many cases.
#[derive(Default)]
struct Tally {
    num_right: usize,
    num_unjudged: usize,
    faults: Vec<String>,
}

impl Tally {
    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Right => Self { num_right: 1, ..Self::default() },
            Verdict::Unjudged => Self { num_unjudged: 1, ..Self::default() },
            Verdict::Wrong(fault) => Self { faults: vec![fault], ..Self::default() },
        }
    }

    fn plus(mut self, other: Self) -> Self {
        self.faults.extend(other.faults);
        Self {
            num_right: self.num_right + other.num_right,
            num_unjudged: self.num_unjudged + other.num_unjudged,
            ..self
        }
    }
}

/// The part of the cases that `DCTFLOW_TEST_SHARE=I/N` asks for: one of N shares, by the names of cases. Not set: all of them.
struct Share {
    share_idx: u64,
    num_shares: u64,
}

impl Share {
    fn wanted() -> Self {
        let Ok(text) = std::env::var("DCTFLOW_TEST_SHARE") else { return Self { share_idx: 0, num_shares: 1 } };
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let (share_idx, num_shares) = parts.filter(|(i, n)| i < n).expect("DCTFLOW_TEST_SHARE is I/N, with I below N");
        Self { share_idx, num_shares }
    }

    fn holds(&self, case: &Case) -> bool {
        // Not the hash itself: its remainders choose engines.
        case.hash() / 1009 % self.num_shares == self.share_idx
    }

    /// How many of `min_judged` verdicts the share must have: shares are of about one size.
    fn part_of(&self, min_judged: usize) -> usize {
        if self.num_shares == 1 { min_judged } else { min_judged / self.num_shares as usize / 2 }
    }
}

/// Every engine on every case; all failures are reported, not only the first. At least `min_judged` verdicts must have had something
/// to compare with.
pub fn check_all(cases: impl ParallelIterator<Item = Case>, min_judged: usize) {
    let engines = engines();
    let share = Share::wanted();
    let cases = cases.filter(|case| share.holds(case));
    check(cases.flat_map_iter(|case| case.check(engines.iter().map(Box::as_ref))), share.part_of(min_judged));
}

/// The same for so many cases that emulators cannot have them all. Each has one of `num_emulators` parts, another one each, and all of them have
/// every [`SHARED_BY_ALL`]th case; which, is a function of the case's name.
pub fn check_shared(cases: impl ParallelIterator<Item = Case>, num_emulators: u64, min_judged: usize) {
    let engines = engines();
    let share = Share::wanted();
    let verdicts = cases.filter(|case| share.holds(case)).flat_map_iter(|case| {
        let part = case.hash() % num_emulators;
        let is_for_all = case.hash() / 251 % SHARED_BY_ALL == 0;
        let is_for = |engine_idx: usize| {
            is_for_all || engines[engine_idx].kind() != "emulator" || part == engine_idx as u64 % num_emulators
        };
        case.check((0..engines.len()).filter(|&idx| is_for(idx)).map(|idx| engines[idx].as_ref()))
    });
    check(verdicts, share.part_of(min_judged));
}

const SHARED_BY_ALL: u64 = 12;

fn check(verdicts: impl ParallelIterator<Item = Verdict>, min_judged: usize) {
    let tally = verdicts.map(Tally::of).reduce(Tally::default, Tally::plus);
    let num_wrong = tally.faults.len();
    // ci/gpu.sh looks for this line.
    say(format_args!("{} right, {} not judged by libjpeg, {num_wrong} wrong", tally.num_right, tally.num_unjudged));
    let shown = &tally.faults[..tally.faults.len().min(40)];
    assert!(tally.faults.is_empty(), "{} wrong:\n{}", tally.faults.len(), shown.join("\n"));
    assert!(tally.num_right >= min_judged, "only {} cases could be judged", tally.num_right);
}
