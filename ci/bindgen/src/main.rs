//! Writes `src/abi/bindings.rs` from `kernels/abi.h`, and `kernels/abi_layout.h`, which lets every C++ compiler check that it lays the
//! structs out as Rust does. Run by `ci/abi.sh`.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let [root, output] = std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage: ROOT OUTPUT")?;
    let (root, output) = (Path::new(&root), Path::new(&output));
    let bindings = bindgen::Builder::default()
        .header(root.join("kernels/abi.h").to_string_lossy())
        .header(root.join("kernels/selftest/abi.h").to_string_lossy())
        .allowlist_file(".*/kernels/.*abi\\.h")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .default_macro_constant_type(bindgen::MacroTypeVariation::Unsigned)
        .derive_default(true)
        .use_core()
        .parse_callbacks(Box::new(DocComments))
        .disable_header_comment()
        .raw_line("// Written by ci/abi.sh from kernels/abi.h and kernels/selftest/abi.h: change those.")
        .generate()?
        .to_string();
    std::fs::create_dir_all(output)?;
    std::fs::write(output.join("abi_layout.h"), layout_header(&bindings)?)?;
    std::fs::write(output.join("bindings.rs"), bindings)?;
    Ok(())
}

/// `/**< text */` behind a member is documentation without the arrow.
#[derive(Debug)]
struct DocComments;

impl bindgen::callbacks::ParseCallbacks for DocComments {
    fn process_comment(&self, comment: &str) -> Option<String> {
        comment.strip_prefix('<').map(str::to_owned)
    }
}

/// The layout that bindgen found, as assertions for C++.
fn layout_header(bindings: &str) -> Result<String, Box<dyn Error>> {
    let mut header = String::from(
        "/* Written by ci/abi.sh: every C++ compiler lays out the structs of abi.h as Rust does. */\n#include <stddef.h>\n\n",
    );
    // ["Size of Name"][::core::mem::size_of::<Name>() - 24usize];
    let unwrapped = bindings.split_whitespace().collect::<Vec<_>>().join(" ");
    for entry in unwrapped.split("[\"").skip(1) {
        let (label, rest) = entry.split_once("\"]").ok_or("a layout test without its label")?;
        let number = rest.split_once(" - ").and_then(|(_, n)| n.split_once("usize")).ok_or("a layout test without its number")?.0;
        if let Some(name) = label.strip_prefix("Size of ") {
            writeln!(header, "static_assert(sizeof({name}) == {number}, \"\");")?;
        } else if let Some(field) = label.strip_prefix("Offset of field: ") {
            let (name, field) = field.split_once("::").ok_or("a field without its struct")?;
            writeln!(header, "static_assert(offsetof({name}, {field}) == {number}, \"\");")?;
        }
    }
    Ok(header)
}
