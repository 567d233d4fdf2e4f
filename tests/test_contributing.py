"""The files that a contributor meets first: they parse, agree with each other, and name targets that exist."""

import re
import subprocess
import tomllib

import pytest
import yaml
from conftest import ROOT

HOSTED = sorted((ROOT / ".github").rglob("*.yml")) if (ROOT / ".github").is_dir() else []  # an sdist leaves it out
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = {*re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE)}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def made_in(text: str) -> set[str]:
    """The targets that a text says to make: in a command or in inline code."""
    lines = re.findall(r"(?:^|`|run: )make ([a-z-]+(?: [a-z-]+)*)", text, re.MULTILINE)
    return {word for line in lines for word in line.split()}


@pytest.mark.parametrize("path", HOSTED, ids=lambda path: path.name)
def test_files_of_the_hosting_service_parse(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.skipif(not HOSTED, reason="an sdist has no workflow")
def test_the_workflow_tests_each_python_that_the_package_allows():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert {"check", "test", "docs", "wheel"} <= set(jobs)
    assert jobs["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    named = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if "Python :: 3." in name]
    assert named == jobs["test"]["strategy"]["matrix"]["python"]


@pytest.mark.parametrize("path", [*PAGES, *HOSTED, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_every_make_target_that_a_page_or_workflow_names_exists(path):
    named = made_in(path.read_text()) if path.exists() else set()
    assert named <= TARGETS


def test_targets_are_found_in_commands_and_inline_code():
    assert made_in("```bash\nmake run\nmake setup check\n```\n`make test-slow` or make a wish; - run: make docs") == {
        "run", "setup", "check", "test-slow", "docs",
    }  # fmt: skip


def test_every_target_is_described_at_the_top_of_the_makefile_or_in_the_readme():
    text = MAKEFILE.partition("PYTHON ?=")[0] + (ROOT / "README.md").read_text() + PAGES[1].read_text()
    assert {target for target in TARGETS if f"make {target}" not in text} <= {"test-data"}


def test_one_version_stands_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    changes = re.findall(r"^## \[([\d.]+)\] - ([\d-]+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changes[0] == (PROJECT["version"], str(citation["date-released"]))
    assert citation["version"] == PROJECT["version"]
    assert [date for _, date in changes] == sorted((date for _, date in changes), reverse=True)


def test_the_citation_names_the_paper():
    (paper,) = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert paper["title"] == "Transferability of counterfactual examples across different models"
    assert paper["authors"] == [{"family-names": "Hüttemann", "given-names": "F."}]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_what_a_release_leaves_behind_is_ignored_by_git():
    left = ["dist/a.whl", ".venv-release/.done", "build/x"]
    said = subprocess.run(["git", "check-ignore", *left], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert said.split() == left
