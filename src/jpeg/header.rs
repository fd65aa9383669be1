//! The parser (T.81 Annex B): from bytes to the frame, the tables, and the scans one after the other.
//!
//! What libjpeg reads without an error is read here, with the same meaning: bytes between marker segments are passed over, lengths
//! below two count as two in segments that are skipped, DNL is ignored unless the frame header leaves the height open.

use std::sync::Arc;

use super::frame::{ColorModel, ComponentSpec, EntropyCoding, Frame, Orientation, Process};
use super::limits::{Allowance, Limits, check_limit};
use super::marker::{Marker, code, next_marker};
use super::metadata::Metadata;
use super::order::ZigZag;
use super::scan::{Scan, ScanComponent};
use super::segments::{Pair, classify_pair};
use super::tables::{HuffmanTable, QuantTable, Tables};
use crate::ImageError;

/// Everything up to the first scan's entropy-coded data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The frame, height known.
    pub frame: Frame,
    /// What the components mean.
    pub color: ColorModel,
    /// From EXIF; upright where absent.
    pub orientation: Orientation,
    /// What the application markers say.
    pub metadata: Metadata,
    /// The height stands in a DNL segment after the first scan (T.81 B.2.5).
    pub has_dnl: bool,
    /// The first scan and the tables in force.
    pub first_scan: Scan,
    allowances: Allowances,
}

impl Header {
    /// Reads up to the first scan. Its entropy-coded data are not looked at, unless the frame's height stands behind them.
    ///
    /// Fails where nothing can be decoded: [`ImageError::NotJpeg`], [`ImageError::Malformed`], [`ImageError::Unsupported`], or
    /// [`ImageError::OverLimit`] before any memory is taken for coefficients.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, ImageError> {
        check_limit("max_file_bytes", "the file's size in bytes", bytes.len() as u64, limits.max_file_bytes)?;
        match bytes {
            [] => return Err(ImageError::NotJpeg { what: "the file is empty: make or copy it again" }),
            [0xFF, code::SOI, ..] => {}
            _ => return Err(ImageError::NotJpeg { what: "it does not begin with FF D8: convert it, or leave it out" }),
        }
        let mut parser = Parser { pos: 2, limits: Some(limits), ..Parser::new(bytes, Allowances::new(limits)) };
        let first_scan = parser.next_scan()?.ok_or(ImageError::Malformed {
            at_bytes: parser.pos as u64,
            what: "the file ends before its first scan",
        })?;
        let frame_header = parser.frame_header.ok_or(INTERNAL)?;
        let has_dnl = frame_header.height == 0;
        let height = if has_dnl { read_dnl(bytes, first_scan.ecs_offset)? } else { u32::from(frame_header.height) };
        let frame = frame_header.frame(height);
        check_frame_limits(&frame, bytes.len(), limits)?;
        Ok(Self {
            color: parser.metadata.color_model(&frame.components),
            orientation: parser.metadata.exif_orientation.unwrap_or_default(),
            metadata: parser.metadata,
            has_dnl,
            frame,
            first_scan,
            allowances: parser.allowances,
        })
    }

    /// Whether the first scan is the only one that matters: a sequential scan of all components. What follows it is not read.
    pub fn is_single_scan(&self) -> bool {
        self.frame.process != Process::Progressive && self.first_scan.components.len() == self.frame.components.len()
    }

    /// All scans in file order. `bytes` is the file that the header was parsed from.
    pub fn scans<'a>(&self, bytes: &'a [u8]) -> Scans<'a> {
        let first = &self.first_scan;
        let mut sent = [false; 4];
        for component in &first.components {
            sent[component.component_idx] = true;
        }
        let parser = Parser {
            pos: first.ecs_offset,
            tables: Arc::clone(&first.tables),
            restart_interval_mcus: first.restart_interval_mcus,
            frame_header: Some(FrameHeader::of(&self.frame)),
            sent,
            ..Parser::new(bytes, self.allowances)
        };
        Scans { parser, pending: Some(first.clone()), is_single: self.is_single_scan(), is_done: false }
    }
}

/// The scans of a file, one after the other: an iterator whose first error is its last item.
#[derive(Clone, Debug)]
pub struct Scans<'a> {
    parser: Parser<'a>,
    pending: Option<Scan>,
    is_single: bool,
    is_done: bool,
}

impl Scans<'_> {
    /// Says where the last scan's entropy-coded data end, so that they need not be walked again.
    pub fn set_entropy_coded_end(&mut self, end: usize) {
        self.parser.pos = end;
    }

    /// Offset of the end of what was read so far.
    pub fn position(&self) -> usize {
        self.parser.pos
    }

    fn read_next(&mut self) -> Result<Option<Scan>, ImageError> {
        match self.pending.take() {
            Some(first) => Ok(Some(first)),
            None => self.parser.next_scan(),
        }
    }
}

impl Iterator for Scans<'_> {
    type Item = Result<Scan, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let scan = self.read_next();
        self.is_done = self.is_single || !matches!(scan, Ok(Some(_)));
        scan.transpose()
    }
}

/// What cannot happen.
const INTERNAL: ImageError = ImageError::Internal;

/// How many scans, segments and tables may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Allowances {
    scans: Allowance,
    segments: Allowance,
    tables: Allowance,
}

impl Allowances {
    fn new(limits: &Limits) -> Self {
        Self {
            scans: Allowance::new("max_scans", "the number of scans", limits.max_scans),
            segments: Allowance::new("max_segments", "the number of marker segments", limits.max_segments),
            tables: Allowance::new("max_tables", "the number of tables", limits.max_tables),
        }
    }
}

/// The limits on dimensions; a height of 0 is still open.
fn check_dimension_limits(width: u32, height: u32, limits: &Limits) -> Result<(), ImageError> {
    check_limit("max_side", "the width", u64::from(width), limits.max_side)?;
    check_limit("max_side", "the height", u64::from(height), limits.max_side)?;
    check_limit("max_pixels", "the number of pixels", u64::from(width) * u64::from(height), limits.max_pixels)
}

fn check_frame_limits(frame: &Frame, file_bytes: usize, limits: &Limits) -> Result<(), ImageError> {
    check_dimension_limits(frame.width, frame.height, limits)?;
    let (what, value) = ("bytes of coefficients", frame.coefficient_bytes());
    check_limit("max_coefficient_bytes", what, value, limits.max_coefficient_bytes)?;
    let what = "bytes of coefficients, for a file of this length,";
    check_limit("max_expansion", what, value, limits.coefficient_bytes_for(file_bytes))
}

/// The number of lines from the DNL segment that must follow the first scan's data (T.81 B.2.5).
fn read_dnl(bytes: &[u8], ecs_offset: usize) -> Result<u32, ImageError> {
    let missing = |at: usize| ImageError::Malformed {
        at_bytes: at as u64,
        what: "the frame has no height, and no DNL segment follows its first scan",
    };
    let marker = end_of_entropy_coded(bytes, ecs_offset).ok_or_else(|| missing(bytes.len()))?;
    match bytes.get(marker.end..) {
        Some([0, 4, y1, y0, ..]) if marker.code == code::DNL && (*y1, *y0) != (0, 0) => {
            Ok(u32::from(u16::from_be_bytes([*y1, *y0])))
        }
        _ => Err(missing(marker.at)),
    }
}

/// The marker that ends entropy-coded data (rule 2 of [`segments`](super::segments)).
fn end_of_entropy_coded(bytes: &[u8], mut from: usize) -> Option<Marker> {
    loop {
        let marker = next_marker(bytes, from)?;
        if classify_pair(marker.code) == Pair::End {
            return Some(marker);
        }
        from = marker.end;
    }
}

/// The frame header as sent (T.81 B.2.2).
#[derive(Clone, Debug)]
struct FrameHeader {
    kind: (Process, EntropyCoding),
    precision_bits: u8,
    width: u16,
    height: u16,
    components: Vec<ComponentSpec>,
}

impl FrameHeader {
    fn of(frame: &Frame) -> Self {
        let spec = |c: &super::Component| ComponentSpec { id: c.id, h: c.h, v: c.v, quant_idx: c.quant_idx };
        Self {
            kind: (frame.process, frame.coding),
            precision_bits: frame.precision_bits,
            width: frame.width as u16,
            height: frame.height as u16,
            components: frame.components.iter().map(spec).collect(),
        }
    }

    fn frame(&self, height: u32) -> Frame {
        Frame::new(self.kind, self.precision_bits, (u32::from(self.width), height), &self.components)
    }
}

/// The state of reading, marker by marker.
#[derive(Clone, Debug)]
struct Parser<'a> {
    bytes: &'a [u8],
    pos: usize,
    allowances: Allowances,
    /// Given while the frame header is still to come.
    limits: Option<&'a Limits>,
    tables: Arc<Tables>,
    restart_interval_mcus: u32,
    frame_header: Option<FrameHeader>,
    metadata: Metadata,
    /// Which components a scan was met for.
    sent: [bool; 4],
}

impl<'a> Parser<'a> {
    fn new(bytes: &'a [u8], allowances: Allowances) -> Self {
        Self {
            bytes,
            pos: 0,
            allowances,
            limits: None,
            tables: Arc::default(),
            restart_interval_mcus: 0,
            frame_header: None,
            metadata: Metadata::default(),
            sent: [false; 4],
        }
    }

    /// Reads marker segments up to and including the next scan header; `None` at EOI or at the end of the file.
    fn next_scan(&mut self) -> Result<Option<Scan>, ImageError> {
        while let Some(marker) = next_marker(self.bytes, self.pos) {
            self.pos = marker.end;
            match marker.code {
                code::EOI => return Ok(None),
                code::SOS => return self.read_scan_header(marker).map(Some),
                _ => self.read_segment(marker)?,
            }
        }
        self.pos = self.bytes.len();
        Ok(None)
    }

    fn read_segment(&mut self, marker: Marker) -> Result<(), ImageError> {
        let at = marker.at;
        match marker.code {
            code::TEM | code::RST0..=code::RST7 => return Ok(()),
            code::SOI => return Err(malformed(at, "a second SOI marker")),
            _ => self.allowances.segments.spend()?,
        }
        match marker.code {
            code::DHT => self.read_tables(at, Segment::read_huffman_table),
            code::DQT => self.read_tables(at, Segment::read_quant_table),
            code::DAC => self.read_tables(at, Segment::read_conditioning),
            code::DRI => self.read_restart_interval(at),
            code::SOF0..=code::SOF15 => self.read_frame_header(marker),
            code::APP0..=code::APP15 | code::COM => self.read_application_data(marker),
            code::DNL => self.skippable_segment(at).map(|_| ()),
            code::DHP | code::EXP => Err(unsupported(at, "hierarchical coding")),
            _ => Err(malformed(at, "a reserved marker")),
        }
    }

    /// Reads a segment of tables, one after the other, with `read_table`.
    fn read_tables(&mut self, at: usize, read_table: ReadTable<'a>) -> Result<(), ImageError> {
        let mut segment = self.segment(at)?;
        let tables = Arc::make_mut(&mut self.tables);
        while !segment.payload.is_empty() {
            self.allowances.tables.spend()?;
            read_table(&mut segment, tables)?;
        }
        Ok(())
    }

    /// The payload of the segment whose length stands at `pos`; moves behind it.
    fn segment(&mut self, marker_at: usize) -> Result<Segment<'a>, ImageError> {
        let cut = malformed(marker_at, "the file ends inside a marker segment");
        let length = self.bytes.get(self.pos..).and_then(|rest| rest.first_chunk::<2>()).ok_or(cut.clone())?;
        let length = usize::from(u16::from_be_bytes(*length));
        if length < 2 {
            return Err(malformed(marker_at, "a marker segment of impossible length"));
        }
        let payload = self.bytes.get(self.pos + 2..self.pos + length).ok_or(cut)?;
        self.pos += length;
        Ok(Segment { marker_at, payload })
    }

    /// The payload of a segment that nothing depends on: an impossible length is taken for an empty one, as libjpeg does.
    fn skippable_segment(&mut self, marker_at: usize) -> Result<Segment<'a>, ImageError> {
        match self.bytes.get(self.pos..) {
            Some([0, 0 | 1, ..]) => {
                self.pos += 2;
                Ok(Segment { marker_at, payload: &[] })
            }
            _ => self.segment(marker_at),
        }
    }

    fn read_application_data(&mut self, marker: Marker) -> Result<(), ImageError> {
        let payload = self.skippable_segment(marker.at)?.payload;
        match marker.code {
            code::APP0 => self.metadata.read_app0(payload),
            code::APP1 => self.metadata.read_app1(payload),
            code::APP14 => self.metadata.read_app14(payload),
            _ => {}
        }
        match marker.code {
            code::COM => self.metadata.num_comments += 1,
            _ => self.metadata.num_app_segments += 1,
        }
        Ok(())
    }

    /// T.81 B.2.4.4.
    fn read_restart_interval(&mut self, at: usize) -> Result<(), ImageError> {
        let &[high, low] = self.segment(at)?.payload else {
            return Err(malformed(at, "a DRI segment of wrong length"));
        };
        self.restart_interval_mcus = u32::from(u16::from_be_bytes([high, low]));
        Ok(())
    }

    /// T.81 B.2.2.
    fn read_frame_header(&mut self, marker: Marker) -> Result<(), ImageError> {
        let at = marker.at;
        let kind = match marker.code {
            code::SOF0 => (Process::Baseline, EntropyCoding::Huffman),
            code::SOF1 => (Process::ExtendedSequential, EntropyCoding::Huffman),
            code::SOF2 => (Process::Progressive, EntropyCoding::Huffman),
            code::SOF9 => (Process::ExtendedSequential, EntropyCoding::Arithmetic),
            code::SOF10 => (Process::Progressive, EntropyCoding::Arithmetic),
            0xC3 | 0xCB => return Err(unsupported(at, "lossless coding")),
            0xC5..=0xC7 | 0xCD..=0xCF => return Err(unsupported(at, "hierarchical coding (differential frames)")),
            _ => return Err(unsupported(at, "JPEG extensions")),
        };
        if self.frame_header.is_some() {
            return Err(malformed(at, "a second frame header"));
        }
        // The dimensions are held against the limits before anything else is.
        if let (Some(&[_, _, _, y1, y0, x1, x0]), Some(limits)) =
            (self.bytes.get(self.pos..).and_then(|rest| rest.first_chunk::<7>()), self.limits)
        {
            let (width, height) = (u16::from_be_bytes([x1, x0]), u16::from_be_bytes([y1, y0]));
            check_dimension_limits(u32::from(width), u32::from(height), limits)?;
        }
        self.frame_header = Some(self.segment(at)?.read_frame_header(kind)?);
        Ok(())
    }

    /// T.81 B.2.3. Components are looked up as libjpeg does: the j-th of the scan at the frame's j-th place or later, so that frames
    /// which give all components the same identifier can be read.
    fn read_scan_header(&mut self, marker: Marker) -> Result<Scan, ImageError> {
        let at = marker.at;
        self.allowances.scans.spend()?;
        let Some(frame_header) = self.frame_header.clone() else {
            return Err(malformed(at, "a scan before the frame header"));
        };
        let payload = self.segment(at)?.payload;
        let num_components = usize::from(payload.first().copied().unwrap_or(0));
        if !(1..=4).contains(&num_components) || payload.len() != 4 + 2 * num_components {
            return Err(malformed(at, "a scan header of wrong length"));
        }
        let (selectors, parameters) = payload[1..].split_at(2 * num_components);
        let mut components: Vec<ScanComponent> = Vec::with_capacity(num_components);
        for (j, selector) in selectors.chunks_exact(2).enumerate() {
            let component_idx = (j..frame_header.components.len())
                .find(|&i| frame_header.components[i].id == selector[0])
                .filter(|&i| components.iter().all(|c| c.component_idx != i))
                .ok_or_else(|| {
                    malformed(at, "a scan names a component that is not in the frame, or in another order")
                })?;
            components.push(ScanComponent {
                component_idx,
                dc_table_idx: selector[1] >> 4,
                ac_table_idx: selector[1] & 15,
                is_first: !std::mem::replace(&mut self.sent[component_idx], true),
            });
        }
        if frame_header.kind.1 == EntropyCoding::Huffman && frame_header.kind.0 != Process::Progressive {
            Arc::make_mut(&mut self.tables).fill_in_typical();
        }
        Ok(Scan {
            sos_at: at,
            components,
            ss: parameters[0],
            se: parameters[1],
            ah: parameters[2] >> 4,
            al: parameters[2] & 15,
            restart_interval_mcus: self.restart_interval_mcus,
            tables: Arc::clone(&self.tables),
            ecs_offset: self.pos,
        })
    }
}

fn malformed(at: usize, what: &'static str) -> ImageError {
    ImageError::Malformed { at_bytes: at as u64, what }
}

fn unsupported(at: usize, what: &'static str) -> ImageError {
    ImageError::Unsupported { at_bytes: at as u64, what }
}

/// Reads one table from the beginning of a segment, which is not empty.
type ReadTable<'a> = fn(&mut Segment<'a>, &mut Tables) -> Result<(), ImageError>;

/// A marker segment's payload: what follows its length.
struct Segment<'a> {
    marker_at: usize,
    payload: &'a [u8],
}

impl<'a> Segment<'a> {
    fn malformed(&self, what: &'static str) -> ImageError {
        malformed(self.marker_at, what)
    }

    fn take(&mut self, num_bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.payload.split_at_checked(num_bytes)?;
        self.payload = rest;
        Some(taken)
    }

    /// T.81 B.2.4.2. A table is not checked before a scan uses it.
    fn read_huffman_table(&mut self, tables: &mut Tables) -> Result<(), ImageError> {
        const WHAT: &str = "a DHT segment of wrong length";
        let head = self.take(17).ok_or(self.malformed(WHAT))?;
        let mut bits = [0; 16];
        bits.copy_from_slice(&head[1..]);
        let num_codes: usize = bits.iter().map(|&n| usize::from(n)).sum();
        if num_codes > 256 {
            return Err(self.malformed("a Huffman table of more than 256 codes"));
        }
        let values = self.take(num_codes).ok_or(self.malformed(WHAT))?;
        let slot = match head[0] {
            class_and_idx @ 0..=3 => &mut tables.dc[usize::from(class_and_idx)],
            class_and_idx @ 0x10..=0x13 => &mut tables.ac[usize::from(class_and_idx - 0x10)],
            _ => return Err(self.malformed("a Huffman table for a slot that does not exist")),
        };
        *slot = Some(Arc::new(HuffmanTable::new(bits, values)));
        Ok(())
    }

    /// T.81 B.2.4.1.
    fn read_quant_table(&mut self, tables: &mut Tables) -> Result<(), ImageError> {
        const WHAT: &str = "a DQT segment of wrong length";
        let head = self.take(1).ok_or(self.malformed(WHAT))?[0];
        let mut zigzag = ZigZag([0u16; 64]);
        let precision_bits = if head >> 4 == 0 { 8 } else { 16 };
        let values = self.take(8 * usize::from(precision_bits)).ok_or(self.malformed(WHAT))?;
        for (value, element) in zigzag.0.iter_mut().zip(values.chunks_exact(usize::from(precision_bits) / 8)) {
            *value = element.iter().fold(0, |value, &byte| value << 8 | u16::from(byte));
        }
        let Some(slot) = tables.quant.get_mut(usize::from(head & 15)) else {
            return Err(self.malformed("a quantisation table for a slot that does not exist"));
        };
        *slot = Some(Arc::new(QuantTable { values: zigzag.to_natural(), precision_bits }));
        Ok(())
    }

    /// T.81 B.2.4.3.
    fn read_conditioning(&mut self, tables: &mut Tables) -> Result<(), ImageError> {
        let &[class_and_idx, value] = self.take(2).ok_or(self.malformed("a DAC segment of wrong length"))? else {
            return Err(INTERNAL);
        };
        let conditioning = &mut tables.conditioning;
        match (class_and_idx, value & 15, value >> 4) {
            (idx @ 0..=15, lower, upper) if lower <= upper => {
                conditioning.dc_lower[usize::from(idx)] = lower;
                conditioning.dc_upper[usize::from(idx)] = upper;
            }
            (idx @ 0x10..=0x1F, ..) => conditioning.ac_kx[usize::from(idx - 0x10)] = value,
            _ => return Err(self.malformed("arithmetic conditioning that makes no sense")),
        }
        Ok(())
    }

    /// T.81 B.2.2.
    fn read_frame_header(self, kind: (Process, EntropyCoding)) -> Result<FrameHeader, ImageError> {
        let &[precision_bits, y1, y0, x1, x0, num_components, ref list @ ..] = self.payload else {
            return Err(self.malformed("a frame header of wrong length"));
        };
        if list.len() != 3 * usize::from(num_components) {
            return Err(self.malformed("a frame header of wrong length"));
        }
        let (width, height) = (u16::from_be_bytes([x1, x0]), u16::from_be_bytes([y1, y0]));
        if width == 0 || num_components == 0 {
            return Err(self.malformed("a frame without columns or components"));
        }
        if num_components > 4 {
            return Err(unsupported(self.marker_at, "more than four components"));
        }
        if precision_bits != 8 && precision_bits != 12 {
            return Err(unsupported(self.marker_at, "a sample precision other than 8 and 12 bits"));
        }
        let spec = |c: &[u8]| ComponentSpec { id: c[0], h: c[1] >> 4, v: c[1] & 15, quant_idx: c[2] };
        let components: Vec<ComponentSpec> = list.chunks_exact(3).map(spec).collect();
        if components.iter().any(|c| !(1..=4).contains(&c.h) || !(1..=4).contains(&c.v)) {
            return Err(self.malformed("a sampling factor that is not 1 to 4"));
        }
        Ok(FrameHeader { kind, precision_bits, width, height, components })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u16 + 2).to_be_bytes();
        [&[0xFF, marker], &length[..], payload].concat()
    }

    /// 24 x 16 samples, 4:2:0, with table 0 for everything.
    const FRAME: [u8; 15] = [8, 0, 16, 0, 24, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0];
    const SCAN_OF_ALL: [u8; 10] = [3, 1, 0, 2, 0, 3, 0, 0, 63, 0];

    fn quant_table() -> Vec<u8> {
        segment(code::DQT, &[&[0][..], &[1; 64]].concat())
    }

    fn file(parts: &[&[u8]]) -> Vec<u8> {
        [&[0xFF, code::SOI], &parts.concat()[..]].concat()
    }

    fn parse(bytes: &[u8]) -> Result<Header, ImageError> {
        Header::parse(bytes, &Limits::default())
    }

    fn what(result: Result<Header, ImageError>) -> &'static str {
        match result.expect_err("is refused") {
            ImageError::Malformed { what, .. } | ImageError::Unsupported { what, .. } => what,
            ImageError::OverLimit { what, .. } | ImageError::NotJpeg { what } => what,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_header_ends_at_the_first_scan() {
        let bytes = file(&[
            &segment(code::APP0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            &segment(code::COM, b"hello"),
            &[0xFF, 0xFF],
            &quant_table(),
            &segment(code::SOF0, &FRAME),
            &segment(code::DRI, &[1, 2]),
            &segment(code::SOS, &SCAN_OF_ALL),
            &[1, 2, 3],
        ]);
        let header = parse(&bytes).unwrap();
        assert_eq!((header.frame.width, header.frame.height, header.frame.mcus()), (24, 16, 2));
        assert_eq!((header.frame.sampling_name().as_str(), header.color), ("4:2:0", ColorModel::YCbCr));
        assert_eq!((header.metadata.num_app_segments, header.metadata.num_comments), (1, 1));
        let scan = &header.first_scan;
        assert_eq!((scan.ecs_offset, scan.restart_interval_mcus), (bytes.len() - 3, 258));
        assert!(header.is_single_scan() && scan.components.iter().all(|c| c.is_first));
        assert_eq!(
            scan.check(&header.frame),
            Ok(()),
            "the typical Huffman tables stand in for those that are not sent"
        );
        assert_eq!(header.scans(&bytes).count(), 1);
    }

    #[test]
    fn tables_and_intervals_belong_to_the_scans_after_them() {
        let scan_of = |id: u8| segment(code::SOS, &[1, id, 0x11, 0, 63, 0]);
        let huffman = segment(code::DHT, &[&[0x11][..], &[1], &[0; 15], &[7]].concat());
        let bytes = file(&[
            &quant_table(),
            &segment(code::SOF1, &FRAME),
            &scan_of(1),
            &[5, 0xFF, 0, 0xFF, 0xD0, 6],
            &huffman,
            &segment(code::DRI, &[0, 9]),
            b"rubbish",
            &scan_of(2),
            &[7],
            &[0xFF, code::EOI],
            &scan_of(3),
        ]);
        let header = parse(&bytes).unwrap();
        let mut scans = header.scans(&bytes);
        let first = scans.next().unwrap().unwrap();
        let second = scans.next().unwrap().unwrap();
        assert_eq!(scans.next(), None, "what follows EOI is not read");
        assert_eq!((first.restart_interval_mcus, second.restart_interval_mcus), (0, 9));
        assert_eq!((first.components[0].component_idx, second.components[0].component_idx), (0, 1));
        assert_eq!(first.tables.ac[1].as_ref().unwrap().num_codes(), 162);
        assert_eq!(second.tables.ac[1].as_ref().unwrap().used_values(), [7]);
        assert_eq!(first.size_mcus(&header.frame), (3, 2));
    }

    #[test]
    fn the_number_of_scans_is_limited() {
        let scan = segment(code::SOS, &[1, 1, 0, 0, 63, 0]);
        let bytes = file(&[&quant_table(), &segment(code::SOF1, &FRAME), &scan.repeat(4)]);
        let limits = Limits { max_scans: 3, ..Limits::default() };
        let header = Header::parse(&bytes, &limits).unwrap();
        let scans: Vec<_> = header.scans(&bytes).collect();
        assert_eq!(scans.len(), 4);
        assert!(matches!(scans[3], Err(ImageError::OverLimit { value: 4, limit: 3, .. })));
    }

    #[test]
    fn the_height_may_come_from_dnl() {
        let mut frame = FRAME;
        frame[1..3].fill(0);
        let start =
            file(&[&quant_table(), &segment(code::SOF0, &frame), &segment(code::SOS, &SCAN_OF_ALL), &[1, 0xFF, 0, 2]]);
        let with = |tail: &[u8]| parse(&[&start, tail].concat());
        let header = with(&segment(code::DNL, &[0, 40])).unwrap();
        assert!(header.has_dnl);
        assert_eq!((header.frame.height, header.frame.mcus_high()), (40, 3));
        for tail in [&segment(code::DNL, &[0, 0])[..], &[0xFF, code::EOI], &[]] {
            assert!(what(with(tail)).contains("no height"));
        }
        // A height in the frame header is not changed.
        let sound = file(&[&quant_table(), &segment(code::SOF0, &FRAME), &segment(code::DNL, &[0, 40])]);
        let header = parse(&[&sound[..], &segment(code::SOS, &SCAN_OF_ALL)].concat()).unwrap();
        assert_eq!((header.frame.height, header.has_dnl), (16, false));
    }

    #[test]
    fn limits_come_before_anything_else() {
        let mut frame = FRAME;
        frame[1..5].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
        let cut = &file(&[&segment(code::SOF0, &frame)])[..13];
        assert_eq!(what(parse(cut)), "the number of pixels");
        let small = file(&[&quant_table(), &segment(code::SOF0, &FRAME), &segment(code::SOS, &SCAN_OF_ALL)]);
        let refused = |limits: Limits| what(Header::parse(&small, &limits));
        assert_eq!(refused(Limits { max_file_bytes: 9, ..Limits::default() }), "the file's size in bytes");
        assert_eq!(refused(Limits { max_side: 23, ..Limits::default() }), "the width");
        assert_eq!(refused(Limits { max_coefficient_bytes: 1535, ..Limits::default() }), "bytes of coefficients");
        assert!(
            refused(Limits { max_expansion: 1, free_coefficient_bytes: 0, ..Limits::default() })
                .starts_with("bytes of coefficients, for")
        );
        assert!(Header::parse(&small, &Limits { max_coefficient_bytes: 1536, ..Limits::default() }).is_ok());
    }

    #[test]
    fn skipped_segments_may_have_impossible_lengths() {
        for length in [[0, 0], [0, 1]] {
            let bytes = file(&[
                &[0xFF, code::APP0 + 5, length[0], length[1]],
                &quant_table(),
                &segment(code::SOF0, &FRAME),
                &segment(code::SOS, &SCAN_OF_ALL),
            ]);
            assert!(parse(&bytes).is_ok());
        }
        assert!(what(parse(&file(&[&[0xFF, code::DHT, 0, 1]]))).contains("impossible length"));
    }

    #[test]
    fn conditioning_is_checked() {
        let with = |dac: &[u8]| {
            parse(&file(&[
                &segment(code::DAC, dac),
                &quant_table(),
                &segment(code::SOF9, &FRAME),
                &segment(code::SOS, &SCAN_OF_ALL),
            ]))
        };
        let conditioning = with(&[1, 0x42, 0x12, 9]).unwrap().first_scan.tables.conditioning;
        assert_eq!((conditioning.dc_lower[1], conditioning.dc_upper[1], conditioning.ac_kx[2]), (2, 4, 9));
        for dac in [&[1, 0x24][..], &[0x20, 0], &[1]] {
            assert!(with(dac).is_err(), "{dac:?}");
        }
    }

    #[test]
    fn components_with_the_same_identifier_are_told_apart_by_their_order() {
        let mut frame = FRAME;
        (frame[6], frame[9], frame[12]) = (1, 1, 1);
        let scan = segment(code::SOS, &[3, 1, 0, 1, 0, 1, 0, 0, 63, 0]);
        let header = parse(&file(&[&quant_table(), &segment(code::SOF0, &frame), &scan])).unwrap();
        let indices: Vec<usize> = header.first_scan.components.iter().map(|c| c.component_idx).collect();
        assert_eq!(indices, [0, 1, 2]);
        let swapped = segment(code::SOS, &[2, 2, 0, 1, 0, 0, 63, 0]);
        assert!(what(parse(&file(&[&segment(code::SOF0, &FRAME), &swapped]))).contains("another order"));
    }

    #[test]
    fn every_cut_of_a_header_is_an_error() {
        let bytes = file(&[&quant_table(), &segment(code::SOF0, &FRAME), &segment(code::SOS, &SCAN_OF_ALL)]);
        assert!(parse(&bytes).is_ok());
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
