#!/usr/bin/env bash
# Puts NVIDIA's CUDA compiler (nvcc 13.0, from its wheels, with hashes) under target/cuda-toolchain, where build.rs looks last, and touches
# nothing else. Needs python3 with pip; takes about 10 seconds and 270 MB. Prints the compiler's path.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=target/cuda-toolchain
requirements=ci/cuda13-requirements.txt
nvcc=$folder/nvidia/cu13/bin/nvcc

# Complete and current exactly if the pins were copied there last.
if ! cmp -s "$requirements" "$folder/requirements.txt"; then
    rm -rf "$folder"
    python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --no-deps --require-hashes \
        --target "$folder" -r "$requirements"
    cp "$requirements" "$folder/requirements.txt"
fi
# build.rs looks again when this changes.
touch -c target/CACHEDIR.TAG
"$nvcc" --version >/dev/null
echo "$PWD/$nvcc"
