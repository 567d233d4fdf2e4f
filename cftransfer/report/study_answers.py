"""A study's answers in plain sentences, each from the verdicts on its trends."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from cftransfer.columns import matrix
from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import EXTRA_EPOCHS
from cftransfer.measuring.interval_ends import interval_ends, short
from cftransfer.measuring.over_splits import spread_of
from cftransfer.measuring.statistics import LEVEL
from cftransfer.measuring.verdicts import verdict as judged
from cftransfer.report.collect import Line
from cftransfer.report.panels import Point
from cftransfer.report.series_names import dataset_name
from cftransfer.report.study_running import Part
from cftransfer.report.verdict_words import decides, margin

RANDOM = "control_random"
YES = ("as expected", "falls", "rises")  # verdicts that answer yes; without an expected direction, either counts


@dataclass(frozen=True)
class Series:
    """One line of a figure: its data set and search in words, its points, and their trend, None without one.

    p_bend: of the trend's lack of fit, adjusted for all trends of the page (Holm); NaN if it was not tested.
    """

    dataset: str
    search: str
    points: list[Point]
    line: Line | None
    p_bend: float = float("nan")

    @property
    def ends(self) -> tuple[float, float]:
        """The mean rates at the lowest and at the highest value; NaN if nothing was found."""
        first, last = (point.rates for point in (self.points[0], self.points[-1]))
        return _mean(first), _mean(last)

    @property
    def bends(self) -> bool:
        """Whether the rates were shown not to follow a line."""
        return self.p_bend < 1 - LEVEL


def verdict(line: Line | None, expected: int) -> str:
    """Return how a trend compares with the expected direction: +1 rising, -1 falling, 0 for either."""
    if line is None:
        return "no trend"
    if line.verdict.direction in ("flat", "undecided") or not expected:
        return line.verdict.direction
    return "as expected" if line.trend.slope * expected > 0 else "the opposite"


def answer(part: Part, some: Sequence[Series]) -> str:
    """Return the sentence that answers the part's question over all data sets and searches."""
    known = [one.line for one in some if one.line is not None]
    if not known:
        return "There is no trend to judge."
    places = [point.x for line in known for point in line.points]
    over = f"from {min(places):g} to {max(places):g} {part.unit or known[0].panel.knob}".rstrip()
    said = f"{tally([verdict(one.line, part.expected) for one in some])}: {over}, the rate {_moves(known)}."
    if known[0].panel.knob == EXTRA_EPOCHS:
        said += f" After the first extra epoch {_range([one.ends[0] for one in some])} still hold; before it, all do."
    return said


def tally(verdicts: Sequence[str]) -> str:
    """Return yes, hardly (flat), no (the opposite) or undecided, with the number of cases for each if they differ."""
    undecided = sum(one in ("undecided", "no trend") for one in verdicts)
    yes, hardly = sum(one in YES for one in verdicts), verdicts.count("flat")
    no = len(verdicts) - yes - hardly - undecided
    counts = {"yes": yes, "hardly": hardly, "no": no, "undecided": undecided}
    said = [(word, many) for word, many in counts.items() if many]
    if len(said) == 1:
        return said[0][0].capitalize()
    (word, many), *others = said
    return ", ".join(
        [f"{word.capitalize()} in {many} of {len(verdicts)} cases", *(f"{word} in {many}" for word, many in others)]
    )


def evidence(some: Sequence[Series]) -> list[str]:
    """Return for each search a line with the rates, the change and the verdict on every data set."""
    return _by_search([(one.search, f"{one.dataset} {_of_trend(one)}") for one in some])


def overall(part: Part, some: Sequence[Series]) -> tuple[str, list[str]]:
    """Return whether counterfactuals transfer at all, more often than random changes, and the numbers by search.

    The point of each series that is nearest to `part.overall_at` counts. Data sets that stand beside the study's for
    comparison have their numbers, and no part in the answer.
    """
    at, beside = part.overall_at or 0.0, {dataset_name(key) for key in part.beside}
    points = [(one, min(one.points, key=lambda point: abs(point.x - at))) for one in some]
    own = [point.job for one, point in points if one.dataset not in beside] or [point.job for _, point in points]
    rates, random = [[job.metrics.get(name) for job in own] for name in ("rate", "control_random")]
    verdicts = [_against_random(job) for job in own]
    less = "" if "flat" not in verdicts else "; the two rates differ by less than .05"
    less += f" in {verdicts.count('flat')} of {len(own)} cases" if less and set(verdicts) != {"flat"} else ""
    said = (
        f"{tally(verdicts)}: on another model of the same design ({points[0][1].x:g} {part.unit}), {_range(rates)} of "
        f"the counterfactuals hold, beside {_range(random)} of random changes of the same length{less}."
    )
    lines = [(one.search, f"{one.dataset} {_of_rate(point)}") for one, point in points]
    return said, _by_search(lines)


def _against_random(job: Job) -> str:
    """Return how the rate compares with random changes of the same length, as a verdict for `tally`."""
    of = judged(spread_of(matrix(job.pairs) - matrix(job.pairs, RANDOM))).direction
    return {"rises": "as expected", "falls": "the opposite"}.get(of, of)


def signed(value: float) -> str:
    """Return a change of the rate: −.021."""
    return f"{value:+.3f}".replace("0.", ".", 1).replace("-", "−")


def share(value: float | None) -> str:
    """Return a rate: .587; a dash without one."""
    return "—" if value is None or np.isnan(value) else f"{value:.3f}".removeprefix("0")


def change(line: Line) -> str:
    """Return the change along the line with its interval: −.021 (−.046 to +.005)."""
    of = line.verdict.change
    if np.isnan(of.low):
        return f"{signed(of.mean)} (no interval)"
    return f"{signed(of.mean)} ({signed(of.low)} to {signed(of.high)})"


def _of_trend(one: Series) -> str:
    if one.line is None:
        return f"{share(one.ends[0])}, no trend"
    of, (first, last) = one.line.verdict, map(share, one.ends)
    word = f"flat within ±{margin(of)}" if of.direction == "flat" else of.direction
    lack = "; not along a line" if one.bends else ""
    return f"{word}, {first} to {last}, change {change(one.line)}{lack}{decides(one.line)}"


def _of_rate(point: Point) -> str:
    random, *ends = (point.job.metrics.get(f"control_random{end}") for end in ("", "_low", "_high"))
    alike, *around = (point.job.metrics.get(f"rate_conditional{end}") for end in ("", "_low", "_high"))
    said = f"{share(_mean(point.rates))}{_ends(point.low, point.high)}, random {share(random)}{_ends(*ends)}"
    return f"{said}, where both agreed before {share(alike)}{_ends(*around)}"


def _ends(low: float | None, high: float | None) -> str:
    """Return an interval to follow its mean, after a space: (.550 to .634); "" without one."""
    if low is None or high is None or np.isnan(low):
        return ""
    return f" ({' to '.join(map(short, interval_ends(low, high)))})"


def _moves(known: Sequence[Line]) -> str:
    """Return the movement of the rate in all trends: one verb if they agree, the span of the changes if not."""
    directions = {line.verdict.direction for line in known}
    means = [line.verdict.change.mean for line in known]
    if directions == {"flat"}:
        return f"changes by less than {margin(known[0].verdict)} either way"
    if directions in ({"falls"}, {"rises"}):
        ends = [[_mean(line.points[place].rates) for line in known] for place in (0, -1)]
        return f"{directions.pop()} from {_range(ends[0])} to {_range(ends[1])}"
    low, high = signed(min(means)), signed(max(means))
    return f"changes by {low}" if low == high else f"changes by {low} to {high}"


def _by_search(said: Sequence[tuple[str, str]]) -> list[str]:
    """Return the words of each search in one line, named if there are several."""
    together = [
        (search, " · ".join(words for _, words in rows))
        for search, rows in groupby(sorted(said, key=lambda row: [s for s, _ in said].index(row[0])), lambda r: r[0])
    ]
    return [f"{search}: {words}" if search else words for search, words in together]


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None and not np.isnan(value)]
    if not known:
        return "—"
    low, high = share(min(known)), share(max(known))
    return low if low == high else f"{low} to {high}"


def _mean(rates: np.ndarray) -> float:
    return float("nan") if np.isnan(rates).all() else float(np.nanmean(rates))
