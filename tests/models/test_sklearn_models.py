"""Models of scikit-learn answer as scikit-learn does, are stored without pickle, and stand in for a network."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from conftest import SMALL, composed, run_command
from skops import io

from cftransfer import store as artifacts
from cftransfer.commands import experiment
from cftransfer.commands.patch import base_spec
from cftransfer.commands.plan import plan
from cftransfer.errors import InputError
from cftransfer.models.build import build
from cftransfer.models.prediction import differentiable, logits, predicted
from cftransfer.models.sklearn_models import EDGE, SklearnModel
from cftransfer.store import trained

NAMES = ("logistic_regression", "decision_tree", "random_forest", "gradient_boosting", "svm", "knn")
SMOOTH = ("logistic_regression", "svm")
DRAWN = ("random_forest", "gradient_boosting")  # their seed draws rows


def spec_of(name, *overrides):
    return base_spec(composed("dataset=moons", f"model={name}", *overrides))


def fitted(name, data, *, seed=0, overrides=()):
    return build(spec_of(name, *overrides)["model"], input_shape=data.input_shape, seed=seed).fit(data)


@pytest.fixture
def place(tmp_path):
    return artifacts.prepare(tmp_path / "store")


@pytest.fixture(scope="module", params=["compas", "moons"])
def data(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


def test_a_logit_is_above_zero_where_scikit_learn_predicts_class_1(name, data):
    model = fitted(name, data)
    anywhere = torch.rand(500, *data.input_shape, generator=torch.Generator().manual_seed(0))
    for x in (data.x_train, data.x_test, anywhere):
        answer = logits(model, x)
        assert answer.dtype == torch.float32
        assert answer.isfinite().all()
        np.testing.assert_array_equal(predicted(answer).numpy(), model.estimator.predict(x.double().numpy()))


def test_a_logit_is_the_log_odds_of_the_probability_or_the_svms_decision(name, data):
    model, x = fitted(name, data), data.x_test.double().numpy()
    if name == "svm":
        expected = model.estimator.decision_function(x)
    else:
        share = model.estimator.predict_proba(x)[:, 1].clip(EDGE, 1 - EDGE)
        expected = np.log(share / (1 - share))
    np.testing.assert_allclose(model(data.x_test).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_tie_is_class_0(moons):
    tied = fitted("knn", moons, overrides=[f"model.n_neighbors={len(moons.x_train)}"])  # all vote; half are class 1
    assert moons.y_train.mean() == 0.5
    assert torch.equal(tied(moons.x_test), torch.zeros(len(moons.x_test)))
    np.testing.assert_array_equal(tied.estimator.predict(moons.x_test.double().numpy()), 0)


def test_a_row_alone_gets_what_it_gets_among_others(name, compas):
    model, x = fitted(name, compas), compas.x_test[:40]
    alone = torch.cat([model(row) for row in x.split(1)])
    torch.testing.assert_close(alone, model(x), rtol=1e-6, atol=1e-7)
    assert model(x[:0]).shape == (0,)


@pytest.mark.parametrize("smooth", SMOOTH)
def test_gradients_are_those_of_finite_differences(smooth, data):
    model, step = fitted(smooth, data), 1e-4
    x = data.x_test[:20].double().requires_grad_()
    rows = x.flatten(1)
    answer = model.answer(model.estimator, rows)  # in float64, as differences need it
    (slope,) = torch.autograd.grad(answer.sum(), x)
    for index in range(rows.shape[1]):
        moved = torch.zeros_like(rows)
        moved[:, index] = step
        up, down = (model.estimator.decision_function((rows + s * moved).detach().numpy()) for s in (1, -1))
        np.testing.assert_allclose(slope.flatten(1)[:, index], (up - down) / (2 * step), rtol=1e-4, atol=1e-6)
    asked = data.x_test[:20].clone().requires_grad_()
    model(asked).sum().backward()
    torch.testing.assert_close(asked.grad, slope.float())


def test_the_svm_answers_the_same_in_parts(data, monkeypatch):
    model = fitted("svm", data)
    whole = model(data.x_test)
    monkeypatch.setattr("cftransfer.models.sklearn_models.KERNELS", 1000)
    torch.testing.assert_close(model(data.x_test), whole, rtol=1e-6, atol=1e-7)


def test_linear_models_and_svms_have_a_gradient(name, moons):
    model = fitted(name, moons)
    assert differentiable(model) == model.differentiable == (name in SMOOTH)
    assert model(moons.x_test[:2].clone().requires_grad_()).requires_grad == (name in SMOOTH)
    assert differentiable(torch.nn.Flatten(0))
    assert differentiable(lambda x: x.sum(1))


def test_a_model_is_a_function_of_its_settings_and_its_seed(name, compas):
    first = logits(fitted(name, compas, seed=3), compas.x_test)
    torch.manual_seed(99)  # draws from the global state do not matter
    assert torch.equal(first, logits(fitted(name, compas, seed=3), compas.x_test))
    other = logits(fitted(name, compas, seed=2**62), compas.x_test)
    if name in DRAWN:
        assert not torch.equal(first, other)
    elif name != "decision_tree":  # it has few equally good splits to choose from
        assert torch.equal(first, other)


def test_images_are_flattened(name, moons):
    square = torch.rand(60, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    bright = (square.flatten(1).mean(1) > 0.5).float()
    images = type("Images", (), {"x_train": square, "y_train": bright, "weight": None, "input_shape": (1, 3, 3)})
    data_as_bytes = type("Bytes", (images,), {"x_train": (square * 255).to(torch.uint8)})
    for one in (images, data_as_bytes):
        assert logits(fitted(name, one), one.x_train).shape == (60,)


def test_what_is_stored_is_fitted_once_and_answers_the_same_to_the_bit(name, moons, place, caplog):
    caplog.set_level("INFO")
    spec = spec_of(name)
    first = trained.trained(spec, [0, 1], dataset=moons, store=place)
    again = trained.trained(spec, [0, 1], dataset=moons, store=place)
    for seed, one, other in zip((0, 1), first, again, strict=True):
        direct = build(spec["model"], input_shape=moons.input_shape, seed=seed).fit(moons)
        assert isinstance(one, SklearnModel)
        assert torch.equal(one(moons.x_test), other(moons.x_test))
        assert torch.equal(one(moons.x_test), direct(moons.x_test))
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("training ")]
    assert len(said) == 1
    assert said[0].startswith(f"training 2 models ({name} ")


def test_a_curve_has_one_row_of_what_the_logits_say(name, moons, place):
    (model,) = trained.trained(spec_of(name), [4], dataset=moons, store=place)
    curve = trained.curves(spec_of(name), [4], store=place)
    assert list(curve.columns) == ["epoch", "train_loss", "test_loss", "test_accuracy", "test_auroc", "seed"]
    (row,) = curve.to_dict("records")
    x, y = moons.x_test.double().numpy(), moons.y_test.numpy()
    assert row["test_accuracy"] == pytest.approx(model.estimator.score(x, y))
    logit = model(moons.x_test).double()
    loss = torch.where(moons.y_test == 1, (1 + (-logit).exp()).log(), (1 + logit.exp()).log()).mean()
    assert row["test_loss"] == pytest.approx(float(loss), rel=1e-5)
    above = (logit[y == 1][:, None] - logit[y == 0][None]).sign()  # AUROC: how often class 1 scores higher
    assert row["test_auroc"] == pytest.approx(float((above + 1).mean() / 2), abs=1e-6)
    lines = trained.model_file(spec_of(name), 4, store=place).with_suffix(".csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,test_loss,test_accuracy,test_auroc"
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (io.dumps(partial(print, "run")), "functools.partial"),
        (io.dumps({"not": "an estimator"}), "dict for DecisionTreeClassifier"),
        (b"nothing that skops wrote", "not a zip file"),
    ],
)
def test_a_stored_model_of_another_type_is_refused(content, said, moons, place, capsys):
    spec = spec_of("decision_tree")
    trained.trained(spec, [0], dataset=moons, store=place)
    file = trained.model_file(spec, 0, store=place)
    tensors, about = artifacts.load(place, "models", file.stem)
    foreign = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    artifacts.save(place, "models", file.stem, {**tensors, "skops": foreign}, about)
    with pytest.raises(InputError) as caught:
        trained.trained(spec, [0], dataset=moons, store=place)
    assert str(file) in str(caught.value)
    assert said in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("logistic_regression", "C", 0),
        ("logistic_regression", "C", ".inf"),
        ("decision_tree", "min_samples_leaf", 0),
        ("decision_tree", "min_samples_leaf", 0.5),
        ("decision_tree", "max_depth", 0),
        ("random_forest", "n_estimators", 0),
        ("random_forest", "min_samples_leaf", "few"),
        ("random_forest", "max_depth", -1),
        ("gradient_boosting", "n_estimators", 1.5),
        ("gradient_boosting", "learning_rate", 0),
        ("gradient_boosting", "subsample", 1.1),
        ("svm", "C", -1),
        ("svm", "gamma", "wide"),
        ("svm", "gamma", 0),
        ("knn", "n_neighbors", 0),
        ("knn", "n_neighbors", 301),
    ],
)
@pytest.mark.parametrize("role", ["base", "reference"])
def test_an_impossible_setting_is_named(name, setting, value, role, tmp_path):
    words = ["dataset=moons", "dataset.rows=400", "dataset.test_share=0.25", f"paths.store={tmp_path}"]
    if role == "base":
        words += [f"model={name}", f"model.{setting}={value}"]
    else:
        words += ["experiment=technique", f"model@reference.model={name}", f"reference.model.{setting}={value}"]
    with pytest.raises(InputError) as caught:
        plan(composed(*words))
    assert str(caught.value).startswith("reference." * (role == "reference") + f"model.{setting}=")
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["experiment=continued_training"],
        ["reference.seeds=base", "+reference.training.lr=0.1"],
        ["+reference.training.epochs=20"],
    ],
)
def test_a_model_without_epochs_cannot_be_trained_on(words, tmp_path):
    with pytest.raises(InputError, match=r"model=decision_tree: is fitted without epochs.*model=mlp"):
        plan(composed("dataset=moons", "model=decision_tree", f"paths.store={tmp_path}", *words))


PLACE = ["dataset=moons", "dataset.rows=400", "replicates.bases=2", "replicates.references=3", "samples=30"]
NETWORK = ["model.layers=1", "model.width=16", "training.epochs=30", "training.batch_size=16"]


def run(tmp_path, *words):
    made = plan(composed(*PLACE, f"paths.store={tmp_path}", *words))
    return made, experiment.run(made)


def test_counterfactuals_of_networks_are_tried_on_scikit_learn_models(name, tmp_path):
    made, result = run(tmp_path, *NETWORK, "experiment=technique", f"model@reference.model={name}")
    assert made.by_seed
    assert len(result.tables["pairs"]) == 6
    assert result.metrics["found"] > 0.5
    assert 0 <= result.metrics["rate"] <= 1
    assert result.metrics["reference_accuracy"] > 0.8
    models = trained.trained(made.reference, made.reference_seeds, dataset=made.dataset, store=made.store)
    counterfactuals, transfers = result.tables["counterfactuals"], result.tables["transfers"].to_pandas()
    assert len(transfers) == 3 * len(counterfactuals) == 3 * 2 * 30
    assert all(isinstance(model, SklearnModel) for model in models)
    curves = result.tables["curves"]
    assert (curves[curves.role == "reference"].groupby("seed").size() == 1).all()


@pytest.mark.parametrize("smooth", SMOOTH)
def test_models_with_gradients_are_bases_and_all_their_seeds_are_one_model(smooth, tmp_path):
    _, result = run(tmp_path, f"model={smooth}", "experiment=technique", f"model@reference.model={smooth}")
    assert result.metrics["found"] > 0.5
    assert result.metrics["rate"] == result.metrics["agreement"] == 1
    _, result = run(tmp_path, f"model={smooth}", "experiment=technique", "model@reference.model=mlp")
    assert result.metrics["found"] > 0.5


@pytest.mark.slow
def test_the_commands_take_scikit_learn_models(tmp_path):
    done = run_command(tmp_path, "train.py", "model=decision_tree", "dataset=moons", "wandb=disabled")
    assert done.returncode == 0, done.stderr
    assert "training 1 model (decision_tree min_samples_leaf=20 max_depth=None)" in done.stderr
    words = ["experiment=technique", "model@reference.model=knn", "wandb=disabled"]
    done = run_command(tmp_path, "transfer.py", *SMALL, *words)
    assert done.returncode == 0, done.stderr
    chosen = [json.loads(path.read_text())["choices"] for path in tmp_path.rglob("result.json")]
    assert sorted((choice["model"], choice.get("reference.model")) for choice in chosen) == [
        ("decision_tree", None),
        ("mlp", "knn"),
    ]
