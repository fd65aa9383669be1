//! Marker codes (T.81 Table B.1), and the one routine that finds the next of them.

/// Second bytes of markers, by their names in T.81 Table B.1.
pub mod code {
    #![allow(missing_docs)] // T.81 Table B.1 is the documentation.
    pub const TEM: u8 = 0x01;
    pub const SOF0: u8 = 0xC0;
    pub const SOF1: u8 = 0xC1;
    pub const SOF2: u8 = 0xC2;
    pub const DHT: u8 = 0xC4;
    pub const JPG: u8 = 0xC8;
    pub const SOF9: u8 = 0xC9;
    pub const SOF10: u8 = 0xCA;
    pub const DAC: u8 = 0xCC;
    pub const SOF15: u8 = 0xCF;
    pub const RST0: u8 = 0xD0;
    pub const RST7: u8 = 0xD7;
    pub const SOI: u8 = 0xD8;
    pub const EOI: u8 = 0xD9;
    pub const SOS: u8 = 0xDA;
    pub const DQT: u8 = 0xDB;
    pub const DNL: u8 = 0xDC;
    pub const DRI: u8 = 0xDD;
    pub const DHP: u8 = 0xDE;
    pub const EXP: u8 = 0xDF;
    pub const APP0: u8 = 0xE0;
    pub const APP1: u8 = 0xE1;
    pub const APP14: u8 = 0xEE;
    pub const APP15: u8 = 0xEF;
    pub const COM: u8 = 0xFE;
}

/// `FF xx` as it stands in the file, fill bytes (T.81 B.1.1.2) included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Offset of the first FF.
    pub at: usize,
    /// xx: never FF; 0 is a stuffed zero (T.81 B.1.1.5).
    pub code: u8,
    /// Offset of the byte after xx.
    pub end: usize,
}

/// The next `FF xx` at or after `from`, whatever xx is; repeated FF count as one (fill bytes). `None` at the end of the file,
/// also where it ends in FF.
pub fn next_ff(bytes: &[u8], from: usize) -> Option<Marker> {
    let at = from + memchr::memchr(0xFF, bytes.get(from..)?)?;
    let run_bytes = bytes[at..].iter().take_while(|&&b| b == 0xFF).count();
    let code = *bytes.get(at + run_bytes)?;
    Some(Marker { at, code, end: at + run_bytes + 1 })
}

/// The next marker proper at or after `from`: stuffed zeros and bytes outside markers are passed over.
pub fn next_marker(bytes: &[u8], mut from: usize) -> Option<Marker> {
    loop {
        let marker = next_ff(bytes, from)?;
        if marker.code != 0 {
            return Some(marker);
        }
        from = marker.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_bytes_belong_to_the_marker() {
        let bytes = [1, 0xFF, 0xFF, 0xFF, 0xD9, 2];
        assert_eq!(next_ff(&bytes, 0), Some(Marker { at: 1, code: 0xD9, end: 5 }));
    }

    #[test]
    fn stuffed_zeros_are_no_markers() {
        let bytes = [0xFF, 0, 7, 0xFF, 0xC4];
        assert_eq!(next_ff(&bytes, 0).map(|m| m.code), Some(0));
        assert_eq!(next_marker(&bytes, 0), Some(Marker { at: 3, code: 0xC4, end: 5 }));
    }

    #[test]
    fn the_end_of_the_file_is_no_marker() {
        assert_eq!(next_marker(&[1, 2, 0xFF, 0xFF], 0), None);
        assert_eq!(next_marker(&[1, 2], 9), None);
    }
}
