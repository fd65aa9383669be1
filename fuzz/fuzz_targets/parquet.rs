#![no_main]

#[path = "../checks.rs"]
mod checks;

use std::sync::Once;

/// The table's reader panics on some broken tables, which is caught where it is called; libFuzzer's hook would end the process before.
/// A panic that nobody catches still does.
static LET_PANICS_UNWIND: Once = Once::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    LET_PANICS_UNWIND.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            if panic.location().is_some_and(|location| location.file().contains("checks")) {
                eprintln!("{panic}");
            }
        }));
    });
    checks::archives::parquet(bytes);
});
