#!/usr/bin/env bash
# Holds the decoder to libjpeg-turbo 3 on 12-bit files, and remakes tests/data/twelve_bit.tsv. The oracle is a program of its own
# (tests/oracle12), since the tests link another libjpeg. Its build needs CMake, which comes from PyPI into target/ if it is missing,
# and make.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v cmake >/dev/null; then
    venv=target/cmake-venv
    [[ -x $venv/bin/cmake ]] || {
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r ci/cmake-requirements.txt
    }
    PATH=$PWD/$venv/bin:$PATH
fi

CARGO_TARGET_DIR=target/oracle12 cargo build --release --locked --quiet --manifest-path tests/oracle12/Cargo.toml
export DCTFLOW_ORACLE12=$PWD/target/oracle12/release/oracle12
DCTFLOW_REMAKE_DATA=1 cargo test --test conformance twelve_bit -- --nocapture
git diff --exit-code --stat -- tests/data/twelve_bit.tsv
