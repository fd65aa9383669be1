//! A small JPEG encoder for tests and benchmarks: it writes what no ordinary encoder would.
//!
//! [`Picture`] makes samples from a seed, [`Layout`] says what kind of file they become, [`Encoding`] writes
//! [`Coefficients`](crate::jpeg::Coefficients) as a [`JpegFile`], a list of parts that can be edited before it becomes bytes.
//! [`photo_set`] makes whole sets of files like those of a photo collection.
//!
//! Made for faithfulness to T.81 and for odd files, not for speed or picture quality. Everything is a function of its seed, on
//! every machine. Wrong arguments (a scan of a component that the frame lacks) panic.

mod arithmetic;
mod encode;
mod file;
mod huffman;
mod mutate;
mod photos;
mod picture;
mod random;
mod scan;
mod symbols;

pub use encode::{EditSymbols, Encoding};
pub use file::{JpegFile, Part};
pub use huffman::Codes;
pub use mutate::{flip_bit, mutate, truncations};
pub use photos::{photo, photo_set};
pub use picture::{Layout, Picture, Spectrum, quant_table};
pub use random::Random;
pub use scan::{Interleaving, Restart, Scan, Script, component_groups, progressive_scans, sequential_scans};
pub use symbols::{EOB, Symbol, Table, ZRL};
