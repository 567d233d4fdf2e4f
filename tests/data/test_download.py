"""Downloads from a server on this machine: a whole and checked file, or one line and nothing left behind."""

import hashlib
import io
import logging
import resource
import socket
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from pums import csv, persons

from cftransfer.data import acs_employment, cifar10_airplane, download
from cftransfer.errors import InputError

CENSUS = acs_employment.CENSUS  # before a test puts its own server there
PATH = "/2018/1-Year/csv_pny.zip"
NAME = "psam_p36.csv"
SETTINGS = {"year": 2018, "horizon": "1-Year", "max_rows": None, "test_share": 0.2, "split_seed": 0}


def archive(content: str = csv(persons(200)), *, name: str = NAME) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("ACS2018_PUMS_README.pdf", "read me")
        members.writestr(name, content)
    return packed.getvalue()


def corrupt(packed: bytes) -> bytes:
    """Flip a byte in the middle, where the table is."""
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]


class Census(BaseHTTPRequestHandler):
    """Serves `server.files`, with as many bytes announced as `server.announced` adds."""

    def do_GET(self):
        self.server.asked.append(self.path)
        time.sleep(self.server.delay)
        if self.path in self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere[self.path])
            return self.end_headers()
        content = self.server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        self.send_response(200)
        if self.server.announced is not None:
            self.send_header("Content-Length", str(len(content) + self.server.announced))
        self.end_headers()
        with suppress(ConnectionError):  # the other side has given up
            self.wfile.write(content)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def census(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Census)
    server.files, server.asked, server.announced, server.delay = {PATH: archive()}, [], 0, 0
    server.elsewhere = {}  # path: URL that its answer leads to
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(acs_employment, "CENSUS", server.url)
    yield server
    server.shutdown()
    server.server_close()
    serving.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folktables" / "2018" / "1-Year" / NAME


def acs(folder):
    return acs_employment.acs_employment(folder, states=["NY"], **SETTINGS)


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if not path.is_dir())


def test_a_missing_file_is_downloaded_once(census, tmp_path, target, caplog, capfd):
    caplog.set_level(logging.INFO)
    first = acs(tmp_path)
    assert len(first.x_train) == 160
    assert acs(tmp_path).version == first.version
    assert census.asked == [PATH]
    assert target.read_text() == csv(persons(200))
    assert files(tmp_path) == [NAME]
    said = [record.getMessage() for record in caplog.records if record.name.endswith(".download")]
    assert said == [f"downloading {census.url}{PATH}"]
    assert capfd.readouterr() == ("", "")  # no bar outside a terminal


def test_a_server_that_does_not_say_how_much_is_fine(census, tmp_path):
    census.announced = None
    assert len(acs(tmp_path).x_train) == 160


def stop(census):
    census.shutdown()
    census.server_close()


FAILURES = {
    "404": (lambda census: census.files.clear(), "HTTP 404 Not Found"),
    "truncated": (lambda census: setattr(census, "announced", 1000), "Connection broken: IncompleteRead("),
    "corrupt": (lambda census: census.files.update({PATH: corrupt(archive())}), ""),  # by zlib or by checksum
    "no zip": (lambda census: census.files.update({PATH: b"<html>log in first</html>"}), "File is not a zip file"),
    "empty": (lambda census: census.files.update({PATH: b""}), "File is not a zip file"),
    "half a zip": (lambda census: census.files.update({PATH: archive()[:-2000]}), "File is not a zip file"),
    "other member": (
        lambda census: census.files.update({PATH: archive(name="psam_p37.csv")}),
        "the archive holds ACS2018_PUMS_README.pdf, psam_p37.csv",
    ),
    "column": (
        lambda census: census.files.update({PATH: archive(csv(persons(9).drop(columns=["ESR", "SEX"])))}),
        f"its {NAME} lacks the columns SEX, ESR",
    ),
    "silence": (lambda census: setattr(census, "delay", 0.5), "Read timed out. (read timeout=0.2)"),
    "no server": (stop, "Connection refused"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_one_line_and_leaves_nothing(failure, census, tmp_path, target, monkeypatch):
    cause, reason = FAILURES[failure]
    monkeypatch.setattr(download, "SILENCE", 0.2 if failure == "silence" else 5)
    cause(census)
    with pytest.raises(InputError) as caught:
        acs(tmp_path)
    said = str(caught.value)
    assert said.startswith(f"{census.url}{PATH}: cannot be downloaded to {target.parent} ({reason}")
    assert said.endswith(f"; download it by hand, and put its {NAME} at {target}")
    assert "\n" not in said
    assert "()" not in said
    assert files(tmp_path) == []
    assert [path.name for path in target.parent.iterdir()] == []


@pytest.mark.parametrize(
    "place",
    [
        "/other.zip",  # on this server, which is not one of ours
        "http://www2.census.gov/a.zip",
        "https://www2.census.gov.example.org/a.zip",
        "https://www2.census.gov@127.0.0.1/a.zip",
        "https://www2.census.gov:8443/a.zip",
        "file:///etc/passwd",
        "ftp://www2.census.gov/a.zip",
    ],
)
def test_an_answer_that_leads_elsewhere_is_not_followed(census, tmp_path, place):
    census.files["/other.zip"] = archive()
    census.elsewhere[PATH] = place
    with pytest.raises(InputError, match=r"csv_pny.zip: cannot be downloaded .*redirects to .*, which is not https at"):
        acs(tmp_path)
    assert census.asked == [PATH]
    assert files(tmp_path) == []


@pytest.mark.parametrize("place", ["https://www2.census.gov/a.zip", "https://WWW.cs.toronto.edu/a/b"])
def test_an_answer_that_leads_to_one_of_our_hosts_is(census, tmp_path, place, monkeypatch):
    """There it is followed to: the download then fails, since nothing but this machine can be reached."""
    monkeypatch.setattr("socket.getaddrinfo", only_here(socket.getaddrinfo))
    census.elsewhere[PATH] = place
    host = urlsplit(place).netloc.lower()
    with pytest.raises(InputError, match=rf"cannot be downloaded .*\(Failed to resolve '{host}"):
        acs(tmp_path)
    assert files(tmp_path) == []


def only_here(real):
    """A look-up of names that knows this machine alone."""

    def looked_up(host, *rest):
        if host != "127.0.0.1":
            raise socket.gaierror("no such host")
        return real(host, *rest)

    return looked_up


def test_our_hosts_are_those_of_our_urls():
    urls = [urlsplit(url) for url in (CENSUS, cifar10_airplane.URL)]
    assert {url.netloc for url in urls} == set(download.HOSTS)
    assert {url.scheme for url in urls} == {"https"}


def test_no_network_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(acs_employment, "CENSUS", "http://nowhere.invalid/pums")
    with pytest.raises(
        InputError, match=r"^http://nowhere\.invalid/pums/.*csv_pny\.zip: cannot be downloaded to .*; download"
    ):
        acs(tmp_path)
    assert files(tmp_path) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(census, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the kernel's error for a full disk
    try:
        with pytest.raises(InputError, match=r"cannot be downloaded to .* \(File too large\); download it"):
            acs(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_one_line(census, tmp_path):
    (tmp_path / "folktables").write_text("a file")
    with pytest.raises(InputError, match=r"cannot be downloaded to .* \((File exists|Not a directory)\); download it"):
        acs(tmp_path)
    assert census.asked == []


FETCH = """
import sys
from pathlib import Path
from cftransfer.data.download import fetch
fetch(sys.argv[1], Path(sys.argv[2]), wrong=lambda path: "")
print(len(Path(sys.argv[2]).read_text()))
"""


def test_processes_that_want_one_file_at_once_fetch_it_once(census, tmp_path, target):
    census.delay = 2
    words = [sys.executable, "-c", FETCH, census.url + PATH, str(target)]
    makers = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [maker.communicate(timeout=60) for maker in makers]
    assert said == [(f"{len(csv(persons(200)))}\n", "")] * 3
    assert census.asked == [PATH]
    assert files(tmp_path) == [NAME]


def test_an_interrupt_leaves_nothing(census, tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(acs_employment, "_wrong", interrupt)
    with pytest.raises(KeyboardInterrupt):
        acs(tmp_path)
    assert files(tmp_path) == []


def test_a_file_with_a_known_checksum_is_fetched_once_and_another_file_is_refused(census, tmp_path):
    content, target = archive(), tmp_path / "archive.zip"
    checksum = hashlib.sha256(content).hexdigest()
    census.files[PATH] = content
    with pytest.raises(InputError, match=rf"cannot be downloaded .*does not match the known hash.*put it at {target}"):
        download.checked(census.url + PATH, target, sha256="0" * 64)
    assert files(tmp_path) == []
    for _ in range(2):
        download.checked(census.url + PATH, target, sha256=checksum)
    assert target.read_bytes() == content
    assert census.asked == [PATH, PATH]
    target.write_bytes(b"the user's")
    with pytest.raises(InputError, match=r"archive.zip: cannot be used \(it has the checksum .*\); delete it"):
        download.checked(census.url + PATH, target, sha256=checksum)
    assert target.read_bytes() == b"the user's"
