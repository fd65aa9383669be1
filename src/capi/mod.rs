//! The C interface: what `include/dctflow.h` declares. Build the library with
//! `cargo rustc --release --lib --features capi --crate-type cdylib` (or `staticlib`).
//!
//! Every object is an opaque handle with a `_free` function, which takes NULL. Every function that can fail returns a
//! [`DctflowCode`]; [`dctflow_message`] says what was wrong, and the place for a result holds NULL. No panic leaves a function. A session may be used by several threads at a time;
//! every other handle belongs to one thread at a time.

mod code;
mod outcomes;

pub use code::{DctflowCode, dctflow_message};
pub use outcomes::{DctflowOutcome, DctflowOutcomes, dctflow_outcome, dctflow_outcomes_free, dctflow_outcomes_len};

use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

use crate::device::{DeviceBuffer, Stream};
use crate::error::{Error, ErrorKind, Result};
use crate::jpeg::Policy;
use crate::network::Weights;
use crate::resample::Transform;
use crate::session::{Batch, Busy, DeviceChoice, OpsChoice, Session, Ticket};
use code::{answer, usage};

/// A network on its devices, ready for batches.
pub struct DctflowSession(Session);

/// Images on their way into a session.
pub struct DctflowBatch(Batch);

/// The receipt for a submitted batch. It may outlive its session.
pub struct DctflowTicket(Ticket);

/// Settings of a session. Zero bytes and NULL mean the default.
#[repr(C)]
pub struct DctflowOptions {
    /// Path of a safetensors file, UTF-8. There is no default.
    pub weights_path: *const c_char,
    /// `auto`, `cpu`, `cuda`, `cuda:N` or `emulator`; several, separated by commas, work behind one front. Default: auto.
    pub device: *const c_char,
    /// How images are resized and cropped, such as `short=256,crop=224`. Default: as the weights say.
    pub transform: *const c_char,
    /// Partial images: `strict`, `lenient`, `lenient:F` or `skip`. Default: lenient.
    pub policy: *const c_char,
    /// Images that run at once. Default: 16.
    pub max_batch: u32,
    /// Batches in flight on each device. Default: 2.
    pub slots: u32,
    /// Classes in an outcome's `top`. Default: 5.
    pub topk: u32,
    /// Threads of the CPU. Default: one per core.
    pub threads: u32,
    /// A CUstream (or cudaStream_t) of the one device's primary context, to be joined: what is on it when a batch is submitted happens
    /// before the batch writes to `dctflow_batch_write_logits_to`'s memory, what is put there after `dctflow_submit` has returned happens
    /// after the batch. It must outlive the session. NULL: none; the default stream is CU_STREAM_LEGACY. CU_STREAM_PER_THREAD, another stream
    /// in each thread, is refused.
    pub stream: *mut c_void,
    /// What carries out convolutions on a GPU: `kernels` (this library's own) or `libraries` (cuBLASLt and cuDNN). Default: kernels.
    pub ops: *const c_char,
    /// Not 0: no CUDA graphs. To record one takes a millisecond or so once for each size of batch, during which the driver refuses all waits
    /// for the whole device (cudaDeviceSynchronize) by any thread of the process; a program that has such waits says 1.
    pub no_graphs: u32,
}

/// The library's version, such as `0.1.0`.
#[unsafe(no_mangle)]
pub extern "C" fn dctflow_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Starts a session.
///
/// # Safety
/// `options` points to settings whose strings end with a zero byte; `session` to a place for a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_session_new(
    options: *const DctflowOptions,
    session: *mut *mut DctflowSession,
) -> DctflowCode {
    answer(|| {
        // SAFETY: the caller's.
        let (options, place) = unsafe { (options.as_ref(), place(session)?) };
        // SAFETY: the caller's.
        let started = unsafe { start_session(options.ok_or_else(|| usage("options is NULL"))?)? };
        *place = Box::into_raw(Box::new(DctflowSession(started)));
        Ok(DctflowCode::Ok)
    })
}

/// # Safety
/// The strings are NULL or end with a zero byte; the stream is NULL or one that outlives the session.
unsafe fn start_session(options: &DctflowOptions) -> Result<Session> {
    // SAFETY: the caller's.
    let text = |pointer, name| unsafe { text(pointer, name) };
    let path = text(options.weights_path, "weights_path")?;
    let device = text(options.device, "device")?;
    let transform = text(options.transform, "transform")?;
    let policy = text(options.policy, "policy")?;
    let ops = text(options.ops, "ops")?;
    let mut weights = Weights::load(path.ok_or_else(|| usage("weights_path is NULL"))?)?;
    if let Some(transform) = transform {
        weights = weights.with_transform(transform.parse::<Transform>()?)?;
    }
    let mut builder = Session::builder(&weights);
    if let Some(names) = device {
        let devices = names.split(',').map(str::parse).collect::<Result<Vec<DeviceChoice>>>()?;
        builder = builder.devices(&devices);
    }
    if !options.stream.is_null() {
        let device = device.map_or(Ok(DeviceChoice::Auto), str::parse)?.resolve()?;
        let handle =
            device.handle.as_ref().ok_or_else(|| usage("a stream is joined on a device, and the CPU is none"))?;
        // SAFETY: the caller's.
        let stream = unsafe { Stream::from_raw(handle, options.stream as u64)? };
        builder = builder.on(std::slice::from_ref(&device)).stream(Arc::new(stream));
    }
    if let Some(policy) = policy {
        builder = builder.policy(policy.parse::<Policy>().map_err(usage)?);
    }
    if let Some(ops) = ops {
        builder = builder.ops_choice(ops.parse::<OpsChoice>()?);
    }
    builder = builder.graphs(options.no_graphs == 0);
    if options.max_batch > 0 {
        builder = builder.max_batch(options.max_batch as usize);
    }
    if options.slots > 0 {
        builder = builder.slots(options.slots as usize);
    }
    if options.topk > 0 {
        builder = builder.topk(options.topk as usize);
    }
    builder.threads(options.threads as usize).build()
}

/// Ends a session after all that was submitted. Its tickets stay valid.
///
/// # Safety
/// `session` is NULL or a handle that was not freed; nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_session_free(session: *mut DctflowSession) {
    // SAFETY: the caller's.
    unsafe { free(session) }
}

/// An empty batch.
#[unsafe(no_mangle)]
pub extern "C" fn dctflow_batch_new() -> *mut DctflowBatch {
    Box::into_raw(Box::new(DctflowBatch(Batch::new())))
}

/// Adds a JPEG file of `len_bytes` bytes, which are copied. `tag` comes back in the outcome.
///
/// # Safety
/// `batch` is a handle; `bytes` points to as many bytes (or is NULL, for none).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_batch_push(
    batch: *mut DctflowBatch,
    bytes: *const u8,
    len_bytes: usize,
    tag: u64,
) -> DctflowCode {
    answer(|| {
        // SAFETY: the caller's.
        let batch = unsafe { handle_mut(batch, "batch")? };
        if bytes.is_null() && len_bytes > 0 {
            return Err(usage("bytes is NULL, and len_bytes is not 0"));
        }
        // SAFETY: the caller's; an empty slice has any address but NULL.
        let file = if len_bytes == 0 { &[] } else { unsafe { std::slice::from_raw_parts(bytes, len_bytes) } };
        batch.0.push(file, None, tag);
        Ok(DctflowCode::Ok)
    })
}

/// Has the logits of a batch written to device memory besides, float `[images][classes]`, at a CUdeviceptr of the session's device. Rows of
/// images without logits mean nothing. What uses the memory joins its stream (`dctflow_options_t`), or waits for the batch first. For a session of
/// one device: with several the batch fails, `DCTFLOW_CODE_USAGE`.
///
/// # Safety
/// `session` and `batch` are handles; `len_bytes` at `device_pointer` are memory of the session's device until the batch was waited for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_batch_write_logits_to(
    session: *const DctflowSession,
    batch: *mut DctflowBatch,
    device_pointer: u64,
    len_bytes: usize,
) -> DctflowCode {
    answer(|| {
        // SAFETY: the caller's.
        let (session, batch) = unsafe { (handle(session, "session")?, handle_mut(batch, "batch")?) };
        let device =
            session.0.device_handle().ok_or_else(|| usage("the session runs on the CPU: it has no device memory"))?;
        // SAFETY: the caller's.
        let buffer = unsafe { DeviceBuffer::from_raw(device, device_pointer, len_bytes) };
        batch.0.write_logits_to(Arc::new(buffer));
        Ok(DctflowCode::Ok)
    })
}

/// Gives a batch back that was never submitted.
///
/// # Safety
/// `batch` is NULL or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_batch_free(batch: *mut DctflowBatch) {
    // SAFETY: the caller's.
    unsafe { free(batch) }
}

/// Submits the images of a batch and leaves it empty, to be filled again or freed. Waits, if it must, for a free slot, never until the batch is
/// done; where a stream is joined, until the batch is on the device's queues.
///
/// # Safety
/// `session` and `batch` are handles; `ticket` points to a place for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_submit(
    session: *const DctflowSession,
    batch: *mut DctflowBatch,
    ticket: *mut *mut DctflowTicket,
) -> DctflowCode {
    answer(|| {
        // SAFETY: the caller's.
        let (place, session, batch) =
            unsafe { (place(ticket)?, handle(session, "session")?, handle_mut(batch, "batch")?) };
        let submitted = session.0.submit(std::mem::take(&mut batch.0));
        *place = Box::into_raw(Box::new(DctflowTicket(submitted)));
        Ok(DctflowCode::Ok)
    })
}

/// As `dctflow_submit`, but never waits: `DCTFLOW_CODE_BUSY` leaves the batch as it was when every slot is taken. Where a stream is joined, only
/// what is put there after `dctflow_is_on_its_way` has said yes comes after the batch.
///
/// # Safety
/// As `dctflow_submit`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_try_submit(
    session: *const DctflowSession,
    batch: *mut DctflowBatch,
    ticket: *mut *mut DctflowTicket,
) -> DctflowCode {
    answer(|| {
        // SAFETY: the caller's.
        let (place, session, batch) =
            unsafe { (place(ticket)?, handle(session, "session")?, handle_mut(batch, "batch")?) };
        match session.0.try_submit(std::mem::take(&mut batch.0)) {
            Ok(submitted) => {
                *place = Box::into_raw(Box::new(DctflowTicket(submitted)));
                Ok(DctflowCode::Ok)
            }
            Err(Busy(returned)) => {
                batch.0 = returned;
                Ok(DctflowCode::Busy)
            }
        }
    })
}

/// Whether the whole batch is on the device's queues, or done: 1 or 0. Never waits. 0 for NULL.
///
/// # Safety
/// `ticket` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_is_on_its_way(ticket: *const DctflowTicket) -> i32 {
    // SAFETY: the caller's.
    unsafe { ticket.as_ref() }.map_or(0, |ticket| ticket.0.is_on_its_way().into())
}

/// Waits until the whole batch is on the device's queues, but not until it is done. Nothing for NULL.
///
/// # Safety
/// `ticket` is NULL or a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_wait_until_on_its_way(ticket: *const DctflowTicket) {
    // SAFETY: the caller's.
    if let Some(ticket) = unsafe { ticket.as_ref() } {
        ticket.0.wait_until_on_its_way();
    }
}

/// Gives back the memory that batches have had a session take; the next one takes it anew. Waits for the batches that run.
///
/// # Safety
/// `session` is a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_session_trim(session: *const DctflowSession) -> DctflowCode {
    answer(|| {
        // SAFETY: the caller's.
        unsafe { handle(session, "session")? }.0.trim()?;
        Ok(DctflowCode::Ok)
    })
}

/// Waits for a batch. `*ticket` is freed and becomes NULL, whatever the answer.
///
/// # Safety
/// `ticket` points to a handle, `outcomes` to a place for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_wait(
    ticket: *mut *mut DctflowTicket,
    outcomes: *mut *mut DctflowOutcomes,
) -> DctflowCode {
    answer(|| {
        // SAFETY: the caller's.
        let (place, ticket) = unsafe { (place(outcomes), take_ticket(ticket)?) };
        let place = place?;
        *place = DctflowOutcomes::into_handle(ticket.0.wait()?);
        Ok(DctflowCode::Ok)
    })
}

/// As `dctflow_wait`, but never waits: `DCTFLOW_CODE_BUSY` leaves the ticket to be asked again.
///
/// # Safety
/// As `dctflow_wait`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_try_wait(
    ticket: *mut *mut DctflowTicket,
    outcomes: *mut *mut DctflowOutcomes,
) -> DctflowCode {
    answer(|| {
        // SAFETY: the caller's.
        let (place, taken) = unsafe { (place(outcomes), take_ticket(ticket)?) };
        let place = place?;
        match taken.0.try_wait() {
            Ok(answer) => {
                *place = DctflowOutcomes::into_handle(answer?);
                Ok(DctflowCode::Ok)
            }
            Err(waiting) => {
                // SAFETY: the caller's; it was NULL in between.
                unsafe { *ticket = Box::into_raw(Box::new(DctflowTicket(waiting))) };
                Ok(DctflowCode::Busy)
            }
        }
    })
}

/// Frees a ticket that nobody wants to wait for. Its batch runs all the same.
///
/// # Safety
/// `ticket` is NULL or a handle that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dctflow_ticket_free(ticket: *mut DctflowTicket) {
    // SAFETY: the caller's.
    unsafe { free(ticket) }
}

/// The ticket, out of its place.
///
/// # Safety
/// `ticket` is NULL or points to NULL or to a handle.
unsafe fn take_ticket(ticket: *mut *mut DctflowTicket) -> Result<Box<DctflowTicket>> {
    // SAFETY: the caller's.
    let place = unsafe { ticket.as_mut() }.ok_or_else(|| usage("ticket is NULL"))?;
    if place.is_null() {
        return Err(usage("the ticket is NULL: it was waited for, or never given"));
    }
    // SAFETY: a handle comes from `Box::into_raw`, and nobody has it any more.
    Ok(unsafe { Box::from_raw(std::mem::replace(place, std::ptr::null_mut())) })
}

/// # Safety
/// `pointer` is NULL or a live handle.
unsafe fn handle<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: the caller's.
    unsafe { pointer.as_ref() }.ok_or_else(|| usage(format!("{name} is NULL")))
}

/// # Safety
/// `pointer` is NULL or a live handle that nobody else uses.
unsafe fn handle_mut<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    // SAFETY: the caller's.
    unsafe { pointer.as_mut() }.ok_or_else(|| usage(format!("{name} is NULL")))
}

/// Where a result goes; NULL until it is there.
///
/// # Safety
/// `pointer` is NULL or points to a handle's place.
unsafe fn place<'a, T>(pointer: *mut *mut T) -> Result<&'a mut *mut T> {
    if pointer.is_null() {
        return Err(usage("there is no place for the result: the pointer to it is NULL"));
    }
    // SAFETY: the caller's; the place may not be initialised, which writing does not mind.
    unsafe {
        pointer.write(std::ptr::null_mut());
        Ok(&mut *pointer)
    }
}

/// # Safety
/// `pointer` is NULL or ends with a zero byte.
unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's.
    let text = unsafe { CStr::from_ptr(pointer) }.to_str();
    text.map(Some).map_err(|e| Error::new(ErrorKind::Usage, format!("{name} is not UTF-8")).with_source(e))
}

/// # Safety
/// `handle` is NULL or comes from `Box::into_raw` and was not freed.
unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        answer(|| {
            // SAFETY: the caller's.
            drop(unsafe { Box::from_raw(handle) });
            Ok(DctflowCode::Ok)
        });
    }
}
