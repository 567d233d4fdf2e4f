"""Keys and tokens have no place in a setting: settings are written into configs, logs, tables, pages and W&B."""

import netrc
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import Container, DictConfig, ListConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from cftransfer.errors import InputError, refuse

# Of settings and of variables; tokens are counted, and OLDPWD, as PWD itself, is a folder.
NAMES = r"(api|access|private)_?key|token(?!iz|s(?![a-z]))|passw|passphrase|(?<!old)pwd(?![a-z])|secret|credential|jwt"
NAME = re.compile(NAMES, re.IGNORECASE)
# Of variables alone, as OPENAI_KEY or DB_PASS: settings may well be about keys.
VARIABLE = re.compile(rf"{NAMES}|_(key|pass)$", re.IGNORECASE)
# In what is for a shell: export SOME_TOKEN=…
GIVEN = re.compile(rf"\w*({NAMES})\w*=\S", re.IGNORECASE)
EXPORTED = re.compile(rf"{GIVEN.pattern}|\w+_(key|pass)=\S", re.IGNORECASE)
SHELLS = ("hydra.launcher.", "hydra.job.env_set.")
SHAPES = re.compile(
    r"(?<![\w/-])(local-)?[0-9a-f]{40}(?![\w/-]|\.\w)"  # W&B's; not in a path or the name of a file, where hashes stand
    # W&B's again, Hugging Face's, GitHub's, OpenAI's and its likes', Amazon's, GitLab's, Slack's, JSON web tokens
    r"|(?<![A-Za-z0-9])(wandb_v\d_\w{20,}|hf_[A-Za-z0-9]{30,}|gh[a-z]_[A-Za-z0-9]{30,}|github_pat_\w{20,}"
    r"|sk-(?=[\w-]*\d)(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{20,}|AKIA[0-9A-Z]{16}"
    r"|glpat-[\w-]{20,}|xox[a-z]-[\w-]{10,}|eyJ[\w-]{8,}\.[\w-]{8,}(\.[\w-]*)*)(?![A-Za-z0-9])"
    r"|-----BEGIN [A-Z0-9 ]*PRIVATE KEY"
    r"|://[^/\s@]+@"  # whatever stands before a host
)
SHORTEST = 12  # letters; a shorter value of a variable may stand in any word by chance
WAY_OUT = (
    "settings are written down; give it to wandb login, or put it into WANDB_API_KEY, and make a new one if it leaked "
    "(of a commit's hash, 12 digits are no key)"
)
# What Hydra writes, or names what it writes by, or gives to others that write: submitit, SLURM.
HYDRA = ("launcher", "job", "run", "sweep", "sweeper", "job_logging", "hydra_logging", "output_subdir")
TYPED = "hydra.job.override_dirname"  # the words of the command once more, which have been asked one by one
RECORDED = ("WANDB_GIT_REMOTE_URL", "WANDB_NOTES", "WANDB_RUN_GROUP", "WANDB_HOST")  # by W&B, beside all SLURM_…


class NoSecrets(Callback):
    """Asks before Hydra makes a folder, of its own settings; a job asks of all others (`check_config`)."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra calls this before a single job."""
        try:
            hydra = _begun(config).hydra
            for part, value in leaves(hydra, "hydra"):
                if part.split(".")[1] in HYDRA and part != TYPED:
                    _check(part, value)
        except InputError as error:
            refuse(str(error))

    on_multirun_start = on_run_start


def _begun(config: DictConfig) -> DictConfig:
    """Return the config with what Hydra knows only once a job has begun: formulas that use it could not be resolved."""
    begun = config.copy()
    with read_write(begun.hydra), open_dict(begun.hydra):
        begun.hydra.job.update(id="0", num=0)
        begun.hydra.runtime.output_dir = "."
    return begun


@contextmanager
def unrecorded() -> Iterator[None]:
    """Take secrets that W&B would record with a run out of the environment, as SLURM_JWT: around what starts W&B.

    W&B records all variables of SLURM; the server's process of its client keeps those with which it was started.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in RECORDED or name.startswith("SLURM_")
        if (value and VARIABLE.search(name)) or _is_secret(value)
    }
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def holds_credentials(url: str) -> bool:
    """Return whether a user, a password or a token stands before the host of an address."""
    return "@" in url.partition("://")[2].partition("/")[0]


def check_words(words: Iterable[str]) -> None:
    """Raise an InputError, which does not repeat it, for a key or token among the words of a command.

    Asked before Hydra writes the words into the job's folder.
    """
    for word in words:
        name, sign, value = word.partition("=")
        _check(name.lstrip("+~"), value if sign else word, named=False)
        for part, inner in _values(word):
            _check(part, inner)


def check_config(cfg: DictConfig) -> None:
    """Raise the same for the values of a composed config, where formulas such as ${oc.env:…} may have put one."""
    for part, value in leaves(cfg):
        _check(part, value)


def _check(name: str, value: Any, *, named: bool = True) -> None:
    """named: whether the name alone can tell that the value, of whatever looks, is a secret."""
    text, last = str(value), name.rpartition(".")[2]
    given = EXPORTED if name.startswith(SHELLS) else GIVEN
    secret = _is_secret(text) or (name.startswith("hydra.") and given.search(text))
    if secret or (named and NAME.search(last) and not isinstance(value, bool | None) and text):
        raise InputError(f"{'a setting' if _is_secret(name) else name}: takes no key or token; {WAY_OUT}")


def _is_secret(text: str) -> bool:
    return bool(SHAPES.search(text)) or any(secret in text for secret in _known())


@cache
def _known() -> frozenset[str]:
    """Return the secrets that this process can see: in its environment, and in the user's netrc, as W&B does."""
    values = {value for name, value in os.environ.items() if VARIABLE.search(name) and name != "PWD"}
    values |= _netrc()
    return frozenset(value for value in values if len(value) >= SHORTEST and not _is_place(value))


def _netrc() -> set[str]:
    """Return the passwords in the user's netrc, whoever else may read it: without a path, Python would refuse that."""
    try:
        path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
        return {password for *_, password in netrc.netrc(path).hosts.values() if password}
    except (OSError, RuntimeError):  # there is none, or no home
        return set()
    except (netrc.NetrcParseError, UnicodeDecodeError):  # other programs take of it what they understand
        return set(re.findall(r"password\s+(\S+)", path.read_text(errors="replace")))


def _is_place(value: str) -> bool:
    """Return whether the value is a file's or a folder's path, as that of a file of credentials."""
    try:
        return value.startswith("/") and Path(value).exists()
    except OSError:  # too long for a path
        return False


def _values(word: str) -> Iterator[tuple[str, Any]]:
    """Yield name and value of all that is inside a word, as Hydra reads it: without quotes and escapes."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:  # an option, as -m, or what Hydra will refuse by itself
        return
    yield from _inside(override.key_or_group, override._value)


def _inside(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    from hydra.core.override_parser.types import ChoiceSweep, QuotedString

    if isinstance(value, QuotedString):
        yield name, value.text
    elif isinstance(value, ChoiceSweep):
        for inner in value.list:
            yield from _inside(name, inner)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _inside(f"{name}.{key.text if isinstance(key, QuotedString) else key}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _inside(f"{name}.{index}", inner)
    else:
        yield name, value


def leaves(node: Container, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a config, resolved one by one: what cannot be, the job will say, and hides nothing else."""
    for key in _keys(node):
        part = f"{name}.{key}" if name else str(key)
        try:
            formula, value = OmegaConf.is_interpolation(node, key), node[key]
        except OmegaConfBaseException:
            continue
        if isinstance(value, Container) and not formula:
            yield from leaves(value, part)
        else:
            yield part, value


def _keys(node: Container) -> Iterable[Any]:
    if not isinstance(node, DictConfig | ListConfig) or node._is_none():
        return ()
    return node if isinstance(node, DictConfig) else range(len(node))
