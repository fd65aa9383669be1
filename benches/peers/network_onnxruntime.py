#!/usr/bin/env python3
"""Our forward pass on the CPU against ONNX Runtime's: the same networks, batches and cores, in turns, in one run.

    pip install onnxruntime numpy
    benches/peers/network_onnxruntime.py [--threads N...] [--rounds N] [--record FILE]

Prints, for each network and batch, images per second of both (median and best of the rounds), the ratio of ours to theirs, and how far
the logits are apart (max|a - b| / max|b|). The ratio is the median over the rounds of the ratio of two runs that follow one another, so
that other load on the machine meets both. With one thread, the ratio of CPU times is there as well, which other load disturbs less (with more,
ONNX Runtime's threads spin while they wait).
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
from itertools import product
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


def compare(executable, network, batch, threads, instruction_set, rounds):
    """One network and batch, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
        command = [executable, str(folder), network, str(batch)] + ([instruction_set] if instruction_set else [])
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ours:
            instruction_set = ours.stdout.readline().split()[0]
            options = ort.SessionOptions()
            options.intra_op_num_threads = threads
            session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
            inputs = onnx_inputs(folder, session, batch)
            theirs_logits = session.run(None, inputs)[0].ravel()
            ours_logits = np.fromfile(folder / "logits.f32", np.float32)
            error = float(np.abs(ours_logits - theirs_logits).max() / np.abs(theirs_logits).max())

            seconds, cpu_seconds = {"ours": [], "theirs": []}, {"ours": [], "theirs": []}
            for _ in range(rounds):
                ours.stdin.write("\n")
                ours.stdin.flush()
                passed, worked = map(float, ours.stdout.readline().split())
                seconds["ours"].append(passed)
                cpu_seconds["ours"].append(worked)
                start, start_of_work = time.perf_counter(), time.process_time()
                session.run(None, inputs)
                seconds["theirs"].append(time.perf_counter() - start)
                cpu_seconds["theirs"].append(time.process_time() - start_of_work)
                # ONNX Runtime's threads spin for a while after a run; they must not spin on our time.
                time.sleep(0.03)
            ours.stdin.close()

    ratios = [theirs / ours for ours, theirs in zip(seconds["ours"], seconds["theirs"])]
    result = {"network": network, "batch": batch, "threads": threads, "instruction_set": instruction_set}
    for who, times in seconds.items():
        result[f"{who}_images_per_s_median"] = round(batch / statistics.median(times), 2)
        result[f"{who}_images_per_s_best"] = round(batch / min(times), 2)
    result["ratio_median"] = round(statistics.median(ratios), 3)
    result["ratio_of_best"] = round(min(seconds["theirs"]) / min(seconds["ours"]), 3)
    if threads == 1:
        ratios = [theirs / ours for ours, theirs in zip(cpu_seconds["ours"], cpu_seconds["theirs"])]
        result["ratio_of_cpu_time_median"] = round(statistics.median(ratios), 3)
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
    parser.add_argument("--threads", type=int, nargs="+", default=[os.cpu_count()])
    parser.add_argument("--rounds", type=int, default=30, help="for batch 1; a third of it for larger batches")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--instruction-set", nargs="+", default=[None], help="amx, avx512, avx2 or portable; the default is the fastest")
    parser.add_argument("--executable", help="our side, already built")
    parser.add_argument("--record", type=Path, help="write the results to this file, as JSON")
    arguments = parser.parse_args()

    executable = arguments.executable or build()
    record = machine() | {"results": []}
    runs = product(arguments.threads, arguments.instruction_set, arguments.networks, arguments.batches)
    for threads, instruction_set, network, batch in runs:
        result = compare(executable, network, batch, threads, instruction_set, max(3, arguments.rounds // (1 if batch == 1 else 3)))
        record["results"].append(result)
        print(" ".join(f"{key}={value}" for key, value in result.items()), flush=True)
    if arguments.record:
        arguments.record.write_text(json.dumps(record, indent=1) + "\n")
    return 0 if all(r["logits_relative_difference"] < 1e-4 for r in record["results"]) else 1


if __name__ == "__main__":
    sys.exit(main())
