"""Predictions → two tidy tables → rates. docs/output.md describes every column and number.

Every pair of a base and a reference weighs the same, however many counterfactuals its base found.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cftransfer.controls import Nearest, nearest_share, prior_share, random_share
from cftransfer.counterfactuals.search import Counterfactuals, distance
from cftransfer.data.pixels import GREYS
from cftransfer.models.prediction import Model, logits, margin, predicted
from cftransfer.statistics import bootstrap_interval, difference_interval, rate_interval, two_way_interval
from cftransfer.tables import CONTROLS, PAIR, matrix

NORMS = {"distance_l0": 0, "distance_l1": 1, "distance_l2": 2, "distance_linf": float("inf")}
PER_BASE = ["distance_l2", "distance_linf", "pixel_l2", "pixel_linf", "nearest_l2", "iterations", "margin"]
CAPS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)


def counted(target: Tensor, agreement: Tensor, transferred: Tensor) -> Tensor:
    """Count found rows: (n,) each, of 0 and 1 → (2, 2, 2), by target, agreement and transfer."""
    return torch.bincount(4 * target.long() + 2 * agreement.long() + transferred.long(), minlength=8).view(2, 2, 2)


def named_rates(cells: Tensor) -> dict[str, Tensor]:
    """cells: (2, 2, 2) shares or counts of found rows by target, agreement and transfer → rates; NaN for 0 / 0."""

    def rate(part: Tensor) -> Tensor:
        return part[..., 1].sum() / part.sum()

    return {
        "rate": rate(cells),
        "agreement": cells[:, 1].sum() / cells.sum(),
        "rate_conditional": rate(cells[:, 1]),
        "rate_disagree": rate(cells[:, 0]),
        "rate_to_0": rate(cells[0]),
        "rate_to_1": rate(cells[1]),
    }


def counterfactual_table(
    searches: Sequence[Counterfactuals], seeds: Sequence[int], *, nearest: Sequence[Nearest]
) -> pd.DataFrame:
    """One row per base × factual. nearest: what `controls.nearest_rows` gives for every base."""
    rows = [
        _counterfactual_rows(search, near).assign(base=base, base_seed=seed)
        for base, (search, seed, near) in enumerate(zip(searches, seeds, nearest, strict=True))
    ]
    return _led(pd.concat(rows, ignore_index=True), "base", "factual", "base_seed")


def transfer_table(searches: Sequence[Counterfactuals], references: Sequence[Model], **asked: Any) -> pd.DataFrame:
    """Return the table of one age of the references; `transfer_tables` says what is asked."""
    (table,) = transfer_tables(searches, [references], **asked)
    return table


def transfer_tables(
    searches: Sequence[Counterfactuals],
    references: Sequence[Sequence[Model]],
    *,
    nearest: Sequence[Nearest],
    base_seeds: Sequence[int],
    reference_seeds: Sequence[int],
    nested: bool,
) -> list[pd.DataFrame]:
    """One table for each age of the references, with one row per base × factual × reference.

    `transferred` and the controls are missing where nothing was found.

    references: models by age; those of every age meet the same random points, which are drawn once.
    nearest: what `controls.nearest_rows` gives for every base.
    nested: reference i is tried on the counterfactuals of base i alone; else every reference on those of every base.
    """
    rows: list[list[pd.DataFrame]] = [[] for _ in references]
    for base, search in enumerate(searches):
        met = [
            (age, index, model)
            for age, models in enumerate(references)
            for index, model in enumerate(models)
            if index == base or not nested
        ]
        random = random_share(search, [model for *_, model in met], seed=base_seeds[base])
        for (age, index, model), drawn in zip(met, random, strict=True):
            part = _transfer_rows(search, model, nearest=nearest[base], random=drawn)
            place = {"base": base, "reference": index}
            seeds = {"base_seed": base_seeds[base], "reference_seed": reference_seeds[index]}
            rows[age].append(part.assign(**place, **seeds))
    first = ("base", "reference", "factual", "base_seed", "reference_seed")
    return [_led(pd.concat(parts, ignore_index=True), *first) for parts in rows]


def cells_by_pair(transfers: pd.DataFrame) -> dict[Any, Tensor]:
    """Return what `counted` says of every pair, by the values of PAIR."""
    cells = {}
    for pair, rows in transfers.groupby(PAIR):
        found = rows[rows.found]
        columns = (found[name].to_numpy(dtype=int) for name in ("target", "agreement", "transferred"))
        cells[pair] = counted(*map(torch.tensor, columns)).double()
    return cells


def pairs(transfers: pd.DataFrame) -> pd.DataFrame:
    """One row per base × reference, over the counterfactuals found on the base.

    found: their number; agreement: share whose factual both models put in the same class; rate: share transferred;
    rate_conditional: share transferred among those with agreement; controls: shares of control points that the
    reference puts in the target class. NaN for a share of nothing.
    """
    rows = []
    for pair, cells in cells_by_pair(transfers).items():
        rate = named_rates(cells)
        shares = {name: float(rate[name]) for name in ("agreement", "rate", "rate_conditional")}
        rows.append({**dict(zip(PAIR, pair, strict=True)), "found": int(cells.sum()), **shares})
    controls = transfers[transfers.found].groupby(PAIR)[CONTROLS].mean().reset_index()
    return pd.DataFrame(rows).merge(controls, on=PAIR, how="left", validate="one_to_one")


def rates(counterfactuals: pd.DataFrame, transfers: pd.DataFrame) -> dict[str, Any]:
    """Return the named rates of a job from its two tables; NaN for a share of nothing.

    Every pair weighs the same in all of them, so that the parts add up:
    rate = agreement · rate_conditional + (1 − agreement) · rate_disagree, and likewise over the two targets.
    """
    cells = list(cells_by_pair(transfers).values())
    shares = [part / part.sum() for part in cells if part.sum()]
    named = named_rates(torch.stack(shares).mean(0) if shares else torch.zeros(2, 2, 2))
    rate = {name: float(value) for name, value in named.items()}
    found = float(counterfactuals.found.mean())
    tried = int(sum(part.sum() for part in cells))
    measured_there = [name for name in PER_BASE if name in counterfactuals]
    per_base = counterfactuals[counterfactuals.found].groupby("base")[measured_there].mean()
    per_pair = transfers[transfers.found].groupby(PAIR)[CONTROLS].mean()
    return {
        "rate": rate.pop("rate"),
        "found": found,
        **rate,
        "rate_end_to_end": found * float(named["rate"]) if found else 0.0,
        **{str(name): float(mean) for table in (per_pair, per_base) for name, mean in table.mean().items()},
        "pairs": len(cells),
        "n_searched": len(counterfactuals),
        "n_found": int(counterfactuals.found.sum()),
        "n_tried": tried,
        "n_agreeing": int(sum(part[:, 1].sum() for part in cells)),
        "n_to_0": int(sum(part[0].sum() for part in cells)),
        "n_to_1": int(sum(part[1].sum() for part in cells)),
    }


def share_as_bytes(searches: Sequence[Counterfactuals], bases: Sequence[Model]) -> float:
    """Return the mean over bases of the share of found counterfactuals that survive being rounded to bytes.

    Images are: what is scored are floats, what a file can hold are whole grey levels.
    """
    shares = []
    for search, base in zip(searches, bases, strict=True):
        rounded = search.counterfactual[search.found].mul(GREYS).round().to(torch.uint8)
        shares.append((predicted(logits(base, rounded)) == search.target[search.found]).double().mean())
    return float(torch.stack(shares).nanmean())


def before_projection(counterfactuals: pd.DataFrame, transfers: pd.DataFrame) -> dict[str, float]:
    """Return found share, distance and rate of where searches were before anything was projected; {} where nothing was.

    As after projection: distances are means over bases, rates over pairs.
    """
    if "found_relaxed" not in counterfactuals:
        return {}
    crossed = counterfactuals[counterfactuals.found_relaxed]
    rate = transfers.groupby(PAIR).transferred_relaxed.mean().astype(float)
    return {
        "found_relaxed": float(counterfactuals.found_relaxed.mean()),
        "distance_l2_relaxed": float(crossed.groupby("base").distance_l2_relaxed.mean().mean()),
        "rate_relaxed": float(rate.mean()),
    }


def distance_interval(counterfactuals: pd.DataFrame) -> dict[str, float]:
    """Return the 95 % interval, over bases, of the mean distance of what was found."""
    lengths = counterfactuals[counterfactuals.found].groupby("base").distance_l2.mean().to_numpy()
    interval = two_way_interval(lengths[:, None])
    return {"distance_l2_low": max(interval.low, 0.0), "distance_l2_high": interval.high}


def intervals(table: pd.DataFrame) -> dict[str, Any]:
    """Pairs → the 95 % interval of their mean rate, what it is over, and the bootstrap's as a check on it."""
    values = matrix(table)
    interval, check = rate_interval(values, found=int(table.found.sum())), bootstrap_interval(values)
    return {
        "rate_low": interval.low,
        "rate_high": interval.high,
        "interval": interval.method,
        "rate_bootstrap_low": check.low,
        "rate_bootstrap_high": check.high,
    }


def minus_seed(table: pd.DataFrame) -> dict[str, Any]:
    """Pairs with `rate_seed` → the mean of rate − rate_seed, with an interval over the differences of pairs.

    Both rates of a pair are of the same counterfactuals, so that what is particular to a base cancels.
    """
    difference = difference_interval(matrix(table), matrix(table, "rate_seed"))
    return {
        "rate_seed": float(np.nanmean(matrix(table, "rate_seed"))) if table.found.any() else float("nan"),
        "rate_minus_seed": difference.mean,
        "rate_minus_seed_low": difference.low,
        "rate_minus_seed_high": difference.high,
        "rate_minus_seed_p": difference.p,
    }


def survivorship(counterfactuals: pd.DataFrame, transfers: pd.DataFrame) -> pd.DataFrame:
    """Return found share and rate, with its 95 % interval, had the search been ended after fewer iterations.

    A search that ends at its first success gives the same counterfactual under every cap that it stays below: the rows
    that survive a cap are those found within it, and they may be the easier ones. One row per cap; the last is the cap
    that was used, so its rate is the job's.
    """
    most = int(counterfactuals.iterations.max())
    steps = counterfactuals[["base", "factual", "iterations"]]
    found = transfers[transfers.found].merge(steps, on=["base", "factual"], validate="many_to_one")
    kinds = transfers[PAIR].drop_duplicates(ignore_index=True)
    which = found[PAIR].merge(kinds.reset_index(), on=PAIR, how="left")["index"].to_numpy()  # counting is by pair
    places = matrix(kinds.assign(rate=kinds.index)).astype(int)
    transferred, iterations = found.transferred.to_numpy(dtype=float), found.iterations.to_numpy()
    rows = []
    for cap in [cap for cap in CAPS if cap < most] + [most]:
        within = counterfactuals.found & (counterfactuals.iterations <= cap)
        kept = iterations <= cap
        many = np.bincount(which[kept], minlength=len(kinds))
        sums = np.bincount(which[kept], weights=transferred[kept], minlength=len(kinds))
        shares = np.divide(sums, many, out=np.full(len(kinds), np.nan), where=many > 0)
        interval = rate_interval(shares[places], found=int(within.sum()))
        rate = float(np.nanmean(shares)) if many.any() else float("nan")
        rows.append(
            {
                "cap": cap,
                "found": float(within.mean()),
                "rate": rate,
                "rate_low": interval.low,
                "rate_high": interval.high,
            }
        )
    return pd.DataFrame(rows)


def _led(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Return the table with the columns `names` in front."""
    return table[[*names, *table.columns.drop(list(names))]]


def _counterfactual_rows(search: Counterfactuals, nearest: Nearest) -> pd.DataFrame:
    norms = {name: distance(search.factual, search.counterfactual, p=p).numpy() for name, p in NORMS.items()}
    is_image = search.factual.dim() > 2
    per_pixel = {
        "pixel_l2": norms["distance_l2"] / search.factual[0].numel() ** 0.5 * GREYS,
        "pixel_linf": norms["distance_linf"] * GREYS,
    }
    inputs = {"x": search.factual, "counterfactual": search.counterfactual}
    before: dict[str, Any] = {}
    if search.relaxed is not None and search.relaxed_found is not None:
        before["relaxed"] = list(search.relaxed.flatten(1).numpy())
        before["found_relaxed"] = search.relaxed_found.numpy()
        before["distance_l2_relaxed"] = distance(search.factual, search.relaxed).numpy()
    return pd.DataFrame(
        {
            "factual": np.arange(len(search.factual)),
            "target": search.target.numpy(),
            "found": search.found.numpy(),
            "status": _status(search),
            "iterations": search.iterations.numpy(),
            "margin": margin(search.logit, search.target).numpy(),
            "factual_logit": search.factual_logit.numpy(),
            "logit": search.logit.numpy(),
            **norms,
            "nearest_l2": nearest.l2.numpy(),
            **(per_pixel if is_image else {name: list(x.flatten(1).numpy()) for name, x in inputs.items()}),
            **before,
        }
    )


def _status(search: Counterfactuals) -> np.ndarray:
    crossed = search.relaxed_found if search.relaxed_found is not None else torch.zeros_like(search.found)
    failed = np.where(search.done, "lost", np.where(crossed, "lost_by_projection", "not_found"))
    return np.where(search.found, "found", failed)


def _transfer_rows(search: Counterfactuals, reference: Model, *, nearest: Nearest, random: Tensor) -> pd.DataFrame:
    factual_logit, logit = logits(reference, search.factual), logits(reference, search.counterfactual)
    transferred = pd.array((predicted(logit) == search.target).numpy(), dtype="boolean")
    controls = pd.DataFrame(
        {
            "control_random": random.numpy(),
            "control_nearest": nearest_share(search, nearest, reference).numpy(),
            "control_prior": prior_share(search.target, factual_logit).numpy(),
        }
    )
    lost = ~search.found.numpy()
    transferred[lost], controls[lost] = pd.NA, np.nan
    before: dict[str, Any] = {}
    if search.relaxed is not None and search.relaxed_found is not None:
        moved = pd.array((predicted(logits(reference, search.relaxed)) == search.target).numpy(), dtype="boolean")
        moved[~search.relaxed_found.numpy()] = pd.NA
        before["transferred_relaxed"] = moved
    return pd.DataFrame(
        {
            "factual": np.arange(len(search.factual)),
            "target": search.target.numpy(),
            "found": search.found.numpy(),
            "agreement": (predicted(factual_logit) == predicted(search.factual_logit)).numpy(),
            "transferred": transferred,
            "margin": margin(logit, search.target).numpy(),
            "factual_logit": factual_logit.numpy(),
            **before,
        }
    ).join(controls)
