"""Search counterfactuals on base models, and measure how many of them reference models agree with.

python transfer.py                          COMPAS, 5 base and 10 reference models of 4 layers
python transfer.py -m model.layers=2,4,8    the same at three depths, and a report
"""

import hydra
from omegaconf import DictConfig

from cftransfer import command


@hydra.main(config_path="conf", config_name="transfer", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Run one job; return its transferability rate, NaN if nothing was found, for sweepers that optimise it."""
    from cftransfer import finished
    from cftransfer.tracking.sync import catch_up

    if (rate := finished.value(cfg, "rate")) is not None:
        catch_up(cfg)
        return rate
    from cftransfer import experiment, tracking

    with tracking.logged_failure():
        plan = experiment.plan(cfg)
        if (rate := finished.value(cfg, "rate", version=plan.dataset.version)) is not None:
            catch_up(cfg)
            return rate
        with tracking.wandb_run(cfg) as tracked:
            result = experiment.run(plan)
            tracking.finish(cfg, tracked, result, history=result.curve)
    return result.metrics["rate"]


if __name__ == "__main__":
    command.run(main)
