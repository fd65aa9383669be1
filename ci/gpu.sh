#!/usr/bin/env bash
# Tests and measures on a GPU what ci/pack-gpu.sh packed elsewhere: the suite on the engine `cuda`, NVIDIA's compute-sanitizer over a part
# of it, the benchmark of the decoder. Needs x86-64 Linux and a driver of version 580 or newer; nothing else. Takes less than eight
# minutes; no step stops the others. Exit status: 0 if nothing failed, 1 if something did.
#   ci/gpu.sh [--device cuda|emulator] [PACK.tar.xz] [PHOTOS...]
# Within an unpacked pack it takes that one, else the named one, by default target/gpu-pack.tar.xz. The emulator stands in for a GPU to try
# this script: it does little then. Records go to $OUT, else to benches/record, else to ./record. COMPUTE_SANITIZER names another tool.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)

device=cuda
if [[ ${1:-} == --device ]]; then
    device=${2:?cuda or emulator}
    shift 2
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [[ -d $here/bin && -d $here/tests ]]; then
    pack=$here
else
    archive=$here/../target/gpu-pack.tar.xz
    if [[ ${1:-} == *.tar.xz ]]; then
        archive=$1
        shift
    fi
    tar -C "$scratch" -xJf "$archive" || { echo "no pack: ci/pack-gpu.sh makes one" >&2; exit 1; }
    pack=$scratch/gpu-pack
fi
photos=("$pack/photos" "$@")

if [[ -n ${OUT:-} ]]; then
    out=$OUT
elif [[ -d $here/../benches/record ]]; then
    out=$here/../benches/record
else
    out=$PWD/record
fi
logs=${OUT:-$(mktemp -d)}/logs
mkdir -p "$out" "$logs"
record=$out/$(date -u +%Y-%m-%d)-$device

# How much is done. The parts of the suite that the slow tools see are others every day.
day=$((10#$(date -u +%j)))
if [[ $device == cuda ]]; then
    share=0/1
    num_sanitized=24
    bench=(--batch '1,8,64,256,1024' --images 128 --seconds 2)
else
    share=$((day % 200))/200
    num_sanitized=200
    bench=(--batch '1,4' --images 4 --seconds 0.1)
fi

# What the test programs shall run on, and where their data are.
[[ $device == emulator ]] || export DCTFLOW_REQUIRE_GPU=1
export DCTFLOW_ENGINES=$device DCTFLOW_REQUIRE_ENGINES=$device CARGO_MANIFEST_DIR=$pack RUST_BACKTRACE=0

deadline_s=460
num_failed=0
num_skipped=0
rows=()
row() {
    rows+=("$(printf '%-24s %-12s %5s  %s' "$@")")
    echo "${rows[-1]}"
}

# step NAME LIMIT_S EXPECTED_STATUS COMMAND...
step() {
    local name=$1 limit_s=$2 expected=$3 start=$SECONDS status=0 word note
    shift 3
    local log=$logs/${name//[^a-z_]/-}.log left_s=$((deadline_s - SECONDS))
    limit_s=$((limit_s < left_s ? limit_s : left_s))
    if ((limit_s <= 0)); then
        skip "$name" "no time is left"
        return
    fi
    timeout -k 5 "$limit_s" "$@" > "$log" 2>&1 || status=$?
    case $status in
        "$expected") word=passed ;;
        124 | 137) word="TIMED OUT" ;;
        *) word="FAILED ($status)" ;;
    esac
    [[ $word == passed ]] || num_failed=$((num_failed + 1))
    note=$(grep -aE '^[0-9]+ right|ERROR SUMMARY|RACECHECK SUMMARY|^test result|panicked at' "$log" | sed 's/^=* *//' | tail -n 1 | cut -c1-90)
    row "$name" "$word" "$((SECONDS - start)) s" "$note"
}

skip() {
    num_skipped=$((num_skipped + 1))
    row "$1" SKIPPED "" "$2"
}

# The machine's own compute-sanitizer, or the packed one.
find_sanitizer() {
    local candidate
    for candidate in "${COMPUTE_SANITIZER:-}" "$(command -v compute-sanitizer)" /usr/local/cuda/bin/compute-sanitizer \
        "$pack/compute-sanitizer/compute-sanitizer"; do
        if [[ -x $candidate ]] && "$candidate" --version > /dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
}

if command -v nvidia-smi > /dev/null; then
    nvidia-smi > "$logs/nvidia-smi.log" 2>&1
    machine=$(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,pcie.link.gen.max,pcie.link.width.max \
        --format=csv,noheader 2>&1 | head -n 1)
else
    machine="no nvidia-smi"
fi

for program in "$pack"/tests/*; do
    name=$(basename "$program")
    case $device/$name in
        */data | */cuda) ;;
        cuda/* | */conformance | */damaged) step "$name" 50 0 env DCTFLOW_TEST_SHARE="$share" "$program" ;;
        *) step "$name, started" 10 0 "$program" --list ;;
    esac
done

# The clocks are watched, since the benchmark counts cycles.
watch=
if [[ $device == cuda ]] && command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu --format=csv -lms 500 > "$logs/clocks.csv" 2>&1 &
    watch=$!
fi
step "benchmark" 100 0 "$pack/bin/device_decode" --device "$device" "${bench[@]}" --record "$record-decode.json" "${photos[@]}"
[[ -z $watch ]] || kill "$watch" 2> /dev/null

sanitizer=$(find_sanitizer)
for tool in memcheck racecheck initcheck synccheck; do
    if [[ -z $sanitizer ]]; then
        skip "$tool" "no compute-sanitizer on this machine or in the pack"
        continue
    fi
    check=("$sanitizer" --tool "$tool" --error-exitcode 9)
    slice=$((day % num_sanitized))
    few=(env RAYON_NUM_THREADS=2 "DCTFLOW_TEST_SHARE=$slice/$num_sanitized")
    fewer=(env RAYON_NUM_THREADS=2 "DCTFLOW_TEST_SHARE=$slice/$((32 * num_sanitized))")
    # It must notice a kernel that is wrong on purpose, and nothing else.
    step "$tool, a mistake" 15 9 env DCTFLOW_MISTAKE="$tool" "${check[@]}" "$pack/tests/cuda" --ignored --exact wrong_on_purpose
    step "$tool, sound files" 25 0 "${few[@]}" "${check[@]}" "$pack/tests/conformance" the_matrix odd_files
    step "$tool, damaged files" 20 0 "${fewer[@]}" "${check[@]}" "$pack/tests/damaged" mutated_files
done

{
    echo "dctflow $(cat "$pack/commit"), $(date -u +%Y-%m-%dT%H:%MZ), device $device"
    echo "$machine"
    grep -aE '^copies|GB/s, ' "$logs/benchmark.log" | sort -u
    printf '%s\n' "${rows[@]}"
    echo "$num_failed failed, $num_skipped skipped, $SECONDS s"
} > "$record-suite.txt"
echo
cat "$record-suite.txt"
echo "records: $record-*; logs: $logs"
[[ $num_failed == 0 ]]
