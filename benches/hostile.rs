//! What hostile files cost, beside honest ones: CPU time per byte of the file, in rounds that run both in turn: decoding, the network's input,
//! a whole session, and archives, read and run by a session.
//!
//! The limits allow every file, member of an archive and row of a table the work of [`FREE_PHOTOS`] of 12 megapixels, however short it is; what
//! counts is the time per byte beyond that. `cargo bench --bench hostile` prints tables, and fails if a ratio is over [`MAX_RATIO`]. Counts of work, which are
//! the same on every machine, are asserted in `tests/limits.rs`.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use dctflow::cpu::Decoder;
use dctflow::jpeg::Limits;
use dctflow::network::{Config, Variant, Weights};
use dctflow::session::{Batch, DeviceChoice, Session};
use dctflow::sources::Sources;
use dctflow::synth::{Encoding, Interleaving, Layout, Picture, photo_set, sequential_scans};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

#[path = "../tests/common/hostile.rs"]
#[allow(dead_code)]
mod hostile;

/// What SECURITY.md promises.
const MAX_RATIO: f64 = 130.0;
const FREE_PHOTOS: u32 = 8;
const ROUNDS: usize = 5;
/// Long enough for the free amount to matter less than the length.
const FILE_BYTES: usize = 256 << 10;

/// CPU time of the stages, added up by [`Times::sum`].
#[derive(Clone, Copy, Default)]
struct Times {
    read: Duration,
    decode: Duration,
    input: Duration,
    network: Duration,
}

impl Times {
    fn sum(&self) -> Duration {
        self.read + self.decode + self.input + self.network
    }
}

/// What is measured in turn with honest files.
struct Case {
    name: String,
    num_bytes: usize,
    /// Files in it, each of which has the free amount.
    num_files: u32,
    run: Box<dyn Fn(&Engine) -> Times>,
}

/// A session of one thread, and a decoder by itself.
struct Engine {
    session: Session,
}

impl Engine {
    fn new() -> Self {
        let size = (224, 224);
        let config = Config { width: 0.05, classes: 5, input_size: size, ..Config::new(Variant::LateConcatRfaThinner) };
        let weights = Weights::random(config, 1).expect("a network");
        let weights = weights.with_transform("short=256,crop=224".parse().expect("a transform")).expect("its size");
        let builder = Session::builder(&weights).device(DeviceChoice::Cpu).threads(1).slots(1);
        Self { session: builder.build().expect("a session") }
    }

    fn run(&self, files: impl IntoIterator<Item = Vec<u8>>) -> Times {
        let before = self.session.stage_times();
        for files in files.into_iter().collect::<Vec<_>>().chunks(16) {
            let mut batch = Batch::new();
            files.iter().for_each(|file| batch.push(file.clone(), None, 0));
            black_box(self.session.submit(batch).wait().expect("outcomes"));
        }
        let times = self.session.stage_times().since(&before);
        Times {
            read: Duration::ZERO,
            decode: times.parse + times.entropy,
            input: times.resample,
            network: times.network,
        }
    }

    /// An archive, written to a file of this extension.
    fn run_archive(&self, bytes: &[u8], extension: &str) -> Times {
        let path = std::env::temp_dir().join(format!("hostile-{}.{extension}", std::process::id()));
        std::fs::write(&path, bytes).expect("a place for temporary files");
        let mut files = Vec::new();
        let start = ThreadTime::now();
        Sources::new([&path], Limits::default().max_file_bytes).for_each(|item| {
            files.extend(item.bytes);
            ControlFlow::Continue(())
        });
        let read = start.elapsed();
        std::fs::remove_file(&path).expect("the file");
        Times { read, ..self.run(files) }
    }
}

fn tar_of<'a>(members: impl IntoIterator<Item = (String, &'a [u8])>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).expect("a member");
    }
    builder.into_inner().expect("an archive")
}

/// A table in which every row names the one image of the dictionary.
fn repeating_table(image: &[u8], num_rows: usize) -> Vec<u8> {
    let schema = parse_message_type("message images { optional binary image; }").expect("a schema");
    let mut bytes = Vec::new();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), properties).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let mut column = group.next_column().expect("a column").expect("the only one");
    let values = vec![ByteArray::from(image.to_vec()); num_rows];
    column.typed::<ByteArrayType>().write_batch(&values, Some(&vec![1; num_rows]), None).expect("rows");
    column.close().expect("a column");
    group.close().expect("a row group");
    writer.close().expect("a table");
    bytes
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn decode_all(files: &[Vec<u8>]) -> Times {
    let mut decoder = Decoder::default();
    let start = ThreadTime::now();
    for file in files {
        let decoded = black_box(decoder.decode(file, &Limits::default()));
        decoded.coefficients.into_iter().for_each(|coefficients| decoder.recycle(coefficients));
    }
    Times { decode: start.elapsed(), ..Times::default() }
}

/// Prints what each case costs beside honest files. Returns the largest ratio, that of short files beyond the free amount.
fn compare(title: &str, engine: &Engine, honest: &Case, free: &Case, cases: &[Case]) -> f64 {
    let free = median((0..ROUNDS).map(|_| (free.run)(engine).sum()).collect()) * FREE_PHOTOS;
    println!("\n{title}; free for every file: {:.1} ms", free.as_secs_f64() * 1e3);
    println!(
        "{:<50} {:>9} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7}",
        "", "bytes", "files", "read ms", "decode", "input", "network", "ns/byte", "ratio", "beyond"
    );
    let mut largest = 0f64;
    for case in cases {
        let (mut honest_times, mut times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            honest_times.push((honest.run)(engine).sum());
            times.push((case.run)(engine));
        }
        times.sort_by_key(Times::sum);
        let times = times[ROUNDS / 2];
        let per_byte = |time: Duration, num_bytes: usize| time.as_nanos() as f64 / num_bytes as f64;
        let honest = per_byte(median(honest_times), honest.num_bytes);
        let hostile = per_byte(times.sum(), case.num_bytes);
        let beyond = per_byte(times.sum().saturating_sub(free * case.num_files), case.num_bytes) / honest;
        // A short file has the free amount; a long one must do without it, or its ratio would be hidden behind it.
        let is_long = case.num_files > 0 && case.num_bytes >= case.num_files as usize * FILE_BYTES / 2;
        largest = largest.max(if is_long { hostile / honest } else { beyond });
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{:<50} {:>9} {:>7} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>9.1} {:>7.1}",
            case.name,
            case.num_bytes,
            case.num_files,
            millis(times.read),
            millis(times.decode),
            millis(times.input),
            millis(times.network),
            hostile,
            hostile / honest,
            beyond
        );
    }
    largest
}

fn files_case(name: &str, files: Vec<Vec<u8>>, run: fn(&Engine, &[Vec<u8>]) -> Times) -> Case {
    let num_bytes = files.iter().map(Vec::len).sum();
    let num_files = files.len() as u32;
    Case { name: name.into(), num_bytes, num_files, run: Box::new(move |engine| run(engine, &files)) }
}

fn archive_case(name: &str, bytes: Vec<u8>, extension: &'static str, num_files: usize) -> Case {
    let (name, num_bytes, num_files) = (name.into(), bytes.len(), num_files as u32);
    Case { name, num_bytes, num_files, run: Box::new(move |engine| engine.run_archive(&bytes, extension)) }
}

fn archives() -> Vec<Case> {
    let tiny = hostile::giant_frame(hostile::most_blocks(200));
    let flat = hostile::flat_page((1024, 128));
    let members = |files: &[Vec<u8>]| {
        let named = files.iter().enumerate().map(|(idx, file)| (format!("{idx}.jpg"), &file[..]));
        tar_of(named.collect::<Vec<_>>())
    };
    let mixed: Vec<Vec<u8>> = hostile::files(FILE_BYTES).into_iter().map(|(_, file)| file).collect();
    let long_names = (0..4).map(|idx| (format!("{}{idx}.jpg", "long/".repeat(200_000)), &b"x"[..]));
    vec![
        archive_case("tar, a file of every kind", members(&mixed), "tar", mixed.len()),
        archive_case("tar, giant frames over few bytes", members(&vec![tiny.clone(); 40]), "tar", 40),
        archive_case("tar, members without bytes", members(&vec![Vec::new(); 2000]), "tar", 0),
        archive_case("tar, names of a megabyte", tar_of(long_names), "tar", 0),
        archive_case("parquet, rows that repeat a flat page", repeating_table(&flat, 40), "parquet", 40),
        archive_case("parquet, rows that repeat a giant frame", repeating_table(&tiny, 40), "parquet", 40),
        archive_case("parquet, a million rows", repeating_table(b"x", 1_000_000), "parquet", 0),
    ]
}

fn main() -> ExitCode {
    let photos = photo_set(2018, 24);
    let large = Picture::photo(1, 4000, 3000, 3).coefficients(&Layout::baseline(&[(2, 2), (1, 1), (1, 1)], 85));
    let large = Encoding::new(sequential_scans(&large.frame, Interleaving::Interleaved)).encode(&large).to_bytes();
    let engine = Engine::new();
    let mut largest = 0f64;
    for (title, run) in [
        ("Decoding", (|_, files| decode_all(files)) as fn(&Engine, &[Vec<u8>]) -> Times),
        ("A session: decoding, input, a small network", |engine, files| engine.run(files.iter().cloned())),
    ] {
        let honest = files_case("photos", photos.clone(), run);
        let free = files_case("12 megapixels", vec![large.clone()], run);
        let cases: Vec<Case> =
            hostile::files(FILE_BYTES).into_iter().map(|(name, file)| files_case(name, vec![file], run)).collect();
        largest = largest.max(compare(title, &engine, &honest, &free, &cases));
    }
    let named = photos.iter().enumerate().map(|(idx, photo)| (format!("{idx}.jpg"), &photo[..]));
    let honest = archive_case("photos", tar_of(named), "tar", photos.len());
    let free = archive_case("12 megapixels", tar_of([("a.jpg".to_string(), &large[..])]), "tar", 1);
    largest = largest.max(compare("Archives, read and run by a session", &engine, &honest, &free, &archives()));
    println!("\nThe largest ratio, of short files beyond the free amount, is {largest:.1}; {MAX_RATIO} are promised.");
    if largest <= MAX_RATIO { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
