"""Networks for images: shapes, the two knobs, and members of a population against models trained alone."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from photos import put_cifar10
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from cftransfer.data.cifar10_airplane import cifar10_airplane
from cftransfer.data.pixels import unit
from cftransfer.errors import InputError
from cftransfer.models.build import build
from cftransfer.models.population import Population, Stacked, fit
from cftransfer.models.prediction import logits

CNN = {"_target_": "cnn", "layers": 3, "width": 4}
RESNET = {"_target_": "resnet18", "weights": None}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    put_cifar10(folder, train=45, test=18)
    return cifar10_airplane(folder, split_seed=0)


def population(data, seeds, model=CNN, **more):
    members = [build(model, input_shape=data.input_shape, seed=seed) for seed in seeds]
    splits = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    return Population(members, splits=splits, seeds=seeds, lr=0.001, batch_size=16, **more)


@pytest.mark.parametrize("layers", [1, 2, 5, 8])
@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 224, 224), (1, 20, 37)], ids=str)
def test_every_depth_works_on_every_size(layers, shape):
    model = build({**CNN, "layers": layers}, input_shape=shape, seed=0)
    assert model(torch.rand(2, *shape)).shape == (2,)
    convolutions = [module for module in model if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == layers
    widths = [module.out_channels for module in convolutions]
    assert widths[0] == 4
    assert all(following in (width, 2 * width) for width, following in pairwise(widths))


def test_channels_double_whenever_the_resolution_is_halved():
    model = build({**CNN, "layers": 8, "width": 16}, input_shape=(3, 224, 224), seed=0)
    x, seen = torch.rand(1, 3, 224, 224), []
    for module in model:
        x = module(x)
        if isinstance(module, nn.Conv2d):
            seen.append((x.shape[1], x.shape[2]))
    assert seen == [(16, 56), (32, 28), (64, 14), (128, 7), (256, 3), (256, 3), (256, 3), (256, 3)]


@pytest.mark.parametrize(("width", "side", "last"), [(16, 32, True), (8, 32, False), (16, 28, False)])
def test_large_images_of_many_channels_are_computed_channels_last_up_to_rounding(width, side, last):
    model = build({**CNN, "width": width}, input_shape=(3, side, side), seed=0)
    plain = nn.Sequential(*model)  # the same modules, and the same names
    layouts = []
    model[0].register_forward_hook(
        lambda _, __, answer: layouts.append(answer.is_contiguous(memory_format=torch.channels_last))
    )
    x = torch.rand(4, 3, side, side, requires_grad=True)
    answer = model(x)
    assert layouts == [last]
    assert list(model.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(answer, plain(x), atol=1e-5, rtol=0)
    slopes = [torch.autograd.grad(network(x).sum(), x)[0] for network in (model, plain)]
    torch.testing.assert_close(*slopes, atol=1e-5, rtol=0)
    members = [build({**CNN, "width": width}, input_shape=(3, side, side), seed=seed) for seed in (0, 1)]
    together = Stacked(members)(x.expand(2, -1, -1, -1, -1))
    torch.testing.assert_close(together, torch.stack([one(x) for one in members]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("model", [CNN, RESNET], ids=["cnn", "resnet18"])
def test_rows_of_a_batch_do_not_meet(model):
    """No BatchNorm, in training mode either."""
    network = build(model, input_shape=(3, 32, 32), seed=0).train()
    x = torch.rand(5, 3, 32, 32)
    torch.testing.assert_close(network(x)[:1], network(x[:1]), atol=1e-5, rtol=0)
    assert not dict(network.named_buffers())


def test_tables_are_refused():
    with pytest.raises(InputError, match="model=cnn: needs images"):
        build(CNN, input_shape=(14,), seed=0)
    with pytest.raises(InputError, match="model=resnet18: needs images"):
        build(RESNET, input_shape=(1, 8, 8), seed=0)


@pytest.mark.parametrize("seeds", [[5, 6, 7], [6]], ids=["stacked", "one"])
def test_a_member_equals_the_model_trained_alone(photos, seeds):
    together = population(photos, seeds)
    fit(together, epochs=2, accelerator="cpu")
    for index, seed in enumerate(seeds):
        alone = build(CNN, input_shape=photos.input_shape, seed=seed)
        adam = torch.optim.Adam(alone.parameters(), lr=0.001, fused=True)
        for epoch in range(2):
            order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(photos.x_train)))
            for rows in order.split(16):
                adam.zero_grad()
                logit = alone(photos.x_train[rows].float() / 255)
                binary_cross_entropy_with_logits(logit, photos.y_train[rows]).backward()
                adam.step()
        own = dict(zip(together.names, (weight.detach()[index] for weight in together.weights), strict=True))
        # Adam's step is as long where the gradient is rounding: 12 steps of .001; tiny gradients decide their size.
        near = {"atol": 1e-3 if len(seeds) > 1 else 1e-6, "rtol": 0}
        for name, weight in alone.named_parameters():
            torch.testing.assert_close(own[name], weight.detach(), **near)
        member = build(CNN, input_shape=photos.input_shape, seed=seed)
        member.load_state_dict(own)
        torch.testing.assert_close(logits(member, photos.x_test), logits(alone, photos.x_test), **near)


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_four_epochs_and_then_six_are_ten(photos, seeds):
    whole, first = population(photos, seeds), population(photos, seeds)
    fit(whole, epochs=10, accelerator="cpu")
    fit(first, epochs=4, accelerator="cpu")
    then = population(photos, seeds, epoch=4, state=first.state())
    fit(then, epochs=6, accelerator="cpu")
    expected, got = whole.state(), then.state()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_logits_of_bytes_are_those_of_the_numbers_they_stand_for(photos):
    model = build(CNN, input_shape=photos.input_shape, seed=0).eval()
    whole = model(unit(photos.x_test)).detach()
    for rows in (1, 7, 4096):
        torch.testing.assert_close(logits(model, photos.x_test, batch_size=rows), whole, atol=1e-5, rtol=0)


def test_a_resnet_takes_its_weights_from_a_file(photos, tmp_path):
    drawn = build(RESNET, input_shape=(3, 32, 32), seed=3)
    state = {name.removeprefix("0."): weight for name, weight in drawn.state_dict().items()}
    batch_norms = {"bn1.running_mean": torch.zeros(64), "bn1.num_batches_tracked": torch.tensor(1)}
    save_file(state, tmp_path / "own.safetensors")
    head = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000), "fc.more": torch.zeros(1)}
    save_file({**state, **batch_norms, **head}, tmp_path / "w.safetensors")
    own = build({**RESNET, "weights": str(tmp_path / "own.safetensors")}, input_shape=(3, 32, 32), seed=4)
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), drawn.parameters(), strict=True))
    headless = build({**RESNET, "weights": str(tmp_path / "w.safetensors")}, input_shape=(3, 32, 32), seed=4)
    fresh = build(RESNET, input_shape=(3, 32, 32), seed=4)
    for (name, got), before, other in zip(headless.named_parameters(), drawn.parameters(), fresh.parameters()):
        assert torch.equal(got, other if "fc." in name else before)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"no such format", "cannot be read"),
        (b"hello world", "cannot be read"),
        ({"conv1.weight": torch.full((64, 3, 7, 7), torch.nan)}, "holds numbers that are not finite"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "is not a state dict of this network; bn1.bias does not fit"),
    ],
    ids=["missing", "other", "text", "nan", "partial"],
)
def test_weights_that_do_not_fit_are_named(tmp_path, content, said):
    path = tmp_path / "w.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file(content, path)
    with pytest.raises(InputError, match=f"model.weights={path}: {said}"):
        build({**RESNET, "weights": str(path)}, input_shape=(3, 32, 32), seed=0)
