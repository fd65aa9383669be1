//! `BatchDecoder` as programs use it: coefficients on the device, and memory. Once the largest batch was seen, decoding takes none:
//! counted on the device, and on the host while a batch is planned.

use std::alloc::{GlobalAlloc, Layout as MemoryLayout, System};
use std::cell::Cell;
use std::sync::Arc;

use dctflow::cpu;
use dctflow::device::emulator::{Emulator, EmulatorOptions, Schedule};
use dctflow::device::{Device, DeviceBuffer, Stream};
use dctflow::dlpack::{DataType, DlTensor, Exported};
use dctflow::jpeg::{EntropyCoding, Limits, Plane, Process};
use dctflow::plan::{DecodePlan, InputBatchPlan, InputForm, InputImage, InputValue, PlanOptions, PlannedImage};
use dctflow::resample::Transform;
use dctflow::session::{BatchDecoder, DeviceCoefficients, DevicePlane};
use dctflow::stages::DecodeStage;
use dctflow::synth::{Encoding, Interleaving, Layout, Picture, Script, photo_set, progressive_scans, sequential_scans};
use dctflow::tensor::InputKind;

/// Counts how often a thread takes memory.
struct CountingAllocator;

thread_local! {
    static NUM_ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: MemoryLayout) -> *mut u8 {
        // A thread that ends has nothing left to count.
        let _ = NUM_ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: MemoryLayout) {
        // SAFETY: memory of the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// How often this thread takes memory in `work`.
fn count_allocations(work: impl FnOnce()) -> u64 {
    let before = NUM_ALLOCATIONS.get();
    work();
    NUM_ALLOCATIONS.get() - before
}

fn emulator() -> Arc<Emulator> {
    Emulator::new(EmulatorOptions { num_os_threads: 1, ..EmulatorOptions::default() }).expect("an emulator")
}

/// Photos, a progressive file, and one that the CPU decodes.
fn files() -> Vec<Vec<u8>> {
    let encode = |process, coding| {
        let layout = Layout { process, coding, ..Layout::baseline(&[(2, 2), (1, 1), (1, 1)], 80) };
        let image = Picture::photo(3, 160, 120, 3).coefficients(&layout);
        let scans = match process {
            Process::Progressive => progressive_scans(&image.frame, Interleaving::Interleaved, Script::Mixed),
            _ => sequential_scans(&image.frame, Interleaving::Interleaved),
        };
        Encoding::new(scans).encode(&image).to_bytes()
    };
    let mut files = photo_set(4, 4);
    files.push(encode(Process::Progressive, EntropyCoding::Huffman));
    files.push(encode(Process::ExtendedSequential, EntropyCoding::Arithmetic));
    files.push(b"not a JPEG".to_vec());
    files
}

#[test]
fn batches_no_larger_than_the_first_take_no_memory_on_the_device() {
    let emulator = emulator();
    let device: Arc<dyn Device> = emulator.clone();
    let files = files();
    let mut decoder = BatchDecoder::new(&device).expect("a decoder");
    let decode = |decoder: &mut BatchDecoder, order: &[usize]| {
        let batch: Vec<&[u8]> = order.iter().map(|&idx| files[idx].as_slice()).collect();
        let decoded = decoder.decode(&batch).expect("no error of the device");
        for (file, decoded) in batch.iter().zip(decoded) {
            assert!(decoded == cpu::decode(file, &Limits::default()));
        }
    };
    decode(&mut decoder, &[0, 1, 2, 3, 4, 5, 6]);
    let num_allocations = emulator.num_allocations();
    for order in [&[0, 1, 2, 3, 4, 5, 6][..], &[6, 4, 3, 2, 5, 1, 0], &[4, 1], &[], &[5, 6], &[2, 0, 4]] {
        decode(&mut decoder, order);
        assert_eq!(emulator.num_allocations(), num_allocations, "files {order:?}");
    }
    decode(&mut decoder, &[0, 1, 2, 3, 0, 1, 2, 3]);
    assert!(emulator.num_allocations() > num_allocations, "a larger batch takes more");

    let bytes_before = emulator.allocated_bytes();
    decoder.trim().expect("no error of the device");
    assert!(emulator.allocated_bytes() < 64, "{} of {bytes_before} bytes are left", emulator.allocated_bytes());
    decode(&mut decoder, &[0, 4]);
}

/// Copies a plane to the host, without the padding.
fn download(stream: &Stream, coefficients: &DeviceCoefficients, plane: &DevicePlane) -> Vec<i16> {
    let ([blocks_high, blocks_wide, _], [pitch, ..]) = (plane.shape(), plane.strides());
    let first_byte = (plane.address - coefficients.buffer().address()) as usize;
    let row = |by: u64| {
        let mut row = vec![0i16; blocks_wide as usize * 64];
        let start = first_byte + (by * pitch) as usize * size_of::<i16>();
        let from = coefficients.buffer().slice(start..start + row.len() * size_of::<i16>());
        stream.download_now(bytemuck::cast_slice_mut(&mut row), from).expect("no error of the device");
        row
    };
    (0..blocks_high).flat_map(row).collect()
}

/// The same on the host.
fn own_blocks(plane: &Plane) -> Vec<i16> {
    let rows = plane.data.chunks(plane.pitch_blocks as usize * 64).take(plane.blocks_high as usize);
    rows.flat_map(|row| row[..plane.blocks_wide as usize * 64].iter().copied()).collect()
}

#[test]
fn coefficients_on_the_device_are_those_of_the_cpu() {
    let emulator = emulator();
    let device: Arc<dyn Device> = emulator.clone();
    let stream = Stream::new(&device).expect("a stream");
    let mut files = files();
    let cut = files[1][..files[1].len() / 2].to_vec();
    files.insert(2, cut);
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let mut decoder = BatchDecoder::new(&device).expect("a decoder");
    let mut num_allocations = None;
    for _ in 0..3 {
        let coefficients = decoder.decode_to_device(&files).expect("no error of the device");
        assert_eq!(coefficients.images().len(), files.len());
        for (file, on_device) in files.iter().zip(coefficients.images()) {
            let expected = cpu::decode(file, &Limits::default());
            assert_eq!(on_device.report, expected.report);
            let planes = on_device.image.iter().flat_map(|image| &image.planes);
            let expected_planes: Vec<&Plane> = expected.coefficients.iter().flat_map(|c| &c.planes).collect();
            assert_eq!(planes.clone().count(), expected_planes.len());
            for (plane, expected) in planes.zip(expected_planes) {
                assert_eq!((plane.quant, plane.address % 128), (expected.quant, 0));
                assert!(download(&stream, &coefficients, plane) == own_blocks(expected));
            }
        }
        decoder.recycle(coefficients);
        let first = *num_allocations.get_or_insert(emulator.num_allocations());
        assert_eq!(emulator.num_allocations(), first, "recycled memory is not used again");
    }
    assert_eq!((decoder.stats().on_device, decoder.stats().on_cpu.len()), (3 * 6, 2), "{:?}", decoder.stats());
    assert!(!decoder.stats().cpu_time.is_zero());
}

/// A plan that is wrong on purpose: what it lets a kernel write outside of an image's planes shows.
#[test]
fn coefficients_written_outside_of_their_plane_are_noticed() {
    let files = photo_set(4, 4);
    let images: Vec<PlannedImage<'_>> =
        files.iter().map(|file| PlannedImage::read(file, &Limits::default()).expect("a sound file")).collect();
    let redzone_bytes = emulator().redzone_bytes();
    let options = PlanOptions { subsequence_bytes: None, redzone_bytes };
    let zone_blocks = redzone_bytes.next_multiple_of(128) as u64 / 128;
    // Into the zone behind a plane; past the last zone of all, into memory that only a larger batch uses.
    for (what, num_images, image_idx, component_idx, shift_blocks) in
        [("between planes", 4, 1, 0, 1), ("behind the last plane", 1, 0, 2, zone_blocks + 1)]
    {
        // One each: a device that has failed answers nothing more.
        let device: Arc<dyn Device> = emulator();
        let mut stage = DecodeStage::new(&device).expect("a stage");
        let whole = DecodePlan::new(&images, &options);
        stage.submit(&images, &whole).expect("no error of the device");
        stage.fetch_reports(&images, &whole).expect("the plan is right");
        let images = &images[..num_images];
        let mut plan = DecodePlan::new(images, &options);
        plan.scans[image_idx].components[component_idx].first_coefficient += 64 * shift_blocks;
        let submitted = stage.submit(images, &plan);
        let error = submitted.and_then(|()| stage.fetch_reports(images, &plan)).expect_err(what);
        assert!(error.to_string().contains("forbidden zone"), "{what}: {error}");
    }
}

/// Whoever joins the stream finds the coefficients there, in any schedule, with no wait of the host; and shares them through DLPack.
#[test]
fn coefficients_can_be_joined_and_shared() {
    let files = files().split_off(3);
    let mut odd = files[0].clone();
    // No marker, and no data: the device gives such a file up.
    let place = (odd.len() / 2..).find(|&place| odd[place - 1] != 0xFF).expect("such a byte");
    odd.splice(place..place, [0xFF, 0x01]);
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).chain([&odd[..]]).collect();
    for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(3)] {
        let options = EmulatorOptions { num_os_threads: 1, schedule, ..EmulatorOptions::default() };
        let device: Arc<dyn Device> = Emulator::new(options).expect("an emulator");
        let stream = Stream::new(&device).expect("a stream");
        let mut decoder = BatchDecoder::new(&device).expect("a decoder");
        for _ in 0..2 {
            let in_flight = decoder.submit_to_device(&files).expect("no error of the device");
            in_flight.join(&stream).expect("no error of the device");
            let all = DeviceBuffer::new(&device, in_flight.buffer().len_bytes()).expect("memory");
            stream.copy(all.all(), in_flight.buffer().all()).expect("no error of the device");
            assert!(in_flight.places()[3].is_none() && in_flight.stream().handle() != stream.handle());
            let coefficients = in_flight.finish().expect("no error of the device");
            assert_eq!(coefficients.late(), [4]);
            let mut copied = vec![0i16; all.len_bytes() / size_of::<i16>()];
            stream.download_now(bytemuck::cast_slice_mut(&mut copied), all.all()).expect("no error of the device");
            for (file_idx, image) in coefficients.places().into_iter().enumerate() {
                let expected = cpu::decode(files[file_idx], &Limits::default());
                let expected: Vec<&Plane> = expected.coefficients.iter().flat_map(|c| &c.planes).collect();
                let planes = image.map_or(&[][..], |image| &image.planes);
                assert_eq!(planes.len(), expected.len());
                for (plane, expected) in planes.iter().zip(expected) {
                    let exported = export(&coefficients, plane);
                    // What was given up came after the copy on the joined stream.
                    if file_idx != 4 {
                        let first = plane.offset_bytes(coefficients.buffer()) / size_of::<i16>();
                        assert!(own_blocks(expected) == strided(&copied[first..], &exported), "file {file_idx}");
                    }
                    assert!(download(&stream, &coefficients, plane) == own_blocks(expected));
                }
            }
            decoder.recycle_after(coefficients, &stream).expect("no error of the device");
        }
        // Memory that somebody shares is not written by the next batch.
        let coefficients = decoder.decode_to_device(&files[..1]).expect("no error of the device");
        let (address, shared) = (coefficients.buffer().address(), Arc::clone(coefficients.buffer()));
        decoder.recycle(coefficients);
        let next = decoder.decode_to_device(&files[..1]).expect("no error of the device");
        assert_ne!(next.buffer().address(), address);
        drop(shared);
    }
}

/// A plane as another program gets it.
fn export(coefficients: &DeviceCoefficients, plane: &DevicePlane) -> Exported {
    let buffer = coefficients.buffer();
    let (shape, strides) = (plane.shape().map(|len| len as usize), plane.strides().map(|len| len as usize));
    let offset_bytes = plane.offset_bytes(buffer);
    Exported::from_device_strided(Arc::clone(buffer), 0, offset_bytes, DataType::I16, &shape, &strides)
        .expect("a plane lies in its batch's memory")
}

/// Values by shape and strides, as they follow each other.
fn strided(values: &[i16], exported: &Exported) -> Vec<i16> {
    let DlTensor { strides, ndim, .. } = exported.managed().dl_tensor;
    // SAFETY: as many strides as dimensions, which live as long as the tensor.
    let strides = unsafe { std::slice::from_raw_parts(strides, ndim as usize) };
    let &[blocks_high, blocks_wide, _] = exported.shape() else { panic!("three dimensions") };
    let blocks = (0..blocks_high).flat_map(|by| (0..blocks_wide).map(move |bx| (by, bx)));
    let starts = blocks.map(|(by, bx)| (by * strides[0] + bx * strides[1]) as usize);
    starts.flat_map(|start| values[start..start + 64].iter().copied()).collect()
}

#[test]
fn planning_takes_no_memory_of_the_host() {
    let files = files();
    let images: Vec<PlannedImage<'_>> =
        files.iter().filter_map(|file| PlannedImage::read(file, &Limits::default()).ok()).collect();
    let mut plan = DecodePlan::default();
    let options = PlanOptions { subsequence_bytes: None, redzone_bytes: 64 };
    assert!(count_allocations(|| plan.replace(&images, &options)) > 0);
    for batch in [&images[..], &images[1..3], &images[4..], &[], &images[..]] {
        assert_eq!(count_allocations(|| plan.replace(batch, &options)), 0, "{} images", batch.len());
        let fresh = DecodePlan::new(batch, &options);
        assert_eq!(format!("{:?}", plan.waves), format!("{:?}", fresh.waves));
        assert_eq!((plan.scratch.len_bytes(), plan.lookup_bytes), (fresh.scratch.len_bytes(), fresh.lookup_bytes));
        assert_eq!((&plan.planes, &plan.data), (&fresh.planes, &fresh.data));
    }
}

#[test]
fn planning_the_input_takes_no_memory_of_the_host() {
    let files = files();
    let images: Vec<PlannedImage<'_>> =
        files.iter().filter_map(|file| PlannedImage::read(file, &Limits::default()).ok()).collect();
    let planes = DecodePlan::new(&images, &PlanOptions::default()).planes;
    let (transform, kind) = (Transform::default(), InputKind::Blocks);
    let input = |(image, planes): (&PlannedImage<'_>, &[u64; 4])| {
        InputImage::decoded(image, planes, &transform, kind).expect("a sound file")
    };
    let mut inputs: Vec<Option<InputImage>> = images.iter().zip(&planes).map(input).map(Some).collect();
    inputs.push(None);
    let form = InputForm::blocks(224, 224, InputValue::F16);
    let mut plan = InputBatchPlan::empty(&form);
    assert!(count_allocations(|| plan.replace(&inputs, 64).expect("one form")) > 0);
    for batch in [&inputs[..], &inputs[1..3], &inputs[4..], &[], &inputs[..]] {
        let num_allocations = count_allocations(|| plan.replace(batch, 64).expect("one form"));
        assert_eq!(num_allocations, 0, "{} images", batch.len());
        let fresh = InputBatchPlan::new(batch, &form, 64).expect("one form");
        assert_eq!(format!("{:?}{:?}", plan.axes, plan.tiles), format!("{:?}{:?}", fresh.axes, fresh.tiles));
        assert_eq!(format!("{:?}{:?}", plan.planes, plan.grids), format!("{:?}{:?}", fresh.planes, fresh.grids));
        assert_eq!((plan.scratch.len_bytes(), plan.matrices), (fresh.scratch.len_bytes(), fresh.matrices));
        assert_eq!((plan.tile_bytes, plan.num_coefficients), (fresh.tile_bytes, fresh.num_coefficients));
    }
}
