"""A boundary picture shows the job's own points in the models' own colours, and says how far it can be trusted."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, SMALL, run_command
from PIL import Image

from cftransfer.commands.boundary import PAIRS, _balanced, drawn
from cftransfer.commands.boundary import command as boundary_command
from cftransfer.data.dataset import from_table
from cftransfer.data.feature import Feature
from cftransfer.errors import InputError
from cftransfer.models.prediction import logits, predicted
from cftransfer.report import boundary
from cftransfer.report import projection as planes
from cftransfer.report.collect import jobs
from cftransfer.report.projection import plane


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One job on moons, one on COMPAS, one with its own bases, trained on, as references, and one of other rows."""
    folder = tmp_path_factory.mktemp("boundary")
    for words in (["-m", *SMALL[1:], "dataset=moons,compas", "hydra.sweep.dir=sweep"],
                  [*SMALL, "experiment=continued_training", "extra_epochs=2", "hydra.run.dir=older"],
                  [*SMALL[1:], "dataset=moons", "experiment=shift", "+reference.rows.dataset.noise=0.6",
                   "hydra.run.dir=shift"]):  # fmt: skip
        done = run_command(folder, "transfer.py", *words, WANDB_MODE="disabled")
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def at_home(folder, monkeypatch):
    monkeypatch.chdir(folder)  # a job's store is relative to where it was run
    monkeypatch.setattr(planes, "ROWS", 200)
    return folder


def shown(folder, projection="pca", **pair):
    (job,) = jobs([Path(folder)]).jobs
    of_job = drawn(job, **pair)
    where = plane(projection, of_job.dataset, factuals=of_job.factuals, counterfactuals=of_job.counterfactuals)
    return of_job, where


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["boundary", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        boundary_command()
    return ended.value.code


def transfers(folder, base, reference):
    table = pd.read_parquet(Path(folder) / "transfers.parquet")
    return table[(table.base == base) & (table.reference == reference) & table.found]


def test_two_features_are_shown_as_they_are(at_home):
    pair, where = shown("sweep/0")
    assert where.name == "exact"
    x, y = where.centres(50)
    low, high = np.array([(feature.low, feature.high) for feature in pair.dataset.space.features]).T
    middles = np.stack([np.tile(x, 50), np.repeat(y, 50)], axis=1)
    inside = torch.from_numpy(((middles - low) / (high - low)).astype(np.float32))
    assert (inside > 0).all()
    assert (inside < 1).all()
    for model in pair.models:
        assert (where.regions(model, pixels=50).ravel() == predicted(logits(model, inside)).numpy()).all()
        assert where.share(model, pair.counterfactuals) == 1
    original = pair.dataset.space.decode(pair.factuals.numpy()).to_numpy()
    assert where.factuals == pytest.approx(original, abs=1e-6)


def test_a_pixel_has_the_colour_of_the_points_in_it(at_home):
    pair, where = shown("sweep/0")
    left, right, bottom, top = where.box
    column, row = ((where.counterfactuals - [left, bottom]) / [right - left, top - bottom] * planes.PIXELS).T
    column, row = (number.astype(int).clip(0, planes.PIXELS - 1) for number in (column, row))
    classes = where.regions(pair.models[0])
    near = [classes[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2] for r, c in zip(row, column)]
    assert all(target in around for target, around in zip(1 - pair.classes, near))


@pytest.mark.parametrize(("job", "base", "reference"), [("sweep/0", 1, 2), ("sweep/1", 0, 1), ("older", 1, 1)])
def test_what_is_shown_is_what_the_tables_say(at_home, job, base, reference):
    pair, _ = shown(job, base=base, reference=reference)
    rows = transfers(job, base, reference)
    if "extra_epochs" in rows:
        rows = rows[rows.extra_epochs == 2]
    assert len(pair.every) == len(pair.transferred) == len(rows) <= PAIRS
    assert pair.transferred.sum() == pair.every.sum() == rows.transferred.sum()
    targets = torch.from_numpy(1 - pair.classes)
    answers = [predicted(logits(model, pair.counterfactuals)) == targets for model in pair.models]
    assert answers[0].all()
    assert (answers[1].numpy() == pair.transferred).all()


def test_without_a_reference_it_is_the_first_that_the_base_met(at_home):
    pair, _ = shown("older", base=1)
    assert pair.titles == ("base: mlp, seed 1", "reference: training.epochs=4, seed 1")


@pytest.mark.parametrize(
    ("yes", "no", "drawn"), [(100, 100, (30, 30)), (10, 100, (10, 50)), (100, 0, (60, 0)), (5, 6, (5, 6))]
)
def test_both_kinds_are_drawn_alike(yes, no, drawn):
    transferred = np.random.default_rng(0).permutation(np.repeat([True, False], [yes, no]))
    rows = _balanced(transferred)
    assert (transferred[rows].sum(), (~transferred[rows]).sum()) == drawn
    assert (np.diff(rows) > 0).all()
    for kind in (True, False):
        of_kind = rows[transferred[rows] == kind]
        assert list(of_kind) == list(np.flatnonzero(transferred == kind)[: len(of_kind)])


@pytest.fixture(scope="module")
def flat_data():
    """Four features that lie in a plane."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(0.1, 0.5, (60, 2)) @ rng.uniform(0.1, 0.9, (2, 4))
    features = [Feature(name=name, kind="continuous") for name in "abcd"]
    table, label = pd.DataFrame(rows, columns=list("abcd")), (rows[:, 0] > np.median(rows[:, 0])).astype(int)
    return from_table("flat", table, label, features=features, classes=("no", "yes"), test_share=0.5, split_seed=0)


def test_what_lies_in_the_plane_comes_back_from_pca(flat_data):
    x = flat_data.x_train
    where = plane("pca", flat_data, factuals=x[:9], counterfactuals=x[9:18])
    assert where.name == "pca"
    assert "100 % of its variance" in where.about
    assert where.stands_for(where.factuals).numpy() == pytest.approx(x[:9].numpy(), abs=1e-5)
    assert where.under.numpy() == pytest.approx(x[9:18].numpy(), abs=1e-5)
    assert where.share(lambda rows: rows[:, 0] - x[:, 0].median() + 1e-4, x[9:18]) == 1
    outside = where.stands_for(np.array([[9.0, 9.0], [-9.0, -9.0]]))
    assert ((outside >= 0) & (outside <= 1)).all()


def test_a_place_in_tsne_has_the_colour_of_the_nearest_point(flat_data):
    x = flat_data.x_train
    where = plane("tsne", flat_data, factuals=x[:4], counterfactuals=x[4:8])
    assert len(where.others) == len(x)  # 8 and all 30 rows; some stand twice
    assert where.stands_for(where.counterfactuals).numpy() == pytest.approx(x[4:8].numpy())
    assert "perplexity 12.3" in where.about
    points = np.concatenate([where.factuals, where.counterfactuals, where.others])
    apart = np.linalg.norm(where.counterfactuals[:, None] - points, axis=2)
    apart[np.arange(4), np.arange(4, 8)] = np.inf  # itself
    nearest = torch.cat([x[:8], where.stands_for(where.others)])[apart.argmin(axis=1)]
    assert where.under.numpy() == pytest.approx(nearest.numpy(), abs=1e-6)


def test_one_column_has_no_plane(flat_data):
    narrow = replace(flat_data, x_train=flat_data.x_train[:, :1])
    with pytest.raises(InputError, match="one column"):
        plane("pca", narrow, factuals=narrow.x_train, counterfactuals=narrow.x_train)


def test_the_caption_says_what_is_not_there(at_home):
    pair, where = shown("sweep/0")
    said = boundary.caption(pair, where, crossed=[True, False])
    assert "100 % (base) and 100 % (reference) of the counterfactuals drawn have the colour" in said
    assert "The boundary of the reference lies outside the picture" in said
    failed = len(pair.every) - pair.every.sum()
    assert f"{failed} of {failed} that did not" in said


@pytest.mark.parametrize("projection", ["pca", "tsne"])
def test_pictures_land_beside_each_job_of_a_sweep(at_home, monkeypatch, capsys, projection):
    assert command(monkeypatch, "sweep", "--projection", projection) == 0
    names = [f"sweep/{job}/boundary-{name}" for job, name in
             enumerate(["exact" if projection == "pca" else "tsne", projection])]  # fmt: skip
    assert sorted(capsys.readouterr().out.splitlines()) == [
        f"boundary picture: {name}.png, {Path(name).name}.svg" for name in names
    ]
    for name in names:
        with Image.open(f"{name}.png") as picture:
            assert picture.size == (1760, 1120)
            assert len(picture.convert("RGB").getcolors(2**24)) > 100
        assert "<svg" in Path(f"{name}.svg").read_text()


def test_pictures_are_named_by_their_job_elsewhere(at_home, monkeypatch, tmp_path):
    assert command(monkeypatch, "sweep", "older", "--out", tmp_path) == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "boundary-older-exact.png", "boundary-sweep-0-exact.png", "boundary-sweep-1-pca.png"}  # fmt: skip
    assert command(monkeypatch, "older", "--out", tmp_path / "alone") == 0
    assert (tmp_path / "alone" / "boundary-exact.png").exists()


def test_the_command_from_another_process(folder):
    done = run_command(folder, "-m", "cftransfer.report.boundary", "older", PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "boundary picture: older/boundary-exact.png, boundary-exact.svg\n"


def damaged(job, copy, name, change):
    shutil.copytree(job, copy)
    path = copy / f"{name}.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    return copy


CHANGES = {
    "its inputs are images": ("counterfactuals", lambda t: t.drop(columns=["x", "counterfactual"])),
    "counterfactuals.parquet: lacks the 2 columns": (
        "counterfactuals",
        lambda t: t.assign(x=[list(x)[:1] for x in t.x]),
    ),
    "counterfactuals.parquet cannot be read": ("counterfactuals", lambda t: t.drop(columns="target")),
    "transfers.parquet cannot be read": ("transfers", lambda t: t.drop(columns="transferred")),
    "transfers.parquet does not have the same": ("transfers", lambda t: t.drop_duplicates(["base", "reference"])),
    "--base 0: found no": ("counterfactuals", lambda t: t.assign(found=False)),
}


@pytest.mark.parametrize("said", CHANGES)
def test_a_job_that_cannot_be_drawn_is_one_line(at_home, monkeypatch, capsys, tmp_path, said):
    copy = damaged("sweep/0", tmp_path / "job", *CHANGES[said])
    assert command(monkeypatch, copy) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cftransfer.report.boundary: {copy}: {said}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["store"], "store: holds no finished job of transfer.py"),
        (["older", "--base", "9"], "older: --base 9: no such base; there are: 0, 1"),
        (["older", "--base", "1", "--reference", "0"], "older: --reference 0: base 1 did not meet it, but met: 1"),
    ],
)
def test_a_mistake_is_one_line(at_home, monkeypatch, capsys, words, said):
    code = command(monkeypatch, *words)
    lines = [*capsys.readouterr().err.splitlines(), *([code] if isinstance(code, str) else [])]
    assert lines == [f"cftransfer.report.boundary: {said}"]
    assert code != 0


def test_models_that_answer_otherwise_are_said(at_home, tmp_path):
    pair, where = shown("sweep/0")
    assert pair.otherwise == (0, 0)
    assert "differ from the job's" not in boundary.caption(pair, where, crossed=[True, True])
    pair, where = shown(
        damaged("sweep/0", tmp_path / "job", "transfers", lambda t: t.assign(transferred=~t.transferred))
    )
    many = len(transfers("sweep/0", 0, 0))
    assert pair.otherwise == (0, many)
    assert f"0 (base) and {many} (reference) of all found" in boundary.caption(pair, where, crossed=[True, True])


def test_references_of_other_rows_are_those_of_the_job(at_home, monkeypatch, tmp_path):
    pair, _ = shown("shift")
    assert pair.otherwise == (0, 0)
    assert pair.titles[1] == "reference: rows=shift rows.dataset.noise=0.6 rows.draw=0, seed 0"
    base, reference = (logits(model, pair.dataset.x_test) for model in pair.models)
    assert not torch.equal(base, reference)  # on the same rows they would be one model: they share a seed
    monkeypatch.chdir(tmp_path)  # without a store they are trained again, on the rows of the job
    assert shown(at_home / "shift")[0].otherwise == (0, 0)


def test_models_that_are_gone_are_trained_again_as_they_were(at_home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pair, _ = shown(at_home / "older", base=1)
    assert pair.otherwise == (0, 0)
    assert len(list((tmp_path / "store" / "models").glob("*.safetensors"))) == 4
