"""Four wings, one direction of imports: DESIGN's rules, compared with the code's own imports."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "cftransfer"
# From the ground up: a module imports its own floor and those before it.
FLOORS = (
    ("errors", "settings", "columns", "cores", "atomic", "secrets", "command_line", "targets", "spec"),
    ("data", "models", "searching", "counterfactuals", "measuring"),  # core
    ("store",),
    ("jobs",),
    ("report", "tracking", "validate"),  # views
    ("commands",),
    ("__init__", "__main__"),
)
CORE = FLOORS[1]
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imports(module: Path):
    """Every module that a file imports, in whatever function; but for the command line below `if __name__ == …`."""
    tree = ast.parse((PACKAGE / module).read_text())
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "__name__" in ast.dump(node.test))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wing(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def floor(name: str) -> int:
    (index,) = [index for index, names in enumerate(FLOORS) if name in names]
    return index


def own_wing(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_import_runs_back_up(module):
    if own_wing(module) in FLOORS[-1]:
        return
    known = sum(FLOORS, ())
    for name in imports(module):
        if name.startswith("cftransfer.") and wing(name) in known:
            assert floor(wing(name)) <= floor(own_wing(module)), f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_outsiders_are_where_they_belong(module):
    """Hydra in commands alone, W&B in tracking alone, and none of it, nor OmegaConf, in the core."""
    for name in imports(module):
        top = name.partition(".")[0]
        assert top != "hydra" or own_wing(module) == "commands", f"{module} imports {name}"
        assert top != "omegaconf" or own_wing(module) == "commands", f"{module} imports {name}"
        assert top != "wandb" or own_wing(module) == "tracking", f"{module} imports {name}"


def test_views_read_job_folders_and_no_store():
    for module in MODULES:
        if own_wing(module) in ("report", "tracking"):
            assert not [name for name in imports(module) if name.startswith("cftransfer.store")], module


def test_every_module_is_on_a_floor_and_has_a_name_that_says_something():
    for module in MODULES:
        assert own_wing(module) in sum(FLOORS, ()), module
        assert module.stem not in ("util", "utils", "helper", "helpers", "common", "misc", "base")


def test_the_core_is_there_without_the_rest():
    """Searching and measuring import neither Hydra, nor OmegaConf, Lightning, W&B or the store."""
    import subprocess
    import sys

    code = """
import sys, torch, cftransfer as cft
model = torch.nn.Linear(2, 1)
print(cft.measure(model, torch.nn.Linear(2, 1), torch.rand(5, 2), method="growing_spheres"))
heavy = ("hydra", "omegaconf", "pytorch_lightning", "wandb", "torchvision", "torchmetrics", "cftransfer.store")
print(*[name for name in heavy if name in sys.modules] or ["none"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["none"], done.stderr
