"""A user's mistake → one line that names the key, or the word, and the way out."""

import difflib
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from cftransfer.errors import InputError

# Editors and web pages replace straight signs by these.
DOUBLE, SINGLE, DASHES = "“”„", "‘’‚", "–—−"
STRAIGHT = str.maketrans(DOUBLE + SINGLE, "\"\"\"'''")


def one_line(error: BaseException, *, folder: Path | None = None) -> str | None:  # noqa: PLR0911  (one for each kind)
    """Return a user's mistake and the way out, in one line; None if the error is not a user's mistake.

    folder: of the sweep, if there is one.
    """
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override), error)
    for cause in _causes(error):
        if isinstance(cause, InputError):
            return str(cause)
        if isinstance(cause, MissingConfigException):
            if "hydra/launcher/cftransfer_slurm" in str(cause):
                install = "pip install 'cftransfer[slurm]', or in a clone pip install -e '.[slurm]'"
                return f"hydra/launcher=slurm: needs hydra-submitit-launcher; {install}"
            if cause.options is not None:
                group, _, option = str(cause.missing_cfg_file).rpartition("/")
                return f"{group}={option}: no such option; there are: {', '.join(cause.options)}"
        if isinstance(cause, OmegaConfBaseException) and isinstance(cause.parent_node, DictConfig):
            return _unknown_key(error, cause)
        if type(cause).__module__.startswith("submitit."):  # by name, since it may not be installed
            return _unfinished(cause, folder)
        if isinstance(cause, OSError) and cause.strerror:
            way_out = "choose a place that can be written, as with hydra.run.dir or hydra.sweep.dir, and run again"
            return f"{cause.filename or 'system'}: {cause.strerror}; {way_out}"
    if "Config group override must be" in str(error):  # Hydra's plain ValueError for model=null, model=3
        return f"{_bad_choice()}: must name one option of conf, as in model=mlp"
    if found := re.match(r"Ambiguous value for argument '(([^=]*)=(.*))'$", str(error).partition("\n")[0]):
        return f"{found[1]}: has several values; add -m for a job with each, or type {found[2]}=[{found[3]}] for a list"
    return joined(error) if isinstance(error, HydraException | OmegaConfBaseException) else None


def reason_of(error: BaseException) -> str:
    """Return one line that says why a job ended."""
    return one_line(error) or f"{type(error).__name__}: {joined(error)}"


def joined(error: BaseException) -> str:
    """Return the message of an exception in one line."""
    return " ".join(str(error).split())


def as_value(path: Path) -> str:
    """Return a path in Hydra's spelling: quoted if it has characters other than letters, digits and `._/-`."""
    text = str(path)
    return text if re.fullmatch(r"[\w./-]+", text, re.ASCII) else _quoted(text)


def _quoted(text: str) -> str:
    """Return a text in the double quotes of Hydra's grammar."""
    # A backslash is literal, except before a character that it would escape.
    escaped = re.sub(r'(\\*)("|\$\{|$)', lambda match: 2 * match[1] + (f"\\{match[2]}" if match[2] else ""), text)
    return f'"{escaped}"'


def _unreadable(word: str, error: BaseException) -> str:
    """Return how to type a word that Hydra cannot read: with straight signs, and its value in quotes."""
    if (option := word.lstrip(DASHES)) != word:
        return f"{word}: begins with a sign that is not a hyphen; type {'-' if len(option) == 1 else '--'}{option}"
    key, equals, value = word.translate(STRAIGHT).strip("\"'").partition("=")
    if not equals:
        return f"{word}: cannot be read as key=value ({joined(error)})"
    straight = word.translate(STRAIGHT) == word
    why = "quote a value with signs other than letters, digits and ._/-" if straight else "“ and ‘ are not quotes here"
    value = value.strip("\"'")
    value = value if re.fullmatch(r"[\w.,/-]+", value, re.ASCII) else _quoted(value)
    return f"{word}: cannot be read as key=value; {why}: {shlex.quote(f'{key}={value}')}"


def _bad_choice() -> str:
    """Return the word of the command that gives a number or nothing in place of an option's name."""
    groups = {path.name for path in files("cftransfer.conf").iterdir() if path.is_dir()}
    chosen = [word for word in sys.argv[1:] if word.partition("=")[0].lstrip("+") in groups]
    wrong = [word for word in chosen if re.fullmatch(r"null|true|false|[-+]?[\d.]+", word.partition("=")[2], re.I)]
    return (wrong or ["a choice"])[0]


def _unfinished(error: BaseException, folder: Path | None) -> str:
    """Return one line that says that SLURM refused the jobs, or that a job ended without an answer."""
    if type(error).__name__ != "UncompletedJobError":
        return f"the jobs could not be submitted, or one broke off: {joined(error)}"
    first = re.split(r"(No )?error stream", str(error), flags=re.IGNORECASE)[0].splitlines()  # its whole output follows
    place = as_value(folder) if folder else "…"
    again = f"once no job of this sweep is queued, run the same command again with hydra.sweep.dir={place}"
    return f"{' '.join(' '.join(first).split())}: cancelled, lost, or out of time too often; others go on; {again}"


def _unknown_key(error: BaseException, cause: OmegaConfBaseException) -> str:
    override = re.search(r"Could not override '([^']+)'", str(error))
    key = str(cause.full_key)
    if override and not key.startswith(f"{override[1]}."):
        key = override[1]
    if "not in struct" not in str(cause):
        return f"{key}: {joined(cause)}"
    known = [str(name) for name in cause.parent_node if name != "_target_"]
    parent, _, name = str(cause.full_key).rpartition(".")
    close = difflib.get_close_matches(name, known, n=1)
    if key.startswith("extra_"):
        guess = _experiments_with(key)
    elif homes := _homes(name, cause.parent_node) if not parent else []:
        guess = f"did you mean {' or '.join(homes)}?"
    elif close:
        guess = f"did you mean {parent + '.' if parent else ''}{close[0]}?"
    else:
        guess = f"a plus adds it: +{key}=…"
    return f"{key}: no such key; {parent or 'the top level'} has: {', '.join(known)}; {guess}"


def _experiments_with(key: str) -> str:
    """Return which experiments have a distance such as `extra_layers`."""
    options = sorted(files("cftransfer.conf").joinpath("experiment").iterdir(), key=lambda option: option.name)
    settings = {option.name.removesuffix(".yaml"): option.read_text("utf-8") for option in options}
    bring = [name for name, text in settings.items() if re.search(rf"^{re.escape(key)}:", text, re.MULTILINE)]
    if bring:
        return f"{' and '.join(f'experiment={name}' for name in bring)} {'has' if len(bring) == 1 else 'have'} it"
    return "an experiment brings such a key: experiment=more_layers has extra_layers"


def _homes(name: str, config: DictConfig) -> list[str]:
    """Return the settings of that name in the groups of a config."""
    groups = {str(group): config._get_node(group) for group in config}
    return [f"{group}.{name}" for group, node in groups.items() if isinstance(node, DictConfig) and name in node]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
