"""Artifacts under the hash of what made them: written once, whole or not at all, by one maker at a time.

`<store>/<kind>/<key>.safetensors` holds tensors and a JSON description; nothing is ever unpickled.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from cftransfer.errors import InputError

log = logging.getLogger(__name__)

METADATA = "cftransfer"  # one entry: safetensors writes several in any order, and equal artifacts are equal files


def prepare(folder: str | Path) -> Path:
    """Return the store's folder, made if need be; InputError if it cannot be read and written."""
    if not folder:
        raise InputError(f"paths.store={folder}: takes a folder")
    store = Path(folder)
    try:
        store.mkdir(parents=True, exist_ok=True)
        (store / "locks").mkdir(exist_ok=True)
    except OSError as error:
        raise _unusable(store, error) from error
    for place in (store, store / "locks"):
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise InputError(f"paths.store={store}: {place} may not be read and written; set paths.store to another")
    return store


def artifact(store: Path, kind: str, key: str) -> Path:
    """Return the file that holds, or would hold, an artifact."""
    return store / kind / f"{key}.safetensors"


def load(store: Path, kind: str, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and the description of an artifact, or None where there is none.

    Raises InputError, naming the file, for one that is not what was written.
    """
    path = artifact(store, kind, key)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        return None
    except (SafetensorError, ValueError) as error:
        raise InputError(_damaged(path, str(error))) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); mend its permissions") from error
    about = _verified(metadata.get(METADATA, ""), tensors)
    if about is None:
        raise InputError(_damaged(path, "its checksum does not match"))
    return tensors, about


def save(store: Path, kind: str, key: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Path:
    """Write an artifact, whole or not at all, replacing what stood there; the caller holds its lock."""
    path = artifact(store, kind, key)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, sort_keys=True)
    write(path, serialise(plain, {METADATA: f"{_checksum(plain, text)} {text}"}))
    return path


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path` at once: a reader, or a crash, sees all of it or none.

    The temporary name is the same every time, so that what a killed writer left is overwritten by the next.
    """
    part = path.with_name(f".{path.name}.part")
    with disk(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError:
            with suppress(OSError):  # what failed may be the folder itself
                part.unlink()
            raise


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turn what a disk can do wrong while `path` is written into an InputError that names it."""
    try:
        yield
    except OSError as error:
        way_out = "free some space there or choose another folder, and run again"
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); {way_out}") from error


@contextmanager
def hold(store: Path, keys: Iterable[str]) -> Iterator[None]:
    """Hold the locks of `keys`, so that one process makes them; the kernel frees them if it dies.

    Locks are taken in sorted order: two processes that want the same ones cannot block each other.
    """
    with ExitStack() as stack:
        for name in sorted(set(keys)):
            lock = FileLock(store / "locks" / f"{name}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                log.info("waiting for another process that is making %s", name)
                lock.acquire()
            except OSError as error:
                raise _unusable(store, error) from error
            stack.callback(lock.release)
        yield


def _verified(metadata: str, tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
    checksum, _, text = metadata.partition(" ")
    return json.loads(text) if checksum == _checksum(tensors, text) else None


def _checksum(tensors: Mapping[str, Tensor], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _damaged(path: Path, reason: str) -> str:
    return f"{path}: damaged ({reason}); delete this file and run again, and it will be made again"


def _unusable(store: Path, error: OSError) -> InputError:
    return InputError(f"paths.store={store}: cannot be used ({error.strerror or error}); set paths.store to another")
