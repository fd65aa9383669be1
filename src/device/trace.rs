//! What is put on a stream, and how long it takes, by events around its operations.
//!
//! An idle GPU begins with an operation when the host has put it there, so that the time from one event to the next is the host's pace rather than
//! the GPU's. The stream is therefore held from the first operation until [`Stream::finish_trace`], by when everything is on it.

use super::{Event, Gate, Grid, Stream};
use crate::Result;
use crate::abi::KernelId;
use std::sync::{Arc, MutexGuard, PoisonError};
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
    /// Until it was done.
    pub time: Duration,
}

/// A trace under way.
#[derive(Debug)]
pub(super) struct Trace {
    detail: TraceDetail,
    start: Instant,
    /// Happened just before `start`.
    origin: Event,
    /// What the stream waits for before the first operation.
    gate: Arc<Gate>,
    submissions: Vec<Submission>,
}

#[derive(Debug)]
struct Submission {
    name: &'static str,
    operation: StreamOperation,
    at: Instant,
    /// Recorded before and behind it, unless no times are wanted.
    before: Option<Event>,
    after: Option<Event>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.gate.open();
    }
}

impl Trace {
    /// The spans of what was submitted, all of which has happened.
    fn spans(&self) -> Result<Vec<TraceSpan>> {
        let mut spans = Vec::with_capacity(self.submissions.len());
        for Submission { name, operation, at, before, after } in &self.submissions {
            let (began, time) = match (before, after) {
                (Some(before), Some(after)) => (self.origin.elapsed(before)?, before.elapsed(after)?),
                _ => (Duration::ZERO, Duration::ZERO),
            };
            let submitted = at.saturating_duration_since(self.start);
            spans.push(TraceSpan { name, operation: *operation, submitted, began, time });
        }
        Ok(spans)
    }

    /// Marks the end of what was submitted last.
    fn end_last(&mut self, stream: &Stream) -> Result<()> {
        let Some(last) = self.submissions.last_mut().filter(|last| last.before.is_some()) else { return Ok(()) };
        let after = Event::new(stream.device())?;
        stream.record(&after)?;
        last.after = Some(after);
        Ok(())
    }

    fn begin(&mut self, stream: &Stream, operation: StreamOperation) -> Result<()> {
        let is_phases = self.detail == TraceDetail::Phases;
        let name = if is_phases { operation.phase() } else { operation.name() };
        if is_phases && self.submissions.last().is_some_and(|last| last.name == name) {
            return Ok(());
        }
        let mut before = None;
        if self.detail != TraceDetail::Submissions {
            if self.submissions.is_empty() {
                stream.hold(&self.gate)?;
            } else if is_phases {
                self.end_last(stream)?;
            }
            let event = Event::new(stream.device())?;
            stream.record(&event)?;
            before = Some(event);
        }
        self.submissions.push(Submission { name, operation, at: Instant::now(), before, after: None });
        Ok(())
    }
}

impl Stream {
    /// Measures what is put on the stream from now on. Waits for what is on it already. A trace that was under way is dropped. The instant that is
    /// returned is zero on the clock of the spans; the device's is set by it to within the time of a wait, some ten microseconds.
    ///
    /// Unless the detail is [`TraceDetail::Submissions`], the device begins when the host waits for the stream, or after [`Gate::MAX_WAIT`]: so that
    /// times are the device's own, wait by [`Self::finish_trace`] before anything else waits.
    ///
    /// # Errors
    /// `Device`: something on the stream failed.
    pub fn start_trace(&self, detail: TraceDetail) -> Result<Instant> {
        let origin = Event::new(self.device())?;
        self.record(&origin)?;
        self.synchronize()?;
        let start = Instant::now();
        *self.lock_trace() = Some(Trace { detail, start, origin, gate: Arc::default(), submissions: Vec::new() });
        Ok(start)
    }

    /// Waits for the stream, and says how long each thing took since [`Self::start_trace`], in the order in which they were put on it.
    /// Nothing, without a trace.
    ///
    /// # Errors
    /// `Device`: something on the stream failed.
    pub fn finish_trace(&self) -> Result<Vec<TraceSpan>> {
        let Some(mut trace) = self.lock_trace().take() else { return Ok(Vec::new()) };
        if trace.detail == TraceDetail::Phases {
            trace.end_last(self)?;
        }
        trace.gate.open();
        self.synchronize()?;
        trace.spans()
    }

    /// Puts an operation on the stream, and notes it if there is a trace.
    pub(super) fn traced(&self, operation: StreamOperation, put: impl FnOnce() -> Result<()>) -> Result<()> {
        if let Some(trace) = self.lock_trace().as_mut() {
            trace.begin(self, operation)?;
        }
        put()?;
        match self.lock_trace().as_mut() {
            Some(trace) if trace.detail == TraceDetail::Operations => trace.end_last(self),
            _ => Ok(()),
        }
    }

    /// Lets what is held go on: the host is about to wait for it.
    pub(super) fn release(&self) {
        if let Some(trace) = self.lock_trace().as_ref().filter(|trace| !trace.submissions.is_empty()) {
            trace.gate.open();
        }
    }

    pub(super) fn lock_trace(&self) -> MutexGuard<'_, Option<Trace>> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
