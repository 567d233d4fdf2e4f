"""Artifacts: `<store>/<kind>/<key>.safetensors` holds tensors and a JSON description; nothing is ever unpickled."""

import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from cftransfer.atomic import disk, write
from cftransfer.errors import InputError
from cftransfer.store.locks import hold, unusable

log = logging.getLogger(__name__)

METADATA = "cftransfer"  # one entry: safetensors writes several in any order, and equal artifacts are equal files
KINDS = ("models", "counterfactuals", "passes")
DAMAGED = "damaged"  # folder for what was not what had been written


class DamagedError(Exception):
    """An artifact is not what was written."""


def prepare(folder: str | Path) -> Path:
    """Return the store's folder, made if need be; InputError if it cannot be used.

    One that can only be read serves what it has; what it lacks is an error when it is to be made.
    """
    if not folder:
        raise InputError(f"paths.store={folder}: takes a folder")
    store = Path(folder)
    try:
        if store.is_dir() and os.access(store, os.R_OK | os.X_OK) and not os.access(store, os.W_OK):
            log.warning("paths.store=%s: can only be read; what it lacks cannot be made", store)
            return store
        store.mkdir(parents=True, exist_ok=True)
        (store / "locks").mkdir(exist_ok=True)
    except OSError as error:
        raise unusable(store, error) from error
    for place in (store, store / "locks"):
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise InputError(f"paths.store={store}: {place} may not be read and written; set paths.store to another")
    return store


def artifact(store: Path, kind: str, key: str) -> Path:
    """Return the file that holds, or would hold, an artifact."""
    return store / kind / f"{key}.safetensors"


def load(store: Path, kind: str, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and the description of an artifact, or None where there is none.

    One that is not what was written is none: it is moved aside with a warning that names it, to be made again.
    """
    path = artifact(store, kind, key)
    try:
        return verified(path)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        return _set_aside(store, path, error)


def verified(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what an artifact holds; raise DamagedError for one that is not what was written."""
    with _opened(path) as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    checksum, _, text = metadata.get(METADATA, "").partition(" ")
    if checksum != _checksum(tensors, text):
        raise DamagedError("its checksum does not match")
    return tensors, json.loads(text)


def about(path: Path) -> dict[str, Any]:
    """Return the description of an artifact, read from its header alone; raise DamagedError if there is none."""
    try:
        with _opened(path) as file:
            described = json.loads((file.metadata() or {})[METADATA].partition(" ")[2])
    except KeyError as error:
        raise DamagedError("it has no description") from error
    if not isinstance(described, dict):
        raise DamagedError("its description is not one of ours")
    return described


def _is_file(path: Path) -> bool:
    """Whether a path leads to a file: not to a folder, a pipe, which would be waited for, or nowhere, as a link may."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        if path.is_symlink():
            return False
        raise


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    """Open an artifact; InputError if it may not be read, of which safetensors says that it is not there.

    FileNotFoundError if it is not there, DamagedError if it is no file, or none of safetensors'.
    """
    try:
        if not _is_file(path):
            raise DamagedError("it is no file")
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError as error:
        raise _absent(path) from error
    except RuntimeError as error:  # safetensors opens it once more for its tensors, and it may be gone since
        if "No such file" not in str(error):
            raise
        raise FileNotFoundError(path) from error
    except (SafetensorError, ValueError) as error:
        raise DamagedError(str(error)) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _absent(path: Path) -> Exception:
    """Return what a file that safetensors did not find is: absent, or one that may not be read."""
    try:
        path.open("rb").close()
    except PermissionError as error:
        return _unreadable(path, error)
    except OSError:
        pass
    return FileNotFoundError(path)


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read ({error.strerror or error}); mend its permissions")


def save(store: Path, kind: str, key: str, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> Path:
    """Write an artifact, whole or not at all, replacing what stood there; the caller holds its lock."""
    path = artifact(store, kind, key)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(description, sort_keys=True)
    write(path, serialise(plain, {METADATA: f"{_checksum(plain, text)} {text}"}))
    return path


def _set_aside(store: Path, path: Path, error: DamagedError) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Move a damaged artifact to where nobody looks for it; return the good one that another process put there."""
    if not os.access(store, os.W_OK):
        way_out = "make the store writable, or set paths.store to another"
        raise InputError(f"{path}: damaged ({error}), and cannot be replaced: the store can only be read; {way_out}")
    with hold(store, [f"{DAMAGED}-{path.stem}"]):
        try:
            return verified(path)
        except FileNotFoundError:
            return None
        except DamagedError:
            place = store / DAMAGED / path.parent.name
            with disk(path):
                place.mkdir(parents=True, exist_ok=True)
                number = len(list(place.glob(f"{path.stem}*")))
                aside = path.replace(place / f"{path.stem}-{number}.safetensors")
    log.warning("%s: damaged (%s); moved to %s, and made again if it is needed", path, error, aside)
    return None


def _checksum(tensors: Mapping[str, Tensor], description: str) -> str:
    digest = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
