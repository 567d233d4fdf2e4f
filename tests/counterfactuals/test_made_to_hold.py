"""Methods made to hold on other models: each against its closed form, or its own definition asked again."""

import doctest
import importlib
import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from test_closed_forms import asked, linear, plane, random, table_of
from torch import nn
from torch.autograd.functional import hessian as hessian_of
from torch.nn.functional import cross_entropy

import cftransfer as cft
from cftransfer.counterfactuals.betarce import agreeing
from cftransfer.counterfactuals.ellice import worst_lead
from cftransfer.counterfactuals.ensemble import agreeing as agreeing_share
from cftransfer.errors import InputError
from cftransfer.models.build import build
from cftransfer.models.last_layer import last_layer
from cftransfer.models.prediction import lead, logits, margin
from cftransfer.searching.candidates import Background
from cftransfer.searching.row_random import normal
from cftransfer.spec import GENERATING, generating_seeds
from cftransfer.store.searched import searches_file

EDGE = 2e-5  # logits beyond a boundary that rounding is allowed


def line(weights, bias):
    """A linear model of two classes, or of as many as `weights` has rows, as a torch module."""
    weights = weights if weights.dim() == 2 else weights[None]
    model = nn.Linear(weights.shape[1], len(weights))
    model.load_state_dict({"weight": weights, "bias": torch.as_tensor(bias).float().reshape(len(weights))})
    return model.requires_grad_(False)


def softmax_line(seed, columns=3):
    """Three classes, each predicted somewhere in the box."""
    weights = 4 * torch.randn(3, columns, generator=torch.Generator().manual_seed(seed))
    return line(weights, -weights @ torch.full((columns,), 0.5))


@pytest.mark.parametrize(
    "name",
    [
        "counterfactuals.betarce",
        "counterfactuals.ellice",
        "counterfactuals.probe",
        "counterfactuals.roar",
        "models.last_layer",
    ],
)
def test_examples_in_docstrings_run(name):
    done = doctest.testmod(importlib.import_module(f"cftransfer.{name}"))
    assert (done.failed, done.attempted > 0) == (0, True)


# roar


@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_roar_ends_where_the_worst_weights_of_a_linear_model_still_agree(delta):
    (weights, bias), x = plane(0, 4), random(30, 4)
    found = asked(
        "roar", line(weights, bias), x, delta=delta, constraints="box", lr=0.002, iterations=300, distance_weight=0.0
    )
    assert found.found.float().mean() > 0.8
    reached = found.counterfactual[found.found]
    worst = found.margin[found.found] - delta * (reached.abs().sum(1) + 1)
    assert (worst >= 0).all()
    assert (worst < 0.1).all()  # a step of .002 in each of four features: no farther than the closed form asks
    sides = (2 * found.target[found.found] - 1).double()
    corners = torch.tensor(list(product((-delta, delta), repeat=5))).double()  # of the box around weights and bias
    shifted = torch.cat([weights, torch.tensor([bias])]).double() + corners
    every = sides[:, None] * (torch.cat([reached, torch.ones(len(reached), 1)], 1).double() @ shifted.T)
    torch.testing.assert_close(every.amin(1), worst.double(), atol=EDGE, rtol=0)


def test_roar_of_three_classes_holds_against_the_worst_weights_of_each():
    model, delta, x = softmax_line(1), 0.1, random(30, 3, seed=2)
    how = {"delta": delta, "constraints": "box", "lr": 0.002, "iterations": 300, "distance_weight": 0.0}
    found = asked("roar", model, x, **how)
    assert found.found.float().mean() > 0.5
    target, reached = found.target[found.found], found.counterfactual[found.found]
    shift = delta * (reached.abs().sum(1) + 1)
    own = torch.arange(3) == target[:, None]
    against = torch.where(own, -shift[:, None], shift[:, None])  # the target's weights fall, all others rise
    worst = lead(logits(model, reached) + against, target)
    assert (worst > 0).all()
    assert (worst < 0.1).any()


def test_roar_of_a_network_holds_whatever_its_last_layer_becomes_within_the_box(trained_models, compas):
    delta = 0.05
    found = asked("roar", trained_models[0], compas.x_test[:40], dataset=compas, delta=delta)
    reached, target = found.counterfactual[found.found], found.target[found.found]
    assert found.found.float().mean() > 0.9
    model = build({"_target_": "mlp", "layers": 4, "width": 64}, input_shape=compas.input_shape, seed=0)
    model.load_state_dict(trained_models[0].state_dict())
    head = [part for part in model.modules() if isinstance(part, nn.Linear)][-1].requires_grad_(False)
    with torch.no_grad():
        said, features = last_layer(model, reached, method="roar").features(reached)
    for row in range(len(reached)):
        worst = -delta * features[row].sign() * (1 if target[row] == 1 else -1)
        with torch.no_grad():
            kept = head.weight.clone(), head.bias.clone()
            head.weight += worst[:-1]
            head.bias += worst[-1]
            moved = margin(model(reached[row : row + 1]), target[row : row + 1])
            head.weight.copy_(kept[0])
            head.bias.copy_(kept[1])
        assert moved > -EDGE
        lost = margin(said[row], target[row]) - moved
        torch.testing.assert_close(lost[0], delta * features[row].abs().sum(), atol=1e-4, rtol=0)


# probe


@pytest.mark.parametrize("invalidation", [0.05, 0.35])
def test_probe_of_a_linear_model_ends_where_noise_takes_the_stated_share(invalidation):
    (weights, bias), x = plane(3, 4), random(30, 4, seed=3)
    how = {"invalidation": invalidation, "sigma": 0.05, "lr": 0.001, "constraints": "none", "distance_weight": 0.0}
    found = asked("probe", linear(weights, bias), x, **how)
    assert found.found.all()
    exact = stats.norm.cdf(-(found.margin / (0.05 * weights.norm())).double().numpy())
    assert (exact <= invalidation).all()
    assert (exact > invalidation - 0.05).all()
    noisy = found.counterfactual[:, None] + 0.05 * torch.randn(30, 4000, 4, generator=torch.Generator().manual_seed(0))
    aims = found.target[:, None].expand(-1, 4000)
    share = (margin(linear(weights, bias)(noisy), aims) <= 0).double().mean(1).numpy()
    np.testing.assert_allclose(share, exact, atol=5 * math.sqrt(0.25 / 4000))


def test_probes_first_order_share_is_near_the_share_of_noisy_points_on_a_network(trained_models, compas):
    found = asked("probe", trained_models[0], compas.x_test[:40], dataset=compas, invalidation=0.2, sigma=0.1)
    assert found.found.float().mean() > 0.95
    reached, target = found.counterfactual[found.found], found.target[found.found]
    noise = 0.1 * torch.randn(500, *compas.input_shape, generator=torch.Generator().manual_seed(0))
    answers = logits(trained_models[0], (reached[:, None] + noise).flatten(0, 1))
    lost = (margin(answers, target.repeat_interleave(500)) <= 0).view(-1, 500).float().mean(1)
    assert lost.mean() < 0.2 + 0.02
    assert (lost - 0.2).max() < 0.2  # single points may lose more than was promised to first order


# ellice


def fitted(classes, rows=300, seed=0):
    """A logistic regression at the minimum of its loss, as a torch module, and the split that it was fitted on."""
    generator = np.random.default_rng(seed)
    x = generator.random((rows, 3))
    noise = generator.gumbel(size=(rows, classes))
    y = ((x - 0.5) @ generator.normal(0, 6, (3, classes)) + noise).argmax(1)
    best = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(x, y)
    return line(torch.from_numpy(best.coef_), best.intercept_), Background(
        torch.from_numpy(x).float(), torch.from_numpy(y)
    )


def mean_loss(theta, split, classes):
    """The mean cross entropy of weights and biases, (classes or 1, 4) flat, float64."""
    phi = torch.cat([split.x, torch.ones(len(split.x), 1)], 1).double()
    said = phi @ theta.view(-1, 4).T
    return cross_entropy(torch.cat([torch.zeros_like(said), said], 1) if classes == 2 else said, split.y)


@pytest.mark.parametrize("classes", [2, 3])
def test_ellices_worst_lead_is_that_of_the_worst_layer_on_the_ellipsoid(classes):
    model, split = fitted(classes)
    theta = torch.cat([model.weight, model.bias[:, None]], 1).double().flatten()
    ridge, share = 1e-3, 0.01
    hessian = hessian_of(lambda moved: mean_loss(moved, split, classes), theta)
    hessian = hessian + ridge * torch.eye(len(theta), dtype=torch.float64)
    epsilon = share * mean_loss(theta, split, classes)
    layer = last_layer(cft.Model(model), split.x, method="ellice")
    worst = worst_lead(layer, split, loss_share=share, ridge=ridge, device=torch.device("cpu"))
    x = random(12, 3, seed=5)
    said, features = layer.features(x)
    target = torch.arange(12) % classes
    given = worst(said, features, target.float())
    for row in range(12):
        bounds = []
        for other in set(range(classes)) - {int(target[row])}:
            if classes == 2:
                direction = (2 * target[row] - 1) * features[row].double()
            else:
                signs = (torch.arange(3) == target[row]).double() - (torch.arange(3) == other).double()
                direction = torch.outer(signs, features[row].double()).flatten()
            step = torch.linalg.solve(hessian, direction)
            moved = theta - (2 * epsilon / (direction @ step)).sqrt() * step  # the least direction @ θ on the ellipsoid
            assert float((moved - theta) @ hessian @ (moved - theta)) == pytest.approx(2 * float(epsilon))
            # The ellipsoid stands for a loss that is higher by ε, to second order and without the ridge.
            assert float(mean_loss(moved, split, classes) - mean_loss(theta, split, classes)) < 1.5 * float(epsilon)
            bounds.append(direction @ moved)
        assert float(given[row]) == pytest.approx(float(min(bounds)), abs=1e-4)


def test_ellice_finds_points_that_no_layer_of_the_ellipsoid_refuses():
    model, split = fitted(2)
    x = random(30, 3, seed=6)
    data = table_of(split.x, split.y.float())
    found = asked(
        "ellice",
        model,
        x,
        dataset=data,
        constraints="box",
        lr=0.004,
        iterations=200,
        loss_share=0.01,
        distance_weight=0.0,
    )
    assert found.found.float().mean() > 0.8
    theta = torch.cat([model.weight[0], model.bias]).double()
    hessian = hessian_of(lambda moved: mean_loss(moved, split, 2), theta) + 1e-4 * torch.eye(4).double()
    epsilon = 0.01 * mean_loss(theta, split, 2)
    around = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)).double()
    around = around / around.norm(dim=1, keepdim=True) * (2 * epsilon).sqrt()
    layers = theta + torch.linalg.solve_triangular(torch.linalg.cholesky(hessian).T, around.T, upper=True).T
    reached = found.counterfactual[found.found].double()
    sides = 2 * found.target[found.found].double() - 1
    least = (sides[:, None] * (torch.cat([reached, torch.ones(len(reached), 1)], 1) @ layers.T)).amin(1)
    assert (least > 0).all()
    assert (least < 0.1).float().mean() > 0.9  # and no farther than that


@pytest.mark.parametrize("method", ["roar", "ellice"])
def test_a_base_whose_last_layer_cannot_be_reached_is_refused_in_one_line(method):
    x = random(5, 3)
    split = x, torch.arange(5) % 2
    squashed = nn.Sequential(line(torch.tensor([1.0, -2.0, 0.5]), 0.3), nn.Tanh())
    convolved = nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Conv1d(3, 1, 1), nn.Flatten())
    said = {
        lambda x: x.sum(1): "needs a torch module that ends in an nn.Linear",
        convolved: "needs a torch module that ends in an nn.Linear",
        squashed: "its logits do not come from its last nn.Linear",
        cft.Model(squashed, output="logits"): "its logits do not come from its last nn.Linear",
    }
    for base, words in said.items():
        with pytest.raises(InputError, match=words) as raised:
            cft.search(base, x, method=method, background=split)
        assert "\n" not in str(raised.value)


def test_the_last_layer_of_our_models_gives_their_logits(compas):
    image = random(4, 3, 8, 8)
    network = build({"_target_": "cnn", "layers": 2, "width": 8}, input_shape=(3, 8, 8), seed=0, outputs=3)
    said, features = last_layer(network, image, method="roar").features(image)
    head = [part for part in network.modules() if isinstance(part, nn.Linear)][-1]
    torch.testing.assert_close(features[:, :-1] @ head.weight.T + head.bias, said)
    regression = build({"_target_": "logistic_regression", "C": 1.0}, input_shape=compas.input_shape, seed=0).fit(
        compas
    )
    for method in ("roar", "ellice"):
        assert asked(method, regression, compas.x_test[:20], dataset=compas).found.float().mean() > 0.9


# betarce


@pytest.mark.parametrize("models", [1, 20, 32, 64])
@pytest.mark.parametrize(("delta", "credibility"), [(0.5, 0.5), (0.8, 0.9), (0.9, 0.9), (0.9, 0.95)])
def test_betarce_wants_as_many_models_as_the_beta_quantile_says(models, delta, credibility):
    tail = (1 - credibility) / 2
    quantiles = [stats.beta.ppf(tail, 1 + agree, 1 + models - agree) for agree in range(models + 1)]
    enough = [agree for agree, quantile in enumerate(quantiles) if quantile >= delta]
    assert quantiles[-1] == pytest.approx(tail ** (1 / (models + 1)))
    if enough:
        assert agreeing(models, delta=delta, credibility=credibility) == enough[0]
        return
    with pytest.raises(InputError, match=rf"counterfactual\.delta={delta}: must be at most") as raised:
        agreeing(models, delta=delta, credibility=credibility)
    wanted = int(str(raised.value).split("counterfactual.models=")[1].split()[0])
    assert agreeing(wanted, delta=delta, credibility=credibility) == wanted
    with pytest.raises(InputError):
        agreeing(wanted - 1, delta=delta, credibility=credibility)


def test_a_delta_that_no_number_of_models_reaches_has_another_way_out():
    with pytest.raises(InputError, match="lower it, or the credibility"):
        agreeing(32, delta=0.99, credibility=0.9)


def test_betarces_credibility_holds_on_fresh_models():
    """Planes that turn and shift at random, a thousand fresh ones of each kind: do .8 of them agree, nine times in ten?

    docs/methods.md has the same question to networks.
    """
    shares = []
    for seed in range(7):
        weights, _ = plane(seed, 3)
        generator = torch.Generator().manual_seed(seed)
        turned = weights + 2.5 * torch.randn(1 + 32 + 1000, 3, generator=generator)
        shift = -0.5 * turned.sum(1) + torch.randn(len(turned), generator=generator)
        base, *others = (linear(one, by) for one, by in zip(turned[:33], shift[:33], strict=True))
        how = {"start": "nearest", "constraints": "box", "iterations": 600, "draws": 20}
        found = asked("betarce", base, random(20, 3, seed=seed), generating=lambda k, o=others: o[:k], **how)
        reached, target = found.counterfactual[found.found], found.target[found.found]
        fresh = reached @ turned[33:].T + shift[33:]
        shares.append(((fresh > 0) == (target[:, None] == 1)).float().mean(1))
    every = torch.cat(shares)
    assert len(every) > 50
    assert (every >= 0.8).float().mean() >= 0.9
    assert (every < 0.9).any(), "no point is near the limit, so nothing was tested"


# robx


def stability(model, points, target, *, draws, sigma):
    """Dutta et al.: the mean probability of the target in a Gaussian neighbourhood, less its standard deviation."""
    noise = sigma * normal(torch.zeros(1, dtype=torch.long), draws, points.shape[1])
    p = torch.sigmoid(margin(model(points[:, None] + noise), target[:, None].expand(-1, draws)))
    return p.mean(1) - (p - p.mean(1, keepdim=True)).square().mean(1).sqrt()


@pytest.mark.parametrize("start", ["nearest", "minimal"])
def test_robx_ends_on_the_way_to_a_stable_row_where_its_stability_suffices(start):
    (weights, bias), x, rows = plane(4, 3), random(30, 3, seed=1), random(200, 3, seed=2)
    model, about = linear(weights, bias), {"draws": 50, "sigma": 0.1}
    data = table_of(rows, (model(rows) > 0).float())
    begun = asked(start, model, x, dataset=data, constraints="box")
    found = asked("robx", model, x, dataset=data, constraints="box", stability=0.7, rows=2, start=start, **about)
    assert found.found.all()
    assert torch.equal(begun.target, found.target)
    reached = stability(model, found.counterfactual, found.target, **about)
    assert (reached >= 0.7 - 1e-5).all()
    before = stability(model, begun.counterfactual, found.target, **about) >= 0.7
    assert torch.equal(found.counterfactual[before], begun.counterfactual[before])
    moved = (~before).nonzero().flatten()
    assert len(moved) > 5
    for row in moved.tolist():
        side = found.target[row].expand(len(rows))
        stable = rows[(stability(model, rows, side, **about) >= 0.7) & (margin(model(rows), side) > 0)]
        ends = stable[(stable - x[row]).norm(dim=1).argsort()[:2]]
        way, gone = ends - begun.counterfactual[row], found.counterfactual[row] - begun.counterfactual[row]
        share = (way * gone).sum(1) / way.square().sum(1)
        assert (gone - share[:, None] * way).norm(dim=1).min() < 1e-5  # on the line to one of the two
    assert (reached[moved] < 0.75).float().mean() > 0.8  # and no farther than needed, but for a 256th of the way


def test_robx_without_a_stable_row_says_so():
    (weights, bias), x = plane(4, 3), random(30, 3, seed=1)
    rows = x[linear(weights, bias)(x).abs() < 1]
    data = table_of(rows, (linear(weights, bias)(rows) > 0).float())
    found = asked("robx", linear(weights, bias), x, dataset=data, constraints="box", stability=0.99)
    assert not found.found.any()
    assert set(found.status) == {"no_row"}


# ensemble's dial


@pytest.mark.parametrize(
    ("share", "models", "enough"), [(1, 4, 4), (0.5, 4, 2), (0.5, 3, 2), (0.01, 4, 1), (0.07, 100, 7)]
)
def test_a_share_of_models_is_rounded_up(share, models, enough):
    assert agreeing_share(share, models) == enough


def test_an_ensemble_of_which_half_must_agree_ends_where_half_do():
    (weights, bias), x = plane(4, 4), random(30, 4, seed=13)
    noise = torch.Generator().manual_seed(0)
    others = [linear(weights + 2 * torch.randn(4, generator=noise), bias) for _ in range(4)]
    base, about = linear(weights, bias), {"constraints": "box", "distance_weight": 0.0, "lr": 0.005, "iterations": 200}
    half, every = (
        asked("ensemble", base, x, generating=lambda k: others[:k], agree=share, **about) for share in (0.5, 1)
    )
    agree = sum((margin(one(half.counterfactual), half.target) > 0).long() for one in others)
    assert half.found.all()
    assert (agree >= 2).all()
    assert (agree < 4).any()
    assert (half.iterations <= every.iterations).all()


def test_searches_of_ensembles_before_the_dial_keep_their_key(base_spec, compas, tmp_path):
    about = {"many": 5, "dataset": compas, "store": tmp_path}
    names = [
        searches_file(base_spec, 0, settings={"_target_": "ensemble", "models": 4, **dial}, **about)
        for dial in ({}, {"agree": 1}, {"agree": 1.0}, {"agree": 0.5})
    ]
    assert names[0] == names[1] == names[2]
    assert names[3] != names[0]


def test_the_first_models_of_a_base_have_the_seeds_that_they_always_had():
    assert generating_seeds(3, 20) == list(range(2060, 2080))
    every = [seed for base in range(50) for seed in generating_seeds(base, GENERATING)]
    assert len(set(every)) == 50 * GENERATING
