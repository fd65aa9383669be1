//! `--limit`: what a file may ask for.

use clap::Args;
use dctflow::jpeg::Limits;

/// Limits on hostile files.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Change a limit on what a file may ask for; can be repeated.
    #[arg(long = "limit", value_name = "NAME=N", value_parser = parse, long_help = long_help())]
    changes: Vec<Change>,
}

/// One limit's new value.
#[derive(Clone, Debug)]
struct Change {
    name: String,
    value: u64,
}

impl LimitArgs {
    /// The default limits with the changes that were asked for.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for Change { name, value } in &self.changes {
            // The name was looked up when it was parsed.
            let _ = limits.set(name, *value);
        }
        limits
    }
}

fn parse(text: &str) -> Result<Change, String> {
    let (name, value) = text.split_once('=').ok_or("say NAME=N, as in max_scans=1000")?;
    let value = value.parse().map_err(|_| format!("`{value}` is no whole number"))?;
    Limits::default().set(name, value)?;
    Ok(Change { name: name.into(), value })
}

/// Names and defaults, from the library.
fn long_help() -> String {
    let defaults = Limits::default().named().map(|(name, value)| format!("  {name}={value}"));
    let head = "Change a limit on what a file may ask for; can be repeated. A file over a limit fails and says which. The defaults are:";
    format!("{head}\n\n{}", defaults.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_by_name() {
        let changes = ["max_scans=7", "max_side=100", "max_scans=9"].map(|text| parse(text).unwrap());
        let limits = LimitArgs { changes: changes.into() }.limits();
        assert_eq!((limits.max_scans, limits.max_side), (9, 100));
        assert_eq!(limits.max_pixels, Limits::default().max_pixels);
        for wrong in ["max_scans", "max_scans=", "max_scans=-1", "scans=1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
