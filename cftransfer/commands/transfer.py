"""`python transfer.py`, `cftransfer transfer`: one job, or a sweep of them."""

import hydra
from omegaconf import DictConfig

from cftransfer.commands.job import Job, job
from cftransfer.commands.runner import run_command


@hydra.main(config_path="pkg://cftransfer.conf", config_name="transfer", version_base="1.3")
@job(metric="rate", models="replicates")
def main(cfg: DictConfig, job: Job) -> None:
    """Search counterfactuals on the bases, try them on the references, and measure how many transfer."""
    from cftransfer.commands import experiment
    from cftransfer.commands.plan import plan

    planned = plan(cfg, typed=job.typed)
    job.begin(planned.version)
    job.finish(experiment.run(planned))


def command() -> None:
    """Run transfer.py: the jobs, then a report on them."""
    run_command(main)
