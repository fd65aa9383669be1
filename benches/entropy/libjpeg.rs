//! libjpeg's `jpeg_read_coefficients`, as it is compared with: one decompressor for all files, its memory pools kept.

use mozjpeg_sys::{
    jpeg_abort_decompress, jpeg_create_decompress, jpeg_decompress_struct, jpeg_destroy_decompress, jpeg_error_mgr,
    jpeg_mem_src, jpeg_read_coefficients, jpeg_read_header, jpeg_std_error,
};

/// A decompressor. The files given to it must be sound: libjpeg ends the process at an error.
pub struct Libjpeg {
    cinfo: Box<jpeg_decompress_struct>,
    _error_manager: Box<jpeg_error_mgr>,
}

impl Libjpeg {
    pub fn new() -> Self {
        // SAFETY: plain C data, initialised by jpeg_std_error and jpeg_create_decompress; both boxes keep their addresses.
        unsafe {
            let mut error_manager: Box<jpeg_error_mgr> = Box::new(std::mem::zeroed());
            let mut cinfo: Box<jpeg_decompress_struct> = Box::new(std::mem::zeroed());
            cinfo.common.err = jpeg_std_error(&mut error_manager);
            jpeg_create_decompress(&mut *cinfo);
            Self { cinfo, _error_manager: error_manager }
        }
    }

    /// Reads all coefficients of a file into libjpeg's own arrays.
    pub fn read(&mut self, bytes: &[u8]) {
        // SAFETY: the object is initialised, and `bytes` is read only during these calls.
        unsafe {
            jpeg_mem_src(&mut self.cinfo, bytes.as_ptr(), bytes.len() as _);
            jpeg_read_header(&mut self.cinfo, 1);
            assert!(!jpeg_read_coefficients(&mut self.cinfo).is_null());
            jpeg_abort_decompress(&mut self.cinfo);
        }
    }
}

impl Drop for Libjpeg {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { jpeg_destroy_decompress(&mut self.cinfo) };
    }
}
