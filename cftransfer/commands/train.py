"""`python train.py`, `cftransfer train`: train the models of one pool into the store, and export them."""

import hydra
from omegaconf import DictConfig

from cftransfer.commands.job import Job, job, logged_failure
from cftransfer.commands.runner import run_command


@hydra.main(config_path="pkg://cftransfer.conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Train the models of a pool unless the store has them; then export them if `export` is set."""
    accuracy = _train(cfg)
    with logged_failure():
        if cfg.export is not None:  # also if the job already has its result
            _export(cfg)
    return accuracy


@job(metric="test_accuracy", models="population")
def _train(cfg: DictConfig, job: Job) -> None:
    from cftransfer.commands import experiment
    from cftransfer.commands.plan import plan_training

    planned = plan_training(cfg)
    job.begin(planned.dataset.version)
    job.finish(experiment.train(planned))


def _export(cfg: DictConfig) -> None:
    from cftransfer.commands import experiment
    from cftransfer.commands.plan import plan_training

    experiment.export(plan_training(cfg))


def command() -> None:
    """Run train.py."""
    run_command(main)
