//! The `latency` scenario: images that arrive at random times, and batches that form by themselves.
//!
//! Arrivals are a Poisson process that never waits for answers (an open loop), and an image's time counts from the moment when it should have
//! arrived: however late the program is, no wait is left out ("coordinated omission", G. Tene).

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dctflow::Result;
use dctflow::session::{Batch, Session, Ticket};
use dctflow::synth::Random;

use super::images::File;
use super::machine::GpuWatch;
use super::measure::{Meter, Tally};
use super::record::{Measurement, Reason, Settings, WarmUp};
use super::workload::{Reading, outcome_word};

/// The measured time is cut into so many windows.
const NUM_WINDOWS: u32 = 10;

/// Answering less than this share of what is offered is no steady state: the queue grows.
const MIN_ANSWERED_SHARE: f64 = 0.95;

/// One rate of arrivals.
pub struct OpenLoop<'a> {
    pub session: &'a Session,
    pub files: &'a [File],
    /// Images per second, on average.
    pub rate_per_s: f64,
    pub duration: Duration,
    /// How long the first image of a batch waits for others, at most.
    pub max_wait: Duration,
    /// Batches under way, at most: while all are, images gather.
    pub in_flight: usize,
    pub seed: u64,
}

/// An image that arrived.
#[derive(Clone, Copy)]
struct Request {
    file_idx: usize,
    intended: Instant,
}

/// An answer, or the end of the waiting for it.
struct Answer {
    request: Request,
    at: Instant,
    outcome: String,
    is_real: bool,
}

/// What came of all requests.
#[derive(Default)]
struct Served {
    answers: Vec<Answer>,
    num_batches: u64,
}

impl OpenLoop<'_> {
    /// Sends images for so long, and waits for their answers. The session is warm: `warm_up` is that of its highest rate, at which it has just run.
    pub fn measure(&self, settings: Settings, warm_up: WarmUp, gpu: Option<&GpuWatch>) -> Result<Measurement> {
        let meter = Meter::start(warm_up, Reading::of(self.session), gpu);
        let start = Instant::now();
        let served = self.serve(start)?;
        let num_worked = served.answers.iter().filter(|answer| answer.is_real).count() as u64;
        let mean_batch = num_worked as f64 / served.num_batches.max(1) as f64;
        let answered_share = self.answered_share(&served, start);
        let tallies = self.tally(served, start);
        let mut measurement = meter.stop(settings, tallies, Reading::of(self.session), Some(num_worked));
        measurement.offered_per_s = Some(self.rate_per_s);
        measurement.mean_batch = mean_batch;
        if answered_share < MIN_ANSWERED_SHARE {
            let share = 100.0 * answered_share;
            let message =
                format!("only {share:.0} % of the images were answered by the end: latencies grow with the time");
            measurement.reasons.push(Reason::new("overloaded", message));
            measurement.valid = false;
        }
        Ok(measurement)
    }

    /// In windows: images by when they were answered, so that their rate is the program's and not that of the arrivals; latencies and outcomes
    /// by when they arrived, so that none is left out because its answer was late.
    fn tally(&self, served: Served, start: Instant) -> Vec<Tally> {
        let window = self.duration / NUM_WINDOWS;
        let new = || Tally { seconds: window.as_secs_f64(), ..Tally::default() };
        let mut tallies: Vec<Tally> = (0..NUM_WINDOWS).map(|_| new()).collect();
        let window_of = |at: Instant| (at.duration_since(start).as_secs_f64() / window.as_secs_f64()) as usize;
        for Answer { request, at, outcome, is_real } in served.answers {
            if let Some(tally) = tallies.get_mut(window_of(request.intended)) {
                tally.latencies_ms.push(at.duration_since(request.intended).as_secs_f64() * 1000.0);
                *tally.outcomes.entry(outcome).or_default() += 1;
            }
            if let Some(tally) = tallies.get_mut(window_of(at)).filter(|_| is_real) {
                let file = &self.files[request.file_idx];
                tally.images += 1;
                tally.bytes += file.bytes.len() as u64;
                tally.pixels += file.num_pixels;
            }
        }
        tallies
    }

    /// The share of images that were answered before the end of the arrivals, or soon after: waiting for a batch mate is no overload.
    fn answered_share(&self, served: &Served, start: Instant) -> f64 {
        let last = start + self.duration + self.duration / NUM_WINDOWS;
        let in_time = served.answers.iter().filter(|answer| answer.is_real && answer.at <= last).count();
        in_time as f64 / served.answers.len().max(1) as f64
    }

    /// Sends, gathers, submits and collects, each in a thread of its own.
    fn serve(&self, start: Instant) -> Result<Served> {
        let (requests, arrived) = channel();
        let (submitted, tickets) = channel();
        let (free, places) = sync_channel(self.in_flight);
        for _ in 0..self.in_flight {
            // The channel has room for all of them.
            let _ = free.send(());
        }
        let tickets = Mutex::new(tickets);
        thread::scope(|scope| {
            let arrivals = scope.spawn(move || self.arrive(start, &requests));
            // As many collectors as batches under way: none waits for another's batch.
            let spawn = |free: SyncSender<()>| scope.spawn(|| collect(&tickets, free));
            let collectors: Vec<_> = (0..self.in_flight).map(|_| spawn(free.clone())).collect();
            // With the last collector goes the last sender: should all have failed, nobody waits for a place.
            drop(free);
            let given_up = self.gather(&arrived, &places, &submitted, start + 2 * self.duration);
            drop(submitted);
            let _ = arrivals.join();
            let at = Instant::now();
            let unanswered = |request| Answer { request, at, outcome: "failed:unanswered".into(), is_real: false };
            let answers = given_up.into_iter().chain(arrived.try_iter()).map(unanswered).collect();
            let mut all = Served { answers, num_batches: 0 };
            for collector in collectors {
                let served = collector.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                all.answers.extend(served.answers);
                all.num_batches += served.num_batches;
            }
            Ok(all)
        })
    }

    /// Sends requests at their times, and nothing delays the next one's.
    fn arrive(&self, start: Instant, requests: &Sender<Request>) {
        let mut random = Random::new(self.seed);
        let mut intended = start;
        loop {
            intended += exponential(&mut random, self.rate_per_s);
            if intended >= start + self.duration {
                return;
            }
            thread::sleep(intended.saturating_duration_since(Instant::now()));
            let file_idx = random.below(self.files.len() as u32) as usize;
            if requests.send(Request { file_idx, intended }).is_err() {
                return;
            }
        }
    }

    /// Forms batches and submits them, until there are no more requests or it is time to give up. Gives back the request that this met.
    fn gather(
        &self,
        arrived: &Receiver<Request>,
        places: &Receiver<()>,
        submitted: &Sender<(Vec<Request>, Ticket)>,
        give_up: Instant,
    ) -> Option<Request> {
        while let (Ok(()), Ok(first)) = (places.recv(), arrived.recv()) {
            if Instant::now() > give_up {
                return Some(first);
            }
            let requests = self.gather_batch(first, arrived);
            let mut batch = Batch::new();
            for request in &requests {
                batch.push(self.files[request.file_idx].bytes.as_slice(), None, 0);
            }
            if submitted.send((requests, self.session.submit(batch))).is_err() {
                break;
            }
        }
        None
    }

    /// What is there already, and what comes while the first one waits.
    fn gather_batch(&self, first: Request, arrived: &Receiver<Request>) -> Vec<Request> {
        let mut requests = vec![first];
        let deadline = Instant::now() + self.max_wait;
        while requests.len() < self.session.max_batch() {
            match arrived.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(request) => requests.push(request),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        requests
    }
}

/// Waits for tickets until there are no more, and gives their places back.
fn collect(tickets: &Mutex<Receiver<(Vec<Request>, Ticket)>>, free: SyncSender<()>) -> Result<Served> {
    let mut served = Served::default();
    loop {
        let next = tickets.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((requests, ticket)) = next else { return Ok(served) };
        let outcomes = ticket.wait()?;
        let at = Instant::now();
        let answers = requests.into_iter().zip(&outcomes);
        served.answers.extend(answers.map(|(request, outcome)| {
            let outcome = outcome_word(outcome);
            Answer { request, at, outcome, is_real: true }
        }));
        served.num_batches += 1;
        // Nobody waits for a place once all images were gathered.
        let _ = free.send(());
    }
}

/// The time between two arrivals of a Poisson process.
fn exponential(random: &mut Random, rate_per_s: f64) -> Duration {
    let uniform = (random.bits() >> 11) as f64 / (1u64 << 53) as f64;
    Duration::from_secs_f64((-(1.0 - uniform).ln() / rate_per_s).min(86_400.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_at_the_rate_and_are_memoryless() {
        let mut random = Random::new(7);
        let gaps: Vec<f64> = (0..20_000).map(|_| exponential(&mut random, 50.0).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean * 50.0 - 1.0).abs() < 0.03, "{mean}");
        // An exponential's coefficient of variation is 1.
        assert!((super::super::stats::cv(&gaps) - 1.0).abs() < 0.05);
    }
}
