"""A job's folder → everything that a report reads, checked: an unreadable job is named, and the report goes on."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cftransfer.atomic import inside
from cftransfer.columns import SPLIT
from cftransfer.errors import InputError, plain
from cftransfer.jobs.schema import (
    ELSEWHERE,
    EXTRA_EPOCHS,
    MAX_BYTES,
    RESULT,
    Result,
    content,
    digest,
    read_result,
    text,
)
from cftransfer.jobs.tables import CELL, CELLS, NUMBERS, check_pairs, check_table, parquet
from cftransfer.measuring.sampling_variances import Sampling, sampling_of
from cftransfer.measuring.stage_seconds import Seconds
from cftransfer.measuring.tails import accepted_by
from cftransfer.settings import flat

# Files and required columns; reports use more columns of pairs and examples if they are there.
TABLES = {
    **NUMBERS,
    "curves": ("role", *NUMBERS["curves"]),
    "examples": ("example", "transferred", "from_class", "target_class"),
    "extremes": (*NUMBERS["extremes"], "side", "from_class", "target_class"),
}
EXAMPLES_CELLS = 2**20  # at most; a dozen examples of a table of 1,000 features have 2 × 10⁵
PNG = b"\x89PNG\r\n\x1a\n"
# Errors that readers of Parquet raise for a damaged file; pyarrow's own errors are subclasses.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, NotImplementedError)


@dataclass(frozen=True)
class Job:
    """One job: its folder, its `result.json`, and its smaller tables.

    examples, extremes: None if nothing was found, or if the job is older than these tables. accepted, sampling: the
    results of `tails.accepted_by` and `sampling_variances.sampling_of` for the job's `holds`; None if the job is older
    than it.
    """

    folder: Path
    result: Result
    pairs: pd.DataFrame
    survivorship: pd.DataFrame
    curves: pd.DataFrame
    examples: pd.DataFrame | None = None
    extremes: pd.DataFrame | None = None
    accepted: pd.DataFrame | None = None
    sampling: Sampling | None = None

    @property
    def pictures(self) -> list[Path]:
        """The pictures that the job has written, if its inputs are images. Any other file is left out of a page.

        The names of examples begin with a number, the names of extremes with a word.
        """
        found = [self.folder / name for name in sorted(self.result.files) if name.endswith(".png")]
        return [path for path in found if is_picture(self.folder, path)]

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of `result.json`."""
        return self.result.metrics

    @property
    def seconds(self) -> Seconds:
        """The seconds of its stages; unknown for older jobs."""
        return Seconds(**self.result.seconds, **self.result.timed)

    @property
    def settings(self) -> dict[str, Any]:
        """The job's settings, flat, with one name per group (`model`: mlp) instead of its `_target_`."""
        kept = {name: part for name, part in self.result.config.items() if name not in ELSEWHERE}
        settings = {name: value for name, value in flat(kept).items() if not name.endswith("_target_")}
        return {**self.result.choices, **settings}


class _NoAliases(yaml.SafeLoader):
    """YAML without aliases (`*this`): a few lines of them expand to more words than memory holds; Hydra writes none."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias, which Hydra does not write")
        return super().compose_node(parent, index)


def yaml_of(folder: Path, name: str) -> Any:
    """Return the content of a job's YAML file, with ${oc.env:…} as typed; InputError if it is unreadable."""
    try:
        return yaml.load(text(folder, name), _NoAliases)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{folder / name}: cannot be read ({' '.join(str(error).split())})") from error


def typed_words(overrides: Any) -> list[str]:
    """Return overrides out of YAML as typed; TypeError if they are not a list of words and numbers."""
    if not isinstance(overrides, list) or not all(isinstance(word, str | int | float) for word in overrides):
        raise TypeError("its overrides are not a list of words")
    return [str(word) for word in overrides]


def job_folders(folders: Sequence[Path]) -> list[Path]:
    """Return every folder that Hydra made for a job, once, even if it is given several times or by several names."""
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: {'is a file, not a folder' if folder.exists() else 'no such folder'}")
        for job in sorted(_made(folder), key=natural):
            found.setdefault(job.resolve(), job)
    return list(found.values())


def _made(folder: Path) -> Iterator[Path]:
    """Yield the folders below `folder` in which a job has begun or ended; W&B's large folders are skipped.

    Folders without permission to read are included if they are named like a job, by a number.
    """
    closed: list[OSError] = []
    for above, folders, files in os.walk(folder, onerror=closed.append):
        if RESULT in files or (".hydra" in folders and Path(above, ".hydra", "overrides.yaml").exists()):
            yield Path(above)
        folders[:] = [name for name in folders if name not in (".hydra", ".submitit", ".workers", "wandb")]
    jobs = [Path(error.filename) for error in closed if isinstance(error, PermissionError)]
    yield from (path for path in jobs if path == folder or path.name.isdigit())


def read(folder: Path) -> Job | None:
    """Return a job of transfer.py, or None for a job of train.py; InputError, with the reason, if the job failed."""
    if not os.access(folder, os.R_OK | os.X_OK):
        raise InputError("its folder cannot be read; change its permissions")
    if not (folder / RESULT).exists():
        why = why_failed(folder)
        raise InputError(_typed(folder) + (f"; {why}" if why else ""))
    result = read_result(folder, words=_plain)
    if not result.rated:
        return None
    pairs = table(folder, "pairs", TABLES["pairs"])
    try:
        check_pairs(pairs, result.curve or None)
    except ValueError as error:
        raise InputError(f"pairs.parquet cannot be read ({error}); run the job again") from error
    survivorship, curves = (table(folder, name, TABLES[name])[[*TABLES[name]]] for name in ("survivorship", "curves"))
    examples, extremes = (
        table(folder, name, TABLES[name], cells=EXAMPLES_CELLS).map(_plain)
        if (folder / f"{name}.parquet").exists()
        else None
        for name in ("examples", "extremes")
    )
    holds = _holds(folder, pairs)
    accepted, sampling = (None, None) if holds is None else (accepted_by(_of_all_splits(holds)), sampling_of(holds))
    return Job(folder, result, pairs, survivorship, curves, examples, extremes, accepted, sampling)


def _holds(folder: Path, pairs: pd.DataFrame) -> pd.DataFrame | None:
    """Return the share of references that each found counterfactual holds on; None for older jobs."""
    if not (folder / "holds.parquet").exists():
        return None
    holds = table(folder, "holds", TABLES["holds"])
    if not holds.empty and (most := int(holds.n_references.max())) > pairs.reference.nunique():
        raise InputError(
            f"holds.parquet cannot be read (it has {most:,} references, more than pairs); run the job again"
        )
    return holds


def _of_all_splits(holds: pd.DataFrame) -> pd.DataFrame:
    """Return the table with one number per base of each split, since bases of different splits are different models."""
    if SPLIT not in holds:
        return holds
    return holds.assign(base=holds.groupby([SPLIT, "base"]).ngroup())


def _plain(value: Any) -> Any:
    """Return `value` with all words in it, including keys, made `plain`."""
    if isinstance(value, dict):
        return {plain(str(name)): _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return plain(value) if isinstance(value, str) else value


def is_picture(folder: Path, path: Path) -> bool:
    """Whether a file of a job is a PNG in its folder; a page or W&B would pass on any other file unseen."""
    try:
        return content(folder, path.relative_to(folder).as_posix()).startswith(PNG)
    except (OSError, ValueError):  # a name that leads out of the folder
        return False


def _typed(folder: Path) -> str:
    """Return the overrides of a failed job in one line."""
    try:
        typed = text(folder, ".hydra/overrides.yaml")
    except OSError as error:
        return f"overrides cannot be read ({error})"
    return " ".join(typed.replace("- ", "").split()) or "no overrides"


def table(
    folder: Path, name: str, columns: Sequence[str] = (), *, cells: int = CELLS, written: str | None = None
) -> pd.DataFrame:
    """Return a table of a job; InputError, with the reason, if it cannot be read or lacks one of `columns`.

    cells: the most values that it may have, over all columns. written: the digest that it must have.
    """
    path = folder / f"{name}.parquet"
    try:
        stored = content(folder, path.name, most=CELL * cells)
        if written not in (None, digest(stored)):
            raise OSError("it has changed since it was written")
        read = parquet(stored, cells)
        if absent := set(columns) - set(read.columns):
            raise KeyError(f"no {', '.join(sorted(absent))}")
        if columns and name in NUMBERS:
            check_table(name, read)
    except UNREADABLE as error:
        raise InputError(f"{path.name} cannot be read ({error}); run the job again") from error
    return read


def long_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a job's counterfactuals and the references' answers; InputError, with the reason, if they are missing.

    With continued training, the answers are those after the last extra epoch.
    """
    counterfactuals = table(folder, "counterfactuals", ("base", "factual", "found", "margin", "distance_l2", "target"))
    answers = table(folder, "transfers", ("base", "reference", "factual", "found", "agreement", "transferred"))
    if EXTRA_EPOCHS in answers:
        answers = answers[answers[EXTRA_EPOCHS] == answers[EXTRA_EPOCHS].max()]
    return counterfactuals, answers


def why_failed(folder: Path) -> str | None:
    """Return how a job ended according to its log, "failed: …" or "interrupted"; None if the log does not say."""
    logs = [path.name for path in folder.glob("*.log") if inside(folder, path) and path.stat().st_size <= MAX_BYTES]
    try:
        said = [line for log in logs for line in text(folder, log).splitlines()]
    except OSError as error:
        return f"failed: its log cannot be read ({error.strerror or error})"
    for line in reversed(said):
        if " failed: " in line:
            return plain(f"failed: {line.partition(' failed: ')[2]}")
        if " interrupted" in line:
            return "interrupted"
    return None


def natural(folder: Path) -> tuple[str, int, str]:
    """Return the key that sorts folders as people count: 9 before 10."""
    return str(folder.parent), int(folder.name) if folder.name.isdigit() else -1, folder.name
