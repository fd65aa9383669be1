//! Files that appear whole or not at all.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Writes a file beside `path`, in a folder that is made if it is missing, then gives it that name: whoever reads `path` sees the old file
/// or the whole new one. What could not be written is removed. (What a power failure leaves is the file system's affair.)
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io), with `path`.
pub fn replace_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    static NUM_FILES: AtomicU64 = AtomicU64::new(0);
    let path = path.as_ref();
    // A short name of its own, so that a long one does not become too long.
    let unique = format!(".{}-{}.partial", std::process::id(), NUM_FILES.fetch_add(1, Ordering::Relaxed));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = folder.join(unique);
    let write = || {
        std::fs::create_dir_all(folder)?;
        File::create_new(&partial)?.write_all(bytes)?;
        std::fs::rename(&partial, path)
    };
    write().map_err(|error| {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&partial);
        Error::io(path, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_file_that_cannot_be_placed_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::fs::create_dir_all(target.join("inside")).unwrap();
        assert_eq!(replace_file(&target, b"x").unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let new = dir.path().join("new/file");
        for bytes in [&b"first"[..], b"second"] {
            replace_file(&new, bytes).unwrap();
            assert_eq!(std::fs::read(&new).unwrap(), bytes);
        }
    }
}
