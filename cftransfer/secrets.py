"""What a secret is called, and how W&B is kept from recording those of the environment."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

# Not tokenizers, and numbers of tokens.
NAME = (
    r"(?:(?:api|access|private)_?key|token(?!iz|s(?![a-z]))|passw|passphrase|secret|credential|jwt|(?<![a-z:])pwd)\w*"
)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Take the secrets out of the environment that W&B would record with a run: around what starts W&B.

    W&B records all variables of SLURM, of which SLURM_EXPORT_ENV may hold the values of all others, and the address
    of a git remote; the server process of its client keeps those with which it was started.
    """
    slurm = {name: value for name, value in os.environ.items() if name.startswith("SLURM_")}
    kept = {name: value for name, value in slurm.items() if _is_named(name) or name == "SLURM_EXPORT_ENV"}
    if holds_credentials(remote := os.environ.get("WANDB_GIT_REMOTE_URL", "")):
        kept["WANDB_GIT_REMOTE_URL"] = remote
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def _is_named(name: str) -> bool:
    return re.search(NAME, name, re.I) is not None


def holds_credentials(url: str) -> bool:
    """Return whether a user, a password or a token stands before the host of an address."""
    return "@" in url.partition("://")[2].partition("/")[0]
