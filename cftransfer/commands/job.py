"""What a job needs besides its science: its folder, an earlier result, its log, its W&B run."""

import functools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from cftransfer.errors import LOGGED, InputError
from cftransfer.jobs import resume

if TYPE_CHECKING:
    from cftransfer.jobs.write import JobResult

log = logging.getLogger(__name__)


class Job:
    """A job that runs: `begin` it once its settings are checked, `finish` it with its result."""

    def __init__(self, cfg: DictConfig, metric: str, stack: ExitStack) -> None:
        self.cfg, self.metric, self._stack = cfg, metric, stack
        self.value: float | None = None

    @property
    def typed(self) -> set[str]:
        """The names of the settings that the user, or the sweep, has given."""
        words: list[str] = OmegaConf.to_container(HydraConfig.get().overrides.task)  # type: ignore[assignment]  # formulas stay
        return {word.lstrip("+~").partition("=")[0] for word in words}

    def begin(self, version: str) -> None:
        """Leave the job here if its folder has its result, of the same data; else open its W&B run."""
        from cftransfer import tracking

        if (earlier := resume.earlier_metric(self.cfg, self.metric, version=version)) is not None:
            raise _AlreadyDone(earlier)
        self._tracked = self._stack.enter_context(tracking.wandb_run(self.cfg))

    def finish(self, result: "JobResult") -> None:
        """Write the result into the job's folder, then publish it."""
        from cftransfer.jobs.write import finish

        history = result.curve
        if history is None and self.metric != "rate":
            from cftransfer.tracking import mean_curve

            history = mean_curve(result.tables["curves"])
        finish(self.cfg, self._tracked, result, history=history)
        self.value = result.metrics[self.metric]


class _AlreadyDone(Exception):  # noqa: N818  (no error)
    """The job's folder has its result."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value


def job(*, metric: str) -> Callable[[Callable[[DictConfig, Job], None]], Callable[[DictConfig], float]]:
    """Decorate what a job does; it then returns `metric`, NaN if nothing was found, for sweepers that optimise it."""

    def decorate(body: Callable[[DictConfig, Job], None]) -> Callable[[DictConfig], float]:
        @functools.wraps(body)
        def main(cfg: DictConfig) -> float:
            if (value := resume.earlier_metric(cfg, metric)) is not None:
                _catch_up(cfg)
                return value
            with logged_failure(), ExitStack() as stack:
                running = Job(cfg, metric, stack)
                try:
                    body(cfg, running)
                except _AlreadyDone as done:
                    _catch_up(cfg)
                    return done.value
            assert running.value is not None
            return running.value

        return main

    return decorate


def _catch_up(cfg: DictConfig) -> None:
    from cftransfer.tracking.sync import catch_up

    catch_up(cfg)


@contextmanager
def logged_failure() -> Iterator[None]:
    """Log what ends the job before it ends: Hydra shows only a sweep's first failure, and only at its end.

    A mistake of the user is one line (and a traceback with hydra.verbose=true). A single job ends here and now, before
    Hydra adds lines of its own; a sweep goes on.
    """
    try:
        with _formulas_named():
            yield
    except InputError as error:
        log.error("failed: %s", error, exc_info=log.isEnabledFor(logging.DEBUG))
        _end_single_job()
        raise
    except KeyboardInterrupt:
        log.error("interrupted; the same command goes on where this one ended")
        sys.exit(130)
    except _AlreadyDone:
        raise
    except Exception as error:
        log.exception("failed")
        error.add_note(LOGGED)
        _end_single_job()
        raise


@contextmanager
def _formulas_named() -> Iterator[None]:
    """Raise an InputError for a setting that is not there, or whose formula leads nowhere."""
    try:
        yield
    except OmegaConfBaseException as error:
        key, reason = error.full_key or "the config", str(error).partition("\n")[0].rstrip(".")
        if isinstance(error, ConfigKeyError | ConfigAttributeError):
            raise InputError(f"{key}: is missing ({reason}); leave out what removes it, as ~{key}") from error
        raise InputError(f"{key}: cannot be looked up ({reason}); mend its formula, or give a value") from error


def _end_single_job() -> None:
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        sys.exit(1)
