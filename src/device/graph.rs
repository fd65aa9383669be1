//! Work that is recorded once and put on streams again and again, at the cost of one launch.

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
        // SAFETY: the handle is alive.
        let begun = unsafe { self.device().begin_capture(self.handle()) };
        let graph = begun.and_then(|()| {
            let done = put();
            // SAFETY: the handle is alive, and its capture was begun above.
            let graph = unsafe { self.device().end_capture(self.handle()) };
            let graph = graph.map(|handle| Graph { device: Arc::clone(self.device()), handle });
            done.and(graph)
        });
        *self.lock_trace() = trace;
        graph
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
