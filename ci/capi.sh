#!/usr/bin/env bash
# Writes include/dctflow.h from src/capi (with --check: says whether it is up to date), and builds and runs the C example on the CPU.
set -euo pipefail
cd "$(dirname "$0")/.."

written=target/capi
mkdir -p "$written"
CARGO_TARGET_DIR=target/cbindgen cargo run --quiet --locked --manifest-path ci/cbindgen/Cargo.toml -- . "$written/dctflow.h"
if [[ "${1:-}" == --check ]]; then
    diff -u include/dctflow.h "$written/dctflow.h" ||
        { echo "the header is out of date: run ci/capi.sh and commit what it writes" >&2; exit 1; }
else
    cp "$written/dctflow.h" include/dctflow.h
fi

cargo rustc --quiet --lib --features capi,emulator --crate-type cdylib
cargo run --quiet --features capi,emulator -- weights init --width 0.05 --classes 10 --out "$written/small.safetensors" >/dev/null
cargo run --quiet --example write_test_files -- "$written/images"
"${CC:-cc}" -std=c11 -Wall -Wextra -Werror -Iinclude examples/c/classify.c -o "$written/classify" -Ltarget/debug -ldctflow
"${CXX:-c++}" -std=c++17 -fsyntax-only -x c++ include/dctflow.h

first=$(find "$written/images" -name '*.jpg' | sort | head -n 1)
export LD_LIBRARY_PATH=$PWD/target/debug
"$written/classify" "$written/small.safetensors" "$first" include/dctflow.h > "$written/answers"
cat "$written/answers"
# A sound file has classes; what is no JPEG has a reason; both come back in order.
grep -q "^$first complete .*class" "$written/answers"
grep -q "^include/dctflow.h failed not-a-jpeg" "$written/answers"
if "$written/classify" /nonexistent "$first" 2> "$written/error"; then exit 1; fi
grep -q nonexistent "$written/error"
