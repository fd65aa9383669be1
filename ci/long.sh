#!/usr/bin/env bash
# What takes too long for the gate; run by hand, with its results kept under benches/record/. About an hour on two cores.
#   ci/long.sh [SECONDS of fuzzing per target, default 600]
set -euo pipefail
cd "$(dirname "$0")/.."

ci/oracle12.sh                                                    # 12-bit digests, from libjpeg-turbo 3 built here
PROPTEST_CASES=6000 cargo test --release --test resample          # the operator against the pixel domain
DCTFLOW_EMULATOR_FLAGS=-DDCTFLOW_UCONTEXT cargo test --test emulator  # the emulator's portable fibers
tests/reference/make.sh                                           # PyTorch's logits, made anew (0.6 GB of downloads)
git diff --exit-code tests/data
ci/fuzz.sh "${1:-600}"
