//! What a file may ask for before it is refused.

use crate::ImageError;

/// Limits on one image, checked before memory or time is spent on it, and one on all images together. A file over one of them fails with
/// [`ImageError::OverLimit`], which names the field.
///
/// What a file costs is memory for its coefficients and passes over them, scan by scan. Both are held to its length: beyond a free amount,
/// about what a photo of 12 megapixels takes, a byte of the file pays for `max_expansion` bytes of coefficients, and each of these may be
/// visited [`PASSES`](Self::PASSES) times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file.
    pub max_file_bytes: u64,
    /// Samples of the largest component, width x height.
    pub max_pixels: u64,
    /// Width or height, in samples.
    pub max_side: u64,
    /// Scans (T.81 B.2.3) in one file.
    pub max_scans: u64,
    /// Marker segments (T.81 B.1.1.4) in one file, scan headers not counted.
    pub max_segments: u64,
    /// Definitions of Huffman, quantisation and conditioning tables in one file.
    pub max_tables: u64,
    /// Bytes of one image's coefficients (two per coefficient, padding to whole MCUs included).
    pub max_coefficient_bytes: u64,
    /// Bytes of coefficients allowed per byte of the file: refuses giant dimensions over few bytes. In a complete file coded with Huffman
    /// codes a block takes at least one bit, that of its DC code, hence 128 bytes per bit: 1,024. Only arithmetic-coded flat pages need
    /// more.
    pub max_expansion: u64,
    /// Bytes of coefficients that any file may have beside, however short it is.
    pub free_coefficient_bytes: u64,
    /// Bytes of coefficients of all images that a session decodes at one time. Each of its devices has an equal part; a GPU's is divided among
    /// its slots. An image waits for its share; one that has more than its part is decoded alone there.
    pub max_batch_bytes: u64,
}

impl Limits {
    /// How often, on average, the scans of a file may pass over the coefficients that its length allows. The usual progressive scripts
    /// pass over them four to seven times.
    pub const PASSES: u64 = 8;

    /// Bytes of coefficients that a file of this length may have.
    pub fn coefficient_bytes_for(&self, file_bytes: usize) -> u64 {
        self.max_expansion.saturating_mul(file_bytes as u64).saturating_add(self.free_coefficient_bytes)
    }

    /// Bytes of coefficients that all scans of a file of this length together may visit.
    pub fn max_visited_bytes(&self, file_bytes: usize) -> u64 {
        self.coefficient_bytes_for(file_bytes).saturating_mul(Self::PASSES)
    }

    /// Binary decisions (T.81 D.1) that all arithmetic-coded scans of a file of this length together may have: 16 for each block that its
    /// length allows. A flat block takes two, in a progressive file one or two for each scan, and hardly any data, and what takes more takes
    /// data too, but a hostile block can take two thousand and hardly any data.
    pub fn max_decisions(&self, file_bytes: usize) -> u64 {
        self.coefficient_bytes_for(file_bytes) / 128 * 16
    }

    /// Every limit by the name of its field.
    pub fn named(&self) -> [(&'static str, u64); 10] {
        self.clone().fields().map(|(name, value)| (name, *value))
    }

    /// Sets the limit of this name.
    ///
    /// # Errors
    /// There is no such limit: the names that there are.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), String> {
        let names = self.named().map(|(name, _)| name);
        let field = self.fields().into_iter().find(|(field_name, _)| *field_name == name);
        let (_, field) = field.ok_or_else(|| format!("no limit `{name}`: there are {}", names.join(", ")))?;
        *field = value;
        Ok(())
    }

    fn fields(&mut self) -> [(&'static str, &mut u64); 10] {
        [
            ("max_file_bytes", &mut self.max_file_bytes),
            ("max_pixels", &mut self.max_pixels),
            ("max_side", &mut self.max_side),
            ("max_scans", &mut self.max_scans),
            ("max_segments", &mut self.max_segments),
            ("max_tables", &mut self.max_tables),
            ("max_coefficient_bytes", &mut self.max_coefficient_bytes),
            ("max_expansion", &mut self.max_expansion),
            ("free_coefficient_bytes", &mut self.free_coefficient_bytes),
            ("max_batch_bytes", &mut self.max_batch_bytes),
        ]
    }
}

impl Default for Limits {
    /// 128 MiB a file; 268 million pixels (the largest cameras) with sides of up to 65,535; 512 scans, 16,384 segments, 4,096 tables; 1 GiB
    /// of coefficients, 4 GiB for all images at one time; an expansion of 1,024 beyond 64 MiB.
    fn default() -> Self {
        Self {
            max_file_bytes: 128 << 20,
            max_pixels: 1 << 28,
            max_side: 65_535,
            max_scans: 512,
            max_segments: 16_384,
            max_tables: 4_096,
            max_coefficient_bytes: 1 << 30,
            max_expansion: 1_024,
            free_coefficient_bytes: 64 << 20,
            max_batch_bytes: 4 << 30,
        }
    }
}

/// Counts what a limit bounds, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    name: &'static str,
    what: &'static str,
    limit: u64,
    used: u64,
}

impl Allowance {
    /// `what`: as in [`ImageError::OverLimit`].
    pub(super) fn new(name: &'static str, what: &'static str, limit: u64) -> Self {
        Self { name, what, limit, used: 0 }
    }

    /// Uses one; fails if none is left.
    pub(super) fn spend(&mut self) -> Result<(), ImageError> {
        self.used = self.used.saturating_add(1);
        check_limit(self.name, self.what, self.used, self.limit)
    }
}

/// Fails if `value` is over `limit`, which is the field `name` of [`Limits`] or follows from it.
pub(super) fn check_limit(name: &'static str, what: &'static str, value: u64, limit: u64) -> Result<(), ImageError> {
    if value > limit { Err(ImageError::OverLimit { name, what, value, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_set_by_its_name() {
        let mut limits = Limits::default();
        for (idx, (name, _)) in Limits::default().named().into_iter().enumerate() {
            limits.set(name, idx as u64).unwrap();
            assert_eq!(limits.named()[idx], (name, idx as u64));
        }
        // All of them, so that a new field is not forgotten in the list.
        let debug = format!("{limits:?}");
        assert_eq!(debug.matches(": ").count(), limits.named().len(), "{debug}");
        assert!(limits.set("max_colour", 1).unwrap_err().contains("max_pixels"));
    }

    #[test]
    fn what_a_file_may_cost_grows_with_its_length_and_never_overflows() {
        let limits = Limits { max_expansion: 100, free_coefficient_bytes: 7, ..Limits::default() };
        assert_eq!(limits.coefficient_bytes_for(10), 1_007);
        assert_eq!(limits.max_visited_bytes(10), 8_056);
        let endless = Limits { max_expansion: u64::MAX, ..limits };
        assert_eq!(endless.max_visited_bytes(2), u64::MAX);
    }
}
