//! `dctflow profile` where there is no GPU: its table, record, trace and charts hold what they promise, and nothing predicted passes for measured.

#![cfg(feature = "cli")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own with weights of a small network, in which the program runs.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.run("weights init --width 0.1 --classes 10 --transform short=72,crop=64 --out small.safetensors", 0);
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    #[track_caller]
    fn run(&self, arguments: &str, status: i32) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dctflow"));
        let output = command.args(arguments.split_whitespace()).current_dir(self.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_eq!(output.status.code(), Some(status), "{arguments}\n{stderr}");
        output
    }

    /// What `profile` says on the emulator.
    #[track_caller]
    fn profile(&self, arguments: &str) -> String {
        String::from_utf8(self.run(&format!("profile {arguments} --device emulator"), 0).stdout).unwrap()
    }

    #[track_caller]
    fn record(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.profile(&format!("{arguments} --json"))).unwrap()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }
}

fn rows(record: &Value) -> &[Value] {
    record["kernels"].as_array().unwrap()
}

fn row<'a>(record: &'a Value, name: &str) -> &'a Value {
    rows(record).iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}: {record}"))
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_record_has_a_row_for_every_kernel_and_says_that_its_times_are_predicted() {
    let folder = Folder::new();
    let record = folder.record("e2e --weights small.safetensors --batch 2 --batches 2");
    assert_eq!(
        (&record["scenario"], &record["times"], &record["clock"]),
        (&"e2e".into(), &"predicted".into(), &Value::Null)
    );
    assert_eq!(
        (&record["gpu"], &record["device"], &record["images"]),
        (&"h100-sxm".into(), &"emulator".into(), &4.into())
    );
    let stages: Vec<&str> = rows(&record).iter().map(|row| row["stage"].as_str().unwrap()).collect();
    assert!(stages.contains(&"decode") && stages.contains(&"input") && stages.contains(&"network"));
    for name in ["upload", "destuff", "write_input", "average_pixels", "download"] {
        let row = row(&record, name);
        let [total, mean, least, most] =
            ["seconds", "seconds_mean", "seconds_min", "seconds_max"].map(|key| number(&row[key]));
        assert!(0.0 < least && least <= mean && mean <= most && most <= total, "{row}");
        assert_eq!(row["calls"], 2, "{row}");
        assert_eq!(number(&row["predicted_seconds"]), total);
        assert!(number(&row["bytes"]) > 0.0 && row["predicted_bound"].is_string());
    }
    let shares: f64 = rows(&record).iter().map(|row| number(&row["share"])).sum();
    assert!((shares - 1.0).abs() < 1e-9);
    let launch = &row(&record, "write_input")["launch"];
    assert!(number(&launch["registers"]) > 0.0 && number(&launch["smem_bytes"]) > 0.0);
    assert!((0.0..=1.0).contains(&number(&launch["occupancy"])));
    assert!(
        rows(&record)
            .iter()
            .any(|row| row["name"].as_str().unwrap().starts_with("convolve_") && number(&row["flops"]) > 0.0)
    );
}

#[test]
fn decoding_counts_symbols_redundancy_and_barriers() {
    let folder = Folder::new();
    let record = folder.record("decode --batch 3");
    let symbols = number(&record["symbols"]);
    let counts = |name: &str| row(&record, name)["counts"].clone();
    let (synchronize, write) = (counts("synchronize_subsequences"), counts("write_subsequences"));
    assert!(number(&write["symbols"]) <= symbols && number(&write["symbols_per_symbol"]) <= 1.0);
    assert!(number(&synchronize["symbols_per_symbol"]) >= 1.0, "{synchronize}");
    assert!(number(&synchronize["symbols_warp_max"]) >= number(&synchronize["symbols"]));
    assert!(number(&synchronize["barriers_per_cta"]) >= 1.0 && number(&synchronize["symbols_per_s"]) > 0.0);
    // Of all planes, of what is not trusted, and of the segments' results: a GPU has no zones between planes.
    assert_eq!(row(&record, "fill")["calls"], 3);
    assert!(rows(&record).iter().all(|row| row["stage"] == "decode"));
    assert_eq!((&record["unresolved_images"], &record["unmatched_launches"]), (&0.into(), &0.into()));
    // The compiler's loops, `kernels/loops.tsv`.
    assert!((10.0..500.0).contains(&number(&write["instructions_per_symbol"])), "{write}");
    // The same batch counts the same, whatever GPU it is predicted for; a smaller one takes longer.
    let smaller = folder.record("decode --batch 3 --gpu a100-sxm");
    assert_eq!(smaller["symbols"], record["symbols"]);
    assert!(number(&smaller["seconds"]) > number(&record["seconds"]));
}

#[test]
fn the_table_has_all_columns_and_marks_predictions() {
    let folder = Folder::new();
    let text = folder.profile("input --weights small.safetensors --batch 2 --record r.json");
    let record: Value = serde_json::from_str(&folder.read("r.json")).unwrap();
    assert_eq!((&record["scenario"], &record["times"]), (&"input".into(), &"predicted".into()));
    for word in [
        "PREDICTED for h100-sxm",
        "nothing was measured",
        "us (predicted)",
        "occup.",
        "GB/s",
        "build_bands",
        "pred. bound",
        "SASS/sym",
    ] {
        assert!(text.contains(word), "no {word}: {text}");
    }
    assert!(!text.contains("destuff"), "only the input is profiled: {text}");
}

#[test]
fn a_trace_has_host_and_device_on_one_clock() {
    let folder = Folder::new();
    folder.profile("e2e --weights small.safetensors --batch 2 --trace trace.json");
    let trace: Value = serde_json::from_str(&folder.read("trace.json")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let on = |pid: u64, phase: &'static str| events.iter().filter(move |e| e["pid"] == pid && e["ph"] == phase);
    let names: Vec<&str> = (1..=3).flat_map(|pid| on(pid, "M")).map(|e| e["args"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["host", "emulator (its own time, which is no GPU's)", "prediction, not measured"]);
    let host: Vec<&str> = on(1, "X").map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(host, ["plan decode", "submit decode", "plan input", "submit input", "submit network", "wait network"]);
    let (device, predicted) = (on(2, "X").count(), on(3, "X").count());
    assert!(device > 20 && predicted == device);
    for (event, (submit, begin)) in on(2, "X").zip(on(1, "s").zip(on(2, "f"))) {
        assert!(number(&submit["ts"]) <= number(&event["ts"]), "nothing begins before it is submitted: {event}");
        assert_eq!((&submit["id"], &begin["ts"]), (&begin["id"], &event["ts"]));
    }
    let launch = on(2, "X").find(|event| event["name"] == "destuff").unwrap();
    assert_eq!((&launch["args"]["threads"], &launch["cat"]), (&256.into(), &"decode".into()));
}

#[test]
fn charts_name_the_kernels_below_the_roof() {
    let folder = Folder::new();
    folder.profile("e2e --weights small.safetensors --batch 2 --chart roofline.svg");
    let svg = folder.read("roofline.svg");
    assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"));
    for word in
        ["Roofline of operations, h100-sxm", "Roofline of instructions", "network average_pixels", "not measured"]
    {
        assert!(svg.contains(word), "no {word}");
    }
}

#[test]
fn once_prints_nothing() {
    let folder = Folder::new();
    assert_eq!(folder.profile("network --weights small.safetensors --batch 1 --once"), "");
    folder.run("profile decode --device emulator --once --json", 2);
}

#[test]
#[cfg(all(feature = "cuda", target_os = "linux"))]
fn another_profiler_sees_the_stages_as_ranges() {
    let folder = Folder::new();
    let (source, library) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/fake_nvtx.c"), folder.path().join("nvtx.so"));
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let compiled = Command::new(compiler).args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(compiled.expect("a C compiler").success());
    let ranges = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dctflow"));
        command.args(arguments.split_whitespace()).current_dir(folder.path()).env("NVTX_INJECTION64_PATH", &library);
        let stderr = String::from_utf8(command.output().unwrap().stderr).unwrap();
        stderr.lines().filter_map(|line| line.strip_prefix("range")).collect::<Vec<_>>().join("")
    };
    let stages = ": decode 2 images ends: input of 2 images ends: network on 2 images ends";
    let once = "profile e2e --device emulator --weights small.safetensors --batch 2 --once";
    assert_eq!(ranges(once), stages.repeat(2), "the first batch is not profiled, but has its ranges");
    std::fs::write(folder.path().join("a.jpg"), dctflow::synth::photo(0, 0)).unwrap();
    let batch = ranges("classify --device emulator --weights small.safetensors a.jpg");
    let nested = ": batch of 1 images: decode 1 images ends: input of 1 images ends: network on 1 images ends ends";
    assert_eq!(batch, nested);
}

#[test]
fn what_cannot_be_profiled_says_why() {
    let folder = Folder::new();
    for (arguments, hint) in [
        ("profile decode --device cpu", "--device emulator"),
        ("profile decode --device emulator --gpu h100", "h200-sxm"),
        ("profile decode --device emulator --batch 0", "--batch"),
        ("profile decode --device emulator small.safetensors", "none of the files is decoded on a device"),
    ] {
        let output = folder.run(arguments, 2);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(hint), "{arguments}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments}");
    }
}

/// The table is what costs the time: what cannot be written beside it must not cost it.
#[test]
fn the_table_is_printed_even_if_the_trace_cannot_be_written() {
    let folder = Folder::new();
    let output = folder.run("profile decode --device emulator --batch 1 --trace absent/trace.json", 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("absent/trace.json"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("write_subsequences"));
}

/// A driver that does no work, and a CUPTI that records two things, whatever was launched: the profile falls back on events, and says so.
#[test]
#[cfg(all(feature = "cuda", target_os = "linux"))]
fn records_of_cupti_that_have_gaps_give_way_to_events() {
    let folder = Folder::new();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    for (source, name) in
        [("fake_libcuda.c", "libcuda.so"), ("fake_libcuda.c", "libcuda.so.1"), ("fake_libcupti.c", "libcupti.so.13")]
    {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda").join(source);
        let mut command = Command::new(&compiler);
        command.args(["-shared", "-fPIC", "-o"]).arg(folder.path().join(name)).arg(source);
        assert!(command.status().expect("a C compiler").success());
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_dctflow"));
    let arguments = "profile decode --device cuda --batch 2 --batches 2 --json --chart roofline.svg";
    command.args(arguments.split_whitespace()).current_dir(folder.path()).env("LD_LIBRARY_PATH", folder.path());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("holds no kernels for GPUs") {
        eprintln!("not run: this build holds no kernels for GPUs");
        return;
    }
    assert!(stderr.contains("recorded anew, with times from events: CUPTI's records lack"), "{stderr}");
    // The table comes first; what this GPU's peaks are, nobody knows.
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("nothing is known of this GPU's peaks"), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let record: Value = serde_json::from_str(stdout.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    assert!(record["clock"].as_str().unwrap().starts_with("measured by events"), "{record}");
    // The driver says that everything takes 1.5 ms.
    assert!((number(&row(&record, "destuff")["seconds"]) - 2.0 * 1.5e-3).abs() < 1e-9);
    assert!(number(&row(&record, "write_subsequences")["counts"]["symbols"]) > 0.0, "counted beside the GPU: {record}");
}
