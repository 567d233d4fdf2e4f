"""python -m cftransfer.store lists, checks and removes the files that are there, and keeps those that jobs use."""

import io
import json
import os
import re
import subprocess
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from unittest import mock

import pytest
import torch

from cftransfer import store
from cftransfer.spec import FORMAT
from cftransfer.store import artifacts, inventory
from cftransfer.store.__main__ import command as main


def spec(layers):
    return {
        "dataset": {"_target_": "moons"},
        "model": {"_target_": "mlp", "layers": layers},
        "training": {"epochs": 3},
    }


@pytest.fixture
def place(tmp_path):
    """Two models of 1 layer, one of 8, a search and a pass, all of 4 KB and more, the first the oldest."""
    place = store.prepare(tmp_path / "store")
    about = [
        ("models", "aa01", {"spec": spec(1), "seed": 0}),
        ("models", "aa02", {"spec": spec(1), "seed": 1}),
        ("models", "bb03", {"spec": spec(8), "seed": 0}),
        ("counterfactuals", "cc04", {"base": {**spec(1), "seed": 0}, "counterfactual": {"_target_": "gradient"}}),
        ("passes", "dd05", {"spec": spec(8), "seeds": [0, 1], "epoch": 2}),
    ]
    for days, (kind, key, described) in zip(range(len(about) + 1, 1, -1), about, strict=True):
        path = store.save(place, kind, key, {"weights/a": torch.zeros(1000)}, described)
        os.utime(path, (time.time() - 86400 * days,) * 2)
    (place / "models" / "aa01.csv").write_text("epoch\n")
    return place


def said(place, *words, code=0):
    """Return the output of `python -m cftransfer.store`; in this process, since every other one imports torch again."""
    out, argv = io.StringIO(), ["cftransfer.store", *words]
    with (
        chdir(place.parent),
        redirect_stdout(out),
        redirect_stderr(out),
        mock.patch("sys.argv", argv),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    status = ended.value.code
    printed = out.getvalue() + (f"{status}\n" if isinstance(status, str) else "")
    assert (1 if isinstance(status, str) else status) == code, printed
    return printed


def keys(place):
    return sorted(path.stem for path in place.rglob("*.safetensors"))


def test_ls_lists_every_artifact_with_spec_size_and_age(place):
    lines = said(place, "ls").splitlines()
    assert re.fullmatch(r"models +aa01 +moons mlp layers=1 epochs=3 seed=0 +4\.\d KB +6 d", lines[0])
    assert [line.split()[1] for line in lines[:-1]] == ["aa01", "aa02", "bb03", "cc04", "dd05"]
    assert "seed=0 gradient" in lines[3]
    assert re.fullmatch(r"5 artifacts, 2\d\.\d KB", lines[-1])


def test_show_prints_one_artifact(place):
    printed = said(place, "show", "bb")
    assert json.loads(printed[printed.index("{") : printed.rindex("}") + 1])["spec"] == spec(8)
    assert "weights/a: (1000,) float32" in printed
    assert "aa: 2 artifacts begin with it; give more digits" in said(place, "show", "aa", code=1)
    assert "ff: no artifact begins with it" in said(place, "show", "ff", code=1)


def test_verify_names_what_is_damaged_and_what_is_left_over(place):
    assert said(place, "verify").splitlines()[-1] == "5 artifacts, 0 damaged, 0 left over"
    path = place / "models" / "aa02.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    abandoned(place / "models" / ".bb03.safetensors.somewhere-1-0.part")
    printed = said(place, "verify", code=1)
    assert "damaged: store/models/aa02.safetensors" in printed
    assert "left over: store/models/.bb03" in printed
    assert path.exists()  # it only looks


@pytest.mark.parametrize(
    ("words", "going"),
    [
        (["--older-than", "4.5d"], ["aa01", "aa02"]),
        (["--spec", "model.layers=8"], ["bb03", "dd05"]),
        (["--spec", "model.layers=8", "--spec", "kind=passes"], ["dd05"]),
        (["--spec", "counterfactual._target_=grad*"], ["cc04"]),
        (["--keep", "10K"], ["aa01", "aa02", "bb03"]),
        (["--keep", "10K", "--spec", "kind=models", "--older-than", "5.5d"], ["aa01"]),
        (["--keep", "1G"], []),
    ],
)
def test_prune_removes_what_is_chosen_and_nothing_else(place, words, going):
    everything = keys(place)
    printed = said(place, "prune", *words, "--dry-run")
    assert keys(place) == everything
    assert [key for key in everything if f"/{key}.safetensors" in printed] == going
    said(place, "prune", *words)
    assert keys(place) == sorted(set(everything) - set(going))
    assert (place / "models" / "aa01.csv").exists() == ("aa01" not in going)  # a curve goes with its model


def test_prune_wants_to_know_what(place):
    assert "prune: say what to remove" in said(place, "prune", code=1)
    assert "--spec layers: takes KEY=VALUE" in said(place, "prune", "--spec", "layers", code=1)


@pytest.mark.parametrize("word", ["model.depth=*", "model.depth=None", "model.layer=8"])
def test_prune_refuses_a_setting_that_nothing_has(place, word):
    said_ = said(place, "prune", "--spec", word, code=1)
    assert f"--spec {word}: nothing in store has such a setting" in said_
    assert "did you mean model.layers?" in said_
    assert len(keys(place)) == 5


def test_prune_does_not_choose_what_lacks_the_setting(place):
    said(place, "prune", "--spec", "counterfactual._target_=*")
    assert keys(place) == ["aa01", "aa02", "bb03", "dd05"]


def _save_list(place):
    """An artifact with a description that is not ours."""
    text, tensors = "[1]", {"a": torch.zeros(1)}
    metadata = {artifacts.METADATA: f"{artifacts._checksum(tensors, text)} {text}"}
    (place / "models" / "ff07.safetensors").write_bytes(artifacts.serialise(tensors, metadata))


def test_files_that_are_not_ours_stop_nothing(place):
    (place / "models" / "ee06.safetensors").mkdir()
    _save_list(place)
    store.save(place, "models", "ff08", {"a": torch.zeros(1)}, {"spec": {"model": {"layers": 1}}})
    printed = said(place, "verify", code=1)
    assert "damaged: store/models/ee06.safetensors" in printed
    assert "8 artifacts, 1 damaged" in printed
    assert said(place, "ls").count("damaged") == 2
    said(place, "prune", "--spec", "kind=passes")
    assert "dd05" not in keys(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_store_that_can_only_be_read_is_named(place):
    subprocess.run(["mount", "--bind", place, place], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
    try:
        printed = said(place, "prune", "--older-than", "0s", code=1)
    finally:
        subprocess.run(["umount", place], check=True)
    assert re.search(r"store/\S+: cannot be removed \(Read-only file system\)", printed)
    assert "Traceback" not in printed
    assert len(keys(place)) == 5


def abandoned(path, content=b"half"):
    """A file that nobody has written to for an hour."""
    path.write_bytes(content)
    os.utime(path, (time.time() - 3600,) * 2)
    return path


def test_prune_removes_leftovers(place):
    part = abandoned(place / "models" / ".bb03.safetensors.somewhere-1-0.part")
    curve = abandoned(place / "models" / "ee06.csv")  # its writer was killed before the model was written
    lock = abandoned(place / "locks" / "k.lock", b"")
    (place / "damaged" / "models").mkdir(parents=True)
    aside = abandoned(place / "damaged" / "models" / "gg08-0.safetensors")
    (place / "models" / ".q.part").mkdir()
    os.utime(place / "models" / "aa01.csv", (0, 0))
    assert inventory.leftovers(place) == [part, curve, lock, aside]
    assert said(place, "verify").count("left over: ") == 4
    said(place, "prune", "--leftovers")
    assert inventory.leftovers(place) == []
    assert len(keys(place)) == 5
    assert (place / "models" / "aa01.csv").exists()


def test_files_of_a_job_that_writes_now_are_no_leftovers(place):
    for name in ("models/.bb03.safetensors.somewhere-1-0.part", "models/ee06.csv", "locks/k.lock"):
        (place / name).write_bytes(b"half")
    assert inventory.leftovers(place) == []


def test_a_name_steers_no_terminal(place):
    (place / "models" / "\x1b[2J.safetensors").write_bytes(b"")
    for words in (["ls"], ["verify"], ["prune", "--older-than", "0s", "--dry-run"]):
        printed = said(place, *words, code=int(words == ["verify"]))
        assert "\x1b" not in printed
        assert "\\x1b[2J" in printed


@pytest.mark.parametrize("words", [["--spec", "kind=models"], ["--keep", "0"], ["--old-format"]])
def test_what_a_job_has_just_loaded_or_made_is_not_pruned(place, words):
    """A job that runs may need it once more, whatever makes it old or large."""
    store.load(place, "models", "aa01")
    with mock.patch("cftransfer.store.artifacts.FORMAT", FORMAT - 1):
        store.save(place, "models", "ee06", {"a": torch.zeros(1000)}, {"spec": spec(2), "seed": 0})
    printed = said(place, "prune", *words)
    assert {"aa01", "ee06"} <= set(keys(place))
    assert "that a job has used in the last day; add --older-than 0s to remove them" in printed
    said(place, "prune", *words, "--older-than", "0s")
    assert "ee06" not in keys(place)


def test_prune_keeps_to_a_size_by_the_last_use(place):
    for days, key in ((9, "bb03"), (8, "aa02")):
        os.utime(place / "models" / f"{key}.safetensors", (time.time() - 86400 * days,) * 2)
    printed = said(place, "prune", "--keep", "14K")
    assert keys(place) == ["aa01", "cc04", "dd05"]
    assert "kept" not in printed


def test_artifacts_of_an_older_format_are_counted_and_removed_by_name(place):
    """As from a version that did not write the format into its artifacts."""
    assert "format" not in said(place, "ls")
    tensors, text = {"weights/a": torch.zeros(1000)}, json.dumps({"spec": spec(4), "seed": 0})
    path = place / "models" / "ee06.safetensors"
    path.write_bytes(artifacts.serialise(tensors, {artifacts.METADATA: f"{artifacts._checksum(tensors, text)} {text}"}))
    os.utime(path, (time.time() - 86400 * 2,) * 2)
    last = said(place, "ls").splitlines()[-1]
    assert re.fullmatch(r"1 of them, 4\.\d KB, have an older format, .*prune --old-format.*", last)
    assert said(place, "verify").splitlines()[-1] == "6 artifacts, 0 damaged, 0 left over"
    said(place, "prune", "--leftovers")  # an earlier version may use it still
    assert path.exists()
    said(place, "prune", "--old-format", "--spec", "model.layers=8")
    assert path.exists()
    said(place, "prune", "--old-format")
    assert keys(place) == ["aa01", "aa02", "bb03", "cc04", "dd05"]


def test_a_clock_that_has_jumped_back_makes_nothing_old(place):
    path = place / "models" / "bb03.safetensors"
    os.utime(path, (time.time() + 10**7,) * 2)
    assert next(entry for entry in inventory.entries(place) if entry.path == path).unused == 0.0


def test_no_store_is_named(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert "nowhere: no such folder" in said(tmp_path / "elsewhere", "--store", "nowhere", "ls", code=1)
