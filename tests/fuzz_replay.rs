//! Replays what fuzzing has found (`fuzz/regressions/TARGET/`), and runs every fuzz check on files of the test encoder and on damaged ones.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::path::Path;

use dctflow::synth::{self, Random};

#[test]
fn findings_stay_fixed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions");
    let mut num_replayed = 0;
    for (target, check) in checks::ALL {
        let Ok(files) = std::fs::read_dir(folder.join(target)) else { continue };
        for file in files {
            let path = file.unwrap().path();
            eprintln!("{}", path.display());
            check(&std::fs::read(&path).unwrap());
            num_replayed += 1;
        }
    }
    eprintln!("{num_replayed} findings replayed");
}

#[test]
fn every_check_holds_on_damaged_photos() {
    let mut random = Random::new(7);
    for photo_idx in 0..8 {
        let photo = synth::photo(3, photo_idx);
        for (_, check) in checks::ALL {
            check(&photo);
            for _ in 0..8 {
                check(&synth::mutate(&photo, &mut random));
            }
        }
    }
}
