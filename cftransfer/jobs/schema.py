"""`result.json`: the one model of it that every reader uses, since it may be older, damaged, or a stranger's.

Unknown fields are ignored. Known fields must have the right type, because a wrong value would make a number wrong, or
end a report on other jobs. Nothing heavy is imported, so that finished jobs are skipped at once.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from cftransfer.atomic import inside
from cftransfer.errors import InputError
from cftransfer.settings import flat

RESULT = "result.json"  # written last: a job folder without it is a job that failed or still runs
REPLACED = "result-replaced.json"  # an earlier result, of another job
DAMAGED = "result-damaged.json"  # an earlier result that cannot be read, or has lost a table
EXTRA_EPOCHS = "extra_epochs"  # the x-axis of continued training; one job holds the whole curve
MAX_NUMBER = 2**64  # larger than any setting, count or measure; its square is still a finite float
MAX_BYTES = 2**24  # of a job's text or picture; in the largest jobs they have some 100 kB and 2 MB
ELSEWHERE = ("paths", "wandb", "trainer", "export")  # settings that do not change a job's results
COUNTS = ("pairs", "n_searched", "n_tried", "n_agreeing", "n_to_0", "n_to_1")
INTERVAL_COLUMNS = ("rate_low", "rate_high")
RATES = ("found", "agreement", "rate", "rate_conditional", "rate_end_to_end", *INTERVAL_COLUMNS)
LOSSES = ("train_loss", "test_loss")  # of train.py; after a training that diverged they are huge but finite


def is_number(value: Any) -> bool:
    """Whether a value out of JSON is a number within the range that is safe to compute with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER


def _number(value: float) -> float:
    if not is_number(value):
        raise ValueError(f"is not a number of at most {MAX_NUMBER:.0e}")
    return value


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    for name, value in flat(config).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            _number(value)
        if name.endswith("_target_") and not isinstance(value, str):
            raise ValueError(f"{name} is not a name")
    _number(config.get("seed", 0))
    for name in ("reference", "counterfactual", "wandb"):
        if not isinstance(config.get(name, {}), dict):
            raise ValueError(f"{name} is not a group of settings")
    return config


def _metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    wrong = [name for name, value in metrics.items() if not _is_metric(name, value)]
    if "rate" in metrics:  # of transfer.py
        numbers = [*COUNTS, *["n_found"] * ("found_as_bytes" in metrics)]
        numbers += ["found", "distance_l2"] * (metrics["rate"] is not None)  # something was found, at some distance
        wrong += [name for name in numbers if metrics.get(name) is None]
        wrong += [name for name in (*RATES, "interval") if name not in metrics]
        lows = [name for name in metrics if name.endswith("_low")]
        lows += ["rate_minus_seed_low"] * ("rate_minus_seed" in metrics)
        wrong += [low for low in lows if not _has_both_ends(metrics, low)]
    if wrong:
        raise ValueError(f"{', '.join(wrong[:3])}: missing or of the wrong type")
    return metrics


def _is_metric(name: str, value: Any) -> bool:
    if name == "interval":
        return isinstance(value, str)
    return value is None or is_number(value) or (name in LOSSES and isinstance(value, float) and isfinite(value))


def _has_both_ends(metrics: dict[str, Any], low: str) -> bool:
    high = f"{low.removesuffix('_low')}_high"
    return {low, high} <= set(metrics) and (metrics[low] is None) == (metrics[high] is None)


def _point(point: dict[str, Any]) -> dict[str, Any]:
    if not {EXTRA_EPOCHS, "rate", *INTERVAL_COLUMNS} <= set(point) or point[EXTRA_EPOCHS] is None:
        raise ValueError("lacks a number")
    return point


def _experiment(choices: dict[str, Any]) -> dict[str, Any]:
    if choices.get("experiment", "") is None:
        raise ValueError("experiment is null")
    return choices


Number = Annotated[int | float, AfterValidator(_number)]
Amount = Annotated[float, AfterValidator(_number), Field(ge=0)]
Many = Annotated[int, AfterValidator(_number), Field(ge=0)]
Point = Annotated[dict[str, Number | None], AfterValidator(_point)]


class Git(TypedDict):
    """The commit of the code that ran; dirty: whether it had uncommitted changes."""

    commit: str
    dirty: bool


class Data(TypedDict, total=False):
    """The data, as `Dataset.identity` describes it.

    shifted: the identity of the references' data, if their rows differ. imported: the identity of the files of
    counterfactuals that were read.
    """

    name: str
    version: str
    about: str
    from_files: bool
    notes: list[str]
    classes: list[str]
    shifted: str
    imported: str


class StageSeconds(TypedDict, total=False):
    """Wall time of a job's stages; null for a stage with results from the store."""

    training: Amount | None
    searching: Amount | None
    asking: Amount | None


class Timed(TypedDict, total=False):
    """The models trained, bases searched and pairs asked in these seconds; models_each: models per reference."""

    models: Many
    bases: Many
    pairs: Many
    models_each: Many


def version_of(data: Mapping[str, Any]) -> str:
    """Return the identity of everything that a job reads, to check that an earlier result used the same data."""
    return "+".join(str(data[name]) for name in ("version", "shifted", "imported") if data.get(name))


class Result(BaseModel):
    """The content of a job's `result.json`; docs/reference/output.md explains each part."""

    model_config = ConfigDict(strict=True, frozen=True)

    config: Annotated[dict[str, Any], AfterValidator(_settings)]
    choices: Annotated[dict[str, str | None], AfterValidator(_experiment)]
    overrides: list[str]
    metrics: Annotated[dict[str, Any], AfterValidator(_metrics)]
    versions: dict[str, str]
    git: Git | None
    curve: list[Point] = Field(default_factory=list, min_length=1)  # [] only by default: jobs without a curve omit it
    data: Data = Field(default_factory=Data)
    notes: list[str] = Field(default_factory=list)
    files: dict[str, str] = Field(default_factory=dict)
    wandb: Annotated[str, Field(pattern=r"^[\w-]{1,64}$")] | None = None
    sweep: str | None = None
    seconds: StageSeconds = Field(default_factory=StageSeconds)
    timed: Timed = Field(default_factory=Timed)

    @property
    def rated(self) -> bool:
        """Whether the job is one of transfer.py: these have a rate, jobs of train.py do not."""
        return "rate" in self.metrics

    @property
    def what(self) -> str:
        """The settings that identify the job."""
        return what(self.config)


def what(config: dict[str, Any]) -> str:
    """Return the resolved settings that identify a job, as text to compare."""
    kept = {name: part for name, part in config.items() if name not in ELSEWHERE}
    if isinstance(many := kept.get("replicates"), dict) and many.get("splits") == 1:  # older jobs lack the key
        kept["replicates"] = {name: value for name, value in many.items() if name != "splits"}
    return json.dumps(kept, sort_keys=True)


def read_result(folder: Path, name: str = RESULT, *, words: Callable[[Any], Any] = lambda content: content) -> Result:
    """Return the result in a job's folder; InputError, with the reason, if no job has written it.

    words: applied to the JSON before it is checked.
    """
    try:
        return Result.model_validate(words(json.loads(text(folder, name))))
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc'])) or 'all'}: {one['msg']}" for one in error.errors()[:3]]
        raise InputError(f"{name} cannot be read ({'; '.join(wrong)}); run the job again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{name} cannot be read ({error}); run the job again") from error


def text(folder: Path, name: str) -> str:
    """Return the text of a job's file; raise OSError as `content` does."""
    return content(folder, name).decode("utf-8", errors="replace").replace("\r\n", "\n")


def content(folder: Path, name: str, *, most: int = MAX_BYTES) -> bytes:
    """Return the bytes of a job's file; OSError if it leads out of the folder or has more than `most` bytes.

    The folder may be a stranger's, so views read all files through this function.
    """
    path = folder / name
    if not inside(folder, path):
        raise OSError("it is not a file in this folder")
    if (size := path.stat().st_size) > most:
        raise OSError(f"it has {size:,} bytes, more than {most:,}")
    return path.read_bytes()


def job_digest(overrides: Sequence[str]) -> str:
    """Return 8 hex digits of a job's overrides, by which a sweep's multirun.yaml identifies the job."""
    return digest(json.dumps(list(overrides)).encode())[:8]


def digest(content: bytes) -> str:
    """Return the digest that `result.json` keeps of each file, so that damage is noticed."""
    return hashlib.sha256(content).hexdigest()


def as_written(folder: Path, name: str, written: str) -> bool:
    """Whether a file is in the job's folder and has the digest that was written with it."""
    if not inside(folder, folder / name):
        return False
    with (folder / name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == written
