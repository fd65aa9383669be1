//! When the device did what: from CUPTI where it is there, else from events on the stream.

use std::time::{Duration, Instant};

use dctflow::Result;
use dctflow::device::{Stream, StreamOperation, TraceDetail, TraceSpan};

/// Where times come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    #[cfg(feature = "cuda")]
    Cupti,
    Events,
}

impl Clock {
    /// For the reader of a table.
    pub fn description(self) -> &'static str {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cupti => "measured by CUPTI",
            Self::Events => "measured by events around the launches, which adds about a microsecond to each",
        }
    }
}

/// An operation that was recorded. Moments are counted from an instant of the host.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub operation: StreamOperation,
    pub submitted: Duration,
    pub began: Duration,
    pub time: Duration,
    /// Registers of a thread, where CUPTI tells.
    pub registers: Option<u32>,
}

impl From<TraceSpan> for Recorded {
    fn from(span: TraceSpan) -> Self {
        let TraceSpan { operation, submitted, began, time, .. } = span;
        Self { operation, submitted, began, time, registers: None }
    }
}

/// Records operations on a stream.
pub struct Recorder {
    #[cfg(feature = "cuda")]
    cupti: Option<cupti::Records>,
}

impl Recorder {
    /// By events.
    pub fn of_events() -> Self {
        Self {
            #[cfg(feature = "cuda")]
            cupti: None,
        }
    }

    /// To be made before the GPU is opened. Where CUPTI is missing, standard error says why and what comes in its place.
    pub fn of_gpu() -> Self {
        #[cfg(feature = "cuda")]
        match cupti::Records::start() {
            Ok(records) => return Self { cupti: Some(records) },
            Err(error) => crate::cli::output::say(format_args!("times come from events: {error}")),
        }
        Self::of_events()
    }

    pub fn clock(&self) -> Clock {
        #[cfg(feature = "cuda")]
        if self.cupti.is_some() {
            return Clock::Cupti;
        }
        Clock::Events
    }

    /// Begins to record; waits for the stream. Moments count from the result.
    pub fn start(&mut self, stream: &Stream) -> Result<Instant> {
        #[cfg(feature = "cuda")]
        if let Some(cupti) = &mut self.cupti {
            let start = stream.start_trace(TraceDetail::Submissions)?;
            match cupti.begin(start) {
                Ok(()) => return Ok(start),
                Err(error) => crate::cli::output::say(format_args!("times come from events: {error}")),
            }
            self.cupti = None;
        }
        stream.start_trace(TraceDetail::Operations)
    }

    /// Waits for the stream, and gives what was put on it. `None`: CUPTI has not recorded all of it. Then standard error says so, and from now on
    /// times come from events.
    pub fn finish(&mut self, stream: &Stream) -> Result<Option<Vec<Recorded>>> {
        let mut recorded: Vec<Recorded> = stream.finish_trace()?.into_iter().map(Recorded::from).collect();
        // Of these CUPTI records nothing.
        recorded.retain(|recorded| !is_empty(&recorded.operation));
        #[cfg(feature = "cuda")]
        if let Some(cupti) = &self.cupti
            && let Err(error) = cupti.fill_in(&mut recorded)
        {
            crate::cli::output::say(format_args!("recorded anew, with times from events: {error}"));
            self.cupti = None;
            return Ok(None);
        }
        Ok(Some(recorded))
    }
}

fn is_empty(operation: &StreamOperation) -> bool {
    use StreamOperation::{Copy, Download, Fill, Upload};
    matches!(
        operation,
        Upload { len_bytes: 0 } | Download { len_bytes: 0 } | Copy { len_bytes: 0 } | Fill { len_bytes: 0 }
    )
}

#[cfg(feature = "cuda")]
mod cupti {
    use super::*;
    use dctflow::device::cuda::{Activity, ActivityKind, Cupti};
    use dctflow::{Error, ErrorKind};

    /// CUPTI's records of what is put on one stream.
    pub struct Records {
        cupti: Cupti,
        /// The same moment on the records' clock and as an instant from which moments count.
        origin_ns: u64,
    }

    impl Records {
        pub fn start() -> Result<Self> {
            Ok(Self { cupti: Cupti::start()?, origin_ns: 0 })
        }

        /// Forgets what was recorded so far. Moments count from `start`.
        pub fn begin(&mut self, start: Instant) -> Result<()> {
            self.cupti.take()?;
            let now_ns = self.cupti.now_ns()?;
            self.origin_ns = now_ns.saturating_sub(start.elapsed().as_nanos() as u64);
            Ok(())
        }

        /// Gives each operation the time that was recorded for it. One stream's records begin in its order.
        pub fn fill_in(&self, recorded: &mut [Recorded]) -> Result<()> {
            let activities = self.cupti.take()?;
            fill_in(recorded, &activities, self.origin_ns)
        }
    }

    /// As [`Records::fill_in`], kind by kind: between kinds, records may be missing.
    fn fill_in(recorded: &mut [Recorded], activities: &[Activity], origin_ns: u64) -> Result<()> {
        for kind in [Kind::Kernel, Kind::Copy, Kind::Fill] {
            let mut records = activities.iter().filter(|activity| Kind::of_activity(activity) == kind);
            for operation in
                recorded.iter_mut().filter(|recorded| Kind::of_operation(&recorded.operation) == Some(kind))
            {
                let name = operation.operation.name();
                let record = records.next().filter(|record| has_name(record, name)).ok_or_else(|| {
                    let message = format!("CUPTI's records lack the `{name}` that was put on the stream");
                    Error::new(ErrorKind::Device, message)
                })?;
                operation.began = Duration::from_nanos(record.start_ns.saturating_sub(origin_ns));
                operation.time = Duration::from_nanos(record.end_ns.saturating_sub(record.start_ns));
                if let ActivityKind::Kernel { registers, .. } = record.kind {
                    operation.registers = Some(registers);
                }
            }
        }
        Ok(())
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Kind {
        Kernel,
        Copy,
        Fill,
    }

    impl Kind {
        fn of_activity(activity: &Activity) -> Self {
            match activity.kind {
                ActivityKind::Kernel { .. } => Self::Kernel,
                ActivityKind::Copy => Self::Copy,
                ActivityKind::Fill => Self::Fill,
            }
        }

        fn of_operation(operation: &StreamOperation) -> Option<Self> {
            match operation {
                StreamOperation::Launch { .. } => Some(Self::Kernel),
                StreamOperation::Fill { .. } => Some(Self::Fill),
                StreamOperation::Upload { .. } | StreamOperation::Download { .. } | StreamOperation::Copy { .. } => {
                    Some(Self::Copy)
                }
                StreamOperation::Graph => None,
            }
        }
    }

    /// Entry points are called `KERNEL_entry`; of a kernel for one architecture, its twin may have run.
    fn has_name(activity: &Activity, name: &str) -> bool {
        match &activity.kind {
            ActivityKind::Kernel { name: entry, .. } => entry.strip_suffix("_entry") == Some(name),
            ActivityKind::Copy | ActivityKind::Fill => true,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use dctflow::abi::{ChecksumWords, Kernel};
        use dctflow::device::Grid;

        fn recorded(operation: StreamOperation) -> Recorded {
            let zero = Duration::ZERO;
            Recorded { operation, submitted: zero, began: zero, time: zero, registers: None }
        }

        fn kernel(name: &str, start_ns: u64) -> Activity {
            let kind = ActivityKind::Kernel { name: name.into(), registers: 40, smem_bytes: 0 };
            Activity { kind, start_ns, end_ns: start_ns + 7 }
        }

        #[test]
        fn records_are_matched_to_operations_in_order() {
            let launch = StreamOperation::Launch { kernel: ChecksumWords::ID, grid: Grid::x(1), smem_tail_bytes: 0 };
            let mut operations =
                [StreamOperation::Upload { len_bytes: 5 }, launch, StreamOperation::Download { len_bytes: 5 }]
                    .map(recorded);
            let copy = |start_ns| Activity { kind: ActivityKind::Copy, start_ns, end_ns: start_ns + 3 };
            let activities = [copy(110), kernel("checksum_words_entry", 120), copy(130)];
            fill_in(&mut operations, &activities, 100).unwrap();
            assert_eq!(operations.each_ref().map(|o| o.began.as_nanos()), [10, 20, 30]);
            assert_eq!(operations.each_ref().map(|o| o.time.as_nanos()), [3, 7, 3]);
            assert_eq!(operations[1].registers, Some(40));
            for wrong in [vec![], vec![kernel("another_entry", 1)]] {
                assert_eq!(fill_in(&mut [recorded(launch)], &wrong, 0).unwrap_err().kind(), ErrorKind::Device);
            }
        }
    }
}
