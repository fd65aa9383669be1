//! Launch sequences, written once over [`Device`](crate::device::Device): the same on a GPU and on the emulator.

mod arena;
mod decode;
mod download;
mod input;
mod network;
mod turns;

pub use decode::{DecodeStage, DeviceReport};
pub use download::Download;
pub use input::InputStage;
pub use network::{NetworkInput, NetworkOptions, NetworkStage};
