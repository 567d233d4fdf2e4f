"""The folder that `train.py export=…` writes, read as other libraries read it: without cftransfer."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, SMALL, composed, results, run_command
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cftransfer import Feature, FeatureSpace, dataset, train
from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import PixelSpace
from cftransfer.errors import InputError
from cftransfer.models import load_exported, sklearn_storage
from cftransfer.models.export import export
from cftransfer.models.prediction import logits

ALONE = """
import sys
for name in ("cftransfer", "pandas", "safetensors", "sklearn", "skops", "pytorch_lightning"):
    sys.modules[name] = None  # an import of it fails
sys.path.insert(0, sys.argv[1])
import torch, load
x = torch.load(sys.argv[2], weights_only=True)
torch.save({seed: load.load(seed)(x).detach() for seed in load.seeds()}, sys.argv[3])
"""


def loader(folder: Path):
    """The load.py of a folder, as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"load_{folder.name}", folder / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(compas, trained_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compas")
    export(folder, dict(enumerate(trained_models)), compas)
    return folder


@pytest.fixture(scope="module")
def noise():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (40, 3, 8, 8), generator=generator, dtype=torch.uint8)
    y = (torch.arange(40) % 2).float()
    space = PixelSpace((3, 8, 8))
    return Dataset(
        name="noise", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:], space=space, classes=("0", "1")
    )


def test_with_torch_alone_the_models_give_the_same_logits_to_the_bit(exported, compas, trained_models, tmp_path):
    torch.save(compas.x_test, tmp_path / "x")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, exported, tmp_path / "x", tmp_path / "logits"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs = torch.load(tmp_path / "logits", weights_only=True)
    for seed, model in enumerate(trained_models):
        torch.testing.assert_close(theirs[seed], model(compas.x_test), rtol=0, atol=0)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_loaded_network_takes_any_number_of_rows_and_has_gradients(exported, compas, trained_models, rows):
    network = loader(exported).load(0).eval()  # as other libraries call it
    ours, theirs = (compas.x_test[:rows].clone().requires_grad_() for _ in range(2))
    trained_models[0](ours).sum().backward()
    network(theirs).sum().backward()
    torch.testing.assert_close(theirs.grad, ours.grad, rtol=0, atol=0)


def test_weights_are_a_state_dict(exported, trained_models):
    from safetensors.torch import load_file

    state = load_file(exported / "model-1.safetensors")
    for name, tensor in trained_models[1].state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)


def test_the_same_model_gives_the_same_files_which_name_no_place_of_this_machine(
    exported, compas, trained_models, tmp_path
):
    export(tmp_path, dict(enumerate(trained_models)), compas)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (exported / path.name).read_bytes()
    with zipfile.ZipFile(exported / "model-0.pt2") as program:
        parts = [program.read(name) for name in program.namelist()]
    assert any(b"_InPlaceLinear" in part for part in parts)  # uncompressed parts can be searched
    assert not any(str(ROOT).encode() in part or sys.prefix.encode() in part for part in parts)


def test_the_rows_of_compas_are_encoded_as_the_models_saw_them(exported, compas):
    factuals, training = (pd.read_parquet(exported / f"{name}.parquet") for name in ("factuals", "training"))
    assert factuals.factual.tolist() == list(range(len(compas.x_test)))
    assert list(training) == [*compas.space.names, "label"]
    for rows, x, y in ((factuals, compas.x_test, compas.y_test), (training, compas.x_train, compas.y_train)):
        assert rows.label.tolist() == y.tolist()
        torch.testing.assert_close(loader(exported).encode(rows), x, rtol=0, atol=0)
        np.testing.assert_array_equal(compas.space.encode(rows), x.numpy())


def test_probabilities_are_those_of_the_logits(exported, compas, trained_models):
    factuals, load = pd.read_parquet(exported / "factuals.parquet"), loader(exported)
    logit = logits(trained_models[2], compas.x_test)
    shares = load.predict(factuals, 2)
    np.testing.assert_allclose(shares, torch.stack([-logit, logit], 1).sigmoid().numpy(), atol=1e-6)
    np.testing.assert_array_equal(load.Classifier(2).predict(factuals), (logit > 0).long().numpy())
    np.testing.assert_array_equal(load.predict(factuals), load.predict(factuals, 0))  # the first


FEATURES = (
    Feature(name="income", kind="continuous", low=-3.5, high=12.25),
    Feature(name="wealth", kind="continuous", low=0, high=1e6, scale="log1p"),
    Feature(name="age", kind="integer", low=18, high=90, mutable=False),
    Feature(name="same", kind="integer", low=0, high=0),
    Feature(name="sex", kind="binary", categories=("f", "m")),
    Feature(name="school", kind="ordinal", categories=("none", "some", "all"), direction="up"),
    Feature(name="job", kind="categorical", categories=("a", "b", "c=d")),
)
number = st.floats(-1e7, 1e7, allow_nan=False)
row = st.fixed_dictionaries(
    {
        "income": number,
        "wealth": st.floats(0, 1e7),
        "age": st.integers(-10, 200),
        "same": st.integers(-1, 1),
        **{feature.name: st.sampled_from(feature.categories) for feature in FEATURES if feature.categories},
    }
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """An export of a space with a feature of every kind, and a network of three classes."""
    folder, space = tmp_path_factory.mktemp("mixed"), FeatureSpace(FEATURES)
    x, y = torch.rand(6, len(space.columns)), torch.tensor([0.0, 1, 2, 0, 1, 2])
    data = Dataset(name="mixed", x_train=x, y_train=y, x_test=x, y_test=y, space=space, classes=("x", "y", "z"))
    network = nn.Linear(len(space.columns), 3)
    export(folder, {5: network}, data)
    return loader(folder), network


@given(st.lists(row, min_size=1, max_size=5))
@settings(max_examples=60)
def test_any_rows_are_encoded_as_by_the_feature_space(mixed, rows):
    table = pd.DataFrame(rows)[::-1]  # whatever its index
    np.testing.assert_array_equal(mixed[0].encode(table).numpy(), FeatureSpace(FEATURES).encode(table))


def test_three_classes_have_three_probabilities(mixed):
    load, network = mixed
    table = FeatureSpace(FEATURES).decode(np.random.default_rng(0).random((8, len(FeatureSpace(FEATURES).columns))))
    expected = network(load.encode(table)).softmax(1).detach().numpy()
    np.testing.assert_allclose(load.predict(table), expected, atol=1e-6)
    assert load.Classifier().predict(table).tolist() == expected.argmax(1).tolist()
    assert load.seeds() == [5]
    assert load.Classifier().classes_ == [0, 1, 2]


def test_a_category_that_the_space_lacks_is_named(mixed):
    table = FeatureSpace(FEATURES).decode(np.zeros((1, len(FeatureSpace(FEATURES).columns)))).assign(job="nope")
    with pytest.raises(ValueError, match="job: unknown category nope"):
        mixed[0].encode(table)


def test_the_feature_space_says_what_the_columns_are(exported, compas):
    described = json.loads((exported / "feature_space.json").read_text())
    assert described["classes"] == list(compas.classes)
    assert [name for feature in described["features"] for name in feature["columns"]] == compas.space.columns
    rebuilt = [
        Feature(**{name: tuple(part) if name == "categories" else part for name, part in feature.items()})
        for feature in ({n: p for n, p in feature.items() if n != "columns"} for feature in described["features"])
    ]
    assert FeatureSpace(tuple(rebuilt)) == compas.space


@pytest.mark.parametrize("name", ["cnn", "resnet18"])
def test_images_load_too(noise, name, tmp_path):
    model = train(noise, model=name, epochs=1, batch_size=10, **({"layers": 1, "width": 4} if name == "cnn" else {}))[0]
    export(tmp_path, {0: model}, noise)
    load, saved = loader(tmp_path), np.load(tmp_path / "factuals.npz")
    np.testing.assert_array_equal(saved["x"], noise.x_test.numpy())
    assert saved["label"].tolist() == noise.y_test.tolist()
    with torch.no_grad():
        torch.testing.assert_close(load.load(0)(load.encode(saved["x"])), logits(model, noise.x_test), rtol=0, atol=0)
    assert load.predict(saved["x"]).shape == (10, 2)


@pytest.mark.parametrize(
    ("name", "own"),
    [("random_forest", {"n_estimators": 3}), ("knn", {"n_neighbors": 5}), ("svm", {}), ("logistic_regression", {})],
)
def test_models_of_scikit_learn_load_too(moons, name, own, tmp_path):
    (model,) = train(moons, model=name, **own)
    export(tmp_path, {7: model}, moons)
    load, factuals = loader(tmp_path), pd.read_parquet(tmp_path / "factuals.parquet")
    logit = logits(model, moons.x_test)
    np.testing.assert_allclose(load.predict(factuals, 7)[:, 1], logit.sigmoid().numpy(), atol=2e-6)
    np.testing.assert_array_equal(load.Classifier(7).predict(factuals), (logit > 0).long().numpy())


def test_the_types_that_skops_may_make_are_those_of_the_store():
    assert load_exported.TRUSTED == sklearn_storage.TRUSTED


def test_a_later_export_replaces_the_earlier_one_and_nothing_else(moons, tmp_path):
    first, second = train(moons, layers=1, width=4, seeds=[0, 1], epochs=1)
    export(tmp_path, {0: first, 1: second}, moons)
    (tmp_path / "model-notes.txt").write_text("mine")
    (tmp_path / "load.py").write_text("an older one")
    export(tmp_path, {0: second}, moons)
    load = loader(tmp_path)
    assert load.seeds() == [0]
    torch.testing.assert_close(load.load(0)(moons.x_test), second(moons.x_test), rtol=0, atol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "factuals.parquet", "feature_space.json", "load.py", "model-0.pt2", "model-0.safetensors", "model-notes.txt",
        "training.parquet",
    ]  # fmt: skip


class Branching(nn.Module):
    def forward(self, x):
        return x.sum(1) if x.sum() > 0 else -x.sum(1)


def test_what_cannot_be_exported_is_said_in_one_line_and_writes_nothing(moons, tmp_path):
    with pytest.raises(InputError, match=r"^export: torch.export cannot follow the network \(.*\); .*[^\n]$"):
        export(tmp_path / "new", {0: Branching()}, moons)
    renamed = dataset("moons", rows=20)
    taken = FeatureSpace(tuple(Feature(name=name, kind="continuous") for name in ("label", "b")))
    with pytest.raises(InputError, match="export: the data set has a feature 'label'"):
        export(tmp_path / "new", {}, Dataset(**{**vars(renamed), "space": taken}))
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file"):
        export(tmp_path / "file", {0: nn.Linear(2, 1)}, moons)


@pytest.mark.slow
def test_the_command_exports_what_it_has_trained_also_when_the_job_is_done(tmp_path):
    words = [*(word for word in SMALL if not word.startswith(("replicates", "samples"))), "hydra.run.dir=job"]
    words += ["wandb=disabled", "population.pool=reference", "population.size=2", "export=out/models"]
    for said in ("training 2 models", "has its result already"):
        done = run_command(tmp_path, "train.py", *words)
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
        load = loader(tmp_path / "out" / "models")
        assert load.seeds() == [1000, 1001]
        for path in (tmp_path / "out" / "models").iterdir():
            path.unlink()
    assert len(results(tmp_path)) == 1


def test_the_export_is_no_part_of_a_key(tmp_path):
    from cftransfer.commands.plan import plan_training
    from cftransfer.jobs.schema import what

    plans = [plan_training(composed(f"paths.store={tmp_path}", *words, name="train")) for words in ([], ["export=x"])]
    assert plans[0].spec == plans[1].spec
    assert [plan.export for plan in plans] == [None, Path("x")]
    assert what({"seed": 0, "export": "x"}) == what({"seed": 0})
    with pytest.raises(InputError, match=r"export=3: must be a folder, or null"):
        plan_training(composed(f"paths.store={tmp_path}", "export=3", name="train"))
