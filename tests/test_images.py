"""The whole path on small real images: from a folder of files to rates, pictures and a page."""

import re

import numpy as np
import pytest
import torch
from conftest import ROOT, results, run_command, table, transfer_table
from offline_run import read
from photos import put_cifar10, put_tree
from PIL import Image

from cftransfer.data.cifar10_airplane import cifar10_airplane
from cftransfer.data.pixels import unit
from cftransfer.jobs import examples
from cftransfer.jobs.example_picture import factor, strip
from cftransfer.measuring.controls import Nearest, nearest_rows
from cftransfer.store import prepare
from cftransfer.store.searched import run_search
from cftransfer.store.trained import trained

CNN = {"_target_": "cnn", "layers": 2, "width": 4}
SEARCH = {
    "_target_": "gradient",
    "constraints": "possible",
    "distance": "l2",
    "refine": "none",
    "iterations": 300,
    "lr": 0.005,
    "distance_weight": 0.1,
    "confidence": 0.5,
    "batch_size": 16,
}
SMALL_IMAGES = [
    "model.layers=2",
    "model.width=4",
    "training.epochs=6",
    "training.lr=0.005",
    "training.batch_size=16",
    "counterfactual.lr=0.01",
    "counterfactual.distance_weight=0",
    "replicates.bases=2",
    "replicates.references=2",
    "samples=30",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    put_cifar10(folder, train=45, test=18)
    return cifar10_airplane(folder, split_seed=0)


@pytest.fixture(scope="module")
def model(photos, tmp_path_factory):
    spec = {"dataset": {}, "model": CNN, "training": {"epochs": 6, "lr": 0.005, "batch_size": 16}}
    store = prepare(tmp_path_factory.mktemp("store"))
    return trained(spec, [1], dataset=photos, store=store)[0]


@pytest.fixture(scope="module")
def found(photos, model):
    return run_search(model, unit(photos.x_test[:30]), settings=SEARCH, dataset=photos)


def test_a_cnn_against_itself_is_1_and_against_its_negated_logits_0(found, model):
    assert found.found.float().mean() > 0.5
    nearest = Nearest(found.factual, torch.arange(len(found)), torch.zeros(len(found)))
    ask = {"nearest": [nearest], "base_seeds": [0], "reference_seeds": [1], "nested": False}
    for reference, expected in ((model, 1.0), (lambda x: -model(x), 0.0)):
        transfers = transfer_table([found], [reference], **ask)
        assert transfers[transfers.found].transferred.mean() == expected


def test_an_image_gets_the_same_counterfactual_alone_and_in_any_company(found, model, photos):
    for rows in ([3], [9, 3, 20, 11]):
        again = run_search(model, found.factual[rows], settings=SEARCH, dataset=photos)
        torch.testing.assert_close(again.counterfactual, found.counterfactual[rows], atol=1e-5, rtol=0)
        assert torch.equal(again.iterations, found.iterations[rows])


@pytest.fixture(scope="module", params=["cifar10_airplane", pytest.param("imagenet_orange", marks=pytest.mark.slow)])
def job(request, tmp_path_factory):
    """A job on either data set, as a user starts it."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "cifar10_airplane":
        put_cifar10(folder / "data")
    else:
        put_tree(folder / "data" / "imagenet")
    size = ["dataset.size=40"] if request.param == "imagenet_orange" else []
    done = run_command(folder, "transfer.py", f"dataset={request.param}", *size, *SMALL_IMAGES, "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    return request.param, folder


def test_a_job_on_images_measures_in_grey_levels(job):
    name, folder = job
    (result,) = results(folder)
    metrics, found = result["metrics"], table(folder, "counterfactuals")
    assert result["choices"]["dataset"] == name
    assert 0 <= metrics["rate"] <= 1
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "reference" / "output.md").read_text()))
    assert set(metrics) | set(found) | set(table(folder, "examples")) <= documented | {"distance_l1", "distance_linf"}
    assert metrics["found"] > 0.5
    values = 3 * 32**2 if name == "cifar10_airplane" else 3 * 40**2
    np.testing.assert_allclose(found.pixel_l2, 255 * found.distance_l2 / values**0.5)
    np.testing.assert_allclose(found.pixel_linf, 255 * found.distance_linf)
    assert metrics["pixel_l2"] == pytest.approx(found[found.found].groupby("base").pixel_l2.mean().mean())
    assert not {"x", "counterfactual"} & set(found)  # thousands of numbers a row: the store has them


def test_the_counterfactuals_themselves_are_where_result_json_says(job):
    from safetensors.torch import load_file

    _, folder = job
    (result,) = results(folder)
    found = table(folder, "counterfactuals")
    assert len(result["counterfactuals"]) == 2
    for base, place in enumerate(result["counterfactuals"]):
        kept, rows = load_file(folder / "store" / place), found[found.base == base]
        assert kept["counterfactual"].shape[1:] in {(3, 32, 32), (3, 40, 40)}
        np.testing.assert_array_equal(kept["logit"], rows.logit)
        assert "factual" not in kept  # the data set has them
    assert len(result["data"]["version"]) == 16
    assert "train images" in result["data"]["about"]


def test_a_job_on_images_leaves_pictures_everywhere(job):
    _, folder = job
    pictures = sorted(folder.rglob("examples/*.png"))
    shown, stable = table(folder, "examples"), table(folder, "extremes")
    named = [f"{row.example}-{'' if row.transferred else 'not-'}transferred" for row in shown.itertuples()]
    assert [path.stem for path in pictures] == named + sorted(
        f"{row.side}-stable-{row.example}" for row in stable.itertuples()
    )
    assert shown.transferred.value_counts().max() <= 3
    transfers = table(folder, "transfers").set_index(["base_seed", "reference_seed", "factual"])
    for row in shown.itertuples():
        of = transfers.loc[(row.base_seed, row.reference_seed, row.factual)]
        assert (of.found, of.transferred) == (True, row.transferred)
        assert (row.reference_counterfactual > 0.5) == row.transferred
        assert row.base_factual <= 0.5 < row.base_counterfactual
    (page,) = folder.rglob("report.html")
    text = page.read_text()
    assert text.count("data:image/png;base64,") == len(pictures) > 0
    (run,) = [read(path) for path in folder.rglob("wandb") if path.is_dir() and list(path.glob("*-run-*"))]
    assert run["summary"]["pictures.count"] == len(pictures)
    assert run["summary"]["examples.nrows"] == len(shown)


def test_a_strip_shows_what_changed_and_how_much_it_is_magnified():
    x = torch.full((3, 32, 32), 0.5)
    reached = x.clone()
    reached[0, :16] += 0.02
    assert factor(x, reached) == 20  # 50 would leave the range
    told = {
        "transferred": True, "from_class": "other", "target_class": "airplane", "l2": 0.5, "linf": 0.02,
        "base_factual": 0.1, "base_counterfactual": 0.6, "reference_factual": 0.2, "reference_counterfactual": 0.7,
    }  # fmt: skip
    picture = strip(x, reached, told)
    height, width, _ = picture.shape
    middle = height // 2 - 20
    factual, changed, difference = (picture[:, index * width // 3 : (index + 1) * width // 3] for index in range(3))
    assert (factual[60, 100] == 128).all()
    assert changed[60, 100].tolist() == [133, 128, 128]  # .52 · 255, rounded
    assert difference[60, 100].tolist() == [229, 128, 128]  # ½ + 20 · .02, of 255
    assert difference[middle + 60, 100].tolist() == [128, 128, 128]


def test_a_grey_image_makes_a_strip_too(found):
    told = {"transferred": False, "from_class": "a", "target_class": "b", "l2": 0.0, "linf": 0.0}
    chances = dict.fromkeys(
        ["base_factual", "base_counterfactual", "reference_factual", "reference_counterfactual"], 0.5
    )
    x = torch.rand(1, 224, 100)
    assert Image.fromarray(strip(x, x, told | chances)).size[0] > 300


def test_examples_of_a_table_are_cards_in_original_units(trained_models, compas):
    from conftest import composed
    from omegaconf import OmegaConf

    settings = OmegaConf.to_container(composed().counterfactual, resolve=True)
    searches = [run_search(trained_models[0], compas.x_test[:40], settings=settings, dataset=compas)]
    ask = {"base_seeds": [0], "reference_seeds": [1], "nested": False}
    nearest = [nearest_rows(searches[0], trained_models[0], compas.x_train)]
    transfers = transfer_table(searches, trained_models[1:2], nearest=nearest, **ask)
    some = examples.examples(searches, transfers, compas)
    cards = examples.table(some, compas)
    assert cards.groupby("example").transferred.first().tolist() == [True] * 3 + [False] * 3
    first = transfers[transfers.found & transfers.transferred.fillna(False)].iloc[0]
    assert (cards.iloc[0].factual, cards.iloc[0].target_class) == (first.factual, compas.classes[first.target])
    original = compas.space.decode(searches[0].factual.numpy())
    for row in cards.itertuples():
        assert row.old == str(original.loc[row.factual, row.feature])
        assert row.new != row.old
    assert not examples.pictures(some, compas)


def test_nothing_found_leaves_no_examples(photos, model):
    x = unit(photos.x_test[:4])
    nothing = run_search(model, x, settings={**SEARCH, "iterations": 0}, dataset=photos)
    nearest = Nearest(x, torch.arange(4), torch.zeros(4))
    transfers = transfer_table([nothing], [model], nearest=[nearest], base_seeds=[0], reference_seeds=[0], nested=True)
    assert examples.examples([nothing], transfers, photos) == []
    assert examples.table([], photos).empty
