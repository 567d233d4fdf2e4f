"""python -m cftransfer.store: what is listed, checked and removed is what is there, and what is in use stays."""

import io
import json
import multiprocessing
import os
import re
import subprocess
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from unittest import mock

import pytest
import torch

from cftransfer import store
from cftransfer.spec import family_key
from cftransfer.store import inventory, locks
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
        ("counterfactuals", "cc04", {"base": {**spec(1), "seed": 0}, "counterfactual": {"_target_": "x.gradient"}}),
        ("passes", "dd05", {"spec": spec(8), "seeds": [0, 1], "epoch": 2}),
    ]
    for days, (kind, key, described) in zip(range(len(about), 0, -1), about, strict=True):
        path = store.save(place, kind, key, {"weights/a": torch.zeros(1000)}, described)
        os.utime(path, (time.time() - 86400 * days,) * 2)
    (place / "models" / "aa01.csv").write_text("epoch\n")
    return place


def said(place, *words, code=0):
    """Return what `python -m cftransfer.store` prints; in this process, since each other one imports torch anew."""
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
    assert re.fullmatch(r" models +aa01 +moons mlp layers=1 epochs=3 seed=0 +4\.\d KB +5 d ", lines[1])
    assert [line.split()[1] for line in lines[1:-1]] == ["aa01", "aa02", "bb03", "cc04", "dd05"]
    assert "search=gradient" in lines[4]
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
    (place / "models" / ".bb03.safetensors.somewhere-1-0.part").write_bytes(b"half")
    printed = said(place, "verify", code=1)
    assert "damaged: store/models/aa02.safetensors" in printed
    assert "left over: store/models/.bb03" in printed
    assert path.exists()  # it only looks


@pytest.mark.parametrize(
    ("words", "going"),
    [
        (["--older-than", "3.5d"], ["aa01", "aa02"]),
        (["--spec", "model.layers=8"], ["bb03", "dd05"]),
        (["--spec", "model.layers=8", "--spec", "kind=passes"], ["dd05"]),
        (["--spec", "counterfactual._target_=*gradient"], ["cc04"]),
        (["--keep", "10K"], ["aa01", "aa02", "bb03"]),
        (["--keep", "10K", "--spec", "kind=models", "--older-than", "4.5d"], ["aa01"]),
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
    assert "prune: say what" in said(place, "prune", code=1)
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


def test_files_that_are_not_ours_stop_nothing(place):
    (place / "models" / "ee06.safetensors").mkdir()
    store.save(place, "models", "ff07", {"a": torch.zeros(1)}, [1])
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


def test_prune_removes_leftovers(place):
    (place / "models" / ".bb03.safetensors.somewhere-1-0.part").write_bytes(b"half")
    (place / "models" / "ee06.csv").write_text("epoch\n")  # of one who was killed before the model was written
    (place / "models" / ".q.part").mkdir()
    assert said(place, "verify").count("left over: ") == 2
    with mock.patch("cftransfer.store.inventory.in_use", return_value={"f00"}):  # or is at it
        assert [path.name for path in inventory.leftovers(place)] == [".bb03.safetensors.somewhere-1-0.part"]
    late = place / "models" / "ee06.safetensors"
    with mock.patch("cftransfer.store.inventory.in_use", side_effect=lambda _: late.touch() or set()):  # it is done now
        assert [path.name for path in inventory.leftovers(place)] == [".bb03.safetensors.somewhere-1-0.part"]
    late.unlink()
    said(place, "prune", "--leftovers")
    assert inventory.leftovers(place) == []
    assert len(keys(place)) == 5
    assert (place / "models" / "aa01.csv").exists()


def test_a_name_steers_no_terminal(place):
    (place / "models" / "\x1b[2J.safetensors").write_bytes(b"")
    for words in (["ls"], ["verify"], ["prune", "--older-than", "0s", "--dry-run"]):
        printed = said(place, *words, code=int(words == ["verify"]))
        assert "\x1b" not in printed
        assert "\\x1b[2J" in printed


def _uses(place, family, ready):
    locks.LEASE = 2.0
    with store.using(place, [family]):
        ready.set()
        time.sleep(600)


def test_what_a_living_job_uses_is_not_pruned(place, monkeypatch):
    monkeypatch.setattr(locks, "LEASE", 2.0)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    job = context.Process(target=_uses, args=(place, family_key(spec(1)), ready), daemon=True)
    job.start()
    assert ready.wait(60)
    going, used = inventory.to_prune(place, older_than=0.0)
    assert [entry.path.stem for entry in going] == ["bb03", "dd05"]
    assert [entry.path.stem for entry in used] == ["aa01", "aa02", "cc04"]
    going, used = inventory.to_prune(place, keep_bytes=9000)  # of what is free, as much as it takes
    assert [entry.path.stem for entry in going] == ["bb03", "dd05"]
    assert [entry.path.stem for entry in used] == ["aa01", "aa02", "cc04"]
    job.kill()
    job.join()
    going, used = inventory.to_prune(place, older_than=0.0)
    assert (len(going), used) == (5, [])


def test_a_clock_that_has_jumped_back_makes_nothing_old(place):
    path = place / "models" / "bb03.safetensors"
    os.utime(path, (time.time() + 10**7,) * 2)
    assert next(entry for entry in inventory.entries(place) if entry.path == path).age == 0.0


def test_no_store_is_named(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert "nowhere: no such folder" in said(tmp_path / "elsewhere", "--store", "nowhere", "ls", code=1)
