"""Folders of images, one per class, as a balanced binary task: one class against all others.

What the task needs is decoded once, into one memory map under `paths.data`/prepared; a second job starts at once.
"""

import cftransfer.models.torchvision_repair  # noqa: F401  (before torchvision)

# isort: split
import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cftransfer import atomic
from cftransfer.data.dataset import Dataset
from cftransfer.data.download import alone
from cftransfer.data.images import balanced, from_images
from cftransfer.errors import InputError, plain
from cftransfer.settings import check_choice, check_int

log = logging.getLogger(__name__)

SPLITS = ("train", "val")
MARGIN = 8 / 7  # the shorter side before the crop, in units of the crop: ImageNet's usual 256 for 224
LEFT_OUT = "left out as unreadable"
DEEP = ("I", "F")  # Pillow's modes of more than 8 bits a channel begin so; it would clip them, mostly to white
BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("images"), TimeRemainingColumn())
# What torchvision lists, and what a file may be: Pillow goes by content alone, and would start Ghostscript for an EPS.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
FILES = 20_000_000  # of a tree at most; all of ImageNet, 21,000 classes, has 14 million
# Of an image at most, before and after it is resized: 270 MB on each core. Pillow warns from there on.
PIXELS = 89_478_485
# What Pillow raises for files that are no images, or damaged, or absurdly large.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class _Tree:
    """A split: its class folders, and every image with the number of its class, as torchvision lists them."""

    root: Path
    classes: list[str]
    samples: list[tuple[str, int]]


@dataclass(frozen=True)
class _Task:
    """The images of a balanced task: their files, whether each is of the positive class, and how many are of train."""

    files: list[Path]
    labels: list[int]
    train: int


def image_folder(folder: Path, *, root: str, positive: str, size: int, corrupt: str, split_seed: int) -> Dataset:
    """Class 1 is the folder `positive`, class 0 all other folders of `root`/train and `root`/val.

    root: inside `folder`, or absolute; it holds {train,val}/<class>/ and in these the images, of the kinds that
        torchvision lists (jpg, png, ppm, bmp, pgm, tif, webp).
    size: pixels of both sides, ≥ 8: the shorter side is resized to 8/7 of it, then its centre is cropped.
    corrupt: what to do about a file that cannot be decoded: refuse (an InputError names it) or skip (the log names it,
        and the others are drawn anew without it).
    split_seed: which of the others, and the order of all.
    """
    return from_tree(
        "image_folder",
        folder,
        root=root,
        positive=positive,
        size=size,
        corrupt=corrupt,
        split_seed=split_seed,
        classes=(f"not {positive}", str(positive)),
    )


def from_tree(
    name: str,
    folder: Path,
    *,
    root: str,
    positive: str,
    size: int,
    corrupt: str,
    split_seed: int,
    classes: tuple[str, str],
) -> Dataset:
    """Return the data set `name` of a folder tree; `classes` are the names of class 0 and class 1."""
    root, positive = (_name(f"dataset.{key}", value) for key, value in (("root", root), ("positive", positive)))
    if ".." in Path(root).parts:
        raise InputError(f"dataset.root={root}: leads out of paths.data; for another folder, give its whole path")
    check_int("dataset.size", size, least=8, most=4096)
    check_int("dataset.split_seed", split_seed, least=0)
    check_choice("dataset.corrupt", corrupt, ("refuse", "skip"))
    splits = {split: _listed(folder / root / split) for split in SPLITS}
    _check(splits, folder / root, positive)
    settings = [str((folder / root).resolve()), positive, size, corrupt, split_seed]
    path = folder / "prepared" / f"{name}-{hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]}.npy"
    described, draw = path.with_suffix(".json"), partial(_drawn, splits, positive, split_seed)
    try:
        if not _holds(described, draw):
            with atomic.disk(path), alone(path):
                if not _holds(described, draw):  # another process may have made it while this one waited
                    path.parent.mkdir(exist_ok=True)
                    _prepare(path, draw, splits, size=size, corrupt=corrupt)
        about = json.loads(described.read_text())
        x, y, train = np.lib.format.open_memmap(path, "c"), np.array(about["labels"], bool), about["train"]
        if (x.dtype, x.shape) != (np.uint8, (len(y), 3, size, size)) or not 0 < train < len(y):
            raise ValueError("its images are not those described")
    except InputError:  # of an image, say: a ValueError, too, but none of the memory map
        raise
    except (OSError, ValueError, EOFError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete it and {described.name} beside it") from error
    if about["skipped"]:
        log.warning("%s: %d, named in %s", LEFT_OUT, len(about["skipped"]), described)
    return from_images(
        name,
        train=(x[:train], y[:train]),
        test=(x[train:], y[train:]),
        classes=classes,
        about=about["about"],
    )


def _name(key: str, value: Any) -> str:
    """Return a name that YAML may have read as a number, as of a folder called 1."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise InputError(f"{key}={value}: takes the name of a folder")
    return str(value)


def _listed(place: Path) -> _Tree:
    try:
        classes = sorted(entry.name for entry in os.scandir(place) if entry.is_dir())
        if not classes:
            raise OSError(None, "holds no class folder")
        samples: list[tuple[str, int]] = []
        for label, name in enumerate(classes):
            samples += [(file, label) for file in _images_in(place / name, most=FILES - len(samples))]
        if empty := sorted(set(classes) - {classes[label] for _, label in samples}):
            kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
            raise OSError(None, f"holds no image in {', '.join(empty[:5])} ({kinds})")
        return _Tree(place, classes, samples)
    except OSError as error:  # FileNotFoundError, too
        reason = error.strerror or " ".join(str(error).split())
        raise InputError(f"{place}: {reason}; it takes a folder of images per class (docs/datasets.md)") from error


def _images_in(folder: Path, *, most: int) -> list[str]:
    """Return the images below a class folder in torchvision's order, those of each real folder once: links may loop."""
    found: list[tuple[str, list[str]]] = []
    seen: set[tuple[int, int]] = set()
    for above, folders, names in os.walk(folder, followlinks=True):
        stat = Path(above).stat()
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders.sort()  # which of two names a folder goes by must not be the disk's to say
        images = sorted(name for name in names if name.lower().endswith(SUFFIXES))
        found.append((above, images))
        most -= len(images)
        if most < 0:  # not when all are listed, which may take hours
            raise OSError(None, f"has more than {FILES:,} images")
    return [str(Path(above, name)) for above, images in sorted(found) for name in images]


def _check(splits: dict[str, _Tree], root: Path, positive: str) -> None:
    """Refuse trees whose splits have not the same classes, and a positive class that they lack."""
    train, val = (set(splits[split].classes) for split in SPLITS)
    for split, missing in (("train", val - train), ("val", train - val)):
        if missing:
            some = ", ".join(sorted(missing)[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise InputError(f"{root / split}: lacks the class folder {some}, which the other split has; add it")
    if positive not in train:
        names = sorted(train)
        has = ", ".join(names) if len(names) <= 8 else f"{len(names)} classes, {names[0]} to {names[-1]}"
        raise InputError(f"dataset.positive={positive}: no such class folder in {root / 'train'}; there are: {has}")


def _drawn(splits: dict[str, _Tree], positive: str, split_seed: int, *, without: set[Path]) -> _Task:
    files: list[Path] = []
    labels: list[int] = []
    counts = []
    for split in SPLITS:
        tree = splits[split]
        kept = [(Path(file), label) for file, label in tree.samples if Path(file) not in without]
        classes = np.array([label for _, label in kept])
        ours = tree.classes.index(positive)
        rows = balanced(classes, ours, split_seed=split_seed, what=str(tree.root))
        files += [kept[row][0] for row in rows]
        labels += (classes[rows] == ours).astype(int).tolist()
        counts.append(len(rows))
    return _Task(files, labels, counts[0])


def _holds(described: Path, draw: Callable[..., _Task]) -> bool:
    """Whether the memory map holds what would be drawn today, from files that have not changed since."""
    if not described.is_file():
        return False
    about = json.loads(described.read_text())
    skipped = {Path(file) for file in about["skipped"]}
    return about["files"] == _stamps(draw(without=skipped), skipped)


def _stamps(task: _Task, skipped: Iterable[Path]) -> list[list[Any]]:
    """Return every file with its size and time, those of the task in their order."""
    return [[str(file), *_stamp(file)] for file in [*task.files, *sorted(skipped)]]


def _stamp(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except OSError:  # a link to nowhere, say; whoever decodes it tells
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _prepare(path: Path, draw: Callable[..., _Task], splits: dict[str, _Tree], *, size: int, corrupt: str) -> None:
    """Decode the images of the task into the memory map `path`, and describe it in the JSON beside it, written last."""
    skipped: dict[Path, str] = {}
    while True:
        task = draw(without=set(skipped))
        stamps = _stamps(task, skipped)  # before decoding: what changes meanwhile is decoded anew next time
        found, version, shortest = _decode(task, path, size)
        for file, reason in found.items():
            if corrupt == "refuse":
                way_out = "mend it or take it away, or leave such files out with dataset.corrupt=skip"
                raise InputError(f"{file}: cannot be decoded ({reason}); {way_out}")
            log.warning("%s: cannot be decoded (%s), left out", plain(str(file)), plain(reason))
        if not found:
            break
        skipped |= found
    counts = (task.train, len(task.files) - task.train)
    taken = [
        f"{count:,} of {len(splits[split].samples):,} {split} images"
        for split, count in zip(SPLITS, counts, strict=True)
    ]
    about = f"{' and '.join(taken)}, whose shorter side has {shortest} pixels or more"
    named = {
        "version": version,
        "train": task.train,
        "labels": task.labels,
        "files": stamps,
        "about": about + (f"; {LEFT_OUT}: {len(skipped)}" if skipped else ""),
        "skipped": {str(file): reason for file, reason in skipped.items()},
    }
    atomic.write(path.with_suffix(".json"), json.dumps(named, indent=1).encode())


def _decode(task: _Task, path: Path, size: int) -> tuple[dict[Path, str], str, int]:
    """Write all images in one array (n, 3, size, size) uint8 to `path`.

    Returns the files that cannot be decoded, with the reason, the content's hash, and the pixels of the shortest side.
    """
    unreadable, shortest, content = {}, [], hashlib.sha256(json.dumps([task.labels, task.train, size]).encode())
    part = path.with_name(f".{path.name}.part")
    shape = (len(task.files), 3, size, size)
    try:
        with part.open("wb") as array:
            np.lib.format.write_array_header_1_0(array, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for file, image in zip(task.files, _images(task.files, size), strict=True):
                if isinstance(image, str):
                    unreadable[file] = image
                    continue
                pixels, side = image
                content.update(pixels)
                array.write(pixels)
                shortest.append(side)
            array.flush()
            os.fsync(array.fileno())
        if not unreadable:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return unreadable, content.hexdigest()[:16], min(shortest, default=0)


def _images(files: Sequence[Path], size: int) -> Iterator[tuple[bytes, int] | str]:
    """Yield every image's pixels and shorter side, or why there are none, in the order of `files`; all cores decode."""
    from torchvision.transforms import v2

    shorter = round(size * MARGIN)
    shape = v2.Compose([v2.Resize(shorter), v2.CenterCrop(size), v2.PILToTensor()])

    def decoded(file: Path) -> tuple[bytes, int] | str:
        if not file.is_file():  # a pipe would be waited for, a device read for ever
            return "it is no file, or a link to nowhere"
        try:
            with Image.open(file, formats=FORMATS) as opened:
                if (pixels := _pixels(*opened.size, shorter)) > PIXELS:
                    return (
                        f"it has {' × '.join(map(str, opened.size))} pixels: {pixels:,} in work, more than {PIXELS:,}"
                    )
                if opened.mode.startswith(DEEP):
                    return f"its mode is {opened.mode}; it takes 8 bits a channel"
                image = opened.convert("RGB")
        except UNREADABLE as error:
            return " ".join(str(error).split())
        return shape(image).numpy().tobytes(), min(image.size)

    console = Console(stderr=True)
    many = 64 * (os.cpu_count() or 1)  # images in memory at once
    with (
        Progress(*BAR, console=console, transient=True, disable=not console.is_terminal) as bar,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        task = bar.add_task("decoding", total=len(files))
        for start in range(0, len(files), many):
            with warnings.catch_warnings():  # of all threads; none stays in force while the caller goes on
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                some = list(threads.map(decoded, files[start : start + many]))
            for image in some:
                bar.advance(task)
                yield image


def _pixels(width: int, height: int, shorter: int) -> int:
    """Return how many pixels an image has, or comes to when its shorter side is resized: a thin line grows."""
    return max(width * height, shorter * shorter * max(width, height) // max(1, min(width, height)))
