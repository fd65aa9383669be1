#!/usr/bin/env python3
"""Our path on an NVIDIA GPU beside nvJPEG, nvImageCodec and PyTorch: the same files, the same GPU, in turns, in one run.

    benches/peers/run.sh [FILES or FOLDERS]      (makes the environment and calls this where `nvidia-smi` answers)

*Decoding*: nvJPEG (through torchvision) and nvImageCodec end at pixels, `dctflow bench decode` at coefficients; all in device memory, from bytes
in the host's. *Network*: ResNet-50 alone, its input in device memory, in fp16, channels last: eager, as a CUDA graph, compiled
(`reduce-overhead`) and, with --max-autotune, with kernels chosen by measuring; beside `dctflow bench network`. *Bytes to logits*: nvJPEG, resize
(antialiased, short side 256), centre crop 224 and that ResNet-50, beside `dctflow bench e2e`, with the network that needs no pixels and with
ResNet-50 itself. The peers have what ours has: batch norms are folded into the convolutions, a batch is decoded and resized on a stream and a thread
of its own while the network runs on the one before, images of one size are resized together, and logits come to pinned memory without a wait. cuDNN
measures its algorithms while it warms up.

Every result is written as soon as it is there. A ratio pairs runs of one round. What a machine cannot run has no rate, but the reason. Exit status: 0
if everything ran but what is not installed, 1 if something failed, 3 if there was no time for all.

This script follows the documentation of its peers; no record of it exists yet, and none of our claims rests on it.
"""

import json
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval
from torchvision.io import ImageReadMode, decode_jpeg

from common import gpu_record, jpeg_files, machine, parser, ratio, table

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

# Batches of one pass of a task: enough for those in flight to overlap.
NUM_BATCHES = 8
IN_FLIGHT = 2
SIDE = 224
BOTH_IN_FLIGHT = ["--in-flight", str(IN_FLIGHT)]

# Ours: `dctflow bench` with these arguments, beside the peers of these groups.
OURS = {
    "dctflow decode": ("decode", ["decode", *BOTH_IN_FLIGHT]),
    "dctflow resnet50-rgb-v1.5, network alone": ("network", ["network", "--network", "resnet50-rgb-v1.5", *BOTH_IN_FLIGHT]),
    "dctflow late-concat-rfa-thinner, network alone": ("network", ["network", "--network", "late-concat-rfa-thinner", *BOTH_IN_FLIGHT]),
    "dctflow resnet50-rgb-v1.5": ("bytes to logits", ["e2e", "--network", "resnet50-rgb-v1.5", *BOTH_IN_FLIGHT]),
    "dctflow late-concat-rfa-thinner": ("bytes to logits", ["e2e", "--network", "late-concat-rfa-thinner", *BOTH_IN_FLIGHT]),
}

# Rounds are short by design: their number is what makes up for it.
EXPECTED_DOUBTS = ("too-short", "short-warm-up")


def folded(network):
    """With its batch norms in the convolutions before them."""
    pairs = [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")]
    for module in list(network.modules()):
        for names in pairs:
            convolution, norm = (getattr(module, name, None) for name in names)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, names[0], fuse_conv_bn_eval(convolution, norm))
                setattr(module, names[1], nn.Identity())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    return network


class Peers:
    """Each task takes `passes` times NUM_BATCHES batches; the device is idle at its end."""

    def __init__(self, files, arguments):
        self.batch = arguments.batch
        contents = [file.read_bytes() for file in files]
        # Few files are taken again, many are not taken all: whole batches only, since a graph is made for one shape.
        needed = NUM_BATCHES * self.batch
        contents = (contents * math.ceil(needed / len(contents)))[:needed]
        # decode_jpeg wants uint8 tensors on the CPU; a copy, since tensors are writable and bytes are not.
        tensors = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in contents]
        starts = range(0, needed, self.batch)
        self.bytes = [contents[i : i + self.batch] for i in starts]
        self.tensors = [tensors[i : i + self.batch] for i in starts]
        self.mean, self.std = (torch.tensor(values, device="cuda").view(1, 3, 1, 1) for values in (MEAN, STD))
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = True
        network = folded(torchvision.models.resnet50(weights=None).eval()).half().cuda()
        self.network = network.to(memory_format=torch.channels_last)
        # As the batches that are decoded: what is compiled for another kind of tensor would be compiled a second time.
        with torch.inference_mode():
            image = torch.randn(self.batch, 3, SIDE, SIDE, device="cuda").half()
            self.image = image.contiguous(memory_format=torch.channels_last)
        # The decoder's stream, that of the resizing, and the thread of both.
        self.decoding, self.side = torch.cuda.Stream(), torch.cuda.Stream()
        self.pool = ThreadPoolExecutor(1)
        self.held, self.passes = deque(), 1
        self.logits = [torch.empty(self.batch, 1000, dtype=torch.half, pin_memory=True) for _ in range(IN_FLIGHT + 1)]
        self.decoder = None
        self.made = {}

    def forward(self, how):
        """The network as a function of a batch."""
        if how not in self.made:
            self.made[how] = {
                "eager": lambda: self.network,
                "CUDA graph": self.graph,
                "compiled": lambda: torch.compile(self.network, mode="reduce-overhead"),
                "max-autotune": lambda: torch.compile(self.network, mode="max-autotune"),
            }[how]()
        return self.made[how]

    def graph(self):
        taken = self.image.clone(memory_format=torch.channels_last)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.network(taken)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            given = self.network(taken)

        def run(batch):
            taken.copy_(batch)
            graph.replay()
            return given

        return run

    def batches(self, of):
        return chain.from_iterable(repeat(of, self.passes))

    def nvjpeg(self):
        for chunk in self.batches(self.tensors):
            decode_jpeg(chunk, mode=ImageReadMode.RGB, device="cuda")

    def nvimgcodec(self):
        from nvidia import nvimgcodec

        self.decoder = self.decoder or nvimgcodec.Decoder()
        for chunk in self.batches(self.bytes):
            images = self.decoder.decode(chunk)
            assert all(image is not None for image in images), "nvImageCodec gave nothing for a file"

    def network_alone(self, how):
        forward = self.forward(how)
        for _ in range(self.passes * NUM_BATCHES):
            self.download(forward(self.image))
        self.finish()

    def bytes_to_logits(self, how):
        forward = self.forward(how)
        stream = torch.cuda.current_stream()
        left = self.batches(self.tensors)
        coming = deque(self.pool.submit(self.decode, next(left)) for _ in range(IN_FLIGHT))
        while coming:
            batch, decoded = coming.popleft().result()
            following = next(left, None)
            if following is not None:
                coming.append(self.pool.submit(self.decode, following))
            stream.wait_event(decoded)
            batch.record_stream(stream)
            self.download(forward(batch))
        self.finish()

    def decode(self, chunk):
        """A batch of the network's input, and the event after which it is there."""
        with torch.inference_mode():
            # torchvision decodes on a stream of its own, which does not wait for the current one, into memory that was taken for the current one. So
            # there is nothing else on that, and images are kept until they were read: else others would be written over them.
            with torch.cuda.stream(self.decoding):
                images = decode_jpeg(chunk, mode=ImageReadMode.RGB, device="cuda")
            self.side.wait_stream(self.decoding)
            with torch.cuda.stream(self.side):
                batch = self.prepare(images)
                decoded = torch.cuda.Event()
                decoded.record()
        self.held.append((images, decoded))
        if len(self.held) > IN_FLIGHT:
            images, read = self.held.popleft()
            read.synchronize()
        return batch, decoded

    def prepare(self, images):
        """Resized, cropped, normalised; images of one size together."""
        by_size = {}
        for idx, image in enumerate(images):
            by_size.setdefault(tuple(image.shape), []).append(idx)
        crops = []
        for (_, height, width), places in by_size.items():
            scale = 256 / min(height, width)
            size = (round(height * scale), round(width * scale))
            stack = torch.stack([images[idx] for idx in places]).float()
            stack = F.interpolate(stack, size=size, mode="bilinear", antialias=True)
            top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
            crops.append(stack[:, :, top : top + SIDE, left : left + SIDE])
        batch = torch.cat(crops)
        if len(crops) > 1:
            # To the files' order, without a wait of the host: one gathering, by an index from pinned memory.
            places = torch.tensor([idx for places in by_size.values() for idx in places])
            batch = batch[places.argsort().pin_memory().to("cuda", non_blocking=True)]
        batch = ((batch / 255 - self.mean) / self.std).half()
        return batch.contiguous(memory_format=torch.channels_last)

    def download(self, logits):
        """To pinned memory, with IN_FLIGHT batches under way."""
        to, event = self.logits[0], torch.cuda.Event()
        self.logits.append(self.logits.pop(0))
        to.copy_(logits, non_blocking=True)
        event.record()
        self.waiting.append(event)
        if len(self.waiting) > IN_FLIGHT:
            self.waiting.popleft().synchronize()

    def finish(self):
        while self.waiting:
            self.waiting.popleft().synchronize()

    def rate(self, task, duration):
        """Images per second over about `duration` seconds in one go, after a pass that says how many passes this takes."""
        self.passes = 1
        self.passes = max(1, math.ceil(duration / self.seconds(task)))
        return self.passes * NUM_BATCHES * self.batch / self.seconds(task)

    def seconds(self, task):
        self.waiting = deque()
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.inference_mode():
            task()
        torch.cuda.synchronize()
        return time.perf_counter() - start


def decodable(files):
    """Those that nvJPEG can decode: one that it cannot would end every task of its. All, if it can none: then it is not there at all."""
    kept = []
    for file in files:
        try:
            data = torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)
            decode_jpeg(data, mode=ImageReadMode.RGB, device="cuda")
            kept.append(file)
        except (RuntimeError, ValueError) as error:  # ValueError: of an empty file
            print(f"{file.name}: {error}", file=sys.stderr)
    return kept or files


class Run:
    """What was measured so far, kept in the record."""

    def __init__(self, arguments, record):
        self.arguments, self.record = arguments, record
        self.results = {}
        self.began = time.monotonic()
        self.has_failed = self.has_skipped = False

    def measure(self, what, group, measure, pass_idx):
        """Takes a rate; after a failure a task is left alone, and the reason is kept."""
        result = self.results.setdefault(what, {"group": f"GPU {group}", "what": what, "rates": {}, "doubts": []})
        if result.get("absent"):
            return
        if time.monotonic() - self.began > self.arguments.seconds:
            self.has_skipped = True
            if not result["rates"]:
                result["absent"] = "no time was left"
            return
        try:
            rate, doubts = measure()
            if pass_idx is not None:
                result["rates"][pass_idx] = rate
            result["doubts"] += [doubt for doubt in doubts if doubt not in result["doubts"]]
            print(f"{what}: {rate:.0f} images/s", file=sys.stderr, flush=True)
        except ImportError as error:
            result["absent"] = f"not installed: {error}"
        except Exception as error:  # whatever a peer throws is its reason
            self.has_failed = True
            result["absent"] = f"{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error).strip() else ''}"
            print(f"{what}: {error}", file=sys.stderr, flush=True)
        self.write()

    def write(self):
        for result in self.results.values():
            rates = result["rates"]
            result["images_per_s"] = round(statistics.median(rates.values()), 1) if rates else None
            ours = {w: r for w, r in self.results.items() if w in OURS and r["group"] == result["group"]}
            result["dctflow_times_as_fast"] = {}
            for who, our in ours.items() if result["what"] not in OURS else ():
                # Rounds that both have. `ratio` takes seconds.
                both = [idx for idx in rates if idx in our["rates"]]
                if both:
                    pair = ([1 / r["rates"][idx] for idx in both] for r in (our, result))
                    result["dctflow_times_as_fast"][who.removeprefix("dctflow ")] = ratio(*pair)
        groups = [f"GPU {group}" for group in ("decode", "network", "bytes to logits")]
        self.record["results"] = sorted(self.results.values(), key=lambda r: (groups.index(r["group"]), r["what"] not in OURS))
        if self.arguments.record:
            gpu_record(self.arguments.record).write_text(json.dumps(self.record, indent=1) + "\n")


def ours(arguments, task, file_list, records):
    """Images per second of `dctflow bench`, and why they are doubtful."""
    command = [arguments.program, "bench", *task, "--device", "cuda", "--json", "--batch", str(arguments.batch)]
    command += ["--duration", str(arguments.duration), "--warm-up", "1", f"@{file_list}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"status {done.returncode}")
    record = json.loads(done.stdout)
    records.append(record)
    result = record["results"][0]
    return result["images_per_s"], [r["message"] for r in result["reasons"] if r["code"] not in EXPECTED_DOUBTS]


def main():
    arguments = parser(__doc__).parse_args()
    arguments.limit, arguments.batch = arguments.limit or 512, arguments.batch or 64
    if not arguments.paths:
        print("gpu.py: name JPEG files or folders: nothing is made for the GPU's peers", file=sys.stderr)
        return 2
    found = jpeg_files(arguments.paths, arguments.limit)
    if not found:
        print("gpu.py: no JPEG files there", file=sys.stderr)
        return 2
    files = decodable(found)
    record = machine() | {
        "gpu": torch.cuda.get_device_name(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__},
        "settings": {
            "batch": arguments.batch,
            "files": len(files),
            "duration": arguments.duration,
            "rounds": arguments.rounds,
            "batches_in_flight": IN_FLIGHT,
        },
        "files_that_nvjpeg_cannot_decode": len(found) - len(files),
        "our_records": [],
    }
    run, peers = Run(arguments, record), Peers(files, arguments)

    def hows(*ways):
        tasks = []
        for how in ways:
            tasks.append((f"ResNet-50, {how}, network alone", "network", lambda how=how: peers.network_alone(how)))
            tasks.append((f"nvJPEG + ResNet-50, {how}", "bytes to logits", lambda how=how: peers.bytes_to_logits(how)))
        return tasks

    # What takes long to make comes last, with rounds of its own.
    decoders = [("nvJPEG, to pixels", "decode", peers.nvjpeg), ("nvImageCodec, to pixels", "decode", peers.nvimgcodec)]
    passes = [decoders + hows("eager", "CUDA graph")]
    passes += [hows("compiled")] * (not arguments.no_compile) + [hows("max-autotune")] * arguments.max_autotune
    with tempfile.TemporaryDirectory() as folder:
        file_list = Path(folder) / "files.txt"
        file_list.write_text("".join(f"{file.resolve()}\n" for file in files))
        for pass_number, tasks in enumerate(passes):
            for what, group, task in tasks:  # compiles, allocates, clocks up
                run.measure(what, group, lambda: (peers.rate(task, 1.0), []), None)
            groups = {group for what, group, _ in tasks if not run.results[what].get("absent")}
            for round_idx in range(arguments.rounds):
                idx = f"{pass_number}.{round_idx}"
                for what, (group, task) in OURS.items():
                    if group in groups:
                        run.measure(what, group, lambda: ours(arguments, task, file_list, record["our_records"]), idx)
                for what, group, task in tasks:
                    run.measure(what, group, lambda: (peers.rate(task, arguments.duration), []), idx)
    run.write()
    print(table(record["results"]))
    return 1 if run.has_failed else 3 if run.has_skipped else 0


if __name__ == "__main__":
    sys.exit(main())
