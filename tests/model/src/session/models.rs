//! What must hold in every interleaving.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

use super::batch::{Batch, Image};
use super::outcome::Outcome;
use super::slots::{Backend, DeviceSlots, Slots};
use super::ticket::Ticket;
use crate::error::{Error, ErrorKind, Result};

type Model = fn();

pub const ALL: [(&str, Model); 5] = [
    ("every batch is answered once", every_batch_is_answered_once),
    ("what is in flight is finished when the session ends", tickets_outlive_the_session),
    ("a lost device's batch moves, and nobody waits for ever", a_device_is_lost),
    ("all devices are lost", all_devices_are_lost),
    ("a ticket that is awaited is woken", a_ticket_is_woken),
];

/// Answers with the tags; lost at a tag of `lost_at`.
struct Echo {
    lost_at: Option<u64>,
}

impl Backend for Echo {
    fn start(&mut self, images: &[Image]) -> Result<()> {
        thread::yield_now();
        match images.iter().any(|image| Some(image.tag) == self.lost_at) {
            true => Err(Error::new(ErrorKind::Device, "lost")),
            false => Ok(()),
        }
    }

    fn finish(&mut self, images: &[Image]) -> Result<Vec<Outcome>> {
        thread::yield_now();
        Ok(images.iter().map(|image| Outcome { tag: image.tag }).collect())
    }
}

/// Devices of so many slots each, the first of which are lost at a tag.
fn slots(slots_per_device: &[usize], lost_at: &[Option<u64>]) -> Slots {
    let lost_at = lost_at.iter().copied().chain(std::iter::repeat(None));
    let devices = slots_per_device.iter().zip(lost_at);
    let devices = devices.map(|(&num_slots, lost_at)| DeviceSlots::new((0..num_slots).map(|_| Echo { lost_at })));
    Slots::start(devices.collect(), 2).unwrap()
}

fn batch(tags: &[u64]) -> Batch {
    Batch { images: tags.iter().map(|&tag| Image { tag }).collect() }
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
                    Err(busy) => assert_eq!(busy.0.images.len(), 1),
                }
            })
        })
        .collect();
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

fn all_devices_are_lost() {
    let slots = slots(&[1, 1], &[Some(1), Some(1)]);
    let lost = slots.submit(batch(&[1]));
    // Whoever submits later is answered too, one way or the other.
    let later = [2, 3].map(|tag| slots.submit(batch(&[tag])));
    assert_eq!(lost.wait().unwrap_err().kind(), ErrorKind::Device);
    for ticket in later {
        if let Err(error) = ticket.wait() {
            assert_eq!(error.kind(), ErrorKind::Device);
        }
    }
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
    if let Poll::Ready(answer) = Pin::new(&mut ticket).poll(&mut context) {
        assert_eq!(answer.unwrap(), [Outcome { tag: 5 }]);
        return;
    }
    while wakes.0.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    match Pin::new(&mut ticket).poll(&mut context) {
        Poll::Ready(answer) => assert_eq!(answer.unwrap(), [Outcome { tag: 5 }]),
        Poll::Pending => panic!("woken without an answer"),
    }
}
