"""The cost of a job of many models once all is stored: peak memory and CPU time, beside those of another checkout.

A first job trains the models and searches on them. Then each checkout runs the same job on that store, in turn, each
time as a process of its own with one thread. Printed are the least CPU time and the largest peak of each, their ratios,
and whether both leave the same tables and metrics.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from machine import describe

ROOT = Path(__file__).parents[1]
GIB = 2**20  # of KiB, in which Linux counts a process's memory


class Took(NamedTuple):
    """CPU seconds, user and system, and the largest resident memory in GiB."""

    cpu: float
    peak: float


def main() -> None:
    """Run the jobs and print their memory and time; exit with 1 if the two checkouts leave other tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout, such as a clone of an earlier commit")
    parser.add_argument("--bases", type=int, default=40)
    parser.add_argument("--references", type=int, default=80)
    parser.add_argument("--samples", type=int, default=1000, help="factuals per base")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each checkout")
    parser.add_argument("words", nargs="*", help="further settings of the job, as experiment=more_layers")
    options = parser.parse_args()
    print(describe())
    print(f"COMPAS, {options.bases} bases × {options.references} references × {options.samples} factuals, all stored")
    models = [f"replicates.{role}={getattr(options, role)}" for role in ("bases", "references")]
    words = [*models, f"samples={options.samples}", "wandb=disabled", "trainer.threads=1", *options.words]
    roots = {"here": ROOT} | ({"there": options.against.resolve()} if options.against else {})
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        job(ROOT, words, place, "first")
        runs: dict[str, list[Took]] = {name: [] for name in roots}
        for _ in range(options.repeat):
            for name, root in roots.items():
                runs[name].append(job(root, words, place, name))
        took = {name: Took(min(one.cpu for one in some), max(one.peak for one in some)) for name, some in runs.items()}
        for name, one in took.items():
            print(f"{name:5}: {one.cpu:6.1f} s of CPU, peak {one.peak:.2f} GiB ({commit(roots[name])})")
        if not options.against:
            return
        here, there = took["here"], took["there"]
        print(f"ratio: {here.cpu / there.cpu:.2f} of the CPU time, {here.peak / there.peak:.2f} of the peak")
        other = differences(place / "here", place / "there")
    print(f"tables and metrics differ in: {', '.join(other)}" if other else "all tables and metrics are equal")
    sys.exit(1 if other else 0)


def job(root: Path, words: list[str], place: Path, name: str) -> Took:
    """Run the job of a checkout, in the folder `name`; return its memory and time."""
    command = [python_of(root), str(root / "transfer.py"), *words, "paths.store=store", f"hydra.run.dir={name}"]
    (place / name / "result.json").unlink(missing_ok=True)
    with (place / "said").open("w") as said:
        started = subprocess.Popen(
            command, cwd=place, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=said, stderr=said
        )
        _, status, used = os.wait4(started.pid, 0)  # of this process alone: its memory, not the largest of all so far
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise RuntimeError((place / "said").read_text()[-2000:])
    return Took(used.ru_utime + used.ru_stime, used.ru_maxrss / GIB)


def python_of(root: Path) -> str:
    """Return the Python that runs a checkout's own code: its `.venv`'s, or this one; RuntimeError for other code."""
    own = root / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    asked = [python, "-c", "import cftransfer; print(cftransfer.__file__)"]
    imported = subprocess.run(asked, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(imported).is_relative_to(root):
        raise RuntimeError(f"{python} runs {imported}, not the code in {root}; run make setup there")
    return python


def commit(root: Path) -> str:
    """Return the short name of a checkout's commit, marked where files differ from it."""
    said = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
    )
    return said.stdout.strip()


def differences(one: Path, other: Path) -> list[str]:
    """Return the metrics, tables and columns in which two jobs' folders differ, in any bit; types may be narrower."""
    found = []
    metrics = [json.loads((folder / "result.json").read_text())["metrics"] for folder in (one, other)]
    found += [name for name in {**metrics[0], **metrics[1]} if metrics[0].get(name) != metrics[1].get(name)]
    names = [{path.name for path in folder.glob("*.parquet")} for folder in (one, other)]
    found += sorted(names[0] ^ names[1])
    for name in sorted(names[0] & names[1]):
        left, right = (pd.read_parquet(folder / name) for folder in (one, other))
        if list(left) != list(right) or len(left) != len(right):
            found.append(name)
            continue
        found += [f"{name}: {column}" for column in left if not _same(left[column], right[column])]
    return found


def _same(left: pd.Series, right: pd.Series) -> bool:
    if len(left) and isinstance(left.iloc[0], np.ndarray):
        return np.array_equal(np.stack(list(left)), np.stack(list(right)))
    one, other = (column.astype(object).where(column.notna(), None).to_numpy() for column in (left, right))
    return np.array_equal(one, other)


if __name__ == "__main__":
    main()
