//! Where activations lie: values whose lives do not overlap share memory.

use crate::network::{ValueId, ValueShape};
use crate::plan::{Layout, NetworkStep};

/// The activations of one image. A batch of n has them n times as far apart, so that every value stays contiguous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    /// Per value, where it begins; `None` for inputs, for the logits, and for values that no step writes.
    pub offsets_bytes: Vec<Option<usize>>,
    /// Size of all.
    pub len_bytes: usize,
}

/// A value and the steps from its first writer to its last reader, both included.
#[derive(Clone, Copy, Debug)]
struct Life {
    value: usize,
    len_bytes: usize,
    first_step: usize,
    last_step: usize,
}

impl Life {
    fn overlaps(&self, other: &Self) -> bool {
        self.first_step <= other.last_step && other.first_step <= self.last_step
    }
}

impl Arena {
    /// Greedy by size: the largest value is placed first, each at the lowest offset where nothing that lives at the same time lies.
    /// (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020.)
    pub(super) fn new(values: &[ValueShape], steps: &[NetworkStep], num_inputs: usize, logits: ValueId) -> Self {
        let mut lives = lives(values, steps, num_inputs, logits);
        lives.sort_by_key(|life| (std::cmp::Reverse(life.len_bytes), life.first_step));
        let mut arena = Self { offsets_bytes: vec![None; values.len()], len_bytes: 0 };
        for (placed, life) in lives.iter().enumerate() {
            let offset = arena.lowest_gap(life, &lives[..placed]);
            arena.offsets_bytes[life.value] = Some(offset);
            arena.len_bytes = arena.len_bytes.max(offset + life.len_bytes);
        }
        arena
    }

    /// The lowest offset where `life` fits between those of `placed` that live at the same time.
    fn lowest_gap(&self, life: &Life, placed: &[Life]) -> usize {
        let rivals = placed.iter().filter(|rival| rival.overlaps(life));
        let mut taken: Vec<(usize, usize)> = rivals
            .filter_map(|rival| self.offsets_bytes[rival.value].map(|begin| (begin, begin + rival.len_bytes)))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (begin, end) in taken {
            if begin >= offset + life.len_bytes {
                break;
            }
            offset = offset.max(end);
        }
        offset
    }
}

fn lives(values: &[ValueShape], steps: &[NetworkStep], num_inputs: usize, logits: ValueId) -> Vec<Life> {
    let mut lives: Vec<Option<Life>> = vec![None; values.len()];
    for (step_idx, step) in steps.iter().enumerate() {
        let read = [Some(step.input.value), step.residual].into_iter().flatten();
        for value in step.outputs.iter().map(|output| output.slice.value).chain(read) {
            let shape = values[value.0];
            let len_bytes = (shape.height * shape.width * shape.channels * 2).next_multiple_of(Layout::ALIGNMENT_BYTES);
            let new = Life { value: value.0, len_bytes, first_step: step_idx, last_step: step_idx };
            lives[value.0].get_or_insert(new).last_step = step_idx;
        }
    }
    lives.into_iter().flatten().filter(|life| life.value >= num_inputs && life.value != logits.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Config, InputNorm, Variant, Weights};
    use crate::plan::NetworkPlan;

    /// What lives at a step cannot be less than the arena; how much more the arena is, says how well it is packed.
    #[test]
    fn no_two_living_values_overlap_and_little_is_wasted() {
        for variant in Variant::ALL {
            for input_norm in [InputNorm::Fold, InputNorm::Apply] {
                let config = Config { width: 0.125, ..Config::new(variant) };
                let inference = Weights::random(config, 1).unwrap().inference(input_norm);
                let plan = NetworkPlan::new(&inference).unwrap();
                let lives = lives(&plan.values, &plan.steps, inference.num_inputs(), plan.output);
                let range = |life: &Life| {
                    let begin = plan.arena.offsets_bytes[life.value].unwrap();
                    assert_eq!(begin % Layout::ALIGNMENT_BYTES, 0);
                    (begin, begin + life.len_bytes)
                };
                for (idx, a) in lives.iter().enumerate() {
                    let (begin, end) = range(a);
                    assert!(end <= plan.arena.len_bytes);
                    for b in lives[..idx].iter().filter(|b| b.overlaps(a)) {
                        let (other_begin, other_end) = range(b);
                        assert!(end <= other_begin || other_end <= begin, "{variant}: {a:?} and {b:?} overlap");
                    }
                }
                let living = |step: usize| {
                    let at_step = lives.iter().filter(|life| (life.first_step..=life.last_step).contains(&step));
                    at_step.map(|life| life.len_bytes).sum::<usize>()
                };
                let least = (0..plan.steps.len()).map(living).max().unwrap();
                assert!(plan.arena.len_bytes <= least * 5 / 4, "{variant}: {} bytes for {least}", plan.arena.len_bytes);
            }
        }
    }
}
