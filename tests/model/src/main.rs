//! The queue, the tickets and the slots of a session, the very sources, with shuttle's mutexes, condition variables and threads in place of
//! the standard library's. Shuttle runs each model under thousands of random interleavings; a deadlock, a lost wake-up or a failed
//! assertion ends the program with the schedule that led there.

#[path = "../../../src/error.rs"]
#[allow(dead_code)]
mod error;

/// In place of the library's `sync`.
mod sync {
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard};
    pub use shuttle::thread;
    pub use std::sync::PoisonError;
}

mod session {
    pub mod batch {
        /// As much of an image as the queue needs.
        #[derive(Debug)]
        pub struct Image {
            pub tag: u64,
        }

        #[derive(Debug, Default)]
        pub struct Batch {
            pub images: Vec<Image>,
        }
    }

    pub mod outcome {
        #[derive(Debug, PartialEq, Eq)]
        pub struct Outcome {
            pub tag: u64,
        }
    }

    #[path = "../../../../src/session/queue.rs"]
    #[allow(dead_code)]
    mod queue;
    #[path = "../../../../src/session/slots.rs"]
    #[allow(dead_code)]
    mod slots;
    #[path = "../../../../src/session/ticket.rs"]
    #[allow(dead_code)]
    mod ticket;

    pub mod models;

    use batch::Batch;
    use outcome::Outcome;
}

fn main() {
    let num_schedules = std::env::args().nth(1).map_or(2_000, |text| text.parse().expect("a number of schedules"));
    for (name, model) in session::models::ALL {
        shuttle::check_random(model, num_schedules);
        shuttle::check_pct(model, num_schedules, 3);
        println!("{name}: {} schedules", 2 * num_schedules);
    }
}
