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

/// Every engine on every case; all failures are reported, not only the first. At least `min_judged` cases must have had something
/// to be compared with.
pub fn check_all(cases: impl ParallelIterator<Item = Case>, min_judged: usize) {
    let engines = engines();
    let verdicts = cases.flat_map_iter(|case| engines.iter().map(move |engine| case.check(engine.as_ref())));
    let tally = verdicts.map(Tally::of).reduce(Tally::default, Tally::plus);
    eprintln!("{} right, {} not judged by libjpeg, {} wrong", tally.num_right, tally.num_unjudged, tally.faults.len());
    let shown = &tally.faults[..tally.faults.len().min(40)];
    assert!(tally.faults.is_empty(), "{} wrong:\n{}", tally.faults.len(), shown.join("\n"));
    assert!(tally.num_right >= min_judged, "only {} cases could be judged", tally.num_right);
}
