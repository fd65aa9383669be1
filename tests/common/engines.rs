//! The decoders that every case runs on.

use dctflow::cpu;
use dctflow::device::Device;
use dctflow::device::emulator::Schedule;
use dctflow::jpeg::Limits;
use dctflow::session::BatchDecoder;
use std::sync::{Arc, Mutex};

use super::devices;

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

/// The kernels. Files are decoded by many threads of a test at a time, so decoders are kept in a pool.
struct Kernels {
    kind: &'static str,
    name: &'static str,
    schedule: Schedule,
    subsequence_bytes: Option<u32>,
    pool: Mutex<Vec<BatchDecoder>>,
}

impl Kernels {
    fn emulated(name: &'static str, schedule: Schedule, subsequence_bytes: Option<u32>) -> Self {
        Self { kind: "emulator", name, schedule, subsequence_bytes, pool: Mutex::default() }
    }

    fn cuda(name: &'static str, subsequence_bytes: Option<u32>) -> Self {
        Self { kind: "cuda", name, schedule: Schedule::Forward, subsequence_bytes, pool: Mutex::default() }
    }

    fn new_decoder(&self) -> BatchDecoder {
        let device = match self.kind {
            "cuda" => devices::cuda().expect("the GPU that was there a moment ago"),
            _ => devices::emulator(self.schedule),
        };
        decoder_on(&device, self.subsequence_bytes)
    }
}

fn decoder_on(device: &Arc<dyn Device>, subsequence_bytes: Option<u32>) -> BatchDecoder {
    let mut decoder = BatchDecoder::new(device).expect("a decoder");
    decoder.options.subsequence_bytes = subsequence_bytes;
    decoder
}

/// A decoder that runs the kernels: on an emulator of its own, or on the GPU if only that is wanted.
pub fn kernel_decoder(schedule: Schedule, subsequence_bytes: Option<u32>) -> BatchDecoder {
    decoder_on(&devices::device(schedule), subsequence_bytes)
}

impl Engine for Kernels {
    fn kind(&self) -> &'static str {
        self.kind
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

/// The engines to be tested. Those that this machine or build lacks are named on stderr and counted; one that is required fails the test.
pub fn engines() -> Vec<Box<dyn Engine>> {
    let mut engines: Vec<Box<dyn Engine>> = vec![
        Box::new(Cpu),
        Box::new(Kernels::emulated("emulator, forward", Schedule::Forward, None)),
        Box::new(Kernels::emulated("emulator, reverse", Schedule::Reverse, Some(64))),
        Box::new(Kernels::emulated("emulator, random", Schedule::Random(1), Some(192))),
        Box::new(Kernels::cuda("cuda", None)),
        Box::new(Kernels::cuda("cuda, short subsequences", Some(64))),
    ];
    engines.retain(|engine| devices::is_chosen(engine.kind()));
    let num_chosen = engines.len();
    if let Some(error) = devices::cuda().err().filter(|_| devices::is_chosen("cuda")) {
        engines.retain(|engine| engine.kind() != "cuda");
        eprintln!("skipped: {} of {num_chosen} engines, those of kind `cuda`: {error}", num_chosen - engines.len());
    }
    devices::check_required(&engines.iter().map(|engine| engine.kind()).collect::<Vec<_>>());
    engines
}
