//! The decoders that every case runs on.

use dctflow::cpu::{self, entropy::Instructions};
use dctflow::device::Device;
use dctflow::device::emulator::Schedule;
use dctflow::jpeg::Limits;
use dctflow::session::BatchDecoder;
use std::sync::{Arc, Mutex, Once};

use super::devices;
use super::say::skipped;

/// A decoder under test.
pub trait Engine: Sync {
    /// As in `--device`.
    fn kind(&self) -> &'static str;
    /// The kind and, where there are several of it, which.
    fn name(&self) -> &'static str;
    /// Decodes one file.
    fn decode(&self, bytes: &[u8]) -> cpu::Decoded;
}

/// With one kind of instructions.
struct Cpu(Instructions);

impl Engine for Cpu {
    fn kind(&self) -> &'static str {
        "cpu"
    }

    fn name(&self) -> &'static str {
        match self.0.name() {
            "portable" => "cpu, portable",
            "avx2" => "cpu, avx2",
            "avx512" => "cpu, avx512",
            name => name,
        }
    }

    fn decode(&self, bytes: &[u8]) -> cpu::Decoded {
        cpu::Decoder::default().with_instructions(self.0).decode(bytes, &Limits::default())
    }
}

/// The kernels. Files are decoded by many threads of a test at a time, so decoders are kept in a pool.
struct Kernels {
    kind: &'static str,
    name: &'static str,
    schedule: Schedule,
    /// For a file, one of them: which, its bytes say.
    subsequence_bytes: &'static [Option<u32>],
    pool: Mutex<Vec<BatchDecoder>>,
}

/// In another order for each emulator: on one file no two of them have the same size, and over many files each has each.
const ROTATIONS: [[Option<u32>; 3]; 3] =
    [[None, Some(64), Some(192)], [Some(64), Some(192), None], [Some(192), None, Some(64)]];

/// Of the file's bytes, FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

impl Kernels {
    fn emulated(name: &'static str, schedule: Schedule, subsequence_bytes: &'static [Option<u32>]) -> Self {
        Self { kind: "emulator", name, schedule, subsequence_bytes, pool: Mutex::default() }
    }

    fn cuda(name: &'static str, subsequence_bytes: &'static [Option<u32>]) -> Self {
        Self { kind: "cuda", name, schedule: Schedule::Forward, subsequence_bytes, pool: Mutex::default() }
    }

    fn new_decoder(&self) -> BatchDecoder {
        let device = match self.kind {
            "cuda" => devices::cuda().expect("the GPU that was there a moment ago"),
            _ => devices::emulator(self.schedule),
        };
        decoder_on(&device, None)
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
        let which = hash(bytes) % self.subsequence_bytes.len() as u64;
        decoder.options.subsequence_bytes = self.subsequence_bytes[which as usize];
        let mut decoded = decoder.decode(&[bytes]).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        self.pool.lock().expect("as above").push(decoder);
        decoded.remove(0)
    }
}

/// Code that this processor cannot run is not tested on it.
fn say_absent_instructions() {
    static SAID: Once = Once::new();
    let present: Vec<_> = Instructions::supported().map(Instructions::name).collect();
    let wanted = if cfg!(target_arch = "x86_64") { &["avx2", "avx512"][..] } else { &[] };
    let absent: Vec<_> = wanted.iter().filter(|name| !present.contains(name)).collect();
    if devices::is_chosen("cpu") && !absent.is_empty() {
        SAID.call_once(|| {
            skipped(format_args!("the CPU's entropy decoding for {absent:?}: this processor has no such instructions"))
        });
    }
}

/// The engines to be tested. Those that this machine or build lacks are named on stderr and counted; one that is required fails the test.
pub fn engines() -> Vec<Box<dyn Engine>> {
    let mut engines: Vec<Box<dyn Engine>> = Vec::new();
    engines.extend(Instructions::supported().map(|instructions| Box::new(Cpu(instructions)) as Box<dyn Engine>));
    let kernels: [Box<dyn Engine>; 5] = [
        Box::new(Kernels::emulated("emulator, forward", Schedule::Forward, &ROTATIONS[0])),
        Box::new(Kernels::emulated("emulator, reverse", Schedule::Reverse, &ROTATIONS[1])),
        Box::new(Kernels::emulated("emulator, random", Schedule::Random(1), &ROTATIONS[2])),
        Box::new(Kernels::cuda("cuda", &[None])),
        Box::new(Kernels::cuda("cuda, short subsequences", &[Some(64)])),
    ];
    engines.extend(kernels);
    say_absent_instructions();
    engines.retain(|engine| devices::is_chosen(engine.kind()));
    let num_chosen = engines.len();
    if let Some(error) = devices::cuda().err().filter(|_| devices::is_chosen("cuda")) {
        engines.retain(|engine| engine.kind() != "cuda");
        static SAID: Once = Once::new();
        let num_absent = num_chosen - engines.len();
        SAID.call_once(|| {
            skipped(format_args!("{num_absent} of {num_chosen} engines, those of kind `cuda`: {error}"));
        });
    }
    devices::check_required(&engines.iter().map(|engine| engine.kind()).collect::<Vec<_>>());
    engines
}
