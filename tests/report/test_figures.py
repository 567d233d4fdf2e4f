"""Figures and tables show the jobs' numbers, each in its own place."""

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_collect import write_job

from cftransfer.columns import matrix
from cftransfer.errors import InputError
from cftransfer.measuring.planning import plan_of
from cftransfer.measuring.statistics import difference_interval, share_interval, two_way_interval
from cftransfer.measuring.trends import band, holm
from cftransfer.measuring.verdicts import verdict
from cftransfer.report import cells, figures, page, report, trends_table
from cftransfer.report.collect import jobs, lines
from cftransfer.report.dots import NAMED, evenly, every
from cftransfer.report.knob import FAINT, LISTED
from cftransfer.report.swept import SIZES
from cftransfer.report.verdict_words import against_seed, pooled, sentence, than_seed_alone


def swept(folder, experiment="seed", slope=-0.05, knob="model__layers", values=(2, 4, 6), seed=0, **more):
    rng = np.random.default_rng(seed)
    for job, value in enumerate(values):
        rates = np.clip(np.round((0.6 + slope * (value - 4) + 0.05 * rng.normal(size=(3, 4))) * 20) / 20, 0, 1)
        write_job(
            folder / str(job),
            rates=rates,
            overrides=[f"{knob.replace('__', '.')}={value}"],
            experiment=experiment,
            **{knob: value},
            **more,
        )


def test_holm_is_over_all_panels(tmp_path):
    swept(tmp_path / "a", "seed", seed=1)
    swept(tmp_path / "b", "more_layers", seed=2)
    found = lines(jobs([tmp_path]))
    assert len({line.panel.experiment for line in found}) == 2
    assert [line.p_holm for line in found] == holm([line.trend.p for line in found])
    assert [line.p_holm for line in found] != [line.trend.p for line in found]


def test_other_bases_are_not_shared(tmp_path):
    rng = np.random.default_rng(0)
    for job, epochs in enumerate((2, 4, 8)):
        write_job(tmp_path / str(job), rates=rng.integers(5, 15, (3, 4)) / 20, training={"epochs": epochs})
    (line,) = lines(jobs([tmp_path]))
    assert np.isnan(line.trend.p_permutation)


def test_a_job_that_found_nothing_is_in_no_trend(tmp_path):
    swept(tmp_path)
    write_job(tmp_path / "9", rates=[[0.5, 0.6]], overrides=["model.layers=9"], model__layers=9)
    path = tmp_path / "9" / "pairs.parquet"
    pd.read_parquet(path).assign(found=0, rate=np.nan).to_parquet(path)
    (line,) = lines(jobs([tmp_path]))
    assert [point.x for point in line.points] == [2, 4, 6]
    assert np.isfinite(line.trend.slope)


def test_points_have_their_interval_and_mean_controls(tmp_path):
    write_job(tmp_path / "0", rates=[[0.5, 0.6], [0.7, 0.8]])
    path = tmp_path / "0" / "pairs.parquet"
    control = {
        "control_random": [0.1, 0.2, 0.3, 0.6],
        "control_nearest": [0.7, 0.8, 0.9, 0.8],
        "rate_seed": [0.4, 0.5, 0.6, 0.9],
    }
    pd.read_parquet(path).assign(**control).to_parquet(path)
    ((point,),) = jobs([tmp_path]).panels[0].groups().values()
    assert (point.low, point.high) == (0.5, 0.8)
    assert point.controls == pytest.approx(
        {"control_random": 0.3, "control_nearest": 0.8, "control_prior": 0.5, "rate_seed": 0.6}
    )


def test_the_figure_shows_controls_line_and_band(tmp_path):
    swept(tmp_path)
    for job in range(3):
        path = tmp_path / str(job) / "pairs.parquet"
        control = {
            "control_random": 0.1 + job / 100,
            "control_nearest": 0.2 + job / 100,
            "control_prior": 0.3 + job / 100,
            "rate_seed": 0.4 + job / 100,
        }
        pd.read_parquet(path).assign(**control).to_parquet(path)
    collected = jobs([tmp_path])
    (line,) = lines(collected)
    (axes,) = figures.trend(collected, [line]).axes
    legend = {artist.get_label(): artist.get_linestyle() for artist in axes.get_lines()}
    drawn = {
        round(float(artist.get_ydata()[0]), 6): artist for artist in axes.get_lines() if len(artist.get_xdata()) == 3
    }
    for label, least in (
        ("random direction", 0.1),
        ("nearest training row", 0.2),
        ("coin with the reference's prior", 0.3),
        ("same architecture, other seeds", 0.4),
    ):
        assert list(drawn[least].get_xdata()) == [2, 4, 6]
        assert list(drawn[least].get_ydata()) == pytest.approx([least, least + 0.01, least + 0.02])
        assert drawn[least].get_linestyle() == legend[label]
    assert len(set(legend.values()) - {"None"}) == 4
    fitted = [a for a in axes.get_lines() if len(a.get_xdata()) == 50]
    assert fitted[0].get_ydata()[[0, -1]] == pytest.approx(
        [line.trend.intercept + line.trend.slope * x for x in (2, 6)]
    )
    ends = band([2, 4, 6], [p.rates for p in line.points], [2, 6])
    vertices = [path.vertices for c in axes.collections for path in c.get_paths() if len(path.vertices) > 90]
    (shape,) = vertices
    for x, end in zip((2, 6), ends):
        at = shape[np.isclose(shape[:, 0], x), 1]
        assert (at.min(), at.max()) == pytest.approx((end.low, end.high))
    (bars,) = axes.containers
    for segment, point in zip(bars[2][0].get_segments(), line.points):
        assert segment[:, 1] == pytest.approx([point.low, point.high])


def test_bases_are_solid_and_references_dashed(tmp_path):
    write_job(tmp_path / "0", rates=[[0.5]])
    axes = figures.training(jobs([tmp_path])).axes[0]
    assert [(len(line.get_xdata()), line.get_linestyle()) for line in axes.get_lines()] == [(2, "-"), (1, "--")]


def test_a_sentence_goes_by_direction_and_adjusted_p(tmp_path):
    swept(tmp_path)
    (line,) = lines(jobs([tmp_path]))
    assert line.p_holm < 0.05
    fall = line.trend.change
    assert sentence(line).startswith(f"falls: {fall.mean:+.3f} (95 % interval ")
    assert sentence(line).endswith(" from 2 to 6 model.layers")

    def said(**judged):
        return sentence(replace(line, verdict=verdict(**judged)))

    assert said(change=replace(fall, mean=-fall.mean)).startswith("rises: +")
    assert re.search(r"^undecided: .* about \d+ bases × \d+ references would decide$", said(change=fall, p=0.2))
    assert said(change=fall, margin=0.4).startswith("flat, less than ±.4 either way: -")


def test_a_swept_power_of_two_stands_at_its_logarithm_and_its_trend_is_per_doubling(tmp_path):
    for job, layers in enumerate([2, 4, 8]):
        write_job(tmp_path / str(job), rates=[[0.8 - 0.1 * job, 0.7 - 0.1 * job]], model__layers=layers)
    collected = jobs([tmp_path])
    (line,) = lines(collected)
    assert line.trend.slope == pytest.approx(-0.1)
    assert line.trend.change.mean == pytest.approx(-0.2)
    (axes,) = figures.trend(collected, [line]).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2", "4", "8"]
    assert np.diff(axes.get_xticks()) == pytest.approx([1, 1])


def test_rates_that_bend_are_said_to(tmp_path):
    rng = np.random.default_rng(0)
    for job, (layers, mean) in enumerate([(2, 0.5), (4, 0.7), (6, 0.5)]):
        write_job(tmp_path / str(job), rates=mean + 0.01 * rng.normal(size=(4, 6)), model__layers=layers)
    (line,) = lines(jobs([tmp_path]))
    assert line.trend.p_bend < 0.01
    assert "it bends" in sentence(line)


def test_the_page_says_of_what_and_which_p(tmp_path):
    swept(tmp_path / "a", "more_layers", seed=1)
    swept(tmp_path / "b", "seed", seed=2)
    path = tmp_path / "a" / "0" / "result.json"
    result = json.loads(path.read_text())
    result["metrics"] |= {
        "n_searched": 1001,
        "n_tried": 1002,
        "n_agreeing": 1003,
        "rate_minus_seed": -0.125,
        "rate_minus_seed_low": -0.25,
        "rate_minus_seed_high": 0.0625,
    }
    path.write_text(json.dumps(result))
    collected = jobs([tmp_path])
    (heads, rows) = cells.cells(collected.panels[0], cells.PAGE)
    row = dict(zip(heads, rows[0]))
    shares = {"found", "agreement", "rate", "conditional", "end-to-end"}
    assert {h: of for h, (_, of) in row.items() if h in shares} == {
        "found": "of 1,001",
        "agreement": "of 1,002",
        "rate": "of 1,002",
        "conditional": "of 1,003",
        "end-to-end": "of 1,001",
    }
    assert row["− seed"][0] == "-0.125 (-.250 to +.062)"
    for line in lines(collected):
        told = dict(trends_table.numbers(replace(line, p_holm=0.75)))
        assert (told["p"], told["p (Holm)"]) == (f"{line.trend.p:.3g}", "0.75")


def test_a_rank_correlation_is_given_from_five_points_on(tmp_path):
    for number in range(1, 6):
        write_job(tmp_path / str(number), rates=[[0.5 + number / 20, 0.6], [0.5, 0.7]], model={"layers": number})
    (five,), (four,) = (lines(jobs([tmp_path / str(n) for n in range(1, last)])) for last in (6, 5))
    assert dict(trends_table.numbers(five))["Spearman's ρ"] == "+1.00"
    assert dict(trends_table.numbers(four))["Spearman's ρ"] == "—"


def test_the_interval_of_one_pair_is_said_to_be_over_its_counterfactuals(tmp_path):
    write_job(tmp_path / "one", rates=[[0.5]])
    write_job(tmp_path / "more", rates=[[0.5, 0.6], [0.5, 0.7]], model={"layers": 9})
    said = "one pair of models; the interval is over its counterfactuals, not over models"
    assert page.notes(jobs([tmp_path / "one"])) == [said]
    assert page.notes(jobs([tmp_path / "one", tmp_path / "more"])) == [f"1 of 2 jobs: {said}"]
    assert page.notes(jobs([tmp_path / "more"])) == []


def test_a_factor_whose_variance_is_estimated_as_0_is_not_shown_to_vary(tmp_path):
    write_job(tmp_path / "one", rates=[[0.5, 0.6], [0.5, 0.7]])
    collected = jobs([tmp_path / "one"])
    (job,) = collected.jobs
    job.metrics.update(splits=3, rate_variance_split=-0.001, rate_variance_base=0.0025)
    said = (
        "3 splits of the rows, each with its own models; standard deviation of a pair's rate by split not shown, base"
    )
    assert page.notes(collected) == [f"{said} 0.050"]


def test_a_curve_is_no_point_beside_jobs_without_one(tmp_path):
    curve = [[[0.5], [0.6]], [[0.7], [0.9]]]
    write_job(tmp_path / "0", rates=curve[-1], curve=curve, experiment="mine", extra_epochs=2)
    write_job(tmp_path / "1", rates=[[0.5, 0.6]], experiment="mine")
    assert [(panel.knob, len(panel.jobs)) for panel in jobs([tmp_path]).panels] == [(None, 1), ("extra_epochs", 1)]


def test_a_single_job_stands_where_its_experiment_put_it(tmp_path):
    write_job(tmp_path / "0", rates=[[0.5, 0.6]], experiment="more_layers", extra_layers=2)
    (panel,) = jobs([tmp_path]).panels
    assert panel.knob == "extra_layers"
    assert [point.x for point in panel.groups()[""]] == [2]


@pytest.mark.parametrize(
    ("less", "noise", "said"),
    [(-0.2, 0.01, "lower"), (0.2, 0.01, "higher"), (0.0, 0.01, "alike, less than ±.05 apart"), (0.1, 0.3, "undecided")],
)
def test_a_rate_beside_that_of_another_seed_is_lower_higher_alike_or_undecided(tmp_path, less, noise, said):
    rates = 0.5 + noise * np.random.default_rng(0).normal(size=(4, 6))
    write_job(tmp_path / "0", rates=rates)
    path = tmp_path / "0" / "pairs.parquet"
    pd.read_parquet(path).assign(rate=rates.ravel(), rate_seed=0.5 - less).to_parquet(path)
    (job,) = jobs([tmp_path]).jobs
    assert against_seed([job]) == [said]
    (whole,) = than_seed_alone([job])
    if said == "undecided":
        assert re.fullmatch(r"undecided; about \d+ bases × \d+ references would decide", whole)
    else:
        assert whole == said


def test_that_a_rate_differs_from_that_of_another_seed_is_adjusted_for_the_jobs_of_the_table(tmp_path):
    """By .12, with a p of about .03: a finding of one job, and none of one among four."""
    noise = np.random.default_rng(0).normal(size=(4, 6))
    for job in range(4):
        rates = 0.5 + 0.12 * (noise - noise.mean())
        write_job(tmp_path / str(job), rates=rates, seed=job)
        path = tmp_path / str(job) / "pairs.parquet"
        pd.read_parquet(path).assign(rate=rates.ravel(), rate_seed=0.5 - 0.12).to_parquet(path)
    some = jobs([tmp_path]).jobs
    p = difference_interval(matrix(some[0].pairs), matrix(some[0].pairs, "rate_seed")).p
    assert 0.05 / 4 < p < 0.05
    assert against_seed(some[:1]) == ["higher"]
    assert against_seed(some) == ["undecided"] * 4


@pytest.mark.parametrize("many", [1, 2, NAMED, NAMED + 1, 2 * NAMED, 999])
def test_of_many_jobs_as_many_are_named_as_can_be_read(many):
    named = len(range(0, many, every(many)))
    assert named == many if many <= NAMED else NAMED // 2 < named <= NAMED


@pytest.mark.parametrize("many", [1, LISTED, LISTED + 1, 999])
def test_of_many_series_ten_are_chosen_from_the_first_to_the_last(many):
    chosen = evenly(many, LISTED)
    assert len(chosen) == min(many, LISTED)
    assert (chosen[0], chosen[-1]) == (0, many - 1)
    assert np.diff(chosen).max(initial=0) <= np.diff(chosen).min(initial=999) + 1


def test_of_more_than_ten_series_ten_have_a_colour_and_a_name_and_the_others_a_thin_line(tmp_path):
    for width in range(1, 13):
        for layers in (2, 4):
            where = tmp_path / f"{layers}-{width}"
            write_job(where, rates=[[width / 20, width / 20]] * 2, model={"layers": layers, "width": f"w{width}"})
    collected = jobs([tmp_path])
    figure = figures.trend(collected, lines(collected))
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert len([name for name in names if name.startswith("width=")]) == LISTED
    faint = [line for line in figure.axes[0].get_lines() if line.get_color() == FAINT["color"]]
    assert len(faint) == 2
    assert "2 more series are thin and grey" in report([tmp_path]).read_text()


DRAWN = ("seed", "dataset.split_seed", "rows.draw", "reference.rows.draw", "reference.dataset.split_seed")


def setting(name, value):
    """The argument of `write_job` that sets a dotted key."""
    first, *inner = name.split(".")
    for word in reversed(inner):
        value = {word: value}
    return {first: value}


@pytest.mark.parametrize("name", DRAWN)
def test_a_number_of_a_random_draw_is_no_trend_but_numbers_replicates_of_one_job(tmp_path, name):
    rates = [0.5, 0.6, 0.7]
    for job, rate in enumerate(rates):
        typed = [f"{name}={job}"]
        write_job(tmp_path / str(job), rates=[[rate, rate]] * 2, overrides=typed, **setting(name, job))
    collected = jobs([tmp_path])
    assert (collected.panels[0].knob, collected.panels[0].series) == (None, [])
    assert lines(collected) == []
    (said,) = pooled(collected.panels[0])
    over, units = share_interval(np.array(rates)[:, None]), "replicates" if name == "seed" else "replicates and models"
    assert said == (
        f"3 replicates over {name}, rate 0.600 (95 % interval over {units} {over.low:.3f} to {over.high:.3f})"
    )


@pytest.mark.parametrize("name", DRAWN)
def test_draws_on_the_same_models_do_not_count_as_more_models(tmp_path, name):
    """Rates that depend on the models alone: three draws say as much about other models as one does."""
    rates = np.array([[0.5, 0.6], [0.7, 0.9]])
    for job in range(3):
        write_job(tmp_path / str(job), rates=rates, overrides=[f"{name}={job}"], **setting(name, job))
    (point,) = jobs([tmp_path]).panels[0].pooled().values()
    over = share_interval(rates if name != "seed" else np.full((3, 1), rates.mean()))
    assert (point.low, point.high, point.replicates) == pytest.approx((over.low, over.high, 3))


def test_a_trend_of_draws_on_the_same_models_is_over_the_models_too(tmp_path):
    """Slopes that depend on the models alone: each of three draws repeats them."""
    slopes = np.array([[-0.1, -0.3], [-0.2, -0.2]])
    for draw, layers in itertools.product(range(3), (2, 4)):
        where = tmp_path / f"{draw}-{layers}"
        write_job(where, rates=0.6 + slopes * (layers - 3) / 2, model__layers=layers, rows={"draw": draw})
    (line,) = lines(jobs([tmp_path]))
    expected = two_way_interval(slopes)
    assert (line.trend.low * 2, line.trend.high * 2) == pytest.approx((expected.low, expected.high))
    assert line.trend.method == "slopes of pairs, over rows.draw and bases × references"


def test_draws_of_each_seed_and_split_are_averaged(tmp_path):
    rates = np.random.default_rng(0).integers(8, 13, (3, 2, 2)) / 20
    for seed, split, draw in np.ndindex(rates.shape):
        more = {"seed": seed, "dataset": {"split_seed": split}, "rows": {"draw": draw}}
        write_job(tmp_path / f"{seed}-{split}-{draw}", rates=[[rates[seed, split, draw]] * 2] * 2, **more)
    panel = jobs([tmp_path]).panels[0]
    (point,) = panel.pooled().values()
    over = share_interval(rates.mean(2))
    assert (point.low, point.high, point.replicates) == pytest.approx((over.low, over.high, 12))
    assert panel.replicates[-1] == "rows.draw"


@pytest.mark.parametrize("name", SIZES)
def test_a_swept_size_of_the_measurement_has_points_but_no_trend(tmp_path, name):
    for size in (2, 3, 4):
        where = tmp_path / str(size)
        write_job(where, rates=[[0.5 + size / 10, 0.6]] * 2, overrides=[f"{name}={size}"], **setting(name, size))
    collected = jobs([tmp_path])
    assert collected.panels[0].knob == name
    assert [point.x for point in collected.panels[0].groups()[""]] == [2, 3, 4]
    assert lines(collected) == []


def test_a_setting_of_the_models_stands_on_the_x_axis_before_a_size_of_the_measurement(tmp_path):
    for layers, bases in itertools.product((2, 4), (2, 3)):
        more = {"replicates": {"bases": bases}, "model__layers": layers}
        typed = [f"replicates.bases={bases}", f"model.layers={layers}"]
        write_job(tmp_path / f"{layers}-{bases}", rates=[[0.5, 0.6]] * bases, overrides=typed, **more)
    collected = jobs([tmp_path])
    assert collected.panels[0].knob == "model.layers"
    assert [line.label for line in lines(collected)] == ["bases=2", "bases=3"]


def test_replicates_are_one_point_each_and_their_slopes_make_the_trend(tmp_path):
    slopes = [-0.1, -0.2, -0.3]
    for split, slope in enumerate(slopes):
        for layers in (2, 4, 6):
            where = tmp_path / f"{split}-{layers}"
            write_job(where, rates=[[0.5 + slope * (layers - 4) / 4] * 3], model__layers=layers, seed=split)
    collected = jobs([tmp_path])
    (panel,), (line,) = collected.panels, lines(collected)
    assert (panel.knob, panel.series, panel.replicates) == ("model.layers", [], ("seed",))
    assert [point.rates.shape for point in line.points] == [(3, 1)] * 3
    expected = two_way_interval(np.array(slopes)[:, None])
    assert (line.trend.change.mean, line.trend.low * 4) == pytest.approx((expected.mean, expected.low))
    heads, rows = cells.cells(panel, cells.PAGE)
    assert heads[:2] == ["model.layers", "seed"]
    assert len(rows) == 9
    assert list(panel.pooled()) == ["layers=2", "layers=4", "layers=6"]
    assert line.trend.method == "slopes of replicates"


def test_an_undecided_trend_of_replicates_names_replicates_and_no_models(tmp_path):
    for seed, slope in enumerate([-0.1, 0.2, 0.02]):
        for split in range(2):
            for layers in (2, 4):
                folder = tmp_path / f"{seed}-{split}-{layers}"
                rate = 0.5 + slope * (layers - 3) / 2 + 0.03 * split * (layers - 3) * (seed - 1)
                write_job(
                    folder, rates=[[rate] * 3] * 2, model__layers=layers, seed=seed, dataset={"split_seed": split}
                )
    (line,) = lines(jobs([tmp_path]))
    assert line.trend.method == "slopes of replicates, over seed × dataset.split_seed"
    assert re.search(r"; about \d+ × \d+ replicates \(seed × dataset.split_seed\) would decide$", sentence(line))
    drawn = replace(line, panel=replace(line.panel, replicates=(*line.panel.replicates, "rows.draw")))
    assert sentence(drawn) == sentence(line)  # draws are averaged
    (alone,) = lines(jobs(sorted(tmp_path.glob("*-0-*"))))
    assert alone.trend.method == "slopes of replicates"
    assert re.search(r"; about \d+ replicates would decide$", sentence(alone))


def test_seeds_crossed_with_splits_share_them_and_are_no_replicates_of_their_own(tmp_path):
    rates = np.array([[0.5, 0.55, 0.5], [0.7, 0.75, 0.7]])  # splits differ, seeds hardly: two splits, and not six jobs
    for split, seed in np.ndindex(2, 3):
        where = tmp_path / f"{split}-{seed}"
        write_job(where, rates=[[rates[split, seed]] * 2] * 2, dataset={"split_seed": split}, seed=seed)
    (said,) = pooled(jobs([tmp_path]).panels[0])
    over, naive = share_interval(rates), share_interval(rates.reshape(-1, 1))
    assert over.high - over.low > 2 * (naive.high - naive.low)
    assert f"interval over replicates {over.low:.3f} to {over.high:.3f}" in said
    assert said.startswith("6 replicates over ")
    assert "If jobs are replicates, a point is their mean" in report([tmp_path]).read_text()


def test_replicates_without_a_rate_are_said_to_have_none(tmp_path):
    for seed, rate in enumerate([np.nan, np.nan, 0.5]):
        write_job(tmp_path / str(seed), rates=[[0.5, 0.5]] * 2, seed=seed)
        if np.isnan(rate):
            nothing_found(tmp_path / str(seed))
    assert pooled(jobs([tmp_path]).panels[0]) == ["1 replicate over seed, rate 0.500, no interval (one replicate)"]
    nothing_found(tmp_path / "2")
    assert pooled(jobs([tmp_path]).panels[0]) == ["replicates over seed found nothing"]


def test_the_page_says_what_more_models_would_buy_and_of_what_a_slope_is(tmp_path):
    swept(tmp_path, values=(2, 4, 8))
    rates = matrix(pd.read_parquet(tmp_path / "0" / "pairs.parquet"))
    text = report([tmp_path]).read_text()
    plan = plan_of(rates)
    cells = re.sub(r' (data-head|scope)="[^"]*"', "", text)
    assert f"<th>0</th><td>±{plan.half_width:.3f}</td><td>±{plan.one_more_base:.3f}</td>" in cells
    assert f"<td>{plan.models.bases} × {plan.models.references}</td>" in cells
    assert " per doubling</td>" in cells
    bases = tmp_path / "nested"
    write_job(bases, rates=[[0.5], [0.6]])
    of_bases = plan_of(np.array([[0.5], [0.6]]))
    cells = re.sub(r' (data-head|scope)="[^"]*"', "", report([bases]).read_text())
    assert f"<td>±{of_bases.half_width:.3f}</td><td>±{of_bases.one_more_base:.3f}</td><td>—</td>" in cells
    assert f"<td>{of_bases.models.bases} bases, one reference each</td>" in cells


def test_a_knob_that_begins_at_0_has_no_logarithm(tmp_path):
    swept(tmp_path, values=(0, 1, 4))
    (line,) = lines(jobs([tmp_path]))
    assert not line.panel.doubling
    assert line.panel.along(4.0) == 4.0


def nothing_found(folder):
    table = pd.read_parquet(folder / "pairs.parquet")
    table.assign(rate=np.nan, found=0).to_parquet(folder / "pairs.parquet")


@pytest.mark.parametrize("margin", [0.0, -1.0, 2.0, float("nan")])
def test_a_margin_that_no_change_can_be_judged_by_is_refused(tmp_path, margin):
    swept(tmp_path)
    with pytest.raises(InputError, match=r"^margin="):
        lines(jobs([tmp_path]), margin=margin)
