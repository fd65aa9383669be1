"""Computes the logits of every network by PyTorch in float64, and writes them with a digest of the weights.

Usage: make.py FOLDER OUTPUT, where FOLDER was written by `cargo run --example export_networks -- FOLDER`.
"""

import hashlib
import json
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file

from networks import NETWORKS, Network


def digest(tensors):
    """SHA-256 over all tensors in the order of their names: the name, then the values as little-endian float32."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        sha.update(name.encode())
        sha.update(tensors[name].numpy().astype("<f4").tobytes())
    return sha.hexdigest()


def reference(folder, name):
    file = folder / f"{name}.safetensors"
    with safe_open(file, "pt") as f:
        config = json.loads(f.metadata()["dctflow"])
    assert config["network"] == name
    tensors = load_file(file)
    inputs = {name: x.permute(0, 3, 1, 2) for name, x in load_file(folder / f"{name}.inputs.safetensors").items()}
    logits = Network(tensors, config).run(inputs)
    return {"weights_sha256": digest(tensors), "logits": logits.tolist()}


def main(folder, output):
    references = {name: reference(folder, name) for name in NETWORKS}
    output.write_text(json.dumps(references, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
