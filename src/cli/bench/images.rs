//! The files that are measured on: in memory before the clock starts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use dctflow::Result;
use dctflow::jpeg::{EntropyCoding, Frame, Header, Limits, Process};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::record::{DataSet, SizeClass};
use super::stats::Sorted;
use crate::cli::held::read_files;
use crate::cli::progress;

/// A file, and the number of its pixels (0 if it is no JPEG).
#[derive(Clone)]
pub struct File {
    pub bytes: Arc<Vec<u8>>,
    pub num_pixels: u64,
}

/// All files, and what a record says of them.
pub struct Images {
    pub files: Vec<File>,
    pub about: DataSet,
}

impl Images {
    /// `count` photo-like files made on the spot.
    pub fn made(count: u32) -> Self {
        let spinner = progress::message("making images");
        let files = dctflow::synth::photo_set(0, count as usize);
        spinner.finish_and_clear();
        Self::new(files, format!("{count} synthetic photos, seed 0"))
    }

    /// The files below `paths`. What cannot be read is left out, and said.
    ///
    /// # Errors
    /// `ErrorKind::Usage` if none can be read.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let files = read_files(paths)?;
        let source = format!("{} files", files.len());
        Ok(Self::new(files, source))
    }

    fn new(files: Vec<Vec<u8>>, source: String) -> Self {
        let limits = Limits::default();
        let described: Vec<(File, [u8; 32], String)> = files
            .into_par_iter()
            .map(|bytes| {
                let digest = Sha256::digest(&bytes).into();
                let (num_pixels, kind) = match Header::parse(&bytes, &limits) {
                    Ok(Header { frame, .. }) => (u64::from(frame.width) * u64::from(frame.height), kind(&frame)),
                    Err(reason) => (0, format!("no image: {}", reason.code())),
                };
                (File { bytes: Arc::new(bytes), num_pixels }, digest, kind)
            })
            .collect();
        let mut sha256 = Sha256::new();
        let mut kinds = BTreeMap::new();
        for (_, digest, kind) in &described {
            sha256.update(digest);
            *kinds.entry(kind.clone()).or_default() += 1;
        }
        let sizes = Sorted::new(described.iter().map(|(file, ..)| file.bytes.len() as f64).collect());
        let about = DataSet {
            source,
            sha256: sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            files: described.len() as u64,
            bytes: described.iter().map(|(file, ..)| file.bytes.len() as u64).sum(),
            pixels: described.iter().map(|(file, ..)| file.num_pixels).sum(),
            file_bytes_p5: sizes.quantile(0.05) as u64,
            file_bytes_p50: sizes.quantile(0.5) as u64,
            file_bytes_p95: sizes.quantile(0.95) as u64,
            file_bytes_histogram: histogram(described.iter().map(|(file, ..)| file.bytes.len() as u64)),
            kinds,
        };
        Self { files: described.into_iter().map(|(file, ..)| file).collect(), about }
    }
}

/// Sizes by powers of two.
fn histogram(sizes: impl Iterator<Item = u64>) -> Vec<SizeClass> {
    let mut classes: BTreeMap<u32, u64> = BTreeMap::new();
    sizes.for_each(|size| *classes.entry(size.max(1).ilog2()).or_default() += 1);
    let class = |(power, files): (u32, u64)| SizeClass { from_bytes: 1 << power, to_bytes: 2 << power, files };
    classes.into_iter().map(class).collect()
}

/// Process, entropy coding unless Huffman, and sampling.
fn kind(frame: &Frame) -> String {
    let process = match frame.process {
        Process::Baseline => "baseline",
        Process::ExtendedSequential => "extended sequential",
        Process::Progressive => "progressive",
    };
    let coding = if frame.coding == EntropyCoding::Arithmetic { " arithmetic" } else { "" };
    format!("{process}{coding} {}", frame.sampling_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_by_powers_of_two() {
        let class = |from_bytes, files| SizeClass { from_bytes, to_bytes: 2 * from_bytes, files };
        assert_eq!(histogram([1024, 2047, 2048, 1, 0].into_iter()), [class(1, 2), class(1024, 2), class(2048, 1)]);
    }

    #[test]
    fn a_data_set_is_described_and_has_an_identity() {
        let files = || vec![dctflow::synth::photo(1, 0), b"text".to_vec()];
        let images = Images::new(files(), "two".into());
        let about = &images.about;
        assert_eq!((about.files, about.kinds["no image: not-a-jpeg"], about.kinds.len()), (2, 1, 2));
        assert_eq!((about.file_bytes_p5, about.file_bytes_p95), (4, images.files[0].bytes.len() as u64));
        assert_eq!((images.files[1].num_pixels, about.pixels), (0, images.files[0].num_pixels));
        assert_eq!(about.sha256, Images::new(files(), String::new()).about.sha256);
        assert_ne!(about.sha256, Images::new(files().into_iter().rev().collect(), String::new()).about.sha256);
    }
}
