#!/usr/bin/env bash
# Tests and measures on a GPU what ci/pack-gpu.sh packed elsewhere. Needs x86-64 Linux and a driver of version 580 or newer; nothing else.
#   ci/gpu.sh [--device cuda|emulator] [--only PART,...] [--minutes N] [--max-autotune] [PACK.tar.xz] [PHOTOS...]
# Parts, the most important first: `tests` (the suite, networks and sessions), `decode` (the decoder's benchmark, and decoding with several batches
# in flight), `sanitizers` (NVIDIA's, over a part of the suite): these three unless --only names others; `peers` (nvJPEG and PyTorch beside our
# path, where this machine's python3 has torch and torchvision; with --max-autotune the compiled networks too, which takes minutes), `profile` (every
# kernel's time, a roofline, a trace; ncu where there is one), `networks` (bytes to logits, network by network).
# Nothing goes on after N minutes (default: 6.5; 7.5 also works), and no step stops the others. The table is written anew after each step, so that
# whatever ends the script costs one step. Exit status: 0 if all passed, 1 if something failed, 3 if nothing failed but time ran out; the table says
# what. What this machine lacks is skipped and said.
# Within an unpacked pack it takes that one, else the named one, by default target/gpu-pack.tar.xz. The emulator stands in for a GPU to try
# this script: it does little then. Records go to $OUT, logs too, in one archive; else to benches/record, else to ./record.
# COMPUTE_SANITIZER names another tool.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)

device=cuda
parts=tests,decode,sanitizers
minutes=6.5
peer_options=(--no-compile)
while [[ ${1:-} == --* ]]; do
    case $1 in
        --device) device=${2:?cuda or emulator} ;;
        --only) parts=${2:?parts} ;;
        --minutes) minutes=${2:?a number} ;;
        --max-autotune)
            peer_options=(--max-autotune)
            shift
            continue
            ;;
        *) echo "unknown option $1; see the head of this script" >&2; exit 2 ;;
    esac
    shift 2
done
for part in ${parts//,/ }; do
    case $part in
        tests | decode | sanitizers | peers | profile | networks) ;;
        *) echo "no part $part; see the head of this script" >&2; exit 2 ;;
    esac
done
[[ $device == cuda || $device == emulator ]] || { echo "no device $device: cuda or emulator" >&2; exit 2; }
deadline_s=$(awk -v minutes="$minutes" 'BEGIN { print int(60 * minutes) }')
((deadline_s > 0)) || { echo "--minutes $minutes is no time" >&2; exit 2; }

scratch=$(mktemp -d)

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
    unpack "$archive" || { echo "no pack: ci/pack-gpu.sh makes one" >&2; rm -rf "$scratch"; exit 2; }
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
mkdir -p "$out"
record=$out/$(date -u +%Y-%m-%d)-$device
table=$record-${parts//,/-}.txt
# Beside the records from the start: what ends this script does not cost them.
if [[ -n ${OUT:-} ]]; then logs=$record-${parts//,/-}-logs; else logs=$(mktemp -d)/logs; fi
rm -rf "$logs"
mkdir -p "$logs"
: > "$logs/rows.txt"

# How much is done, and how many times as long it may take. The parts of the suite that the slow tools see are others every day.
day=$((10#$(date -u +%j)))
others=(late-concat-rfa late-concat deconvolution-rfa upsampling-rfa upsampling downsampling)
networks=(late-concat-rfa-thinner resnet50-rgb "${others[@]}")
if [[ $device == cuda ]]; then
    patience=1
    share=0/1
    num_sanitized=24
    decode=(--batch 1,8,64,256,1024 --images 128 --seconds 2)
    streams=(--batch 256 --in-flight 1,2,4 --images 256 --duration 5)
    duration=(--duration 5)
    batches=1,8,64,256
    profiled=64
else
    patience=10
    share=$((day % 200))/200
    num_sanitized=200
    decode=(--batch 1,4 --images 4 --seconds 0.1)
    streams=(--batch 2 --in-flight 1,2 --images 2 --duration 0.1)
    duration=(--duration 0.1)
    batches=1,2
    profiled=2
    networks=(narrow)
fi
deadline_s=$((deadline_s * patience))
part_deadline_s=$deadline_s

# What the test programs shall run on, and where their data are.
export DCTFLOW_ENGINES=$device DCTFLOW_REQUIRE_ENGINES=$device CARGO_MANIFEST_DIR=$pack RUST_BACKTRACE=0
[[ $device == emulator ]] || export DCTFLOW_REQUIRE_GPU=1
# NVIDIA's libraries, where they came with Python's packages.
libraries=$(python3 -c '
import glob, sysconfig
print(":".join(glob.glob(sysconfig.get_path("purelib") + "/nvidia/*/lib")))' 2> /dev/null)
with_libraries=(env)
[[ -z $libraries ]] || with_libraries+=("LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries" DCTFLOW_REQUIRE_LIBRARIES=1)

machine="no nvidia-smi"
if command -v nvidia-smi > /dev/null; then
    timeout 20 nvidia-smi > "$logs/nvidia-smi.log" 2>&1
    machine=$(timeout 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,pcie.link.gen.max,pcie.link.width.max \
        --format=csv,noheader 2>&1 | head -n 1)
fi

# How many rows of the table have this word.
count() {
    grep -cE "^.{36} ($1)" "$logs/rows.txt"
}

# The table so far. What several steps at a time write is one row each.
write_table() {
    {
        echo "dctflow $(cat "$pack/commit"), $(date -u +%Y-%m-%dT%H:%MZ), device $device"
        echo "$machine"
        [[ ! -f $logs/decode.log ]] || grep -aE '^copies|GB/s, ' "$logs/decode.log" | sort -u
        [[ ! -f $logs/peers.log ]] || grep -a '^|' "$logs/peers.log"
        grep -ahoE '^dctflow: (decode|e2e), .*images/s' "$logs"/network-*.log "$logs"/decode-streams.log 2> /dev/null
        cat "$logs/rows.txt"
        echo "$(count 'FAILED|TIMED OUT') failed, $(count 'NO TIME') without time, $(count SKIPPED) skipped, $SECONDS s${1:-}"
    } > "$table.new.$BASHPID"
    mv "$table.new.$BASHPID" "$table"
}

row() {
    printf '%-36s %-12s %5s  %s\n' "$@" | tee -a "$logs/rows.txt"
    write_table ", not at the end"
}

# step NAME LIMIT_S EXPECTED_STATUS COMMAND...; an EXPECTED_STATUS of `any`: its failure is none of ours.
step() {
    local name=$1 limit_s=$(($2 * patience)) expected=$3 start=$SECONDS status=0 word note is_cut=
    shift 3
    local log=$logs/${name//[^a-z0-9_]/-}.log left_s=$(((part_deadline_s < deadline_s ? part_deadline_s : deadline_s) - SECONDS))
    if ((left_s < 3)); then
        row "$name" "NO TIME" "" "not begun"
        return
    fi
    if ((left_s < limit_s)); then
        limit_s=$left_s
        is_cut=yes
    fi
    timeout -k 5 "$limit_s" "$@" > "$log" 2>&1 < /dev/null || status=$?
    case $status in
        "$expected") word=passed ;;
        124 | 137) if [[ -n $is_cut ]]; then word="NO TIME"; else word="TIMED OUT"; fi ;;
        3) if [[ $name == peers ]]; then word="NO TIME"; else word="FAILED (3)"; fi ;;
        *) word="FAILED ($status)" ;;
    esac
    if [[ $expected == any && $word != passed ]]; then
        if ((status == 0)); then word=passed; else word="SKIPPED ($status)"; fi
    fi
    note=$(grep -aE '^[0-9]+ right|ERROR SUMMARY|RACECHECK SUMMARY|^test result|images/s|^dctflow: error' "$log" | tail -n 1)
    # Of a failure, what was said first, or last.
    [[ $word == passed ]] || note=$(grep -aE -A 1 -m 1 'panicked at|^dctflow: error|^[A-Za-z]*Error' "$log" || grep -a . "$log" | tail -n 1)
    note=$(tail -n 1 <<< "$note")
    row "$name" "$word" "$((SECONDS - start)) s" "$(sed 's/^=* *//' <<< "$note" | cut -c1-110)"
}

skip() {
    row "$1" SKIPPED "" "$2"
}

# part NAME SECONDS: no longer than that, so that the others have their time. 0: until the end.
part() {
    if [[ ,$parts, == *,$1,* ]]; then
        part_deadline_s=$(($2 > 0 ? SECONDS + $2 * patience : deadline_s))
        "run_$1"
    fi
}

run_tests() {
    local program name
    # The whole way of bytes first.
    for name in conformance device_session device_network device_input decode_batches damaged emulator cuda; do
        program=$pack/tests/$name
        case $device/$name in
            */cuda) ;;
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
    step "decode" 80 0 "$pack/bin/device_decode" --device "$device" "${decode[@]}" --record "$record-decode.json" "${photos[@]}"
    [[ -z $watch ]] || kill "$watch" 2> /dev/null
    step "decode streams" 50 0 "$pack/bin/dctflow" bench decode --device "$device" "${streams[@]}" --record "$record-decode-streams.json" \
        "${photos[@]}"
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

sanitize() {
    local tool=$1 sanitizer=$2
    local check=("$sanitizer" --tool "$tool" --error-exitcode 9)
    local few=(env RAYON_NUM_THREADS=2 "DCTFLOW_TEST_SHARE=$((day % num_sanitized))/$num_sanitized")
    local fewer=(env RAYON_NUM_THREADS=2 "DCTFLOW_TEST_SHARE=$((day % num_sanitized))/$((32 * num_sanitized))")
    # It must notice a kernel that is wrong on purpose, and nothing else.
    step "$tool, a mistake" 30 9 env DCTFLOW_MISTAKE="$tool" "${check[@]}" "$pack/tests/cuda" --ignored --exact wrong_on_purpose
    step "$tool, sound files" 60 0 "${few[@]}" "${check[@]}" "$pack/tests/conformance" the_matrix odd_files
    step "$tool, damaged files" 60 0 "${fewer[@]}" "${check[@]}" "$pack/tests/damaged" mutated_files
    step "$tool, a network" 60 0 "${check[@]}" "$pack/tests/device_network" every_tile_gives_the_same
    step "$tool, inputs" 60 0 env RAYON_NUM_THREADS=2 "${check[@]}" "$pack/tests/device_input"
    step "$tool, sessions" 60 0 env RAYON_NUM_THREADS=2 "${check[@]}" "$pack/tests/device_session" \
        what_the_device_gives_up_is_decoded_by_the_cpu faults_are_those_of_other_batches
}

run_sanitizers() {
    local sanitizer tool at_once=
    sanitizer=$(find_sanitizer)
    # Nothing is timed here, so the tools may share the GPU, unless it takes one process at a time.
    [[ $(timeout 20 nvidia-smi --query-gpu=compute_mode --format=csv,noheader 2> /dev/null | head -n 1) != Default ]] || at_once=yes
    for tool in memcheck racecheck initcheck synccheck; do
        if [[ $device == emulator && -z ${COMPUTE_SANITIZER:-} ]]; then
            skip "$tool" "the emulator has checks of its own"
        elif [[ -z $sanitizer ]]; then
            skip "$tool" "no compute-sanitizer on this machine or in the pack"
        elif [[ -n $at_once ]]; then
            sanitize "$tool" "$sanitizer" &
        else
            sanitize "$tool" "$sanitizer"
        fi
    done
    wait
}

run_peers() {
    if ! timeout 60 python3 -c 'import torch, torchvision; torch.zeros(1, device="cuda")' > "$logs/torch.log" 2>&1; then
        skip "peers" "no torch and torchvision with a GPU: $(tail -n 1 "$logs/torch.log")"
    elif ((${#photos[@]} == 0)); then
        skip "peers" "no photos were given"
    else
        local left_s=$((part_deadline_s - SECONDS))
        step "peers" "$left_s" 0 env DCTFLOW_COMMIT="$(cat "$pack/commit")" python3 "$pack/peers/gpu.py" --program "$pack/bin/dctflow" \
            "${peer_options[@]}" --rounds 3 --duration 2 --seconds "$((left_s - 25))" --record "$record-peers.json" "${photos[@]}"
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
    step "profile" 60 0 "${with_libraries[@]}" "$pack/bin/dctflow" profile e2e --device "$device" "${model[@]}" --batch "$profiled" \
        --record "$record-profile.json" --chart "$record-roofline.svg" --trace "$record-trace.json" "${photos[@]}"
    step "profile, large batches" 40 0 "${with_libraries[@]}" "$pack/bin/dctflow" profile decode --device "$device" --batch $((4 * profiled)) \
        --record "$record-profile-decode.json" "${photos[@]}"
    if [[ $device == emulator ]]; then
        skip "ncu" "the emulator is no GPU"
    elif ! command -v ncu > /dev/null; then
        skip "ncu" "there is none on this machine"
    else
        # Many machines keep the counters for administrators.
        step "ncu" 40 any ncu --profile-from-start off --section SpeedOfLight --section Occupancy --section WarpStateStats --csv \
            --log-file "$record-ncu.csv" "$pack/bin/dctflow" profile decode --device "$device" --batch "$profiled" --once "${photos[@]}"
    fi
}

run_networks() {
    local network model sizes
    for network in "${networks[@]}"; do
        model_of "$network"
        sizes=$batches
        [[ " ${others[*]} " != *" $network "* ]] || sizes=64
        step "network $network" 80 0 "$pack/bin/dctflow" bench e2e --device "$device" "${model[@]}" "${duration[@]}" --batch "$sizes" \
            --record "$record-network-$network.json" "${photos[@]}"
    done
    # The same convolutions by cuBLASLt and cuDNN.
    [[ $device == cuda && -n $libraries ]] || return 0
    for network in "${networks[@]:0:2}"; do
        model_of "$network"
        step "network $network, libraries" 60 0 "${with_libraries[@]}" "$pack/bin/dctflow" bench e2e --device "$device" --ops libraries \
            "${model[@]}" "${duration[@]}" --batch 64 --record "$record-libraries-$network.json" "${photos[@]}"
    done
}

finish() {
    write_table "$1"
    echo
    cat "$table"
    if [[ -n ${OUT:-} ]]; then
        tar -C "$out" -czf "$logs.tar.gz" "$(basename "$logs")" && rm -rf "$logs"
        logs=$logs.tar.gz
    fi
    rm -rf "$scratch"
    echo "records: $record-*; logs: $logs"
}
# Somebody's limit is over.
trap 'trap - TERM INT; finish ", ended from outside"; exit 3' TERM INT

part tests 190
part decode 110
part sanitizers 0
part peers 190
part profile 75
part networks 0

num_failed=$(count 'FAILED|TIMED OUT')
num_without_time=$(count 'NO TIME')
finish ""
((num_failed == 0)) || exit 1
((num_without_time == 0)) || exit 3
