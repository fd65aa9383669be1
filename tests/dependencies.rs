//! What the crate and its tools depend on, checked without a network: where it comes from, licences, and no crate twice but those named here.
//!
//! What is known of vulnerabilities is not looked up here: advisories change every day, and need a network (`ci/long.sh` asks for them where
//! `cargo audit` is installed).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[path = "common/say.rs"]
mod say;

/// Each alone allows use in a program under MIT or Apache-2.0.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "NCSA",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "IJG",
    "Unlicense",
];

/// These too, of tools that only make or check files of this repository.
const TOOL_LICENCES: &[&str] = &["MPL-2.0"];

/// In several versions, all of them small, because dependencies have not moved on together.
const SEVERAL_VERSIONS: &[&str] =
    &["getrandom", "hashbrown", "rand", "rand_core", "syn", "windows-sys", "windows-targets"];

/// The same, of the feature `torch` alone: libtorch's wrapper is older than the rest.
const SEVERAL_VERSIONS_WITH_TORCH: &[&str] = &[
    "block-buffer",
    "cpufeatures",
    "crypto-common",
    "digest",
    "rand_chacha",
    "safetensors",
    "sha2",
    "thiserror",
    "thiserror-impl",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folders of the repository that have a lock file: the crate, its fuzz targets, tools and models.
fn locked_folders() -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        if folder.join("Cargo.lock").exists() {
            found.push(folder.to_path_buf());
        }
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap_or_default();
            // Links too: what they lead to is not this repository's.
            if entry.file_type().unwrap().is_dir() && name != "target" && !name.starts_with('.') {
                collect(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    collect(root(), &mut found);
    assert!(found.len() >= 6, "{found:?}: the crate, fuzz, tests/model, tests/oracle12, ci/bindgen, ci/cbindgen");
    found
}

/// The packages of a lock file for this machine, tests, benchmarks and all features included; an error if some of them are not here.
fn packages(folder: &Path) -> Result<Vec<Value>, String> {
    packages_with(folder, &["--all-features"])
}

fn packages_with(folder: &Path, features: &[&str]) -> Result<Vec<Value>, String> {
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc");
    let version = String::from_utf8(rustc.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--locked", "--filter-platform", &host])
        .args(features)
        .current_dir(folder)
        .output()
        .expect("cargo");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    Ok(metadata["packages"].as_array().expect("packages").clone())
}

/// The crate's own packages. Those of features that were never built are not here, unless `cargo fetch` has brought them.
fn own_packages() -> Vec<Value> {
    packages(root()).unwrap_or_else(|error| {
        let error = error.lines().next().unwrap_or_default();
        say::skipped(format_args!(
            "dependencies of features that are off by default: {error}; `cargo fetch` brings them"
        ));
        packages_with(root(), &[]).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Of the lock files of tools, with the folder; those whose packages were never fetched are named and left out.
fn tool_packages() -> Vec<(PathBuf, Vec<Value>)> {
    let folders = locked_folders().into_iter().filter(|folder| folder != root());
    folders
        .filter_map(|folder| match packages(&folder) {
            Ok(packages) => Some((folder, packages)),
            Err(error) => {
                say::skipped(format_args!("{}: {}", folder.display(), error.lines().next().unwrap_or_default()));
                None
            }
        })
        .collect()
}

#[test]
fn every_crate_comes_from_a_registry() {
    let own_name = |folder: &Path| {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        manifest.lines().find_map(|line| line.strip_prefix("name = ")).expect("a package's name").to_owned()
    };
    let mut num_crates = 0;
    for folder in locked_folders() {
        let own = [own_name(&folder), own_name(root())];
        let lock = std::fs::read_to_string(folder.join("Cargo.lock")).unwrap();
        for package in lock.split("[[package]]").skip(1) {
            let value = |key: &str| package.lines().find_map(|line| line.strip_prefix(key));
            let name = value("name = ").expect("a name");
            match value("source = ") {
                Some(source) => {
                    assert!(source.starts_with("\"registry+"), "{}: {name} comes from {source}", folder.display());
                    assert!(value("checksum = ").is_some(), "{}: {name} has no checksum", folder.display());
                    num_crates += 1;
                }
                None => assert!(own.iter().any(|own| own == name), "{}: {name} is a path", folder.display()),
            }
        }
    }
    assert!(num_crates > 200, "only {num_crates} crates were found in the lock files");
}

/// Whether an SPDX expression is satisfied by these licences: one side of an OR, both sides of an AND. `/` is an old way to write OR.
fn is_allowed(expression: &str, licences: &[&str]) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    // Without brackets: `(A OR B) AND C` holds if C does and A or B does; stricter readings are not needed here.
    expression.split(" AND ").all(|part| part.split(" OR ").any(|licence| licences.contains(&licence.trim())))
}

fn check_licences(packages: &[Value], licences: &[&str]) {
    // Tools of this repository are not published, and have none of their own.
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence, licences), "{} is under `{licence}`", package["name"]);
    }
}

#[test]
fn licences_allow_use() {
    check_licences(&own_packages(), LICENCES);
    let for_tools = [LICENCES, TOOL_LICENCES].concat();
    for (folder, packages) in tool_packages() {
        let is_tool = folder.starts_with(root().join("ci"));
        check_licences(&packages, if is_tool { &for_tools } else { LICENCES });
    }
    let is_allowed = |expression| is_allowed(expression, LICENCES);
    assert!(is_allowed("MIT/Apache-2.0") && is_allowed("GPL-3.0 OR MIT") && is_allowed("(MIT OR X) AND Zlib"));
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0"));
}

#[test]
fn no_crate_comes_twice() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in own_packages() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        versions.entry(text("name")).or_default().push(text("version"));
    }
    let is_known = |name: &str| SEVERAL_VERSIONS.contains(&name) || SEVERAL_VERSIONS_WITH_TORCH.contains(&name);
    versions.retain(|name, versions| versions.len() > 1 && !is_known(name));
    assert!(versions.is_empty(), "{versions:?}: update, so that there is one, or name it in this test");
}
