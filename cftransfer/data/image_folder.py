"""Folders of images, one per class, as a balanced binary task: one class against all others.

The images are decoded once, into a memory map under `paths.data`/prepared; later jobs start at once.
"""

import cftransfer.models.torchvision_repair  # noqa: F401  (before torchvision)

# isort: split
import hashlib
import json
import logging
import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from cftransfer import atomic, cores
from cftransfer.data.class_folders import SPLITS, Tree, check_positive, class_folders, folder_name
from cftransfer.data.dataset import Dataset
from cftransfer.data.download import alone
from cftransfer.data.images import balanced, from_images
from cftransfer.errors import InputError, plain
from cftransfer.settings import check_choice, check_int

log = logging.getLogger(__name__)

MARGIN = 8 / 7  # the shorter side before the crop, relative to the crop: ImageNet's usual 256 for 224
LEFT_OUT = "left out as unreadable"
DEEP = ("I", "F")  # first letters of Pillow's modes with more than 8 bits; it would clip them, mostly to white
# A fixed list, because Pillow would start Ghostscript for an EPS.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
# Most pixels of an image, before and after resizing: 270 MB on each core. Pillow warns above this.
PIXELS = 89_478_485
# Pillow's exceptions for files that are not images, or damaged, or far too large.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)

Task: TypeAlias = tuple[list[Path], list[int], int]  # images; label of each; number of training images


def image_folder(
    folder: Path, *, positive: str, root: str = "images", size: int = 64, corrupt: str = "refuse", split_seed: int = 0
) -> Dataset:
    """Class 1 is the folder `positive`, class 0 all other folders of `root`/train and `root`/val.

    root: inside `folder`, or absolute; it holds {train,val}/<class>/ with images of the kinds that torchvision
        lists (jpg, png, ppm, bmp, pgm, tif, webp).
    size: pixels per side, ≥ 8: the shorter side is resized to 8/7 of it, then the centre is cropped.
    corrupt: treatment of a file that cannot be decoded: refuse (an InputError names it) or skip (the log names it,
        and the task is drawn again without it).
    split_seed: seed of the draw of class 0 and of the order of all images.
    """
    root = folder_name("dataset.root", root)
    if ".." in Path(root).parts:
        raise InputError(f"dataset.root={root}: leads out of paths.data; for another folder, give its whole path")
    check_int("dataset.size", size)
    check_int("dataset.split_seed", split_seed, least=0)
    check_choice("dataset.corrupt", corrupt)
    tree = class_folders(folder / root)
    positive = folder_name("dataset.positive", positive, among=tree["train"])
    check_positive(positive, tree, folder / root)
    settings = [str((folder / root).resolve()), positive, size, corrupt, split_seed]
    path = folder / "prepared" / f"images-{hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]}.npy"
    described, draw = path.with_suffix(".json"), partial(_drawn, tree, folder / root, positive, split_seed)
    try:
        if not _holds(described, draw):
            elsewhere = f"choose another folder, as in paths.data=FOLDER dataset.root={(folder / root).resolve()}"
            with atomic.disk(path, instead=elsewhere), alone(path):
                if not _holds(described, draw):  # another process may have made it meanwhile
                    path.parent.mkdir(exist_ok=True)
                    _prepare(path, draw, tree, size=size, corrupt=corrupt)
        about = json.loads(described.read_text())
        x, y, train = np.lib.format.open_memmap(path, "c"), np.array(about["labels"], bool), about["train"]
        if (x.dtype, x.shape) != (np.uint8, (len(y), 3, size, size)) or not 0 < train < len(y):
            raise ValueError("its images do not match their description")
    except InputError:  # from an image, not from the memory map; also a ValueError
        raise
    except (OSError, ValueError, EOFError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete it and {described.name} beside it") from error
    if about["skipped"]:
        log.warning("%s: %d, named in %s", LEFT_OUT, len(about["skipped"]), described)
    train_split, test_split = (x[:train], y[:train]), (x[train:], y[train:])
    classes = (f"not {positive}", positive)
    return from_images("image_folder", train=train_split, test=test_split, classes=classes, about=about["about"])


def _drawn(tree: Tree, root: Path, positive: str, split_seed: int, *, without: Collection[Path]) -> Task:
    """Return the balanced task of a tree, without the images in `without`."""
    files: list[Path] = []
    labels: list[int] = []
    counts = []
    for split, classes in tree.items():
        kept = [(file, number) for number, some in enumerate(classes.values()) for file in some if file not in without]
        numbers, ours = np.array([number for _, number in kept]), list(classes).index(positive)
        rows = balanced(numbers, ours, split_seed=split_seed, what=str(root / split))
        files += [kept[row][0] for row in rows]
        labels += (numbers[rows] == ours).astype(int).tolist()
        counts.append(len(rows))
    return files, labels, counts[0]


def _holds(described: Path, draw: Callable[..., Task]) -> bool:
    """Return whether the memory map holds the images that would be drawn now, from unchanged files."""
    if not described.is_file():
        return False
    about = json.loads(described.read_text())
    skipped = {Path(file) for file in about["skipped"]}
    return about["files"] == _stamps([*draw(without=skipped)[0], *sorted(skipped)])


def _stamps(files: Collection[Path]) -> list[list[Any]]:
    """Return every file with its size and time; zeros for a broken link, which decoding reports later."""
    stats = [(file, file.stat() if file.exists() else None) for file in files]
    return [[str(file), *((stat.st_size, stat.st_mtime_ns) if stat else (0, 0))] for file, stat in stats]


def _prepare(path: Path, draw: Callable[..., Task], tree: Tree, *, size: int, corrupt: str) -> None:
    """Decode the images of the task into the memory map `path`; write its description, a JSON file beside it, last."""
    skipped: dict[Path, str] = {}
    while True:
        files, labels, train = draw(without=skipped)
        stamps = _stamps([*files, *sorted(skipped)])  # first, so that an image that changes now is decoded again
        unreadable, shortest = _decode(files, path, size)
        for file, reason in unreadable.items():
            if corrupt == "refuse":
                way_out = "fix it or take it away, or leave such files out with dataset.corrupt=skip"
                raise InputError(f"{file}: cannot be decoded ({reason}); {way_out}")
            log.warning("%s: cannot be decoded (%s), left out", plain(str(file)), plain(reason))
        if not unreadable:
            break
        skipped |= unreadable
    counts = zip(SPLITS, (train, len(files) - train), strict=True)
    taken = [f"{count:,} of {sum(map(len, tree[split].values())):,} {split} images" for split, count in counts]
    about = f"{' and '.join(taken)}, with a shorter side of {shortest} pixels or more"
    named = {
        "train": train,
        "labels": labels,
        "files": stamps,
        "about": about + (f"; {LEFT_OUT}: {len(skipped)}" if skipped else ""),
        "skipped": {str(file): reason for file, reason in skipped.items()},
    }
    atomic.write(path.with_suffix(".json"), json.dumps(named, indent=1).encode())


def _decode(files: list[Path], path: Path, size: int) -> tuple[dict[Path, str], int]:
    """Write all images as one array (n, 3, size, size) uint8 to `path`, unless one cannot be decoded.

    Uses one thread per core of the job (`cores.share`).

    Returns the files that cannot be decoded, with reasons, and the pixels of the shortest side.
    """
    console, workers = Console(stderr=True), cores.share()
    unreadable, shortest, many = {}, [], 64 * workers  # images in memory at once
    part, shape = path.with_name(f".{path.name}.part"), (len(files), 3, size, size)
    batches = [files[start : start + many] for start in range(0, len(files), many)]
    try:
        # Written as a stream: writing to a memory map on a full disk would kill the process (SIGBUS).
        with part.open("wb") as array, ThreadPoolExecutor(workers) as threads:
            np.lib.format.write_array_header_1_0(array, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for batch in track(batches, "decoding", console=console, transient=True, disable=not console.is_terminal):
                for file, image in zip(batch, threads.map(partial(_pixels, size=size), batch), strict=True):
                    if isinstance(image, str):
                        unreadable[file] = image
                    else:
                        array.write(image[0])
                        shortest.append(image[1])
            array.flush()
            os.fsync(array.fileno())
        if not unreadable:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return unreadable, min(shortest, default=0)


def _pixels(file: Path, *, size: int) -> tuple[bytes, int] | str:
    """Return an image's pixels, (3, size, size), and its shorter side, or why it cannot be decoded."""
    from torchvision.transforms import v2

    shorter = round(size * MARGIN)
    if not file.is_file():  # opening a pipe would block, and reading a device would never end
        return "it is not a file, or it is a broken link"
    try:
        with Image.open(file, formats=FORMATS) as opened:
            width, height = opened.size
            # The resized image counts as well: a very thin image grows.
            most = max(width * height, shorter * shorter * max(width, height) // max(1, min(width, height)))
            if most > PIXELS:
                return f"it has {width} × {height} pixels: {most:,} in work, more than {PIXELS:,}"
            if opened.mode.startswith(DEEP):
                return f"its mode is {opened.mode}; it takes 8 bits a channel"
            image = opened.convert("RGB")
    except UNREADABLE as error:
        return " ".join(str(error).split())
    shape = v2.Compose([v2.Resize(shorter), v2.CenterCrop(size), v2.PILToTensor()])
    return shape(image).numpy().tobytes(), min(image.size)
