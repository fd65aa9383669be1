//! libtorch as a second engine (feature `torch`): the networks built from the same layer lists, forwards and backwards, on the CPU and on
//! NVIDIA GPUs.
//!
//! It trains the networks (see [`crate::train`]) and is an oracle for the engines that answer: it shares nothing with them but
//! the layer list, the names and the shapes of [`Weights`](crate::network::Weights).

mod cuda;
mod memory;
mod network;

pub use memory::{BorrowedTensor, buffer_over, device_waits_for_torch, torch_waits_for_device};
pub use network::{Arithmetic, Mode, TorchNetwork};
pub(crate) use network::{from_torch, to_torch, weights_of};
pub use tch::Device;

use crate::error::{Error, ErrorKind};

/// How many threads libtorch uses for one operation on the CPU. Without it, one per core.
pub fn set_threads(num_threads: u16) {
    tch::set_num_threads(num_threads.into());
}

impl From<tch::TchError> for Error {
    /// libtorch says in its own words what it could not do; the usual reason is memory.
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        let kind = if text.contains("out of memory") { ErrorKind::OutOfMemory } else { ErrorKind::Device };
        Error::new(kind, format!("libtorch: {}", text.lines().next().unwrap_or_default())).with_source(error)
    }
}
