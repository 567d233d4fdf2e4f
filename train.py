"""Put one population in the store: to look at a model, or to warm the store before a parallel sweep.

python train.py                                        one base model
python train.py population.pool=reference population.size=10
"""

import hydra
from omegaconf import DictConfig

from cftransfer import command


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Train or fetch the population; return its mean accuracy on the test split."""
    from cftransfer import finished
    from cftransfer.tracking.sync import catch_up

    if (accuracy := finished.value(cfg, "test_accuracy")) is not None:
        catch_up(cfg)
        return accuracy
    from cftransfer import experiment, tracking

    with tracking.logged_failure():
        train = experiment.population(cfg)
        with tracking.wandb_run(cfg) as tracked:
            result = train()
            tracking.finish(cfg, tracked, result, history=tracking.mean_curve(result.tables["curves"]))
    return result.metrics["test_accuracy"]


if __name__ == "__main__":
    command.run(main)
