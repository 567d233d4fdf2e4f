"""python -m cftransfer.store ls|show|verify|prune: list, check and shrink a store."""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from cftransfer.errors import InputError, as_command, plain
from cftransfer.store import inventory
from cftransfer.store.artifacts import DamagedError, verified

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SHOWN = (
    "dataset._target_",
    "model._target_",
    "model.layers",
    "model.width",
    "training.epochs",
    "epoch",
    "seed",
    "counterfactual._target_",
)
DAY = 86400.0  # younger artifacts stay by default, because a running job may need them


def command() -> None:
    """Parse the command and run it; a mistake of the user is one line and exit status 1."""
    options = _parser().parse_args()
    with as_command("cftransfer.store"):
        status = options.command(options)
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cftransfer.store", description="List, check and shrink a store.")
    parser.add_argument("--store", type=Path, default=Path("store"), help="its folder (paths.store); default: store")
    commands = parser.add_subparsers(required=True, metavar="ls|show|verify|prune")
    ls = commands.add_parser("ls", help="list every artifact: kind, key, spec, seed, size, time since its last use")
    ls.set_defaults(command=_ls)
    show = commands.add_parser("show", help="print one artifact's description and tensors")
    show.add_argument("key", help="its key, or the key's first digits")
    show.set_defaults(command=_show)
    verify = commands.add_parser("verify", help="check every artifact's checksum; exit status 1 if one is damaged")
    verify.set_defaults(command=_verify)
    about = "Remove artifacts. All conditions must hold. Artifacts that a job made or loaded in the last day stay."
    prune = commands.add_parser("prune", help="remove artifacts that no job has used lately", description=about)
    prune.add_argument(
        "--older-than",
        type=_seconds,
        metavar="AGE",
        help="90s, 15m, 12h or 30d since its last use; 0s may remove artifacts of a running job; default: 1d",
    )
    prune.add_argument("--spec", action="append", default=[], metavar="KEY=VALUE", help="model.layers=8, kind=passes")
    prune.add_argument("--old-format", action="store_true", help="made by an earlier version, unusable in this one")
    prune.add_argument("--keep", type=_bytes, metavar="SIZE", help="least recently used first, down to a size: 500M")
    prune.add_argument("--leftovers", action="store_true", help="damaged artifacts, and parts and locks of killed jobs")
    prune.add_argument("--dry-run", action="store_true", help="list the files, and remove nothing")
    prune.set_defaults(command=_prune)
    return parser


def _ls(options: argparse.Namespace) -> int:
    found = inventory.entries(options.store)
    for entry in found:
        what = "damaged" if entry.described is None else _what(entry)
        line = f"{entry.kind:15}  {entry.path.stem:33}  {what:60}  {_size(entry.size):>8}  {_age(entry.unused):>5}"
        print(plain(line))
    print(f"{len(found)} artifacts, {_size(sum(entry.size for entry in found))}")
    if old := [entry for entry in found if entry.old_format]:
        many, size = len(old), _size(sum(entry.size for entry in old))
        print(f"{many} of them, {size}, have an older format, which this version cannot use (prune --old-format)")
    return 0


def _show(options: argparse.Namespace) -> int:
    entry = inventory.one(options.store, options.key)
    try:
        tensors, description = verified(entry.path)
    except DamagedError as error:
        raise InputError(f"{entry.path}: damaged ({error})") from error
    print(plain(f"{entry.path}  {_size(entry.size)}, last used {_age(entry.unused)} ago, checksum right"))
    print(json.dumps(description, indent=2))
    for name, tensor in tensors.items():
        print(f"{name}: {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    reasons = inventory.damaged(options.store)
    rest = inventory.leftovers(options.store)
    for path, reason in reasons.items():
        print(plain(f"damaged: {path} ({reason})"))
    for path in rest:
        print(plain(f"left over: {path}"))
    many = len(inventory.entries(options.store))
    print(f"{many} artifacts, {len(reasons)} damaged, {len(rest)} left over")
    if reasons:
        print("a job that needs a damaged artifact moves it aside and rebuilds it")
    return 1 if reasons else 0


def _prune(options: argparse.Namespace) -> int:
    choice = {"matching": options.spec, "old_format": options.old_format, "keep_bytes": options.keep}
    unused = DAY if options.older_than is None else options.older_than
    chosen = options.older_than is not None or options.spec or options.old_format or options.keep is not None
    if not chosen and not options.leftovers:
        some = "--older-than 30d, --spec model.layers=8, --keep 10G, --old-format or --leftovers"
        raise InputError(f"prune: say what to remove: {some}")
    for word in options.spec:
        if "=" not in word:
            raise InputError(f"--spec {word}: takes KEY=VALUE, as in model.layers=8")
    going, recent = inventory.to_prune(options.store, unused=unused, **choice) if chosen else ([], [])
    paths = [*(entry.path for entry in going), *(inventory.leftovers(options.store) if options.leftovers else [])]
    verb = "would remove" if options.dry_run else "removed"
    if not options.dry_run:
        inventory.remove([*(path for entry in going for path in entry.files), *paths])
    for path in paths:
        print(plain(f"{verb} {path}"))
    print(f"{verb} {len(paths)} files, {_size(sum(entry.size for entry in going))} of artifacts")
    if recent and options.older_than is None:
        print(f"kept {len(recent)} artifacts that a job has used in the last day; add --older-than 0s to remove them")
    return 0


def _what(entry: inventory.Entry) -> str:
    """Return the settings that identify an artifact: functions by name only, others as in layers=4."""
    held = {name: entry.settings[name] for name in SHOWN if name in entry.settings}
    words = {name: "" if name.endswith("._target_") else f"{name.rpartition('.')[2]}=" for name in held}
    return " ".join(f"{words[name]}{value}" for name, value in held.items())


def _seconds(text: str) -> float:
    return _measured(text.lower(), UNITS, "30d")


def _bytes(text: str) -> int:
    return int(_measured(text.upper().removesuffix("B"), SIZES, "10G"))


def _measured(text: str, units: Mapping[str, float], example: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(\w?)", text)
    if not match or match[2] not in units:
        some = " ".join(units).strip()
        raise argparse.ArgumentTypeError(f"{text}: must be a number and one of {some}, as in {example}")
    return float(match[1]) * units[match[2]]


def _size(count: int) -> str:
    unit = next(unit for unit in ("G", "M", "K", "") if count >= SIZES[unit] or not unit)
    return f"{count / SIZES[unit]:.1f} {unit}B" if unit else f"{count} B"


def _age(seconds: float) -> str:
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds >= UNITS[unit] or unit == "s")
    return f"{seconds / UNITS[unit]:.0f} {unit}"


if __name__ == "__main__":
    command()
