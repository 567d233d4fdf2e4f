"""A job's files. `result.json` is written last: a job folder without it belongs to a failed job, and reports say so."""

import io
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cftransfer import atomic
from cftransfer.jobs import own_files, provenance
from cftransfer.jobs.provenance import RunningJob
from cftransfer.jobs.schema import RESULT, digest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from cftransfer.data.feature import Feature
    from cftransfer.measuring.stage_seconds import Seconds

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """A job's result: metrics by name, tables by the name of their file, and the curve of continued training.

    A table is a DataFrame, or one that is `packed`.

    pictures: (height, width, 3) bytes by name, for images. features: of a table; written to a file that a user can edit
    and give back. kept: files of the store that hold the counterfactuals. data: the identity of the data, and the part
    of it that was used, in words. notes: warnings about the models for the reader. seconds: of the stages of
    transfer.py; they differ between runs.
    """

    metrics: dict[str, Any]
    tables: dict[str, "pd.DataFrame | pa.Table"]
    curve: "pd.DataFrame | None" = None
    pictures: dict[str, "np.ndarray"] = field(default_factory=dict)
    features: "Sequence[Feature]" = ()
    kept: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: "Seconds | None" = None


def write(job: RunningJob, result: JobResult, *, wandb: str | None = None) -> None:
    """Write the job's tables as Parquet, its pictures as PNG, then `result.json`.

    wandb: the id of the job's W&B run, if it has one.
    """
    contents = _contents(result)
    for stale in own_files.earlier(job.folder) - set(contents):
        (job.folder / stale).unlink(missing_ok=True)
    for name, content in contents.items():
        atomic.write(job.folder / name, content)
    about = {
        "config": job.config,
        "choices": job.choices,
        "overrides": job.overrides,
        "metrics": _json_values(result.metrics),
        **({} if result.curve is None else {"curve": [_json_values(row) for row in result.curve.to_dict("records")]}),
        "data": result.data,
        "notes": result.notes,
        "counterfactuals": result.kept,
        **(result.seconds.written() if result.seconds else {}),
        "versions": provenance.versions(),
        "git": provenance.code(),
        "sweep": job.sweep,
        "wandb": wandb,
        "files": {name: digest(content) for name, content in contents.items()},
    }
    atomic.write(job.folder / RESULT, json.dumps(about, indent=2, allow_nan=False).encode())
    log.info("results in %s", provenance.shown(job.folder))


def packed(table: "pd.DataFrame | pa.Table") -> "pa.Table":
    """Return a table in memory as Parquet stores it: it takes a fraction of the memory, and joins without a copy."""
    import pyarrow as pa

    return table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)


def _contents(result: JobResult) -> dict[str, bytes]:
    """Return the content of each file, by its name."""
    from PIL import Image
    from pyarrow import parquet

    from cftransfer.data.features_file import features_yaml

    contents: dict[str, bytes] = {}
    for name, table in result.tables.items():
        buffer = io.BytesIO()
        parquet.write_table(packed(table), buffer)
        contents[f"{name}.parquet"] = buffer.getvalue()
    for name, picture in result.pictures.items():
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "png", optimize=True)
        contents[f"{own_files.PICTURES}/{name}.png"] = buffer.getvalue()
    if result.features:
        contents[own_files.FEATURES] = features_yaml(result.features).encode()
    return contents


def _json_values(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return `values` with null for NaN, which JSON lacks."""
    return {
        str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()
    }
