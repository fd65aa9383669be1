//! `--out FILE`, `--resume`, `--shard I/N`: results in a file that is complete once it is there, an interrupted run that can be gone on
//! with, and work that several machines share.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use dctflow::files::replace_file;
use dctflow::sources::ItemName;
use dctflow::{Error, ErrorKind, Result};
use serde_json::{Map, Value};

use super::output::{Output, name_bytes, object_for};

/// Where results go, and of which inputs.
#[derive(Debug, Args)]
pub struct OutArgs {
    /// Write to FILE, which appears when it is complete; until then the lines are in FILE.partial.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Go on where an interrupted run with the same arguments stopped: images that have a line in FILE.partial are passed over. What
    /// answers depend on is kept in FILE.partial.json, and must be the same.
    #[arg(long, requires = "out")]
    resume: bool,
    /// Of every N images take only the I-th, counted from 1: N runs share the work.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
}

/// The `idx`-th (from 0) of `count` parts of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    idx: u64,
    count: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse::<u64>().ok()?, n.parse().ok()?)));
        match numbers {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Self { idx: number - 1, count }),
            _ => Err("say I/N, with I from 1 to N".into()),
        }
    }
}

/// What is still to be done: the images of the shard that have no line yet.
pub struct Selection {
    shard: Shard,
    num_seen: u64,
    earlier: Option<Earlier>,
    error: Option<Error>,
}

/// The lines of an interrupted run.
struct Earlier {
    path: PathBuf,
    lines: BufReader<File>,
    is_json: bool,
}

/// A file that gets its name when it is complete.
pub struct OutFile {
    file: File,
    partial: PathBuf,
    path: PathBuf,
    settings: PathBuf,
}

/// What a command begins with.
pub struct Begun {
    /// Where the lines go.
    pub out: Output,
    /// The file behind it, to be finished; none for standard output.
    pub file: Option<OutFile>,
    /// Which images are still to be done.
    pub selection: Selection,
    /// Lines that are there already, and how many of them are of images that failed.
    pub num_earlier: u64,
    /// See `num_earlier`.
    pub num_failed_earlier: u64,
}

impl OutArgs {
    /// Whether results go to a file.
    pub fn has_file(&self) -> bool {
        self.out.is_some()
    }

    /// Opens the output. `is_json` says what its lines are; `settings`, what they depend on besides the images.
    pub fn begin(&self, is_json: bool, mut settings: Map<String, Value>) -> Result<Begun> {
        let selection = Selection { shard: self.shard, num_seen: 0, earlier: None, error: None };
        let Some(path) = &self.out else {
            return Ok(Begun { out: Output::new(), file: None, selection, num_earlier: 0, num_failed_earlier: 0 });
        };
        let partial = with_suffix(path, ".partial");
        let io_error = |e| Error::io(&partial, e);
        let file = self.open(&partial)?;
        lock(&file, &partial)?;
        let (num_earlier, num_failed_earlier) = keep_whole_lines(&file, is_json).map_err(io_error)?;
        let lines = BufReader::new(File::open(&partial).map_err(io_error)?);
        settings.insert("json".into(), is_json.into());
        settings.insert("shard".into(), format!("{}/{}", self.shard.idx + 1, self.shard.count).into());
        let settings_path = with_suffix(&partial, ".json");
        match num_earlier {
            0 => replace_file(&settings_path, Value::Object(settings).to_string().as_bytes())?,
            _ => expect_settings(&settings_path, &settings)?,
        }
        let earlier = (num_earlier > 0).then(|| Earlier { path: partial.clone(), lines, is_json });
        let out = Output::to_file(file.try_clone().map_err(io_error)?, partial.clone());
        let file = Some(OutFile { file, partial, path: path.clone(), settings: settings_path });
        Ok(Begun { out, file, selection: Selection { earlier, ..selection }, num_earlier, num_failed_earlier })
    }

    fn open(&self, partial: &Path) -> Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        let opened =
            if self.resume { options.create(true).open(partial) } else { options.create_new(true).open(partial) };
        opened.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                let message = "an interrupted run left it: go on with --resume, or remove it to begin anew";
                Error::new(ErrorKind::Usage, message).with_path(partial)
            }
            _ => Error::io(partial, e),
        })
    }
}

/// Keeps the file for this run, until it ends. A second one would write its lines between those of the first.
///
/// A file system without locks does not keep anybody from writing to it; and on Windows a lock would keep this run from its own earlier lines.
fn lock(file: &File, partial: &Path) -> Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    let in_use = || {
        let message = "another run is writing it: wait for its end, or give this one another --out";
        Error::new(ErrorKind::Usage, message).with_path(partial)
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use()),
        Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => return Ok(()),
        Err(TryLockError::Error(e)) => return Err(Error::io(partial, e)),
    }
    // The other run may have come to its end between opening and locking: then this is its complete file, under another name.
    match std::fs::metadata(partial) {
        Ok(metadata) if is_same_file(&metadata, &file.metadata().map_err(|e| Error::io(partial, e))?) => Ok(()),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(partial, e)),
        _ => Err(in_use()),
    }
}

#[cfg(unix)]
fn is_same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Elsewhere a file that is open keeps its name.
#[cfg(not(unix))]
fn is_same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.to_path_buf();
    path.as_mut_os_string().push(suffix);
    path
}

/// Fails if an interrupted run had other settings.
fn expect_settings(path: &Path, settings: &Map<String, Value>) -> Result<()> {
    let text = std::fs::read(path).map_err(|e| {
        let message = "what the earlier lines depend on is not known: remove FILE.partial to begin anew";
        Error::new(ErrorKind::Usage, message).with_path(path).with_source(e)
    })?;
    let earlier: Map<String, Value> = serde_json::from_slice(&text).unwrap_or_default();
    match settings.iter().find(|&(name, value)| earlier.get(name) != Some(value)) {
        None => Ok(()),
        Some((name, value)) => {
            let had = earlier.get(name).unwrap_or(&Value::Null);
            let message = format!(
                "the interrupted run had another {name} ({had}, now {value}): resume with its arguments, or remove FILE.partial to begin anew"
            );
            Err(Error::new(ErrorKind::Usage, message).with_path(path))
        }
    }
}

/// Cuts off a last line that was not finished. Returns how many lines are left, and how many of these are of images that failed.
fn keep_whole_lines(file: &File, is_json: bool) -> io::Result<(u64, u64)> {
    let (mut num_lines, mut num_failed, mut end) = (0, 0, 0);
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let num_bytes = reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            break;
        }
        num_lines += 1;
        num_failed += u64::from(says_failed(&line, is_json));
        end += num_bytes as u64;
    }
    file.set_len(end)?;
    reader.seek(SeekFrom::End(0))?;
    Ok((num_lines, num_failed))
}

fn says_failed(line: &[u8], is_json: bool) -> bool {
    if is_json {
        let object: Option<serde_json::Value> = serde_json::from_slice(line).ok();
        return object.is_some_and(|object| object["status"] == "failed");
    }
    line.split(|&byte| byte == b'\t').nth(1).is_some_and(|status| status.starts_with(b"failed:"))
}

impl Selection {
    /// Whether an image is to be done. To be asked for all images, in order; `Break` says that an error ends it.
    pub fn wants(&mut self, name: &ItemName) -> ControlFlow<(), bool> {
        let is_in_shard = self.num_seen % self.shard.count == self.shard.idx;
        self.num_seen += 1;
        if !is_in_shard {
            return ControlFlow::Continue(false);
        }
        match self.has_line(name) {
            Ok(has_line) => ControlFlow::Continue(!has_line),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// To be called at the end: the earlier lines must have been those of these images.
    pub fn finish(mut self) -> Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match self.earlier.as_mut().map(Earlier::next_line).transpose()?.flatten() {
            Some(_) => Err(self.earlier.map_or_else(other_inputs, |earlier| other_inputs().with_path(earlier.path))),
            None => Ok(()),
        }
    }

    fn has_line(&mut self, name: &ItemName) -> Result<bool> {
        let Some(earlier) = &mut self.earlier else { return Ok(false) };
        let Some(line) = earlier.next_line()? else {
            self.earlier = None;
            return Ok(false);
        };
        if line.starts_with(&line_start(name, earlier.is_json)) {
            return Ok(true);
        }
        Err(other_inputs().with_path(&earlier.path))
    }
}

impl Earlier {
    fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.lines.read_until(b'\n', &mut line).map_err(|e| Error::io(&self.path, e))?;
        Ok((!line.is_empty()).then_some(line))
    }
}

/// What the line of an image begins with.
fn line_start(name: &ItemName, is_json: bool) -> Vec<u8> {
    if is_json {
        let object = serde_json::Value::Object(object_for(name)).to_string();
        return [object.trim_end_matches('}').as_bytes(), b","].concat();
    }
    [&name_bytes(name)[..], b"\t"].concat()
}

fn other_inputs() -> Error {
    let message = "its lines are not those of these inputs: resume with the arguments of the run that was interrupted, or remove it";
    Error::new(ErrorKind::Usage, message)
}

impl OutFile {
    /// The file is complete: it gets its name.
    pub fn finish(self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io(&self.partial, e))?;
        std::fs::rename(&self.partial, &self.path).map_err(|e| Error::io(&self.path, e))?;
        // Left behind, it would harm nobody: the next run writes it anew.
        let _ = std::fs::remove_file(&self.settings);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read() {
        assert_eq!("1/1".parse(), Ok(Shard { idx: 0, count: 1 }));
        assert_eq!("3/8".parse(), Ok(Shard { idx: 2, count: 8 }));
        for wrong in ["", "0/2", "3/2", "1", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_is_written_by_one_run_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.partial");
        let open = || OpenOptions::new().read(true).append(true).create(true).open(&path).unwrap();
        let first = open();
        lock(&first, &path).unwrap();
        let second = open();
        let error = lock(&second, &path).unwrap_err();
        assert!(error.kind() == ErrorKind::Usage && error.to_string().contains("another run"), "{error}");
        // The first one ends, and the file gets its name, before the second one has the lock.
        std::fs::rename(&path, dir.path().join("a")).unwrap();
        drop(first);
        assert_eq!(lock(&second, &path).unwrap_err().kind(), ErrorKind::Usage);
        lock(&open(), &path).unwrap();
    }

    #[test]
    fn lines_are_told_apart_by_their_whole_name() {
        let name = ItemName { path: "a\tb".into(), member: None };
        assert!(b"a\\tb\tcomplete".starts_with(&line_start(&name, false)[..]));
        assert!(!b"a\\tbc\tcomplete".starts_with(&line_start(&name, false)[..]));
        assert!(br#"{"path":"a\tb","status":"complete"}"#.starts_with(&line_start(&name, true)[..]));
        assert!(!br#"{"path":"a\tbc","status":"complete"}"#.starts_with(&line_start(&name, true)[..]));
    }

    #[test]
    fn an_unfinished_line_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        std::fs::write(&path, "a\tcomplete\nb\tfailed:io\nc\tcomp").unwrap();
        let file = OpenOptions::new().read(true).append(true).open(&path).unwrap();
        assert_eq!(keep_whole_lines(&file, false).unwrap(), (2, 1));
        assert_eq!(std::fs::read(&path).unwrap(), b"a\tcomplete\nb\tfailed:io\n");
    }
}
