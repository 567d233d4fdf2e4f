"""Files that appear whole or not at all, whatever kills their writer, and however many writers there are."""

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
    """Put `content` at `path` at once: a reader, or a crash, sees all of it or none.

    What killed writers of this file have left beside it is removed. Should that be the part of one who is slow but
    lives, as on another machine that was taken for dead, that one writes it again.
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
    """Return what writers of a file, alive or dead, have written of it so far."""
    return sorted(path.parent.glob(f".{path.name}.*.part"))


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:  # Ctrl-C, too
        with suppress(OSError):  # what failed may be the folder itself
            part.unlink()
        raise


@contextmanager
def disk(path: Path, *, instead: str = "choose another folder") -> Iterator[None]:
    """Turn what a disk can do wrong while `path` is written into an InputError that names it, and a way out."""
    try:
        yield
    except OSError as error:
        way_out = f"{remedy(error)} or {instead}, and run again"
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); {way_out}") from error


def remedy(error: OSError) -> str:
    """Return what helps where a file could not be written."""
    if error.errno in FULL:
        return "free some space there"
    if error.errno == errno.EACCES:  # often another user's of the same group
        return "make that place writable (once: chmod -R g+w, and from now on umask 002, where a group shares it)"
    return "make that place writable"


def inside(folder: Path, path: Path) -> bool:
    """Whether a file of a folder is one, and no link to elsewhere: what it says would be passed on."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())
