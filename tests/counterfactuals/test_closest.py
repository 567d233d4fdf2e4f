"""The closest point: the projection where that is known, never worse than a point seen, each row by itself."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

import cftransfer.counterfactuals.minimal as method
from cftransfer.counterfactuals.minimal import closest, halfspace
from cftransfer.models.build import build
from cftransfer.models.prediction import logits, margin, predicted

NEEDED = 1e-5


def search(model, x, target=None, *, needed=NEEDED, low=None, high=None, batch_size=64):
    target = 1 - predicted(logits(model, x)) if target is None else target
    low = torch.zeros_like(x) if low is None else low
    high = torch.ones_like(x) if high is None else high
    return target, *closest(model, x, target, needed=needed, low=low, high=high, batch_size=batch_size)


def linear(weights, bias=0.0):
    def model(x):
        return x.flatten(1) @ weights.flatten() + bias

    return model


def network(*, input_shape=(16,), seed=0):
    """An untrained network with its logits spread around 0, so that both classes occur."""
    model = build({"_target_": "mlp", "layers": 2, "width": 32}, input_shape=input_shape, seed=seed)
    with torch.no_grad():
        for name, part in model.named_parameters():
            if name.endswith("weight"):
                part.mul_(3)
        model[-2].bias.sub_(model(torch.rand(500, *input_shape, generator=torch.Generator().manual_seed(1))).median())
    return model.requires_grad_(False).eval()


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_of_a_linear_model_it_is_the_orthogonal_projection():
    weights, x = torch.tensor([1.0, -2.0, 0.5]), 0.4 + 0.2 * uniform(50, 3)
    model = linear(weights)
    bias = -float(model(x).mean())
    _, reached, done, _ = search(linear(weights, bias), x)
    away = (model(x) + bias).abs() / weights.norm()
    assert done.all()
    torch.testing.assert_close((reached - x).norm(dim=1), away, atol=1e-4, rtol=0)
    along = torch.nn.functional.cosine_similarity(reached - x, weights[None]).abs()
    assert (along[away > 1e-2] > 0.9999).all()


@pytest.mark.parametrize("seed", range(5))
def test_where_the_box_cuts_a_quadratic_program_says_the_same(seed):
    weights = torch.randn(6, generator=torch.Generator().manual_seed(seed))
    x = uniform(4, 6, seed=seed)
    bias = -float(weights.clamp(min=0).sum()) * 0.8  # near the best corner: most coordinates end at a bound
    _, reached, done, _ = search(linear(weights, bias), x, torch.ones(4))
    assert done.all()
    for row, near in zip(x.double().numpy(), reached.double().numpy()):
        beyond = {"type": "ineq", "fun": lambda z: z @ weights.double().numpy() + bias - NEEDED}
        best = minimize(
            lambda z, row=row: ((z - row) ** 2).sum(), np.full(6, 0.5), bounds=[(0, 1)] * 6, constraints=beyond
        )
        assert best.success
        # Beyond the boundary by its overshoot, which costs more where few coordinates are still free to move.
        assert np.linalg.norm(near - row) == pytest.approx(np.linalg.norm(best.x - row), rel=2e-3, abs=5e-4)


@pytest.mark.parametrize("seed", range(5))
def test_the_halfspace_projection_meets_the_conditions_of_a_minimum(seed):
    slope = torch.randn(40, 8, generator=torch.Generator().manual_seed(seed)).double()
    slope[:, 3] = 0
    x = uniform(40, 8, seed=seed).double()
    x[:10, 0], x[10:20, 1] = 0, 1
    low, high = torch.zeros_like(x), torch.ones_like(x)
    most = torch.where(slope > 0, high, low)
    level = (slope * x).sum(1) + 0.7 * (slope * (most - x)).sum(1)
    z = halfspace(x, slope, low, high, level=level)
    torch.testing.assert_close((slope * z).sum(1), level)
    inside = (z > 0) & (z < 1) & (slope != 0)
    for row in range(len(x)):
        pace = ((z - x) / slope)[row, inside[row]]  # the same λ for all that are free to move
        torch.testing.assert_close(pace, pace[:1].expand_as(pace))
    beyond = halfspace(x, slope, low, high, level=level + 1e3)
    assert torch.equal(beyond[:, slope[0] != 0], most[:, slope[0] != 0])
    assert torch.equal(halfspace(x, slope, low, high, level=(slope * x).sum(1) - 1), x)


@pytest.mark.parametrize("needed", [NEEDED, 1.0])
def test_done_means_the_margin_in_a_fresh_pass_and_the_box(needed):
    model, x = network(), uniform(100, 16)
    target, reached, done, used = search(model, x, needed=needed)
    assert torch.equal(margin(logits(model, reached), target) >= needed * 0.99, done)
    assert done.float().mean() > 0.9
    assert torch.equal(reached[~done], x[~done])
    assert reached.min() >= 0
    assert reached.max() <= 1
    assert (used <= method.EVALUATIONS).all()


def test_nothing_seen_on_the_targets_side_is_nearer():
    seen, model, x = [], network(), uniform(64, 16)

    def watched(points):
        logit = model(points)
        seen.append((points.detach().clone(), logit.detach()))
        return logit

    target = 1 - predicted(logits(model, x))
    _, reached, done, used = search(watched, x, target)
    lengths = [
        (points - x).norm(dim=1).masked_fill(margin(logit, target) < NEEDED, torch.inf) for points, logit in seen
    ]
    least = torch.stack(lengths).min(0).values
    assert torch.equal(least.isfinite(), done)
    assert torch.equal((reached - x).norm(dim=1)[done], least[done])
    assert used.max() <= len(seen) <= method.EVALUATIONS


def test_bounds_of_each_row_are_kept_to_the_bit():
    model, x = network(), uniform(100, 16)
    frozen = uniform(100, 16, seed=1) < 0.3
    low, high = torch.where(frozen, x, 0.0), torch.where(frozen, x, 1.0)
    _, reached, done, _ = search(model, x, low=low, high=high)
    _, free, free_done, _ = search(model, x)
    assert done.float().mean() > 0.5
    assert torch.equal(reached[frozen], x[frozen])
    both = done & free_done
    assert (reached - x)[both].norm(dim=1).mean() > (free - x)[both].norm(dim=1).mean()


def test_without_bounds_it_is_found_too():
    model, x = network(), uniform(50, 16)
    everything = torch.full_like(x, torch.inf)
    _, reached, done, _ = search(model, x, low=-everything, high=everything)
    assert done.float().mean() > 0.9
    assert reached.isfinite().all()


def test_a_row_is_the_same_alone_and_in_any_batch():
    model, x = network(), uniform(150, 16)
    _, every, done, used = search(model, x)
    for rows in ([0], [149], [5, 3, 100, 64, 63], list(range(149, -1, -1))):
        _, some, some_done, some_used = search(model, x[rows])
        assert torch.equal(some, every[rows])
        assert torch.equal(some_done, done[rows])
        assert torch.equal(some_used, used[rows])


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_any_number_of_rows(rows):
    _, reached, done, used = search(network(), uniform(rows, 16))
    assert reached.shape == (rows, 16)
    assert done.shape == used.shape == (rows,)
    assert done.dtype == torch.bool
    assert used.dtype == torch.int64


def test_a_constant_model_has_no_other_side():
    x = uniform(5, 3)
    _, reached, done, used = search(lambda points: points.flatten(1).sum(1) * 0 - 1, x)
    assert not done.any()
    assert torch.equal(reached, x)
    assert (used == method.EVALUATIONS).all()


def test_what_no_corner_of_the_box_reaches_is_not_found():
    x = uniform(5, 3)
    _, reached, done, _ = search(linear(torch.tensor([1.0, 1.0, 1.0]), bias=-3.5), x)
    assert not done.any()
    assert torch.equal(reached, x)


def test_rows_that_jump_over_a_narrow_side_find_it_in_short_steps():
    """Within .15 of the centre it is the target; the slope beyond is so small that a linear step goes past all."""

    def model(x):
        off = (x - 0.5).norm(dim=1)
        return torch.where(off < 0.15, 0.15 - off, 0.02 * (0.15 - off) - 0.002)

    angle = 6.283 * uniform(40)
    x = 0.5 + 0.35 * torch.stack([angle.cos(), angle.sin()], 1)
    _, reached, done, _ = search(model, x, torch.ones(40))
    assert done.all()
    assert (reached - x).norm(dim=1).max() < 0.25


def test_images():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0)
    )
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for part in model.parameters():
            part.copy_(torch.randn_like(part))
    x = uniform(20, 3, 4, 4)
    model.requires_grad_(False)
    with torch.no_grad():
        model[4].bias.sub_(model(x).median())
    target, reached, done, _ = search(model, x)
    assert reached.shape == x.shape
    assert torch.equal(margin(logits(model, reached), target) > 0, done)
    assert done.all()
