#!/usr/bin/env bash
# Our program beside its peers on the same files, same machine, same run: one table per group, ratios, and a record.
# Usage: benches/peers/run.sh [--record FILE.json] [other options of cpu.py] [JPEG files or folders]
# Needs Rust, Python 3.10 and a package index. Where `nvidia-smi` answers, the GPU's peers follow (gpu.py, FILE-gpu.json).
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=target/peers-environment
[ -x "$environment/bin/python" ] || python3 -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --requirement benches/peers/requirements.txt
"$environment/bin/python" benches/peers/cpu.py "$@"

if nvidia-smi --list-gpus > /dev/null 2>&1; then
    "$environment/bin/python" -m pip install --quiet --requirement benches/peers/requirements-gpu.txt
    "$environment/bin/python" benches/peers/gpu.py "$@"
else
    echo "no NVIDIA GPU here: its peers were not run" >&2
fi
