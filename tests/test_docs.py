"""The documents' Python: README's examples, the quick start and the page of the library, run and compared."""

import contextlib
import io
import re

import matplotlib
import pytest
from conftest import ROOT
from notebook import cells, outputs, texts

matplotlib.use("Agg")
README = (ROOT / "README.md").read_text()


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"(?<![\w.])\d+\.\d+", text)]


@pytest.mark.slow
def test_the_readmes_examples_print_what_it_says():
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec("\n".join(blocks(README)), {})
    (promised,) = re.findall(r"```\n(growing_spheres.*?)```", README, re.DOTALL)
    inline = [float(number) for number in re.findall(r"\)\)?\.rate\)  # (0\.\d+)", README)]
    assert len(inline) == 2
    lines = said.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines[:6]] == [line.split("  ")[0] for line in promised.splitlines()]
    assert numbers(said.getvalue()) == pytest.approx([*numbers(promised), *inline], abs=0.006)


@pytest.mark.slow
def test_the_quick_start_shows_what_it_gives():
    names: dict = {}
    for cell in cells(ROOT / "docs" / "quickstart.ipynb"):
        fresh = outputs("".join(cell["source"]), names)
        assert [one["output_type"] for one in fresh] == [one["output_type"] for one in cell["outputs"]]
        for ours, stored in zip(texts(fresh), texts(cell["outputs"])):
            assert re.sub(r"\d+\.\d+", "#", ours) == re.sub(r"\d+\.\d+", "#", stored)
            assert numbers(ours) == pytest.approx(numbers(stored), abs=0.02)


def test_the_page_of_the_library_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it writes a file
    exec("\n".join(blocks((ROOT / "docs" / "library.md").read_text())), {})
