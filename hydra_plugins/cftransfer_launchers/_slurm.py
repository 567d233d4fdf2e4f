"""hydra/launcher=slurm: Hydra's submitit launcher, with several jobs in one task of the job array."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as OneJobPerTask
from omegaconf import DictConfig

BETWEEN = ";"  # separates the words of two jobs of a task; no override consists of it


@dataclass
class SlurmSettings(SlurmQueueConf):
    """The submitit launcher's settings and ours; Hydra checks their types."""

    _target_: str = f"{__name__}.SlurmLauncher"
    jobs_per_task: int = 1


ConfigStore.instance().store(
    group="hydra/launcher", name="cftransfer_slurm", node=SlurmSettings(), provider="cftransfer"
)


class SlurmLauncher(OneJobPerTask):
    """Submits tasks of `jobs_per_task` jobs each, which run one after the other.

    When submitit requeues a task, it calls the task again with the same jobs; jobs with a result end at once.
    """

    def __init__(self, jobs_per_task: int, **params: Any) -> None:
        super().__init__(**params)
        self.jobs_per_task = jobs_per_task

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Check the settings; Hydra calls this before a sweep."""
        from cftransfer.commands.slurm import check

        check(config.hydra.launcher)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit the jobs of a sweep, called by Hydra; return when all tasks have ended."""
        from cftransfer.commands.composition import compose_as_hydra_does
        from cftransfer.commands.runner import OutputFolder

        compose_as_hydra_does(self.hydra_context.config_loader)  # submitit pickles the loader
        self.first, size = initial_job_idx, self.jobs_per_task
        chunks = [job_overrides[begin : begin + size] for begin in range(0, len(job_overrides), size)]
        answers: Any = super().launch([_joined(chunk) for chunk in chunks], 0)
        done = [job for task in answers for job in task]
        for job in done:
            OutputFolder.note_failure(job.hydra_cfg, job)
        return done

    def __call__(self, sweep_overrides: list[str], job_dir_key: str, job_num: int, *more: Any) -> list[JobReturn]:
        """Run the jobs of task number `job_num`, on its node; a job that fails does not stop the next one."""
        from cftransfer.commands import composition
        from cftransfer.commands.slurm import answer_signals

        answer_signals()
        task, jobs = copy.copy(self), _split(sweep_overrides)  # a copy: submitit pickles this object for a requeue
        if len(jobs) > 1 and composition.POSSIBLE:
            loader = copy.copy(self.hydra_context.config_loader)
            composition.compose_once_per_choice(loader)
            task.hydra_context = HydraContext(config_loader=loader, callbacks=self.hydra_context.callbacks)
        first = self.first + job_num * self.jobs_per_task
        return [OneJobPerTask.__call__(task, job, job_dir_key, first + n, *more) for n, job in enumerate(jobs)]


def _joined(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Return the words of several jobs as one list, the form that the submitit launcher takes and logs."""
    return [word for job in jobs for word in (BETWEEN, *job)][1:]


def _split(words: list[str]) -> list[list[str]]:
    ends = [place for place, word in enumerate(words) if word == BETWEEN]
    return [words[begin:end] for begin, end in zip([0, *(end + 1 for end in ends)], [*ends, len(words)], strict=True)]
