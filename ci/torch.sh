#!/usr/bin/env bash
# Builds feature `torch` and runs its tests: libtorch against our engines, training, shared memory. Installs libtorch into target/ first.
set -euo pipefail
cd "$(dirname "$0")/.."

LIBTORCH=$(ci/libtorch.sh)
# Threads that wait must not spin: on few cores the others would not get on.
export LIBTORCH OMP_WAIT_POLICY=passive

cargo clippy --features torch --lib --bins --test torch -- -D warnings
cargo test --features torch --test torch
cargo test --features torch --lib train::
