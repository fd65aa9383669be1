//! Streams run late and in any order that events allow; memory has its limits; a failure is final.

use crate::selftest::SCHEDULES;
use crate::wrapped::{Call, Hooks, Wrapped};
use dctflow::abi::*;
use dctflow::device::emulator::{Emulator, EmulatorOptions, Schedule};
use dctflow::device::{Device, DeviceBuffer, Event, Gate, Grid, PinnedBuffer, Stream, StreamOperation, TraceDetail};
use dctflow::{ErrorKind, Result};
use std::sync::{Arc, Mutex};

fn device(schedule: Schedule) -> Arc<dyn Device> {
    Emulator::with_schedule(schedule).unwrap()
}

fn downloaded(stream: &Stream, buffer: &DeviceBuffer) -> Result<Vec<u8>> {
    let mut bytes = vec![0; buffer.len_bytes()];
    stream.download_now(&mut bytes, buffer.all())?;
    Ok(bytes)
}

/// As `checksum_words` has it.
fn checksum(words: &[u32]) -> u64 {
    (0u64..).zip(words).fold(0, |sum, (idx, &word)| {
        let mut mixed = idx << 32 | u64::from(word);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        sum.wrapping_add(mixed ^ (mixed >> 33))
    })
}

#[test]
fn a_kernel_computes_what_it_should_on_any_grid() {
    let words: Vec<u32> = (0..10_007u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
    for schedule in SCHEDULES {
        for num_ctas in [1, 2, 7, 100] {
            let device = device(schedule);
            let stream = Stream::new(&device).unwrap();
            let buffer = DeviceBuffer::new(&device, words.len() * 4).unwrap();
            let sum = DeviceBuffer::new(&device, 8).unwrap();
            let params = ChecksumWordsParams {
                words: buffer.ptr(0),
                checksum: sum.ptr(0),
                num_words: words.len() as u32,
                reserved: 0,
            };
            stream.fill(sum.all(), 0).unwrap();
            // SAFETY: `words` and the buffers outlive the download, which waits.
            unsafe {
                stream.upload(buffer.all(), bytemuck::cast_slice(&words)).unwrap();
                stream.launch::<ChecksumWords>(Grid::x(num_ctas), 0, &params).unwrap();
            }
            let found = downloaded(&stream, &sum).unwrap();
            assert_eq!(found, checksum(&words).to_le_bytes(), "{schedule:?}, {num_ctas} CTAs");
        }
    }
}

#[test]
fn a_host_buffer_is_read_when_the_copy_runs() {
    for schedule in SCHEDULES {
        let device = device(schedule);
        let stream = Stream::new(&device).unwrap();
        let buffer = DeviceBuffer::new(&device, 16).unwrap();
        let mut staging = PinnedBuffer::new(&device, 16).unwrap();
        staging.as_mut_slice().fill(1);
        // SAFETY: wrong on purpose, as far as the contents go; the memory itself stays.
        unsafe { stream.upload(buffer.all(), staging.as_slice()).unwrap() };
        staging.as_mut_slice().fill(2);
        assert_eq!(downloaded(&stream, &buffer).unwrap(), [2; 16], "{schedule:?}: reused too early, and it shows");
    }
}

/// One stream writes, another reads; with the event between them, or without.
fn written_and_read(schedule: Schedule, has_event: bool) -> Vec<u8> {
    let device = device(schedule);
    let (reader, writer) = (Stream::new(&device).unwrap(), Stream::new(&device).unwrap());
    let buffer = DeviceBuffer::new(&device, 16).unwrap();
    let is_written = Event::new(&device).unwrap();
    writer.fill(buffer.all(), 7).unwrap();
    if has_event {
        writer.record(&is_written).unwrap();
        reader.wait_for(&is_written).unwrap();
    }
    downloaded(&reader, &buffer).unwrap()
}

#[test]
fn only_events_order_streams() {
    for schedule in SCHEDULES {
        assert_eq!(written_and_read(schedule, true), [7; 16], "{schedule:?}");
    }
    assert_eq!(written_and_read(Schedule::Forward, false), [0xA5; 16], "the forgotten event shows");
    let outcomes: Vec<_> = (0..32).map(|seed| written_and_read(Schedule::Random(seed), false)[0]).collect();
    assert!(outcomes.contains(&7) && outcomes.contains(&0xA5), "seeds choose: {outcomes:?}");
}

#[test]
fn a_wait_means_the_recording_before_it() {
    for schedule in SCHEDULES {
        let device = device(schedule);
        let (reader, writer) = (Stream::new(&device).unwrap(), Stream::new(&device).unwrap());
        let buffer = DeviceBuffer::new(&device, 1).unwrap();
        let mark = Event::new(&device).unwrap();
        assert!(mark.has_happened().unwrap(), "nothing to wait for yet");
        reader.wait_for(&mark).unwrap();
        reader.synchronize().unwrap();
        writer.fill(buffer.all(), 1).unwrap();
        writer.record(&mark).unwrap();
        writer.fill(buffer.all(), 2).unwrap();
        writer.record(&mark).unwrap();
        reader.wait_for(&mark).unwrap();
        assert_eq!(downloaded(&reader, &buffer).unwrap(), [2], "{schedule:?}");
        assert!(mark.has_happened().unwrap());
    }
}

#[test]
fn a_panic_while_recording_ends_the_recording() {
    let device = device(Schedule::Forward);
    let stream = Stream::new(&device).unwrap();
    let buffer = DeviceBuffer::new(&device, 16).unwrap();
    stream.fill(buffer.all(), 1).unwrap();
    let record = || {
        stream.capture(|| {
            stream.fill(buffer.all(), 2)?;
            panic!("on purpose")
        })
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(record)).is_err());
    // What is put on the stream is done again, and what was recorded is not.
    assert_eq!(downloaded(&stream, &buffer).unwrap(), [1; 16]);
    let graph = stream.capture(|| stream.fill(buffer.all(), 3)).unwrap();
    // SAFETY: the buffer is alive.
    unsafe { stream.launch_graph(&graph).unwrap() };
    assert_eq!(downloaded(&stream, &buffer).unwrap(), [3; 16]);
}

#[test]
fn asking_for_an_event_again_and_again_gets_there() {
    let device = device(Schedule::Random(5));
    let stream = Stream::new(&device).unwrap();
    let buffer = DeviceBuffer::new(&device, 8).unwrap();
    let (start, end) = (Event::new(&device).unwrap(), Event::new(&device).unwrap());
    stream.record(&start).unwrap();
    for byte in 0..10 {
        stream.fill(buffer.all(), byte).unwrap();
    }
    stream.record(&end).unwrap();
    assert!(start.elapsed(&end).is_err(), "neither has happened");
    let num_questions = (0..100).take_while(|_| !end.has_happened().unwrap()).count();
    assert!((1..100).contains(&num_questions), "{num_questions}");
    start.elapsed(&end).unwrap();
    end.synchronize().unwrap();
}

#[test]
fn memory_ends_with_a_typed_error_and_can_be_had_again() {
    let options = EmulatorOptions { memory_bytes: 1 << 20, ..EmulatorOptions::default() };
    let device: Arc<dyn Device> = Emulator::new(options).unwrap();
    let first = DeviceBuffer::new(&device, 1 << 19).unwrap();
    let error = DeviceBuffer::new(&device, (1 << 19) + 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("524289 bytes"), "{error}");
    drop(first);
    DeviceBuffer::new(&device, 1 << 20).unwrap();
    assert_eq!(DeviceBuffer::new(&device, usize::MAX / 2).unwrap_err().kind(), ErrorKind::OutOfMemory);
}

#[test]
fn buffers_and_discarded_memory_are_poisoned() {
    let device = device(Schedule::Forward);
    let stream = Stream::new(&device).unwrap();
    let buffer = DeviceBuffer::new(&device, 100).unwrap();
    assert_eq!(downloaded(&stream, &buffer).unwrap(), [0xA5; 100]);
    stream.fill(buffer.all(), 3).unwrap();
    stream.discard(buffer.slice(50..100)).unwrap();
    assert_eq!(downloaded(&stream, &buffer).unwrap(), [[3; 50], [0xA5; 50]].concat());
}

/// Sums the words of a buffer into `at_bytes` of the same buffer.
fn checksum_into(device: &Arc<dyn Device>, buffer: &DeviceBuffer, at_bytes: usize) -> Result<()> {
    let params =
        ChecksumWordsParams { words: buffer.ptr(0), checksum: buffer.ptr(at_bytes), num_words: 4, reserved: 0 };
    let stream = Stream::new(device)?;
    // SAFETY: the buffer outlives the wait.
    unsafe { stream.launch::<ChecksumWords>(Grid::x(1), 0, &params)? };
    stream.synchronize()
}

#[test]
fn writing_to_a_forbidden_zone_inside_a_buffer() {
    let device = device(Schedule::Forward);
    let buffer = DeviceBuffer::new(&device, 1024).unwrap();
    // SAFETY: the zone lies in the buffer, which nothing uses yet.
    unsafe { device.forbid(buffer.address() + 512, device.redzone_bytes()) };
    checksum_into(&device, &buffer, 256).unwrap();
    // SAFETY: the zone lies in the buffer, which nothing uses any more.
    unsafe { device.permit(buffer.address(), 1024) };
    checksum_into(&device, &buffer, 520).unwrap();
    // SAFETY: as above.
    unsafe { device.forbid(buffer.address() + 512, 256) };
    let error = checksum_into(&device, &buffer, 520).unwrap_err().to_string();
    let by_sanitizer = error.contains("AddressSanitizer: use-after-poison");
    let expected = "`checksum_words` wrote to the forbidden zone at offset 512";
    assert!(by_sanitizer || error.contains(expected), "{error}");
}

#[test]
fn copies_and_fills_that_touch_a_forbidden_zone() {
    type Touch = fn(&Stream, &DeviceBuffer, &DeviceBuffer) -> Result<()>;
    let touches: [(&str, Touch); 3] = [
        ("a fill of 8 bytes", |stream, buffer, _| stream.fill(buffer.slice(505..513), 1)),
        ("a copy of 300 bytes", |stream, buffer, other| stream.copy(other.slice(0..300), buffer.slice(700..1000))),
        ("a copy of 1024 bytes", |stream, buffer, other| stream.copy(buffer.all(), other.all())),
    ];
    for (what, touch) in touches {
        let device = device(Schedule::Forward);
        let (stream, buffer) = (Stream::new(&device).unwrap(), DeviceBuffer::new(&device, 1024).unwrap());
        let other = DeviceBuffer::new(&device, 1024).unwrap();
        // SAFETY: the zone lies in the buffer, which nothing uses yet.
        unsafe { device.forbid(buffer.address() + 512, 256) };
        stream.fill(buffer.slice(0..512), 1).unwrap();
        stream.copy(other.slice(0..256), buffer.slice(768..1024)).unwrap();
        stream.synchronize().unwrap();
        touch(&stream, &buffer, &other).unwrap();
        let error = stream.synchronize().unwrap_err().to_string();
        let place = "the forbidden zone at offset 512 of a device buffer of 1024 bytes";
        assert_eq!(error, format!("{what} touches {place}"));
    }
}

#[test]
fn a_failure_is_final_for_its_device_only() {
    let (broken, well) = (device(Schedule::Forward), device(Schedule::Forward));
    let stream = Stream::new(&broken).unwrap();
    let params = SelftestParams { which: MISTAKE_MASK_WITHOUT_SELF, ..Default::default() };
    // SAFETY: wrong on purpose, in a way that the emulator catches before anything is touched.
    unsafe { stream.launch::<BreakRule>(Grid::x(3), 0, &params).unwrap() };
    let error = stream.synchronize().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Device);
    assert!(error.to_string().contains("kernel `break_rule`, CTA (0, 0, 0), thread 0: mask"), "{error}");
    assert_eq!(Stream::new(&broken).unwrap_err().to_string(), error.to_string());
    assert_eq!(DeviceBuffer::new(&broken, 1).unwrap_err().kind(), ErrorKind::Device);
    Stream::new(&well).unwrap().synchronize().unwrap();
}

#[test]
fn launches_that_cannot_be() {
    let device = device(Schedule::Forward);
    let stream = Stream::new(&device).unwrap();
    let params = ChecksumWordsParams::default();
    // SAFETY: none of these is run.
    unsafe {
        let error = stream.launch::<ChecksumWords>(Grid::x(1), 99 << 10, &params).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("asks for 101440 bytes of shared memory"), "{error}");
        let error = stream.launch::<ChecksumWords>(Grid { x: 1, y: 65_536, z: 1 }, 0, &params).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        stream.launch::<ChecksumWords>(Grid::x(0), 0, &params).unwrap();
    }
    stream.synchronize().unwrap();
}

#[test]
fn several_threads_share_a_device() {
    let device = device(Schedule::Random(9));
    std::thread::scope(|scope| {
        for byte in 0..8 {
            let device = &device;
            scope.spawn(move || {
                for _ in 0..50 {
                    let stream = Stream::new(device).unwrap();
                    let buffer = DeviceBuffer::new(device, 64).unwrap();
                    stream.fill(buffer.all(), byte).unwrap();
                    assert_eq!(downloaded(&stream, &buffer).unwrap(), [byte; 64]);
                }
            });
        }
    });
}

#[test]
fn schedules_have_names() {
    assert_eq!("forward".parse::<Schedule>().unwrap(), Schedule::Forward);
    assert_eq!("reverse".parse::<Schedule>().unwrap(), Schedule::Reverse);
    assert_eq!("random:17".parse::<Schedule>().unwrap(), Schedule::Random(17));
    for wrong in ["", "random", "random:", "random:x", "Forward"] {
        assert_eq!(wrong.parse::<Schedule>().unwrap_err().kind(), ErrorKind::Usage, "{wrong}");
    }
}

#[test]
fn a_trace_tells_what_took_its_time() {
    let device = device(Schedule::Forward);
    let stream = Stream::new(&device).unwrap();
    let buffer = DeviceBuffer::new(&device, 64).unwrap();
    let params = ChecksumWordsParams { words: buffer.ptr(0), checksum: buffer.ptr(0), num_words: 0, reserved: 0 };
    let words = [0u8; 64];
    let names = |detail| {
        stream.start_trace(detail).unwrap();
        // SAFETY: `words` and the buffer outlive the trace, whose end is waited for.
        unsafe {
            stream.upload(buffer.all(), &words).unwrap();
            stream.launch::<ChecksumWords>(Grid::x(1), 0, &params).unwrap();
        }
        stream.fill(buffer.all(), 1).unwrap();
        stream.download_now(&mut [0; 64], buffer.all()).unwrap();
        stream.finish_trace().unwrap().iter().map(|span| span.name).collect::<Vec<_>>()
    };
    assert_eq!(names(TraceDetail::Operations), ["upload", "checksum_words", "fill", "download"]);
    assert_eq!(names(TraceDetail::Phases), ["upload", "device", "download"]);
    assert_eq!(names(TraceDetail::Submissions), names(TraceDetail::Operations));
    assert!(stream.finish_trace().unwrap().is_empty());
}

#[test]
fn a_trace_tells_when_and_how_much() {
    let device = device(Schedule::Forward);
    let stream = Stream::new(&device).unwrap();
    let buffer = DeviceBuffer::new(&device, 64).unwrap();
    let params = ChecksumWordsParams { words: buffer.ptr(0), checksum: buffer.ptr(0), num_words: 0, reserved: 0 };
    for (detail, has_times) in [(TraceDetail::Operations, true), (TraceDetail::Submissions, false)] {
        stream.start_trace(detail).unwrap();
        stream.fill(buffer.slice(0..40), 1).unwrap();
        // SAFETY: the buffer outlives the trace, whose end is waited for.
        unsafe { stream.launch::<ChecksumWords>(Grid { x: 2, y: 3, z: 1 }, 16, &params).unwrap() };
        let spans = stream.finish_trace().unwrap();
        let launch =
            StreamOperation::Launch { kernel: ChecksumWords::ID, grid: Grid { x: 2, y: 3, z: 1 }, smem_tail_bytes: 16 };
        let operations: Vec<StreamOperation> = spans.iter().map(|span| span.operation).collect();
        assert_eq!(operations, [StreamOperation::Fill { len_bytes: 40 }, launch]);
        assert!(spans.is_sorted_by_key(|span| span.submitted));
        if has_times {
            // The emulator works late: it begins when somebody waits.
            assert!(spans[0].began >= spans[1].submitted && spans[1].began >= spans[0].began + spans[0].time);
        } else {
            assert!(spans.iter().all(|span| span.began.is_zero() && span.time.is_zero()));
        }
    }
}

/// Sees what a stream is held by.
#[derive(Default)]
struct Held(Mutex<Vec<Arc<Gate>>>);

impl Hooks for Held {
    fn around<R>(&self, _: Call, work: impl FnOnce() -> R) -> R {
        work()
    }

    fn hold(&self, gate: &Arc<Gate>) {
        self.0.lock().unwrap().push(Arc::clone(gate));
    }
}

#[test]
fn a_traced_stream_is_held_from_its_first_operation_until_somebody_waits() {
    let wrapped = Wrapped::new(EmulatorOptions::default(), Held::default());
    let device: Arc<dyn Device> = wrapped.clone();
    let stream = Stream::new(&device).unwrap();
    let buffer = DeviceBuffer::new(&device, 64).unwrap();
    let gates = || wrapped.hooks.0.lock().unwrap().clone();
    for (detail, num_holds) in [(TraceDetail::Operations, 1), (TraceDetail::Phases, 2), (TraceDetail::Submissions, 2)] {
        stream.start_trace(detail).unwrap();
        // Nothing is there to be held yet: stages wait for the batch before.
        stream.synchronize().unwrap();
        stream.fill(buffer.all(), 1).unwrap();
        stream.fill(buffer.all(), 2).unwrap();
        assert_eq!(gates().len(), num_holds, "{detail:?}: once, and only for times");
        assert_eq!(gates().last().unwrap().is_open(), detail == TraceDetail::Submissions, "{detail:?}");
        if detail == TraceDetail::Phases {
            stream.synchronize().unwrap();
            assert!(gates().last().unwrap().is_open(), "who waits in between waits for the device only");
        }
        stream.finish_trace().unwrap();
        assert!(gates().iter().all(|gate| gate.is_open()));
    }
    stream.start_trace(TraceDetail::Operations).unwrap();
    stream.fill(buffer.all(), 1).unwrap();
    drop(stream);
    assert!(gates().last().unwrap().is_open(), "a trace that is dropped holds nothing");
}

#[test]
fn a_graph_does_what_was_recorded_each_time_and_not_before() {
    for schedule in SCHEDULES {
        let device = device(schedule);
        let stream = Stream::new(&device).unwrap();
        let words = DeviceBuffer::new(&device, 16).unwrap();
        let sum = DeviceBuffer::new(&device, 8).unwrap();
        let mut staging = PinnedBuffer::new(&device, 16).unwrap();
        stream.fill(sum.all(), 9).unwrap();
        let graph = stream
            .capture(|| {
                let params =
                    ChecksumWordsParams { words: words.ptr(0), checksum: sum.ptr(0), num_words: 4, reserved: 0 };
                stream.fill(sum.all(), 0)?;
                // SAFETY: all buffers outlive the launches of the graph.
                unsafe {
                    stream.upload(words.all(), staging.as_slice())?;
                    stream.launch::<ChecksumWords>(Grid::x(2), 0, &params)
                }
            })
            .unwrap();
        assert_eq!(downloaded(&stream, &sum).unwrap(), [9; 8], "{schedule:?}: recorded, not done");
        for round in 1..4u8 {
            staging.as_mut_slice().fill(round);
            // SAFETY: all buffers are alive, and the one on the host is left alone until the download below.
            unsafe { stream.launch_graph(&graph).unwrap() };
            let expected = checksum(&[u32::from_ne_bytes([round; 4]); 4]);
            assert_eq!(downloaded(&stream, &sum).unwrap(), expected.to_le_bytes(), "{schedule:?}, round {round}");
        }
    }
}

#[test]
fn what_a_graph_cannot_hold_is_refused() {
    let device = device(Schedule::Forward);
    let (stream, event) = (Stream::new(&device).unwrap(), Event::new(&device).unwrap());
    let attempts: [&dyn Fn() -> Result<()>; 4] =
        [&|| stream.synchronize(), &|| stream.record(&event), &|| stream.wait_for(&event), &|| {
            stream.capture(|| Ok(())).map(drop)
        }];
    for attempt in attempts {
        assert_eq!(stream.capture(attempt).unwrap_err().kind(), ErrorKind::Usage);
    }
    stream.synchronize().unwrap();
}
