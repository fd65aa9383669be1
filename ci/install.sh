#!/usr/bin/env bash
# Installs what the gate needs on a bare Debian or Ubuntu machine with Rust: a C++ compiler and Python's venv.
# Where they are already there it does nothing, and needs no rights.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v g++ >/dev/null || missing+=(g++)
command -v git >/dev/null || missing+=(git)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
if ((${#missing[@]})); then
    echo "installing: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi
command -v cargo >/dev/null || {
    echo "cargo is missing: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer with rustup" >&2
    exit 1
}

# Of every lock file and feature: tests/dependencies.rs looks at what is here.
host=$(rustc -vV | sed -n 's/^host: //p')
git ls-files '*Cargo.lock' | while read -r lock; do
    cargo fetch --quiet --locked --target "$host" --manifest-path "${lock%.lock}.toml"
done
