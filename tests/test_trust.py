"""What SECURITY.md promises: bytes from outside run nothing, stay where they are, and steer no page or terminal."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from photos import put_cifar10, put_tree
from PIL import Image
from pums import persons, put

from cftransfer.data import acs_employment, cifar10_airplane, download, image_folder
from cftransfer.errors import InputError, plain
from cftransfer.spec import call, chosen, content_of


class Planted:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("dataset", "os.system"),
        ("dataset", "builtins.eval"),
        ("model", "cftransfer.data.moons.moons"),  # of another part
        ("model", "cftransfer.models.techniques.torch.load"),  # what a module of ours has imported
        ("model", "cftransfer.models.techniques.real"),
        ("model", "cftransfer.models.techniques.Technique.fit"),
        ("model", "cftransfer.models.techniques.Technique"),
        ("model", "cftransfer.models.resnet18._load"),
        ("model", "cftransfer.models..mlp"),
        ("model", "cftransfer.models.mlp"),
        ("model", "cftransfer.models.nope.nope"),
        ("model", "cftransfer.models.mlp.nope"),
        ("counterfactual", "cftransfer.modelsx.mlp.mlp"),
        ("dataset", "cftransfer.data.image_folder.os.remove"),
        ("dataset", None),
        ("dataset", 3),
    ],
)
def test_a_config_chooses_among_this_packages_functions_alone(part, name):
    with pytest.raises(InputError, match=rf"^{part}\._target_=.*: (takes the name of a function|no such function)"):
        call(part, {} if name is None else {"_target_": name}, "true")


def test_a_module_that_lacks_something_says_so_itself(monkeypatch, tmp_path):
    """A user's own model whose import fails is no wrong name."""
    (tmp_path / "mine.py").write_text("import not_installed")
    monkeypatch.setattr("cftransfer.models.__path__", [str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="not_installed"):
        chosen("model", {"_target_": "cftransfer.models.mine.mine"})


@pytest.mark.parametrize("letter", ["\n", "\x1b", "\x9b", "\u202e", "\u2028", "\ud800", "\x00", "\r", "\u200b"])
def test_an_error_is_one_line_that_steers_no_terminal(letter):
    said = str(InputError(f"dataset.root=a{letter}b: naïve ‘ρ’ − × é 数"))
    assert said.isprintable()
    assert "naïve ‘ρ’ − × é 数" in said
    assert plain(said) == said


def test_a_pipe_in_the_place_of_weights_is_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"model.weights=.*pipe: cannot be read"):
        content_of("model.weights", str(tmp_path / "pipe"))


PICKLED = {
    "torch": lambda planted, path: torch.save({"conv1.weight": planted}, path),
    "pickle": lambda planted, path: path.write_bytes(pickle.dumps(planted)),
    "numpy": lambda planted, path: np.savez(path, **dict.fromkeys(cifar10_airplane.ARRAYS, planted)),
}


@pytest.mark.parametrize("kind", PICKLED)
def test_nothing_is_unpickled(tmp_path, kind):
    """Wherever a file is read, one that is or holds a pickle is refused, and the pickle is not loaded."""
    planted = Planted(tmp_path / "ran")
    path, prepared = tmp_path / "cifar10.npz", put_tree(tmp_path / "images")
    PICKLED[kind](planted, path)
    image_settings = {"root": str(prepared), "positive": "n01", "size": 8, "corrupt": "refuse", "split_seed": 0}
    image_folder.image_folder(tmp_path, **image_settings)
    (made,) = (tmp_path / "prepared").glob("*.npy")
    made.write_bytes(path.read_bytes())
    weights = {"_target_": "cftransfer.models.resnet18.resnet18", "weights": str(path)}
    for read in (
        lambda: cifar10_airplane.cifar10_airplane(tmp_path, split_seed=0),
        lambda: image_folder.image_folder(tmp_path, **image_settings),
        lambda: call("model", weights, input_shape=(3, 32, 32)),
    ):
        with pytest.raises(InputError, match=r"cannot be read"):
            read()
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(planted))
    assert (tmp_path / "ran").exists(), "the plant does not work, and the test shows nothing"


def acs(folder):
    settings = {"year": 2018, "horizon": "1-Year", "max_rows": None, "test_share": 0.2, "split_seed": 0}
    return acs_employment.acs_employment(folder, states=["NY"], **settings)


@pytest.mark.parametrize(
    ("limit", "most", "said"),
    [("BYTES", 1000, "bytes, more than 1,000"), ("CELLS", 1000, "more than 1,000 cells"), ("HEADER", 50, "first line")],
)
def test_a_csv_of_any_size_is_not_read(tmp_path, monkeypatch, limit, most, said):
    path = put(tmp_path, persons(60))
    acs(tmp_path)
    monkeypatch.setattr(acs_employment, limit, most)
    with pytest.raises(InputError, match=rf"{path.name}: has .*{said}.*; mend it"):
        acs(tmp_path)


def test_a_pipe_in_the_place_of_a_table_is_named(tmp_path):
    path = put(tmp_path, "")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"psam_p36.csv: is no file"):
        acs(tmp_path)


def test_arrays_of_any_size_are_not_unpacked(tmp_path, monkeypatch):
    """A megabyte of zeros may be a gigabyte when unpacked; and a header may promise what no memory holds."""
    path = put_cifar10(tmp_path)
    monkeypatch.setattr(cifar10_airplane, "BYTES", 1000)
    with pytest.raises(InputError, match=r"its arrays have .* bytes, more than 1,000"):
        cifar10_airplane.cifar10_airplane(tmp_path, split_seed=0)
    monkeypatch.undo()
    with zipfile.ZipFile(path, "w") as archive, archive.open("x_train.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (2**60,)})
    with pytest.raises(InputError, match=r"cifar10.npz: cannot be read \(.+\)"):
        cifar10_airplane.cifar10_airplane(tmp_path, split_seed=0)


def orange(folder, **changes):
    settings = {"root": "images", "positive": "n01", "size": 32, "corrupt": "refuse", "split_seed": 0}
    return image_folder.image_folder(folder, **(settings | changes))


@pytest.mark.parametrize("size", [(1, 200_000), (90_000, 1000), (20_000, 10_000)], ids=str)
def test_an_image_that_would_fill_the_memory_is_named(tmp_path, size):
    """Of few bytes: too many pixels for us, for Pillow, or, one pixel wide, once its shorter side has 37."""
    put_tree(tmp_path / "images")
    path = tmp_path / "images" / "train" / "n01" / "bomb.png"
    Image.new("1", size).save(path)
    with pytest.raises(InputError, match=r"bomb.png: cannot be decoded \(.*pixels.*\); mend it"):
        orange(tmp_path)


def test_a_pipe_in_the_place_of_an_image_is_named(tmp_path):
    put_tree(tmp_path / "images")
    os.mkfifo(tmp_path / "images" / "train" / "n01" / "pipe.png")
    with pytest.raises(InputError, match=r"pipe.png: cannot be decoded \(it is no file"):
        orange(tmp_path)


def test_a_tree_of_too_many_images_is_named(tmp_path, monkeypatch):
    put_tree(tmp_path / "images")
    monkeypatch.setattr(image_folder, "FILES", 10)
    with pytest.raises(InputError, match=r"train: has .* images, more than 10"):
        orange(tmp_path)


@pytest.mark.parametrize("root", ["../elsewhere", "a/../../elsewhere", ".."])
def test_a_data_set_does_not_leave_its_folder(tmp_path, root):
    put_tree(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"^dataset.root=.*: leads out of paths.data; .* give its whole path"):
        orange(tmp_path / "data", root=root)
    (tmp_path / "data").mkdir()
    assert orange(tmp_path / "data", root=str(tmp_path / "elsewhere"))


def test_what_is_prepared_has_to_be_as_described(tmp_path):
    put_tree(tmp_path / "images")
    orange(tmp_path)
    (described,) = (tmp_path / "prepared").glob("*.json")
    about = json.loads(described.read_text())
    for change in ({"train": 10**9}, {"train": "1"}, {"labels": [True]}, {"files": 3}):
        described.write_text(json.dumps(about | change))
        if "files" in change:
            orange(tmp_path)  # not what would be drawn today: made again
            continue
        with pytest.raises(InputError, match=r"npy: cannot be read .*; delete it"):
            orange(tmp_path)
    described.write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"npy: cannot be read .*; delete it"):
        orange(tmp_path)


def test_a_download_has_an_end(tmp_path, monkeypatch):
    """An archive larger than any of ours, one that unpacks to more, and one that names a file elsewhere."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wanted.csv", "0" * 10**6)
        archive.writestr("../\x1b[31mescaped", "")
    (tmp_path / "archive.zip").write_bytes(packed.getvalue())
    url = (tmp_path / "archive.zip").as_uri()

    def opened(_):
        response = (tmp_path / "archive.zip").open("rb")
        wrapped = io.BufferedReader(response.detach())
        return type("Response", (), {"read": wrapped.read, "length": None, "__enter__": lambda s: s,
                                     "__exit__": lambda *_: wrapped.close()})()  # fmt: skip

    monkeypatch.setattr(download, "_answer", opened)
    for limit, most, said in (
        ("ARCHIVE", 100, "more than 100 bytes"),
        ("MEMBER", 1000, "1,000,000 bytes when unpacked"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(download, limit, most)
            with pytest.raises(InputError, match=said):
                download.fetch(url, tmp_path / "data" / "wanted.csv", wrong=lambda _: "")
    with pytest.raises(InputError, match=r"the archive holds wanted.csv, ../.x1b\[31mescaped"):
        download.fetch(url, tmp_path / "data" / "other.csv", wrong=lambda _: "")
    download.fetch(url, tmp_path / "data" / "wanted.csv", wrong=lambda _: "")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["wanted.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive.zip", "data"]
