//! Which buffer each value lives in.

use crate::network::{Inference, ValueId};

/// Which buffer each value lives in, and how long the buffers are.
#[derive(Debug, PartialEq)]
pub(super) struct Buffers {
    /// Per value, the index of its buffer; `None` for the network's inputs and for values that no step writes.
    pub of_value: Vec<Option<usize>>,
    /// Per buffer, its length per image.
    pub lens: Vec<usize>,
}

/// Gives values whose lives do not overlap the same buffer. A value lives from the first step that writes it to the last that
/// reads it; the logits live to the end. Greedy in step order: the smallest free buffer that fits, else the largest one, made longer.
pub(super) fn assign_buffers(inference: &Inference) -> Buffers {
    let values = &inference.values;
    let mut last_use = vec![0; values.len()];
    for (step_idx, step) in inference.steps.iter().enumerate() {
        let (input, residual, output) = step.operands(values);
        for value in [Some(input), residual, Some(output.value)].into_iter().flatten() {
            last_use[value.0] = step_idx;
        }
    }
    last_use[inference.output.0] = inference.steps.len();

    let mut buffers = Buffers { of_value: vec![None; values.len()], lens: Vec::new() };
    let mut free: Vec<usize> = Vec::new();
    for (step_idx, step) in inference.steps.iter().enumerate() {
        let (input, residual, output) = step.operands(values);
        if buffers.of_value[output.value.0].is_none() {
            let shape = values[output.value.0];
            let len = shape.height * shape.width * shape.channels;
            let fitting =
                free.iter().copied().filter(|&idx| buffers.lens[idx] >= len).min_by_key(|&idx| buffers.lens[idx]);
            let taken = fitting.or_else(|| free.iter().copied().max_by_key(|&idx| buffers.lens[idx]));
            let buffer_idx = taken.unwrap_or(buffers.lens.len());
            match taken {
                Some(idx) => buffers.lens[idx] = buffers.lens[idx].max(len),
                None => buffers.lens.push(len),
            }
            free.retain(|&idx| idx != buffer_idx);
            buffers.of_value[output.value.0] = Some(buffer_idx);
        }
        let mut ended: Vec<ValueId> = [Some(input), residual, Some(output.value)].into_iter().flatten().collect();
        ended.dedup();
        free.extend(ended.iter().filter(|value| last_use[value.0] == step_idx).filter_map(|v| buffers.of_value[v.0]));
    }
    buffers
}
