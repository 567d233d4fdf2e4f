"""Trees of images: one folder per class in each split, listed in the order of torchvision's ImageFolder."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeAlias

from cftransfer.errors import InputError

SPLITS = ("train", "val")
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as in torchvision
SYSTEM = ("__MACOSX", "@eaDir")  # folders that archives and file servers add; like hidden folders (.git), not classes

Tree: TypeAlias = dict[str, dict[str, list[Path]]]  # split → class → images, in torchvision's order


def class_folders(root: Path) -> Tree:
    """Return the images of every class of `root`/train and `root`/val.

    InputError for a class without images, for a name that is not UTF-8, and for splits with different classes.
    """
    tree = {split: _listed(root / split) for split in SPLITS}
    train, val = (set(tree[split]) for split in SPLITS)
    for split, missing in (("train", val - train), ("val", train - val)):
        if missing:
            some = ", ".join(sorted(missing)[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise InputError(f"{root / split}: lacks the class folder {some}, which the other split has; add it")
    return tree


def check_positive(positive: str, tree: Tree, root: Path) -> None:
    """Refuse a positive class that the tree lacks."""
    if positive not in tree["train"]:
        names = sorted(tree["train"])
        has = ", ".join(names) if len(names) <= 8 else f"{len(names)} classes, {names[0]} to {names[-1]}"
        raise InputError(f"dataset.positive={positive}: no such class folder in {root / 'train'}; there are: {has}")


def folder_name(key: str, value: Any, *, among: Collection[str] = ()) -> str:
    """Return the name of a folder, for example "1" if the command line has read 1 as a number.

    InputError for other values that are not names; it says how to quote the intended name from the folders `among`.
    """
    if isinstance(value, str) and value:
        return value
    meant = [name for name in among if _read_as(name, value)]
    if type(value) is int and (str(value) in among or not meant):
        return str(value)
    which = f"for the folder {meant[0]}, put it" if meant else "put a name that reads as a number, true or null"
    way_out = f"""{which} in quotes: '{key}="{meant[0] if meant else "1e3"}"'"""
    raise InputError(f"{key}={value}: must be the name of a folder; {way_out}")


def _read_as(name: str, value: Any) -> bool:
    """Return whether the command line reads an unquoted name as this value, such as null, true, 1_000 or 1e3."""
    if value is None or isinstance(value, bool):
        return name.lower() == ("null" if value is None else str(value).lower())
    number = _number(name) if isinstance(value, int | float) else None
    return type(number) is type(value) and number == value


def _number(name: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(name)
        except ValueError:
            continue
    return None


def _listed(place: Path) -> dict[str, list[Path]]:
    """Return the images of every class of a split."""
    try:
        folders = sorted(entry for entry in place.iterdir() if entry.is_dir() and not _hidden(entry.name))
        if not folders:
            raise OSError(None, "holds no class folder")
        if strange := [name for name in (os.fsencode(folder.name) for folder in folders) if not _is_utf8(name)]:
            shown = strange[0].decode("utf-8", "backslashreplace")
            raise OSError(None, f"has a class folder with a name that is not UTF-8, {shown}; rename it")
        found = {folder.name: _images_below(folder) for folder in folders}
        if empty := [name for name, images in found.items() if not images]:
            kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
            raise OSError(None, f"holds no image in {', '.join(empty[:5])} ({kinds})")
        return found
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        way_out = "it takes a folder of images per class (docs/reference/datasets.md)"
        raise InputError(f"{place}: {reason}; {way_out}") from error


def _images_below(folder: Path) -> list[Path]:
    """Return the images at any depth; links are followed."""
    found = []
    for above, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not _hidden(name)]
        found += [(above, name) for name in names if name.lower().endswith(SUFFIXES) and not _hidden(name)]
    return [Path(*parts) for parts in sorted(found)]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
