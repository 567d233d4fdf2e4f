"""Folder trees: images that are drawn, decoded and kept, and those that are refused by name."""

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from photos import ORANGE, crops, put_tree
from PIL import Image

from cftransfer.data.class_folders import class_folders
from cftransfer.data.image_folder import image_folder
from cftransfer.data.imagenet_orange import imagenet_orange
from cftransfer.errors import InputError


@pytest.fixture
def folder(tmp_path):
    put_tree(tmp_path / "imagenet")
    return tmp_path


def orange(folder, **changes):
    return imagenet_orange(folder, **({"root": "imagenet", "size": 32, "corrupt": "refuse", "split_seed": 0} | changes))


def test_oranges_against_the_rest(folder):
    data = orange(folder)
    assert data.x_train.shape == (48, 3, 32, 32)
    assert data.x_test.shape == (24, 3, 32, 32)
    assert data.x_train.dtype == torch.uint8
    assert (data.y_train.mean(), data.y_test.mean()) == (0.5, 0.5)
    assert data.classes == ("other", "orange")
    assert data.about == ("48 of 60 train images and 24 of 30 val images, with a shorter side of 48 pixels or more")


def test_each_image_is_its_own_files_with_its_own_label(tmp_path):
    """Every file is of one colour, which says its class and its number."""
    colours = {}
    for split in ("train", "val"):
        for label, name in enumerate((ORANGE, "n01", "n02")):
            (tmp_path / "imagenet" / split / name).mkdir(parents=True)
            for number in range(4):
                colour = (60 * label + 10, 60 * number + 10, 200 if split == "val" else 20)
                path = tmp_path / "imagenet" / split / name / f"{number}.png"
                Image.new("RGB", (50, 40), colour).save(path)
                colours[colour] = (split, name)
    data = orange(tmp_path)
    for split, x, y in (("train", data.x_train, data.y_train), ("val", data.x_test, data.y_test)):
        seen = [tuple(image[:, 5, 5].tolist()) for image in x]
        assert len(set(seen)) == 8
        assert [colours[colour] for colour in seen] == [
            (split, ORANGE) if label else (split, colours[colour][1]) for colour, label in zip(seen, y)
        ]
        assert all((colours[colour][1] == ORANGE) == bool(label) for colour, label in zip(seen, y))


def test_images_are_resized_and_cropped_as_imagenets_usually_are(tmp_path):
    """The shorter side to 256, then the middle 224: if a picture's left half is black, the crop's is black."""
    picture = np.zeros((300, 600, 3), np.uint8)
    picture[:, 300:] = 255
    picture[:4] = (255, 0, 0)  # a margin that the crop cuts off
    for split in ("train", "val"):
        for name in (ORANGE, "n01"):
            (tmp_path / "imagenet" / split / name).mkdir(parents=True)
            Image.fromarray(picture).save(tmp_path / "imagenet" / split / name / "a.png")
    x = orange(tmp_path, size=224).x_train
    assert x.shape == (2, 3, 224, 224)
    assert x[:, :, :, :108].max() == 0
    assert x[:, :, :, -108:].min() == 255


def test_the_second_job_decodes_nothing(folder, monkeypatch):
    first = orange(folder)
    monkeypatch.setattr("cftransfer.data.image_folder._decode", None)  # would raise
    again = orange(folder)
    assert torch.equal(first.x_train, again.x_train)
    assert torch.equal(first.y_test, again.y_test)
    assert first.version == again.version
    (kept,) = (folder / "prepared").glob("*.npy")
    assert np.load(kept, mmap_mode="r").shape == (72, 3, 32, 32)


def test_an_image_that_was_replaced_is_decoded_anew(folder):
    first = orange(folder)
    path = next((folder / "imagenet" / "train" / ORANGE).iterdir())
    Image.fromarray(crops("china.jpg", 1, side=48, seed=9)[0]).save(path)
    assert orange(folder).version != first.version


def stamped(root, time):
    for path in root.rglob("*.*"):
        os.utime(path, (time, time))


def test_two_trees_of_the_same_names_sizes_and_times_are_two_data_sets(tmp_path):
    """As an archive with one time for all gives them."""
    for name, grey in (("day", 200), ("night", 20)):
        for split in ("train", "val"):
            for kind, place in enumerate(("a", "b")):
                (tmp_path / name / split / place).mkdir(parents=True)
                for index in range(2):
                    image = Image.new("RGB", (20, 20), (grey, kind, index))
                    image.save(tmp_path / name / split / place / f"{index}.bmp")
        stamped(tmp_path / name, 10**9)
    settings = {"size": 16, "corrupt": "refuse"}
    day, night = (
        image_folder(tmp_path, root=name, positive="a", split_seed=0, **settings) for name in ("day", "night")
    )
    assert day.x_train[:, 0].min() == 200
    assert night.x_train[:, 0].max() == 20
    for seed in range(4):  # the other class of the same tree: as many files, other labels
        for positive, kind in (("a", 0), ("b", 1)):
            data = image_folder(tmp_path, root="day", positive=positive, split_seed=seed, **settings)
            assert ((data.x_train[:, 1, 5, 5] == kind) == data.y_train.bool()).all()


def test_an_image_that_took_the_place_of_a_corrupt_one_may_change_too(folder):
    broken(folder)
    first = orange(folder, corrupt="skip")
    for path in (folder / "imagenet").rglob("*.JPEG"):
        if path.parent.name != ORANGE:
            Image.fromarray(crops("flower.jpg", 1, side=48, seed=5)[0]).save(path)
    assert orange(folder, corrupt="skip").version != first.version


def test_the_same_images_elsewhere_are_the_same_data(folder, tmp_path):
    put_tree(tmp_path / "other" / "place")
    assert orange(folder).version == orange(folder, root=str(tmp_path / "other" / "place")).version


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P"])
def test_other_kinds_of_colour_become_rgb(folder, mode):
    kind = "JPEG" if mode in ("L", "CMYK") else "PNG"
    plain = orange(folder).x_train.float().mean()
    for path in (folder / "imagenet").rglob("*.JPEG"):
        converted = Image.open(path).convert(mode)
        converted.save(path.with_suffix(f".{kind}"), kind)
        if kind == "PNG":
            path.unlink()
    data = orange(folder)
    assert data.x_train.shape == (48, 3, 32, 32)
    assert data.x_train.float().mean() == pytest.approx(float(plain), abs=15)  # neither inverted nor blank
    assert (data.x_train[:, 0] == data.x_train[:, 1]).all() == (mode == "L")


def broken(folder):
    path = sorted((folder / "imagenet" / "train" / ORANGE).iterdir())[3]
    path.write_bytes(path.read_bytes()[:300])
    return path


def test_a_corrupt_image_is_refused_by_name(folder):
    path = broken(folder)
    with pytest.raises(InputError, match=rf"^{path}: cannot be decoded .*dataset.corrupt=skip$"):
        orange(folder)
    assert not list((folder / "prepared").iterdir())  # nothing half made


def test_a_corrupt_image_is_skipped_by_name_where_that_is_asked_for(folder, caplog):
    path = broken(folder)
    data = orange(folder, corrupt="skip")
    assert f"{path}: cannot be decoded" in caplog.text
    assert len(data.x_train) == 46
    assert data.y_train.mean() == 0.5
    assert data.about.endswith("; left out as unreadable: 1")
    (described,) = (folder / "prepared").glob("*.json")
    assert list(json.loads(described.read_text())["skipped"]) == [str(path)]
    caplog.clear()
    assert orange(folder, corrupt="skip").version == data.version
    assert "left out as unreadable: 1" in caplog.text  # also in a second job


@pytest.mark.parametrize("kind", ["link", "16 bits", "text"])
def test_what_cannot_be_shown_in_8_bits_or_at_all_is_refused_by_name(folder, kind):
    place = folder / "imagenet" / "train" / ORANGE
    if kind == "link":
        (place / "x.png").symlink_to(folder / "nowhere.png")
    elif kind == "16 bits":
        Image.fromarray(np.full((60, 60), 40_000, np.uint16)).save(place / "x.png")
    else:
        (place / "x.png").write_text("no image")
    for path in list(place.glob("*.JPEG"))[:1]:
        path.unlink()  # otherwise one of the oranges is not drawn
    with pytest.raises(InputError, match=rf"^{place}/x.png: cannot be decoded"):
        orange(folder)


def test_a_class_may_be_called_by_a_number(tmp_path):
    put_tree(tmp_path / "digits", positive="1", others=["0", "2"])
    data = image_folder(tmp_path, root="digits", positive=1, size=16, corrupt="refuse", split_seed=0)
    assert data.classes == ("not 1", "1")
    for root in (None, "", True):
        with pytest.raises(InputError, match=f"dataset.root={root}: must be the name of a folder"):
            image_folder(tmp_path, root=root, positive="1", size=16, corrupt="refuse", split_seed=0)


@pytest.mark.parametrize("typed", ["1_000", "1e3", "null", "true"])
def test_a_class_whose_name_reads_as_a_number_true_or_null_is_named_with_its_quotes(tmp_path, typed):
    """`python transfer.py dataset=image_folder dataset.positive=1e3`, with such folders: Hydra reads a number."""
    put_tree(tmp_path / "images", positive="other", others=["1_000", "1e3", "null", "true", "1000.5", "7"], side=10)
    read, settings = read_as(typed), {"size": 8, "corrupt": "refuse", "split_seed": 0}
    with pytest.raises(InputError) as raised:
        image_folder(tmp_path, positive=read, **settings)
    way_out = f"""for the folder {typed}, put it in quotes: 'dataset.positive="{typed}"'"""
    assert str(raised.value) == f"dataset.positive={read}: must be the name of a folder; {way_out}"
    assert image_folder(tmp_path, positive=read_as(f'"{typed}"'), **settings).classes == (f"not {typed}", typed)
    assert image_folder(tmp_path, positive=7, **settings).classes == ("not 7", "7")


def read_as(typed):
    """A value on the command line, as Hydra parses it."""
    value = OverridesParser.create().parse_override(f"dataset.positive={typed}").value()
    return str(value) if isinstance(value, QuotedString) else value


def test_of_a_larger_positive_class_as_many_are_drawn_as_there_are_others(tmp_path):
    """37 cats and 24 dogs: a task needs as many of both, and corrupt=skip may leave fewer of either."""
    put_tree(tmp_path / "pets", counts=(37, 20), positive="cat", others=[], side=10)
    put_tree(tmp_path / "pets", counts=(24, 12), positive="dog", others=[], side=10)
    settings = {"root": "pets", "size": 8, "split_seed": 0}
    data = image_folder(tmp_path, positive="cat", corrupt="refuse", **settings)
    assert (len(data.y_train), len(data.y_test)) == (48, 24)
    assert (data.y_train.mean(), data.y_test.mean()) == (0.5, 0.5)
    assert data.about.startswith("48 of 61 train images and 24 of 32 val images")
    for path in sorted((tmp_path / "pets" / "train" / "dog").iterdir())[:2]:
        path.write_bytes(b"no image")
    data = image_folder(tmp_path, positive="cat", corrupt="skip", **settings)
    assert (len(data.y_train), data.y_train.mean()) == (44, 0.5)


def test_a_class_folder_whose_name_is_not_utf_8_is_named(folder):
    place = folder / "imagenet" / "train"
    shutil.copytree(place / "n01", place / os.fsdecode(b"d\xfcg"))
    with pytest.raises(InputError) as raised:
        orange(folder)
    assert r"/train: has a class folder with a name that is not UTF-8, d\xfcg; rename it" in str(raised.value)
    assert str(raised.value).isprintable()


def test_where_paths_data_cannot_be_written_the_way_out_is_named_and_works(folder, tmp_path_factory):
    """Here a file is in the way; on a read-only disk the reason is another."""
    (folder / "prepared").write_text("")
    with pytest.raises(
        InputError, match=r"prepared/.*: cannot be written \(.*paths.data=FOLDER dataset.root="
    ) as raised:
        orange(folder)
    root = re.search(r"dataset.root=(\S+), and run again$", str(raised.value))[1]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert len(orange(elsewhere, root=root).x_train) == 48


def test_a_description_that_was_damaged_is_named(folder):
    orange(folder)
    (described,) = (folder / "prepared").glob("*.json")
    described.write_text("{")
    with pytest.raises(InputError, match=f"cannot be read .*delete it and {described.name}"):
        orange(folder)


def test_a_missing_class_folder_is_named(folder):
    (folder / "imagenet" / "val" / "n02").rename(folder / "n02")
    with pytest.raises(InputError, match="imagenet/val: lacks the class folder n02"):
        orange(folder)


def test_an_empty_class_folder_is_named(folder):
    for path in (folder / "imagenet" / "val" / "n02").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"imagenet/val: holds no image in n02 .*; it takes a folder"):
        orange(folder)


def test_images_are_listed_as_torchvision_lists_them(folder):
    """Which are drawn goes by their order, and so do the keys of all models."""
    from torchvision.datasets import ImageFolder

    place = folder / "imagenet" / "train"
    for name in ("deep/er/b.PNG", "deep/a.tiff", "deep-er/a.webp", "deep.d/x.jpg", "A.bmp", "note.txt"):
        (place / "n01" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "n01" / name).write_text("")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "linked.ppm").write_text("")
    (place / "n02" / "link").symlink_to(folder / "elsewhere")
    (place / "no class").write_text("")
    theirs = ImageFolder(place)
    ours = class_folders(folder / "imagenet")["train"]
    assert list(ours) == theirs.classes
    listed = [(str(path), number) for number, paths in enumerate(ours.values()) for path in paths]
    assert listed == theirs.samples


def test_hidden_and_system_folders_and_files_are_no_classes_and_no_images(folder):
    """As editors, archives and file servers leave them: copies of images, or no images at all."""
    first = orange(folder)
    for split in ("train", "val"):
        place = folder / "imagenet" / split
        for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", f"{ORANGE}/.ipynb_checkpoints", f"{ORANGE}/@eaDir"):
            (place / name).mkdir()
            shutil.copy(next((place / "n01").iterdir()), place / name / "copy.jpg")
        (place / ORANGE / "._copy.jpg").write_bytes(b"a resource fork")
    data = orange(folder)
    assert data.version == first.version
    assert data.about == first.about
    with pytest.raises(InputError, match="there are: n01, n02, n03, n07747607"):
        image_folder(folder, root="imagenet", positive="__MACOSX")


def test_a_tree_without_classes_is_named(folder):
    (folder / "empty" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match="empty/train: holds no class folder; it takes a folder of images per class"):
        orange(folder, root="empty")


def test_a_missing_tree_is_named(tmp_path):
    with pytest.raises(InputError, match="imagenet/train: No such file or directory; it takes a folder of images"):
        orange(tmp_path)


def test_a_positive_class_that_does_not_exist_is_named_with_those_that_do(folder):
    settings = {"root": "imagenet", "size": 32, "corrupt": "refuse", "split_seed": 0}
    with pytest.raises(InputError, match=rf"dataset.positive=cat: no such class .* there are: n01, n02, n03, {ORANGE}"):
        image_folder(folder, positive="cat", **settings)
    data = image_folder(folder, positive="n01", **settings)
    assert data.classes == ("not n01", "n01")
    assert len(data.x_train) == 24


@pytest.mark.parametrize("change", [{"size": 7}, {"corrupt": "ignore"}, {"split_seed": -1}], ids=str)
def test_an_impossible_setting_is_named(folder, change):
    with pytest.raises(InputError, match=f"dataset.{next(iter(change))}={next(iter(change.values()))}: must be"):
        orange(folder, **change)


def test_a_memory_map_that_was_cut_off_is_named(folder):
    orange(folder)
    (kept,) = (folder / "prepared").glob("*.npy")
    kept.write_bytes(kept.read_bytes()[:5000])
    with pytest.raises(InputError, match=rf"{kept.name}: cannot be read .*delete it and"):
        orange(folder)


def test_a_touched_image_is_the_same_data_and_so_are_all_models(folder):
    first = orange(folder)
    stamped(folder / "imagenet", 10**9)
    assert orange(folder).version == first.version


def test_as_many_threads_decode_as_the_job_has_cores(folder, monkeypatch):
    """A job of SLURM may have 2 of 64: os.cpu_count counts the machine."""
    asked = []
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    threads = "cftransfer.data.image_folder.ThreadPoolExecutor"
    monkeypatch.setattr(threads, lambda many: asked.append(many) or ThreadPoolExecutor(many))
    orange(folder)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # as the launchers set it
    orange(folder, size=33)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    orange(folder, size=34)
    assert asked == [3, 2, 3]
