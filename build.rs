//! Tells the program its commit, and builds what is not Rust: the table of kernels (from `kernels/kernels.def`), the emulator (feature `emulator`), and, where a CUDA
//! compiler is found, the kernels themselves.

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[cfg(feature = "cuda")]
#[path = "build/nvcc.rs"]
mod nvcc;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=kernels");
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    tell_commit();
    write_kernel_table(&out_dir)?;
    #[cfg(feature = "emulator")]
    build_emulator();
    #[cfg(feature = "cuda")]
    cuda::build_modules(&out_dir)?;
    #[cfg(feature = "torch")]
    find_libtorch_at_run_time();
    Ok(())
}

/// Programs look for libtorch where it was when they were built, unless the loader is told otherwise.
#[cfg(feature = "torch")]
fn find_libtorch_at_run_time() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    if let Ok(folder) = env::var("LIBTORCH") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}/lib");
    }
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
    // `#pragma unroll` is nvcc's.
    build.flag("-Wno-unknown-pragmas");
    // For ci/sanitize.sh: options of the C++ compiler, and of the linker (`-l...`), for this package alone.
    for flag in env::var("DCTFLOW_EMULATOR_FLAGS").unwrap_or_default().split_whitespace() {
        if flag.starts_with("-l") {
            println!("cargo::rustc-link-arg={flag}");
        } else {
            build.flag(flag);
        }
    }
    for file in ["fiber", "memory", "registry", "scheduler"] {
        build.file(format!("kernels/emulator/{file}.cpp"));
    }
    build.compile("dctflow_emulator");
}

/// The kernels for GPUs, where a CUDA compiler is found.
#[cfg(feature = "cuda")]
mod cuda {
    use super::{Outcome, nvcc};
    use std::env;
    use std::fmt::Write;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// The variable that names the compiler, or says `none`.
    const NVCC_VARIABLE: &str = "DCTFLOW_NVCC";

    /// One module per architecture: (file, variant of `Target` in src/device/cuda/modules.rs, nvcc's options).
    const MODULES: [(&str, &str, &[&str]); 3] = [
        ("sm_80.cubin", "Sm80", &["-gencode=arch=compute_80,code=sm_80", "-cubin"]),
        ("sm_90a.cubin", "Sm90a", &["-gencode=arch=compute_90a,code=sm_90a", "-cubin", "-DDCTFLOW_SM90A"]),
        (PTX_FILE, "Ptx", &["-gencode=arch=compute_80,code=compute_80", "-ptx"]),
    ];
    const PTX_FILE: &str = "compute_80.ptx";

    /// Compiles the modules and writes `modules.rs`, which embeds them; without a compiler it embeds none.
    pub fn build_modules(out_dir: &Path) -> Outcome {
        let mut table = String::new();
        let mut cuda_version = 0;
        if let Some(nvcc) = find_nvcc()? {
            cuda_version = nvcc::version_of(&nvcc).map_err(|why| format!("{}: {why}", nvcc.display()))?;
            compile_all(&nvcc, out_dir)?;
            for (file, target, _) in MODULES {
                let path = out_dir.join(file);
                writeln!(table, "    Image {{ target: Target::{target}, bytes: include_bytes!({path:?}) }},")?;
            }
        } else {
            println!(
                "cargo::warning=no CUDA compiler found: built without kernels for GPUs (ci/cuda-toolchain.sh fetches one)"
            );
        }
        let sizes = if cuda_version == 0 { Vec::new() } else { smem_sizes(&out_dir.join(PTX_FILE))? };
        let source = format!(
            "const CUDA_VERSION: i32 = {cuda_version};\nstatic IMAGES: &[Image] = &[\n{table}];\n\
             static SMEM_BYTES: &[(&str, u32)] = &{sizes:?};\n"
        );
        fs::write(out_dir.join("modules.rs"), source)?;
        Ok(())
    }

    /// The compiler: what the variables say, then the PATH, then what `ci/cuda-toolchain.sh` has put under `target/`. A variable that is set and
    /// wrong is an error, since its author wanted something else than what would be built; a compiler on the PATH may be there for others.
    fn find_nvcc() -> Outcome<Option<PathBuf>> {
        for variable in [NVCC_VARIABLE, "CUDA_HOME", "CUDA_PATH", "PATH"] {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        if let Some(nvcc) = variable(NVCC_VARIABLE) {
            return if nvcc == "none" { Ok(None) } else { working(NVCC_VARIABLE, nvcc.into()).map(Some) };
        }
        for name in ["CUDA_HOME", "CUDA_PATH"] {
            if let Some(folder) = variable(name) {
                return working(name, Path::new(&folder).join("bin/nvcc")).map(Some);
            }
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let in_path = nvcc::find_in_path(&path, |why| println!("cargo::warning={why}"));
        Ok(in_path.or_else(find_in_target))
    }

    fn find_in_target() -> Option<PathBuf> {
        let target = Path::new(&env::var_os("CARGO_MANIFEST_DIR")?).join("target");
        // Cargo's own file, which the set-up script touches: so that this is asked again once there is a compiler.
        let tag = target.join("CACHEDIR.TAG");
        if tag.is_file() {
            println!("cargo::rerun-if-changed={}", tag.display());
        }
        let nvcc = target.join("cuda-toolchain/nvidia/cu13/bin/nvcc");
        nvcc.is_file().then_some(nvcc)
    }

    fn variable(name: &str) -> Option<String> {
        env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn working(name: &str, nvcc: PathBuf) -> Outcome<PathBuf> {
        let outcome = Command::new(&nvcc).arg("--version").output();
        if outcome.is_ok_and(|output| output.status.success()) {
            return Ok(nvcc);
        }
        let nvcc = nvcc.display();
        Err(format!("{name} is set, but {nvcc} does not run: correct it, unset it, or set {NVCC_VARIABLE}=none").into())
    }

    /// Kernel and sizeof(Smem), which device.cu leaves in a variable `KERNEL_smem_bytes`. It is read here, from the PTX: nvcc makes such variables
    /// local to their module, and nothing says that a driver finds local ones. (A kernel for one architecture alone would need its PTX too.)
    fn smem_sizes(ptx: &Path) -> Outcome<Vec<(String, u32)>> {
        let text = fs::read_to_string(ptx)?;
        let sizes = text.lines().filter_map(|line| {
            let line = line.trim_end_matches(';');
            let (declared, value) = line.split_once(" = ").unwrap_or((line, "0"));
            let name = declared.contains(".global").then(|| declared.split_whitespace().last()).flatten()?;
            Some((name.strip_suffix("_smem_bytes")?.to_owned(), value.parse()))
        });
        sizes.map(|(name, bytes)| Ok((name, bytes?))).collect()
    }

    /// All modules at once, since each takes its time.
    fn compile_all(nvcc: &Path, out_dir: &Path) -> Outcome {
        let compilers: Vec<_> = MODULES
            .iter()
            .map(|(file, _, options)| {
                let mut command = Command::new(nvcc);
                command.args(["--options-file", "kernels/nvcc.options", "kernels/device.cu"]);
                command.args(*options).arg("-o").arg(out_dir.join(file));
                if cfg!(feature = "emulator") {
                    command.arg("-DDCTFLOW_SELFTEST");
                }
                (file, command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn())
            })
            .collect();
        for (file, compiler) in compilers {
            let output = compiler?.wait_with_output()?;
            if !output.status.success() {
                let said =
                    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
                let nvcc = nvcc.display();
                return Err(format!("{nvcc} cannot build {file} ({NVCC_VARIABLE}=none builds without):\n{said}").into());
            }
        }
        Ok(())
    }
}
