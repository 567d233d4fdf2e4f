"""Each method where its answer is known: by a formula, by brute force, or by its own definition asked again."""

import math
from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import composed
from omegaconf import OmegaConf
from scipy.optimize import LinearConstraint, minimize
from scipy.stats import kstest

from cftransfer.counterfactuals import wachter as wachter_file
from cftransfer.counterfactuals.minimal import OVERSHOOT, halfspace
from cftransfer.data.dataset import Dataset
from cftransfer.data.feature import Feature
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.models.prediction import logits, margin, predicted
from cftransfer.searching.ascent import ascend
from cftransfer.searching.candidates import Background, Candidates
from cftransfer.searching.constraint import constraint
from cftransfer.searching.descent import ROUNDING
from cftransfer.searching.mad import mad_scale
from cftransfer.searching.row_random import normal, row_seeds, uniform
from cftransfer.searching.shells import shell
from cftransfer.spec import GENERATING, IN_POOL, POOL_SIZE, generating_seeds, member_seeds
from cftransfer.store.searched import run_search

INF = float("inf")


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def linear(weights, bias):
    def model(x):
        return x @ weights + bias

    return model


def plane(seed, columns=6):
    """A linear model with a boundary that cuts the box near its middle."""
    weights = torch.randn(columns, generator=torch.Generator().manual_seed(seed)) * 3
    return weights, float(-0.5 * weights.sum())


def table_of(x, y=None):
    """A data set of continuous features with these rows for training and for test."""
    y = (torch.arange(len(x)) % 2).float() if y is None else y
    space = FeatureSpace(tuple(Feature(name=f"f{index}", kind="continuous") for index in range(x.shape[1])))
    return Dataset(name="rows", x_train=x, y_train=y, x_test=x, y_test=y, space=space, classes=("no", "yes"))


@cache
def settings_of(name):
    return OmegaConf.to_container(composed(f"counterfactual={name}").counterfactual, resolve=True)


def asked(name, model, x, *, dataset=None, generating=None, **changes):
    settings = settings_of(name)
    settings = {**settings, **({"batch_size": 16} if "batch_size" in settings else {}), **changes}
    return run_search(model, x, settings=settings, dataset=dataset or table_of(x), generating=generating)


def nearest_by_scipy(x, slope, low, high, level):
    """The nearest point of a half-space in a box, by a general solver."""
    x, slope = x.double().numpy(), slope.double().numpy()
    bounds = [(None if at == -INF else at, None if to == INF else to) for at, to in zip(low.tolist(), high.tolist())]
    answer = minimize(
        lambda z: ((z - x) ** 2).sum(),
        x,
        jac=lambda z: 2 * (z - x),
        method="SLSQP",
        bounds=bounds,
        constraints=[LinearConstraint(slope, level, np.inf)],
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert answer.success
    return torch.from_numpy(answer.x).float()


@pytest.mark.parametrize("seed", range(8))
def test_halfspace_is_the_nearest_point_of_the_box_beyond_a_plane(seed):
    x, (slope, _) = random(5, seed=seed), plane(seed, 5)
    slope[seed % 5] = 0.0 if seed % 2 else slope[seed % 5]
    x[(seed + 1) % 5] = float(seed % 2)  # a feature at an end of its range
    low, high = torch.zeros(5), torch.ones(5)
    now = float(slope @ x)
    most = float(slope.clamp(min=0).sum() + slope.clamp(max=0) @ low)
    for share in (-0.3, 0.1, 0.5, 0.9, 0.99):
        level = now + share * (most - now)
        expected = nearest_by_scipy(x, slope, low, high, level)
        reached = halfspace(x[None], slope[None], low[None], high[None], level=torch.tensor([level]))[0]
        torch.testing.assert_close(reached, expected, atol=2e-5, rtol=0)
        if share < 0:
            assert torch.equal(reached, x)  # it is beyond the plane already
    corner = torch.where(slope > 0, high, torch.where(slope < 0, low, x))
    reached = halfspace(x[None], slope[None], low[None], high[None], level=torch.tensor([most + 1]))[0]
    assert torch.equal(reached, corner)


def test_halfspace_without_bounds_is_the_orthogonal_projection():
    x, slope = random(20, 5), random(20, 5, seed=1) - 0.5
    level = (slope * x).sum(1) + random(20, seed=2)
    free = torch.full_like(x, INF)
    reached = halfspace(x, slope, -free, free, level=level)
    expected = x + ((level - (slope * x).sum(1)) / slope.square().sum(1))[:, None] * slope
    torch.testing.assert_close(reached, expected)


def test_halfspace_with_no_slope_stays():
    x = random(3, 4)
    reached = halfspace(x, torch.zeros_like(x), torch.zeros_like(x), torch.ones_like(x), level=torch.ones(3))
    assert torch.equal(reached, x)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("constraints", ["none", "box"])
def test_the_closest_point_of_a_linear_model_is_its_projection(constraints, seed):
    (weights, bias), x = plane(seed), random(12, 6, seed=seed)
    x[::3] = x[::3].round()  # some at the corners, where the box cuts
    model = linear(weights, bias)
    result = asked("minimal", model, x, constraints=constraints)
    assert result.found.all()
    edge = 0.0 if constraints == "box" else -INF
    low, high = torch.full((6,), edge), torch.full((6,), 1.0 if constraints == "box" else INF)
    cut = 0
    for index, row in enumerate(x):
        side = 1 if result.target[index] == 1 else -1
        expected = nearest_by_scipy(row, side * weights, low, high, -side * bias)
        free = row - (row @ weights + bias) / weights.square().sum() * weights
        cut += int((expected - free).abs().max() > 1e-3)
        if constraints == "none":
            torch.testing.assert_close(expected, free, atol=1e-5, rtol=0)
        torch.testing.assert_close(result.counterfactual[index], expected, atol=3 * OVERSHOOT, rtol=0)
        longest = (expected - row).norm() + 2 * OVERSHOOT
        assert (expected - row).norm() - 1e-5 <= (result.counterfactual[index] - row).norm() <= longest
    assert (cut > 0) == (constraints == "box"), "the box has to cut somewhere, or nothing was tested"


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_bisect_ends_at_the_boundary_and_never_farther_than_without(confidence):
    (weights, bias), x = plane(0), random(40, 6, seed=3)
    model, needed = linear(weights, bias), math.log(confidence / (1 - confidence))
    about = {"constraints": "box", "confidence": confidence, "lr": 0.05}
    without = asked("gradient", model, x, refine="none", **about)
    refined = asked("gradient", model, x, refine="bisect", **about)
    assert without.found.all()
    assert refined.found.all()
    beyond = (margin(refined.logit, refined.target) - needed) / weights.norm()
    assert (beyond >= 0).all()
    assert (beyond < 1e-4).all()
    assert ((margin(without.logit, without.target) - needed) / weights.norm()).mean() > 1e-3
    far, near = ((one.counterfactual - x).norm(dim=1) for one in (without, refined))
    assert (near <= far).all()
    # On the line between the two, to rounding.
    share = (near / far)[:, None]
    torch.testing.assert_close(refined.counterfactual, x + share * (without.counterfactual - x), atol=1e-5, rtol=0)
    assert (refined.iterations == without.iterations + 20).all()


def test_bisect_shares_the_cap_and_leaves_failures_alone():
    (weights, bias), x = plane(0), random(40, 6, seed=3)
    model = linear(weights, bias)
    without = asked("gradient", model, x, constraints="box", iterations=20)
    refined = asked("gradient", model, x, constraints="box", iterations=20, refine="bisect")
    assert (without.found & (without.iterations < 20)).any()
    assert not without.found.all()
    assert torch.equal(refined.found, without.found)
    assert (refined.iterations <= 20).all()
    assert torch.equal(refined.counterfactual[~without.found], without.counterfactual[~without.found])


def test_bisect_is_never_farther_where_points_of_the_line_are_projected(trained_models, compas):
    x = compas.x_test[:60]
    without, refined = (
        asked("gradient", trained_models[0], x, dataset=compas, refine=way) for way in ("none", "bisect")
    )
    assert torch.equal(refined.found, without.found)
    far, near = ((one.counterfactual - x).norm(dim=1) for one in (without, refined))
    assert (near <= far).all()


def test_wachters_lambda_grows_after_every_patience_and_the_distance_is_in_mads(monkeypatch):
    seen = {}

    def spy(objective, x, target, **_):
        seen["objective"] = objective
        return SimpleNamespace(x=x, claimed=torch.zeros(len(x), dtype=torch.bool), iterations=target * 0, relaxed=None)

    monkeypatch.setattr(wachter_file, "descend", spy)
    rows = torch.stack([random(101), random(101, seed=1) / 10], 1)
    rows[:, 1] = torch.where(torch.arange(101) < 60, 0.25, rows[:, 1])  # more than half alike: no MAD
    data, model = table_of(rows), linear(torch.tensor([1.0, 2.0]), -1.0)
    wachter_file.wachter(
        model,
        rows[:1],
        torch.ones(1, dtype=torch.long),
        constraint=constraint("box", data.space),
        background=Background(data.x_train, data.y_train),
        **{"iterations": 9, "lr": 0.1, "confidence": 0.5, "weight": 0.5, "factor": 3, "patience": 10, "batch_size": 4},
    )
    age = torch.tensor([0, 9, 10, 19, 20, 45])
    moved, factual, target = random(6, 2, seed=2), random(6, 2, seed=3), torch.tensor([0.0, 1, 0, 1, 0, 1])
    loss = seen["objective"](moved, factual, target, age)
    scale = torch.tensor([(rows[:, 0] - rows[:, 0].median()).abs().median(), rows[:, 1].std()])
    torch.testing.assert_close(mad_scale(Background(data.x_train, data.y_train)), scale)
    lam = torch.tensor([0.5, 0.5, 1.5, 1.5, 4.5, 40.5])
    torch.testing.assert_close(loss.prediction, lam * (torch.sigmoid(model(moved)) - target) ** 2)
    torch.testing.assert_close(loss.distance, ((moved - factual).abs() / scale).sum(1))
    torch.testing.assert_close(loss.sure, model(moved) * (2 * target - 1))


@pytest.mark.parametrize("patience", [20, 50])
def test_wachter_moves_no_sooner_than_lambda_outweighs_the_distance(patience):
    """One feature, σ(4 (x − .8)): from x = .3 the pull λ · 2 (1 − p) · 4 p (1 − p) has to exceed 1 / MAD."""
    data = table_of(torch.linspace(0, 1, 101)[:, None])
    assert mad_scale(Background(data.x_train, data.y_train)).item() == pytest.approx(0.25)
    x = torch.tensor([[0.3]])
    p = torch.sigmoid(4 * (torch.linspace(0.3, 0.5, 50) - 0.8))  # before it is near enough to be carried by Adam
    needed = (1 / 0.25) / (2 * (1 - p) * 4 * p * (1 - p)).max().item()
    model = linear(torch.tensor([4.0]), -3.2)
    rises = math.ceil(math.log2(needed))
    assert rises >= 1
    result = asked("wachter", model, x, dataset=data, constraints="box", patience=patience, lr=0.01)
    assert result.found.all()
    assert rises * patience <= result.iterations.item() <= (rises + 2) * patience + 100
    heavy = asked("wachter", model, x, dataset=data, constraints="box", patience=patience, lr=0.01, weight=64)
    assert heavy.iterations.item() <= 60  # half the range in steps of a hundredth, at once


def shells(inner, width, *, draws=4000, columns=3, rows=2, age=0):
    x = random(rows, columns)
    full = [torch.full((rows,), value) for value in (inner, width)]
    state = {"centre": x, "seed": row_seeds(x), "inner": full[0], "width": full[1]}
    return x, shell(state, torch.full((rows,), age), draws)


@pytest.mark.parametrize(("inner", "width"), [(0.0, 0.1), (0.3, 0.1), (1.0, 0.5)])
def test_shells_lie_between_their_radii_and_are_uniform_in_distance_and_direction(inner, width):
    x, points = shells(inner, width)
    for row, around in zip(x, points):
        length = (around - row).norm(dim=1)
        assert (length >= inner - 1e-6).all()
        assert (length <= inner + width + 1e-6).all()
        assert kstest(length.numpy(), "uniform", args=(inner, width)).pvalue > 1e-3
        direction = (around - row) / length[:, None]
        for axis in (torch.tensor([1.0, 0, 0]), torch.tensor([1.0, 1, 1]) / math.sqrt(3)):
            # Archimedes: on the sphere in three dimensions every coordinate is uniform.
            assert kstest((direction @ axis).numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
        assert abs(np.corrcoef(length.numpy(), direction[:, 0].numpy())[0, 1]) < 0.06


def test_shells_of_another_round_and_of_another_row_are_other_draws():
    x, first = shells(0.0, 0.1, draws=50)
    _, second = shells(0.0, 0.1, draws=50, age=1)
    one, other = ((points - x[:, None]) / (points - x[:, None]).norm(dim=2, keepdim=True) for points in (first, second))
    assert len(torch.cat([one.flatten(), other.flatten()]).unique()) > 0.99 * 2 * one.numel()


def test_growing_spheres_takes_the_nearest_of_its_draws():
    (weights, bias), x = plane(2, 3), random(20, 3, seed=5)
    model = linear(weights, bias)
    about = {"constraints": "none", "sparse": False, "draws": 60, "iterations": 60, "radius": 2.0}
    result = asked("growing_spheres", model, x, **about)
    wide = {"inner": torch.zeros(20), "width": torch.full((20,), 2.0)}
    points = shell({"centre": x, "seed": row_seeds(x), **wide}, torch.zeros(20, dtype=torch.long), 60)
    right = margin(model(points), result.target[:, None]) > ROUNDING
    apart = (points - x[:, None]).norm(dim=2).masked_fill(~right, INF)
    assert result.found.all()
    assert (right.sum(1) > 1).all(), "one draw alone would have done, so nothing was tested"
    torch.testing.assert_close(result.counterfactual, points[torch.arange(20), apart.argmin(1)])


def test_growing_spheres_finds_the_boundary_of_a_plane():
    (weights, bias), x = plane(2, 3), random(20, 3, seed=5)
    result = asked("growing_spheres", linear(weights, bias), x, constraints="none", sparse=False, iterations=5000)
    shortest = (x @ weights + bias).abs() / weights.norm()
    length = (result.counterfactual - x).norm(dim=1)
    assert result.found.all()
    assert (length >= shortest).all()
    assert (length <= 1.5 * shortest + 0.1).all()  # no farther than the shell in which it was found, nearly
    assert (length / shortest).median() < 1.3
    sparse = asked("growing_spheres", linear(weights, bias), x, constraints="none", iterations=5000)
    assert sparse.found.all()
    assert ((sparse.counterfactual - x).norm(dim=1) <= length).all()
    assert (sparse.counterfactual != x).sum() < (result.counterfactual != x).sum()


def test_draws_have_the_moments_of_their_laws():
    seeds = row_seeds(random(400, 7))
    even, bell = uniform(seeds, 500).double(), normal(seeds, 500).double()
    assert ((even > 0) & (even < 1)).all()
    assert even.mean().item() == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / even.numel()))
    assert even.var().item() == pytest.approx(1 / 12, rel=0.02)
    assert kstest(even.flatten()[::20].numpy(), "uniform").pvalue > 1e-3
    assert bell.isfinite().all()
    assert bell.mean().item() == pytest.approx(0, abs=5 / math.sqrt(bell.numel()))
    assert bell.var().item() == pytest.approx(1, rel=0.02)
    assert kstest(bell.flatten()[::20].numpy(), "norm").pvalue > 1e-3
    for drawn in (even, bell):
        for lag in (drawn, drawn.T):  # neither numbers of a row nor rows are correlated with their neighbours
            assert abs(np.corrcoef(lag[1:].flatten().numpy(), lag[:-1].flatten().numpy())[0, 1]) < 0.012


@pytest.mark.parametrize("law", [uniform, normal])
def test_draws_belong_to_the_row_and_not_to_its_place(law):
    x = random(50, 3)
    every = law(row_seeds(x), 4, 5)
    assert every.shape == (50, 4, 5)
    assert len(every.unique()) > 0.999 * every.numel()
    for rows in ([7], [49, 0, 7], list(range(49, -1, -1))):
        assert torch.equal(law(row_seeds(x[rows]), 4, 5), every[rows])
    nudged = x.clone()
    nudged[0, 0] = torch.nextafter(x[0, 0], torch.tensor(2.0))
    assert row_seeds(nudged)[0] != row_seeds(x)[0]
    assert len(row_seeds(torch.cat([x, x.flip(1)])).unique()) == 100  # order matters


def test_draws_go_on_where_they_were_left():
    seeds = row_seeds(random(5, 3))
    every = uniform(seeds, 20)
    assert torch.equal(uniform(seeds, 8, first=12), every[:, 12:])
    begin = torch.tensor([0, 3, 12, 7, 1])
    assert torch.equal(uniform(seeds, 8, first=begin), torch.stack([row[at : at + 8] for row, at in zip(every, begin)]))


@pytest.mark.parametrize("confidence", [0.5, 0.7])
@pytest.mark.parametrize(("distance", "p"), [("l1", 1), ("l2", 2)])
def test_nearest_is_the_nearest_row_by_brute_force(distance, p, confidence):
    (weights, bias), rows = plane(1, 3), random(120, 3, seed=6)
    y = (random(120, seed=7) > 0.5).float()  # labels know nothing of the model: nearest must check both
    data, model = table_of(rows, y), linear(weights, bias)
    x = torch.cat([rows[:20], random(20, 3, seed=8)])  # some factuals are rows themselves
    result = asked("nearest", model, x, dataset=data, distance=distance, confidence=confidence, constraints="box")
    assert result.found.all()
    assert (result.iterations == 1).all()
    needed, answers = math.log(confidence / (1 - confidence)) + ROUNDING, logits(model, rows)
    for index, row in enumerate(x):
        side = int(result.target[index])
        right = (y == side) & (margin(answers, torch.full_like(answers, side)) >= needed)
        apart = (rows[right].double() - row.double()).norm(p=p, dim=1)
        assert torch.equal(result.counterfactual[index], rows[right][apart.argmin()])
        assert (result.counterfactual[index] != row).any()


def test_nearest_never_gives_the_factual_itself_for_a_model_that_wavers():
    """Its inputs may contradict each other: the factual is a row of the target's label, and of its prediction."""
    from cftransfer.counterfactuals.nearest import nearest

    rows = random(10, 2)
    data = table_of(rows, torch.ones(10))
    answer = nearest(
        lambda x: x.sum(1) * 0 + 1,
        rows,
        torch.ones(10, dtype=torch.long),
        constraint=constraint("box", data.space),
        background=Background(data.x_train, data.y_train),
        **{"distance": "l2", "confidence": 0.5, "iterations": 5},
    )
    assert answer.claimed.all()
    assert (answer.iterations == 2).all()
    apart = torch.cdist(rows, rows).fill_diagonal_(INF)
    assert torch.equal(answer.x, rows[apart.argmin(1)])


@pytest.mark.parametrize(("labels", "bias"), [(0.0, 0.0), (1.0, -9.0)])
def test_nearest_finds_nothing_where_no_row_has_both_label_and_prediction(labels, bias):
    rows = random(30, 2)
    x = rows[rows.sum(1) < 1]

    def model(x):
        return x.sum(1) - 1 + bias

    result = asked("nearest", model, x, dataset=table_of(rows, torch.full((30,), labels)))
    assert (result.target == 1).all()
    assert not result.found.any()
    assert (result.iterations == 0).all()


def bumpy(seed=0, columns=4):
    """A small network with more curvature than a trained one."""
    noise = torch.Generator().manual_seed(seed)
    one, two = torch.randn(columns, 24, generator=noise) * 3, torch.randn(24, generator=noise)
    shift = torch.randn(24, generator=noise)
    middle = (torch.tanh(random(500, columns, seed=1) @ one + shift) @ two).median()

    def model(x):
        return torch.tanh(x @ one + shift) @ two - middle

    return model


def stability_along(model, x, reached, target, points):
    """Black et al.: the mean probability of the target on the segment, the factual excluded."""
    along = [margin(model(x + step / points * (reached - x)), target) for step in range(1, points + 1)]
    return torch.sigmoid(torch.stack(along)).mean(0)


def test_minimal_gives_the_nearest_of_all_points_that_it_asked_about():
    seen = []

    def recorded(x):
        """Ripples, so that a later point need not be nearer."""
        seen.append(x.detach().clone())
        return torch.sin(9 * x[:, 0] + 4 * x[:, 1]) + torch.cos(11 * x[:, 2] - 7 * x[:, 3]) - 0.8

    for row in random(12, 4, seed=15).split(1):
        seen.clear()
        result = asked("minimal", recorded, row, constraints="box", batch_size=1)
        points = torch.cat(seen)
        right = margin(recorded(points), result.target) >= ROUNDING
        length = (points - row).norm(dim=1).masked_fill(~right, INF)
        assert result.found.all()
        assert (result.counterfactual - row).norm() <= length.min() + 1e-6


@pytest.mark.parametrize("radius", [0.05, 0.3])
def test_sns_stays_within_its_radius_and_is_never_less_stable_than_where_it_began(radius):
    model, x = bumpy(), random(40, 4, seed=9)
    begun = asked("minimal", model, x, constraints="box", lr=0.01)
    about = {"constraints": "box", "points": 10, "steps": 30, "lr": 0.01}
    result = asked("sns", model, x, radius=radius, **about)
    assert torch.equal(result.found, begun.found)
    assert result.found.float().mean() > 0.9
    there, here = result.counterfactual, begun.counterfactual
    assert ((there - here).norm(dim=1) <= radius + 1e-5).all()
    before, after = (stability_along(model, x, point, result.target, 10) for point in (here, there))
    assert (after >= before - 1e-5)[result.found].all()
    assert (after - before)[result.found].mean() > 0.02
    assert (result.iterations == begun.iterations + 30)[result.found].all()
    longer = asked("sns", model, x, radius=radius, **{**about, "steps": 60})
    further = stability_along(model, x, longer.counterfactual, result.target, 10)
    assert (further >= after - 1e-5)[result.found].all()  # the best is kept, so more steps never cost anything


def test_sns_keeps_the_best_point_and_not_the_last():
    """Steps as long as the radius jump about it: the last point is worse than one seen before."""
    model, x = bumpy(3), random(40, 4, seed=10)
    kept = [
        stability_along(
            model,
            x,
            (result := asked("sns", model, x, constraints="box", points=5, steps=steps, lr=0.3)).counterfactual,
            result.target,
            5,
        )
        for steps in range(6)
    ]
    for fewer, more in pairwise(kept):
        assert (more >= fewer - 1e-5).all()


def test_an_ascent_never_leaves_the_targets_side():
    """The raised score leads away from the target: the best of the points that still have the margin is kept."""
    x = random(5, 2)
    begun = Candidates(x, torch.ones(5, dtype=torch.bool), torch.zeros(5, dtype=torch.long))
    answer = ascend(
        lambda point, _, start: (point[:, 0], start + 0.205 - point[:, 0]),
        x,
        torch.ones(5),
        begun,
        extra=x[:, 0],
        constraint=constraint("none", table_of(x).space),
        jitter=torch.zeros_like(x),
        **{"needed": 0.0, "enough": INF, "radius": INF, "steps": 50, "iterations": 50, "lr": 0.01, "batch_size": 16},
    )
    torch.testing.assert_close(answer.x, x + torch.tensor([0.2, 0.0]))


@pytest.mark.parametrize("stability", [0.55, 0.8])
def test_trex_is_done_where_its_estimate_of_the_stability_is_high_enough(stability):
    model, x = bumpy(1), random(30, 4, seed=11)
    about = {"constraints": "box", "sigma": 0.1, "draws": 40, "lr": 0.01, "iterations": 90}
    begun = asked("minimal", model, x, constraints="box", iterations=90, lr=0.01)
    result = asked("trex", model, x, stability=stability, **about)

    def estimate(point):
        noise = 0.1 * normal(row_seeds(x), 40, 4)
        near = torch.sigmoid(
            torch.stack([margin(model(point + noise[:, draw]), result.target) for draw in range(40)], 1)
        )
        here = torch.sigmoid(margin(model(point), result.target))
        return near.mean(1) - (near - here[:, None]).abs().mean(1)

    reached = estimate(result.counterfactual)
    assert (reached[result.found] >= stability - 1e-5).all()
    assert (reached[~result.found] < stability + 1e-5).all()
    assert 0 < result.found.sum() < len(x), "both have to occur, or nothing was tested"
    assert (reached >= estimate(begun.counterfactual) - 1e-5)[begun.found].all()
    assert (result.iterations[begun.found & ~result.found] == 90).all()
    assert (margin(result.logit, result.target)[result.found] > 0).all()


def test_trex_leaves_alone_what_is_stable_at_once():
    x = random(10, 4, seed=12)
    model = linear(torch.full((4,), 50.0), -100.0)  # a step: on the boundary itself half of the draws are convinced
    begun = asked("minimal", model, x, constraints="box", confidence=0.999, lr=0.01)
    result = asked("trex", model, x, constraints="box", confidence=0.999, stability=0.5, sigma=1e-4, draws=20)
    assert result.found.all()
    assert torch.equal(result.counterfactual, begun.counterfactual)
    assert torch.equal(result.iterations, begun.iterations)


@pytest.mark.parametrize("confidence", [0.5, 0.8])
def test_an_ensemble_is_done_where_all_models_agree(confidence):
    (weights, bias), x = plane(4, 4), random(30, 4, seed=13)
    noise = torch.Generator().manual_seed(0)
    others = [linear(weights + torch.randn(4, generator=noise), bias) for _ in range(3)]
    counted = []

    def generating(many):
        counted.append(many)
        return others[:many]

    model = linear(weights, bias)
    about = {"constraints": "box", "confidence": confidence, "distance_weight": 0.0}
    result = asked("ensemble", model, x, generating=generating, models=3, **about)
    assert counted == [3]
    assert result.found.float().mean() > 0.5
    needed = math.log(confidence / (1 - confidence))
    margins = torch.stack([margin(one(result.counterfactual), result.target) for one in (model, *others)])
    assert torch.equal((margins > needed).all(0), result.found)
    alone = asked("gradient", model, x, **about)
    agree = torch.stack([margin(one(alone.counterfactual), alone.target) > needed for one in others]).all(0)
    assert not agree[result.found].all(), "one model alone would have done, so nothing was tested"
    assert (result.iterations >= alone.iterations)[result.found].float().mean() > 0.9


def test_an_ensemble_with_its_own_opposite_finds_nothing():
    (weights, bias), x = plane(4, 4), random(20, 4, seed=14)
    opposite = linear(-weights, -bias)
    model = linear(weights, bias)
    result = asked("ensemble", model, x, generating=lambda many: [opposite] * many, iterations=200)
    assert not result.claimed.any()
    assert not result.found.any()
    assert (result.iterations == 200).all()
    assert (predicted(result.logit) == 1 - result.target).any()


@pytest.mark.parametrize("seed", [0, 1, 7, 10**6])
def test_models_of_a_method_are_no_bases_and_no_references_and_belong_to_one_base(seed):
    neighbours = range(max(0, seed - 1), seed + 2)
    pools = [(at, pool) for at in neighbours for pool in ("base", "reference")]
    taken = {other for at, pool in pools for other in member_seeds(at, pool, POOL_SIZE)}
    for at in neighbours:
        for base in member_seeds(at, "base", POOL_SIZE // IN_POOL):
            mine = generating_seeds(base, GENERATING)
            assert len(set(mine)) == GENERATING
            assert not taken.intersection(mine)
            assert generating_seeds(base, 2) == mine[:2]  # the first models serve ensembles of every size
            taken.update(mine)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_base_after_the_last_that_can_have_models_of_its_own_is_refused(seed):
    *_, last, beyond = member_seeds(seed, "base", 51)
    assert len(generating_seeds(last, GENERATING)) == GENERATING
    with pytest.raises(InputError, match=r"replicates\.bases: at most 50"):
        generating_seeds(beyond, 1)
