//! Entropy decoding on one core, against libjpeg-turbo's (the same C code, as mozjpeg builds it) on the same files in the same run.
//!
//! The ratio is what counts: it is taken first, from rounds in which both decode the same files in turn. Files: generated ones, and the
//! photos under `photos/imagenet-sample` and `photos/web` of `DCTFLOW_DATA` (else `../shared/data`), where present. A word right after `--`
//! picks the kinds with it in their names.

mod libjpeg;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dctflow::cpu::{self, entropy::Instructions};
use dctflow::jpeg::{Header, Limits, Process, Status};
use dctflow::synth::photo_set;
use libjpeg::Libjpeg;

/// Files of one kind.
struct Set {
    name: String,
    files: Vec<Vec<u8>>,
}

impl Set {
    fn num_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len() as u64).sum()
    }
}

/// At most this many files of a kind.
const FILES_PER_SET: usize = 40;

fn sets() -> Vec<Set> {
    let mut sets: Vec<Set> = Vec::new();
    photo_set(2018, 64).into_iter().for_each(|file| add(&mut sets, "generated", file));
    let data = std::env::var_os("DCTFLOW_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    for folder in ["photos/imagenet-sample", "photos/web"] {
        let Ok(entries) = fs::read_dir(data.join(folder)) else {
            eprintln!("no {folder} under {}: set DCTFLOW_DATA", data.display());
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths.iter().filter_map(|path| fs::read(path).ok()).for_each(|file| add(&mut sets, "photos", file));
    }
    sets
}

/// Puts a file that decodes without fault into the set of its kind.
fn add(sets: &mut Vec<Set>, source: &str, file: Vec<u8>) {
    let limits = Limits::default();
    let Ok(header) = Header::parse(&file, &limits) else { return };
    if cpu::decode(&file, &limits).report.status != Status::Complete {
        return;
    }
    let process = if header.frame.process == Process::Progressive { "progressive" } else { "sequential" };
    let name = format!("{source} {} {process}", header.frame.sampling_name());
    let set = match sets.iter_mut().position(|set| set.name == name) {
        Some(idx) => &mut sets[idx],
        None => {
            sets.push(Set { name, files: Vec::new() });
            sets.last_mut().expect("just pushed")
        }
    };
    if set.files.len() < FILES_PER_SET {
        set.files.push(file);
    }
}

/// Decodes a set with memory that is used again and again, as batches do.
fn decode_set(decoder: &mut cpu::Decoder, set: &Set) {
    for file in &set.files {
        let decoded = decoder.decode(black_box(file), &Limits::default());
        if let Some(coefficients) = black_box(decoded).coefficients {
            decoder.recycle(coefficients);
        }
    }
}

fn read_set(libjpeg: &mut Libjpeg, set: &Set) {
    for file in &set.files {
        libjpeg.read(black_box(file));
    }
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Seconds of one round: ours, with each kind of instructions, and libjpeg's.
struct Round {
    ours: Vec<f64>,
    libjpeg: f64,
}

/// The median over rounds of how many times faster than libjpeg a set is decoded, with each kind of instructions that the processor has.
fn print_ratios(set: &Set) {
    let mut decoders: Vec<(Instructions, cpu::Decoder)> = Instructions::supported()
        .map(|instructions| (instructions, cpu::Decoder::default().with_instructions(instructions)))
        .collect();
    let mut libjpeg = Libjpeg::new();
    let mut rounds: Vec<Round> = Vec::new();
    let start = Instant::now();
    while rounds.len() < 7 || start.elapsed() < Duration::from_secs(3) {
        let mut ours = vec![0.0; decoders.len()];
        // Whoever is first differs from round to round.
        for turn in 0..ours.len() {
            let idx = (rounds.len() + turn) % ours.len();
            ours[idx] = timed(|| decode_set(&mut decoders[idx].1, set));
        }
        rounds.push(Round { ours, libjpeg: timed(|| read_set(&mut libjpeg, set)) });
    }
    let rounds = &rounds[1..]; // the first one warms up
    let median = |of_round: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of_round).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let megabytes = set.num_bytes() as f64 / 1e6;
    print!("ratio {:<34} {:>3} files ", set.name, set.files.len());
    for (idx, (instructions, _)) in decoders.iter().enumerate() {
        let (ratio, seconds) = (median(&|round| round.libjpeg / round.ours[idx]), median(&|round| round.ours[idx]));
        print!(" {} {ratio:.2} x ({:.0} MB/s)", instructions.name(), megabytes / seconds);
    }
    println!("  libjpeg {:.0} MB/s", megabytes / median(&|round| round.libjpeg));
}

fn entropy(criterion: &mut Criterion) {
    let mut sets = sets();
    // Cargo's own argument comes first.
    let first = std::env::args().skip(1).find(|argument| argument != "--bench");
    if let Some(word) = first.filter(|argument| !argument.starts_with('-')) {
        sets.retain(|set| set.name.contains(&word));
        assert!(!sets.is_empty(), "no kind of files has `{word}` in its name");
    }
    sets.iter().for_each(print_ratios);
    for set in &sets {
        let mut group = criterion.benchmark_group(&set.name);
        group.sample_size(10).throughput(Throughput::Bytes(set.num_bytes()));
        let mut decoder = cpu::Decoder::default();
        group.bench_function("dctflow", |bencher| bencher.iter(|| decode_set(&mut decoder, set)));
        let mut libjpeg = Libjpeg::new();
        group.bench_function("libjpeg", |bencher| bencher.iter(|| read_set(&mut libjpeg, set)));
        group.finish();
    }
}

criterion_group!(benches, entropy);
criterion_main!(benches);
