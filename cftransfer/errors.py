"""InputError, the one exception that a user can fix, and output that any terminal can print."""

import errno
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of a full disk; the last is a limit on file size
LOGGED = "its traceback is in the log of its job"  # note on a logged exception


class InputError(ValueError):
    """Bad input: the message is one line that names the key or file and the way out.

    The commands print it without a traceback and exit with 1. Text from files in it cannot control a terminal
    (`plain`).
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


def print_in_any_encoding() -> None:
    """Print a question mark for signs that a terminal lacks, such as “ρ”: printing must not fail when all is done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not None (>&-), nor a notebook's stream
            stream.reconfigure(errors="replace")


@contextmanager
def as_command(name: str) -> Iterator[None]:
    """Turn a mistake of the user into one line and exit status 1.

    A closed pipe (`| head`) is not an error.
    """
    print_in_any_encoding()
    try:
        with printing():
            yield
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except BrokenPipeError:
        drop_stdout()
        sys.exit(141)


@contextmanager
def printing(done: str = "") -> Iterator[None]:
    """Flush stdout at the end; InputError if its disk is full.

    done: a sentence on the work that is safe anyway.
    """
    try:
        yield
        if sys.stdout is not None:  # None with >&-
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:  # only stdout has no file name
            raise
        drop_stdout()
        raise InputError(f"stdout: cannot be written ({error.strerror}); {done or 'free some space there'}") from error


def drop_stdout() -> None:
    """Drop the buffer of stdout and all later output: Python would fail again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refuse(line: str) -> NoReturn:
    """Print an error and exit with 1; for Hydra's callbacks, where Hydra turns any exception into a warning."""
    print(plain(f"{Path(sys.argv[0]).name}: {line}"), file=sys.stderr)
    sys.exit(1)


def plain(text: str) -> str:
    """Return `text` as one line that any terminal prints literally: invisible characters are escaped.

    These are control characters (escape sequences move the cursor or rename the window), characters that change the
    direction of writing, and lone surrogates, which no file can hold.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _shows(letter) else letter.encode("unicode_escape").decode() for letter in text)


def _shows(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
