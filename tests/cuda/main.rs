//! The CUDA device where there is none: whatever is missing is a typed error that says so. A driver that does no work (`fake_libcuda.c`, built
//! here with the system's C compiler) plays the parts. Each case runs `child` in a process of its own, since a process has one driver.

#![cfg(all(feature = "cuda", target_os = "linux"))]

use dctflow::abi::*;
use dctflow::device::cuda::{Cuda, Cupti};
use dctflow::device::{Device, DeviceBuffer, Event, Grid, PinnedBuffer, Stream, TraceDetail};
use dctflow::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

const ORDINAL_VARIABLE: &str = "FAKE_ORDINAL";

/// Builds the driver in `folder`, with an option for the C compiler.
fn build_driver(folder: &Path, option: &str) -> PathBuf {
    build_library(folder, "fake_libcuda.c", &["libcuda.so", "libcuda.so.1"], option)
}

fn build_library(folder: &Path, source: &str, names: &[&str], option: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda").join(source);
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    for name in names {
        let mut command = Command::new(&compiler);
        command
            .args(["-shared", "-fPIC", "-Wall", "-Werror=implicit", option, "-o"])
            .arg(folder.join(name))
            .arg(&source);
        assert!(command.status().expect("a C compiler").success(), "{command:?}");
    }
    folder.to_owned()
}

/// What `child` prints with a driver for which `setting` holds.
fn run_child(driver: &Path, setting: &str, ordinal: u32) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env("LD_LIBRARY_PATH", driver)
        .env("FAKE_CUDA", setting)
        .env(ORDINAL_VARIABLE, ordinal.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn expect(setting: &str, ordinal: u32, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let said = run_child(&build_driver(folder.path(), "-O0"), setting, ordinal);
    for part in parts {
        assert!(said.contains(part), "{setting}: no `{part}` in: {said}");
    }
}

#[test]
#[ignore = "the other tests run it, each with another driver"]
fn child() {
    let ordinal = std::env::var(ORDINAL_VARIABLE).map_or(0, |ordinal| ordinal.parse().unwrap());
    match Cuda::open(ordinal).and_then(use_device) {
        Ok(()) => println!("well"),
        Err(error) => println!("{:?}: {error}", error.kind()),
    }
}

/// Makes every call that a device has.
fn use_device(cuda: Arc<Cuda>) -> Result<()> {
    println!("{:?}", cuda.info());
    let device: Arc<dyn Device> = cuda;
    let (stream, other) = (Stream::new(&device)?, Stream::new(&device)?);
    let (start, end) = (Event::new(&device)?, Event::new(&device)?);
    let buffer = DeviceBuffer::new(&device, 4096)?;
    let mut staging = PinnedBuffer::new(&device, 4096)?;
    assert_eq!(DeviceBuffer::new(&device, 1 << 40).unwrap_err().kind(), ErrorKind::OutOfMemory);
    device.start_profiler()?;
    stream.start_trace(TraceDetail::Operations)?;
    stream.record(&start)?;
    stream.fill(buffer.slice(0..100), 1)?;
    stream.copy(buffer.slice(0..100), buffer.slice(100..200))?;
    stream.discard(buffer.all())?;
    let params = ChecksumWordsParams { words: buffer.ptr(0), checksum: buffer.ptr(64), num_words: 16, reserved: 0 };
    // SAFETY: both buffers outlive the wait below; this driver touches neither.
    unsafe {
        stream.upload(buffer.all(), staging.as_slice())?;
        stream.launch::<ChecksumWords>(Grid::x(4), 1024, &params)?;
        stream.download(staging.as_mut_slice(), buffer.all())?;
        let error = stream.launch::<ChecksumWords>(Grid::x(4), 1 << 20, &params).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
    stream.finish_trace()?.iter().for_each(|span| println!("{} took {:?}", span.name, span.time));
    device.stop_profiler()?;
    let graph = stream.capture(|| stream.fill(buffer.slice(0..100), 1))?;
    // SAFETY: the buffer is alive.
    unsafe { stream.launch_graph(&graph)? };
    record_beside_frees(&device, &stream)?;
    stream.record(&end)?;
    other.wait_for(&end)?;
    other.synchronize()?;
    end.synchronize()?;
    // SAFETY: the stream is alive; the other one has no context here.
    let (joined, foreign) = unsafe { (Stream::from_raw(&device, other.handle().0)?, Stream::from_raw(&device, 0xF0)) };
    joined.record(&end)?;
    drop(joined);
    assert_eq!(foreign.unwrap_err().kind(), ErrorKind::Usage);
    println!("happened: {}, {:?}", end.has_happened()?, start.elapsed(&end)?);
    Ok(())
}

/// Giving memory back waits for the whole GPU, which no driver allows while a stream is recorded: another thread's has to wait for its end.
fn record_beside_frees(device: &Arc<dyn Device>, stream: &Stream) -> Result<()> {
    let buffer = DeviceBuffer::new(device, 64)?;
    let (freed, is_freed) = mpsc::channel();
    std::thread::scope(|scope| {
        let recorded = stream.capture(|| {
            let other = DeviceBuffer::new(device, 64)?;
            scope.spawn(move || {
                drop(other);
                let _ = freed.send(());
            });
            assert!(
                is_freed.recv_timeout(Duration::from_millis(50)).is_err(),
                "memory was given back during a recording"
            );
            stream.fill(buffer.all(), 1)
        });
        assert!(is_freed.recv().is_ok());
        recorded.map(drop)
    })
}

#[test]
fn without_a_driver() {
    if Path::new("/proc/driver/nvidia").exists() {
        eprintln!("not run: this machine has a driver");
        return;
    }
    let nowhere = tempfile::tempdir().unwrap();
    let said = run_child(nowhere.path(), "", 0);
    assert!(said.contains("NoDriver: no NVIDIA driver: its library (libcuda.so.1) is not on this machine"), "{said}");
}

#[test]
fn with_a_driver_that_lacks_functions() {
    let folder = tempfile::tempdir().unwrap();
    let said = run_child(&build_driver(folder.path(), "-DWITHOUT_DRIVER_FUNCTIONS"), "", 0);
    assert!(said.contains("NoDriver: the NVIDIA driver is too old: it has no cuInit"), "{said}");
}

#[test]
fn with_a_driver_that_does_not_start() {
    expect("init=999", 0, &["NoDriver: the NVIDIA driver does not start: CUDA error 999"]);
    expect("init=34", 0, &["NoDriver: no NVIDIA driver: the libcuda found is the toolkit's stub"]);
    expect("init=803", 0, &["NoDriver: libcuda and the kernel module are of different driver versions"]);
}

#[test]
fn without_a_gpu() {
    expect("init=100", 0, &["NoDevice: the NVIDIA driver is here, but finds no GPU"]);
    expect("count=0", 0, &["NoDevice: the NVIDIA driver is here, but finds no GPU"]);
    expect("", 2, &["NoDevice: there is no GPU 2: this machine shows 2, counted from 0"]);
    expect("major=7", 1, &["NoDevice: GPU 1 (Fake GPU) has compute capability 7.0; 8.0 or newer is needed"]);
}

/// What comes of a build that holds kernels, and of one that does not.
fn expect_of_kernels(setting: &str, with_kernels: &[&str], without: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let driver = build_driver(folder.path(), "-O0");
    let has_kernels = !run_child(&driver, "", 0).contains("KernelsNotBuilt: this build holds no kernels for GPUs");
    expect(setting, 0, if has_kernels { with_kernels } else { without });
}

#[test]
fn with_a_driver_older_than_the_kernels() {
    expect_of_kernels(
        "version=12040",
        &["NoDriver: the NVIDIA driver is too old: it supports CUDA 12.4, and this build's kernels need 13."],
        &["KernelsNotBuilt: "],
    );
}

#[test]
fn with_a_gpu_everything_is_given_back() {
    let well = [
        "Fake GPU",
        "checksum_words took 1.5ms",
        "max_smem_bytes: 101376",
        "pci_bus_id: Some(\"00000000:1B:00.0\")",
        "happened: true, 1.5ms",
        "well",
        "not given back: 0",
    ];
    expect_of_kernels("", &well, &["KernelsNotBuilt: "]);
    // A stream that is traced is held meanwhile.
    expect_of_kernels("host=1", &["a host function has run", "well", "not given back: 0"], &["KernelsNotBuilt: "]);
    expect_of_kernels("query=600", &["happened: false", "not given back: 0"], &["KernelsNotBuilt: "]);
}

#[test]
fn failures_of_the_gpu_are_reported_with_their_code() {
    expect_of_kernels(
        "synchronize=700",
        &["Device: CUDA error 700", "while waiting for a stream", "not given back: 0"],
        &["KernelsNotBuilt: "],
    );
    expect_of_kernels(
        "capture=900",
        &["Usage: CUDA error 900", "while beginning to record a graph", "not given back: 0"],
        &["KernelsNotBuilt: "],
    );
    expect_of_kernels(
        "load=222",
        &["KernelsNotBuilt: CUDA error 222", "while loading the kernels"],
        &["KernelsNotBuilt: "],
    );
}

#[test]
#[ignore = "the next test runs it, with and without CUPTI"]
fn cupti_child() {
    let record = || {
        let cupti = Cupti::start()?;
        println!("now: {}", cupti.now_ns()?);
        cupti.take()
    };
    match record() {
        Ok(activities) => activities.iter().for_each(|activity| println!("{activity:?}")),
        Err(error) => println!("{:?}: {error}", error.kind()),
    }
}

#[test]
fn cupti_records_what_the_gpu_did() {
    let folder = tempfile::tempdir().unwrap();
    build_library(folder.path(), "fake_libcupti.c", &["libcupti.so.13"], "-O0");
    let run = |libraries: &Path, setting: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cupti_child", "--ignored", "--nocapture", "--test-threads=1"])
            .env("LD_LIBRARY_PATH", libraries)
            .env("FAKE_CUPTI", setting)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let said = run(folder.path(), "");
    let kernel =
        "kind: Kernel { name: \"checksum_words_entry\", registers: 40, smem_bytes: 80 }, start_ns: 1000, end_ns: 3500";
    let copy = "kind: Copy, start_ns: 5000, end_ns: 5500";
    let places =
        ["now: 123", kernel, copy].map(|part| said.find(part).unwrap_or_else(|| panic!("no `{part}`: {said}")));
    assert!(places.is_sorted(), "by beginning: {said}");
    for kind in [10, 1, 2] {
        assert!(said.contains(&format!("disabled {kind}")), "{said}");
    }
    let said = run(folder.path(), "busy");
    assert!(
        said.contains("Device: CUPTI error 39 (CUPTI_ERROR_MULTIPLE_SUBSCRIBERS) while beginning to record"),
        "{said}"
    );
    let nowhere = tempfile::tempdir().unwrap();
    let said = run(nowhere.path(), "");
    let is_there = said.contains("now: ") || said.contains("Device: CUPTI error");
    assert!(
        is_there || said.contains("NoLibrary: CUPTI (libcupti.so.13) is not on this machine: install it"),
        "{said}"
    );
}

/// A kernel that is wrong on purpose, on a real GPU: `DCTFLOW_MISTAKE` says for which tool of compute-sanitizer.
#[test]
#[ignore = "ci/gpu.sh runs it under compute-sanitizer, which must notice"]
fn wrong_on_purpose() {
    let tool = std::env::var("DCTFLOW_MISTAKE").expect("DCTFLOW_MISTAKE names a tool");
    let device: Arc<dyn Device> = Cuda::open(0).unwrap_or_else(|error| panic!("{error}"));
    let stream = Stream::new(&device).unwrap();
    let (out, scratch) = (DeviceBuffer::new(&device, 256).unwrap(), DeviceBuffer::new(&device, 4096).unwrap());
    let which = match tool.as_str() {
        "memcheck" => MISTAKE_WRITE_JUST_BEHIND_BUFFER,
        "racecheck" => MISTAKE_MISSING_BARRIER,
        "synccheck" => MISTAKE_BARRIER_IN_BRANCH,
        _ => {
            // Nothing was ever written to what this kernel reads.
            let params =
                ChecksumWordsParams { words: scratch.ptr(0), checksum: out.ptr(0), num_words: 64, reserved: 0 };
            // SAFETY: both buffers outlive the wait.
            unsafe { stream.launch::<ChecksumWords>(Grid::x(1), 0, &params).unwrap() };
            return drop(stream.synchronize());
        }
    };
    let params =
        SelftestParams { out: out.ptr(0), scratch: scratch.ptr(0), num_out: 64, num_scratch: 1024, which, reserved: 0 };
    // SAFETY: the mistake is meant; both buffers outlive the wait. What the GPU says of it does not matter here.
    unsafe { stream.launch::<BreakRule>(Grid::x(1), 256, &params).unwrap() };
    drop(stream.synchronize());
}
