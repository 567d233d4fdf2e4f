"""How many models the interval of a job's rate needs, and what more of each kind would buy."""

from collections.abc import Sequence

from cftransfer.columns import matrix
from cftransfer.jobs.read import Job
from cftransfer.measuring.planning import MORE, plan_of
from cftransfer.report.panels import last

HEADS = ("interval now", "one more base", "one more reference", f"{MORE:,} more counterfactuals")


def plans(names: Sequence[str], jobs: Sequence[Job]) -> list[list[str]]:
    """Return a row for each job that has a plan: its name, half-widths, the models for what is wanted, their time."""
    rows = []
    for name, job in zip(names, jobs, strict=True):
        took = job.seconds
        if (plan := plan_of(matrix(last(job.pairs)), job.sampling, seconds=took.each())) is not None:
            plan = plan.timed(took)
            widths = (plan.half_width, plan.one_more_base, plan.one_more_reference, plan.more_counterfactuals)
            needed = f"{plan.models.bases} × {plan.models.references}" if plan.models else "more than 2,000"
            time = f"{plan.seconds:,.0f} s" if plan.seconds is not None else plan.about_time or "—"
            rows.append([name, *("—" if width is None else f"±{width:.3f}" for width in widths), needed, time])
    return rows
