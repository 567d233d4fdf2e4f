"""The result of a measurement: long tables, summarised when printed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cftransfer.columns import CONTROLS, PAIR, matrix
from cftransfer.errors import InputError
from cftransfer.measuring import rates
from cftransfer.measuring.counts import count
from cftransfer.measuring.model_distance import MEASURES, mean_distances
from cftransfer.measuring.per_counterfactual import per_counterfactual
from cftransfer.measuring.planning import Plan, plan_of
from cftransfer.measuring.rate_intervals import base_intervals, intervals, target_intervals
from cftransfer.measuring.sampling_variances import sampling_of
from cftransfer.measuring.stage_seconds import NOTHING_TIMED, Seconds
from cftransfer.measuring.statistics import LEVEL, Interval, rate_interval
from cftransfer.measuring.summary_text import as_html, as_latex, as_text
from cftransfer.measuring.tails import accepted_by, tails

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BESIDE_RATE = ("agreement", "rate_conditional", "rate_end_to_end", *CONTROLS, "rate_minus_random")
ENDS = ("", "_low", "_high")
OF_SEARCH = ("found", "distance_l2")
SUMMARY = ["group", "rate", "low", "high", *(name + end for name in (*BESIDE_RATE, *OF_SEARCH) for end in ENDS)]
SUMMARY += ["pairs", "over"]
TAILS = ("rate_all", "rate_all_low", "rate_all_high", "rate_p10", "rate_min")


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Transferability rates of groups of references, with intervals over models beside them (`summary`).

    counterfactuals: one row per base × factual. table: one row per group × base × reference × factual. settings: how
    the counterfactuals were made. distances: one row per group × base × reference, the distances between the two models
    on the test rows given to `ask`; None without test rows. seconds: the time of searching and asking.

    docs/reference/output.md describes every column. If factuals have several counterfactuals (column `proposal`), each
    has a row in the tables, and every factual weighs the same in all rates.
    """

    counterfactuals: pd.DataFrame
    table: pd.DataFrame
    settings: Mapping[str, Any] = field(default_factory=dict)
    distances: pd.DataFrame | None = None
    seconds: Seconds = NOTHING_TIMED

    @property
    def groups(self) -> list[str]:
        """The names of the groups of references, in the order in which they were asked."""
        return list(dict.fromkeys(self.table.group))

    @property
    def rate(self) -> float | dict[str, float]:
        """The mean over pairs of the share of found counterfactuals that the reference puts in the target class.

        Equation 1 of the paper named in the README. A dict by group if there are several groups of references.
        """
        return self._by_group(
            {group: float(rates.rates(self.counterfactuals, count(some))["rate"]) for group, some in self._parts()}
        )

    @property
    def found(self) -> float:
        """The share of factuals for which a counterfactual was found; factuals in their target class do not count."""
        return float(rates.by_factual(self.counterfactuals[self.counterfactuals.status != "in_target"]).mean())

    @property
    def pairs(self) -> pd.DataFrame:
        """One row per group × base × reference: `rates.pairs` has the columns; distances follow if there are any."""
        table = self._joined(lambda some: rates.pairs(count(some)))
        return table if self.distances is None else table.merge(self.distances, "left", on=["group", *PAIR])

    @property
    def per_counterfactual(self) -> pd.DataFrame:
        """One row per group × base × found counterfactual: the share of references that it holds on, and its bound.

        `measuring.per_counterfactual` describes the columns; bounds are exact, one-sided, and of level .95.
        """
        return self.held()

    def held(self, level: float = LEVEL, *, interval: str = "exact") -> pd.DataFrame:
        """Return `per_counterfactual` with bounds of another level, between 0 and 1; interval: exact or jeffreys."""
        return self._joined(lambda some: per_counterfactual(self.counterfactuals, some, level=level, interval=interval))

    @property
    def accepted_by(self) -> pd.DataFrame:
        """One row per group × k: the share of found counterfactuals that at least k references accept."""
        return self._joined(lambda some: accepted_by(per_counterfactual(self.counterfactuals, some)))

    def tails(self, level: float = LEVEL) -> pd.DataFrame:
        """Return one row per group: the spread of rates over its references, as in `tails.tails`.

        rate_all with its interval over bases at a level between 0 and 1; rate_p10; rate_min. NaN for a group in which
        bases have one reference each.
        """
        _check_level(level)
        rows = []
        for group, some in self._parts():
            spread = tails(rates.pairs(count(some)), per_counterfactual(self.counterfactuals, some), level=level)
            rows.append({"group": group, **{name: spread.get(name, np.nan) for name in TAILS}})
        return pd.DataFrame(rows)

    def mean_distances(self, level: float = LEVEL) -> pd.DataFrame:
        """Return one row per group: the means over pairs of its distances, and `disagreement`'s interval over models.

        level: between 0 and 1. NaN for a group that could not be asked; InputError if no test rows were given.
        """
        _check_level(level)
        if self.distances is None:
            raise InputError("distances: are measured on test rows; pass test=x_test to measure or ask")
        known = self.distances.dropna(subset=["disagreement"])
        parts = [(group, known[known.group == group]) for group in self.groups]
        rows = [{"group": group, **(mean_distances(part, level=level) if len(part) else {})} for group, part in parts]
        return pd.DataFrame(rows, columns=["group", *MEASURES, "disagreement_low", "disagreement_high"])

    @property
    def by_target(self) -> pd.DataFrame:
        """One row per group × target class: `n_tried`, and `rate` with its 95 % interval, `low` to `high`."""
        return self._joined(lambda some: target_intervals(count(some)))

    @property
    def summary(self) -> pd.DataFrame:
        """One row per group: the rate and the numbers to read beside it, each with its 95 % interval.

        `rate` lies between `low` and `high`, over the models in `over`. `agreement`, `rate_conditional`,
        `rate_end_to_end`, the controls, `rate_minus_random`, `found` and `distance_l2` are named as in a job's metrics,
        and so are their ends, `NAME_low` and `NAME_high`: over bases for the last two, over models for the others. A
        number without an interval, such as the `agreement` of a single pair of models, has NaN as its ends.
        """
        return self.summarised()

    def summarised(self, level: float = LEVEL) -> pd.DataFrame:
        """Return `summary` with intervals of another level, between 0 and 1."""
        _check_level(level)
        rows, over_bases = [], base_intervals(self.counterfactuals, level=level)
        for group, some in self._parts():
            counts = count(some)
            numbers = rates.rates(self.counterfactuals, counts) | over_bases
            numbers |= intervals(self.counterfactuals, counts, level=level)
            numbers |= {"group": group, "over": numbers["interval"]}
            numbers |= {end: numbers[f"rate_{end}"] for end in ("low", "high")}
            rows.append({name: numbers.get(name, np.nan) for name in SUMMARY})
        return pd.DataFrame(rows, columns=SUMMARY)

    def interval(self, level: float = LEVEL) -> Interval | dict[str, Interval]:
        """Return the interval of the rate over models, at a level between 0 and 1; by group if there are several.

        Crossed bases and references have a two-way random-effects interval, nested ones an interval over bases. A
        single pair has Wilson's interval over its counterfactuals, and `method` says so.
        """
        return self._by_group({group: self._interval(some, level) for group, some in self._parts()})

    def plan(
        self, half_width: float = 0.03, *, level: float = LEVEL, seconds: tuple[float, float, float] | None = None
    ) -> Plan | dict[str, Plan]:
        """Return how many models an interval of the rate of ± `half_width` needs; by group if there are several.

        seconds: of one base with its search, of one reference, and of asking it about one base; the plan is the
        cheapest in these. Without them the plan estimates the time of searching and asking from this measurement. The
        plan is as good as the variances that these models give: plan from 5 × 10 or more. With one reference per
        base, it is a plan of bases alone. InputError for fewer than two bases with rates.

        >>> print(result.plan(half_width=.05))  # doctest: +SKIP
        """
        return self._by_group(
            {group: self._plan(group, some, half_width, level, seconds) for group, some in self._parts()}
        )

    def __getitem__(self, group: str) -> "Result":
        """Return the result of one group of references."""
        if group not in self.groups:
            raise InputError(f"group {group!r}: was not asked; there are: {', '.join(self.groups)}")
        table, apart = (
            None if one is None else one[one.group == group].reset_index(drop=True)
            for one in (self.table, self.distances)
        )
        assert table is not None
        return Result(self.counterfactuals, table, self.settings, apart, self.seconds)

    def __add__(self, other: "Result") -> "Result":
        """Join references that were asked later; InputError if they were asked about other counterfactuals."""
        columns = [name for name in self.counterfactuals if name != "nearest_l2"]
        if not self.counterfactuals[columns].equals(other.counterfactuals.reindex(columns=columns)):
            raise InputError(
                "results of other counterfactuals cannot be joined; ask the references about the same ones"
            )
        if both := set(self.groups) & set(other.groups):
            raise InputError(f"group {both.pop()!r}: is in both results; give one of them another name")
        table = pd.concat([self.table, other.table], ignore_index=True)
        apart = [one.distances for one in (self, other) if one.distances is not None]
        distances = pd.concat(apart, ignore_index=True) if apart else None
        return Result(self.counterfactuals, table, self.settings, distances, self.seconds + other.seconds)

    def plot(self, ax: "Axes | None" = None, *, level: float = LEVEL) -> Any:
        """Draw every group's rate with its interval, beside its random control; return the artists by name.

        ax: matplotlib axes; new ones by default.
        """
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots(figsize=(6, 0.8 + 0.5 * len(self.groups)), layout="constrained")
        table = self.summarised(level)[::-1].reset_index(drop=True)
        spread = np.abs(table[["low", "high"]].to_numpy().T - table.rate.to_numpy())
        drawn = {
            "rates": ax.errorbar(
                table.rate, table.index, xerr=np.nan_to_num(spread), fmt="o", color="#1b6ca8", label="rate"
            ),
            "controls": ax.scatter(
                table.control_random, table.index, marker="|", s=120, color="#777777", label="random step"
            ),
        }
        ax.set_yticks(table.index, table.group)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(table) - 0.4), xlabel=f"transferability rate, {level:.0%} interval")
        ax.legend(frameon=False, fontsize="small", loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        return drawn

    def to_parquet(self, folder: str | Path) -> list[Path]:
        """Write counterfactuals.parquet, transfers.parquet and pairs.parquet into a folder; return their paths."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        tables = {"counterfactuals": self.counterfactuals, "transfers": self.table, "pairs": self.pairs}
        paths = [place / f"{name}.parquet" for name in tables]
        for path, table in zip(paths, tables.values(), strict=True):
            table.to_parquet(path, index=False)
        return paths

    def to_latex(self, *, level: float = LEVEL) -> str:
        """Return the summary as a LaTeX table with booktabs rules."""
        return as_latex(self.summarised(level), level)

    def __str__(self) -> str:
        """Return the summary in one screen: method, found share, failures, and rates by group."""
        return as_text(self.counterfactuals, self.settings, self.summary)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self.counterfactuals, self.settings, self.summary)

    def _joined(self, table: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
        """Return the tables of all groups in one; its first column is the group."""
        tables = [table(some).assign(group=group) for group, some in self._parts()]
        whole = pd.concat(tables, ignore_index=True)
        return whole[["group", *whole.columns.drop("group")]]

    def _parts(self) -> list[tuple[str, pd.DataFrame]]:
        return [(group, self.table[self.table.group == group]) for group in self.groups]

    def _interval(self, some: pd.DataFrame, level: float) -> Interval:
        _check_level(level)
        table = rates.pairs(count(some))
        return rate_interval(matrix(table), found=int(table.found.sum()), level=level)

    def _plan(self, group: str, some: pd.DataFrame, half_width: float, level: float, seconds: Any) -> Plan:
        varied = sampling_of(per_counterfactual(self.counterfactuals, some))
        wanted = {"half_width": half_width, "level": level, "seconds": seconds}
        plan = plan_of(matrix(rates.pairs(count(some))), varied, **wanted)
        if plan is None:
            raise InputError(f"group {group!r}: a plan needs two bases or more with rates; measure more bases")
        return plan if self.seconds == NOTHING_TIMED else plan.timed(self.seconds)

    def _by_group(self, values: dict[str, Any]) -> Any:
        return values if len(values) > 1 else next(iter(values.values()))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"level={level}: must be a number between 0 and 1")
