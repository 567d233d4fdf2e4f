"""ACSEmployment: having a job, from the US Census's American Community Survey, as folktables defines the task.

Ding, Hardt, Miller, Schmidt 2021, "Retiring Adult: New Datasets for Fair Machine Learning". Names of codes come from
the 2018 ACS PUMS Data Dictionary of the Census; a blank is a code as well.
"""

import csv
import json
import random
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path

import pandas as pd

from cftransfer.data.dataset import Dataset, from_table
from cftransfer.data.download import fetch
from cftransfer.data.feature import Feature, Kind
from cftransfer.errors import InputError
from cftransfer.settings import check_choice, check_int

CENSUS = "https://www2.census.gov/programs-surveys/acs/data/pums"
YEARS = range(2014, 2019)
REMEDY = "fix it, or delete it, and it is downloaded again"
# Limits of one file. The Census's largest, five years of California, has 1.6 GB: 1.9 million lines of 286 columns;
# folktables reads it at once, with eight bytes or more a cell.
BYTES, HEADER, CELLS = 2**32, 2**16, 2**30
LINE = 2**20  # most bytes of a line, a thousand times a line of 286 codes; pandas holds a whole line in memory
BLANK = -1

# Feature → code in the file → its name in the Census's dictionary.
NAMES = {
    name: {int(code or BLANK): words for code, words in codes.items()}
    for name, codes in json.loads((files("cftransfer.data") / "acs_employment.json").read_text("utf-8")).items()
}
# Valid codes of each column that is read.
CODES: dict[str, Collection[int]] = {**NAMES, "AGEP": range(100), "ESR": (BLANK, *range(1, 7))}
# Features that a person cannot change.
FIXED = ("AGEP", "SEX", "RAC1P", "NATIVITY", "ANC", "DIS", "DEAR", "DEYE", "DREM")


def acs_employment(
    folder: Path,
    *,
    states: Sequence[str] = ("NY",),
    year: int = 2018,
    horizon: str = "1-Year",
    max_rows: int | None = 20_000,
    test_share: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Sixteen features of the persons of `states`; class 1 is a civilian at work (ESR 1), class 0 any other person.

    Reads `folder`/folktables/`year`/`horizon`/psam_p36.csv and the like through folktables, and downloads missing
    files first. `max_rows` persons are drawn at random; None takes all of them.

    Age is an integer. Schooling (SCHL) is ordinal, from the blank of children under 3 to a doctorate, and can only
    rise. All other features are categories under the Census's names. A category that occurs in no row is dropped,
    because a model would have learned nothing about its column and a search would exploit that. A feature with one
    value in all rows is dropped as well. Raises InputError for settings and files that cannot be used.
    """
    _check(states, year, horizon)
    if max_rows is not None:
        check_int("dataset.max_rows", max_rows)
    check_int("dataset.split_seed", split_seed, least=0, most=2**32 - 1)
    from folktables import ACSEmployment

    persons = pd.concat([_persons(folder, state, year, horizon) for state in states], ignore_index=True)
    if max_rows is not None and max_rows < len(persons):
        persons = persons.sample(max_rows, random_state=split_seed)
    features = [_feature(name, persons[name]) for name in ACSEmployment.features if persons[name].nunique() > 1]
    return from_table(
        "acs_employment",
        pd.DataFrame({feature.name: _named(persons[feature.name]) for feature in features}),
        ACSEmployment.target_transform(persons[ACSEmployment.target]).to_numpy(),
        features=features,
        classes=("other", "civilian employed, at work"),
        test_share=test_share,
        split_seed=split_seed,
    )


def _check(states: Sequence[str], year: int, horizon: str) -> None:
    from folktables.load_acs import state_list

    if isinstance(states, str) or not isinstance(states, Sequence) or not states:
        raise InputError(f"dataset.states={states}: must be a list of states, as in dataset.states=[NY]")
    for state in states:
        check_choice("dataset.states", state, state_list)
        if list(states).count(state) > 1:
            raise InputError(f"dataset.states=[{','.join(states)}]: has {state} more than once")
    if not isinstance(year, int) or year not in YEARS:
        since = "in 2019 the Census replaced RELP by RELSHIPP, which folktables' ACSEmployment does not know"
        raise InputError(f"dataset.year={year}: must be a whole number from {YEARS[0]} to {YEARS[-1]}; {since}")
    check_choice("dataset.horizon", horizon)


def _persons(folder: Path, state: str, year: int, horizon: str) -> pd.DataFrame:
    """Return the codes of all persons of one state, one int16 column per feature and one for the label."""
    from folktables import ACSDataSource

    path = file(folder, state, year, horizon)
    if not path.exists():
        fetch(f"{CENSUS}/{year}/{horizon}/csv_p{state.lower()}.zip", path, wrong=_wrong)
    if reason := _wrong(path):
        raise InputError(f"{path}: {reason}; {REMEDY}")
    source = ACSDataSource(survey_year=str(year), horizon=horizon, survey="person", root_dir=str(folder / "folktables"))
    try:
        with _undisturbed():
            table = source.get_data(states=[state], download=False)[_columns()]
    except (OSError, ValueError) as error:  # pandas' and decoding errors are ValueErrors
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); {REMEDY}") from error
    return pd.DataFrame({name: _codes(table[name], path) for name in table})


def file(folder: Path, state: str, year: int, horizon: str) -> Path:
    """Return the path where folktables expects a state's file; the Census's archive has a member of the same name."""
    from folktables.load_acs import _STATE_CODES

    name = f"psam_p{_STATE_CODES[state]}.csv" if year >= 2017 else f"ss{year % 100}p{state.lower()}.csv"
    return folder / "folktables" / str(year) / horizon / name


def _columns() -> list[str]:
    from folktables import ACSEmployment

    return [*ACSEmployment.features, ACSEmployment.target]


def _wrong(path: Path) -> str:
    """Return why a file cannot be read, judged by its size and its first line; "" if it can."""
    if not path.is_file() or (size := path.stat().st_size) > BYTES:
        return f"has {size:,} bytes, more than {BYTES:,}" if path.is_file() else "is not a file"
    try:
        with path.open() as lines:
            first = lines.readline(HEADER)
            header = next(csv.reader([first]), [])
            empty = not lines.readline(HEADER)
        many = _lines(path) if len(first) < HEADER else 0
    except (OSError, ValueError, csv.Error) as error:
        return f"cannot be read ({error})"
    if len(first) == HEADER:
        return f"has a first line of {HEADER:,} letters or more"
    if len(header) * many > CELLS:
        return f"has {many:,} lines of {len(header):,} columns, more than {CELLS:,} cells"
    missing = [name for name in _columns() if name not in header]
    twice = [name for name in _columns() if header.count(name) > 1]
    for names, said in ((missing, "lacks the column"), (twice, "has more than once the column")):
        if names:
            return f"{said}{'s' * (len(names) > 1)} {', '.join(names)}"
    return "holds no persons" if empty else ""


def _lines(path: Path) -> int:
    """Count lines (seconds per GB); ValueError for a line of more than `LINE` bytes. A line ends in LF, CR or both."""
    many = run = 0
    with path.open("rb") as file:
        for part in iter(partial(file.read, LINE), b""):
            many += part.count(b"\n") + part.count(b"\r") - part.count(b"\r\n")
            ends = [place for sign in (b"\n", b"\r") for place in (part.find(sign), part.rfind(sign)) if place >= 0]
            if run + min(ends, default=len(part)) > LINE:
                raise ValueError(f"it has a line of more than {LINE:,} bytes")
            run = len(part) - max(ends) - 1 if ends else run + len(part)
    return many


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Undo two side effects of reading: folktables seeds Python's global generator, and pandas warns."""
    state = random.getstate()
    with warnings.catch_warnings():
        # Columns that mix words and numbers: `_codes` checks the columns in use, and names a wrong cell.
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        try:
            yield
        finally:
            random.setstate(state)


def _codes(column: pd.Series, path: Path) -> pd.Series:
    """Return a column of the file as int16, with BLANK for blanks; InputError for a value that is not a code."""
    known = CODES[str(column.name)]
    numbers = pd.to_numeric(column.astype(str), errors="coerce")  # through str, because True would count as 1
    right = numbers.isin([code for code in known if code != BLANK]) | (column.isna() & (BLANK in known))
    if not right.all():
        wrong = column[~right].iloc[0]
        what = "a blank" if pd.isna(wrong) else str(wrong)[:40].encode("unicode_escape").decode()
        right_codes = [code for code in known if code != BLANK]
        listed = [f"{right_codes[0]} to {right_codes[-1]}"] if len(right_codes) > 12 else map(str, right_codes)
        codes = ", ".join([*["blank"] * (BLANK in known), *listed])
        # A new download may not help: the Census's own file may hold the value.
        way_out = (
            f"remove the {(~right).sum():,} such lines of {len(column):,}, or choose other dataset.states or a year"
        )
        raise InputError(f"{path}: column {column.name} holds {what}, which is not a Census code ({codes}); {way_out}")
    return numbers.fillna(BLANK).astype("int16")


def _feature(name: str, codes: pd.Series) -> Feature:
    if name == "AGEP":
        return Feature(name=name, kind="integer", mutable=False)
    if name == "SCHL":
        return Feature(name=name, kind="ordinal", categories=tuple(NAMES[name].values()), direction="up")
    seen = set(codes)
    categories = tuple(words for code, words in NAMES[name].items() if code in seen)
    kind: Kind = "binary" if len(categories) == 2 else "categorical"
    return Feature(name=name, kind=kind, categories=categories, mutable=name not in FIXED)


def _named(codes: pd.Series) -> pd.Series:
    names = NAMES.get(str(codes.name))
    return codes if names is None else codes.astype(pd.CategoricalDtype(list(names))).cat.rename_categories(names)
