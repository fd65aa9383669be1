//! Ranges that NVIDIA's profilers show beside the kernels: which stage of which batch was put on the device when. Without a profiler they cost
//! one look at a flag.
//!
//! No library is needed: a profiler that wants ranges (`nsys profile`, `ncu --nvtx`) names itself in NVTX_INJECTION64_PATH, and is shown
//! where the functions are that it may replace by its own. That is how NVTX of version 3 works (nvtxDetail/nvtxTypes.h has the protocol).

use std::fmt;
use std::marker::PhantomData;

/// A range on the calling thread, from [`range`] until it is dropped. Ranges of a thread end in the reverse order of their beginnings.
#[must_use = "the range ends when this is dropped"]
#[derive(Debug)]
pub struct ProfilerRange {
    is_open: bool,
    /// Ranges belong to their thread.
    _not_send: PhantomData<*const ()>,
}

/// Opens a range of this name, if a profiler listens.
pub fn range(name: fmt::Arguments<'_>) -> ProfilerRange {
    ProfilerRange { is_open: imp::push(name), _not_send: PhantomData }
}

impl Drop for ProfilerRange {
    fn drop(&mut self) {
        if self.is_open {
            imp::pop();
        }
    }
}

#[cfg(not(feature = "cuda"))]
mod imp {
    pub(super) fn push(_: std::fmt::Arguments<'_>) -> bool {
        false
    }

    pub(super) fn pop() {}
}

#[cfg(feature = "cuda")]
mod imp {
    use libloading::Library;
    use std::ffi::{CString, c_char, c_int, c_uint, c_void};
    use std::fmt;
    use std::ptr::null_mut;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicPtr, Ordering};

    /// What a profiler is given: the address of a table by its number.
    pub(super) type GetExportTable = unsafe extern "C" fn(u32) -> *const c_void;
    /// A profiler's entry point; not 0 if it listens.
    pub(super) type Initialize = unsafe extern "C" fn(GetExportTable) -> c_int;
    type RangePush = unsafe extern "C" fn(*const c_char) -> c_int;
    type RangePop = unsafe extern "C" fn() -> c_int;

    /// Functions of each module of NVTX, the invalid first one included. Modules: none, core, CUDA, OpenCL, CUDA runtime, core 2, sync.
    const MODULE_SIZES: [usize; 7] = [0, 16, 9, 15, 7, 16, 7];
    const LARGEST_MODULE: usize = 16;
    const CORE: usize = 1;
    const RANGE_PUSH_ASCII: usize = 9;
    const RANGE_POP: usize = 11;

    type Slot = AtomicPtr<c_void>;

    /// Where a profiler puts its functions.
    static SLOTS: [[Slot; LARGEST_MODULE]; MODULE_SIZES.len()] =
        [const { [const { Slot::new(null_mut()) }; LARGEST_MODULE] }; MODULE_SIZES.len()];

    /// By module and function, the address of its slot. The one behind the last is null.
    static TABLES: [[Address; LARGEST_MODULE + 1]; MODULE_SIZES.len()] = addresses();

    /// A slot's address, or null.
    #[repr(transparent)]
    #[derive(Clone, Copy)]
    struct Address(*const Slot);

    // SAFETY: the address of a static.
    unsafe impl Sync for Address {}

    const fn addresses() -> [[Address; LARGEST_MODULE + 1]; MODULE_SIZES.len()] {
        let mut tables = [[Address(std::ptr::null()); LARGEST_MODULE + 1]; MODULE_SIZES.len()];
        let mut module = 1;
        while module < MODULE_SIZES.len() {
            // The first function of a module is none.
            let mut function = 1;
            while function < MODULE_SIZES[module] {
                tables[module][function] = Address(&raw const SLOTS[module][function]);
                function += 1;
            }
            module += 1;
        }
        tables
    }

    /// `NvtxExportTableCallbacks`.
    #[repr(C)]
    struct Callbacks {
        struct_bytes: usize,
        get_module_function_table: unsafe extern "C" fn(c_uint, *mut *const Address, *mut c_uint) -> c_int,
    }

    /// `NvtxExportTableVersionInfo`.
    #[repr(C)]
    struct VersionInfo {
        struct_bytes: usize,
        version: u32,
        reserved: u32,
        set_injection_version: unsafe extern "C" fn(u32),
    }

    static CALLBACKS: Callbacks = Callbacks { struct_bytes: size_of::<Callbacks>(), get_module_function_table };
    static VERSION_INFO: VersionInfo =
        VersionInfo { struct_bytes: size_of::<VersionInfo>(), version: 3, reserved: 0, set_injection_version };

    unsafe extern "C" fn get_module_function_table(
        module: c_uint,
        table: *mut *const Address,
        num_functions: *mut c_uint,
    ) -> c_int {
        let module = module as usize;
        if module == 0 || module >= MODULE_SIZES.len() {
            return 0;
        }
        // SAFETY: the profiler's own variables, or null.
        unsafe {
            if !table.is_null() {
                *table = TABLES[module].as_ptr();
            }
            if !num_functions.is_null() {
                *num_functions = MODULE_SIZES[module] as c_uint;
            }
        }
        1
    }

    unsafe extern "C" fn set_injection_version(_: u32) {}

    unsafe extern "C" fn get_export_table(table_id: u32) -> *const c_void {
        match table_id {
            1 => (&raw const CALLBACKS).cast(),
            3 => (&raw const VERSION_INFO).cast(),
            _ => std::ptr::null(),
        }
    }

    /// Lets a profiler take its places. Whether it listens.
    ///
    /// # Safety
    /// `initialize` follows NVTX's protocol.
    pub(super) unsafe fn attach(initialize: Initialize) -> bool {
        // SAFETY: the caller's.
        unsafe { initialize(get_export_table) != 0 }
    }

    /// Looks for a profiler, once.
    fn is_listening() -> bool {
        static IS_LISTENING: OnceLock<bool> = OnceLock::new();
        *IS_LISTENING.get_or_init(|| find_profiler().unwrap_or(false))
    }

    fn find_profiler() -> Option<bool> {
        let path = std::env::var_os("NVTX_INJECTION64_PATH")?;
        // SAFETY: whoever set the variable wants this library's initialisers to run; that is what it is for.
        let library: &'static Library = Box::leak(Box::new(unsafe { Library::new(path) }.ok()?));
        // SAFETY: the type is the function's, from nvtxTypes.h.
        let initialize = unsafe { library.get::<Initialize>(b"InitializeInjectionNvtx2\0") }.ok()?;
        // SAFETY: it has the name by which profilers are known.
        Some(unsafe { attach(*initialize) })
    }

    fn slot(function: usize) -> Option<*mut c_void> {
        let function = SLOTS[CORE][function].load(Ordering::Acquire);
        (!function.is_null()).then_some(function)
    }

    pub(super) fn push(name: fmt::Arguments<'_>) -> bool {
        is_listening() && push_attached(name)
    }

    pub(super) fn push_attached(name: fmt::Arguments<'_>) -> bool {
        let Some(function) = slot(RANGE_PUSH_ASCII) else { return false };
        let Ok(name) = CString::new(name.to_string()) else { return false };
        // SAFETY: a profiler put a function of this type there.
        unsafe { std::mem::transmute::<*mut c_void, RangePush>(function)(name.as_ptr()) };
        true
    }

    pub(super) fn pop() {
        if let Some(function) = slot(RANGE_POP) {
            // SAFETY: a profiler put a function of this type there.
            unsafe { std::mem::transmute::<*mut c_void, RangePop>(function)() };
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::cell::RefCell;
        use std::ffi::CStr;

        thread_local! {
            /// What happened on this thread, which no other test's ranges are on.
            static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
        }

        unsafe extern "C" fn note_push(name: *const c_char) -> c_int {
            // SAFETY: a string that ends with a zero.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
            SEEN.with_borrow_mut(|seen| seen.push(name));
            0
        }

        unsafe extern "C" fn note_pop() -> c_int {
            SEEN.with_borrow_mut(|seen| seen.push("end".into()));
            0
        }

        /// A profiler, as far as this protocol goes.
        unsafe extern "C" fn initialize(get_export_table: GetExportTable) -> c_int {
            // SAFETY: the tables have these types, and their functions' slots are writable.
            unsafe {
                let version = &*get_export_table(3).cast::<VersionInfo>();
                assert_eq!((version.struct_bytes, version.version), (size_of::<VersionInfo>(), 3));
                (version.set_injection_version)(3);
                let callbacks = &*get_export_table(1).cast::<Callbacks>();
                let (mut table, mut num_functions) = (std::ptr::null(), 0);
                assert_eq!((callbacks.get_module_function_table)(9, &mut table, &mut num_functions), 0);
                assert_eq!((callbacks.get_module_function_table)(1, &mut table, &mut num_functions), 1);
                assert_eq!(num_functions, 16);
                let slot = |function: usize| table.cast::<*mut *mut c_void>().add(function).read();
                assert!(slot(0).is_null() && slot(16).is_null());
                slot(RANGE_PUSH_ASCII).write(note_push as *mut c_void);
                slot(RANGE_POP).write(note_pop as *mut c_void);
                assert!(get_export_table(2).is_null());
            }
            1
        }

        #[test]
        fn a_profiler_sees_ranges_begin_and_end() {
            // SAFETY: `initialize` follows the protocol.
            assert!(unsafe { attach(initialize) });
            {
                let _batch = super::super::ProfilerRange {
                    is_open: push_attached(format_args!("batch of {}", 3)),
                    _not_send: std::marker::PhantomData,
                };
                assert!(push_attached(format_args!("decode")));
                pop();
            }
            assert_eq!(SEEN.take(), ["batch of 3", "decode", "end", "end"]);
        }
    }
}
