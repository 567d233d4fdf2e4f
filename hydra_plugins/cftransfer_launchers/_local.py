"""hydra/launcher=local: the jobs of a sweep in processes on this machine."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalLauncher(Launcher):
    """Hands a sweep to `cftransfer.commands.local_sweep`; conf/hydra/launcher/local.yaml has the settings."""

    def __init__(self, processes: Any, memory_gb: Any) -> None:
        self.processes, self.memory_gb = processes, memory_gb

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Check the settings; Hydra calls this before a sweep."""
        from cftransfer.commands.local_sweep import check

        check(config.hydra)
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs of a sweep, called by Hydra; a job without a result returns NaN, so that the sweep goes on."""
        from cftransfer.commands.local_sweep import run_sweep

        return run_sweep(
            job_overrides,
            first=initial_job_idx,
            config=self.config,
            context=self.hydra_context,
            task=self.task_function,
            processes=self.processes,
            memory_gb=self.memory_gb,
        )
