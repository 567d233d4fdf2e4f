"""A population's members against the same models trained alone, by torch's own means."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from cftransfer.columns import CURVE
from cftransfer.errors import InputError
from cftransfer.models.build import build
from cftransfer.models.population import EpochBatches, Population, fit
from cftransfer.models.prediction import logits, margin, predicted

MODEL = {"_target_": "mlp", "layers": 4, "width": 64}


def population(data, seeds, *, model=MODEL, **more):
    members = [build(model, input_shape=data.input_shape, seed=seed) for seed in seeds]
    splits = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    return Population(members, splits=splits, seeds=seeds, lr=0.001, batch_size=64, **more)


def member(trained, index, data):
    model = build(MODEL, input_shape=data.input_shape, seed=0)
    model.load_state_dict({n: w.detach()[index] for n, w in zip(trained.names, trained.weights, strict=True)})
    return model


def test_a_member_equals_the_model_trained_alone(compas):
    seeds, epochs = [5, 6, 7], 4  # 312 steps
    together = population(compas, seeds)
    fit(together, epochs=epochs, accelerator="cpu")
    for index, seed in enumerate(seeds):
        alone = build(MODEL, input_shape=compas.input_shape, seed=seed)
        adam = torch.optim.Adam(alone.parameters(), lr=0.001, fused=True)
        for epoch in range(epochs):
            order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(compas.x_train)))
            for rows in order.split(64):
                adam.zero_grad()
                binary_cross_entropy_with_logits(alone(compas.x_train[rows]), compas.y_train[rows]).backward()
                adam.step()
        with torch.no_grad():
            difference = (member(together, index, compas)(compas.x_test) - alone(compas.x_test)).abs().max()
            weights = [
                (a - b).abs().max()
                for a, b in zip(member(together, index, compas).parameters(), alone.parameters(), strict=True)
            ]
        assert difference <= 1e-5
        assert max(weights) <= 1e-5


def test_members_differ(compas):
    together = population(compas, [0, 1])
    fit(together, epochs=1, accelerator="cpu")
    assert (member(together, 0, compas)(compas.x_test) - member(together, 1, compas)(compas.x_test)).abs().max() > 0.01


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_four_epochs_and_then_six_are_ten(moons, seeds):
    whole, first = population(moons, seeds), population(moons, seeds)
    fit(whole, epochs=10, accelerator="cpu")
    fit(first, epochs=4, accelerator="cpu")
    then = population(moons, seeds, epoch=4, state=first.state())
    fit(then, epochs=6, accelerator="cpu")
    expected, got = whole.state(), then.state()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_the_curve_is_what_scikit_learn_computes(moons):
    together = population(moons, [0, 1, 2])
    fit(together, epochs=3, accelerator="cpu")
    curve = together.state()["curve"]
    assert curve.shape == (3, 3, len(CURVE))
    for index in range(3):
        scores = logits(member(together, index, moons), moons.x_test)
        _, loss, accuracy, auroc = curve[index, -1].tolist()
        assert accuracy == pytest.approx(accuracy_score(moons.y_test, predicted(scores)), abs=1e-6)
        assert auroc == pytest.approx(roc_auc_score(moons.y_test, scores), abs=1e-6)
        assert loss == pytest.approx(binary_cross_entropy_with_logits(scores, moons.y_test).item(), abs=1e-6)
    assert curve[:, 0, 0].mean() > curve[:, -1, 0].mean()  # the training loss falls


def test_batches_are_every_row_once_in_an_order_of_seed_and_epoch_alone():
    x, y = torch.arange(150.0)[:, None], torch.zeros(150)

    def order(seed, epoch, neighbour):
        batches = list(EpochBatches(x, y, seeds=[neighbour, seed], epoch=epoch, batch_size=64))
        assert [len(rows[0]) for rows, _ in batches] == [64, 64, 22]
        return torch.cat([rows[1, :, 0] for rows, _ in batches])

    assert torch.equal(order(3, 0, 1), order(3, 0, 2))
    assert torch.equal(order(3, 0, 1).sort().values, x[:, 0])
    assert not torch.equal(order(3, 0, 1), order(3, 1, 1))
    assert not torch.equal(order(3, 0, 1), order(4, 0, 1))


def test_weights_are_a_function_of_the_seed_alone():
    torch.manual_seed(1)
    first = build(MODEL, input_shape=(3,), seed=9)
    state = torch.get_rng_state()
    torch.rand(5)
    second = build(MODEL, input_shape=(3,), seed=9)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # and building a model leaves no trace in the global generator


def test_batch_norm_is_refused(moons):
    splits = {name: getattr(moons, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    with pytest.raises(ValueError, match="couple rows"):
        Population([nn.BatchNorm1d(2)], splits=splits, seeds=[0], lr=0.1, batch_size=4)


@pytest.mark.parametrize(("setting", "value"), [("layers", 0), ("layers", 1.5), ("width", 0), ("width", "x")])
def test_an_impossible_network_is_named(setting, value):
    with pytest.raises(InputError, match=f"model.{setting}={value}"):
        build({**MODEL, setting: value}, input_shape=(2,), seed=0)


def test_margin_is_positive_exactly_on_the_targets_side():
    logit, target = torch.tensor([2.0, 2.0, -2.0, -2.0]), torch.tensor([1, 0, 1, 0])
    assert margin(logit, target).tolist() == [2, -2, -2, 2]
    assert ((margin(logit, target) > 0) == (predicted(logit) == target)).all()
