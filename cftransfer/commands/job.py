"""The parts of a job besides its science: its folder, an earlier result, its log, its W&B run.

Nothing heavy is imported here, so that --help is instant.
"""

import functools
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from cftransfer.errors import LOGGED, InputError
from cftransfer.jobs.provenance import RunningJob, code, shown

if TYPE_CHECKING:
    from cftransfer.jobs.write import JobResult

log = logging.getLogger(__name__)

NO_MEMORY = re.compile("(?i)allocate memory|out of memory|storage size calculation overflowed")  # in torch's messages
# Groups that replace a whole part of the reference, by the place where they are put.
REPLACED = tuple(f"{part}@reference.{part}" for part in ("model", "rows", "perturbation"))
GROUPS = ("experiment", "dataset", "model", "training", "rows", "counterfactual", *REPLACED)


def running_job(cfg: DictConfig, *, resolve: bool = True) -> RunningJob:
    """Return the running job as Hydra knows it."""
    hydra = HydraConfig.get()
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=resolve)  # type: ignore[assignment]
    folder, chosen = Path(hydra.runtime.output_dir), hydra.runtime.choices
    # The key of an option is its group, or the place where it is put (model@reference.model).
    choices = {name.rpartition("@")[2]: chosen[name] for name in GROUPS if name in chosen}
    sweep = Path(hydra.sweep.dir) if hydra.mode == RunMode.MULTIRUN else folder.parent
    in_sweep = hydra.mode == RunMode.MULTIRUN or (sweep / "multirun.yaml").exists()
    typed: list[str] = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # type: ignore[assignment]
    return RunningJob(folder, config, choices, typed, shown(sweep.absolute()).as_posix() if in_sweep else None)


class Job:
    """A running job: `begin` it once its settings are checked, `finish` it with its result."""

    def __init__(self, cfg: DictConfig, metric: str, stack: ExitStack) -> None:
        self.cfg, self.metric, self._stack = cfg, metric, stack
        self.value: float | None = None

    @property
    def typed(self) -> set[str]:
        """The names of the settings given by the user or the sweep."""
        words: list[str] = OmegaConf.to_container(HydraConfig.get().overrides.task)  # type: ignore[assignment]  # formulas stay
        return {word.lstrip("+~").partition("=")[0] for word in words}

    def begin(self, version: str) -> None:
        """End the job here if its folder has its result for data of this version; open its W&B run if not."""
        from cftransfer.jobs.resume import earlier_metric
        from cftransfer.tracking import opened

        self._running = running_job(self.cfg)
        code()  # read now, since edits and commits during the job do not change the running code
        if (earlier := earlier_metric(self._running, self.metric, version=version)) is not None:
            raise _AlreadyDone(earlier)
        self._run = self._stack.enter_context(opened(self._running))

    def finish(self, result: "JobResult") -> None:
        """Write the result into the job's folder, then publish it."""
        from cftransfer.jobs.write import write
        from cftransfer.tracking import id_of, publish_job

        write(self._running, result, wandb=id_of(self._running))
        publish_job(self._running, self._run)
        self.value = result.metrics[self.metric]


class _AlreadyDone(Exception):  # noqa: N818  (not an error)
    """The job's folder has its result."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value


def job(*, metric: str, models: str) -> Callable[[Callable[[DictConfig, Job], None]], Callable[[DictConfig], float]]:
    """Decorate a job's body; the job then returns `metric` for optimising sweepers, NaN if nothing was found.

    models: the group of settings with the numbers of models.
    """

    def decorate(body: Callable[[DictConfig, Job], None]) -> Callable[[DictConfig], float]:
        @functools.wraps(body)
        def main(cfg: DictConfig) -> float:
            from cftransfer.commands.first_checks import check_names, check_settings
            from cftransfer.jobs.own_files import claim
            from cftransfer.jobs.resume import earlier_metric
            from cftransfer.tracking import catch_up

            with logged_failure(), ExitStack() as stack:
                check_names(cfg)
                claim(Path(HydraConfig.get().runtime.output_dir))
                # First, so that a result of other settings is set aside even if this job's settings are wrong.
                if (value := earlier_metric(_as_typed(cfg), metric)) is None:
                    check_settings(cfg, models=models)
                    running = Job(cfg, metric, stack)
                    try:
                        body(cfg, running)
                    except _AlreadyDone as done:
                        value = done.value
                    else:
                        assert running.value is not None
                        return running.value
                catch_up(running_job(cfg))
                return value

        return main

    return decorate


def _as_typed(cfg: DictConfig) -> RunningJob:
    """Return the job, unresolved if a formula cannot be looked up: the body then fails, and there is no result."""
    try:
        return running_job(cfg)
    except OmegaConfBaseException:
        return running_job(cfg, resolve=False)


@contextmanager
def logged_failure() -> Iterator[None]:
    """Log a job's failure before the job ends: Hydra shows only a sweep's first failure, and only at the sweep's end.

    A user's mistake is one line (and a traceback with hydra.verbose=true). A single job exits at once, before Hydra
    adds lines of its own; a sweep goes on.
    """
    try:
        with _formulas_named(), _memory_named():
            yield
    except InputError as error:
        log.error("failed: %s", error, exc_info=log.isEnabledFor(logging.DEBUG))
        _end_single_job()
        raise
    except KeyboardInterrupt:
        log.error("interrupted; the same command goes on where this one ended")
        sys.exit(130)
    except Exception as error:
        log.exception("failed")
        error.add_note(LOGGED)
        _end_single_job()
        raise


@contextmanager
def _formulas_named() -> Iterator[None]:
    """Raise an InputError for a setting that is missing, or has a formula that cannot be looked up."""
    try:
        yield
    except OmegaConfBaseException as error:
        key, reason = error.full_key or "the config", str(error).partition("\n")[0].rstrip(".")
        if isinstance(error, ConfigKeyError | ConfigAttributeError):
            raise InputError(
                f"{key}: is missing ({reason}); leave out the word that removes it, such as ~{key}"
            ) from error
        raise InputError(f"{key}: cannot be looked up ({reason}); fix its formula, or give a value") from error


@contextmanager
def _memory_named() -> Iterator[None]:
    """Raise an InputError that names the largest numbers typed if memory did not suffice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not NO_MEMORY.search(str(error)):
            raise
        typed: list[str] = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # type: ignore[assignment]
        numbers = {word: int(number) for word in typed if (number := word.partition("=")[2]).isdecimal()}
        largest = sorted(numbers, key=lambda word: -numbers[word])[:3]
        reason = " ".join(str(error).split()) or "no more was available"
        raise InputError(
            f"{', '.join(largest) or 'this job'}: needs more memory than there is ({reason}); use smaller numbers"
        ) from error


def _end_single_job() -> None:
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        sys.exit(1)
