"""Files that are fetched once: archives on the web or members of them, whole and checked, or not at all."""

import hashlib
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener
from zipfile import BadZipFile, ZipFile

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cftransfer.errors import InputError

log = logging.getLogger(__name__)

HOSTS = ("www2.census.gov", "www.cs.toronto.edu")  # the URLs of our data sets; no answer leads to elsewhere
SILENCE = 20  # seconds without a byte from the other side, after which it is given up
CHUNK = 2**18  # bytes
ARCHIVE = 2**30  # bytes at most: the largest that is asked for, five years of California, is half as large
MEMBER = 2**32  # bytes at most when unpacked; that one is 1.6 GB
BAR = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())


class _UnusableError(Exception):
    """What came is not what was asked for; the message says why."""


class _Redirects(HTTPRedirectHandler):
    """Follows an answer that says where else the file is, if that is one of our hosts, over https."""

    def redirect_request(  # noqa: PLR0917 (as urllib calls it)
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the next request; _UnusableError for another host, port or user, or without encryption."""
        where = urlsplit(newurl)
        if where.scheme != "https" or where.netloc.lower() not in HOSTS:
            fp.close()
            raise _UnusableError(f"it redirects to {newurl[:200]}, which is not https at {' or '.join(HOSTS)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


# What a network, a server, an archive or a disk can do wrong; urllib's own errors are OSErrors.
FAILURES = (_UnusableError, OSError, HTTPException, BadZipFile, zlib.error, EOFError, NotImplementedError)


def fetch(url: str, target: Path, *, wrong: Callable[[Path], str]) -> None:
    """Put the member `target.name` of the zip archive at `url` to `target`, unless it is there already.

    wrong: says what keeps an extracted file from being used, "" if nothing does; asked before `target` appears.
    Processes that want the same file at once wait for the first. Raises InputError, which says what failed and where
    the file can be put by hand; no part of a file is left behind then.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone(target):
            if not target.is_file():  # another process may have put it there while this one waited
                _fetch(url, target, wrong)
    except FAILURES as error:
        by_hand = f"get it in another way, and put the {target.name} that it holds at {target}"
        raise InputError(f"{url}: cannot be downloaded to {target.parent} ({_reason(error)}); {by_hand}") from error


def checked(url: str, target: Path, *, sha256: str) -> None:
    """Put what is at `url` to `target`, whole and with that checksum, unless it is there; InputError as `fetch`.

    A file that somebody else has put there is taken with that checksum only. The caller holds its lock.
    """
    try:
        if target.is_file():
            _check(target, sha256)
            return
        with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            _download(url, part := Path(folder, target.name))
            _check(part, sha256)
            part.replace(target)
    except FAILURES as error:
        if target.is_file():
            raise InputError(f"{target}: cannot be used ({_reason(error)}); delete it, or get it anew") from error
        by_hand = f"get it in another way, and put it at {target}"
        raise InputError(f"{url}: cannot be downloaded to {target.parent} ({_reason(error)}); {by_hand}") from error


def _check(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise _UnusableError(f"{path.name} has the checksum {found[:16]}…, not {sha256[:16]}…")


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Hold the lock of a file that is about to be made; whoever wants to make it too waits."""
    lock = target.with_name(f".{target.name}.lock")
    try:
        with FileLock(lock):
            yield
    finally:
        lock.unlink(missing_ok=True)  # who meets in this gap fetches twice, each in a folder of its own


def _fetch(url: str, target: Path, wrong: Callable[[Path], str]) -> None:
    with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        archive = Path(folder, "archive.zip")
        _download(url, archive)
        with ZipFile(archive) as members:
            held = members.namelist()
            if target.name not in held:
                more = f" and {len(held) - 8} more" if len(held) > 8 else ""
                raise _UnusableError(f"the archive holds {', '.join(held[:8]) or 'nothing'}{more}")
            if (unpacked := members.getinfo(target.name).file_size) > MEMBER:  # no more than it says is unpacked
                raise _UnusableError(f"its {target.name} has {unpacked:,} bytes when unpacked, more than {MEMBER:,}")
            extracted = Path(members.extract(target.name, folder))  # to its end, which checks its checksum
        if reason := wrong(extracted):
            raise _UnusableError(f"its {target.name} {reason}")
        with extracted.open("rb") as file:
            os.fsync(file.fileno())
        extracted.replace(target)


def _download(url: str, path: Path) -> None:
    log.info("downloading %s", url)
    console = Console(stderr=True)
    with (
        _answer(url) as response,
        path.open("wb") as file,
        Progress(*BAR, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        length = response.length  # None if the server does not say
        task = bar.add_task(url.rpartition("/")[2], total=length)
        while chunk := response.read(CHUNK):
            file.write(chunk)
            if file.tell() > ARCHIVE:
                raise _UnusableError(f"it has more than {ARCHIVE:,} bytes")
            bar.update(task, advance=len(chunk))
        if length is not None and file.tell() != length:
            raise _UnusableError(f"the transfer broke off after {file.tell():,} of {length:,} bytes")


def _answer(url: str) -> HTTPResponse:
    try:
        request = Request(url, headers={"User-Agent": "cftransfer"})
        return build_opener(_Redirects).open(request, timeout=SILENCE)
    except HTTPError as error:
        error.close()  # it is an open answer, too
        raise _UnusableError(f"HTTP {error.code} {error.reason}") from error


def _reason(error: BaseException) -> str:
    cause = getattr(error, "reason", error)  # urllib wraps what the network says
    return getattr(cause, "strerror", None) or " ".join(str(cause).split()) or type(cause).__name__
