"""The summary of a result as text: one screen, a table in HTML, a table in LaTeX."""

import re
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from cftransfer.measuring.interval_ends import in_brackets
from cftransfer.measuring.rates import by_factual
from cftransfer.measuring.statistics import LEVEL

IN_TARGET = "in_target"  # status of a factual that does not count
SHOWN = ("rate", "rate_conditional", "control_random")


def as_text(counterfactuals: pd.DataFrame, settings: Mapping[str, Any], summary: pd.DataFrame) -> str:
    """Return method, found share, distance, failures, and rates by group, one row each.

    summary: as `Result.summary`.
    """
    lines = _cells(summary)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in lines
    ]
    return "\n".join(
        [_searched(counterfactuals, settings, summary), *_failures(counterfactuals), *table, _units(summary)]
    )


def as_html(counterfactuals: pd.DataFrame, settings: Mapping[str, Any], summary: pd.DataFrame) -> str:
    """Return method, found share and distance, and a table of the rates by group."""
    head, *body = _cells(summary)
    rows = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<p>{escape(_searched(counterfactuals, settings, summary))}</p>{table}"


def as_latex(summary: pd.DataFrame, level: float) -> str:
    """Return a table of the rates by group, with booktabs rules."""
    lines = _cells(summary, level)
    head, *body = [" & ".join(map(_latex, cells)) + r" \\" for cells in lines]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(lines[0]) - 1)}}}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"])


def _searched(counterfactuals: pd.DataFrame, settings: Mapping[str, Any], summary: pd.DataFrame) -> str:
    """Return in words the found share and the distance of counterfactuals, with intervals over bases."""
    made = ", ".join(f"{name}={value}" for name, value in settings.items() if name != "method")
    method = f"{settings.get('method', 'counterfactuals')}{f' ({made})' if made else ''}"
    bases = counterfactuals.base.nunique()
    every = by_factual(counterfactuals[counterfactuals.status != IN_TARGET])
    here, many, row = int(every.sum()), len(every), summary.iloc[0]  # all groups have the same counterfactuals
    share, length = (_number(row, name) for name in ("found", "distance_l2"))
    where = f"on {bases} base{'s' * (bases > 1)}" + f", a share of {share}" * (many > 0)
    apart = f",\nat a mean L2 distance of {length}" if here else ""
    if "proposal" not in counterfactuals:
        return f"{method}: found {here:,} of {many:,} counterfactuals {where}{apart}"
    proposals = int(counterfactuals.found.sum())
    for_all = f"found {proposals:,} counterfactuals for {here:,} of {many:,} factuals {where}{apart}"
    return f"{method}: {for_all}; every factual weighs the same, whatever their number"


def _units(summary: pd.DataFrame) -> str:
    """Return in words the models that the intervals are over."""
    over = {str(row["group"]): str(row["over"] or "nothing") for row in summary.to_dict("records")}
    said = "; ".join(f"{group}: {method}" for group, method in over.items())
    units = said if len(set(over.values())) > 1 else next(iter(over.values()))
    if units == "nothing":
        return "no rate, so no interval"
    return f"intervals over {units}" + "; of found share and distance over bases" * bool(
        summary.found_low.notna().any()
    )


def _failures(counterfactuals: pd.DataFrame) -> list[str]:
    reasons = counterfactuals.status[~counterfactuals.found].value_counts()
    listed = ", ".join(f"{many:,} {reason}" for reason, many in reasons.items() if reason != IN_TARGET)
    already = counterfactuals[counterfactuals.status == IN_TARGET].groupby(["base", "factual"]).ngroups
    lines = [f"not found: {listed}"] if listed else []
    return [*lines, f"not counted: {already:,} already in the target class"] if already else lines


def _cells(summary: pd.DataFrame, level: float = LEVEL) -> list[list[str]]:
    """Return the summary's cells as text, heads first."""
    rows = [["references", "pairs", f"rate ({100 * level:g} % interval)", "conditional", "random step"]]
    for row in summary.rename(columns={"low": "rate_low", "high": "rate_high"}).to_dict("records"):
        rows.append([str(row["group"]), str(row["pairs"]), *(_number(row, name) for name in SHOWN)])
    return rows


def _number(row: Any, name: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return "–" if np.isnan(value) else f"{value:.3f}{in_brackets(low, high)}"


def _latex(text: str) -> str:
    return re.sub(r"([%&#$_{}])", r"\\\1", text).replace("~", r"\textasciitilde{}")
