//! `ci/train-table.sh` with a program that only says what it was asked for: an interrupted table goes on, one of another recipe is refused.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Stands for `dctflow`. Where a file `die` lies, `train` is ended once, after its checkpoint.
const PROGRAM: &str = r#"#!/usr/bin/env bash
echo "$*" >> calls
for argument; do [[ ${previous:-} == --out ]] && out=$argument; previous=$argument; done
case $1 in
    train)
        mkdir -p "$out" && touch "$out/checkpoint.safetensors" "$out/weights.safetensors"
        [[ $out == */upsampling && -e die ]] && rm die && exit 3
        echo '{"validation":null,"seconds":5.0,"images_per_second":120.0,"waiting_share":0.01}' > "$out/log.jsonl"
        ;;
    weights) echo '{"width":0.25,"input_size":[64,64],"parameters":1000,"macs":15000000}' ;;
    eval) echo '{"images":100,"top1":{"share":0.75},"top5":{"share":0.9}}' ;;
esac
"#;

const NUM_NETWORKS: usize = 8;

/// The script as it is packed for a machine without cargo, in a folder that is called by a relative path.
fn pack(folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/train-table.sh");
    for inner in ["pack/bin", "python/torch", "data"] {
        fs::create_dir_all(folder.join(inner)).unwrap();
    }
    fs::copy(script, folder.join("pack/train-table.sh")).unwrap();
    fs::write(folder.join("pack/commit"), "0123456789ab\n").unwrap();
    let program = folder.join("pack/bin/dctflow");
    fs::write(&program, PROGRAM).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("python/torch/__init__.py"), "").unwrap();
    for file in ["classes.txt", "train-0.parquet", "val.parquet"] {
        fs::write(folder.join("data").join(file), file).unwrap();
    }
}

fn run(folder: &Path, options: &str) -> Output {
    let mut command = Command::new("bash");
    command.args(["pack/train-table.sh", "--data", "data", "--out", "out"]).args(options.split_whitespace());
    command.current_dir(folder).env("PYTHONPATH", "python").output().unwrap()
}

fn calls(folder: &Path) -> Vec<String> {
    fs::read_to_string(folder.join("calls")).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_table_goes_on_where_it_stopped_and_keeps_to_one_recipe() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: no python3, which the script needs");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    pack(folder);
    fs::write(folder.join("die"), "").unwrap();
    let recipe = "--epochs 1 --size 64 --threads 3";
    assert_eq!(run(folder, recipe).status.code(), Some(3), "the program's failure ends it");
    let num_before = calls(folder).len();
    assert_eq!(num_before, 4, "one network is done, another was begun");

    let output = run(folder, recipe);
    assert!(output.status.success(), "{output:?}");
    let after = calls(folder).split_off(num_before);
    assert_eq!(after.len(), 3 * (NUM_NETWORKS - 1), "what is done is not done again: {after:?}");
    assert!(after[0].contains("--network upsampling ") && after[0].contains(" --resume "), "{}", after[0]);
    assert_eq!(after.iter().filter(|call| call.contains("--resume")).count(), 1);
    let trained: Vec<_> = after.iter().filter(|call| call.starts_with("train ")).collect();
    for call in &trained {
        assert!(call.contains(" --size 64 ") && !call.contains("--size 128"), "options replace the recipe's: {call}");
        assert!(call.contains(" --threads 3 ") && !call.contains("val.parquet"), "{call}");
    }
    let evaluated: Vec<_> = after.iter().filter(|call| call.starts_with("eval ")).collect();
    assert!(evaluated.iter().all(|call| call.contains("--device cpu") && call.ends_with("data/val.parquet")));

    let text = fs::read_to_string(folder.join("out/table.md")).unwrap();
    assert_eq!(text.as_bytes(), output.stdout);
    assert_eq!(text.lines().filter(|line| line.contains("25.00 / 10.00")).count(), NUM_NETWORKS, "{text}");
    for part in ["commit 0123456789ab", "images/s (CPU, 3 threads)", "24.22 / 7.35"] {
        assert!(text.contains(part), "no `{part}`: {text}");
    }
    let table: Value = serde_json::from_slice(&fs::read(folder.join("out/table.json")).unwrap()).unwrap();
    assert_eq!(table["networks"].as_array().unwrap().len(), NUM_NETWORKS);
    assert!(table["machine"].is_string() && table["data_sha256"]["val.parquet"].is_string(), "{table}");

    for other in ["--epochs 2 --size 64 --threads 3", "--epochs 1 --size 64 --threads 2"] {
        let refused = run(folder, other);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("another recipe"), "{refused:?}");
    }
    fs::write(folder.join("data/val.parquet"), "other images").unwrap();
    assert_eq!(run(folder, recipe).status.code(), Some(2), "other data are another table");
}
