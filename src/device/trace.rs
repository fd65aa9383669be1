//! What is put on a stream, and how long it takes, by events between its operations.

use super::{Event, Grid, Stream};
use crate::Result;
use crate::abi::KernelId;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a trace tells apart. Each event between two things costs the device about a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraceDetail {
    /// Copies to the device (`upload`), work on it (`device`), and copies from it (`download`).
    Phases,
    /// Every copy, fill and launch; a launch has its kernel's name.
    Operations,
    /// The same without events, so that nothing is slower: all times on the device are zero. For a profiler that has times of its own.
    Submissions,
}

/// Something that is put on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOperation {
    /// A copy to the device.
    Upload {
        /// Bytes copied.
        len_bytes: usize,
    },
    /// A copy from the device.
    Download {
        /// Bytes copied.
        len_bytes: usize,
    },
    /// A copy on the device.
    Copy {
        /// Bytes copied.
        len_bytes: usize,
    },
    /// Device memory set to one byte.
    Fill {
        /// Bytes written.
        len_bytes: usize,
    },
    /// A kernel's launch.
    Launch {
        /// Which kernel.
        kernel: KernelId,
        /// How many CTAs.
        grid: Grid,
        /// Shared memory behind the kernel's own struct.
        smem_tail_bytes: u32,
    },
    /// The launch of a graph.
    Graph,
}

impl StreamOperation {
    /// The kernel's name, or what else it is in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Upload { .. } => "upload",
            Self::Download { .. } => "download",
            Self::Copy { .. } => "copy",
            Self::Fill { .. } => "fill",
            Self::Launch { kernel, .. } => kernel.name(),
            Self::Graph => "graph",
        }
    }

    /// Where it belongs, among [`TraceDetail::Phases`].
    fn phase(&self) -> &'static str {
        match self {
            Self::Upload { .. } => "upload",
            Self::Download { .. } => "download",
            Self::Copy { .. } | Self::Fill { .. } | Self::Launch { .. } | Self::Graph => "device",
        }
    }
}

/// Something that took its time on a stream. Moments are counted from the instant that [`Stream::start_trace`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceSpan {
    /// What it was.
    pub name: &'static str,
    /// The operation; of a phase, its first.
    pub operation: StreamOperation,
    /// When the host put it on the stream.
    pub submitted: Duration,
    /// When the device came to it.
    pub began: Duration,
    /// Until the next thing began, or everything was done.
    pub time: Duration,
}

/// A trace under way.
#[derive(Debug)]
pub(super) struct Trace {
    detail: TraceDetail,
    start: Instant,
    /// Happened just before `start`.
    origin: Event,
    submissions: Vec<Submission>,
}

#[derive(Debug)]
struct Submission {
    name: &'static str,
    operation: StreamOperation,
    at: Instant,
    /// Recorded before it, unless no times are wanted.
    before: Option<Event>,
}

impl Trace {
    /// The spans of what was submitted, once `end` has happened.
    fn spans(&self, end: &Event) -> Result<Vec<TraceSpan>> {
        let ends = self.submissions.iter().skip(1).map(|next| next.before.as_ref()).chain([Some(end)]);
        let mut spans = Vec::with_capacity(self.submissions.len());
        for (Submission { name, operation, at, before }, end) in self.submissions.iter().zip(ends) {
            let (began, time) = match (before, end) {
                (Some(before), Some(end)) => (self.origin.elapsed(before)?, before.elapsed(end)?),
                _ => (Duration::ZERO, Duration::ZERO),
            };
            let submitted = at.saturating_duration_since(self.start);
            spans.push(TraceSpan { name, operation: *operation, submitted, began, time });
        }
        Ok(spans)
    }
}

impl Stream {
    /// Measures what is put on the stream from now on. Waits for what is on it already. A trace that was under way is dropped. The instant that is
    /// returned is zero on the clock of the spans; the device's is set by it to within the time of a wait, some ten microseconds.
    ///
    /// # Errors
    /// `Device`: something on the stream failed.
    pub fn start_trace(&self, detail: TraceDetail) -> Result<Instant> {
        let origin = Event::new(self.device())?;
        self.record(&origin)?;
        self.synchronize()?;
        let start = Instant::now();
        *self.lock_trace() = Some(Trace { detail, start, origin, submissions: Vec::new() });
        Ok(start)
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
        trace.spans(&end)
    }

    /// Notes that an operation is about to be put on the stream.
    pub(super) fn begin(&self, operation: StreamOperation) -> Result<()> {
        let mut trace = self.lock_trace();
        let Some(trace) = trace.as_mut() else { return Ok(()) };
        let name = if trace.detail == TraceDetail::Phases { operation.phase() } else { operation.name() };
        let goes_on =
            trace.detail == TraceDetail::Phases && trace.submissions.last().is_some_and(|last| last.name == name);
        if !goes_on {
            let wants_event = trace.detail != TraceDetail::Submissions;
            let before = wants_event.then(|| Event::new(self.device())).transpose()?;
            before.iter().try_for_each(|event| self.record(event))?;
            trace.submissions.push(Submission { name, operation, at: Instant::now(), before });
        }
        Ok(())
    }

    pub(super) fn lock_trace(&self) -> MutexGuard<'_, Option<Trace>> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
