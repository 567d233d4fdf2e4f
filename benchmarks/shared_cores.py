"""Two sweeps at once against the same two one after the other, on the cores that both share.

python benchmarks/shared_cores.py                    two default sweeps; last line `ratio X.XX`
python benchmarks/shared_cores.py --images           then two jobs on images too (--data holds cifar10.npz)

Each sweep starts from an empty store, with the defaults: variables of OpenMP are taken out of its environment. At a
ratio of .5 each sweep has a core of its own; at 1 nothing is gained; above 1 the sweeps are in each other's way.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

ROOT = Path(__file__).parents[1]
TABLES = ["-m", "model.layers=2,4"]
IMAGES = ["dataset=cifar10_airplane", "training.epochs=2", "samples=100"]
IMAGES += ["replicates.bases=1", "replicates.references=2"]


def main() -> None:
    """Run each pair one after the other and at once, as often as --rounds says, and print the ratios of wall times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", action="store_true", help="also two jobs on images")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that holds cifar10.npz")
    parser.add_argument("--rounds", type=int, default=1, help="of each pair; the best time of each way counts")
    options = parser.parse_args()
    print(f"{describe()}; {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    pairs = {"two default sweeps": TABLES}
    if options.images:
        pairs["two jobs on images"] = [*IMAGES, f"paths.data={options.data.resolve()}"]
    for name, words in pairs.items():
        after, at_once = [], []
        for _ in range(options.rounds):  # by turns, so that a busy minute meets both
            after.append(seconds(words, at_once=False))
            at_once.append(seconds(words, at_once=True))
        print(f"{name}: one after the other {min(after):.1f} s, at once {min(at_once):.1f} s", flush=True)
        print(f"ratio {min(at_once) / min(after):.2f}", flush=True)


def seconds(words: list[str], *, at_once: bool) -> float:
    """Return the wall time of two runs of `transfer.py` with these words."""
    with tempfile.TemporaryDirectory() as made:
        began = time.perf_counter()
        running = []
        for place in (Path(made, "a"), Path(made, "b")):
            place.mkdir()
            running.append((place, started(place, words)))
            if not at_once:
                ended(*running.pop())
        for one in running:
            ended(*one)
        return time.perf_counter() - began


def started(place: Path, words: list[str]) -> "subprocess.Popen[bytes]":
    """Start `transfer.py` in a folder of its own, with an empty store."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_"))}
    command = [sys.executable, str(ROOT / "transfer.py"), *words, "wandb=disabled"]
    with (place / "said").open("wb") as said:
        return subprocess.Popen(command, cwd=place, stdout=said, stderr=said, env=settings)


def ended(place: Path, running: "subprocess.Popen[bytes]") -> None:
    """Wait for the end; RuntimeError with its last words if it failed."""
    if running.wait() != 0:
        raise RuntimeError((place / "said").read_text()[-2000:])


if __name__ == "__main__":
    main()
