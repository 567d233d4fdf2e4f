"""Specs, patches and keys."""

import pytest
from conftest import composed
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cftransfer.commands.patch import base_spec, reference_spec
from cftransfer.errors import InputError
from cftransfer.settings import check_int
from cftransfer.spec import (
    POOL_SIZE,
    POOLS,
    at_epoch,
    family_key,
    key,
    lineage_key,
    member_seeds,
    model_key,
    with_hashes,
)
from cftransfer.targets import call_target

SPEC = base_spec(composed())


@pytest.mark.parametrize(
    "elsewhere", ["paths.store=/tmp/x", "paths.data=y", "wandb=disabled", "trainer.threads=1", "samples=7", "seed=3"]
)
def test_the_key_ignores_where_and_how_a_model_is_made(elsewhere):
    assert model_key(base_spec(composed(elsewhere)), 0) == model_key(SPEC, 0)


@pytest.mark.parametrize(
    "change",
    [
        "model.layers=5",
        "model.width=65",
        "training.epochs=11",
        "training.lr=0.002",
        "dataset.split_seed=1",
        "dataset=moons",
    ],
)
def test_the_key_follows_what_a_model_is(change):
    assert model_key(base_spec(composed(change)), 0) != model_key(SPEC, 0)
    assert model_key(SPEC, 1) != model_key(SPEC, 0)


def test_the_key_of_the_default_model_is_stable():
    # If this fails, every store made so far is lost to its owner. Change it knowingly, and raise spec.FORMAT.
    assert model_key(SPEC, 0) == "5b50cef39380da6b"


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), plain, max_size=4))
def test_the_key_does_not_depend_on_the_order_of_settings(settings):
    assert key(settings) == key(dict(reversed(settings.items())))
    assert len(key(settings)) == 16


def test_a_lineage_is_shared_by_a_model_and_its_continuation():
    assert lineage_key(SPEC, 0) == lineage_key(at_epoch(SPEC, 30), 0)
    assert lineage_key(SPEC, 0) != lineage_key(SPEC, 1)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(POOLS)), min_size=2, max_size=5, unique=True))
def test_pools_never_meet(pools):
    seeds = [set(member_seeds(seed, pool, POOL_SIZE)) for seed, pool in pools]
    assert sum(map(len, seeds)) == len(set().union(*seeds))


def test_more_members_keep_the_first_ones():
    assert member_seeds(0, "reference", 20)[:10] == member_seeds(0, "reference", 10)


def test_a_patch_moves_the_reference_alone():
    cfg = composed("+reference.model.layers=6", "model.width=32")
    reference = reference_spec(cfg)
    assert (reference["model"]["layers"], reference["model"]["width"]) == (6, 32)
    assert base_spec(cfg)["model"]["layers"] == 4


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+reference.model.layres=6"], "reference.model.layres: no such key"),
        (["+reference.modle.layers=6"], "reference.modle: no such key"),
        (["+reference.model.layers=4"], "changes nothing"),
        (["reference.seeds=base"], "reference.seeds=base"),
        (["reference.seeds=both"], "must be one of reference, base"),
        (["+reference.dataset.split_seed=1"], "reference.dataset"),
        (["+reference.model=cnn"], "reference.model=cnn: must be keys of model"),
        (["reference=null"], "reference=None: must be a mapping"),
        (["~reference.seeds"], "reference.seeds=None: must be one of"),
    ],
)
def test_a_patch_that_would_give_a_meaningless_rate_is_refused(overrides, said):
    with pytest.raises(InputError, match=said):
        reference_spec(composed(*overrides))


def test_a_whole_model_in_the_patch_replaces_the_bases():
    cfg = composed("experiment=technique", "model@reference.model=svm", "model.width=32", "training.epochs=7")
    reference, base = reference_spec(cfg), base_spec(cfg)
    assert reference["model"] == {"_target_": "svm", "C": 1.0, "gamma": "scale"}
    assert {**reference, "model": base["model"]} == base
    assert model_key(reference, 0) != model_key(base, 0)
    other = reference_spec(composed("experiment=technique", "model@reference.model=mlp", "reference.model.layers=6"))
    assert other["model"]["layers"] == 6


def test_a_whole_model_may_be_the_bases_own_if_seeds_differ():
    same = ["experiment=technique", "model=decision_tree", "model@reference.model=decision_tree"]
    assert reference_spec(composed(*same)) == base_spec(composed(*same))
    with pytest.raises(InputError, match="changes nothing"):
        reference_spec(composed(*same, "reference.seeds=base"))
    with pytest.raises(InputError, match="changes nothing"):
        reference_spec(composed("model=decision_tree", "+reference.model.min_samples_leaf=20"))


def test_keys_of_one_technique_do_not_fit_another():
    with pytest.raises(InputError, match=r"reference.model.layers: no such key; there are: .*min_samples_leaf"):
        reference_spec(composed("model=decision_tree", "+reference.model.layers=3"))


def test_the_add_resolver_adds():
    assert OmegaConf.create({"a": 4, "b": "${add:${a},2}"}).b == 6


def test_a_setting_that_its_target_does_not_take_is_named():
    with pytest.raises(InputError, match=r"model.foo: no such key; model has: layers, width"):
        call_target("model", {**SPEC["model"], "foo": 3}, input_shape=(2,))


@pytest.mark.parametrize("value", [0, -1, 1.5, "4", None, True])
def test_whole_numbers_are_whole_and_in_range(value):
    with pytest.raises(InputError, match=r"model.layers=.*: must be a whole number ≥ 1"):
        check_int("model.layers", value, least=1)


def test_the_key_goes_by_what_is_in_a_file_and_not_by_where_it_lies(tmp_path):
    def keyed(root, weights, version):
        spec = {
            "dataset": {"_target_": "d", "root": root, "size": 32},
            "model": {"_target_": "resnet18", "weights": weights},
            "training": {"epochs": 1},
        }
        known = with_hashes(spec, version)
        return model_key(known, 0), lineage_key(known, 0), family_key(known)

    first, second, third = (tmp_path / name for name in ("a.pt", "b.pt", "c.pt"))
    first.write_bytes(b"same"), second.write_bytes(b"same"), third.write_bytes(b"other")
    here = keyed("here", str(first), "1")
    assert here == keyed("there", str(second), "1")
    for other in (keyed("here", str(third), "1"), keyed("here", None, "1"), keyed("here", str(first), "2")):
        assert all(a != b for a, b in zip(here, other))
    with pytest.raises(InputError, match=r"model.weights=/nope: cannot be read"):
        keyed("here", "/nope", "1")


def test_a_setting_that_has_to_be_given_is_named():
    with pytest.raises(InputError, match=r"dataset.positive: has no value; give it one, as in dataset.positive=…"):
        base_spec(composed("dataset=image_folder"))
