"""python -m cftransfer.store ls|show|verify|prune: what is kept, of which spec, whether it is whole, and less of it."""

import argparse
import json
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cftransfer.errors import InputError, as_command, plain
from cftransfer.store import inventory
from cftransfer.store.artifacts import DamagedError, verified

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
SHOWN = ("dataset._target_", "model._target_", "model.layers", "model.width", "training.epochs", "epoch", "seed")


def command() -> None:
    """Parse the command and run it; a mistake of the user is one line and exit status 1."""
    options = _parser().parse_args()
    with as_command("cftransfer.store"):
        status = options.command(options)
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cftransfer.store", description="Look at, check and shrink a store."
    )
    parser.add_argument("--store", type=Path, default=Path("store"), help="its folder, as paths.store; default: store")
    commands = parser.add_subparsers(required=True, metavar="ls|show|verify|prune")
    ls = commands.add_parser(
        "ls", help="list every artifact: kind, key, spec, seed, size, age; and what they add up to"
    )
    ls.set_defaults(command=_ls)
    show = commands.add_parser("show", help="print one artifact's description and tensors")
    show.add_argument("key", help="its key, or the key's first digits")
    show.set_defaults(command=_show)
    verify = commands.add_parser("verify", help="check every artifact's checksum; exit status 1 if one is damaged")
    verify.set_defaults(command=_verify)
    prune = commands.add_parser("prune", help="remove artifacts; those that living jobs use stay")
    prune.add_argument("--older-than", type=_seconds, metavar="AGE", help="90s, 15m, 12h or 30d since it was written")
    prune.add_argument(
        "--spec", action="append", default=[], metavar="KEY=VALUE", help="model.layers=8, kind=passes, …"
    )
    prune.add_argument(
        "--keep", type=_bytes, metavar="SIZE", help="until the store is no larger, as 500M; oldest first"
    )
    prune.add_argument("--leftovers", action="store_true", help="what killed jobs left half-written, and damaged files")
    prune.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    prune.set_defaults(command=_prune)
    return parser


def _ls(options: argparse.Namespace) -> int:
    found = inventory.entries(options.store)
    printed = Table(box=None, padding=(0, 1), header_style="bold")
    for head in ("kind", "key", "what", "size", "age"):
        printed.add_column(head, justify="right" if head in ("size", "age") else "left", no_wrap=True)
    for entry in found:
        cells = (entry.kind, entry.path.stem, _what(entry), _size(entry.size), _age(entry.age))
        printed.add_row(*(Text(plain(cell)) for cell in cells))
    console = Console(markup=False, highlight=False, soft_wrap=True)
    console.width = max(console.width, 200)  # a pipe has no width to cut the table to
    console.print(printed)
    print(f"{len(found)} artifacts, {_size(sum(entry.size for entry in found))}")
    return 0


def _show(options: argparse.Namespace) -> int:
    entry = inventory.one(options.store, options.key)
    try:
        tensors, description = verified(entry.path)
    except DamagedError as error:
        raise InputError(f"{entry.path}: damaged ({error})") from error
    print(plain(f"{entry.path}  {_size(entry.size)}, {_age(entry.age)} old, checksum right"))
    print(json.dumps(description, indent=2))
    for name, tensor in tensors.items():
        print(f"{name}: {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    reasons = inventory.damaged(options.store)
    for path, reason in reasons.items():
        print(plain(f"damaged: {path} ({reason})"))
    rest = inventory.leftovers(options.store)
    for path in rest:
        print(plain(f"left over: {path}"))
    many = len(inventory.entries(options.store))
    print(f"{many} artifacts, {len(reasons)} damaged, {len(rest)} left over")
    if reasons:
        print("a job that needs a damaged one moves it aside and makes it again")
    return 1 if reasons else 0


def _prune(options: argparse.Namespace) -> int:
    chosen = options.older_than is not None or options.spec or options.keep is not None
    if not chosen and not options.leftovers:
        raise InputError("prune: say what: --older-than 30d, --spec model.layers=8, --keep 10G or --leftovers")
    for word in options.spec:
        if "=" not in word:
            raise InputError(f"--spec {word}: takes KEY=VALUE, as in model.layers=8")
    choice = {"older_than": options.older_than, "matching": options.spec, "keep_bytes": options.keep}
    going, used = inventory.to_prune(options.store, **choice) if chosen else ([], [])
    rest = inventory.leftovers(options.store) if options.leftovers else []
    verb = "would remove" if options.dry_run else "removed"
    if not options.dry_run:
        inventory.remove([*(path for entry in going for path in (*entry.files, entry.path)), *rest])
    for path in [*(entry.path for entry in going), *rest]:
        print(plain(f"{verb} {path}"))
    for entry in used:
        print(plain(f"kept {entry.path}: a living job uses it"))
    print(f"{verb} {len(going) + len(rest)} files, {_size(sum(entry.size for entry in going))} of artifacts")
    return 0


def _what(entry: inventory.Entry) -> str:
    if entry.described is None:
        return "damaged"
    settings = entry.settings
    words = [
        f"{name.rpartition('.')[2]}={settings[name]}" if not name.endswith("_target_") else _last(settings[name])
        for name in SHOWN
        if name in settings
    ]
    search = settings.get("counterfactual._target_")
    return " ".join([*words, *([f"search={_last(search)}"] if search else [])])


def _last(target: str) -> str:
    return str(target).rpartition(".")[2]


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text}: takes a number and s, m, h or d, as in 30d")
    return float(match[1]) * UNITS[match[2]]


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)b?", text.lower())
    if not match:
        raise argparse.ArgumentTypeError(f"{text}: takes a number and K, M, G or T, as in 10G")
    return int(float(match[1]) * SIZES[match[2]])


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"


def _age(seconds: float) -> str:
    for unit in ("d", "h", "m"):
        if seconds >= UNITS[unit]:
            return f"{seconds / UNITS[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"


if __name__ == "__main__":
    command()
