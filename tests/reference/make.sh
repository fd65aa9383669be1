#!/usr/bin/env bash
# Remakes tests/data/reference_logits.json: the logits of every network by PyTorch. To be run after a change of the networks, of the
# random weights or of tests/reference/cases.rs; its result is committed.
#
# DCTFLOW_TORCH_PYTHON names a Python that has torch, numpy and safetensors. Without it they are installed from PyPI into target/.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=$PWD/target/torch-venv
stubs=$venv/stubs

# PyPI's torch for Linux is built for CUDA, and its extension module is linked to some 4 GB of libraries that a CPU never calls. Empty
# libraries of their names, and one that defines the functions whose addresses are taken, satisfy the loader.
make_stubs() {
    local torch_lib=$1 name
    mkdir -p "$stubs"
    for name in libcublas.so.13 libcublasLt.so.13 libcudnn.so.9 libcufft.so.12 libcufile.so.0 libcurand.so.10 libcusparse.so.12 \
        libcusparseLt.so.0 libnccl.so.2 libnvshmem_host.so.3; do
        gcc -shared -Wl,-soname,"$name" -o "$stubs/$name" -x c /dev/null
    done
    nm -D --undefined-only "$torch_lib"/libtorch_{cuda,nvshmem,python}.so |
        sed -nE 's/^ +U ((cu|nccl|nvshmem)[A-Za-z0-9_]+).*/void \1(void) {}/p' |
        grep -vE ' (cuda|cupti)' | sort -u |
        gcc -w -shared -Wl,-soname,libfunctions.so -o "$stubs/libfunctions.so" -x c -
}

python=${DCTFLOW_TORCH_PYTHON:-$venv/bin/python}
if [[ -z ${DCTFLOW_TORCH_PYTHON:-} ]]; then
    if [[ ! -e $stubs/libfunctions.so ]]; then
        python3 -m venv --clear "$venv"
        "$python" -m pip install --quiet --disable-pip-version-check --no-deps -r tests/reference/torch-requirements.txt
        make_stubs "$venv"/lib/python3*/site-packages/torch/lib
    fi
    export LD_LIBRARY_PATH=$stubs
    preload=$stubs/libfunctions.so
fi

cargo run --quiet --example export_networks -- target/reference
LD_PRELOAD=${preload:-} "$python" tests/reference/make.py target/reference tests/data/reference_logits.json
