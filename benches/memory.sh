#!/bin/sh
# Peak memory of `dctflow classify` over 100, 1000 and 3000 files: it must not grow with their number.
# Usage: benches/memory.sh FOLDER (any JPEG files; they are named again and again). Needs GNU time and a release build.
set -eu
folder=${1:?usage: benches/memory.sh FOLDER}
program=target/release/dctflow
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

find "$folder" -type f -iname '*.jp*g' | sort | head -n 100 > "$work/names"
test -s "$work/names" || { echo "$folder: no JPEG files" >&2; exit 2; }
"$program" weights init --width 0.25 --out "$work/weights.safetensors" > /dev/null
printf 'files\tpeak KiB\tseconds\n'
for count in 100 1000 3000; do
    while :; do cat "$work/names"; done | head -n "$count" > "$work/list"
    /usr/bin/time -f '%M\t%e' -o "$work/time" \
        "$program" classify --device cpu --weights "$work/weights.safetensors" "@$work/list" > "$work/lines" || true
    test "$(wc -l < "$work/lines")" -eq "$count"
    printf '%s\t%s\n' "$count" "$(tail -n 1 "$work/time")"
done
