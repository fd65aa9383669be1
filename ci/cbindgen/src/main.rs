//! Writes `include/dctflow.h` from `src/capi`. Run by `ci/capi.sh`.

use std::error::Error;
use std::path::Path;

use cbindgen::{Builder, DocumentationStyle, EnumConfig, ExportConfig, Language, RenameRule, Style};

fn main() -> Result<(), Box<dyn Error>> {
    let [root, header] = std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage: ROOT HEADER")?;
    let folder = Path::new(&root).join("src/capi");
    let enumeration = EnumConfig { rename_variants: RenameRule::QualifiedScreamingSnakeCase, ..EnumConfig::default() };
    let mut config = cbindgen::Config {
        language: Language::C,
        style: Style::Type,
        cpp_compat: true,
        include_guard: Some("DCTFLOW_H".into()),
        no_includes: true,
        sys_includes: vec!["stddef.h".into(), "stdint.h".into()],
        usize_is_size_t: true,
        documentation_style: DocumentationStyle::C99,
        header: Some(HEADER.into()),
        line_length: 120,
        enumeration,
        ..cbindgen::Config::default()
    };
    let names = ["Session", "Batch", "Ticket", "Outcomes", "Outcome", "Options", "Code"];
    let rename = names.map(|name| (format!("Dctflow{name}"), format!("dctflow_{}_t", name.to_lowercase())));
    config.export = ExportConfig { rename: rename.into_iter().collect(), ..ExportConfig::default() };
    let builder = ["code.rs", "outcomes.rs", "mod.rs"]
        .iter()
        .fold(Builder::new().with_config(config), |builder, file| builder.with_src(folder.join(file)));
    let mut text = Vec::new();
    builder.generate()?.write(&mut text);
    std::fs::write(header, without_safety_sections(&String::from_utf8(text)?))?;
    Ok(())
}

const HEADER: &str = "\
// dctflow in C: JPEG files in, logits out. Written by ci/capi.sh from src/capi: change that.
//
// Every object is an opaque handle with a _free function, which takes NULL. Every function that can fail returns a dctflow_code_t;
// dctflow_message() says what was wrong. A session may be used by several threads at a time; every other handle belongs to one thread at
// a time.";

/// Rust's headings stay in Rust; their sentences are good for C, too.
fn without_safety_sections(header: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in header.lines() {
        if line == "// # Safety" {
            // With the empty line before it.
            if lines.last() == Some(&"//") {
                lines.pop();
            }
        } else {
            lines.push(line);
        }
    }
    lines.join("\n").replace("DCTFLOW_CODE_T_", "DCTFLOW_CODE_") + "\n"
}
