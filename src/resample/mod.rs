//! The DCT-domain operator as data: from a frame and a [`Transform`] to the matrices and bands that take quantised coefficients to a
//! network's input. Pure; shared by the CPU backend and the device.
//!
//! Resizing, cropping, flipping and orientation are linear in the samples, and so is the DCT. For a plane `X` of samples the pixel
//! pipeline computes `Ry X Rx^T` and then 8 x 8 DCTs; with `D` the orthonormal 8-point DCT, the same output block (i, k) is
//! `sum over j, l of V[i,j] C[j,l] H[k,l]^T` over the source's blocks of coefficients `C[j,l]`, where
//! `V[i,j] = D Ry[8i..8i+8, 8j..8j+8] D^T` and likewise H from Rx. R is banded, so each output block row needs few source block rows.

mod axis;
mod dct;
mod plan;
mod transform;

pub use axis::{Axis, AxisCache, AxisSpec, Band, Basis};
pub use dct::{DCT, DCT_TRANSPOSED};
pub use plan::{Grid, InputGeometry, InputPlan, PlanePlan};
pub use transform::{MAX_CROP, MAX_RESIZE, Normalization, OrientationRule, Resize, Transform};
