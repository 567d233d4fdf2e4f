"""The files that W&B keeps of a run, which `wandb sync` uploads: a log of records in blocks, LevelDB's format."""

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, START, HEADER = 32768, 7, 7  # bytes of a block; before the first record; before each part of one
WHOLE, FIRST, LAST = 1, 2, 4  # kinds of parts


def files(folder: Path) -> list[Path]:
    """Return the files of a job's runs, oldest first: a job that is requeued has several."""
    return sorted(folder.glob("wandb/*run-*/run-*.wandb"), key=lambda path: path.parent.name.removeprefix("offline-"))


def records(file: Path) -> Iterator[Any]:
    """Yield the records (of W&B's protocol) of a file, up to where it is cut short."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made when it is imported

    content, at, whole = file.read_bytes(), START, b""
    while at + HEADER <= len(content):
        if (room := BLOCK - at % BLOCK) < HEADER:  # a block's end is padded where no header fits
            at += room
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + HEADER])
        part = content[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if kind == 0 or len(part) < size:
            return
        whole = part if kind in (WHOLE, FIRST) else whole + part
        if kind in (WHOLE, LAST):
            yield Record.FromString(whole)


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


def is_offline(file: Path) -> bool:
    """Return whether the run was kept offline."""
    return file.parent.name.startswith("offline-")


def is_marked(file: Path) -> bool:
    """Return whether all of a run has been uploaded."""
    return file.with_suffix(".wandb.synced").exists()


def mark(file: Path) -> None:
    """Remember that all of a run has been uploaded, with the mark that `wandb sync` leaves and heeds."""
    file.with_suffix(".wandb.synced").touch()
