#!/usr/bin/env bash
# Fuzzes: ci/fuzz.sh [SECONDS each, default 60] [TARGET...]. Seeds are small files of the test encoder, fuzz/seeds and fuzz/regressions; what
# is found stays under fuzz/artifacts/TARGET and is to be copied to fuzz/regressions/TARGET with its fix. DCTFLOW_FUZZ_SEED=N makes a run that
# can be repeated. Builds on stable Rust, with coverage but without a sanitizer: nearly all that is fuzzed is safe Rust, and what is kept is
# replayed under one by ci/memory.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(parse decode decode_against_libjpeg decode_on_emulator weights tar parquet capi)

coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
 -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS=$(tr '\n' ' ' <<<"$coverage") CARGO_TARGET_DIR=target/fuzz \
    cargo build --release --quiet --manifest-path fuzz/Cargo.toml --target "$host"

seeds=target/fuzz/seeds
[[ -d $seeds/jpeg ]] || cargo run --quiet --example write_test_files -- "$seeds/jpeg"
# For targets that take long for each input: every fourth file.
if [[ ! -d $seeds/jpeg-few ]]; then
    mkdir "$seeds/jpeg-few"
    find "$seeds/jpeg" -type f | LC_ALL=C sort | awk 'NR % 4 == 1' | xargs -I{} cp {} "$seeds/jpeg-few"
fi
mkdir -p "$seeds/weights"
[[ -f $seeds/weights/small ]] ||
    cargo run --quiet -- weights init --width 0.01 --classes 2 --transform short=36,crop=32 --out "$seeds/weights/small"

seed=()
[[ -z ${DCTFLOW_FUZZ_SEED:-} ]] || seed=(-seed="$DCTFLOW_FUZZ_SEED")

cd fuzz
for target in "${targets[@]}"; do
    mkdir -p "artifacts/$target" "corpus/$target"
    folders=("corpus/$target")
    case $target in
        weights) folders+=("../$seeds/weights") ;;
        tar | parquet) ;;
        capi | decode_on_emulator) folders+=("../$seeds/jpeg-few") ;;
        *) folders+=("../$seeds/jpeg") ;;
    esac
    for folder in "regressions/$target" "seeds/$target"; do [[ -d $folder ]] && folders+=("$folder"); done
    echo "== $target for $seconds s"
    log=../target/fuzz/$target.log
    "../target/fuzz/$host/release/$target" "${folders[@]}" -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" "${seed[@]}" \
        -max_len=131072 -timeout=120 -report_slow_units=120 -rss_limit_mb=4096 -print_final_stats=1 > "$log" 2>&1 || true
    grep -E "^(stat::number|stat::average|SUMMARY|==|artifact|thread)|ERROR|panicked|DONE" "$log" || true
    # Seeds are run once each before anything is mutated: a target that gets little further has found nothing because it has not looked.
    seeds_read=$(sed -n 's/^INFO: seed corpus: files: \([0-9]*\).*/\1/p' "$log")
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    [[ -n $executions ]] || { tail "$log"; echo "$target did not run" >&2; exit 1; }
    echo "$executions executions from ${seeds_read:-0} seeds"
    if ((executions < 3 * ${seeds_read:-0})) && [[ -z $(find "artifacts/$target" -type f) ]]; then
        echo "$target hardly mutated its seeds: give it more time, or make its inputs smaller" >&2
        exit 1
    fi
    find "artifacts/$target" -type f -printf 'FOUND %p\n'
done
[[ -z $(find artifacts -type f) ]]
