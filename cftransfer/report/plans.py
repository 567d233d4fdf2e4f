"""How many models the interval of a job's rate needs, and how much more models of each kind would help."""

from collections.abc import Sequence

from cftransfer.columns import matrix
from cftransfer.jobs.read import Job
from cftransfer.measuring.models_needed import MOST_SPLITS
from cftransfer.measuring.planning import MORE, plan_of
from cftransfer.report.panels import last

HEADS = ("interval now", "one more base", "one more reference", f"{MORE:,} more counterfactuals")
SPLIT_HEAD = "one more split"  # if a job has several


def heads(jobs: Sequence[Job]) -> tuple[str, ...]:
    """Return the heads of the half-widths in `plans`."""
    return (*HEADS, SPLIT_HEAD) if _any_of_splits(jobs) else HEADS


def plans(names: Sequence[str], jobs: Sequence[Job]) -> list[list[str]]:
    """Return a row for each job that has a plan: its name, half-widths, the models needed, and their time."""
    rows = []
    for name, job in zip(names, jobs, strict=True):
        took = job.seconds
        if (plan := plan_of(matrix(last(job.pairs)), job.sampling, seconds=took.each())) is not None:
            if plan.one_more_split is None:
                plan = plan.timed(took)
            widths = [plan.half_width, plan.one_more_base, plan.one_more_reference, plan.more_counterfactuals]
            widths += [plan.one_more_split] * _any_of_splits(jobs)
            needed = f"{plan.models.bases} × {plan.models.references}" if plan.models else "more than 2,000"
            if plan.one_more_split is not None:
                needed = f"{plan.splits or f'more than {MOST_SPLITS}'} splits of {needed}"
            time = f"{plan.seconds:,.0f} s" if plan.seconds is not None else plan.about_time or "—"
            rows.append([name, *("—" if width is None else f"±{width:.3f}" for width in widths), needed, time])
    return rows


def _any_of_splits(jobs: Sequence[Job]) -> bool:
    return any("splits" in job.metrics for job in jobs)
