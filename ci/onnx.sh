#!/usr/bin/env bash
# Exports every network to ONNX and compares onnxruntime's logits with ours. onnxruntime comes from PyPI, into target/.
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=ci/onnx-requirements.txt
venv=target/onnx-venv
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$requirements"
    cp "$requirements" "$venv/requirements.txt"
fi

cargo run --quiet --example export_networks -- target/onnx
"$venv/bin/python" tests/reference/check_onnx.py target/onnx
