#!/usr/bin/env bash
# Looks for memory errors: under AddressSanitizer the unit tests of the modules with unsafe code, the driver's path against a library that
# imitates a driver, the tests of the C interface and calls of it in any order; then under valgrind the program on test files (skipped, and said so, where it is not installed). The kernels' own sanitizers
# are in ci/sanitize.sh. Stable Rust ships the sanitizer's runtime but keeps the option for nightly; RUSTC_BOOTSTRAP lets it through.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
under_asan() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Cdebuginfo=line-tables-only" CARGO_TARGET_DIR=target/asan \
        ASAN_OPTIONS=detect_leaks=0 cargo test --quiet --no-default-features --features sources,cuda --target "$host" "$@"
}
under_asan --lib -- cpu:: abi:: dlpack:: network:: session:: capi:: device:: stages::
under_asan --test cuda
under_asan --test capi
under_asan --test fuzz_replay -- the_c_interface

if ! command -v valgrind >/dev/null; then
    echo "skipped: valgrind is not installed" >&2
    exit 0
fi
cargo build --quiet
files=target/memory/files
[[ -d $files ]] || cargo run --quiet --example write_test_files -- "$files"
# Every eighth file: valgrind takes about fifty times as long.
find "$files" -name '*.jpg' | LC_ALL=C sort | awk 'NR % 8 == 1' > target/memory/list
target/debug/dctflow weights init --width 0.05 --classes 5 --transform short=72,crop=64 --out target/memory/w.safetensors
check() { valgrind --quiet --error-exitcode=99 --leak-check=no target/debug/dctflow "$@" > target/memory/out || (($? == 1)); }
check coefficients --device cpu --threads 2 --digest @target/memory/list
check classify --device cpu --threads 2 --weights target/memory/w.safetensors @target/memory/list
echo "valgrind: nothing found in $(wc -l < target/memory/list) files, decoded and classified"
