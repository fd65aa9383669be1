//! The network's input as the kernels make it, beside the CPU's, in every schedule of the emulator (or on a GPU).

#[path = "common/devices.rs"]
mod devices;
#[path = "common/images.rs"]
mod images;

use std::sync::{Arc, OnceLock};

use dctflow::ErrorKind;
use dctflow::cpu::input::{SATURATION, input_tensors};
use dctflow::device::emulator::Schedule;
use dctflow::device::{Device, DeviceBuffer, Stream};
use dctflow::jpeg::{Coefficients, ColorModel, Limits, Orientation};
use dctflow::plan::{DecodePlan, InputBatchPlan, InputForm, InputImage, InputValue, PlanOptions, PlannedImage};
use dctflow::resample::{InputPlan, Normalization, Transform};
use dctflow::stages::{DecodeStage, InputStage, NetworkInput};
use dctflow::tensor::InputKind;
use half::f16;
use images::{KINDS, ORIENTATIONS, any_case, frame, random_image, saturating_image, ycbcr_image};
use proptest::prelude::*;

const SCHEDULES: [Schedule; 3] = [Schedule::Forward, Schedule::Reverse, Schedule::Random(7)];

/// A device for each schedule, the same for all tests: their memory is kept.
fn devices() -> &'static [Arc<dyn Device>; 3] {
    static DEVICES: OnceLock<[Arc<dyn Device>; 3]> = OnceLock::new();
    DEVICES.get_or_init(|| SCHEDULES.map(devices::device))
}

fn form(transform: &Transform, kind: InputKind, value: InputValue) -> InputForm {
    let (width, height) = transform.crop;
    match kind {
        InputKind::Blocks => InputForm::blocks(width, height, value),
        InputKind::Rgb => InputForm::rgb(width, height, value, &Normalization::default()),
    }
}

/// A batch: an image and what is done to it, or one that failed.
type Batch<'a> = [Option<(&'a Coefficients, Transform)>];

/// The batch's plan, and all its coefficients.
fn plan(batch: &Batch, form: &InputForm, device: &Arc<dyn Device>) -> (InputBatchPlan, Vec<i16>) {
    let mut coefficients = Vec::new();
    let mut image = |(image, transform): &(&Coefficients, Transform)| {
        let planes = |component_idx: usize| {
            let plane = &image.planes[component_idx];
            coefficients.extend_from_slice(&plane.data);
            ((coefficients.len() - plane.data.len()) as u64, plane.quant)
        };
        InputImage::new(&image.frame, image.color, image.orientation, transform, form.kind(), planes).unwrap()
    };
    let images: Vec<Option<InputImage>> = batch.iter().map(|item| item.as_ref().map(&mut image)).collect();
    (InputBatchPlan::new(&images, form, device.redzone_bytes()).unwrap(), coefficients)
}

/// Outputs in device memory, spoilt.
fn outputs(device: &Arc<dyn Device>, form: &InputForm, num_images: usize) -> Vec<DeviceBuffer> {
    let image_bytes = form.image_bytes();
    image_bytes.map(|bytes| DeviceBuffer::new(device, bytes * num_images).unwrap()).collect()
}

fn buffers(outputs: &[DeviceBuffer]) -> NetworkInput<'_> {
    match outputs {
        [y, c] => NetworkInput::Blocks { y: y.all(), c: c.all() },
        [rgb] => NetworkInput::Rgb(rgb.all()),
        _ => panic!("one output or two"),
    }
}

fn downloaded(stream: &Stream, buffer: &DeviceBuffer, value: InputValue) -> Vec<f32> {
    let mut bytes = vec![0; buffer.len_bytes()];
    stream.download_now(&mut bytes, buffer.all()).unwrap();
    match value {
        InputValue::F32 => bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect(),
        InputValue::F16 => {
            bytes.chunks_exact(2).map(|half| bytemuck::pod_read_unaligned::<f16>(half).to_f32()).collect()
        }
    }
}

/// What a batch gives on a device: every output, and saturated coefficients by image.
fn run(batch: &Batch, form: &InputForm, device: &Arc<dyn Device>) -> (Vec<Vec<f32>>, Vec<u32>) {
    let (plan, host_coefficients) = plan(batch, form, device);
    let stream = Stream::new(device).unwrap();
    let coefficients = DeviceBuffer::new(device, host_coefficients.len() * 2).unwrap();
    let outputs = outputs(device, form, batch.len());
    // SAFETY: the host's coefficients live until the downloads, which wait.
    unsafe { stream.upload(coefficients.all(), bytemuck::cast_slice(&host_coefficients)).unwrap() };
    let mut stage = InputStage::new(device).unwrap();
    stage.submit(&stream, &plan, coefficients.all(), buffers(&outputs)).unwrap();
    let values = outputs.iter().map(|output| downloaded(&stream, output, form.value())).collect();
    (values, stage.fetch_saturated().unwrap())
}

/// The CPU's outputs, laid out as the device's, and saturated coefficients.
fn on_cpu(image: &Coefficients, transform: &Transform, kind: InputKind) -> (Vec<Vec<f32>>, u64) {
    let plan = InputPlan::new(&image.frame, image.color, image.orientation, transform, kind).unwrap();
    let (tensors, num_saturated) = input_tensors(&plan, image, &Normalization::default());
    let pixels = |rgb: Vec<f32>| rgb.chunks(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 0.0]).collect();
    let data = tensors.into_iter().map(|tensor| if kind == InputKind::Rgb { pixels(tensor.data) } else { tensor.data });
    (data.collect(), num_saturated)
}

/// Largest difference over the largest magnitude, or over a gray level where that is larger: smaller values are sums that cancel.
fn distance(values: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(values.len(), expected.len());
    let magnitude = expected.iter().fold(1.0f32, |max, value| value.abs().max(max));
    values.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / magnitude
}

/// Roundings of float32 (6e-8) in sums of up to hundreds of terms.
const ROUNDING: f32 = 2e-6;

/// Slots of a batch against the CPU's images.
fn check_batch(batch: &Batch, kind: InputKind, device: &Arc<dyn Device>) {
    let transform = batch.iter().flatten().next().expect("an image").1;
    let (values, num_saturated) = run(batch, &form(&transform, kind, InputValue::F32), device);
    let (halves, _) = run(batch, &form(&transform, kind, InputValue::F16), device);
    for (image_idx, item) in batch.iter().enumerate() {
        let (expected, expected_saturated) = match item {
            Some((image, transform)) => on_cpu(image, transform, kind),
            None => (values.iter().map(|values| vec![0.0; values.len() / batch.len()]).collect(), 0),
        };
        for ((values, halves), expected) in values.iter().zip(&halves).zip(&expected) {
            let slot = image_idx * expected.len()..(image_idx + 1) * expected.len();
            let distance = distance(&values[slot.clone()], expected);
            assert!(distance <= ROUNDING, "image {image_idx}, {kind:?}: {distance:e} away from the CPU's, {item:?}");
            for (value, half) in values[slot.clone()].iter().zip(&halves[slot]) {
                assert_eq!(f16::from_f32(*value).to_f32(), *half, "half precision is the float's rounding");
            }
        }
        assert_eq!(u64::from(num_saturated[image_idx]), expected_saturated, "image {image_idx}");
    }
}

fn check(image: &Coefficients, transform: &Transform, kind: InputKind) {
    for device in devices() {
        check_batch(&[Some((image, *transform))], kind, device);
    }
}

fn transform(text: &str) -> Transform {
    text.parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_cases_are_as_on_the_cpu(case in any_case()) {
        check(&case.image(), &case.transform, case.kind);
    }
}

#[test]
fn the_classic_evaluation_is_as_on_the_cpu() {
    for kind in KINDS {
        check_batch(&[Some((&ycbcr_image(500, 375, (2, 2)), Transform::default()))], kind, &devices()[0]);
    }
}

#[test]
fn a_batch_of_many_kinds_with_failed_images() {
    let three = [(1, 1); 3];
    let four = [(2, 2), (1, 1), (1, 1), (2, 2)];
    let images: Vec<Coefficients> = [
        (frame(70, 90, &[(1, 1)], 8), ColorModel::Gray),
        (frame(64, 64, &[(2, 2), (1, 1), (1, 1)], 8), ColorModel::YCbCr),
        (frame(120, 33, &three, 8), ColorModel::Rgb),
        (frame(50, 61, &four, 8), ColorModel::Cmyk { inverted: true }),
        (frame(50, 61, &four, 8), ColorModel::Ycck { inverted: false }),
        (frame(1, 1, &three, 12), ColorModel::YCbCr),
    ]
    .into_iter()
    .zip(ORIENTATIONS.into_iter().cycle().skip(2))
    .map(|((frame, color), orientation)| random_image(frame, color, orientation, 5))
    .collect();
    let mut batch: Vec<_> = images.iter().map(|image| Some((image, transform("short=48,crop=48x32")))).collect();
    batch.insert(0, None);
    batch.insert(4, None);
    batch.push(Some((&images[0], transform("box=3:9:40x61,crop=48x32,flip=yes"))));
    for device in devices() {
        for kind in KINDS {
            check_batch(&batch, kind, device);
        }
    }
}

#[test]
fn every_orientation() {
    let mut image = ycbcr_image(83, 61, (2, 1));
    for orientation in ORIENTATIONS {
        image.orientation = orientation;
        for kind in KINDS {
            check_batch(&[Some((&image, transform("short=48,crop=48x32,flip=yes")))], kind, &devices()[2]);
        }
    }
}

#[test]
fn bands_of_an_8k_image() {
    let wide = ycbcr_image(8192, 64, (2, 2));
    let high = ycbcr_image(40, 8192, (1, 1));
    for device in devices() {
        check_batch(&[Some((&wide, transform("exact=48x48,crop=48")))], InputKind::Blocks, device);
        check_batch(&[Some((&high, transform("exact=32x32,crop=32")))], InputKind::Blocks, device);
    }
}

#[test]
fn inputs_much_larger_than_the_image() {
    let image = ycbcr_image(60, 40, (2, 2));
    check_batch(&[Some((&image, transform("short=640,crop=640x320")))], InputKind::Blocks, &devices()[1]);
    // The widest tiles of the most planes: all the shared memory that there is.
    let inks =
        random_image(frame(20, 20, &[(1, 1); 4], 8), ColorModel::Ycck { inverted: true }, Orientation::Upright, 2);
    check_batch(&[Some((&inks, transform("short=128,crop=128")))], InputKind::Rgb, &devices()[2]);
}

#[test]
fn nothing_to_resize_is_the_identity_bit_for_bit() {
    let image = ycbcr_image(224, 224, (2, 2));
    let transform = transform("short=224");
    let (expected, _) = on_cpu(&image, &transform, InputKind::Blocks);
    let form = form(&transform, InputKind::Blocks, InputValue::F32);
    let (values, _) = run(&[Some((&image, transform))], &form, &devices()[0]);
    for (values, expected) in values.iter().zip(&expected) {
        assert!(values.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}

#[test]
fn values_saturate_and_are_counted() {
    let image = saturating_image();
    let transform = transform("resize=none,crop=32");
    let form = form(&transform, InputKind::Blocks, InputValue::F32);
    let (values, num_saturated) = run(&[None, Some((&image, transform))], &form, &devices()[2]);
    let (y, c) = (&values[0][16 * 64..], &values[1][4 * 128..]);
    assert_eq!(num_saturated, [0, 2]);
    assert_eq!((y[0], y[64], c[0]), (SATURATION, SATURATION, -SATURATION));
    check(&image, &transform, InputKind::Rgb);
}

#[test]
fn a_component_never_sent_is_zero() {
    let mut image = ycbcr_image(60, 60, (2, 2));
    image.planes[2].quant = None;
    for kind in KINDS {
        check(&image, &transform("short=48,crop=48"), kind);
    }
}

#[test]
fn a_batch_norm_on_the_input_is_applied_to_all_but_failed_images() {
    let gray = random_image(frame(48, 48, &[(1, 1)], 8), ColorModel::Gray, Orientation::Upright, 3);
    let transform = transform("resize=none,crop=48");
    let plain = form(&transform, InputKind::Blocks, InputValue::F32);
    let luma: Vec<f32> = (0..64).map(|i| 0.5 + i as f32 / 64.0).collect();
    let chroma: Vec<f32> = (0..128).map(|i| 1.0 - i as f32 / 64.0).collect();
    let norm = plain.clone().with_luma_norm(&luma, &luma).unwrap().with_chroma_norm(&chroma, &chroma).unwrap();
    let batch = [Some((&gray, transform)), None];
    let (plain, _) = run(&batch, &plain, &devices()[0]);
    let (normed, _) = run(&batch, &norm, &devices()[0]);
    for ((plain, normed), norm) in plain.iter().zip(&normed).zip([&luma, &chroma]) {
        let (image, failed) = normed.split_at(normed.len() / 2);
        for (i, (&value, &plain)) in image.iter().zip(plain).enumerate() {
            let channel = norm[i % norm.len()];
            assert_eq!(value, plain.mul_add(channel, channel));
        }
        assert!(failed.iter().all(|&value| value == 0.0));
    }
}

#[test]
fn batches_follow_each_other_without_a_wait_and_without_new_memory() {
    let images: Vec<Coefficients> = (0..4).map(|i| ycbcr_image(100 - 7 * i, 60, (2, 2))).collect();
    let transform = transform("short=48,crop=48");
    let form = form(&transform, InputKind::Blocks, InputValue::F32);
    for device in devices() {
        let (stream, other) = (Stream::new(device).unwrap(), Stream::new(device).unwrap());
        let mut stage = InputStage::new(device).unwrap();
        let batches: Vec<_> = images.iter().map(|image| plan(&[Some((image, transform))], &form, device)).collect();
        let memory: Vec<_> = batches
            .iter()
            .map(|(_, values)| {
                let coefficients = DeviceBuffer::new(device, values.len() * 2).unwrap();
                // SAFETY: `batches` lives until the stream is waited for.
                unsafe { stream.upload(coefficients.all(), bytemuck::cast_slice(values)).unwrap() };
                (coefficients, outputs(device, &form, 1))
            })
            .collect();
        stream.synchronize().unwrap();
        let mut num_allocations = 0;
        for (i, ((plan, _), (coefficients, outputs))) in batches.iter().zip(&memory).enumerate() {
            let stream = if i == 2 { &other } else { &stream };
            stage.submit(stream, plan, coefficients.all(), buffers(outputs)).unwrap();
            if i == 0 {
                num_allocations = stage.num_allocations();
            }
        }
        assert_eq!(stage.num_allocations(), num_allocations, "later batches are smaller");
        other.synchronize().unwrap();
        for (image, (_, outputs)) in images.iter().zip(&memory) {
            let (expected, _) = on_cpu(image, &transform, InputKind::Blocks);
            for (output, expected) in outputs.iter().zip(&expected) {
                assert!(distance(&downloaded(&stream, output, InputValue::F32), expected) <= ROUNDING);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = &devices()[0];
    let image = ycbcr_image(60, 60, (2, 2));
    let transform = transform("short=48,crop=48");
    let form = form(&transform, InputKind::Blocks, InputValue::F16);
    let (plan, values) = plan(&[Some((&image, transform))], &form, device);
    let stream = Stream::new(device).unwrap();
    let coefficients = DeviceBuffer::new(device, values.len() * 2).unwrap();
    let outputs = outputs(device, &form, 1);
    let mut stage = InputStage::new(device).unwrap();
    let all = coefficients.all();
    let short = NetworkInput::Blocks { y: outputs[0].all(), c: outputs[1].slice(0..10) };
    let other = NetworkInput::Rgb(outputs[0].all());
    for (coefficients, buffers, hint) in [
        (coefficients.slice(0..128), buffers(&outputs), "coefficients"),
        (all, short, "do not fit"),
        (all, other, "other kind"),
    ] {
        let error = stage.submit(&stream, &plan, coefficients, buffers).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains(hint), "{error}");
    }
    let (frame, color) = (&image.frame, image.color);
    let small =
        InputImage::new(frame, color, Orientation::Upright, &"short=32,crop=32".parse().unwrap(), form.kind(), |_| {
            (0, None)
        });
    let error = InputBatchPlan::new(&[Some(small.unwrap())], &form, 0).unwrap_err();
    assert!(error.to_string().contains("one form"), "{error}");
    assert!(form.with_luma_norm(&[1.0; 63], &[0.0; 64]).is_err());
}

/// From bytes to the network's input, nothing of which the host sees in between.
#[test]
fn decoded_and_resized_on_one_stream() {
    let files: Vec<Vec<u8>> = (0..2).map(|i| dctflow::synth::photo(3, i)).collect();
    let transform = Transform::default();
    let form = form(&transform, InputKind::Blocks, InputValue::F32);
    let device = &devices()[1];
    let images: Vec<_> = files.iter().map(|file| PlannedImage::read(file, &Limits::default()).unwrap()).collect();
    let decode_plan = DecodePlan::new(&images, &PlanOptions::default());
    let inputs = images.iter().zip(&decode_plan.planes);
    let inputs = inputs.map(|(image, planes)| InputImage::decoded(image, planes, &transform, InputKind::Blocks).ok());
    let plan = InputBatchPlan::new(&inputs.collect::<Vec<_>>(), &form, 0).unwrap();
    let mut decode = DecodeStage::new(device).unwrap();
    let mut stage = InputStage::new(device).unwrap();
    let outputs = outputs(device, &form, files.len());
    decode.submit(&images, &decode_plan).unwrap();
    stage.submit(decode.stream(), &plan, decode.coefficients(), buffers(&outputs)).unwrap();
    for (output_idx, output) in outputs.iter().enumerate() {
        let values = downloaded(decode.stream(), output, InputValue::F32);
        for (values, file) in values.chunks(values.len() / files.len()).zip(&files) {
            let coefficients = dctflow::cpu::decode(file, &Limits::default()).coefficients.unwrap();
            let (expected, _) = on_cpu(&coefficients, &transform, InputKind::Blocks);
            assert!(distance(values, &expected[output_idx]) <= ROUNDING);
        }
    }
}
