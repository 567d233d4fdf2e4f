"""The table of trends: the fit of each series in numbers."""

import math

from cftransfer.report.cells import or_dash
from cftransfer.report.collect import Jobs, Line

RANKED = 5  # points that a rank correlation needs


def of_what(line: Line, jobs: Jobs) -> str:
    """Return the series of a trend, in words that follow the trend's name; "" if a report has one series."""
    parts = [line.panel.title if len(jobs.panels) > 1 else "", line.label]
    named = " ".join(part for part in parts if part)
    return f" of {named}" if named else ""


def numbers(line: Line) -> list[tuple[str, str]]:
    """Return the columns of the table of trends: head and number of each."""
    fitted = line.trend
    ranked = len(line.points) >= RANKED
    return [
        ("slope", f"{fitted.slope:+.3g} per {'doubling' if line.panel.doubling else 'unit'}"),
        ("95 % interval", "—" if math.isnan(fitted.low) else f"{fitted.low:+.3g} to {fitted.high:+.3g}"),
        ("p", or_dash(fitted.p, ".3g")),
        ("p (Holm)", or_dash(line.p_holm, ".3g")),
        ("p (bend)", or_dash(fitted.p_bend, ".3g")),
        ("p (permutation)", or_dash(fitted.p_permutation, ".3g")),
        ("R²", or_dash(fitted.r2, ".3f")),
        ("Spearman's ρ", or_dash(fitted.rho if ranked else math.nan, "+.2f")),
        ("fitted to", fitted.method),
    ]
