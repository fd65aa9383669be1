#!/usr/bin/env bash
# The paper's comparison: trains its eight networks by one recipe, counts how often each is right on images that it has not seen, and prints a
# table beside the paper's figures (ImageNet, width 1, 224 x 224).
#   ci/train-table.sh [--out FOLDER] [--data FOLDER] [OPTIONS OF dctflow train]
#   ci/train-table.sh --pack           makes target/train-table.tar.xz, for a machine without cargo
# The data folder has train*.parquet, val.parquet and classes.txt; by default it is imagenette in $DCTFLOW_DATA. Options that are not given make small
# networks, which the table says; on a GPU: --device cuda --mixed --width 1 --size 224 --batch 128 --epochs 40.
# Where networks are trained already (their folder in --out has a log of as many epochs), only those that are missing are trained.
# Unpacked elsewhere, it takes libtorch from that machine's python3 (PyTorch 2.11).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

networks=(resnet50-rgb upsampling upsampling-rfa deconvolution-rfa downsampling late-concat late-concat-rfa late-concat-rfa-thinner)
data=${DCTFLOW_DATA:-$here/../../shared/data}/imagenette
out=train-table
options=()
while (($#)); do
    case $1 in
        --pack) pack=yes; shift ;;
        --out) out=${2:?a folder}; shift 2 ;;
        --data) data=${2:?a folder}; shift 2 ;;
        *) options+=("$1"); shift ;;
    esac
done
# Later options override earlier ones.
recipe=(--width 0.25 --size 128 --epochs 10 --batch 64 --learning-rate 0.12 --weight-decay 4e-4 --min-area 0.35 --seed 1)

if [[ -x $here/bin/dctflow ]]; then
    dctflow=$here/bin/dctflow
    torch=$(python3 -c 'import torch, os; print(os.path.dirname(torch.__file__))')
    export LD_LIBRARY_PATH=$torch/lib:$torch/../nvidia/cu13/lib:${LD_LIBRARY_PATH:-}
else
    cd "$here/.."
    LIBTORCH=$(ci/libtorch.sh)
    export LIBTORCH
    cargo build --release --quiet --features torch
    dctflow=$PWD/target/release/dctflow
fi
export OMP_WAIT_POLICY=passive

if [[ -n ${pack:-} ]]; then
    folder=target/train-table
    rm -rf "$folder"
    mkdir -p "$folder/bin"
    cp "$dctflow" "$folder/bin/"
    strip "$folder/bin/dctflow"
    cp ci/train-table.sh "$folder/"
    tar -C target -cJf target/train-table.tar.xz train-table
    echo target/train-table.tar.xz
    exit
fi

mkdir -p "$out"
for network in "${networks[@]}"; do
    [[ -e $out/$network/accuracy.json ]] && continue
    "$dctflow" train --classes "$data/classes.txt" --network "$network" "${recipe[@]}" "${options[@]}" --out "$out/$network" "$data"/train*.parquet >&2
    "$dctflow" weights show --json "$out/$network/weights.safetensors" > "$out/$network/network.json"
    start=$(date +%s.%N)
    "$dctflow" eval --json --weights "$out/$network/weights.safetensors" "$data/val.parquet" > "$out/$network/counted.json"
    echo "$start $(date +%s.%N)" > "$out/$network/seconds"
    mv "$out/$network/counted.json" "$out/$network/accuracy.json"
done

python3 - "$out" "${networks[@]}" << 'PYTHON'
import json, pathlib, sys

# Top-1 and top-5 error, in percent, as quoted for ImageNet; not every network's figures are in print.
PAPER = {
    "resnet50-rgb": "24.22 / 7.35",
    "deconvolution-rfa": "23.94 / about 7",
    "late-concat-rfa": "24.08 / 7.19",
    "late-concat-rfa-thinner": "24.61 / 7.43",
}
out = pathlib.Path(sys.argv[1])
table = []
for network in sys.argv[2:]:
    shape = json.loads((out / network / "network.json").read_text())
    counted = json.loads((out / network / "accuracy.json").read_text())
    log = [json.loads(line) for line in (out / network / "log.jsonl").read_text().splitlines()]
    start, end = map(float, (out / network / "seconds").read_text().split())
    table.append((shape, len(log)))
    error = [100 * (1 - counted[key]["share"]) for key in ("top1", "top5")]
    rate = sum(epoch["images_per_second"] * epoch["seconds"] for epoch in log) / sum(epoch["seconds"] for epoch in log)
    if len(table) == 1:
        width, side = shape["width"], shape["input_size"][0]
        print(f"Width {width:g}, images of {side} x {side}, {len(log)} epochs; {counted['images']} images that were not learned from.\n")
        print("| network | parameters | MACs (millions) | error, top-1 / top-5 (%) | learned from, images/s | file to answer, images/s "
              "| the paper's error, ImageNet (%) |\n|---|---|---|---|---|---|---|")
    print(f"| {network} | {shape['parameters']:,} | {shape['macs'] / 1e6:.0f} | {error[0]:.2f} / {error[1]:.2f} | {rate:.0f} "
          f"| {counted['images'] / (end - start):.0f} | {PAPER.get(network, '-')} |")
PYTHON
