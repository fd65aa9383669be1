//! How a session's threads wait for each other, in the very sources (queue, slots, tickets, streams, memory budget), with shuttle's mutexes,
//! condition variables, channels and threads in place of the standard library's. Each model runs under thousands of interleavings; a
//! deadlock, a lost wake-up or a failed assertion ends the program with the schedule that led there.
//!
//! Then every line that wakes someone is left out, one at a time, and some model must fail: what they find is shown, not believed.
//!
//! Arguments: schedules for each model (default 2,000), and the seed that they come from (default 1).

#[path = "../../../src/error.rs"]
#[allow(dead_code)]
mod error;
mod sync;

/// As much of the library around a session as its queue needs.
mod device {
    #[derive(Debug)]
    pub struct DeviceBuffer;

    #[derive(Debug)]
    pub struct PinnedBuffer;

    impl PinnedBuffer {
        pub fn as_slice(&self) -> &[u8] {
            &[]
        }
    }
}

mod resample {
    #[derive(Clone, Copy, Debug)]
    pub struct Transform;
}

#[allow(dead_code)]
mod session {
    #[path = "../../../../src/session/batch.rs"]
    mod batch;
    #[path = "../../../../src/session/budget.rs"]
    mod budget;
    #[path = "../../../../src/session/queue.rs"]
    mod queue;
    #[path = "../../../../src/session/slots.rs"]
    mod slots;
    #[path = "../../../../src/session/stream.rs"]
    mod stream;
    #[path = "../../../../src/session/ticket.rs"]
    mod ticket;

    pub mod models;

    pub mod outcome {
        use crate::error::ImageError;

        #[derive(Debug, PartialEq, Eq)]
        pub struct Outcome {
            pub tag: u64,
            pub reason: Option<ImageError>,
        }

        impl Outcome {
            pub fn failed(tag: u64, reason: ImageError) -> Self {
                Self { tag, reason: Some(reason) }
            }
        }
    }

    use batch::Batch;
    use outcome::Outcome;
    use slots::Slots;
    use ticket::Ticket;

    /// As much of a session as a stream needs.
    #[derive(Debug)]
    pub struct Session {
        slots: Slots,
    }

    impl Session {
        fn submit(&self, batch: Batch) -> Ticket {
            self.slots.submit(batch)
        }

        fn max_batch(&self) -> usize {
            2
        }

        fn num_slots(&self) -> usize {
            self.slots.num_slots()
        }
    }
}

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use session::models::{ALL, Model};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, Runner};

/// Runs a model under interleavings at random.
fn check_random(model: Model, num_schedules: usize, seed: u64) {
    Runner::new(RandomScheduler::new_from_seed(seed, num_schedules), Config::new()).run(model);
}

/// Runs a model under interleavings with few preemptions.
fn check_few_preemptions(model: Model, num_schedules: usize, seed: u64, config: Config) {
    Runner::new(PctScheduler::new_from_seed(seed, 3, num_schedules), config).run(model);
}

/// A model that fails when a line wakes nobody.
fn model_that_misses(site: sync::Site, num_schedules: usize, seed: u64) -> Option<&'static str> {
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    sync::forget(Some(site));
    let fails = |model| {
        let check = || check_few_preemptions(model, num_schedules, seed, config.clone());
        catch_unwind(AssertUnwindSafe(check)).is_err()
    };
    let failed = ALL.into_iter().find(|(_, model)| fails(*model));
    sync::forget(None);
    failed.map(|(name, _)| name)
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let num_schedules = arguments.next().unwrap_or(2_000) as usize;
    let seed = arguments.next().unwrap_or(1);
    for (name, model) in ALL {
        check_random(model, num_schedules, seed);
        check_few_preemptions(model, num_schedules, seed, Config::new());
        println!("{name}: {} schedules", 2 * num_schedules);
    }
    // From here on models fail as they should, and say nothing.
    std::panic::set_hook(Box::new(|_| ()));
    let mut are_all_missed = true;
    for site in sync::sites() {
        let (path, line) = site;
        let file = path.rsplit('/').next().unwrap_or(path);
        match model_that_misses(site, num_schedules, seed) {
            Some(model) => println!("without the wake-up of {file}:{line} this fails: {model}"),
            None => {
                println!("no model misses the wake-up of {file}:{line}: remove it, or add a model that does");
                are_all_missed = false;
            }
        }
    }
    if are_all_missed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
