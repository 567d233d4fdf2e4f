"""The example of docs/guides/lightning.md, as it stands there, and the numbers that it explains."""

import re

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs" / "guides" / "lightning.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


# Lightning's own: its advice on workers and log intervals, and its call of a name that torch 2.13 deprecates.
@pytest.mark.filterwarnings("ignore:.*(does not have many workers|LeafSpec|`srun` command is available).*")
def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(EXAMPLE, "docs/guides/lightning.md", "exec"), names)
    logged = set(names["trainer"].callback_metrics)
    assert logged == {"train_loss", "val_loss", "val_accuracy", "val_auroc"}
    assert all(f"`{name}`" in PAGE for name in logged)
    assert names["best"].best_model_score > 0.6
    assert (tmp_path / names["best"].best_model_path).is_file()
    assert len(names["found"].found) == 20


def test_the_page_names_files_that_exist():
    for path in re.findall(r"`((?:cftransfer|tests|benchmarks)/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).is_file(), path
