#!/usr/bin/env python3
"""Our decoder and our whole path beside what people use today, on the CPU: the same files and cores, in turns, in one run.

    benches/peers/run.sh [FILES or FOLDERS]      (makes the environment and calls this)

Two groups. *Decoding*, one core: ours and libjpeg-turbo's end at coefficients, in Rust and, by jpeglib, in Python (which reads files: they lie in
memory); the peers that end at pixels do more (inverse DCT,
upsampling, colour conversion), which is just what a network on coefficients saves; jpeg-decoder starts threads of its own. *Bytes to logits*, all cores: ours against Pillow
(decode, short side 256, centre crop 224; threads, since Pillow lets go of the interpreter's lock) and ONNX Runtime on the same
ResNet-50 with the same random weights.

A ratio is theirs over ours, from runs of one round: geometric mean over rounds with its 95 % interval. It is taken twice: of the time that
passed, and of the CPU time of all threads, which other load on the machine disturbs far less.
"""

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import jpeglib
import numpy as np
import onnxruntime as ort
import PIL
from PIL import Image, features

from common import ROOT, jpeg_files, machine, parser, ratio, table

DECODERS = ["dctflow-coefficients", "libjpeg-coefficients", "jpeglib-coefficients", "zune-pixels", "jpeg-decoder-pixels", "pillow-pixels"]
PATHS = ["dctflow-e2e:resnet50-rgb", "dctflow-e2e:late-concat-rfa-thinner", "pillow-onnxruntime:resnet50-rgb"]
ABOUT = {
    "dctflow-coefficients": "dctflow, to coefficients",
    "libjpeg-coefficients": "libjpeg-turbo's C decoder (mozjpeg 4.1), to coefficients",
    "jpeglib-coefficients": "jpeglib (libjpeg-turbo), to coefficients in NumPy arrays",
    "zune-pixels": "zune-jpeg, to pixels",
    "jpeg-decoder-pixels": "jpeg-decoder, to pixels",
    "pillow-pixels": "Pillow (libjpeg-turbo with SIMD), to pixels",
    "dctflow-e2e:resnet50-rgb": "dctflow, resnet50-rgb",
    "dctflow-e2e:late-concat-rfa-thinner": "dctflow, late-concat-rfa-thinner",
    "pillow-onnxruntime:resnet50-rgb": "Pillow + ONNX Runtime, resnet50-rgb",
}


class OurSide:
    """The program `benches/peers/main.rs`, which does one task per line."""

    def __init__(self, executable, folder, arguments, files):
        command = [executable, str(folder), str(arguments.threads), str(arguments.batch), *map(str, files)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = json.loads(self._answer())
        # Linux: the clock of another process's CPU time (clock_getcpuclockid).
        self.cpu_clock = (~self.process.pid << 3) | 2

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("our side ended; see above")
        return line

    def seconds(self, task):
        start = time.clock_gettime(self.cpu_clock)
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        seconds = float(self._answer())
        return seconds, time.clock_gettime(self.cpu_clock) - start

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class InPython:
    """Pillow alone, Pillow with ONNX Runtime, and jpeglib."""

    def __init__(self, folder, files, arguments):
        self.files = [Path(file).read_bytes() for file in files]
        self.paths = [str(file) for file in files]
        self.batch = arguments.batch
        self.pool = ThreadPoolExecutor(arguments.threads)
        options = ort.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        # Threads that spin after a run would spin on others' time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0" if arguments.no_spinning else "1")
        self.session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])

    def seconds(self, task):
        start, cpu_start = time.perf_counter(), time.process_time()
        if task == "pillow-pixels":
            for file in self.files:
                Image.open(BytesIO(file)).convert("RGB")
        elif task == "jpeglib-coefficients":
            for path in self.paths:
                # Reading a part loads the file.
                assert jpeglib.read_dct(path).Y is not None
        else:
            self.classify()
        return time.perf_counter() - start, time.process_time() - cpu_start

    def classify(self):
        # The next batch is decoded while the network runs on this one.
        chunks = [self.files[i : i + self.batch] for i in range(0, len(self.files), self.batch)]
        coming = [self.pool.submit(prepare, file) for file in chunks[0]]
        for following in chunks[1:] + [[]]:
            images = np.stack([image.result() for image in coming])
            coming = [self.pool.submit(prepare, file) for file in following]
            logits = self.session.run(None, {"rgb": images})[0]
            assert logits.shape[0] == len(images)


def prepare(file):
    """A file to the network's input: short side 256, centre crop 224, samples in 0..1 (the model normalises them)."""
    image = Image.open(BytesIO(file))
    scale = 256 / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    image = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - 224) // 2, (height - 224) // 2
    array = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def run_group(tasks, runners, rounds):
    """Seconds and CPU seconds of each task, round by round; the first round warms up. The order changes, so that no task always follows the same one."""
    seconds = {task: [] for task in tasks}
    order = random.Random(1)
    for round_idx in range(rounds + 1):
        for task in order.sample(tasks, len(tasks)):
            took = runners[task].seconds(task)
            if round_idx:
                seconds[task].append(took)
            if "onnxruntime" in task:
                time.sleep(0.05)
    return seconds


def results_of(group, seconds, about):
    """One result per task: rates, and the ratio of ours to it for each of our own tasks in the group."""
    results = []
    for task, rounds in seconds.items():
        times, cpu_times = zip(*rounds)
        median = statistics.median(times)
        result = {
            "group": f"CPU {group}",
            "task": task,
            "what": ABOUT[task],
            "images_per_s": round(len(about["files"]) / median, 2),
            "mb_in_per_s": round(about["bytes"] / median / 1e6, 2),
            "mpixels_per_s": round(about["pixels"] / median / 1e6, 2),
            "cpu_ms_per_image": round(statistics.median(cpu_times) * 1000 / len(about["files"]), 3),
            "seconds": [round(s, 5) for s in times],
            "cpu_seconds": [round(s, 5) for s in cpu_times],
        }
        if not task.startswith("dctflow"):
            ours = [t for t in seconds if t.startswith("dctflow")]
            names = {t: t.split(":")[-1] for t in ours}
            for name, idx in [("dctflow_times_as_fast", 0), ("dctflow_times_as_fast_in_cpu_time", 1)]:
                result[name] = {names[t]: ratio(*([r[idx] for r in seconds[who]] for who in (t, task))) for t in ours}
        results.append(result)
    return results


def busy_seconds():
    """Seconds that all CPUs were busy so far, and that the hypervisor took; None where this is not Linux."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split("\n")[0].split()[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def versions():
    return {
        "python": platform.python_version(),
        "jpeglib": jpeglib.__version__,
        "pillow": PIL.__version__,
        "pillow_libjpeg_turbo": features.version("libjpeg_turbo"),
        "onnxruntime": ort.__version__,
        **crate_versions(["zune-jpeg", "jpeg-decoder", "mozjpeg-sys"]),
    }


def crate_versions(names):
    lock = (ROOT / "Cargo.lock").read_text().split("[[package]]")
    fields = [dict(line.split(" = ", 1) for line in package.splitlines() if " = " in line) for package in lock]
    return {f["name"].strip('"'): f["version"].strip('"') for f in fields if f.get("name", "").strip('"') in names}


def build():
    # The library alone with what writes ONNX files: the program is not needed.
    features = ["--no-default-features", "--features", "onnx"]
    command = ["cargo", "bench", "--bench", "peers", *features, "--no-run", "--message-format=json"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "peers"][-1]


def main():
    options = parser(__doc__)
    options.add_argument("--make-files", type=Path, help="write the photo-like files there, and nothing else")
    arguments = options.parse_args()
    arguments.limit, arguments.batch = arguments.limit or 64, arguments.batch or 16

    executable = arguments.executable or build()
    if arguments.make_files:
        arguments.make_files.mkdir(parents=True, exist_ok=True)
        subprocess.run([executable, "make", str(arguments.make_files)], check=True)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        ours = OurSide(executable, folder, arguments, jpeg_files(arguments.paths, arguments.limit))
        about = ours.about
        in_python = InPython(folder, about["files"], arguments)
        is_ours = ("dctflow", "libjpeg", "zune", "jpeg-decoder")
        runners = {task: ours if task.startswith(is_ours) else in_python for task in ABOUT}
        record = machine() | {"versions": versions()}
        record["data"] = {k: about[k] for k in ("sha256", "bytes", "pixels")} | {"files": len(about["files"])}
        made = "64 synthetic photos, seed 0"
        record["data"]["source"] = os.environ.get("PEERS_SOURCE", "given") if arguments.paths else made
        record["settings"] = {
            "decode_threads": 1,
            "e2e_threads": arguments.threads,
            "batch": arguments.batch,
            "onnxruntime_threads_spin": not arguments.no_spinning,
        }
        record["results"] = []
        for group, tasks, rounds in [("decode", DECODERS, arguments.decode_rounds), ("e2e", PATHS, arguments.e2e_rounds)]:
            before, start = busy_seconds(), time.perf_counter()
            seconds = run_group(tasks, runners, rounds)
            if before:
                capacity = (time.perf_counter() - start) * os.cpu_count()
                after = busy_seconds()
                busy, stolen = ((after[i] - before[i]) / capacity for i in (0, 1))
                record[f"{group}_cpus"] = {"busy_share": round(busy, 3), "stolen_share": round(stolen, 3)}
            results = results_of(group, seconds, about)
            record["results"] += results
            print(f"{table(results)}\n", flush=True)
            if arguments.record:
                arguments.record.write_text(json.dumps(record, indent=1) + "\n")
        ours.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
