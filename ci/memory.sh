#!/usr/bin/env bash
# Looks for memory errors: under AddressSanitizer all unit tests, the driver's path against a library that imitates a driver, the tests of the C
# interface, calls of it in any order, and what fuzzing has found; then under valgrind the program on test files (skipped, and said so, where
# it is not installed). The kernels' own sanitizers are in ci/sanitize.sh: here the emulator is built without one, and its fibers pass as they
# are, since all that runs on them is built so too.
# Stable Rust ships the sanitizer's runtime but keeps the option for nightly; RUSTC_BOOTSTRAP lets it through.
set -euo pipefail
cd "$(dirname "$0")/.."

# Without kernels the driver's tests have little to load. (A second call would only have everything built anew.)
[[ -f target/cuda-toolchain/requirements.txt ]] || ci/cuda-toolchain.sh >/dev/null
host=$(rustc -vV | sed -n 's/^host: //p')
asan_flags="-Zsanitizer=address -Cdebuginfo=line-tables-only"
under_asan() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=$asan_flags CARGO_TARGET_DIR=target/asan ASAN_OPTIONS=detect_leaks=0 \
        DCTFLOW_REQUIRE_ENGINES=cpu,emulator DCTFLOW_REQUIRE_KERNELS=1 cargo "$1" --quiet --target "$host" "${@:2}"
}

# A byte behind the end of an allocation must be noticed, or all that follows says nothing.
mkdir -p target/memory
cat > target/memory/wrong.rs <<'RUST'
fn main() {
    let bytes = vec![0u8; 8];
    let offset = 7 + std::env::args().count();
    println!("{}", unsafe { *bytes.as_ptr().add(offset) });
}
RUST
RUSTC_BOOTSTRAP=1 rustc $asan_flags -o target/memory/wrong target/memory/wrong.rs
target/memory/wrong > target/memory/wrong.log 2>&1 || true
grep -q 'AddressSanitizer: heap-buffer-overflow' target/memory/wrong.log || { echo "a read behind an allocation went unnoticed" >&2; exit 1; }

under_asan test --lib
under_asan test --test cuda
under_asan test --test capi
under_asan test --test fuzz_replay -- findings_stay_fixed the_c_interface

if ! command -v valgrind >/dev/null; then
    echo "skipped: valgrind is not installed" >&2
    exit 0
fi
files=target/memory/files
[[ -d $files ]] || under_asan run --example write_test_files -- "$files"
cargo build --quiet --no-default-features --features cli
# Every eighth file: valgrind takes about fifty times as long.
find "$files" -name '*.jpg' | LC_ALL=C sort | awk 'NR % 8 == 1' > target/memory/list
[[ -s target/memory/list ]]
target/debug/dctflow weights init --width 0.05 --classes 5 --transform short=72,crop=64 --out target/memory/w.safetensors
# The program says 1 for files that are broken on purpose.
check() { valgrind --quiet --error-exitcode=99 --leak-check=no target/debug/dctflow "$@" > target/memory/out || (($? == 1)); }
check coefficients --device cpu --threads 2 --digest @target/memory/list
check classify --device cpu --threads 2 --weights target/memory/w.safetensors @target/memory/list
echo "valgrind: nothing found in $(wc -l < target/memory/list) files, decoded and classified"
