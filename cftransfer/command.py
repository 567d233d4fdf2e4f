"""What the commands share: one line for every mistake of the user, and a report at the end of a sweep.

Nothing heavy is imported here, so that --help and tab completion answer at once.
"""

import difflib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import cftransfer.spec  # noqa: F401  (registers the resolvers that configs use)
from cftransfer.errors import InputError

FULL_ERROR = "HYDRA_FULL_ERROR"


class SweepFolder(Callback):
    """Remembers where a sweep lands; Hydra tells nobody else."""

    folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra calls this before the first job."""
        type(self).folder = Path(config.hydra.sweep.dir)


def run(main: Callable[[], Any]) -> None:
    """Run a Hydra command to its end, report on its sweep, and exit.

    A mistake of the user ends in one line on stderr and status 1. With HYDRA_FULL_ERROR=1 it keeps its traceback.
    """
    full = os.environ.get(FULL_ERROR) == "1"
    os.environ[FULL_ERROR] = "1"  # else Hydra prints an error of its own, over many lines, and exits
    try:
        try:
            main()
        finally:
            if SweepFolder.folder is not None:
                from cftransfer.report import report

                report([SweepFolder.folder])
    except (InputError, HydraException, OmegaConfBaseException, OSError) as error:
        line = one_line(error)
        if full or line is None:
            raise
        sys.exit(f"{Path(sys.argv[0]).name}: {line}")


def one_line(error: BaseException) -> str | None:
    """Return what the user did wrong and the way out, in one line; None if it is no mistake of the user's."""
    for cause in _causes(error):
        if isinstance(cause, InputError):
            return str(cause)
        if isinstance(cause, MissingConfigException) and cause.options is not None:
            group, _, option = str(cause.missing_cfg_file).rpartition("/")
            return f"{group}={option}: no such option; there are: {', '.join(cause.options)}"
        if (
            isinstance(cause, OmegaConfBaseException)
            and cause.full_key
            and isinstance(error, ConfigCompositionException)
        ):
            return _unknown_key(cause)
        if isinstance(cause, OSError) and cause.strerror:
            return f"{cause.filename or 'system'}: {cause.strerror}"
    return " ".join(str(error).split()) if isinstance(error, HydraException | OmegaConfBaseException) else None


def _unknown_key(error: OmegaConfBaseException) -> str:
    known = [str(name) for name in error.parent_node] if isinstance(error.parent_node, DictConfig) else []
    parent, _, name = str(error.full_key).rpartition(".")
    close = difflib.get_close_matches(name, known, n=1)
    guess = f"; did you mean {parent + '.' if parent else ''}{close[0]}?" if close else ""
    return f"{error.full_key}: no such key; there are: {', '.join(known)}{guess} (a plus adds one: +{error.full_key}=…)"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
