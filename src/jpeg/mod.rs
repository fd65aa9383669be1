//! ITU-T T.81 as data: markers, tables, geometry, limits, and the decoded coefficients. No device, no I/O, no `unsafe`.

mod coefficients;
mod digest;
mod frame;
mod header;
mod limits;
pub mod marker;
mod metadata;
mod order;
mod progression;
mod qe;
mod report;
mod scan;
mod segments;
pub mod tables;

pub use coefficients::{Coefficients, Plane};
pub use frame::{ColorModel, Component, ComponentSpec, EntropyCoding, Frame, Orientation, Process};
pub use header::{Header, Scans};
pub use limits::Limits;
pub use metadata::{Adobe, Jfif, Metadata};
pub use order::{NATURAL_FROM_ZIGZAG, Natural, ZIGZAG_FROM_NATURAL, ZigZag};
pub use progression::Progression;
pub use qe::{ESTIMATES, Estimate, FIXED_HALF};
pub use report::{DecodeReport, Policy, Status, Verdict};
pub use scan::{Scan, ScanComponent};
pub use segments::{
    EntropyCoded, Piece, Step, assign_intervals, entropy_coded_end, split_entropy_coded, walk_entropy_coded,
};
pub use tables::{ArithmeticConditioning, HuffmanCode, HuffmanTable, QuantTable, Tables};
