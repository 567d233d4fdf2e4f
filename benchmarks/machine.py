"""The machine that a benchmark ran on, so that its figures can be read."""

import platform
from pathlib import Path

import torch


def describe() -> str:
    """Return processor, threads, and versions in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{processor}, {torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}"
    )
