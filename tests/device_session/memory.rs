//! Memory that is given back, and bytes that are pinned from the start.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use dctflow::ErrorKind;
use dctflow::device::MemoryUse;
use dctflow::device::emulator::{EmulatorOptions, Schedule};
use dctflow::network::Variant;
use dctflow::session::{Batch, Device, DeviceChoice, Session};

use super::wrapped::{Call, Hooks, Wrapped};
use super::{
    Kind, assert_same, batch, device, emulator, handle, is_gpu, mixed_files, picture, poison, small_builder,
    small_session, weights,
};

/// Device memory, and pinned. A GPU is shared with other tests: there this says nothing.
fn held(device: &Device) -> (u64, u64) {
    if is_gpu() {
        return (0, 0);
    }
    let MemoryUse { device_bytes, pinned_bytes, .. } = handle(device).memory_meter().read();
    (device_bytes, pinned_bytes)
}

#[test]
fn a_trimmed_session_holds_what_it_held_at_first() {
    let device = device(Schedule::Random(4));
    let session = small_session(&device, |builder| builder.slots(2));
    let at_first = held(&device);
    let files = mixed_files();
    let expected = session.submit(batch(&files)).wait().unwrap();
    for _ in 0..2 {
        // Both slots, and a pinned batch.
        let tickets = [(); 4].map(|()| session.submit(batch(&files)));
        drop(pinned(&session, &files));
        let (device_bytes, pinned_bytes) = held(&device);
        assert!(is_gpu() || device_bytes > at_first.0 && pinned_bytes > at_first.1);
        // It waits for the batches that run, and disturbs none.
        session.trim().unwrap();
        tickets.into_iter().for_each(|ticket| assert_same(&ticket.wait().unwrap(), &expected, "around a trim"));
        session.trim().unwrap();
        assert_eq!(held(&device), at_first);
    }
    assert_same(&session.submit(batch(&files)).wait().unwrap(), &expected, "after a trim");
    let weights = weights(Variant::LateConcatRfaThinner, 32);
    Session::builder(&weights).device(DeviceChoice::Cpu).threads(1).build().unwrap().trim().unwrap();
}

#[test]
fn a_lost_device_cannot_be_trimmed() {
    let device = emulator(EmulatorOptions { num_os_threads: 1, ..EmulatorOptions::default() });
    let session = small_session(&device, |builder| builder.slots(2));
    poison(&device);
    assert_eq!(session.trim().unwrap_err().kind(), ErrorKind::Device);
    // Its slots are gone: there is nothing left to give back.
    session.trim().unwrap();
    assert_eq!(session.submit(batch(&mixed_files())).wait().unwrap_err().kind(), ErrorKind::Device);
}

/// A batch of these files, written where they are uploaded from.
fn pinned(session: &Session, files: &[Vec<u8>]) -> Batch {
    let mut batch = session.pinned_batch(files.iter().map(Vec::len).sum()).unwrap();
    for (tag, file) in files.iter().enumerate() {
        batch.free()[..file.len()].copy_from_slice(file);
        batch.push(file.len(), None, tag as u64).unwrap();
    }
    assert!(batch.free().is_empty() && batch.len() == files.len());
    assert_eq!(batch.push(1, None, 0).unwrap_err().kind(), ErrorKind::Usage);
    batch.into()
}

/// Where uploads are read from.
#[derive(Default)]
struct Uploads(Mutex<Vec<Range<usize>>>);

impl Hooks for Arc<Uploads> {
    fn around<R>(&self, call: Call, work: impl FnOnce() -> R) -> R {
        if let Call::Upload { from, len_bytes } = call {
            self.0.lock().unwrap().push(from..from + len_bytes);
        }
        work()
    }
}

#[test]
fn pinned_bytes_are_uploaded_from_where_they_were_written() {
    let uploads = Arc::new(Uploads::default());
    let options = EmulatorOptions { num_os_threads: 1, schedule: Schedule::Random(2), ..EmulatorOptions::default() };
    let handle: Arc<dyn dctflow::device::Device> = Wrapped::new(options, Arc::clone(&uploads));
    let opened = Device { kind: DeviceChoice::Emulator, why: String::new(), handle: Some(Arc::clone(&handle)) };
    let session = small_session(&opened, |builder| builder.slots(1));
    let files: Vec<Vec<u8>> = (0..3).map(|seed| picture(seed, (160, 120), Kind::Baseline)).collect();
    let num_bytes: usize = files.iter().map(Vec::len).sum();
    let take_uploads = || std::mem::take(&mut *uploads.0.lock().unwrap());
    take_uploads();
    let expected = session.submit(batch(&files)).wait().unwrap();
    let staged_bytes: usize = take_uploads().iter().map(Range::len).sum();
    let mut memory = None;
    for round in 0..3 {
        let place = {
            let mut empty = session.pinned_batch(num_bytes).unwrap();
            let start = empty.free().as_ptr() as usize;
            for (tag, file) in files.iter().enumerate() {
                empty.free()[..file.len()].copy_from_slice(file);
                empty.push(file.len(), None, tag as u64).unwrap();
            }
            let outcomes = session.submit(empty.into()).wait().unwrap();
            assert_same(&outcomes, &expected, "pinned");
            start..start + num_bytes
        };
        let (direct, other): (Vec<_>, Vec<_>) =
            take_uploads().into_iter().partition(|from| place.contains(&from.start) && from.end <= place.end);
        // One for each scan: all but the headers.
        assert_eq!(direct.len(), files.len());
        let direct_bytes: usize = direct.iter().map(Range::len).sum();
        assert!(direct_bytes > num_bytes / 2, "{direct_bytes} of {num_bytes}");
        let other_bytes: usize = other.iter().map(Range::len).sum();
        assert!(other_bytes + direct_bytes <= staged_bytes, "nothing is uploaded twice");
        let now = (place, handle.memory_meter().read());
        assert!(round == 0 || memory.as_ref() == Some(&now), "the memory of the batch before serves again");
        memory = Some(now);
    }
}

#[test]
fn faults_are_those_of_other_batches() {
    let files = mixed_files();
    let device = device(Schedule::Reverse);
    let session = small_session(&device, |builder| builder.max_batch(3).slots(2));
    let expected = session.submit(batch(&files)).wait().unwrap();
    assert_same(&session.submit(pinned(&session, &files)).wait().unwrap(), &expected, "pinned");
    // Files of two kinds of memory in one batch.
    let mut mixed = pinned(&session, &files);
    mixed.push(files[0].as_slice(), None, 100);
    let outcomes = session.submit(mixed).wait().unwrap();
    assert_same(&outcomes[..files.len()], &expected, "mixed");
    assert_eq!(outcomes[files.len()].logits, expected[0].logits);
    // Tickets that nobody waits for, and a batch that nobody submits.
    (0..4).for_each(|_| drop(session.submit(pinned(&session, &files))));
    drop(session.pinned_batch(1000).unwrap());
    assert_same(&session.submit(pinned(&session, &files)).wait().unwrap(), &expected, "after forgotten ones");
    drop(session);
    assert_eq!(held(&device), (0, 0));

    let weights = weights(Variant::LateConcatRfaThinner, 32);
    let on_cpu = Session::builder(&weights).device(DeviceChoice::Cpu).threads(1).build().unwrap();
    assert_eq!(on_cpu.pinned_batch(100).unwrap_err().kind(), ErrorKind::Usage);
    let lost = emulator(EmulatorOptions { num_os_threads: 1, ..EmulatorOptions::default() });
    let session = small_builder(&weights, &lost).build().unwrap();
    let batch = pinned(&session, &files);
    poison(&lost);
    assert_eq!(session.submit(batch).wait().unwrap_err().kind(), ErrorKind::Device);
}
