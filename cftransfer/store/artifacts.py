"""Artifacts: `<store>/<kind>/<key>.safetensors` holds tensors and a JSON description; nothing is ever unpickled.

A file's modification time is the time of its last use: `load` sets it, and `prune` reads it.
"""

import errno
import hashlib
import json
import logging
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor

from cftransfer.atomic import disk, write
from cftransfer.errors import InputError
from cftransfer.spec import FORMAT
from cftransfer.store.locks import hold, remove_dead, unusable

log = logging.getLogger(__name__)

METADATA = "cftransfer"  # one entry: safetensors writes several in any order, but equal artifacts must be equal files
KINDS = ("models", "counterfactuals", "passes")
DAMAGED = "damaged"  # folder for artifacts that changed after they were written
HEADER = 10**8  # most bytes, as in safetensors


class DamagedError(Exception):
    """An artifact changed after it was written, or the file is not an artifact."""


def prepare(folder: str | Path) -> Path:
    """Return the store's folder; create it if necessary, and remove locks of this machine's dead jobs.

    A read-only store serves its artifacts. InputError for a folder that cannot be used.
    """
    if not folder:
        raise InputError(f"paths.store={folder}: must be a folder")
    store = Path(folder)
    try:
        if store.is_dir() and os.access(store, os.R_OK | os.X_OK) and not os.access(store, os.W_OK):
            log.warning("paths.store=%s: is read-only; missing models and searches cannot be made", store)
            return store
        (store / "locks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(store, error) from error
    remove_dead(store)
    return store


def artifact(store: Path, kind: str, key: str) -> Path:
    """Return the path of an artifact, existing or not."""
    return store / kind / f"{key}.safetensors"


def load(store: Path, kind: str, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and the description of an artifact, or None if the store lacks it.

    A damaged artifact counts as missing: it is moved aside with a warning, and rebuilt on demand.
    """
    path = artifact(store, kind, key)
    try:
        held = verified(path)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        return _set_aside(store, path, error)
    with suppress(OSError):  # another user's file, or a read-only store
        os.utime(path)
    return held


def save(store: Path, kind: str, key: str, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> Path:
    """Write an artifact, whole or not at all, in place of an earlier one; the caller holds its lock."""
    path = artifact(store, kind, key)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({**description, "format": FORMAT}, sort_keys=True)
    write(path, serialise(plain, {METADATA: f"{_checksum(plain, text)} {text}"}))
    return path


def verified(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the content of an artifact; DamagedError if it changed after it was written."""
    content = _read(path)
    try:
        tensors = deserialise(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedError(str(error)) from error
    checksum, text = _metadata(content)
    if checksum != _checksum(tensors, text):
        raise DamagedError("its checksum does not match")
    return tensors, json.loads(text)


def about(path: Path) -> dict[str, Any]:
    """Return the description of an artifact, read from its header; DamagedError without one."""
    try:
        described = json.loads(_metadata(_read(path, header=True))[1])
    except ValueError as error:
        raise DamagedError("it has no description") from error
    if not isinstance(described, dict):
        raise DamagedError("its description is not ours")
    return described


def _read(path: Path, *, header: bool = False) -> bytes:
    """Return the bytes of a file, or of its header; anything that is not a file, such as a pipe, counts as damaged."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DamagedError("it is not a file")
        with path.open("rb") as file:
            if not header:
                return file.read()
            length = file.read(8)
            return length + file.read(min(int.from_bytes(length, "little"), HEADER))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) and path.is_symlink():
            raise DamagedError("it is not a file") from error
        if isinstance(error, FileNotFoundError):
            raise
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be read ({reason}); fix its permissions") from error


def _metadata(content: bytes) -> tuple[str, str]:
    """Return the checksum and the description in safetensors' header: a length of 8 bytes, then JSON."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        checksum, _, text = header["__metadata__"][METADATA].partition(" ")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError("it has no description") from error
    return checksum, text


def _set_aside(store: Path, path: Path, error: DamagedError) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Move a damaged artifact to `damaged/`; return its content if another process has replaced it meanwhile."""
    if not os.access(store, os.W_OK):
        way_out = "make the store writable, or set paths.store to another"
        raise InputError(f"{path}: damaged ({error}), and cannot be replaced: the store is read-only; {way_out}")
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
    log.warning("%s: damaged (%s); moved to %s, and rebuilt when needed", path, error, aside)
    return None


def _checksum(tensors: Mapping[str, Tensor], description: str) -> str:
    digest = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
