//! The program as its users meet it: arguments in; lines, JSON and exit status out.

#![cfg(feature = "cli")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dctflow::jpeg::{EntropyCoding, Process};
use dctflow::synth::{
    Encoding, Interleaving, Layout, Picture, Random, Script, mutate, photo, progressive_scans, sequential_scans,
};
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

/// What a run of the program gave.
struct Run {
    status: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Run {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is UTF-8")
    }

    fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// Tab-separated fields of each line.
    fn fields(&self) -> Vec<Vec<&str>> {
        self.lines().into_iter().map(|line| line.split('\t').collect()).collect()
    }

    /// One JSON object per line.
    fn objects(&self) -> Vec<Value> {
        self.lines().into_iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    #[track_caller]
    fn expect_status(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout: {}\nstderr: {}", String::from_utf8_lossy(&self.stdout), self.stderr);
        self
    }
}

/// A folder of its own, in which the program runs.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With weights of a small network of 10 classes, as `small.safetensors`.
    fn with_weights() -> Self {
        let folder = Self::new();
        let arguments = "weights init --width 0.1 --classes 10 --transform short=72,crop=64 --out small.safetensors";
        folder.run(arguments).expect_status(0);
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dctflow"));
        command.args(arguments.split_whitespace()).current_dir(self.path());
        command
    }

    /// Runs the program with `arguments`, separated by spaces.
    fn run(&self, arguments: &str) -> Run {
        run(&mut self.command(arguments))
    }
}

fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
    Run { status: output.status.code().expect("not ended by a signal"), stdout: output.stdout, stderr }
}

/// A file, and the same cut off in its last third.
fn whole_and_cut() -> (Vec<u8>, Vec<u8>) {
    let whole = photo(1, 0);
    let cut = whole[..whole.len() * 3 / 4].to_vec();
    (whole, cut)
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn paths(run: &Run) -> Vec<String> {
    run.objects().iter().map(|object| object["path"].as_str().unwrap().to_string()).collect()
}

#[test]
fn help_has_examples_for_every_command() {
    let folder = Folder::new();
    let commands = [
        "",
        "classify",
        "eval",
        "inspect",
        "coefficients",
        "bench",
        "profile",
        "profile decode",
        "profile e2e",
        "profile speculation",
        "weights init",
        "weights show",
        "weights onnx",
    ];
    for command in commands {
        let help = folder.run(&format!("{command} --help")).expect_status(0);
        assert!(help.text().contains("Example"), "{command}: {}", help.text());
    }
    assert!(folder.run("--version").expect_status(0).text().starts_with("dctflow "));
    folder.run("").expect_status(2);
    folder.run("classify").expect_status(2);
}

/// The classes that the network takes the images for are taken as true, all but one.
#[test]
fn eval_counts_right_and_wrong_answers() {
    let folder = Folder::with_weights();
    let classes: String = (0..10).map(|class| format!("class{class}\n")).collect();
    folder.write("classes.txt", classes);
    for seed in 0..6 {
        folder.write(format!("all/{seed}.jpg"), photo(seed, 0));
    }
    let answers = folder.run("classify --weights small.safetensors --json all").expect_status(0);
    let answers: Vec<u64> =
        answers.objects().iter().map(|object| object["top"][0]["class"].as_u64().unwrap()).collect();
    for (seed, class) in answers.iter().enumerate() {
        folder.write(format!("val/class{class}/{seed}.jpg"), photo(seed as u64, 0));
    }
    let wrong = (answers[0] + 1) % 10;
    folder.write(format!("val/class{wrong}/again.jpg"), photo(0, 0));
    folder.write(format!("val/class{wrong}/none.jpg"), "none");
    folder.write("val/unknown/one.jpg", photo(0, 0));
    let run = folder.run("eval --weights small.safetensors --classes classes.txt --json val").expect_status(1);
    let object = &run.objects()[0];
    assert_eq!(
        (object["images"].as_u64(), object["failed"].as_u64(), object["unlabelled"].as_u64()),
        (Some(8), Some(1), Some(1))
    );
    assert_eq!(object["top1"]["count"], 6);
    assert_eq!(object["confusion"][wrong as usize][answers[0] as usize], 1);
    assert!(run.stderr.contains("none.jpg") && run.stderr.contains("unknown/one.jpg"), "{}", run.stderr);
    let text = folder.run("eval --weights small.safetensors --classes classes.txt val").expect_status(1);
    assert!(text.text().contains("top-1\t75.00 %"), "{}", text.text());

    let labels = tar(&[("a.jpg", &photo(0, 0)), ("a.cls", answers[0].to_string().as_bytes())]);
    folder.write("s.tar", labels);
    let run = folder.run("eval --weights small.safetensors --json s.tar").expect_status(0);
    assert_eq!(run.objects()[0]["top1"]["share"], 1.0);
    let run = folder.run("eval --weights small.safetensors --classes s.tar s.tar").expect_status(2);
    assert!(run.stderr.contains("s.tar"), "{}", run.stderr);
}

#[test]
fn classify_gives_one_object_per_image_with_its_classes() {
    let folder = Folder::with_weights();
    folder.write("a.jpg", photo(1, 0));
    let run = folder.run("classify --weights small.safetensors --topk 3 --json a.jpg").expect_status(0);
    let [object] = run.objects().try_into().unwrap();
    let keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "path",
        "status",
        "reason",
        "message",
        "at_bytes",
        "first_untrusted_mcu",
        "untrusted_mcus",
        "mcus",
        "scans_complete",
        "saturated",
        "model",
        "top",
    ];
    assert_eq!(keys, expected);
    assert_eq!((&object["status"], &object["reason"]), (&"complete".into(), &Value::Null));
    assert_eq!((&object["first_untrusted_mcu"], &object["untrusted_mcus"]), (&Value::Null, &0.into()));
    assert!(object["mcus"].as_u64() > Some(0));
    let scores: Vec<f64> = object["top"].as_array().unwrap().iter().map(|t| t["score"].as_f64().unwrap()).collect();
    assert_eq!(scores.len(), 3);
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] > 0.0 && scores.iter().sum::<f64>() <= 1.000_1);
    assert_eq!(object["top"][0]["label"], Value::Null);
}

#[test]
fn labels_come_from_the_weights() {
    let folder = Folder::new();
    folder.write("a.jpg", photo(1, 0)).write("names.txt", "zero\none\ntwo\n");
    folder
        .run("weights init --width 0.05 --class-names names.txt --transform short=64,crop=64 --out w.safetensors")
        .expect_status(0);
    let run = folder.run("classify --weights w.safetensors a.jpg").expect_status(0);
    let fields = run.fields();
    let mut labels: Vec<&str> = fields[0][2..].iter().map(|field| field.split(' ').nth(1).unwrap()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["one", "two", "zero"]);
    assert_eq!(fields[0][..2], ["a.jpg", "complete"]);
}

#[test]
fn files_folders_lists_and_shards_come_in_input_order() {
    let folder = Folder::with_weights();
    let file = |idx| photo(2, idx);
    folder.write("z.jpg", file(0)).write("photos/b.jpg", file(1)).write("photos/a/c.jpg", file(2));
    folder.write("shard.tar", tar(&[("2.jpg", &file(3)), ("2.cls", b"7"), ("1.jpg", &file(4))]));
    folder.write("list.txt", "photos/b.jpg\n\nabsent.jpg\nz.jpg\n");
    let run = folder.run("classify --weights small.safetensors --batch 2 --json z.jpg shard.tar @list.txt photos");
    let run = run.expect_status(1);
    let expected = [
        "z.jpg",
        "shard.tar:2.jpg",
        "shard.tar:1.jpg",
        "photos/b.jpg",
        "absent.jpg",
        "z.jpg",
        "photos/a/c.jpg",
        "photos/b.jpg",
    ];
    assert_eq!(paths(&run), expected);
    let objects = run.objects();
    assert_eq!(objects[4]["reason"], "io");
    assert_eq!(objects[0]["top"], objects[5]["top"], "an answer depends on its batch mates");
    assert_eq!(objects[3]["top"], objects[7]["top"], "an answer depends on its batch mates");
}

#[test]
fn lists_are_read_from_standard_input() {
    let folder = Folder::new();
    folder.write("a.jpg", photo(1, 0)).write("list.txt", "a.jpg\n");
    let list = fs::File::open(folder.path().join("list.txt")).unwrap();
    let run = run(folder.command("coefficients --json @-").stdin(list)).expect_status(0);
    assert_eq!(paths(&run), ["a.jpg"]);
}

#[test]
fn every_file_of_a_folder_of_garbage_gives_a_line_with_a_reason() {
    let folder = Folder::with_weights();
    let (whole, _) = whole_and_cut();
    // A frame of 65,500 x 65,500 samples and nothing else.
    let giant = [&[0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8], &[0xFF, 0xDC, 0xFF, 0xDC][..], &[1, 1, 0x11, 0]].concat();
    folder.write("garbage/empty.jpg", b"");
    folder.write("garbage/giant.jpg", giant);
    folder.write("garbage/header.jpg", &whole[..100]);
    folder.write("garbage/noise.jpg", (0..5000u32).map(|i| (i * i % 251) as u8).collect::<Vec<_>>());
    folder.write("garbage/soi.jpg", b"\xff\xd8");
    folder.write("garbage/text.txt", "no image at all");
    let expected = ["not-a-jpeg", "over-limit", "malformed", "not-a-jpeg", "malformed", "not-a-jpeg"]
        .map(|code| format!("failed:{code}"));
    let run = folder.run("classify --weights small.safetensors garbage").expect_status(1);
    let statuses: Vec<&str> = run.fields().iter().map(|fields| fields[1]).collect();
    assert_eq!(statuses, expected);
    assert!(run.fields().iter().all(|fields| fields.len() == 3 && !fields[2].is_empty()), "{}", run.text());
    let digests = folder.run("coefficients --digest garbage").expect_status(1);
    assert_eq!(digests.fields().iter().map(|fields| fields[0]).collect::<Vec<_>>(), expected);
    let inspected = folder.run("inspect --json garbage").expect_status(1);
    let reasons: Vec<String> =
        inspected.objects().iter().map(|o| format!("failed:{}", o["reason"].as_str().unwrap())).collect();
    assert_eq!(reasons, expected);
}

#[test]
fn policies_say_what_a_partial_image_gives() {
    let folder = Folder::with_weights();
    folder.write("cut.jpg", whole_and_cut().1);
    let classify = |policy: &str, status| {
        let run = folder.run(&format!("classify --weights small.safetensors --json {policy} cut.jpg"));
        run.expect_status(status).objects().remove(0)
    };
    let lenient = classify("", 0);
    assert_eq!((&lenient["status"], &lenient["reason"]), (&"partial".into(), &"truncated".into()));
    assert_eq!(lenient["top"].as_array().unwrap().len(), 5);
    let (untrusted, mcus) = (lenient["untrusted_mcus"].as_u64().unwrap(), lenient["mcus"].as_u64().unwrap());
    assert!(untrusted > 0 && untrusted < mcus / 2);
    assert_eq!(lenient["first_untrusted_mcu"], mcus - untrusted);
    for (policy, exit, status) in
        [("--policy strict", 1, "failed"), ("--policy lenient:0.99", 1, "failed"), ("--policy skip", 0, "partial")]
    {
        let object = classify(policy, exit);
        assert_eq!((&object["status"], &object["reason"]), (&status.into(), &"truncated".into()), "{policy}");
        assert_eq!(object["top"], Value::Array(Vec::new()), "{policy}");
    }
    folder.run("classify --policy lax cut.jpg").expect_status(2);
}

#[test]
fn digests_are_four_fields_per_file() {
    let folder = Folder::new();
    let (whole, cut) = whole_and_cut();
    folder.write("b.jpg", &whole).write("a.jpg", &cut).write("c.jpg", "text");
    let run = folder.run("coefficients --digest b.jpg a.jpg c.jpg").expect_status(1);
    let digest = |bytes: &[u8]| {
        let decoded = dctflow::cpu::decode(bytes, &Default::default());
        decoded.coefficients.unwrap().digest().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let fields = run.fields();
    assert_eq!(fields[0], ["complete", "-", &digest(&whole), "b.jpg"]);
    assert_eq!((fields[1][0], fields[1][2], fields[1][3]), ("partial", digest(&cut).as_str(), "a.jpg"));
    assert!(fields[1][1].parse::<u32>().is_ok());
    assert_eq!(fields[2], ["failed:not-a-jpeg", "-", "-", "c.jpg"]);
    let object = folder.run("coefficients --digest --json b.jpg").expect_status(0).objects().remove(0);
    assert_eq!((&object["sha256"], &object["status"]), (&digest(&whole).into(), &"complete".into()));
}

#[test]
fn coefficients_are_written_as_safetensors() {
    let folder = Folder::new();
    let (first, second) = (photo(3, 0), photo(3, 1));
    folder.write("a/x.jpg", &first).write("b/x.jpg", &second);
    folder.run("coefficients --out out a b").expect_status(0);
    for (name, bytes) in [("a", first), ("b", second)] {
        let expected = dctflow::cpu::decode(&bytes, &Default::default()).coefficients.unwrap();
        let file = fs::read(folder.path().join("out").join(name).join("x.jpg.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(tensors.len(), 2 * expected.planes.len());
        for (component_idx, plane) in expected.planes.iter().enumerate() {
            let coefficients = tensors.tensor(&format!("coefficients.{component_idx}")).unwrap();
            let (high, wide) = (plane.blocks_high as usize, plane.blocks_wide as usize);
            assert_eq!(coefficients.shape(), [high, wide, 64]);
            let last: Vec<u8> =
                plane.block(wide as u32 - 1, high as u32 - 1).iter().flat_map(|c| c.to_le_bytes()).collect();
            assert_eq!(&coefficients.data()[coefficients.data().len() - 128..], last);
            let quantization = tensors.tensor(&format!("quantization.{component_idx}")).unwrap();
            let table: Vec<u8> = plane.quant.unwrap().0.iter().flat_map(|q| q.to_le_bytes()).collect();
            assert_eq!(quantization.data(), table);
        }
    }
    let in_out: Vec<PathBuf> =
        fs::read_dir(folder.path().join("out/a")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(in_out.len(), 1, "{in_out:?}");
    folder.write("file", "");
    let run = folder.run("coefficients --out file a").expect_status(2);
    assert!(run.stderr.contains("file"), "{}", run.stderr);
}

/// Files of every kind: sound, damaged, left to the CPU, and none at all.
fn write_files_of_all_kinds(folder: &Folder) {
    let encode = |process, coding, sampling: &[(u8, u8)]| {
        let layout = Layout { process, coding, ..Layout::baseline(sampling, 80) };
        let image = Picture::photo(7, 150, 93, sampling.len()).coefficients(&layout);
        let scans = match process {
            Process::Progressive => progressive_scans(&image.frame, Interleaving::Interleaved, Script::Mixed),
            _ => sequential_scans(&image.frame, Interleaving::Interleaved),
        };
        Encoding::new(scans).encode(&image).to_bytes()
    };
    let ycc: &[(u8, u8)] = &[(2, 2), (1, 1), (1, 1)];
    let (whole, cut) = whole_and_cut();
    let progressive = encode(Process::Progressive, EntropyCoding::Huffman, ycc);
    let mut random = Random::new(11);
    for idx in 0..8 {
        folder.write(format!("files/mutated-{idx}.jpg"), mutate(&whole, &mut random));
        folder.write(format!("files/mutated-progressive-{idx}.jpg"), mutate(&progressive, &mut random));
    }
    folder
        .write("files/arithmetic.jpg", encode(Process::ExtendedSequential, EntropyCoding::Arithmetic, ycc))
        .write("files/cmyk.jpg", encode(Process::Baseline, EntropyCoding::Huffman, &[(1, 1); 4]))
        .write("files/cut.jpg", cut)
        .write("files/cut-progressive.jpg", &progressive[..progressive.len() / 2])
        .write("files/empty.jpg", "")
        .write("files/gray.jpg", encode(Process::Baseline, EntropyCoding::Huffman, &[(1, 1)]))
        .write("files/progressive.jpg", progressive)
        .write("files/text.jpg", "text")
        .write("files/whole.jpg", whole);
}

#[test]
fn the_emulator_gives_the_same_lines_as_the_cpu() {
    let folder = Folder::new();
    write_files_of_all_kinds(&folder);
    for arguments in [
        "coefficients --digest files absent.jpg files/whole.jpg",
        "coefficients --json --digest absent.jpg files",
        "coefficients files",
        "inspect --decode files absent.jpg",
        "inspect --decode --json files",
    ] {
        let on_cpu = folder.run(&format!("{arguments} --device cpu")).expect_status(1);
        let on_emulator = folder.run(&format!("{arguments} --device emulator")).expect_status(1);
        assert!(on_cpu.lines().len() >= 25, "{}", on_cpu.text());
        assert_eq!(on_emulator.text(), on_cpu.text(), "{arguments}");
        assert!(on_emulator.stderr.contains("(arithmetic coding)"), "{}", on_emulator.stderr);
    }
    folder.run("coefficients --out cpu --device cpu files").expect_status(1);
    folder.run("coefficients --out emulator --device emulator files").expect_status(1);
    let read = |name: &str| fs::read(folder.path().join(name).join("files/cmyk.jpg.safetensors")).unwrap();
    let (on_cpu, on_emulator) = (read("cpu"), read("emulator"));
    let tensors = |bytes| SafeTensors::deserialize(bytes).unwrap();
    assert_eq!(tensors(&on_cpu).len(), 8);
    for (name, tensor) in tensors(&on_cpu).tensors() {
        assert!(tensors(&on_emulator).tensor(&name).unwrap() == tensor, "{name}");
    }
}

#[test]
fn classify_says_the_same_of_files_on_the_emulator() {
    let folder = Folder::with_weights();
    write_files_of_all_kinds(&folder);
    let files = "files/cut.jpg files/arithmetic.jpg files/text.jpg";
    let statuses = |device: &str| {
        let run =
            folder.run(&format!("classify --weights small.safetensors --device {device} {files}")).expect_status(1);
        let columns = |line: &str| line.split('\t').take(2).map(str::to_owned).collect::<Vec<_>>();
        run.lines().into_iter().map(columns).collect::<Vec<_>>()
    };
    assert_eq!(statuses("emulator"), statuses("cpu"));
    assert_eq!(statuses("emulator,cpu,emulator"), statuses("cpu"));
    for device in ["emulator", "cpu"] {
        let arguments = format!("classify --weights small.safetensors --ops libraries --device {device} {files}");
        let run = folder.run(&arguments).expect_status(2);
        assert!(run.stderr.contains("libraries"), "{}", run.stderr);
    }
}

#[test]
fn auto_says_what_it_took_and_why() {
    let folder = Folder::new();
    folder.write("a.jpg", photo(1, 0));
    for arguments in ["coefficients a.jpg", "inspect --decode a.jpg"] {
        let run = folder.run(arguments).expect_status(0);
        assert!(run.stderr.contains("device cpu: ") || run.stderr.contains("device cuda:0: "), "{}", run.stderr);
    }
}

#[test]
fn inspect_shows_frame_tables_and_scans() {
    let folder = Folder::new();
    let bytes = photo(1, 0);
    let header = dctflow::jpeg::Header::parse(&bytes, &Default::default()).unwrap();
    folder.write("a.jpg", &bytes);
    let object = folder.run("inspect --decode --json a.jpg").expect_status(0).objects().remove(0);
    assert_eq!((&object["width"], &object["height"]), (&header.frame.width.into(), &header.frame.height.into()));
    assert_eq!((&object["process"], &object["coding"]), (&"baseline".into(), &"huffman".into()));
    assert_eq!(object["components"].as_array().unwrap().len(), header.frame.components.len());
    assert_eq!(object["quantisation"][0]["values"].as_array().unwrap().len(), 64);
    let scan = &object["scans"][0];
    assert!(scan["entropy_coded_bytes"].as_u64().unwrap() < bytes.len() as u64);
    assert!(scan["huffman_tables"].as_array().unwrap().len() >= 2);
    assert_eq!((&object["status"], &object["untrusted_mcus"]), (&"complete".into(), &0.into()));
    let text = folder.run("inspect a.jpg").expect_status(0);
    assert!(text.text().contains(&format!("{} x {}", header.frame.width, header.frame.height)), "{}", text.text());
}

#[test]
fn profile_counts_the_symbols_of_every_kernel() {
    let folder = Folder::new();
    folder.write("photos/a.jpg", photo(1, 0)).write("photos/b.jpg", photo(1, 1)).write("photos/c.jpg", "text");
    let run = folder.run("profile speculation --device emulator --batch 1,3 --json photos").expect_status(0);
    assert!(run.stderr.contains("1 files are left out"), "{}", run.stderr);
    let objects = run.objects();
    let all: Vec<&Value> = objects.iter().filter(|object| object["set"] == "all").collect();
    assert_eq!(all.iter().map(|o| o["images"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3], "{}", run.text());
    for object in objects {
        let kernel = |name: &str| {
            let kernels = object["kernels"].as_array().unwrap();
            kernels.iter().find(|k| k["kernel"] == name).unwrap()["counters"]["symbols"].clone()
        };
        let count = |value: &Value, key: &str| value[key].as_u64().unwrap();
        let written = kernel("write_subsequences");
        let symbols = count(&object, "symbols");
        assert!(symbols > 0 && count(&written, "total") <= symbols, "{object}");
        let before = &object["before_write_pass"];
        assert!(count(before, "symbols") >= symbols, "every symbol is decoded before it is written: {object}");
        assert!(count(before, "warp_max") >= count(before, "symbols"), "{object}");
        let ratio = before["symbols_per_symbol"].as_f64().unwrap();
        // Reading the number back may cost its last bit.
        assert!((ratio - count(before, "symbols") as f64 / symbols as f64).abs() < 1e-12, "{object}");
    }
    let table = folder.run("profile speculation --device emulator --batch 2 --images 1").expect_status(0);
    for word in ["all", "flat", "synchronize_subsequences"] {
        assert!(table.text().contains(word), "{word}: {}", table.text());
    }
}

#[test]
fn weights_are_made_shown_and_exported() {
    let folder = Folder::with_weights();
    let first = fs::read(folder.path().join("small.safetensors")).unwrap();
    let again = "weights init --width 0.1 --classes 10 --transform short=72,crop=64 --out again.safetensors --json";
    let written = folder.run(again).expect_status(0).objects().remove(0);
    assert_eq!(written["bytes"], first.len());
    assert!(fs::read(folder.path().join("again.safetensors")).unwrap() == first, "the same seed gives other weights");
    let shown = folder.run("weights show --tensors --json small.safetensors").expect_status(0).objects().remove(0);
    assert_eq!((&shown["network"], &shown["classes"]), (&"late-concat-rfa-thinner".into(), &10.into()));
    assert_eq!(shown["transform"], "short=72,crop=64,orientation=apply,flip=no");
    assert!(shown["tensors"].as_object().unwrap().len() > 100);
    assert!(folder.run("weights show small.safetensors").expect_status(0).text().contains("parameters"));
    folder.run("weights onnx small.safetensors --out small.onnx").expect_status(0);
    assert!(fs::metadata(folder.path().join("small.onnx")).unwrap().len() > 10_000);
}

#[test]
fn what_cannot_run_says_why_and_what_to_do() {
    let folder = Folder::with_weights();
    folder.write("a.jpg", photo(1, 0)).write("broken.safetensors", "text");
    fs::create_dir(folder.path().join("empty")).unwrap();
    let cases = [
        ("classify --weights absent.safetensors a.jpg", "absent.safetensors"),
        ("classify --weights broken.safetensors a.jpg", "not a complete safetensors file"),
        ("classify --weights small.safetensors --network upsampling a.jpg", "late-concat-rfa-thinner"),
        ("classify --network resnet a.jpg", "late-concat-rfa-thinner"),
        ("classify --weights small.safetensors --transform crop=5 a.jpg", "multiple of 16"),
        ("classify --weights small.safetensors --device gpu a.jpg", "auto, cpu, cuda"),
        ("classify --weights small.safetensors --device cuda:9 a.jpg", "--device cpu"),
        // No machine has so many GPUs.
        ("coefficients --device cuda:4000 a.jpg", "--device cpu"),
        ("inspect --device emulator a.jpg", "--decode"),
        ("profile decode --device cpu a.jpg", "--device emulator"),
        ("profile decode --batch 0 a.jpg", "--batch"),
        ("weights show absent.safetensors", "absent.safetensors"),
        ("bench --duration=-1", "seconds"),
    ];
    for (arguments, hint) in cases {
        let run = folder.run(arguments).expect_status(2);
        assert!(run.stderr.contains(hint), "{arguments}: {}", run.stderr);
        assert!(run.stdout.is_empty(), "{arguments}");
    }
}

#[test]
fn inputs_that_cannot_be_read_are_failed_lines() {
    let folder = Folder::new();
    folder.write("a.jpg", photo(1, 0)).write("bad.tar", "text").write("empty.txt", "");
    fs::create_dir(folder.path().join("empty")).unwrap();
    let cases = [
        ("absent.jpg", "io"),
        ("a.jpg/below", "io"),
        ("empty", "empty-folder"),
        ("@absent.txt", "io"),
        ("@a.jpg", "bad-list"),
        ("@empty.txt", "empty-list"),
        ("bad.tar", "bad-archive"),
    ];
    for (input, reason) in cases {
        let run = folder.run(&format!("coefficients --json {input} a.jpg")).expect_status(1);
        let objects = run.objects();
        assert_eq!((objects.len(), &objects[0]["reason"]), (2, &reason.into()), "{input}");
        assert!(objects[0]["message"].as_str().unwrap().len() > 10, "{input}");
        assert_eq!(objects[1]["status"], "complete", "{input}");
    }
}

#[test]
fn random_weights_are_warned_about() {
    let folder = Folder::new();
    folder.write("a.jpg", photo(1, 0));
    let run = folder.run("classify --seed 0 a.jpg").expect_status(0);
    assert!(run.stderr.contains("warning") && run.stderr.contains("random weights"), "{}", run.stderr);
    assert!(run.stderr.contains("device cpu"), "{}", run.stderr);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let folder = Folder::new();
    let bytes = photo(1, 0);
    for idx in 0..100 {
        folder.write(format!("photos/{idx}.jpg"), &bytes);
    }
    let mut child = folder.command("inspect photos").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[cfg(unix)]
#[test]
fn names_need_not_be_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let name = OsStr::from_bytes(b"caf\xe9.jpg");
    folder.write(name, photo(1, 0));
    let run = run(folder.command("coefficients --digest --out out").arg(name)).expect_status(0);
    assert!(run.stdout.ends_with(b"\tcaf\xe9.jpg\n"), "{:?}", run.stdout);
    assert!(folder.path().join(OsStr::from_bytes(b"out/caf\xe9.jpg.safetensors")).exists());
    let object = folder.run("inspect --json .").expect_status(1).objects().remove(0);
    assert_eq!((&object["path"], &object["path_hex"]), (&"./caf\u{fffd}.jpg".into(), &"2e2f636166e92e6a7067".into()));
}
