#!/usr/bin/env bash
# Packs what ci/gpu.sh needs on a machine with a GPU but without cargo, compilers or a network: test programs, the program, the benchmark of the
# decoder, NVIDIA's compute-sanitizer, data of the tests, the script of the GPU's peers. Writes target/gpu-pack.tar.xz, 40 MiB at most.
#   ci/pack-gpu.sh [JPEG-FILE...]      photos to measure on, besides those that the benchmark makes
set -euo pipefail
cd "$(dirname "$0")/.."

pack=target/gpu-pack
max_pack_bytes=$((40 << 20))
test_programs=(emulator conformance damaged decode_batches device_input device_network device_session cuda)

# The path of the program that a cargo build made, from its messages.
executable() {
    python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == sys.argv[1]:
        path = message["executable"]
print(path)' "$1"
}

ci/cuda-toolchain.sh > /dev/null
rm -rf "$pack"
mkdir -p "$pack/bin" "$pack/tests" "$pack/photos" "$pack/peers"

for program in "${test_programs[@]}"; do
    cp "$(cargo test --no-run --quiet --test "$program" --message-format=json | executable "$program")" "$pack/tests/$program"
done
# With the emulator, as the benchmark has it: so the library is built once for both.
cp "$(cargo build --release --quiet --features emulator --bin dctflow --message-format=json | executable dctflow)" "$pack/bin/dctflow"
cp "$(cargo bench --no-run --quiet --bench device_decode --message-format=json | executable device_decode)" "$pack/bin/device_decode"
strip "$pack"/bin/* "$pack"/tests/*

mkdir -p "$pack/tests/data"
cp tests/data/*.tsv "$pack/tests/data/"
(($# == 0)) || cp "$@" "$pack/photos/"

sanitizer=target/compute-sanitizer
if ! cmp -s ci/gpu-requirements.txt "$sanitizer/requirements.txt"; then
    rm -rf "$sanitizer"
    python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --no-deps --require-hashes \
        --target "$sanitizer" -r ci/gpu-requirements.txt
    cp ci/gpu-requirements.txt "$sanitizer/"requirements.txt
fi
# Its libraries are looked for beside it.
mkdir "$pack/compute-sanitizer"
cp "$sanitizer"/nvidia/cu13/bin/* "$sanitizer"/nvidia/cu13/lib/lib{Tree,Interceptor}*.so "$pack/compute-sanitizer/"
chmod +x "$pack/compute-sanitizer/compute-sanitizer"

cp benches/peers/{common,gpu}.py "$pack/peers/"
cp ci/gpu.sh "$pack/"
git describe --always --dirty --abbrev=12 --match= > "$pack/commit"

# The programs have much in common, farther apart than the usual dictionary is long.
tar -C target -cf - gpu-pack | xz -6 --lzma2=preset=6,dict=256MiB > "$pack.tar.xz"
pack_bytes=$(stat -c %s "$pack.tar.xz")
echo "$pack.tar.xz: $((pack_bytes >> 10)) KiB"
((pack_bytes <= max_pack_bytes)) || { echo "more than $((max_pack_bytes >> 20)) MiB: pack fewer photos" >&2; exit 1; }
