//! Who waits for what: seen behind a gate that holds all kernels back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dctflow::device::emulator::EmulatorOptions;
use dctflow::device::{DeviceBuffer, Stream};
use dctflow::network::Variant;
use dctflow::session::{Device, DeviceChoice, Session};

use super::wrapped::{Call, Hooks, Wrapped};
use super::{CLASSES, Kind, assert_same, batch, is_gpu, picture, weights};

/// Much longer than anybody takes who does not wait.
const GIVE_UP: Duration = Duration::from_secs(60);

/// No kernel is launched before it opens.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
    has_given_up: AtomicBool,
}

struct Gated(Arc<Gate>);

impl Hooks for Gated {
    fn around<R>(&self, call: Call, work: impl FnOnce() -> R) -> R {
        if let Call::Launch { .. } = call {
            let is_open = self.0.is_open.lock().unwrap();
            let (is_open, waited) = self.0.opened.wait_timeout_while(is_open, GIVE_UP, |is_open| !*is_open).unwrap();
            drop(is_open);
            self.0.has_given_up.fetch_or(waited.timed_out(), Ordering::SeqCst);
        }
        work()
    }
}

#[test]
fn try_submit_waits_for_nothing_where_a_stream_is_joined() {
    if is_gpu() {
        crate::say::skipped("only an emulator can be held back");
        return;
    }
    let gate = Arc::new(Gate::default());
    let options = EmulatorOptions { num_os_threads: 1, ..EmulatorOptions::default() };
    let handle: Arc<dyn dctflow::device::Device> = Wrapped::new(options, Gated(Arc::clone(&gate)));
    let opened = Device { kind: DeviceChoice::Emulator, why: String::new(), handle: Some(Arc::clone(&handle)) };
    let stream = Arc::new(Stream::new(&handle).unwrap());
    let weights = weights(Variant::LateConcatRfaThinner, 32);
    let builder = Session::builder(&weights).on(&[opened]).threads(1).slots(1);
    let session = builder.stream(Arc::clone(&stream)).build().unwrap();
    let files = [picture(1, (24, 24), Kind::Baseline)];
    let logits = Arc::new(DeviceBuffer::new(&handle, CLASSES * size_of::<f32>()).unwrap());
    let with_logits = || {
        let mut batch = batch(&files);
        batch.write_logits_to(Arc::clone(&logits));
        batch
    };
    let ticket = session.try_submit(with_logits()).unwrap();
    assert!(!ticket.is_on_its_way());
    let busy = session.try_submit(with_logits()).unwrap_err();
    assert!(!gate.has_given_up.load(Ordering::SeqCst), "it waited until the gate gave up");
    *gate.is_open.lock().unwrap() = true;
    gate.opened.notify_all();
    // What is put on the stream from here on comes after the batch, with no wait of the host for it.
    ticket.wait_until_on_its_way();
    let mut seen = [0f32; CLASSES];
    stream.download_now(bytemuck::cast_slice_mut(&mut seen), logits.all()).unwrap();
    let outcomes = ticket.wait().unwrap();
    assert_eq!(outcomes[0].logits, seen);
    assert_same(&session.submit(busy.0).wait().unwrap(), &outcomes, "the same batch again");
}

/// Counts recordings.
#[derive(Default)]
struct CountGraphs(AtomicUsize);

impl Hooks for Arc<CountGraphs> {
    fn around<R>(&self, call: Call, work: impl FnOnce() -> R) -> R {
        self.0.fetch_add(usize::from(call == Call::BeginCapture), Ordering::SeqCst);
        work()
    }
}

#[test]
fn without_graphs_nothing_is_recorded() {
    let weights = weights(Variant::LateConcatRfaThinner, 32);
    let files = [picture(1, (24, 24), Kind::Baseline)];
    let num_recordings = [true, false].map(|use_graphs| {
        let counter = Arc::new(CountGraphs::default());
        let options = EmulatorOptions { num_os_threads: 1, ..EmulatorOptions::default() };
        let handle: Arc<dyn dctflow::device::Device> = Wrapped::new(options, Arc::clone(&counter));
        let opened = Device { kind: DeviceChoice::Emulator, why: String::new(), handle: Some(handle) };
        let builder = Session::builder(&weights).on(&[opened]).threads(1).slots(1);
        let session = builder.graphs(use_graphs).build().unwrap();
        (0..3).for_each(|_| drop(session.submit(batch(&files)).wait().unwrap()));
        counter.0.load(Ordering::SeqCst)
    });
    assert_eq!(num_recordings, [1, 0]);
}
