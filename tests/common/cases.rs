//! The cases that every engine must get right.

use dctflow::ImageError;
use dctflow::cpu::Decoded;
use dctflow::jpeg::{Coefficients, EntropyCoding, Header, Limits, Plane, Process, Status};

use super::compare::first_difference;
use super::engines::Engine;
use super::{matrix, oracle};

/// One file, and what is known of it.
pub struct Case {
    /// What the file is.
    pub name: String,
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

/// What a decoder must read.
pub enum Expected {
    /// These coefficients, with status complete; and libjpeg, if it reads the file without a warning, reads them too.
    Written(Box<Coefficients>),
    /// What libjpeg reads, and it reads the file without a warning.
    AsLibjpeg,
    /// What libjpeg reads, if it does so without a warning.
    AsLibjpegIfClean,
}

/// What came of one case on one engine.
pub enum Verdict {
    Right,
    /// libjpeg has its doubts about the file: nothing to compare with.
    Unjudged,
    Wrong(String),
}

impl Case {
    pub fn new(name: impl Into<String>, bytes: Vec<u8>, expected: Expected) -> Self {
        Self { name: name.into(), bytes, expected }
    }

    /// An undamaged file: it must be read as what was written.
    pub fn sound(name: impl Into<String>, bytes: Vec<u8>, written: Coefficients) -> Self {
        Self::new(name, bytes, Expected::Written(Box::new(written)))
    }

    /// A function of its name.
    pub fn hash(&self) -> u64 {
        let hash = self.name.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        hash ^ hash >> 32
    }

    /// What these engines make of it, one verdict each.
    pub fn check<'a>(&self, engines: impl Iterator<Item = &'a dyn Engine>) -> Vec<Verdict> {
        let references = References {
            by_cpu: dctflow::cpu::decode(&self.bytes, &Limits::default()),
            by_libjpeg: oracle::read(&self.bytes),
        };
        let verdict = |engine: &dyn Engine| match self.judge(engine, &references) {
            Ok(true) => Verdict::Right,
            Ok(false) => Verdict::Unjudged,
            Err(fault) => Verdict::Wrong(format!("{}: {}: {fault}", engine.name(), self.name)),
        };
        engines.map(verdict).collect()
    }

    /// Whether there was something to compare with; or what is wrong.
    fn judge(&self, engine: &dyn Engine, references: &References) -> Result<bool, String> {
        let decoded = engine.decode(&self.bytes);
        agrees_with_cpu(&decoded, &references.by_cpu)?;
        let planes = decoded.coefficients.as_ref().map_or(&[][..], |c| &c.planes);
        if let Expected::Written(written) = &self.expected {
            if decoded.report.status != Status::Complete {
                return Err(format!("a sound file is {:?}", decoded.report));
            }
            let read = decoded.coefficients.as_ref().ok_or("complete without coefficients")?;
            if (&read.frame, read.color, read.orientation) != (&written.frame, written.color, written.orientation) {
                return Err(format!("{:?} is not {:?}", read.frame, written.frame));
            }
            difference(planes, &written.planes)?;
        }
        let reading = &references.by_libjpeg;
        if let (Expected::AsLibjpeg, Err(error)) = (&self.expected, reading) {
            return Err(format!("libjpeg refuses it: {error}"));
        }
        match reading.as_ref().ok().filter(|reading| reading.num_warnings == 0) {
            // Damage may ask for more than the limits allow; sound files never do.
            Some(_) if is_over_limit(&decoded) && matches!(self.expected, Expected::AsLibjpegIfClean) => Ok(false),
            Some(_) if is_exception(&self.bytes) => Ok(false),
            Some(reading) => {
                let fault = |d| format!("{d} (libjpeg has no warning); {:?}", decoded.report);
                difference(planes, &reading.planes).map_err(fault)?;
                Ok(true)
            }
            None if matches!(self.expected, Expected::AsLibjpeg) => Err("libjpeg warns".into()),
            None => Ok(matches!(self.expected, Expected::Written(_))),
        }
    }
}

/// What others make of a case's file.
struct References {
    by_cpu: Decoded,
    by_libjpeg: Result<oracle::Reading, String>,
}

/// All backends give the same, damaged files included: report and coefficients, padding blocks too.
pub fn agrees_with_cpu(decoded: &Decoded, by_cpu: &Decoded) -> Result<(), String> {
    if decoded == by_cpu {
        return Ok(());
    }
    if decoded.report != by_cpu.report {
        return Err(format!("{:?} is not the CPU's {:?}", decoded.report, by_cpu.report));
    }
    let planes = |decoded: &Decoded| decoded.coefficients.clone().map(|c| c.planes).unwrap_or_default();
    difference(&planes(decoded), &planes(by_cpu)).map_err(|d| format!("{d} (the CPU has it the other way)"))?;
    Err("padding, tables or metadata are not the CPU's".into())
}

fn is_over_limit(decoded: &Decoded) -> bool {
    matches!(decoded.report.reason, Some(ImageError::OverLimit { .. }))
}

/// The exceptions of the contract:
/// a component that two sequential scans send (libjpeg writes the second over the first without clearing it), and `FF FF 00` in
/// sequential Huffman data (libjpeg begins the MCU anew and leaves what its first attempt wrote).
fn is_exception(bytes: &[u8]) -> bool {
    let Ok(header) = Header::parse(bytes, &Limits::default()) else { return false };
    if header.frame.process == Process::Progressive {
        return false;
    }
    let mut scans = header.scans(bytes);
    let mut num_sent = [0; 4];
    while let Some(Ok(scan)) = scans.next() {
        scan.components.iter().for_each(|component| num_sent[component.component_idx] += 1);
    }
    let is_huffman = header.frame.coding == EntropyCoding::Huffman;
    let has_fill_before_zero = is_huffman && bytes.windows(3).any(|window| window == [0xFF, 0xFF, 0x00]);
    has_fill_before_zero || num_sent.iter().any(|&n| n > 1)
}

fn difference(actual: &[Plane], expected: &[Plane]) -> Result<(), String> {
    first_difference(actual, expected).map_or(Ok(()), Err)
}

/// The files of the matrix.
pub fn matrix_case(point: &matrix::Point) -> Case {
    let (image, file) = point.build();
    let expected = match point.has_damaged_restarts() {
        true => Expected::AsLibjpegIfClean,
        false => Expected::Written(Box::new(image)),
    };
    Case::new(point.name.clone(), file.to_bytes(), expected)
}
