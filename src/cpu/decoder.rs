//! From a file to [`Coefficients`] and a [`DecodeReport`].

use std::sync::Arc;

use super::entropy::{FaultLog, Instructions, ScanDecoder, ScanLayout};
use crate::ImageError;
use crate::jpeg::{
    Coefficients, Component, DecodeReport, Frame, Header, Limits, Plane, Progression, Scan, Scans, Status,
};

/// What decoding one file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The coefficients; `None` if the status is failed.
    pub coefficients: Option<Coefficients>,
    /// How it went.
    pub report: DecodeReport,
}

impl Decoded {
    /// Of a file without coefficients, whose frame has `mcus` MCUs (0: no frame is known).
    pub fn failed(reason: ImageError, mcus: u32) -> Self {
        Self { coefficients: None, report: DecodeReport::failed(reason, mcus) }
    }
}

/// Decodes one file. For many, keep a [`Decoder`].
pub fn decode(bytes: &[u8], limits: &Limits) -> Decoded {
    Decoder::default().decode(bytes, limits)
}

/// Decodes files one after the other. It keeps its working memory and its Huffman tables, and the planes that are given back to it,
/// unless an image was so large that they are better given back to the system.
pub struct Decoder {
    scan_decoder: ScanDecoder,
    log: FaultLog,
    /// The memory of planes that were given back.
    spare: Vec<Vec<i16>>,
    max_spare_bytes: u64,
}

impl Default for Decoder {
    /// Keeps up to 128 MiB: what a photo of 24 megapixels in full colour takes.
    fn default() -> Self {
        Self::keeping(128 << 20)
    }
}

impl Decoder {
    /// Planes of one image.
    const MAX_SPARE: usize = 4;

    /// A decoder that keeps at most `max_spare_bytes` of planes between two images, and working memory only of images that are not
    /// larger than that.
    pub fn keeping(max_spare_bytes: u64) -> Self {
        let (scan_decoder, log) = Default::default();
        Self { scan_decoder, log, spare: Vec::new(), max_spare_bytes }
    }

    /// Decodes Huffman codes with these instructions instead of the fastest ones that the processor has.
    pub fn with_instructions(mut self, instructions: Instructions) -> Self {
        self.scan_decoder.instructions = instructions;
        self
    }

    /// Decodes one file. Never panics; whatever is wrong with the file stands in the report.
    pub fn decode(&mut self, bytes: &[u8], limits: &Limits) -> Decoded {
        match Header::parse(bytes, limits) {
            Ok(header) => self.decode_scans(bytes, header, limits),
            Err(reason) => Decoded::failed(reason, 0),
        }
    }

    /// Gives memory back to be used for the next image.
    pub fn recycle(&mut self, coefficients: Coefficients) {
        self.keep_memory_of(coefficients.planes);
    }

    /// Keeps the largest planes that it may keep, no more than one image has.
    fn keep_memory_of(&mut self, planes: Vec<Plane>) {
        self.spare.extend(planes.into_iter().map(|plane| plane.data));
        self.spare.sort_by_key(|data| std::cmp::Reverse(data.capacity()));
        let mut bytes_left = self.max_spare_bytes;
        self.spare.retain(|data| match bytes_left.checked_sub(data.capacity() as u64 * 2) {
            Some(left) => {
                bytes_left = left;
                true
            }
            None => false,
        });
        self.spare.truncate(Self::MAX_SPARE);
    }

    /// Gives the working memory back if it may be larger than what is kept.
    fn trim_working_memory(&mut self, frame: &Frame, file_bytes: usize) {
        if frame.coefficient_bytes() + file_bytes as u64 > self.max_spare_bytes {
            let instructions = self.scan_decoder.instructions;
            (self.scan_decoder, self.log) = Default::default();
            self.scan_decoder.instructions = instructions;
        }
    }

    /// Decodes the scans of a file whose header was parsed already.
    pub fn decode_scans(&mut self, bytes: &[u8], header: Header, limits: &Limits) -> Decoded {
        self.log.clear();
        let frame = &header.frame;
        let is_covered = header.is_single_scan() && covers_all_blocks(frame, &header.first_scan);
        let mut run = FrameRun {
            bytes,
            frame,
            planes: frame.components.iter().map(|c| self.plane(c, !is_covered)).collect(),
            progression: Progression::new(frame),
            other_fault: None,
            scans: 0,
            scans_complete: 0,
            scans_decoded: 0,
            visits: 0,
            max_visits: limits.max_visited_bytes(bytes.len()),
            max_decisions: limits.max_decisions(bytes.len()),
        };
        self.scan_decoder.begin_frame(frame, limits.max_decisions(bytes.len()));
        let end = run.decode(header.scans(bytes), &mut self.scan_decoder, &mut self.log);
        let (report, planes) = run.finish(end, &self.log);
        self.trim_working_memory(&header.frame, bytes.len());
        if report.status == Status::Failed {
            self.keep_memory_of(planes);
            return Decoded { coefficients: None, report };
        }
        let Header { frame, color, orientation, .. } = header;
        Decoded { coefficients: Some(Coefficients { frame, color, orientation, planes }), report }
    }

    /// Memory for so many coefficients: the smallest spare plane that is large enough. Else new memory, zero from the beginning.
    fn take_spare(&mut self, len: usize) -> Vec<i16> {
        let large_enough = self.spare.iter().enumerate().filter(|(_, data)| data.capacity() >= len);
        match large_enough.min_by_key(|(_, data)| data.capacity()) {
            Some((idx, _)) => self.spare.swap_remove(idx),
            None => vec![0; len],
        }
    }

    /// A component's plane; its contents are zero if asked for, else whatever was there.
    fn plane(&mut self, component: &Component, is_zeroed: bool) -> Plane {
        let len = component.padded_blocks_wide as usize * component.padded_blocks_high as usize * 64;
        let mut data = self.take_spare(len);
        if is_zeroed {
            data.clear();
        }
        data.resize(len, 0);
        Plane::new(component, data, None)
    }
}

/// Whether a scan of all components sends the padding blocks too: then none needs to be zero beforehand.
fn covers_all_blocks(frame: &Frame, scan: &Scan) -> bool {
    let is_unpadded = |c: &Component| (c.blocks_wide, c.blocks_high) == (c.padded_blocks_wide, c.padded_blocks_high);
    scan.is_interleaved() || frame.components.iter().all(is_unpadded)
}

/// One frame while its scans are decoded.
struct FrameRun<'a> {
    bytes: &'a [u8],
    frame: &'a Frame,
    planes: Vec<Plane>,
    progression: Progression,
    /// The first fault outside entropy-coded data.
    other_fault: Option<ImageError>,
    scans: u32,
    scans_complete: u32,
    scans_decoded: u32,
    /// Bytes of coefficients that the scans so far have visited.
    visits: u64,
    max_visits: u64,
    max_decisions: u64,
}

impl FrameRun<'_> {
    /// Decodes scan after scan; gives the offset where reading stopped.
    fn decode(&mut self, mut scans: Scans, decoder: &mut ScanDecoder, log: &mut FaultLog) -> usize {
        while let Some(scan) = scans.next() {
            match scan.and_then(|scan| self.decode_scan(&scan, decoder, log)) {
                Ok(Some(end)) => scans.set_entropy_coded_end(end),
                Ok(None) => {}
                Err(fault) => {
                    self.note(fault);
                    break;
                }
            }
        }
        scans.position()
    }

    /// Decodes one scan and gives the end of its data; `None` if it cannot be decoded, but perhaps the next one can.
    fn decode_scan(
        &mut self,
        scan: &Scan,
        decoder: &mut ScanDecoder,
        log: &mut FaultLog,
    ) -> Result<Option<usize>, ImageError> {
        self.spend_visits(scan)?;
        self.scans += 1;
        let faults_before = log.num_faults;
        match decoder.decode(self.bytes, self.frame, scan, &mut self.planes, log) {
            Ok(end) => {
                self.latch_quant_tables(scan);
                if !self.progression.note(scan) {
                    let what = "a progressive scan does not follow on the earlier ones";
                    self.note(ImageError::Malformed { at_bytes: scan.sos_at as u64, what });
                }
                self.scans_decoded += 1;
                self.scans_complete += u32::from(log.num_faults == faults_before);
                if decoder.is_out_of_decisions() {
                    let what = "decisions of arithmetic coding, for a file of this length,";
                    return Err(over_expansion(what, self.max_decisions.saturating_add(1), self.max_decisions));
                }
                Ok(Some(end))
            }
            Err(fault) => {
                self.note(fault);
                self.distrust_scan(scan, log);
                Ok(None)
            }
        }
    }

    /// Takes note of a fault outside entropy-coded data.
    fn note(&mut self, fault: ImageError) {
        self.other_fault = first_reason(self.other_fault.take(), Some(fault));
    }

    /// The work of all scans together is bounded by the length of the file.
    fn spend_visits(&mut self, scan: &Scan) -> Result<(), ImageError> {
        self.visits = self.visits.saturating_add(scan.visited_bytes(self.frame));
        if self.visits > self.max_visits {
            let what = "bytes of coefficients that its scans visit, for a file of this length,";
            return Err(over_expansion(what, self.visits, self.max_visits));
        }
        Ok(())
    }

    /// None of the blocks of a scan that cannot be decoded was received.
    fn distrust_scan(&self, scan: &Scan, log: &mut FaultLog) {
        let layout = ScanLayout::new(self.frame, scan);
        log.distrust(&layout, 0..layout.num_mcus, self.frame.mcus());
    }

    /// A component's quantisation table is the one in force at its first scan, as libjpeg has it.
    fn latch_quant_tables(&mut self, scan: &Scan) {
        for scan_component in &scan.components {
            let component_idx = scan_component.component_idx;
            let table = scan.tables.quant.get(usize::from(self.frame.components[component_idx].quant_idx));
            let table = table.and_then(Option::as_ref).map(Arc::as_ref);
            self.planes[component_idx]
                .quant
                .get_or_insert_with(|| table.map_or(crate::jpeg::Natural([0; 64]), |t| t.values));
        }
    }

    fn finish(self, end: usize, log: &FaultLog) -> (DecodeReport, Vec<Plane>) {
        let is_sent = self.progression.is_complete();
        let missing = (!is_sent).then_some(ImageError::MissingScans { at_bytes: end as u64 });
        let reason = first_reason(log.first.map(ImageError::from), self.other_fault).or(missing);
        let status = match reason {
            None => Status::Complete,
            Some(_) if self.scans_decoded == 0 => Status::Failed,
            Some(_) => Status::Partial,
        };
        let report = DecodeReport {
            status,
            reason,
            first_untrusted_mcu: log.first_untrusted_mcu(),
            untrusted_mcus: log.untrusted_mcus,
            mcus: self.frame.mcus(),
            scans: self.scans,
            scans_complete: self.scans_complete,
        };
        (report, self.planes)
    }
}

/// The file asks for more work than its length pays for.
fn over_expansion(what: &'static str, value: u64, limit: u64) -> ImageError {
    ImageError::OverLimit { name: "max_expansion", what, value, limit }
}

/// A limit that was met, since it ended the decoding and can be raised; else the fault with the smaller offset.
fn first_reason(a: Option<ImageError>, b: Option<ImageError>) -> Option<ImageError> {
    let rank = |reason: &ImageError| match reason {
        ImageError::OverLimit { .. } => None,
        reason => Some(reason.at_bytes().unwrap_or(u64::MAX)),
    };
    a.into_iter().chain(b).min_by_key(rank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CorruptKind::{self, BadCode, Excess, RestartMarker, Truncated};
    use crate::jpeg::marker::code;

    /// A gray file of one row of blocks. Its only DC code is 0 (no difference), its only AC code is 0 (EOB): a block is two bits, 00.
    struct GrayFile {
        bytes: Vec<u8>,
    }

    impl GrayFile {
        fn new(frame_marker: u8, num_blocks: u8) -> Self {
            let mut file = Self { bytes: vec![0xFF, code::SOI] };
            file.segment(code::DQT, &[&[0][..], &[1; 64]].concat());
            file.segment(code::DHT, &[&[0][..], &[1], &[0; 15], &[0]].concat());
            file.segment(code::DHT, &[&[0x10][..], &[1], &[0; 15], &[0]].concat());
            file.segment(frame_marker, &[8, 0, 8, num_blocks >> 5, num_blocks << 3, 1, 1, 0x11, 0]);
            file
        }

        fn segment(&mut self, marker: u8, payload: &[u8]) {
            self.bytes.extend([0xFF, marker]);
            self.bytes.extend((payload.len() as u16 + 2).to_be_bytes());
            self.bytes.extend(payload);
        }

        fn scan(&mut self, (ss, se): (u8, u8), ah_al: u8, data: &[u8]) -> usize {
            self.segment(code::SOS, &[1, 1, 0, ss, se, ah_al]);
            self.bytes.extend(data);
            self.bytes.len() - data.len()
        }

        fn decode(mut self) -> DecodeReport {
            self.bytes.extend([0xFF, code::EOI]);
            decode(&self.bytes, &Limits::default()).report
        }
    }

    /// Reason and offset in the data, first untrusted MCU, number of untrusted ones.
    type Outcome = (Option<(CorruptKind, u64)>, Option<u32>, u32);

    /// Eight blocks in one sequential scan.
    fn outcome(restart_interval_mcus: u8, data: &[u8]) -> Outcome {
        let mut file = GrayFile::new(code::SOF0, 8);
        file.segment(code::DRI, &[0, restart_interval_mcus]);
        let data_at = file.scan((0, 63), 0, data) as u64;
        let report = file.decode();
        let reason = report.reason.map(|reason| match reason {
            ImageError::Corrupt { at_bytes, what } => (what, at_bytes - data_at),
            other => panic!("{other}"),
        });
        assert_eq!(report.status == Status::Complete, reason.is_none());
        assert_eq!((report.mcus, report.scans), (8, 1));
        assert_eq!(report.scans_complete == 1, reason.is_none());
        (reason, report.first_untrusted_mcu, report.untrusted_mcus)
    }

    #[test]
    fn data_of_the_right_length_are_complete() {
        assert_eq!(outcome(0, &[0, 0]), (None, None, 0));
        assert_eq!(outcome(0, &[0, 0, 0xFF, 0xD0]), (None, None, 0)); // RSTm after the last MCU
        assert_eq!(outcome(2, &[0, 0xFF, 0xD0, 0, 0xFF, 0xD1, 0, 0xFF, 0xFF, 0xD2, 0]), (None, None, 0));
    }

    #[test]
    fn short_data_are_truncated_and_long_data_are_excess() {
        assert_eq!(outcome(0, &[0]), (Some((Truncated, 1)), Some(4), 4));
        assert_eq!(outcome(0, &[]), (Some((Truncated, 0)), Some(0), 8));
        assert_eq!(outcome(0, &[0, 0, 0]), (Some((Excess, 2)), None, 0));
        assert_eq!(outcome(0, &[0, 0, 0xFF, 0xD0, 0]), (Some((Excess, 4)), None, 0));
    }

    #[test]
    fn a_pattern_that_is_no_code_takes_seventeen_bits() {
        // One block, seventeen ones as the next DC code, and 0 for the rest.
        assert_eq!(outcome(0, &[0x3F, 0xFF, 0, 0xE0, 0]), (Some((BadCode, 0)), Some(1), 7));
        // The ones end too soon: that counts as the end of the data.
        assert_eq!(outcome(0, &[0x3F, 0xFF, 0]), (Some((Truncated, 3)), Some(1), 7));
    }

    #[test]
    fn restart_markers_bring_decoding_back() {
        let lost = [0, 0xFF, 0xD0, 0, 0xFF, 0xD2, 0];
        assert_eq!(outcome(2, &lost), (Some((RestartMarker, 4)), Some(4), 2));
        let misnumbered = [0, 0xFF, 0xD0, 0, 0xFF, 0xD5, 0, 0xFF, 0xD2, 0];
        assert_eq!(outcome(2, &misnumbered), (Some((RestartMarker, 4)), Some(4), 2));
        let repeated = [0, 0xFF, 0xD0, 0, 0xFF, 0xD1, 0, 0xFF, 0xD1, 0, 0xFF, 0xD2, 0];
        assert_eq!(outcome(2, &repeated), (Some((RestartMarker, 7)), None, 0));
        let invalid_pair = [0, 0xFF, 0xD0, 0xFF, 0x40, 9, 0xFF, 0xD1, 0, 0xFF, 0xD2, 0];
        assert_eq!(outcome(2, &invalid_pair), (Some((Truncated, 3)), Some(2), 2));
        let none_at_the_end = [0, 0xFF, 0xD0, 0];
        assert_eq!(outcome(2, &none_at_the_end), (Some((Truncated, 4)), Some(4), 4));
    }

    #[test]
    fn scans_that_were_never_sent_leave_no_mcu_untrusted() {
        let mut file = GrayFile::new(code::SOF2, 8);
        file.scan((0, 0), 0, &[0]);
        let eoi_at = file.bytes.len() as u64 + 2;
        let report = file.decode();
        assert_eq!(report.reason, Some(ImageError::MissingScans { at_bytes: eoi_at }));
        assert_eq!((report.status, report.first_untrusted_mcu, report.scans_complete), (Status::Partial, None, 1));
    }

    #[test]
    fn scans_out_of_order_are_decoded_and_reported() {
        let mut file = GrayFile::new(code::SOF2, 8);
        file.scan((0, 0), 1, &[0]);
        let sos_at = file.bytes.len() as u64;
        file.scan((0, 0), 0x21, &[0]); // a second refinement bit, where the first is due
        let report = file.decode();
        assert_eq!(report.reason.and_then(|reason| reason.at_bytes()), Some(sos_at));
        assert_eq!((report.scans, report.scans_complete, report.untrusted_mcus), (2, 2, 0));
    }

    #[test]
    fn a_scan_that_cannot_be_decoded_distrusts_its_mcus() {
        let mut file = GrayFile::new(code::SOF2, 8);
        file.scan((0, 0), 0, &[0]);
        file.scan((9, 3), 0, &[0]); // a band that ends before it begins
        let report = file.decode();
        assert_eq!(report.reason.map(|reason| reason.code()), Some("malformed"));
        assert_eq!((report.status, report.untrusted_mcus), (Status::Partial, 8));
    }

    #[test]
    fn the_work_of_all_scans_is_limited() {
        let mut file = GrayFile::new(code::SOF2, 64);
        for _ in 0..250 {
            file.scan((0, 0), 0, &[0]);
        }
        let limits = Limits { max_expansion: 32, free_coefficient_bytes: 0, ..Limits::default() };
        let report = decode(&file.bytes, &limits).report;
        let bytes_per_scan = 64 * 128;
        assert_eq!(u64::from(report.scans), limits.max_visited_bytes(file.bytes.len()) / bytes_per_scan);
        assert!(report.scans < 250);
    }

    #[test]
    fn garbage_fails_with_a_reason() {
        for bytes in
            [&b""[..], b"\xFF", b"\xFF\xD8", b"\xFF\xD8\xFF\xD9", b"GIF89a", b"\xFF\xD8\xFF\xC0\0\x0B\x08\xFF\xDC"]
        {
            let decoded = decode(bytes, &Limits::default());
            assert_eq!(decoded.report.status, Status::Failed);
            assert!(decoded.coefficients.is_none() && decoded.report.reason.is_some());
        }
    }

    /// Images without a scan that can be decoded, each larger than the last: their memory is not hoarded.
    #[test]
    fn failed_images_leave_no_more_memory_than_one_image_has() {
        let mut decoder = Decoder::default();
        for width in 1..=31 {
            let frame = [0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8 * width, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
            let scan = [0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]; // no quantisation table
            let bytes = [&[0xFF, 0xD8][..], &frame, &scan].concat();
            let decoded = decoder.decode(&bytes, &Limits::default());
            assert_eq!((decoded.report.status, decoded.report.scans), (Status::Failed, 1));
            assert!(decoder.spare.len() <= Decoder::MAX_SPARE);
        }
    }

    #[test]
    fn only_so_much_memory_is_kept() {
        let kept = |max_spare_bytes: u64| {
            let mut decoder = Decoder::keeping(max_spare_bytes);
            let mut file = GrayFile::new(code::SOF0, 64);
            file.scan((0, 63), 0, &[0; 16]);
            let decoded = decoder.decode(&file.bytes, &Limits::default());
            decoded.coefficients.into_iter().for_each(|coefficients| decoder.recycle(coefficients));
            (decoder.spare.len(), decoder.scan_decoder.working_bytes() > 0)
        };
        let (coefficient_bytes, file_bytes) = (64 * 128, 1000);
        assert_eq!(kept(coefficient_bytes + file_bytes), (1, true));
        assert_eq!(kept(coefficient_bytes), (1, false));
        assert_eq!(kept(coefficient_bytes - 1), (0, false));
    }
}
