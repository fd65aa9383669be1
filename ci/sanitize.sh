#!/usr/bin/env bash
# Runs the kernels on the emulator under AddressSanitizer and UndefinedBehaviorSanitizer (the C++ compiler's own; only the emulator and the
# kernels are instrumented, so no dependency is built anew). Arguments: tests to run, as for cargo test; default: those of the emulator itself,
# which prove that a kernel's mistake is noticed, and a part of the decoder's suite, another one each day, in all schedules.
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
: > "$log"
status=0
run() {
    cargo test --quiet --no-default-features "$@" >> "$log" 2>&1 || status=$?
}
if (($# > 0)); then
    run "$@"
else
    run --test emulator
    for noticed in 'AddressSanitizer: use-after-poison' 'selftest/break_rule.cuh.*runtime error'; do
        grep -q "$noticed" "$log" || { echo "a mistake made on purpose went unnoticed: no \`$noticed\` in $log" >&2; exit 1; }
    done
    day=$((10#$(date -u +%j)))
    export DCTFLOW_REQUIRE_ENGINES=emulator DCTFLOW_ENGINES=emulator
    DCTFLOW_TEST_SHARE=$((day % 4))/4 run --test conformance the_matrix
    DCTFLOW_TEST_SHARE=$((day % 64))/64 run --test damaged
    run --test fuzz_replay -- --skip damaged_photos
fi
grep -E '^(test result|running)|panicked|FAILED' "$log" || true
# What AddressSanitizer finds fails the launch, and so the test.
if grep 'runtime error' "$log" | grep -v 'selftest/break_rule.cuh'; then
    echo "undefined behaviour: the whole report is in $log" >&2
    exit 1
fi
[[ $status -eq 0 ]] || { tail -n 40 "$log"; exit "$status"; }
