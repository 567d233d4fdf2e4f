"""The promises of SECURITY.md: bytes from outside run nothing, stay where they are, and steer no page or terminal."""

import base64
import hashlib
import importlib.metadata
import io
import json
import os
import pickle
import shutil
import zipfile
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, SMALL, run_command
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from photos import put_cifar10, put_tree
from PIL import EpsImagePlugin, Image
from pums import persons, put
from safetensors.torch import save_file

from cftransfer.commands.boundary import drawn
from cftransfer.data import acs_employment, cifar10_airplane, download, image_folder
from cftransfer.errors import InputError, plain
from cftransfer.report import report, study
from cftransfer.report.collect import jobs
from cftransfer.report.study_running import Outcome
from cftransfer.spec import content_of
from cftransfer.targets import call_target, target_function


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
        ("model", "moons"),  # of another part
        ("model", "cftransfer.models.sklearn_models.torch.load"),  # imported by a module of ours
        ("model", "cftransfer.models.sklearn_models.real"),
        ("model", "cftransfer.models.sklearn_models.Technique.fit"),
        ("model", "cftransfer.models.sklearn_models.Technique"),
        ("model", "cftransfer.models.resnet18._load"),
        ("model", "cftransfer.models..mlp"),
        ("model", "cftransfer.models.mlp"),
        ("model", "nope"),
        ("model", "cftransfer.models.mlp.nope"),
        ("counterfactual", "cftransfer.modelsx.mlp.mlp"),
        ("dataset", "cftransfer.data.image_folder.os.remove"),
        ("dataset", "cftransfer.data.download.fetch"),
        ("model", "cftransfer.models.prediction.logits"),
        ("counterfactual", "cftransfer.searching.descent.positive"),
        ("dataset", None),
        ("dataset", 3),
    ],
)
def test_a_config_chooses_among_this_packages_functions_alone(part, name):
    with pytest.raises(
        InputError,
        match=rf"^{part}\._target_=.*: (must be one of the names|no such (dataset|model|counterfactual)|makes no)",
    ):
        call_target(part, {} if name is None else {"_target_": name}, "true")


def test_a_module_that_lacks_something_says_so_itself(monkeypatch, tmp_path):
    """If the import of a user's model fails, its name is not reported as wrong."""
    (tmp_path / "mine.py").write_text("import not_installed")
    monkeypatch.setattr("cftransfer.models.__path__", [str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="not_installed"):
        target_function("model", {"_target_": "mine"})


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


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.bool], ids=str)
def test_weights_of_a_kind_that_no_network_has_are_named(tmp_path, kind):
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7).to(kind)}, tmp_path / "w.safetensors")
    weights = {"_target_": "resnet18", "weights": str(tmp_path / "w.safetensors")}
    with pytest.raises(InputError, match=rf"^model.weights=.*w.safetensors: holds conv1.weight \({kind}\); it takes"):
        call_target("model", weights, input_shape=(3, 32, 32), outputs=1)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8], ids=str)
def test_weights_of_other_kinds_become_float32(tmp_path, kind):
    model = {"_target_": "resnet18", "weights": str(tmp_path / "w.safetensors")}
    state = call_target("model", model | {"weights": None}, input_shape=(3, 32, 32), outputs=1)[0].state_dict()
    save_file({name: tensor.to(kind) for name, tensor in state.items()}, tmp_path / "w.safetensors")
    assert {p.dtype for p in call_target("model", model, input_shape=(3, 32, 32), outputs=1).parameters()} == {
        torch.float32
    }
    state = {name: tensor.to(torch.float64) + 1e300 for name, tensor in state.items()}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="holds numbers that are not finite"):
        call_target("model", model, input_shape=(3, 32, 32), outputs=1)


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
    weights = {"_target_": "resnet18", "weights": str(path)}
    for read in (
        lambda: cifar10_airplane.cifar10_airplane(tmp_path, split_seed=0),
        lambda: image_folder.image_folder(tmp_path, **image_settings),
        lambda: call_target("model", weights, input_shape=(3, 32, 32), outputs=1),
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
    with pytest.raises(InputError, match=rf"{path.name}: has .*{said}.*; fix it"):
        acs(tmp_path)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"], ids=repr)
def test_lines_of_a_csv_are_counted_however_they_end(tmp_path, monkeypatch, end):
    path = put(tmp_path, persons(60))
    path.write_bytes(path.read_bytes().replace(b"\n", end.encode()))
    acs(tmp_path)
    assert acs_employment._lines(path) == 61
    monkeypatch.setattr(acs_employment, "CELLS", 1000)
    with pytest.raises(InputError, match=rf"{path.name}: has 61 lines of .*more than 1,000 cells"):
        acs(tmp_path)


def test_a_pipe_in_the_place_of_a_table_is_named(tmp_path):
    path = put(tmp_path, "")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"psam_p36.csv: is not a file"):
        acs(tmp_path)


def test_arrays_of_any_size_are_not_unpacked(tmp_path, monkeypatch):
    """A megabyte of zeros may be a gigabyte when unpacked; and a header may promise more than any memory holds."""
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
    """In few bytes: too many pixels for us, for Pillow, or, one pixel wide, once its shorter side has 37."""
    put_tree(tmp_path / "images")
    path = tmp_path / "images" / "train" / "n01" / "bomb.png"
    Image.new("1", size).save(path)
    with pytest.raises(InputError, match=r"bomb.png: cannot be decoded \(.*pixels.*\); fix it"):
        orange(tmp_path)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 48\n%%EndComments\nshowpage\n%%EOF\n"


def test_an_image_of_another_kind_starts_no_program(tmp_path, monkeypatch):
    """Pillow goes by content, not by name, and gives PostScript to Ghostscript."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gs").write_text(f"#!/bin/sh\necho ran >> {tmp_path / 'ran'}\n")
    (tmp_path / "bin" / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it has not been looked for yet
    put_tree(tmp_path / "images")
    path = tmp_path / "images" / "train" / "n01" / "x.png"
    path.write_bytes(EPS)
    with pytest.raises(InputError, match=r"x.png: cannot be decoded \(.*\); fix it"):
        orange(tmp_path)
    assert orange(tmp_path, corrupt="skip").about.endswith("; left out as unreadable: 1")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(OSError, match="cannot identify"), Image.open(path) as opened:
        opened.load()
    assert (tmp_path / "ran").exists(), "the plant does not work, and the test shows nothing"


def test_a_pipe_in_the_place_of_an_image_is_named(tmp_path):
    put_tree(tmp_path / "images")
    os.mkfifo(tmp_path / "images" / "train" / "n01" / "pipe.png")
    with pytest.raises(InputError, match=r"pipe.png: cannot be decoded \(it is not a file"):
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
            orange(tmp_path)  # today's draw differs: made again
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

    def copied(url, output_file, pooch):
        output_file.write((tmp_path / "archive.zip").read_bytes())

    monkeypatch.setattr(download.pooch, "HTTPDownloader", lambda **_: copied)
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


SHORT = "<script>$\\frac{$|\x1b[2J"  # for labels, which have to fit


def hostile(text):
    """Put characters that a page, Markdown, a formula and a terminal would act on behind a word."""
    elements = "<script>alert(1)</script><img src=x onerror=y>"
    return f"{text}{elements}\"'|[a](javascript:b)`c`$\\frac{{$\n\x1b]0;title\x07\x1b[2J{{{{7*7}}}}"


class Page(HTMLParser):
    """A page as a browser would read it: its elements, their attributes, its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


OWN_SCRIPT = (resources.files("cftransfer.report") / "page.js.j2").read_text(encoding="utf-8").removesuffix("\n")


def assert_clean(text, *, script=""):
    """script: the one that a page may hold, word for word, and that its policy lets run."""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src &#39;sha256-{digest}&#39;" in text or f"script-src 'sha256-{digest}'" in text
        before, own, after = text.partition(f"<script>{script}</script>")
        assert own
        text = before + after
    page = Page(text)
    assert "script" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not any("javascript" in (value or "") for _, value in page.attributes)
    assert all(plain(line) == line for line in text.splitlines())
    return page


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    done = run_command(folder, "transfer.py", *SMALL, "hydra.run.dir=job", "wandb=disabled")
    assert done.returncode == 0, done.stderr
    return folder / "job"


@pytest.fixture
def hostile_job(finished, tmp_path):
    """A job with hostile data, settings, choices, overrides, names of metrics, and folder."""
    place = tmp_path / "jobs" / hostile("job").replace("/", "")
    shutil.copytree(finished, place)
    shutil.copytree(finished, failed := tmp_path / "jobs" / hostile("failed").replace("/", ""))
    (failed / "result.json").unlink()
    (failed / "transfer.log").write_text(f"x failed: {hostile('reason')}")
    (failed / ".hydra" / "overrides.yaml").write_text(f"- {hostile('override')}")
    result = json.loads((place / "result.json").read_text())
    result["choices"] = {name: hostile(option) for name, option in result["choices"].items()}
    result["overrides"] = [hostile(word) for word in result["overrides"]]
    result["versions"] = {hostile(name): hostile(number) for name, number in result["versions"].items()}
    result["git"] = {"commit": hostile(""), "dirty": True}
    result["metrics"] |= {"interval": hostile("interval"), hostile("metric"): 1.0}
    result["config"] |= {hostile("key"): hostile("value"), "note": SHORT, "extra_layers": 3}
    (place / "result.json").write_text(json.dumps(result))
    examples = pd.read_parquet(place / "examples.parquet")
    words = ["feature", "old", "new", "from_class", "target_class"]
    examples.assign(**{name: examples[name].map(hostile) for name in words}).to_parquet(place / "examples.parquet")
    return place


def test_a_report_of_hostile_jobs_shows_words_only(hostile_job, capsys):
    page = assert_clean(report([hostile_job.parent]).read_text(), script=OWN_SCRIPT)
    for word in ("job", "failed", "reason", "override", "value", "horizontal"):
        assert f"{word}<script>alert(1)</script>" in page.text or f"{word}<script>alert(1)<script>" in page.text, word
    assert "{{7*7}}" in page.text
    assert "49<" not in page.text
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "failed: " in said
    for picture in hostile_job.parent.glob("*.svg"):
        assert_clean(picture.read_text())
        ElementTree.fromstring(picture.read_text())


def test_two_hostile_jobs_are_told_apart(hostile_job, tmp_path):
    """Settings that differ also stand in labels of figures."""
    other = shutil.copytree(hostile_job, hostile_job.with_name("other"))
    result = json.loads((other / "result.json").read_text())
    result["config"]["extra_layers"] = 4
    result["config"]["note"] = f"other{SHORT}"
    (other / "result.json").write_text(json.dumps(result))
    page = assert_clean(report([hostile_job.parent]).read_text(), script=OWN_SCRIPT)
    assert f"other{plain(SHORT)}" in page.text


def test_the_page_of_a_study_takes_words_for_words(hostile_job, tmp_path):
    some = jobs([hostile_job.parent])
    outcome = Outcome(
        part=study.TABULAR_PARTS[1],
        dataset="compas",
        command=hostile("command"),
        jobs=some,
        lines=[],
        seconds=1.0,
        passes=1,
        searches=1,
    )
    text = study.write([outcome], tmp_path / "out", name="tabular").read_text()
    assert all(plain(line) == line for line in text.splitlines())
    assert "<script" not in text
    assert "<img" not in text
    assert "[a](javascript" not in text.replace("\\[a](javascript", "")
    assert "`c`" not in text


def test_a_report_gives_away_no_file_from_elsewhere(finished, tmp_path, monkeypatch):
    """Links in a job's folder lead to the user's own files; their contents must not stand on a page for others."""
    secret = tmp_path / "netrc"
    secret.write_text("machine api.wandb.ai login user password planted-in-a-file failed: planted-in-a-file")
    monkeypatch.setenv("PLANTED", "planted-in-the-environment")
    place = tmp_path / "jobs" / "0"
    shutil.copytree(finished, place)
    shutil.copytree(finished, lost := tmp_path / "jobs" / "1")
    (place / "examples").mkdir()
    (place / "examples" / "0-transferred.png").symlink_to(secret)
    (place / "examples" / "1-transferred.png").write_text("no picture: planted-in-a-file")
    Image.new("1", (2, 2)).save(place / "examples" / "2-transferred.png")
    (place / "examples" / "3-transferred.png").write_bytes((place / "examples" / "2-transferred.png").read_bytes())
    os.truncate(place / "examples" / "3-transferred.png", 3 * 2**30)  # a sparse file that begins as a picture
    result = json.loads((place / "result.json").read_text())
    result["files"] |= {f"examples/{number}-transferred.png": "" for number in range(4)}
    (place / "result.json").write_text(json.dumps(result))
    (tmp_path / "jobs" / "multirun.yaml").write_text("hydra: {overrides: {task: ['${oc.env:PLANTED}'], hydra: []}}")
    for name in ("result.json", "transfer.log", ".hydra/overrides.yaml"):
        (lost / name).unlink()
        (lost / name).symlink_to(secret)
    text = report([tmp_path / "jobs"]).read_text()
    assert "${oc.env:PLANTED}" in text
    assert "planted-in" not in text
    assert text.count("data:image/png") == 1
    assert base64.b64encode(secret.read_bytes()).decode() not in text


@pytest.mark.parametrize(
    "change",
    [{"metrics": {"rate": "<b>"}}, {"config": []}, {"overrides": [3]}, {"git": "x"}, {"choices": None}, "[" * 100_000],
    ids=lambda change: str(change)[:30],
)
def test_a_result_of_another_kind_is_a_failed_job(finished, tmp_path, change):
    for name in ("0", "1"):
        shutil.copytree(finished, tmp_path / name)
    path = tmp_path / "1" / "result.json"
    path.write_text(change if isinstance(change, str) else json.dumps(json.loads(path.read_text()) | change))
    found = jobs([tmp_path])
    assert [job.folder for job in found.jobs] == [tmp_path / "0"]
    assert "result.json cannot be read" in found.failed[tmp_path / "1"]


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("model", {"_target_": "os.system"}, "model._target_=os.system: must be"),
        ("dataset", {"_target_": "os.system"}, "dataset._target_=os.system: must be"),
        ("reference", {"model": {"_target_": "os.system"}, "seeds": "reference"}, "model._target_=os.system: must be"),
        ("paths", {"store": "${oc.env:PLANTED}"}, "its config has a formula"),
    ],
)
def test_a_picture_of_a_hostile_job_runs_nothing(finished, tmp_path, monkeypatch, part, change, said):
    monkeypatch.chdir(finished.parent)
    monkeypatch.setenv("PLANTED", "planted")
    shutil.copytree(finished, tmp_path / "job")
    path = tmp_path / "job" / "result.json"
    result = json.loads(path.read_text())
    result["config"][part] |= change
    path.write_text(json.dumps(result))
    with pytest.raises(InputError, match=said) as caught:
        drawn(jobs([tmp_path]).jobs[0])
    assert "planted" not in str(caught.value)


def test_every_installed_distribution_is_pinned():
    """All dependencies of the extras, at any depth, that are installed here."""
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    )
    versions = {canonicalize_name(name): number for name, number in pinned.items()}
    wanted, seen = [Requirement("cftransfer[dev,slurm,dashboard]")], set()
    while wanted:
        asked = wanted.pop()
        name = canonicalize_name(asked.name)
        if (name, *sorted(asked.extras)) in seen:
            continue
        seen.add((name, *sorted(asked.extras)))
        assert name in versions or name == "cftransfer", f"{name} is not pinned in constraints.txt"
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            extras = ["", *asked.extras]
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                wanted.append(needed)
