//! The decoders that every case runs on.

use dctflow::cpu;
use dctflow::jpeg::Limits;

/// A decoder under test.
pub trait Engine: Sync {
    /// As in `--device`.
    fn name(&self) -> &'static str;
    /// Decodes one file.
    fn decode(&self, bytes: &[u8]) -> cpu::Decoded;
}

struct Cpu;

impl Engine for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn decode(&self, bytes: &[u8]) -> cpu::Decoded {
        cpu::decode(bytes, &Limits::default())
    }
}

/// Names engines, separated by commas, whose absence is a failure. Other test programs read it too, for theirs.
const REQUIRE_VARIABLE: &str = "DCTFLOW_REQUIRE_ENGINES";

/// All engines that this build and machine have. The missing ones are named on stderr; one that `DCTFLOW_REQUIRE_ENGINES` names
/// fails the test.
pub fn engines() -> Vec<Box<dyn Engine>> {
    let candidates: [(&str, Option<Box<dyn Engine>>); 1] = [("cpu", Some(Box::new(Cpu)))];
    let required = std::env::var(REQUIRE_VARIABLE).unwrap_or_default();
    let mut present = Vec::new();
    let mut num_skipped = 0;
    for (name, engine) in candidates {
        match engine {
            Some(engine) => present.push(engine),
            None => {
                num_skipped += 1;
                eprintln!("skipped: the engine `{name}` is missing");
            }
        }
    }
    let is_here = |wanted: &str| present.iter().any(|engine| engine.name() == wanted);
    if let Some(unknown) = required.split(',').map(str::trim).find(|wanted| !wanted.is_empty() && !is_here(wanted)) {
        panic!("{REQUIRE_VARIABLE} asks for the engine `{unknown}`, which this build does not have");
    }
    eprintln!("{} engines, {num_skipped} skipped", present.len());
    present
}
