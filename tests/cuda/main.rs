//! The CUDA device where there is none: whatever is missing is a typed error that says so. A driver that does no work (`fake_libcuda.c`, built
//! here with the system's C compiler) plays the parts. Each case runs `child` in a process of its own, since a process has one driver.

#![cfg(all(feature = "cuda", target_os = "linux"))]

#[path = "../common/say.rs"]
mod say;

use dctflow::abi::*;
use dctflow::device::cuda::{Cuda, Cupti, Libraries, LibraryOps};
use dctflow::device::{Device, DeviceBuffer, Event, Grid, Ops, PinnedBuffer, Stream, TraceDetail};
use dctflow::{ErrorKind, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    let [first, others @ ..] = names else { panic!("a library has a name") };
    let mut command = Command::new(&compiler);
    command.args(["-shared", "-fPIC", "-Wall", "-Werror=implicit", option, "-o"]).arg(folder.join(first)).arg(&source);
    assert!(command.status().expect("a C compiler").success(), "{command:?}");
    // One library under several names, whichever it is loaded by.
    others.iter().for_each(|name| std::fs::hard_link(folder.join(first), folder.join(name)).unwrap());
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
    panic_while_recording(&device, &stream)?;
    stream.record(&end)?;
    other.wait_for(&end)?;
    other.synchronize()?;
    end.synchronize()?;
    // SAFETY: the stream is alive; the other one has no context here.
    let (joined, foreign) = unsafe { (Stream::from_raw(&device, other.handle().0)?, Stream::from_raw(&device, 0xF0)) };
    joined.record(&end)?;
    drop(joined);
    assert_eq!(foreign.unwrap_err().kind(), ErrorKind::Usage);
    // SAFETY: the driver's own streams live as long as it does.
    let [legacy, also_legacy, per_thread] = [0, 1, 2].map(|raw| unsafe { Stream::from_raw(&device, raw) });
    legacy?.record(&end)?;
    also_legacy?.record(&end)?;
    let error = per_thread.unwrap_err();
    assert!(error.kind() == ErrorKind::Usage && error.to_string().contains("CU_STREAM_PER_THREAD"), "{error}");
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

/// A stream that stays recorded is lost, and whoever gives memory back waits for its end.
fn panic_while_recording(device: &Arc<dyn Device>, stream: &Stream) -> Result<()> {
    let panicked = catch_unwind(AssertUnwindSafe(|| stream.capture(|| panic!("on purpose"))));
    assert!(panicked.is_err());
    let buffer = DeviceBuffer::new(device, 64)?;
    let (freed, is_freed) = mpsc::channel();
    std::thread::spawn(move || {
        drop(buffer);
        let _ = freed.send(());
    });
    assert!(is_freed.recv_timeout(Duration::from_secs(20)).is_ok(), "the recording has not ended");
    stream.capture(|| Ok(())).map(drop)
}

#[test]
#[ignore = "the next tests run it, each with other libraries"]
fn libraries_child() {
    let run = |is_recorded: bool| -> Result<()> {
        let cuda = Cuda::open(0)?;
        let device: Arc<dyn Device> = cuda.clone();
        let stream = Stream::new(&device)?;
        let ops = LibraryOps::new(&cuda, Libraries { cublaslt: true, cudnn: true })?;
        let buffer = DeviceBuffer::new(&device, 1 << 20)?;
        // SAFETY: nobody reads or writes what the parameters point at: this driver does no work.
        let convolve = |taps: u32| unsafe { ops.convolve(&stream, &convolution(&buffer, taps)) };
        for _ in 0..2 {
            let convolved = match is_recorded {
                false => convolve(1).and_then(|()| convolve(3)),
                true => stream.capture(|| convolve(1).and_then(|()| convolve(3))).map(drop),
            };
            match convolved {
                Ok(()) => println!("convolved: {:?}", ops.counts()),
                Err(error) => println!("{:?}: {error}", error.kind()),
            }
        }
        println!("failure: {:?}", ops.failure());
        drop((cuda, device, stream, buffer));
        // The last owner of the device, in a thread that was never in its context.
        std::thread::spawn(move || drop(ops)).join().expect("no panic");
        Ok(())
    };
    match run(std::env::var_os("FAKE_RECORDING").is_some()) {
        Ok(()) => println!("well"),
        Err(error) => println!("{:?}: {error}", error.kind()),
    }
}

/// A convolution of `taps` x `taps`, 8 channels to 8, whose input is aligned to 16 bytes only.
fn convolution(buffer: &DeviceBuffer, taps: u32) -> ConvolveParams {
    let address = |offset_bytes: u64| (0x10_0000 + offset_bytes) as *mut u16;
    let output = ConvolveOutput { values: address(0x1000).cast(), pitch: 8, columns_end: 8, has_relu: 1, reserved: 0 };
    ConvolveParams {
        input: address(0x10),
        weights: address(0x2000),
        bias: buffer.ptr::<f32>(0).cast_const(),
        bias_half: address(0x3000),
        outputs: [output, ConvolveOutput::default()],
        num_rows: 64,
        num_columns: 8,
        depth: taps * taps * 8,
        channels: 8,
        input_height: 8,
        input_width: 8,
        input_pitch: 8,
        kernel_height: taps,
        kernel_width: taps,
        stride_y: 1,
        stride_x: 1,
        pad_top: taps / 2,
        pad_left: taps / 2,
        windows_high: 8,
        windows_wide: 8,
        upsampling: 1,
        ..ConvolveParams::default()
    }
}

/// What two rounds of convolutions come to with libraries that fail at something.
fn expect_of_libraries(failing: &str, driver_setting: &str, is_recorded: bool, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    build_driver(folder.path(), "-O0");
    build_library(folder.path(), "fake_libraries.c", &["libcublasLt.so.13", "libcudnn.so.9"], "-O0");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "libraries_child", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("LD_LIBRARY_PATH", folder.path()).env("FAKE_CUDA", driver_setting).env("FAKE_LIBRARY", failing);
    if is_recorded {
        command.env("FAKE_RECORDING", "1");
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    if said.contains("KernelsNotBuilt: this build holds no kernels for GPUs") {
        eprintln!("not run: this build holds no kernels for GPUs");
        return;
    }
    for part in parts {
        assert!(said.contains(part), "{failing}: no `{part}` in: {said}");
    }
}

#[test]
fn libraries_do_what_they_can_and_end_before_their_context() {
    let parts = [
        "aligned to 256 16 256 256",
        "convolved: OpsCounts { cublaslt: 1, cudnn: 1, own: 0, failed: 0 }",
        "convolved: OpsCounts { cublaslt: 2, cudnn: 2, own: 0, failed: 0 }",
        "failure: None",
        "cuBLASLt ended in a context",
        "cuDNN ended in a context",
        "not given back: 0",
        "well",
    ];
    expect_of_libraries("", "", false, &parts);
    expect_of_libraries("", "", true, &parts);
}

#[test]
fn what_a_library_cannot_do_our_own_kernels_do() {
    // It says so when it is asked: no failure. Or it fails at the work: once, and is not asked again.
    for (failing, first, second) in [
        ("heuristic=15", "cublaslt: 0, cudnn: 2, own: 0, failed: 0", "cublaslt: 0, cudnn: 4, own: 0, failed: 0"),
        ("algorithm=3002", "cublaslt: 1, cudnn: 0, own: 1, failed: 0", "cublaslt: 2, cudnn: 0, own: 2, failed: 0"),
        ("heuristic=14", "cublaslt: 0, cudnn: 1, own: 1, failed: 1", "cublaslt: 0, cudnn: 3, own: 1, failed: 1"),
        ("multiply=13", "cublaslt: 0, cudnn: 1, own: 1, failed: 1", "cublaslt: 0, cudnn: 3, own: 1, failed: 1"),
        ("multiply=15", "cublaslt: 0, cudnn: 1, own: 1, failed: 1", "cublaslt: 0, cudnn: 3, own: 1, failed: 1"),
        ("convolve=4004", "cublaslt: 1, cudnn: 0, own: 1, failed: 1", "cublaslt: 2, cudnn: 0, own: 2, failed: 1"),
        ("convolve=5000", "cublaslt: 1, cudnn: 0, own: 1, failed: 1", "cublaslt: 2, cudnn: 0, own: 2, failed: 1"),
    ] {
        for is_recorded in [false, true] {
            expect_of_libraries(failing, "", is_recorded, &[first, second, "not given back: 0", "well"]);
        }
    }
    expect_of_libraries("multiply=13", "", false, &["failure: Some(\"cuBLASLt error 13 while multiplying\")"]);
}

#[test]
fn a_library_s_failure_is_the_recording_s_or_the_device_s_if_the_stream_says_so() {
    let spoilt = ["Usage: cuBLASLt error 13 while multiplying: the recording is spoilt", "failure: None", "well"];
    expect_of_libraries("multiply=10013", "", true, &spoilt);
    expect_of_libraries(
        "convolve=15000",
        "",
        true,
        &["Usage: cuDNN error 5000 while convolving: the recording is spoilt"],
    );
    let lost = ["Device: CUDA error 700", "while asking whether a stream still works", "well"];
    expect_of_libraries("multiply=13", "stream=700", false, &lost);
}

#[test]
fn libraries_that_do_not_start_are_named() {
    expect_of_libraries("create=3", "", false, &["OutOfMemory: cuBLASLt error 3 while starting it"]);
    expect_of_libraries("create=1", "", false, &["NoLibrary: cuBLASLt error 1 while starting it: it does not start"]);
}

#[test]
fn without_a_driver() {
    if Path::new("/proc/driver/nvidia").exists() {
        say::skipped("this machine has a driver");
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

/// Set where a build without kernels is a failure: without them, most of what is here is not tested.
const REQUIRE_VARIABLE: &str = "DCTFLOW_REQUIRE_KERNELS";

/// What comes of a build that holds kernels, and of one that does not.
fn expect_of_kernels(setting: &str, with_kernels: &[&str], without: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let driver = build_driver(folder.path(), "-O0");
    let has_kernels = !run_child(&driver, "", 0).contains("KernelsNotBuilt: this build holds no kernels for GPUs");
    if !has_kernels {
        assert!(
            std::env::var_os(REQUIRE_VARIABLE).is_none(),
            "{REQUIRE_VARIABLE} is set, but this build holds no kernels"
        );
        say::skipped(format_args!("a driver for which `{setting}` holds: this build holds no kernels for GPUs"));
    }
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
