"""What the commands share: one line for every mistake of the user, and a report at the end.

Nothing heavy is imported here, so that --help and tab completion answer at once.
"""

import difflib
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

import cftransfer.commands.resolvers  # noqa: F401  (registers the functions that configs call)
from cftransfer import cores
from cftransfer.commands.secrets import check_words
from cftransfer.errors import LOGGED, InputError, plain, print_in_any_encoding, refuse

FULL_ERROR = "HYDRA_FULL_ERROR"


class OutputFolder(Callback):
    """Remembers the folder of the jobs for `run_command`: Hydra makes the callback and tells the folder to it alone."""

    last: ClassVar["OutputFolder | None"] = None  # of this process; None after --help
    path: Path
    sweep: bool
    rated: bool  # whether its jobs have a rate to report on; those of train.py have none

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra calls this before a single job."""
        self._remember(config, config.hydra.run.dir, sweep=False)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra calls this before the first job of a sweep."""
        subdir = str(OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"])  # type: ignore[index, call-overload]
        if Path(subdir).is_absolute() or ".." in Path(subdir).parts:
            refuse(f"hydra.sweep.subdir={subdir}: leads out of the sweep's folder, where its jobs are looked for")
        many = config.hydra.sweeper.get("max_batch_size")
        if many is not None and many < 1:
            refuse(f"hydra.sweeper.max_batch_size={many}: takes a whole number ≥ 1, the jobs at a time")
        tasks = OmegaConf.to_container(config.hydra.overrides, resolve=False)["task"]  # type: ignore[index, call-overload]
        for word in tasks:
            if word.startswith("sweep=") and "," in word:
                refuse(f"{word}: takes one named sweep; give the command once for each")
        if (subdir := config.hydra.output_subdir) != ".hydra":
            refuse(f"hydra.output_subdir={subdir}: a job that fails is found by its .hydra; leave this setting out")
        with read_write(config.hydra), open_dict(config.hydra):  # for multirun.yaml, where reports look
            config.hydra.callbacks.output.jobs = _jobs_of(config.hydra)
        self._remember(config, config.hydra.sweep.dir, sweep=True)

    def _remember(self, config: DictConfig, path: str, *, sweep: bool) -> None:
        self.path, self.sweep, self.rated = Path(path), sweep, "counterfactual" in config
        OutputFolder.last = self

    def lost(self) -> list[Path]:
        """Return the folders of jobs that have begun and have no result."""
        jobs = sorted(path.parent.parent for path in self.path.rglob(".hydra/overrides.yaml"))
        return [job for job in jobs if not (job / "result.json").exists()]


def _jobs_of(settings: DictConfig) -> int | None:
    """Return how many jobs Hydra's own sweeper makes of what was typed and of conf/sweep; None if that is not known."""
    if not str(settings.sweeper._target_).endswith(".BasicSweeper"):
        return None
    plain_settings: Any = OmegaConf.to_container(settings, resolve=False)
    words = [f"{name}={values}" for name, values in (plain_settings["sweeper"].get("params") or {}).items()]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    try:
        overrides = parser.parse_overrides([*words, *plain_settings["overrides"]["task"]])
        values = {o.get_key_element(): len(list(o.sweep_string_iterator())) for o in overrides if o.is_sweep_override()}
    except HydraException:  # as Hydra itself will say
        return None
    return math.prod(values.values())


def run_command(main: Callable[[], Any]) -> None:
    """Run a Hydra command to its end, report on what its jobs have done, and exit with 1 if either failed.

    A mistake of the user ends in one line on stderr; with HYDRA_FULL_ERROR=1 it keeps its traceback.
    """
    cores.wait_passively()
    print_in_any_encoding()
    full = os.environ.get(FULL_ERROR) == "1"
    if not _succeeds(lambda: check_words(sys.argv[1:]), full=full):
        sys.exit(1)
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))  # else only first or last
    os.environ[FULL_ERROR] = "1"  # else Hydra prints an error of its own, over many lines, and exits
    succeeded = _succeeds(main, full=full)
    reported = _succeeds(lambda: _report(expected=succeeded), full=full)
    sys.exit(0 if succeeded and reported else 1)


def _succeeds(action: Callable[[], Any], *, full: bool) -> bool:
    try:
        return action() is not False
    except BrokenPipeError:  # the reader of a pipe has seen enough, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:  # before a job has begun, or a second time
        print(f"{Path(sys.argv[0]).name}: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        line = one_line(error)
        if LOGGED in getattr(error, "__notes__", []):
            line = line or f"{type(error).__name__}: {_joined(error)} ({LOGGED})"
        if full or line is None:
            traceback.print_exception(error)
        else:
            print(plain(f"{Path(sys.argv[0]).name}: {line}"), file=sys.stderr)
        return False


def _report(*, expected: bool) -> bool:
    """Report on jobs of which at least one has a rate; else name those that failed, unless that has been said.

    Returns whether every job that has begun has a result. Raises InputError for a sweep that went well because it had
    no jobs.

    expected: whether Hydra has ended well, as it does where a launcher lets jobs fail.
    """
    if (output := OutputFolder.last) is None:
        return True
    results, lost = any(output.path.rglob("result.json")), output.lost()
    if results and output.rated:
        from cftransfer.report import report
        from cftransfer.tracking import publish_report

        report([output.path], then=partial(publish_report, output.path) if output.sweep else None)
    elif expected and lost:
        from cftransfer.jobs.read import why_failed

        for job in lost:
            print(plain(f"{job}: {why_failed(job) or 'ended without a word'}"), file=sys.stderr)
    elif expected and not results:
        raise InputError("no job was run: what was swept over has no values, as a glob(…) that matches no option")
    return not lost


def one_line(error: BaseException) -> str | None:  # noqa: PLR0911  (one for each kind of mistake)
    """Return what the user did wrong and the way out, in one line; None if it is no mistake of the user's."""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as key=value ({_joined(error)})"
    for cause in _causes(error):
        if isinstance(cause, InputError):
            return str(cause)
        if isinstance(cause, MissingConfigException):
            if "hydra/launcher/submitit_" in str(cause):
                install = "pip install 'cftransfer[slurm]', or in a clone pip install -e '.[slurm]'"
                return f"hydra/launcher: local and slurm need hydra-submitit-launcher; {install}"
            if cause.options is not None:
                group, _, option = str(cause.missing_cfg_file).rpartition("/")
                return f"{group}={option}: no such option; there are: {', '.join(cause.options)}"
        if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
            return _unknown_key(error, cause)
        if type(cause).__module__.startswith("submitit."):  # whose exceptions are there only where it is installed
            return _unfinished(cause)
        if isinstance(cause, OSError) and cause.strerror:
            way_out = "choose a place that can be written, as with hydra.run.dir or hydra.sweep.dir, and run again"
            return f"{cause.filename or 'system'}: {cause.strerror}; {way_out}"
    if "Config group override must be" in str(error):  # Hydra's plain ValueError for model=null, model=3
        return f"{_bad_choice()}: must name one option of conf, as in model=mlp"
    return _joined(error) if isinstance(error, HydraException | OmegaConfBaseException) else None


def _bad_choice() -> str:
    """Return the word of the command that chooses a number or nothing where an option's name belongs."""
    groups = {path.name for path in files("cftransfer.conf").iterdir() if path.is_dir()}
    chosen = [word for word in sys.argv[1:] if word.partition("=")[0].lstrip("+") in groups]
    wrong = [word for word in chosen if re.fullmatch(r"null|true|false|[-+]?[\d.]+", word.partition("=")[2], re.I)]
    return (wrong or ["a choice"])[0]


def _unfinished(error: BaseException) -> str:
    """Say in one line that SLURM did not take the jobs, or that one of them ended without an answer."""
    if type(error).__name__ != "UncompletedJobError":
        return f"the jobs could not be submitted, or one broke off: {_joined(error)}"
    first = re.split(r"(No )?error stream", str(error), flags=re.IGNORECASE)[0].splitlines()  # then all it has said
    place = as_value(OutputFolder.last.path) if OutputFolder.last else "…"
    again = f"once no job of this sweep is queued, run the same command again with hydra.sweep.dir={place}"
    return f"{' '.join(' '.join(first).split())}: cancelled, lost, or out of time too often; others go on; {again}"


def as_value(path: Path) -> str:
    """Return a path as Hydra reads it in a word: quoted if it has more than letters, digits and `._/-`."""
    text = str(path)
    if re.fullmatch(r"[\w./-]+", text, re.ASCII):
        return text
    # A backslash stands for itself, except before a character that it would escape.
    quoted = re.sub(r"(\\*)('|\$\{|$)", lambda match: 2 * match[1] + (f"\\{match[2]}" if match[2] else ""), text)
    return f"'{quoted}'"


def _unknown_key(error: BaseException, cause: OmegaConfBaseException) -> str:
    override = re.search(r"Could not override '([^']+)'", str(error))
    key = str(cause.full_key)
    if override and not key.startswith(f"{override[1]}."):
        key = override[1]
    if "not in struct" not in str(cause):
        return f"{key}: {_joined(cause)}"
    known = [str(name) for name in cause.parent_node if name != "_target_"]
    parent, _, name = str(cause.full_key).rpartition(".")
    close = difflib.get_close_matches(name, known, n=1)
    if key.startswith("extra_"):
        guess = "an experiment brings it: experiment=more_layers has extra_layers"
    elif homes := _homes(name, cause.parent_node) if not parent else []:
        guess = f"did you mean {' or '.join(homes)}?"
    elif close:
        guess = f"did you mean {parent + '.' if parent else ''}{close[0]}?"
    else:
        guess = f"a plus adds it: +{key}=…"
    return f"{key}: no such key; {parent or 'the top level'} has: {', '.join(known)}; {guess}"


def _homes(name: str, config: DictConfig) -> list[str]:
    """Return the settings of that name in the groups of a config."""
    groups = {str(group): config._get_node(group) for group in config}
    return [f"{group}.{name}" for group, node in groups.items() if isinstance(node, DictConfig) and name in node]


def _joined(error: BaseException) -> str:
    return " ".join(str(error).split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
