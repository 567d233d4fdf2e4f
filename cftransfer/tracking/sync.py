"""Upload the W&B runs of job folders, each once and whole, and say which are already there.

`wandb sync` adds to a run what its file has, even if the run has it already: a job that was requeued offline would have
every step twice, and so would one that lost its server half-way. So it is given one file per job, the last, and only of
jobs that W&B has nothing of; the others are continued from what lies in their folders, as a requeued job continues its.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cftransfer.errors import InputError
from cftransfer.tracking import facts, offline
from cftransfer.tracking.run import about, mean_curve, publish, report_run, unreachable


def sync(folders: Sequence[Path]) -> int:
    """Upload the runs of all jobs under `folders`, print a line for each; return how many could not be uploaded."""
    found = {job: files for folder in folders for job, files in _jobs(folder)}
    if not found:
        raise InputError(f"{', '.join(map(str, folders))}: no W&B run in there; jobs of wandb=disabled have none")
    new = {job: files for job, files in found.items() if not offline.is_marked(files[-1])}
    if new:
        _reach()
    kept = {job: files[-1] for job, files in new.items() if _only_offline(files) and offline.ended(files[-1])}
    reasons = _by_wandb(kept) | {job: _continued(job, files) for job, files in new.items() if job not in kept}
    for job, files in found.items():
        reason = reasons.get(job)
        if job in new and reason is None:
            for file in files:  # those of earlier tries, too, lest they be added on top of the last
                offline.mark(file)
        print(f"{facts.shown(job)}: {'already there' if job not in new else reason or 'uploaded'}")
    return sum(reason is not None for reason in reasons.values())


def _jobs(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield the folders of jobs, or of sweeps' reports, that have W&B runs, with the files of these, oldest first."""
    inside = {path.parent for path in folder.resolve().rglob("wandb") if path.is_dir()}
    for job in sorted(inside, key=lambda path: [int(part) if part.isdigit() else -1 for part in path.parts]):
        if files := offline.files(job):
            yield job, files


def _only_offline(files: Sequence[Path]) -> bool:
    """Return whether W&B has nothing of the job."""
    return all(offline.is_offline(file) and not offline.is_marked(file) for file in files)


def _reach() -> None:
    """Raise an InputError, in one line, if W&B cannot be reached or does not take the key."""
    import wandb

    try:
        wandb.Api(timeout=10).viewer  # noqa: B018  (asks)
    except (wandb.Error, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"W&B: {reason} (wandb login, or WANDB_API_KEY, gives it a key)") from error


def _by_wandb(kept: Mapping[Path, Path]) -> dict[Path, str | None]:
    """Let `wandb sync` upload whole files; return by job why not, or None."""
    if not kept:
        return {}
    words = ["sync", *map(str, kept.values())]
    done = subprocess.run([sys.executable, "-m", "wandb", *words], capture_output=True, text=True, check=False)
    said = [line for line in (done.stderr + done.stdout).splitlines() if "ERROR" in line or "WARNING" in line]
    why = f"not uploaded: {' '.join(said[-1].split()) if said else 'wandb sync did not say why'}"
    return {job: None if offline.is_marked(file) else why for job, file in kept.items()}


def _continued(job: Path, files: Sequence[Path]) -> str | None:
    """Upload what lies in a job's folder to its run, from the step on that W&B has; return why not, or None."""
    import wandb

    named = next(
        (record.run for record in offline.records(files[-1]) if record.WhichOneof("record_type") == "run"), None
    )
    group = named.run_group if named else None
    if (job / "multirun.yaml").exists() and not (job / "result.json").exists():
        lacking = report_run(job, mode="online", group=group)
        return f"not uploaded: {lacking}" if lacking else None
    try:
        result = json.loads((job / "result.json").read_text())
    except (OSError, ValueError):
        return "not uploaded: the job has not ended; run it again"
    settings = result["config"]["wandb"]
    known = about(
        result["config"], result["choices"], result["overrides"], git=result["git"], versions=result["versions"]
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = wandb.init(
                **known,
                id=result["wandb"],
                group=group or settings["group"],
                project=settings["project"],
                entity=settings["entity"],
                mode="online",
                resume="allow",
                dir=folder,
                settings=wandb.Settings(console="off", silent=True, finish_timeout_raises=True, finish_timeout=600),
            )
            publish(run, **_results(job, result))
            run.finish()
    except (wandb.Error, OSError) as error:
        return f"not uploaded: {unreachable({**settings, 'mode': 'online'}, error)}"
    return None


def _results(job: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `publish` takes, as it lies in a job's folder."""
    import pandas as pd

    tables = {Path(name).stem: pd.read_parquet(job / name) for name in result["files"] if name.endswith(".parquet")}
    history = pd.DataFrame(result["curve"]) if "curve" in result else None
    if "experiment" not in result["choices"]:  # train.py
        history = mean_curve(tables["curves"])
    pictures = {path.stem: str(path) for path in sorted((job / "examples").glob("*.png"))}
    return {"metrics": result["metrics"], "tables": tables, "pictures": pictures, "history": history}
