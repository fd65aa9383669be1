//! Tar shards: archives of images, with or without their labels beside them.

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::Path;

use super::{Item, ItemName, Sources, Visit, check_size, failed, read_at_most, read_error, source};
use crate::error::ImageError;

/// What every JPEG file begins with (T.81 B.1.1.3).
const START_OF_IMAGE: [u8; 2] = [0xFF, 0xD8];

/// Whether a file is opened as a shard: by its name.
pub(super) fn is_shard(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

impl Sources {
    /// Visits the images of one archive in their order. After what cannot be read, the rest of the archive cannot be found.
    pub(super) fn visit_shard(&self, path: &Path, visit: &mut Visit) -> ControlFlow<()> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return visit(failed(path, read_error(&error))),
        };
        let mut archive = tar::Archive::new(BufReader::new(file));
        let entries = match archive.entries() {
            Ok(entries) => entries,
            Err(error) => return visit(failed(path, broken(0, &error))),
        };
        let mut num_images = 0usize;
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return visit(failed(path, broken(num_images, &error))),
            };
            if let Some(item) = self.read_member(path, entry) {
                num_images += 1;
                visit(item)?;
            }
        }
        if num_images == 0 {
            visit(failed(path, source("bad-archive", "the archive holds no JPEG: check that it is the right file")))?;
        }
        ControlFlow::Continue(())
    }

    /// `None` for what is not an image: folders, links, labels.
    fn read_member(&self, archive: &Path, entry: tar::Entry<impl std::io::Read>) -> Option<Item> {
        if !entry.header().entry_type().is_file() {
            return None;
        }
        let member = entry.path().ok()?.into_owned();
        let num_bytes = entry.size();
        let bytes = check_size(num_bytes, self.max_file_bytes)
            .and_then(|()| read_at_most(entry, num_bytes, self.max_file_bytes))
            .and_then(|bytes| if (bytes.len() as u64) < num_bytes { Err(cut_short()) } else { Ok(bytes) });
        let begins_like_one = bytes.as_ref().is_ok_and(|bytes| bytes.starts_with(&START_OF_IMAGE));
        let is_image = begins_like_one || is_named_jpeg(&member);
        is_image.then(|| Item { name: ItemName { path: archive.to_path_buf(), member: Some(member) }, bytes })
    }
}

fn is_named_jpeg(member: &Path) -> bool {
    let Some(extension) = member.extension() else { return false };
    ["jpg", "jpeg", "jpe", "jfif"].iter().any(|name| extension.eq_ignore_ascii_case(name))
}

fn broken(num_images: usize, error: &std::io::Error) -> ImageError {
    source(
        "bad-archive",
        format!("the archive is broken after {num_images} images ({error}): make it again, or unpack it"),
    )
}

fn cut_short() -> ImageError {
    source("bad-archive", "the archive ends in the middle of this file: copy it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = b"\xff\xd8rest";

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn visit(bytes: &[u8]) -> Vec<(String, Result<usize, &'static str>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.tar");
        std::fs::write(&path, bytes).unwrap();
        let mut seen = Vec::new();
        Sources::new([&path], 1 << 20).for_each(|item| {
            let name = item.name.member.map_or("s.tar".into(), |m| m.display().to_string());
            seen.push((name, item.bytes.map(|b| b.len()).map_err(|e| e.code())));
            ControlFlow::Continue(())
        });
        seen
    }

    #[test]
    fn images_come_in_order_and_labels_are_passed_over() {
        let bytes = archive(&[("b.jpg", JPEG), ("b.cls", b"7"), ("a/odd", JPEG), ("c.JPEG", b"")]);
        let expected = [("b.jpg".to_string(), Ok(6)), ("a/odd".into(), Ok(6)), ("c.JPEG".into(), Ok(0))];
        assert_eq!(visit(&bytes), expected);
    }

    #[test]
    fn a_broken_archive_gives_what_it_has_and_a_reason() {
        let bytes = archive(&[("a.jpg", JPEG), ("b.jpg", &[0xff; 3000])]);
        let cut = visit(&bytes[..1024 + 512 + 700]);
        let broken = Err("bad-archive");
        assert_eq!(cut, [("a.jpg".to_string(), Ok(6)), ("b.jpg".into(), broken), ("s.tar".into(), broken)]);
        assert_eq!(visit(&[1; 2000]), [("s.tar".to_string(), Err("bad-archive"))]);
        assert_eq!(visit(&[]), [("s.tar".to_string(), Err("bad-archive"))]);
    }
}
