"""One W&B run, from its settings to its end: offline here; test_server.py has a server."""

import os
from pathlib import Path

import pytest
from conftest import composed
from omegaconf import OmegaConf

from cftransfer.errors import InputError
from cftransfer.tracking import __main__ as tracking_main
from cftransfer.tracking import connection
from cftransfer.tracking.report_run import figures

SETTINGS = {"mode": "offline", "project": "p", "entity": None, "group": None, "notes": None, "finish_timeout": 60}


@pytest.mark.parametrize("name", ["entity", "group", "project"])
@pytest.mark.parametrize("value", [["a"], "", " ", True, 1.5, "x" * 129])
def test_what_is_no_word_for_wandb_is_refused_by_its_key(name, value):
    with pytest.raises(InputError, match=rf"^wandb\.{name}="):
        connection.checked({**SETTINGS, name: value})


@pytest.mark.parametrize("value", [None, "a/b", "50%", "a#b"])
def test_a_project_has_a_name_that_wandb_takes(value):
    with pytest.raises(InputError, match=r"^wandb\.project="):
        connection.checked({**SETTINGS, "project": value})


def test_a_number_is_a_word_and_blanks_around_one_are_no_part_of_it():
    checked = connection.checked({**SETTINGS, "project": 2024, "group": 3, "entity": " me "})
    assert (checked["project"], checked["group"], checked["entity"]) == ("2024", "3", "me")


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), 86_401, "60", True])
def test_a_job_waits_for_its_upload_for_a_day_at_most(seconds):
    with pytest.raises(InputError, match=r"^wandb\.finish_timeout=.*: must be a number > 0 and ≤ 86400"):
        connection.checked({**SETTINGS, "finish_timeout": seconds})
    assert connection.checked({**SETTINGS, "finish_timeout": 86_400})


@pytest.mark.parametrize(("variable", "value"), [("WANDB_MODE", "dryrun"), ("WANDB_PROJECT", "a/b")])
def test_a_wrong_setting_that_comes_from_the_environment_is_named_by_its_variable(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    settings = OmegaConf.to_container(composed("wandb=auto").wandb, resolve=True)
    with pytest.raises(InputError, match=rf"^{variable}={value}: must be"):
        connection.checked(settings)
    with pytest.raises(InputError, match=r"^wandb\.mode=typed: must be"):
        connection.checked({**settings, "mode": "typed"})


@pytest.mark.parametrize(("value", "mode"), [(None, "offline"), ("", "offline"), ("online", "online")])
def test_the_mode_may_come_from_the_environment_where_an_empty_one_is_none(monkeypatch, value, mode):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if value is not None:
        monkeypatch.setenv("WANDB_MODE", value)
    assert composed().wandb.mode == mode
    assert composed("wandb=disabled").wandb.mode == "disabled"


@pytest.mark.parametrize(("value", "project"), [(None, "cftransfer"), ("", "cftransfer"), ("mine", "mine")])
def test_the_project_may_come_from_the_environment(monkeypatch, value, project):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    if value is not None:
        monkeypatch.setenv("WANDB_PROJECT", value)
    assert composed().wandb.project == project
    assert composed("wandb.project=typed").wandb.project == "typed"


@pytest.mark.parametrize("address", ["http://bob:pw@localhost:9", "https://token@example.org/"])
def test_an_address_of_the_server_with_a_password_is_refused_and_not_repeated(monkeypatch, tmp_path, address):
    monkeypatch.setenv("WANDB_BASE_URL", address)
    for ask in (lambda: connection.checked(SETTINGS), lambda: tracking_main._done("sync", {"folder": [tmp_path]})):
        with pytest.raises(InputError, match=r"^WANDB_BASE_URL: must not hold a user .* WANDB_API_KEY$"):
            ask()
    assert connection.checked({**SETTINGS, "mode": "disabled"})
    monkeypatch.setenv("WANDB_BASE_URL", "https://example.org/a@b")
    assert connection.checked(SETTINGS)


@pytest.mark.parametrize("odd", [None, "online", {}, {"mode": "offline"}])
def test_odd_settings_are_one_line(odd):
    with pytest.raises(InputError, match=r"^wandb"):
        connection.checked(odd)


@pytest.mark.parametrize(("variable", "value"), [("WANDB_MODE", "garbage"), ("WANDB_INIT_TIMEOUT", "abc")])
def test_a_bad_variable_of_wandbs_is_named_and_its_value_is_not(variable, value):
    import wandb

    with pytest.raises(ValueError, match=value) as raised:
        wandb.Settings().update_from_env_vars({variable: value})
    line = connection.unreachable(SETTINGS, raised.value)
    assert line.startswith(f"{variable}: Input should be")
    assert value not in line
    assert "\n" not in line


GONE = {"WANDB_SERVICE": "3-1-unix-/tmp/gone.sock", "WANDB_SWEEP_ID": "abc", "WANDB_MODE": "dryrun"}


def test_what_other_runs_left_in_the_environment_is_out_of_it_for_a_while(monkeypatch, tmp_path):
    for name, value in (GONE | {"WANDB_API_KEY": "x"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    before = dict(os.environ)
    with connection.environment(tmp_path):
        assert not set(GONE) & set(os.environ)
        assert os.environ["WANDB_API_KEY"] == "x"
        assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "wandb" / "staged")
    assert os.environ == before
    with pytest.raises(KeyError), connection.environment(tmp_path):
        os.environ.pop("nope")
    assert os.environ == before
    monkeypatch.setenv("WANDB_DATA_DIR", "/mine")
    with connection.environment(tmp_path):
        assert os.environ["WANDB_DATA_DIR"] == "/mine"


def run_in(folder: Path, tell=None, **known) -> str | None:
    """The fault of a run that is kept offline in this folder, or None."""
    with connection.environment(folder):
        return connection.end(connection.begin(SETTINGS, folder, id="abc", **known), tell)


def test_a_file_where_wandbs_folder_should_be_is_named(tmp_path):
    (tmp_path / "wandb").touch()
    with pytest.raises(InputError, match=rf"^{tmp_path}/wandb/offline-run-.*; move it out of the way"):
        run_in(tmp_path)


def test_secrets_that_wandb_would_record_are_out_of_the_environment_while_a_run_begins(tmp_path, monkeypatch):
    import wandb

    begun, real = [], wandb.init
    monkeypatch.setattr(wandb, "init", lambda **words: begun.append((words, dict(os.environ))) or real(**words))
    secret = {"SLURM_JWT": "x", "SLURM_EXPORT_ENV": "T=ghp_" + "aB3" * 12, "SLURM_REST_TOKEN": "y"}
    for name, value in (secret | {"SLURM_JOB_ID": "7", "WANDB_GIT_REMOTE_URL": "https://x:pw@a.org"}).items():
        monkeypatch.setenv(name, value)
    assert run_in(tmp_path) is None
    ((words, environment),) = begun
    assert not {*secret, "WANDB_GIT_REMOTE_URL"} & set(environment)
    assert environment["SLURM_JOB_ID"] == "7"
    assert secret.items() <= os.environ.items()
    assert words["settings"].disable_git  # the repository where the command is typed is not the project's
    assert not words["settings"].x_save_requirements


def test_what_wandb_raises_or_warns_of_is_one_line_and_ends_nothing(tmp_path):
    import wandb

    def refuse(run):
        raise OSError("no space\nleft")

    def warn(run):
        wandb.termwarn("Some run data will not be synced")

    assert run_in(tmp_path, refuse) == "OSError: no space left"
    assert run_in(tmp_path, warn) == "Some run data will not be synced"
    assert run_in(tmp_path, lambda run: run.log({"x": 1})) is None


def test_a_full_disk_is_noticed_though_wandb_says_that_all_is_well(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left on device" in run_in(tmp_path)


def test_a_report_has_no_figures_but_its_own(tmp_path):
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(b"\x89PNG\r\n\x1a\n")
    (sweep := tmp_path / "sweep").mkdir()
    (sweep / "link.png").symlink_to(elsewhere)
    (sweep / "key.png").write_text("secret")
    assert figures(sweep, []) == {}


def test_a_password_in_the_servers_address_is_asked_nothing_and_not_repeated(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_BASE_URL", "http://user:hunter2hunter2@127.0.0.1:9")
    monkeypatch.setattr(connection, "ask_server", lambda: pytest.fail("asked"))
    with pytest.raises(InputError, match="must not hold a user or password") as raised:
        tracking_main._done("sync", {"folder": [tmp_path]})
    assert "hunter2" not in str(raised.value)
