//! Work that is recorded once and put on streams again and again, at the cost of one launch.

use super::trace::Trace;
use super::{Device, GraphHandle, Stream, StreamOperation};
use crate::Result;
use std::fmt;
use std::sync::Arc;

/// Copies, fills and launches, recorded from a stream.
pub struct Graph {
    device: Arc<dyn Device>,
    handle: GraphHandle,
}

impl Stream {
    /// Records what `put` puts on this stream instead of doing it. Copies, fills and launches can be recorded; addresses and parameters are those
    /// of now.
    ///
    /// # Errors
    /// `Usage` if `put` waits for the stream, or records or awaits an event on it; whatever `put` fails with.
    pub fn capture(&self, put: impl FnOnce() -> Result<()>) -> Result<Graph> {
        // A trace would put events between the operations.
        let trace = self.lock_trace().take();
        let recording = Recording { stream: self, trace, is_recorded: false }.begin()?;
        let done = put();
        let graph = recording.end();
        done.and(graph)
    }

    /// Puts everything that was recorded on the stream.
    ///
    /// # Safety
    /// All buffers that the recorded work names are still alive, and what holds for each of its operations alone
    /// ([`Stream::upload`], [`Stream::download`], [`Stream::launch`]) holds for this call.
    ///
    /// # Errors
    /// `Device`.
    pub unsafe fn launch_graph(&self, graph: &Graph) -> Result<()> {
        // SAFETY: both handles are alive; the caller vouches for the rest.
        self.traced(StreamOperation::Graph, || unsafe { self.device().launch_graph(self.handle(), graph.handle) })
    }
}

/// A stream that is recorded. Dropped (a panic goes through it), it ends the recording: a stream that stays recorded is lost, and every thread
/// that gives memory back waits for the end of all recordings.
struct Recording<'a> {
    stream: &'a Stream,
    trace: Option<Trace>,
    is_recorded: bool,
}

impl Recording<'_> {
    fn begin(mut self) -> Result<Self> {
        // SAFETY: the handle is alive.
        unsafe { self.stream.device().begin_capture(self.stream.handle())? };
        self.is_recorded = true;
        Ok(self)
    }

    fn end(mut self) -> Result<Graph> {
        self.is_recorded = false;
        let device = self.stream.device();
        // SAFETY: the handle is alive, and its capture was begun.
        let handle = unsafe { device.end_capture(self.stream.handle())? };
        Ok(Graph { device: Arc::clone(device), handle })
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if self.is_recorded {
            let device = self.stream.device();
            // SAFETY: the handle is alive, and its capture was begun; nobody else has the graph.
            unsafe {
                if let Ok(graph) = device.end_capture(self.stream.handle()) {
                    device.destroy_graph(graph);
                }
            }
        }
        *self.stream.lock_trace() = self.trace.take();
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: the handle is this graph's own.
        unsafe { self.device.destroy_graph(self.handle) }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({:#x})", self.handle.0)
    }
}
