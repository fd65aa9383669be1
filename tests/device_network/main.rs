//! The network on a device, by the kernels that run on a GPU, against the network on the CPU: f16 against f32.

#[path = "../reference/cases.rs"]
#[allow(dead_code, reason = "the other program of these cases compares ONNX inputs")]
mod cases;
mod convolutions;
#[path = "../common/devices.rs"]
mod devices;
#[cfg(feature = "cuda")]
mod gpu;
#[path = "../common/say.rs"]
mod say;

use std::sync::Arc;

use dctflow::ErrorKind;
use dctflow::abi::ConvolveParams;
use dctflow::cpu::network::{Engine, Scratch};
use dctflow::device::emulator::{Emulator, Schedule};
use dctflow::device::{ConvolveTile, Device, DeviceBuffer, KernelOps, Ops, Stream};
use dctflow::network::{Config, InputNorm, Variant, Weights};
use dctflow::stages::{NetworkInput, NetworkOptions, NetworkStage};
use half::f16;

/// Of max|a - b| / max|b|.
const TOLERANCE: f32 = 2e-2;

/// An emulator under a schedule; the GPU, if only that is wanted.
fn device(schedule: Schedule) -> Arc<dyn Device> {
    if !devices::is_chosen("emulator") {
        return devices::cuda().unwrap();
    }
    Emulator::with_schedule(schedule).unwrap()
}

/// A narrow network for small images, of sides that differ.
fn weights(variant: Variant) -> Weights {
    Weights::random(Config { width: 0.125, classes: 10, input_size: (96, 64), ..Config::new(variant) }, 20180).unwrap()
}

/// The inputs in f16, as the input kernel writes them: RGB with a fourth channel of zeros.
fn upload(stream: &Stream, inputs: &[dctflow::tensor::Tensor]) -> Vec<DeviceBuffer> {
    let to_device = |input: &dctflow::tensor::Tensor| {
        let channels = input.shape[3];
        let pixels = input.data.chunks_exact(channels);
        let values: Vec<f16> = pixels
            .flat_map(|pixel| {
                pixel.iter().map(|&value| f16::from_f32(value)).chain((channels == 3).then_some(f16::ZERO))
            })
            .collect();
        let buffer = DeviceBuffer::new(stream.device(), values.len() * 2).unwrap();
        // SAFETY: the values live until the stream has been waited for.
        unsafe { stream.upload(buffer.all(), bytemuck::cast_slice(&values)).unwrap() };
        stream.synchronize().unwrap();
        buffer
    };
    inputs.iter().map(to_device).collect()
}

fn network_input(buffers: &[DeviceBuffer]) -> NetworkInput<'_> {
    match buffers {
        [y, c] => NetworkInput::Blocks { y: y.all(), c: c.all() },
        [rgb] => NetworkInput::Rgb(rgb.all()),
        _ => panic!("a network has one input or two"),
    }
}

/// What the device makes of the inputs.
fn run(device: &Arc<dyn Device>, weights: &Weights, norm: InputNorm, options: &NetworkOptions) -> Vec<f32> {
    let inputs = cases::engine_inputs(weights);
    let num_images = inputs[0].shape[0];
    let stream = Stream::new(device).unwrap();
    let buffers = upload(&stream, &inputs);
    let mut stage = NetworkStage::new(device, &weights.inference(norm), options).unwrap();
    let mut logits = vec![0f32; num_images * stage.num_classes()];
    let logits_buffer = DeviceBuffer::new(device, logits.len() * 4).unwrap();
    stage.submit(&stream, network_input(&buffers), num_images as u32, logits_buffer.all()).unwrap();
    stream.download_now(bytemuck::cast_slice_mut(&mut logits), logits_buffer.all()).unwrap();
    logits
}

fn run_on_cpu(weights: &Weights) -> Vec<f32> {
    let inputs = cases::engine_inputs(weights);
    let num_images = inputs[0].shape[0];
    let engine = Engine::new(weights.inference(InputNorm::Fold)).unwrap();
    let mut logits = vec![0.0; num_images * engine.num_classes()];
    let inputs: Vec<&[f32]> = inputs.iter().map(|input| &input.data[..]).collect();
    engine.run(&inputs, num_images, &mut logits, &mut Scratch::new()).unwrap();
    logits
}

/// Within the tolerance, and of one opinion wherever the margin of the best class says more than the tolerance can.
#[track_caller]
fn assert_close(logits: &[f32], expected: &[f32], num_classes: usize, what: &str) {
    assert_eq!(logits.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f32, |max, value| max.max(value.abs()));
    let difference = logits.iter().zip(expected).fold(0f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(logits.iter().all(|value| value.is_finite()), "{what}: {logits:?}");
    assert!(difference <= TOLERANCE * largest, "{what}: off by {difference} of {largest}");
    eprintln!("{what}: off by {:.1e}", difference / largest);
    for (ours, theirs) in logits.chunks(num_classes).zip(expected.chunks(num_classes)) {
        let best = |values: &[f32]| (0..num_classes).max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap();
        let top = best(theirs);
        let second = (0..num_classes).filter(|&class| class != top).map(|class| theirs[class]).fold(f32::MIN, f32::max);
        if theirs[top] - second > 2.0 * TOLERANCE * largest {
            assert_eq!(best(ours), top, "{what}: the best class");
        }
    }
}

#[test]
fn every_network_agrees_with_the_cpu() {
    let device = device(Schedule::Forward);
    for variant in Variant::ALL {
        let weights = weights(variant);
        let expected = run_on_cpu(&weights);
        for norm in [InputNorm::Fold, InputNorm::Apply] {
            let logits = run(&device, &weights, norm, &NetworkOptions::default());
            assert_close(&logits, &expected, 10, &format!("{variant}, {norm:?}"));
        }
    }
}

#[test]
fn every_tile_gives_the_same_in_every_schedule() {
    let weights = weights(Variant::LateConcatRfaThinner);
    let expected = run_on_cpu(&weights);
    let mut first: Option<Vec<f32>> = None;
    for (tile, schedule) in
        ConvolveTile::ALL.into_iter().zip([Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)])
    {
        let options = NetworkOptions { ops: Arc::new(KernelOps { tile: Some(tile) }), ..NetworkOptions::default() };
        let logits = run(&device(schedule), &weights, InputNorm::Apply, &options);
        assert_close(&logits, &expected, 10, &format!("{tile:?}, {schedule:?}"));
        assert_eq!(*first.get_or_insert(logits.clone()), logits, "sums are taken in one order, whatever the tile");
    }
}

/// A batch that takes several turns, the last one with fewer images; and stages that share weights, on two streams at a time. Images do not
/// know of their batch mates: the logits are the same bits.
#[test]
fn turns_and_streams_do_not_show_in_the_logits() {
    let weights = weights(Variant::LateConcat);
    let inference = weights.inference(InputNorm::Fold);
    let inputs = cases::engine_inputs(&weights);
    let in_one_turn = run(&device(Schedule::Forward), &weights, InputNorm::Fold, &NetworkOptions::default());
    for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(1), Schedule::Random(2)] {
        let device = device(schedule);
        let streams = [(); 3].map(|()| Stream::new(&device).unwrap());
        let buffers = upload(&streams[0], &inputs);
        let options = NetworkOptions { images_per_turn: Some(1), ..NetworkOptions::default() };
        let mut first = NetworkStage::new(&device, &inference, &options).unwrap();
        let mut second = first.share(&device).unwrap();
        let outputs = [(); 4].map(|()| DeviceBuffer::new(&device, in_one_turn.len() * 4).unwrap());
        // The first stage goes from one stream to another; the second runs meanwhile.
        first.submit(&streams[0], network_input(&buffers), 2, outputs[0].all()).unwrap();
        second.submit(&streams[1], network_input(&buffers), 2, outputs[1].all()).unwrap();
        first.submit(&streams[2], network_input(&buffers), 2, outputs[2].all()).unwrap();
        first.submit(&streams[0], network_input(&buffers), 2, outputs[3].all()).unwrap();
        for (output, stream) in outputs.iter().zip([0, 1, 2, 0]) {
            let mut logits = vec![0f32; in_one_turn.len()];
            streams[stream].download_now(bytemuck::cast_slice_mut(&mut logits), output.all()).unwrap();
            assert_eq!(logits, in_one_turn, "{schedule:?}");
        }
    }
}

/// A batch that comes again in the same buffers is a graph from the second time on; it reads what is there then.
#[test]
fn a_batch_that_comes_again_is_computed_again() {
    let weights = weights(Variant::DeconvolutionRfa);
    let inference = weights.inference(InputNorm::Apply);
    let inputs = cases::engine_inputs(&weights);
    let expected = run(&device(Schedule::Forward), &weights, InputNorm::Apply, &NetworkOptions::default());
    let device = device(Schedule::Random(3));
    let streams = [(); 2].map(|()| Stream::new(&device).unwrap());
    let buffers = upload(&streams[0], &inputs);
    let kept = upload(&streams[0], &inputs);
    let options = NetworkOptions { images_per_turn: Some(1), ..NetworkOptions::default() };
    let mut stage = NetworkStage::new(&device, &inference, &options).unwrap();
    let output = DeviceBuffer::new(&device, expected.len() * 4).unwrap();
    let mut submit = |stream: &Stream, num_images| {
        let mut logits = vec![0f32; expected.len()];
        stage.submit(stream, network_input(&buffers), num_images, output.all()).unwrap();
        stream.download_now(bytemuck::cast_slice_mut(&mut logits), output.all()).unwrap();
        logits
    };
    for _ in 0..3 {
        assert_eq!(submit(&streams[0], 2), expected);
    }
    streams[0].fill(buffers[0].all(), 0).unwrap();
    assert_ne!(submit(&streams[0], 2), expected);
    streams[0].copy(buffers[0].all(), kept[0].all()).unwrap();
    streams[0].fill(output.all(), 0).unwrap();
    assert_eq!(submit(&streams[0], 1)[..10], expected[..10]);
    assert_eq!(submit(&streams[1], 2), expected);
    assert_eq!(submit(&streams[0], 2), expected);
}

/// Convolutions that cannot be recorded, as if somebody spoilt every recording.
#[derive(Debug)]
struct Unrecordable(KernelOps);

impl Ops for Unrecordable {
    unsafe fn convolve(&self, stream: &Stream, params: &ConvolveParams) -> dctflow::Result<()> {
        stream.synchronize()?;
        // SAFETY: the caller's.
        unsafe { self.0.convolve(stream, params) }
    }
}

#[test]
fn a_batch_that_cannot_be_recorded_is_computed_all_the_same() {
    let weights = weights(Variant::LateConcatRfaThinner);
    let device = device(Schedule::Forward);
    let stream = Stream::new(&device).unwrap();
    let buffers = upload(&stream, &cases::engine_inputs(&weights));
    let expected = run(&device, &weights, InputNorm::Apply, &NetworkOptions::default());
    let ops = Arc::new(Unrecordable(KernelOps::default()));
    let options = NetworkOptions { ops, ..NetworkOptions::default() };
    let mut stage = NetworkStage::new(&device, &weights.inference(InputNorm::Apply), &options).unwrap();
    let output = DeviceBuffer::new(&device, expected.len() * 4).unwrap();
    for _ in 0..3 {
        let mut logits = vec![0f32; expected.len()];
        stream.fill(output.all(), 0).unwrap();
        stage.submit(&stream, network_input(&buffers), 2, output.all()).unwrap();
        stream.download_now(bytemuck::cast_slice_mut(&mut logits), output.all()).unwrap();
        assert_eq!(logits, expected);
    }
}

/// What is no finite number stays visible, and stays with its image.
#[test]
fn a_nan_reaches_its_own_logits_and_no_others() {
    let weights = weights(Variant::Resnet50Rgb);
    let device = device(Schedule::Forward);
    let stream = Stream::new(&device).unwrap();
    let mut inputs = cases::engine_inputs(&weights);
    inputs[0].data[3 * 64 * 10 + 30] = f32::NAN;
    let buffers = upload(&stream, &inputs);
    let inference = weights.inference(InputNorm::Fold);
    let mut stage = NetworkStage::new(&device, &inference, &NetworkOptions::default()).unwrap();
    let output = DeviceBuffer::new(&device, 2 * 10 * 4).unwrap();
    stage.submit(&stream, network_input(&buffers), 2, output.all()).unwrap();
    let mut logits = [0f32; 20];
    stream.download_now(bytemuck::cast_slice_mut(&mut logits), output.all()).unwrap();
    assert!(logits[..10].iter().all(|value| value.is_nan()), "{logits:?}");
    assert!(logits[10..].iter().all(|value| value.is_finite()), "{logits:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = device(Schedule::Forward);
    let stream = Stream::new(&device).unwrap();
    let weights = weights(Variant::Upsampling);
    let inference = weights.inference(InputNorm::Fold);
    let with_turns = |images| NetworkOptions { images_per_turn: Some(images), ..NetworkOptions::default() };
    for turns in [0, 70_000] {
        let error = NetworkStage::new(&device, &inference, &with_turns(turns)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    }
    let mut stage = NetworkStage::new(&device, &inference, &with_turns(2)).unwrap();
    let buffers = upload(&stream, &cases::engine_inputs(&weights));
    let logits = DeviceBuffer::new(&device, 2 * 10 * 4).unwrap();
    let mut refused = |input, num_images, logits| {
        let error = stage.submit(&stream, input, num_images, logits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        error.to_string()
    };
    let (y, c) = (buffers[0].all(), buffers[1].all());
    assert!(refused(NetworkInput::Rgb(y), 2, logits.all()).contains("the other kind of input"));
    assert!(refused(NetworkInput::Blocks { y, c }, 3, logits.all()).contains("3 images need"));
    assert!(refused(NetworkInput::Blocks { y, c }, 2, logits.slice(0..76)).contains("logits of 2 images need 80"));
    assert!(refused(NetworkInput::Blocks { y: c, c: y }, 2, logits.all()).contains("the slice has"));
}
