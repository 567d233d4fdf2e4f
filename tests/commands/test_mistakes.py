"""Bad input at the command line: one line that names it, exit status 1, nothing lost."""

import re

import pytest
from conftest import DATASETS, SMALL, results, run_command


@pytest.fixture(scope="module")
def good_job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    assert run_command(folder, "transfer.py", *SMALL).returncode == 0
    return folder


# One of each kind in the default suite, for a command takes seconds; all of them with -m slow.
MISTAKES = [
    (["model.layres=4"], "model.layres: no such key"),
    (["layers=4"], "layers: no such key"),
    (["model.layers=0"], "model.layers=0: must be a whole number ≥ 1"),
    (["dataset=nope"], f"dataset=nope: no such option; there are: {DATASETS}"),
    (["counterfactual.iterations=-1"], "counterfactual.iterations=-1: must be a whole number ≥ 0"),
    (["+reference.model.layres=8"], "reference.model.layres: no such key"),
    (["reference.seeds=base"], "reference.seeds=base: without a patch"),
    (["paths.store=/dev/null"], "paths.store=/dev/null: cannot be used"),
    (["wandb=online", "wandb.project=x"], "wandb.mode=online"),
    (["wandb.notes=${oc.env:NOPE}"], "wandb.notes: cannot be looked up (KeyError raised"),
    (["wandb.mode=${wandb.mode}"], "wandb.mode: cannot be looked up (Recursive interpolation"),
    (["dataset.noise=${nope}"], "dataset.noise: cannot be looked up (Interpolation key 'nope' not found)"),
    (["~paths"], "paths: is missing"),
    (["model.width=10000000", "model.layers=2"], "model.width=10000000, "),  # and: needs more memory than there is
    (["paths.store=3"], "paths.store=3: must be a folder"),
    (["wandb=3"], "wandb=3: must name one option of conf"),
]
KINDS = (
    "model.layres=4",
    "dataset=nope",
    "counterfactual.iterations=-1",
    "wandb.notes=${oc.env:NOPE}",
    "paths.store=3",
)


@pytest.mark.parametrize(
    ("words", "said"),
    [pytest.param(*row, marks=[] if row[0][0] in KINDS else pytest.mark.slow) for row in MISTAKES],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_loses_nothing(good_job, words, said):
    before = {path: path.stat().st_mtime_ns for path in (good_job / "store").rglob("*.*")}
    done = run_command(
        good_job,
        "transfer.py",
        *[word for word in SMALL if word.partition("=")[0] not in {w.partition("=")[0] for w in words}],
        *words,
        WANDB_BASE_URL="http://127.0.0.1:9",
        HOME=str(good_job),
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert said in line
    assert {path: path.stat().st_mtime_ns for path in (good_job / "store").rglob("*.*")} == before


@pytest.mark.slow
def test_m_may_stand_anywhere(tmp_path):
    done = run_command(tmp_path, "transfer.py", *SMALL, "-m", "seed=0,1", "wandb=disabled")
    assert done.returncode == 0, done.stderr
    assert len(results(tmp_path)) == 2


@pytest.mark.slow
def test_a_truncated_artifact_is_named_and_made_again(good_job):
    path = min((good_job / "store" / "models").glob("*.safetensors"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    done = run_command(good_job, "transfer.py", *SMALL)
    assert done.returncode == 0, done.stderr
    assert f"store/models/{path.name}: damaged" in done.stderr
    assert path.read_bytes() == whole
    first, *_, last = results(good_job)
    assert last["metrics"] == first["metrics"]


@pytest.mark.slow
def test_a_sweep_goes_on_past_a_failing_job_and_names_it(tmp_path):
    small = [word for word in SMALL if not word.startswith("model.layers")]
    done = run_command(tmp_path, "transfer.py", "-m", *small, "model.layers=0,1,2")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "transfer.py: model.layers=0: must be a whole number ≥ 1"
    assert "Traceback" not in done.stderr
    assert [result["config"]["model"]["layers"] for result in results(tmp_path)] == [1, 2]
    assert re.search(r"failed: multirun/\S+/0 \(.*model.layers=0; failed: .*\)", done.stdout)
    said = "2 of 3 jobs have a result; 1 failed or did not end"
    assert f"{said}; the same command again runs the missing ones\n" in done.stdout
    page = next(tmp_path.rglob("report.html")).read_text()
    assert said in page
    assert "model.layers=0" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset=nope,moons"], f"dataset=nope: no such option; there are: {DATASETS}"),
        (["model.layres=4,8"], "model.layres: no such key"),
        (["model.layers=0,-1"], "model.layers=0: must be a whole number"),
        (["experiment=glob(x*)"], "no job was run"),
        (["+extra_layers=1,2", "dataset=moons"], "extra_layers: this experiment's patch does not use it"),
    ],
    ids=["option", "key", "value", "glob", "unread"],
)
def test_a_sweep_without_any_result_ends_with_its_reason(tmp_path, words, said):
    done = run_command(tmp_path, "transfer.py", "-m", *words)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not results(tmp_path)


@pytest.mark.slow
def test_a_formula_that_leads_nowhere_is_one_line_of_a_sweep_and_of_training(tmp_path):
    small = [word for word in SMALL if not word.startswith(("replicates", "samples"))]
    for words in (["transfer.py", "-m", *SMALL], ["train.py", *small]):
        done = run_command(tmp_path, *words, "wandb.notes=${oc.env:NOPE}")
        assert done.returncode == 1
        assert "wandb.notes: cannot be looked up" in done.stderr
        assert "Traceback" not in done.stderr
    verbose = run_command(tmp_path, "transfer.py", *SMALL, "wandb.notes=${oc.env:NOPE}", "hydra.verbose=true")
    assert "Traceback" in verbose.stderr


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_our_signs_gets_the_report_too(good_job, encoding):
    done = run_command(good_job, "transfer.py", "-m", "seed=0,1", *SMALL, "wandb=disabled", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\(\.\d+\?[.\d]+\)", done.stdout)  # an interval's dash
    assert run_command(good_job, "-m", "cftransfer", "--help", PYTHONIOENCODING=encoding).returncode == 0


def test_two_named_sweeps_at_once_are_refused(tmp_path):
    """A named sweep is of its own values: Hydra would run each of the two without them."""
    done = run_command(tmp_path, "transfer.py", "-m", *SMALL, "sweep=depth,width")
    assert done.returncode == 1
    assert done.stderr == "transfer.py: sweep=depth,width: takes one named sweep; give the command once for each\n"


@pytest.mark.slow
@pytest.mark.parametrize("words", [["seed=0"], ["-m", "seed=0"], ["-m", "seed=0", "hydra/launcher=local"]])
def test_hydras_own_ways_to_log_work(words, tmp_path):
    words = ["hydra/job_logging=disabled", "hydra/hydra_logging=disabled", "wandb=disabled", *words]
    done = run_command(tmp_path, "transfer.py", *SMALL, *words)
    assert (done.returncode, done.stderr, len(results(tmp_path))) == (0, "", 1)


@pytest.mark.slow
def test_a_result_does_not_outlive_a_failed_try_in_its_folder_and_is_not_lost(tmp_path):
    place = f"hydra.run.dir={tmp_path}/job"
    assert run_command(tmp_path, "transfer.py", *SMALL, place).returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "job").glob("*.[jp]*")}
    small = [word for word in SMALL if not word.startswith("model.layers")]
    done = run_command(tmp_path, "transfer.py", *small, place, "model.layers=0")
    assert done.returncode == 1
    assert "is of other settings; it is kept as result-replaced.json" in done.stderr
    assert not results(tmp_path)
    assert "has its result already" in run_command(tmp_path, "transfer.py", *SMALL, place).stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "job").glob("*.[jp]*")} == before


@pytest.mark.slow
def test_an_experiment_without_its_first_line_is_refused(tmp_path):
    """Hydra would put it under its own name, where nothing reads it: the job would be another one, in silence."""
    folder = tmp_path / "configs" / "experiment"
    folder.mkdir(parents=True)
    (folder / "nopkg.yaml").write_text("reference:\n  training:\n    lr: 0.01\n")
    done = run_command(tmp_path, "transfer.py", "--config-dir", "configs", *SMALL, "experiment=nopkg")
    assert done.returncode == 1
    assert "make '# @package _global_' the first line of its file" in done.stderr
