//! Our side, and the peers that are Rust crates or C libraries, of `benches/peers/cpu.py`, which runs everything in turns.
//!
//! `peers FOLDER THREADS BATCH [FILE...]` takes JPEG files (without any it makes 64 photo-like ones in FOLDER), writes `resnet50-rgb` with seeded
//! random weights to `FOLDER/model.onnx`, and prints one line of JSON about the files. Then, for every task named on standard input, it
//! does the task once over all files and answers with the seconds it took. `peers make FOLDER` makes the files and nothing else.

#[path = "../entropy/libjpeg.rs"]
mod libjpeg;

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use dctflow::cpu::Decoder;
use dctflow::jpeg::{Header, Limits, Status};
use dctflow::network::{Config, Variant, Weights};
use dctflow::session::{Batch, DeviceChoice, Session, Ticket};
use dctflow::synth::photo_set;
use libjpeg::Libjpeg;
use sha2::{Digest, Sha256};
use zune_jpeg::zune_core::bytestream::ZCursor;

type Failure = Box<dyn std::error::Error>;

/// Seed of all weights.
const SEED: u64 = 1;

fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [make, folder] = &arguments[..]
        && make == "make"
    {
        return make_files(Path::new(folder)).map(drop);
    }
    let [folder, threads, batch, files @ ..] = &arguments[..] else {
        eprintln!("nothing to do: run benches/peers/run.sh");
        return Ok(());
    };
    let folder = Path::new(folder);
    let paths = if files.is_empty() { make_files(folder)? } else { files.iter().map(PathBuf::from).collect() };
    let mut peers = Peers {
        files: read_files(&paths)?,
        decoder: Decoder::default(),
        libjpeg: Libjpeg::new(),
        sessions: HashMap::new(),
        threads: threads.parse()?,
        batch: batch.parse()?,
    };
    Weights::random(Config::new(Variant::Resnet50Rgb), SEED)?.save_onnx(folder.join("model.onnx"))?;
    peers.serve()
}

/// Writes the files that are measured on where none are given.
fn make_files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for (file_idx, bytes) in photo_set(0, 64).into_iter().enumerate() {
        let path = folder.join(format!("{file_idx:03}.jpg"));
        fs::write(&path, bytes)?;
        paths.push(path);
    }
    Ok(paths)
}

/// The files that we and every peer here decode without fault.
fn read_files(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Vec<u8>)>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let is_complete = dctflow::cpu::decode(&bytes, &Limits::default()).report.status == Status::Complete;
        if is_complete && zune_pixels(&bytes).is_ok() && jpeg_decoder_pixels(&bytes).is_ok() {
            files.push((path.clone(), bytes));
        } else {
            eprintln!("{}: left out: not everyone decodes it", path.display());
        }
    }
    if files.is_empty() { Err("no file that everyone decodes".into()) } else { Ok(files) }
}

fn zune_pixels(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    Ok(zune_jpeg::JpegDecoder::new(ZCursor::new(bytes)).decode().map_err(|e| format!("{e:?}"))?)
}

fn jpeg_decoder_pixels(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    Ok(jpeg_decoder::Decoder::new(bytes).decode()?)
}

struct Peers {
    files: Vec<(PathBuf, Vec<u8>)>,
    decoder: Decoder,
    libjpeg: Libjpeg,
    /// Made when first asked for.
    sessions: HashMap<String, Session>,
    threads: usize,
    batch: usize,
}

impl Peers {
    fn serve(&mut self) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", self.about())?;
        stdout.flush()?;
        for task in std::io::stdin().lock().lines() {
            let task = task?;
            self.prepare(&task)?;
            let start = Instant::now();
            self.run(&task)?;
            writeln!(stdout, "{}", start.elapsed().as_secs_f64())?;
            stdout.flush()?;
        }
        Ok(())
    }

    fn about(&self) -> serde_json::Value {
        let mut sha256 = Sha256::new();
        self.files.iter().for_each(|(_, bytes)| sha256.update(Sha256::digest(bytes)));
        let limits = Limits::default();
        let headers = self.files.iter().filter_map(|(_, bytes)| Header::parse(bytes, &limits).ok());
        let num_pixels: u64 = headers.map(|h| u64::from(h.frame.width) * u64::from(h.frame.height)).sum();
        serde_json::json!({
            "files": self.files.iter().map(|(path, _)| path).collect::<Vec<_>>(),
            "sha256": sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            "bytes": self.files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(),
            "pixels": num_pixels,
        })
    }

    /// What is not to be measured: making a session.
    fn prepare(&mut self, task: &str) -> Result<(), Failure> {
        if let Some(network) = task.strip_prefix("dctflow-e2e:")
            && !self.sessions.contains_key(network)
        {
            let weights = Weights::random(Config::new(network.parse()?), SEED)?;
            let builder = Session::builder(&weights).device(DeviceChoice::Cpu).max_batch(self.batch);
            self.sessions.insert(network.into(), builder.topk(1).threads(self.threads).build()?);
        }
        Ok(())
    }

    fn run(&mut self, task: &str) -> Result<(), Failure> {
        match task {
            "dctflow-coefficients" => self.decode_coefficients(),
            "libjpeg-coefficients" => self.files.iter().for_each(|(_, bytes)| self.libjpeg.read(black_box(bytes))),
            "zune-pixels" => self.decode_pixels(zune_pixels)?,
            "jpeg-decoder-pixels" => self.decode_pixels(jpeg_decoder_pixels)?,
            _ => match task.strip_prefix("dctflow-e2e:").and_then(|network| self.sessions.get(network)) {
                Some(session) => self.classify(session)?,
                None => return Err(format!("no task `{task}`").into()),
            },
        }
        Ok(())
    }

    /// With memory that is used again and again, as sessions do.
    fn decode_coefficients(&mut self) {
        for (_, bytes) in &self.files {
            let decoded = self.decoder.decode(black_box(bytes), &Limits::default());
            if let Some(coefficients) = black_box(decoded).coefficients {
                self.decoder.recycle(coefficients);
            }
        }
    }

    fn decode_pixels(&self, decode: impl Fn(&[u8]) -> Result<Vec<u8>, Failure>) -> Result<(), Failure> {
        self.files.iter().try_for_each(|(_, bytes)| decode(black_box(bytes)).map(|pixels| drop(black_box(pixels))))
    }

    /// All batches are submitted at once; the session runs as many at a time as it has slots.
    fn classify(&self, session: &Session) -> Result<(), Failure> {
        let submit = |files: &[(PathBuf, Vec<u8>)]| {
            let mut batch = Batch::new();
            files.iter().for_each(|(_, bytes)| batch.push(bytes.as_slice(), None, 0));
            session.submit(batch)
        };
        let tickets: Vec<Ticket> = self.files.chunks(self.batch).map(submit).collect();
        for ticket in tickets {
            let outcomes = ticket.wait()?;
            if let Some(failed) = outcomes.iter().find(|outcome| outcome.logits.is_empty()) {
                return Err(format!("an image failed: {:?}", failed.reason).into());
            }
        }
        Ok(())
    }
}
