"""One counterfactual at a time: how many references it holds on, and a lower bound for models like them."""

from math import floor

import pandas as pd

from cftransfer.columns import counterfactual_key
from cftransfer.errors import InputError
from cftransfer.measuring.statistics import BOUNDS, LEVEL, lower_bound
from cftransfer.settings import check_choice

ROUNDING = 1e-9


def per_counterfactual(
    counterfactuals: pd.DataFrame, transfers: pd.DataFrame, *, level: float = LEVEL, interval: str = "exact"
) -> pd.DataFrame:
    """Return one row per base × found counterfactual, in the order of `counterfactuals`.

    n_references: how many were asked; share: the share of these that put x′ in the target class, in [0, 1]; low: the
    one-sided lower bound of that share among all models from which the references are independent draws, given the
    base; margin: the base's at x′; distance_l2: of x′ − x, in units of the input's range.

    The bound holds for each counterfactual by itself. The largest of many shares is partly luck.

    transfers: of one group of references, each base × reference × factual once. level: between 0 and 1. interval: exact
    (Clopper and Pearson: the bound is too high in at most 1 − level of all cases) or jeffreys (in about 1 − level).
    InputError for another level or interval.
    """
    key = counterfactual_key(counterfactuals)
    found = transfers[transfers.found]
    answers = found.assign(transferred=found.transferred.astype(float)).groupby(key).transferred
    held = pd.DataFrame({"n_references": answers.size(), "held": answers.sum()}).reset_index()
    return bounded(counterfactuals, held, level=level, interval=interval)


def bounded(
    counterfactuals: pd.DataFrame, held: pd.DataFrame, *, level: float = LEVEL, interval: str = "exact"
) -> pd.DataFrame:
    """Return `per_counterfactual` from answers that have been counted, as `counts.held` counts them for every base."""
    check_choice("interval", interval, BOUNDS)
    if not 0 < level < 1:
        raise InputError(f"level={level}: must be a number between 0 and 1")
    key = counterfactual_key(counterfactuals)
    known = [*key, "base_seed", "target", "margin", "distance_l2"]
    table = counterfactuals.loc[counterfactuals.found, known].merge(held, on=key, validate="one_to_one")
    return pd.DataFrame(
        {
            **{name: table[name] for name in [*key, "base_seed", "target"]},
            "n_references": table.n_references.astype(int),
            "share": table.held / table.n_references,
            "low": lower_bound(table.held.to_numpy(), table.n_references.to_numpy(), level=level, interval=interval),
            **{name: table[name] for name in ("margin", "distance_l2")},
        }
    )


def in_words(share: float, n_references: int, low: float) -> str:
    """Return "holds on 9 of 10 references (at least 0.60)"; the bound is rounded down."""
    held = f"holds on {round(share * n_references)} of {n_references} reference{'' if n_references == 1 else 's'}"
    return f"{held} (at least {floor(low * 100 + ROUNDING) / 100:.2f})" if low > 0 else held
