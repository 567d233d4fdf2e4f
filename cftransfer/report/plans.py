"""How many models the interval of a job's rate needs, and what more of each kind would buy."""

from collections.abc import Sequence

import numpy as np

from cftransfer.columns import matrix
from cftransfer.jobs.read import Job
from cftransfer.measuring.model_numbers import Models
from cftransfer.measuring.planning import MORE, Plan, planned
from cftransfer.measuring.statistics import spread

HEADS = ("interval now", "one more base", "one more reference", f"{MORE:,} more counterfactuals")


def plan_of(job: Job) -> Plan | None:
    """Return the plan of a job whose bases and references cross; None for others, and where nothing was found."""
    if job.result.curve:
        return None
    rates = matrix(job.pairs)
    rates = rates[~np.isnan(rates).any(axis=1)]
    known = spread(rates)
    if known.variances is None or known.error == 0:
        return None
    many = round(job.metrics.get("n_found", job.metrics["n_searched"]) / len(rates))
    return planned(known.variances, Models(*rates.shape), sampling=job.sampling, counterfactuals=many)


def plans(names: Sequence[str], jobs: Sequence[Job]) -> list[list[str]]:
    """Return a row for each job that has a plan: its name, half-widths, and the models for what is wanted."""
    rows = []
    for name, job in zip(names, jobs, strict=True):
        if (plan := plan_of(job)) is not None:
            widths = (plan.half_width, plan.one_more_base, plan.one_more_reference, plan.more_counterfactuals)
            needed = f"{plan.models.bases} × {plan.models.references}" if plan.models else "more than 2,000"
            rows.append([name, *("—" if width is None else f"±{width:.3f}" for width in widths), needed])
    return rows
