"""The one kind of exception that the user can fix."""

import errno
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a disk; the last is a limit on the size of files
LOGGED = "its traceback is in the log of its job"  # a note on an exception that has been logged


class InputError(ValueError):
    """Bad input: the message is one line that names the key or file and the way out.

    The commands print it without a traceback and exit with 1. What files put into it cannot steer a terminal (`plain`).
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


def print_in_any_encoding() -> None:
    """Let a terminal without “ρ” or “–” show a question mark instead: printing must not fail after all work is done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not None, as with >&-, nor one of a notebook
            stream.reconfigure(errors="replace")


@contextmanager
def as_command(name: str) -> Iterator[None]:
    """End a command as its users expect: a mistake of theirs is one line and exit status 1.

    Somebody who has seen enough of what it prints, as with `| head`, makes no error.
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
    """Flush stdout at the end; InputError where its disk is full.

    done: what that has not harmed.
    """
    try:
        yield
        if sys.stdout is not None:  # as with >&-
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:  # a file that is not stdout has a name
            raise
        drop_stdout()
        raise InputError(f"stdout: cannot be written ({error.strerror}); {done or 'free some space there'}") from error


def drop_stdout() -> None:
    """Drop what stdout still holds, and all that follows: Python would fail to write it once more, at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refuse(line: str) -> NoReturn:
    """Print what is wrong and exit with 1, from where Hydra would make a warning of any exception: its callbacks."""
    print(plain(f"{Path(sys.argv[0]).name}: {line}"), file=sys.stderr)
    sys.exit(1)


def plain(text: str) -> str:
    """Return `text` as one line that any terminal prints as it is: what is not a letter or a sign is spelled out.

    That is control characters (an escape begins what moves the cursor or renames the window), those that turn the
    direction of writing, and halves of pairs, which no file can hold.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _shows(letter) else letter.encode("unicode_escape").decode() for letter in text)


def _shows(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
