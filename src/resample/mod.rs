//! The DCT-domain operator as data: from a frame and a [`Transform`] to the matrices and bands that take quantised coefficients to a
//! network's input. Pure; shared by the CPU backend and the device.

mod transform;

pub use transform::{OrientationRule, Resize, Transform};
