//! What a session's threads wait with: a module of its own, so that `tests/model` can put a scheduler in its place that tries many
//! interleavings.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
pub(crate) use std::thread;
