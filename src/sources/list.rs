//! `@list`: a text file that names one input per line.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{Sources, Visitor, failed, read_error, source};

/// The longest line that is taken for a path (Linux's PATH_MAX); a longer one means that the file is no list.
const MAX_LINE_BYTES: u64 = 4096;

/// The file behind `@list`; `None` for any other input.
pub(super) fn list_name(input: &Path) -> Option<PathBuf> {
    let bytes = input.as_os_str().as_encoded_bytes().strip_prefix(b"@")?;
    path_from_bytes(bytes)
}

impl Sources {
    /// Visits what the lines of `list` name. Lines are read as they are needed: a list may be longer than memory.
    pub(super) fn visit_list(&self, list: &Path, visitor: &mut Visitor) -> ControlFlow<()> {
        if list.as_os_str() == "-" {
            return self.visit_lines(list, io::stdin().lock(), visitor);
        }
        match File::open(list) {
            Ok(file) => self.visit_lines(list, BufReader::new(file), visitor),
            Err(error) => visitor.take(failed(list, read_error(&error))),
        }
    }

    fn visit_lines(&self, list: &Path, mut lines: impl BufRead, visitor: &mut Visitor) -> ControlFlow<()> {
        let mut num_paths = 0usize;
        let mut line = Vec::new();
        for line_number in 1usize.. {
            line.clear();
            match lines.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return visitor.take(failed(list, read_error(&error))),
            }
            let bytes = line.strip_suffix(b"\n").unwrap_or(&line);
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            if bytes.is_empty() {
                continue;
            }
            let Some(path) = path_from_bytes(bytes) else {
                let message = format!(
                    "line {line_number} is no path, and the rest is not read: a list is a text file with one path per line"
                );
                return visitor.take(failed(list, source("bad-list", message)));
            };
            num_paths += 1;
            self.visit_path(&path, visitor)?;
        }
        if num_paths == 0 {
            visitor.take(failed(list, source("empty-list", "the list names no files: write one path per line")))?;
        }
        ControlFlow::Continue(())
    }
}

/// A path from a line's bytes; `None` if they cannot be one.
fn path_from_bytes(bytes: &[u8]) -> Option<PathBuf> {
    if bytes.is_empty() || bytes.len() as u64 > MAX_LINE_BYTES || bytes.contains(&0) {
        return None;
    }
    os_string(bytes.to_vec()).map(PathBuf::from)
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    Some(std::os::unix::ffi::OsStringExt::from_vec(bytes))
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(OsString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(list: &[u8]) -> Vec<Result<Vec<u8>, &'static str>> {
        let mut seen = Vec::new();
        let sources = Sources::new(Vec::<PathBuf>::new(), 100);
        let mut visit = |item: crate::sources::Item| {
            seen.push(item.bytes.map_err(|e| e.code()));
            ControlFlow::Continue(())
        };
        let mut visitor = Visitor { wants: &mut |_| ControlFlow::Continue(true), visit: &mut visit };
        let flow = sources.visit_lines(Path::new("list"), list, &mut visitor);
        assert!(flow.is_continue());
        seen
    }

    #[test]
    fn every_line_is_an_input() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"x").unwrap();
        let path = file.path().to_str().unwrap();
        let list = format!("{path}\r\n\n/no/such/file\n{path}");
        assert_eq!(codes(list.as_bytes()), [Ok(b"x".to_vec()), Err("io"), Ok(b"x".to_vec())]);
    }

    #[test]
    fn what_is_no_list_says_so() {
        assert_eq!(codes(b"\n\n"), [Err("empty-list")]);
        assert_eq!(codes(b"\xff\xd8\xff\xe0\x00\x10JFIF"), [Err("bad-list")]);
        assert_eq!(codes(&[b'a'; 5000]), [Err("bad-list")]);
    }

    #[test]
    fn only_names_that_begin_with_an_at_sign_are_lists() {
        assert_eq!(list_name(Path::new("@files.txt")), Some("files.txt".into()));
        assert_eq!(list_name(Path::new("./@files.txt")), None);
        assert_eq!(list_name(Path::new("@")), None);
    }
}
