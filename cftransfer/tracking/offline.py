"""The files that W&B keeps of a run, which `wandb sync` uploads: a log of records in blocks, LevelDB's format."""

import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, START, HEADER = 32768, 7, 7  # bytes of a block; before the first record; before each part of one
WHOLE, FIRST, LAST = 1, 2, 4  # kinds of parts


def files(folder: Path, *, of: str | None = None) -> list[Path]:
    """Return the files of a folder's run, oldest first: a job that is requeued has several.

    of: the id of the run; without it, or where it has no file, the last one. A job that was run with other settings,
        too, has left another run, whose results are gone.
    """
    every = [path for path in folder.glob("wandb/*run-*/run-*.wandb") if path.is_file()]  # a pipe would be waited for
    every.sort(key=lambda path: path.parent.name.removeprefix("offline-"))
    return [path for path in every if run_id(path) == of] or [path for path in every if path.name == every[-1].name]


def run_id(file: Path) -> str:
    """Return the id of the run that a file is of."""
    return file.stem.removeprefix("run-")


def records(file: Path) -> Iterator[Any]:
    """Yield the records (of W&B's protocol) of a file, up to where it is cut short or damaged."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made when it is imported

    content, at, whole = file.read_bytes(), START, b""
    while at + HEADER <= len(content):
        if (room := BLOCK - at % BLOCK) < HEADER:  # a block's end is padded where no header fits
            at += room
            continue
        checksum, size, kind = struct.unpack("<IHB", content[at : at + HEADER])
        part = content[at + HEADER : at + HEADER + size]
        if kind == 0 or len(part) < size or zlib.crc32(part, zlib.crc32(bytes([kind]))) != checksum:
            return
        at += HEADER + size
        whole = part if kind in (WHOLE, FIRST) else whole + part
        if kind in (WHOLE, LAST):
            try:
                yield Record.FromString(whole)
            except DecodeError:  # parts that are whole, but do not belong together
                return


def ended(file: Path, *, patience: float = 0) -> bool:
    """Return whether the run's end has reached its file: W&B drops what it cannot write, and goes on.

    patience: seconds to wait for it, since W&B closes the file a moment after it calls a run finished.
    """
    last = time.monotonic() + patience
    while not (there := _has_end(file)) and time.monotonic() < last:
        time.sleep(0.05)
    return there


def _has_end(file: Path) -> bool:
    try:
        return any(record.WhichOneof("record_type") == "exit" for record in records(file))
    except (OSError, ValueError):
        return False


def has_its_tables(file: Path, folder: Path) -> bool:
    """Return whether the tables that `wandb sync` would upload with a run lie in the folder of its job.

    The run's file has their absolute paths. Where one is not there (in a home of another machine; in a folder that has
    been moved), `wandb sync` says that all is well, and uploads the run without it; what lies elsewhere is not its own.
    """
    try:
        paths = [path for record in records(file) for path in _staged(record)]
        return all(path.resolve().is_relative_to(folder.resolve()) and path.is_file() for path in paths)
    except (OSError, ValueError):
        return False


def _staged(record: Any) -> Iterator[Path]:
    if record.WhichOneof("record_type") == "artifact":
        manifest = record.artifact.manifest
        yield from (Path(one.local_path) for one in manifest.contents if one.local_path)
        if manifest.manifest_file_path:
            yield Path(manifest.manifest_file_path)


def is_offline(file: Path) -> bool:
    """Return whether the run was kept offline."""
    return file.parent.name.startswith("offline-")


def is_marked(file: Path) -> bool:
    """Return whether all of a run has been uploaded."""
    return file.with_suffix(".wandb.synced").exists()


def is_begun(file: Path) -> bool:
    """Return whether `wandb sync` has begun to upload a run: should it not have ended, W&B has some of its steps."""
    return file.with_suffix(".wandb.syncstate").exists()


def mark(file: Path) -> None:
    """Remember that all of a run has been uploaded, with the mark that `wandb sync` leaves and heeds."""
    file.with_suffix(".wandb.synced").touch()
