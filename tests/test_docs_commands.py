"""The commands of docs/, as a user types them, on small models. test_commands.py has README's commands.

`ELSEWHERE` names commands that other tests run, and commands that no test can run: they need other machines, accounts
or packages.
"""

import re
import shlex

import numpy as np
import pytest
from conftest import ROOT, run_command
from photos import put_cifar10, put_tree
from pums import persons, put
from tables import cancer
from test_commands import ALL, MAIN

ELSEWHERE = {  # the beginning of a command → the test, or the reason
    "python benchmarks/dice.py": "make others runs it beside DiCE",
    "python -m cftransfer.tracking sync": "tests/tracking/test_sync.py has a server for it",
    "python -m cftransfer.tracking dashboard --project": "tests/tracking/test_server.py has a server for it",
    "cftransfer validate": "tests/test_validate.py",
    "cftransfer transfer": "tests/test_wheel.py installs the package first",
}
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name not in ("your-table.md",))


def shell(text: str) -> list[str]:
    """The lines of a text's shell blocks, without comments; a line that ends in a backslash goes on below."""
    lines = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines) if line]


def commands() -> list[str]:
    every = [line for path in PAGES for line in shell(path.read_text(encoding="utf-8"))]
    return [
        line for line in dict.fromkeys(every) if line.startswith(("python ", "cftransfer ")) and line not in (MAIN, ALL)
    ]


HERE = [line for line in commands() if not line.startswith(tuple(ELSEWHERE))]
SLURM = [line for line in HERE if "hydra/launcher=slurm" in line]
FEW = ["dataset=moons", "dataset.rows=100", "samples=10", "training.epochs=30", "training.lr=0.01"]
NO_SEARCH = ["training.epochs=1", "replicates.bases=2", "replicates.references=2", "samples=50"]  # has no cap for debug
SMALL = {  # settings that make an option small; debug=fast does the rest. A long sweep has two of its values
    "sweep=methods": [*FEW, 'hydra.sweeper.params.counterfactual="minimal,sns_03"'],
    "sweep=techniques": [*FEW, 'hydra.sweeper.params.model="mlp,knn"'],
    "sweep=changes": ["samples=20", "training.epochs=3", 'hydra.sweeper.params.experiment="seed,optimizer"'],
    "sweep=audit": ["samples=20", "training.epochs=30", 'hydra.sweeper.params.experiment="seed,weight_noise"'],
    "dataset=image_folder": ["samples=8", "dataset.size=32"],
    "dataset=imagenet_orange": ["samples=8", "dataset.size=32"],
    "dataset=cifar10_airplane": ["samples=8"],
    "dataset=table": ["samples=20", "training.epochs=20"],
    "replicates.bases=20": ["replicates.bases=2", "replicates.references=3"],
    "replicates.splits=5": ["replicates.bases=2", "replicates.references=3"],
    "replicates.bases=36": ["replicates.bases=2", "replicates.references=3"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder and store for all commands, with the files that they name, a job and a sweep."""
    import cftransfer as cft

    folder = tmp_path_factory.mktemp("docs")
    put(folder / "data", persons(400))
    put_cifar10(folder / "data")
    put_tree(folder / "data" / "pets", positive="cat")
    put_tree(folder / "data" / "imagenet")
    cancer().dropna().rename(columns={"diagnosis": "approved"}).to_csv(folder / "loans.csv", index=False)
    compas = cft.dataset("compas")
    points = compas.x_test[1:51].numpy()  # each row's neighbour stands for its counterfactual
    table = compas.space.decode(points)
    table.to_parquet(folder / "made.parquet", index=False)
    table.assign(factual=range(50)).to_parquet(folder / "dice-genetic.parquet", index=False)
    for base in range(2):
        np.savez(folder / f"made_{base}.npz", counterfactual=points, factual=np.arange(50))
    small = ["dataset=moons", "dataset.rows=100", "debug=fast", "replicates.references=4", "training.lr=0.01"]
    for words in (small, ["-m", *small, "seed=0,1"]):
        done = run_command(folder, "transfer.py", *words, WANDB_MODE="disabled")
        assert done.returncode == 0, done.stderr
    return folder


def typed(line: str, folder) -> list[str]:
    """The words of a command, with folders that exist and in small."""
    job, sweep = (min(folder.glob(f"{place}/*/*")).as_posix() for place in ("outputs", "multirun"))
    line = line.replace("multirun/<date>/<time>", sweep).replace("FOLDER…", job).replace("/shared/data", "data")
    if line.endswith("report.boundary outputs"):  # the folder has jobs on images by now
        line = line.removesuffix("outputs") + job
    if "store show" in line:
        (name, *_) = sorted(path.stem for path in (folder / "store" / "models").glob("*.safetensors"))
        line = line.rpartition(" ")[0] + f" {name[:8]}"
    words = shlex.split(line)[1:]
    if words[0] == "transfer.py":
        words += [word for name, small in SMALL.items() if name in words for word in small]
        words += NO_SEARCH if "counterfactual=imported" in words else [] if "debug=fast" in words else ["debug=fast"]
    return words


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in HERE if line not in SLURM], ids=str)
def test_every_command_of_the_documents_runs(line, folder):
    done = run_command(folder, *typed(line, folder), WANDB_MODE="disabled")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("line", SLURM, ids=str)
def test_every_command_for_slurm_names_settings_that_there_are(line, tmp_path):
    """tests/commands/test_launchers.py submits such sweeps; here the words of the page compose."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    first = re.sub(r"=([\w.]+)(?:,[\w.]+)+", r"=\1", line.replace("range(0,200)", "0").replace("<date>/<time>", "x"))
    words = [word for word in shlex.split(first)[1:] if word != "-m"]
    done = run_command(tmp_path, *words, "--cfg", "job", WANDB_MODE="disabled")
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_documents_have_commands():
    assert len(HERE) > 30
    assert len(SLURM) > 2
    every = commands()
    assert all(any(line.startswith(begin) for line in every) for begin in ELSEWHERE)


def test_every_make_of_the_documents_is_a_target():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "README.md", *PAGES]
    named = {line.split()[1] for path in pages for line in shell(path.read_text()) if line.startswith("make ")}
    assert named >= {"run", "study-changes"}
    assert named <= targets
