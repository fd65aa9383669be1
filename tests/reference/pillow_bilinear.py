"""Writes tests/data/pillow_bilinear.json: rows of Pillow's BILINEAR resampling matrix, for tests/resample.rs.

The identity matrix, as a float image, is resized along one axis by Pillow: its columns are the matrix. "length" samples are resized
to "resized", of which "outputs" from "offset" on are kept; with "box" they are cropped to [start, end) first. Each row is
[first sample, [weights]].

    pip install pillow
    python tests/reference/pillow_bilinear.py
"""

import json
import pathlib
import struct

from PIL import Image

CASES = [
    {"length": 100, "resized": 48, "offset": 8, "outputs": 32},
    {"length": 47, "resized": 47, "offset": 8, "outputs": 32},
    {"length": 333, "resized": 33, "offset": 0, "outputs": 32},
    {"length": 21, "resized": 64, "offset": 16, "outputs": 32},
    {"length": 90, "box": [7, 71], "resized": 48, "offset": 0, "outputs": 48},
    {"length": 90, "box": [80, 90], "resized": 16, "offset": 0, "outputs": 16},
]


def identity(length):
    rows = [[float(x == y) for x in range(length)] for y in range(length)]
    return Image.frombytes("F", (length, length), struct.pack(f"{length * length}f", *sum(rows, [])))


def row(column, first):
    """One column of the resized identity, zeros at both ends left out."""
    used = [x for x, weight in enumerate(column) if weight != 0.0]
    weights = [round(weight, 8) for weight in column[used[0] : used[-1] + 1]]
    return [first + used[0], weights]


def rows(case):
    start, end = case.get("box", [0, case["length"]])
    image = identity(end - start).resize((case["resized"], end - start), Image.Resampling.BILINEAR)
    values = struct.unpack(f"{image.width * image.height}f", image.tobytes())
    return [row(values[case["offset"] + i :: image.width], start) for i in range(case["outputs"])]


def main():
    target = pathlib.Path(__file__).parent.parent / "data" / "pillow_bilinear.json"
    cases = [case | {"rows": rows(case)} for case in CASES]
    target.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
