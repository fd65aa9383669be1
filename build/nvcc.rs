//! Finding a CUDA compiler on the PATH. Nobody has asked for that one: if it does not do, the build says so and goes on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest release that knows everything the kernels use, the way drivers count: 12.0 brought sm_90a.
pub const OLDEST_VERSION: i32 = 12_000;

/// `release 13.0, V13.0.88` as 13000.
pub fn version_of(nvcc: &Path) -> Result<i32, String> {
    let output = Command::new(nvcc).arg("--version").output().map_err(|error| format!("it does not run: {error}"))?;
    if !output.status.success() {
        return Err("it does not run".into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_once("release ").and_then(|(_, rest)| rest.split(',').next());
    let numbers = version.and_then(|v| v.split_once('.')).and_then(|(major, minor)| {
        Some(major.trim().parse::<i32>().ok()? * 1000 + minor.trim().parse::<i32>().ok()? * 10)
    });
    numbers.ok_or_else(|| "it does not say its release".into())
}

/// The first compiler on `path`; `None`, with a word to `warn`, if it is of no use.
pub fn find_in_path(path: &OsStr, warn: impl FnOnce(String)) -> Option<PathBuf> {
    let nvcc = std::env::split_paths(path).map(|folder| folder.join("nvcc")).find(|nvcc| nvcc.is_file())?;
    let unfit = match version_of(&nvcc) {
        Ok(version) if version >= OLDEST_VERSION => return Some(nvcc),
        Ok(version) => format!(
            "it is of CUDA {}.{}, and {}.{} is needed",
            version / 1000,
            version % 1000 / 10,
            OLDEST_VERSION / 1000,
            OLDEST_VERSION % 1000 / 10
        ),
        Err(why) => why,
    };
    warn(format!("the CUDA compiler {} on the PATH is not used: {unfit}", nvcc.display()));
    None
}
