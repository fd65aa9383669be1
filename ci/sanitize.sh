#!/usr/bin/env bash
# Runs the kernels on the emulator under AddressSanitizer and UndefinedBehaviorSanitizer (the C++ compiler's own; only the emulator and the
# kernels are instrumented, so no dependency is built anew). Arguments: tests to run, as for cargo test; default: those of the emulator itself.
set -euo pipefail
cd "$(dirname "$0")/.."

export CXX=${CXX:-g++}
export DCTFLOW_EMULATOR_FLAGS="-fsanitize=address,undefined -fsanitize-recover=address,undefined -fno-omit-frame-pointer -g -lasan -lubsan"
# AddressSanitizer's library must come before all others, and rustc offers no place there.
host=$(rustc -vV | sed -n 's/^host: //p')
runner=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<< "$host")_RUNNER
export "$runner=env LD_PRELOAD=$("$CXX" -print-file-name=libasan.so)"
# Kernels that are wrong on purpose are reported too, so neither sanitizer stops the process: the emulator fails the launch, and this script
# looks for reports elsewhere. Leaks: abandoned fibers look like some.
export ASAN_OPTIONS=halt_on_error=0:detect_leaks=0:handle_segv=0:${ASAN_OPTIONS:-}
export UBSAN_OPTIONS=print_stacktrace=0:${UBSAN_OPTIONS:-}

log=target/sanitize.log
tests=("$@")
[[ $# -gt 0 ]] || tests=(--test emulator)
status=0
cargo test --quiet --no-default-features "${tests[@]}" > "$log" 2>&1 || status=$?
grep -E '^(test result|running)|panicked|FAILED' "$log" || true
if grep 'runtime error' "$log" | grep -v 'selftest/break_rule.cuh'; then
    echo "undefined behaviour: the whole report is in $log" >&2
    exit 1
fi
[[ $status -eq 0 ]] || { tail -n 40 "$log"; exit "$status"; }
