//! libjpeg itself: `jpeg_read_coefficients`, the reference of the decoder, and its encoders, for files that are not our own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use dctflow::jpeg::{Natural, Plane};
use mozjpeg_sys::*;

/// What libjpeg read from one file.
pub struct Reading {
    /// One per component, frame order; without padding blocks.
    pub planes: Vec<Plane>,
    /// Messages of level warning: 0 means that the coefficients are beyond doubt.
    pub num_warnings: i64,
}

/// How a file is written anew by libjpeg, with the same coefficients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transcoding {
    pub arithmetic: bool,
    pub progressive: bool,
    pub restart_interval_mcus: u32,
}

/// Frames with more blocks are refused by the oracle: damaged headers ask for gigabytes.
const MAX_BLOCKS: u64 = 1 << 20;

/// The coefficients that libjpeg reads, or its error message.
pub fn read(bytes: &[u8]) -> Result<Reading, String> {
    let mut decompressor = Decompressor::new();
    guarded(|| {
        let arrays = decompressor.read_arrays(bytes)?;
        let cinfo = &mut *decompressor.cinfo;
        let planes = (0..cinfo.num_components as usize).map(|i| {
            // SAFETY: comp_info has num_components elements, and `arrays` as many, all valid until the decompressor is destroyed.
            unsafe { copy_plane(&mut cinfo.common, &*cinfo.comp_info.add(i), *arrays.add(i)) }
        });
        let planes = planes.collect();
        Ok(Reading { planes, num_warnings: decompressor.error_manager.num_warnings })
    })
}

/// The same coefficients as a file that libjpeg wrote.
pub fn transcode(bytes: &[u8], transcoding: Transcoding) -> Result<Vec<u8>, String> {
    let mut decompressor = Decompressor::new();
    let mut compressor = Compressor::new();
    guarded(|| {
        let arrays = decompressor.read_arrays(bytes)?;
        let cinfo = &mut *compressor.cinfo;
        // SAFETY: both objects are live and initialised, and `arrays` belongs to the decompressor.
        unsafe {
            jpeg_c_set_int_param(cinfo, JINT_COMPRESS_PROFILE, JCP_FASTEST as i32);
            jpeg_copy_critical_parameters(&decompressor.cinfo, cinfo);
            cinfo.arith_code = transcoding.arithmetic.into();
            cinfo.optimize_coding = (!transcoding.arithmetic).into();
            cinfo.restart_interval = transcoding.restart_interval_mcus;
            if transcoding.progressive {
                jpeg_simple_progression(cinfo);
            }
            jpeg_write_coefficients(cinfo, arrays);
            jpeg_finish_compress(cinfo);
        }
        Ok(())
    })?;
    Ok(compressor.written().to_vec())
}

/// Compresses `[height][width][3]` RGB samples with these luma sampling factors; chroma has 1 x 1.
pub fn compress(
    rgb: &[u8],
    (width, height): (u32, u32),
    luma_sampling: (u8, u8),
    quality: i32,
) -> Result<Vec<u8>, String> {
    assert_eq!(rgb.len(), (width * height * 3) as usize);
    let mut compressor = Compressor::new();
    guarded(|| {
        let cinfo = &mut *compressor.cinfo;
        cinfo.image_width = width;
        cinfo.image_height = height;
        cinfo.input_components = 3;
        cinfo.in_color_space = JCS_RGB;
        // SAFETY: the compressor is live; comp_info has three elements after jpeg_set_defaults; each line of `rgb` has 3 * width bytes.
        unsafe {
            jpeg_c_set_int_param(cinfo, JINT_COMPRESS_PROFILE, JCP_FASTEST as i32);
            jpeg_set_defaults(cinfo);
            jpeg_set_quality(cinfo, quality, 1);
            cinfo.optimize_coding = 1;
            (*cinfo.comp_info).h_samp_factor = luma_sampling.0.into();
            (*cinfo.comp_info).v_samp_factor = luma_sampling.1.into();
            jpeg_start_compress(cinfo, 1);
            for line in rgb.chunks_exact(3 * width as usize) {
                jpeg_write_scanlines(cinfo, &line.as_ptr(), 1);
            }
            jpeg_finish_compress(cinfo);
        }
        Ok(())
    })?;
    Ok(compressor.written().to_vec())
}

/// The panic that carries libjpeg's message out of C.
struct LibjpegError(String);

/// Runs `work`; an error exit of libjpeg comes back as its message.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| match panic.downcast::<LibjpegError>() {
        Ok(error) => Err(error.0),
        Err(other) => resume_unwind(other),
    })
}

extern "C-unwind" fn error_exit(cinfo: &mut jpeg_common_struct) {
    let mut buffer = [0u8; 80];
    // SAFETY: libjpeg calls this with its own object, whose error manager is ours and has the standard formatter.
    unsafe {
        if let Some(format_message) = (*cinfo.err).format_message {
            format_message(cinfo, &buffer);
        }
    }
    // The formatter writes behind a shared reference: read it where the compiler cannot have kept the zeros.
    let buffer = std::hint::black_box(&mut buffer);
    let message = String::from_utf8_lossy(buffer.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned();
    resume_unwind(Box::new(LibjpegError(message)));
}

extern "C-unwind" fn count_warnings(cinfo: &mut jpeg_common_struct, level: i32) {
    if level < 0 {
        // SAFETY: the error manager is ours and outlives the object.
        unsafe { (*cinfo.err).num_warnings += 1 };
    }
}

fn error_manager() -> Box<jpeg_error_mgr> {
    // SAFETY: plain C data; zero is what jpeg_std_error expects to overwrite.
    unsafe {
        let mut manager: Box<jpeg_error_mgr> = Box::new(std::mem::zeroed());
        jpeg_std_error(&mut manager);
        manager.error_exit = Some(error_exit);
        manager.emit_message = Some(count_warnings);
        manager
    }
}

struct Decompressor {
    cinfo: Box<jpeg_decompress_struct>,
    error_manager: Box<jpeg_error_mgr>,
}

impl Decompressor {
    fn new() -> Self {
        let mut error_manager = error_manager();
        // SAFETY: plain C data, initialised by jpeg_create_decompress; both boxes keep their addresses.
        unsafe {
            let mut cinfo: Box<jpeg_decompress_struct> = Box::new(std::mem::zeroed());
            cinfo.common.err = &mut *error_manager;
            jpeg_create_decompress(&mut *cinfo);
            Self { cinfo, error_manager }
        }
    }

    /// Reads the whole file. The arrays belong to `self`.
    fn read_arrays(&mut self, bytes: &[u8]) -> Result<*mut *mut jvirt_barray_control, String> {
        // SAFETY: the object is initialised; `bytes` is read only during these calls.
        unsafe {
            jpeg_mem_src(&mut self.cinfo, bytes.as_ptr(), bytes.len() as c_ulong);
            jpeg_read_header(&mut self.cinfo, 1);
            let blocks = |side: u32| u64::from(side.div_ceil(8));
            if blocks(self.cinfo.image_width) * blocks(self.cinfo.image_height) > MAX_BLOCKS {
                return Err("too large for the oracle".into());
            }
            Ok(jpeg_read_coefficients(&mut self.cinfo))
        }
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { jpeg_destroy_decompress(&mut self.cinfo) };
    }
}

struct Compressor {
    cinfo: Box<jpeg_compress_struct>,
    _error_manager: Box<jpeg_error_mgr>,
    /// Where jpeg_mem_dest keeps the address and size of the buffer that it allocates.
    buffer: Box<(*mut u8, c_ulong)>,
}

impl Compressor {
    fn new() -> Self {
        let mut error_manager = error_manager();
        let mut buffer = Box::new((std::ptr::null_mut(), 0));
        // SAFETY: as for `Decompressor`; the boxed buffer outlives the object too.
        unsafe {
            let mut cinfo: Box<jpeg_compress_struct> = Box::new(std::mem::zeroed());
            cinfo.common.err = &mut *error_manager;
            jpeg_create_compress(&mut *cinfo);
            jpeg_mem_dest(&mut cinfo, &mut buffer.0, &mut buffer.1);
            Self { cinfo, _error_manager: error_manager, buffer }
        }
    }

    /// What has been written, after jpeg_finish_compress.
    fn written(&self) -> &[u8] {
        // SAFETY: jpeg_finish_compress has set address and size of a buffer that lives until `drop`.
        unsafe { std::slice::from_raw_parts(self.buffer.0, self.buffer.1 as usize) }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once; jpeg_mem_dest allocates with malloc.
        unsafe {
            jpeg_destroy_compress(&mut self.cinfo);
            libc_free(self.buffer.0.cast());
        }
    }
}

unsafe extern "C" {
    #[link_name = "free"]
    fn libc_free(pointer: *mut c_void);
}

/// # Safety
/// `array` must be the component's array in a live decompressor to which `common` belongs.
unsafe fn copy_plane(
    common: &mut jpeg_common_struct,
    component: &jpeg_component_info,
    array: *mut jvirt_barray_control,
) -> Plane {
    let (blocks_wide, blocks_high) = (component.width_in_blocks, component.height_in_blocks);
    let mut data = Vec::with_capacity((blocks_wide * blocks_high * 64) as usize);
    for row in 0..blocks_high {
        // SAFETY: by the caller's promise; a row holds at least `width_in_blocks` blocks of 64 coefficients.
        unsafe {
            let Some(access) = (*common.mem).access_virt_barray else { unreachable!("libjpeg sets all methods") };
            let blocks: *const JBLOCK = *access(common, array, row, 1, 0);
            data.extend_from_slice(std::slice::from_raw_parts(blocks, blocks_wide as usize).as_flattened());
        }
    }
    // SAFETY: null, or a table that lives as long as the decompressor.
    let quant = unsafe { component.quant_table.as_ref() }.map(|table| Natural(table.quantval));
    Plane { blocks_wide, blocks_high, pitch_blocks: blocks_wide, padded_blocks_high: blocks_high, data, quant }
}
