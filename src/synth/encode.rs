//! From coefficients to a file.

use super::arithmetic;
use super::file::{JpegFile, Part};
use super::huffman::choose_table;
use super::scan::Scan;
use super::symbols::{SegmentCoder, Symbol, Table, count_symbols, scan_symbols, table_destination};
use crate::jpeg::marker::code;
use crate::jpeg::{
    ArithmeticConditioning, Coefficients, ColorModel, EntropyCoding, Frame, HuffmanTable, Orientation, Process,
};

/// Changes a scan's symbols before they are coded: index of the scan, its entropy-coded segments.
pub type EditSymbols<'a> = &'a mut dyn FnMut(usize, &mut Vec<Vec<Symbol>>);

/// How the coefficients become a file; what they are is in [`Coefficients`]: process, coding, sampling, colour, orientation.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// In the order of the file.
    pub scans: Vec<Scan>,
    /// Writes quantisation tables with 16-bit elements even where 8 bits would do.
    pub wide_quant: bool,
    /// Conditioning of arithmetic coding; DAC is written where it is not the default.
    pub conditioning: ArithmeticConditioning,
}

impl Encoding {
    /// These scans, and nothing unusual.
    pub fn new(scans: Vec<Scan>) -> Self {
        Self { scans, wide_quant: false, conditioning: ArithmeticConditioning::default() }
    }

    /// The file. A component without quantisation table gets none.
    pub fn encode(&self, image: &Coefficients) -> JpegFile {
        self.encode_edited(image, &mut |_, _| {})
    }

    /// The same, with every scan's Huffman symbols passing through `edit`: for streams that no encoder would write.
    pub fn encode_edited(&self, image: &Coefficients, edit: EditSymbols) -> JpegFile {
        let mut file = JpegFile::default();
        file.push_marker(code::SOI);
        write_application_segments(&mut file, image);
        self.write_quant_tables(&mut file, image);
        file.push_segment(frame_marker(&image.frame), frame_header(&image.frame));
        if self.conditioning != ArithmeticConditioning::default() {
            file.push_segment(code::DAC, conditioning_segment(&self.conditioning));
        }
        let mut in_force = InForce::default();
        for (scan_idx, scan) in self.scans.iter().enumerate() {
            in_force.set_restart_interval(&mut file, scan.restart_interval_mcus(&image.frame));
            let segments = match image.frame.coding {
                EntropyCoding::Arithmetic => arithmetic::scan_segments(image, scan, &self.conditioning),
                EntropyCoding::Huffman => {
                    let mut symbols = scan_symbols(image, scan);
                    edit(scan_idx, &mut symbols);
                    huffman_segments(&mut file, &mut in_force, scan, &symbols)
                }
            };
            file.push_segment(code::SOS, scan_header(image, scan));
            push_entropy_coded(&mut file, segments);
        }
        file.push_marker(code::EOI);
        file
    }

    fn write_quant_tables(&self, file: &mut JpegFile, image: &Coefficients) {
        let mut written = [false; 4];
        for (component, plane) in image.frame.components.iter().zip(&image.planes) {
            let dest = usize::from(component.quant_idx);
            let Some(quant) = plane.quant.filter(|_| !std::mem::replace(&mut written[dest], true)) else { continue };
            let values = quant.to_zigzag().0;
            let wide = self.wide_quant || values.iter().any(|&q| q > 255);
            let mut payload = vec![u8::from(wide) << 4 | component.quant_idx];
            for value in values {
                let [high, low] = value.to_be_bytes();
                payload.extend([high, low].iter().skip(usize::from(!wide)));
            }
            file.push_segment(code::DQT, payload);
        }
    }
}

/// Tables and interval that a decoder holds at this point of the file.
#[derive(Default)]
struct InForce {
    tables: Vec<(Table, HuffmanTable)>,
    restart_interval_mcus: u16,
}

impl InForce {
    fn set_restart_interval(&mut self, file: &mut JpegFile, mcus: u16) {
        if self.restart_interval_mcus != mcus {
            file.push_segment(code::DRI, mcus.to_be_bytes());
            self.restart_interval_mcus = mcus;
        }
    }

    fn define(&mut self, file: &mut JpegFile, table: Table, contents: HuffmanTable) {
        if self.tables.contains(&(table, contents.clone())) {
            return;
        }
        let mut payload = match table {
            Table::Dc(dest) => vec![dest],
            Table::Ac(dest) => vec![0x10 | dest],
            Table::NoTable => return,
        };
        payload.extend(contents.bits);
        payload.extend(contents.used_values());
        file.push_segment(code::DHT, payload);
        self.tables.retain(|(other, _)| *other != table);
        self.tables.push((table, contents));
    }
}

/// Writes the tables that a scan needs, and codes its symbols with them.
fn huffman_segments(file: &mut JpegFile, in_force: &mut InForce, scan: &Scan, symbols: &[Vec<Symbol>]) -> Vec<Vec<u8>> {
    for (table, counts) in count_symbols(symbols) {
        let is_luma = matches!(table, Table::Dc(0) | Table::Ac(0));
        let contents = choose_table(scan.codes, &counts, matches!(table, Table::Ac(_)), is_luma);
        in_force.define(file, table, contents);
    }
    let coder = SegmentCoder::new(&in_force.tables);
    symbols.iter().map(|segment| coder.code(segment)).collect()
}

fn push_entropy_coded(file: &mut JpegFile, segments: Vec<Vec<u8>>) {
    for (segment_idx, segment) in segments.into_iter().enumerate() {
        if segment_idx > 0 {
            file.push_marker(code::RST0 + ((segment_idx - 1) % 8) as u8);
        }
        file.parts.push(Part::Entropy(segment));
    }
}

fn frame_marker(frame: &Frame) -> u8 {
    match (frame.coding, frame.process) {
        (EntropyCoding::Huffman, Process::Baseline) => code::SOF0,
        (EntropyCoding::Huffman, Process::ExtendedSequential) => code::SOF1,
        (EntropyCoding::Huffman, Process::Progressive) => code::SOF2,
        (EntropyCoding::Arithmetic, Process::Progressive) => code::SOF10,
        (EntropyCoding::Arithmetic, _) => code::SOF9,
    }
}

/// T.81 B.2.2.
fn frame_header(frame: &Frame) -> Vec<u8> {
    let mut payload = vec![frame.precision_bits];
    payload.extend((frame.height as u16).to_be_bytes());
    payload.extend((frame.width as u16).to_be_bytes());
    payload.push(frame.components.len() as u8);
    for component in &frame.components {
        payload.extend([component.id, component.h << 4 | component.v, component.quant_idx]);
    }
    payload
}

/// DAC (T.81 B.2.4.3) for all four destinations.
fn conditioning_segment(conditioning: &ArithmeticConditioning) -> Vec<u8> {
    let dc_bounds = conditioning.dc_lower.iter().zip(&conditioning.dc_upper).take(4);
    let dc = dc_bounds.zip(0..).flat_map(|((&lower, &upper), dest)| [dest, upper << 4 | lower]);
    let ac = conditioning.ac_kx.iter().take(4).zip(0x10..).flat_map(|(&kx, dest)| [dest, kx]);
    dc.chain(ac).collect()
}

/// T.81 B.2.3.
fn scan_header(image: &Coefficients, scan: &Scan) -> Vec<u8> {
    let mut payload = vec![scan.components.len() as u8];
    for &component_idx in &scan.components {
        let dest = table_destination(image, component_idx);
        payload.extend([image.frame.components[component_idx].id, dest << 4 | dest]);
    }
    payload.extend([scan.ss, scan.se, scan.ah << 4 | scan.al]);
    payload
}

/// JFIF or Adobe, as the colour model needs it, and EXIF where the image is not upright.
fn write_application_segments(file: &mut JpegFile, image: &Coefficients) {
    let adobe = |transform: u8| [b"Adobe\x00\x64\x00\x00\x00\x00".as_slice(), &[transform]].concat();
    match image.color {
        ColorModel::Gray | ColorModel::YCbCr => {
            file.push_segment(code::APP0, *b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
        }
        ColorModel::Rgb | ColorModel::Cmyk { inverted: true } => file.push_segment(code::APP14, adobe(0)),
        ColorModel::Ycck { .. } => file.push_segment(code::APP14, adobe(2)),
        ColorModel::Cmyk { inverted: false } | ColorModel::Unknown => {}
    }
    if image.orientation != Orientation::Upright {
        file.push_segment(code::APP1, exif(image.orientation));
    }
}

/// An EXIF segment with one entry: tag 0x0112, type SHORT, big-endian.
fn exif(orientation: Orientation) -> Vec<u8> {
    let mut payload = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    payload.extend([orientation as u8, 0, 0, 0, 0, 0, 0]);
    payload
}
