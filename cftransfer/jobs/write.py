"""One job: its logged exception, its files.

`result.json` is written last: a job folder without it is a job that failed, and reports name it. W&B is told of results
only when all of them are on disk.
"""

import io
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cftransfer.jobs import provenance
from cftransfer.tracking.run import Tracked, publish

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What a job leaves: metrics by name, tables by the name of their file, and, of continued training, the curve.

    pictures: (height, width, 3) bytes by name, of images. kept: the files of the store that hold the counterfactuals.
    data: what identifies the data, and what of it was taken, in words.
    """

    metrics: dict[str, Any]
    tables: dict[str, "pd.DataFrame"]
    curve: "pd.DataFrame | None" = None
    pictures: dict[str, "np.ndarray"] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def finish(cfg: DictConfig, tracked: Tracked, result: "JobResult", *, history: "pd.DataFrame | None" = None) -> None:
    """Write the job's tables as Parquet, its pictures as PNG, and `result.json`; then tell its W&B run.

    history: a table of which every row is a step of the run's history, and the first column counts them.
    """
    out, metrics = provenance.job_folder(), _json_values(result.metrics)
    _write_result(out, cfg, tracked, result, metrics, written=_write_tables(out, result))
    log.info("results in %s", provenance.shown(out))
    tracked.attempt(
        lambda: publish(tracked.run, metrics=metrics, tables=result.tables, pictures=result.pictures, history=history)
    )


def _write_tables(out: Path, result: "JobResult") -> dict[str, str]:
    """Write tables and pictures; return a digest of each, by its name."""
    from PIL import Image

    from cftransfer import atomic
    from cftransfer.jobs import resume

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
        atomic.write(out / name, content)
    return {name: resume.digest(content) for name, content in contents.items()}


def _write_result(
    out: Path,
    cfg: DictConfig,
    tracked: Tracked,
    result: "JobResult",
    metrics: dict[str, Any],
    *,
    written: Mapping[str, str],
) -> None:
    from cftransfer import atomic

    about = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "choices": provenance.choices(),
        "overrides": list(HydraConfig.get().overrides.task),
        "metrics": metrics,
        **({} if result.curve is None else {"curve": [_json_values(row) for row in result.curve.to_dict("records")]}),
        "data": result.data,
        "counterfactuals": result.kept,
        "versions": provenance.versions(),
        "git": provenance.code(),
        "wandb": tracked.run.id,
        "files": dict(written),
    }
    atomic.write(out / "result.json", json.dumps(about, indent=2, allow_nan=False).encode())


def _json_values(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `values` with null, which JSON has, for NaN, which it has not."""
    return {
        str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()
    }
