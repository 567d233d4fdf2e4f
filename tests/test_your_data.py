"""Your own data, from a file to a report with one command: docs/guides/your-table.md as a stranger reads it, others."""

import os
import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
import tables
from conftest import ROOT, results, run_command
from test_docs import blocks

PAGE = (ROOT / "docs" / "guides" / "your-table.md").read_text()
SHELL = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]  # fmt: skip
SMALL = ("training.epochs=1", "replicates.bases=2", "replicates.references=2", "samples=20", "wandb=disabled")


def transfer(folder, *words):
    return run_command(folder, "transfer.py", "dataset=table", *words, *SMALL, "hydra.run.dir=job")


@pytest.mark.slow
def test_the_page_leads_a_stranger_from_a_csv_to_a_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, _, *python = blocks(PAGE)[0], None, *blocks(PAGE)[1:]
    exec(make, {})
    refused, *others = [line for line in SHELL if line.startswith("python ")]
    done = run_command(tmp_path, *shlex.split(refused)[1:], WANDB_MODE="disabled")
    assert done.returncode == 1
    assert done.stderr.strip().endswith(re.findall(r"failed: (column patient.*)\n", PAGE)[0])
    for line in others[:1]:
        done = run_command(tmp_path, *shlex.split(line)[1:], WANDB_MODE="disabled")
        assert done.returncode == 0, done.stderr
        promised = re.findall(r"```\n(cancer\.csv: features.*?)```", PAGE, re.DOTALL)[0].splitlines()
        said = done.stdout + done.stderr
        for expected in promised:
            assert expected == "…" or expected in said, expected
    (written,) = Path("outputs").glob("*/*/features.yaml")
    shutil.copy(written, "features.yaml")
    text = Path("features.yaml").read_text()
    for name in ("age", "site"):
        head, _, rest = text.partition(f"\n{name}:")
        text = f"{head}\n{name}:" + rest.replace("mutable: true", "mutable: false", 1)
    Path("features.yaml").write_text(text)
    for line in others[1:]:
        fast = ["replicates.bases=1", "replicates.references=2", "samples=20"]
        fast += ["training.epochs=1"] if "digits" in line else []
        done = run_command(tmp_path, *shlex.split(line)[1:], *fast, WANDB_MODE="disabled")
        assert done.returncode == 0, (line, done.stderr)
    exec("\n".join(python), {})
    edited = [path for path in tmp_path.rglob("features.yaml") if "mutable: false" in path.read_text()]
    (job,) = [path.parent for path in edited if path.parent != tmp_path]
    table = pd.read_parquet(job / "counterfactuals.parquet")
    space = list(pd.read_csv("cancer.csv").columns)
    age = space.index("age")
    moved = [abs(new[age] - old[age]) for old, new in zip(table.x[table.found], table.counterfactual[table.found])]
    assert len(moved) > 0
    assert max(moved) == 0, "an edited file of features changes what is actionable"


FILES = {
    "a binary CSV": (
        tables.put_cancer,
        ["dataset.path=cancer.csv", "dataset.label=diagnosis", "dataset.missing=category"],
    ),
    "ready splits": (
        tables.put_splits,
        ["dataset.path=train.parquet", "dataset.test_path=test.parquet", "dataset.label=diagnosis"],
    ),
    "three classes": (tables.put_wine, ["dataset.path=wine.csv", "dataset.label=grape"]),
    "one class of three": (
        tables.put_wine,
        ["dataset.path=wine.csv", "dataset.label=grape", "dataset.positive=grape 1"],
    ),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "three classes" else pytest.mark.slow) for kind in FILES]
)
def test_from_a_file_to_a_report_with_one_command(tmp_path, kind):
    put, words = FILES[kind]
    put(tmp_path)
    done = transfer(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert result["metrics"]["n_searched"] == 40
    page = (tmp_path / "job" / "report.html").read_text()
    assert all(note in page.replace("&#39;", "'") for note in result["data"]["notes"])
    assert (tmp_path / "job" / "features.yaml").exists()


@pytest.mark.long
def test_a_large_table_goes_through(tmp_path):
    tables.put_large(tmp_path)
    done = transfer(tmp_path, "dataset.path=large.csv", "dataset.label=credit")
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert result["data"]["about"] == "200,000 rows"


@pytest.mark.slow
def test_the_columns_of_a_table_may_be_called_like_secrets(tmp_path):
    table = tables.cancer().dropna().rename(columns={"age": "token_count", "mean area": "passwd_age"})
    table.to_csv(tmp_path / "t.csv", index=False)
    words = ["dataset.path=t.csv", "dataset.label=diagnosis", "+dataset.features.token_count.mutable=false"]
    done = transfer(tmp_path, *words, "dataset.drop=[passwd_age]")
    assert done.returncode == 0, done.stderr
    assert "token_count" in (tmp_path / "job" / "features.yaml").read_text()


@pytest.mark.slow
def test_a_file_that_was_replaced_or_moved_is_known_by_its_content(tmp_path):
    table = tables.cancer().dropna()
    words = ["dataset.label=diagnosis", "dataset.path"]

    def models():
        return sorted(path.name for path in (tmp_path / "store" / "models").glob("*.safetensors"))

    def run(name, rows):
        rows.to_csv(tmp_path / name, index=False)
        done = transfer(tmp_path, words[0], f"dataset.path={name}")
        assert done.returncode == 0, done.stderr
        shutil.rmtree(tmp_path / "job")
        return models()

    first = run("t.csv", table)
    assert run("moved.csv", table) == first, "another name, the same content"
    os.utime(tmp_path / "t.csv", (1, 1))
    assert run("t.csv", table) == first
    other = table.assign(diagnosis=table.diagnosis.where(table.index > 3, "benign"))
    second = run("t.csv", other)
    assert len(second) == 2 * len(first), "labels were replaced behind the same settings"
    assert len(run("t.csv", table.assign(age=table.age + (table.index == 7)))) >= 2 * len(first)
