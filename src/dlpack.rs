//! Tensors for other programs in the same process, without a copy: DLPack's managed tensors, version 1.0
//! (<https://dmlc.github.io/dlpack/latest/c_api.html>). PyTorch, CuPy, JAX and others take them from a capsule.
//!
//! ```
//! use dctflow::dlpack::Exported;
//! use dctflow::tensor::Tensor;
//!
//! let exported = Exported::from_tensor(Tensor::zeros(&[1, 28, 28, 64]));
//! assert_eq!(exported.shape(), [1, 28, 28, 64]);
//! let managed = exported.into_raw(); // For the consumer, who calls its `deleter`.
//! # // SAFETY: nobody else has it.
//! # drop(unsafe { Exported::from_raw(managed) });
//! ```

use std::ffi::c_void;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use crate::device::{Backend, DeviceBuffer};
use crate::error::{Error, ErrorKind, Result};
use crate::jpeg::Plane;
use crate::tensor::Tensor;

/// `DLPackVersion`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Another major version is another layout.
    pub major: u32,
    /// A minor version adds values.
    pub minor: u32,
}

/// `DLDevice`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DlDevice {
    /// `kDLCPU` 1, `kDLCUDA` 2.
    pub device_type: i32,
    /// Which of them.
    pub device_id: i32,
}

/// `DLDataType`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataType {
    /// `kDLInt` 0, `kDLFloat` 2.
    pub code: u8,
    /// Of one value.
    pub bits: u8,
    /// 1.
    pub lanes: u16,
}

impl DataType {
    /// Quantised coefficients.
    pub const I16: Self = Self { code: 0, bits: 16, lanes: 1 };
    /// A network's input on a device.
    pub const F16: Self = Self { code: 2, bits: 16, lanes: 1 };
    /// A network's input on the CPU; logits.
    pub const F32: Self = Self { code: 2, bits: 32, lanes: 1 };
}

/// `DLTensor`.
#[repr(C)]
#[derive(Debug)]
pub struct DlTensor {
    /// The first value.
    pub data: *mut c_void,
    /// Where it lies.
    pub device: DlDevice,
    /// The number of dimensions.
    pub ndim: i32,
    /// What the values are.
    pub dtype: DataType,
    /// `[ndim]`
    pub shape: *mut i64,
    /// `[ndim]`, in values.
    pub strides: *mut i64,
    /// 0.
    pub byte_offset: u64,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
#[derive(Debug)]
pub struct ManagedTensor {
    /// 1.0.
    pub version: Version,
    /// The producer's.
    pub manager_ctx: *mut c_void,
    /// To be called once, when nobody needs the tensor any more.
    pub deleter: Option<unsafe extern "C" fn(*mut ManagedTensor)>,
    /// None.
    pub flags: u64,
    /// The tensor.
    pub dl_tensor: DlTensor,
}

/// A managed tensor and all that it points at.
struct Keeper {
    managed: ManagedTensor,
    shape: Vec<i64>,
    strides: Vec<i64>,
    /// Keeps the values.
    _owner: Box<dyn Send>,
}

/// A tensor that is ready for a consumer. Dropped, it is freed.
pub struct Exported(NonNull<ManagedTensor>);

// SAFETY: the values' owner is `Send`, and the rest belongs to the tensor alone.
unsafe impl Send for Exported {}

impl Exported {
    /// A tensor in host memory.
    pub fn from_tensor(tensor: Tensor) -> Self {
        let Tensor { shape, mut data } = tensor;
        let values = data.as_mut_ptr().cast();
        Self::new(Box::new(data), values, CPU, DataType::F32, (&shape, &contiguous(&shape)))
    }

    /// A component's quantised coefficients, `[padded_blocks_high, pitch_blocks, 64]`.
    pub fn from_plane(plane: Plane) -> Self {
        let Plane { padded_blocks_high, pitch_blocks, mut data, .. } = plane;
        let values = data.as_mut_ptr().cast();
        let shape = [padded_blocks_high as usize, pitch_blocks as usize, 64];
        Self::new(Box::new(data), values, CPU, DataType::I16, (&shape, &contiguous(&shape)))
    }

    /// Values in device memory, from `offset_bytes` on. `device_id` is the GPU's number. The consumer has to wait for, or to be on, the
    /// stream that writes them. The emulator's memory is the host's.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if they do not lie in the buffer, or are not aligned.
    pub fn from_device(
        buffer: Arc<DeviceBuffer>,
        device_id: i32,
        offset_bytes: usize,
        dtype: DataType,
        shape: &[usize],
    ) -> Result<Self> {
        let strides = contiguous(shape);
        Self::from_device_strided(buffer, device_id, offset_bytes, dtype, shape, &strides)
    }

    /// The same for values that do not follow each other: `strides` count values between neighbours along each axis, such as a
    /// [`DevicePlane`](crate::session::DevicePlane)'s, whose rows of blocks are padded.
    ///
    /// # Errors
    /// As [`from_device`](Self::from_device), and if there are not as many strides as axes.
    pub fn from_device_strided(
        buffer: Arc<DeviceBuffer>,
        device_id: i32,
        offset_bytes: usize,
        dtype: DataType,
        shape: &[usize],
        strides: &[usize],
    ) -> Result<Self> {
        let value_bytes = usize::from(dtype.bits) / 8;
        let end = end_of(shape, strides).and_then(|end| end.checked_mul(value_bytes)?.checked_add(offset_bytes));
        if value_bytes == 0
            || end.is_none_or(|end| end > buffer.len_bytes())
            || !offset_bytes.is_multiple_of(value_bytes)
            || shape.len() != strides.len()
        {
            let message = format!(
                "{shape:?} values of {value_bytes} bytes, {strides:?} apart, from byte {offset_bytes} on do not lie in a buffer of {} bytes",
                buffer.len_bytes()
            );
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let device = match buffer.device().info().backend {
            Backend::Cuda => DlDevice { device_type: 2, device_id },
            Backend::Emulator => CPU,
        };
        let values = (buffer.address() + offset_bytes as u64) as *mut c_void;
        Ok(Self::new(Box::new(buffer), values, device, dtype, (shape, strides)))
    }

    fn new(
        owner: Box<dyn Send>,
        data: *mut c_void,
        device: DlDevice,
        dtype: DataType,
        (shape, strides): (&[usize], &[usize]),
    ) -> Self {
        let [shape, strides] = [shape, strides].map(|lens| lens.iter().map(|&len| len as i64).collect::<Vec<i64>>());
        let ndim = shape.len() as i32;
        let dl_tensor = DlTensor { data, device, ndim, dtype, shape: null_mut(), strides: null_mut(), byte_offset: 0 };
        let version = Version { major: 1, minor: 0 };
        let managed = ManagedTensor { version, manager_ctx: null_mut(), deleter: Some(delete), flags: 0, dl_tensor };
        let keeper = Box::into_raw(Box::new(Keeper { managed, shape, strides, _owner: owner }));
        // SAFETY: just made, and nobody else has it. It is freed by `delete` alone, from the pointer that `manager_ctx` keeps.
        unsafe {
            (*keeper).managed.manager_ctx = keeper.cast();
            (*keeper).managed.dl_tensor.shape = (*keeper).shape.as_mut_ptr();
            (*keeper).managed.dl_tensor.strides = (*keeper).strides.as_mut_ptr();
            Self(NonNull::new_unchecked(&raw mut (*keeper).managed))
        }
    }

    /// The tensor's shape.
    pub fn shape(&self) -> &[i64] {
        let DlTensor { shape, ndim, .. } = self.managed().dl_tensor;
        // SAFETY: as many values live as long as the tensor.
        unsafe { std::slice::from_raw_parts(shape, ndim as usize) }
    }

    /// The C struct.
    pub fn managed(&self) -> &ManagedTensor {
        // SAFETY: it lives until this is dropped.
        unsafe { self.0.as_ref() }
    }

    /// Hands the tensor over: whoever has the pointer calls its deleter once.
    pub fn into_raw(self) -> NonNull<ManagedTensor> {
        ManuallyDrop::new(self).0
    }

    /// Takes back what [`into_raw`](Self::into_raw) gave.
    ///
    /// # Safety
    /// It was not deleted, and nobody else has it.
    pub unsafe fn from_raw(managed: NonNull<ManagedTensor>) -> Self {
        Self(managed)
    }
}

/// The strides of values that follow each other. (What overflows does not lie in any buffer.)
fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

/// One behind the last value, counted from the first; `None` if that is beyond any memory.
fn end_of(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(0usize, |last, (&len, &stride)| last.checked_add((len - 1).checked_mul(stride)?));
    last?.checked_add(1)
}

const CPU: DlDevice = DlDevice { device_type: 1, device_id: 0 };

impl Drop for Exported {
    fn drop(&mut self) {
        // SAFETY: it was not handed over.
        unsafe { delete(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exported")
            .field("shape", &self.shape())
            .field("dtype", &self.managed().dl_tensor.dtype)
            .field("device", &self.managed().dl_tensor.device)
            .finish()
    }
}

/// # Safety
/// `managed` is NULL or was made by `Exported::new` and not deleted.
unsafe extern "C" fn delete(managed: *mut ManagedTensor) {
    if !managed.is_null() {
        // SAFETY: the caller's; the context is the box's own pointer.
        drop(unsafe { Box::from_raw((*managed).manager_ctx.cast::<Keeper>()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_dlpack_h() {
        assert_eq!((size_of::<DlTensor>(), size_of::<ManagedTensor>()), (48, 80));
        assert_eq!(std::mem::offset_of!(DlTensor, dtype), 20);
        assert_eq!(std::mem::offset_of!(DlTensor, byte_offset), 40);
        assert_eq!(std::mem::offset_of!(ManagedTensor, deleter), 16);
        assert_eq!(std::mem::offset_of!(ManagedTensor, dl_tensor), 32);
    }

    #[test]
    fn a_consumer_reads_the_values_and_deletes_them() {
        let tensor = Tensor::from_vec(&[2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let managed = Exported::from_tensor(tensor).into_raw().as_ptr();
        // SAFETY: as a consumer does: it reads what the struct says, and deletes it once.
        unsafe {
            let DlTensor { data, strides, ndim, dtype, .. } = (*managed).dl_tensor;
            assert_eq!(std::slice::from_raw_parts(strides, ndim as usize), [3, 1]);
            assert_eq!(dtype, DataType::F32);
            assert_eq!(std::slice::from_raw_parts(data.cast::<f32>(), 6)[4], 4.0);
            (*managed).deleter.unwrap()(managed);
        }
    }

    #[test]
    fn coefficients_have_their_padded_shape() {
        let plane = Plane {
            blocks_wide: 3,
            blocks_high: 1,
            pitch_blocks: 4,
            padded_blocks_high: 2,
            data: (0..512).collect(),
            quant: None,
        };
        let exported = Exported::from_plane(plane);
        assert_eq!(exported.shape(), [2, 4, 64]);
        assert_eq!(exported.managed().dl_tensor.dtype, DataType::I16);
    }

    #[cfg(feature = "emulator")]
    #[test]
    fn device_memory_lives_as_long_as_the_tensor() {
        use crate::device::emulator::{Emulator, Schedule};

        let device: Arc<dyn crate::device::Device> = Emulator::with_schedule(Schedule::Forward).unwrap();
        let buffer = Arc::new(DeviceBuffer::new(&device, 1024).unwrap());
        let export =
            |offset, shape: &[usize]| Exported::from_device(Arc::clone(&buffer), 0, offset, DataType::F16, shape);
        let exported = export(256, &[2, 3, 64]).unwrap();
        assert_eq!(exported.managed().dl_tensor.data as u64, buffer.address() + 256);
        assert_eq!(Arc::strong_count(&buffer), 2);
        drop(exported);
        assert_eq!(Arc::strong_count(&buffer), 1);
        let strided = |offset, strides: &[usize]| {
            Exported::from_device_strided(Arc::clone(&buffer), 0, offset, DataType::F16, &[2, 3, 64], strides)
        };
        let exported = strided(0, &[256, 64, 1]).unwrap();
        let DlTensor { strides, .. } = exported.managed().dl_tensor;
        // SAFETY: as many strides as dimensions, which live as long as the tensor.
        assert_eq!(unsafe { std::slice::from_raw_parts(strides, 3) }, [256, 64, 1]);
        // The last value is number 256 + 2 * 64 + 63 of 512.
        assert!(strided(128, &[256, 64, 1]).is_ok());
        for strides in [&[256, 64, 1][..], &[256, 64], &[usize::MAX, 64, 1]] {
            assert_eq!(strided(130, strides).unwrap_err().kind(), ErrorKind::Usage, "{strides:?}");
        }
        for (offset, shape) in [(0, &[513][..]), (1, &[1]), (1024, &[1]), (0, &[usize::MAX, 2])] {
            assert_eq!(export(offset, shape).unwrap_err().kind(), ErrorKind::Usage, "{offset} {shape:?}");
        }
    }
}
