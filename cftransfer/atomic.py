"""Files that appear whole or not at all, even with several writers and if a writer is killed."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from cftransfer.errors import FULL, InputError

TRIES = 3


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: a reader, or a crash, sees all of it or nothing.

    Partial files of killed writers are removed. If a partial file belonged to a slow but live writer, for example on
    another machine, that writer starts again.
    """
    with disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for rest in parts(path):
            rest.unlink(missing_ok=True)
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                _replace(path, content)
                return
            except FileNotFoundError:
                if last:
                    raise


def parts(path: Path) -> list[Path]:
    """Return the partial files of a file's writers, alive or dead."""
    return sorted(path.parent.glob(f".{path.name}.*.part"))


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:  # also Ctrl-C
        with suppress(OSError):  # the folder itself may be the cause
            part.unlink()
        raise


@contextmanager
def disk(path: Path, *, instead: str = "choose another folder") -> Iterator[None]:
    """Turn an error of the disk while `path` is written into an InputError that names the path and a way out."""
    try:
        yield
    except OSError as error:
        way_out = f"{remedy(error)} or {instead}, and run again"
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); {way_out}") from error


def remedy(error: OSError) -> str:
    """Return a remedy for a file that could not be written."""
    if error.errno in FULL:
        return "free some space there"
    if error.errno == errno.EACCES:  # often a folder of another user in the group
        return "make that place writable (for a group: once chmod -R g+w, and from now on umask 002)"
    return "make that place writable"


def inside(folder: Path, path: Path) -> bool:
    """Return whether `path` is a file inside the folder and not a link to elsewhere, since its content is passed on."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())
