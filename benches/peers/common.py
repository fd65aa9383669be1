"""What the scripts of this folder share: how machines are described, files chosen, and runs compared. Needs Python alone."""

import math
import os
import platform
import statistics
import subprocess
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def ratio(ours, theirs):
    """How many times as fast ours is: geometric mean of paired rounds, and its 95 % interval (Student's t)."""
    logs = [math.log(b / a) for a, b in zip(ours, theirs)]
    # One round has no interval.
    mean, half = statistics.fmean(logs), math.inf
    if len(logs) > 1:
        # More than ten rounds: the quantile of nine degrees of freedom, a little too careful.
        t = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}.get(len(logs) - 1, 2.262)
        half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return [round(math.exp(x), 3) if math.isfinite(x) else None for x in (mean, mean - half, mean + half)]


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
