"""The paper's search: each row by itself, inside the box, under one cap, and as one would write it for a single row."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from cftransfer.counterfactuals.gradient import gradient
from cftransfer.errors import InputError
from cftransfer.models.build import build
from cftransfer.models.prediction import logits, margin, predicted
from cftransfer.searching.candidates import Background
from cftransfer.searching.constraint import Constraint
from cftransfer.searching.mad import mad_scale

SETTINGS = {
    "iterations": 1000,
    "lr": 0.01,
    "distance": "l2",
    "distance_weight": 0.1,
    "confidence": 0.5,
    "refine": "none",
    "batch_size": 256,
}


def search(model, x, background=None, **changes):
    """In the box, which all inputs have alike."""
    target = 1 - predicted(logits(model, x))
    box = Constraint(name="box", feature=torch.arange(x[0].numel() if len(x) else 1))
    answer = gradient(model, x, target, constraint=box, background=background, **{**SETTINGS, **changes})
    return target, answer.x, answer.claimed, answer.iterations


def linear(*weights, bias=0.0):
    def model(x):
        return x @ torch.tensor(weights) + bias

    return model


def test_a_row_gets_the_same_counterfactual_alone_and_in_any_batch(trained_models, compas):
    x = torch.cat([compas.x_test, compas.x_train])[:2000]
    _, every, _, steps = search(trained_models[0], x)
    for rows in ([0], [1999], range(7), [17, 3, 1400, 256, 255, 999, 64]):
        _, some, _, some_steps = search(trained_models[0], x[list(rows)])
        assert torch.equal(some, every[list(rows)])
        assert torch.equal(some_steps, steps[list(rows)])


def test_in_a_network_of_odd_sizes_rows_differ_by_no_more_than_rounding(compas):
    model = build({"_target_": "mlp", "layers": 2, "width": 5}, input_shape=(14,), seed=0)
    x = compas.x_test[:300]
    _, every, done, steps = search(model, x, batch_size=250)
    _, back, back_done, back_steps = search(model, x.flip(0), batch_size=250)
    torch.testing.assert_close(back.flip(0), every, atol=1e-4, rtol=0)
    assert torch.equal(back_done.flip(0), done)
    assert torch.equal(back_steps.flip(0), steps)


def test_it_is_the_search_of_a_single_row(trained_models, compas):
    model, x = trained_models[0], compas.x_test[:25]
    target, reached, done, steps = search(model, x)
    for index in range(len(x)):
        row, wanted = x[index : index + 1], target[index : index + 1].float()
        moving = row.clone().requires_grad_()
        adam = torch.optim.Adam([moving], lr=0.01)
        taken = 0
        while taken < 1000:
            logit = model(moving)
            if margin(logit.detach(), wanted) >= 1e-5:
                break
            loss = binary_cross_entropy_with_logits(logit, wanted) + 0.1 * (moving - row).square().sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            with torch.no_grad():
                moving.clamp_(0, 1)
            taken += 1
        assert done[index]
        assert steps[index] == taken
        torch.testing.assert_close(reached[index], moving.detach()[0], atol=1e-5, rtol=0)


def test_most_are_found_near_the_boundary_and_in_the_box(trained_models, compas):
    x = compas.x_test[:500]
    target, reached, done, steps = search(trained_models[0], x)
    assert done.float().mean() >= 0.95
    assert ((reached >= 0) & (reached <= 1)).all()
    assert (margin(logits(trained_models[0], reached), target)[done] > 0).all()
    assert (steps[done] >= 1).all()  # a factual is never on its target's side
    assert (steps <= 1000).all()


def test_features_at_exactly_0_and_1_move():
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    target, reached, done, _ = search(linear(1.0, -1.0), x)
    assert target.tolist() == [1, 0]
    assert done.all()
    assert (reached != x).all()


@pytest.mark.parametrize("confidence", [0.5, 0.75, 0.9, 0.99])
def test_done_means_the_asked_confidence(confidence):
    x = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    target, reached, done, _ = search(linear(20.0, 20.0, bias=-20.0), x, confidence=confidence)
    assert done.all()
    probability = torch.sigmoid(margin(linear(20.0, 20.0, bias=-20.0)(reached), target))
    assert (probability >= confidence).all()
    assert (probability < confidence + 0.1).all()  # and the first crossing, not a point far beyond


def test_a_margin_within_rounding_is_not_enough():
    # The first step, of lr, lands 5e-6 logits beyond the boundary: another kernel could put that on either side.
    _, _, done, steps = search(linear(1.0, bias=-0.51 + 5e-6), torch.tensor([[0.5]]), distance_weight=0.0)
    assert done.all()
    assert steps.item() == 2


@pytest.mark.parametrize("cap", [0, 1, 5])
def test_the_cap_is_the_total_and_failures_are_failures(cap):
    x = torch.full((3, 2), 0.1)
    _, reached, done, steps = search(linear(1.0, 1.0, bias=-1.5), x, iterations=cap)
    assert not done.any()
    assert (steps == cap).all()
    torch.testing.assert_close(
        reached, x + 0.01 * cap, atol=1e-3, rtol=0
    )  # a step of Adam is lr, here in a straight line


def test_a_model_that_never_changes_its_mind_is_never_moved():
    _, reached, done, steps = search(lambda x: x.sum(1) * 0 + 3.0, torch.rand(4, 3), iterations=20)
    assert not done.any()
    assert (steps == 20).all()
    assert torch.isfinite(reached).all()


def test_distance_weight_holds_rows_back():
    model, x = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0)), torch.rand(40, 2)
    torch.manual_seed(0)
    for weight in model.parameters():
        nn.init.normal_(weight)
    model.requires_grad_(False)
    moved = [
        (search(model, x, distance_weight=weight, iterations=60, confidence=0.999)[1] - x).norm(dim=1).mean()
        for weight in (0.0, 1.0, 100.0)
    ]
    assert moved[0] > moved[1] > moved[2]


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("batch_size", [1, 4, 256])
def test_any_number_of_rows_in_any_size_of_batch(rows, batch_size):
    x = torch.rand(rows, 2, generator=torch.Generator().manual_seed(0))
    model = linear(1.0, 1.0, bias=-1.0)
    _, reached, done, steps = search(model, x, batch_size=batch_size)
    _, expected, _, _ = search(model, x)
    assert reached.shape == (rows, 2)
    assert len(done) == len(steps) == rows
    assert done.all()
    torch.testing.assert_close(reached, expected)


def test_images_are_rows_too():
    x = torch.rand(6, 3, 4, 4)
    _, reached, done, _ = search(lambda x: (x.mean((1, 2, 3)) - 0.5) * 50, x)
    assert reached.shape == x.shape
    assert done.all()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("iterations", -1),
        ("iterations", 2.5),
        ("lr", 0),
        ("lr", math.inf),
        ("distance_weight", -0.1),
        ("confidence", 0.4),
        ("confidence", 1),
        ("batch_size", 0),
        ("distance", "l3"),
        ("refine", "more"),
    ],
)
def test_an_impossible_setting_is_named(setting, value):
    with pytest.raises(InputError, match=f"counterfactual.{setting}={value}"):
        search(linear(1.0), torch.rand(1, 1), **{setting: value})


@pytest.mark.parametrize("distance", ["l1", "l2", "mad"])
def test_the_distance_is_the_one_that_was_asked_for(distance, compas):
    """One step from a point beside the factual, where the prediction has no slope: the distance alone moves it."""
    scale = {"mad": mad_scale(Background(compas.x_train, compas.y_train))}.get(distance, torch.ones(14))
    x = compas.x_test[:5].clamp(0.2, 0.8)
    flat, seen = (lambda x: x.sum(1) * 0 - 1), []

    def watching(point, *rest):
        seen.append((point.detach().clone(), *rest))
        return flat(point)

    box = Constraint(name="box", feature=torch.arange(14))
    gradient(
        watching, x, torch.ones(5).long(), constraint=box, background=Background(compas.x_train, compas.y_train),
        **{**SETTINGS, "distance": distance, "distance_weight": 2.0, "iterations": 3},
    )  # fmt: skip
    # Without a slope of the prediction nothing moves at first, and the distance stays at its minimum.
    assert all(torch.equal(point[:5], x) for (point,) in seen)

    def steep(point):
        return (point / scale).sum(1) * 1e-3 - 1

    target = torch.ones(5).long()
    ends = [
        gradient(steep, x, target, constraint=box, background=Background(compas.x_train, compas.y_train),
                 **{**SETTINGS, "distance": distance, "distance_weight": weight, "iterations": 60}).x
        for weight in (0.0, 10.0)
    ]  # fmt: skip
    measure = (lambda d: d.square().sum(1)) if distance == "l2" else (lambda d: (d.abs() / scale).sum(1))
    free, held = (measure(end - x) for end in ends)
    assert (held < 0.5 * free).all()


def test_deviations_are_the_mad_else_the_standard_deviation_else_one():
    x = torch.tensor([[0.0, 0.0, 0.5], [0.1, 0.0, 0.5], [0.2, 0.0, 0.5], [0.3, 0.0, 0.5], [0.4, 1.0, 0.5]])
    torch.testing.assert_close(mad_scale(Background(x, x[:, 0])), torch.tensor([0.1, float(x[:, 1].std()), 1.0]))


def test_refined_counterfactuals_are_nearer_still_confident_and_within_the_cap(trained_models, compas):
    x = compas.x_test[:200]
    target, plain, done, steps = search(trained_models[0], x)
    _, refined, still, more = search(trained_models[0], x, refine="bisect")
    assert torch.equal(done, still)
    assert (margin(logits(trained_models[0], refined), target)[done] > 0).all()
    assert ((refined - x).norm(dim=1) <= (plain - x).norm(dim=1) + 1e-7).all()
    assert (refined - x).norm(dim=1).mean() < 0.95 * (plain - x).norm(dim=1).mean()
    assert torch.equal(more[done], (steps + 20)[done])
    _, _, _, capped = search(trained_models[0], x, refine="bisect", iterations=12)
    assert (capped <= 12).all()
