"""Every other command of the README, as a user types it, on small models; test_commands.py has the main ones."""

import re
import shlex

import pytest
from conftest import run_command
from photos import put_cifar10, put_tree
from pums import persons, put
from tables import cancer
from test_commands import ALL, MAIN, README

pytestmark = pytest.mark.slow  # two minutes; make test-slow and CI run it
COMMANDS = [
    shlex.split(line.partition("#")[0])
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python ")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder and store for all commands."""
    folder = tmp_path_factory.mktemp("readme")
    put(folder / "data", persons(400))
    put_cifar10(folder / "data")
    cancer().dropna().rename(columns={"diagnosis": "approved"}).to_csv(folder / "loans.csv", index=False)
    put_tree(folder / "data" / "imagenet")
    put_tree(folder / "data" / "pets", positive="cat")
    small = ["dataset=moons", "debug=fast"]
    assert run_command(folder, "transfer.py", *small, WANDB_MODE="disabled").returncode == 0  # for the report of it
    return folder


@pytest.mark.parametrize("command", [c for c in COMMANDS if shlex.join(c) not in (MAIN, ALL)], ids=shlex.join)
def test_every_command_of_the_readme_runs(command, folder):
    small = [] if command[1] == "-m" or "--help" in command or "train.py" in command else ["debug=fast"]
    if "dataset=table" in command:  # trained for one epoch, its models find nothing
        small = ["samples=20", "replicates.bases=2", "replicates.references=2"]
    small += (
        ["samples=8", "dataset.size=32"] if {"dataset=imagenet_orange", "dataset=image_folder"} & {*command} else []
    )
    done = run_command(folder, *command[1:], *small, WANDB_MODE="disabled")
    assert done.returncode == 0, done.stderr


def test_the_readme_has_commands():
    assert len(COMMANDS) > 10
