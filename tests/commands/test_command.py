"""Mistakes end in one line; --help needs nothing heavy."""

import shlex
import subprocess
import sys

import pytest
from conftest import DATASETS, ROOT, composed, environment
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from submitit.core.utils import UncompletedJobError

from cftransfer.commands.mistakes import one_line
from cftransfer.commands.runner import OutputFolder
from cftransfer.errors import InputError, as_command


@pytest.mark.parametrize(
    ("override", "kind", "said"),
    [
        (
            "model.layres=4",
            ConfigCompositionException,
            "model.layres: no such key; model has: layers, width, dropout; did you mean model.layers?",
        ),
        ("layers=4", ConfigCompositionException, "layers: no such key"),
        ("reference.model.layers=6", ConfigCompositionException, "a plus adds it: +reference.model.layers=…"),
        (
            "dataset=nope",
            MissingConfigException,
            f"dataset=nope: no such option; there are: {DATASETS}",
        ),
        ("model=null", ValueError, "must name one option of conf"),
        ("nope=compas", ConfigCompositionException, "nope: no such key"),
        ("model.layers=[2", OverrideParseException, "model.layers=[2: cannot be read as key=value"),
        ("extra_features=2", ConfigCompositionException, "; experiment=more_features has it"),
        ("extra_hats=2", ConfigCompositionException, "; an experiment brings such a key: experiment=more_layers has"),
        (
            "model.layers=2,4",
            ConfigCompositionException,
            "model.layers=2,4: has several values; add -m for a job with ",
        ),
        ("–m", OverrideParseException, "–m: begins with a sign that is not a hyphen; type -m"),
        ("—multirun", OverrideParseException, "type --multirun"),
        ("“seed=1”", OverrideParseException, "“ and ‘ are not quotes here: seed=1"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(override, kind, said):
    with pytest.raises(kind) as caught:
        composed(override)
    line = one_line(caught.value)
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("typed", "way_out", "value"),
    [
        ("paths.store=/data/mañana", "'paths.store=\"/data/mañana\"'", "/data/mañana"),
        ("paths.store=/x/My Pictures (2024)", "'paths.store=\"/x/My Pictures (2024)\"'", "/x/My Pictures (2024)"),
        ("paths.store=“a b”", "'paths.store=\"a b\"'", "a b"),
        ('paths.store=a"ñ', None, 'a"ñ'),
    ],
)
def test_a_value_that_needs_quotes_is_shown_with_them_and_can_be_typed_so(typed, way_out, value):
    with pytest.raises(OverrideParseException) as caught:
        composed(typed)
    line = one_line(caught.value)
    assert line.startswith(f"{typed}: cannot be read as key=value; ")
    shown = line.partition(": cannot")[2].partition(": ")[2]
    assert way_out in (shown, None)
    (word,) = shlex.split(shown)
    assert composed(word).paths.store == value


@pytest.mark.parametrize("word", ["wandb=3", "model=null", "+debug=true", "trainer=-1.5"])
def test_a_number_in_the_place_of_an_option_is_named(word, monkeypatch):
    monkeypatch.setattr("sys.argv", ["transfer.py", "seed=3", word])
    with pytest.raises(ValueError, match="Config group override") as caught:
        composed("model=null")
    assert one_line(caught.value) == f"{word}: must name one option of conf, as in model=mlp"


def test_the_key_inside_a_mapping_is_named():
    with pytest.raises(ConfigCompositionException) as caught:
        composed("wandb={a: 1}")
    assert one_line(caught.value).startswith("wandb.a: no such key; wandb has: mode, project")


def test_causes_are_searched():
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = InputError("samples=0: must be a whole number ≥ 1")
    assert one_line(wrapped) == "samples=0: must be a whole number ≥ 1"


def test_a_file_is_named(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught:
        (tmp_path / "nothing").read_text()
    assert one_line(caught.value).startswith(f"{tmp_path / 'nothing'}: No such file or directory; choose a place")


def test_a_bug_is_not_a_mistake_of_the_user():
    assert one_line(ZeroDivisionError("division by zero")) is None


def test_a_closed_output_is_no_error(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    with as_command("cftransfer.store"):
        pass


LIGHT = """
import runpy, sys
sys.argv = {argv}
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
heavy = {{"torch", "pytorch_lightning", "wandb", "pandas", "numpy", "matplotlib"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""


@pytest.mark.parametrize("script", ["transfer.py", "train.py"])
@pytest.mark.parametrize("words", [["--help"], ["-sc", "query=bash"]], ids=["help", "completion"])
def test_help_and_completion_import_nothing_heavy(script, words):
    code = LIGHT.format(argv=[str(ROOT / script), *words])
    line = {"COMP_LINE": f"python {script} model=", "COMP_POINT": str(len(f"python {script} model="))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(**line), cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "mlp" in done.stdout


def test_a_job_that_gave_no_answer_is_one_line_without_all_it_has_said():
    said = "Job 7_1 (task: 0) with path 7_1_0_result.pkl\nhas not produced any output (state: CANCELLED)\n"
    error = UncompletedJobError(
        f"{said}No error stream produced. Look at stdout: log.out\n----\n12:00 training 2 models"
    )
    line = one_line(error)
    assert line.startswith(
        "Job 7_1 (task: 0) with path 7_1_0_result.pkl has not produced any output (state: CANCELLED):"
    )
    assert "training" not in line


def test_what_lies_below_a_single_job_is_not_its_own(tmp_path):
    below = tmp_path / "other" / ".hydra"
    below.mkdir(parents=True)
    (below / "overrides.yaml").touch()
    single, sweep = (output_folder(tmp_path, sweep=sweep) for sweep in (False, True))
    assert (single.jobs(), sweep.jobs()) == ([tmp_path], [tmp_path / "other"])


def output_folder(folder, *, sweep):
    """Return the folder of a command as Hydra's callback keeps it."""
    output = OutputFolder()
    output.path, output.sweep = folder, sweep
    return output
