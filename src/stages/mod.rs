//! Launch sequences, written once over [`Device`](crate::device::Device): the same on a GPU and on the emulator.

mod decode;

pub use decode::{DecodeStage, DeviceReport};
