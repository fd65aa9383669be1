#!/usr/bin/env python3
"""Our path on an NVIDIA GPU beside nvJPEG, nvImageCodec and PyTorch: the same files, the same GPU, in turns, in one run.

    benches/peers/run.sh [FILES or FOLDERS]      (makes the environment and calls this where `nvidia-smi` answers)

*Decoding*: nvJPEG (through torchvision) and nvImageCodec end at pixels, `dctflow bench decode --device cuda` at coefficients; all in device
memory, from bytes in the host's. *Bytes to logits*: nvJPEG, resize (antialiased, short side 256), centre crop 224, and
ResNet-50 with random weights in fp16, channels last: eager, compiled with CUDA graphs and, with --max-autotune, with kernels chosen by
measuring, which takes minutes. Ours is `dctflow bench e2e --device cuda`, with the network that needs no pixels and with ResNet-50 itself.
What a machine cannot run is null in the record, with the reason.

This script follows the documentation of its peers; it has not been run yet, so no record of it exists, and none of our claims rests on it.
"""

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torchvision.io import ImageReadMode, decode_jpeg

from common import ROOT, jpeg_files, machine, ratio

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Peers:
    """Each task takes all files once, batch by batch, and returns the seconds, with the device idle at the end."""

    def __init__(self, files, batch, has_max_autotune):
        # Few files are taken again, until they fill a batch.
        self.bytes = [file.read_bytes() for file in files] * math.ceil(batch / len(files))
        # decode_jpeg wants uint8 tensors on the CPU; a copy, since tensors are writable and bytes are not.
        self.tensors = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in self.bytes]
        self.batch = batch
        mean, std = torch.tensor(MEAN, device="cuda"), torch.tensor(STD, device="cuda")
        self.mean, self.std = mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)
        torch.manual_seed(0)
        network = torchvision.models.resnet50(weights=None).eval().half().cuda()
        self.eager = network.to(memory_format=torch.channels_last)
        compiled = torch.compile(self.eager, mode="reduce-overhead")
        self.tasks = {
            "nvjpeg-pixels": self.nvjpeg,
            "nvimgcodec-pixels": self.nvimgcodec,
            "nvjpeg-resnet50-eager": lambda: self.classify(self.eager),
            "nvjpeg-resnet50-compiled": lambda: self.classify(compiled),
        }
        if has_max_autotune:
            tuned = torch.compile(self.eager, mode="max-autotune")
            self.tasks["nvjpeg-resnet50-max-autotune"] = lambda: self.classify(tuned)

    def chunks(self, items):
        # Whole batches only: a compiled network is made for one shape.
        return [items[i : i + self.batch] for i in range(0, len(items) - self.batch + 1, self.batch)]

    def nvjpeg(self):
        for chunk in self.chunks(self.tensors):
            decode_jpeg(chunk, mode=ImageReadMode.RGB, device="cuda")

    def nvimgcodec(self):
        from nvidia import nvimgcodec

        if not hasattr(self, "decoder"):
            self.decoder = nvimgcodec.Decoder()
        for chunk in self.chunks(self.bytes):
            images = self.decoder.decode(chunk)
            assert all(image is not None for image in images), "nvImageCodec gave nothing for a file"

    @torch.inference_mode()
    def classify(self, network):
        for chunk in self.chunks(self.tensors):
            images = [self.prepare(image) for image in decode_jpeg(chunk, mode=ImageReadMode.RGB, device="cuda")]
            batch = ((torch.cat(images) / 255 - self.mean) / self.std).half()
            logits = network(batch.contiguous(memory_format=torch.channels_last))
            logits.float().cpu()

    def prepare(self, image):
        height, width = image.shape[1:]
        scale = 256 / min(height, width)
        size = (round(height * scale), round(width * scale))
        image = F.interpolate(image[None].float(), size=size, mode="bilinear", antialias=True)
        top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
        return image[:, :, top : top + 224, left : left + 224]

    def seconds(self, task):
        torch.cuda.synchronize()
        start = time.perf_counter()
        self.tasks[task]()
        torch.cuda.synchronize()
        return time.perf_counter() - start


def decodable(files):
    """Those that nvJPEG can decode: one that it cannot would end every task of its. All, if it can none: then it is not there at all."""
    kept = []
    for file in files:
        try:
            decode_jpeg(torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8), mode=ImageReadMode.RGB, device="cuda")
            kept.append(file)
        except RuntimeError as error:
            print(f"{file.name}: {error}", file=sys.stderr)
    return kept or files


# Ours: `dctflow bench` with these arguments.
OURS = {
    "dctflow-decode": ["decode"],
    "dctflow-late-concat-rfa-thinner": ["e2e", "--network", "late-concat-rfa-thinner"],
    "dctflow-resnet50-rgb-v1.5": ["e2e", "--network", "resnet50-rgb-v1.5"],
}


def our_rate(task, file_list, arguments):
    """Images per second of `dctflow bench`, and its whole record."""
    command = [arguments.program, "bench", *OURS[task], "--device", "cuda", "--json", f"@{file_list}"]
    command += ["--batch", str(arguments.batch), "--duration", str(arguments.duration)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}")
    record = json.loads(done.stdout)
    return record["results"][0]["images_per_s"], record


def peer_rate(peers, task, duration):
    """Images per second over at least `duration` seconds."""
    num_images = len(peers.chunks(peers.bytes)) * peers.batch
    total, rounds = 0.0, 0
    while total < duration:
        total += peers.seconds(task)
        rounds += 1
    return rounds * num_images / total


def run(name, measure, results):
    """Takes a rate; after a failure the task is left alone, and the reason is kept."""
    result = results.setdefault(name, {"images_per_s": [], "absent": None})
    if result["absent"]:
        return
    try:
        result["images_per_s"].append(measure())
    except Exception as error:  # whatever a peer throws is its reason
        result["absent"] = f"{type(error).__name__}: {error}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", help="JPEG files or folders")
    parser.add_argument("--limit", type=int, default=512, help="files at most")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=float, default=5.0, help="seconds per measurement")
    parser.add_argument("--max-autotune", action="store_true", help="compile ResNet-50 so too")
    parser.add_argument("--program", default=str(ROOT / "target/release/dctflow"))
    parser.add_argument("--record", type=Path, help="FILE.json: writes FILE-gpu.json")
    arguments, _ = parser.parse_known_args()
    if not arguments.paths:
        print("gpu.py: name JPEG files or folders: nothing is made for the GPU's peers", file=sys.stderr)
        return 2

    found = jpeg_files(arguments.paths, arguments.limit)
    files = decodable(found)
    if not files:
        print("gpu.py: no JPEG files there", file=sys.stderr)
        return 2
    peers = Peers(files, arguments.batch, arguments.max_autotune)
    results, records = {}, []

    def ours(task):
        rate, record = our_rate(task, file_list, arguments)
        records.append(record)
        return rate

    with tempfile.TemporaryDirectory() as folder:
        file_list = Path(folder) / "files.txt"
        file_list.write_text("".join(f"{file.resolve()}\n" for file in files))
        for task in peers.tasks:  # compiles, allocates, clocks up
            run(task, lambda: peer_rate(peers, task, 1.0), results)
        for result in results.values():
            result["images_per_s"].clear()
        for _ in range(arguments.rounds):
            for task in OURS:
                run(task, lambda: ours(task), results)
            for task in peers.tasks:
                run(task, lambda: peer_rate(peers, task, arguments.duration), results)
            # Round by round, in case there is no time for all of them.
            if arguments.record:
                write_record(arguments, len(files), len(found) - len(files), results, records)

    summarise(results)
    if arguments.record:
        write_record(arguments, len(files), len(found) - len(files), results, records)
    return 0


def write_record(arguments, num_files, num_left_out, results, our_records):
    record = machine() | {
        "gpu": torch.cuda.get_device_name(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__},
        "settings": {"batch": arguments.batch, "files": num_files, "duration": arguments.duration},
        "files_that_nvjpeg_cannot_decode": num_left_out,
        "results": results,
        "our_records": our_records,
    }
    arguments.record.with_name(arguments.record.stem + "-gpu.json").write_text(json.dumps(record, indent=1) + "\n")


def summarise(results):
    """Adds our ratios to each peer, and prints the table."""
    print("| what | images/s | dctflow is so many times as fast (95 %) |\n|---|---|---|")
    end_to_end = [task for task, arguments in OURS.items() if "e2e" in arguments]
    for name, result in results.items():
        rates, cells = result["images_per_s"], []
        for task in [] if name in OURS else end_to_end if "resnet50" in name else ["dctflow-decode"]:
            ours = results[task]["images_per_s"]
            if rates and len(rates) == len(ours):
                # `ratio` takes seconds.
                mean, low, high = ratio([1 / r for r in ours], [1 / r for r in rates])
                result.setdefault("dctflow_times_as_fast", {})[task] = [mean, low, high]
                cells.append(f"{task}: {mean:.2f}" + (f" ({low:.2f} to {high:.2f})" if low else ""))
        shown = f"{statistics.median(rates):.0f}" if rates else f"not run: {result['absent']}"
        print(f"| {name} | {shown} | {'; '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
