#!/usr/bin/env bash
# What dctflow predicts for a GPU where there is none: the tables of `dctflow profile` on the emulator, to be held against a GPU's later. Photos are made
# on the spot. Writes PREFIX.txt (tables) and PREFIX.jsonl (records).
#   benches/predictions.sh benches/record/DATE-profile-predicted [GPU, by default h200-sxm]
set -euo pipefail
cd "$(dirname "$0")/.."

prefix=${1:?where the record goes}
gpu=${2:-h200-sxm}
cargo build --release --quiet --features emulator --bin dctflow
record=$(mktemp)
trap 'rm -f "$record"' EXIT
built_from=$(git describe --always --dirty --abbrev=12 --match=)
cat > "$prefix.txt" << END
benches/predictions.sh $*

Built from $built_from. Counts and predictions do not depend on how busy the machine was.

END
: > "$prefix.jsonl"
profile() {
    target/release/dctflow profile "$@" --device emulator --gpu "$gpu" --record "$record" >> "$prefix.txt"
    echo >> "$prefix.txt"
    # Where the record was for a moment is nobody's business.
    sed "s# --record $record##" "$record" >> "$prefix.jsonl"
}
profile decode --batch 256
profile decode --batch 16
profile e2e --batch 16
profile e2e --batch 16 --network resnet50-rgb
