#!/usr/bin/env bash
# Lints and documentation, without a warning: the default build, the library alone, and everything that can be built here.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo clippy --all-targets -- -D warnings
cargo clippy --no-default-features --lib -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet
