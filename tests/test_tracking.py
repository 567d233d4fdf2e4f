"""Small parts of tracking; test_commands.py reads whole W&B runs back, test_tracking_server.py has a server."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, composed, environment
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cftransfer.errors import InputError
from cftransfer.jobs import provenance, resume
from cftransfer.jobs.read import PNG
from cftransfer.report.collect import Jobs
from cftransfer.secrets import unrecorded
from cftransfer.settings import flat
from cftransfer.tracking import __main__ as tracking_main
from cftransfer.tracking import continued, names, offline, report_run, run, sync
from cftransfer.tracking.dashboard import dashboard


def test_nested_settings_are_flat():
    assert flat({"model": {"layers": 4, "more": {"x": None}}, "seed": 0, "reference": {}}) == {
        "model.layers": 4,
        "model.more.x": None,
        "seed": 0,
        "reference": {},
    }


@given(
    st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3))
)
def test_no_setting_is_lost(config):
    def leaves(value):
        return sum(map(leaves, value.values())) if isinstance(value, dict) else 1

    assert len(flat(config)) == leaves(config)


def test_git_state_is_the_commit_of_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "facts.py"))
    assert provenance.git_state() is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    state = provenance.git_state()
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "new").write_text("")
    assert provenance.git_state()["dirty"] is True


def named(*overrides: str, config: str = "transfer") -> tuple[str, list[str]]:
    """The name and the tags of the job that these words make."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(config, overrides=list(overrides), return_hydra_config=True)
    chosen = {name.rpartition("@")[2]: cfg.hydra.runtime.choices.get(name) for name in provenance.GROUPS}
    settings = OmegaConf.to_container(composed(*overrides, name=config), resolve=True)
    chosen = {name: option for name, option in chosen.items() if option is not None}
    return names.name(settings, chosen, overrides), names.tags(settings, chosen)


NAMES = {
    (): "seed compas mlp 4×64",
    ("experiment=more_layers",): "more_layers compas mlp 4×64 → 6×64",
    ("experiment=more_layers", "extra_layers=1", "model.layers=2"): "more_layers compas mlp 2×64 → 3×64",
    ("experiment=more_features",): "more_features compas mlp 4×64 → 4×128",
    ("experiment=continued_training",): "continued_training compas mlp 4×64 +20 epochs",
    ("experiment=technique",): "technique compas mlp 4×64 → decision_tree",
    ("experiment=technique", "model=svm", "model@reference.model=mlp"): "technique compas svm → mlp 4×64",
    ("experiment=technique", "model=knn", "model@reference.model=knn"): "technique compas knn",
    ("model=random_forest", "+reference.model.n_estimators=10"): "seed compas random_forest → n_estimators=10",
    ("+reference.training.lr=0.1",): "seed compas mlp 4×64 lr 0.001 → 0.1",
    ("seed=3", "counterfactual=wachter", "samples=9"): "seed compas mlp 4×64 wachter seed 3",
    ("dataset=cifar10_airplane", "counterfactual.confidence=0.9"): "seed cifar10_airplane cnn 4×16 confidence=0.9",
    ("dataset=cifar10_airplane", "model=resnet18"): "seed cifar10_airplane resnet18",
}


@pytest.mark.parametrize(("words", "name"), NAMES.items())
def test_a_run_has_a_name_that_a_person_can_read(words, name):
    assert named(*words)[0] == name


def test_a_population_has_one_too():
    assert named("model.layers=2", config="train") == ("train compas mlp 2×64", ["train", "compas"])


OPTIONS = [
    f"{group}={path.stem}"
    for group in ("experiment", "model", "dataset", "counterfactual")
    for path in sorted((ROOT / "conf" / group).glob("*.yaml"))
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_named_or_tagged(option):
    value = option.partition("=")[2]
    words = [option, "dataset.positive=x"] if value == "image_folder" else [option]
    name, tags = named(*words)
    assert len(name) <= names.LONGEST_NAME
    assert value in [*name.split(), *tags]
    assert tags[:1] == [name.split()[0]]


def test_tags_of_the_user_come_last_and_once():
    assert named("wandb.tags=[pilot,compas]")[1] == ["seed", "compas", "gradient", "pilot"]
    with pytest.raises(InputError, match=r"wandb\.tags"):
        named("wandb.tags=[3]")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The file of a run that was kept offline, of more than a block."""
    import wandb

    folder = tmp_path_factory.mktemp("kept")
    with wandb.init(mode="offline", dir=folder, settings=wandb.Settings(console="off", silent=True)) as run:
        for step in range(200):
            run.log({"text": "x" * 500}, step=step)
    (file,) = offline.files(folder)
    assert offline.is_offline(file)
    assert offline.ended(file, patience=5)
    return file


def test_a_file_that_is_cut_short_has_not_ended(kept, tmp_path):
    whole, file = kept.read_bytes(), tmp_path / "run-x.wandb"
    for size in (0, 5, 100, 40_000, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert not offline.ended(file)


@pytest.mark.parametrize("at", [7, 20, 700, 3_000, 32_768, 40_001])
def test_a_file_that_is_damaged_in_the_middle_has_not_ended(kept, tmp_path, at):
    whole, file = kept.read_bytes(), tmp_path / "run-x.wandb"
    flipped = bytes(255 - byte for byte in whole[at : at + 3])
    for content in (whole[:at] + whole[at + 400 :], whole[:at] + flipped + whole[at + 3 :]):
        file.write_bytes(content)
        assert not offline.ended(file)


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("https://ghp_token:x-oauth-basic@example.org/a.git", True),
        ("https://ghp_token@example.org/a.git", True),
        ("https://example.org/a@b.git", False),
        ("git@example.org:a/b.git", False),
    ],
)
def test_a_remote_with_a_token_is_kept_from_wandb(tmp_path, monkeypatch, url, holds):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "remote", "add", "origin", url], check=True)
    assert provenance.remotes_hold_credentials.__wrapped__() is holds


SETTINGS = {"mode": "offline", "project": "p", "entity": None, "group": None, "notes": None, "finish_timeout": 60}


@pytest.mark.parametrize("name", ["entity", "group", "project"])
@pytest.mark.parametrize("value", [["a"], "", " ", True, 1.5, "x" * 129])
def test_what_is_no_word_for_wandb_is_refused_by_its_key(name, value):
    with pytest.raises(InputError, match=rf"^wandb\.{name}="):
        run.checked({**SETTINGS, name: value})


@pytest.mark.parametrize("value", [None, "a/b", "50%", "a#b"])
def test_a_project_has_a_name_that_wandb_takes(value):
    with pytest.raises(InputError, match=r"^wandb\.project="):
        run.checked({**SETTINGS, "project": value})


def test_a_number_is_a_word_and_blanks_around_one_are_no_part_of_it():
    checked = run.checked({**SETTINGS, "project": 2024, "group": 3, "entity": " me "})
    assert (checked["project"], checked["group"], checked["entity"]) == ("2024", "3", "me")


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), 86_401, "60", True])
def test_a_job_waits_for_its_upload_for_a_day_at_most(seconds):
    with pytest.raises(InputError, match=r"^wandb\.finish_timeout=.*: takes a number > 0 and ≤ 86400"):
        run.checked({**SETTINGS, "finish_timeout": seconds})
    assert run.checked({**SETTINGS, "finish_timeout": 86_400})


@pytest.mark.parametrize(
    ("variable", "value"), [("WANDB_MODE", "dryrun"), ("WANDB_MODE", ""), ("WANDB_PROJECT", "a/b")]
)
def test_a_wrong_setting_that_comes_from_the_environment_is_named_by_its_variable(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    settings = OmegaConf.to_container(composed("wandb=auto").wandb, resolve=True)
    with pytest.raises(InputError, match=rf"^{variable}={value}: takes"):
        run.checked(settings)
    with pytest.raises(InputError, match=r"^wandb\.mode=typed: takes"):
        run.checked({**settings, "mode": "typed"})


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
    for ask in (lambda: run.checked(SETTINGS), lambda: tracking_main._done("sync", {"folder": [tmp_path]})):
        with pytest.raises(InputError, match=r"^WANDB_BASE_URL: takes no user .* WANDB_API_KEY$"):
            ask()
    assert run.checked({**SETTINGS, "mode": "disabled"})
    monkeypatch.setenv("WANDB_BASE_URL", "https://example.org/a@b")
    assert run.checked(SETTINGS)


def test_secrets_that_wandb_would_record_come_back(monkeypatch):
    for name, value in (("SLURM_JWT", "x"), ("SLURM_ACCOUNT", "me"), ("SLURM_JOB_ID", "7")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_GIT_REMOTE_URL", "https://x:pw@example.org/a.git")
    before = dict(os.environ)
    with unrecorded():
        gone = set(before) - set(os.environ)
    assert gone == {"SLURM_JWT", "WANDB_GIT_REMOTE_URL"}
    assert os.environ == before
    with pytest.raises(KeyError), unrecorded():
        os.environ.pop("SLURM_JWT")
    assert os.environ == before


def test_the_command_that_uploads_a_run_can_be_pasted(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    offline_run = SimpleNamespace(disabled=False, offline=True)
    run._say(run.Tracked(offline_run), tmp_path / "a b;c", failed=False)
    run._say(run.Tracked(offline_run, ["gone"]), tmp_path / "a b;c", failed=False)
    assert [line.endswith("tracking sync 'a b;c'") for line in caplog.messages] == [True, True]


@pytest.mark.parametrize("odd", [None, "online", {}, {"mode": "offline"}])
def test_odd_settings_are_one_line(odd):
    with pytest.raises(InputError, match=r"^wandb"):
        run.checked(odd)


@pytest.mark.parametrize(("variable", "value"), [("WANDB_MODE", "garbage"), ("WANDB_INIT_TIMEOUT", "abc")])
def test_a_bad_variable_of_wandbs_is_named_and_its_value_is_not(variable, value):
    import wandb

    with pytest.raises(ValueError, match=value) as raised:
        wandb.Settings().update_from_env_vars({variable: value})
    line = run.unreachable(SETTINGS, raised.value)
    assert line.startswith(f"{variable}: Input should be")
    assert value not in line
    assert "\n" not in line


def told(folder: Path, **init) -> str | None:
    """What W&B lacks of a run that is kept offline in this folder."""
    place = run.where(SETTINGS, folder, id_="abc")
    return run.tell(lambda _: None, SETTINGS, place, **init)


def test_a_file_where_wandbs_folder_should_be_is_named(tmp_path):
    (tmp_path / "wandb").touch()
    assert told(tmp_path).startswith(f"{tmp_path}/wandb/offline-run-")


def test_wandb_records_nothing_of_the_folder_where_sync_is_typed(tmp_path, monkeypatch):
    import wandb

    begun, real = [], wandb.init
    monkeypatch.setattr(wandb, "init", lambda **words: begun.append(words["settings"]) or real(**words))
    assert told(tmp_path) is None
    (settings,) = begun
    assert settings.disable_git
    assert not settings.x_save_requirements


def test_the_group_of_a_sweep_is_its_folder_as_typed_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (job := tmp_path / "multirun" / "a" / "3").mkdir(parents=True)
    assert run.sweep_of(job) is None
    (job.parent / "multirun.yaml").touch()
    assert {names.group(Path("multirun/a")), names.group(job.parent), run.sweep_of(job)} == {"multirun/a"}
    long = names.group(Path("x" * 100) / ("y" * 100))
    assert (len(long), long[0], long[-101:]) == (128, "…", "/" + "y" * 100)


def test_a_run_goes_by_what_the_job_is_and_a_report_by_its_folder():
    assert run._id(Path("a"), "more") != run._id(Path("a"), "less")
    assert run._id(Path("a")) != run._id(Path("b"))


def test_where_no_job_has_a_result_there_is_no_report_and_no_traceback(tmp_path, caplog):
    assert "holds no resume job" in report_run(tmp_path)
    assert "W&B lacks the report of" in caplog.text


def test_a_report_has_no_figures_but_its_own(tmp_path):
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(PNG)
    (sweep := tmp_path / "sweep").mkdir()
    (sweep / "link.png").symlink_to(elsewhere)
    (sweep / "key.png").write_text("secret")
    assert run._figures(sweep, Jobs([], {})) == {}


def put_run(folder: Path, id_: str = "abc", *, second: int = 0, content: bytes = b"") -> Path:
    """The file of a run that was kept offline; without content, it is cut short."""
    file = folder / "wandb" / f"offline-run-20260101_00000{second}-{id_}" / f"run-{id_}.wandb"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


@functools.cache
def moons_config() -> dict:
    return OmegaConf.to_container(composed("dataset=moons"), resolve=True)


def put_job(folder: Path, *, content: bytes = b"", **changes) -> Path:
    """What a job leaves in its folder, as far as sync reads it."""
    file, table = put_run(folder, content=content), pd.DataFrame({"base": [0]}).to_parquet()
    chosen = {"experiment": "seed", "dataset": "moons", "model": "mlp"}
    result = {"config": moons_config(), "choices": chosen, "overrides": [], "metrics": {"rate": 0.5}, "versions": {}}
    result |= {"git": None, "wandb": offline.run_id(file), "files": {"pairs.parquet": resume.digest(table)}} | changes
    (folder / "pairs.parquet").write_bytes(table)
    (folder / "result.json").write_text(json.dumps(result))
    return file


@pytest.fixture
def uploads(monkeypatch):
    """What sync would upload: by `wandb sync`, files; from folders, what it tells the runs."""
    seen = {"wandb sync": [], "told": []}

    def by_wandb(fresh):
        seen["wandb sync"] += fresh.values()
        return dict.fromkeys(fresh)

    def tell(action, settings, place, **known):
        action(None)
        seen["told"][-1] |= {"id": place["id"], "group": known["group"], "mode": place["mode"]}

    monkeypatch.setattr(sync, "_unreached", lambda: None)
    monkeypatch.setattr(sync, "_by_wandb", by_wandb)
    monkeypatch.setattr(continued, "publish", lambda _, **told: seen["told"].append(told))
    monkeypatch.setattr(continued, "tell", tell)
    return seen


def test_a_damaged_run_is_made_from_what_lies_in_its_folder(tmp_path, uploads, capsys):
    put_job(tmp_path / "job")
    assert sync.sync([tmp_path]) == 0
    (told,) = uploads["told"]
    assert (told["id"], told["mode"], told["metrics"]) == ("abc", "online", {"rate": 0.5})
    assert list(told["tables"]) == ["pairs"]
    assert capsys.readouterr().out == f"{tmp_path}/job: uploaded\n"
    assert sync.sync([tmp_path]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/job: already there\n"


def test_what_has_begun_to_be_uploaded_is_not_given_to_wandb_sync_again(kept, tmp_path, uploads):
    files = [put_job(tmp_path / name, content=kept.read_bytes()) for name in ("new", "begun")]
    files[1].with_suffix(".wandb.syncstate").write_text("{}")
    failed = put_run(tmp_path / "failed", content=kept.read_bytes())  # has no steps, and nothing else to upload
    failed.with_suffix(".wandb.syncstate").write_text("{}")
    assert sync.sync([tmp_path]) == 0
    assert sorted(uploads["wandb sync"]) == sorted([files[0], failed])
    assert len(uploads["told"]) == 1


def test_what_wandb_sync_fails_with_is_made_from_its_folder(kept, tmp_path, uploads, monkeypatch, capsys):
    put_job(tmp_path / "job", content=kept.read_bytes())
    put_run(tmp_path / "failed", content=kept.read_bytes())
    monkeypatch.setattr(sync, "_by_wandb", lambda fresh: dict.fromkeys(fresh, "a reason"))
    assert sync.sync([tmp_path]) == 1
    assert len(uploads["told"]) == 1
    assert capsys.readouterr().out == f"{tmp_path}/failed: not uploaded: a reason\n{tmp_path}/job: uploaded\n"


def test_the_reason_is_that_of_the_jobs_own_file(tmp_path):
    files = [put_run(tmp_path / name, id_) for name, id_ in (("a", "abc"), ("b", "abc"), ("c", "xyz"))]
    said = [f'wandb: ERROR Failed to read "{files[0].parent}": bad', "wandb: ERROR [p/xyz] gone"]
    assert [sync._why(file, said) for file in (files[0], files[2])] == said
    assert sync._why(put_run(tmp_path / "d", "other"), said) == "wandb sync did not say why"


def nothing(job: Path) -> None:
    """No damage."""


def odd_table(job: Path) -> None:
    (job / "pairs.parquet").write_text("x")


OTHER = pd.DataFrame({"base": [1]}).to_parquet()
MANY = pd.DataFrame({"base": np.zeros(2**25 + 1, np.int8)}).to_parquet()  # small on disk
ODD = {
    "no result": ({}, lambda job: (job / "result.json").unlink(), "the job has not ended; run it again"),
    "list": ({}, lambda job: (job / "result.json").write_text("[]"), "result.json: cannot be read"),
    "half": ({}, lambda job: (job / "result.json").write_text("{"), "result.json: cannot be read"),
    "no config": ({"config": {}}, nothing, "result.json: cannot be read"),
    "odd config": ({"config": {"wandb": {"mode": "offline"}}}, nothing, "wandb.project"),
    "odd table": ({"files": {"pairs.parquet": resume.digest(b"x")}}, odd_table, "pairs.parquet: cannot be read"),
    "no files": ({"files": 3}, nothing, "result.json: cannot be read"),
    "other run": ({"wandb": "xyz"}, nothing, "result.json: is of another run"),
    "no table": ({}, lambda job: (job / "pairs.parquet").unlink(), "pairs.parquet: is no file in the job's folder"),
    "bad table": (
        {},
        lambda job: (job / "pairs.parquet").write_bytes(OTHER),
        "pairs.parquet: is not as it was written",
    ),
    "absolute": ({"files": {"/etc/passwd": ""}}, nothing, "/etc/passwd: is no file in the job's folder"),
    "above": ({"files": {"../other.parquet": ""}}, nothing, "../other.parquet: is no file in the job's folder"),
    "many values": (
        {"files": {"pairs.parquet": resume.digest(MANY)}},
        lambda job: (job / "pairs.parquet").write_bytes(MANY),
        "pairs.parquet: cannot be read (ValueError: it has 33,554,433 values, more than 33,554,432); run the job again",
    ),
    "picture": ({"files": {"examples/a.png": ""}}, nothing, "examples/a.png: is no file in the job's folder"),
}


@pytest.mark.parametrize(("changes", "damage", "said"), ODD.values(), ids=ODD)
def test_an_odd_job_is_one_line_and_the_others_go_on(tmp_path, uploads, capsys, changes, damage, said):
    pd.DataFrame({"secret": [1]}).to_parquet(tmp_path / "other.parquet")
    put_job(tmp_path / "1", **changes)
    (tmp_path / "1" / "examples").mkdir()
    (tmp_path / "1" / "examples" / "a.png").symlink_to("/etc/passwd")
    damage(tmp_path / "1")
    put_job(tmp_path / "2")
    assert sync.sync([tmp_path]) == 1
    odd, good = capsys.readouterr().out.splitlines()
    assert odd.startswith(f"{tmp_path}/1: not uploaded: {said}")
    assert "again" in odd or said.startswith(("wandb", "result.json: is of another"))
    assert good == f"{tmp_path}/2: uploaded"
    assert len(uploads["told"]) == 1


def test_only_tables_that_are_told_are_read(tmp_path, uploads):
    table = pd.DataFrame({"epoch": [1], "seed": [0], "role": ["base"], "test_loss": [0.5]})[
        ["epoch", "seed", "test_loss"]
    ]
    files = {"curves.parquet": resume.digest(table.to_parquet()), "transfers.parquet": "", "other.parquet": ""}
    for name, chosen in (("transfer", {"experiment": "seed"}), ("train", {})):
        put_job(tmp_path / name, files=files, choices={"dataset": "moons", "model": "mlp", **chosen})
        (tmp_path / name / "curves.parquet").write_bytes(table.to_parquet())
        for other in ("transfers", "other"):
            (tmp_path / name / f"{other}.parquet").write_bytes(MANY)
    assert sync.sync([tmp_path]) == 0
    train, transfer = uploads["told"]
    assert (list(train["tables"]), list(transfer["tables"])) == (["curves"], [])
    assert train["history"].test_loss.tolist() == [0.5]


def test_a_pipe_in_place_of_a_runs_file_is_none(tmp_path):
    put_run(tmp_path, "old")
    file = put_run(tmp_path, second=1)
    file.unlink()
    os.mkfifo(file)
    assert [offline.run_id(file) for file in offline.files(tmp_path)] == ["old"]


def test_pictures_are_those_of_the_job_and_pngs(tmp_path, uploads):
    contents = {"a": PNG, "b": b"secret", "unlisted": PNG}
    put_job(tmp_path / "job", files={f"examples/{name}.png": resume.digest(contents[name]) for name in "ab"})
    (tmp_path / "job" / "examples").mkdir()
    for name, content in contents.items():
        (tmp_path / "job" / "examples" / f"{name}.png").write_bytes(content)
    assert sync.sync([tmp_path]) == 0
    assert list(uploads["told"][0]["pictures"]) == ["a"]


def test_what_cannot_be_marked_is_uploaded_all_the_same(tmp_path, uploads, capsys):
    file = put_job(tmp_path / "job")
    file.with_suffix(".wandb.synced").symlink_to(
        tmp_path / "nowhere" / "x"
    )  # a disk that can only be read: tests may be root
    assert sync.sync([tmp_path]) == 0
    assert "job: uploaded, but cannot be marked as uploaded (No such file or directory)" in capsys.readouterr().out


def test_the_run_of_a_jobs_earlier_settings_is_left_alone(tmp_path, uploads):
    earlier = put_run(tmp_path / "job", "old")
    put_run(tmp_path / "job", second=1)
    put_run(tmp_path / "new")
    for file in (tmp_path / "new").rglob("*.wandb"):
        file.unlink()
    assert [offline.run_id(file) for file in offline.files(tmp_path / "job")] == ["abc"]
    assert offline.files(tmp_path / "new") == []
    sync.sync([tmp_path])
    assert not offline.is_marked(earlier)


def test_a_run_that_is_not_of_the_jobs_result_is_left_alone(kept, tmp_path, uploads, capsys):
    """Where wandb=disabled has left no run of the result, and where that is not the last one."""
    strange = put_job(tmp_path / "disabled", content=kept.read_bytes(), wandb="xyz")
    own = put_job(tmp_path / "own", content=kept.read_bytes())
    later = put_run(tmp_path / "own", "later", second=1, content=kept.read_bytes())
    said = f"{tmp_path}/disabled: not uploaded: result.json: is of another run than run-abc.wandb, whose result is gone"
    assert sync.sync([tmp_path]) == 1
    assert capsys.readouterr().out.splitlines() == [said, f"{tmp_path}/own: uploaded"]
    assert uploads["wandb sync"] == [own]
    assert not offline.is_marked(strange) | offline.is_marked(later)
    offline.mark(strange)
    assert sync.sync([tmp_path]) == 1
    assert capsys.readouterr().out.splitlines() == [said, f"{tmp_path}/own: already there"]


def test_every_folder_that_is_not_there_or_holds_no_run_is_named(tmp_path, uploads, capsys):
    put_job(tmp_path / "good")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"/no: no such folder; .*/nor: no such folder$"):
        sync.sync([tmp_path / "no", tmp_path / "good", tmp_path / "nor"])
    with pytest.raises(InputError, match=r"/empty: no W&B run in there"):
        sync.sync([tmp_path / "empty"])
    assert sync.sync([tmp_path / "empty", tmp_path / "good"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path}/empty: no W&B run in there; jobs of wandb=disabled have none"
    assert second == f"{tmp_path}/good: uploaded"


def test_who_names_what_wandb_sync_takes_is_told_the_jobs_folder(tmp_path, uploads, monkeypatch):
    file = put_job(tmp_path / "job")
    for path in (file, file.parent, file.parent.parent):
        with pytest.raises(
            InputError, match=f"^{path}: is W&B's part of a job; name the job's folder, {tmp_path}/job$"
        ):
            sync.sync([path])
    monkeypatch.chdir(file.parent)
    with pytest.raises(InputError, match=rf"^\.: is W&B's part of a job; name the job's folder, {tmp_path}/job$"):
        sync.sync([Path()])
    with pytest.raises(InputError, match=r"^.*/result\.json: is a file, not a folder$"):
        sync.sync([tmp_path / "job" / "result.json"])


def test_who_has_seen_enough_of_sync_sees_no_traceback(tmp_path):
    offline.mark(put_job(tmp_path))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "cftransfer.tracking", "sync", str(tmp_path)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_name_of_a_folder_cannot_steer_a_terminal(tmp_path, uploads, capsys):
    put_job(tmp_path / "a\x1b[2Jb")
    sync.sync([tmp_path])
    assert capsys.readouterr().out == f"{tmp_path}/a\\x1b[2Jb: uploaded\n"


@pytest.mark.parametrize(
    "given",
    [{"project": "a/b"}, {"project": ""}, {"entity": ""}]
    + [{"knob": knob} for knob in ("", "model..layers", ".layers", "layers.", "model.layers.value", "a b", "1")],
)
def test_the_dashboard_refuses_what_would_draw_nothing(given):
    words = {"project": "p", "entity": None, "knob": "model.layers", "name": "n", "dry_run": True} | given
    with pytest.raises(InputError, match=f"^--{next(iter(given))}"):
        dashboard(**words)


def test_a_password_in_the_servers_address_is_asked_nothing_and_not_repeated(monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://user:hunter2hunter2@127.0.0.1:9")
    reason = sync._unreached()
    assert reason.startswith("WANDB_BASE_URL: takes no user or password")
    assert "hunter2" not in reason
