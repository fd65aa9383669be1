#!/usr/bin/env bash
# Builds feature `torch` and runs its tests: libtorch against our engines, training, shared memory, `dctflow train`. Installs libtorch into target/
# first. What wants a GPU is skipped without one, and counted; DCTFLOW_REQUIRE_ENGINES=cuda makes that a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

LIBTORCH=$(ci/libtorch.sh)
# Threads that wait must not spin: on few cores the others would not get on. (The program sees to it itself.)
export LIBTORCH OMP_WAIT_POLICY=passive

cargo clippy --features torch --lib --bins --test torch --test train_command -- -D warnings
cargo test --features torch --test torch --test train_command -- --nocapture
cargo test --features torch --lib train::
