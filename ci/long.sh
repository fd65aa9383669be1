#!/usr/bin/env bash
# What takes too long for the gate; run by hand, with its results kept under benches/record/. About three hours on two cores.
#   ci/long.sh [SECONDS of fuzzing per target, default 600]
set -euo pipefail
cd "$(dirname "$0")/.."

ci/oracle12.sh                                                    # 12-bit digests, from libjpeg-turbo 3 built here
PROPTEST_CASES=6000 cargo test --release --test resample          # the operator against the pixel domain
DCTFLOW_EMULATOR_FLAGS=-DDCTFLOW_UCONTEXT cargo test --test emulator  # the emulator's portable fibers
tests/reference/make.sh                                           # PyTorch's logits, made anew (0.6 GB of downloads)
git diff --exit-code tests/data
ci/memory.sh                                                      # AddressSanitizer and valgrind
if cargo miri --version >/dev/null 2>&1; then                     # what Miri can follow: no C++, no threads of a driver
    MIRIFLAGS=-Zmiri-disable-isolation cargo miri test --no-default-features --lib -- dlpack:: abi:: jpeg::
else
    echo "skipped: Miri is not installed (rustup +nightly component add miri)" >&2
fi
if cargo audit --version >/dev/null 2>&1; then                    # known vulnerabilities; needs a network
    for lock in $(git ls-files '*Cargo.lock'); do cargo audit --file "$lock"; done
else
    echo "skipped: cargo audit is not installed" >&2
fi
cargo run --release --quiet --locked --manifest-path tests/model/Cargo.toml --target-dir target/model -- 200000 7  # interleavings of a session's threads
DCTFLOW_SOAK_SECONDS=3600 cargo test --release --test soak -- --nocapture  # an hour of good and bad files
cargo bench --bench hostile                                       # what hostile files cost
ci/fuzz.sh "${1:-600}"
