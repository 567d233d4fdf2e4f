"""Constraints over random feature spaces: exactly satisfied, by the nearest point that satisfies them."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cftransfer.data.feature import Feature
from cftransfer.data.pixels import PixelSpace, unit
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.searching.constraint import constraint
from cftransfer.settings import CHOICES

LETTERS = tuple("abcdefgh")


@st.composite
def features(draw, name):
    kind = draw(st.sampled_from(["continuous", "integer", "log", "binary", "ordinal", "categorical"]))
    more = {"mutable": draw(st.booleans())}
    if kind != "categorical":
        more["direction"] = draw(st.sampled_from(["any", "up", "down"]))
    if kind in ("binary", "ordinal", "categorical"):
        many = 2 if kind == "binary" else draw(st.integers(2, 5))
        return Feature(name=name, kind=kind, categories=LETTERS[:many], **more)
    low = draw(st.integers(0, 10))
    ends = {"low": float(low), "high": float(low + draw(st.integers(0, 12)))}
    scale = "log1p" if kind == "log" else "linear"
    return Feature(name=name, kind="continuous" if kind == "continuous" else "integer", scale=scale, **ends, **more)


@st.composite
def spaces(draw):
    return FeatureSpace(tuple(draw(features(f"f{index}")) for index in range(draw(st.integers(1, 4)))))


def possible_points(space):
    """Every point of a space, continuous features left at .3: (points, columns)."""
    parts = []
    for feature in space.features:
        if feature.kind == "categorical":
            parts.append(np.eye(feature.columns, dtype=np.float32).tolist())
        elif feature.levels is None:
            parts.append([[0.3]])
        else:
            parts.append([[level] for level in feature.levels.tolist()])
    return np.array([np.concatenate(point) for point in product(*parts)], dtype=np.float32)


def drawn(space, seed, rows=16):
    """Points anywhere, also beyond the box, and factuals that are possible."""
    generator = torch.Generator().manual_seed(seed)
    every = torch.from_numpy(possible_points(space))
    z = torch.rand(rows, every.shape[1], generator=generator) * 1.6 - 0.3
    return z, every[torch.randint(len(every), (rows,), generator=generator)]


SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("name", CHOICES["counterfactual.constraints"])
@given(space=spaces(), seed=SEEDS)
@settings(max_examples=60)
def test_a_projection_satisfies_the_constraint_and_stays_where_it_is(name, space, seed):
    rule, (z, x) = constraint(name, space), drawn(space, seed)
    point = rule.project(z, x)
    assert rule.holds(point, x).all()
    assert torch.equal(rule.project(point, x), point)
    assert rule.holds(x, x).all()
    assert torch.equal(rule.project(x, x), x)
    low, high = rule.bounds(x)
    assert ((point >= low) & (point <= high)).all()


@given(space=spaces(), seed=SEEDS)
@settings(max_examples=60)
def test_no_possible_point_is_nearer(space, seed):
    z, x = drawn(space, seed)
    numbers = torch.from_numpy(
        np.repeat([f.kind == "continuous" for f in space.features], [f.columns for f in space.features])
    )
    z[:, numbers] = 0.3
    point, every = constraint("possible", space).project(z, x), torch.from_numpy(possible_points(space))
    least = torch.cdist(z, every, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    torch.testing.assert_close((point - z).norm(dim=1), least, atol=1e-6, rtol=0)
    assert (torch.cdist(point, every, compute_mode="donot_use_mm_for_euclid_dist").amin(1) == 0).all()


@given(space=spaces(), seed=SEEDS)
@settings(max_examples=60)
def test_what_is_projected_is_what_a_person_reads(space, seed):
    z, x = drawn(space, seed)
    point = constraint("possible", space).project(z, x)
    again = space.encode(space.decode(point.numpy()))
    whole = np.repeat([f.kind != "continuous" for f in space.features], [f.columns for f in space.features])
    np.testing.assert_array_equal(again[:, whole], point.numpy()[:, whole])


@given(space=spaces(), seed=SEEDS)
@settings(max_examples=60)
def test_actionable_keeps_what_is_fixed_to_the_bit_and_respects_directions(space, seed):
    z, x = drawn(space, seed)
    point, at = constraint("actionable", space).project(z, x), 0
    for feature in space.features:
        columns = slice(at, at + feature.columns)
        at += feature.columns
        old, new = x[:, columns], point[:, columns]
        if not feature.mutable:
            assert torch.equal(old, new)
        elif feature.direction == "up":
            assert (new >= old).all()
        elif feature.direction == "down":
            assert (new <= old).all()
        else:
            assert torch.equal(new, constraint("possible", space).project(z, x)[:, columns])


@given(space=spaces(), seed=SEEDS)
def test_none_changes_nothing_and_box_clamps(space, seed):
    z, x = drawn(space, seed)
    assert torch.equal(constraint("none", space).project(z, x), z)
    assert torch.equal(constraint("box", space).project(z, x), z.clamp(0, 1))
    assert all(constraint(name, space).exact for name in ("none", "box"))
    assert not constraint("none", space).holds(z / 0 if len(z) else z, x).any()  # neither infinite nor undefined


def test_holds_is_exact():
    space = FeatureSpace(
        (
            Feature(name="age", kind="integer", low=0, high=10),
            Feature(name="c", kind="categorical", categories=LETTERS[:3]),
        )
    )
    x = torch.tensor([[0.1, 1.0, 0.0, 0.0]])
    rule = constraint("possible", space)
    for point in ([0.1 + 1e-6, 1, 0, 0], [0.1, 1, 1, 0], [0.1, 0, 0, 0], [0.1, 0.99, 0, 0], [1.1, 1, 0, 0]):
        assert not rule.holds(torch.tensor([point]), x).any(), point
    assert rule.holds(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), x).all()


@pytest.mark.parametrize("name", ["none", "box"])
def test_of_images_none_and_box_allow_every_point_between_grey_levels(name):
    x, z = torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4) * 2 - 0.5
    rule = constraint(name, PixelSpace((3, 4, 4)))
    assert rule.exact
    assert torch.equal(rule.project(z, x), z if name == "none" else z.clamp(0, 1))
    assert rule.holds(x, x).all()


@pytest.mark.parametrize("name", ["possible", "actionable"])
def test_of_images_whole_grey_levels_are_possible_to_the_last_bit(name):
    rule, bytes_ = constraint(name, PixelSpace((1, 16, 16))), torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    levels = unit(bytes_)
    assert not rule.exact
    assert torch.equal(rule.project(levels, levels), levels)
    assert rule.holds(levels, levels).all()
    for move in (0.499 / 255, -0.499 / 255):
        assert torch.equal(rule.project(levels + move, levels), levels)
    for other in (levels.nextafter(torch.tensor(2.0)), levels.nextafter(torch.tensor(-1.0))):
        changed = levels.clone()
        changed[0, 0, 7, 7] = other[0, 0, 7, 7]
        assert not rule.holds(changed, levels).any()
    beyond, between = torch.tensor([-0.7, 1.3, 1e9, -torch.inf]), torch.rand(5, 1, 16, 16)
    assert rule.project(beyond, beyond).tolist() == [0, 1, 1, 0]
    assert not rule.holds(levels / 0, levels).any()
    point = rule.project(between, between)
    assert rule.holds(point, between).all()  # also of a factual between grey levels
    assert torch.equal(unit(torch.from_numpy(PixelSpace((1, 16, 16)).decode(point)).permute(0, 3, 1, 2)), point)
    assert (point - between).abs().max() <= 0.5001 / 255


def test_an_unknown_constraint_is_named():
    with pytest.raises(
        InputError, match=r"counterfactual.constraints=likely: must be one of none, box, possible, actionable"
    ):
        constraint("likely", PixelSpace((3, 4, 4)))


def test_levels_are_those_of_the_encoding():
    age = Feature(name="age", kind="integer", low=3, high=7)
    assert age.levels.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert Feature(name="still", kind="integer", low=3, high=3).levels.tolist() == [0]
    assert Feature(name="sex", kind="binary", categories=("f", "m")).levels.tolist() == [0, 1]
    assert Feature(name="x", kind="continuous").levels is None
    assert Feature(name="race", kind="categorical", categories=LETTERS).levels is None
