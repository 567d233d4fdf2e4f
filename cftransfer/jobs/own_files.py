"""The files of a folder that a job may replace: files that a job has written, never a user's own of the same names."""

import os
from pathlib import Path

from cftransfer.atomic import disk
from cftransfer.errors import InputError
from cftransfer.jobs.schema import DAMAGED, REPLACED, RESULT, read_result

MARK = Path(".hydra", "begun")  # in each folder where a job has begun, after it found no foreign file
TABLES = (
    "counterfactuals", "curves", "examples", "extremes", "holds", "pairs", "survivorship", "transfers",
    "transfers_seed",
)  # fmt: skip
FEATURES = "features.yaml"
PICTURES = "examples"  # the folder of pictures


def claim(folder: Path) -> None:
    """Mark a folder as a job's own; InputError if it has files with a job's names that no job has written."""
    check(folder)
    with disk(folder / MARK):
        (folder / MARK).parent.mkdir(exist_ok=True, parents=True)
        (folder / MARK).touch()


def check(folder: Path) -> None:
    """Raise the InputError of `claim`, without marking the folder."""
    if (folder / MARK).exists() or any(_written(folder, name) for name in (RESULT, REPLACED)):
        return
    names = [RESULT, REPLACED, DAMAGED, FEATURES, *(f"{table}.parquet" for table in TABLES)]
    foreign = [folder / name for name in names if os.path.lexists(folder / name)]
    refuse_foreign([*foreign, *sorted((folder / PICTURES).glob("*.png"))])


def refuse_foreign(files: list[Path]) -> None:
    """Raise an InputError that names the first of `files`; do nothing if there are no files."""
    if files:
        way_out = "move it, or choose another folder (hydra.run.dir, hydra.sweep.dir, or --out of a report)"
        raise InputError(f"{files[0]}: cftransfer has not written this file, and would replace it; {way_out}")


def earlier(folder: Path) -> set[str]:
    """Return the names of the files that an earlier job in this folder has left."""
    written = [_written(folder, name) for name in (RESULT, REPLACED, DAMAGED)]
    return {name for names in written for name in names if _is_a_jobs(name)}


def _written(folder: Path, result: str) -> list[str]:
    try:
        return [*read_result(folder, result).files]
    except InputError:
        return []


def _is_a_jobs(name: str) -> bool:
    """Whether a job writes files of this name: a result may be a stranger's, and name any file."""
    path = Path(name)
    if path.suffix == ".png":
        return path.parts == (PICTURES, path.name)
    return name in (FEATURES, *(f"{table}.parquet" for table in TABLES))
