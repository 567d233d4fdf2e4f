"""The tables of docs/methods.md: the cost of a counterfactual that transfers, a row per search method and strength.

python transfer.py sweep=methods execution.sigma=0.05 hydra.sweep.dir=multirun/methods
python benchmarks/methods.py multirun/methods      half an hour of jobs for COMPAS and ACS Employment, then a second

Jobs are read from their folders; those that found nothing are named below the table.
"""

import sys
from pathlib import Path
from typing import Any

from cftransfer.jobs.read import Job
from cftransfer.measuring.interval_ends import interval_ends
from cftransfer.report.collect import jobs
from cftransfer.report.frontier import method

SHORT = {"confidence": "p", "radius": "ε", "stability": "τ", "models": "k", "delta": "δ"}
SHORT |= {"invalidation": "r", "loss_share": "ε", "agree": "q"}
DIAL = {"gradient": ["confidence"], "sns": ["radius"], "trex": ["stability"], "ensemble": ["models", "agree"]}
DIAL |= {"robx": ["stability"], "roar": ["delta"], "probe": ["invalidation"], "betarce": ["delta"]}
DIAL |= {"ellice": ["loss_share"]}
HEADS = ["search", "found", "L2", "rate", "before projection: L2, rate", "5 nearest: L2", "of the class", "LOF"]
HEADS += ["lost on the base"]


def main() -> None:
    """Print a table for every data set, in the order of distance."""
    every = jobs([Path(folder) for folder in sys.argv[1:]]).jobs
    for dataset in dict.fromkeys(str(job.settings["dataset"]) for job in every):
        some = [job for job in every if job.settings["dataset"] == dataset]
        found = sorted((job for job in some if job.metrics["rate"] is not None), key=lambda j: j.metrics["distance_l2"])
        print(f"\n{dataset}\n\n| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
        for job in found:
            print(f"| {' | '.join(row(job))} |")
        nothing = ", ".join(name(job) for job in some if job not in found)
        print(f"\nnothing found: {nothing}" if nothing else "")


def row(job: Job) -> list[str]:
    """Return the cells of a job."""
    of = job.metrics
    ends = " to ".join(end.removeprefix("0") for end in interval_ends(of["rate_low"], of["rate_high"], 2))
    before = f"{short(of['distance_l2_relaxed'])}, {short(of['rate_relaxed'], 2)}" if "rate_relaxed" in of else ""
    rest = [short(of["knn_distance"]), short(of["knn_share"], 2), f"{of['lof']:.2f}", short(of["invalidation_base"], 2)]
    rate = f"{short(of['rate'], 2)} ({ends})"
    return [name(job), f"{of['found']:.3f}", short(of["distance_l2"]), rate, before, *rest]


def name(job: Job) -> str:
    """Return the method with its strength, as in `sns`, ε = .1."""
    settings = job.result.config["counterfactual"]
    dials = [(dial, settings[dial]) for dial in DIAL.get(method(job), [])]
    dials = [(dial, value) for dial, value in dials if (dial, value) != ("agree", 1)]
    return ", ".join(
        [f"`{method(job)}`", *(f"{SHORT[dial]} = {str(value).removeprefix('0')}" for dial, value in dials)]
    )


def short(value: Any, digits: int = 3) -> str:
    """Return a number as it is written in running text: .59."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("0")


if __name__ == "__main__":
    main()
