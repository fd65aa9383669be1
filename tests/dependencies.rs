//! What the crate depends on, checked without a network: licences, and no crate twice but those named here.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Each alone allows use in a program under MIT or Apache-2.0.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
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

/// In several versions, all of them small, because dependencies have not moved on together.
const SEVERAL_VERSIONS: &[&str] =
    &["getrandom", "hashbrown", "rand", "rand_core", "syn", "windows-sys", "windows-targets"];

/// The packages of Cargo.lock for this machine, tests and benchmarks included.
fn packages() -> Vec<Value> {
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc");
    let version = String::from_utf8(rustc.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--locked", "--filter-platform", &host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().expect("packages").clone()
}

/// Whether an SPDX expression is satisfied by [`LICENCES`]: one side of an OR, both sides of an AND. `/` is an old way to write OR.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    // Without brackets: `(A OR B) AND C` holds if C does and A or B does; stricter readings are not needed here.
    expression.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn licences_allow_use() {
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence), "{} is under `{licence}`", package["name"]);
    }
    assert!(is_allowed("MIT/Apache-2.0") && is_allowed("GPL-3.0 OR MIT") && is_allowed("(MIT OR X) AND Zlib"));
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0"));
}

#[test]
fn no_crate_comes_twice() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        versions.entry(text("name")).or_default().push(text("version"));
    }
    versions.retain(|name, versions| versions.len() > 1 && !SEVERAL_VERSIONS.contains(&name.as_str()));
    assert!(versions.is_empty(), "{versions:?}: update, so that there is one, or name it in this test");
}
