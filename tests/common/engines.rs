//! The decoders that every case runs on.

use dctflow::cpu;
use dctflow::device::Device;
use dctflow::device::emulator::{Emulator, EmulatorOptions, Schedule};
use dctflow::jpeg::Limits;
use dctflow::session::BatchDecoder;
use std::sync::{Arc, Mutex};

/// A decoder under test.
pub trait Engine: Sync {
    /// As in `--device`.
    fn kind(&self) -> &'static str;
    /// The kind and, where there are several of it, which.
    fn name(&self) -> &'static str;
    /// Decodes one file.
    fn decode(&self, bytes: &[u8]) -> cpu::Decoded;
}

struct Cpu;

impl Engine for Cpu {
    fn kind(&self) -> &'static str {
        "cpu"
    }

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn decode(&self, bytes: &[u8]) -> cpu::Decoded {
        cpu::decode(bytes, &Limits::default())
    }
}

/// The kernels on the emulator. Files are decoded by many threads of a test at a time, so decoders are kept in a pool.
struct Emulated {
    name: &'static str,
    schedule: Schedule,
    subsequence_bytes: Option<u32>,
    pool: Mutex<Vec<BatchDecoder>>,
}

impl Emulated {
    fn new(name: &'static str, schedule: Schedule, subsequence_bytes: Option<u32>) -> Self {
        Self { name, schedule, subsequence_bytes, pool: Mutex::default() }
    }

    fn new_decoder(&self) -> BatchDecoder {
        emulated_decoder(self.schedule, self.subsequence_bytes)
    }
}

/// The kernels on an emulator of their own.
pub fn emulated_decoder(schedule: Schedule, subsequence_bytes: Option<u32>) -> BatchDecoder {
    let options = EmulatorOptions { schedule, num_os_threads: 1, ..EmulatorOptions::default() };
    let device: Arc<dyn Device> = Emulator::new(options).expect("an emulator");
    let mut decoder = BatchDecoder::new(&device).expect("a decoder");
    decoder.options.subsequence_bytes = subsequence_bytes;
    decoder
}

impl Engine for Emulated {
    fn kind(&self) -> &'static str {
        "emulator"
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn decode(&self, bytes: &[u8]) -> cpu::Decoded {
        let pooled = self.pool.lock().expect("no test panics while it holds the pool").pop();
        let mut decoder = pooled.unwrap_or_else(|| self.new_decoder());
        let mut decoded = decoder.decode(&[bytes]).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        self.pool.lock().expect("as above").push(decoder);
        decoded.remove(0)
    }
}

/// Names kinds of engines, separated by commas, whose absence is a failure. Other test programs read it too, for theirs.
const REQUIRE_VARIABLE: &str = "DCTFLOW_REQUIRE_ENGINES";

/// All engines of this build. `DCTFLOW_REQUIRE_ENGINES` must not name a kind that is not among them.
pub fn engines() -> Vec<Box<dyn Engine>> {
    let present: Vec<Box<dyn Engine>> = vec![
        Box::new(Cpu),
        Box::new(Emulated::new("emulator, forward", Schedule::Forward, None)),
        Box::new(Emulated::new("emulator, reverse", Schedule::Reverse, Some(64))),
        Box::new(Emulated::new("emulator, random", Schedule::Random(1), Some(192))),
    ];
    let required = std::env::var(REQUIRE_VARIABLE).unwrap_or_default();
    let is_here = |wanted: &str| present.iter().any(|engine| engine.kind() == wanted);
    if let Some(unknown) = required.split(',').map(str::trim).find(|wanted| !wanted.is_empty() && !is_here(wanted)) {
        panic!("{REQUIRE_VARIABLE} asks for the engine `{unknown}`, which this build does not have");
    }
    present
}
