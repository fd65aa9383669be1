//! Launch sequences, written once over [`Device`](crate::device::Device): the same on a GPU and on the emulator.

mod decode;
mod network;

pub use decode::{DecodeStage, DeviceReport};
pub use network::{NetworkInput, NetworkOptions, NetworkStage};
