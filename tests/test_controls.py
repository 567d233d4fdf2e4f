"""The controls: points that are not counterfactuals, and a reference's predictions for them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import composed
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from sklearn.neighbors import NearestNeighbors

from cftransfer.measuring.controls import (
    DRAWS,
    control_generator,
    nearest_rows,
    nearest_shares,
    prior_share,
    random_points,
    random_share,
)
from cftransfer.models.prediction import logits, predicted
from cftransfer.searching.candidates import Counterfactuals
from cftransfer.store.searched import run_search

SETTINGS = OmegaConf.to_container(composed().counterfactual, resolve=True)


@pytest.fixture(scope="module")
def found(trained_models, compas):
    return run_search(trained_models[0], compas.x_test[:300], settings=SETTINGS, dataset=compas)


def displaced(x, reached):
    """A search in which every row ended at `reached`."""
    rows = torch.ones(len(x))
    return Counterfactuals(x, reached, rows.long(), rows, rows, rows.bool(), rows.bool(), rows.bool(), rows.long())


@given(st.integers(0, 2**32), st.integers(1, 20), st.floats(0, 0.5))
def test_random_points_are_as_far_as_the_counterfactual_and_in_the_box(seed, columns, distance):
    x = torch.rand(8, columns, generator=torch.Generator().manual_seed(seed))
    x[0], x[1] = 0, 1  # corners too
    reached = torch.where(x < 0.5, x + distance / columns**0.5, x - distance / columns**0.5)
    length = (reached - x).norm(dim=1)
    drawn = list(random_points(x, reached, generator=torch.Generator().manual_seed(seed)))
    assert len(drawn) == DRAWS
    for points in drawn:
        assert points.min() >= 0
        assert points.max() <= 1
        torch.testing.assert_close((points - x).norm(dim=1), length, atol=1e-5, rtol=0)


def test_random_points_differ_between_draws_and_not_between_calls(found):
    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.stack(list(random_points(found.factual, found.counterfactual, generator=generator)))

    first, again = drawn(3), drawn(3)
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, drawn(4))


def test_random_directions_have_no_preference():
    x = torch.full((4000, 6), 0.5)
    (first, *_) = random_points(x, x + 0.1, generator=torch.Generator().manual_seed(0))
    mean = (first - x).mean(0)
    assert mean.abs().max() < 5 * 0.1 / 4000**0.5


def test_random_directions_are_uniform_on_the_circle():
    """The mean fourth power of a coordinate is 3/8 on a circle, and less where corners of a square are preferred."""
    x = torch.full((20_000, 2), 0.5)
    (first, *_) = random_points(x, x + 0.1 / 2**0.5, generator=torch.Generator().manual_seed(0))
    fourth = (((first - x) / 0.1) ** 4).double().mean()
    assert float(fourth) == pytest.approx(3 / 8, abs=0.006)


def test_a_random_direction_turns_far_fewer_than_the_search(found, trained_models):
    """DESIGN's figures: 2 % at L2 .11, 28 % at .49; the search itself turns all that it found."""
    near = random_share(found, [trained_models[0]])[0].mean()
    far = displaced(found.factual, found.factual + (found.counterfactual - found.factual) * 4)
    far = replace(far, target=found.target)
    assert near < 0.25 < found.found.double().mean()
    assert random_share(far, [trained_models[0]])[0].mean() > near + 0.05


def test_shares_are_of_the_references_they_name(found, trained_models):
    generator = control_generator(found)
    points = torch.stack(list(random_points(found.factual, found.counterfactual, generator=generator)))
    shares = random_share(found, trained_models)
    for model, share in zip(trained_models, shares):
        flipped = torch.stack([(model(part) > 0).long() == found.target for part in points]).double().mean(0)
        torch.testing.assert_close(share, flipped)


def test_the_nearest_row_is_scikit_learns(found, trained_models, compas):
    base = trained_models[0]
    nearest = nearest_rows(found, base, compas.x_train)
    classes = predicted(logits(base, compas.x_train))
    for side in (0, 1):
        asking = found.target == side
        rows = compas.x_train[classes == side].numpy()
        distance, _ = NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(found.factual[asking].numpy())
        ours = (compas.x_train[nearest.index][asking] - found.factual[asking]).norm(dim=1)
        np.testing.assert_allclose(ours, distance[:, 0], atol=1e-3)
        np.testing.assert_allclose(nearest.l2[asking], ours, atol=1e-6)
    assert torch.equal(predicted(logits(base, compas.x_train[nearest.index])), found.target)
    (share,) = nearest_shares([found], [nearest], base)
    assert share.mean() == 1


def test_a_base_that_knows_one_class_has_no_nearest_row(found, compas):
    nearest = nearest_rows(found, lambda x: torch.full((len(x),), 1.0), compas.x_train)
    (share,) = nearest_shares([found], [nearest], lambda x: x.sum(1))
    assert torch.equal(share.isnan(), found.target == 0)
    assert torch.equal(nearest.l2.isnan(), found.target == 0)


def test_a_coin_falls_as_often_as_the_reference():
    logit, target = torch.tensor([1.0, 1.0, 1.0, -1.0]), torch.tensor([1, 0, 1, 0])
    assert prior_share(target, logit).tolist() == [0.75, 0.25, 0.75, 0.25]


def test_nearest_rows_of_more_than_one_part():
    x = torch.rand(700, 3, generator=torch.Generator().manual_seed(0))
    train = torch.rand(50, 3, generator=torch.Generator().manual_seed(1))
    nearest = nearest_rows(displaced(x, x), lambda x: torch.ones(len(x)), train)  # target 1 throughout
    expected = torch.cdist(x, train, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    torch.testing.assert_close(nearest.l2.float(), expected, atol=1e-6, rtol=0)


def test_controls_of_many_inputs_are_computed_in_parts(monkeypatch, found, trained_models, compas):
    """The bound on memory for images must not change the numbers."""
    whole = nearest_rows(found, trained_models[0], compas.x_train)
    monkeypatch.setattr("cftransfer.measuring.controls.BLOCK", 14 * 37)  # 37 rows of COMPAS at a time
    monkeypatch.setattr("cftransfer.searching.distance.BLOCK", 14 * 37)
    parts = nearest_rows(found, trained_models[0], compas.x_train)
    assert torch.equal(whole.l2, parts.l2)
    share = float(random_share(found, [trained_models[0]]).mean())
    monkeypatch.undo()
    assert share == pytest.approx(float(random_share(found, [trained_models[0]]).mean()), abs=0.04)


def test_the_stream_of_the_random_control_is_its_own(found):
    """Random directions do not follow rows drawn from the same small seed: the mean cosine is 0."""
    x = torch.randn(500, 40, generator=torch.Generator().manual_seed(0)) * 0.01 + 0.5
    search = displaced(x, x + 0.05)
    (first, *_) = random_points(x, search.counterfactual, generator=control_generator(search))
    cosine = torch.cosine_similarity(first - x, x - 0.5, dim=1).mean()
    assert abs(cosine) < 4 / (500 * 40) ** 0.5
    (same, *_) = random_points(x, search.counterfactual, generator=torch.Generator().manual_seed(0))
    assert torch.cosine_similarity(same - x, x - 0.5, dim=1).mean() > 0.99  # as a shared stream would


def test_the_stream_of_the_random_control_belongs_to_its_search(found):
    again = replace(found, counterfactual=found.counterfactual + 0.01)
    first, other = (torch.randn(3, generator=control_generator(search)) for search in (found, again))
    assert torch.equal(first, torch.randn(3, generator=control_generator(found)))
    assert not torch.equal(first, other)
