//! Damaged files: what libjpeg still reads without a warning is read like that, and everything else has a defined outcome.

mod common;

use common::cases::{Case, Expected};
use common::engines::engines;
use common::suite::{check_all, check_shared};
use common::{malformed, odd};
use dctflow::ImageError;
use dctflow::cpu::{self, Decoder};
use dctflow::jpeg::{Coefficients, EntropyCoding, Limits, Process, Status};
use dctflow::synth::{Codes, Encoding, Interleaving, Random, Restart, flip_bit, mutate, sequential_scans, truncations};
use rayon::prelude::*;

/// A small sound file, to be damaged.
struct Victim {
    name: String,
    image: Coefficients,
    bytes: Vec<u8>,
}

impl Victim {
    fn new(name: String, image: &Coefficients, encoding: &Encoding) -> Self {
        Self { name, image: image.clone(), bytes: encoding.encode(image).to_bytes() }
    }
}

/// Files of every process, with and without restarts, and with all kinds of codes.
fn victims() -> Vec<Victim> {
    let processes = [
        (Process::Baseline, EntropyCoding::Huffman),
        (Process::ExtendedSequential, EntropyCoding::Arithmetic),
        (Process::Progressive, EntropyCoding::Huffman),
        (Process::Progressive, EntropyCoding::Arithmetic),
    ];
    let mut victims = Vec::new();
    for (process, coding) in processes {
        let image = odd::photo_as(process, coding);
        let plain = odd::encoding(&image);
        let mut restarting = plain.clone();
        restarting.scans.iter_mut().for_each(|scan| scan.restart = Restart::EveryRow);
        victims.push(Victim::new(format!("{process:?} {coding:?}"), &image, &plain));
        victims.push(Victim::new(format!("{process:?} {coding:?} with restarts"), &image, &restarting));
    }
    for codes in [Codes::Standard, Codes::Long, Codes::FixedLength] {
        let image = odd::photo(&[(1, 1), (1, 1), (1, 1)], 70);
        let mut encoding = Encoding::new(sequential_scans(&image.frame, Interleaving::Mixed));
        encoding.scans.iter_mut().for_each(|scan| scan.codes = codes);
        victims.push(Victim::new(format!("4:4:4, two scans, {codes:?} codes"), &image, &encoding));
    }
    victims
}

/// How many times the usual number of damaged files are tried: `DCTFLOW_TEST_EFFORT`, 1 by default.
fn effort() -> u64 {
    std::env::var("DCTFLOW_TEST_EFFORT").map_or(1, |effort| effort.parse().expect("DCTFLOW_TEST_EFFORT is a number"))
}

/// `num_variants` damaged files of each victim, and more with more effort. Where libjpeg reads one without a warning, so must we,
/// and see the same.
fn check_damaged(num_variants: u64, min_judged: usize, damage: impl Fn(&[u8], &mut Random) -> Vec<u8> + Sync) {
    let victims = victims();
    let seeds = 0..num_variants * effort();
    let variants = victims.par_iter().flat_map(|v| seeds.clone().into_par_iter().map(move |seed| (v, seed)));
    let case = |(victim, seed): (&Victim, u64)| {
        let damaged = damage(&victim.bytes, &mut Random::new(seed));
        Case::new(format!("{}, damaged with seed {seed}", victim.name), damaged, Expected::AsLibjpegIfClean)
    };
    check_shared(variants.map(case), EMULATOR_SHARES, min_judged);
}

/// As many as there are emulators: each of so many files is decoded by one of them.
const EMULATOR_SHARES: u64 = 3;

#[test]
fn flipped_bits() {
    check_damaged(3000, 10_000, |bytes, random| flip_bit(bytes, random.below(bytes.len() as u32 * 8) as usize));
}

#[test]
fn mutated_files() {
    check_damaged(2500, 3000, |bytes, random| {
        let num_changes = 1 + random.below(3);
        (0..num_changes).fold(bytes.to_vec(), |bytes, _| mutate(&bytes, random))
    });
}

#[test]
fn truncated_files() {
    let victims = victims();
    let cuts = victims.iter().flat_map(|victim| {
        let case = move |(i, cut): (usize, &[u8])| {
            // An EOI behind the cut lets libjpeg judge progressive files that lack scans.
            let with_eoi = [cut, &[0xFF, 0xD9]].concat();
            let name = format!("{}, cut after {} bytes", victim.name, 64 * i);
            [(name.clone(), cut.to_vec()), (name + ", with EOI", with_eoi)]
        };
        truncations(&victim.bytes, 64).enumerate().flat_map(case)
    });
    let cases: Vec<Case> = cuts.map(|(name, bytes)| Case::new(name, bytes, Expected::AsLibjpegIfClean)).collect();
    check_all(cases.into_par_iter(), 20);
}

/// A block that is not received keeps what it had, also where a run had led out of its band.
#[test]
fn runs_beyond_a_band_are_undone() {
    let files = odd::runs_beyond_bands();
    let cuts = files.iter().flat_map(|bytes| truncations(bytes, 1)).map(|cut| {
        let with_eoi = [cut, &[0xFF, 0xD9]].concat();
        Case::new(format!("runs beyond bands, cut after {} bytes", cut.len()), with_eoi, Expected::AsLibjpegIfClean)
    });
    let cases: Vec<Case> = cuts.collect();
    check_shared(cases.into_par_iter(), EMULATOR_SHARES, 5);
}

/// The blocks of one MCU of the frame, all components.
fn mcu_blocks(image: &Coefficients, mcu_idx: u32) -> Vec<&[i16]> {
    let (mcu_x, mcu_y) = (mcu_idx % image.frame.mcus_wide(), mcu_idx / image.frame.mcus_wide());
    let components = image.frame.components.iter().zip(&image.planes);
    let blocks = components.flat_map(|(component, plane)| {
        let (h, v) = (u32::from(component.h), u32::from(component.v));
        (0..h * v).map(move |i| plane.block(mcu_x * h + i % h, mcu_y * v + i / h))
    });
    blocks.collect()
}

/// A cut sequential file: what comes before the first untrusted MCU is right, what comes after it is zero.
#[test]
fn what_is_trusted_is_right_and_the_rest_is_zero() {
    let mut num_partial = 0;
    for victim in victims().iter().filter(|victim| !victim.name.contains("two scans")) {
        if victim.image.frame.process == Process::Progressive {
            continue;
        }
        for (engine, cut) in
            engines().iter().flat_map(|engine| truncations(&victim.bytes, 7).map(move |cut| (engine, cut)))
        {
            let context = format!("{}: {}, cut after {} bytes", engine.name(), victim.name, cut.len());
            let decoded = engine.decode(cut);
            let (Some(image), Some(first)) = (&decoded.coefficients, decoded.report.first_untrusted_mcu) else {
                continue;
            };
            num_partial += 1;
            assert_eq!(decoded.report.untrusted_mcus, decoded.report.mcus - first, "{context}");
            for mcu_idx in 0..first {
                assert!(mcu_blocks(image, mcu_idx) == mcu_blocks(&victim.image, mcu_idx), "{context}: MCU {mcu_idx}");
            }
            for mcu_idx in first + 1..decoded.report.mcus {
                let is_zero = mcu_blocks(image, mcu_idx).iter().all(|block| block.iter().all(|&c| c == 0));
                assert!(is_zero, "{context}: MCU {mcu_idx} is not zero");
            }
        }
    }
    assert!(num_partial > 500, "only {num_partial} partial files");
}

/// Broken files have the outcome that the contract defines.
#[test]
fn malformed_files() {
    let mut faults = Vec::new();
    for engine in engines() {
        for case in malformed::table() {
            let decoded = engine.decode(&case.bytes);
            let report = &decoded.report;
            let reason = report.reason.as_ref().map(ImageError::code);
            let actual = (report.status, reason, report.first_untrusted_mcu, report.untrusted_mcus);
            let expected = (case.status, case.reason, case.first_untrusted_mcu, case.untrusted_mcus);
            if actual != expected || decoded.coefficients.is_none() != (report.status == Status::Failed) {
                let (engine, name) = (engine.name(), case.name);
                faults.push(format!("{engine}: {name}: {actual:?} is not {expected:?}; {:?}", report.reason));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Memory that is used again never shows in the coefficients.
#[test]
fn a_used_decoder_gives_what_a_new_one_gives() {
    let limits = Limits::default();
    let mut used = Decoder::default();
    for victim in victims() {
        for seed in 0..300 {
            let damaged = mutate(&victim.bytes, &mut Random::new(seed));
            let decoded = used.decode(&damaged, &limits);
            assert!(decoded == cpu::decode(&damaged, &limits), "{}, damaged with seed {seed}", victim.name);
            decoded.coefficients.into_iter().for_each(|coefficients| used.recycle(coefficients));
        }
    }
}
