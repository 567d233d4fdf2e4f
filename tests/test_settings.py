"""Checks of settings, and settings made flat."""

from hypothesis import given
from hypothesis import strategies as st

from cftransfer.settings import WHOLE, flat
from cftransfer.spec import GENERATING, POOL_SIZE


def test_nested_settings_are_flat():
    assert flat({"model": {"layers": 4, "more": {"x": None}}, "seed": 0, "reference": {}}) == {
        "model.layers": 4,
        "model.more.x": None,
        "seed": 0,
        "reference": {},
    }


@given(
    st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3))
)
def test_no_setting_is_lost(config):
    def leaves(value):
        return sum(map(leaves, value.values())) if isinstance(value, dict) else 1

    assert len(flat(config)) == leaves(config)


def test_the_limits_of_pools_are_those_of_their_seeds():
    names = ("replicates.bases", "replicates.references", "population.size")
    assert {WHOLE[name] for name in names} == {(1, POOL_SIZE)}
    assert WHOLE["counterfactual.models"] == (1, GENERATING)
