"""Optimisers, weight decay, label smoothing and dropout: members do not meet, and passes resume exactly."""

import math

import pytest
import torch
from conftest import composed

import cftransfer as cft
from cftransfer.errors import InputError
from cftransfer.models.mlp import mlp
from cftransfer.models.prediction import cross_entropy
from cftransfer.spec import at_epoch, model_key
from cftransfer.store.trained import trained

MOONS = cft.dataset("moons", rows=200)
SETTINGS = [
    {"optimizer": "sgd", "lr": 0.1},
    {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.01, "dropout": 0.3},
    {"weight_decay": 0.1},
    {"label_smoothing": 0.2},
    {"dropout": 0.5},
]


def members(seeds, **settings):
    return cft.train(MOONS, layers=2, width=8, epochs=3, batch_size=32, seeds=seeds, **settings)


def weights(model):
    return torch.cat([weight.flatten() for weight in model.parameters()])


@pytest.mark.parametrize("settings", SETTINGS, ids=" ".join)
def test_a_member_is_the_model_that_it_would_be_alone(settings):
    (alone,) = members([4], **settings)
    _, among, _ = members([3, 4, 5], **settings)
    torch.testing.assert_close(weights(alone), weights(among), atol=1e-5, rtol=0)
    assert not torch.equal(weights(alone), weights(members([4])[0]))


@pytest.mark.parametrize("settings", SETTINGS[1:2] + SETTINGS[4:], ids=" ".join)
def test_more_epochs_go_on_exactly_where_fewer_ended(settings, tmp_path):
    model = {"_target_": "mlp", "layers": 1, "width": 8, "dropout": settings["dropout"]}
    training = {"epochs": 4, "lr": 0.05, "batch_size": 32, "optimizer": settings.get("optimizer", "adam")}
    spec = {"dataset": {"_target_": "moons"}, "model": model, "training": training}
    for epochs in (2, 4):
        resumed = trained(at_epoch(spec, epochs), [0, 1], dataset=MOONS, store=tmp_path / "resumed")
    whole = trained(spec, [0, 1], dataset=MOONS, store=tmp_path / "whole")
    assert all(torch.equal(weights(one), weights(other)) for one, other in zip(resumed, whole))


def test_one_step_of_sgd_is_the_rule():
    """w − lr · (gradient + decay · w), of the whole split at once."""
    net = mlp(layers=1, width=4, input_shape=(2,)).requires_grad_(True)
    batch = len(MOONS.x_train)
    (stepped,) = cft.train(
        MOONS, layers=1, width=4, seeds=[9], epochs=1, batch_size=batch, optimizer="sgd", lr=0.5, weight_decay=0.1
    )
    with torch.random.fork_rng():
        torch.manual_seed(9)
        net = mlp(layers=1, width=4, input_shape=(2,))
    cross_entropy(net(MOONS.x_train), MOONS.y_train).mean().backward()
    for before, after in zip(net.parameters(), stepped.parameters()):
        torch.testing.assert_close(after, before - 0.5 * (before.grad + 0.1 * before), atol=1e-6, rtol=0)


@pytest.mark.parametrize("classes", [2, 4])
def test_label_smoothing_is_that_of_torch(classes):
    logits, target = torch.randn(50, classes), torch.arange(50) % classes
    expected = torch.nn.functional.cross_entropy(logits, target, label_smoothing=0.3, reduction="none")
    ours = logits[:, 1] - logits[:, 0] if classes == 2 else logits
    torch.testing.assert_close(cross_entropy(ours, target.float(), smoothing=0.3), expected, atol=1e-5, rtol=1e-5)


def test_dropout_keeps_the_mean_and_asks_nothing_of_a_trained_model():
    torch.manual_seed(0)
    net = mlp(layers=1, width=2000, dropout=0.25, input_shape=(2,))
    x = torch.rand(1, 2).expand(400, 2)
    plain = net.eval()(x)
    assert torch.equal(plain, plain[:1].expand(400))
    dropped = net.train()(x)
    assert dropped.std() > 0
    assert abs(dropped.mean() - plain[0]) < 5 * dropped.std() / math.sqrt(400)
    assert torch.equal(net(x, torch.full((400, 2000), 0.25)), net(x, torch.ones(400, 2000)))  # nothing dropped


def test_settings_that_change_nothing_are_no_part_of_a_key():
    spec = {"dataset": {"_target_": "moons"}, "model": {"_target_": "mlp"}, "training": {"epochs": 1, "lr": 0.1}}
    plain = {"optimizer": "adam", "weight_decay": 0, "label_smoothing": 0.0}
    later = {**spec, "model": {"_target_": "mlp", "dropout": 0.0}, "training": {**spec["training"], **plain}}
    assert model_key(spec, 0) == model_key(later, 0)
    assert model_key(spec, 0) != model_key({**later, "training": {**later["training"], "weight_decay": 0.1}}, 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"optimizer": "lbfgs"}, "training.optimizer=lbfgs: must be one of adam, sgd"),
        ({"weight_decay": -1}, "training.weight_decay=-1: must be a number ≥ 0"),
        ({"label_smoothing": 1.0}, "training.label_smoothing=1.0: must be a number from 0 up to, not including, 1"),
        ({"dropout": 1}, "model.dropout=1: must be a number from 0 up to, not including, 1"),
    ],
)
def test_settings_that_are_not_possible_are_one_line(settings, said):
    with pytest.raises(InputError, match="^" + said):
        members([0], **settings)


def test_the_default_configuration_is_the_papers_training():
    cfg = composed()
    assert (cfg.training.optimizer, cfg.training.weight_decay, cfg.training.label_smoothing) == ("adam", 0, 0)
    assert cfg.model.dropout == 0
