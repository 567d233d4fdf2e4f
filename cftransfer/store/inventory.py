"""What a store holds: of which spec, how large, how old, whole or damaged, in use or free to go."""

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
from cftransfer.spec import PARTS, family_key
from cftransfer.store.artifacts import DAMAGED, KINDS, DamagedError, about, verified
from cftransfer.store.locks import in_use

PART = "*.part"  # what a killed writer left


@dataclass(frozen=True)
class Entry:
    """One artifact, with what belongs to it: a model's training curve.

    described: its description, None if it is damaged. size: bytes. age: seconds since it was written, ≥ 0 whatever the
    clock has done since.
    """

    path: Path
    files: tuple[Path, ...]
    described: dict[str, Any] | None
    size: int
    age: float

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return self.path.parent.name

    @property
    def settings(self) -> dict[str, Any]:
        """Its spec and its search, flat, and its seed, as in model.layers, dataset._target_ and seed."""
        described = self.described or {}
        spec = described.get("spec") or described.get("base") or {}
        seeds = {name: described[name] for name in ("seed", "epoch", "samples") if name in described}
        search = {"counterfactual": described["counterfactual"]} if "counterfactual" in described else {}
        return flat({**spec, **search, **seeds})

    @property
    def family(self) -> str | None:
        """What `leases.using` is told: the key that models of one spec share, of whatever seed and age."""
        described = self.described or {}
        spec = described.get("spec") or described.get("base") or {}
        whole = all(isinstance(spec.get(part), dict) for part in PARTS)  # of another version's store, perhaps not
        return family_key({name: part for name, part in spec.items() if name != "seed"}) if whole else None


def entries(store: Path) -> list[Entry]:
    """Return every artifact of a store, kind by kind, the oldest first; InputError if it is no store."""
    if not store.is_dir():
        raise InputError(f"{store}: no such folder; name the store that paths.store names")
    for folder in [store, *(store / kind for kind in KINDS)]:
        if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
            raise InputError(f"{folder}: may not be read; mend its permissions")
    every = [_entry(path) for kind in KINDS for path in (store / kind).glob("*.safetensors")]
    found = [entry for entry in every if entry is not None]
    return sorted(found, key=lambda entry: (KINDS.index(entry.kind), -entry.age, entry.path.name))


def one(store: Path, key: str) -> Entry:
    """Return the artifact whose key begins with `key`; InputError if there is none, or more than one."""
    found = [entry for entry in entries(store) if entry.path.stem.startswith(key)]
    if len(found) != 1:
        some = f"{len(found)} artifacts begin with it; give more digits" if found else "no artifact begins with it"
        raise InputError(f"{key}: {some} (python -m cftransfer.store ls has them all)")
    return found[0]


def damaged(store: Path) -> dict[Path, str]:
    """Return the artifacts that are not what was written, each with the reason; every byte is read."""
    reasons = {}
    for entry in entries(store):
        try:
            verified(entry.path)
        except FileNotFoundError:  # pruned meanwhile
            continue
        except (DamagedError, InputError) as error:
            reasons[entry.path] = str(error)
    return reasons


def leftovers(store: Path) -> list[Path]:
    """Return what killed writers have left, and what was moved aside since it was damaged.

    A training curve without its model is the work of one who was killed between the two, or is at it.
    """
    parts = [path for kind in KINDS for path in (store / kind).glob(f".{PART}")]
    alone = [path for path in (store / "models").glob("*.csv") if not path.with_suffix(".safetensors").exists()]
    used = bool(alone) and bool(in_use(store))  # which takes a while: somebody may end meanwhile, with his model made
    curves = [path for path in alone if not used and not path.with_suffix(".safetensors").exists()]
    rest = [*sorted(parts), *sorted(curves), *sorted((store / DAMAGED).rglob("*.safetensors"))]
    return [path for path in rest if path.is_symlink() or not path.is_dir()]


def to_prune(
    store: Path,
    *,
    older_than: float | None = None,
    matching: Sequence[str] = (),
    keep_bytes: int | None = None,
) -> tuple[list[Entry], list[Entry]]:
    """Return what is to go, and what would but is in use by a living job.

    older_than: seconds; matching: settings as in model.layers=8, or kind=passes, all of which must hold (with * as in
    file names). keep_bytes: of what these choose, the oldest go until the store is no larger.
    """
    every = entries(store)
    _check_names(every, matching)
    wanted = [entry for entry in every if _chosen(entry, older_than=older_than, matching=matching)]
    used = in_use(store) if wanted else set()
    kept = [entry for entry in wanted if entry.family in used]
    free = [entry for entry in wanted if entry.family not in used]
    if keep_bytes is None:
        return free, kept
    excess = sum(entry.size for entry in every) - keep_bytes
    return _oldest(free, excess=excess), kept if excess > 0 else []


def remove(paths: Iterable[Path]) -> None:
    """Remove files; who needs one again makes it again. InputError, naming it, for one that cannot be removed."""
    for path in paths:
        way_out = "remove it by hand" if path.is_dir() else "make the store writable"
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot be removed ({error.strerror}); {way_out}") from error


def _entry(path: Path) -> Entry | None:
    """Return an artifact, None if it has just gone: a pass that is done, or what somebody else prunes."""
    beside = tuple(file for file in [path.with_suffix(".csv")] if file.is_file())
    try:
        size = sum(file.lstat().st_size for file in (path, *beside))
        age = max(0.0, time.time() - path.lstat().st_mtime)
        described = about(path)
    except FileNotFoundError:
        return None
    except (DamagedError, InputError):  # `damaged` says which
        described = None
    return Entry(path, beside, described, size, age)


def _check_names(every: Sequence[Entry], matching: Sequence[str]) -> None:
    """Refuse a setting that nothing in the store has: a mistyped one must not choose, nor spare, anything."""
    known = {"kind", *(name for entry in every for name in entry.settings)}
    for word in matching if every else ():
        name = word.partition("=")[0]
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(known))}"
            raise InputError(f"--spec {word}: nothing in {every[0].path.parents[1]} has such a setting; {guess}")


def _chosen(entry: Entry, *, older_than: float | None, matching: Sequence[str]) -> bool:
    if older_than is not None and entry.age <= older_than:
        return False
    settings = {**entry.settings, "kind": entry.kind}
    for word in matching:
        name, _, pattern = word.partition("=")
        if name not in settings or not fnmatch.fnmatchcase(str(settings[name]), pattern):
            return False
    return True


def _oldest(some: Sequence[Entry], *, excess: int) -> list[Entry]:
    chosen = []
    for entry in sorted(some, key=lambda entry: -entry.age):
        if excess <= 0:
            break
        chosen.append(entry)
        excess -= entry.size
    return chosen
