"""How many models the interval of a job's rate needs, and what more of each kind would buy."""

from collections.abc import Sequence

from cftransfer.columns import matrix
from cftransfer.jobs.read import Job
from cftransfer.measuring.models_needed import MOST_SPLITS
from cftransfer.measuring.planning import MORE, plan_of
from cftransfer.report.panels import last

HEADS = ("interval now", "one more split", "one more base", "one more reference", f"{MORE:,} more counterfactuals")


def plans(names: Sequence[str], jobs: Sequence[Job]) -> list[list[str]]:
    """Return a row for each job that has a plan: its name, half-widths, and the models for what is wanted."""
    rows = []
    for name, job in zip(names, jobs, strict=True):
        if (plan := plan_of(matrix(last(job.pairs)), job.sampling)) is not None:
            widths = (
                plan.half_width,
                plan.one_more_split,
                plan.one_more_base,
                plan.one_more_reference,
                plan.more_counterfactuals,
            )
            needed = f"{plan.models.bases} × {plan.models.references}" if plan.models else "more than 2,000"
            if plan.one_more_split is not None:
                each = needed
                needed = f"{plan.splits or f'more than {MOST_SPLITS}'} splits of {each}"
            rows.append([name, *("—" if width is None else f"±{width:.3f}" for width in widths), needed])
    return rows
