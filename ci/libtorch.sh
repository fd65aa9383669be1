#!/usr/bin/env bash
# Puts libtorch 2.11.0 (the CPU's part) into target/libtorch and prints that folder's path. With it:
#   export LIBTORCH=$(ci/libtorch.sh)
#   cargo build --release --features torch
# It comes from PyPI: 0.6 GB to download, 1.2 GB on disk. Where it is already there nothing is done.
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=ci/torch-requirements.txt
wheels=$PWD/target/torch-wheels
libtorch=$PWD/target/libtorch

if ! cmp -s "$requirements" "$libtorch/requirements.txt"; then
    rm -rf "$wheels" "$libtorch"
    python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --no-deps --require-hashes \
        --target "$wheels" -r "$requirements" >&2
    mkdir -p "$libtorch/lib"
    ln -s "$wheels/torch/include" "$libtorch/include"
    ln -s "$wheels"/torch/lib/lib{torch_cpu,c10}.so "$wheels"/torch/lib/libgomp.so.1 "$libtorch/lib/"
    ln -s "$wheels"/nvidia/cu13/lib/lib{cudart,cupti}.so.13 "$libtorch/lib/"
    # The wheel's libtorch.so asks for the GPU's part, which is looked for at run time instead.
    echo 'INPUT(-ltorch_cpu -lc10)' > "$libtorch/lib/libtorch.so"
    echo 2.11.0 > "$libtorch/build-version"
    cp "$requirements" "$libtorch/requirements.txt"
fi
echo "$libtorch"
