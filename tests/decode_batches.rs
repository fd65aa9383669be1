//! Batches on the emulator: what a file gives does not depend on its neighbours, on how its data are divided, or on the schedule, and it
//! is the device that decodes it.

mod common;

use std::collections::BTreeMap;

use common::cases::agrees_with_cpu;
use common::engines::kernel_decoder;
use common::say::say;
use common::{hostile, matrix};
use dctflow::abi::{
    Counter, DESTUFFED_PADDING_BYTES, DestuffTile, EXTRA_SEGMENTS, IndexSegments, Kernel, KernelId,
    MAX_SERIAL_SUBSEQUENCES, RefineBlocks, RefineSegments, ScanDesc, Segment, SegmentResult, Subsequence,
    WriteSegments, WriteSubsequences,
};
use dctflow::cpu::{self, Decoded};
use dctflow::device::Count;
use dctflow::device::emulator::Schedule;
use dctflow::jpeg::{Coefficients, EntropyCoding, Limits, Natural, Orientation, Plane, Status};
use dctflow::plan::{Array, CpuReason, DecodePlan, PlanOptions, PlannedImage};
use dctflow::session::DecoderStats;
use dctflow::synth::{
    Codes, Encoding, Interleaving, Layout, Picture, Random, Restart, mutate, photo_set, sequential_scans,
};
use rayon::prelude::*;

/// A file and what it must be decoded to.
struct Sample {
    name: String,
    bytes: Vec<u8>,
    by_cpu: Decoded,
}

impl Sample {
    fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        let by_cpu = cpu::decode(&bytes, &Limits::default());
        Self { name: name.into(), bytes, by_cpu }
    }
}

/// How a batch is decoded.
#[derive(Clone, Copy, Debug)]
struct Manner {
    schedule: Schedule,
    subsequence_bytes: Option<u32>,
}

/// Decodes the samples as one batch, and compares each with what it must be.
fn check_batch(samples: &[&Sample], manner: Manner) -> DecoderStats {
    let mut decoder = kernel_decoder(manner.schedule, manner.subsequence_bytes);
    let files: Vec<&[u8]> = samples.iter().map(|sample| sample.bytes.as_slice()).collect();
    let decoded = decoder.decode(&files).unwrap_or_else(|error| panic!("{manner:?}: {error}"));
    assert_eq!(decoded.len(), samples.len());
    for (sample, decoded) in samples.iter().zip(&decoded) {
        if let Err(fault) = agrees_with_cpu(decoded, &sample.by_cpu) {
            panic!("{}, in a batch of {}, {manner:?}: {fault}", sample.name, samples.len());
        }
    }
    decoder.stats().clone()
}

fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for i in (1..items.len()).rev() {
        items.swap(i, random.below(i as u32 + 1) as usize);
    }
}

fn random_manner(random: &mut Random) -> Manner {
    let schedules = [Schedule::Forward, Schedule::Reverse, Schedule::Random(random.bits())];
    let subsequence_bytes = match random.below(4) {
        0 => None,
        1 => Some(64),
        2 => Some(64 + random.below(200)),
        _ => Some(64 + random.below(2000)),
    };
    Manner { schedule: *random.pick(&schedules), subsequence_bytes }
}

/// The whole matrix in batches: any sizes, sampling, tables and processes next to each other. It is the device that decodes it.
#[test]
fn the_matrix_in_batches() {
    let points = matrix::points();
    let mut samples: Vec<Sample> = points.par_iter().map(|p| Sample::new(&p.name, p.build().1.to_bytes())).collect();
    let mut random = Random::new(37);
    shuffle(&mut samples, &mut random);
    let samples: Vec<&Sample> = samples.iter().collect();
    let batches: Vec<(&[&Sample], Manner)> = samples.chunks(37).map(|b| (b, random_manner(&mut random))).collect();
    let stats: Vec<DecoderStats> = batches.par_iter().map(|(batch, manner)| check_batch(batch, *manner)).collect();

    let num_arithmetic = points.iter().filter(|point| point.coding == EntropyCoding::Arithmetic).count() as u64;
    let mut on_cpu: BTreeMap<CpuReason, u64> = BTreeMap::new();
    for (reason, count) in stats.iter().flat_map(|stats| &stats.on_cpu) {
        *on_cpu.entry(*reason).or_default() += count;
    }
    // Codes of one length never fall into step: cut into 64 bytes each, a large file of them is too much for one thread.
    let num_unresolved = on_cpu.remove(&CpuReason::Unresolved).unwrap_or(0);
    assert!(num_unresolved <= 3, "{num_unresolved} files are left to the CPU");
    assert_eq!(on_cpu, BTreeMap::from([(CpuReason::Arithmetic, num_arithmetic)]));
    let on_device: u64 = stats.iter().map(|stats| stats.on_device).sum();
    assert_eq!(on_device, points.len() as u64 - num_arithmetic - num_unresolved);
}

/// Small files of many kinds.
fn small_samples() -> Vec<Sample> {
    let points = matrix::points();
    let small = points.iter().filter(|point| point.size.0 < 200 && point.coding == EntropyCoding::Huffman);
    small.step_by(3).map(|point| Sample::new(&point.name, point.build().1.to_bytes())).collect()
}

/// Any files in any order, split into batches in any way, with subsequences of any size, in any schedule: always the same.
#[test]
fn any_order_split_and_subsequence_size() {
    let samples = small_samples();
    (0..60u64).into_par_iter().for_each(|seed| {
        let mut random = Random::new(seed);
        let mut order: Vec<&Sample> = samples.iter().collect();
        shuffle(&mut order, &mut random);
        let mut rest = &order[..1 + random.below(24) as usize];
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(1 + random.below(rest.len() as u32) as usize);
            check_batch(batch, random_manner(&mut random));
            rest = others;
        }
    });
}

/// Sound and damaged files in the same batch: each has its own outcome.
#[test]
fn damaged_files_among_sound_ones() {
    let sound = small_samples();
    (0..40u64).into_par_iter().for_each(|seed| {
        let mut random = Random::new(1000 + seed);
        let mut batch = Vec::new();
        for i in 0..24 {
            let sample = random.pick(&sound);
            let bytes = match i % 2 {
                0 => sample.bytes.clone(),
                _ => mutate(&sample.bytes, &mut random),
            };
            batch.push(Sample::new(format!("{} ({i} of seed {seed})", sample.name), bytes));
        }
        check_batch(&batch.iter().collect::<Vec<_>>(), random_manner(&mut random));
    });
}

/// White but for the upper `inked_percent` of its blocks, in the typical codes.
fn page(sampling: &[(u8, u8)], (width, height): (u32, u32), inked_percent: usize) -> Vec<u8> {
    let layout = Layout::baseline(sampling, 75);
    let frame = layout.frame(width, height);
    let mut random = Random::new(5);
    let planes = frame.components.iter().map(|component| {
        let num_blocks = component.padded_blocks_wide as usize * component.padded_blocks_high as usize;
        let mut data = vec![0; num_blocks * 64];
        let (inked, white) = data.split_at_mut(num_blocks * inked_percent / 100 * 64);
        inked.iter_mut().for_each(|c| *c = if random.one_in(6) { random.between(-20, 20) as i16 } else { 0 });
        white.chunks_exact_mut(64).for_each(|block| block[0] = 63);
        Plane::new(component, data, Some(Natural([8; 64])))
    });
    let image =
        Coefficients { planes: planes.collect(), color: layout.color, orientation: Orientation::default(), frame };
    let mut encoding = Encoding::new(sequential_scans(&image.frame, Interleaving::Interleaved));
    encoding.scans.iter_mut().for_each(|scan| scan.codes = Codes::Standard);
    encoding.encode(&image).to_bytes()
}

const GRAY: &[(u8, u8)] = &[(1, 1)];
const YCC_420: &[(u8, u8)] = &[(2, 2), (1, 1), (1, 1)];

/// Decodes a file by itself; returns how much of it was decoded serially.
fn serial_subsequences(name: &str, bytes: Vec<u8>, manner: Manner) -> u64 {
    let num_bytes = bytes.len();
    let stats = check_batch(&[&Sample::new(name, bytes)], manner);
    assert_eq!(
        (stats.on_device, &stats.on_cpu),
        (1, &BTreeMap::new()),
        "{name}, {manner:?}: not decoded on the device"
    );
    eprintln!("{name}, {manner:?}: {num_bytes} bytes, {} serial subsequences", stats.serial_subsequences);
    stats.serial_subsequences
}

/// Flat areas never fall into step, but are not decoded serially either.
#[test]
fn pages_are_not_decoded_serially() {
    let manner = Manner { schedule: Schedule::Forward, subsequence_bytes: None };
    for (sampling, sampling_name) in [(GRAY, "gray"), (YCC_420, "4:2:0")] {
        for (width, height) in [(640, 480), (1240, 1754), (4000, 3000)] {
            for inked_percent in [0, 50] {
                let name = format!("{sampling_name} page of {width} x {height} with {inked_percent} % ink");
                let serial = serial_subsequences(&name, page(sampling, (width, height), inked_percent), manner);
                assert!(serial <= 16, "{name}");
            }
        }
    }
}

/// One large file for each sampling, mostly white.
#[test]
fn pages_of_eight_thousand_samples() {
    let manner = Manner { schedule: Schedule::Forward, subsequence_bytes: None };
    for luma in [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 2)] {
        let name = format!("8k page with luma {luma:?}");
        let serial = serial_subsequences(&name, page(&[luma, (1, 1), (1, 1)], (7680, 4320), 3), manner);
        assert!(serial <= 16, "{name}");
    }
}

/// Every coefficient but DC is -1: nothing but zero bits, so that a decoder which starts at a wrong one never finds out. What is small
/// enough is decoded serially.
#[test]
fn codes_that_never_fall_into_step() {
    for (side, is_on_device) in [(320, true), (2400, false)] {
        let layout = Layout::baseline(GRAY, 90);
        let mut image = Picture { width: side, height: side, planes: vec![vec![0.0; (side * side) as usize]] }
            .coefficients(&layout);
        image.planes[0].data.chunks_exact_mut(64).for_each(|block| block[1..].fill(-1));
        let mut encoding = Encoding::new(sequential_scans(&image.frame, Interleaving::Interleaved));
        encoding.scans.iter_mut().for_each(|scan| scan.codes = Codes::FixedLength);
        let sample = Sample::new(format!("only zero bits, {side} x {side}"), encoding.encode(&image).to_bytes());
        let stats = check_batch(&[&sample], Manner { schedule: Schedule::Forward, subsequence_bytes: None });
        eprintln!("{}: {} bytes, {} serial subsequences", sample.name, sample.bytes.len(), stats.serial_subsequences);
        assert_eq!(stats.on_device == 1, is_on_device, "{}", sample.name);
        assert!((70..=u64::from(MAX_SERIAL_SUBSEQUENCES) + 1).contains(&stats.serial_subsequences));
    }
}

/// What speculation costs, as `dctflow profile speculation` counts it: of photos as large batches divide them. Loose bars: records have the
/// numbers (`benches/record`), this only sees that nothing has gone wrong.
#[test]
fn speculation_decodes_little_twice() {
    let files = photo_set(3, 24);
    let mut decoder = kernel_decoder(Schedule::Forward, Some(1024));
    let decoded = decoder.decode(&files.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("no error of the device");
    assert!(decoded.iter().all(|decoded| decoded.report.status == Status::Complete));
    let counts = decoder.device().take_counts();
    let writers = [WriteSubsequences::ID, WriteSegments::ID, RefineBlocks::ID];
    let (mut before, mut written) = (Count::default(), Count::default());
    for (kernel, counts) in &counts {
        let sum = if writers.contains(kernel) { &mut written } else { &mut before };
        *sum += counts.count(Counter::Symbols);
    }
    let by_symbols = before.total as f64 / written.total as f64;
    let by_warps = before.warp_max as f64 / written.total as f64;
    say(format_args!("speculation: {by_symbols:.2} by symbols, {by_warps:.2} by warp maximum"));
    assert!((1.0..1.25).contains(&by_symbols) && (by_symbols..1.7).contains(&by_warps), "{by_symbols}, {by_warps}");
}

const SCHEDULES: [Schedule; 3] = [Schedule::Forward, Schedule::Reverse, Schedule::Random(7)];

/// Decodes a file by itself, and returns the decoder's statistics and how many serial steps the slowest thread of a kernel took, all its launches
/// together.
fn serial_steps(sample: &Sample, schedule: Schedule, kernel: KernelId) -> (DecoderStats, u64) {
    let mut decoder = kernel_decoder(schedule, None);
    let decoded = decoder.decode(&[&sample.bytes]).unwrap_or_else(|error| panic!("{}: {error}", sample.name));
    if let Err(fault) = agrees_with_cpu(&decoded[0], &sample.by_cpu) {
        panic!("{}, {schedule:?}: {fault}", sample.name);
    }
    let counts = decoder.device().take_counts();
    let steps = counts.get(&kernel).map_or(0, |counts| counts.count(Counter::SerialSteps).warp_max / 32);
    (decoder.stats().clone(), steps)
}

/// Runs of EOB over half a million empty blocks, six times: 6 KB that would keep one thread busy for long if it visited them.
#[test]
fn refinement_passes_over_empty_blocks() {
    let blocks = hostile::most_blocks(500);
    let num_blocks = u64::from(blocks.0) * u64::from(blocks.1);
    assert!(num_blocks > 500_000);
    let sample = Sample::new("runs of EOB alone", hostile::passes_without_data(blocks));
    for schedule in SCHEDULES {
        let (stats, steps) = serial_steps(&sample, schedule, RefineSegments::ID);
        assert_eq!((stats.on_device, stats.on_cpu.len()), (1, 0), "{schedule:?}");
        // A word of marks for 32 blocks, and at most 8 blocks for a byte.
        let num_scans = 6;
        assert!(steps > 0 && steps < num_scans * num_blocks / 32 + 8 * sample.bytes.len() as u64, "{steps} steps");
    }
}

/// What would keep one thread busy for long is the CPU's, and counted apart; what is short or has restarts is not.
#[test]
fn long_refinement_scans_are_left_to_the_cpu() {
    for (blocks, is_on_device) in [((256, 256), true), ((1024, 256), false)] {
        let sample = Sample::new(format!("{blocks:?} blocks"), hostile::refined_block_by_block(blocks));
        let (stats, steps) = serial_steps(&sample, Schedule::Forward, RefineSegments::ID);
        if is_on_device {
            let num_blocks = u64::from(blocks.0 * blocks.1);
            assert_eq!((stats.on_device, &stats.on_cpu), (1, &BTreeMap::new()));
            assert!((num_blocks..num_blocks + 10).contains(&steps), "{steps} steps");
        } else {
            assert_eq!(stats.on_cpu, BTreeMap::from([(CpuReason::SerialRefinement, 1)]));
            assert!(!stats.cpu_time.is_zero());
        }
    }
}

/// Lost, doubled and wrong restart markers among very many: every thread takes a share of finding out what they mean.
#[test]
fn many_restart_markers_of_a_wrong_number() {
    let sound = hostile::restart_interval_one((1024, 64));
    let markers: Vec<usize> =
        (0..sound.len() - 1).filter(|&i| sound[i] == 0xFF && sound[i + 1] & 0xF8 == 0xD0).collect();
    let num_segments = markers.len() as u64 + 1;
    let mut random = Random::new(11);
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    for num_lost in [1, 3, 4, 5, 2000] {
        let mut bytes = sound.clone();
        let first = random.below(markers.len() as u32 - 2 * num_lost) as usize;
        for i in (0..num_lost as usize).rev() {
            bytes.drain(markers[first + i]..markers[first + i] + 2);
        }
        damaged.push((format!("{num_lost} lost in a row"), bytes));
    }
    for (name, is_doubled, share) in
        [("some doubled", true, 10_000), ("some lost", false, 100), ("many lost", false, 3)]
    {
        let mut bytes = sound.clone();
        for &at in markers.iter().rev().filter(|_| random.below(share) == 0) {
            match is_doubled {
                true => drop(bytes.splice(at..at, [0xFF, sound[at + 1]])),
                false => drop(bytes.drain(at..at + 2)),
            }
        }
        damaged.push((name.into(), bytes));
    }
    for (name, at) in [("one lost at the start", 0), ("one lost at the end", markers.len() - 1)] {
        let mut bytes = sound.clone();
        bytes.drain(markers[at]..markers[at] + 2);
        // Near the end, what follows is told by what is left, too: wrong numbers there.
        let end = bytes.len() - 3 - 60;
        (end..end + 30).filter(|i| i % 3 == 0).for_each(|i| {
            if bytes[i] & 0xF8 == 0xD0 {
                bytes[i] ^= 5;
            }
        });
        damaged.push((name.into(), bytes));
    }
    damaged.into_par_iter().for_each(|(name, bytes)| {
        let sample = Sample::new(name, bytes);
        for schedule in SCHEDULES {
            let (stats, steps) = serial_steps(&sample, schedule, IndexSegments::ID);
            assert_eq!(stats.on_device, 1, "{}", sample.name);
            assert!(steps > 0 && steps < num_segments / 16, "{}: {steps} steps of {num_segments}", sample.name);
        }
    });
}

/// The scans' shares of an array: none may overlap another, nor end behind the array.
fn assert_apart(what: &str, mut shares: Vec<std::ops::Range<u64>>, len: u64) {
    shares.retain(|share| !share.is_empty());
    shares.sort_by_key(|share| share.start);
    assert!(shares.windows(2).all(|pair| pair[0].end <= pair[1].start), "{what}: {shares:?}");
    assert!(shares.last().is_none_or(|last| last.end <= len), "{what}: {:?} of {len}", shares.last());
}

fn check_layout(plan: &DecodePlan) {
    let regions = Array::ALL.map(|array| plan.array(array).range_bytes());
    let as_u64 = |range: &std::ops::Range<usize>| range.start as u64..range.end as u64;
    assert_apart("arrays", regions.iter().map(as_u64).collect(), plan.scratch.len_bytes() as u64);

    let len_of = |array, element_bytes: usize| (plan.array(array).len_bytes / element_bytes) as u64;
    let shares = |share: &dyn Fn(&ScanDesc) -> (u64, u64)| {
        plan.scans.iter().map(share).map(|(first, len)| first..first + len).collect::<Vec<_>>()
    };
    let data = shares(&|scan| (scan.data_offset, u64::from(scan.data_bytes)));
    assert_apart("data", data, plan.data_bytes as u64);
    let destuffed_words =
        |scan: &ScanDesc| (u64::from(scan.data_bytes) + u64::from(DESTUFFED_PADDING_BYTES)).div_ceil(4);
    let destuffed = shares(&|scan| (scan.destuffed_offset, destuffed_words(scan)));
    assert_apart("destuffed", destuffed, len_of(Array::Destuffed, 4));
    let tiles = shares(&|scan| (scan.first_destuff_tile.into(), scan.num_destuff_tiles.into()));
    assert_apart("tiles", tiles, len_of(Array::DestuffTiles, size_of::<DestuffTile>()));
    let num_segments = |scan: &ScanDesc| (scan.num_intervals + EXTRA_SEGMENTS + 1).min(scan.data_bytes / 2 + 2);
    let segments = shares(&|scan| (scan.first_segment.into(), num_segments(scan).into()));
    assert_apart("segments", segments, len_of(Array::Segments, size_of::<Segment>()));
    let subsequences = shares(&|scan| (scan.first_subsequence.into(), scan.max_subsequences.into()));
    assert_apart("subsequences", subsequences, len_of(Array::Subsequences, size_of::<Subsequence>()));
    for scan in &plan.scans {
        assert_eq!((scan.data_offset % 16, scan.destuffed_offset % 4), (0, 0), "vectors of 16 bytes");
    }
}

/// Whatever the files, the plan keeps their shares of every array apart. (That the kernels keep to them, the emulator sees.)
#[test]
fn arrays_do_not_overlap() {
    let samples = small_samples();
    for seed in 0..50 {
        let mut random = Random::new(2000 + seed);
        let files: Vec<&[u8]> = (0..1 + random.below(30)).map(|_| random.pick(&samples).bytes.as_slice()).collect();
        let images: Vec<PlannedImage<'_>> =
            files.iter().filter_map(|file| PlannedImage::read(file, &Limits::default()).ok()).collect();
        let subsequence_bytes = random.one_in(2).then(|| random.below(3000));
        let options = PlanOptions { subsequence_bytes, redzone_bytes: 8 * random.below(40) as usize };
        check_layout(&DecodePlan::new(&images, &options));
    }
}

/// A restart marker after each MCU: working memory stays in proportion to the file.
#[test]
fn restart_interval_one_takes_little_memory() {
    let layout = Layout::baseline(GRAY, 50);
    let image = Picture { width: 4000, height: 3000, planes: vec![vec![0.0; 12_000_000]] }.coefficients(&layout);
    let mut encoding = Encoding::new(sequential_scans(&image.frame, Interleaving::Interleaved));
    encoding.scans.iter_mut().for_each(|scan| scan.restart = Restart::EveryMcus(1));
    let bytes = encoding.encode(&image).to_bytes();
    let planned = PlannedImage::read(&bytes, &Limits::default()).expect("a sound file");
    let plan = DecodePlan::new(&[planned], &PlanOptions::default());
    let ratio = plan.scratch.len_bytes() as f64 / bytes.len() as f64;
    eprintln!("{} bytes of file, {ratio:.1} times as much working memory", bytes.len());
    // A segment has 3 bytes in the file, and 40 in tables: Segment and SegmentResult.
    assert_eq!(size_of::<Segment>() + size_of::<SegmentResult>(), 40);
    assert!(ratio < 16.0, "{ratio}");
}
