"""The documents' Python: README's examples, the quick start and the page of the library, run and compared."""

import contextlib
import io
import re
import sys

import matplotlib
import pytest
import torch
from conftest import ROOT
from notebook import cells, outputs, texts

matplotlib.use("Agg")
README = (ROOT / "README.md").read_text()


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"(?<![\w.])\d*\.\d+", text)]


@pytest.mark.slow
def test_the_readmes_example_prints_the_table_that_it_shows():
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec("\n".join(blocks(README)), {})
    (promised,) = re.findall(r"```\n(growing_spheres.*?)```", README, re.DOTALL)
    lines = said.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == [line.split("  ")[0] for line in promised.splitlines()]
    assert numbers(said.getvalue()) == pytest.approx(numbers(promised), abs=0.006)


@pytest.mark.slow
def test_the_quick_start_shows_what_it_gives():
    names: dict = {}
    for cell in cells(ROOT / "docs" / "quickstart.ipynb"):
        fresh = outputs("".join(cell["source"]), names)
        assert [one["output_type"] for one in fresh] == [one["output_type"] for one in cell["outputs"]]
        for ours, stored in zip(texts(fresh), texts(cell["outputs"])):
            assert re.sub(r"\d*\.\d+", "#", ours) == re.sub(r"\d*\.\d+", "#", stored)
            assert numbers(ours) == pytest.approx(numbers(stored), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["faq.md", "statistics.md"])
def test_the_python_of_a_page_runs_and_prints_what_it_says(name, capsys):
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    exec("\n".join(blocks(page)), {})
    said = capsys.readouterr().out
    assert said
    for promised in re.findall(r"```python\n.*?```\n\n```\n(.*?)```", page, re.DOTALL):
        assert re.sub(r"\d+(\.\d+)?", "#", promised) in re.sub(r"\d+(\.\d+)?", "#", said)


def test_every_page_with_python_has_a_test_that_runs_it():
    runs = {"faq.md", "statistics.md", "your-models.md", "other-libraries.md", "lightning.md", "your-table.md"}
    runs |= {"extending.md"}  # test_extensions.py, test_wheel.py
    assert {path.name for path in (ROOT / "docs").rglob("*.md") if blocks(path.read_text(encoding="utf-8"))} == runs


def test_the_page_of_the_library_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it writes a file
    exec("\n".join(blocks((ROOT / "docs" / "guides" / "your-models.md").read_text())), {})


@pytest.mark.slow
def test_the_page_of_other_libraries_runs(compas, tmp_path, monkeypatch):
    """But for the lines that need DiCE; the file that it would write is made by a search of our own."""
    import cftransfer as cft
    from cftransfer.models.export import export

    (base,) = cft.train(compas, layers=4, width=64, seeds=[0])
    export(tmp_path / "exported", {0: base}, compas)
    found = cft.search(base, compas.x_test[:50], space=compas.space, method="minimal")
    table = compas.space.decode(found.counterfactual.numpy()).rename_axis("factual").reset_index()
    table.drop(index=[3, 8]).to_parquet(tmp_path / "dice-genetic.parquet", index=False)  # two that were not found
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    names: dict = {}
    page = (ROOT / "docs" / "guides" / "other-libraries.md").read_text()
    exec("\n".join(block for block in blocks(page) if "dice_ml" not in block), names)
    sys.modules.pop("load")
    assert names["found"].found.sum() == 48
    assert set(names["found"].status[[3, 8]]) == {"lost"}
    assert names["result"].found == 48 / 50


def test_every_exported_file_is_on_the_page_of_other_libraries(compas, tmp_path):
    from cftransfer.models.export import export

    page = (ROOT / "docs" / "guides" / "other-libraries.md").read_text()
    export(tmp_path, {0: torch.nn.Linear(14, 1)}, compas)
    for path in tmp_path.iterdir():
        assert f"| `{path.name.replace('-0.', '-<seed>.')}`" in page
