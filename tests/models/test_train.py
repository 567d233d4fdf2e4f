"""cft.train: the models of the commands, in memory."""

import numpy as np
import pytest
import torch
from torch import nn

import cftransfer as cft
from cftransfer import store as artifacts
from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import PixelSpace
from cftransfer.errors import InputError
from cftransfer.models.build import Hardware
from cftransfer.store.trained import trained


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (90, 3, 6, 6), generator=generator, dtype=torch.uint8)
    y = (x.float().mean((1, 2, 3)) > 127.5).float()
    space = PixelSpace((3, 6, 6))
    return Dataset(
        name="noise", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:], space=space, classes=("0", "1")
    )


def values(model):
    if isinstance(model, nn.Module):
        return list(model.state_dict().values())
    return [model(torch.rand(50, *model.input_shape, generator=torch.Generator().manual_seed(0)))]


@pytest.mark.parametrize(
    ("name", "settings", "data"),
    [
        ("mlp", {"layers": 2, "width": 16}, "compas"),
        ("cnn", {"layers": 2, "width": 8}, "images"),
        ("random_forest", {"n_estimators": 5, "min_samples_leaf": 5, "max_depth": None}, "compas"),
    ],
)
@pytest.mark.parametrize("stacked", [None, True, False])
def test_models_equal_those_that_the_commands_store_to_the_last_bit(name, settings, data, stacked, request, tmp_path):
    data = request.getfixturevalue(data)
    training = {"epochs": 2, "lr": 0.002, "batch_size": 32}
    spec = {"dataset": {}, "model": {"_target_": name, **settings}, "training": training}
    place, hardware = artifacts.prepare(tmp_path / "store"), Hardware(stacked=stacked)
    stored = trained(spec, [3, 4, 8], dataset=data, store=place, hardware=hardware)
    models = cft.train(data, model=name, seeds=[3, 4, 8], hardware=hardware, **training, **settings)
    for model, other in zip(models, stored, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(values(model), values(other), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(values(models[0]), values(models[1]), strict=True))


def test_networks_come_back_plain_frozen_and_in_evaluation_mode(moons):
    (model,) = cft.train(moons, layers=1, width=4, epochs=1)
    assert type(model) is nn.Sequential
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_seeds_may_be_a_range_or_an_array(moons):
    first = cft.train(moons, layers=1, width=4, epochs=1, seeds=range(2))
    second = cft.train(moons, layers=1, width=4, epochs=1, seeds=np.arange(2))
    assert all(torch.equal(a, b) for one, two in zip(first, second) for a, b in zip(values(one), values(two)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seeds": []}, "seeds=[]: must be a list of whole numbers ≥ 0"),
        ({"seeds": 3}, "seeds=3: must be a list of whole numbers ≥ 0"),
        ({"seeds": [0, -1]}, "seeds=[0, -1]: must be"),
        ({"seeds": [0.5]}, "seeds=[0.5]: must be"),
        ({"seeds": [True]}, "seeds=[True]: must be"),
        ({"seeds": "01"}, "seeds=01: must be"),
        ({"model": "mpl"}, "model._target_=mpl: no such model"),
        ({"model": "cftransfer.models.mlp.mlp"}, "model._target_=cftransfer.models.mlp.mlp: must be one of the names"),
        (
            {"model": nn.Sequential(nn.Linear(2, 1))},
            "model=Sequential: must be a name, such as mlp; train a network of",
        ),
        ({"model": "cnn"}, "model=cnn: needs images"),
        ({"layer": 3}, "model.layer: no such key; model has: layers, width"),
        ({"input_shape": (3,)}, "model.input_shape: no such key"),
        ({"layers": 0}, "model.layers=0: must be a whole number ≥ 1"),
        ({"epochs": 0}, "training.epochs=0: must be a whole number ≥ 1"),
        ({"batch_size": 1.5}, "training.batch_size=1.5: must be"),
        ({"lr": -1}, "training.lr=-1: must be a number > 0"),
        ({"model": "random_forest", "trees": 9}, "model.trees: no such key"),
        ({"model": "knn", "n_neighbors": 999}, "model.n_neighbors=999: the training split has no more than"),
        ({"lr": 1e30, "epochs": 3}, "lr=1e+30: training diverged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_one_line(given, said, moons):
    with pytest.raises(InputError) as caught:
        cft.train(moons, **{"epochs": 1, **given})
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
