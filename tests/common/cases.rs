//! The cases that every engine must get right.

use dctflow::jpeg::{Coefficients, Status};

use super::compare::first_difference;
use super::engines::Engine;
use super::{matrix, oracle};

/// One file, and what is known of it.
pub struct Case {
    /// What the file is.
    pub name: String,
    pub bytes: Vec<u8>,
    /// What an undamaged file carries; none where only libjpeg can say.
    pub written: Option<Coefficients>,
}

impl Case {
    /// An undamaged file: it must be read as what was written.
    pub fn sound(name: impl Into<String>, bytes: Vec<u8>, written: Coefficients) -> Self {
        Self { name: name.into(), bytes, written: Some(written) }
    }

    /// Any file: where libjpeg reads it without a warning, it must be read as libjpeg reads it.
    pub fn judged_by_libjpeg(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { name: name.into(), bytes, written: None }
    }

    /// What `engine` gets wrong; `None` if nothing.
    pub fn check(&self, engine: &dyn Engine) -> Option<String> {
        let fault = self.fault(engine)?;
        Some(format!("{}: {}: {fault}", engine.name(), self.name))
    }

    fn fault(&self, engine: &dyn Engine) -> Option<String> {
        let decoded = engine.decode(&self.bytes);
        let planes = decoded.coefficients.as_ref().map_or(&[][..], |c| &c.planes);
        if let Some(written) = &self.written {
            if decoded.report.status != Status::Complete {
                return Some(format!("a sound file is {:?}", decoded.report));
            }
            let Some(read) = &decoded.coefficients else { return Some("complete without coefficients".into()) };
            if (&read.frame, read.color, read.orientation) != (&written.frame, written.color, written.orientation) {
                return Some(format!("{:?} is not {:?}", read.frame, written.frame));
            }
            return first_difference(planes, &written.planes);
        }
        let reading = oracle::read(&self.bytes).ok().filter(|reading| reading.num_warnings == 0)?;
        let difference = first_difference(planes, &reading.planes)?;
        Some(format!("{difference} (which libjpeg reads without a warning); {:?}", decoded.report))
    }
}

/// The files of the matrix.
pub fn matrix_case(point: &matrix::Point) -> Case {
    let (image, file) = point.build();
    let written = (!point.has_damaged_restarts()).then_some(image);
    Case { name: point.name.clone(), bytes: file.to_bytes(), written }
}
