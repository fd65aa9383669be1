//! Every network against logits that PyTorch computed, in float64, from networks written by hand from the paper's tables
//! (tests/reference/make.sh remakes them).

#[path = "reference/cases.rs"]
mod cases;

use std::collections::BTreeMap;

use dctflow::cpu::network::{Engine, InstructionSet, Scratch};
use dctflow::network::{InputNorm, Variant, Weights, interpret};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Of max|a - b| / max|b|. Measured: 3e-6 at most.
const TOLERANCE: f64 = 1e-5;

/// The same, where floats are pairs of bf16. Measured: 3e-5.
const AMX_TOLERANCE: f64 = 7e-5;

#[derive(Deserialize)]
struct Reference {
    weights_sha256: String,
    /// `[N][classes]`.
    logits: Vec<Vec<f64>>,
}

fn references() -> BTreeMap<Variant, Reference> {
    serde_json::from_str(include_str!("data/reference_logits.json")).expect("make.sh writes this file")
}

/// As tests/reference/make.py has it.
fn digest(weights: &Weights) -> String {
    let mut sha = Sha256::new();
    for (name, tensor) in weights.tensors() {
        sha.update(name);
        sha.update(bytemuck::cast_slice(&tensor.data));
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn assert_close(logits: &[f32], reference: &Reference, tolerance: f64, what: &str) {
    let expected: Vec<f64> = reference.logits.concat();
    assert_eq!(logits.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let (worst, difference) = (logits.iter().zip(&expected).map(|(&a, b)| (f64::from(a) - b).abs()).enumerate())
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .expect("there are logits");
    let relative = difference / largest;
    assert!(
        relative < tolerance,
        "{what}: logit {worst} is {}, must be {} (difference {relative:.1e})",
        logits[worst],
        expected[worst]
    );
}

#[test]
fn every_network_has_a_reference() {
    assert_eq!(references().into_keys().collect::<Vec<_>>(), Variant::ALL);
}

/// Random weights are the same on every machine: else the logits below could not be compared.
#[test]
fn random_weights_are_those_of_the_reference() {
    for (variant, reference) in references() {
        let weights = cases::weights(variant).unwrap();
        assert_eq!(
            digest(&weights),
            reference.weights_sha256,
            "{variant}: if this was meant, run tests/reference/make.sh"
        );
    }
}

#[test]
fn the_layer_lists_agree_with_pytorch() {
    for (variant, reference) in references() {
        let weights = cases::weights(variant).unwrap();
        let logits = interpret(&weights, &cases::normalized_inputs(&weights));
        assert_close(&logits.data, &reference, TOLERANCE, variant.name());
    }
}

#[test]
fn the_cpu_engine_agrees_with_pytorch() {
    let (instruction_sets, absent): (Vec<_>, Vec<_>) =
        InstructionSet::ALL.into_iter().partition(|set| set.is_supported());
    absent.iter().for_each(|set| eprintln!("not tested, because this CPU lacks it: {set}"));
    for (variant, reference) in references() {
        let weights = cases::weights(variant).unwrap();
        let inputs = cases::engine_inputs(&weights);
        let inputs: Vec<&[f32]> = inputs.iter().map(|input| &input.data[..]).collect();
        for input_norm in [InputNorm::Fold, InputNorm::Apply] {
            for &set in &instruction_sets {
                let engine = Engine::with_instruction_set(weights.inference(input_norm), set).unwrap();
                let mut logits = vec![0.0; reference.logits.len() * engine.num_classes()];
                engine.run(&inputs, reference.logits.len(), &mut logits, &mut Scratch::new()).unwrap();
                let tolerance = if set == InstructionSet::Amx { AMX_TOLERANCE } else { TOLERANCE };
                assert_close(&logits, &reference, tolerance, &format!("{variant}, {input_norm:?}, {set}"));
            }
        }
    }
}
