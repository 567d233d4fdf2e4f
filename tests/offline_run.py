"""Read an offline W&B run back: a LevelDB log of protobuf records, in blocks of 32 KiB."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32768, 7


def records(content: bytes) -> Iterator[wandb_internal_pb2.Record]:
    assert content[:4] == b":W&B"
    at, whole = HEADER, b""
    while at + HEADER <= len(content):
        room = BLOCK - at % BLOCK
        if room < HEADER:  # a block's end is padded where no header fits
            at += room
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + HEADER])
        whole = (b"" if kind in (1, 2) else whole) + content[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if kind in (1, 4):  # a whole record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record


def read(folder: Path) -> dict:
    """Return id, group, job type, config, summary, history and exit code of the one run under `folder`."""
    (path,) = folder.rglob("run-*.wandb")
    run: dict = {"config": {}, "summary": {}, "history": [], "exit_code": None}
    for record in records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run |= {"id": record.run.run_id, "name": record.run.display_name, "group": record.run.run_group}
            run |= {"job_type": record.run.job_type, "project": record.run.project}
            run["config"] |= _items(record.run.config.update)
        elif kind == "config":
            run["config"] |= _items(record.config.update)
        elif kind == "summary":
            run["summary"] |= _items(record.summary.update)
        elif kind == "history":
            run["history"].append(_items(record.history.item))
        elif kind == "exit":
            run["exit_code"] = record.exit.exit_code
    return run


def _items(items) -> dict:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
