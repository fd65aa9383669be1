//! What goes wrong around the decoder: runs that are interrupted, disks that are full, files that change, callbacks that panic, tickets
//! that nobody waits for.

#![cfg(all(feature = "cli", unix))]

#[path = "common/say.rs"]
mod say;

use std::fs;
use std::future::Future;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use dctflow::jpeg::Status;
use dctflow::network::{Config, Variant, Weights};
use dctflow::session::{Batch, DeviceChoice, Session};
use dctflow::sources::{Sources, read_file};
use dctflow::synth::photo;
use tempfile::TempDir;

/// A folder with the weights of a small network and `num_photos` photos, every seventh of them cut off in its first bytes.
fn folder(num_photos: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("photos")).unwrap();
    for idx in 0..num_photos {
        let whole = photo(5, idx % 5);
        let bytes = if idx % 7 == 3 { &whole[..20] } else { &whole[..] };
        fs::write(folder.path().join(format!("photos/{idx:03}.jpg")), bytes).unwrap();
    }
    let init = "weights init --width 0.05 --classes 5 --transform short=72,crop=64 --out w.safetensors";
    expect_status(run(folder.path(), init), 0);
    folder
}

fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dctflow"));
    command.args(arguments.split_whitespace()).current_dir(folder);
    command
}

fn run(folder: &Path, arguments: &str) -> Output {
    command(folder, arguments).output().unwrap()
}

/// Runs it where no file can grow beyond `max_kib`, as on a disk that is nearly full.
fn run_with_little_room(folder: &Path, max_kib: u32, arguments: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_dctflow");
    let script = format!("trap '' XFSZ; ulimit -f {max_kib}; exec '{program}' {arguments}");
    Command::new("bash").arg("-c").arg(script).current_dir(folder).output().unwrap()
}

/// Ends a run in the middle, when its output has 2 KiB.
fn interrupt(folder: &Path, arguments: &str) {
    expect_status(run_with_little_room(folder, 2, arguments), 2);
}

#[track_caller]
fn expect_status(output: Output, status: i32) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

const CLASSIFY: &str = "classify --weights w.safetensors --device cpu --threads 2 --batch 4";

fn lines(folder: &Path, name: &str) -> Vec<String> {
    fs::read_to_string(folder.join(name)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn an_interrupted_run_is_resumed_without_loss_or_duplicate() {
    let folder = folder(40);
    let path = folder.path();
    for json in ["", "--json"] {
        expect_status(run(path, &format!("{CLASSIFY} {json} --out whole photos")), 1);
        let whole = fs::read(path.join("whole")).unwrap();
        assert_eq!(lines(path, "whole").len(), 40);
        assert!(!path.join("whole.partial").exists());
        assert!(!path.join("whole.partial.json").exists());
        interrupt(path, &format!("{CLASSIFY} {json} --out again photos"));
        let settings = fs::read(path.join("again.partial.json")).unwrap();
        // Cut off anywhere: nothing yet, inside of a line, at the end of one, before the last.
        let line_end = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for num_bytes in [0, 1, line_end, whole.len() / 2, whole.len() - 1] {
            fs::write(path.join("again.partial"), &whole[..num_bytes]).unwrap();
            fs::write(path.join("again.partial.json"), &settings).unwrap();
            expect_status(run(path, &format!("{CLASSIFY} {json} --out again --resume photos")), 1);
            assert!(fs::read(path.join("again")).unwrap() == whole, "cut after {num_bytes} bytes");
        }
    }
}

/// The program is killed while it works, again and again, until a run gets to its end.
#[test]
fn a_killed_run_is_resumed() {
    let folder = folder(150);
    let path = folder.path();
    expect_status(run(path, &format!("{CLASSIFY} --out whole photos")), 1);
    let mut num_killed = 0;
    for millis in [30, 60, 90, 120, 150, 60_000] {
        let mut child = command(path, &format!("{CLASSIFY} --out killed --resume photos"));
        let mut child = child.stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_millis(millis) {
            std::thread::sleep(Duration::from_millis(2));
        }
        // It may have ended by itself.
        let _ = child.kill();
        num_killed += u32::from(child.wait().unwrap().code().is_none());
        if path.join("killed").exists() {
            break;
        }
    }
    assert!(num_killed > 0, "the first run came to its end before it could be killed");
    assert!(lines(path, "killed") == lines(path, "whole"));
}

#[test]
fn shards_share_the_inputs() {
    let folder = folder(23);
    let path = folder.path();
    expect_status(run(path, &format!("{CLASSIFY} --out whole photos")), 1);
    let mut parts = Vec::new();
    for idx in 1..=3 {
        let output = run(path, &format!("{CLASSIFY} --shard {idx}/3 photos"));
        parts.push(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
    }
    let whole = lines(path, "whole");
    let merged: Vec<String> = (0..whole.len()).map(|idx| parts[idx % 3][idx / 3].clone()).collect();
    assert_eq!(merged, whole);
}

/// Parts of an archive, each interrupted and gone on with: together they have every line once.
#[test]
fn shards_of_an_archive_are_resumed() {
    let folder = folder(40);
    let path = folder.path();
    let mut builder = tar::Builder::new(fs::File::create(path.join("s.tar")).unwrap());
    builder.append_dir_all("t", path.join("photos")).unwrap();
    builder.finish().unwrap();
    expect_status(run(path, &format!("{CLASSIFY} --json --out whole s.tar photos")), 1);
    let whole = lines(path, "whole");
    assert_eq!(whole.len(), 80);
    let mut parts = Vec::new();
    for idx in 1..=2 {
        let arguments = format!("{CLASSIFY} --json --out part{idx} --shard {idx}/2 --resume s.tar photos");
        interrupt(path, &arguments);
        assert!(!path.join(format!("part{idx}")).exists());
        expect_status(run(path, &arguments), 1);
        parts.push(lines(path, &format!("part{idx}")));
    }
    let merged: Vec<String> = (0..whole.len()).map(|idx| parts[idx % 2][idx / 2].clone()).collect();
    assert_eq!(merged, whole);
}

/// The first run waits for its list; a second one would tear its lines.
#[test]
fn a_run_in_progress_is_not_resumed_by_another() {
    let folder = folder(5);
    let path = folder.path();
    let arguments = format!("{CLASSIFY} --out a --resume @-");
    let mut first = command(path, &arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let settings = path.join("a.partial.json");
    let start = Instant::now();
    while !settings.exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    for more in ["", " --resume"] {
        let stderr = expect_status(run(path, &format!("{CLASSIFY} --out a{more} photos")), 2);
        let reason = if more.is_empty() { "--resume" } else { "another run is writing it" };
        assert!(stderr.contains("a.partial") && stderr.contains(reason), "{stderr}");
    }
    first.stdin.take().unwrap().write_all(b"photos\n").unwrap();
    expect_status(first.wait_with_output().unwrap(), 1);
    assert_eq!(lines(path, "a").len(), 5);
}

#[test]
fn work_that_is_not_lost_is_not_written_over() {
    let folder = folder(40);
    let path = folder.path();
    interrupt(path, &format!("{CLASSIFY} --json --out a photos"));
    let stderr = expect_status(run(path, &format!("{CLASSIFY} --json --out a photos")), 2);
    assert!(stderr.contains("--resume"), "{stderr}");
    for other_inputs in ["w.safetensors photos", "photos/000.jpg"] {
        let stderr = expect_status(run(path, &format!("{CLASSIFY} --json --out a --resume {other_inputs}")), 2);
        assert!(stderr.contains("a.partial") && stderr.contains("not those of these inputs"), "{stderr}");
    }
    assert!(!lines(path, "a.partial").is_empty());
}

/// Lines that another network, another policy or other limits would have given are not mixed with those of an interrupted run.
#[test]
fn a_run_is_resumed_with_the_arguments_that_it_had() {
    let folder = folder(40);
    let path = folder.path();
    let arguments = format!("{CLASSIFY} --out a");
    interrupt(path, &format!("{arguments} --json photos"));
    let mut earlier = fs::read(path.join("a.partial")).unwrap();
    // The line that was not finished goes.
    earlier.truncate(earlier.iter().rposition(|&byte| byte == b'\n').unwrap() + 1);
    expect_status(
        run(path, "weights init --width 0.05 --classes 5 --transform short=72,crop=64 --seed 2 --out v.safetensors"),
        0,
    );
    for (name, others) in [
        ("policy", "--json --policy skip"),
        ("topk", "--json --topk 2"),
        ("limits", "--json --limit max_scans=9"),
        ("transform", "--json --transform short=64,crop=64"),
        ("shard", "--json --shard 1/2"),
    ] {
        let stderr = expect_status(run(path, &format!("{arguments} --resume {others} photos")), 2);
        assert!(stderr.contains(&format!("another {name} ")), "{name}: {stderr}");
    }
    // Other weights under the same name.
    fs::rename(path.join("w.safetensors"), path.join("first.safetensors")).unwrap();
    fs::rename(path.join("v.safetensors"), path.join("w.safetensors")).unwrap();
    let stderr = expect_status(run(path, &format!("{arguments} --resume --json photos")), 2);
    assert!(stderr.contains("another weights_sha256 "), "{stderr}");
    assert!(fs::read(path.join("a.partial")).unwrap() == earlier);
    // Batches and threads change no answer.
    fs::rename(path.join("first.safetensors"), path.join("w.safetensors")).unwrap();
    expect_status(
        run(path, "classify --weights w.safetensors --device cpu --threads 1 --batch 3 --out a --resume --json photos"),
        1,
    );
    expect_status(run(path, &format!("{CLASSIFY} --json --out whole photos")), 1);
    assert!(lines(path, "a") == lines(path, "whole"));
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let folder = folder(60);
    let path = folder.path();
    if Path::new("/dev/full").exists() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(path, &format!("{CLASSIFY} photos")).stdout(full).output().unwrap();
        let stderr = expect_status(output, 2);
        assert!(stderr.contains("standard output: ") && stderr.contains("make room"), "{stderr}");
    } else {
        say::skipped("no /dev/full");
    }
    // What had room stays, and the run can be resumed.
    let arguments = format!("{CLASSIFY} --json --out results --resume photos");
    let stderr = expect_status(run_with_little_room(path, 8, &arguments), 2);
    assert!(stderr.contains("results.partial"), "{stderr}");
    assert!(!path.join("results").exists() && fs::metadata(path.join("results.partial")).unwrap().len() > 0);
    expect_status(run(path, &arguments), 1);
    assert_eq!(lines(path, "results").len(), 60);
    // Files that must be whole leave nothing behind.
    expect_status(run_with_little_room(path, 1, "coefficients --out coefficients photos/000.jpg"), 2);
    let left = |folder: &Path| fs::read_dir(folder).unwrap().count();
    assert_eq!(left(&path.join("coefficients/photos")), 0);
}

#[test]
fn files_that_cannot_be_read_fail_in_their_place() {
    let folder = folder(2);
    let path = folder.path();
    std::os::unix::fs::symlink("/no/such/file", path.join("photos/001a.jpg")).unwrap();
    // Opens, and fails when it is read.
    std::os::unix::fs::symlink("/proc/self/mem", path.join("photos/001b.jpg")).unwrap();
    let output = run(path, &format!("{CLASSIFY} --topk 0 photos"));
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    expect_status(output, 1);
    let fields: Vec<Vec<&str>> = stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(
        fields.iter().map(|line| line[1]).collect::<Vec<_>>(),
        ["complete", "complete", "failed:io", "failed:io"]
    );
    assert!(fields[2][2].contains("check the path"), "{stdout}");
}

/// Tells the writer to end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Another process makes a file shorter and longer while it is read: what is read is some bytes or an error, and nothing worse.
#[test]
fn files_that_change_while_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (file, shard) = (folder.path().join("a.jpg"), folder.path().join("s.tar"));
    let bytes = photo(5, 0).repeat(40);
    let mut builder = tar::Builder::new(fs::File::create(&shard).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    builder.append_data(&mut header, "a.jpg", &bytes[..]).unwrap();
    builder.finish().unwrap();
    let whole_shard = fs::read(&shard).unwrap();
    fs::write(&file, &bytes).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for (path, bytes) in [(&file, &bytes), (&shard, &whole_shard)] {
                    fs::File::options().write(true).open(path).unwrap().set_len(1000).unwrap();
                    fs::File::options().write(true).open(path).unwrap().write_all(bytes).unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        // The writer goes on until then, whatever is thrown here.
        let _over = Over(&is_over);
        // Bytes of the file, from its beginning on; zeros where it was just made longer.
        let are_its_own = |read: &[u8]| read.iter().zip(&bytes).all(|(&read, &own)| read == own || read == 0);
        let (mut num_whole, mut num_short, mut num_members, mut num_broken) = (0, 0, 0, 0);
        let start = Instant::now();
        let all_seen = |counts: [u32; 4]| counts.iter().all(|&count| count > 0);
        while !all_seen([num_whole, num_short, num_members, num_broken]) && start.elapsed() < Duration::from_secs(100) {
            let read = read_file(&file, u64::MAX).unwrap();
            assert!(read.len() <= bytes.len() && are_its_own(&read), "{} bytes", read.len());
            num_whole += u32::from(read.len() == bytes.len());
            num_short += u32::from(read.len() < bytes.len());
            let mut num_items = 0;
            Sources::new([&shard], u64::MAX).for_each(|item| {
                num_items += 1;
                match item.bytes {
                    Ok(read) => {
                        assert!(item.name.member.is_some() && read.len() == bytes.len() && are_its_own(&read));
                        num_members += 1;
                    }
                    Err(reason) => {
                        assert_eq!(reason.code(), "bad-archive", "{reason}");
                        num_broken += 1;
                    }
                }
                ControlFlow::Continue(())
            });
            // The member, and at most one more that says why there are no others.
            assert!((1..=2).contains(&num_items), "{num_items} items");
        }
        let counts = [num_whole, num_short, num_members, num_broken];
        assert!(all_seen(counts), "whole and short files, members and broken archives: {counts:?}");
    });
}

fn session() -> Session {
    let config = Config { width: 0.05, classes: 5, input_size: (64, 64), ..Config::new(Variant::LateConcatRfaThinner) };
    let weights = Weights::random(config, 1).unwrap().with_transform("short=72,crop=64".parse().unwrap()).unwrap();
    Session::builder(&weights).device(DeviceChoice::Cpu).threads(2).build().unwrap()
}

fn batch(num_photos: usize) -> Batch {
    let mut batch = Batch::new();
    (0..num_photos).for_each(|idx| batch.push(photo(5, idx), None, idx as u64));
    batch
}

fn works(session: &Session) {
    let outcomes = session.submit(batch(3)).wait().unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Complete));
}

#[test]
fn dropped_tickets_harm_nobody() {
    let session = session();
    for _ in 0..20 {
        drop(session.submit(batch(2)));
    }
    works(&session);
    let (mut feeder, outcomes) = session.stream();
    drop(outcomes);
    while feeder.push((), photo(5, 0)).is_continue() {}
    drop(feeder);
    works(&session);
}

#[test]
fn panics_in_callbacks_harm_nobody() {
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }

    let session = session();
    let waker = Waker::from(Arc::new(Panics));
    for _ in 0..4 {
        let mut ticket = session.submit(batch(4));
        // It may be answered already; then nothing is woken.
        let _ = Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker));
    }
    works(&session);
    // The reader of a stream panics in the middle, and its feeder goes on.
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let (mut feeder, outcomes) = session.stream();
        std::thread::scope(|scope| {
            scope.spawn(move || while feeder.push((), photo(5, 0)).is_continue() {});
            let mut reader = outcomes;
            assert!(reader.next().is_none(), "on purpose");
        });
    }));
    assert!(caught.is_err());
    works(&session);
}
