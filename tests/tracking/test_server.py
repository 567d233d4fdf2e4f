"""W&B online, gone in mid-run, and afterwards: the real client against a small server on this machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, SMALL, environment, results, run_command
from offline_run import read
from wandb_server import KEY, Server, environment_of, serving

pytestmark = pytest.mark.slow
CURVE = [*SMALL, "experiment=continued_training", "extra_epochs=3", "hydra.run.dir=job"]


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A folder with a store that has the models and searches of these tests."""
    folder = tmp_path_factory.mktemp("warm")
    assert run_command(folder, "transfer.py", *CURVE, "wandb=disabled").returncode == 0
    return folder / "store"


@pytest.fixture
def folder(warm, tmp_path):
    shutil.copytree(warm, tmp_path / "store")
    return tmp_path


def sync(folder: Path, server: Server, what: str = "job") -> subprocess.CompletedProcess:
    return run_command(folder, "-m", "cftransfer.tracking", "sync", what, **environment_of(server))


def steps(run: dict) -> list[int]:
    return [row["extra_epochs"] for row in run["history"].values() if "extra_epochs" in row]


def test_a_run_online_is_whole_and_a_requeued_job_continues_it(folder, server):
    words = [*CURVE, "wandb=online", "wandb.tags=[pilot]", "wandb.notes=a sentence"]
    for _ in range(2):
        done = run_command(folder, "transfer.py", *words, **environment_of(server))
        assert done.returncode == 0, done.stderr
        assert "monotonically" not in done.stderr
        ((id_, run),) = server.runs.items()
        (result,) = results(folder)
        assert result["wandb"] == id_
        assert steps(run) == [1, 2, 3]
        assert {name: run["summary"].get(name) for name in result["metrics"]} == result["metrics"]
        kept = (folder / "job" / "result.json").rename(folder / "kept.json")  # as if the job had been stopped before
    kept.rename(folder / "job" / "result.json")
    assert run["name"] == "continued_training moons mlp 1×64 +3 epochs epochs=2"
    assert (run["job_type"], run["notes"], run["exit_code"]) == ("continued_training", "a sentence", 0)
    assert run["tags"] == ["continued_training", "moons", "gradient", "pilot"]
    assert run["config"]["model"]["value"]["layers"] == 1
    assert run["config"]["code"]["value"] == result["git"]
    assert any(name.startswith("media/table/rates_by_pair") for name in run["files"])
    said = sync(folder, server)
    assert said.stdout == "job: already there\n"
    assert_no_key(folder, done, said)


def assert_no_key(folder: Path, *said: subprocess.CompletedProcess) -> None:
    assert not [done for done in said if KEY in done.stdout + done.stderr]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_what_a_server_that_went_in_mid_run_lacks_is_uploaded_later(folder, server):
    """tests/faults.py has that nothing is lost by it, also of one that falls silent."""
    words = [*CURVE, "wandb=online", "wandb.finish_timeout=2"]
    server.lost_after, server.lost = "file_stream", "gone"
    done = run_command(folder, "transfer.py", *words, **environment_of(server))
    assert done.returncode == 0, done.stderr
    assert len(results(folder)) == 1
    (line,) = [line for line in done.stderr.splitlines() if "W&B lacks" in line]
    assert "all results are in job; upload them with: python -m cftransfer.tracking sync job" in line
    assert "Traceback" not in done.stderr
    with serving() as again:
        again.runs = server.runs  # the server is back, with its runs
        said = sync(folder, again)
        assert (said.stdout, said.returncode) == ("job: uploaded\n", 0), said.stderr
        ((_, run),) = again.runs.items()
        assert steps(run) == [1, 2, 3]
        assert run["summary"]["rate"] == results(folder)[0]["metrics"]["rate"]
        assert any(name.startswith("media/table/rates_by_pair") for name in run["files"])
        assert sync(folder, again).stdout == "job: already there\n"
        assert_no_key(folder, done, said)


def test_what_a_job_lacks_in_wandb_that_was_killed_after_its_result_is_uploaded_when_it_is_run_again(folder, server):
    words = [*CURVE, "wandb=online"]
    server.stuck = "file_stream"
    command = [sys.executable, str(ROOT / "transfer.py"), *words]
    going = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**environment_of(server)),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not results(folder):
        time.sleep(0.1)
    os.killpg(going.pid, signal.SIGKILL)
    going.wait()
    ((_, run),) = server.runs.items()
    assert steps(run) == []
    with serving() as gone:
        gone.stop()
        done = run_command(folder, "transfer.py", *words, **environment_of(gone))
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "W&B lacks" in line]
    assert line.endswith("all results are in job; upload them with: python -m cftransfer.tracking sync job")
    server.stuck = ""
    asked = len(server.asked)
    done = run_command(folder, "transfer.py", *CURVE, "wandb=offline", **environment_of(server))
    assert done.returncode == 0, done.stderr
    assert len(server.asked) == asked
    done = run_command(folder, "transfer.py", *words, **environment_of(server))
    assert done.returncode == 0, done.stderr
    assert "has its result already" in done.stderr
    assert "W&B lacked some of this run: uploaded" in done.stderr
    assert steps(run) == [1, 2, 3]
    assert run["exit_code"] == 0
    assert {name: run["summary"].get(name) for name in results(folder)[0]["metrics"]} == results(folder)[0]["metrics"]
    asked = len(server.asked)
    done = run_command(folder, "transfer.py", *words, **environment_of(server))
    assert "W&B lack" not in done.stderr
    assert len(server.asked) == asked


def test_runs_kept_offline_are_uploaded_once_however_often_the_job_was_run(folder, server):
    for _ in range(2):
        done = run_command(folder, "transfer.py", *CURVE, "wandb=offline", WANDB_API_KEY=KEY)
        assert done.returncode == 0, done.stderr
        assert "upload it with: python -m cftransfer.tracking sync job" in done.stderr
        kept = (folder / "job" / "result.json").rename(folder / "result.json")
        time.sleep(1)  # W&B names folders by the second
    kept.rename(folder / "job" / "result.json")
    assert len(list(folder.rglob("*.wandb"))) == 2
    said = sync(folder, server)
    assert (said.stdout, said.returncode) == ("job: uploaded\n", 0), said.stderr
    assert len(list(folder.rglob("*.wandb.synced"))) == 2
    ((_, run),) = server.runs.items()
    assert steps(run) == [1, 2, 3]
    assert len(run["history"]) == 3
    server.asked.clear()
    assert sync(folder, server).stdout == "job: already there\n"
    assert server.asked == []
    assert_no_key(folder, done, said)


@pytest.mark.parametrize("what", ["another home", "moved"])
def test_a_run_kept_offline_is_uploaded_with_its_tables_from_wherever_its_folder_is(folder, server, what):
    (home := folder / "home").touch()  # can't be written to, not even by root
    done = run_command(folder, "transfer.py", *CURVE, "wandb=offline", HOME=str(home), MPLCONFIGDIR=str(folder / "mpl"))
    assert done.returncode == 0, done.stderr
    assert "W&B lacks" not in done.stderr
    job = "moved" if what == "moved" else "job"
    (folder / "job").rename(folder / job)
    said = sync(folder, server, job)
    assert (said.stdout, said.returncode) == (f"{job}: uploaded\n", 0), said.stderr
    assert server.asked.count("CommitArtifact") == 3
    ((_, run),) = server.runs.items()
    assert steps(run) == [1, 2, 3]
    names = ("rates_by_pair", "survivorship", "examples")
    assert {f"{name}.table.json" for name in names} <= set(run["files"])


def test_a_job_of_other_settings_in_the_same_folder_is_another_run(folder, server):
    for extra in (3, 3, 2):
        words = [*CURVE, f"extra_epochs={extra}", "wandb=online"]
        done = run_command(folder, "transfer.py", *words, **environment_of(server))
        assert done.returncode == 0, done.stderr
    (result,) = results(folder)
    assert sorted(map(steps, server.runs.values())) == [[1, 2], [1, 2, 3]]
    assert steps(server.runs[result["wandb"]]) == [1, 2]
    assert sync(folder, server).stdout == "job: already there\n"


@pytest.mark.parametrize("way", ["job", "sync"])
def test_wandb_is_told_nothing_of_the_repository_where_a_command_is_typed(folder, server, way):
    token = "ghp_" + "0aZ" * 12
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    remote = ["remote", "add", "origin", f"https://{token}@example.org/a.git"]
    for words in (["init", "-q"], remote, ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout
    mode = "online" if way == "job" else "offline"
    done = run_command(folder, "transfer.py", *CURVE, f"wandb={mode}", **environment_of(server))
    assert done.returncode == 0, done.stderr
    said = sync(folder, server)
    assert said.returncode == 0, said.stderr
    ((_, run),) = server.runs.items()
    assert steps(run) == [1, 2, 3]
    assert "requirements.txt" not in run["files"]
    sent = "".join(server.heard) + "".join(map(str, run["files"].values()))
    assert "continued_training moons" in sent
    assert token not in sent
    assert commit.strip() not in sent


def test_an_interrupted_sync_is_one_line_and_the_next_adds_nothing_twice(folder, server):
    done = run_command(folder, "transfer.py", *CURVE, "wandb=offline")
    assert done.returncode == 0, done.stderr
    server.stuck = "CommitArtifact"
    command = [sys.executable, "-m", "cftransfer.tracking", "sync", "job"]
    going = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**environment_of(server)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not any(map(steps, server.runs.values())):
        time.sleep(0.1)
    os.killpg(going.pid, signal.SIGINT)  # as a terminal does
    out, err = going.communicate(timeout=20)
    assert going.returncode == 130
    assert out == ""
    assert err.splitlines() == ["cftransfer.tracking: interrupted; the same command goes on where this one ended"]
    ((_, run),) = server.runs.items()
    assert steps(run) in ([1, 2], [1, 2, 3])  # the last has the tables
    server.stuck = ""
    said = sync(folder, server)
    assert (said.stdout, said.returncode) == ("job: uploaded\n", 0), said.stderr
    assert steps(run) == [1, 2, 3]
    assert run["exit_code"] == 0


def test_a_key_that_is_refused_is_said_before_anything_is_trained(folder, server):
    server.refuses = True
    shutil.rmtree(folder / "store")
    done = run_command(folder, "transfer.py", *CURVE, "wandb=online", **environment_of(server))
    assert done.returncode == 1
    assert not results(folder)
    assert not list(folder.rglob("*.safetensors"))
    (line,) = done.stderr.splitlines()
    assert "failed: wandb.mode=online" in line
    assert "wandb login gives a key" in line
    assert KEY not in done.stderr


BAD = [
    ({}, ["wandb.group=[a]"], "wandb.group=['a']: must be a word"),
    ({"WANDB_MODE": "garbage"}, [], "WANDB_MODE=garbage: must be one of online, offline, disabled"),
    ({"WANDB_INIT_TIMEOUT": "abc"}, ["wandb=offline"], "WANDB_INIT_TIMEOUT: Input should be"),
]


@pytest.mark.parametrize(("variables", "words", "said"), BAD, ids=lambda value: str(value)[:20])
def test_a_mistake_in_wandbs_settings_is_one_line_before_anything_is_trained(tmp_path, variables, words, said):
    done = run_command(tmp_path, "transfer.py", *CURVE, *words, **variables)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"failed: {said}" in line
    assert not list(tmp_path.rglob("*.safetensors"))


def test_sync_says_what_it_cannot_do(folder, server):
    (folder / "job").mkdir()
    said = sync(folder, server)
    assert (said.returncode, said.stderr) == (1, "cftransfer.tracking: job: no job in there\n")
    done = run_command(folder, "transfer.py", *CURVE, "wandb=offline")
    assert done.returncode == 0, done.stderr
    server.refuses = True
    said = sync(folder, server)
    assert (said.returncode, said.stderr) == (1, "")
    assert said.stdout.startswith("job: not uploaded: wandb.mode=online wandb.project=cftransfer: ")
    assert "wandb login gives a key" in said.stdout
    assert KEY not in said.stdout
    server.stop()
    said = sync(folder, server)
    assert said.returncode == 1
    line = f"W&B: {server.url} does not answer (Connection refused)"
    assert said.stderr == f"cftransfer.tracking: {line}; try again later, or name your server in WANDB_BASE_URL\n"


@pytest.mark.parametrize("way", ["job", "sync"])
def test_what_another_run_of_wandbs_left_in_the_environment_changes_nothing(folder, server, way):
    """A service that is gone, as of a notebook that started the command, and a sweep of W&B's own."""
    left = {"WANDB_SERVICE": "3-1-unix-/tmp/gone.sock", "WANDB_SWEEP_ID": "abc123", "WANDB_MODE": ""}
    words = [*CURVE, *["wandb=online"] * (way == "job")]
    done = run_command(folder, "transfer.py", *words, **environment_of(server), **left)
    assert done.returncode == 0, done.stderr
    assert "W&B lacks" not in done.stderr
    if way == "sync":
        assert "W&B run kept offline" in done.stderr
        words = ["-m", "cftransfer.tracking", "sync", "job"]
        said = run_command(folder, *words, **environment_of(server), **left)
        assert said.stdout == "job: uploaded\n", said.stderr
    ((id_, run),) = server.runs.items()
    assert results(folder)[0]["wandb"] == id_
    assert steps(run) == [1, 2, 3]
    assert '"project":"cftransfer"' in "".join(server.heard).replace(" ", "")
    assert "abc123" not in "".join(server.heard)


def test_an_upload_that_the_server_refuses_is_not_called_whole(folder, server):
    """W&B's client ends such a run as if all were well."""
    server.denied = "file_stream"
    done = run_command(folder, "transfer.py", *CURVE, "wandb=online", **environment_of(server))
    assert done.returncode == 0, done.stderr
    assert len(results(folder)) == 1
    (line,) = [line for line in done.stderr.splitlines() if "W&B lacks" in line]
    assert line.endswith("upload them with: python -m cftransfer.tracking sync job")
    server.denied = ""
    assert sync(folder, server).stdout == "job: uploaded\n"
    ((_, run),) = server.runs.items()
    assert steps(run) == [1, 2, 3]


def test_a_server_that_cannot_be_reached_is_said_before_anything_is_trained(folder, server):
    server.stop()
    words = [*CURVE, "wandb=online"]
    done = run_command(folder, "transfer.py", *words, **environment_of(server), WANDB_INIT_TIMEOUT="5")  # W&B's is 90
    assert done.returncode == 1
    assert not results(folder)
    assert "wandb=offline works without a network" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_costs_no_result(folder, server):
    """W&B's folder is a file system of its own, nearly full; W&B itself says that all is well."""
    script = """
mkdir -p job/wandb && mount -t tmpfs -o size=32k none job/wandb && "$@" 2>stderr
"""
    command = [sys.executable, str(ROOT / "transfer.py"), *CURVE, "wandb=offline"]
    words = ["unshare", "-rm", "bash", "-c", script, "bash", *command]
    if shutil.which("unshare") is None or subprocess.run([*words[:2], "true"], check=False).returncode:
        pytest.skip("needs user namespaces")
    done = subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=200, check=False
    )
    said = (folder / "stderr").read_text()
    assert done.returncode == 0, said
    assert len(results(folder)) == 1
    assert "W&B lacks" in said
    assert "all results are in job" in said
    done = sync(folder, server)
    assert (done.stdout, done.returncode) == ("job: uploaded\n", 0), done.stderr
    ((_, run),) = server.runs.items()
    assert steps(run) == [1, 2, 3]
    assert run["name"] == "continued_training moons mlp 1×64 +3 epochs epochs=2"


def test_a_sweeps_figures_are_one_more_run_of_its_group(folder, server):
    words = [*SMALL, "seed=0,1", f"hydra.sweep.dir={folder.resolve()}/sweep"]
    done = run_command(folder, "transfer.py", "-m", *words)
    assert done.returncode == 0, done.stderr
    jobs = [read(folder / "sweep" / job) for job in ("0", "1")]
    report = read(folder / "sweep" / "wandb")
    assert report["job_type"] == "report"
    assert {job["group"] for job in jobs} == {report["group"]} == {"sweep"}
    assert {"figure_survivorship._type", "figure_training._type"} <= set(report["summary"])
    assert sync(folder, server, "sweep").stdout == "sweep: uploaded\nsweep/0: uploaded\nsweep/1: uploaded\n"
    assert {run["group"] for run in server.runs.values()} == {"sweep"}
    done = run_command(folder, "transfer.py", "-m", *words)  # nothing is missing; the report is the same
    assert done.returncode == 0, done.stderr
    assert sync(folder, server, "sweep").stdout.startswith("sweep: already there\n")
    (folder / "sweep" / "report.html").write_text("another")
    said = sync(folder, server, "sweep")
    assert said.stdout == "sweep: uploaded\nsweep/0: already there\nsweep/1: already there\n", said.stderr
    assert len(server.runs) == 3


def test_the_dashboard_draws_what_runs_have(folder, server):
    words = ["-m", "cftransfer.tracking", "dashboard", "--project=p", "--knob=training.epochs"]
    done = run_command(folder, *words, "--dry-run")
    assert done.returncode == 0, done.stderr
    specification = json.loads(done.stdout)
    panels = [panel for part in specification["section"]["panelBankConfig"]["sections"] for panel in part["panels"]]
    assert any(panel["config"].get("xAxis") == "config:training.value.epochs" for panel in panels)
    drawn = json.dumps(panels)
    documented = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    for name in ("found", "rate_conditional", "rates_by_pair", "extra_epochs", "test_accuracy", "figure_trend"):
        assert name in drawn
        assert f"`{name}`" in documented
    done = run_command(folder, *words, **environment_of(server))
    assert done.returncode == 0, done.stderr
    (view,) = server.views
    assert (view["projectName"], view["entityName"]) == ("p", "someone")
    assert done.stdout.startswith(server.url)
