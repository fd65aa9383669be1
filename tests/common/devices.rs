//! The devices that tests run kernels on, and which of them are wanted.
#![allow(dead_code)]

use std::sync::{Arc, OnceLock};

use dctflow::device::Device;
use dctflow::device::emulator::{Emulator, EmulatorOptions, Schedule};

/// Names kinds of engines (cpu, emulator, cuda), separated by commas: only these are tested. Not set: all.
const CHOICE_VARIABLE: &str = "DCTFLOW_ENGINES";

/// Names kinds of engines whose absence is a failure, not a skip.
const REQUIRE_VARIABLE: &str = "DCTFLOW_REQUIRE_ENGINES";

fn kinds_in(variable: &str) -> Vec<String> {
    let kinds = std::env::var(variable).unwrap_or_default();
    kinds.split(',').map(|kind| kind.trim().to_owned()).filter(|kind| !kind.is_empty()).collect()
}

/// Whether engines of this kind are to be tested.
pub fn is_chosen(kind: &str) -> bool {
    let chosen = kinds_in(CHOICE_VARIABLE);
    chosen.is_empty() || chosen.iter().any(|k| k == kind)
}

/// Fails if a kind is required that is not among those present.
pub fn check_required(present: &[&str]) {
    if let Some(absent) = kinds_in(REQUIRE_VARIABLE).iter().find(|kind| !present.contains(&kind.as_str())) {
        panic!("{REQUIRE_VARIABLE} asks for the engine `{absent}`, which is not there; there are {present:?}");
    }
}

/// An emulator of its own, on one OS thread: tests spread themselves over the others.
pub fn emulator(schedule: Schedule) -> Arc<dyn Device> {
    let options = EmulatorOptions { schedule, num_os_threads: 1, ..EmulatorOptions::default() };
    Emulator::new(options).expect("an emulator")
}

/// The first GPU, or why there is none. All tests of a process share it.
pub fn cuda() -> Result<Arc<dyn Device>, String> {
    static CUDA: OnceLock<Result<Arc<dyn Device>, String>> = OnceLock::new();
    CUDA.get_or_init(open_cuda).clone()
}

#[cfg(feature = "cuda")]
fn open_cuda() -> Result<Arc<dyn Device>, String> {
    let opened = dctflow::device::cuda::Cuda::open(0);
    opened.map(|device| device as Arc<dyn Device>).map_err(|error| error.to_string())
}

#[cfg(not(feature = "cuda"))]
fn open_cuda() -> Result<Arc<dyn Device>, String> {
    Err("this build drives no GPU: the feature `cuda` is off".into())
}

/// What runs kernels: an emulator with this schedule, unless only GPUs are wanted.
pub fn device(schedule: Schedule) -> Arc<dyn Device> {
    match is_chosen("emulator") {
        true => emulator(schedule),
        false => cuda().unwrap_or_else(|error| panic!("{CHOICE_VARIABLE} leaves only the GPU: {error}")),
    }
}
