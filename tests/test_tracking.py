"""Small parts of tracking; test_commands.py reads whole W&B runs back, test_tracking_server.py has a server."""

import subprocess

import pytest
from conftest import ROOT, composed
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cftransfer.errors import InputError
from cftransfer.spec import flat
from cftransfer.tracking import facts, names, offline


def test_nested_settings_are_flat():
    assert flat({"model": {"layers": 4, "more": {"x": None}}, "seed": 0, "reference": {}}) == {
        "model.layers": 4,
        "model.more.x": None,
        "seed": 0,
        "reference": {},
    }


@given(
    st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3))
)
def test_no_setting_is_lost(config):
    def leaves(value):
        return sum(map(leaves, value.values())) if isinstance(value, dict) else 1

    assert len(flat(config)) == leaves(config)


def test_git_state_is_the_commit_of_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(facts, "__file__", str(tmp_path / "facts.py"))
    assert facts.git_state() is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    state = facts.git_state()
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "new").write_text("")
    assert facts.git_state()["dirty"] is True


def named(*overrides: str, config: str = "transfer") -> tuple[str, list[str]]:
    """The name and the tags of the job that these words make."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(config, overrides=list(overrides), return_hydra_config=True)
    chosen = {name.rpartition("@")[2]: cfg.hydra.runtime.choices.get(name) for name in facts.GROUPS}
    settings = OmegaConf.to_container(composed(*overrides, name=config), resolve=True)
    chosen = {name: option for name, option in chosen.items() if option is not None}
    return names.name(settings, chosen, overrides), names.tags(settings, chosen)


NAMES = {
    (): "seed compas mlp 4×64",
    ("experiment=more_layers",): "more_layers compas mlp 4×64 → 6×64",
    ("experiment=more_layers", "extra_layers=1", "model.layers=2"): "more_layers compas mlp 2×64 → 3×64",
    ("experiment=more_features",): "more_features compas mlp 4×64 → 4×128",
    ("experiment=continued_training",): "continued_training compas mlp 4×64 +20 epochs",
    ("experiment=technique",): "technique compas mlp 4×64 → decision_tree",
    ("experiment=technique", "model=svm", "model@reference.model=mlp"): "technique compas svm → mlp 4×64",
    ("experiment=technique", "model=knn", "model@reference.model=knn"): "technique compas knn",
    ("model=random_forest", "+reference.model.n_estimators=10"): "seed compas random_forest → n_estimators=10",
    ("+reference.training.lr=0.1",): "seed compas mlp 4×64 lr 0.001 → 0.1",
    ("seed=3", "counterfactual=wachter", "samples=9"): "seed compas mlp 4×64 wachter seed 3",
    ("dataset=cifar10_airplane", "counterfactual.confidence=0.9"): "seed cifar10_airplane cnn 4×16 confidence=0.9",
    ("dataset=cifar10_airplane", "model=resnet18"): "seed cifar10_airplane resnet18",
}


@pytest.mark.parametrize(("words", "name"), NAMES.items())
def test_a_run_has_a_name_that_a_person_can_read(words, name):
    assert named(*words)[0] == name


def test_a_population_has_one_too():
    assert named("model.layers=2", config="train") == ("train compas mlp 2×64", ["train", "compas"])


OPTIONS = [
    f"{group}={path.stem}"
    for group in ("experiment", "model", "dataset", "counterfactual")
    for path in sorted((ROOT / "conf" / group).glob("*.yaml"))
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_named_or_tagged(option):
    value = option.partition("=")[2]
    words = [option, "dataset.positive=x"] if value == "image_folder" else [option]
    name, tags = named(*words)
    assert len(name) <= names.LONGEST_NAME
    assert value in [*name.split(), *tags]
    assert tags[:1] == [name.split()[0]]


def test_tags_of_the_user_come_last_and_once():
    assert named("wandb.tags=[pilot,compas]")[1] == ["seed", "compas", "gradient", "pilot"]
    with pytest.raises(InputError, match=r"wandb\.tags"):
        named("wandb.tags=[3]")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The file of a run that was kept offline, of more than a block."""
    import wandb

    folder = tmp_path_factory.mktemp("kept")
    with wandb.init(mode="offline", dir=folder, settings=wandb.Settings(console="off", silent=True)) as run:
        for step in range(200):
            run.log({"text": "x" * 500}, step=step)
    (file,) = offline.files(folder)
    assert offline.is_offline(file)
    assert offline.ended(file, patience=5)
    return file


def test_a_file_that_is_cut_short_has_not_ended(kept, tmp_path):
    whole, file = kept.read_bytes(), tmp_path / "run-x.wandb"
    for size in (0, 5, 100, 40_000, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert not offline.ended(file)


@pytest.mark.parametrize("at", [7, 20, 700, 3_000, 32_768, 40_001])
def test_a_file_that_is_damaged_in_the_middle_has_not_ended(kept, tmp_path, at):
    whole, file = kept.read_bytes(), tmp_path / "run-x.wandb"
    flipped = bytes(255 - byte for byte in whole[at : at + 3])
    for content in (whole[:at] + whole[at + 400 :], whole[:at] + flipped + whole[at + 3 :]):
        file.write_bytes(content)
        assert not offline.ended(file)


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("https://ghp_token:x-oauth-basic@example.org/a.git", True),
        ("https://ghp_token@example.org/a.git", True),
        ("https://example.org/a@b.git", False),
        ("git@example.org:a/b.git", False),
    ],
)
def test_a_remote_with_a_token_is_kept_from_wandb(tmp_path, monkeypatch, url, holds):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "remote", "add", "origin", url], check=True)
    assert facts.remotes_hold_credentials.__wrapped__() is holds
