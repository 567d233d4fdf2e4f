"""A job's log: a failure to write it is one line on stderr, not a traceback for each line of the log."""

import logging
import sys
from pathlib import Path

from cftransfer.errors import plain


def log_file(filename: str, mode: str = "a") -> logging.FileHandler:
    """Return a handler that appends to a file and reports its first failure on stderr."""
    handler = logging.FileHandler(filename, mode=mode, encoding="utf-8", errors="replace")

    def report(record: logging.LogRecord) -> None:  # noqa: ARG001
        error = sys.exc_info()[1]
        reason = getattr(error, "strerror", None) or error
        print(
            plain(f"{Path(sys.argv[0]).name}: {filename}: the log cannot be written ({reason}); the job goes on"),
            file=sys.stderr,
        )
        handler.setLevel(logging.CRITICAL + 1)  # once is enough

    handler.handleError = report  # type: ignore[method-assign]
    return handler
