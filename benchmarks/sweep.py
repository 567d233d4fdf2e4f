"""A sweep as local processes that is killed twice on its way, against the same sweep undisturbed in one process.

The first kill (SIGKILL) takes the command alone, as whatever frees memory does, and leaves the jobs that it has started
to themselves; the second takes everything at once, as a power cut does. Each time the same command then goes on.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from machine import describe

ROOT = Path(__file__).parents[1]
WORDS = ["replicates.bases=1", "replicates.references=1", "samples=200", "training.epochs=2", "hydra.sweep.dir=sweep"]
LOCAL = ["hydra/launcher=local", "trainer.threads=1"]  # the sweep in one process has one thread, too: equal rounding


def main() -> None:
    """Run both sweeps and print what came of them; exit with 1 if the killed one has not all that the other has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="jobs of the sweep, one pair of models each")
    jobs = parser.parse_args().jobs
    print(describe())
    with tempfile.TemporaryDirectory() as made:
        quiet, killed = Path(made, "undisturbed"), Path(made, "killed")
        alone = undisturbed(quiet, jobs)
        took = disturbed(killed, jobs)
        expected, got = results(quiet), results(killed)
        equal = sum(got.get(job) == metrics for job, metrics in expected.items())
        trained = trainings(killed)
        left = stored(quiet) ^ stored(killed)
        wall, cpu = report(killed)
    print(f"{jobs} jobs of one pair as local processes, killed twice: {took:.0f} s (in one process: {alone:.0f} s)")
    print(f"results {len(got)}, of which equal to the undisturbed sweep's {equal}")
    print(f"models {2 * jobs}, trainings begun at their first epoch {trained}; files in one store alone {len(left)}")
    print(f"report of {len(got)} jobs: {wall:.1f} s, of CPU {cpu:.1f} s")
    sys.exit(0 if len(expected) == len(got) == equal == jobs and not left else 1)


def undisturbed(place: Path, jobs: int) -> float:
    """Run the sweep in one process; return its seconds."""
    began = time.perf_counter()
    if start(place, jobs, ["trainer.threads=1"]).wait() != 0:
        raise RuntimeError((place / "said").read_text()[-2000:])
    return time.perf_counter() - began


def disturbed(place: Path, jobs: int) -> float:
    """Run the sweep as local processes, and kill it after a third and after two thirds of its jobs; return seconds."""
    began = time.perf_counter()
    for number, end in enumerate((kill_alone, kill_all), start=1):
        sweep = start(place, jobs, LOCAL)
        while len(results(place)) < number * jobs / 3:
            if sweep.poll() is not None:
                raise RuntimeError(f"ended before it was killed: {(place / 'said').read_text()[-2000:]}")
            time.sleep(0.05)
        end(sweep)
        sweep.wait()
    if start(place, jobs, LOCAL).wait() != 0:
        raise RuntimeError((place / "said").read_text()[-2000:])
    return time.perf_counter() - began


def start(place: Path, jobs: int, words: list[str]) -> "subprocess.Popen[bytes]":
    """Start the sweep, with a process group of its own, in a folder."""
    place.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "transfer.py"), "-m", f"seed=range(0,{jobs})", *WORDS, *words]
    with (place / "said").open("ab") as said:
        return subprocess.Popen(command, cwd=place, stdout=said, stderr=said, start_new_session=True)


def kill_alone(sweep: "subprocess.Popen[bytes]") -> None:
    """Kill the command; the jobs that it has started go on."""
    sweep.kill()


def kill_all(sweep: "subprocess.Popen[bytes]") -> None:
    """Kill the command and all that it has started."""
    os.killpg(sweep.pid, signal.SIGKILL)


def results(place: Path) -> dict[str, dict]:
    """Return the metrics of the jobs that have a result, by their folder's name."""
    found = place.glob("sweep/*/result.json")
    return {path.parent.name: json.loads(path.read_text())["metrics"] for path in found}


def stored(place: Path) -> set[tuple[str, bytes]]:
    """Return the files of a sweep's store, with what is in them."""
    files = [path for path in (place / "store").rglob("*") if path.is_file()]
    return {(path.relative_to(place).as_posix(), path.read_bytes()) for path in files}


def trainings(place: Path) -> int:
    """Return how often the jobs have begun to train a model, instead of finding it or going on with it."""
    return sum(len(re.findall(r"training 1 model .*epochs 1 to", p.read_text())) for p in place.glob("sweep/*/*.log"))


def report(place: Path) -> tuple[float, float]:
    """Make the report of all jobs; return its seconds, and those of CPU."""
    began, before = time.perf_counter(), getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "cftransfer.report", "sweep"], cwd=place, check=True, capture_output=True)
    after = getrusage(RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu


if __name__ == "__main__":
    main()
