//! What application markers say about the image: JFIF, Adobe, EXIF orientation, and the colour model that follows.

use super::frame::{ColorModel, Component, Orientation};

/// The facts of a JFIF APP0 segment (JFIF 1.02).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jfif {
    /// Major and minor version.
    pub version: (u8, u8),
    /// 0 aspect ratio only, 1 dots per inch, 2 dots per centimetre.
    pub density_unit: u8,
    /// Horizontal and vertical density.
    pub density: (u16, u16),
}

/// The facts of an Adobe APP14 segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adobe {
    /// 0: RGB or CMYK; 1: YCbCr; 2: YCCK.
    pub transform: u8,
}

/// What the markers before the first scan say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The last JFIF segment.
    pub jfif: Option<Jfif>,
    /// The last Adobe segment.
    pub adobe: Option<Adobe>,
    /// EXIF's orientation, from the first EXIF segment that has a valid one.
    pub exif_orientation: Option<Orientation>,
    /// Number of APPn segments.
    pub num_app_segments: u32,
    /// Number of comments.
    pub num_comments: u32,
}

impl Metadata {
    /// Reads APP0: `payload` is what follows the length.
    pub(super) fn read_app0(&mut self, payload: &[u8]) {
        if let Some([b'J', b'F', b'I', b'F', 0, major, minor, unit, x1, x0, y1, y0, _, _]) = payload.first_chunk::<14>()
        {
            let density = (u16::from_be_bytes([*x1, *x0]), u16::from_be_bytes([*y1, *y0]));
            self.jfif = Some(Jfif { version: (*major, *minor), density_unit: *unit, density });
        }
    }

    /// Reads APP1, if it is EXIF.
    pub(super) fn read_app1(&mut self, payload: &[u8]) {
        if self.exif_orientation.is_none() {
            self.exif_orientation = payload.strip_prefix(b"Exif\0\0").and_then(tiff_orientation);
        }
    }

    /// Reads APP14, if it is Adobe's.
    pub(super) fn read_app14(&mut self, payload: &[u8]) {
        if let Some([b'A', b'd', b'o', b'b', b'e', .., transform]) = payload.first_chunk::<12>() {
            self.adobe = Some(Adobe { transform: *transform });
        }
    }

    /// What the components mean, guessed as libjpeg guesses it.
    pub fn color_model(&self, components: &[Component]) -> ColorModel {
        let inverted = self.adobe.is_some();
        match (components, self.adobe) {
            ([_], _) => ColorModel::Gray,
            ([_, _, _], _) if self.jfif.is_some() => ColorModel::YCbCr,
            ([_, _, _], Some(Adobe { transform: 0 })) => ColorModel::Rgb,
            ([_, _, _], Some(_)) => ColorModel::YCbCr,
            ([r, g, b], None) if [r.id, g.id, b.id] == *b"RGB" => ColorModel::Rgb,
            ([_, _, _], None) => ColorModel::YCbCr,
            ([_, _, _, _], None | Some(Adobe { transform: 0 })) => ColorModel::Cmyk { inverted },
            ([_, _, _, _], Some(_)) => ColorModel::Ycck { inverted },
            _ => ColorModel::Unknown,
        }
    }
}

/// Tag 0x0112 of the first directory of a TIFF header (TIFF 6.0 section 2; EXIF 2.3 section 4.6.4). Bounded: at most 65,535 entries
/// of the segment itself are looked at.
fn tiff_orientation(tiff: &[u8]) -> Option<Orientation> {
    const ORIENTATION: u16 = 0x0112;
    const SHORT: u16 = 3;
    let little_endian = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let pair = *tiff.get(at..)?.first_chunk::<2>()?;
        Some(if little_endian { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) })
    };
    let directory = {
        let quad = *tiff.get(4..)?.first_chunk::<4>()?;
        (if little_endian { u32::from_le_bytes(quad) } else { u32::from_be_bytes(quad) }) as usize
    };
    let num_entries = usize::from(u16_at(directory)?);
    let entry = (0..num_entries)
        .map_while(|i| directory.checked_add(2 + 12 * i).filter(|&at| at < tiff.len()))
        .find(|&at| u16_at(at) == Some(ORIENTATION))?;
    if u16_at(entry + 2)? != SHORT {
        return None;
    }
    Orientation::from_exif(u16_at(entry + 8)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components(ids: &[u8]) -> Vec<Component> {
        ids.iter().map(|&id| Component::new(id, (1, 1), 0, (8, 8), (1, 1))).collect()
    }

    fn with_adobe(transform: u8) -> Metadata {
        Metadata { adobe: Some(Adobe { transform }), ..Metadata::default() }
    }

    #[test]
    fn colour_is_guessed_as_libjpeg_guesses_it() {
        let none = Metadata::default();
        assert_eq!(none.color_model(&components(&[7])), ColorModel::Gray);
        assert_eq!(none.color_model(&components(&[1, 2])), ColorModel::Unknown);
        assert_eq!(none.color_model(&components(&[1, 2, 3])), ColorModel::YCbCr);
        assert_eq!(none.color_model(&components(b"RGB")), ColorModel::Rgb);
        assert_eq!(none.color_model(&components(&[0, 1, 2])), ColorModel::YCbCr);
        assert_eq!(none.color_model(&components(&[1, 2, 3, 4])), ColorModel::Cmyk { inverted: false });
        assert_eq!(with_adobe(0).color_model(&components(&[1, 2, 3])), ColorModel::Rgb);
        assert_eq!(with_adobe(1).color_model(&components(b"RGB")), ColorModel::YCbCr);
        assert_eq!(with_adobe(0).color_model(&components(&[1, 2, 3, 4])), ColorModel::Cmyk { inverted: true });
        assert_eq!(with_adobe(2).color_model(&components(&[1, 2, 3, 4])), ColorModel::Ycck { inverted: true });
        let mut jfif = with_adobe(0);
        jfif.read_app0(b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0");
        assert_eq!(jfif.jfif.map(|j| j.version), Some((1, 2)));
        assert_eq!(jfif.color_model(&components(b"RGB")), ColorModel::YCbCr);
    }

    #[test]
    fn short_segments_say_nothing() {
        let mut metadata = Metadata::default();
        metadata.read_app0(b"JFIF\0\x01\x02\0\0\x01\0\x01\0");
        metadata.read_app14(b"Adobe\0\x64\0\0\0\0");
        metadata.read_app1(b"Exif\0\0II*\0");
        assert_eq!(metadata, Metadata::default());
    }

    fn exif(big_endian: bool, orientation: u16) -> Vec<u8> {
        let mut b = b"Exif\0\0".to_vec();
        let short = |v: u16| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        let long = |v: u32| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        b.extend(if big_endian { b"MM" } else { b"II" });
        b.extend(short(42));
        b.extend(long(8));
        b.extend(short(2));
        for (tag, value) in [(0x0100, 9), (0x0112, orientation)] {
            b.extend(short(tag));
            b.extend(short(3));
            b.extend(long(1));
            b.extend(short(value));
            b.extend([0, 0]);
        }
        b
    }

    #[test]
    fn orientation_is_read_in_both_byte_orders() {
        for big_endian in [false, true] {
            for value in 0..=9 {
                let mut metadata = Metadata::default();
                metadata.read_app1(&exif(big_endian, value));
                assert_eq!(metadata.exif_orientation, Orientation::from_exif(value));
            }
        }
    }

    #[test]
    fn cut_or_wild_exif_is_harmless() {
        let whole = exif(false, 6);
        for end in 0..whole.len() - 4 {
            let mut metadata = Metadata::default();
            metadata.read_app1(&whole[..end]);
            assert_eq!(metadata.exif_orientation, None, "cut at {end}");
        }
        let mut wild = whole;
        wild[10..14].copy_from_slice(&[0xFF; 4]); // a directory beyond the end
        let mut metadata = Metadata::default();
        metadata.read_app1(&wild);
        assert_eq!(metadata.exif_orientation, None);
    }
}
