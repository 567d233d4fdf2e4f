"""What SECURITY.md promises: bytes from outside run nothing, stay where they are, and steer no page or terminal."""

import os
import pickle
from pathlib import Path

import pytest

from cftransfer.errors import InputError, plain
from cftransfer.spec import call, chosen, content_of


class Planted:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("dataset", "os.system"),
        ("dataset", "builtins.eval"),
        ("model", "cftransfer.data.moons.moons"),  # of another part
        ("model", "cftransfer.models.techniques.torch.load"),  # what a module of ours has imported
        ("model", "cftransfer.models.techniques.real"),
        ("model", "cftransfer.models.techniques.Technique.fit"),
        ("model", "cftransfer.models.techniques.Technique"),
        ("model", "cftransfer.models.resnet18._load"),
        ("model", "cftransfer.models..mlp"),
        ("model", "cftransfer.models.mlp"),
        ("model", "cftransfer.models.nope.nope"),
        ("model", "cftransfer.models.mlp.nope"),
        ("counterfactual", "cftransfer.modelsx.mlp.mlp"),
        ("dataset", "cftransfer.data.image_folder.os.remove"),
        ("dataset", None),
        ("dataset", 3),
    ],
)
def test_a_config_chooses_among_this_packages_functions_alone(part, name):
    with pytest.raises(InputError, match=rf"^{part}\._target_=.*: (takes the name of a function|no such function)"):
        call(part, {} if name is None else {"_target_": name}, "true")


def test_a_module_that_lacks_something_says_so_itself(monkeypatch, tmp_path):
    """A user's own model whose import fails is no wrong name."""
    (tmp_path / "mine.py").write_text("import not_installed")
    monkeypatch.setattr("cftransfer.models.__path__", [str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="not_installed"):
        chosen("model", {"_target_": "cftransfer.models.mine.mine"})


@pytest.mark.parametrize("letter", ["\n", "\x1b", "\x9b", "\u202e", "\u2028", "\ud800", "\x00", "\r", "\u200b"])
def test_an_error_is_one_line_that_steers_no_terminal(letter):
    said = str(InputError(f"dataset.root=a{letter}b: naïve ‘ρ’ − × é 数"))
    assert said.isprintable()
    assert "naïve ‘ρ’ − × é 数" in said
    assert plain(said) == said


def test_a_pipe_in_the_place_of_weights_is_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="model.weights=.*pipe: cannot be read"):
        content_of("model.weights", str(tmp_path / "pipe"))
