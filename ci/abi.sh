#!/usr/bin/env bash
# Writes src/abi/bindings.rs and kernels/abi_layout.h from kernels/abi.h; with --check, says whether they are up to date.
# Needs libclang: LIBCLANG_PATH names its folder; without it, the wheel of ci/abi-requirements.txt goes to target/libclang.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -z "${LIBCLANG_PATH:-}" ]]; then
    wheel=target/libclang
    [[ -e $wheel/clang/native/libclang.so ]] ||
        python3 -m pip install --quiet --root-user-action=ignore --no-deps --require-hashes --target "$wheel" -r ci/abi-requirements.txt
    export LIBCLANG_PATH=$PWD/$wheel/clang/native
fi
# The wheel brings no headers of its own; the host compiler's serve (stdint.h).
export BINDGEN_EXTRA_CLANG_ARGS="${BINDGEN_EXTRA_CLANG_ARGS:--I$(${CC:-cc} -print-file-name=include) -I$PWD/kernels}"

written=target/abi
CARGO_TARGET_DIR=target/bindgen cargo run --quiet --locked --manifest-path ci/bindgen/Cargo.toml -- . "$written"

if [[ "${1:-}" == --check ]]; then
    diff -u src/abi/bindings.rs "$written/bindings.rs" && diff -u kernels/abi_layout.h "$written/abi_layout.h" ||
        { echo "the bindings are out of date: run ci/abi.sh and commit what it writes" >&2; exit 1; }
else
    cp "$written/bindings.rs" src/abi/bindings.rs
    cp "$written/abi_layout.h" kernels/abi_layout.h
fi
