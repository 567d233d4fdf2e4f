"""Closed forms of linear softmax models: the boundary of three classes where it is a plane."""

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cftransfer as cft
from cftransfer.models.prediction import logits, predicted, targets


def softmax_model(weights, bias):
    return lambda x: x @ weights.T + bias


def pair(seed, third):
    """Two classes with a boundary that cuts the box, and a third that is never (or as often as class 0) predicted."""
    generator = torch.Generator().manual_seed(seed)
    weights = 3 * torch.randn(3, 4, generator=generator)
    if third == "absent":
        weights[2], bias = weights[0], torch.tensor([0.0, 0.0, -60.0])
    else:  # a twin of class 0: the two share its probability
        weights[2], bias = weights[0], torch.zeros(3)
    bias[1] = (weights[0] - weights[1]) @ torch.full((4,), 0.5)
    return weights, bias


@pytest.mark.parametrize("confidence", [0.5, 0.75])
@pytest.mark.parametrize("third", ["absent", "twin"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_the_closest_counterfactual_is_the_projection_onto_the_pairwise_boundary(third, confidence, seed):
    """At the boundary the target overtakes its rival: a third class, absent or a twin of class 0, moves nothing.

    At a confidence above .5 the target's probability counts, and the twin moves the plane by log 2.
    """
    weights, bias = pair(seed, third)
    model = softmax_model(weights, bias)
    x = torch.rand(20, 4, generator=torch.Generator().manual_seed(seed))
    x = x[predicted(model(x)) != 1]
    if not len(x):
        return
    found = cft.search(model, x, method="minimal", target=1, constraints="none", confidence=confidence)
    slope = weights[1] - weights[0]
    gap = (weights[0] @ x.T + bias[0]) - (weights[1] @ x.T + bias[1])
    if confidence > 0.5:
        gap = gap + log(confidence / (1 - confidence)) + (log(2) if third == "twin" else 0)
    expected = gap / slope.norm()
    assert found.found.all()
    distance = (found.counterfactual - x).norm(dim=1)
    assert (distance >= expected - 1e-5).all()  # no point is nearer
    torch.testing.assert_close(distance, expected, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(found.counterfactual, x + expected[:, None] * slope / slope.norm(), atol=5e-3, rtol=0)


@pytest.mark.parametrize("method", ["gradient", "wachter", "minimal", "growing_spheres"])
def test_two_logits_are_searched_as_one(method):
    torch.manual_seed(0)
    two = torch.nn.Linear(5, 2)
    with torch.no_grad():
        two.weight.mul_(4)
        two.bias.copy_(-two.weight @ torch.full((5,), 0.5))
    one = lambda x: two(x)[:, 1] - two(x)[:, 0]  # noqa: E731
    x = torch.rand(30, 5, generator=torch.Generator().manual_seed(1))
    how = {"method": method, "background": (x, torch.arange(30) % 2)}
    both, single = cft.search(two, x, **how), cft.search(one, x, **how)
    assert both.found.any()
    assert torch.equal(both.target, single.target)
    # Gradients round differently, and a row of wachter may need one step of .01 more.
    torch.testing.assert_close(both.counterfactual, single.counterfactual, atol=0.011, rtol=0)


def test_references_of_three_classes_have_rates_controls_and_targets_of_their_own():
    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3)) for _ in range(4)]
    train = torch.rand(300, 4)
    labels = (train[:, 0] > 0.5).long() + (train[:, 1] > 0.6).long()
    for model in models:
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(150):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(train), labels).backward()
            optimiser.step()
    base, *references = models
    x = torch.rand(80, 4)
    found = cft.search(base, x, method="gradient")
    result = cft.measure(cft.ask(found, references, background=(train, labels)))
    rows = found.found
    assert rows.all()
    assert torch.equal(found.target, targets(logits(base, x)))
    expected = [
        (predicted(logits(model, found.counterfactual)) == found.target).double().mean() for model in references
    ]
    assert result.pairs.rate.tolist() == pytest.approx([float(rate) for rate in expected])
    agreement = [(predicted(logits(model, x)) == predicted(logits(base, x))).double().mean() for model in references]
    assert result.pairs.agreement.tolist() == pytest.approx([float(share) for share in agreement])
    by_target = result.by_target
    assert list(by_target.target) == [0, 1, 2]
    shares = [(found.target == target).double().mean() for target in range(3)]
    total = sum(float(share) * rate for share, rate in zip(shares, by_target.rate))
    assert total == pytest.approx(result.rate)
    assert result.table.control_random.mean() < result.rate
    for target in range(3):  # a die that falls as the reference decides
        here = result.table[(result.table.reference == 0) & (result.table.target == target)]
        share = (predicted(logits(references[0], x)) == target).double().mean()
        assert here.control_prior.to_numpy() == pytest.approx(float(share))
    assert result.table.control_nearest.notna().all()
    asked = cft.measure(cft.ask(found, base.__class__(*base)))  # the same function, another object
    assert asked.rate == 1.0
