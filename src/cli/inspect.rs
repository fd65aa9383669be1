//! `dctflow inspect`: what a file says about itself.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use dctflow::cpu::Decoded;
use dctflow::jpeg::{
    Component, DecodeReport, EntropyCoding, Frame, Header, HuffmanTable, Limits, Process, Scan, Status,
    split_entropy_coded,
};
use dctflow::session::DeviceChoice;
use dctflow::sources::{Item, ItemName, Sources};
use dctflow::{ImageError, Result};
use serde_json::{Map, Value, json};

use super::Done;
use super::args::{resolve, thread_pool};
use super::decode::FileDecoder;
use super::limits::LimitArgs;
use super::output::{Output, add_status, name_bytes, object_for, status_word};
use super::parallel::for_each_in_order;

/// Show the frame, components, tables and scans of files
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// JPEG files, folders, tar shards, and @LIST files.
    #[arg(required = true, value_name = "FILES")]
    paths: Vec<PathBuf>,
    /// Decode the coefficients too, and say whether they can be trusted.
    #[arg(long)]
    decode: bool,
    /// What decodes: auto, cpu, cuda, cuda:N or emulator.
    #[arg(long, value_name = "DEVICE", default_value_t, requires = "decode")]
    device: DeviceChoice,
    #[command(flatten)]
    limits: LimitArgs,
    /// One JSON object per file.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  dctflow inspect photo.jpg
  dctflow inspect --decode broken.jpg
  dctflow inspect --json photos/ | jq -r 'select(.process == \"progressive\") | .path'";

/// One file's description: as an object and as text.
struct Inspection {
    name: ItemName,
    status: Status,
    reason: Option<ImageError>,
    facts: Map<String, Value>,
    text: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    let limits = args.limits.limits();
    let sources = Sources::new(&args.paths, limits.max_file_bytes);
    let pool = thread_pool(None)?;
    let mut out = Output::new();
    let mut done = Done::Everything;
    let write = |inspection: Inspection| {
        if inspection.status == Status::Failed {
            done = Done::NotEverything;
        }
        if args.json { write_json(&mut out, inspection) } else { write_text(&mut out, &inspection) }
    };
    if args.decode {
        let mut decoder = FileDecoder::new(resolve(args.device)?, pool, limits.clone())?;
        let work = |item: &Item, decoded: Decoded| inspect(item, &limits, Some(decoded.report));
        decoder.for_each_in_order(&sources, work, write)?;
        decoder.say_where();
    } else {
        for_each_in_order(&pool, &sources, |item| inspect(item, &limits, None), write)?;
    }
    out.flush()?;
    Ok(done)
}

fn write_json(out: &mut Output, inspection: Inspection) -> Result<()> {
    let mut object = object_for(&inspection.name);
    add_status(&mut object, inspection.status, inspection.reason.as_ref());
    object.extend(inspection.facts);
    out.json(object)
}

fn write_text(out: &mut Output, inspection: &Inspection) -> Result<()> {
    let mut head = name_bytes(&inspection.name);
    if let Some(reason) = &inspection.reason {
        let word = status_word(inspection.status, Some(reason));
        head.extend_from_slice(format!(": {word}: {reason}").as_bytes());
    }
    out.line(head)?;
    inspection.text.iter().try_for_each(|line| out.line(format!("  {line}")))
}

fn inspect(item: &Item, limits: &Limits, report: Option<DecodeReport>) -> Inspection {
    let mut inspection = Inspection {
        name: item.name.clone(),
        status: Status::Complete,
        reason: None,
        facts: Map::new(),
        text: Vec::new(),
    };
    let read = match &item.bytes {
        Ok(bytes) => inspection.read(bytes, limits, report),
        Err(reason) => Err((Status::Failed, reason.clone())),
    };
    if let Err((status, reason)) = read {
        inspection.status = status;
        inspection.reason = Some(reason);
    }
    inspection
}

impl Inspection {
    fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        report: Option<DecodeReport>,
    ) -> std::result::Result<(), (Status, ImageError)> {
        let header = Header::parse(bytes, limits).map_err(|reason| (Status::Failed, reason))?;
        self.add_frame(&header, bytes.len());
        header.frame.components.iter().for_each(|component| self.add_component(component));
        let scans = self.add_scans(&header, bytes).map_err(|reason| (Status::Partial, reason));
        if let Some(report) = report {
            self.add_report(report)?;
        }
        scans
    }

    fn add(&mut self, key: &str, value: Value) {
        self.facts.insert(key.into(), value);
    }

    fn add_frame(&mut self, header: &Header, num_bytes: usize) {
        let Header { frame, color, orientation, metadata, .. } = header;
        let jfif = metadata.jfif.map(|jfif| format!("{}.{:02}", jfif.version.0, jfif.version.1));
        let adobe = metadata.adobe.map(|adobe| adobe.transform);
        self.add("bytes", json!(num_bytes));
        self.add("width", json!(frame.width));
        self.add("height", json!(frame.height));
        self.add("precision_bits", json!(frame.precision_bits));
        self.add("process", json!(process_name(frame.process)));
        self.add("coding", json!(coding_name(frame.coding)));
        self.add("sampling", json!(frame.sampling_name()));
        self.add("color", json!(format!("{color:?}")));
        self.add("jfif", json!(jfif));
        self.add("adobe_transform", json!(adobe));
        self.add("exif_orientation", json!(metadata.exif_orientation.map(|orientation| orientation as u8)));
        self.add("restart_interval_mcus", json!(header.first_scan.restart_interval_mcus));
        self.add("mcus_wide", json!(frame.mcus_wide()));
        self.add("mcus_high", json!(frame.mcus_high()));
        self.add("mcus", json!(frame.mcus()));
        self.add("blocks", json!(num_blocks(frame)));
        self.text.push(format!(
            "{} x {}, {} {}, {} bits, {}, {color:?}, {num_bytes} bytes",
            frame.width,
            frame.height,
            process_name(frame.process),
            coding_name(frame.coding),
            frame.precision_bits,
            frame.sampling_name(),
        ));
        self.text.push(format!(
            "JFIF {}, Adobe transform {}, EXIF orientation {} ({orientation:?})",
            jfif.unwrap_or("none".into()),
            or_none(adobe),
            or_none(metadata.exif_orientation.map(|orientation| orientation as u8)),
        ));
        self.text.push(format!(
            "{} x {} = {} MCUs, {} blocks, restart interval {} MCUs",
            frame.mcus_wide(),
            frame.mcus_high(),
            frame.mcus(),
            num_blocks(frame),
            header.first_scan.restart_interval_mcus,
        ));
    }

    fn add_component(&mut self, component: &Component) {
        let Component { id, h, v, quant_idx, width_samples, height_samples, blocks_wide, blocks_high, .. } = component;
        self.push_to(
            "components",
            json!({
                "id": id, "h": h, "v": v, "quantisation_table": quant_idx,
                "width_samples": width_samples, "height_samples": height_samples,
                "blocks_wide": blocks_wide, "blocks_high": blocks_high,
            }),
        );
        self.text.push(format!(
            "component {id}: sampling {h}x{v}, {width_samples} x {height_samples} samples, {blocks_wide} x {blocks_high} blocks, \
             quantisation table {quant_idx}"
        ));
    }

    /// Adds scan after scan, until the first that cannot be read.
    fn add_scans(&mut self, header: &Header, bytes: &[u8]) -> std::result::Result<(), ImageError> {
        let frame = &header.frame;
        let mut scans = header.scans(bytes);
        while let Some(scan) = scans.next() {
            let scan = scan?;
            let coded = split_entropy_coded(bytes, scan.ecs_offset, scan.num_intervals(frame));
            scans.set_entropy_coded_end(coded.end);
            self.add_quantisation(frame, &scan);
            self.add_scan(frame, &scan, coded.end - scan.ecs_offset, coded.pieces.len());
        }
        Ok(())
    }

    /// The quantisation tables that come into force with a component's first scan.
    fn add_quantisation(&mut self, frame: &Frame, scan: &Scan) {
        for component in scan.components.iter().filter(|component| component.is_first) {
            let Component { id, quant_idx, .. } = frame.components[component.component_idx];
            let Some(table) = scan.tables.quant.get(usize::from(quant_idx)).and_then(Option::as_ref) else { continue };
            let values = table.values.0;
            self.push_to(
                "quantisation",
                json!({ "component": id, "table": quant_idx, "precision_bits": table.precision_bits, "values": values.as_slice() }),
            );
            self.text.push(format!("quantisation of component {id} ({} bits, natural order)", table.precision_bits));
            for row in values.chunks_exact(8) {
                self.text.push(row.iter().map(|value| format!("{value:6}")).collect());
            }
        }
    }

    fn add_scan(&mut self, frame: &Frame, scan: &Scan, coded_bytes: usize, num_intervals: usize) {
        let ids: Vec<u8> = scan.components.iter().map(|c| frame.components[c.component_idx].id).collect();
        let Scan { ss, se, ah, al, restart_interval_mcus, sos_at, .. } = scan;
        let tables = huffman_tables(frame, scan);
        let described: Vec<Value> =
            tables.iter().map(|(class, idx, table)| huffman_object(class, *idx, table)).collect();
        self.push_to(
            "scans",
            json!({
                "at_bytes": sos_at, "components": ids, "ss": ss, "se": se, "ah": ah, "al": al,
                "restart_interval_mcus": restart_interval_mcus, "mcus": scan.num_mcus(frame),
                "entropy_coded_bytes": coded_bytes, "entropy_coded_segments": num_intervals, "huffman_tables": described,
            }),
        );
        self.text.push(format!(
            "scan at byte {sos_at}: components {ids:?}, Ss {ss}, Se {se}, Ah {ah}, Al {al}, {coded_bytes} bytes in {num_intervals} \
             segments"
        ));
        for (class, idx, table) in &tables {
            let (num_codes, longest) = (table.num_codes(), longest_code_bits(table));
            self.text.push(format!("  Huffman table {class} {idx}: {num_codes} codes of up to {longest} bits"));
        }
    }

    fn add_report(&mut self, report: DecodeReport) -> std::result::Result<(), (Status, ImageError)> {
        self.add("first_untrusted_mcu", json!(report.first_untrusted_mcu));
        self.add("untrusted_mcus", json!(report.untrusted_mcus));
        self.add("scans_complete", json!(report.scans_complete));
        self.text.push(format!(
            "decoded: {}, {} of {} MCUs not to be trusted{}",
            report.status.name(),
            report.untrusted_mcus,
            report.mcus,
            report.first_untrusted_mcu.map_or(String::new(), |mcu| format!(", the first is {mcu}")),
        ));
        match report.reason {
            Some(reason) => Err((report.status, reason)),
            None => Ok(()),
        }
    }

    fn push_to(&mut self, key: &str, value: Value) {
        if let Value::Array(list) = self.facts.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
            list.push(value);
        }
    }
}

fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or("none".into(), |value| value.to_string())
}

fn num_blocks(frame: &Frame) -> u64 {
    frame.components.iter().map(|c| u64::from(c.blocks_wide) * u64::from(c.blocks_high)).sum()
}

/// The Huffman tables that a scan uses, each once: class, slot, table.
fn huffman_tables<'a>(frame: &Frame, scan: &'a Scan) -> Vec<(&'static str, u8, &'a HuffmanTable)> {
    if frame.coding == EntropyCoding::Arithmetic {
        return Vec::new();
    }
    let mut used = Vec::new();
    for component in &scan.components {
        if scan.needs_dc_table(frame) {
            used.push(("DC", component.dc_table_idx));
        }
        if scan.needs_ac_table(frame) {
            used.push(("AC", component.ac_table_idx));
        }
    }
    used.sort_by_key(|&(class, idx)| (class != "DC", idx));
    used.dedup();
    let table = |(class, idx): (&'static str, u8)| {
        let slots = if class == "DC" { &scan.tables.dc } else { &scan.tables.ac };
        slots.get(usize::from(idx)).and_then(Option::as_deref).map(|table| (class, idx, table))
    };
    used.into_iter().filter_map(table).collect()
}

fn huffman_object(class: &str, idx: u8, table: &HuffmanTable) -> Value {
    json!({ "class": class, "table": idx, "bits": table.bits.as_slice(), "values": table.used_values() })
}

fn longest_code_bits(table: &HuffmanTable) -> usize {
    table.bits.iter().rposition(|&count| count > 0).map_or(0, |idx| idx + 1)
}

fn process_name(process: Process) -> &'static str {
    match process {
        Process::Baseline => "baseline",
        Process::ExtendedSequential => "extended",
        Process::Progressive => "progressive",
    }
}

fn coding_name(coding: EntropyCoding) -> &'static str {
    match coding {
        EntropyCoding::Huffman => "huffman",
        EntropyCoding::Arithmetic => "arithmetic",
    }
}
