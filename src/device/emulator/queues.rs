//! Streams as queues: what is put on them runs late, in an order across streams that only events limit.

use super::Schedule;
use super::random::Random;
use crate::device::{Address, EventHandle, GraphHandle, Grid, StreamHandle};
use crate::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// An event: how often it was recorded, and how many of these recordings have happened.
#[derive(Debug, Default)]
pub(super) struct EventState {
    num_recorded: AtomicU64,
    num_happened: AtomicU64,
    pub happened_at: std::sync::Mutex<Option<Instant>>,
}

impl EventState {
    /// Whether the latest recording has happened.
    pub fn has_happened(&self) -> bool {
        self.num_happened.load(Ordering::Relaxed) >= self.num_recorded.load(Ordering::Relaxed)
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Copy { to: u64, from: u64, len_bytes: usize },
    Fill { to: Address, byte: u8, len_bytes: usize },
    Launch { kernel_idx: usize, grid: Grid, smem_tail_bytes: u32, params: Params },
    Record { event: Arc<EventState>, recording: u64 },
    Wait { event: Arc<EventState>, recording: u64 },
}

/// A kernel's parameters, aligned for any of them.
#[derive(Clone, Debug)]
pub(super) struct Params(Vec<u128>);

impl Params {
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut words = vec![0u128; bytes.len().div_ceil(size_of::<u128>())];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self(words)
    }

    pub fn as_ptr(&self) -> *const std::ffi::c_void {
        self.0.as_ptr().cast()
    }
}

/// All streams and events of a device.
#[derive(Debug)]
pub(super) struct Queues {
    schedule: Schedule,
    random: Random,
    streams: BTreeMap<StreamHandle, VecDeque<Work>>,
    events: BTreeMap<EventHandle, Arc<EventState>>,
    /// What streams that are being recorded were given so far.
    captures: BTreeMap<StreamHandle, Vec<Work>>,
    graphs: BTreeMap<GraphHandle, Vec<Work>>,
    num_handles: u64,
}

impl Queues {
    pub fn new(schedule: Schedule) -> Self {
        let seed = if let Schedule::Random(seed) = schedule { seed } else { 0 };
        Self {
            schedule,
            random: Random::new(seed),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            captures: BTreeMap::new(),
            graphs: BTreeMap::new(),
            num_handles: 0,
        }
    }

    fn new_handle(&mut self) -> u64 {
        self.num_handles += 1;
        self.num_handles
    }

    pub fn create_stream(&mut self) -> StreamHandle {
        let handle = StreamHandle(self.new_handle());
        self.streams.insert(handle, VecDeque::new());
        handle
    }

    pub fn has_stream(&self, stream: StreamHandle) -> bool {
        self.streams.contains_key(&stream)
    }

    pub fn destroy_stream(&mut self, stream: StreamHandle) {
        self.streams.remove(&stream);
        self.captures.remove(&stream);
    }

    pub fn create_event(&mut self) -> EventHandle {
        let handle = EventHandle(self.new_handle());
        self.events.insert(handle, Arc::default());
        handle
    }

    pub fn destroy_event(&mut self, event: EventHandle) {
        self.events.remove(&event);
    }

    pub fn event(&self, event: EventHandle) -> Option<Arc<EventState>> {
        self.events.get(&event).cloned()
    }

    /// Puts work at the end of a stream, or of what is recorded from it.
    pub fn push(&mut self, stream: StreamHandle, work: Work) {
        match self.captures.get_mut(&stream) {
            Some(recorded) => recorded.push(work),
            None => self.streams.entry(stream).or_default().push_back(work),
        }
    }

    /// Fails while the stream is being recorded: waits and events cannot be.
    pub fn check_not_captured(&self, stream: StreamHandle) -> Result<()> {
        match self.captures.contains_key(&stream) {
            true => Err(Error::new(
                ErrorKind::Usage,
                "a stream that is being recorded takes copies, fills and launches only",
            )),
            false => Ok(()),
        }
    }

    pub fn begin_capture(&mut self, stream: StreamHandle) -> Result<()> {
        self.check_not_captured(stream)?;
        self.captures.insert(stream, Vec::new());
        Ok(())
    }

    pub fn end_capture(&mut self, stream: StreamHandle) -> Result<GraphHandle> {
        let recorded = self.captures.remove(&stream);
        let recorded = recorded.ok_or_else(|| Error::new(ErrorKind::Usage, "nothing is being recorded"))?;
        let handle = GraphHandle(self.new_handle());
        self.graphs.insert(handle, recorded);
        Ok(handle)
    }

    pub fn launch_graph(&mut self, stream: StreamHandle, graph: GraphHandle) -> Result<()> {
        let recorded = self.graphs.get(&graph).cloned();
        let recorded =
            recorded.ok_or_else(|| Error::new(ErrorKind::Internal, "a graph that this device does not know"))?;
        recorded.into_iter().for_each(|work| self.push(stream, work));
        Ok(())
    }

    pub fn destroy_graph(&mut self, graph: GraphHandle) {
        self.graphs.remove(&graph);
    }

    pub fn record(&mut self, stream: StreamHandle, event: EventHandle) -> Result<()> {
        self.check_not_captured(stream)?;
        if let Some(event) = self.event(event) {
            let recording = event.num_recorded.fetch_add(1, Ordering::Relaxed) + 1;
            self.push(stream, Work::Record { event, recording });
        }
        Ok(())
    }

    pub fn wait(&mut self, stream: StreamHandle, event: EventHandle) -> Result<()> {
        self.check_not_captured(stream)?;
        if let Some(event) = self.event(event) {
            let recording = event.num_recorded.load(Ordering::Relaxed);
            self.push(stream, Work::Wait { event, recording });
        }
        Ok(())
    }

    pub fn is_stream_empty(&self, stream: StreamHandle) -> bool {
        self.streams.get(&stream).is_none_or(VecDeque::is_empty)
    }

    pub fn are_all_empty(&self) -> bool {
        self.streams.values().all(VecDeque::is_empty)
    }

    /// The next thing to do, of a stream that the schedule chooses among those that wait for no event; `None` when nothing is left. Records and
    /// waits are dealt with here.
    pub fn take_next(&mut self) -> Option<Work> {
        loop {
            let runnable: Vec<StreamHandle> =
                self.streams.iter().filter(|(_, queue)| is_runnable(queue)).map(|(&handle, _)| handle).collect();
            let chosen = match self.schedule {
                Schedule::Forward => *runnable.first()?,
                Schedule::Reverse => *runnable.last()?,
                Schedule::Random(_) if runnable.is_empty() => return None,
                Schedule::Random(_) => runnable[self.random.below(runnable.len() as u64) as usize],
            };
            match self.streams.get_mut(&chosen)?.pop_front()? {
                Work::Record { event, recording } => {
                    event.num_happened.store(recording, Ordering::Relaxed);
                    *event.happened_at.lock().unwrap_or_else(|e| e.into_inner()) = Some(Instant::now());
                    // A caller that waits for just this event must be able to stop here.
                    return Some(Work::Record { event, recording });
                }
                Work::Wait { .. } => {}
                work => return Some(work),
            }
        }
    }
}

fn is_runnable(queue: &VecDeque<Work>) -> bool {
    match queue.front() {
        None => false,
        Some(Work::Wait { event, recording }) => event.num_happened.load(Ordering::Relaxed) >= *recording,
        Some(_) => true,
    }
}
