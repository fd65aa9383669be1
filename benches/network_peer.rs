//! Our side of `benches/peers/network_onnxruntime.py`, which runs a network here and in ONNX Runtime in turns.
//!
//! `network_peer FOLDER NETWORK BATCH [INSTRUCTION_SET]` writes the network with seeded random weights (`model.onnx`), a batch of inputs
//! (`input0.f32`, `input1.f32`, NHWC) and our logits (`logits.f32`) to FOLDER. Then, for every line on standard input, it runs the batch
//! once and answers with the seconds that passed and those that its threads worked.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use cpu_time::ProcessTime;
use dctflow::cpu::network::{Engine, InstructionSet, Scratch};
use dctflow::network::{Config, InputNorm, Variant, Weights};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [folder, network, batch, rest @ ..] = &arguments[..] else {
        eprintln!("nothing to do: run benches/peers/network_onnxruntime.py");
        return Ok(());
    };
    let set = match rest.first() {
        None => InstructionSet::detect(),
        Some(name) => {
            let named = |set: &InstructionSet| set.to_string() == *name;
            InstructionSet::ALL.into_iter().find(named).ok_or("no such instruction set")?
        }
    };
    serve(Path::new(folder), network.parse()?, batch.parse()?, set)
}

fn serve(folder: &Path, variant: Variant, batch: usize, set: InstructionSet) -> Result<(), Failure> {
    let weights = Weights::random(Config::new(variant), 1)?;
    weights.save_onnx(folder.join("model.onnx"))?;
    let engine = Engine::with_instruction_set(weights.inference(InputNorm::Fold), set)?;

    let lens = engine.input_shapes().iter().map(|shape| batch * shape.height * shape.width * shape.channels);
    let inputs: Vec<Vec<f32>> = lens.map(uniform).collect();
    for (input_idx, input) in inputs.iter().enumerate() {
        std::fs::write(folder.join(format!("input{input_idx}.f32")), bytemuck::cast_slice(input))?;
    }
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut logits = vec![0.0; batch * engine.num_classes()];
    let mut scratch = Scratch::new();
    engine.run(&inputs, batch, &mut logits, &mut scratch)?;
    std::fs::write(folder.join("logits.f32"), bytemuck::cast_slice(&logits))?;

    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{} {}", engine.instruction_set(), rayon::current_num_threads())?;
    stdout.flush()?;
    for line in std::io::stdin().lock().lines() {
        line?;
        let (start, start_of_work) = (Instant::now(), ProcessTime::now());
        engine.run(&inputs, batch, &mut logits, &mut scratch)?;
        let (passed, worked) = (start.elapsed(), start_of_work.elapsed());
        writeln!(stdout, "{} {}", passed.as_secs_f64(), worked.as_secs_f64())?;
        stdout.flush()?;
    }
    Ok(())
}

/// Values in -1..1 that repeat late (a Weyl sequence).
fn uniform(len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}
