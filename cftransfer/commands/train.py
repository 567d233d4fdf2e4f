"""`python train.py`, `cftransfer train`: the models of one pool, into the store, and to a folder for others."""

import hydra
from omegaconf import DictConfig

from cftransfer.commands.job import Job, job, logged_failure
from cftransfer.commands.runner import run_command


@hydra.main(config_path="pkg://cftransfer.conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Train the models of a pool, or find them in the store; then export them if the config says so."""
    accuracy = _train(cfg)
    with logged_failure():
        if cfg.export is not None:  # also where the job's folder has its result already
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
    """Run train.py to its end."""
    run_command(main)
