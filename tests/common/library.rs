//! Files that libjpeg's own encoders wrote, and files of the optional data folder.

use std::path::PathBuf;

use dctflow::synth::Random;

use super::cases::{Case, Expected};
use super::oracle::{self, Transcoding};

/// Compressed by libjpeg at each sampling, then transcoded: optimised, progressive, arithmetic, with and without restarts.
pub fn cases() -> Vec<Case> {
    let samplings = [(1, 1), (2, 1), (2, 2), (1, 2), (4, 1), (4, 2)];
    samplings.into_iter().flat_map(cases_of).collect()
}

fn cases_of(sampling: (u8, u8)) -> Vec<Case> {
    let size = (149, 103);
    let original = oracle::compress(&noisy_gradient(size), size, sampling, 85).expect("libjpeg compresses");
    let mut cases = Vec::new();
    for (arithmetic, progressive, restart_interval_mcus) in [
        (false, false, 0),
        (false, false, 5),
        (false, true, 0),
        (false, true, 7),
        (true, false, 0),
        (true, false, 3),
        (true, true, 0),
        (true, true, 2),
    ] {
        let transcoding = Transcoding { arithmetic, progressive, restart_interval_mcus };
        let bytes = oracle::transcode(&original, transcoding).expect("libjpeg transcodes");
        cases.push(Case::new(format!("libjpeg's own, luma {sampling:?}, {transcoding:?}"), bytes, Expected::AsLibjpeg));
    }
    cases.push(Case::new(format!("libjpeg's own, luma {sampling:?}"), original, Expected::AsLibjpeg));
    cases
}

/// `[height][width][3]`.
fn noisy_gradient((width, height): (u32, u32)) -> Vec<u8> {
    let mut random = Random::new(1);
    let mut samples = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let noise = random.below(40);
            samples.extend([x + noise, y + noise, (x * y / 64) % 160 + noise].map(|sample| sample.min(255) as u8));
        }
    }
    samples
}

/// The JPEG files of the optional data folder: `DCTFLOW_DATA`, or `../shared/data` beside the repository.
pub fn data_files() -> Vec<PathBuf> {
    let beside = || super::root().join("../shared/data");
    let folder = std::env::var_os("DCTFLOW_DATA").map_or_else(beside, PathBuf::from).join("photos");
    let mut files = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
            if path.is_dir() {
                folders.push(path);
            } else if extension == "jpg" || extension == "jpeg" {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() {
        super::say::skipped(format_args!(
            "no photos in {} (set DCTFLOW_DATA to a folder that holds `photos`)",
            folder.display()
        ));
    }
    files
}
