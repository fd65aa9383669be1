#!/usr/bin/env bash
# Our program beside its peers on the same files, same machine, same run: one table with ratios at the end, and records.
# Usage: benches/peers/run.sh [--record FILE.json] [--max-autotune] [other options: see --help] [JPEG files or folders]
# Without files: 64 photo-like ones made on the spot. Needs Rust, Python 3.10 and a package index. Where `nvidia-smi` answers, the GPU's peers run
# too (gpu.py; its record is FILE-gpu.json). What fails stops nothing else, but the exit status says so.
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=target/peers-environment
[ -x "$environment/bin/python" ] || python3 -m venv "$environment"
python=$environment/bin/python
"$python" -m pip install --quiet --disable-pip-version-check --requirement benches/peers/requirements.txt

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Where the records go, and which files all of them take.
mapfile -t named < <("$python" benches/peers/arguments.py "$scratch/peers.json" "$@")
record=${named[0]:?}
arguments=("$@" --record "$record")
if [ "${named[1]}" = none ]; then
    "$python" benches/peers/cpu.py --make-files "$scratch/photos"
    arguments+=("$scratch/photos")
    export PEERS_SOURCE="64 synthetic photos, seed 0"
fi

status=0
records=("$record")
"$python" benches/peers/cpu.py "${arguments[@]}" || status=1
if nvidia-smi --list-gpus > /dev/null 2>&1; then
    "$python" -m pip install --quiet --disable-pip-version-check --requirement benches/peers/requirements-gpu.txt || status=1
    ci/cuda-toolchain.sh > /dev/null || status=1
    cargo build --release --quiet --bin dctflow || status=1
    "$python" benches/peers/gpu.py "${arguments[@]}" || status=1
    records+=("${record%.json}-gpu.json")
else
    echo "no NVIDIA GPU here: its peers were not run" >&2
fi
echo
"$python" benches/peers/table.py "${records[@]}"
exit "$status"
