//! Two levels of error: [`ImageError`] says what is wrong with one JPEG and never fails a batch;
//! [`Error`] says why a call could not do its work, with a matchable [`ErrorKind`].

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The result of a call of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with one JPEG file: the reason of a `failed` or a `partial` outcome.
///
/// Byte offsets (`at_bytes`) count from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The bytes could not be had at all: no such file, no permission, a broken archive.
    #[error("{message}")]
    Source {
        /// A short stable identifier: `io`, `empty-folder`, `empty-list`, `bad-list`, `bad-archive`.
        code: &'static str,
        /// What happened and what to do, as a sentence without the path.
        message: String,
    },
    /// The file does not begin with the start-of-image marker FF D8, or it is empty.
    #[error("not a JPEG file: {what}")]
    NotJpeg {
        /// What is there instead.
        what: &'static str,
    },
    /// The bytes break a rule of T.81 so that nothing after them can be understood.
    #[error("malformed JPEG at byte {at_bytes}: {what}")]
    Malformed {
        /// Offset of the marker or byte at fault.
        at_bytes: u64,
        /// The rule that is broken, as a short phrase.
        what: &'static str,
    },
    /// A legal file of a kind that this library does not decode (lossless, hierarchical, more than four components).
    #[error("unsupported JPEG at byte {at_bytes}: {what}")]
    Unsupported {
        /// Offset of the marker that asks for it.
        at_bytes: u64,
        /// What is not supported.
        what: &'static str,
    },
    /// Entropy-coded data that cannot be right; what was decoded before it is kept.
    #[error("corrupt entropy-coded data at byte {at_bytes}: {what}")]
    Corrupt {
        /// Offset of the first byte that is known to be wrong (or where the data end too soon).
        at_bytes: u64,
        /// What was met there.
        what: CorruptKind,
    },
    /// A scan, or all scans of a component or a spectral band, that the frame promises was never sent.
    #[error("scans are missing: the file ends at byte {at_bytes} before every coefficient of every component was sent")]
    MissingScans {
        /// Offset of the end of what was read.
        at_bytes: u64,
    },
    /// A declared limit refuses the file before any memory is taken for it.
    #[error(
        "over the limit: {what} is {value}, at most {limit} allowed (if the file can be trusted, raise `{name}`: \
         `Limits::{name}`, --limit {name}=N)"
    )]
    OverLimit {
        /// The field of [`Limits`](crate::jpeg::Limits) that was met.
        name: &'static str,
        /// What is limited.
        what: &'static str,
        /// What the file asks for.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The coefficients are fine, but there is no way from them to the input of this network.
    #[error("no way to the network's input: {what}")]
    NoInput {
        /// Why not.
        what: &'static str,
    },
    /// The network answered with a value that is not a finite number.
    #[error("the network's answer is not finite")]
    NonFiniteLogit,
    /// A mistake of this library, met while it worked on this image; its batch mates are not harmed.
    #[error("a mistake of this library was met while it worked on this image; please report it with the file")]
    Internal,
}

impl ImageError {
    /// A short identifier for programs: it stays the same from version to version, whatever the sentence says.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Source { code, .. } => code,
            Self::NotJpeg { .. } => "not-a-jpeg",
            Self::Malformed { .. } => "malformed",
            Self::Unsupported { .. } => "unsupported",
            Self::Corrupt { what, .. } => what.code(),
            Self::MissingScans { .. } => "missing-scans",
            Self::OverLimit { .. } => "over-limit",
            Self::NoInput { .. } => "no-input",
            Self::NonFiniteLogit => "non-finite-logit",
            Self::Internal => "internal",
        }
    }

    /// Where in the file it was met, in bytes from its start, where that is known.
    pub fn at_bytes(&self) -> Option<u64> {
        match *self {
            Self::Malformed { at_bytes, .. }
            | Self::Unsupported { at_bytes, .. }
            | Self::Corrupt { at_bytes, .. }
            | Self::MissingScans { at_bytes } => Some(at_bytes),
            _ => None,
        }
    }
}

/// What is wrong with entropy-coded data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptKind {
    /// The data end (end of file, or a marker) before the scan is complete.
    #[error("the data end before the scan is complete")]
    Truncated,
    /// A bit pattern that is no code of the Huffman table in force.
    #[error("no code of the Huffman table matches")]
    BadCode,
    /// A restart marker is missing, or not the one expected.
    #[error("a restart marker is missing or out of order")]
    RestartMarker,
    /// More data than the scan needs.
    #[error("more data than the scan needs")]
    Excess,
    /// A run of zero coefficients passes the end of the block (arithmetic coding, refinement scans).
    #[error("a run of zero coefficients passes the end of the block")]
    BadRun,
}

impl CorruptKind {
    /// A short identifier for programs, as [`ImageError::code`].
    pub fn code(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::BadCode => "bad-code",
            Self::RestartMarker => "restart-marker",
            Self::Excess => "excess-data",
            Self::BadRun => "bad-run",
        }
    }
}

/// Why a call failed. Matchable; [`Error`] adds the sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or folder could not be read or written.
    Io,
    /// A weights file is missing, broken, or belongs to another network.
    Weights,
    /// An argument makes no sense; the message says which and what is allowed.
    Usage,
    /// No driver for the device asked for, or one too old.
    NoDriver,
    /// No device of the kind asked for.
    NoDevice,
    /// A library that was asked for is not on this machine, or is another version.
    NoLibrary,
    /// This build holds no kernels for the device.
    KernelsNotBuilt,
    /// The device, or the limits given, leave too little memory.
    OutOfMemory,
    /// The device reported an error; the session is unusable afterwards.
    Device,
    /// A mistake of this library; please report it.
    Internal,
}

/// Why a call failed: what, where, and what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error. `message` is a sentence without the path; say what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), path: None, source: None }
    }

    /// An input/output error on `path`, with what to do about the usual ones.
    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self {
            kind: ErrorKind::Io,
            message: match advice(source.kind()) {
                Some(advice) => format!("{source}: {advice}"),
                None => source.to_string(),
            },
            path: Some(path.into()),
            source: Some(Box::new(source)),
        }
    }

    /// The same error, naming the file it is about.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// The same error, with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file it is about, if it is about one.
    pub fn path(&self) -> Option<&std::path::Path> {
        self.path.as_deref()
    }
}

/// What to do about a failure to read or write.
fn advice(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::NotFound => Some("check the path"),
        io::ErrorKind::PermissionDenied => Some("change its mode, or run as a user who may"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some("make room, or name another place"),
        io::ErrorKind::IsADirectory => Some("name a file"),
        io::ErrorKind::NotADirectory => Some("a part of the path is a file: name a folder"),
        io::ErrorKind::ReadOnlyFilesystem => Some("name a place that can be written to"),
        io::ErrorKind::AlreadyExists => Some("name another file, or remove this one"),
        _ => None,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}
