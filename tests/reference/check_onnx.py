"""Runs every exported network in onnxruntime and compares its logits with ours.

Usage: check_onnx.py FOLDER, where FOLDER was written by `cargo run --example export_networks -- FOLDER`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

# The paper's eight networks and torchvision's ResNet-50.
NUM_NETWORKS = 9
# Of max |a - b| / max |b|.
TOLERANCE = 1e-4


def run(model: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    expected_inputs = {value.name: value.shape for value in session.get_inputs()}
    nchw = {name: np.ascontiguousarray(value.transpose(0, 3, 1, 2)) for name, value in inputs.items()}
    assert expected_inputs == {name: ["N", *value.shape[1:]] for name, value in nchw.items()}, expected_inputs
    (logits,) = session.run(["logits"], nchw)
    # N is free: one image alone gives what it gave in the batch.
    (first,) = session.run(["logits"], {name: value[:1] for name, value in nchw.items()})
    assert difference(first, logits[:1]) < TOLERANCE
    return logits


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(np.abs(a - b).max() / np.abs(b).max())


def main(folder: Path) -> int:
    models = sorted(folder.glob("*.onnx"))
    assert len(models) == NUM_NETWORKS, f"{folder} holds {len(models)} models"
    failed = 0
    for model in models:
        ours = np.array(json.loads(model.with_suffix(".logits.json").read_text()))
        theirs = run(model, load_file(folder / f"{model.stem}.inputs.safetensors"))
        d = difference(ours, theirs)
        failed += not d < TOLERANCE
        print(f"{model.stem:<25} onnxruntime {onnxruntime.__version__}: difference {d:.1e}")
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
