//! Tells the program its commit, and builds what is not Rust: the table of kernels (from `kernels/kernels.def`), the emulator (feature `emulator`), and, where a CUDA
//! compiler is found, the kernels themselves.

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernels");
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    tell_commit();
    write_kernel_table(&out_dir)?;
    #[cfg(feature = "emulator")]
    build_emulator();
    Ok(())
}

/// Sets `DCTFLOW_COMMIT`, which the records of `dctflow bench` carry, in release builds: others would be rebuilt after every commit.
fn tell_commit() {
    if env::var("PROFILE").is_ok_and(|profile| profile == "release")
        && let Some(commit) = commit()
    {
        println!("cargo::rustc-env=DCTFLOW_COMMIT={commit}");
    }
}

/// The commit's short hash, with `-dirty` where tracked files differ from it; `None` outside of a checkout.
fn commit() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=12", "--match="])?;
    let reference_log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    for path in ["Cargo.toml", "src", &reference_log].into_iter().filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    Some(commit)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

/// The lines `MACRO(a, b, ...)` of a .def file, as lists of columns.
fn read_def(path: &str, macro_name: &str) -> Outcome<Vec<Vec<String>>> {
    let text = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    Ok(text
        .lines()
        .filter_map(|line| line.strip_prefix(macro_name)?.strip_prefix('(')?.strip_suffix(')'))
        .map(|columns| columns.split(',').map(|column| column.trim().to_owned()).collect())
        .collect())
}

/// `verb_object` -> `VerbObject`.
fn type_name(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// Writes `kernels.rs`: one line per kernel and counter, for the macros of src/abi/kernels.rs. Test builds (feature `emulator`) also know the
/// kernels of selftest.def; their numbers follow those of kernels.def, as in the emulator's own table.
fn write_kernel_table(out_dir: &Path) -> Outcome {
    let mut kernels = read_def("kernels/kernels.def", "KERNEL")?;
    if cfg!(feature = "emulator") {
        kernels.extend(read_def("kernels/selftest/selftest.def", "KERNEL")?);
    }
    let mut table = String::from("kernels! {\n");
    for (idx, columns) in kernels.iter().enumerate() {
        let [name, params, _smem, threads, arch, host] = columns.as_slice() else {
            return Err(format!("kernels.def: six columns, please: {columns:?}").into());
        };
        let arch = match arch.as_str() {
            "portable" => "Portable".to_owned(),
            "sm90a" => format!("Sm90a {{ twin: {} }}", type_name(host)),
            _ => return Err(format!("kernels.def: {name}: arch is portable or sm90a, not {arch}").into()),
        };
        writeln!(table, "    {idx} {} {name:?} {params} {threads} {arch};", type_name(name))?;
    }
    table += "}\ncounters! {\n";
    for columns in read_def("kernels/counters.def", "COUNTER")? {
        let name = &columns[0];
        let text = columns[1..].join(", ");
        writeln!(table, "    {} {name:?} {text};", type_name(name))?;
    }
    table += "}\n";
    fs::write(out_dir.join("kernels.rs"), table)?;
    Ok(())
}

/// Compiles the emulator and, under it, the kernels.
#[cfg(feature = "emulator")]
fn build_emulator() {
    println!("cargo::rerun-if-env-changed=DCTFLOW_EMULATOR_FLAGS");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).warnings(true).extra_warnings(true);
    build.include("kernels").flag("-include").flag("kernels/emulator/cuda_words.h");
    // As nvcc is told: no multiply-add unless the kernel says fmaf. And device code reinterprets memory freely.
    build.flag("-ffp-contract=off").flag("-fno-strict-aliasing").flag("-fno-exceptions");
    for flag in env::var("DCTFLOW_EMULATOR_FLAGS").unwrap_or_default().split_whitespace() {
        build.flag(flag);
    }
    for file in ["fiber", "memory", "registry", "scheduler"] {
        build.file(format!("kernels/emulator/{file}.cpp"));
    }
    build.compile("dctflow_emulator");
}
