"""Job folders into tables, knobs, series and trends."""

import itertools
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from conftest import as_nobody

from cftransfer.columns import CONTROLS
from cftransfer.errors import InputError
from cftransfer.jobs.read import yaml_of
from cftransfer.jobs.schema import job_digest
from cftransfer.measuring.counts import count
from cftransfer.measuring.rates import pairs
from cftransfer.measuring.trends import holm, trend
from cftransfer.report import report
from cftransfer.report.cells import _cell
from cftransfer.report.collect import commands, common, jobs, lines
from cftransfer.report.swept import differences

FACTUALS = 20


def write_job(folder, *, rates, overrides=(), curve=None, experiment="seed", choices=None, **settings):
    """A job: its pair (i, j) transfers the share rates[i][j] of 20 counterfactuals; curve: such rates, per epoch."""
    config = {
        "model": {"_target_": "mlp", "layers": 4, "width": 64},
        "seed": 0,
        "samples": FACTUALS,
        "paths": {"store": str(folder)},
        "wandb": {"mode": "offline"},
        "trainer": {"accelerator": "cpu"},
    }
    for name, value in settings.items():
        group, _, key = name.partition("__")
        config[group] = {**config[group], key: value} if key else value
    folder.mkdir(parents=True)
    rates = np.array(rates)
    table = pairs(count(transfers(rates)))
    if curve is not None:
        aged = [pairs(count(transfers(np.array(point)))).assign(reference=lambda t: t.base) for point in curve]
        table = pd.concat(dict(enumerate(aged, 1)), names=["extra_epochs"]).reset_index(level=0)
    table.to_parquet(folder / "pairs.parquet")
    pd.DataFrame({"cap": [1, 9], "found": [0.5, 1], "rate": 0.5, "rate_low": 0.4, "rate_high": 0.6}).to_parquet(
        folder / "survivorship.parquet"
    )
    ages = pd.DataFrame({"role": ["base", "base", "reference"], "epoch": [1, 2, 1]})
    ages.assign(test_accuracy=0.6, test_loss=0.7).to_parquet(folder / "curves.parquet")
    metrics = dict.fromkeys(
        ["found", "agreement", "rate_conditional", "rate_end_to_end", "rate_to_0", "rate_to_1", "distance_l2"], 0.5
    )
    metrics |= {"rate": rates.mean(), "rate_low": rates.min(), "rate_high": rates.max(), "interval": "pairs"}
    metrics |= {"base_accuracy": 0.6, "reference_accuracy": 0.6, "pairs": rates.size}
    metrics |= dict.fromkeys(CONTROLS, 0.5) | dict.fromkeys(
        ["n_searched", "n_tried", "n_agreeing", "n_to_0", "n_to_1"], 1000
    )
    choices = {"model": "mlp", "experiment": experiment} | (choices or {})
    result = {"config": config, "choices": choices, "overrides": list(overrides), "metrics": metrics}
    if curve is not None:
        points = [{"rate": np.mean(p), "rate_low": np.min(p), "rate_high": np.max(p)} for p in curve]
        result["curve"] = [{"extra_epochs": epoch, **point} for epoch, point in enumerate(points, 1)]
    result |= {"versions": {"torch": "2"}, "git": {"commit": "0" * 40, "dirty": True}, "wandb": "x"}
    (folder / "result.json").write_text(json.dumps(result))


def transfers(rates):
    rows = [
        {
            "base": i, "reference": j, "base_seed": i, "reference_seed": 1000 + j, "factual": k, "target": k % 2,
            "found": True, "agreement": k > 3, "transferred": k < round(rates[i, j] * FACTUALS),
        }
        for i in range(rates.shape[0]) for j in range(rates.shape[1]) for k in range(FACTUALS)
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"transferred": "boolean"}).assign(**dict.fromkeys(CONTROLS, 0.5))


def only_panel(folder):
    (panel,) = jobs([folder]).panels
    return panel


def put_sweep(folder, jobs):
    """The multirun.yaml of a sweep of jobs with these overrides."""
    digests = " ".join(job_digest(overrides) for overrides in jobs)
    (folder / "multirun.yaml").write_text(f"hydra: {{callbacks: {{output: {{jobs: '{digests}'}}}}}}")


def fail_job(folder, overrides):
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {override}\n" for override in overrides))


def test_the_typed_number_is_the_knob_and_jobs_stand_in_its_order(tmp_path):
    for job, layers in enumerate([8, 2, 4]):
        write_job(
            tmp_path / str(job),
            rates=[[0.5, 0.6], [0.7, 0.8]],
            overrides=[f"model.layers={layers}"],
            model__layers=layers,
        )
    panel = only_panel(tmp_path)
    assert (panel.knob, panel.series) == ("model.layers", [])
    assert [point.x for point in panel.groups()[""]] == [2, 4, 8]
    assert panel.groups()[""][0].rates.tolist() == [[0.5, 0.6], [0.7, 0.8]]
    assert [panel.place(job) for job in panel.jobs] == ["layers=2", "layers=4", "layers=8"]
    assert common(panel.jobs)["model.width"] == 64
    assert differences(panel.jobs) == ["model.layers"]
    assert "model.layers" not in common(panel.jobs)
    assert "paths.store" not in common(panel.jobs)


def test_what_moves_along_with_the_knob_is_not_another_knob(tmp_path):
    for job, extra in enumerate([1, 2]):
        patch = {"seeds": "reference", "model": {"layers": 4 + extra}}
        write_job(
            tmp_path / str(job), rates=[[0.5]], overrides=[f"extra_layers={extra}"], extra_layers=extra, reference=patch
        )
    assert (only_panel(tmp_path).knob, only_panel(tmp_path).series) == ("extra_layers", [])


def test_a_difference_that_nobody_typed_is_shown(tmp_path):
    """A YAML edited in mid-sweep, or debug=fast in one of two jobs: no line joins jobs that cannot be compared."""
    for job, (layers, samples) in enumerate([(2, 20), (4, 10)]):
        write_job(
            tmp_path / str(job),
            rates=[[0.5]],
            overrides=[f"model.layers={layers}"],
            model__layers=layers,
            samples=samples,
        )
    assert (only_panel(tmp_path).knob, only_panel(tmp_path).series) == ("model.layers", ["samples"])
    assert lines(jobs([tmp_path])) == []


def test_a_grid_has_a_series_per_other_setting(tmp_path):
    rng = np.random.default_rng(0)
    for job, (layers, width) in enumerate([(2, 8), (4, 8), (2, 16), (4, 16)]):
        typed = [f"model.layers={layers}", f"model.width={width}"]
        rates = rng.integers(5, 15, (3, 4)) / 20
        write_job(tmp_path / str(job), rates=rates, overrides=typed, model__layers=layers, model__width=width)
    panel = only_panel(tmp_path)
    assert (panel.knob, panel.series) == ("model.layers", ["model.width"])
    found = {line.label: line for line in lines(jobs([tmp_path]))}
    assert set(found) == {"width=8", "width=16"}
    expected = trend([2, 4], [point.rates for point in panel.groups()["width=8"]])
    assert (found["width=8"].trend.slope, found["width=8"].trend.p) == (expected.slope, expected.p)
    assert [line.p_holm for line in found.values()] == holm([line.trend.p for line in found.values()])


def test_data_sets_that_choose_their_model_and_search_stand_side_by_side(tmp_path):
    """Choices and numbers that come with a data set are not swept settings; the typed words are."""
    kinds = {
        "compas": ({"model": "mlp", "training": "default"}, {"model__width": 64, "training": {"epochs": 10}}, 0.01),
        "cifar": ({"model": "cnn", "training": "image"}, {"model__width": 16, "training": {"epochs": 20}}, 0.001),
    }
    for index, (dataset, (choices, settings, lr)) in enumerate(kinds.items()):
        for confidence in (0.5, 0.9):
            write_job(
                tmp_path / f"{index}{confidence}",
                rates=[[0.5, 0.6], [0.7, 0.7]],
                overrides=[f"dataset={dataset}", f"counterfactual.confidence={confidence}"],
                choices=choices | {"dataset": dataset},
                counterfactual={"confidence": confidence, "lr": lr},
                **settings,
            )
    panel = only_panel(tmp_path)
    assert (panel.knob, panel.series) == ("counterfactual.confidence", ["dataset"])
    assert set(panel.groups()) == {"dataset=compas", "dataset=cifar"}
    assert {line.label for line in lines(jobs([tmp_path]))} == {"dataset=compas", "dataset=cifar"}


def test_what_a_data_set_does_not_explain_is_shown(tmp_path):
    """The same data set with two widths that nobody typed: a file was edited in between."""
    for job, (dataset, width) in enumerate([("a", 16), ("b", 16), ("b", 32)]):
        typed = [f"dataset={dataset}"]
        write_job(tmp_path / str(job), rates=[[0.5]], overrides=typed, choices={"dataset": dataset}, model__width=width)
    assert only_panel(tmp_path).knob == "model.width"


def test_seeds_are_no_knob(tmp_path):
    for seed in range(2):
        write_job(tmp_path / str(seed), rates=[[0.5]], overrides=[f"seed={seed}"], seed=seed)
    assert (only_panel(tmp_path).knob, only_panel(tmp_path).series) == (None, [])
    assert only_panel(tmp_path).replicates == ("seed",)
    assert lines(jobs([tmp_path])) == []


def test_a_job_without_a_result_is_named(tmp_path):
    write_job(tmp_path / "0", rates=[[0.5]])
    fail_job(tmp_path / "1", ["model.layers=0", "seed=1"])
    assert jobs([tmp_path]).failed == {tmp_path / "1": "model.layers=0 seed=1"}
    (tmp_path / "1" / "transfer.log").write_text("12:00:00 training\n12:00:01 failed: model.layers=0: takes more\n")
    assert jobs([tmp_path]).failed == {tmp_path / "1": "model.layers=0 seed=1; failed: model.layers=0: takes more"}


def test_the_same_job_counts_once(tmp_path):
    write_job(tmp_path / "sweep" / "0", rates=[[0.5]])
    assert len(jobs([tmp_path, tmp_path / "sweep", tmp_path / "sweep" / "0"]).jobs) == 1


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "null", '{"metrics": {"rate": 1}}'])
def test_a_corrupt_result_is_a_failed_job_among_others(tmp_path, content):
    for job in ("0", "1"):
        write_job(tmp_path / job, rates=[[0.5]])
    (tmp_path / "0" / "result.json").write_text(content)
    collected = jobs([tmp_path])
    assert [job.folder.name for job in collected.jobs] == ["1"]
    assert "result.json cannot be read" in collected.failed[tmp_path / "0"]


def test_a_corrupt_table_is_named(tmp_path):
    write_job(tmp_path / "0", rates=[[0.5]])
    (tmp_path / "0" / "pairs.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"failed: .*0 \(pairs.parquet cannot be read"):
        jobs([tmp_path])
    pd.DataFrame({"base": [0]}).to_parquet(tmp_path / "0" / "pairs.parquet")
    with pytest.raises(InputError, match=r"pairs.parquet cannot be read \('no .*base_seed"):
        jobs([tmp_path])


def test_what_may_not_be_read_fails_its_job_alone(anybodys):
    write_job(anybodys / "0", rates=[[0.5]])
    fail_job(anybodys / "1", [])
    (anybodys / "1" / "transfer.log").write_text("")
    (anybodys / "1" / "transfer.log").chmod(0o000)
    fail_job(anybodys / "2", [])
    for name in ("2", "lost+found"):  # the second does not belong to a job
        (anybodys / name).mkdir(exist_ok=True)
        (anybodys / name).chmod(0o000)
    with as_nobody():
        collected = jobs([anybodys])
    assert [job.folder.name for job in collected.jobs] == ["0"]
    assert {folder.name: reason for folder, reason in collected.failed.items()} == {
        "1": "no overrides; failed: its log cannot be read (Permission denied)",
        "2": "its folder cannot be read; change its permissions",
    }


def test_no_folder_and_no_job_are_named(tmp_path):
    with pytest.raises(InputError, match="nothing: no such folder"):
        jobs([tmp_path / "nothing"])
    with pytest.raises(InputError, match="holds no finished job"):
        jobs([tmp_path])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is a file, not a folder"):
        jobs([tmp_path / "file"])
    fail_job(tmp_path / "0", [])
    with pytest.raises(InputError, match=r"failed: .*0 \(no overrides\)"):
        jobs([tmp_path, tmp_path / "."])


def test_a_wide_table_is_not_cut(tmp_path, capsys):
    for job, (layers, rate) in enumerate([(2, 0.001), (4, 0.1234567)]):
        typed = [f"model.layers={layers}", f"counterfactual_with_a_long_name={rate}"]
        write_job(
            tmp_path / str(job),
            rates=[[0.5]],
            overrides=typed,
            model__layers=layers,
            counterfactual_with_a_long_name=rate,
        )
    report([tmp_path])
    lines = capsys.readouterr().out.splitlines()
    assert not any("…" in line for line in lines)
    assert "counterfactual_with_a_long_name" in lines[0]
    assert lines[1].split()[:2] == ["2", "0.001"]


def test_a_job_that_found_nothing_has_no_rate_and_spoils_no_figure(tmp_path):
    write_job(tmp_path / "0", rates=[[0.5, 0.6]], overrides=["model.layers=2"], model__layers=2)
    write_job(tmp_path / "1", rates=[[0.5, 0.6]], overrides=["model.layers=4"], model__layers=4)
    path = tmp_path / "1" / "pairs.parquet"
    pd.read_parquet(path).assign(found=0, rate=np.nan, rate_conditional=np.nan, agreement=np.nan).to_parquet(path)
    path = tmp_path / "1" / "survivorship.parquet"
    pd.read_parquet(path).assign(found=0.0, rate=np.nan, rate_low=np.nan, rate_high=np.nan).to_parquet(path)
    result = json.loads((tmp_path / "1" / "result.json").read_text())
    result["metrics"] |= {"rate": None, "rate_low": None, "rate_high": None, "found": 0.0}
    (tmp_path / "1" / "result.json").write_text(json.dumps(result))
    assert "—" in report([tmp_path]).read_text()
    assert "—" in report([tmp_path / "1"]).read_text()


def test_a_report_is_a_page_pictures_and_a_table(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for job, layers in enumerate([2, 4, 8]):
        rates = rng.integers(5, 15, (3, 4)) / 20
        write_job(tmp_path / str(job), rates=rates, overrides=[f"model.layers={layers}"], model__layers=layers)
    fail_job(tmp_path / "3", ["model.layers=<16>"])
    page = report([tmp_path])
    text = page.read_text()
    assert text.count("<svg") == 4  # the first figure is there for wide and for narrow screens
    assert "slope" in text
    assert "model.layers=&lt;16&gt;" in text  # typed words are text, not markup
    assert 'src="' not in text  # it needs no other file
    for name in ("trend", "survivorship", "training"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert said.splitlines()[1].split()[:2] == ["model.layers", "found"]
    assert "failed: " in said
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    report([tmp_path])
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before  # the same again


def test_a_single_job_and_a_swept_word_have_reports_too(tmp_path):
    write_job(tmp_path / "one" / "0", rates=[[0.5]])
    assert report([tmp_path / "one"], out=tmp_path).exists()
    for job, name in enumerate(["compas", "moons"]):
        write_job(tmp_path / "two" / str(job), rates=[[0.5, 0.6]], overrides=[f"dataset={name}"], dataset=name)
    assert only_panel(tmp_path / "two").knob is None
    assert "compas" in report([tmp_path / "two"]).read_text()


def test_a_curve_is_a_series_of_points_and_has_a_trend_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    curve = [rng.integers(5, 15, (4, 1)) / 20 for _ in range(6)]
    write_job(tmp_path / "0", rates=curve[-1], curve=curve, experiment="continued_training", extra_epochs=6)
    panel = only_panel(tmp_path)
    assert (panel.experiment, panel.knob) == ("continued_training", "extra_epochs")
    points = panel.groups()[""]
    assert [point.x for point in points] == [1, 2, 3, 4, 5, 6]
    assert [point.rates.tolist() for point in points] == [point.tolist() for point in curve]
    (line,) = lines(jobs([tmp_path]))
    expected = trend(range(1, 7), curve, sharing="models")
    assert (line.trend.slope, line.trend.p_permutation) == (expected.slope, expected.p_permutation)
    assert "bases" in line.trend.method


def test_every_experiment_has_a_panel(tmp_path, capsys):
    write_job(tmp_path / "0", rates=[[0.5, 0.6]], experiment="seed")
    curve = [[[0.5], [0.6]], [[0.7], [0.9]]]
    write_job(tmp_path / "1", rates=curve[-1], curve=curve, experiment="continued_training", extra_epochs=2)
    write_job(tmp_path / "2", rates=[[0.5, 0.6]], experiment="more_layers", extra_layers=2)
    assert [panel.experiment for panel in jobs([tmp_path]).panels] == ["continued_training", "more_layers", "seed"]
    text = report([tmp_path]).read_text()
    said = capsys.readouterr().out
    for name in ("continued_training", "more_layers", "seed"):
        assert f"<h2>{name}</h2>" in text
        assert f"\n{name}\n" in said
    assert "trend of continued_training" in said


@pytest.mark.parametrize(
    ("changes", "sharing"),
    [
        ([{"counterfactual": {"confidence": c}} for c in (0.5, 0.7, 0.9)], "models"),
        ([{"extra_layers": n, "reference": {"model": {"layers": 4 + n}}} for n in (1, 2, 4)], "bases"),
        ([{"model__layers": n} for n in (2, 4, 8)], "none"),
    ],
)
def test_a_permutation_exchanges_what_the_jobs_share(tmp_path, changes, sharing):
    rng, rates = np.random.default_rng(0), []
    for job, change in enumerate(changes):
        rates.append(rng.integers(5, 15, (3, 4)) / 20)
        write_job(tmp_path / str(job), rates=rates[-1], **change)
    (line,) = lines(jobs([tmp_path]))
    expected = trend([line.panel.along(point.x) for point in line.points], rates, sharing=sharing)
    assert line.trend.p_permutation == pytest.approx(expected.p_permutation, nan_ok=True)
    assert np.isnan(expected.p_permutation) == (sharing == "none")


def test_commands_are_those_that_were_typed(tmp_path):
    for job in range(2):
        write_job(tmp_path / "sweep" / str(job), rates=[[0.5]], overrides=[f"seed={job}"], seed=job)
    overrides = (
        "hydra:\n  overrides:\n    task: ['seed=0,1', 'wandb.project=two words']\n    hydra: [hydra.mode=MULTIRUN]\n"
    )
    (tmp_path / "sweep" / "multirun.yaml").write_text(overrides)
    write_job(tmp_path / "alone", rates=[[0.5]], overrides=["seed=3"], seed=3)
    assert sorted(commands(jobs([tmp_path]).jobs)) == [
        "python transfer.py -m seed=0,1 'wandb.project=two words'",
        "python transfer.py seed=3",
    ]


def test_a_number_says_what_it_is_a_share_of(tmp_path):
    write_job(tmp_path / "0", rates=[[0.5, 0.6]])
    told = r"<span>0\.550</span> <span>\(\.\d{3}–\.\d{3}\)</span><small>of 1,000</small></td>"
    assert re.search(told, report([tmp_path]).read_text())


def test_an_interval_of_what_is_above_10_keeps_its_digits():
    metrics = {"distance_l2": 12.3, "distance_l2_low": 10.123, "distance_l2_high": 20.5}
    assert _cell(metrics, "distance_l2", "") == ("12.300 (10.123–20.500)", "")
    gain = {"rate_minus_seed": -0.013, "rate_minus_seed_low": -0.916, "rate_minus_seed_high": 0.889}
    assert _cell(gain, "rate_minus_seed", "") == ("-0.013 (-.916 to +.889)", "")
    gain |= {"rate_minus_seed_low": -1.2, "rate_minus_seed_high": 1.1}  # no difference of two shares is that large
    assert _cell(gain, "rate_minus_seed", "") == ("-0.013 (-1.000 to +1.000)", "")


def without(name):
    def change(result):
        del result["metrics"][name]

    return change


def put(*keys, value):
    """Return a function that puts a value into a result.json at the end of `keys`."""

    def change(result):
        for key in keys[:-1]:
            result = result[key]
        result[keys[-1]] = value

    return change


NEEDED = ("pairs", "n_searched", "n_tried", "n_agreeing", "n_to_0", "n_to_1", "rate_low", "rate_high", "interval",
          "found", "agreement", "rate_conditional", "rate_end_to_end", "distance_l2")  # fmt: skip
POINT = {"extra_epochs": 1, "rate": 0.5, "rate_low": 0.4, "rate_high": 0.6}
BROKEN = {
    **{f"no {name}": without(name) for name in NEEDED},
    **{f"{name} null": put("metrics", name, value=None) for name in ("n_searched", "n_tried", "pairs", "interval")},
    "interval a list": put("metrics", "interval", value=[]),
    "low without high": put("metrics", "rate_high", value=None),
    "minus seed without interval": put("metrics", "rate_minus_seed", value=0.1),
    "bytes of nothing": put("metrics", "found_as_bytes", value=0.9),
    "rate endless": put("metrics", "rate", value=float("inf")),
    "rate NaN": put("metrics", "rate", value=float("nan")),
    **{f"curve {value}": put("curve", value=value) for value in (3, [], [{}], None, [POINT], [[]])},
    **{f"experiment {value}": put("choices", "experiment", value=value) for value in (None, 3, {"a": 1})},
    "option a list": put("choices", "model", value=[]),
    "commit a number": put("git", "commit", value=3),
    "git without dirty": put("git", value={"commit": "0"}),
    **{f"seed {value}": put("config", "seed", value=value) for value in ("a", [1], None)},
    "layers a googol": put("config", "model", "layers", value=10**400),
    "layers endless": put("config", "model", "layers", value=float("inf")),
    **{f"{part} a word": put("config", part, value="a") for part in ("reference", "counterfactual", "wandb")},
    "search of a number": put("config", "counterfactual", value={"_target_": 3}),
    "about a number": put("data", value={"about": 3}),
}


def good_and_broken(folder):
    for job in (0, 1):
        write_job(folder / str(job), rates=[[0.5, 0.6]], overrides=[f"model.layers={job + 2}"], model__layers=job + 2)
    return folder / "1"


def assert_one_failed(folder, said):
    collected = jobs([folder])
    assert [job.folder.name for job in collected.jobs] == ["0"]
    ((failed, reason),) = collected.failed.items()
    assert failed.name == "1"
    assert said in reason
    assert "\n" not in reason
    assert "cannot be read" in reason


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_result_that_lacks_something_fails_that_job_alone(tmp_path, change):
    place = good_and_broken(tmp_path)
    result = json.loads((place / "result.json").read_text())
    change(result)
    (place / "result.json").write_text(json.dumps(result))
    assert_one_failed(tmp_path, "result.json" if "curve" not in result or result["curve"] != [POINT] else "")


def cards():
    numbers = dict.fromkeys(
        ("base_factual", "base_counterfactual", "reference_factual", "reference_counterfactual"), 0.5
    )
    words = dict.fromkeys(("from_class", "target_class", "feature", "old", "new"), "a")
    return pd.DataFrame([{"example": 0, "transferred": True, **numbers, **words}])


TABLE_CHANGES = {
    "pairs": {
        **{f"no {name}": lambda t, name=name: t.drop(columns=name) for name in ("rate", "found", "control_random")},
        **{f"{name} in words": lambda t, name=name: t.assign(**{name: "a"}) for name in ("rate", "base", "base_seed")},
        "rate_seed in words": lambda t: t.assign(rate_seed="a"),
        "rate in objects": lambda t: t.assign(rate=[{"a": 1}] * len(t)),
        "rate nullable": lambda t: t.assign(rate=pd.array([0.5, None], "Float64")),
        "rate endless": lambda t: t.assign(rate=np.inf),
        "bases between": lambda t: t.assign(base=0.5),
        "twice": lambda t: pd.concat([t, t]),
        "one missing": lambda t: pd.concat([t, t.assign(base=1)]).iloc[:3],
        "none": lambda t: t.iloc[:0],
    },
    "survivorship": {
        **{f"no {name}": lambda t, name=name: t.drop(columns=name) for name in ("found", "rate", "rate_high", "cap")},
        "found in words": lambda t: t.assign(found="a"),
        "cap in words": lambda t: t.assign(cap="a"),
    },
    "curves": {
        **{f"no {name}": lambda t, name=name: t.drop(columns=name) for name in ("test_loss", "test_accuracy", "role")},
        "loss in words": lambda t: t.assign(test_loss="a"),
        "role a number": lambda t: t.assign(role=1),
        "role a list": lambda t: t.assign(role=[[1]] * len(t)),
    },
    "examples": {
        **{f"no {name}": lambda _, name=name: cards().drop(columns=name)
           for name in ("base_factual", "reference_counterfactual", "example", "transferred")},
        "probability in words": lambda _: cards().assign(base_factual="a"),
        "example in words": lambda _: cards().assign(example="a"),
        "transferred unknown": lambda _: cards().assign(transferred=pd.array([None], "boolean")),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param(name, change, id=f"{name} {how}")
        for name, some in TABLE_CHANGES.items()
        for how, change in some.items()
    ],
)
def test_a_table_that_lacks_something_fails_that_job_alone(tmp_path, name, change):
    path = good_and_broken(tmp_path) / f"{name}.parquet"
    change(pd.read_parquet(path) if path.exists() else None).to_parquet(path)
    assert_one_failed(tmp_path, f"{name}.parquet cannot be read (")


def test_the_report_of_the_good_is_made_beside_all_broken_ones(tmp_path):
    place = good_and_broken(tmp_path)
    for index, change in enumerate(BROKEN.values()):
        shutil.copytree(place, other := tmp_path / f"r{index}")
        result = json.loads((other / "result.json").read_text())
        change(result)
        (other / "result.json").write_text(json.dumps(result))
    for name, some in TABLE_CHANGES.items():
        for index, change in enumerate(some.values()):
            shutil.copytree(place, other := tmp_path / f"{name}{index}")
            path = other / f"{name}.parquet"
            change(pd.read_parquet(path) if path.exists() else None).to_parquet(path)
    text = report([tmp_path]).read_text()
    broken = len(BROKEN) + sum(map(len, TABLE_CHANGES.values()))
    assert f"jobs have a result; {broken} failed or did not end" in text
    assert "2 jobs, over model.layers" in text


def test_what_jobs_may_hold_beside_is_no_fault(tmp_path):
    """A loss that ran away, columns that nobody reads, examples of tables; ages that are not typed as numbers."""
    place = good_and_broken(tmp_path)
    curves = pd.read_parquet(place / "curves.parquet")
    curves.assign(test_loss=[1.0, np.inf, np.nan]).to_parquet(place / "curves.parquet")
    survivorship = pd.read_parquet(place / "survivorship.parquet")
    survivorship.assign(role=[[1]] * 2, found_low="a").to_parquet(place / "survivorship.parquet")
    cards().to_parquet(place / "examples.parquet")
    assert len(jobs([tmp_path]).jobs) == 2
    assert "a → a: " in report([tmp_path]).read_text()


def test_an_extra_word_is_no_place_on_an_axis(tmp_path):
    write_job(tmp_path / "0", rates=[[0.5]], extra_layers="two")
    assert only_panel(tmp_path).knob is None
    assert report([tmp_path]).exists()


def test_many_jobs_of_other_numbers_of_pairs_share_a_figure(tmp_path):
    for job in range(12):
        rates = np.full((2, 2 + job % 2), 0.5)
        write_job(tmp_path / str(job), rates=rates, overrides=[f"model.layers={job}"], model__layers=job)
    assert report([tmp_path]).exists()


def test_a_table_of_more_values_than_any_job_has_is_not_read(tmp_path, monkeypatch):
    place = good_and_broken(tmp_path)
    many = pyarrow.table({"example": pyarrow.repeat(0, 2**20 + 1)})
    pyarrow.parquet.write_table(many, place / "examples.parquet")
    read, content = pd.read_parquet, (place / "examples.parquet").read_bytes()
    monkeypatch.setattr(pd, "read_parquet", lambda file, **kw: read(file, **kw) if file.getvalue() != content else None)
    (reason,) = jobs([tmp_path]).failed.values()
    assert "examples.parquet cannot be read (it has 1,048,577 values, more than 1,048,576)" in reason


@pytest.mark.slow
def test_one_long_word_and_one_that_repeats_are_not_unfolded(tmp_path):
    place = good_and_broken(tmp_path)
    path, columns = place / "examples.parquet", {"example": 0, "transferred": True, "target_class": "b"}
    for word, said in (("x" * 2**24, r"bytes when unpacked, more than 8,388,608"), ("x" * 2**16, "letters, more than")):
        pd.DataFrame({**columns, "from_class": word}, index=range(2**8)).to_parquet(path, compression="zstd")
        assert path.stat().st_size < 2**18
        (reason,) = jobs([tmp_path]).failed.values()
        assert re.search(rf"examples.parquet cannot be read \(.*{said}", reason)


@pytest.mark.parametrize("kind", ["list", "struct", "bytes"])
def test_words_that_repeat_within_lists_or_as_bytes_are_not_unfolded(tmp_path, kind):
    place, many, long = good_and_broken(tmp_path), 2**8, 2**16
    word = pyarrow.DictionaryArray.from_arrays(pyarrow.array(np.zeros(many, np.int32)), ["x" * long])
    column = {
        "list": lambda: pyarrow.ListArray.from_arrays(pyarrow.array(np.arange(many + 1, dtype=np.int32)), word),
        "struct": lambda: pyarrow.StructArray.from_arrays([word], ["word"]),
        "bytes": lambda: pyarrow.array([b"x" * long] * many, pyarrow.binary(long)),
    }[kind]()
    table = pyarrow.table({"example": np.zeros(many, int), "more": column})
    pyarrow.parquet.write_table(table, place / "examples.parquet", store_schema=False)
    (reason,) = jobs([tmp_path]).failed.values()
    assert re.search(r"examples.parquet cannot be read \(more.* holds words in lists, or bytes of one length", reason)


def test_a_table_of_many_bytes_is_not_opened(tmp_path):
    place = good_and_broken(tmp_path)
    os.truncate(place / "pairs.parquet", 3 * 2**30)  # a sparse file
    (reason,) = jobs([tmp_path]).failed.values()
    assert "pairs.parquet cannot be read (it has 3,221,225,472 bytes, more than 268,435,456)" in reason


def test_a_sweep_over_millions_of_values_is_not_counted_out(tmp_path):
    good_and_broken(tmp_path)
    words = "hydra: {overrides: {task: ['seed=range(0,300000000)'], hydra: []}, callbacks: {output: {jobs: 300000000}}}"
    (tmp_path / "multirun.yaml").write_text(words)
    assert commands(jobs([tmp_path]).jobs)


def test_a_list_of_many_values_counts_as_many(tmp_path):
    place = good_and_broken(tmp_path)
    lists = pyarrow.array([[0] * 2**21], pyarrow.list_(pyarrow.int8()))
    pyarrow.parquet.write_table(pyarrow.table({"example": lists}), place / "examples.parquet")
    (reason,) = jobs([tmp_path]).failed.values()
    assert "examples.parquet cannot be read (it has 2,097,152 values, more than 1,048,576)" in reason


def test_an_alias_in_yaml_is_not_followed(tmp_path):
    """Eight lines, each of nine times the line before, are 43 million words."""
    write_job(tmp_path / "sweep" / "0", rates=[[0.5]], overrides=["seed=3"], seed=3)
    bomb = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    bomb += [f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]" for a, b in itertools.pairwise("abcdefgh")]
    (tmp_path / "sweep" / "multirun.yaml").write_text("\n".join([*bomb, "hydra: {overrides: {task: *h, hydra: []}}"]))
    with pytest.raises(InputError, match=r"multirun.yaml: cannot be read \(it has an alias, which Hydra does not"):
        yaml_of(tmp_path / "sweep", "multirun.yaml")
    assert commands(jobs([tmp_path]).jobs) == ["python transfer.py seed=3"]


@pytest.mark.parametrize("task", ["3", "word", "{a: 1}", "[[a]]", "[{a: 1}]", f"[0x{'f' * 5000}]"], ids=range(6))
def test_overrides_of_another_kind_are_those_of_no_sweep(tmp_path, task):
    write_job(tmp_path / "sweep" / "0", rates=[[0.5]], overrides=["seed=3"], seed=3)
    (tmp_path / "sweep" / "multirun.yaml").write_text(f"hydra: {{overrides: {{task: {task}, hydra: []}}}}")
    assert commands(jobs([tmp_path]).jobs) == ["python transfer.py seed=3"]


def test_jobs_of_a_sweep_that_never_began_are_counted(tmp_path, capsys):
    """A sweep that was interrupted must not look whole."""
    for number in range(2):
        write_job(tmp_path / "sweep" / str(number), rates=[[0.5]], overrides=[f"seed={number}"], seed=number)
    fail_job(tmp_path / "sweep" / "2", ["seed=2"])
    put_sweep(tmp_path / "sweep", ([f"seed={number}"] for number in range(5)))
    collected = jobs([tmp_path])
    assert (collected.begun, len(collected.failed), collected.never) == (3, 1, 2)
    assert jobs([tmp_path / "sweep" / "0"]).never == 0  # only that job is in the report
    page, said = report([tmp_path]).read_text(), "2 of 5 jobs have a result; 1 failed or did not end, 2 never began"
    first, *printed = capsys.readouterr().out.splitlines()
    assert first == said
    assert f"{said}; the same command again runs the missing ones" in printed
    assert page.index(said) < page.index("The comparison")


def test_notes_on_the_models_stand_under_the_table_and_on_the_page(tmp_path, capsys):
    for number in range(7):
        write_job(tmp_path / str(number), rates=[[0.5]], seed=number)
        path = tmp_path / str(number) / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "notes": [f"1 of 1 bases, seed {number}"]}))
    page, printed = report([tmp_path]).read_text(), capsys.readouterr().out
    assert "job 4: 1 of 1 bases, seed 4\n… and 2 more such notes in report.html" in printed
    assert "job 6: 1 of 1 bases, seed 6" in page


def test_the_printed_command_is_right_for_where_one_is(tmp_path, monkeypatch):
    write_job(tmp_path / "0", rates=[[0.5]], overrides=["seed=1"])
    assert commands(jobs([tmp_path]).jobs) == ["python transfer.py seed=1"]
    monkeypatch.setattr("cftransfer.command_line.ROOT", tmp_path)  # as in site-packages
    assert commands(jobs([tmp_path]).jobs) == ["cftransfer transfer seed=1"]


def test_copies_of_a_job_are_one_job_and_move_no_trend(tmp_path, capsys):
    """The same sweep run again in another folder says nothing new: p stays the same."""
    for run in ("1-first", "2-again"):
        for index, layers in enumerate((2, 4, 8)):
            rates = [[0.7 - 0.05 * index, 0.72 - 0.04 * index], [0.75 - 0.02 * index, 0.71 - 0.05 * index]]
            write_job(tmp_path / run / str(index), rates=rates, overrides=[f"model.layers={layers}"],
                      model__layers=layers)  # fmt: skip
    once, twice = lines(jobs([tmp_path / "1-first"])), lines(jobs([tmp_path]))
    for name in ("slope", "low", "high", "p", "intercept", "r2", "rho"):
        assert getattr(once[0].trend, name) == getattr(twice[0].trend, name)
    collected = jobs([tmp_path])
    assert (len(collected.jobs), collected.copies) == (3, 3)
    assert {job.folder.parent.name for job in collected.jobs} == {"2-again"}  # the last one counts
    report([tmp_path])
    said = "3 jobs were run again with the same settings and data; each job counts once"
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "report.html").read_text()


def test_other_data_under_the_same_settings_are_another_job(tmp_path):
    for version in ("a", "b"):
        write_job(tmp_path / version, rates=[[0.5]])
        path = tmp_path / version / "result.json"
        result = json.loads(path.read_text())
        path.write_text(json.dumps({**result, "data": {"version": version}}))
    assert len(jobs([tmp_path]).jobs) == 2


def test_jobs_of_an_earlier_sweep_in_the_same_folder_are_marked(tmp_path, capsys):
    """Whether the later sweep has fewer values, or other values with jobs that have not begun."""
    for index, layers in enumerate((2, 4, 8)):
        words = [f"model.layers={layers}"]
        write_job(tmp_path / str(index), rates=[[0.5 + index / 10]], overrides=words, model__layers=layers)
    put_sweep(tmp_path, ([f"model.layers={layers}"] for layers in (2, 4)))
    assert [folder.name for folder in jobs([tmp_path]).earlier] == ["2"]
    put_sweep(tmp_path, ([f"model.layers={layers}"] for layers in (2, 16, 32)))
    collected = jobs([tmp_path])
    assert ([folder.name for folder in collected.earlier], collected.never) == (["1", "2"], 2)
    report([tmp_path])
    said = capsys.readouterr().out
    assert "counted although an earlier sweep left them in the same folder: 1, 2;" in said
    assert said.startswith("1 of 3 jobs have a result; 2 never began")


def test_a_result_that_a_later_sweep_has_taken_over_is_of_that_sweep(tmp_path):
    """The same settings in another order, or with another wandb.mode, leave a result as it was."""
    write_job(tmp_path / "0", rates=[[0.5]], overrides=["seed=1", "samples=5"])
    put_sweep(tmp_path, [["samples=5", "seed=1", "wandb=disabled"]])
    assert [folder.name for folder in jobs([tmp_path]).earlier] == ["0"]
    fail_job(tmp_path / "0", ["samples=5", "seed=1", "wandb=disabled"])
    collected = jobs([tmp_path])
    assert (collected.earlier, collected.never) == ((), 0)


def test_a_single_job_is_reported_on_alone(tmp_path):
    """Whatever lies below its folder, as with hydra.run.dir=. in a folder of other jobs."""
    good_and_broken(tmp_path)
    write_job(tmp_path / "own", rates=[[0.5, 0.6]])
    shutil.move(tmp_path / "0", tmp_path / "own" / "0")
    (tmp_path / "own" / "1" / ".hydra").mkdir(parents=True)
    (tmp_path / "own" / "1" / ".hydra" / "overrides.yaml").touch()
    alone = jobs([tmp_path / "own"], below=False)
    assert ([job.folder for job in alone.jobs], alone.failed, alone.begun) == ([tmp_path / "own"], {}, 1)
