//! A JPEG file as a list of parts, so that odd and broken files are made by editing the list.

use crate::jpeg::marker::code;

/// One piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A marker that stands alone: SOI, EOI, RSTm.
    Marker(u8),
    /// A marker segment; its length field is written from `payload`.
    Segment {
        /// The byte after FF.
        marker: u8,
        /// What follows the length field.
        payload: Vec<u8>,
    },
    /// An entropy-coded segment, stuffed already.
    Entropy(Vec<u8>),
    /// Bytes as they are: fill bytes, rubbish.
    Raw(Vec<u8>),
}

/// A file that can be edited part by part before it becomes bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JpegFile {
    /// In the order of the file.
    pub parts: Vec<Part>,
}

impl JpegFile {
    /// Appends a marker that stands alone.
    pub fn push_marker(&mut self, marker: u8) {
        self.parts.push(Part::Marker(marker));
    }

    /// Appends a marker segment.
    pub fn push_segment(&mut self, marker: u8, payload: impl Into<Vec<u8>>) {
        self.parts.push(Part::Segment { marker, payload: payload.into() });
    }

    /// Indices of the parts that carry `marker`, in order.
    pub fn find(&self, marker: u8) -> Vec<usize> {
        let carries = |part: &Part| match part {
            Part::Marker(carried) | Part::Segment { marker: carried, .. } => *carried == marker,
            _ => false,
        };
        (0..self.parts.len()).filter(|&i| carries(&self.parts[i])).collect()
    }

    /// Indices of the restart markers, in order.
    pub fn restarts(&self) -> Vec<usize> {
        let is_restart = |part: &Part| matches!(part, Part::Marker(code::RST0..=code::RST7));
        (0..self.parts.len()).filter(|&i| is_restart(&self.parts[i])).collect()
    }

    /// The payload of the `nth` segment with `marker`, to be changed; `None` if there are not so many.
    pub fn payload_mut(&mut self, marker: u8, nth: usize) -> Option<&mut Vec<u8>> {
        let part_idx = *self.find(marker).get(nth)?;
        match &mut self.parts[part_idx] {
            Part::Segment { payload, .. } => Some(payload),
            _ => None,
        }
    }

    /// The file. A payload over 65,533 bytes keeps only the low 16 bits of its length field.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            match part {
                Part::Marker(marker) => bytes.extend([0xFF, *marker]),
                Part::Segment { marker, payload } => {
                    bytes.extend([0xFF, *marker]);
                    bytes.extend((payload.len() as u16).wrapping_add(2).to_be_bytes());
                    bytes.extend(payload);
                }
                Part::Entropy(data) | Part::Raw(data) => bytes.extend(data),
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_parts_in_order() {
        let mut file = JpegFile::default();
        file.push_marker(code::SOI);
        file.push_segment(code::COM, *b"hi");
        file.parts.push(Part::Raw(vec![0xFF]));
        file.push_marker(code::EOI);
        assert_eq!(file.to_bytes(), [0xFF, 0xD8, 0xFF, 0xFE, 0, 4, b'h', b'i', 0xFF, 0xFF, 0xD9]);
        assert_eq!(file.find(code::COM), [1]);
        assert_eq!(file.payload_mut(code::COM, 0), Some(&mut b"hi".to_vec()));
        assert_eq!(file.payload_mut(code::COM, 1), None);
    }
}
