//! ITU-T T.81 as data: markers, tables, geometry, limits, and the decoded coefficients. No device, no I/O, no `unsafe`.

mod coefficients;
mod digest;
mod frame;
mod limits;
mod order;

pub use coefficients::{Coefficients, Plane};
pub use frame::{ColorModel, Component, EntropyCoding, Frame, Orientation, Process};
pub use limits::Limits;
pub use order::{NATURAL_FROM_ZIGZAG, Natural, ZIGZAG_FROM_NATURAL, ZigZag};
