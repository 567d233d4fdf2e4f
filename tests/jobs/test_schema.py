"""The model of result.json refuses values that would make a number wrong, and lets later versions add keys."""

import json

import pytest

from cftransfer.errors import InputError
from cftransfer.jobs.schema import MAX_NUMBER, read_result

NUMBERS = ["found", "agreement", "rate", "rate_low", "rate_high", "rate_conditional", "rate_end_to_end", "distance_l2"]
COUNTS = ["pairs", "n_searched", "n_tried", "n_agreeing", "n_to_0", "n_to_1"]
METRICS = dict.fromkeys(NUMBERS, 0.5) | dict.fromkeys(COUNTS, 10) | {"interval": "pairs"}
NOTHING = dict.fromkeys(["rate", "rate_low", "rate_high", "rate_conditional", "rate_end_to_end", "distance_l2"])
GOOD = {
    "config": {"seed": 0, "model": {"_target_": "mlp", "layers": 4}, "wandb": {"mode": "offline"}},
    "choices": {"experiment": "seed", "model": None},
    "overrides": ["model.layers=4"],
    "metrics": METRICS,
    "versions": {"torch": "2"},
    "git": {"commit": "0" * 40, "dirty": True},
    "wandb": "7adae1c77f5f",
}
POINT = {"extra_epochs": 1, "rate": 0.5, "rate_low": 0.4, "rate_high": 0.6}


def read(folder, **changes):
    (folder / "result.json").write_text(json.dumps(GOOD | changes))
    return read_result(folder)


def test_a_result_may_have_more_than_is_known_here(tmp_path):
    changes = {"later": 1, "git": None, "metrics": METRICS | {"later": 2.0}, "curve": [POINT | {"later": None}]}
    result = read(tmp_path, **changes)
    assert (result.rated, result.metrics["later"], result.git) == (True, 2.0, None)


def test_nothing_found_is_a_result(tmp_path):
    assert read(tmp_path, metrics=METRICS | NOTHING | {"found": 0.0}).metrics["rate"] is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metrics": METRICS | NOTHING | {"rate_low": 0.4}}, "rate_low"),
        ({"metrics": METRICS | {"rate": True}}, "rate"),
        ({"metrics": METRICS | {"rate": "0.5"}}, "rate"),
        ({"metrics": METRICS | {"rate": float("nan")}}, "rate"),
        ({"metrics": METRICS | {"any": 2 * MAX_NUMBER}}, "any"),
        ({"metrics": METRICS | {"n_tried": None}}, "n_tried"),
        ({"metrics": METRICS | {"distance_l2": None}}, "distance_l2"),
        ({"metrics": METRICS | {"rate_high": None}}, "rate_low"),
        ({"metrics": METRICS | {"distance_l2_low": 0.1}}, "distance_l2_low"),
        ({"metrics": METRICS | {"rate_minus_seed": 0.1}}, "rate_minus_seed_low"),
        ({"metrics": METRICS | {"found_as_bytes": 0.1}}, "n_found"),
        ({"metrics": {name: value for name, value in METRICS.items() if name != "interval"}}, "interval"),
        ({"config": GOOD["config"] | {"samples": 10**400}}, "config"),
        ({"config": GOOD["config"] | {"seed": "0"}}, "config"),
        ({"config": GOOD["config"] | {"reference": "base"}}, "reference"),
        ({"config": GOOD["config"] | {"counterfactual": {"_target_": 3}}}, "_target_"),
        ({"choices": {"experiment": None}}, "choices"),
        ({"choices": {"model": 3}}, "choices.model"),
        ({"overrides": [3]}, "overrides.0"),
        ({"versions": {"torch": 2}}, "versions.torch"),
        ({"git": {"commit": "abc"}}, "git.dirty"),
        ({"data": {"version": 3}}, "data.version"),
        ({"wandb": "../other"}, "wandb"),
        ({"files": {"pairs.parquet": 3}}, "files"),
        ({"curve": []}, "curve"),
        ({"curve": None}, "curve"),
        ({"curve": [POINT | {"rate": "0.5"}]}, "curve.0"),
        ({"curve": [POINT | {"extra_epochs": None}]}, "curve.0"),
        ({"curve": [{"rate": 0.5}]}, "curve.0"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_what_would_make_a_number_wrong_is_named(tmp_path, change, said):
    read(tmp_path)
    with pytest.raises(InputError, match=rf"^result.json cannot be read \(.*{said}.*\); run the job again$"):
        read(tmp_path, **change)


def test_no_other_file_is_read_in_its_place(tmp_path):
    (elsewhere := tmp_path / "elsewhere").mkdir()
    read(elsewhere)
    (job := tmp_path / "job").mkdir()
    (job / "result.json").symlink_to(elsewhere / "result.json")
    with pytest.raises(InputError, match="it is not a file in this folder"):
        read_result(job)
