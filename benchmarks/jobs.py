"""The cost of a job beside training and search: where the milliseconds of a warm sweep go.

Every model and search is in the store already; the jobs of one process only look them up, measure, and write. Printed
are means over the jobs after the first, which pays for the imports.
"""

import argparse
import os
import runpy
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
WORDS = ["replicates.bases=1", "replicates.references=1", "samples=200", "training.epochs=2"]
COMPOSE = "compose (twice a job: all before the first one, each before it is run)"


def main() -> None:
    """Run the sweep cold, then warm, and print the times of the warm one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--wandb", default="offline", choices=["offline", "disabled"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        words = ["-m", f"seed=range(0,{options.jobs})", *WORDS, f"wandb={options.wandb}"]
        sweep(words)
        took, ends = timed_sweep(words)
    print(machine())
    print(f"{options.jobs} warm jobs of one pair, 200 factuals, COMPAS, wandb={options.wandb}; milliseconds per job")
    per_job = {name: 1000 * sum(calls[1:]) / (len(calls) - 1) for name, calls in took.items() if len(calls) > 1}
    whole = per_job[COMPOSE] + 1000 * between(ends)
    for name, cost in sorted(per_job.items(), key=lambda item: -item[1]):
        print(f"  {name:80} {cost:7.1f}")
    print(f"  {'all: from the end of one job to the end of the next, and the first composition':80} {whole:7.1f}")


def timed_sweep(words: list[str]) -> tuple[dict[str, list[float]], list[float]]:
    """Return the seconds of every call of a job's parts, and when each job ended."""
    from hydra._internal.core_plugins import basic_launcher

    from cftransfer import tracking
    from cftransfer.commands import composition, experiment, plan
    from cftransfer.jobs import write
    from cftransfer.measuring import rates
    from cftransfer.store import trained

    took: dict[str, list[float]] = defaultdict(list)
    places: list[tuple[Any, str, str]] = [
        (basic_launcher, "run_job", "the job"),
        (plan, "plan", "check the settings, find the data"),
        (experiment, "run", "look up and measure"),
        (trained, "trajectory", "  of it, models from the store (per population: twice a job)"),
        (rates, "survivorship", "  of it, survivorship"),
        (write, "write", "write tables and result.json"),
        (tracking, "publish_job", "tell W&B"),
    ]
    for owner, name, called in places:
        setattr(owner, name, timed(getattr(owner, name), took[called]))
    ends: list[float] = []
    basic_launcher.run_job = stamped(basic_launcher.run_job, ends)
    composition.compose_once_per_choice = timed_loader(composition.compose_once_per_choice, took[COMPOSE])
    tracking.opened = timed_context(tracking.opened, took)
    sweep(words)
    return took, ends


def between(ends: list[float]) -> float:
    """Return the mean seconds from one job's end to the next one's."""
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def stamped(real: Callable[..., Any], ends: list[float]) -> Callable[..., Any]:
    """Return the function, which notes when it returned."""

    def called(*args: Any, **kwargs: Any) -> Any:
        returned = real(*args, **kwargs)
        ends.append(time.perf_counter())
        return returned

    return called


def timed_loader(patch: Callable[[Any], None], calls: list[float]) -> Any:
    """Return the patch of Hydra's loader, with a clock on the patched function."""

    def patched(loader: Any) -> None:
        patch(loader)
        loader.load_sweep_config = timed(loader.load_sweep_config, calls)

    return patched


def timed(real: Callable[..., Any], calls: list[float]) -> Callable[..., Any]:
    """Return the function, with a clock."""

    def called(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return real(*args, **kwargs)
        finally:
            calls.append(time.perf_counter() - began)

    return called


def timed_context(real: Callable[..., Any], took: dict[str, list[float]]) -> Callable[..., Any]:
    """Return the context manager, with a clock on its two ends."""

    @contextmanager
    def opened(*args: Any, **kwargs: Any) -> Iterator[Any]:
        manager = real(*args, **kwargs)
        run = timed(manager.__enter__, took["open the W&B run"])()
        try:
            yield run
        finally:
            timed(manager.__exit__, took["close the W&B run"])(*sys.exc_info())

    return opened


def sweep(words: list[str]) -> None:
    """Run transfer.py in this process, silently."""
    sys.argv = [str(ROOT / "transfer.py"), *words]
    with Path("said").open("a") as said, redirect_stdout(said), redirect_stderr(said):
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"the sweep failed: {Path('said').resolve()}") from ended


def machine() -> str:
    """Return the processor and the versions that this ran on."""
    import platform

    import torch

    return f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread, torch {torch.__version__}"


if __name__ == "__main__":
    main()
