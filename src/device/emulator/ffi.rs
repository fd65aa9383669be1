//! The emulator's C interface (`kernels/emulator/emulator.h`).

use std::ffi::{CStr, c_char, c_int, c_void};

#[repr(C)]
pub(super) struct Kernel {
    pub name: *const c_char,
    pub params_bytes: u32,
    pub smem_bytes: u32,
    pub threads: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Launch {
    pub params: *const c_void,
    pub seed: u64,
    pub kernel_idx: u32,
    pub grid: [u32; 3],
    pub smem_tail_bytes: u32,
    pub order: u32,
    pub spin_limit_ms: u32,
}

pub(super) const MAX_COUNTERS: usize = 8;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub total: u64,
    pub warp_max: u64,
}

#[repr(C)]
pub(super) struct Failure {
    message: [c_char; 480],
    pub fault_address: *const c_void,
}

impl Failure {
    pub fn new() -> Self {
        Self { message: [0; 480], fault_address: std::ptr::null() }
    }

    pub fn message(&self) -> String {
        // SAFETY: the emulator ends the message with a zero, and `new` fills it with them.
        unsafe { CStr::from_ptr(self.message.as_ptr()) }.to_string_lossy().into_owned()
    }
}

#[repr(C)]
pub(super) struct Buffer {
    pub data: *mut u8,
    pub len_bytes: u64,
    mapping: *mut u8,
    mapping_bytes: u64,
}

// SAFETY: a buffer is a handful of addresses, and owns what is there.
unsafe impl Send for Buffer {}

impl Buffer {
    /// A buffer between guard pages, poisoned; `None` when the system has no memory left.
    pub fn new(len_bytes: usize) -> Option<Self> {
        let mut buffer =
            Self { data: std::ptr::null_mut(), len_bytes: 0, mapping: std::ptr::null_mut(), mapping_bytes: 0 };
        // SAFETY: `buffer` is written, nothing else.
        (unsafe { emulator_allocate(len_bytes as u64, &mut buffer) } == 0).then_some(buffer)
    }

    /// Whether nothing wrote just before or behind it.
    pub fn is_intact(&self) -> bool {
        // SAFETY: made by `emulator_allocate` and not freed.
        unsafe { emulator_is_intact(self) != 0 }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: made by `emulator_allocate`, freed once.
        unsafe { emulator_free(self) }
    }
}

unsafe extern "C" {
    pub(super) fn emulator_kernels(num_kernels: *mut u32) -> *const Kernel;
    #[cfg(test)]
    fn emulator_counters(num_counters: *mut u32) -> *const *const c_char;
    pub(super) fn emulator_run_cta(
        launch: *const Launch,
        cta_idx: u64,
        counts: *mut Count,
        failure: *mut Failure,
    ) -> c_int;
    fn emulator_allocate(len_bytes: u64, buffer: *mut Buffer) -> c_int;
    fn emulator_free(buffer: *const Buffer);
    fn emulator_is_intact(buffer: *const Buffer) -> c_int;
    pub(super) fn emulator_set_redzone(start: *mut u8, len_bytes: u64, is_redzone: c_int);
    pub(super) fn emulator_is_redzone_intact(start: *const u8, len_bytes: u64) -> c_int;
}

/// The kernels that were compiled in, in the order of [`crate::abi::KernelId`].
pub(super) fn kernels() -> &'static [Kernel] {
    let mut num_kernels = 0;
    // SAFETY: a constant table of that length.
    unsafe {
        let table = emulator_kernels(&mut num_kernels);
        std::slice::from_raw_parts(table, num_kernels as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Counter, KernelId};

    #[test]
    fn both_tables_of_kernels_agree() {
        assert_eq!(kernels().len(), KernelId::all().count());
        for (kernel, id) in kernels().iter().zip(KernelId::all()) {
            // SAFETY: a string constant.
            assert_eq!(unsafe { CStr::from_ptr(kernel.name) }.to_str(), Ok(id.name()));
            assert_eq!(kernel.params_bytes as usize, id.info().params_bytes, "{id:?}");
            assert_eq!(kernel.threads, id.info().threads, "{id:?}");
        }
    }

    #[test]
    fn both_tables_of_counters_agree() {
        let mut num_counters = 0;
        // SAFETY: a constant table of that length, of string constants.
        let names: Vec<_> = unsafe {
            let table = emulator_counters(&mut num_counters);
            std::slice::from_raw_parts(table, num_counters as usize).iter().map(|&name| CStr::from_ptr(name)).collect()
        };
        assert_eq!(names.iter().map(|name| name.to_str().unwrap()).collect::<Vec<_>>(), {
            Counter::ALL.iter().map(|counter| counter.name()).collect::<Vec<_>>()
        });
    }
}
