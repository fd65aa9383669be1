//! Tar shards: archives of images, with or without their labels beside them.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{Item, ItemName, Sources, Visitor, check_size, failed, read_at_most, read_error, source};
use crate::error::ImageError;

/// What every JPEG file begins with (T.81 B.1.1.3).
const START_OF_IMAGE: [u8; 2] = [0xFF, 0xD8];

/// The longest text that is read as a label.
const MAX_LABEL_BYTES: u64 = 32;

/// What may stand before a member to describe it: long names, PAX records, the pieces of a sparse file. The reader of archives keeps them in
/// memory, whatever length they claim.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// What a member is taken for an image by, whatever its bytes are.
const JPEG_EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "jpe", "jfif"];

/// Whether a file is opened as a shard: by its name.
pub(super) fn is_shard(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

/// What a member of an archive is good for.
enum Member {
    Image(Item),
    Label(i64),
    Other,
}

/// The sample that is being read: neighbours that share a key are one image and what is known of it.
#[derive(Default)]
struct Sample {
    key: PathBuf,
    label: Option<i64>,
    /// Waits for its label, until the next key.
    image: Option<Item>,
}

impl Sample {
    /// The image, with the label that was found.
    fn take_image(&mut self) -> Option<Item> {
        let label = self.label;
        self.image.take().map(|image| Item { label, ..image })
    }
}

/// An archive's file. No more is read from it than `bytes_left`, so that headers have a bound; and members are passed over by seeking, within
/// what there is.
struct ArchiveFile<'a> {
    file: BufReader<File>,
    len_bytes: u64,
    position: u64,
    bytes_left: &'a Cell<u64>,
}

impl Read for ArchiveFile<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let max_bytes = usize::try_from(self.bytes_left.get()).unwrap_or(usize::MAX).min(bytes.len());
        if max_bytes == 0 && !bytes.is_empty() {
            return Err(io::Error::other(format!("a member's headers are longer than {MAX_HEADER_BYTES} bytes")));
        }
        let num_bytes = self.file.read(&mut bytes[..max_bytes])?;
        self.bytes_left.set(self.bytes_left.get() - num_bytes as u64);
        self.position += num_bytes as u64;
        Ok(num_bytes)
    }
}

impl Seek for ArchiveFile<'_> {
    /// Forward from where it is: nothing else is asked for.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Current(distance @ 0..) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        let position = self.position.saturating_add(distance as u64);
        if position > self.len_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.seek_relative(distance)?;
        self.position = position;
        Ok(position)
    }
}

impl Sources {
    /// Visits the images of one archive in their order. After what cannot be read, the rest of the archive cannot be found.
    pub(super) fn visit_shard(&self, path: &Path, visitor: &mut Visitor) -> ControlFlow<()> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len_bytes, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return visitor.take(failed(path, read_error(&error))),
        };
        let bytes_left = Cell::new(MAX_HEADER_BYTES);
        let file = ArchiveFile { file: BufReader::new(file), len_bytes, position: 0, bytes_left: &bytes_left };
        let mut archive = tar::Archive::new(file);
        let mut num_images = 0usize;
        let mut sample = Sample::default();
        let entries = match archive.entries_with_seek() {
            Ok(entries) => entries,
            Err(error) => return visitor.take(failed(path, broken(0, &error))),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    sample.take_image().map_or(ControlFlow::Continue(()), |image| visitor.take(image))?;
                    return visitor.take(failed(path, broken(num_images, &error)));
                }
            };
            bytes_left.set(MAX_HEADER_BYTES);
            let Ok(name) = entry.path().map(|name| name.into_owned()) else { continue };
            let key = sample_key(&name);
            if key != sample.key {
                sample.take_image().map_or(ControlFlow::Continue(()), |image| visitor.take(image))?;
                sample = Sample { key, ..Sample::default() };
            }
            bytes_left.set(u64::MAX);
            let member = self.read_member(path, name, entry, len_bytes);
            bytes_left.set(MAX_HEADER_BYTES);
            match member {
                Member::Image(image) => {
                    num_images += 1;
                    sample.take_image().map_or(ControlFlow::Continue(()), |image| visitor.take(image))?;
                    sample.image = Some(image);
                }
                Member::Label(label) => sample.label = Some(label),
                Member::Other => {}
            }
        }
        sample.take_image().map_or(ControlFlow::Continue(()), |image| visitor.take(image))?;
        if num_images == 0 {
            visitor.take(failed(
                path,
                source("bad-archive", "the archive holds no JPEG: check that it is the right file"),
            ))?;
        }
        ControlFlow::Continue(())
    }

    fn read_member(&self, archive: &Path, member: PathBuf, entry: tar::Entry<impl Read>, archive_bytes: u64) -> Member {
        let kind = entry.header().entry_type();
        let refused = |member: PathBuf, message: &str| {
            let name = ItemName { path: archive.to_path_buf(), member: Some(member) };
            Member::Image(Item { name, label: None, bytes: Err(source("bad-archive", message)) })
        };
        if kind.is_gnu_sparse() {
            // Its holes are not in the archive: some hundred bytes would stand for any length. No JPEG has holes.
            return refused(member, "a sparse file: it is not expanded; archive it without --sparse");
        }
        if (kind.is_hard_link() || kind.is_symlink()) && has_extension(&member, &JPEG_EXTENSIONS) {
            return refused(member, "a link inside of the archive: it is not followed; archive the file itself");
        }
        if !(kind.is_file() || kind.is_contiguous()) {
            return Member::Other;
        }
        let num_bytes = entry.size();
        if has_extension(&member, &["cls"]) {
            return read_label(entry).map_or(Member::Other, Member::Label);
        }
        let bytes = check_size(num_bytes, self.max_file_bytes)
            .and_then(|()| read_at_most(entry, num_bytes.min(archive_bytes), self.max_file_bytes))
            .and_then(|bytes| if (bytes.len() as u64) < num_bytes { Err(cut_short()) } else { Ok(bytes) });
        let begins_like_one = bytes.as_ref().is_ok_and(|bytes| bytes.starts_with(&START_OF_IMAGE));
        if begins_like_one || has_extension(&member, &JPEG_EXTENSIONS) {
            let name = ItemName { path: archive.to_path_buf(), member: Some(member) };
            return Member::Image(Item { name, label: None, bytes });
        }
        Member::Other
    }
}

/// The part of a member's name that its sample shares: up to the first dot of the file name.
fn sample_key(member: &Path) -> PathBuf {
    let name = member.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    member.with_file_name(name.split('.').next().unwrap_or_default())
}

/// A class number in decimal digits.
fn read_label(entry: impl Read) -> Option<i64> {
    let mut text = String::new();
    entry.take(MAX_LABEL_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn has_extension(member: &Path, extensions: &[&str]) -> bool {
    let Some(extension) = member.extension() else { return false };
    extensions.iter().any(|name| extension.eq_ignore_ascii_case(name))
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
    fn labels_stand_beside_their_images() {
        let members: [(&str, &[u8]); 7] = [
            ("t/a.cls", b"7\n"),
            ("t/a.jpg", JPEG),
            ("t/b.jpg", JPEG),
            ("t/b.json", b"{}"),
            ("t/b.cls", b"8"),
            ("t/c.jpg", JPEG),
            ("u/c.cls", b"9"),
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.tar");
        std::fs::write(&path, archive(&members)).unwrap();
        let mut labels = Vec::new();
        Sources::new([&path], 1 << 20).for_each(|item| {
            labels.push(item.label);
            ControlFlow::Continue(())
        });
        assert_eq!(labels, [Some(7), Some(8), None]);
    }

    /// A header of this kind, for so many bytes.
    fn header(kind: tar::EntryType, len_bytes: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(len_bytes);
        header.set_path("x").unwrap();
        header.set_cksum();
        header
    }

    /// Three headers that stand for any number of bytes.
    #[test]
    fn sparse_members_are_refused() {
        let mut sparse = header(tar::EntryType::GNUSparse, 512);
        let gnu = sparse.as_gnu_mut().unwrap();
        gnu.name[..5].copy_from_slice(b"a.jpg");
        gnu.set_real_size(1 << 19);
        gnu.sparse[0].set_offset((1 << 19) - 512);
        gnu.sparse[0].set_length(512);
        sparse.set_cksum();
        let bytes = [sparse.as_bytes(), &[0xFF; 512][..], &archive(&[("b.jpg", JPEG)])].concat();
        assert_eq!(visit(&bytes), [("a.jpg".to_string(), Err("bad-archive")), ("b.jpg".into(), Ok(6))]);
    }

    #[test]
    fn what_stands_before_a_member_is_bounded() {
        for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
            let with_header_of = |len_bytes: usize| {
                let text = match kind {
                    tar::EntryType::XHeader => {
                        let begin = format!("{len_bytes} comment=");
                        let comment = "a".repeat(len_bytes - begin.len() - 1);
                        format!("{begin}{comment}\n").into_bytes()
                    }
                    _ => [&b"long/".repeat(len_bytes)[..len_bytes - 1], &[0]].concat(),
                };
                let padding = vec![0; len_bytes.next_multiple_of(512) - text.len()];
                let header = header(kind, text.len() as u64);
                [header.as_bytes(), &text[..], &padding, &archive(&[("b.jpg", JPEG)])].concat()
            };
            let last = |len_bytes: usize| visit(&with_header_of(len_bytes)).pop().unwrap().1;
            assert_eq!(last(MAX_HEADER_BYTES as usize - 2048), Ok(6), "{kind:?}");
            assert_eq!(last(MAX_HEADER_BYTES as usize), Err("bad-archive"), "{kind:?}");
        }
    }

    /// Members that are passed over are not read, and an end among them is noticed all the same.
    #[test]
    fn an_archive_that_ends_in_a_member_of_no_interest_is_broken() {
        let bytes = archive(&[("a.jpg", JPEG), ("b.cls", &[b'1'; 3000])]);
        assert_eq!(visit(&bytes), [("a.jpg".to_string(), Ok(6))]);
        let cut = visit(&bytes[..1024 + 512 + 700]);
        assert_eq!(cut, [("a.jpg".to_string(), Ok(6)), ("s.tar".into(), Err("bad-archive"))]);
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
