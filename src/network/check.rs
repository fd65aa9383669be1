//! That the steps of an [`Inference`] fit together: what every engine asks before it believes them.

use crate::error::{Error, ErrorKind, Result};
use crate::network::{Inference, InputKind, Slice, Step, ValueId, ValueShape};

impl Inference {
    /// How many of the first values are inputs of the network.
    pub fn num_inputs(&self) -> usize {
        match self.input {
            InputKind::Blocks => 2,
            InputKind::Rgb => 1,
        }
    }

    /// Checks that every step's operands exist and fit, so that running it cannot fail.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], naming the step.
    pub fn check(&self) -> Result<()> {
        let values = &self.values;
        let wrong =
            |what: String| Error::new(ErrorKind::Usage, format!("the network's steps do not fit together: {what}"));
        let num_inputs = self.num_inputs();
        if values.len() <= num_inputs {
            return Err(wrong(format!("{} values, of which {num_inputs} are inputs", values.len())));
        }
        for (value_idx, shape) in values.iter().enumerate() {
            let len = shape.height.checked_mul(shape.width).and_then(|pixels| pixels.checked_mul(shape.channels));
            if !len.is_some_and(|len| len > 0 && len <= 1 << 40) {
                return Err(wrong(format!("value {value_idx} has no usable shape ({shape:?})")));
            }
        }

        let mut written: Vec<bool> = (0..values.len()).map(|value_idx| value_idx < num_inputs).collect();
        for step in &self.steps {
            let step_wrong = |what: &str| wrong(format!("step `{}`: {what}", step.name()));
            let (input, residual, output) = step.operands(values);
            for read in [Some(input), residual].into_iter().flatten() {
                match written.get(read.0) {
                    None => return Err(step_wrong("it reads a value that does not exist")),
                    Some(false) => return Err(step_wrong("it reads a value that no step before it writes")),
                    Some(true) if read == output.value => return Err(step_wrong("it writes to a value that it reads")),
                    Some(true) => {}
                }
            }
            let Some(to) = values.get(output.value.0).filter(|_| output.value.0 >= num_inputs) else {
                return Err(step_wrong("it writes to an input, or to a value that does not exist"));
            };
            let result = result_shape(step, values[input.0]).map_err(step_wrong)?;
            if (result.height, result.width, result.channels) != (to.height, to.width, output.channels) {
                return Err(step_wrong(&format!("it makes {result:?}, which is not the shape of its output")));
            }
            if output.channels == 0 {
                return Err(step_wrong("it makes no channel"));
            }
            if output.offset.checked_add(output.channels).is_none_or(|end| end > to.channels) {
                return Err(step_wrong("it writes past its output's channels"));
            }
            if residual.is_some_and(|residual| values[residual.0] != result) {
                return Err(step_wrong("the residual has another shape than the result"));
            }
            written[output.value.0] = true;
        }

        match written.get(self.output.0) {
            Some(true) if self.output.0 >= num_inputs => Ok(()),
            _ => Err(wrong("no step writes the logits".into())),
        }
    }
}

impl Step {
    /// The input that the step reads, the residual that it adds, and the slice that it writes.
    pub(crate) fn operands(&self, values: &[ValueShape]) -> (ValueId, Option<ValueId>, Slice) {
        let whole = |value: ValueId| {
            let channels = values.get(value.0).map_or(0, |shape| shape.channels);
            Slice { value, offset: 0, channels }
        };
        match self {
            Step::Conv(conv) => (conv.input, conv.residual, conv.output),
            Step::ScaleShift { input, output, .. }
            | Step::Deconv2x2 { input, output, .. }
            | Step::UpsampleNearest2 { input, output }
            | Step::Copy { input, output } => (*input, None, *output),
            Step::MaxPool { input, output, .. }
            | Step::GlobalAveragePool { input, output }
            | Step::Linear { input, output, .. } => (*input, None, whole(*output)),
        }
    }

    /// A name for messages: the layer's, where it has one.
    pub(crate) fn name(&self) -> &str {
        match self {
            Step::Conv(conv) => &conv.name,
            Step::ScaleShift { name, .. } | Step::Deconv2x2 { name, .. } | Step::Linear { name, .. } => name,
            Step::UpsampleNearest2 { .. } => "upsample",
            Step::Copy { .. } => "copy",
            Step::MaxPool { .. } => "max pool",
            Step::GlobalAveragePool { .. } => "global average pool",
        }
    }
}

/// Positions of a window of `kernel` along a dimension of `len`, with padding; `None` if it does not fit.
fn num_positions(len: usize, kernel: usize, stride: usize, pad: usize) -> Option<usize> {
    if kernel == 0 || stride == 0 {
        return None;
    }
    Some(len.checked_add(pad)?.checked_sub(kernel)? / stride + 1)
}

/// What a step makes of its input: `[height, width, channels]`, or what is wrong with its parameters.
fn result_shape(step: &Step, input: ValueShape) -> Result<ValueShape, &'static str> {
    let ValueShape { height, width, channels } = input;
    let expect = |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(what) };
    let product = |factors: &[usize]| factors.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    const PADDED_WINDOW: &str = "the padding holds a whole window";
    const NO_POSITION: &str = "the window does not fit its padded input";
    match step {
        Step::Conv(conv) => {
            let [top, left, bottom, right] = conv.pad;
            let c_out = conv.bias.len();
            expect(conv.pad[0] < conv.kernel.0 && conv.pad[2] < conv.kernel.0, PADDED_WINDOW)?;
            expect(conv.pad[1] < conv.kernel.1 && conv.pad[3] < conv.kernel.1, PADDED_WINDOW)?;
            let weights_len = product(&[conv.kernel.0, conv.kernel.1, channels, c_out]);
            expect(weights_len == Some(conv.weights.len()), "the weights are not [kernel_h][kernel_w][c_in][c_out]")?;
            let height = num_positions(height, conv.kernel.0, conv.stride, top + bottom).ok_or(NO_POSITION)?;
            let width = num_positions(width, conv.kernel.1, conv.stride, left + right).ok_or(NO_POSITION)?;
            Ok(ValueShape { height, width, channels: c_out })
        }
        Step::Deconv2x2 { input_offset, c_in, weights, bias, .. } => {
            expect(*c_in > 0, "it reads no channel")?;
            expect(
                input_offset.checked_add(*c_in).is_some_and(|end| end <= channels),
                "it reads past its input's channels",
            )?;
            expect(product(&[4, *c_in, bias.len()]) == Some(weights.len()), "the weights are not [2][2][c_in][c_out]")?;
            Ok(ValueShape { height: height * 2, width: width * 2, channels: bias.len() })
        }
        Step::ScaleShift { scale, shift, .. } => {
            expect(scale.len() == channels && shift.len() == channels, "scale and shift are not [channels]")?;
            Ok(input)
        }
        Step::UpsampleNearest2 { .. } => Ok(ValueShape { height: height * 2, width: width * 2, channels }),
        Step::Copy { .. } => Ok(input),
        Step::MaxPool { kernel, stride, pad, .. } => {
            let [top, left, bottom, right] = *pad;
            expect(pad.iter().all(|pad| pad < kernel), PADDED_WINDOW)?;
            let height = num_positions(height, *kernel, *stride, top + bottom).ok_or(NO_POSITION)?;
            let width = num_positions(width, *kernel, *stride, left + right).ok_or(NO_POSITION)?;
            Ok(ValueShape { height, width, channels })
        }
        Step::GlobalAveragePool { .. } => Ok(ValueShape { height: 1, width: 1, channels }),
        Step::Linear { weights, bias, .. } => {
            expect((height, width) == (1, 1), "its input is not [N, 1, 1, c_in]")?;
            expect(product(&[channels, bias.len()]) == Some(weights.len()), "the weights are not [c_in][c_out]")?;
            Ok(ValueShape { height: 1, width: 1, channels: bias.len() })
        }
    }
}
