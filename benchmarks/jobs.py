"""What a job costs beside training and search: where the milliseconds of a warm sweep go.

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


def main() -> None:
    """Run the sweep cold, then warm, and print what the warm one took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--wandb", default="offline", choices=["offline", "disabled"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        words = ["-m", f"seed=range(0,{options.jobs})", *WORDS, f"wandb={options.wandb}"]
        sweep(words)
        took = timed_sweep(words)
    print(machine())
    print(f"{options.jobs} warm jobs of one pair, 200 factuals, COMPAS, wandb={options.wandb}; milliseconds per job")
    per_job = {name: 1000 * sum(calls[1:]) / (len(calls) - 1) for name, calls in took.items() if len(calls) > 1}
    whole = per_job.pop("job") + per_job["compose"] * 2  # Hydra composes once more, before the first job
    for name, cost in sorted(per_job.items(), key=lambda item: -item[1]):
        print(f"  {name:46} {cost:7.1f}")
    print(f"  {'all, with both compositions':46} {whole:7.1f}")


def timed_sweep(words: list[str]) -> dict[str, list[float]]:
    """Return the seconds of every call of a job's parts."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.core_plugins import basic_launcher

    from cftransfer import experiment, tracking, training, transferability

    took: dict[str, list[float]] = defaultdict(list)
    places: list[tuple[Any, str, str]] = [
        (ConfigLoaderImpl, "load_sweep_config", "compose"),
        (basic_launcher, "run_job", "job"),
        (experiment, "plan", "check the settings, find the data"),
        (experiment, "run", "look up and measure"),
        (training, "trajectory", "  of it, models from the store (per population)"),
        (transferability, "survivorship", "  of it, survivorship"),
        (tracking, "finish", "write tables and result.json, log to W&B"),
    ]
    for owner, name, called in places:
        setattr(owner, name, timed(getattr(owner, name), took[called]))
    tracking.wandb_run = timed_context(tracking.wandb_run, took)
    sweep(words)
    return took


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
    """Return what this ran on."""
    import platform

    import torch

    return f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread, torch {torch.__version__}"


if __name__ == "__main__":
    main()
