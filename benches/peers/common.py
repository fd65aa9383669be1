"""What the scripts of this folder share: arguments, how machines are described, files chosen, runs compared and shown. Needs Python alone."""

import argparse
import math
import os
import platform
import statistics
import subprocess
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def parser(description):
    """The arguments of all scripts, so that one command line serves each of them."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("paths", nargs="*", help="JPEG files or folders")
    result.add_argument("--record", type=Path, help="FILE.json: the CPU's results go there, the GPU's to FILE-gpu.json")
    result.add_argument("--limit", type=int, help="files at most [default: 64 on the CPU, 512 on a GPU]")
    result.add_argument("--batch", type=int, help="images in a batch [default: 16 on the CPU, 64 on a GPU]")
    cpu = result.add_argument_group("on the CPU")
    cpu.add_argument("--threads", type=int, default=os.cpu_count())
    cpu.add_argument("--decode-rounds", type=int, default=15)
    cpu.add_argument("--e2e-rounds", type=int, default=6)
    cpu.add_argument("--no-spinning", action="store_true", help="ONNX Runtime's threads sleep between runs")
    cpu.add_argument("--executable", help="our side (benches/peers/main.rs), already built")
    gpu = result.add_argument_group("on a GPU")
    gpu.add_argument("--rounds", type=int, default=5)
    gpu.add_argument("--duration", type=float, default=3.0, help="seconds of a measurement in each round")
    gpu.add_argument("--no-compile", action="store_true", help="leave the compiled ResNet-50 out: it takes a minute")
    gpu.add_argument("--max-autotune", action="store_true", help="compile it with kernels chosen by measuring too: takes minutes")
    gpu.add_argument("--seconds", type=float, default=math.inf, help="what has not begun after so many is left out")
    gpu.add_argument("--program", default=str(ROOT / "target/release/dctflow"), help="our program, already built")
    return result


def ratio(ours, theirs):
    """How many times as fast ours is, from paired seconds: geometric mean, and its 95 % interval (Student's t)."""
    logs = [math.log(b / a) for a, b in zip(ours, theirs)]
    # One round has no interval.
    mean, half = statistics.fmean(logs), math.inf
    if len(logs) > 1:
        # More than ten rounds: the quantile of nine degrees of freedom, a little too careful.
        t = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}.get(len(logs) - 1, 2.262)
        half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return [round(math.exp(x), 3) if math.isfinite(x) else None for x in (mean, mean - half, mean + half)]


def table(results):
    """One table of the results of one or more records."""
    lines = [
        "| group | what | images/s | CPU-ms per image | dctflow is so many times as fast (95 %) | the same in CPU time |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        rate = f"{result['images_per_s']:.1f}" if result.get("images_per_s") else f"not run: {result.get('absent')}"
        if result.get("doubts"):
            rate += f" (doubtful: {'; '.join(result['doubts'])})"
        cpu_ms = f"{result['cpu_ms_per_image']:.2f}" if result.get("cpu_ms_per_image") else "-"
        names = ["dctflow_times_as_fast", "dctflow_times_as_fast_in_cpu_time"]
        ratios = [ratio_cell(result.get(name, {})) for name in names]
        lines.append("| " + " | ".join([result["group"], result["what"], rate, cpu_ms, *ratios]) + " |")
    return "\n".join(lines)


def ratio_cell(ratios):
    return "; ".join(
        f"{mean:.2f}" + (f" ({low:.2f} to {high:.2f})" if low else "") + (f" with {who}" if len(ratios) > 1 else "")
        for who, (mean, low, high) in ratios.items()
    )


def commit():
    """That of the checkout, or what DCTFLOW_COMMIT says; None where neither is known."""
    if "DCTFLOW_COMMIT" in os.environ:
        return os.environ["DCTFLOW_COMMIT"]
    git = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--match="]
    try:
        return subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def machine():
    names = []
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": date.today().isoformat(),
        "commit": commit(),
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


def jpeg_files(paths, limit):
    """At most `limit` files, spread evenly over all that are there."""
    files = []
    for path in map(Path, paths):
        files += sorted(p for p in path.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")) if path.is_dir() else [path]
    step = max(1, len(files) // limit)
    return files[::step][:limit]


def gpu_record(path):
    """Where the GPU's results go."""
    return path.with_name(path.stem + "-gpu.json")
