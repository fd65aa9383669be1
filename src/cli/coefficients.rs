//! `dctflow coefficients`: quantised coefficients, as files or as digests.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component as PathComponent, Path, PathBuf};

use clap::Args as ClapArgs;
use dctflow::cpu::Decoded;
use dctflow::files::replace_file;
use dctflow::jpeg::{Coefficients, DecodeReport, Plane, Status};
use dctflow::session::DeviceChoice;
use dctflow::sources::{Item, ItemName, Sources};
use dctflow::{Error, ErrorKind, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use super::Done;
use super::args::{resolve, thread_pool, threads_parser};
use super::decode::FileDecoder;
use super::limits::LimitArgs;
use super::output::{Output, add_status, name_bytes, object_for, status_word};
use super::progress;

/// Decode files to quantised DCT coefficients
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// JPEG files, folders, tar shards, and @LIST files.
    #[arg(required = true, value_name = "FILES")]
    paths: Vec<PathBuf>,
    /// Write one safetensors file per image into this folder, under the image's own path.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print a line per file: status, first untrusted MCU or -, SHA-256 of the coefficients, path.
    #[arg(long)]
    digest: bool,
    /// What decodes: auto, cpu, cuda, cuda:N or emulator.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// Threads of the CPU [default: one per core].
    #[arg(long, value_name = "N", value_parser = threads_parser())]
    threads: Option<u16>,
    #[command(flatten)]
    limits: LimitArgs,
    /// One JSON object per file.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
A safetensors file holds, for component i in frame order, coefficients.i, i16 [blocks_high,
blocks_wide, 64], natural order within a block, and quantization.i, u16 [64].

The digest is over, for each component in frame order, u32 blocks wide and u32 blocks high, then its
coefficients as i16, all little-endian.

Examples:
  dctflow coefficients --digest photos/ > digests.tsv
  dctflow coefficients --out coefficients/ @list.txt";

/// What is printed of one file.
struct Line {
    name: ItemName,
    report: DecodeReport,
    digest: Option<String>,
    written: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Done> {
    let device = resolve(args.device)?;
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    }
    let limits = args.limits.limits();
    let sources = Sources::new(&args.paths, limits.max_file_bytes);
    let mut decoder = FileDecoder::new(device, thread_pool(args.threads)?, limits)?;
    let progress = progress::images();
    let mut out = Output::new();
    let mut done = Done::Everything;
    decoder.for_each_in_order(
        &sources,
        |item, decoded| finish(item, decoded, args),
        |decoded| {
            let decoded = decoded?;
            if decoded.report.status == Status::Failed {
                done = Done::NotEverything;
            }
            progress.inc(1);
            if args.json { write_json(&mut out, &decoded) } else { write_line(&mut out, &decoded, args.digest) }
        },
    )?;
    progress.finish_and_clear();
    out.flush()?;
    decoder.say_where();
    Ok(done)
}

/// An error is one of the output folder, and ends the command.
fn finish(item: &Item, decoded: Decoded, args: &Args) -> Result<Line> {
    let Decoded { coefficients, report } = decoded;
    let mut decoded = Line { name: item.name.clone(), report, digest: None, written: None };
    let Some(coefficients) = coefficients else { return Ok(decoded) };
    if args.digest {
        decoded.digest = Some(coefficients.digest().iter().map(|byte| format!("{byte:02x}")).collect());
    }
    if let Some(dir) = &args.out {
        let path = output_path(dir, &decoded.name);
        replace_file(&path, &to_safetensors(&coefficients, &decoded.report)?)?;
        decoded.written = Some(path);
    }
    Ok(decoded)
}

fn write_line(out: &mut Output, decoded: &Line, digest: bool) -> Result<()> {
    let Line { name, report, .. } = decoded;
    let mut line = status_word(report.status, report.reason.as_ref()).into_bytes();
    line.push(b'\t');
    line.extend_from_slice(report.first_untrusted_mcu.map_or("-".into(), |mcu| mcu.to_string()).as_bytes());
    if digest {
        line.push(b'\t');
        line.extend_from_slice(decoded.digest.as_deref().unwrap_or("-").as_bytes());
    }
    line.push(b'\t');
    line.extend_from_slice(&name_bytes(name));
    if let (Some(reason), false) = (&report.reason, digest) {
        line.extend_from_slice(format!("\t{reason}").as_bytes());
    }
    out.line(line)
}

fn write_json(out: &mut Output, decoded: &Line) -> Result<()> {
    let Line { name, report, digest, written } = decoded;
    let mut object = object_for(name);
    add_status(&mut object, report.status, report.reason.as_ref());
    object.insert("first_untrusted_mcu".into(), json!(report.first_untrusted_mcu));
    object.insert("untrusted_mcus".into(), json!(report.untrusted_mcus));
    object.insert("mcus".into(), json!(report.mcus));
    object.insert("scans_complete".into(), json!(report.scans_complete));
    object.insert("sha256".into(), json!(digest));
    object.insert("written".into(), json!(written.as_ref().map(|path| path.to_string_lossy())));
    out.json(object)
}

/// One image as a safetensors file: two tensors per component, the frame in the metadata.
fn to_safetensors(coefficients: &Coefficients, report: &DecodeReport) -> Result<Vec<u8>> {
    let mut tensors = Vec::new();
    for (component_idx, plane) in coefficients.planes.iter().enumerate() {
        let shape = vec![plane.blocks_high as usize, plane.blocks_wide as usize, 64];
        tensors.push((format!("coefficients.{component_idx}"), Dtype::I16, shape, own_blocks(plane)));
        if let Some(table) = &plane.quant {
            let bytes = table.0.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((format!("quantization.{component_idx}"), Dtype::U16, vec![64], bytes));
        }
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views: Vec<_> = views.collect::<std::result::Result<_, _>>().map_err(internal)?;
    safetensors::serialize(views, Some(metadata(coefficients, report))).map_err(internal)
}

fn internal(error: safetensors::SafeTensorError) -> Error {
    Error::new(ErrorKind::Internal, "a mistake in the layout of a safetensors file; please report it")
        .with_source(error)
}

fn metadata(coefficients: &Coefficients, report: &DecodeReport) -> HashMap<String, String> {
    let Coefficients { frame, color, orientation, .. } = coefficients;
    let sampling: Vec<String> = frame.components.iter().map(|c| format!("{}x{}", c.h, c.v)).collect();
    let entries = [
        ("width", frame.width.to_string()),
        ("height", frame.height.to_string()),
        ("precision_bits", frame.precision_bits.to_string()),
        ("sampling", sampling.join(",")),
        ("color", format!("{color:?}")),
        ("orientation", (*orientation as u8).to_string()),
        ("status", status_word(report.status, report.reason.as_ref())),
    ];
    entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// The component's own blocks, without the padding, little-endian.
fn own_blocks(plane: &Plane) -> Vec<u8> {
    let row_len = plane.blocks_wide as usize * 64;
    let rows = plane.data.chunks(plane.pitch_blocks as usize * 64).take(plane.blocks_high as usize);
    rows.flat_map(|row| &row[..row_len]).flat_map(|value| value.to_le_bytes()).collect()
}

/// Where an image's coefficients go: `dir`, then the image's own path, so that no two images meet in one file. What could lead out of
/// `dir` is spelt: `%root` for a leading `/`, `%up` for `..`; a `%` at the start of a name is doubled.
fn output_path(dir: &Path, name: &ItemName) -> PathBuf {
    let mut path = dir.to_path_buf();
    let parts = [Some(&name.path), name.member.as_ref()];
    for component in parts.into_iter().flatten().flat_map(|path| path.components()) {
        match component {
            PathComponent::CurDir => {}
            PathComponent::RootDir => path.push("%root"),
            PathComponent::ParentDir => path.push("%up"),
            PathComponent::Prefix(_) => path.push("%drive"),
            PathComponent::Normal(name) => path.push(escaped(name)),
        }
    }
    path.as_mut_os_string().push(".safetensors");
    path
}

fn escaped(name: &OsStr) -> OsString {
    let mut escaped = OsString::from(if name.as_encoded_bytes().starts_with(b"%") { "%" } else { "" });
    escaped.push(name);
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(path: &str, member: Option<&str>) -> String {
        let name = ItemName { path: path.into(), member: member.map(PathBuf::from) };
        output_path(Path::new("out"), &name).display().to_string()
    }

    #[test]
    fn images_of_one_name_in_different_folders_do_not_meet() {
        let names = [
            placed("a/x.jpg", None),
            placed("b/x.jpg", None),
            placed("/a/x.jpg", None),
            placed("../a/x.jpg", None),
            placed("%up/a/x.jpg", None),
            placed("a.tar", Some("x.jpg")),
            placed("a.tar", Some("../x.jpg")),
        ];
        for (idx, name) in names.iter().enumerate() {
            assert!(name.starts_with("out/") && !name.contains(".."), "{name}");
            assert!(!names[..idx].contains(name), "{name}");
        }
        assert_eq!(placed("./a/x.jpg", None), placed("a/x.jpg", None));
        assert_eq!(names[0], "out/a/x.jpg.safetensors");
    }
}
