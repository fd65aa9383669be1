//! What a session's threads wait with: a module of its own, so that a model checker's scheduler can be put in its place.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
pub(crate) use std::thread;
