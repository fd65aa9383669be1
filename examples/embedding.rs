//! A session inside another program: two batches are in flight at any time, so that one is decoded while the network runs on the other.
//!
//! `cargo run --release --example embedding -- WEIGHTS IMAGE...`

use std::collections::VecDeque;
use std::error::Error;

use dctflow::network::Weights;
use dctflow::session::{Batch, Outcome, Session, Ticket};

/// Images in a batch.
const BATCH: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, images @ ..] = arguments.as_slice() else {
        return Err("usage: embedding WEIGHTS IMAGE...".into());
    };
    let weights = Weights::load(weights)?;
    let session = Session::builder(&weights).max_batch(BATCH).slots(2).build()?;
    drop(weights); // The session has them in its own form.

    classify(&session, images, |path, outcome| match (&outcome.reason, outcome.top.first()) {
        (None, Some(best)) => println!("{path}: class {} ({:.4})", best.class, best.score),
        (Some(reason), Some(best)) => println!("{path}: class {} ({:.4}), but {reason}", best.class, best.score),
        (Some(reason), None) => println!("{path}: {reason}"),
        (None, None) => println!("{path}: no classes"),
    })
}

/// Calls `show` for every image, in order.
fn classify(session: &Session, paths: &[String], mut show: impl FnMut(&str, &Outcome)) -> Result<(), Box<dyn Error>> {
    let mut in_flight: VecDeque<Ticket> = VecDeque::new();
    let mut finish = |ticket: Ticket| -> dctflow::Result<()> {
        // A bad image never fails its batch: what is wrong with it stands in its outcome.
        for outcome in ticket.wait()? {
            show(&paths[outcome.tag as usize], &outcome);
        }
        Ok(())
    };
    for (batch_idx, files) in paths.chunks(BATCH).enumerate() {
        let mut batch = Batch::new();
        for (file_idx, path) in files.iter().enumerate() {
            batch.push(std::fs::read(path)?, None, (batch_idx * BATCH + file_idx) as u64);
        }
        // Waits for a free slot only: the batch owns its bytes, and nothing of ours is borrowed.
        in_flight.push_back(session.submit(batch));
        if in_flight.len() == session.num_slots()
            && let Some(oldest) = in_flight.pop_front()
        {
            finish(oldest)?;
        }
    }
    in_flight.into_iter().try_for_each(&mut finish)?;
    Ok(())
}
