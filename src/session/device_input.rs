//! A network's input in device memory, for other networks than this library's.

use std::sync::Arc;

use super::DeviceImage;
use crate::device::{Device, DeviceBuffer, Stream};
use crate::error::{Error, ErrorKind, ImageError, Result};
use crate::plan::{InputBatchPlan, InputForm, InputImage, InputValue};
use crate::resample::Transform;
use crate::stages::{InputStage, NetworkInput};

/// Makes input for a network from coefficients in device memory: dequantised, cut, resized, flipped and turned, in one tensor or two. Their
/// memory is taken once, and written again by every batch.
///
/// ```
/// # fn main() -> dctflow::Result<()> {
/// # #[cfg(feature = "emulator")] {
/// use dctflow::device::Stream;
/// use dctflow::plan::{InputForm, InputValue};
/// use dctflow::session::{BatchDecoder, DeviceChoice, DeviceInput};
///
/// let device = DeviceChoice::Emulator.resolve()?.handle.expect("not the CPU");
/// let (mut decoder, stream) = (BatchDecoder::new(&device)?, Stream::new(&device)?);
/// let form = InputForm::blocks(32, 32, InputValue::F16);
/// let mut input = DeviceInput::new(&device, form, "short=40,crop=32".parse()?, 8)?;
/// let photo = dctflow::synth::photo(0, 0);
/// let in_flight = decoder.submit_to_device(&[&photo])?;
/// in_flight.join(&stream)?;
/// let refused = input.submit(&stream, in_flight.buffer(), &in_flight.places())?;
/// assert_eq!((refused, input.shapes()), (vec![None], vec![[8, 4, 4, 64], [8, 2, 2, 128]]));
/// let luma = input.tensors()[0].address(); // What you put on `stream` now finds f16 there.
/// # assert_ne!(luma, 0);
/// drop(in_flight);
/// # }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DeviceInput {
    stage: InputStage,
    plan: InputBatchPlan,
    images: Vec<Option<InputImage>>,
    form: InputForm,
    transform: Transform,
    redzone_bytes: usize,
    max_images: usize,
    tensors: Vec<Arc<DeviceBuffer>>,
}

impl DeviceInput {
    /// For batches of up to `max_images`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if `transform` does not crop to the size of `form`; [`ErrorKind::OutOfMemory`], [`ErrorKind::Device`].
    pub fn new(device: &Arc<dyn Device>, form: InputForm, transform: Transform, max_images: usize) -> Result<Self> {
        transform.validate()?;
        if transform.crop != form.size() {
            let ((wide, high), (wanted_wide, wanted_high)) = (transform.crop, form.size());
            let message = format!("the transform crops to {wide} x {high}, the input is {wanted_wide} x {wanted_high}");
            return Err(Error::new(ErrorKind::Usage, message));
        }
        let tensors = form.image_bytes().map(|bytes| DeviceBuffer::new(device, bytes * max_images).map(Arc::new));
        Ok(Self {
            stage: InputStage::new(device)?,
            plan: InputBatchPlan::empty(&form),
            images: Vec::new(),
            tensors: tensors.collect::<Result<_>>()?,
            form,
            transform,
            redzone_bytes: device.redzone_bytes(),
            max_images,
        })
    }

    /// Puts the making of a batch's input on the stream, which comes after the coefficients there, or has
    /// [joined](super::CoefficientsInFlight::join) them; what is put there afterwards finds it in [`tensors`](Self::tensors). An image
    /// without coefficients, and one that has no input, is zeros. Returns why an image has none, by image. The host waits for the upload of the batch
    /// before, if it must, and for nothing else.
    ///
    /// `buffer` and `images` are [`places`](super::CoefficientsInFlight::places) and the memory that they lie in.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for more images than there is room for; [`ErrorKind::OutOfMemory`], [`ErrorKind::Device`].
    pub fn submit(
        &mut self,
        stream: &Stream,
        buffer: &DeviceBuffer,
        images: &[Option<&DeviceImage>],
    ) -> Result<Vec<Option<ImageError>>> {
        if images.len() > self.max_images {
            let message = format!("{} images for an input of up to {}", images.len(), self.max_images);
            return Err(Error::new(ErrorKind::Usage, message));
        }
        self.images.clear();
        let mut refused = Vec::with_capacity(images.len());
        for image in images {
            let input = image.map(|image| self.input_image(image, buffer)).transpose();
            refused.push(input.as_ref().err().cloned());
            self.images.push(input.ok().flatten());
        }
        self.plan.replace(&self.images, self.redzone_bytes)?;
        let out = match &self.tensors[..] {
            [y, c] => NetworkInput::Blocks { y: y.all(), c: c.all() },
            [rgb] => NetworkInput::Rgb(rgb.all()),
            _ => return Err(Error::new(ErrorKind::Internal, "an input has one tensor or two")),
        };
        self.stage.submit(stream, &self.plan, buffer.all(), out)?;
        Ok(refused)
    }

    fn input_image(&self, image: &DeviceImage, buffer: &DeviceBuffer) -> Result<InputImage, ImageError> {
        let plane = |component_idx: usize| {
            let plane = &image.planes[component_idx];
            ((plane.offset_bytes(buffer) / size_of::<i16>()) as u64, plane.quant)
        };
        let DeviceImage { frame, color, orientation, .. } = image;
        InputImage::new(frame, *color, *orientation, &self.transform, self.form.kind(), plane)
    }

    /// The memory of Y and C, or of RGB: values of [`InputForm::value`], contiguous, of [`shapes`](Self::shapes).
    pub fn tensors(&self) -> &[Arc<DeviceBuffer>] {
        &self.tensors
    }

    /// `[max_images, rows, columns, channels]` of each.
    pub fn shapes(&self) -> Vec<[usize; 4]> {
        let shapes = self.form.image_shapes();
        shapes.map(|[rows, columns, channels]| [self.max_images, rows, columns, channels]).collect()
    }

    /// The type of the values.
    pub fn value(&self) -> InputValue {
        self.form.value()
    }
}
