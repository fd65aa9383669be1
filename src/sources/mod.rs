//! Where images come from: files, folders (recursively), `@list` files, tar shards and Parquet tables, read one after another in a fixed
//! order.
//!
//! Nothing here fails as a whole. What cannot be read becomes an [`Item`] with a reason, in its place, so that a million files are not
//! lost to one missing path. In memory are one image (of a shard, also the one that waits for its label), the sorted names of the files of a
//! folder, and one page of each column of a table. Only regular files are opened: a pipe that a list names would be waited for without end.

mod list;
mod shard;
#[cfg(feature = "parquet")]
mod table;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::error::ImageError;

/// Names one image: a file, or a member of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemName {
    /// The file's path, as given or as found below a given folder.
    pub path: PathBuf,
    /// The member's path inside of the archive `path`.
    pub member: Option<PathBuf>,
}

impl ItemName {
    /// The name's own bytes (on Unix; elsewhere UTF-8): `path`, or `path:member`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.path.as_os_str().as_encoded_bytes().to_vec();
        if let Some(member) = &self.member {
            bytes.push(b':');
            bytes.extend_from_slice(member.as_os_str().as_encoded_bytes());
        }
        bytes
    }
}

/// `path`, or `path:member`; what is not UTF-8 is replaced.
impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl From<PathBuf> for ItemName {
    fn from(path: PathBuf) -> Self {
        Self { path, member: None }
    }
}

/// One image's bytes, or why they could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The file, folder, list or archive member.
    pub name: ItemName,
    /// The class that stands beside it: a table's column `label`, or an archive's member `KEY.cls` beside `KEY.jpg`.
    pub label: Option<i64>,
    /// The whole file; [`ImageError::Source`] or [`ImageError::OverLimit`] otherwise.
    pub bytes: Result<Vec<u8>, ImageError>,
}

impl Item {
    /// The name of the folder that the file or member lies in: its class, in collections that have a folder for each class.
    pub fn folder_name(&self) -> Option<&str> {
        let path = self.name.member.as_ref().unwrap_or(&self.name.path);
        path.parent()?.file_name()?.to_str()
    }
}

/// The inputs of one call.
///
/// | input | what it gives |
/// |---|---|
/// | a file | its bytes, whatever they are |
/// | a file named `*.tar` | its members, in their order; members that are neither named nor begin like a JPEG are passed over |
/// | a file named `*.parquet` (feature `parquet`) | the rows of its binary column `image` or `image.bytes`; `label` and `name` beside it |
/// | a folder | every file below it, sorted by name, links followed, shards and tables opened |
/// | `@list` | the inputs named in the file `list`, one per line (`@-`: standard input); `./@name` is a file whose name begins with `@` |
#[derive(Clone, Debug)]
pub struct Sources {
    inputs: Vec<PathBuf>,
    max_file_bytes: u64,
}

/// Who gets the items of a walk through the inputs.
struct Visitor<'a> {
    /// Asked for each item before it is read; `Break` ends the reading.
    wants: &'a mut dyn FnMut(&ItemName) -> ControlFlow<(), bool>,
    /// Called with each item that is wanted; `Break` ends the reading.
    visit: &'a mut dyn FnMut(Item) -> ControlFlow<()>,
}

impl Visitor<'_> {
    /// An item that is at hand already.
    fn take(&mut self, item: Item) -> ControlFlow<()> {
        if (self.wants)(&item.name)? { (self.visit)(item) } else { ControlFlow::Continue(()) }
    }

    /// A file, which is read only if it is wanted.
    fn take_file(&mut self, path: &Path, max_bytes: u64) -> ControlFlow<()> {
        let name = ItemName::from(path.to_path_buf());
        if (self.wants)(&name)? {
            return (self.visit)(Item { name, label: None, bytes: read_file(path, max_bytes) });
        }
        ControlFlow::Continue(())
    }
}

impl Sources {
    /// The given inputs; a file of more than `max_file_bytes` is not read.
    pub fn new(inputs: impl IntoIterator<Item = impl Into<PathBuf>>, max_file_bytes: u64) -> Self {
        Self { inputs: inputs.into_iter().map(Into::into).collect(), max_file_bytes }
    }

    /// Reads everything, in order, until the end or until `visit` breaks.
    pub fn for_each(&self, visit: impl FnMut(Item) -> ControlFlow<()>) {
        self.for_each_wanted(|_| ControlFlow::Continue(true), visit);
    }

    /// The same for a part of the items. `wants` is asked for every item, in order, before a file is read; a member of an archive may
    /// have been read by then.
    pub fn for_each_wanted(
        &self,
        mut wants: impl FnMut(&ItemName) -> ControlFlow<(), bool>,
        mut visit: impl FnMut(Item) -> ControlFlow<()>,
    ) {
        let mut visitor = Visitor { wants: &mut wants, visit: &mut visit };
        for input in &self.inputs {
            let flow = match list::list_name(input) {
                Some(list) => self.visit_list(&list, &mut visitor),
                None => self.visit_path(input, &mut visitor),
            };
            if flow.is_break() {
                return;
            }
        }
    }

    fn visit_path(&self, path: &Path, visitor: &mut Visitor) -> ControlFlow<()> {
        match std::fs::metadata(path) {
            Err(error) => visitor.take(failed(path, read_error(&error))),
            Ok(metadata) if metadata.is_dir() => self.visit_folder(path, visitor),
            Ok(metadata) if metadata.is_file() => self.visit_file(path, visitor),
            Ok(_) => visitor.take(failed(path, not_regular())),
        }
    }

    fn visit_file(&self, path: &Path, visitor: &mut Visitor) -> ControlFlow<()> {
        if shard::is_shard(path) {
            return self.visit_shard(path, visitor);
        }
        #[cfg(feature = "parquet")]
        if table::is_table(path) {
            return self.visit_table(path, visitor);
        }
        visitor.take_file(path, self.max_file_bytes)
    }

    fn visit_folder(&self, folder: &Path, visitor: &mut Visitor) -> ControlFlow<()> {
        let mut num_entries = 0usize;
        for entry in walkdir::WalkDir::new(folder).min_depth(1).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => continue,
                Ok(entry) if entry.file_type().is_file() => self.visit_file(entry.path(), visitor)?,
                Ok(entry) => visitor.take(failed(entry.path(), not_regular()))?,
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_path_buf();
                    visitor.take(failed(&path, walk_error(error)))?;
                }
            }
            num_entries += 1;
        }
        if num_entries == 0 {
            let message = "the folder holds no files: name a folder that holds JPEG files, or the files themselves";
            visitor.take(failed(folder, source("empty-folder", message)))?;
        }
        ControlFlow::Continue(())
    }
}

/// Reads a file of at most `max_bytes`.
///
/// # Errors
/// [`ImageError::Source`] if it cannot be read; [`ImageError::OverLimit`], before anything is read where its size is known.
pub fn read_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, ImageError> {
    let file = File::open(path).map_err(|e| read_error(&e))?;
    let num_bytes = file.metadata().map_err(|e| read_error(&e))?.len();
    check_size(num_bytes, max_bytes)?;
    read_at_most(file, num_bytes, max_bytes)
}

/// Reads to the end; `expected_bytes` sizes the buffer, `max_bytes` bounds it.
fn read_at_most(reader: impl Read, expected_bytes: u64, max_bytes: u64) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::with_capacity(expected_bytes as usize);
    reader.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| read_error(&e))?;
    check_size(bytes.len() as u64, max_bytes)?;
    Ok(bytes)
}

fn check_size(value: u64, limit: u64) -> Result<(), ImageError> {
    if value > limit {
        Err(ImageError::OverLimit { name: "max_file_bytes", what: "the file's size in bytes", value, limit })
    } else {
        Ok(())
    }
}

fn source(code: &'static str, message: impl Into<String>) -> ImageError {
    ImageError::Source { code, message: message.into() }
}

fn not_regular() -> ImageError {
    source("io", "not a regular file: it is not opened; copy what it gives to a file")
}

fn failed(path: &Path, reason: ImageError) -> Item {
    Item { name: path.to_path_buf().into(), label: None, bytes: Err(reason) }
}

fn read_error(error: &io::Error) -> ImageError {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "no such file or folder: check the path".to_string(),
        io::ErrorKind::PermissionDenied => "no permission to read it: change its mode or your user".to_string(),
        _ => format!("cannot be read: {error}"),
    };
    source("io", message)
}

fn walk_error(error: walkdir::Error) -> ImageError {
    match error.loop_ancestor() {
        Some(ancestor) => source("io", format!("a link back to its own folder {}: not followed", ancestor.display())),
        None => read_error(&error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A named pipe that nobody writes to, a device that never ends; by themselves, in a list and in a folder.
    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("a.jpg");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo, which every Unix has");
        let list = dir.path().join("list");
        std::fs::write(&list, format!("{}\n/dev/zero\n", pipe.display())).unwrap();
        let refused = |inputs: &[&Path]| {
            let seen = names_and_results(&Sources::new(inputs.iter().copied(), 100));
            seen.into_iter().map(|(_, bytes)| bytes.map(|bytes| bytes.len())).collect::<Vec<_>>()
        };
        assert_eq!(refused(&[&pipe, Path::new("/dev/zero")]), [Err("io"), Err("io")]);
        assert_eq!(refused(&[Path::new(&format!("@{}", list.display()))]), [Err("io"), Err("io")]);
        assert_eq!(refused(&[dir.path()])[0], Err("io"));
    }

    fn names_and_results(sources: &Sources) -> Vec<(String, Result<Vec<u8>, &'static str>)> {
        let mut seen = Vec::new();
        sources.for_each(|item| {
            seen.push((item.name.to_string(), item.bytes.map_err(|e| e.code())));
            ControlFlow::Continue(())
        });
        seen
    }

    #[test]
    fn a_folder_gives_every_file_below_it_sorted() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("b")).unwrap();
        for (name, bytes) in [("c.jpg", b"3"), ("b/x.txt", b"2"), ("a.jpg", b"1")] {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let seen = names_and_results(&Sources::new([dir.path()], 100));
        let bytes: Vec<_> = seen.iter().map(|(_, bytes)| bytes.clone().unwrap()).collect();
        assert_eq!(bytes, [b"1", b"2", b"3"]);
        assert!(seen[1].0.ends_with("b/x.txt"), "{seen:?}");
    }

    #[test]
    fn what_cannot_be_read_is_an_item_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.jpg");
        std::fs::write(&file, b"bytes").unwrap();
        let empty = dir.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let inputs = [dir.path().join("absent.jpg"), empty, file];
        let results: Vec<_> =
            names_and_results(&Sources::new(inputs, 100)).into_iter().map(|(_, result)| result).collect();
        assert_eq!(results, [Err("io"), Err("empty-folder"), Ok(b"bytes".to_vec())]);
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.jpg");
        std::fs::write(&file, [0; 101]).unwrap();
        let expected =
            ImageError::OverLimit { name: "max_file_bytes", what: "the file's size in bytes", value: 101, limit: 100 };
        assert_eq!(read_file(&file, 100), Err(expected));
        assert_eq!(read_file(&file, 101).map(|bytes| bytes.len()), Ok(101));
        let endless = read_at_most(io::repeat(0), 0, 100).map_err(|e| e.code());
        assert_eq!(endless, Err("over-limit"));
    }

    #[test]
    fn breaking_ends_the_reading() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let mut num_seen = 0;
        Sources::new([dir.path(), dir.path()], 100).for_each(|_| {
            num_seen += 1;
            if num_seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(num_seen, 2);
    }

    #[test]
    fn what_is_not_wanted_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let mut seen = Vec::new();
        let second_on = |name: &ItemName| match name.path.file_name().and_then(|name| name.to_str()) {
            Some("a") => ControlFlow::Continue(false),
            Some("b") => ControlFlow::Continue(true),
            _ => ControlFlow::Break(()),
        };
        Sources::new([dir.path()], 100).for_each_wanted(second_on, |item| {
            seen.push(item.bytes.unwrap());
            ControlFlow::Continue(())
        });
        assert_eq!(seen, [b"b"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_that_loop_and_files_that_block_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let codes: Vec<_> = names_and_results(&Sources::new([dir.path()], 100)).into_iter().map(|(_, r)| r).collect();
        assert_eq!(codes, [Err("io"), Err("io")]);
    }
}
