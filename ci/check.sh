#!/usr/bin/env bash
# Lints and documentation, without a warning: the default build, the library alone, and the program without what can be left out of it.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo clippy --all-targets -- -D warnings
cargo clippy --no-default-features --lib -- -D warnings
cargo clippy --no-default-features --features cli --bins -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet
