//! Who may use whom, held by reading the sources. The table is ARCHITECTURE.md's; `cli` is a program of its own and sees the public API only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("files", &["error"]),
    ("sync", &[]),
    ("tensor", &["error"]),
    ("abi", &["error"]),
    ("jpeg", &["error"]),
    ("resample", &["jpeg", "tensor", "error"]),
    ("network", &["resample", "tensor", "files", "error"]),
    ("cpu", &["jpeg", "resample", "network", "tensor", "error"]),
    ("plan", &["jpeg", "resample", "network", "abi", "tensor", "error"]),
    ("device", &["abi", "error"]),
    ("stages", &["plan", "device", "abi", "tensor", "network", "resample", "jpeg", "error"]),
    ("session", &["stages", "plan", "device", "cpu", "network", "resample", "jpeg", "abi", "tensor", "sync", "error"]),
    ("synth", &["jpeg", "error"]),
    ("sources", &["error"]),
    ("dlpack", &["device", "jpeg", "tensor", "error"]),
    ("torch", &["device", "network", "tensor", "error"]),
    ("train", &["torch", "cpu", "network", "resample", "jpeg", "files", "synth", "tensor", "error"]),
    ("capi", &["session", "device", "network", "resample", "jpeg", "error"]),
];

/// Where `unsafe` may stand: the boundaries to the device and to C, memory maps, SIMD.
const MAY_BE_UNSAFE: &[&str] = &[
    "src/abi/",
    "src/capi/",
    "src/device/",
    "src/dlpack.rs",
    "src/stages/",
    "src/torch/cuda.rs",
    "src/torch/memory.rs",
    "src/cpu/entropy/bitops.rs",
    "src/cpu/input.rs",
    "src/cpu/network/",
];

/// A source file: its path from the crate's root, and its code without comments and without its tests.
struct Source {
    path: String,
    code: String,
}

impl Source {
    /// The module directly below the crate's root that the file belongs to.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
    }

    /// Whether the file is the root of its module, so that its `super` is the crate itself.
    fn is_module_root(&self) -> bool {
        self.path == format!("src/{}.rs", self.module()) || self.path == format!("src/{}/mod.rs", self.module())
    }

    /// The names that follow `crate::`, with those of `crate::{a, b::c}` one by one.
    fn used_names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for (_, rest) in self.code.match_indices("crate::").map(|(at, found)| self.code.split_at(at + found.len())) {
            match rest.strip_prefix('{').and_then(|list| list.split_once('}')) {
                Some((list, _)) => names.extend(list.split(',').map(|path| first_word(path.trim()))),
                None => names.extend([first_word(rest)]),
            }
        }
        names.remove("");
        names
    }
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(text)
}

/// All of `src`, but for the program.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let without_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or(&text);
                let lines = without_tests.lines().map(|line| line.split("//").next().unwrap_or(line));
                let path = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                sources.push(Source { path, code: lines.collect::<Vec<_>>().join("\n") });
            }
        }
    }
    sources.retain(|source| !["lib", "main", "cli"].contains(&source.module()));
    assert!(sources.len() > 20, "the sources are not where they were");
    sources
}

/// What the crate's root re-exports belongs to `error`: the types of errors.
fn module_of(name: &str) -> &str {
    if name.starts_with(char::is_uppercase) { "error" } else { name }
}

#[test]
fn modules_use_only_what_they_may() {
    let mut mistakes = Vec::new();
    for source in sources() {
        let module = source.module();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            mistakes.push(format!("{}: module `{module}` is not in the table", source.path));
            continue;
        };
        for used in source.used_names().into_iter().map(module_of) {
            if used != module && !allowed.contains(&used) {
                mistakes.push(format!("{}: `{module}` may not use `{used}`", source.path));
            }
        }
        if source.is_module_root() && source.code.contains("super::") {
            mistakes.push(format!("{}: write `crate::` for what lies outside the module", source.path));
        }
    }
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}

#[test]
fn the_driver_is_named_in_one_place() {
    for source in sources() {
        let is_its_place = source.path.starts_with("src/device/cuda/");
        assert!(is_its_place || !source.code.contains("cudarc"), "{} names cudarc", source.path);
    }
}

#[test]
fn unsafe_code_stands_at_the_boundaries() {
    for source in sources() {
        let is_boundary = MAY_BE_UNSAFE.iter().any(|place| source.path.starts_with(place));
        let has_unsafe = source.code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        assert!(is_boundary || !has_unsafe, "{} holds unsafe code", source.path);
    }
}
