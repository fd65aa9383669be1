//! What must hold in every interleaving.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use shuttle::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use shuttle::thread;

use super::batch::{Batch, Image};
use super::budget::Budget;
use super::outcome::Outcome;
use super::slots::{Backend, DeviceSlots, Part, Slots};
use super::ticket::Ticket;
use super::{Session, stream};
use crate::error::{Error, ErrorKind, ImageError, Result};

pub type Model = fn();

pub const ALL: [(&str, Model); 15] = [
    ("every batch is answered once", every_batch_is_answered_once),
    ("who was answered finds a free place", the_answered_find_a_place),
    ("no more batches are in flight than there are slots", places_are_held_to),
    ("what is in flight is finished when the session ends", tickets_outlive_the_session),
    ("a lost device's batch moves, and nobody waits for ever", a_device_is_lost),
    ("a device may be lost after the end", a_device_is_lost_after_the_end),
    ("a batch costs two devices, and the third works on", a_batch_costs_two_devices),
    ("all devices are lost", all_devices_are_lost),
    ("a ticket that is awaited is woken", a_ticket_is_woken),
    ("who waits until a batch is on its way goes on before it is done", a_batch_is_on_its_way),
    ("a stream's answers come in order, each once", a_stream_keeps_order),
    ("a stream's feeder ends when nobody reads", a_stream_s_reader_goes_away),
    ("memory is shared, and nobody waits for ever", memory_is_shared),
    ("a trim reaches every slot, between batches", a_trim_reaches_every_slot),
    ("a trim waits for no slot that is gone", a_trim_meets_a_loss),
];

/// Answers with the tags; lost at a tag of `lost_at`.
struct Echo {
    lost_at: Option<u64>,
}

impl Backend for Echo {
    fn run(&mut self, part: &Part<'_>) -> Result<Vec<Outcome>> {
        thread::yield_now();
        if part.images.iter().any(|image| Some(image.tag) == self.lost_at) {
            return Err(Error::new(ErrorKind::Device, "lost"));
        }
        part.is_on_its_way();
        thread::yield_now();
        Ok(part.images.iter().map(outcome).collect())
    }
}

fn outcome(image: &Image) -> Outcome {
    Outcome { tag: image.tag, reason: None }
}

/// Devices of so many slots each, the first of which are lost at a tag.
fn slots(slots_per_device: &[usize], lost_at: &[Option<u64>]) -> Slots {
    let lost_at = lost_at.iter().copied().chain(std::iter::repeat(None));
    let devices = slots_per_device.iter().zip(lost_at);
    let devices = devices.map(|(&num_slots, lost_at)| DeviceSlots::new((0..num_slots).map(|_| Echo { lost_at })));
    Slots::start(devices.collect(), 2).unwrap()
}

fn batch(tags: &[u64]) -> Batch {
    let mut batch = Batch::new();
    tags.iter().for_each(|&tag| batch.push(Vec::new(), None, tag));
    batch
}

fn tags(ticket: Ticket) -> Vec<u64> {
    ticket.wait().unwrap().iter().map(|outcome| outcome.tag).collect()
}

fn every_batch_is_answered_once() {
    let slots = Arc::new(slots(&[2], &[]));
    let submitters: Vec<_> = (0..2)
        .map(|submitter| {
            let slots = Arc::clone(&slots);
            thread::spawn(move || {
                for round in 0..2 {
                    let tag = 10 * submitter + round;
                    assert_eq!(tags(slots.submit(batch(&[tag, tag + 100, tag + 200]))), [tag, tag + 100, tag + 200]);
                }
                match slots.try_submit(batch(&[7])) {
                    Ok(ticket) => assert_eq!(tags(ticket), [7]),
                    Err(busy) => assert_eq!(busy.0.len(), 1),
                }
            })
        })
        .collect();
    submitters.into_iter().for_each(|submitter| submitter.join().unwrap());
}

fn the_answered_find_a_place() {
    let slots = slots(&[1], &[]);
    for tag in 0..3 {
        let Ok(ticket) = slots.try_submit(batch(&[tag])) else { panic!("no place for {tag}") };
        assert_eq!(tags(ticket), [tag]);
    }
}

/// Counts the batches that were submitted and are not done.
fn places_are_held_to() {
    struct Counting(Arc<AtomicI64>);

    impl Backend for Counting {
        fn run(&mut self, part: &Part<'_>) -> Result<Vec<Outcome>> {
            self.0.fetch_sub(1, Ordering::SeqCst);
            Ok(part.images.iter().map(outcome).collect())
        }
    }

    let in_flight = Arc::new(AtomicI64::new(0));
    let slots = Slots::start(vec![DeviceSlots::new([Counting(Arc::clone(&in_flight))])], 2).unwrap();
    let slots = Arc::new(slots);
    let submitters = [0, 1, 2].map(|tag| {
        let (slots, in_flight) = (Arc::clone(&slots), Arc::clone(&in_flight));
        thread::spawn(move || {
            for _ in 0..2 {
                let submitted =
                    if tag == 0 { slots.try_submit(batch(&[tag])).ok() } else { Some(slots.submit(batch(&[tag]))) };
                if let Some(ticket) = submitted {
                    assert!(in_flight.fetch_add(1, Ordering::SeqCst) < 1, "two batches for one slot");
                    assert_eq!(tags(ticket), [tag]);
                }
            }
        })
    });
    submitters.into_iter().for_each(|submitter| submitter.join().unwrap());
}

fn tickets_outlive_the_session() {
    let slots = slots(&[1, 1], &[]);
    let tickets = [1, 2, 3].map(|tag| slots.submit(batch(&[tag])));
    drop(slots.submit(batch(&[4])));
    let waiter = thread::spawn(move || assert_eq!(tickets.map(tags), [[1], [2], [3]]));
    drop(slots);
    waiter.join().unwrap();
}

fn a_device_is_lost() {
    let slots = slots(&[2, 1], &[Some(2)]);
    let tickets = [1, 2, 3, 4].map(|tag| slots.submit(batch(&[tag])));
    assert_eq!(tickets.map(tags), [[1], [2], [3], [4]]);
}

fn a_device_is_lost_after_the_end() {
    let slots = slots(&[1, 1], &[Some(1)]);
    let ticket = slots.submit(batch(&[1]));
    drop(slots);
    assert_eq!(tags(ticket), [1]);
}

fn a_batch_costs_two_devices() {
    let slots = slots(&[1, 2, 1], &[Some(1), Some(1)]);
    // The third device may have taken it.
    if let Err(error) = slots.submit(batch(&[1])).wait() {
        assert_eq!(error.kind(), ErrorKind::Device);
    }
    assert_eq!(tags(slots.submit(batch(&[2]))), [2]);
}

fn all_devices_are_lost() {
    let slots = Arc::new(slots(&[1, 1], &[Some(1), Some(1)]));
    let lost = slots.submit(batch(&[1]));
    // Whoever submits later is answered too, one way or the other.
    let later: Vec<_> = [2, 3, 4]
        .map(|tag| {
            let slots = Arc::clone(&slots);
            thread::spawn(move || match slots.submit(batch(&[tag])).wait() {
                Ok(outcomes) => assert_eq!(outcomes[0].tag, tag),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Device),
            })
        })
        .into();
    assert_eq!(lost.wait().unwrap_err().kind(), ErrorKind::Device);
    later.into_iter().for_each(|submitter| submitter.join().unwrap());
}

fn a_ticket_is_woken() {
    struct CountWakes(AtomicUsize);

    impl Wake for CountWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let slots = slots(&[1], &[]);
    let mut ticket = slots.submit(batch(&[5]));
    let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    let answered = |answer: Result<Vec<Outcome>>| assert_eq!(answer.unwrap()[0].tag, 5);
    if let Poll::Ready(answer) = Pin::new(&mut ticket).poll(&mut context) {
        return answered(answer);
    }
    // The slot's thread has ended when the session has.
    drop(slots);
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    match Pin::new(&mut ticket).poll(&mut context) {
        Poll::Ready(answer) => answered(answer),
        Poll::Pending => panic!("woken without an answer"),
    }
}

/// What is done with a batch only after its submitter has gone on.
fn a_batch_is_on_its_way() {
    struct Gated(Arc<crate::sync::Mutex<bool>>, Arc<shuttle::sync::Condvar>);

    impl Backend for Gated {
        fn run(&mut self, part: &Part<'_>) -> Result<Vec<Outcome>> {
            part.is_on_its_way();
            let is_open = self.1.wait_while(self.0.lock().unwrap(), |is_open| !*is_open);
            drop(is_open);
            Ok(part.images.iter().map(outcome).collect())
        }
    }

    let gate = (Arc::new(crate::sync::Mutex::new(false)), Arc::new(shuttle::sync::Condvar::new()));
    let device = DeviceSlots::new([Gated(Arc::clone(&gate.0), Arc::clone(&gate.1))]);
    let slots = Slots::start(vec![device], 2).unwrap();
    let ticket = slots.submit(batch(&[1, 2]));
    ticket.wait_until_on_its_way();
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    assert_eq!(tags(ticket), [1, 2]);
}

/// Every third image has failed before it is fed.
fn feed(mut feeder: stream::Feeder<'_, u64>, num_images: u64) {
    for key in 0..num_images {
        let flow = match key % 3 {
            1 => feeder.push_failed(key, ImageError::Internal),
            _ => feeder.push(key, Vec::new()),
        };
        if flow.is_break() {
            return;
        }
    }
}

fn a_stream_keeps_order() {
    let session = Session { slots: slots(&[1, 1], &[]) };
    let (feeder, outcomes) = session.stream();
    let reader = thread::spawn(|| {
        let answers: Vec<(u64, bool)> =
            outcomes.map(Result::unwrap).map(|(key, outcome)| (key, outcome.reason.is_some())).collect();
        assert_eq!(answers, (0..9).map(|key| (key, key % 3 == 1)).collect::<Vec<_>>());
    });
    feed(feeder, 9);
    reader.join().unwrap();
}

fn a_stream_s_reader_goes_away() {
    let session = Session { slots: slots(&[1], &[]) };
    let (feeder, mut outcomes) = session.stream();
    let reader = thread::spawn(move || assert_eq!(outcomes.next().unwrap().unwrap().0, 0));
    feed(feeder, u64::MAX);
    reader.join().unwrap();
}

/// Every slot has trimmed when a trim returns, whether it had a batch or not.
fn a_trim_reaches_every_slot() {
    struct Counting(Arc<AtomicUsize>);

    impl Backend for Counting {
        fn run(&mut self, part: &Part<'_>) -> Result<Vec<Outcome>> {
            thread::yield_now();
            Ok(part.images.iter().map(outcome).collect())
        }

        fn trim(&mut self) -> Result<()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    let counts = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
    let devices = counts.iter().map(|count| DeviceSlots::new([Counting(Arc::clone(count))]));
    let slots = Arc::new(Slots::start(devices.collect(), 2).unwrap());
    let submitter = Arc::clone(&slots);
    let submitter = thread::spawn(move || assert_eq!(tags(submitter.submit(batch(&[1]))), [1]));
    let other = Arc::clone(&slots);
    let other = thread::spawn(move || other.trim().unwrap());
    slots.trim().unwrap();
    assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) > 0));
    other.join().unwrap();
    submitter.join().unwrap();
}

fn a_trim_meets_a_loss() {
    let slots = Arc::new(slots(&[1, 1], &[Some(1)]));
    let submitter = Arc::clone(&slots);
    let submitter = thread::spawn(move || assert_eq!(tags(submitter.submit(batch(&[1]))), [1]));
    slots.trim().unwrap();
    submitter.join().unwrap();
    slots.trim().unwrap();
}

fn memory_is_shared() {
    const LIMIT_BYTES: u64 = 4;
    let budget = Arc::new(Budget::new(LIMIT_BYTES));
    let used = Arc::new(AtomicU64::new(0));
    // The last is more than there is: it is alone.
    let takers = [3, 2, 1, 9].map(|num_bytes| {
        let (budget, used) = (Arc::clone(&budget), Arc::clone(&used));
        thread::spawn(move || {
            let _share = budget.take(num_bytes);
            let others = used.fetch_add(num_bytes, Ordering::SeqCst);
            assert!(others == 0 || others + num_bytes <= LIMIT_BYTES, "{others} beside {num_bytes}");
            thread::yield_now();
            used.fetch_sub(num_bytes, Ordering::SeqCst);
        })
    });
    takers.into_iter().for_each(|taker| taker.join().unwrap());
}
