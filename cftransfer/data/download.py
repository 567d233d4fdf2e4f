"""Download files once, with pooch: archives or their members, either whole and checked or not at all."""

import logging
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any
from urllib.parse import urljoin, urlsplit
from zipfile import BadZipFile, ZipFile

import pooch
from filelock import FileLock

from cftransfer.errors import InputError

log = logging.getLogger(__name__)
pooch.get_logger().setLevel("WARNING")  # our log has its line already

HOSTS = ("www2.census.gov", "www.cs.toronto.edu")  # of our data sets; redirects to other hosts are refused
SILENCE = 20  # seconds without a byte from the server until the download fails
ARCHIVE = 2**30  # most bytes: twice the largest archive, five years of California
MEMBER = 2**32  # most unpacked bytes; California's file has 1.6 GB
# Errors of a network, a server, an archive or a disk; errors of requests are OSErrors.
FAILURES = (OSError, ValueError, RuntimeError, BadZipFile, zlib.error, EOFError)


def fetch(url: str, target: Path, *, wrong: Callable[[Path], str]) -> None:
    """Extract the member `target.name` of the zip archive at `url` to `target`, unless it exists already.

    wrong: returns why an extracted file cannot be used, "" if it can; called before `target` appears.
    Processes that need the same file wait for the first of them. Raises InputError with the reason and the place for a
    file that is downloaded by hand; a failure leaves no partial file.
    """
    with _one_line(url, target, f"its {target.name}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target), TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            if target.is_file():  # another process made it meanwhile
                return
            with ZipFile(_retrieved(url, Path(folder, "archive.zip"), None)) as archive:
                sizes = {member.filename: member.file_size for member in archive.infolist()}
                if target.name not in sizes:
                    raise ValueError(f"the archive holds {', '.join([*sizes][:8]) or 'nothing'}")
                if (size := sizes[target.name]) > MEMBER:  # unpacking never exceeds this size
                    raise ValueError(f"its {target.name} has {size:,} bytes when unpacked, more than {MEMBER:,}")
                member = Path(archive.extract(target.name, folder))  # reads to the end, which checks the checksum
            if reason := wrong(member):
                raise ValueError(f"its {target.name} {reason}")
            member.replace(target)


def checked(url: str, target: Path, *, sha256: str) -> None:
    """Download the file at `url` to `target` and check it, unless it exists; InputError as in `fetch`.

    A file that the user has put there must have the checksum as well. The caller holds its lock.
    """
    if target.is_file() and (found := pooch.file_hash(str(target))) != sha256:
        reason = f"it has the checksum {found[:16]}…, not {sha256[:16]}…"
        raise InputError(f"{target}: cannot be used ({reason}); delete it, or download it again")
    with _one_line(url, target, "it"):
        _retrieved(url, target, sha256)


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Hold the lock of a file while it is made; other processes that need the file wait."""
    lock = target.with_name(f".{target.name}.lock")
    try:
        with FileLock(lock):
            yield
    finally:
        lock.unlink(missing_ok=True)  # two processes in this gap both download, each to its own folder


class _Limited:
    """A file that refuses more than `ARCHIVE` bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.flush = file, file.flush

    def write(self, chunk: bytes) -> None:
        if self.file.tell() + len(chunk) > ARCHIVE:
            raise ValueError(f"it has more than {ARCHIVE:,} bytes")
        self.file.write(chunk)


def _retrieved(url: str, target: Path, sha256: str | None) -> str:
    def download(url: str, output_file: str, pooch_: Any) -> None:
        log.info("downloading %s", url)
        with Path(output_file).open("wb") as file, ExitStack() as answers:

            def check(answer: Any, **_: Any) -> None:
                answers.callback(answer.close)  # pooch leaves it open after a failure
                _check_answer(answer)

            progress, hooks = sys.stderr.isatty(), {"response": check}
            get = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**18, timeout=SILENCE, hooks=hooks)
            get(url, _Limited(file), pooch_)

    return pooch.retrieve(url, known_hash=sha256, fname=target.name, path=target.parent, downloader=download)


def _check_answer(answer: Any) -> None:
    """Refuse an error, and a redirect to another host, port or user or away from https."""
    if answer.status_code >= 400:
        raise ValueError(f"HTTP {answer.status_code} {answer.reason}")
    where = urlsplit(urljoin(answer.url, answer.headers.get("Location", "")))
    if answer.is_redirect and (where.scheme != "https" or where.netloc.lower() not in HOSTS):
        raise ValueError(f"it redirects to {where.geturl()[:200]}, which is not https at {' or '.join(HOSTS)}")


@contextmanager
def _one_line(url: str, target: Path, what: str) -> Iterator[None]:
    """Turn a failure into an InputError that says where to put the file by hand."""
    try:
        yield
    except FAILURES as error:
        by_hand = f"download it by hand, and put {what} at {target}"
        raise InputError(f"{url}: cannot be downloaded to {target.parent} ({_reason(error)}); {by_hand}") from error


def _reason(error: BaseException) -> str:
    """Return the message of the innermost error: requests wraps urllib3's errors, which wrap the system's."""
    while error.args and isinstance(inner := getattr(error.args[0], "reason", error.args[0]), BaseException):
        error = inner
    said = getattr(error, "strerror", None) or " ".join(str(error.args[0] if error.args else "").split())
    system = re.search(r"\[Errno [-\d]+\] ([^)]+)", said)
    return system[1] if system else re.sub(r"^HTTPS?Connection\w*\(.*?\): ", "", said) or type(error).__name__
