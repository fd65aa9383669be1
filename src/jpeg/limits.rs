//! What a file may ask for before it is refused.

/// Limits on one image, checked before memory is taken for it. A file over one of them fails with
/// [`ImageError::OverLimit`](crate::ImageError::OverLimit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Samples of the largest component, width x height.
    pub max_pixels: u64,
    /// Width or height, in samples.
    pub max_side: u32,
    /// Scans (T.81 B.2.3) in one file.
    pub max_scans: u32,
    /// Bytes of one file.
    pub max_file_bytes: u64,
    /// Bytes of one image's coefficients (two per coefficient, padding to whole MCUs included).
    pub max_coefficient_bytes: u64,
    /// Bytes of coefficients allowed per byte of the file: refuses giant dimensions over few bytes.
    /// A block takes at least two bits in a baseline scan (one for DC, one for EOB), hence 128 bytes per 2 bits: 512;
    /// progressive files with EOB runs go beyond, and in arithmetic-coded flat pages a block takes nearly nothing.
    pub max_expansion: u64,
    /// Bytes of coefficients that any file may have beside, however short it is.
    pub free_coefficient_bytes: u64,
}

impl Limits {
    /// Bytes of coefficients that all scans of a file together may visit: for a byte of the file, four times what the limit on the coefficients
    /// themselves allows.
    pub fn max_visited_bytes(&self, file_bytes: usize) -> u64 {
        self.max_expansion
            .saturating_mul(4)
            .saturating_mul(file_bytes as u64)
            .saturating_add(self.free_coefficient_bytes)
    }
}

impl Default for Limits {
    /// 178 million pixels (the largest cameras, and Pillow's own limit for a hostile file), sides of 65,535, 1,000 scans, 256 MiB a
    /// file, 2 GiB of coefficients, an expansion of
    /// 8,192 beyond 64 MiB.
    fn default() -> Self {
        Self {
            max_pixels: 178_956_970,
            max_side: 65_535,
            max_scans: 1_000,
            max_file_bytes: 256 << 20,
            max_coefficient_bytes: 2 << 30,
            max_expansion: 8_192,
            free_coefficient_bytes: 64 << 20,
        }
    }
}
