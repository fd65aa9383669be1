#!/usr/bin/env bash
# Tests and measures on a GPU what ci/pack-gpu.sh packed elsewhere. Needs x86-64 Linux and a driver of version 580 or newer; nothing else.
# Ends with a table; no step stops the others. Exit status: 0 if nothing failed, 1 if something did.
#   ci/gpu.sh [--device cuda|emulator] [--only PART,...] [--minutes N] [PACK.tar.xz] [PHOTOS...]
# Parts, in this order: `tests` (the suite, networks and sessions), `decode` (the decoder's benchmark), `sanitizers` (NVIDIA's, over a part of the
# suite): these three unless --only names others; `peers` (nvJPEG and PyTorch beside our path, where this machine's python3 has torch and
# torchvision), `profile` (every kernel's time), `networks` (bytes to logits, network by network). What has not begun after N minutes (default: 7)
# is skipped.
# Within an unpacked pack it takes that one, else the named one, by default target/gpu-pack.tar.xz. The emulator stands in for a GPU to try
# this script: it does little then. Records go to $OUT, logs too, in one archive; else to benches/record, else to ./record.
# COMPUTE_SANITIZER names another tool.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)

device=cuda
parts=tests,decode,sanitizers
deadline_s=$((7 * 60))
while [[ ${1:-} == --* ]]; do
    case $1 in
        --device) device=${2:?cuda or emulator} ;;
        --only) parts=${2:?parts} ;;
        --minutes) deadline_s=$((${2:?a number} * 60)) ;;
        *) echo "unknown option $1; see the head of this script" >&2; exit 2 ;;
    esac
    shift 2
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Not every machine that has tar has xz.
unpack() {
    tar -C "$scratch" -xJf "$1" 2> /dev/null ||
        python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1], "r:xz").extractall(sys.argv[2])' "$1" "$scratch"
}
if [[ -d $here/bin && -d $here/tests ]]; then
    pack=$here
else
    archive=$here/../target/gpu-pack.tar.xz
    if [[ ${1:-} == *.tar.xz ]]; then
        archive=$1
        shift
    fi
    unpack "$archive" || { echo "no pack: ci/pack-gpu.sh makes one" >&2; exit 1; }
    pack=$scratch/gpu-pack
fi
photos=()
[[ -z $(ls "$pack/photos") ]] || photos+=("$pack/photos")
photos+=("$@")
if [[ $device == emulator ]] && ((${#photos[@]} > 0)); then
    mapfile -t photos < <(find "${photos[@]}" -type f | sort | head -n 2)
fi

if [[ -n ${OUT:-} ]]; then
    out=$OUT
elif [[ -d $here/../benches/record ]]; then
    out=$here/../benches/record
else
    out=$PWD/record
fi
logs=$(mktemp -d)/logs
mkdir -p "$out" "$logs"
record=$out/$(date -u +%Y-%m-%d)-$device

# How much is done, and how many times as long it may take. The parts of the suite that the slow tools see are others every day.
day=$((10#$(date -u +%j)))
networks=(late-concat-rfa-thinner resnet50-rgb late-concat-rfa late-concat deconvolution-rfa upsampling-rfa upsampling downsampling)
if [[ $device == cuda ]]; then
    patience=1
    share=0/1
    num_sanitized=24
    decode=(--batch 1,8,64,256,1024 --images 128 --seconds 2)
    e2e=(--batch 1,8,64,256 --duration 5)
    profiled=64
else
    patience=10
    share=$((day % 200))/200
    num_sanitized=200
    decode=(--batch 1,4 --images 4 --seconds 0.1)
    e2e=(--batch 1,2 --duration 0.1)
    profiled=2
    networks=(narrow)
fi
deadline_s=$((deadline_s * patience))

# What the test programs shall run on, and where their data are.
export DCTFLOW_ENGINES=$device DCTFLOW_REQUIRE_ENGINES=$device CARGO_MANIFEST_DIR=$pack RUST_BACKTRACE=0
[[ $device == emulator ]] || export DCTFLOW_REQUIRE_GPU=1
# NVIDIA's libraries, where they came with Python's packages.
libraries=$(python3 -c '
import glob, sysconfig
print(":".join(glob.glob(sysconfig.get_path("purelib") + "/nvidia/*/lib")))' 2> /dev/null)
with_libraries=(env)
[[ -z $libraries ]] || with_libraries+=("LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries" DCTFLOW_REQUIRE_LIBRARIES=1)

num_failed=0
num_skipped=0
rows=()
row() {
    rows+=("$(printf '%-36s %-12s %5s  %s' "$@")")
    echo "${rows[-1]}"
}

# step NAME LIMIT_S EXPECTED_STATUS COMMAND...
step() {
    local name=$1 limit_s=$(($2 * patience)) expected=$3 start=$SECONDS status=0 word note
    shift 3
    local log=$logs/${name//[^a-z0-9_]/-}.log left_s=$((deadline_s - SECONDS))
    if ((left_s <= 0)); then
        skip "$name" "no time is left"
        return
    fi
    timeout -k 5 "$limit_s" "$@" > "$log" 2>&1 < /dev/null || status=$?
    case $status in
        "$expected") word=passed ;;
        124 | 137) word="TIMED OUT" ;;
        *) word="FAILED ($status)" ;;
    esac
    [[ $word == passed ]] || num_failed=$((num_failed + 1))
    note=$(grep -aE '^[0-9]+ right|ERROR SUMMARY|RACECHECK SUMMARY|^test result|images/s|^dctflow: error' "$log" | tail -n 1)
    # Of a failure, what was said first, or last.
    [[ $word == passed ]] || note=$(grep -aE -A 1 -m 1 'panicked at|^dctflow: error|^[A-Za-z]*Error' "$log" || grep -a . "$log" | tail -n 1)
    note=$(tail -n 1 <<< "$note")
    row "$name" "$word" "$((SECONDS - start)) s" "$(sed 's/^=* *//' <<< "$note" | cut -c1-110)"
}

skip() {
    num_skipped=$((num_skipped + 1))
    row "$1" SKIPPED "" "$2"
}

# to FILE COMMAND...: what it prints goes there.
to() {
    local file=$1
    shift
    "$@" > "$file"
}
export -f to

run_tests() {
    local program name
    for program in "$pack"/tests/*; do
        name=$(basename "$program")
        case $device/$name in
            */data | */cuda) ;;
            # The emulator's own tests are in the gate; here its words are compared with the GPU's.
            cuda/emulator) step "words of CUDA" 20 0 "$program" gpu ;;
            cuda/device_network) step "$name" 60 0 "${with_libraries[@]}" "$program" ;;
            cuda/* | */conformance | */damaged) step "$name" 60 0 env DCTFLOW_TEST_SHARE="$share" "$program" ;;
            *) step "$name, started" 10 0 "$program" --list ;;
        esac
    done
}

# With the clocks watched, since it counts cycles.
run_decode() {
    local watch=
    if [[ $device == cuda ]] && command -v nvidia-smi > /dev/null; then
        nvidia-smi --query-gpu=timestamp,clocks.sm,clocks.mem,power.draw,temperature.gpu --format=csv -lms 500 > "$logs/clocks.csv" 2>&1 &
        watch=$!
    fi
    step "decode" 100 0 "$pack/bin/device_decode" --device "$device" "${decode[@]}" --record "$record-decode.json" "${photos[@]}"
    [[ -z $watch ]] || kill "$watch" 2> /dev/null
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

run_sanitizers() {
    local sanitizer tool check few fewer
    sanitizer=$(find_sanitizer)
    for tool in memcheck racecheck initcheck synccheck; do
        if [[ $device == emulator && -z ${COMPUTE_SANITIZER:-} ]]; then
            skip "$tool" "the emulator has checks of its own"
            continue
        elif [[ -z $sanitizer ]]; then
            skip "$tool" "no compute-sanitizer on this machine or in the pack"
            continue
        fi
        check=("$sanitizer" --tool "$tool" --error-exitcode 9)
        few=(env RAYON_NUM_THREADS=2 "DCTFLOW_TEST_SHARE=$((day % num_sanitized))/$num_sanitized")
        fewer=(env RAYON_NUM_THREADS=2 "DCTFLOW_TEST_SHARE=$((day % num_sanitized))/$((32 * num_sanitized))")
        # It must notice a kernel that is wrong on purpose, and nothing else.
        step "$tool, a mistake" 20 9 env DCTFLOW_MISTAKE="$tool" "${check[@]}" "$pack/tests/cuda" --ignored --exact wrong_on_purpose
        step "$tool, sound files" 40 0 "${few[@]}" "${check[@]}" "$pack/tests/conformance" the_matrix odd_files
        step "$tool, damaged files" 30 0 "${fewer[@]}" "${check[@]}" "$pack/tests/damaged" mutated_files
        step "$tool, a network" 30 0 "${check[@]}" "$pack/tests/device_network" every_tile_gives_the_same
    done
}

run_peers() {
    if ! python3 -c 'import torch, torchvision; torch.zeros(1, device="cuda")' > "$logs/torch.log" 2>&1; then
        skip "peers" "no torch and torchvision with a GPU: $(tail -n 1 "$logs/torch.log")"
    elif ((${#photos[@]} == 0)); then
        skip "peers" "no photos were given"
    else
        step "peers" 240 0 env DCTFLOW_COMMIT="$(cat "$pack/commit")" python3 "$pack/peers/gpu.py" --program "$pack/bin/dctflow" \
            --rounds 2 --record "$record-peers.json" "${photos[@]}"
    fi
}

# The arguments that name a network.
model_of() {
    model=(--network "$1")
    if [[ $1 == narrow ]]; then
        model=(--weights "$scratch/narrow.safetensors")
        [[ -f ${model[1]} ]] || "$pack/bin/dctflow" weights init --width 0.125 --transform short=40,crop=32 --out "${model[1]}" > /dev/null 2>&1
    fi
}

run_profile() {
    local model
    model_of "${networks[0]}"
    step "profile" 60 0 "${with_libraries[@]}" bash -c 'to "$@"' to "$record-profile.json" \
        "$pack/bin/dctflow" profile e2e --device "$device" "${model[@]}" --batch "$profiled" --json "${photos[@]}"
}

run_networks() {
    local network model
    rm -f "$record-networks.jsonl"
    for network in "${networks[@]}"; do
        model_of "$network"
        step "network $network" 100 0 bash -c 'to "$@"' to "$logs/$network.json" \
            "$pack/bin/dctflow" bench e2e --device "$device" "${model[@]}" "${e2e[@]}" --json "${photos[@]}"
        [[ ! -s $logs/$network.json ]] || cat "$logs/$network.json" >> "$record-networks.jsonl"
    done
}

machine="no nvidia-smi"
if command -v nvidia-smi > /dev/null; then
    nvidia-smi > "$logs/nvidia-smi.log" 2>&1
    machine=$(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,pcie.link.gen.max,pcie.link.width.max \
        --format=csv,noheader 2>&1 | head -n 1)
fi
for part in tests decode sanitizers peers profile networks; do
    [[ ,$parts, != *,$part,* ]] || "run_$part"
done

{
    echo "dctflow $(cat "$pack/commit"), $(date -u +%Y-%m-%dT%H:%MZ), device $device"
    echo "$machine"
    [[ ! -f $logs/decode.log ]] || grep -aE '^copies|GB/s, ' "$logs/decode.log" | sort -u
    [[ ! -f $logs/peers.log ]] || grep -a '^|' "$logs/peers.log"
    grep -ahoE '^dctflow: e2e, .*images/s' "$logs"/network-*.log 2> /dev/null
    printf '%s\n' "${rows[@]}"
    echo "$num_failed failed, $num_skipped skipped, $SECONDS s"
} > "$record-${parts//,/-}.txt"
echo
cat "$record-${parts//,/-}.txt"
if [[ -n ${OUT:-} ]]; then
    tar -C "$logs/.." -czf "$record-${parts//,/-}-logs.tar.gz" logs
    rm -rf "$logs"
    logs=$record-${parts//,/-}-logs.tar.gz
fi
echo "records: $record-*; logs: $logs"
[[ $num_failed == 0 ]]
