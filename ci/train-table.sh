#!/usr/bin/env bash
# The paper's comparison: trains its eight networks by one recipe, counts how often each is right on images that it has not seen, and writes a
# table beside the paper's figures (ImageNet, width 1, 224 x 224), as table.md and table.json in the output folder; the first is printed too.
#   ci/train-table.sh [--out FOLDER] [--data FOLDER] [--threads N] [--device DEVICE] [OTHER OPTIONS OF dctflow train]
#   ci/train-table.sh --pack           makes target/train-table.tar.xz, for a machine without cargo
# The data folder has train*.parquet, val.parquet and classes.txt; by default it is imagenette in $DCTFLOW_DATA. `train` puts a share of the training
# images aside to follow itself by; val.parquet is used for nothing but the last count, by `dctflow eval` on the CPU. Options that are not given make
# small networks, which the table says; on a GPU: --device cuda --mixed --width 1 --size 224 --batch 128 --epochs 40.
# Run again with the same options it goes on where it was interrupted; a folder with results of others is refused.
# Unpacked elsewhere, it takes libtorch from that machine's python3 (PyTorch 2.11).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

networks=(resnet50-rgb upsampling upsampling-rfa deconvolution-rfa downsampling late-concat late-concat-rfa late-concat-rfa-thinner)
data=${DCTFLOW_DATA:-$here/../../shared/data}/imagenette
out=train-table
threads=$(nproc)
device=cpu
options=()
while (($#)); do
    case $1 in
        --pack) pack=yes; shift ;;
        --out) out=${2:?a folder}; shift 2 ;;
        --data) data=${2:?a folder}; shift 2 ;;
        --threads) threads=${2:?a number}; shift 2 ;;
        --device) device=${2:?a device}; shift 2 ;;
        *) options+=("$1"); shift ;;
    esac
done
defaults=(--width 0.25 --size 128 --epochs 10 --batch 64 --learning-rate 0.12 --weight-decay 4e-4 --min-area 0.35 --seed 1)
recipe=()
for ((i = 0; i < ${#defaults[@]}; i += 2)); do
    [[ " ${options[*]}" == *" ${defaults[i]}"[\ =]* ]] || recipe+=("${defaults[@]:i:2}")
done
recipe+=("${options[@]}")
# Before the working folder changes.
data=$(realpath -m "$data")
out=$(realpath -m "$out")

if [[ -x $here/bin/dctflow ]]; then
    dctflow=$here/bin/dctflow
    commit=$(cat "$here/commit")
    torch=$(python3 -c 'import torch, os; print(os.path.dirname(torch.__file__))')
    export LD_LIBRARY_PATH=$torch/lib:$torch/../nvidia/cu13/lib:${LD_LIBRARY_PATH:-}
else
    cd "$here/.."
    LIBTORCH=$(ci/libtorch.sh)
    export LIBTORCH
    cargo build --release --quiet --features torch
    dctflow=$PWD/target/release/dctflow
    commit=$(git describe --always --dirty --abbrev=12 --exclude '*')
fi

if [[ -n ${pack:-} ]]; then
    folder=target/train-table
    rm -rf "$folder"
    mkdir -p "$folder/bin"
    cp "$dctflow" "$folder/bin/"
    strip "$folder/bin/dctflow"
    cp ci/train-table.sh "$folder/"
    echo "$commit" > "$folder/commit"
    tar -C target -cJf target/train-table.tar.xz train-table
    echo target/train-table.tar.xz
    exit
fi

# What all results in a folder have in common.
mkdir -p "$out"
{
    echo "${recipe[*]}"
    echo "device $device, threads $threads"
    (cd "$data" && sha256sum classes.txt train*.parquet val.parquet)
} > "$out/recipe.new"
if [[ -e $out/recipe ]] && ! cmp -s "$out/recipe" "$out/recipe.new"; then
    echo "$0: the results in $out have another recipe; give the same options and data, or another --out" >&2
    diff "$out/recipe" "$out/recipe.new" >&2 || true
    exit 2
fi
mv "$out/recipe.new" "$out/recipe"
# A copy: what is built meanwhile does not change the program of a table that takes hours.
if [[ ! -e $out/dctflow ]]; then
    cp "$dctflow" "$out/dctflow.new"
    echo "$commit" > "$out/commit"
    mv "$out/dctflow.new" "$out/dctflow"
fi
dctflow=$out/dctflow

for network in "${networks[@]}"; do
    folder=$out/$network
    [[ -e $folder/accuracy.json ]] && continue
    resume=()
    [[ -e $folder/checkpoint.safetensors ]] && resume=(--resume)
    "$dctflow" train --classes "$data/classes.txt" --network "$network" "${recipe[@]}" --device "$device" --threads "$threads" "${resume[@]}" \
        --out "$folder" "$data"/train*.parquet >&2
    "$dctflow" weights show --json "$folder/weights.safetensors" > "$folder/network.json"
    # By the clock, and of the processor: where others use the machine too, the second says more.
    TIMEFORMAT='%R %U %S'
    { time "$dctflow" eval --json --device cpu --threads "$threads" --weights "$folder/weights.safetensors" "$data/val.parquet" \
        > "$folder/counted.json" 2>&3; } 3>&2 2> "$folder/seconds"
    mv "$folder/counted.json" "$folder/accuracy.json"
done

python3 - "$out" "$device" "$threads" "${networks[@]}" << 'PYTHON'
import json, pathlib, platform, re, subprocess, sys

# Top-1 and top-5 error, in percent, as quoted for ImageNet; not every network's figures are in print.
PAPER = {
    "resnet50-rgb": ["24.22", "7.35"],
    "deconvolution-rfa": ["23.94", "about 7"],
    "late-concat-rfa": ["24.08", "7.19"],
    "late-concat-rfa-thinner": ["24.61", "7.43"],
}
out, device, threads = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def processor():
    try:
        return re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        return platform.machine()


def learner():
    if not device.startswith("cuda"):
        return f"CPU, {threads} threads"
    number = device.partition(":")[2] or "0"
    query = ["nvidia-smi", f"--id={number}", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


rows = []
for network in sys.argv[4:]:
    read = lambda name: json.loads((out / network / name).read_text())
    shape, counted = read("network.json"), read("accuracy.json")
    log = [json.loads(line) for line in (out / network / "log.jsonl").read_text().splitlines()]
    clock, user, system = map(float, (out / network / "seconds").read_text().split())
    seconds = sum(epoch["seconds"] for epoch in log)
    rows.append({
        "network": network,
        "parameters": shape["parameters"],
        "gmac": shape["macs"] / 1e9,
        "top1": counted["top1"],
        "top5": counted["top5"],
        "put_aside": log[-1]["validation"],
        "learned_images_per_second": sum(epoch["images_per_second"] * epoch["seconds"] for epoch in log) / seconds,
        "learning_seconds": seconds,
        "waiting_share": sum(epoch["waiting_share"] * epoch["seconds"] for epoch in log) / seconds,
        "answered_images_per_second": counted["images"] / max(clock, 1e-3),
        "answered_images_per_cpu_second": counted["images"] / max(user + system, 1e-3),
        "paper_imagenet_error_percent": PAPER.get(network),
    })
recipe, *rest = (out / "recipe").read_text().splitlines()
table = {
    "commit": (out / "commit").read_text().strip(),
    "machine": processor(),
    "cores": len(__import__("os").sched_getaffinity(0)),
    "learned_on": learner(),
    "answered_on": f"CPU, {threads} threads",
    "recipe": recipe,
    "width": shape["width"],
    "side": shape["input_size"][0],
    "epochs": len(log),
    "images_not_learned_from": counted["images"],
    "data_sha256": dict(reversed(line.split()) for line in rest[1:]),
    "networks": rows,
}
(out / "table.json").write_text(json.dumps(table, indent=1) + "\n")

side = table["side"]
lines = [
    f"Width {table['width']:g}, images of {side} x {side}, {table['epochs']} epochs, commit {table['commit']}; errors on "
    f"{table['images_not_learned_from']} images that were not learned from. On {table['machine']}, {table['cores']} cores.",
    "",
    f"Recipe: `dctflow train {recipe}`",
    "",
    f"| network | parameters | GMAC | error, top-1 / top-5 (%) | learned from, images/s ({table['learned_on']}) "
    f"| file to answer, images/s ({table['answered_on']}) | file to answer, images per second of CPU time | the paper's error, ImageNet (%) |",
    "|---|---|---|---|---|---|---|---|",
]
for row in rows:
    error = [100 * (1 - row[key]["share"]) for key in ("top1", "top5")]
    paper = " / ".join(row["paper_imagenet_error_percent"] or ["-"])
    lines.append(f"| {row['network']} | {row['parameters']:,} | {row['gmac']:.4f} | {error[0]:.2f} / {error[1]:.2f} "
                 f"| {row['learned_images_per_second']:.0f} | {row['answered_images_per_second']:.0f} "
                 f"| {row['answered_images_per_cpu_second']:.0f} | {paper} |")
text = "\n".join(lines) + "\n"
(out / "table.md").write_text(text)
print(text, end="")
PYTHON
