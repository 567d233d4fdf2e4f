"""A wrong value is refused before anything heavy is imported."""

import subprocess
import sys

import pytest
from conftest import ROOT, SMALL, composed, environment

from cftransfer.commands.first_checks import check_settings
from cftransfer.errors import InputError

MISTAKES = [
    ("model.layers=0", "model.layers=0: must be a whole number ≥ 1"),
    ("model.layers=abc", "model.layers=abc: must be a whole number ≥ 1"),
    ("+reference.model.layers=0", "reference.model.layers=0: must be a whole number ≥ 1"),
    ("training.batch_size=0", "training.batch_size=0: must be a whole number ≥ 1"),
    ("dataset.rows=19", "dataset.rows=19: must be a whole number ≥ 20"),
    ("samples=0", "samples=0: must be a whole number ≥ 1"),
    ("seed=-1", "seed=-1: must be a whole number from 0 to 1000000000000"),
    ("trainer.threads=100000", "trainer.threads=100000: must be a whole number from 1 to 1024"),
    ("+extra_layers=0", "extra_layers=0: must be a whole number ≥ 1"),
    ("counterfactual.iterations=-1", "counterfactual.iterations=-1: must be a whole number ≥ 0"),
    (
        "counterfactual.constraints=boxes",
        "counterfactual.constraints=boxes: must be one of none, box, possible, action",
    ),
    ("wandb.mode=on", "wandb.mode=on: must be one of online, offline, disabled"),
    ("replicates.bases=1001", "replicates.bases=1001: must be a whole number from 1 to 1000"),
    ("replicates=3", "replicates=3: takes the keys bases, references, splits"),
    ("execution=3", "execution=3: takes the keys sigma, draws"),
    ("execution.draws=0", "execution.draws=0: must be a whole number from 1 to 1000"),
    ("plausibility=yes_please", "plausibility=yes_please: must be one of true, false"),
    ("paths=3", "paths=3: takes the keys data, store"),
    ("paths.store=3", "paths.store=3: must be a folder"),
    ("paths.store=[a]", "paths.store=['a']: must be a folder"),
    ("paths.data=null", "paths.data=None: must be a folder"),
    ("+n=[1,nan]", "n.1=nan: must be a finite number"),
    ("+n=1e30", "n=1e+30: must be a finite number"),
    ("+n={1:a,b:c}", "n.1: a key is a word; let it begin with a letter"),
    ("+layers=8", "layers: no such key at the top level; did you mean model.layers?"),
]


@pytest.mark.parametrize(("word", "said"), MISTAKES, ids=[word for word, _ in MISTAKES])
def test_a_wrong_value_is_one_line(word, said):
    with pytest.raises(InputError) as caught:
        check_settings(composed("dataset=moons", word), models="replicates")
    assert str(caught.value).startswith(said)


def test_a_wrong_value_of_train_is_one_line():
    with pytest.raises(InputError, match=r"^population=3: takes the keys pool, size"):
        check_settings(composed("population=3", name="train"), models="population")


@pytest.mark.parametrize("words", [["samples=null", "trainer.threads=null"], ["model=decision_tree"]])
def test_what_may_be_null_passes(words):
    check_settings(composed(*words), models="replicates")


def test_a_function_that_is_not_ours_says_itself_what_it_takes():
    check_settings(composed("model._target_=theirs", "model.layers=[64,32]", "model.width=0.5"), models="replicates")


CODE = """
import runpy, sys
sys.argv = {argv}
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as ended:
    print(ended.code, *{{"torch", "pandas", "wandb"}} & set(sys.modules))
"""


def test_a_command_refuses_it_without_torch(tmp_path):
    words = [str(ROOT / "transfer.py"), *SMALL, "model.width=0"]
    code = [sys.executable, "-c", CODE.format(argv=words)]
    done = subprocess.run(code, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False)
    assert "failed: model.width=0: must be a whole number ≥ 1\n" in done.stderr
    assert done.stdout == "1\n"
