#!/usr/bin/env bash
# Fuzzes: ci/fuzz.sh [SECONDS each, default 60] [TARGET...]. Seeds are files of the test encoder; what is found stays under
# fuzz/artifacts/TARGET and is to be copied to fuzz/regressions/TARGET with its fix. Builds on stable Rust, with coverage but without
# a sanitizer (the code under test is safe Rust; unsafe code has ci/sanitize.sh).
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${1:-60}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(parse decode decode_against_libjpeg decode_on_emulator weights)

coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
 -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=../target/fuzz
RUSTFLAGS=$(tr '\n' ' ' <<<"$coverage") cargo build --release --quiet --target "$host"

for target in "${targets[@]}"; do
    mkdir -p "artifacts/$target" "corpus/$target"
    seeds=$CARGO_TARGET_DIR/seeds
    [[ -d $seeds ]] || (cd .. && env -u CARGO_TARGET_DIR cargo run --quiet --example write_test_files -- "target/fuzz/seeds")
    kept=()
    for folder in "regressions/$target" "seeds/$target"; do [[ -d $folder ]] && kept+=("$folder"); done
    echo "== $target for $seconds s"
    "$CARGO_TARGET_DIR/$host/release/$target" "corpus/$target" "${kept[@]}" "$seeds" \
        -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=4096 \
        -print_final_stats=1 2>&1 | grep -E "^(stat::|SUMMARY|==|artifact|thread)|ERROR|panicked|DONE" || true
    find "artifacts/$target" -type f -printf 'FOUND %p\n'
done
[[ -z $(find artifacts -type f) ]]
