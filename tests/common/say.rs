//! What a test says even if it passes: libtest keeps what the print macros write, and shows it only of tests that fail.
#![allow(dead_code)]

use std::fmt::Display;
use std::io::Write;

/// Names a file to which every skip is added, a line each, so that they can be counted.
const SKIPS_VARIABLE: &str = "DCTFLOW_SKIPS";

/// A line of its own on stderr, whatever else is being written there.
pub fn say(line: impl Display) {
    let _ = std::io::stderr().write_all(format!("\n{line}\n").as_bytes());
}

/// Says that something was not tested, and why.
pub fn skipped(what: impl Display) {
    let line = format!("skipped: {what}");
    say(&line);
    if let Some(path) = std::env::var_os(SKIPS_VARIABLE) {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
