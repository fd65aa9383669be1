//! The operation that networks spend their time in, behind one trait: a convolution with its epilogue. [`KernelOps`] does it with our own
//! kernels on any device.

use super::{Device, Grid, Stream};
use crate::abi::{self, ConvolveParams};
use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What carries out matrix products and convolutions.
pub trait Ops: Send + Sync + fmt::Debug {
    /// Puts `relu(conv(input) + bias + residual)` on the stream.
    ///
    /// # Safety
    /// As [`Stream::launch`]: what `params` points at has the shapes that abi.h states, stays alive, and is used by nothing else that
    /// conflicts, until the stream has passed this call.
    ///
    /// # Errors
    /// Those of [`Stream::launch`].
    unsafe fn convolve(&self, stream: &Stream, params: &ConvolveParams) -> Result<()>;
}

/// What carries out convolutions, by name: `kernels` or `libraries`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OpsChoice {
    /// Our own kernels.
    #[default]
    Kernels,
    /// The vendor's libraries where they can: cuBLASLt and cuDNN, which must be on the machine.
    Libraries,
}

impl OpsChoice {
    /// What this choice comes to on a device.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`]: the device has no such libraries; [`ErrorKind::NoLibrary`]: one is missing, and the message says how to get it.
    pub fn open(self, device: &Arc<dyn Device>) -> Result<Arc<dyn Ops>> {
        match self {
            Self::Kernels => Ok(Arc::new(KernelOps::default())),
            Self::Libraries => Arc::clone(device).library_ops(),
        }
    }
}

impl FromStr for OpsChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "kernels" => Ok(Self::Kernels),
            "libraries" => Ok(Self::Libraries),
            _ => Err(Error::new(ErrorKind::Usage, format!("no operations `{name}`: say kernels or libraries"))),
        }
    }
}

impl fmt::Display for OpsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernels => "kernels",
            Self::Libraries => "libraries",
        })
    }
}

/// The rows and columns of the product that one CTA works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConvolveTile {
    /// 128 x 128: for large products.
    Rows128Columns128,
    /// 128 x 64.
    Rows128Columns64,
    /// 64 x 64: for small products.
    Rows64Columns64,
}

impl ConvolveTile {
    /// All of them, the largest first.
    pub const ALL: [Self; 3] = [Self::Rows128Columns128, Self::Rows128Columns64, Self::Rows64Columns64];

    /// Rows and columns.
    pub fn size(self) -> (u32, u32) {
        match self {
            Self::Rows128Columns128 => (128, 128),
            Self::Rows128Columns64 => (128, 64),
            Self::Rows64Columns64 => (64, 64),
        }
    }

    /// Fragments that a warp loads from shared memory for every 32 that it multiplies: 8 pairs of 64 x 64, 12 of 64 x 32, 16 of 32 x 32.
    fn loads_per_product(self) -> u64 {
        match self {
            Self::Rows128Columns128 => 8,
            Self::Rows128Columns64 => 12,
            Self::Rows64Columns64 => 16,
        }
    }

    /// CTAs that cover a product of so many rows, columns and phases, if they are not too many for a grid.
    fn num_ctas(self, rows: u32, columns: u32, phases: u32) -> u64 {
        let (tile_rows, tile_columns) = self.size();
        u64::from(rows.div_ceil(tile_rows)) * u64::from(columns.div_ceil(tile_columns)) * u64::from(phases)
    }

    /// The tile with the least estimated time. The estimate: multiprocessors take CTAs in rounds, and a CTA takes as long as its products
    /// (32 units each) and its loads from shared memory (8 to 16), which pass through the same pipe only in part.
    pub fn choose(rows: u32, columns: u32, phases: u32, num_sms: u32) -> Self {
        let time = |tile: &Self| tile.time(rows, columns, phases, num_sms);
        let [first, others @ ..] = Self::ALL;
        others.into_iter().fold(first, |best, tile| if time(&tile) < time(&best) { tile } else { best })
    }

    /// The estimated time for one value of the depth: in multiply-adds of one multiprocessor that is never kept waiting.
    pub fn time(self, rows: u32, columns: u32, phases: u32, num_sms: u32) -> u64 {
        let (tile_rows, tile_columns) = self.size();
        let rounds = self.num_ctas(rows, columns, phases).div_ceil(u64::from(num_sms.max(1)));
        rounds * u64::from(tile_rows) * u64::from(tile_columns) * (32 + self.loads_per_product()) / 32
    }
}

/// Our own kernels (`kernels/nn/convolve.cuh`): need no library, run on every device.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelOps {
    /// The tile for all products; `None`: by [`ConvolveTile::choose`].
    pub tile: Option<ConvolveTile>,
}

impl Ops for KernelOps {
    unsafe fn convolve(&self, stream: &Stream, params: &ConvolveParams) -> Result<()> {
        let phases = params.upsampling * params.upsampling;
        let num_sms = stream.device().info().num_sms;
        let (rows, columns) = (params.num_rows, params.num_columns);
        let tile = self.tile.unwrap_or_else(|| ConvolveTile::choose(rows, columns, phases, num_sms));
        let num_ctas = tile.num_ctas(rows, columns, 1);
        let grid = Grid { x: u32::try_from(num_ctas).unwrap_or(u32::MAX), y: 1, z: phases };
        // SAFETY: the caller's.
        unsafe {
            match tile {
                ConvolveTile::Rows128Columns128 => stream.launch::<abi::Convolve128x128>(grid, 0, params),
                ConvolveTile::Rows128Columns64 => stream.launch::<abi::Convolve128x64>(grid, 0, params),
                ConvolveTile::Rows64Columns64 => stream.launch::<abi::Convolve64x64>(grid, 0, params),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_products_have_large_tiles_and_small_ones_fill_the_device() {
        let on_132_sms = |rows, columns| ConvolveTile::choose(rows, columns, 1, 132);
        assert_eq!(on_132_sms(64 * 28 * 28, 512), ConvolveTile::Rows128Columns128);
        assert_eq!(on_132_sms(64 * 28 * 28, 64), ConvolveTile::Rows128Columns64);
        assert_eq!(on_132_sms(4 * 14 * 14, 256), ConvolveTile::Rows64Columns64);
        assert_eq!(on_132_sms(1, 10), ConvolveTile::Rows64Columns64);
    }
}
