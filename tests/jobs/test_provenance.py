"""The commit of a job is that of the project's own repository, or none."""

import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from cftransfer.jobs.provenance import git_state


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    """A repository with a commit, and an untracked package in its virtual environment."""
    package = tmp_path / ".venv" / "lib" / "cftransfer"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    git(tmp_path, "init", "-q")
    (tmp_path / "mine.py").touch()
    git(tmp_path, "add", "mine.py")
    git(tmp_path, "commit", "-qm", "the user's own")
    return package


def test_outside_a_repository_there_is_no_commit(tmp_path):
    (tmp_path / "__init__.py").touch()
    assert git_state(tmp_path) is None


def test_the_commit_of_a_repository_that_only_surrounds_the_package_is_not_recorded(repository):
    assert git_state(repository) is None


def test_the_commit_of_the_projects_own_repository_is_recorded(repository):
    git(repository, "add", "__init__.py")
    git(repository, "commit", "-qm", "a clone")
    state = git_state(repository)
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (repository / "new").touch()
    assert git_state(repository)["dirty"] is True


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_of_this_clone_the_commit_is_recorded():
    assert len(git_state()["commit"]) == 40
