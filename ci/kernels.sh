#!/usr/bin/env bash
# Compiles every kernel for real and writes what they cost to kernels/budget.tsv and kernels/loops.tsv; with --check, says whether these are
# up to date. Fails when a kernel spills or uses a stack, when the embedded PTX does not assemble for a GPU that it is meant for, and when a module
# lacks what src/device/cuda looks up.
# DCTFLOW_NVCC names the compiler; without it, ci/cuda-toolchain.sh fetches the one that the tables are made with.
set -euo pipefail
cd "$(dirname "$0")/.."

nvcc=${DCTFLOW_NVCC:-$(ci/cuda-toolchain.sh)}
tools=$(dirname "$nvcc")
build=target/kernels
rm -rf "$build" && mkdir -p "$build"

compile() { # OUTPUT OPTION...
    "$nvcc" --options-file kernels/nvcc.options --Werror all-warnings kernels/device.cu -o "$build/$1" "${@:2}"
}
compile sm_80.cubin -cubin -gencode=arch=compute_80,code=sm_80 &
compile sm_90a.cubin -cubin -gencode=arch=compute_90a,code=sm_90a -DDCTFLOW_SM90A -Xptxas -v 2> "$build/ptxas-sm_90a.log" &
compile compute_90a.ptx -ptx -gencode=arch=compute_90a,code=compute_90a -DDCTFLOW_SM90A &
compile compute_80.ptx -ptx -gencode=arch=compute_80,code=compute_80
for job in $(jobs -p); do
    wait "$job" || { cat "$build"/ptxas-*.log; exit 1; }
done

for arch in sm_80 sm_86 sm_89 sm_90 sm_100 sm_120; do
    "$tools/ptxas" -v -O3 -arch="$arch" "$build/compute_80.ptx" -o "$build/from_ptx_$arch.cubin" 2> "$build/ptxas-$arch.log" ||
        { cat "$build/ptxas-$arch.log"; exit 1; }
done

if [[ "${1:-}" == --check ]]; then
    mkdir "$build/tables"
    python3 ci/kernel_budget.py "$tools" "$build" "$build/tables"
    for table in budget loops; do
        diff -u "kernels/$table.tsv" "$build/tables/$table.tsv" ||
            { echo "kernels/$table.tsv is out of date: run ci/kernels.sh and commit what it writes" >&2; exit 1; }
    done
else
    python3 ci/kernel_budget.py "$tools" "$build" kernels
fi
