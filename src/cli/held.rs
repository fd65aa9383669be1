//! What measurements run on: files held in memory, so that the disk is not measured; and what program it was.

use std::ops::ControlFlow;
use std::path::PathBuf;

use dctflow::jpeg::Limits;
use dctflow::sources::Sources;
use dctflow::{Error, ErrorKind, Result};

use super::output::say;

/// Reading ends when the files have this size.
const MAX_HELD_BYTES: u64 = 1 << 30;

/// The files at `paths`. What cannot be read, or is too much, is left out, and standard error says so.
pub fn read_files(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    let mut num_bytes = 0;
    Sources::new(paths, Limits::default().max_file_bytes).for_each(|item| {
        match item.bytes {
            Ok(bytes) => {
                num_bytes += bytes.len() as u64;
                files.push(bytes);
            }
            Err(reason) => say(format_args!("{}: left out: {reason}", item.name)),
        }
        if num_bytes < MAX_HELD_BYTES {
            return ControlFlow::Continue(());
        }
        say(format_args!("the first {} files are enough: they hold {} MiB", files.len(), num_bytes >> 20));
        ControlFlow::Break(())
    });
    if files.is_empty() {
        let message = "no file could be read: name JPEG files, or none to measure on images made on the spot";
        return Err(Error::new(ErrorKind::Usage, message));
    }
    Ok(files)
}

/// The commit that the program was built from, where it was built from one.
pub fn commit() -> &'static str {
    option_env!("DCTFLOW_COMMIT").unwrap_or("unknown")
}

/// The command line, from the program's name on: where it lies is nobody's business.
pub fn command() -> Vec<String> {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once("dctflow".to_string()).chain(arguments).collect()
}
