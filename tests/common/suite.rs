//! Runs cases on every engine.

use rayon::prelude::*;

use super::cases::{Case, Verdict};
use super::engines::engines;

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

/// Every engine on every case; all failures are reported, not only the first. At least `min_judged` verdicts must have had something
/// to compare with.
pub fn check_all(cases: impl ParallelIterator<Item = Case>, min_judged: usize) {
    let engines = engines();
    check(cases.flat_map_iter(|case| case.check(engines.iter().map(Box::as_ref))), min_judged);
}

/// The same for so many cases that only the CPU can have them all. Each engine of another kind has one of `num_shares`, another one each;
/// which, is a function of the case's name.
pub fn check_shared(cases: impl ParallelIterator<Item = Case>, num_shares: u64, min_judged: usize) {
    let engines = engines();
    let verdicts = cases.flat_map_iter(|case| {
        let hash = case.name.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let share = (hash ^ hash >> 32) % num_shares;
        let is_for = |engine_idx: usize| engines[engine_idx].kind() == "cpu" || share == engine_idx as u64 % num_shares;
        case.check((0..engines.len()).filter(|&idx| is_for(idx)).map(|idx| engines[idx].as_ref()))
    });
    check(verdicts, min_judged);
}

fn check(verdicts: impl ParallelIterator<Item = Verdict>, min_judged: usize) {
    let tally = verdicts.map(Tally::of).reduce(Tally::default, Tally::plus);
    eprintln!("{} right, {} not judged by libjpeg, {} wrong", tally.num_right, tally.num_unjudged, tally.faults.len());
    let shown = &tally.faults[..tally.faults.len().min(40)];
    assert!(tally.faults.is_empty(), "{} wrong:\n{}", tally.faults.len(), shown.join("\n"));
    assert!(tally.num_right >= min_judged, "only {} cases could be judged", tally.num_right);
}
