#!/usr/bin/env python3
"""Our forward pass on the CPU against ONNX Runtime's: the same networks, batches and cores, in turns, in one run.

    pip install onnxruntime numpy
    benches/peers/network_onnxruntime.py [--threads N] [--rounds N] [--record FILE]

Prints, for each network and batch, images per second of both (median and best of the rounds), the ratio of ours to theirs, and how far
the logits are apart (max|a - b| / max|b|). The ratio is the median over the rounds of the ratio of two runs that follow one another, so
that other load on the machine meets both.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import onnxruntime as ort

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ["resnet50-rgb", "late-concat-rfa-thinner"]
# What the exported model applies to its RGB input, undone here, since our engine reads normalised samples.
RGB_MEAN, RGB_STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def build():
    """The path of our side, built by cargo."""
    command = ["cargo", "bench", "--bench", "network_peer", "--no-run", "--message-format=json"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "network_peer"][-1]


def onnx_inputs(folder, session, batch):
    """Our NHWC inputs in the form and under the names of the exported model."""
    shapes = {i.name: i.shape for i in session.get_inputs()}

    def load(file, side, channels):
        return np.fromfile(folder / file, np.float32).reshape(batch, side, side, channels)

    if "rgb" in shapes:
        arrays = {"rgb": load("input0.f32", shapes["rgb"][2], 3) * RGB_STD + RGB_MEAN}
    else:
        chroma = load("input1.f32", shapes["cb"][2], 128)
        arrays = {"y": load("input0.f32", shapes["y"][2], 64), "cb": chroma[..., :64], "cr": chroma[..., 64:]}
    return {name: np.ascontiguousarray(array.transpose(0, 3, 1, 2)) for name, array in arrays.items()}


def compare(executable, network, batch, arguments):
    """One network and batch, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        environment = os.environ | {"RAYON_NUM_THREADS": str(arguments.threads)}
        command = [executable, str(folder), network, str(batch)] + arguments.instruction_set
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ours:
            instruction_set = ours.stdout.readline().split()[0]
            options = ort.SessionOptions()
            options.intra_op_num_threads = arguments.threads
            session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
            inputs = onnx_inputs(folder, session, batch)
            theirs_logits = session.run(None, inputs)[0].ravel()
            ours_logits = np.fromfile(folder / "logits.f32", np.float32)
            error = float(np.abs(ours_logits - theirs_logits).max() / np.abs(theirs_logits).max())

            seconds = {"ours": [], "theirs": []}
            for _ in range(arguments.rounds):
                ours.stdin.write("\n")
                ours.stdin.flush()
                seconds["ours"].append(float(ours.stdout.readline()))
                start = time.perf_counter()
                session.run(None, inputs)
                seconds["theirs"].append(time.perf_counter() - start)
                # ONNX Runtime's threads spin for a while after a run; they must not spin on our time.
                time.sleep(0.03)
            ours.stdin.close()

    ratios = [theirs / ours for ours, theirs in zip(seconds["ours"], seconds["theirs"])]
    result = {"network": network, "batch": batch, "threads": arguments.threads, "instruction_set": instruction_set}
    for who, times in seconds.items():
        result[f"{who}_images_per_s_median"] = round(batch / statistics.median(times), 2)
        result[f"{who}_images_per_s_best"] = round(batch / min(times), 2)
    result["ratio_median"] = round(statistics.median(ratios), 3)
    result["ratio_of_best"] = round(min(seconds["theirs"]) / min(seconds["ours"]), 3)
    result["logits_relative_difference"] = error
    return result


def machine():
    """What the record must say about where it was made."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "date": date.today().isoformat(),
        "commit": commit,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "onnxruntime": ort.__version__,
        "rustc": subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=30, help="for batch 1; a third of it for larger batches")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--instruction-set", nargs=1, default=[], help="avx512, avx2 or portable; the default is the fastest")
    parser.add_argument("--executable", help="our side, already built")
    parser.add_argument("--record", type=Path, help="write the results to this file, as JSON")
    arguments = parser.parse_args()

    executable = arguments.executable or build()
    record = machine() | {"results": []}
    for network in arguments.networks:
        for batch in arguments.batches:
            result = compare(executable, network, batch, arguments)
            record["results"].append(result)
            print(" ".join(f"{key}={value}" for key, value in result.items()), flush=True)
    if arguments.record:
        arguments.record.write_text(json.dumps(record, indent=1) + "\n")
    return 0 if all(r["logits_relative_difference"] < 1e-4 for r in record["results"]) else 1


if __name__ == "__main__":
    sys.exit(main())
