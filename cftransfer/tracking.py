"""One job: its W&B run, its logged exception, its files.

`result.json` is written last: a job folder without it is a job that failed, and reports name it.
"""

import functools
import hashlib
import io
import json
import logging
import math
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from cftransfer import store
from cftransfer.errors import LOGGED, InputError
from cftransfer.spec import flat, one_of

if TYPE_CHECKING:
    from cftransfer.experiment import Result

log = logging.getLogger(__name__)

GROUPS = ("experiment", "dataset", "model", "training", "counterfactual", "model@reference.model")
PACKAGES = ("cftransfer", "torch", "pytorch-lightning", "hydra-core", "omegaconf", "numpy", "pandas", "scipy", "wandb")


@contextmanager
def logged_failure() -> Iterator[None]:
    """Log what ends the job before it ends: Hydra shows only a sweep's first failure, and only at its end.

    A mistake of the user is one line (and a traceback with hydra.verbose=true). A single job ends here and now, before
    Hydra adds lines of its own; a sweep goes on.
    """
    try:
        yield
    except InputError as error:
        log.error("failed: %s", error, exc_info=log.isEnabledFor(logging.DEBUG))
        _end_single_job()
        raise
    except KeyboardInterrupt:
        log.error("interrupted; the same command goes on where this one ended")
        sys.exit(130)
    except Exception as error:
        log.exception("failed")
        error.add_note(LOGGED)
        _end_single_job()
        raise


def _end_single_job() -> None:
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        sys.exit(1)


@contextmanager
def wandb_run(cfg: DictConfig, *, job_type: str) -> Iterator[wandb.Run]:
    """Open the W&B run of this job, and close it with the job, so that every job of a process has its own.

    Its id comes from the job's folder: a job that is requeued continues its run. Jobs of a sweep share a group.
    """
    _code()  # what runs now; an edit or a commit during a long job must not be recorded in its place
    one_of("wandb.mode", cfg.wandb.mode, ("online", "offline", "disabled"))
    out, sweep = job_folder(), HydraConfig.get().mode == RunMode.MULTIRUN
    group = cfg.wandb.group or (Path(HydraConfig.get().sweep.dir).as_posix() if sweep else None)
    try:
        run = wandb.init(
            mode=cfg.wandb.mode,
            project=cfg.wandb.project,
            entity=cfg.wandb.entity,
            group=group,
            job_type=job_type,
            name=_name(),
            id=hashlib.sha256(str(out).encode()).hexdigest()[:12],
            resume="allow",
            dir=out,
            config=flat(OmegaConf.to_container(cfg, resolve=True)),
            settings=wandb.Settings(console="off", silent=True),
        )
    except wandb.Error as error:
        reason = " ".join(str(error).split())
        where = f"wandb.mode={cfg.wandb.mode} wandb.project={cfg.wandb.project}"
        raise InputError(f"{where}: {reason} (wandb=offline works without a network)") from error
    try:
        yield run
    except BaseException:
        run.finish(exit_code=1)  # not `with run`, which would print a traceback of its own
        raise
    run.finish()
    if run.offline and cfg.wandb.mode == "offline":
        log.info("W&B run kept offline; upload it with: wandb sync %s", _shown(Path(run.settings.sync_dir)))
    elif run.url:
        log.info("W&B run: %s", run.url)


def log_history(run: wandb.Run, table: pd.DataFrame, *, step: str) -> None:
    """Log every row of `table` as one step of the run's history; the column `step` counts them, and is the x-axis."""
    run.define_metric(step, hidden=True)
    for name in table.columns.drop(step):
        run.define_metric(str(name), step_metric=step)
    for row in table.to_dict("records"):
        run.log({str(name): value for name, value in row.items()}, step=int(row[step]))


def finish(cfg: DictConfig, run: wandb.Run, result: "Result", *, logged: Mapping[str, str]) -> None:
    """Write the job's tables as Parquet, its pictures as PNG, and `result.json`; put metrics into its W&B run.

    logged: which tables go there, too, by the name of their file, and what they are called there; pictures all do.
    """
    out, metrics = job_folder(), _json_values(result.metrics)
    for name, table in result.tables.items():
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        store.write(out / f"{name}.parquet", buffer.getvalue())
    for stale in [*(out / "examples").glob("*.png"), out / "examples.parquet"]:  # of an earlier try in this folder
        if stale.suffix == ".png" or "examples" not in result.tables:
            stale.unlink(missing_ok=True)
    for name, picture in result.pictures.items():
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "png", optimize=True)
        store.write(out / "examples" / f"{name}.png", buffer.getvalue())
    run.summary.update(metrics)
    for name, called in logged.items():
        if name in result.tables:
            run.log({called: wandb.Table(dataframe=result.tables[name])})
    if result.pictures:
        run.log({"pictures": [wandb.Image(picture, caption=name) for name, picture in result.pictures.items()]})
    written = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "choices": _choices(),
        "overrides": list(HydraConfig.get().overrides.task),
        "metrics": metrics,
        **({} if result.curve is None else {"curve": [_json_values(row) for row in result.curve.to_dict("records")]}),
        "data": result.data,
        "counterfactuals": result.kept,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "git": _code(),
        "wandb": run.id,
        "files": [f"{name}.parquet" for name in result.tables] + [f"examples/{name}.png" for name in result.pictures],
    }
    store.write(out / "result.json", json.dumps(written, indent=2, allow_nan=False).encode())
    log.info("results in %s", _shown(out))


def job_folder() -> Path:
    """Return the folder that Hydra made for this job."""
    return Path(HydraConfig.get().runtime.output_dir)


def git_state() -> dict[str, Any] | None:
    """Return the commit of the code that runs and whether it has uncommitted changes; None outside a repository."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError) as error:
        log.debug("no git state: %s", error)
        return None


_code = functools.cache(git_state)  # once per process: modules are read once


def _choices() -> dict[str, Any]:
    """Return the options chosen, by the names of their groups, or of where they are put (reference.model)."""
    chosen = HydraConfig.get().runtime.choices
    return {name.rpartition("@")[2]: chosen[name] for name in GROUPS if name in chosen}


def _json_values(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `values` with null, which JSON has, for NaN, which it has not."""
    return {
        str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()
    }


def _name() -> str:
    """Return what the job is in words: "seed compas mlp model.layers=4"."""
    hydra = HydraConfig.get()
    groups = [hydra.runtime.choices.get(group) for group in ("experiment", "dataset", "model")]
    return " ".join([group for group in groups if group] + list(hydra.overrides.task))


def _shown(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
