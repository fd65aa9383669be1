//! A profile as a trace in Chrome's JSON format (Google, "Trace Event Format"), which ui.perfetto.dev and chrome://tracing open: the host's
//! stages, the device's operations, and, where times are predicted, the predictions one after the other.

use std::time::Duration;

use dctflow::device::StreamOperation;
use serde_json::{Value, json};

use super::run::{DeviceSpan, HostSpan, Profile};

/// Tracks, as processes of the trace.
const HOST: u32 = 1;
const DEVICE: u32 = 2;
const PREDICTION: u32 = 3;

/// The whole trace. All tracks are on the host's clock, in microseconds from the start of the first batch.
pub fn trace(profile: &Profile) -> Value {
    let mut events = vec![process(HOST, "host"), process(DEVICE, &device_name(profile))];
    events.extend(profile.host.iter().map(host_event));
    events.extend(profile.spans.iter().enumerate().flat_map(|(idx, span)| device_events(span, idx)));
    if !profile.is_measured() && profile.spans.iter().any(|span| span.prediction.is_some()) {
        events.push(process(PREDICTION, "prediction, not measured"));
        events.extend(predicted_events(profile));
    }
    json!({ "displayTimeUnit": "ns", "traceEvents": events })
}

fn device_name(profile: &Profile) -> String {
    let name = &profile.device.name;
    if profile.is_measured() { name.clone() } else { format!("{name} (its own time, which is no GPU's)") }
}

fn process(pid: u32, name: &str) -> Value {
    json!({ "ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": { "name": name } })
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A span of a track.
fn complete(pid: u32, category: &str, name: &str, (began, time): (f64, f64), args: Value) -> Value {
    json!({ "ph": "X", "pid": pid, "tid": 0, "cat": category, "name": name, "ts": began, "dur": time, "args": args })
}

fn host_event(span: &HostSpan) -> Value {
    let stage = span.stage.name();
    let name = format!("{} {stage}", span.name);
    complete(HOST, stage, &name, (microseconds(span.began), microseconds(span.time)), json!({}))
}

/// The span, and an arrow to it from where the host put it on the stream.
fn device_events(span: &DeviceSpan, idx: usize) -> [Value; 3] {
    let recorded = &span.recorded;
    let (name, stage) = (recorded.operation.name(), span.stage.name());
    let began = microseconds(recorded.began);
    let arrow = |phase: &str, pid: u32, at: f64| json!({ "ph": phase, "bp": "e", "id": idx, "pid": pid, "tid": 0, "cat": "submit", "name": "submit", "ts": at });
    [
        complete(DEVICE, stage, name, (began, microseconds(recorded.time)), arguments(span)),
        arrow("s", HOST, microseconds(recorded.submitted)),
        arrow("f", DEVICE, began),
    ]
}

fn arguments(span: &DeviceSpan) -> Value {
    let mut args = json!({ "bytes": span.work.bytes, "flops": span.work.flops });
    if let StreamOperation::Launch { kernel, grid, smem_tail_bytes } = span.recorded.operation {
        args["grid"] = json!([grid.x, grid.y, grid.z]);
        args["threads"] = json!(kernel.info().threads);
        args["smem_tail_bytes"] = json!(smem_tail_bytes);
    }
    if let Some(prediction) = span.prediction {
        args["predicted_us"] = json!(1e6 * prediction.seconds);
        args["predicted_bound"] = json!(prediction.bound.name());
    }
    args
}

/// Each operation as long as predicted, after the one before.
fn predicted_events(profile: &Profile) -> Vec<Value> {
    let mut now = 0.0;
    let events = profile.spans.iter().filter_map(|span| {
        let microseconds = 1e6 * span.prediction?.seconds;
        let began = now;
        now += microseconds;
        let name = span.recorded.operation.name();
        Some(complete(PREDICTION, span.stage.name(), name, (began, microseconds), arguments(span)))
    });
    events.collect()
}
