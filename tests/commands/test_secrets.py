"""Keys and tokens in settings are refused before anything is written, and never repeated."""

import subprocess

import pytest
from conftest import SMALL, run_command
from omegaconf import OmegaConf

from cftransfer.commands.secrets import RefuseSecrets, check_config, check_words
from cftransfer.errors import InputError

WANDB_KEY, TOKEN, JWT, REMOTE = "8f" * 20, "planted-token-of-a-service", "planted-token-of-slurm", "planted-in-a-remote"


def secretive(folder, *words, **changes):
    """Run a command where secrets stand wherever a user may have them; none may be said or written."""
    home, work = folder / "home", folder / "work"
    home.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    if not (work / ".git").exists():
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        remote = f"https://user:{TOKEN}@example.org/some/where.git"
        for git in (["init", "-q"], [*who, "commit", "-qm", "x", "--allow-empty"], ["remote", "add", "origin", remote]):
            subprocess.run(["git", *git], cwd=work, check=True)
    planted = {"WANDB_API_KEY": WANDB_KEY, "SOME_TOKEN": TOKEN, "HOME": str(home), "SLURM_JWT": JWT}
    planted |= {"WANDB_GIT_REMOTE_URL": f"https://x:{REMOTE}@example.org/a.git", "SLURM_JOB_NAME": "name-of-the-job"}
    done = run_command(work, *words, **(planted | changes))
    for secret in (WANDB_KEY, TOKEN, JWT, REMOTE):
        assert secret not in done.stdout + done.stderr
        for path in folder.rglob("*"):  # W&B also writes below the home
            if path.is_file() and ".git" not in path.parts:
                assert secret.encode() not in path.read_bytes(), path
    return done


@pytest.mark.slow
def test_no_secret_is_written_anywhere(tmp_path):
    """By a job, by a sweep that logs the traceback of a failing job, by the report, and by W&B."""
    done = secretive(tmp_path, "transfer.py", *SMALL, "hydra.verbose=true")
    assert done.returncode == 0, done.stderr
    small = [word for word in SMALL if not word.startswith("model.layers")]
    done = secretive(tmp_path, "transfer.py", "-m", *small, "model.layers=0,1", "hydra.verbose=true")
    assert done.returncode == 1
    work = tmp_path / "work"
    assert any("Traceback" in path.read_text() for path in work.rglob("transfer.log"))
    runs = list(work.rglob("*.wandb"))
    assert len(runs) == 3  # two jobs, and the report of the sweep
    assert all(b"name-of-the-job" in path.read_bytes() for path in runs), "W&B records no SLURM_…: nothing is shown"
    assert len(list(work.rglob("report.html"))) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["wandb.api_key=anything"],
        [f"dataset={WANDB_KEY}"],
        [WANDB_KEY],
        ["dataset=${oc.env:SOME_TOKEN}"],
        ["-m", "hydra.sweep.dir=s3-${oc.env:SOME_TOKEN}"],
        ["-m", "hydra/launcher=local", 'hydra.launcher.setup=["export MY_TOKEN=of-another-form"]'],
    ],
    ids=range(6),
)
def test_a_secret_is_refused_in_one_line_before_anything_is_written(tmp_path, words):
    done = secretive(tmp_path, "transfer.py", *words, *SMALL)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "takes no key or token" in line
    assert not [path for path in (tmp_path / "work").iterdir() if path.name != ".git"]


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["job", "sweep"])
def test_a_secret_in_a_file_of_ones_own_is_refused_before_anything_is_written(tmp_path, sweep):
    """The words of the command are innocent: Hydra's callback sees the composed config."""
    (tmp_path / "own" / "wandb").mkdir(parents=True)
    (tmp_path / "own" / "wandb" / "mine.yaml").write_text("mode: offline\nnotes: ${oc.env:SOME_TOKEN}\n")
    done = secretive(tmp_path, "transfer.py", "--config-dir", str(tmp_path / "own"), *sweep, *SMALL, "wandb=mine")
    assert done.returncode == 1
    assert "${oc.env:SOME_TOKEN}: takes no key or token" in done.stderr.splitlines()[-1]
    assert not [path for path in (tmp_path / "work").iterdir() if path.name != ".git"]


NAMES = ["api_key", "DB_PWD", "pwd", "passphrase", "private_key", "aws_access_key_id", "SLURM_JWT", "userPassword"]
REFUSED = [
    *(f"own.{name}=x" for name in NAMES),
    *(f"+own={{{name}: x}}" for name in NAMES),
    '+own={"token": 3}',
    "+hydra.job.env_set.MY_SECRET=abc",
    "wandb.notes=${oc.env:MY_TOKEN}",
    "wandb.notes=${oc.env:MY_TOKEN,planted}",
    "wandb.notes=x-planted-api-key-x",
    "wandb.notes=x-planted-jwt-x",
]


@pytest.mark.parametrize("word", REFUSED)
def test_words_that_hold_a_secret_are_refused(word, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "planted-api-key")
    monkeypatch.setenv("SLURM_JWT", "planted-jwt")
    with pytest.raises(InputError, match="takes no key or token; settings are written to files") as caught:
        check_words([word])
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_configs_that_hold_a_secret_are_refused(name, capsys):
    config = OmegaConf.create({"own": {"list": [{name: "planted"}]}})
    with pytest.raises(InputError, match=rf"{name}: takes no key or token"):
        check_config(config)
    with pytest.raises(SystemExit):
        RefuseSecrets().on_run_start(config)
    assert "planted" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "word",
    [
        "paths.store=/cache/" + "ab" * 20,
        "paths.store=${oc.env:PWD}/secrets/store",
        "model.tokenizer=bert",
        "model.num_tokens=16",
        "+model.tokens_per_row=4",
        "wandb.notes='1 token = 1 word'",
        "wandb.group=private-keys",
        "+data.foreign_key=id",
        "model.token=null",
        "+own={token: null, use_password: false, secret: ''}",
        'hydra.launcher.setup=["export SRUN_CPUS_PER_TASK=2"]',
        "OLDPWD=/x",
        "-m",
    ],
)
def test_what_only_resembles_a_secret_is_taken(word, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")  # may stand in any word
    check_words([word, "wandb.notes=short"])


def test_what_hydra_itself_brings_is_no_secret():
    from conftest import ROOT
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for launcher in ("basic", "local", "slurm"):
            check_config(compose("transfer", overrides=[f"hydra/launcher={launcher}"], return_hydra_config=True))
