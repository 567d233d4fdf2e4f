"""One job: its logged exception, its files.

`result.json` is written last: a job folder without it is a job that failed, and reports name it. W&B is told of results
only when all of them are on disk.
"""

import io
import json
import logging
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from cftransfer.errors import LOGGED, InputError
from cftransfer.tracking import facts
from cftransfer.tracking.run import Tracked, publish

if TYPE_CHECKING:
    import pandas as pd

    from cftransfer.experiment import Result

log = logging.getLogger(__name__)


@contextmanager
def logged_failure() -> Iterator[None]:
    """Log what ends the job before it ends: Hydra shows only a sweep's first failure, and only at its end.

    A mistake of the user is one line (and a traceback with hydra.verbose=true). A single job ends here and now, before
    Hydra adds lines of its own; a sweep goes on.
    """
    try:
        with _formulas_named():
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


@contextmanager
def _formulas_named() -> Iterator[None]:
    """Raise an InputError for a setting that is not there, or whose formula leads nowhere."""
    try:
        yield
    except OmegaConfBaseException as error:
        key, reason = error.full_key or "the config", str(error).partition("\n")[0].rstrip(".")
        if isinstance(error, ConfigKeyError | ConfigAttributeError):
            raise InputError(f"{key}: is missing ({reason}); leave out what removes it, as ~{key}") from error
        raise InputError(f"{key}: cannot be looked up ({reason}); mend its formula, or give a value") from error


def _end_single_job() -> None:
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        sys.exit(1)


def finish(cfg: DictConfig, tracked: Tracked, result: "Result", *, history: "pd.DataFrame | None" = None) -> None:
    """Write the job's tables as Parquet, its pictures as PNG, and `result.json`; then tell its W&B run.

    history: a table of which every row is a step of the run's history, and the first column counts them.
    """
    out, metrics = facts.job_folder(), _json_values(result.metrics)
    _write_result(out, cfg, tracked, result, metrics, written=_write_tables(out, result))
    log.info("results in %s", facts.shown(out))
    tracked.attempt(
        lambda: publish(tracked.run, metrics=metrics, tables=result.tables, pictures=result.pictures, history=history)
    )


def _write_tables(out: Path, result: "Result") -> dict[str, str]:
    """Write tables and pictures; return a digest of each, by its name."""
    from PIL import Image

    from cftransfer import files, finished

    contents: dict[str, bytes] = {}
    for name, table in result.tables.items():
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        contents[f"{name}.parquet"] = buffer.getvalue()
    for name, picture in result.pictures.items():
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "png", optimize=True)
        contents[f"examples/{name}.png"] = buffer.getvalue()
    for stale in [*(out / "examples").glob("*.png"), out / "examples.parquet"]:  # of an earlier try in this folder
        if stale.relative_to(out).as_posix() not in contents:
            stale.unlink(missing_ok=True)
    for name, content in contents.items():
        files.write(out / name, content)
    return {name: finished.digest(content) for name, content in contents.items()}


def _write_result(
    out: Path,
    cfg: DictConfig,
    tracked: Tracked,
    result: "Result",
    metrics: dict[str, Any],
    *,
    written: Mapping[str, str],
) -> None:
    from cftransfer import files

    about = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "choices": facts.choices(),
        "overrides": list(HydraConfig.get().overrides.task),
        "metrics": metrics,
        **({} if result.curve is None else {"curve": [_json_values(row) for row in result.curve.to_dict("records")]}),
        "data": result.data,
        "counterfactuals": result.kept,
        "versions": facts.versions(),
        "git": facts.code(),
        "wandb": tracked.run.id,
        "files": dict(written),
    }
    files.write(out / "result.json", json.dumps(about, indent=2, allow_nan=False).encode())


def _json_values(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `values` with null, which JSON has, for NaN, which it has not."""
    return {
        str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()
    }
