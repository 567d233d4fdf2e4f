"""`python train.py`, `cftransfer train`: the models of one pool, into the store."""

import hydra
from omegaconf import DictConfig

from cftransfer.commands.job import Job, job
from cftransfer.commands.runner import run_command


@hydra.main(config_path="pkg://cftransfer.conf", config_name="train", version_base="1.3")
@job(metric="test_accuracy")
def main(cfg: DictConfig, job: Job) -> None:
    """Train the models of a pool, or find them in the store."""
    from cftransfer.commands import experiment
    from cftransfer.commands.plan import plan_training

    planned = plan_training(cfg)
    job.begin(planned.dataset.version)
    job.finish(experiment.train(planned))


def command() -> None:
    """Run train.py to its end."""
    run_command(main)
