//! libtorch as an oracle of the engines, and training: on the CPU, on networks and images so small that it takes seconds.

#[path = "reference/cases.rs"]
mod cases;
#[path = "common/devices.rs"]
mod devices;
#[path = "common/wrapped.rs"]
mod wrapped;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use dctflow::cpu::network::{Engine, Scratch};
use dctflow::device::emulator::{Emulator, EmulatorOptions, Schedule};
use dctflow::device::{self, Backend, DeviceBuffer, DeviceInfo, Stream};
use dctflow::jpeg::Limits;
use dctflow::network::{Config, InputNorm, Variant, Weights};
use dctflow::resample::{Resize, Transform};
use dctflow::synth::{Encoding, Interleaving, Layout, Picture, sequential_scans};
use dctflow::torch::{
    Arithmetic, BorrowedTensor, Device, Mode, TorchNetwork, buffer_over, device_waits_for_torch, torch_waits_for_device,
};
use dctflow::train::{Accuracy, EpochReport, Example, Examples, Settings, Trainer};
use dctflow::{ErrorKind, tensor};
use tch::{Kind, Tensor};
use wrapped::{Call, Hooks, Wrapped};

fn to_torch(tensor: &tensor::Tensor) -> Tensor {
    let shape: Vec<i64> = tensor.shape.iter().map(|&side| side as i64).collect();
    Tensor::from_slice(&tensor.data).view(&shape[..])
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).expect("a tensor of 32-bit floats")
}

/// max |a - b| / max |b|.
fn relative_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

fn cpu_logits(weights: &Weights, inputs: &[tensor::Tensor]) -> Vec<f32> {
    let engine = Engine::new(weights.inference(InputNorm::Fold)).unwrap();
    let num_images = inputs[0].shape[0];
    let mut logits = vec![0.0; num_images * engine.num_classes()];
    let inputs: Vec<&[f32]> = inputs.iter().map(|input| &input.data[..]).collect();
    engine.run(&inputs, num_images, &mut logits, &mut Scratch::new()).unwrap();
    logits
}

fn torch_logits(weights: &Weights, inputs: &[tensor::Tensor], arithmetic: Arithmetic) -> Vec<f32> {
    torch_logits_on(Device::Cpu, weights, inputs, arithmetic)
}

fn torch_logits_on(device: Device, weights: &Weights, inputs: &[tensor::Tensor], arithmetic: Arithmetic) -> Vec<f32> {
    let network = TorchNetwork::new(weights, device, arithmetic).unwrap();
    let inputs: Vec<Tensor> = inputs.iter().map(|input| to_torch(input).to_device(device)).collect();
    values(&network.forward(&inputs, Mode::Evaluate).unwrap())
}

#[test]
fn every_network_agrees_with_the_cpu_backend() {
    for variant in Variant::ALL {
        let weights = cases::weights(variant).unwrap();
        let inputs = cases::engine_inputs(&weights);
        let difference =
            relative_difference(&torch_logits(&weights, &inputs, Arithmetic::F32), &cpu_logits(&weights, &inputs));
        assert!(difference < 1e-4, "{variant}: {difference:.1e}");
    }
}

#[test]
fn mixed_precision_is_near() {
    let weights = cases::weights(Variant::LateConcatRfaThinner).unwrap();
    let inputs = cases::engine_inputs(&weights);
    let difference =
        relative_difference(&torch_logits(&weights, &inputs, Arithmetic::Bf16), &cpu_logits(&weights, &inputs));
    assert!((1e-5..0.1).contains(&difference), "{difference:.1e}: eight bits of precision, neither more nor less");
}

#[test]
fn weights_come_back_as_they_went() {
    for variant in [Variant::DeconvolutionRfa, Variant::Resnet50RgbV15] {
        let weights = cases::weights(variant).unwrap();
        let network = TorchNetwork::new(&weights, Device::Cpu, Arithmetic::F32).unwrap();
        assert_eq!(network.to_weights(weights.metadata().clone()).unwrap(), weights);
    }
}

#[test]
fn every_parameter_of_every_network_learns() {
    for variant in Variant::ALL {
        for arithmetic in [Arithmetic::F32, Arithmetic::Bf16] {
            let weights = cases::weights(variant).unwrap();
            let network = TorchNetwork::new(&weights, Device::Cpu, arithmetic).unwrap();
            let inputs: Vec<Tensor> = cases::engine_inputs(&weights).iter().map(to_torch).collect();
            let logits = network.forward(&inputs, Mode::Train).unwrap();
            logits.square().sum(Kind::Float).backward();
            for (name, parameter) in network.parameters() {
                let gradient = parameter.grad();
                assert!(gradient.defined(), "{variant}: no gradient for {name}");
                let size = gradient.abs().sum(Kind::Float).double_value(&[]);
                assert!(
                    size.is_finite() && size > 0.0,
                    "{variant} {arithmetic:?}: the gradient of {name} adds up to {size}"
                );
            }
            let name = "bn5c_branch2c.running_mean";
            assert_ne!(values(&network.tensors()[name]), weights.tensors()[name].data, "running statistics run");
        }
    }
}

#[test]
fn inputs_of_other_shapes_are_refused() {
    let weights = cases::weights(Variant::LateConcat).unwrap();
    let network = TorchNetwork::new(&weights, Device::Cpu, Arithmetic::F32).unwrap();
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    for inputs in [vec![], vec![zeros(&[1, 4, 4, 64])], vec![zeros(&[1, 4, 4, 64]), zeros(&[1, 3, 3, 128])]] {
        assert!(network.forward(&inputs, Mode::Evaluate).is_err());
    }
}

#[test]
fn a_gpu_that_is_not_there_is_a_typed_error() {
    let weights = cases::weights(Variant::LateConcat).unwrap();
    let error = TorchNetwork::new(&weights, Device::Cuda(99), Arithmetic::F32).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoLibrary | ErrorKind::NoDevice), "{error}");
}

// ---- Training --------------------------------------------------------------------------------------------------------------------

const NUM_CLASSES: usize = 3;

/// Textures, pages full of gray ink, and white pages.
fn offered(num_examples: usize) -> Vec<Example> {
    let layout = Layout::baseline(&[(2, 2), (1, 1), (1, 1)], 80);
    let example = |idx: usize| {
        let (seed, size) = (idx as u64, (56, 48));
        let picture = match idx % NUM_CLASSES {
            0 => Picture::photo(seed, size.0, size.1, 3),
            1 => Picture::page(seed, size, 3, 100),
            _ => Picture::page(seed, size, 3, 0),
        };
        let coefficients = picture.coefficients(&layout);
        let scans = sequential_scans(&coefficients.frame, Interleaving::Interleaved);
        let bytes = Encoding::new(scans).encode(&coefficients).to_bytes();
        Example { name: format!("image {idx}"), bytes, label: idx % NUM_CLASSES }
    };
    (0..num_examples).map(example).collect()
}

fn examples(num_examples: usize) -> Examples {
    let settings = settings(Variant::LateConcat, 1);
    let (examples, rejected) = Examples::new(offered(num_examples), &settings, &Limits::default());
    assert!(rejected.is_empty(), "{rejected:?}");
    examples
}

fn settings(variant: Variant, epochs: u32) -> Settings {
    let config = Config { width: 0.05, classes: NUM_CLASSES, input_size: (48, 48), ..Config::new(variant) };
    let transform = Transform { resize: Resize::ShortSide(48), crop: (48, 48), ..Transform::default() };
    let plain = Settings::new(config);
    Settings {
        transform,
        epochs,
        batch_size: 12,
        first_side: 32,
        warmup_epochs: 1.0,
        average_decay: 0.8,
        seed: 4,
        ..plain
    }
}

fn pool() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
}

fn trainer(variant: Variant, epochs: u32) -> Trainer {
    Trainer::new(settings(variant, epochs), Device::Cpu, pool()).unwrap()
}

fn run_epochs(trainer: &mut Trainer, num_epochs: usize) -> Vec<EpochReport> {
    let (learned, aside) = examples(60).split(0.2, 1);
    (0..num_epochs).map(|_| trainer.run_epoch(&learned, &aside, |_| {}).unwrap()).collect()
}

#[test]
fn a_network_learns_and_the_session_answers_as_it_was_validated() {
    let mut trainer = trainer(Variant::LateConcatRfaThinner, 12);
    let reports = run_epochs(&mut trainer, 12);
    let (first, last) = (&reports[0], &reports[11]);
    assert!(last.loss < 0.85 * first.loss, "{} and then {}", first.loss, last.loss);
    let Some(Accuracy { images: 12, top1, top5 }) = last.validation else { panic!("{:?}", last.validation) };
    assert!(top1 > 0.8 && top5 == 1.0, "{top1}");
    assert_eq!((first.side, last.side, first.epoch, last.epoch), (32, 48, 1, 12));
    assert!((0.0..=1.0).contains(&last.waiting_share) && last.images_per_second > 0.0);

    let weights = trainer.weights("a test").unwrap();
    assert_eq!(weights.metadata().transform, trainer.settings().transform);
    let inputs = cases::engine_inputs(&weights);
    let logits = torch_logits(&weights, &inputs, Arithmetic::F32);
    assert!(
        relative_difference(&logits, &cpu_logits(&weights, &inputs)) < 1e-4,
        "trained weights fold as random ones do"
    );
}

#[test]
fn the_rgb_network_learns_from_the_same_files() {
    let mut trainer = trainer(Variant::Resnet50Rgb, 3);
    let reports = run_epochs(&mut trainer, 3);
    assert!(reports[2].loss < reports[0].loss, "{reports:?}");
}

/// All that does not depend on the clock.
fn without_times(report: &EpochReport) -> EpochReport {
    EpochReport { seconds: 0.0, images_per_second: 0.0, waiting_share: 0.0, ..report.clone() }
}

#[test]
fn an_interrupted_run_goes_on_as_if_it_had_not_been() {
    let variant = Variant::LateConcat;
    let mut whole = trainer(variant, 4);
    let expected: Vec<_> = run_epochs(&mut whole, 4).iter().map(without_times).collect();

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    let mut first_half = trainer(variant, 4);
    run_epochs(&mut first_half, 2);
    first_half.save(&path).unwrap();
    drop(first_half);
    let mut second_half = Trainer::resume(settings(variant, 4), Device::Cpu, pool(), &path).unwrap();
    assert_eq!(second_half.num_epochs_done(), 2);
    run_epochs(&mut second_half, 2);

    assert_eq!(second_half.history().iter().map(without_times).collect::<Vec<_>>(), expected);
    assert_eq!(second_half.weights("").unwrap(), whole.weights("").unwrap(), "bit for bit");
}

#[test]
fn the_seed_decides_everything() {
    let run = |seed: u64| {
        let settings = Settings { seed, ..settings(Variant::LateConcat, 1) };
        let mut trainer = Trainer::new(settings, Device::Cpu, pool()).unwrap();
        run_epochs(&mut trainer, 1);
        trainer.weights("").unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn what_cannot_be_resumed_is_refused() {
    let resume = |settings: Settings, path: &Path| Trainer::resume(settings, Device::Cpu, pool(), path).unwrap_err();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    let settings = settings(Variant::LateConcat, 2);
    assert_eq!(resume(settings.clone(), &path).kind(), ErrorKind::Io);
    trainer(Variant::LateConcat, 2).save(&path).unwrap();
    let other = Settings { learning_rate: 0.3, ..settings.clone() };
    assert_eq!(resume(other, &path).kind(), ErrorKind::Usage);
    let transform = Transform { resize: Resize::ShortSide(64), crop: (64, 64), ..Transform::default() };
    let longer = Settings { epochs: 5, is_mixed: true, transform, ..settings.clone() };
    let resumed = Trainer::resume(longer, Device::Cpu, pool(), &path).unwrap();
    assert_eq!(resumed.weights("").unwrap().metadata().transform, transform, "nothing is learned with it");
    let bytes = std::fs::read(&path).unwrap();
    for wrong in [&bytes[..bytes.len() / 2], b"", b"no safetensors"] {
        std::fs::write(&path, wrong).unwrap();
        assert_eq!(resume(settings.clone(), &path).kind(), ErrorKind::Weights);
    }
}

#[test]
fn a_run_goes_on_with_its_own_images_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    let mut first = trainer(Variant::LateConcat, 2);
    run_epochs(&mut first, 1);
    first.save(&path).unwrap();
    let mut second = Trainer::resume(settings(Variant::LateConcat, 2), Device::Cpu, pool(), &path).unwrap();
    let with_another_label = || {
        let mut offered = offered(60);
        offered[7].label = (offered[7].label + 1) % NUM_CLASSES;
        Examples::new(offered, &settings(Variant::LateConcat, 2), &Limits::default()).0
    };
    // Fewer, another share, another choice, another class: none of them is this run's.
    let others = [
        examples(59).split(0.2, 1),
        examples(60).split(0.1, 1),
        examples(60).split(0.2, 2),
        with_another_label().split(0.2, 1),
    ];
    for (learned, aside) in others {
        let error = second.run_epoch(&learned, &aside, |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("other images (48 to learn from and 12 put aside"), "{error}");
    }
    run_epochs(&mut second, 1);
}

/// A step that fails leaves batches that nobody takes any more: whoever makes them must not wait for ever.
#[test]
fn a_loss_that_is_no_number_ends_the_run() {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let absurd =
            Settings { learning_rate: 1e30, warmup_epochs: 0.0, batch_size: 4, ..settings(Variant::LateConcat, 1) };
        let mut trainer = Trainer::new(absurd, Device::Cpu, pool()).unwrap();
        sender.send(trainer.run_epoch(&examples(96), &examples(0), |_| {}))
    });
    let result = receiver.recv_timeout(Duration::from_secs(120)).expect("it hangs");
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Weights);
    assert!(error.to_string().contains("the loss is no number"), "{error}");
}

#[test]
fn senseless_settings_are_refused() {
    let good = settings(Variant::LateConcat, 1);
    let bad = [
        Settings { epochs: 0, ..good.clone() },
        Settings { batch_size: 1, ..good.clone() },
        Settings { first_side: 40, ..good.clone() },
        Settings { first_side: 64, ..good.clone() },
        Settings { min_area: 0.0, ..good.clone() },
        Settings { jitter: 1.0, ..good.clone() },
        Settings { momentum: 1.0, ..good.clone() },
        Settings { transform: Transform { crop: (64, 48), ..good.transform }, ..good.clone() },
        Settings { transform: Transform { crop: (40, 40), ..good.transform }, ..good.clone() },
    ];
    for settings in bad {
        assert_eq!(Trainer::new(settings, Device::Cpu, pool()).unwrap_err().kind(), ErrorKind::Usage);
    }
    let mut trainer = trainer(Variant::LateConcat, 1);
    let none = examples(0);
    assert_eq!(trainer.run_epoch(&examples(11), &none, |_| {}).unwrap_err().kind(), ErrorKind::Usage);
}

// ---- Memory that is shared -------------------------------------------------------------------------------------------------------

#[test]
fn memory_is_shared_both_ways_without_a_copy() {
    let device: Arc<dyn device::Device> = Emulator::new(EmulatorOptions::default()).unwrap();
    let stream = Stream::new(&device).unwrap();
    let buffer = DeviceBuffer::new(&device, 64).unwrap();
    let numbers: Vec<f32> = (0..8).map(|i| i as f32).collect();

    // What the device writes, libtorch reads.
    // SAFETY: `numbers` lives until the stream has been waited for.
    unsafe { stream.upload(buffer.slice(32..64), bytemuck::cast_slice(&numbers)).unwrap() };
    torch_waits_for_device(&stream).unwrap();
    // SAFETY: nothing that shares its memory leaves this function.
    let borrowed = unsafe { BorrowedTensor::new(&buffer, 0, 32, Kind::Float, &[2, 4]).unwrap() };
    assert_eq!((borrowed.size(), values(&borrowed)), (vec![2, 4], numbers));
    assert_eq!(borrowed.data_ptr() as u64, buffer.address() + 32, "it is the same memory");

    // What libtorch writes, the device reads.
    let doubled = borrowed.f_mul_scalar(2.0).unwrap();
    device_waits_for_torch(&stream).unwrap();
    // SAFETY: `doubled` lives until the download has been waited for.
    let lent = unsafe { buffer_over(&doubled, &device, 0).unwrap() };
    stream.copy(buffer.slice(0..32), lent.all()).unwrap();
    let mut bytes = [0; 32];
    stream.download_now(&mut bytes, buffer.slice(0..32)).unwrap();
    let read: Vec<f32> = bytes.as_chunks().0.iter().map(|&value| f32::from_ne_bytes(value)).collect();
    assert_eq!(read, [0., 2., 4., 6., 8., 10., 12., 14.]);
}

#[test]
fn memory_that_is_not_there_is_not_lent() {
    let device: Arc<dyn device::Device> = Emulator::new(EmulatorOptions::default()).unwrap();
    let buffer = DeviceBuffer::new(&device, 64).unwrap();
    for (offset_bytes, shape) in [(0, vec![17]), (2, vec![4]), (64, vec![1]), (4, vec![usize::MAX, 2])] {
        // SAFETY: refused.
        let refused = unsafe { BorrowedTensor::new(&buffer, 0, offset_bytes, Kind::Float, &shape) };
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Usage, "{shape:?}");
    }
    let transposed = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)).transpose(0, 1);
    // SAFETY: refused.
    assert_eq!(unsafe { buffer_over(&transposed, &device, 0) }.unwrap_err().kind(), ErrorKind::Usage);
}

/// An emulator that poses as a GPU, with the default stream that libtorch's work goes to.
struct AsGpu(DeviceInfo);

const DEFAULT_STREAM: u64 = 0;

impl Hooks for AsGpu {
    fn around<R>(&self, _: Call, work: impl FnOnce() -> R) -> R {
        work()
    }

    fn info<'a>(&'a self, _: &'a DeviceInfo) -> &'a DeviceInfo {
        &self.0
    }

    fn has_stream(&self, raw: u64) -> bool {
        raw == DEFAULT_STREAM
    }
}

fn as_gpu(schedule: Schedule) -> Arc<dyn device::Device> {
    let options = || EmulatorOptions { schedule, num_os_threads: 1, ..EmulatorOptions::default() };
    let emulator: Arc<dyn device::Device> = Emulator::new(options()).unwrap();
    let info = DeviceInfo { backend: Backend::Cuda, ..emulator.info().clone() };
    Wrapped::new(options(), AsGpu(info))
}

/// What libtorch reads where `stream` has written, or the other way round: a copy on the default stream stands for libtorch's work. The schedule
/// is the one under which the later of the two streams runs first wherever no event holds it.
fn handed_over(is_to_torch: bool, wait: impl Fn(&Stream)) -> Vec<u8> {
    let device = as_gpu(if is_to_torch { Schedule::Forward } else { Schedule::Reverse });
    let own = Stream::new(&device).unwrap();
    // SAFETY: the emulator's queues live as long as it does.
    let torchs = unsafe { Stream::from_raw(&device, DEFAULT_STREAM).unwrap() };
    let (writer, reader) = if is_to_torch { (&own, &torchs) } else { (&torchs, &own) };
    let buffer = DeviceBuffer::new(&device, 64).unwrap();
    writer.fill(buffer.slice(0..64), 1).unwrap();
    writer.synchronize().unwrap();
    writer.fill(buffer.slice(0..32), 7).unwrap();
    wait(&own);
    reader.copy(buffer.slice(32..64), buffer.slice(0..32)).unwrap();
    let mut bytes = vec![0; 32];
    reader.download_now(&mut bytes, buffer.slice(32..64)).unwrap();
    writer.synchronize().unwrap();
    bytes
}

/// The events that order streams on a GPU, on streams that run as late as events let them. Without its wait, each reader is too early.
#[test]
fn streams_of_both_sides_wait_for_each_other() {
    let to_torch = |stream: &Stream| torch_waits_for_device(stream).unwrap();
    let from_torch = |stream: &Stream| device_waits_for_torch(stream).unwrap();
    assert_eq!(handed_over(true, to_torch), [7; 32]);
    assert_eq!(handed_over(false, from_torch), [7; 32]);
    for is_to_torch in [true, false] {
        assert_eq!(handed_over(is_to_torch, |_| {}), [1; 32], "nobody noticed that a wait was left out");
    }
    // Each of the two orders one way only.
    assert_eq!(handed_over(true, from_torch), [1; 32]);
    assert_eq!(handed_over(false, to_torch), [1; 32]);
}

#[test]
fn without_its_wait_libtorch_reads_too_early() {
    let device: Arc<dyn device::Device> = Emulator::new(EmulatorOptions::default()).unwrap();
    let stream = Stream::new(&device).unwrap();
    let buffer = DeviceBuffer::new(&device, 32).unwrap();
    stream.fill(buffer.all(), 0).unwrap();
    stream.synchronize().unwrap();
    stream.fill(buffer.all(), 1).unwrap();
    // SAFETY: nothing that shares its memory leaves this function; the stream's work runs only while it is waited for.
    let borrowed = unsafe { BorrowedTensor::new(&buffer, 0, 0, Kind::Uint8, &[32]).unwrap() };
    let sum = || borrowed.sum(Kind::Int64).int64_value(&[]);
    assert_eq!(sum(), 0);
    torch_waits_for_device(&stream).unwrap();
    assert_eq!(sum(), 32);
}

// ---- On a GPU --------------------------------------------------------------------------------------------------------------------

/// Done, or why not.
type Checked = Result<(), String>;

/// What is tried on a GPU.
type GpuCheck = fn(Device) -> Checked;

/// What a GPU shows, one line for each check.
const GPU_CHECKS: [(&str, GpuCheck); 4] = [
    ("every network agrees with the CPU backend", networks_agree_on),
    ("mixed precision is near", mixed_precision_is_near_on),
    ("a network learns", a_network_learns_on),
    ("memory is shared in order", memory_is_shared_on),
];

/// In a process of its own: libtorch's libraries read the variable that turns TF32 off, which has eleven bits only, when they start.
#[test]
fn libtorch_on_a_gpu() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "gpu_child", "--ignored", "--nocapture", "--test-threads=1"])
        .env("NVIDIA_TF32_OVERRIDE", "0")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{said}");
    match said.lines().find(|line| line.contains("no GPU: ")) {
        None => {
            for (name, _) in GPU_CHECKS {
                let skipped = said.lines().find(|line| line.contains(&format!("skipped: {name}")));
                assert!(skipped.is_some() || said.contains(&format!("checked: {name}")), "{name} did not run: {said}");
                if let Some(line) = skipped {
                    devices::check_required(&["cpu", "emulator"]);
                    eprintln!("{line}");
                }
            }
        }
        Some(why) => {
            devices::check_required(&["cpu", "emulator"]);
            eprintln!("skipped: {} checks of libtorch on a GPU ({why})", GPU_CHECKS.len());
        }
    }
}

#[test]
#[ignore = "the test before it runs it"]
fn gpu_child() {
    let gpu = Device::Cuda(0);
    let weights = cases::weights(Variant::LateConcat).unwrap();
    if let Err(error) = TorchNetwork::new(&weights, gpu, Arithmetic::F32) {
        // What is there and fails is no skip.
        assert!(matches!(error.kind(), ErrorKind::NoLibrary | ErrorKind::NoDevice), "{error}");
        return println!("no GPU: {error}");
    }
    for (name, check) in GPU_CHECKS {
        match check(gpu) {
            Ok(()) => println!("checked: {name}"),
            Err(why) => println!("skipped: {name}: {why}"),
        }
    }
}

fn networks_agree_on(gpu: Device) -> Checked {
    for variant in Variant::ALL {
        let weights = cases::weights(variant).unwrap();
        let inputs = cases::engine_inputs(&weights);
        let logits = torch_logits_on(gpu, &weights, &inputs, Arithmetic::F32);
        let difference = relative_difference(&logits, &cpu_logits(&weights, &inputs));
        assert!(difference < 1e-4, "{variant}: {difference:.1e}");
    }
    Ok(())
}

fn mixed_precision_is_near_on(gpu: Device) -> Checked {
    let weights = cases::weights(Variant::LateConcatRfaThinner).unwrap();
    let inputs = cases::engine_inputs(&weights);
    let logits = torch_logits_on(gpu, &weights, &inputs, Arithmetic::Bf16);
    let difference = relative_difference(&logits, &cpu_logits(&weights, &inputs));
    assert!((1e-5..0.1).contains(&difference), "{difference:.1e}");
    Ok(())
}

fn a_network_learns_on(gpu: Device) -> Checked {
    for is_mixed in [false, true] {
        let settings = Settings { is_mixed, ..settings(Variant::LateConcatRfaThinner, 6) };
        let mut trainer = Trainer::new(settings, gpu, pool()).unwrap();
        let reports = run_epochs(&mut trainer, 6);
        assert!(reports[5].loss < reports[0].loss, "{reports:?}");
        assert!(reports[5].validation.is_some_and(|validation| validation.images == 12));
    }
    Ok(())
}

/// Large enough that whoever does not wait is too early.
fn memory_is_shared_on(gpu: Device) -> Checked {
    const NUM_BYTES: usize = 1 << 26;
    // libtorch sees a GPU; we may not, in a build without kernels.
    let device = devices::cuda()?;
    let stream = Stream::new(&device).unwrap();
    let buffer = DeviceBuffer::new(&device, NUM_BYTES).unwrap();
    for round in 1..=20u8 {
        stream.fill(buffer.all(), round).unwrap();
        torch_waits_for_device(&stream).unwrap();
        // SAFETY: nothing that shares its memory leaves this round.
        let borrowed = unsafe { BorrowedTensor::new(&buffer, 0, 0, Kind::Uint8, &[NUM_BYTES]).unwrap() };
        assert_eq!(borrowed.device(), gpu);
        let doubled = borrowed.f_mul_scalar(2).unwrap();
        device_waits_for_torch(&stream).unwrap();
        // SAFETY: `doubled` lives until the download has been waited for.
        let lent = unsafe { buffer_over(&doubled, &device, 0).unwrap() };
        stream.copy(buffer.all(), lent.all()).unwrap();
        let mut ends = [[0; 64]; 2];
        stream.download_now(&mut ends[0], buffer.slice(0..64)).unwrap();
        stream.download_now(&mut ends[1], buffer.slice(NUM_BYTES - 64..NUM_BYTES)).unwrap();
        assert_eq!(ends, [[2 * round; 64]; 2]);
    }
    Ok(())
}
