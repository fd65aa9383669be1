//! Standard output: lines of text or of JSON, and names that may hold any byte.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use dctflow::jpeg::Status;
use dctflow::sources::ItemName;
use dctflow::{Error, ImageError, Result};
use serde_json::{Map, Value};

/// Buffered standard output, or a file in its place.
pub struct Output {
    out: BufWriter<Box<dyn Write>>,
    is_terminal: bool,
    name: PathBuf,
}

impl Output {
    pub fn new() -> Self {
        let stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        Self { out: BufWriter::new(Box::new(stdout)), is_terminal, name: "standard output".into() }
    }

    /// Writes to `file`, which is called `name`.
    pub fn to_file(file: File, name: PathBuf) -> Self {
        Self { out: BufWriter::new(Box::new(file)), is_terminal: false, name }
    }

    /// Writes bytes and a line's end; at a terminal at once.
    pub fn line(&mut self, line: impl AsRef<[u8]>) -> Result<()> {
        self.try_line(line.as_ref()).map_err(|e| Error::io(&self.name, e))
    }

    /// Writes one JSON object as one line.
    pub fn json(&mut self, object: Map<String, Value>) -> Result<()> {
        self.line(Value::Object(object).to_string())
    }

    /// Writes a value as one line of JSON.
    pub fn object(&mut self, value: &impl serde::Serialize) -> Result<()> {
        let line = serde_json::to_vec(value).map_err(|e| {
            Error::new(dctflow::ErrorKind::Internal, "a value that JSON cannot hold; please report it").with_source(e)
        })?;
        self.line(line)
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|e| Error::io(&self.name, e))
    }

    fn try_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.out.write_all(line)?;
        self.out.write_all(b"\n")?;
        if self.is_terminal { self.out.flush() } else { Ok(()) }
    }
}

/// Whether the reader of standard output has gone (`dctflow ... | head`): no failure, but a reason to stop.
pub fn is_closed_pipe(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
}

/// A name's own bytes, as one field of a line: line ends, tabs and backslashes in it are written as `\n`, `\r`, `\t` and `\\`, so that every
/// name can be had back.
pub fn name_bytes(name: &ItemName) -> Vec<u8> {
    let mut line = Vec::new();
    for byte in name.to_bytes() {
        match byte {
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            b'\\' => line.extend_from_slice(b"\\\\"),
            _ => line.push(byte),
        }
    }
    line
}

/// Starts an object about one image: `path`, and `path_hex` where the name is not UTF-8.
pub fn object_for(name: &ItemName) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("path".into(), name.to_string().into());
    let bytes = name.to_bytes();
    if std::str::from_utf8(&bytes).is_err() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        object.insert("path_hex".into(), hex.into());
    }
    object
}

/// Adds `status`, `reason`, `message` and `at_bytes`.
pub fn add_status(object: &mut Map<String, Value>, status: Status, reason: Option<&ImageError>) {
    object.insert("status".into(), status.name().into());
    object.insert("reason".into(), reason.map(ImageError::code).into());
    object.insert("message".into(), reason.map(ToString::to_string).into());
    object.insert("at_bytes".into(), reason.and_then(ImageError::at_bytes).into());
}

/// A 32-bit float with the digits that it needs and no more; null if it is not finite.
pub fn float(value: f32) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or(Value::Null)
}

/// A status as one word: `complete`, `partial` or `failed:REASON`.
pub fn status_word(status: Status, reason: Option<&ImageError>) -> String {
    match (status, reason) {
        (Status::Failed, Some(reason)) => format!("failed:{}", reason.code()),
        (status, _) => status.name().into(),
    }
}

/// A line on standard error; that it may be closed is no reason to stop.
pub fn say(message: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "dctflow: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_one_word() {
        let reason = ImageError::NonFiniteLogit;
        assert_eq!(status_word(Status::Complete, None), "complete");
        assert_eq!(status_word(Status::Partial, Some(&reason)), "partial");
        assert_eq!(status_word(Status::Failed, Some(&reason)), "failed:non-finite-logit");
    }

    #[test]
    fn floats_have_the_digits_they_need() {
        assert_eq!(float(0.1).to_string(), "0.1");
        assert_eq!(float(1e-5), json!(1e-5));
        assert_eq!(float(f32::INFINITY), Value::Null);
    }

    #[test]
    fn names_stay_one_field_of_one_line() {
        let name = ItemName { path: "a\nb\t.tar".into(), member: Some("c\\n.jpg".into()) };
        assert_eq!(name_bytes(&name), b"a\\nb\\t.tar:c\\\\n.jpg");
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_are_kept_in_hex() {
        use std::os::unix::ffi::OsStringExt;
        let path = std::ffi::OsString::from_vec(b"\xffa".to_vec());
        let object = object_for(&ItemName { path: path.into(), member: None });
        assert_eq!(object["path"], "\u{fffd}a");
        assert_eq!(object["path_hex"], "ff61");
        assert!(!object_for(&ItemName { path: "a".into(), member: None }).contains_key("path_hex"));
    }
}
