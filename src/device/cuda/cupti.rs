//! When the GPU did what, as CUPTI (NVIDIA's profiling interface) records it: to the nanosecond, without events between the launches.
//!
//! CUPTI's structs grow with its versions, but keep their beginnings; only these are read here (cupti_activity.h, `CUpti_ActivityKernel4` to
//! `13`, `CUpti_ActivityMemcpy` and `CUpti_ActivityMemset`).

use super::library::{Wanted, functions};
use crate::{Error, ErrorKind, Result};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

const CUPTI: Wanted = Wanted {
    name: "CUPTI",
    files: &["libcupti.so.13", "libcupti.so.12", "libcupti.so"],
    remedy: "install it (`pip install nvidia-cuda-cupti`, or the CUDA toolkit) and name its folder in LD_LIBRARY_PATH",
    otherwise: "events give times too",
};

/// Values of cupti_activity.h.
mod value {
    use std::ffi::c_int;
    pub const SUCCESS: c_int = 0;
    pub const KIND_MEMCPY: c_int = 1;
    pub const KIND_MEMSET: c_int = 2;
    pub const KIND_KERNEL: c_int = 3;
    pub const KIND_CONCURRENT_KERNEL: c_int = 10;
    pub const FLUSH_FORCED: u32 = 1;
}

/// What is asked for.
const KINDS: [c_int; 3] = [value::KIND_CONCURRENT_KERNEL, value::KIND_MEMCPY, value::KIND_MEMSET];

type BufferRequested = unsafe extern "C" fn(*mut *mut u8, *mut usize, *mut usize);
type BufferCompleted = unsafe extern "C" fn(*mut c_void, u32, *mut u8, usize, usize);

functions! {
    /// Each returns a code, 0 for success.
    Functions {
        cuptiActivityRegisterCallbacks(BufferRequested, BufferCompleted) -> c_int;
        cuptiActivityEnable(c_int) -> c_int;
        cuptiActivityDisable(c_int) -> c_int;
        cuptiActivityFlushAll(u32) -> c_int;
        cuptiActivityGetNextRecord(*mut u8, usize, *mut *const Record) -> c_int;
        cuptiGetResultString(c_int, *mut *const c_char) -> c_int;
        cuptiGetTimestamp(*mut u64) -> c_int;
    }
}

/// The beginning of every record, `CUpti_Activity`.
#[repr(C)]
struct Record {
    kind: c_int,
}

/// The beginning of `CUpti_ActivityKernel4` and later. CUPTI packs its records to eight bytes.
#[repr(C)]
struct KernelRecord {
    kind: c_int,
    cache_config: [u8; 2],
    registers: u16,
    partitioned_cache: [c_int; 2],
    start_ns: u64,
    end_ns: u64,
    completed_ns: u64,
    device_id: u32,
    context_id: u32,
    stream_id: u32,
    grid: [i32; 3],
    cta: [i32; 3],
    static_smem_bytes: i32,
    dynamic_smem_bytes: i32,
    local_memory: [u32; 2],
    correlation_id: u32,
    grid_id: i64,
    name: *const c_char,
}

/// The beginning of `CUpti_ActivityMemcpy` and `CUpti_ActivityMemset`.
#[repr(C)]
struct CopyRecord {
    kind: c_int,
    what: u32,
    len_bytes: u64,
    start_ns: u64,
    end_ns: u64,
}

/// What the GPU did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActivityKind {
    /// It ran a kernel.
    Kernel {
        /// The name of its entry point.
        name: String,
        /// Registers of a thread.
        registers: u32,
        /// Shared memory of a CTA.
        smem_bytes: u32,
    },
    /// It copied.
    Copy,
    /// It set memory.
    Fill,
}

/// Something that the GPU did, in nanoseconds of [`Cupti::now_ns`]'s clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// What it did.
    pub kind: ActivityKind,
    /// From when.
    pub start_ns: u64,
    /// Until when.
    pub end_ns: u64,
}

impl Activity {
    /// # Safety
    /// A record of CUPTI's, whole.
    unsafe fn read(record: *const Record) -> Option<Self> {
        // SAFETY: every record begins with its kind, and then as its kind says. Names are alive as long as the kernels' modules.
        unsafe {
            match (*record).kind {
                value::KIND_KERNEL | value::KIND_CONCURRENT_KERNEL => {
                    let record = &*record.cast::<KernelRecord>();
                    let name = if record.name.is_null() { c"" } else { CStr::from_ptr(record.name) };
                    let kind = ActivityKind::Kernel {
                        name: name.to_string_lossy().into_owned(),
                        registers: record.registers.into(),
                        smem_bytes: (record.static_smem_bytes + record.dynamic_smem_bytes) as u32,
                    };
                    Some(Self { kind, start_ns: record.start_ns, end_ns: record.end_ns })
                }
                kind @ (value::KIND_MEMCPY | value::KIND_MEMSET) => {
                    let record = &*record.cast::<CopyRecord>();
                    let kind = if kind == value::KIND_MEMCPY { ActivityKind::Copy } else { ActivityKind::Fill };
                    Some(Self { kind, start_ns: record.start_ns, end_ns: record.end_ns })
                }
                _ => None,
            }
        }
    }
}

/// Records of the process's GPUs, from [`Cupti::start`] until it is dropped. There can be one at a time, and none beside another profiler.
#[derive(Debug)]
pub struct Cupti {
    functions: &'static Functions,
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Functions")
    }
}

/// CUPTI's callbacks take no pointer of ours, so what they need is the process's.
static FUNCTIONS: OnceLock<Functions> = OnceLock::new();
static ACTIVITIES: Mutex<Vec<Activity>> = Mutex::new(Vec::new());

fn lock_activities() -> MutexGuard<'static, Vec<Activity>> {
    ACTIVITIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Words of eight bytes, to which records are aligned.
const BUFFER_WORDS: usize = 1 << 17;

unsafe extern "C" fn give_buffer(buffer: *mut *mut u8, len_bytes: *mut usize, max_records: *mut usize) {
    let words: Box<[u64; BUFFER_WORDS]> = vec![0u64; BUFFER_WORDS].try_into().unwrap_or_else(|_| unreachable!());
    // SAFETY: CUPTI's variables. It gives the buffer back to `read_buffer`.
    unsafe {
        *buffer = Box::into_raw(words).cast();
        *len_bytes = BUFFER_WORDS * size_of::<u64>();
        // As many as fit.
        *max_records = 0;
    }
}

unsafe extern "C" fn read_buffer(_: *mut c_void, _: u32, buffer: *mut u8, _: usize, valid_bytes: usize) {
    // SAFETY: made by `give_buffer`, given back once.
    let words = unsafe { Box::from_raw(buffer.cast::<[u64; BUFFER_WORDS]>()) };
    let Some(functions) = FUNCTIONS.get() else { return };
    let buffer = words.as_ptr().cast_mut().cast::<u8>();
    let mut record = std::ptr::null();
    let mut activities = lock_activities();
    // SAFETY: the buffer holds that many bytes of records; after the last one the code is another than success.
    while unsafe { (functions.cuptiActivityGetNextRecord)(buffer, valid_bytes, &mut record) } == value::SUCCESS {
        // SAFETY: the record lies in the buffer, whole.
        activities.extend(unsafe { Activity::read(record) });
    }
}

impl Cupti {
    /// Begins to record. Best before the first device is opened.
    ///
    /// # Errors
    /// `NoLibrary`: there is no CUPTI, and how to get it. `Device`: it does not start, mostly because another profiler is there already, or
    /// because the driver keeps its counters for administrators.
    pub fn start() -> Result<Self> {
        let functions = match FUNCTIONS.get() {
            Some(functions) => functions,
            None => {
                let functions = Functions::of(CUPTI.load()?)?;
                FUNCTIONS.get_or_init(|| functions)
            }
        };
        // From here on, dropping `cupti` ends what has begun.
        let cupti = Self { functions };
        lock_activities().clear();
        // SAFETY: both functions do what CUPTI asks of them, and are always there.
        let code = unsafe { (functions.cuptiActivityRegisterCallbacks)(give_buffer, read_buffer) };
        cupti.check(code, "registering the buffers of records")?;
        for kind in KINDS {
            // SAFETY: a kind that exists.
            cupti.check(unsafe { (functions.cuptiActivityEnable)(kind) }, "beginning to record")?;
        }
        Ok(cupti)
    }

    /// The moment on the records' clock.
    pub fn now_ns(&self) -> Result<u64> {
        let mut now_ns = 0;
        // SAFETY: writes one integer.
        self.check(unsafe { (self.functions.cuptiGetTimestamp)(&mut now_ns) }, "asking for the time")?;
        Ok(now_ns)
    }

    /// What the GPU has done since the last call, by beginning. The caller has waited for it.
    pub fn take(&self) -> Result<Vec<Activity>> {
        for flags in [0, value::FLUSH_FORCED] {
            // SAFETY: flags that exist. First buffers whose records are all complete, then the others: of finished work, none is incomplete.
            self.check(unsafe { (self.functions.cuptiActivityFlushAll)(flags) }, "collecting the records")?;
        }
        let mut activities = std::mem::take(&mut *lock_activities());
        activities.sort_by_key(|activity| activity.start_ns);
        Ok(activities)
    }

    fn check(&self, code: c_int, doing: &str) -> Result<()> {
        if code == value::SUCCESS {
            return Ok(());
        }
        let mut text = std::ptr::null();
        // SAFETY: writes one pointer, to a constant string or null.
        let text = unsafe {
            (self.functions.cuptiGetResultString)(code, &mut text);
            if text.is_null() { None } else { CStr::from_ptr(text).to_str().ok() }
        };
        let message = format!("CUPTI error {code} ({}) while {doing}", text.unwrap_or("of no name"));
        Err(Error::new(ErrorKind::Device, message))
    }
}

impl Drop for Cupti {
    fn drop(&mut self) {
        for kind in KINDS {
            // SAFETY: a kind that exists. An error here means that it was not enabled.
            unsafe { (self.functions.cuptiActivityDisable)(kind) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn records_begin_as_cupti_lays_them_out() {
        assert_eq!((offset_of!(KernelRecord, registers), offset_of!(KernelRecord, start_ns)), (6, 16));
        assert_eq!((offset_of!(KernelRecord, grid), offset_of!(KernelRecord, dynamic_smem_bytes)), (52, 80));
        assert_eq!((offset_of!(KernelRecord, correlation_id), offset_of!(KernelRecord, grid_id)), (92, 96));
        assert_eq!((offset_of!(KernelRecord, name), offset_of!(CopyRecord, start_ns)), (104, 16));
    }

    #[test]
    fn records_are_read_and_others_left_out() {
        let mut kernel = KernelRecord {
            kind: value::KIND_CONCURRENT_KERNEL,
            cache_config: [0; 2],
            registers: 40,
            partitioned_cache: [0; 2],
            start_ns: 1000,
            end_ns: 3000,
            completed_ns: 3000,
            device_id: 0,
            context_id: 1,
            stream_id: 7,
            grid: [4, 1, 1],
            cta: [256, 1, 1],
            static_smem_bytes: 16,
            dynamic_smem_bytes: 1024,
            local_memory: [0; 2],
            correlation_id: 5,
            grid_id: 9,
            name: c"checksum_words_entry".as_ptr(),
        };
        // SAFETY: a whole record.
        let mut read = || unsafe { Activity::read((&raw mut kernel).cast()) };
        let kind = ActivityKind::Kernel { name: "checksum_words_entry".into(), registers: 40, smem_bytes: 1040 };
        assert_eq!(read(), Some(Activity { kind, start_ns: 1000, end_ns: 3000 }));
        let copy = CopyRecord { kind: value::KIND_MEMCPY, what: 1, len_bytes: 5, start_ns: 1, end_ns: 2 };
        // SAFETY: as above.
        let read = unsafe { Activity::read((&raw const copy).cast()) };
        assert_eq!(read, Some(Activity { kind: ActivityKind::Copy, start_ns: 1, end_ns: 2 }));
        let other = Record { kind: 99 };
        // SAFETY: as above.
        assert_eq!(unsafe { Activity::read(&other) }, None);
    }
}
