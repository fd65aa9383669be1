//! What hostile files cost, beside honest ones: CPU time per byte of the file, in rounds that decode both in turn.
//!
//! The limits allow every file the work of a photo of about 12 megapixels, however short it is; what counts is the time per byte beyond that.
//! `cargo bench --bench hostile` prints a table.

use std::hint::black_box;
use std::time::Duration;

use cpu_time::ThreadTime;
use dctflow::cpu::Decoder;
use dctflow::jpeg::Limits;
use dctflow::synth::photo_set;

#[path = "../tests/common/hostile.rs"]
#[allow(dead_code)]
mod hostile;

const ROUNDS: usize = 5;
/// Long enough for the free amount to matter less than the length.
const FILE_BYTES: usize = 256 << 10;

fn time(decoder: &mut Decoder, bytes: &[u8]) -> Duration {
    let start = ThreadTime::now();
    let decoded = black_box(decoder.decode(bytes, &Limits::default()));
    decoded.coefficients.into_iter().for_each(|coefficients| decoder.recycle(coefficients));
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let honest = photo_set(2018, 24);
    let honest_bytes: usize = honest.iter().map(Vec::len).sum();
    let mut decoder = Decoder::default();
    println!("{:<46} {:>9} {:>11} {:>9} {:>7}", "file", "bytes", "ms", "ns/byte", "ratio");
    for (name, bytes) in hostile::files(FILE_BYTES) {
        let (mut honest_times, mut times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            honest_times.push(honest.iter().map(|file| time(&mut decoder, file)).sum());
            times.push(time(&mut decoder, &bytes));
        }
        let per_byte = |time: Duration, num_bytes: usize| time.as_nanos() as f64 / num_bytes as f64;
        let honest = per_byte(median(honest_times), honest_bytes);
        let time = median(times);
        let hostile = per_byte(time, bytes.len());
        let millis = time.as_secs_f64() * 1e3;
        println!("{name:<46} {:>9} {millis:>11.1} {hostile:>9.1} {:>7.1}", bytes.len(), hostile / honest);
    }
}
