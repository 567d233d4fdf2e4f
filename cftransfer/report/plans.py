"""How many models the interval of a job's rate needs, and how much more models of each kind would help."""

from collections.abc import Sequence

from cftransfer.columns import matrix
from cftransfer.jobs.read import Job
from cftransfer.measuring.planning import MORE, Plan, plan_of
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
            if not plan.over_splits:
                plan = plan.timed(took)
            widths = [plan.half_width, plan.one_more_base, plan.one_more_reference, plan.more_counterfactuals]
            widths += [plan.one_more_split] * _any_of_splits(jobs)
            time = f"{plan.seconds:,.0f} s" if plan.seconds is not None else plan.about_time or "—"
            rows.append([name, *("—" if width is None else f"±{width:.3f}" for width in widths), _needed(plan), time])
    return rows


def _needed(plan: Plan) -> str:
    if plan.models is None:
        return "more than 2,000"
    bases, references = plan.models
    many = f"{bases} bases, one reference each" if references == 1 else f"{bases} × {references}"
    return f"{plan.splits} splits of {many}" if plan.splits else many


def _any_of_splits(jobs: Sequence[Job]) -> bool:
    return any("splits" in job.metrics for job in jobs)
