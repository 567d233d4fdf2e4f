"""The artifacts of a store: their specs, sizes, last uses and damage."""

import difflib
import fnmatch
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cftransfer.errors import InputError
from cftransfer.settings import flat
from cftransfer.spec import FORMAT
from cftransfer.store.artifacts import DAMAGED, KINDS, DamagedError, about, verified

ABANDONED = 600.0  # seconds after which an unchanged partial file or lock has no living owner
LEFTOVERS = (*(f"{kind}/.*.part" for kind in KINDS), "models/*.csv", "locks/*.lock")


@dataclass(frozen=True)
class Entry:
    """One artifact, with the files that belong to it: a model's training curve.

    described: its description, None if it is damaged. size: bytes. unused: seconds since it was made or loaded, ≥ 0
    even if the clock was set back.
    """

    path: Path
    files: tuple[Path, ...]
    described: dict[str, Any] | None
    size: int
    unused: float

    @property
    def kind(self) -> str:
        """The artifact's kind, one of `KINDS`."""
        return self.path.parent.name

    @property
    def old_format(self) -> bool:
        """Whether an earlier version of cftransfer made it, under a key that this version never uses."""
        made_by = (self.described or {"format": FORMAT}).get("format", 1)
        return isinstance(made_by, int) and made_by < FORMAT

    @property
    def settings(self) -> dict[str, Any]:
        """Its kind, spec, search and seed by flat names, such as model.layers, dataset._target_ and seed."""
        described = self.described or {}
        spec = described.get("spec") or described.get("base") or {}
        named = ("seed", "epoch", "samples", "counterfactual")
        return flat({"kind": self.kind, **spec, **{name: described[name] for name in named if name in described}})


def entries(store: Path) -> list[Entry]:
    """Return every artifact, kind by kind, the least recently used first; InputError if `store` is not a store."""
    if not store.is_dir():
        raise InputError(f"{store}: no such folder; give the folder of paths.store")
    for folder in [store, *(store / kind for kind in KINDS)]:
        if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
            raise InputError(f"{folder}: cannot be read; fix its permissions")
    every = [_entry(path) for kind in KINDS for path in (store / kind).glob("*.safetensors")]
    found = [entry for entry in every if entry is not None]
    return sorted(found, key=lambda entry: (KINDS.index(entry.kind), -entry.unused, entry.path.name))


def one(store: Path, key: str) -> Entry:
    """Return the artifact with a key that begins with `key`; InputError unless exactly one has."""
    found = [entry for entry in entries(store) if entry.path.stem.startswith(key)]
    if len(found) != 1:
        some = f"{len(found)} artifacts begin with it; give more digits" if found else "no artifact begins with it"
        raise InputError(f"{key}: {some} (python -m cftransfer.store ls has them all)")
    return found[0]


def damaged(store: Path) -> dict[Path, str]:
    """Return the artifacts that changed after they were written, with reasons; reads every byte."""
    reasons = {}
    for entry in entries(store):
        try:
            verified(entry.path)
        except FileNotFoundError:  # removed meanwhile
            continue
        except (DamagedError, InputError) as error:
            reasons[entry.path] = str(error)
    return reasons


def leftovers(store: Path) -> list[Path]:
    """Return damaged artifacts that were moved aside, and files left by killed jobs.

    Killed jobs leave partial files, training curves without a model, and locks, unchanged for `ABANDONED` seconds.
    """
    rest = [path for pattern in LEFTOVERS for path in sorted(store.glob(pattern)) if _abandoned(path)]
    rest += sorted((store / DAMAGED).rglob("*.safetensors"))
    return [path for path in rest if path.is_symlink() or not path.is_dir()]


def to_prune(
    store: Path,
    *,
    unused: float,
    matching: Sequence[str] = (),
    old_format: bool = False,
    keep_bytes: int | None = None,
) -> tuple[list[Entry], list[Entry]]:
    """Return the artifacts to remove, and matching artifacts that stay because of a use less than `unused` seconds ago.

    matching: settings such as model.layers=8 or kind=passes; all must hold (* as in file names). old_format: only
    artifacts of an earlier format. keep_bytes: remove the least recently used until the store is this small.
    """
    every = entries(store)
    _check_names(every, matching)
    chosen = [entry for entry in every if _matches(entry, matching) and (entry.old_format or not old_format)]
    going = [entry for entry in chosen if entry.unused > unused]
    recent = [entry for entry in chosen if entry.unused <= unused]
    if keep_bytes is not None:
        excess = sum(entry.size for entry in every) - keep_bytes
        going = _least_recent(going, excess=excess)
        recent = recent if sum(entry.size for entry in going) < excess else []
    return going, recent


def remove(paths: Iterable[Path]) -> None:
    """Remove files; InputError, naming the file, if one cannot be removed."""
    for path in paths:
        way_out = "remove it by hand" if path.is_dir() else "make the store writable"
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot be removed ({error.strerror}); {way_out}") from error


def _entry(path: Path) -> Entry | None:
    """Return an artifact; None if it has just been removed, like a finished pass."""
    beside = tuple(file for file in [path.with_suffix(".csv")] if file.is_file())
    try:
        size = sum(file.lstat().st_size for file in (path, *beside))
        unused = max(0.0, time.time() - path.lstat().st_mtime)
        described = about(path)
    except FileNotFoundError:
        return None
    except (DamagedError, InputError):  # `damaged` tells why
        described = None
    return Entry(path, beside, described, size, unused)


def _abandoned(path: Path) -> bool:
    """Return whether a job's file is unchanged for too long and, for a curve, has no model."""
    try:
        old = time.time() - path.lstat().st_mtime > ABANDONED
    except FileNotFoundError:
        return False
    return old and not (path.suffix == ".csv" and path.with_suffix(".safetensors").exists())


def _check_names(every: Sequence[Entry], matching: Sequence[str]) -> None:
    """Refuse a setting that no artifact has: a typo must neither remove nor keep artifacts."""
    known = {name for entry in every for name in entry.settings}
    for word in matching if every else ():
        name = word.partition("=")[0]
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(known))}"
            raise InputError(f"--spec {word}: nothing in {every[0].path.parents[1]} has such a setting; {guess}")


def _matches(entry: Entry, matching: Sequence[str]) -> bool:
    words = [word.partition("=") for word in matching]
    held = entry.settings
    return all(name in held and fnmatch.fnmatchcase(str(held[name]), pattern) for name, _, pattern in words)


def _least_recent(some: Sequence[Entry], *, excess: int) -> list[Entry]:
    chosen = []
    for entry in sorted(some, key=lambda entry: -entry.unused):
        if excess <= 0:
            break
        chosen.append(entry)
        excess -= entry.size
    return chosen
