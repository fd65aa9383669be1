//! `dctflow train` as its users meet it: images in folders; weights, checkpoint, log and curves out; interrupted, it goes on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use dctflow::network::Weights;
use dctflow::synth::{Encoding, Interleaving, Layout, Picture, sequential_scans};
use serde_json::Value;
use tempfile::TempDir;

const NUM_IMAGES: usize = 40;
const NUM_EPOCHS: usize = 5;
/// The last of two options counts: this also holds that a recipe can be overridden.
const RECIPE: &str = "train --classes classes.txt --network late-concat --width 1 --width 0.05 --size 48 --first-size 32 --epochs 5 \
                      --batch 8 --warmup-epochs 1 --validation 0.2 --seed 3 --threads 2";

fn jpeg(idx: usize, components: u8) -> Vec<u8> {
    let factors = [(1, 1); 3];
    let layout = Layout::baseline(&factors[..components.into()], 80);
    let picture = match idx % 2 {
        0 => Picture::photo(idx as u64, 56, 48, components.into()),
        _ => Picture::page(idx as u64, (56, 48), components.into(), 0),
    };
    let coefficients = picture.coefficients(&layout);
    let scans = sequential_scans(&coefficients.frame, Interleaving::Interleaved);
    Encoding::new(scans).encode(&coefficients).to_bytes()
}

/// Two folders of images.
fn data() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("classes.txt"), "photo\npage\n").unwrap();
    for class in ["photo", "page"] {
        fs::create_dir_all(dir.path().join("images").join(class)).unwrap();
    }
    for idx in 0..NUM_IMAGES {
        let class = ["photo", "page"][idx % 2];
        fs::write(dir.path().join(format!("images/{class}/{idx:02}.jpg")), jpeg(idx, 3)).unwrap();
    }
    dir
}

fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dctflow"));
    command.args(RECIPE.split_whitespace()).args(arguments.split_whitespace()).current_dir(folder);
    // The program sets it itself.
    command.env_remove("OMP_WAIT_POLICY");
    command
}

#[track_caller]
fn run(folder: &Path, arguments: &str, status: i32) -> Output {
    let output = command(folder, arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The log, without what the clock says.
fn log(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("log.jsonl")).unwrap();
    let parse = |line: &str| {
        let mut epoch: Value = serde_json::from_str(line).unwrap();
        for key in ["seconds", "images_per_second", "waiting_share"] {
            assert!(epoch.as_object_mut().unwrap().remove(key).unwrap().is_f64(), "{line}");
        }
        epoch
    };
    text.lines().map(parse).collect()
}

#[cfg(target_os = "linux")]
fn environment_of(process: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{process}/environ")).unwrap()).into_owned()
}

#[test]
fn interrupted_it_goes_on_as_if_it_had_not_been() {
    let dir = data();
    let whole = run(dir.path(), "--out whole images", 0);
    let lines = String::from_utf8(whole.stdout).unwrap();
    assert_eq!(lines, fs::read_to_string(dir.path().join("whole/log.jsonl")).unwrap());
    assert_eq!(lines.lines().count(), NUM_EPOCHS);
    assert_eq!(log(&dir.path().join("whole"))[0]["validation"]["images"], 8);
    let curves = fs::read_to_string(dir.path().join("whole/curves.svg")).unwrap();
    assert!(curves.contains("<svg") && curves.contains("Loss") && curves.contains("Wrong answers"), "{curves}");

    // Whoever reads of the second epoch knows that the first one's checkpoint is written.
    let mut child =
        command(dir.path(), "--out parts images").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let num_lines = BufReader::new(child.stdout.take().unwrap()).lines().take(2).count();
    #[cfg(target_os = "linux")]
    assert!(environment_of(child.id()).contains("OMP_WAIT_POLICY=passive"), "threads that wait spin");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(num_lines, 2);
    let parts = dir.path().join("parts");
    assert!(log(&parts).len() < NUM_EPOCHS, "it was over before it was ended: the test needs more epochs");
    run(dir.path(), "--out parts --resume images", 0);
    assert_eq!(log(&parts), log(&dir.path().join("whole")));
    let weights = |folder: &str| fs::read(dir.path().join(folder).join("weights.safetensors")).unwrap();
    assert!(weights("parts") == weights("whole"), "bit for bit");
    assert_eq!(Weights::load(parts.join("weights.safetensors")).unwrap().metadata().class_names, ["photo", "page"]);

    // When all is done it validates and writes once more, also for another transform.
    let again = run(dir.path(), "--out parts --resume --transform short=64,crop=64 images", 0);
    assert!(said(&again).contains("of 8 images put aside"), "{again:?}");
    let transform = Weights::load(parts.join("weights.safetensors")).unwrap().metadata().transform;
    assert_eq!(transform.crop, (64, 64));
}

#[test]
fn what_would_be_lost_or_mixed_up_is_refused() {
    let dir = data();
    let short = "--epochs 1 --out run images";
    run(dir.path(), short, 0);
    let checkpoint = || fs::read(dir.path().join("run/checkpoint.safetensors")).unwrap();
    let before = checkpoint();
    let again = run(dir.path(), short, 2);
    assert!(said(&again).contains("--resume") && said(&again).contains("checkpoint.safetensors"), "{again:?}");
    for (change, what) in [("--validation 0.4", "other images"), ("--learning-rate 0.3", "other settings")] {
        let refused = run(dir.path(), &format!("--epochs 2 --resume {change} --out run images"), 2);
        assert!(said(&refused).contains(what), "{refused:?}");
    }
    fs::remove_file(dir.path().join("images/photo/00.jpg")).unwrap();
    let refused = run(dir.path(), "--epochs 2 --resume --out run images", 2);
    assert!(said(&refused).contains("other images (32 to learn from and 8 put aside"), "{refused:?}");
    let refused = run(dir.path(), "--transform crop=64x48 --out other images", 2);
    assert!(said(&refused).contains("square crop"), "{refused:?}");
    assert!(checkpoint() == before);
}

#[test]
fn images_that_cannot_be_learned_from_are_named_and_left_out() {
    let dir = data();
    fs::write(dir.path().join("images/photo/two.jpg"), jpeg(0, 2)).unwrap();
    fs::write(dir.path().join("images/photo/cut.jpg"), &jpeg(0, 3)[..300]).unwrap();
    let output = run(dir.path(), "--epochs 1 --out run images", 1);
    let said = said(&output);
    for part in ["two.jpg: no way to the network's input", "cut.jpg: ", "2 images were left out"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(log(&dir.path().join("run")).len(), 1);
}
