//! Replays what fuzzing has found (`fuzz/regressions/TARGET/`) and small files that reach much of the code (`fuzz/seeds/TARGET/`), and runs every
//! fuzz check on files of the test encoder and on damaged ones.

#[path = "../fuzz/checks.rs"]
mod checks;
#[path = "common/matrix.rs"]
#[allow(dead_code)]
mod matrix;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dctflow::jpeg::EntropyCoding;
use dctflow::plan::CpuReason;
use dctflow::synth::{self, Random};
use rayon::prelude::*;

/// How many files are kept at least: that none is found any more is no success.
const MIN_KEPT_FILES: usize = 9;

/// The files that are kept for fuzz targets in a folder of `fuzz/`, each with its target's check.
fn kept_files(folder: &str) -> Vec<(checks::Check, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let mut kept = Vec::new();
    for target_folder in entries(&folder) {
        let target = target_folder.file_name().unwrap().to_str().unwrap();
        let check = checks::ALL.iter().find(|(name, _)| *name == target);
        let (_, check) = check.unwrap_or_else(|| panic!("{}: no fuzz target has this name", target_folder.display()));
        kept.extend(entries(&target_folder).into_iter().map(|path| (*check, path)));
    }
    kept
}

#[test]
fn findings_stay_fixed() {
    let kept: Vec<(checks::Check, PathBuf)> = ["regressions", "seeds"].into_iter().flat_map(kept_files).collect();
    assert!(kept.len() >= MIN_KEPT_FILES, "only {} files are kept", kept.len());
    kept.par_iter().for_each(|(check, path)| {
        eprintln!("{}", path.display());
        check(&std::fs::read(path).unwrap());
    });
    eprintln!("{} files replayed", kept.len());
}

#[test]
fn every_check_holds_on_damaged_photos() {
    let mut random = Random::new(7);
    for photo_idx in 0..8 {
        let photo = synth::photo(3, photo_idx);
        for (_, check) in checks::ALL.iter().copied() {
            check(&photo);
            for _ in 0..8 {
                check(&synth::mutate(&photo, &mut random));
            }
        }
    }
}

/// Calls of the C interface in any order, allowed and not.
#[test]
fn the_c_interface_answers_every_call() {
    let mut random = Random::new(3);
    let photo = synth::photo(3, 0);
    for _ in 0..200 {
        let mut script = photo[..random.below(photo.len() as u32) as usize].to_vec();
        script.extend((0..24).map(|_| random.bits() as u8));
        checks::interface::capi(&script);
    }
}

/// On damaged files of many kinds; and it is the device that decodes most of them.
#[test]
fn the_emulator_agrees_on_damaged_files_of_the_matrix() {
    let points = matrix::points();
    let is_small = |point: &&matrix::Point| point.size.0 < 100 && point.coding == EntropyCoding::Huffman;
    let small: Vec<Vec<u8>> = points.iter().filter(is_small).map(|point| point.build().1.to_bytes()).collect();
    let stats: Vec<_> = (0..300u64)
        .into_par_iter()
        .map(|seed| {
            let mut random = Random::new(seed);
            checks::emulate(&synth::mutate(random.pick(&small).as_slice(), &mut random.clone()))
        })
        .collect();
    let mut on_cpu: BTreeMap<CpuReason, u64> = BTreeMap::new();
    for (reason, count) in stats.iter().flat_map(|stats| &stats.on_cpu) {
        *on_cpu.entry(*reason).or_default() += count;
    }
    let num_on_device: u64 = stats.iter().map(|stats| stats.on_device - 2).sum();
    eprintln!("{num_on_device} on the device, on the CPU: {on_cpu:?}");
    assert!(num_on_device > 120, "only {num_on_device} of 300 were decoded on the device");
}
