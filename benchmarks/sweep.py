"""A sweep of small jobs in one process, in two local processes, killed twice on its way, and with --slurm as tasks.

The first kill (SIGKILL) takes the command alone, as whatever frees memory does; its processes then end by themselves.
The second takes everything at once, as a power cut does. Each time the same command then goes on. SLURM is started for
this on the machine itself (tests/slurm/cluster.py), and gets as many tasks at once as there are local processes.
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
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from machine import describe

ROOT = Path(__file__).parents[1]
WORDS = ["replicates.bases=1", "replicates.references=1", "samples=200", "training.epochs=2", "hydra.sweep.dir=sweep"]
WORDS += ["trainer.threads=1"]  # everywhere: equal rounding
PROCESSES = 2
LOCAL = ["hydra/launcher=local", f"hydra.launcher.processes={PROCESSES}"]
SLURM = ["hydra/launcher=slurm", f"hydra.launcher.array_parallelism={PROCESSES}", "hydra.launcher.cpus_per_task=1"]
PER_TASK = 20


@dataclass
class Took:
    """Seconds of a sweep, by the clock and of CPU, its report included."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.0f} s, of CPU {self.cpu:.0f} s"


def main() -> None:
    """Run the sweeps and print their times and results; exit with 1 if numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="jobs of the sweep, one pair of models each")
    parser.add_argument("--slurm", action="store_true", help="also as tasks of SLURM, which needs root and is started")
    options = parser.parse_args()
    jobs: int = options.jobs
    print(describe())
    with tempfile.TemporaryDirectory() as made:
        quiet, local, killed = (Path(made, name) for name in ("undisturbed", "local", "killed"))
        alone, both = whole(quiet, jobs, []), whole(local, jobs, LOCAL)
        print(f"{jobs} jobs of one pair in one process: {alone}")
        print(f"in {PROCESSES} local processes: {both}; {alone.wall / both.wall:.2f} times as fast", flush=True)
        print(f"killed twice: {disturbed(killed, jobs)}")
        good = all([same(quiet, local, jobs), same(quiet, killed, jobs)])
        print(f"models {2 * jobs}, trainings begun at their first epoch {trainings(killed)}")
        took = report(killed)
        print(f"report of {jobs} jobs: {took.wall:.1f} s, of CPU {took.cpu:.1f} s", flush=True)
        if options.slurm:
            good &= tasks(Path(made), quiet, jobs)
    sys.exit(0 if good else 1)


def same(quiet: Path, other: Path, jobs: int) -> bool:
    """Whether a sweep has the results and the store of the one in one process."""
    expected, got = results(quiet), results(other)
    equal, left = sum(got.get(job) == metrics for job, metrics in expected.items()), stored(quiet) ^ stored(other)
    print(f"{other.name}: results {len(got)}, equal {equal}; files in one store alone {len(left)}")
    return len(expected) == len(got) == equal == jobs and not left


def whole(place: Path, jobs: int, words: list[str], **variables: str) -> Took:
    """Run a sweep to its end."""
    began, before = time.perf_counter(), cpu()
    if start(place, jobs, words, **variables).wait() != 0:
        raise RuntimeError((place / "said").read_text()[-2000:])
    return Took(time.perf_counter() - began, cpu() - before)


def cpu() -> float:
    """Return the seconds of CPU of all processes that have been waited for."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def disturbed(place: Path, jobs: int) -> Took:
    """Run the sweep as local processes, and kill it after a third and after two thirds of its jobs."""
    began, before = time.perf_counter(), cpu()
    for number, end in enumerate((kill_alone, kill_all), start=1):
        sweep = start(place, jobs, LOCAL)
        while len(results(place)) < number * jobs / 3:
            if sweep.poll() is not None:
                raise RuntimeError(f"ended before it was killed: {(place / 'said').read_text()[-2000:]}")
            time.sleep(0.05)
        end(sweep)
        sweep.wait()
    whole(place, jobs, LOCAL)
    return Took(time.perf_counter() - began, cpu() - before)


def tasks(folder: Path, quiet: Path, jobs: int) -> bool:
    """Run the sweep on SLURM with one job a task, and with many; print the ratio, and whether results are equal."""
    sys.path.insert(0, str(ROOT / "tests" / "slurm"))
    from cluster import cluster

    (folder / "cluster").mkdir()
    with cluster(folder / "cluster") as slurm:
        took = {}
        for many in (1, PER_TASK):
            place = folder / f"slurm-{many}"
            took[many] = whole(place, jobs, [*SLURM, f"hydra.launcher.jobs_per_task={many}"], **slurm.environment).wall
    ratio = f"{took[1] / took[PER_TASK]:.1f} times as fast"
    print(f"on SLURM, one job a task: {took[1]:.0f} s; {PER_TASK} a task: {took[PER_TASK]:.0f} s, {ratio}")
    return sum(same(quiet, folder / f"slurm-{many}", jobs) for many in took) == len(took)


def start(place: Path, jobs: int, words: list[str], **variables: str) -> "subprocess.Popen[bytes]":
    """Start the sweep, with a process group of its own, in a folder."""
    place.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "transfer.py"), "-m", f"seed=range(0,{jobs})", *WORDS, *words]
    with (place / "said").open("ab") as said:
        return subprocess.Popen(
            command, cwd=place, env=os.environ | variables, stdout=said, stderr=said, start_new_session=True
        )


def kill_alone(sweep: "subprocess.Popen[bytes]") -> None:
    """Kill the command; its processes end by themselves."""
    sweep.kill()


def kill_all(sweep: "subprocess.Popen[bytes]") -> None:
    """Kill the command and all that it has started."""
    os.killpg(sweep.pid, signal.SIGKILL)


def results(place: Path) -> dict[str, dict]:
    """Return the metrics of the jobs that have a result, by their folder's name."""
    found = place.glob("sweep/*/result.json")
    return {path.parent.name: json.loads(path.read_text())["metrics"] for path in found}


def stored(place: Path) -> set[tuple[str, bytes]]:
    """Return the files of a sweep's store, with their contents."""
    files = [path for path in (place / "store").rglob("*") if path.is_file()]
    return {(path.relative_to(place).as_posix(), path.read_bytes()) for path in files}


def trainings(place: Path) -> int:
    """Return how often the jobs have begun to train a model, instead of finding it or going on with it."""
    logs = place.glob("sweep/[0-9]*/*.log")  # of jobs; those of processes say the same
    return sum(len(re.findall(r"training 1 model .*epochs 1 to", path.read_text())) for path in logs)


def report(place: Path) -> Took:
    """Make the report of all jobs."""
    began, before = time.perf_counter(), cpu()
    subprocess.run([sys.executable, "-m", "cftransfer.report", "sweep"], cwd=place, check=True, capture_output=True)
    return Took(time.perf_counter() - began, cpu() - before)


if __name__ == "__main__":
    main()
