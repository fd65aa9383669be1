//! How long what is put on a stream takes, by events between its operations.

use super::{Event, Stream};
use crate::Result;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// What a trace tells apart. Each event between two things costs the device about a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraceDetail {
    /// Copies to the device (`upload`), work on it (`device`), and copies from it (`download`).
    Phases,
    /// Every copy, fill and launch; a launch has its kernel's name.
    Operations,
}

/// Something that took its time on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceSpan {
    /// What it was.
    pub name: &'static str,
    /// Until the next thing began, or everything was done.
    pub time: Duration,
}

/// A trace under way.
#[derive(Debug)]
pub(super) struct Trace {
    detail: TraceDetail,
    /// What began, and an event that was recorded before it.
    began: Vec<(&'static str, Event)>,
}

/// Where an operation belongs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Upload,
    Device,
    Download,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Device => "device",
            Self::Download => "download",
        }
    }
}

impl Stream {
    /// Measures what is put on the stream from now on. A trace that was under way is dropped.
    pub fn start_trace(&self, detail: TraceDetail) {
        *self.lock_trace() = Some(Trace { detail, began: Vec::new() });
    }

    /// Waits for the stream, and says how long each thing took since [`Self::start_trace`], in the order in which they were put on it.
    /// Nothing, without a trace.
    ///
    /// # Errors
    /// `Device`: something on the stream failed.
    pub fn finish_trace(&self) -> Result<Vec<TraceSpan>> {
        let Some(trace) = self.lock_trace().take() else { return Ok(Vec::new()) };
        let end = Event::new(self.device())?;
        self.record(&end)?;
        self.synchronize()?;
        let ends = trace.began.iter().skip(1).map(|(_, event)| event).chain([&end]);
        let spans = trace.began.iter().zip(ends);
        spans.map(|((name, began), end)| Ok(TraceSpan { name, time: began.elapsed(end)? })).collect()
    }

    /// Notes that an operation is about to be put on the stream.
    pub(super) fn begin(&self, operation: &'static str, phase: Phase) -> Result<()> {
        let mut trace = self.lock_trace();
        let Some(trace) = trace.as_mut() else { return Ok(()) };
        let name = match trace.detail {
            TraceDetail::Phases => phase.name(),
            TraceDetail::Operations => operation,
        };
        let goes_on = trace.detail == TraceDetail::Phases && trace.began.last().is_some_and(|(last, _)| *last == name);
        if !goes_on {
            let event = Event::new(self.device())?;
            self.record(&event)?;
            trace.began.push((name, event));
        }
        Ok(())
    }

    pub(super) fn lock_trace(&self) -> MutexGuard<'_, Option<Trace>> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
