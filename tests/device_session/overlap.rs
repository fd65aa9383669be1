//! While a device has one batch to do, the host reads, plans and sends the next; and of two devices both work. Shown by order, not by time: here
//! no batch can be waited for before work of another one is on its queue.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dctflow::device::StreamHandle;
use dctflow::device::emulator::EmulatorOptions;
use dctflow::network::Variant;
use dctflow::session::{Device, DeviceChoice, Outcome, Session};

use super::wrapped::{Call, Hooks, Wrapped};
use super::{batch, is_gpu, mixed_files, weights};

/// Much longer than any machine takes to plan a small batch: only a session without overlap waits so long.
const GIVE_UP: Duration = Duration::from_secs(120);

/// Holds back every wait for a stream with work on it, until another stream has work too.
#[derive(Default)]
struct Gate {
    queues: Mutex<Queues>,
    launched: Condvar,
}

#[derive(Default)]
struct Queues {
    is_closed: bool,
    /// Devices and their streams that were given launches since the gate was closed.
    at_work: BTreeSet<(usize, StreamHandle)>,
    has_given_up: bool,
}

/// A device in front of the gate.
struct Gated {
    gate: Arc<Gate>,
    device_idx: usize,
}

impl Hooks for Gated {
    fn around<R>(&self, call: Call, work: impl FnOnce() -> R) -> R {
        let Self { gate, device_idx } = self;
        let mut queues = gate.queues.lock().unwrap();
        match call {
            Call::SynchronizeStream { stream } if queues.at_work.contains(&(*device_idx, stream)) => {
                let is_alone = |queues: &mut Queues| queues.at_work.len() < 2;
                let (mut queues, waited) = gate.launched.wait_timeout_while(queues, GIVE_UP, is_alone).unwrap();
                queues.has_given_up |= waited.timed_out();
            }
            Call::Launch { stream } if queues.is_closed => {
                queues.at_work.insert((*device_idx, stream));
                gate.launched.notify_all();
                drop(queues);
            }
            _ => drop(queues),
        }
        work()
    }
}

/// Two batches, on emulators with so many slots each. Returns on how many streams they were, and by how many images each device has decoded.
#[track_caller]
fn run_two_batches(num_devices: usize, slots: usize) -> (BTreeSet<(usize, StreamHandle)>, Vec<u64>) {
    let gate = Arc::new(Gate::default());
    let open = |device_idx| {
        let hooks = Gated { gate: Arc::clone(&gate), device_idx };
        let options = EmulatorOptions { num_os_threads: 1, ..EmulatorOptions::default() };
        let handle: Arc<dyn dctflow::device::Device> = Wrapped::new(options, hooks);
        Device { kind: DeviceChoice::Emulator, why: String::new(), handle: Some(handle) }
    };
    let devices: Vec<Device> = (0..num_devices).map(open).collect();
    let weights = weights(Variant::LateConcatRfaThinner, 32);
    let session = Session::builder(&weights).on(&devices).threads(1).slots(slots).build().unwrap();
    let files = mixed_files();
    gate.queues.lock().unwrap().is_closed = true;
    let tickets = [(); 2].map(|()| session.submit(batch(&files)));
    let [first, second]: [Vec<Outcome>; 2] = tickets.map(|ticket| ticket.wait().unwrap());
    assert_eq!(first, second);
    let num_decoded = session.device_stats().iter().map(|stats| stats.decoder.on_device).collect();
    let Queues { at_work, has_given_up, .. } = std::mem::take(&mut *gate.queues.lock().unwrap());
    assert!(!has_given_up, "a batch was waited for before the next one was planned");
    (at_work, num_decoded)
}

#[test]
fn the_next_batch_is_planned_while_the_device_works() {
    if is_gpu() {
        crate::say::skipped("only an emulator can be held back");
        return;
    }
    let (streams, num_decoded) = run_two_batches(1, 2);
    assert_eq!((streams.len(), num_decoded), (2, vec![10]));
}

#[test]
fn two_devices_work_at_the_same_time() {
    if is_gpu() {
        crate::say::skipped("only an emulator can be held back");
        return;
    }
    let (streams, num_decoded) = run_two_batches(2, 1);
    assert_eq!(streams.iter().map(|(device_idx, _)| *device_idx).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(num_decoded, [5, 5]);
}
